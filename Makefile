# SPDX-License-Identifier: LGPL-2.1-or-later
#
#   make            swupd and mixer in $(O)/bin
#   make check      installs what it needs, lint, all tests; the last line counts them
#   make release    installs what it needs, builds, cuts two releases from Debian, installs a root from the first and
#                   updates it to the second; the last lines say where everything lies
#   make unit func vm  the tests alone; vm boots guests in QEMU, LONG=1: with what takes ten minutes and shows little more
#   make inject     kills swupd at, and refuses it, each call that changes something: POINTS (0: all) of each command
#   make powercut   cuts the power during an update CUTS (10000) times; tests/vm/powercut says what can be chosen
#   make fuzz       libFuzzer looks for more with each tests/fuzz/<name>_fuzz.c, for FUZZ_SECONDS (10) each
#   make lint       clang-format, clang-tidy, shellcheck
#   make bench      writes the tables of README's "Performance"
#   make bench-update  writes the table of README's "Performance" that compares updates
#   make bench-idle  what 'swupd update' costs in a release that is current: the table of README's "Performance"
#   make bench-commit  writes the table of README's "Reliability"
#   make bench-scaling  how builder and client grow with files, bundles and releases; LONG=1: also the largest mixes
#   make bench-boot writes the table of README's "Guests": starts, memory and sizes
#   make optimised  packages trained in a guest and rebuilt with what was learnt, and a release that has them; RECIPES: only these
#   make bench-fdo  what that brings: the table of README's "Performance" for packages; RECIPES, of which kernel and swupd may be two; fails if what is shipped brings too little
#   make bench-record  what it costs to record what a guest executes, fails above 30 %; needs what 'make vm' leaves
#   make deb        swupd and mixer as Debian packages in $(O)/deb
#   make install    into $(DESTDIR)$(PREFIX)
#   make format clean
#
# O=build (SAN=1: build-san, FUZZ=1: build-fuzz). CFLAGS and LDFLAGS are yours, ours stand in ALL_CFLAGS and SANFLAGS.

SAN    ?=
FUZZ   ?=
O      ?= build$(if $(FUZZ),-fuzz,$(if $(SAN),-san))
# one name for one folder: what is known of headers is by names
override O := $(patsubst $(CURDIR)/%,%,$(abspath $(O)))
CC     ?= gcc
CFLAGS ?= $(if $(SAN),-O1,-O2) -g
PREFIX ?= /usr

content.src := $(wildcard swupd/base/*.c swupd/content/*.c)
client.src  := $(wildcard swupd/client/*.c)
step.src    := $(wildcard mixer/input/*.c mixer/step/*.c mixer/image/*.c)
swupd.src   := $(wildcard swupd/main.c swupd/cmd/*.c)
mixer.src   := $(wildcard mixer/main.c mixer/cmd/*.c)
unit.src    := $(wildcard tests/unit/*.c)
fuzz.src    := $(wildcard tests/fuzz/*.c)
# programs of guests: what several of them use is guest.a, each other file is one
guest.src   := $(addprefix images/guest/,channel.c cmdline.c share.c)
guests.src  := $(filter-out $(guest.src),$(wildcard images/guest/*.c))
scripts     := $(shell git ls-files -co --exclude-standard 'ci/*' 'tests/*.sh' 'tests/**/*.sh' '.ci/run' 2>/dev/null | \
		xargs -r grep -lE '^\#!/(usr/)?bin/(env )?(ba|da)?sh' 2>/dev/null)

content.pkgs := libarchive libcrypto libzstd liblzma zlib
# libcurl is loaded by the client when it is needed (libcurl.h)
client.pkgs  := $(content.pkgs)
step.pkgs    := $(content.pkgs) libcurl libsolv libsolvext libdw libelf
swupd.pkgs   := $(client.pkgs)
mixer.pkgs   := $(step.pkgs)
unit.pkgs    := $(sort $(client.pkgs) $(step.pkgs) cmocka)
# no pkg-config files: libbz2, libdivsufsort
LDLIBS_ALL   := -lbz2 -ldivsufsort -lpthread

WARN       := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wwrite-strings -Wvla
comma      := ,
# gcc sees null formats that are none where the sanitizers have added their checks
SANFLAGS   := $(if $(SAN)$(FUZZ),-Wno-unknown-warning-option -Wno-format-truncation -fsanitize=address$(comma)undefined$(if $(FUZZ),$(comma)fuzzer-no-link) -fno-omit-frame-pointer)
# debug information names sources where limpid-dbgsrc has them
MAP        := -ffile-prefix-map=$(CURDIR)=/usr/src/debug/limpid-$(shell cat ci/version)
ALL_CFLAGS  = -std=gnu17 -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -I. -MMD -MP $(WARN) $(SANFLAGS) \
	      $(MAP) -DLIMPID_VERSION='"$(shell cat ci/version)"' $(CFLAGS)

objs = $($(1).src:%.c=$(O)/%.o)

guests := $(if $(SAN)$(FUZZ),,$(guests.src:images/guest/%.c=$(O)/guest/%))

all: $(O)/bin/swupd $(O)/bin/mixer $(if $(SAN)$(FUZZ),,$(O)/bin/record.so $(O)/bin/mark) $(guests)

# what ci/func needs besides
tools: $(O)/bin/inject

$(O)/bin/swupd: $(call objs,swupd) $(O)/client.a $(O)/content.a
# its commands may use the client (mirror), its steps may not: what they call must not be found before them
$(O)/bin/mixer: $(call objs,mixer) $(O)/client.a $(O)/step.a $(O)/content.a
$(O)/bin/unit:  $(call objs,unit) $(O)/client.a $(O)/step.a $(O)/guest.a $(O)/content.a
$(foreach a,content client step guest,$(eval $(O)/$(a).a: $(call objs,$(a))))

# a guest's first program stands alone: no libc, one segment, nothing that is not run
$(O)/guest/first: images/guest/first.c
	@mkdir -p $(@D)
	$(CC) -std=gnu17 -D_GNU_SOURCE $(WARN) $(MAP) -g -Os -ffreestanding -fno-stack-protector -fno-pie -fcf-protection=none \
		-fno-asynchronous-unwind-tables -static -nostdlib -Wl,-z,noseparate-code -Wl,--build-id=sha1 -o $@ $<

# the plugin of QEMU that counts a guest's instructions: QEMU itself has what it calls
$(O)/bin/count.so: tests/vm/count.c mixer/record/qemu_plugin.h
	@mkdir -p $(@D)
	$(CC) -std=gnu17 -D_GNU_SOURCE -I. $(WARN) $(CFLAGS) -shared -fPIC -o $@ $<

# the one that records what a guest executes, for 'mixer profile record'
$(O)/bin/record.so: mixer/record/record.c mixer/record/qemu_plugin.h
	@mkdir -p $(@D)
	$(CC) -std=gnu17 -D_GNU_SOURCE -I. $(WARN) $(MAP) $(CFLAGS) -shared -fPIC -o $@ $<

# kills a program at a system call, or lets the call fail
$(O)/bin/inject: tests/inject.c
	@mkdir -p $(@D)
	$(CC) -std=gnu17 -D_GNU_SOURCE $(WARN) $(CFLAGS) -o $@ $<

# what differences of two trees take: diff-streams OLD NEW
$(O)/bin/diff-streams: $(O)/tests/diff-streams.o $(O)/content.a
diff-streams.pkgs := $(content.pkgs)

# what runs in the guests of benchmarks: static, for any root
$(O)/bin/mark: tests/vm/mark.c
	@mkdir -p $(@D)
	$(CC) -std=gnu17 -D_GNU_SOURCE $(WARN) $(MAP) $(CFLAGS) -Os -static -o $@ $<
$(O)/bin/init: tests/vm/init.c
	@mkdir -p $(@D)
	$(CC) -std=gnu17 $(WARN) $(CFLAGS) -Os -static -nostdlib -e start -fno-pie -no-pie -fno-stack-protector -o $@ $<

fuzzers := $(patsubst tests/fuzz/%.c,%,$(filter %_fuzz.c,$(fuzz.src)))
$(foreach f,$(fuzzers),$(eval $(f).pkgs := $(sort $(client.pkgs) $(step.pkgs))))
$(fuzzers:%=$(O)/bin/%): $(O)/bin/%: $(O)/tests/fuzz/%.o $(if $(FUZZ),,$(O)/tests/fuzz/main.o) $(O)/client.a $(O)/step.a $(O)/content.a
$(fuzzers:%=$(O)/bin/%): private LDLIBS += $(if $(FUZZ),-fsanitize=fuzzer)

# static: they run in any root, also in one without a C library
$(filter-out $(O)/guest/first,$(guests)): $(O)/guest/%: $(O)/images/guest/%.o $(O)/guest.a $(O)/content.a
	@mkdir -p $(@D)
	$(CC) -static $(LDFLAGS) -o $@ $^

$(O)/bin/%:
	@mkdir -p $(@D)
	$(CC) $(SANFLAGS) -Wl,--as-needed $(LDFLAGS) -o $@ $^ $(shell pkg-config --libs $($*.pkgs)) $(LDLIBS_ALL) $(LDLIBS)
$(O)/%.a:
	@mkdir -p $(@D)
	@rm -f $@
	$(AR) rcsD $@ $^
$(O)/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -c -o $@ $<

-include $(foreach p,content client step swupd mixer unit fuzz guest guests,$(patsubst %.o,%.d,$(call objs,$(p))))

setup:
	ci/setup

unit: $(O)/bin/unit
	$(O)/bin/unit

# with FUZZ=1 CC=clang libFuzzer's programs, else ones that run over files
fuzzers: $(fuzzers:%=$(O)/bin/%)

fuzz:
	ci/fuzz $(or $(FUZZ_SECONDS),10)

func: all
	ci/func

inject: all tools
	POINTS=$(or $(POINTS),0) tests/inject.py

vm: all
	ci/vm

powercut: setup
	$(MAKE) all deb
	[ -e $(O)/vm/mix/update/www ] || ci/vm tests/vm/powercut.bats
	CUTS=$(or $(CUTS),10000) tests/vm/powercut

lint:
	ci/lint

check: setup
	ci/check

release: setup
	$(MAKE) all
	ci/release

bench: all
	ci/bench

bench-update: setup
	$(MAKE) all
	BIN=$(O)/bin ci/bench-update

bench-commit: all
	ci/bench-commit

bench-idle: setup
	$(MAKE) all
	BIN=$(O)/bin ci/bench-idle

bench-scaling: all
	ci/bench-scaling

bench-boot: setup
	$(MAKE) all deb $(O)/bin/count.so $(O)/bin/mark $(O)/bin/init
	ci/bench-boot

optimised: setup
	$(MAKE) all
	ci/optimised $(RECIPES)

bench-fdo: setup
	$(MAKE) all $(O)/bin/count.so
	ci/bench-fdo $(RECIPES)

bench-record: all
	ci/bench-record

deb: all
	ci/deb

format:
	clang-format -i $(shell git ls-files -co --exclude-standard '*.c' '*.h')

install: all
	install -D -m 0755 $(O)/bin/swupd $(DESTDIR)$(PREFIX)/bin/swupd
	install -D -m 0755 $(O)/bin/mixer $(DESTDIR)$(PREFIX)/bin/mixer
	install -D -m 0644 $(O)/bin/record.so $(DESTDIR)$(PREFIX)/lib/limpid/record.so
	install -D -m 0755 $(O)/bin/mark $(DESTDIR)$(PREFIX)/lib/limpid/mark
	install -d $(addprefix $(DESTDIR)$(PREFIX)/share/man/man,5 7 8)
	install -m 0644 swupd/man/*.8 mixer/man/*.8 $(DESTDIR)$(PREFIX)/share/man/man8/
	install -m 0644 swupd/man/*.5 mixer/man/*.5 $(DESTDIR)$(PREFIX)/share/man/man5/
	install -m 0644 images/man/*.7 $(DESTDIR)$(PREFIX)/share/man/man7/
	install -d $(DESTDIR)$(PREFIX)/share/limpid
	cp -R bundles initramfs kernel-config $(DESTDIR)$(PREFIX)/share/limpid/
	install -d $(DESTDIR)$(PREFIX)/share/limpid/images
	install -m 0644 images/*.image $(DESTDIR)$(PREFIX)/share/limpid/images/
	install -m 0755 images/run $(DESTDIR)$(PREFIX)/share/limpid/images/

clean:
	rm -rf build build-san build-fuzz

.PHONY: all tools setup unit fuzzers fuzz func inject vm powercut lint check release bench bench-update bench-idle bench-commit bench-scaling bench-boot bench-record optimised bench-fdo deb format install clean
.DELETE_ON_ERROR:
