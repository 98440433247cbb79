#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# The first program of guests, in namespaces of its own: PID 1 of a root that cannot be written, with a kernel's command line of
# the test's. What takes a kernel of its own, devices and systemd, is in tests/vm/stateless.bats.

load lib

setup()
{
	unshare --user --map-root-user --mount --pid --fork true 2>/dev/null || skip "no user namespaces here (in a chroot there are none)"
	first=$(cd "$TOP" && realpath "${O:-build}/guest/first")
	root=$BATS_TEST_TMPDIR/root
	mkdir -p "$root"/{dev,proc,sys,run,tmp,root,etc,var,host,usr/lib/systemd,usr/share/factory/etc/sub}
	echo factory >"$root/usr/share/factory/etc/motd"
	ln -s host/lib host/lib64 host/bin "$root/"
	# in place of systemd: tells what it was given
	cat >"$root/usr/lib/systemd/systemd" <<-'END'
		#!/bin/bash
		cd /
		PATH=/host/bin
		echo "init $0 $* LANG=$LANG umask=$(umask)"
		if [ -f /etc/motd ]; then echo "motd $(</etc/motd)"; fi
		if [ -f /etc/machine-id ]; then echo "machine-id $(stat -c '%s %a' /etc/machine-id)"; fi
		if [ -f /etc/.updated ] && [ ! /usr -nt /etc/.updated ]; then echo "up to date"; fi
		ls -A /var
		stat -c '%n %a' /etc /var /root /tmp /var/tmp 2>/dev/null
		{ echo new >/etc/motd && echo new >/var/file && echo new >/tmp/file && echo written; } 2>&1
		[ ! -d /run/limpid ] || ls -A /run/limpid
	END
	chmod +x "$root/usr/lib/systemd/systemd"
	cp "$root/usr/lib/systemd/systemd" "$root/usr/lib/other"
	cp "$first" "$root/usr/lib/first"
}

# boot WORDS [ro|rw] [ARGUMENT…]: the root with this kernel's command line; $console is what it says there
boot()
{
	local words=$1 mode=${2:-ro}
	shift "$(($# < 2 ? $# : 2))"
	printf '%s\n' "$words" >"$BATS_TEST_TMPDIR/cmdline"
	: >"$BATS_TEST_TMPDIR/console"
	# shellcheck disable=SC2016 # the inner shell's
	run env -i PATH="$PATH" LANG=de unshare --user --map-root-user --mount --pid --fork -- bash -c '
		set -e
		root=$1 files=$2 mode=$3
		shift 3
		mount --bind "$root" "$root"
		mount -t proc proc "$root/proc"
		mount --bind "$files/cmdline" "$root/proc/cmdline"
		mount --rbind /sys "$root/sys"
		mount --rbind /usr "$root/host"
		mount -t tmpfs dev "$root/dev"
		: >"$root/dev/console"
		mount --bind "$files/console" "$root/dev/console"
		mount -o "remount,bind,$mode" "$root"
		exec chroot "$root" /usr/lib/first "$@"
	' bash "$root" "$BATS_TEST_TMPDIR" "$mode" "$@"
	console=$(cat "$BATS_TEST_TMPDIR/console")
}

# The end of a namespace's PID 1 that switches off; what it said is the console's one line.
assert_gave_up()
{
	assert_equal "$status" 130
	assert_equal "$console" "$1"
}

@test "a root that cannot be written gets the factory's etc with changes in memory, and memory for var and tmp" {
	boot "quiet root=/dev/pmem0 ro"
	assert_success
	assert_equal "$output" "init /usr/lib/systemd/systemd  LANG=de umask=0022
motd factory
machine-id 0 444
up to date
cache
lib
lock
log
run
spool
tmp
/etc 755
/var 755
/root 700
/tmp 1777
/var/tmp 1777
written"
	assert_equal "$(cat "$root/usr/share/factory/etc/motd")" factory
	assert_equal "$(find "$root"/{etc,var,tmp} -mindepth 1)" ""
}

@test "limpid.state=empty gives empty memory, and PID 1 finds that it was named" {
	boot "limpid.state=empty"
	assert_success
	assert_equal "$output" "init /usr/lib/systemd/systemd  LANG=de umask=0022
machine-id 0 444
/etc 755
/var 755
/root 700
/tmp 1777
written"
}

@test "a root that can be written is left as it is" {
	chmod 700 "$root/var"
	boot "quiet" rw
	assert_success
	assert_equal "$output" "init /usr/lib/systemd/systemd  LANG=de umask=0022
/etc 755
/var 700
/root 755
/tmp 755
written"
	assert_equal "$(cat "$root/etc/motd")" new
}

@test "the last word of the command line counts, quotes join, PID 1 gets the kernel's arguments" {
	boot 'limpid.init=/none "limpid.state=none" x="limpid.init=/b c" limpid.init=/usr/lib/other limpid.state=empty' ro --single "two words"
	assert_success
	assert_line --index 0 "init /usr/lib/other --single two words LANG=de umask=0022"
	assert_line written
}

@test "what cannot be done is said on the console, and the guest switches off" {
	boot "limpid.init=/usr/lib/none"
	assert_gave_up "first: cannot run /usr/lib/none: no such file"

	boot "limpid.state=nonsense"
	assert_gave_up "first: cannot understand limpid.state=nonsense"

	# the namespace has a folder of devices, and nothing appears there
	boot "limpid.state=/dev/vdz"
	assert_gave_up "first: cannot use limpid.state=/dev/vdz: it did not appear"

	rm -r "$root/usr/share/factory"
	boot ""
	assert_gave_up "first: cannot put memory over /usr/share/factory/etc: no such file"

	rmdir "$root/var"
	boot "limpid.state=empty"
	assert_gave_up "first: cannot mount /var: no such file"
}

@test "nobody but the kernel runs it" {
	run -2 "$first"
	assert_output "first: only the kernel runs this, as PID 1"
}

@test "it is small, and needs nothing" {
	# as it is packaged
	strip -o "$BATS_TEST_TMPDIR/first" "$first"
	assert [ "$(stat -c %s "$BATS_TEST_TMPDIR/first")" -le 12288 ]
	run readelf -ld "$first"
	refute_output --partial INTERP
	refute_output --partial NEEDED
}
