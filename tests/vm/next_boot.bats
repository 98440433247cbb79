#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# Updates for the next boot on a real machine: a host's btrfs, our initrd and kernel given by the hypervisor, systemd, the release's own swupd.
# tests/vm/bad_release.bats has those that do not come up.

load lib
load trial

setup_file()
{
	trial_host
	{
		trial_mix os-core os-core-update
		health 0 10
		release
		health 0 20
		release
	} >"$BATS_FILE_TMPDIR/log" 2>&1 || {
		tail -n 40 "$BATS_FILE_TMPDIR/log"
		return 1
	}
	trial_done
}

@test "an update for the next boot, accepted by itself; and back" {
	steps 'swupd update --next-boot -V 20' 'swupd info; swupd rollback' 'swupd recover; swupd info'
	boots 'release 10 in /root' 'release 20 in /root-20' 'release 10 in /root' 'release 10 in /root'
	assert_line 'release: 20'
	assert_line --partial 'release 10 boots next'
	assert_line "bad: release 20: it was left by 'swupd rollback'"
	refute_line --regexp '^status: [1-9]'
}

@test "an update in place whose machine stops amid it: completed early in the next boot" {
	steps 'swupd update --in-place -V 20 & while [ ! -e /usr/.swupd/journal ]; do :; done; kill -STOP $!; sync; ls /usr/.swupd/journal; echo b >/proc/sysrq-trigger' \
		'journalctl -b -o cat -u swupd-recover; swupd diagnose; swupd history'
	assert_line /usr/.swupd/journal
	boots 'release 10 in /root' 'release 20 in /root' 'release 20 in /root'
	assert_line --partial 'an interrupted run was completed'
	assert_line 'status: 0'
}

@test "a soft reboot into a prepared release, accepted by itself, and back: the kernel goes on" {
	steps 'swupd update --next-boot -V 20; swupd update --soft-reboot -V 20 && sleep 1000' \
		'findmnt -rno TARGET,OPTIONS -t btrfs | sed s/^/mount:/; ls /run/nextroot /run/systemd/system/multi-user.target.wants; swupd info; swupd rollback --soft-reboot && sleep 1000' \
		'swupd info'
	boots 'release 10 in /root' 'release 20 in /root-20' 'release 10 in /root' 'release 10 in /root'
	assert_line --partial 'release 20 is already prepared'
	for place in etc var home root:roothome srv; do
		assert_line --regexp "^mount:/${place%:*} rw,.*subvol=/${place#*:}\$"
	done
	refute_line --partial swupd-accept.service
	assert_line 'release: 20'
	assert_line "bad: release 20: it was left by 'swupd rollback'"
	# 10; the check of 20, and 20; 10 again; 10 after a reboot. Nothing was on trial but 20.
	kernels a a a a b
}
