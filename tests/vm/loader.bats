#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# A disk that UEFI starts, as 'mixer image' writes it: a release for the next boot brings its own kernel and initrd, systemd-boot counts its tries, and one whose
# kernel panics goes back by itself.

load lib
load trial

setup_file()
{
	local dir=$BATS_FILE_TMPDIR
	{
		trial_mix os-core os-core-update initramfs boot-guest
		mkdir -p "$MIX/local-images"
		sed 's/^bundles = .*/& trial/; s/^cmdline = .*/& systemd.show_status=false console=ttyS0/; /budget/d' \
			"$TOP/images/disk.image" >"$MIX/local-images/machine.image"
		health 0 10
		release
		mixer -C "$MIX" image machine
		health 0 20
		release
		ending_init
		release
	} >"$dir/log" 2>&1 || {
		tail -n 40 "$dir/log"
		return 1
	}
	IMAGE=$MIX/update/images/10/machine.json
	export IMAGE
	mke2fs -q -t ext4 -d "$MIX/update/www" "$dir/www" 1G
}

# PID 1 of the initrd and of the system ends, which the kernel does not survive
ending_init()
{
	printf 'int main(void) { return 1; }\n' >"$BATS_FILE_TMPDIR/end.c"
	cc -static -o "$BATS_FILE_TMPDIR/end" "$BATS_FILE_TMPDIR/end.c"
	repack systemd cp "$BATS_FILE_TMPDIR/end" usr/lib/systemd/systemd
}

@test "kernel and initrd come with the release, the loader counts; a kernel that panics: the release before is back, and stays" {
	local top=$BATS_TEST_TMPDIR/top disk
	disk=${IMAGE%.json}.disk
	mkdir -p "$top"
	mount -o "loop,offset=$(jq '."root-offset"' "$IMAGE"),subvolid=5" "$disk" "$top"
	driver "$top/etc" /dev/vdb
	printf '%s\n' 'swupd update --next-boot -V 20' 'bootctl list; swupd update --next-boot --tries=1' 'swupd info; ls /efi/loader/entries /boot/loader/entries; swupd rollback' >"$top/etc/steps"
	umount "$top"
	run "$TOP/images/run" --serial --write --memory=512 --timeout=1500 "$IMAGE" -- -action reboot=reset \
		-drive "file=$BATS_FILE_TMPDIR/www,if=none,id=www,format=raw,readonly=on" -device virtio-blk-pci,drive=www </dev/null
	printf '%s\n' "$output" >"$BATS_TEST_TMPDIR/console"
	trial_console "$BATS_TEST_TMPDIR/console"
	boots 'release 10 in /root' 'release 20 in /root-20' 'release 20 in /root-20' 'release 10 in /root'
	assert_line --partial 'Kernel panic'
	assert_line 'bad: release 30: it did not come up in 1 try'
	assert_line --partial 'release 10 boots next'
}
