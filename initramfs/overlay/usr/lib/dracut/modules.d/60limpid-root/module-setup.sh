#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck disable=SC2154 # initdir, moddir, systemdutildir and the like are dracut's
# The root's file system, and the subvolumes that belong to it.

# need: of limpid-init, which dracut reads before

check() {
	return 255
}

depends() {
	echo limpid-init limpid-disks
}

installkernel() {
	hostonly='' instmods btrfs ext4 erofs overlay
	# the deadline of a release on trial; kernels of ours have it inside
	hostonly='' instmods softdog
	need inst_simple "$moddir/63-limpid-btrfs.rules" "$udevrulesdir/63-limpid-btrfs.rules"
	# of btrfs and ext4, which find them by name
	hostonly='' instmods crc32c crc32c-intel libcrc32c xxhash_generic blake2b_generic
}

install() {
	need inst_multiple "$udevrulesdir/64-btrfs.rules"
	need inst_multiple mv readlink ln sync
	inst_multiple -o wdctl
	need inst_script "$moddir/root.sh" /usr/lib/limpid/initrd-root
	need inst_simple "$moddir/limpid-root.service" "$systemdsystemunitdir/limpid-root.service"
	mkdir -p "$initdir$systemdsystemunitdir/initrd-root-fs.target.requires"
	ln -s ../limpid-root.service "$initdir$systemdsystemunitdir/initrd-root-fs.target.requires/limpid-root.service"
}
