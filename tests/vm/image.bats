#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# Images that are disks: Kata's, on every device that runtimes attach it by, with a checked root, and one that UEFI starts.

load lib

MIB=1048576

setup()
{
	GUEST=('bundles = container-run' 'kernel = guest' 'init = /usr/lib/limpid/first' 'cmdline = quiet systemd.show_status=false')
	KATA=('kind = kata' 'agent = none' "${GUEST[@]}")
}

# root_is WORD…: the guest has said that this is its root
root_is()
{
	assert_line --regexp "^/dev/root / $*"
}

@test "kata, ext4: mapped from an nvdimm with the options of Kata's runtime" {
	# what a definition says comes last, and the last one counts
	vm_image kata-nvdimm "${KATA[@]/%quiet*/quiet rootflags=dax,data=ordered,errors=remount-ro}" 'filesystem = ext4'
	vm_run --attach=nvdimm --exec='/usr/bin/cat /proc/mounts' "$IMAGE"
	assert_equal "$status" 0
	root_is 'ext4 ro,.*dax=always'
	assert_output --partial 'errors=remount-ro'
}

@test "kata, ext4: the same file is a virtio disk, too" {
	vm_image kata-ext4 "${KATA[@]}" 'filesystem = ext4'
	vm_run --attach=blk --exec='/usr/bin/cat /proc/mounts /sys/block/vda/vda1/start' "$IMAGE"
	assert_equal "$status" 0
	root_is 'ext4 ro,'
	refute_output --partial dax
	assert_line 6144
}

@test "kata, without the DAX header: a virtio disk" {
	vm_image kata-plain "${KATA[@]}" 'filesystem = erofs' 'dax-header = no'
	vm_run --attach=blk --exec='/usr/bin/cat /proc/mounts /sys/block/vda/vda1/start' "$IMAGE"
	assert_equal "$status" 0
	root_is 'erofs ro,'
	assert_line 2048
}

@test "kata, verity: the kernel checks what it reads, on an nvdimm and a virtio disk" {
	vm_image kata-verity "${KATA[@]}" 'filesystem = erofs' 'verity = yes'
	for attach in nvdimm blk; do
		vm_run --attach="$attach" --exec='/usr/bin/cat /proc/mounts /sys/block/dm-0/dm/name' "$IMAGE"
		assert_equal "$status" 0
		root_is 'erofs ro,'
		assert_line dm-verity
	done
}

@test "kata, verity: a flipped byte is refused" {
	vm_image kata-verity "${KATA[@]}" 'filesystem = erofs' 'verity = yes'
	local file=$BATS_TEST_TMPDIR/kata-verity.img
	cp "$IMAGE.img" "$file"
	cp "$IMAGE.json" "$BATS_TEST_TMPDIR/"
	cp "${IMAGE%/*}/vmlinux-guest" "$BATS_TEST_TMPDIR/"
	# one bit of a word that PID 1 has in it, in the middle of the image
	local at
	at=$(grep -abom 1 'Welcome to' "$file" | head -n 1 | cut -d : -f 1)
	[ "$at" -gt $((3 * MIB)) ]
	printf 'V' | dd of="$file" bs=1 seek="$at" conv=notrunc status=none
	vm_run --attach=blk --serial --exec=/usr/bin/true "$BATS_TEST_TMPDIR/kata-verity.json"
	assert_equal "$status" 125
	assert_output --partial "data block $(((at - 3 * MIB) / 4096)) is corrupted"
	assert_output --partial 'Kernel panic'
}

@test "disk: UEFI starts it, its root is subvolumes of btrfs, no unit fails" {
	# without its budget, which takes a minute of compression to look at
	vm_image disk "$(grep -v compressed-budget "$TOP/images/disk.image")"
	local unit='[Unit]
After=multi-user.target
[Service]
Type=idle
ExecStart=/usr/bin/sh -c "findmnt -rno TARGET,FSTYPE,OPTIONS | sed s/^/mount:/; ls -ldn / /etc /usr/bin/su | cut -d\\  -f 1-4 | sed s/^/file:/; echo failed:$(systemctl --failed --plain --no-legend); echo boot:$(ls /boot/loader/entries); systemctl poweroff --no-block"
StandardOutput=tty
TTYPath=/dev/console'
	local words="quiet systemd.show_status=false systemd.mask=serial-getty@ttyS0.service systemd.wants=report.service"
	vm_run --timeout=300 --memory=512 \
		--append="$words systemd.set_credential_binary=systemd.extra-unit.report.service:$(base64 -w 0 <<<"$unit")" "$IMAGE"
	output=${output//$'\r'/}
	mapfile -t lines <<<"$output"
	assert_line --regexp 'mount:/ btrfs rw,.*subvol=/root$'
	assert_line --regexp '^mount:/etc btrfs rw,.*subvol=/etc$'
	assert_line --regexp '^mount:/var btrfs rw,.*subvol=/var$'
	assert_line --regexp '^mount:/home btrfs rw,.*subvol=/home$'
	assert_line 'file:drwxr-xr-x 1 0 0'
	assert_line 'file:-rwsr-xr-x 1 0 0'
	assert_line 'failed:'
	assert_line --regexp "^boot:.*-$(vm_release).conf$"
}
