#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# A whole system with a root that nobody can write to: /etc and /var are memory or a disk, whatever is lost of them comes again.

load lib

setup_file()
{
	vm_image system
	export IMAGE
}

# What is to be seen once multi-user.target is there: no unit and no message of the journal that says 'error'
WELL="systemctl --failed --plain --no-legend | sed s/^/failed:/; journalctl -b -p err -q --no-pager | sed s/^/error:/; systemctl is-active multi-user.target; systemctl is-system-running"

# boots [OPTION…] COMMAND: the system is well, and has run the command
boots()
{
	local command=${*: -1}
	vm_run "${@:1:$#-1}" --exec="$WELL; $command" "$IMAGE" ${DISK:+-- -drive "file=$DISK,format=raw,if=virtio"}
	assert_equal "$status" 0
	refute_line --regexp '^(failed|error):'
	assert_line active
	assert_line running
}

@test "the release's defaults with changes in memory: every unit is well, the root is read-only" {
	boots 'echo mine >/etc/mine && cat /etc/mine; cat /etc/hostname /etc/passwd; touch /usr/mine /mine; cat /proc/mounts'
	assert_line mine
	assert_line --regexp '^root:x:0:0:'
	assert_output --regexp "cannot touch '/usr/mine': Read-only file system"
	assert_output --regexp "cannot touch '/mine': Read-only file system"
	assert_line --regexp '^/dev/root / erofs ro,.*dax=always'
	assert_line --regexp '^overlay /etc overlay rw,'
	assert_line --regexp '^tmpfs /var tmpfs rw,'
}

@test "empty /etc and /var: the system makes what it needs" {
	boots --append=limpid.state=empty 'cat /etc/passwd; test -d /var/lib/systemd && test -d /var/tmp && echo made; findmnt -no FSTYPE /etc'
	assert_line --regexp '^root:x:0:0:'
	assert_line made
	assert_line tmpfs
}

@test "on a disk: kept over boots, comes again when all is removed, gone after a factory reset" {
	DISK=$BATS_TEST_TMPDIR/disk
	truncate -s 256M "$DISK"
	mkfs.ext4 -q -L state "$DISK"
	boots --append=limpid.state=/dev/vda 'findmnt -no FSTYPE /etc; findmnt -no FSTYPE /var; echo mine >/etc/mine; echo mine >/var/lib/mine'
	assert_equal "$(grep -c '^ext4$' <<<"$output")" 2
	boots --append=limpid.state=LABEL=state 'cat /etc/mine /var/lib/mine; rm -rf /etc/* /var/*; ls -A /etc'
	assert_equal "$(grep -c '^mine$' <<<"$output")" 2
	boots --append=limpid.state=LABEL=state 'cat /etc/passwd; ls /etc/mine; echo again >/etc/again'
	assert_line --regexp '^root:x:0:0:'
	assert_output --partial "cannot access '/etc/mine'"
	boots --append='limpid.state=LABEL=state limpid.reset' 'ls /etc/again; cat /etc/passwd'
	assert_output --partial "cannot access '/etc/again'"
	assert_line --regexp '^root:x:0:0:'
}

@test "a disk that is not there, a file system that is none, a word that is none: said, and off" {
	DISK=$BATS_TEST_TMPDIR/disk
	truncate -s 16M "$DISK"
	local case
	for case in '/dev/vdz|use limpid.state=/dev/vdz: it did not appear' 'LABEL=none|use limpid.state=LABEL=none: it did not appear' \
		'/dev/vda|use limpid.state=/dev/vda: not a file system' 'much|understand limpid.state=much'; do
		vm_run --append="limpid.state=${case%%|*}" --serial --exec=true "$IMAGE" -- -drive "file=$DISK,format=raw,if=virtio"
		assert_equal "$status" 125
		assert_output --partial "first: cannot ${case#*|}"
	done
}
