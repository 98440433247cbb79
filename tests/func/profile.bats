#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# mixer profile: what perf has recorded becomes a profile, profiles are merged and shown, and what is none is refused with one line.

load lib

setup_file()
{
	export DIR=$BATS_FILE_TMPDIR
	cd "$DIR" || return
	mkdir -p root/usr/bin debug
	gcc -O2 -g -fcf-protection -Wl,--build-id -o known "$TOP/tests/vm/profile/known.c"
	BUILD_ID=$(readelf -n known | sed -n 's/.*Build ID: //p')
	mkdir -p "debug/usr/lib/debug/.build-id/${BUILD_ID:0:2}"
	objcopy --only-keep-debug known "debug/usr/lib/debug/.build-id/${BUILD_ID:0:2}/${BUILD_ID:2}.debug"
	strip -o root/usr/bin/known known
	export BUILD_ID BASE=0x7f1234560000
}

# symbol NAME: where it begins, and how long it is
symbol()
{
	nm -S "$DIR/known" | awk -v name="$1" '$4 == name {print "0x" $1, "0x" $2}'
}

# samples OUT [BUILD_ID]: 7 samples of hot, from its beginning to its last byte but one, whence it jumped to its beginning
samples()
{
	read -r start size < <(symbol hot)
	local last=$((BASE + start + size - 2)) first=$((BASE + start))
	python3 "$TOP/tests/func/perf_data.py" "$1" /usr/bin/known "${2:-$BUILD_ID}" 4321 "$(printf %x "$BASE")" 4000 0 \
		"$(printf '%x/%x,%x/%x' "$last" "$first" "$last" "$first")" 7
}

@test "import reads a perf.data with branch records, by perf" {
	samples "$BATS_TEST_TMPDIR/perf.data"
	cd "$BATS_TEST_TMPDIR"
	run mixer profile import --root="$DIR/root" --debug="$DIR/debug" --source='known 1.0-1' perf.data out.profile
	assert_success
	assert_line --partial 'of what programs executed, 100.0 % is of files of the release'
	assert_line --partial '/usr/bin/known: lines are known of 100.0 %'
	run cat out.profile
	assert_line "# build-id $BUILD_ID"
	assert_line --regexp '^# recorded 20.* workload - by perf$'
	assert_line --regexp '^hot:[0-9]+:7$'
	assert_line --regexp '^ 5(\.[0-9]+)?: 7$'
	# the same from the text
	perf script -i perf.data -F pid,ip,brstack,event --show-mmap-events >perf.txt
	touch -r perf.data perf.txt
	mixer profile import --root="$DIR/root" --debug="$DIR/debug" --source='known 1.0-1' perf.txt same.profile
	cmp out.profile same.profile
}

# import RECORDING: of the root, to out.profile
import()
{
	mixer profile import --root="$DIR/root" --debug="$DIR/debug" "$1" out.profile
}

@test "import finds build-ids in the header of a perf.data, where perf has them by default" {
	cd "$BATS_TEST_TMPDIR"
	samples perf.data "header:$BUILD_ID"
	run -0 import perf.data
	refute_output --partial warning
	run -0 grep -c "^hot:[0-9]*:7$" out.profile
	# under its path ran another build
	for id in header: ''; do
		rm -f out.profile
		samples perf.data "${id}00112233445566778899aabbccddeeff00112233"
		run -1 import perf.data
		assert_line "warning: perf.data: it is of another build of /usr/bin/known: build-id 00112233445566778899aabbccddeeff00112233, in the release $BUILD_ID"
		assert_line --partial 'nothing that was executed is of files of this release'
		refute [ -e out.profile ]
	done
	# nobody knows
	samples perf.data -
	perf script -i perf.data -F pid,ip,brstack,event --show-mmap-events >perf.txt
	for file in perf.data perf.txt; do
		run -0 import $file
		assert_line --partial "warning: $file: it does not say of which build /usr/bin/known is"
		run -0 grep -c "^hot:[0-9]*:7$" out.profile
	done
}

@test "record adds to what the recipe has, shipped or recorded here" {
	mix_init
	cd "$BATS_TEST_TMPDIR"
	# a guest that leaves a recording of a text of perf
	samples perf.data
	perf script -i perf.data -F pid,ip,brstack,event --show-mmap-events >perf.txt
	mkdir -p images "$MIX/bundles/recipes"
	sed -i "/^\[mix\]/a images = $PWD/images" "$MIX/mixer.conf"
	printf '#!/bin/sh\ncp %s/perf.txt "$(echo "$*" | sed "s/.*,out=\\([^,]*\\).*/\\1/")"\n' "$PWD" >images/run
	chmod +x images/run
	printf '%s\n' 'kind = tar' 'compress = none' 'bundles = os-core' >images/workload.image
	touch "$MIX/bundles/recipes/known.workload"
	echo 'workload = known' >"$MIX/bundles/recipes/known"
	{
		printf '# limpid-profile 1\n# build-id aa\n# source a 1\n# recorded 2026-01-01T00:00:00Z workload - by qemu\n# weight 1000 generation 0\n'
		printf 'elsewhere:100:100\n 1: 100\n'
	} >"$MIX/bundles/recipes/known.profile"
	content os-core usr/share/base base
	bundle os-core
	release
	for seen in 7 14; do
		run -0 mixer -C "$MIX" profile record known --root="$DIR/root" --debug="$DIR/debug"
		run -0 cat "$MIX/local-recipes/known.profile"
		assert_line 'elsewhere:50:50'
		assert_line '# weight 500 generation 1'
		assert_line --regexp "^hot:[0-9]+:$seen$"
	done
	rm "$MIX/local-recipes/known.profile"
	run -0 mixer -C "$MIX" profile record known --root="$DIR/root" --debug="$DIR/debug" --age=0
	refute grep elsewhere "$MIX/local-recipes/known.profile"
}

@test "merge halves what is of an older build, show tells of both" {
	cd "$BATS_TEST_TMPDIR"
	printf '# limpid-profile 1\n# build-id aa\n# source a 1\n# recorded 2026-01-01T00:00:00Z workload - by qemu\n# weight 1000 generation 0\nf:100:9\n 1: 100\ng:1:1\n 1: 1\n' >old
	printf '# limpid-profile 1\n# build-id bb\n# source a 2\n# recorded 2026-02-01T00:00:00Z workload - by perf\n# weight 1000 generation 0\nf:2000:1\n 1: 2000\n' >new
	mixer profile merge out old new
	run cat out
	assert_line 'f:2050:5'
	assert_line '# weight 500 generation 1'
	# 1 of 2051 is the cold tail
	refute_line --partial 'g:'
	mixer profile merge --trim=0 --age=1000 out old new
	run cat out
	assert_line 'f:2100:10'
	assert_line 'g:1:1'
	run mixer profile show out
	assert_success
	assert_line 'a 2, build-id bb'
	assert_line --regexp '^  recorded 2026-01-01 00:00:00 UTC by qemu, workload -, weight 100.0 %, 1 builds ago$'
	assert_line '2 functions, the sum of all counts is 2101'
	assert_line --regexp '^100.0 % +10 calls  f$'
}

@test "show says when a profile is of another program" {
	cd "$BATS_TEST_TMPDIR"
	printf 'zebra:1:1\n 1: 1\n' >other
	run mixer profile show other --match="$DIR/known"
	assert_failure 1
	assert_line --partial "it is of another program: $DIR/known has none of its functions"
	assert_line --partial 'hint: '
	printf 'hot:1:1\n 1: 3\nzebra:1:1\n 1: 1\n' >half
	run mixer profile show half --match="$DIR/known"
	assert_success
	assert_line '75.0 % of it is of functions that these files have'
}

@test "what is no recording, or of other files, or has no debug information, is one line and a hint" {
	cd "$BATS_TEST_TMPDIR"
	samples perf.data
	mkdir -p none/usr/bin
	cp /bin/true none/usr/bin/true
	printf 'limpid-recording 1\nkernel 5\n' >cut
	printf 'PERFILE2 and nothing that perf likes' >damaged
	printf 'hello\n' >text
	local want
	while IFS='|' read -r file root debug want; do
		run mixer profile import --root="$root" --debug="$debug" "$file" out
		assert_failure 1
		assert_line --partial "$want"
		assert [ "$(grep -c '^mixer: ' <<<"$output")" = 1 ]
		refute [ -e out ]
	done <<-END
		cut|$DIR/root|$DIR/debug|cut: the recording has no end
		text|$DIR/root|$DIR/debug|text: neither a recording nor what 'perf script' writes
		damaged|$DIR/root|$DIR/debug|damaged: 
		perf.data|none|$DIR/debug|nothing that was executed is of files of this release
		perf.data|$DIR/root|none|there is no debug information of what was executed, as of /usr/bin/known
		perf.data|missing|$DIR/debug|missing: No such file
		perf.data|$DIR/root|missing|missing: No such file
	END
}

@test "a profile that is none is refused with its line" {
	cd "$BATS_TEST_TMPDIR"
	printf 'hot:1:1\n 1 2\n' >bad
	for command in 'show bad' 'export bad out' 'merge out bad'; do
		# shellcheck disable=SC2086 # words
		run mixer profile $command
		assert_failure 1
		assert_line 'mixer: bad: line 2: not a line of a profile'
		refute [ -e out ]
	done
}
