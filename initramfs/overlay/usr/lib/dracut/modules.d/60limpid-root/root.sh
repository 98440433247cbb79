#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# systemd has mounted root= with rootflags= at /sysroot. On btrfs, /etc, /var and /home are subvolumes beside the root's, named etc, var and home, so
# that a snapshot of the root has none of them; PID 1 of the real system must find them in place. Which there are, the file system itself knows.

top=/run/limpid/top

# 3: an error, which 'quiet' lets through to the console
fail() {
	echo "<3>initrd: $*" >/dev/kmsg
	exit 1
}

# mount_subvolume NAME PLACE
mount_subvolume() {
	why=$(mount -t btrfs -o "subvol=/$1" "$device" "$2" 2>&1) || fail "cannot mount the subvolume '/$1' of $device: $why"
}

device=
while read -r source place type _; do
	[ "$place" != /sysroot ] || device=$source fstype=$type
done </proc/self/mounts
[ -n "$device" ] || fail "there is no root: the kernel's command line names none (root=PARTUUID=…)"
[ "$fstype" = btrfs ] || exit 0

mkdir -p "$top"
mount_subvolume '' "$top"
for name in etc var home; do
	[ -d "$top/$name" ] || continue
	[ -d "/sysroot/$name" ] || fail "the root has no directory '$name' for the subvolume of that name"
	mount_subvolume "$name" "/sysroot/$name"
done
umount "$top"
