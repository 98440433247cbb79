#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# A disk that UEFI starts, as 'mixer image' writes it: a release for the next boot brings its own kernel and initrd, systemd-boot counts its tries, and one whose
# kernel panics goes back by itself. A soft reboot is one of those tries.

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
		loader_health 0 20
		release
		ending_init
		release
		if [ -n "${LONG:-}" ]; then
			rm "$MIX"/local-debs/systemd_*
			loader_health 3 40
			release
		fi
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

# loader_health STATUS TEXT: the same as health; the console has also what entries there are while the release is on trial
loader_health()
{
	health "$@"
	sed -i '1a /etc/entries' "$MIX/local-bundles/tree/usr/share/defaults/swupd/health.d/check"
}

# prepare STEP…: what it does at each boot
prepare()
{
	# shellcheck disable=SC2154 # mounted() sets it
	driver "$top/etc" /dev/vdb
	write_steps "$@"
	cat >"$top/etc/entries" <<-'END'
		#!/bin/sh
		mkdir -p /run/esp
		mount /dev/vda1 /run/esp
		echo "entries:" $(ls /run/esp/loader/entries) >/dev/console
		umount /run/esp
	END
	chmod +x "$top/etc/entries"
}
export -f prepare

# machine STEP…: a copy of that disk runs until there is no step any more; $output is its console
machine()
{
	local image=$BATS_TEST_TMPDIR/machine.json
	cp --sparse=always "$IMAGE" "${IMAGE%.json}.disk" "$BATS_TEST_TMPDIR"
	mounted "loop,offset=$(jq '."root-offset"' "$image"),subvolid=5" "${image%.json}.disk" prepare "$@"
	run "$TOP/images/run" --serial --write --memory=512 --timeout=1500 "$image" -- -action reboot=reset \
		-drive "file=$BATS_FILE_TMPDIR/www,if=none,id=www,format=raw,readonly=on" -device virtio-blk-pci,drive=www </dev/null
	printf '%s\n' "$output" >"$BATS_TEST_TMPDIR/console"
	trial_console "$BATS_TEST_TMPDIR/console"
}

# entries WANTED…: the loader's, without .conf, at each time that the machine was asked
entries()
{
	assert_equal "$(sed -n 's/^entries: //p' "$CONSOLE" | sed 's/limpid-//g; s/\.conf//g')" "$(printf '%s\n' "$@")"
}

@test "kernel and initrd come with the release, the loader counts; a kernel that panics: the release before is back, and stays" {
	machine 'swupd update --next-boot -V 20' '/etc/entries; swupd update --next-boot --tries=1 -V 30' 'swupd info; /etc/entries; swupd rollback'
	boots 'release 10 in /root' 'release 20 in /root-20' 'release 20 in /root-20' 'release 10 in /root'
	entries '10 20+2-1' '10 20' '10 20 30+0-1'
	assert_line --partial 'Kernel panic'
	assert_line 'bad: release 30: it did not come up in 1 try'
	assert_line --partial 'release 10 boots next'
}

@test "a soft reboot is a try of the loader's entry: accepted, it boots from then on; and back; another initrd needs a reboot" {
	machine 'swupd update --next-boot --soft-reboot -V 30; /etc/entries; swupd update --next-boot --soft-reboot -V 20 && sleep 1000' \
		'/etc/entries; cat /proc/cmdline' \
		'cat /proc/cmdline; swupd rollback --soft-reboot && sleep 1000' \
		'/etc/entries; swupd info; systemctl poweroff; sleep 1000'
	assert_line --partial 'a soft reboot keeps kernel and initrd, and the release has others'
	boots 'release 10 in /root' 'release 20 in /root-20' 'release 20 in /root-20' 'release 10 in /root'
	# 10, the check of 20, and 20; after a reboot 20, and 10
	kernels a a a b b
	entries 10 '10 20+2-1' '10 20' '10 20+0-1'
	# what the loader has started, whatever runs
	assert_equal "$(grep -o 'subvol=[^ ]*' "$CONSOLE" | xargs)" 'subvol=root subvol=root-20'
	assert_line "bad: release 20: it was left by 'swupd rollback'"
	refute_line --partial 'on trial'
}

@test "a release that is not well after a soft reboot: the loader has one try more, then the one before is back, and stays" {
	[ -n "${LONG:-}" ] || skip "takes minutes: LONG=1"
	machine 'swupd update --next-boot --soft-reboot --tries=2 -V 40 && sleep 1000' '/etc/entries; swupd info; swupd update --next-boot; systemctl poweroff; sleep 1000'
	boots 'release 10 in /root' 'release 10 in /root'
	# 10, and the check of 40; the check of 40 again; 10
	kernels a a b c
	entries '10 40+1-1' '10 40+0-2' '10 40+0-2'
	assert_line --regexp '^bad: release 40: /usr/share/defaults/swupd/health.d/check ended with 3: 40 has a check that ends with 3'
	assert_line --partial 'release 40 is the newest, but it is known not to work here'
}
