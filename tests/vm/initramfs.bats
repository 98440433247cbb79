#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# The initrd of hosts: a btrfs disk with subvolumes, as swupd installs it, is booted through it; what is said when that cannot be.

load lib

PARTUUID=11111111-2222-4333-8444-555555555555
MIB=1048576

setup_file()
{
	local dir=$BATS_FILE_TMPDIR
	vm_image initrd-host
	DISK=$dir/disk
	export IMAGE DISK

	mkdir -p "$dir"/top/{etc/systemd/system/multi-user.target.wants,var,home}
	swupd os-install -p "$dir/top/root" -u "file://$VM_MIX/update/www" -C "$VM_MIX/Swupd_Root.pem" -K "$dir/cache" -N --no-progress \
		>"$dir/log" 2>&1
	rm -rf "$dir"/top/root/{etc,var,home}
	mkdir "$dir"/top/root/{etc,var,home}
	# it is read only if /etc is there before PID 1 is
	cat >"$dir/top/etc/systemd/system/report.service" <<-'END'
		[Unit]
		After=multi-user.target
		[Service]
		Type=idle
		ExecStart=/usr/bin/sh -c 'findmnt -rno TARGET,FSTYPE,OPTIONS | sed s/^/mount:/; echo failed:$(systemctl --failed --plain --no-legend); \
			echo remembered:$(cat /home/remember 2>/dev/null); echo yes >/home/remember; systemctl poweroff --no-block'
		StandardOutput=tty
		TTYPath=/dev/console
	END
	# nobody else is to write there
	ln -s /dev/null "$dir/top/etc/systemd/system/serial-getty@ttyS0.service"
	ln -s ../report.service "$dir/top/etc/systemd/system/multi-user.target.wants/"
	truncate -s 512M "$dir/fs"
	vm_mixer tools run --bind="$dir:/mnt/dir" image -- mkfs.btrfs -q -L limpid-test --rootdir /mnt/dir/top \
		--subvol rw:root --subvol rw:etc --subvol rw:var --subvol rw:home /mnt/dir/fs
	truncate -s 514M "$DISK"
	vm_mixer tools run --bind="$dir:/mnt/dir" image -- sh -c \
		"echo 'label: gpt
		start=2048, size=1048576, uuid=$PARTUUID' | sfdisk -q /mnt/dir/disk"
	dd if="$dir/fs" of="$DISK" bs=$MIB seek=1 conv=notrunc,sparse status=none
	rm -rf "$dir/fs" "$dir/top"
}

# boot WORD…: a machine with that disk, and these words on the kernel's command line, until it is off; $output is its console
boot()
{
	vm_run --serial --memory=512 --append="quiet systemd.show_status=false $*" "$IMAGE" -- \
		-drive "file=$DISK,if=none,id=disk,format=raw" -device virtio-blk-pci,drive=disk
	output=${output//$'\r'/}
	mapfile -t lines <<<"$output"
}

@test "a root by PARTUUID: /etc, /var and /home are its subvolumes, before PID 1 of the system; no unit fails" {
	boot "root=PARTUUID=$PARTUUID rootflags=subvol=root rw"
	assert_line --regexp '^mount:/ btrfs rw,.*subvol=/root$'
	assert_line --regexp '^mount:/etc btrfs rw,.*subvol=/etc$'
	assert_line --regexp '^mount:/var btrfs rw,.*subvol=/var$'
	assert_line --regexp '^mount:/home btrfs rw,.*subvol=/home$'
	# nor is anything left of the initrd's own
	refute_line --partial 'mount:/run/limpid'
	refute_line --partial 'mount:/sysroot'
	assert_line 'failed:'
	assert_line 'remembered:'
	# what is written is there the next time, when the root is found by its label and only read
	boot 'root=LABEL=limpid-test rootflags=subvol=root ro'
	assert_line 'remembered:yes'
	assert_line --regexp '^mount:/ btrfs ro,.*subvol=/root$'
	assert_line --regexp '^mount:/var btrfs rw,.*subvol=/var$'
}

@test "a root that is not there: which was wanted, which there are, then off" {
	boot 'root=LABEL=nowhere rd.emergency=poweroff systemd.default_device_timeout_sec=20'
	assert_line "initrd: the system cannot be started: its root is 'LABEL=nowhere'"
	assert_line 'initrd: there is /dev/disk/by-label/limpid-test'
	assert_line "initrd: there is /dev/disk/by-partuuid/$PARTUUID"
	assert_line --partial 'initrd: poweroff in 10 seconds'
	refute_line --partial 'mount:/'
}

@test "a root without a place for its subvolumes is told, and the machine starts again" {
	boot 'root=LABEL=limpid-test rootflags=subvol=home rw'
	assert_line --partial "initrd: the root has no directory 'etc' for the subvolume 'etc'"
	assert_line 'initrd: failed: limpid-root.service'
	assert_line --partial 'initrd: reboot in 10 seconds'
}

@test "no root on the command line" {
	boot 'rd.emergency=poweroff'
	assert_line --partial "initrd: there is no root"
	assert_line "initrd: the system cannot be started: its root is 'none'"
}
