#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# A soft reboot into a root that is prepared for the next boot: a real systemd of Debian 13 as PID 1 of a container of its own, whose root is a subvolume of
# a btrfs, with those that are the machine's own. tests/vm/next_boot.bats has the same with a kernel, its deadline and our initrd.

load lib
load container

# 30 is not well
setup_file()
{
	[ "$(id -u)" = 0 ] || return 0
	export MIX=$BATS_FILE_TMPDIR/mix
	local top release
	top=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)
	{
		mixer init "$MIX" --bundles="$top/bundles" --content-url=file:///srv/www
		packages
		printf '# [%s\n' 'TITLE]: trial' 'DESCRIPTION]: of this test' 'STATUS]: Active' 'CAPABILITIES]: test' 'MAINTAINER]: test' \
			>"$MIX/local-bundles/trial"
		printf '%s\n' 'include(os-core)' 'content(tree)' >>"$MIX/local-bundles/trial"
		printf '%s\n' os-core os-core-update trial >"$MIX/mixbundles"
		mkdir -p "$MIX"/local-bundles/tree/usr/{share/defaults/swupd/health.d,lib/kernel/test}
		echo kernel >"$MIX/local-bundles/tree/usr/lib/kernel/test/bzImage"
		for release in 10 20 30; do
			printf '#!/bin/sh\necho not well\nexit %s\n' "$((release / 30))" >"$MIX/local-bundles/tree/usr/share/defaults/swupd/health.d/check"
			chmod 755 "$MIX/local-bundles/tree/usr/share/defaults/swupd/health.d/check"
			echo "$release" >"$MIX/local-bundles/tree/usr/share/trial"
			mixer -C "$MIX" lock || [ $? = 3 ]
			mixer -C "$MIX" build
		done
	} >"$BATS_FILE_TMPDIR/log" 2>&1 || { tail -n 20 "$BATS_FILE_TMPDIR/log"; return 1; }
}

setup()
{
	[ "$(id -u)" = 0 ] || skip "needs root"
	unshare -mpfuinC true 2>/dev/null || skip "needs namespaces"
	machine m
	roots 1024
	sw os-install -V 10 -B os-core-update,trial
	mkdir -p "$ROOT/srv/www"
	no_container_units
	echo 'panic=1 rw rootflags=noatime' >"$BATS_TEST_TMPDIR/cmdline"
	cat >"$BATS_TEST_TMPDIR/more" <<-END
		cp -a "$DEVICE" dev/
		mkdir run/limpid
		echo root >run/limpid/root
		cp "$BATS_TEST_TMPDIR/cmdline" run/limpid/cmdline
		mount --bind run/limpid/cmdline proc/cmdline
	END
	container "$BATS_TEST_TMPDIR/more"
}

teardown()
{
	[ -z "${INIT:-}" ] || kill -KILL "$INIT" || true
	umount -R "$ROOT" "$TOPLEVEL" || true
}

# until_true COMMAND…: wait for it
until_true()
{
	local end=$((SECONDS + 90))
	until "$@" >/dev/null 2>&1; do
		[ "$SECONDS" -lt "$end" ] || fail "not in time: $* ($(inside systemctl list-jobs; inside swupd info))"
		sleep 0.5
	done
}

runs()
{
	[ "$(inside findmnt -no FSROOT /)" = "/$1" ] && [ "$(inside systemctl is-active multi-user.target)" = active ]
}

# untouched: the machine is as it was when release 20 had been prepared
untouched()
{
	runs root
	run -1 inside findmnt /run/nextroot
	run -0 inside sh -c 'cat /run/limpid/root; ls /run/limpid; find /run/systemd/system'
	assert_line root
	refute_line trial
	refute_line --partial swupd-accept
	assert_equal "$(ls "$TOPLEVEL/.swupd")" "$(printf 'good\ntry+3')"
	run -0 inside swupd info
	assert_line 'next boot: release 20, on trial in root-20, 3 tries'
}

@test "into the prepared root, with the machine's own in place; accepted by itself; and back" {
	run -0 inside swupd update --next-boot -V 20
	inside swupd update --soft-reboot -V 20 || true
	local pair
	until_true runs root-20
	until_true [ ! -L "$TOPLEVEL/.swupd/try+2-1" ]
	assert_equal "$(readlink "$TOPLEVEL/.swupd/good")" root-20
	kill -0 "$INIT"
	for pair in etc var home roothome:root srv; do
		assert_equal "$(inside findmnt -no FSROOT "/${pair#*:}")" "/${pair%:*}"
	done
	assert_equal "$(inside findmnt -no OPTIONS / | cut -d, -f 1,2)" rw,noatime
	run -0 inside sh -c 'swupd info; ls /run/limpid /run/nextroot /run/systemd/system; cat /run/limpid/root'
	assert_line 'release: 20'
	refute_line --partial 'on trial'
	assert_line root-20
	refute_line trial
	refute_line usr
	assert_equal "$(inside ls /run/systemd/system/multi-user.target.wants)" ""
	inside swupd rollback --soft-reboot || true
	until_true runs root
	run -0 inside swupd info
	assert_line 'release: 10'
	assert_line "bad: release 20: it was left by 'swupd rollback'"
	refute_line --partial 'on trial'
	assert_equal "$(readlink "$TOPLEVEL/.swupd/good")" root
}

@test "a release that is not well: the try is counted, and PID 1 ends for a full reboot" {
	inside swupd update --next-boot --soft-reboot --tries=1 || true
	until_true [ ! -e "/proc/$INIT" ]
	assert_equal "$(readlink "$TOPLEVEL/.swupd/try+0-1")" root-30
	assert_equal "$(readlink "$TOPLEVEL/.swupd/good")" root
	assert_equal "$(cat "$TOPLEVEL/var/lib/swupd/refused")" "$(printf '30\t/usr/share/defaults/swupd/health.d/check ended with 1: not well')"
	INIT=''
}

# loader: the machine's entries are in /var/efi, and it was started by that of release 10
loader()
{
	OPTIONS="root=LABEL=x rootflags=subvol=root rw"
	inside mkdir -p /etc/swupd /var/efi/loader/entries /var/efi/limpid/10
	inside cp /usr/lib/kernel/test/bzImage /var/efi/limpid/10/linux
	inside rm /run/limpid/root
	printf '[GLOBAL]\nboot = /var/efi\n' >"$TOPLEVEL/etc/swupd/config"
	printf '%s\n' '# kernel test' 'title Limpid 10' 'version 10' 'sort-key limpid' 'linux /limpid/10/linux' "options $OPTIONS" \
		>"$TOPLEVEL/var/efi/loader/entries/limpid-10.conf"
	inside sh -c "echo '$OPTIONS' >/run/limpid/cmdline"
}

entries()
{
	assert_equal "$(ls "$TOPLEVEL/var/efi/loader/entries")" "$(printf '%s\n' "$@")"
}

@test "where a loader counts: the last try of its entry is the soft reboot's, and accepted; and back" {
	loader
	inside swupd update --next-boot --soft-reboot --tries=1 -V 20 || true
	until_true runs root-20
	until_true [ -e "$TOPLEVEL/var/efi/loader/entries/limpid-20.conf" ]
	entries limpid-10.conf limpid-20.conf
	assert_equal "$(inside cat /run/limpid/entry)" limpid-20
	run -0 inside swupd info
	refute_line --partial 'on trial'
	inside swupd rollback --soft-reboot || true
	until_true runs root
	entries limpid-10.conf limpid-20+0-1.conf
	assert_equal "$(inside cat /run/limpid/entry)" limpid-10
	run -0 inside swupd info
	refute_line --partial 'on trial'
}

@test "where a loader counts, and a release is not well: the last try is counted, the loader starts the good one" {
	loader
	inside swupd update --next-boot --soft-reboot --tries=1 || true
	until_true [ ! -e "/proc/$INIT" ]
	entries limpid-10.conf limpid-30+0-1.conf
	INIT=''
}

@test "what fails after the commit leaves the prepared root for the next boot, and nothing else" {
	run -0 inside swupd update --next-boot -V 20
	# systemd refuses
	inside systemctl mask --runtime systemd-soft-reboot.service
	run -28 inside swupd update --soft-reboot -V 20
	assert_line --partial 'swupd: release 20 is prepared for the next boot, and not entered now: userspace is not restarted'
	inside systemctl unmask --runtime systemd-soft-reboot.service
	untouched
	# a place is missing
	rmdir "$TOPLEVEL/root-20/srv"
	run -28 inside swupd update --soft-reboot -V 20
	assert_line --partial 'swupd: release 20 is prepared for the next boot, and not entered now: mount'
	untouched
	mkdir "$TOPLEVEL/root-20/srv"
	# somebody has another root there
	inside mkdir -p /run/nextroot
	inside mount -t tmpfs other /run/nextroot
	run inside swupd update --soft-reboot -V 20
	assert_failure
	assert_line --partial 'there is something else mounted at /run/nextroot: other'
	inside umount /run/nextroot
	untouched
	# the kernel is another one
	mkdir -p "$TOPLEVEL/root-20/usr/lib/modules/1"
	run -15 inside swupd update --soft-reboot -V 20
	assert_line 'swupd: release 20 is prepared for the next boot, and not entered now: a soft reboot keeps kernel and initrd, and the release has others'
	untouched
	rmdir "$TOPLEVEL/root-20/usr/lib/modules/1"
	# after a run that was killed
	inside mount -o subvol=home "$DEVICE" /run/nextroot
	inside swupd update --soft-reboot -V 20 || true
	until_true runs root-20
}
