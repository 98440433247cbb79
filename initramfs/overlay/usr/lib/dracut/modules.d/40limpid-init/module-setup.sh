#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck disable=SC2154 # initdir, moddir, systemdutildir and the like are dracut's
# systemd and udev as the initrd needs them, and no more of them: no journal (PID 1 logs to the kernel, whose log the real system's
# journal reads), no tmpfiles and sysctl (nothing here outlives the initrd), no hwdb, no users but those that udev's rules name.

# need COMMAND…: dracut goes on without what a module could not install; an initrd that lacks something is worse than none
need() {
	"$@" || {
		dfatal "limpid: cannot do '$*'"
		exit 1
	}
}

check() {
	require_binaries "$systemdutildir/systemd" "$systemdutildir/systemd-udevd" systemd-sysusers || return 1
	return 255
}

depends() {
	return 0
}

installkernel() {
	hostonly='' instmods autofs4
	# /dev and the mounts of PID 1; a kernel may have them inside
	hostonly='' instmods -s efivarfs
	# who reads modules: udev, PID 1 (libkmod), and the kernel itself, which calls modprobe
	need inst_multiple kmod modprobe /usr/lib/*/libkmod.so.2
	inst_multiple -o /usr/lib/*/libzstd.so.1 /usr/lib/*/liblzma.so.5 # libkmod's, for modules that the kernel does not unpack itself
	inst_multiple -o '/usr/lib/modprobe.d/*.conf'
	need inst_multiple "$udevrulesdir/80-drivers.rules"
}

install_units() {
	local u

	for u in basic final halt initrd initrd-fs initrd-root-device initrd-root-fs initrd-switch-root \
		initrd-usr-fs local-fs local-fs-pre paths poweroff reboot shutdown slices sockets swap sysinit timers umount; do
		need inst_simple "$systemdsystemunitdir/$u.target"
	done
	for u in initrd-cleanup initrd-parse-etc initrd-switch-root initrd-udevadm-cleanup-db systemd-halt systemd-poweroff \
		systemd-reboot systemd-udev-trigger; do
		need inst_simple "$systemdsystemunitdir/$u.service"
	done
	need inst_multiple "$systemdsystemunitdir"/{emergency.target,systemd-udevd-control.socket,systemd-udevd-kernel.socket}
	for u in systemd-udevd-control.socket systemd-udevd-kernel.socket; do
		mkdir -p "$initdir$systemdsystemunitdir/sockets.target.wants"
		ln -s "../$u" "$initdir$systemdsystemunitdir/sockets.target.wants/$u"
	done
	for u in systemd-udevd.service systemd-udev-trigger.service; do
		mkdir -p "$initdir$systemdsystemunitdir/sysinit.target.wants"
		ln -s "../$u" "$initdir$systemdsystemunitdir/sysinit.target.wants/$u"
	done
}

install() {
	need inst_multiple "$systemdutildir"/{systemd,systemd-executor,systemd-shutdown,systemd-sysroot-fstab-check} \
		"$systemdutildir/system-generators/systemd-fstab-generator" systemctl \
		"$systemdutildir/systemd-udevd" udevadm "$udevdir"/{ata_id,scsi_id} mount umount sh sleep ls cat mkdir \
		"$udevrulesdir"/{50-udev-default,60-block,60-persistent-storage,99-systemd}.rules
	install_units
	ln_r "$systemdutildir/systemd" /init

	need inst_script "$moddir/emergency.sh" /usr/lib/limpid/initrd-emergency
	need inst_simple "$moddir/emergency.service" "$systemdsystemunitdir/emergency.service"
	need inst_simple "$moddir/systemd-udevd.service" "$systemdsystemunitdir/systemd-udevd.service"
	need inst_simple "$moddir/system.conf" "$systemdutildir/system.conf"

	# who a file belongs to in udev's rules; passwords are nobody's business here
	need cat /usr/lib/sysusers.d/{basic,debian-udev}.conf >"$initdir/.users"
	need systemd-sysusers --root="$initdir" - <"$initdir/.users"
	rm -f "$initdir/.users" "$initdir"/etc/{,g}shadow{,-} "$initdir"/etc/{passwd,group}- "$initdir/etc/.pwd.lock"

	# systemd knows by this file that it is in an initrd
	need inst_simple /usr/lib/os-release /usr/lib/initrd-release
	ln -s ../usr/lib/initrd-release "$initdir/etc/initrd-release"
	ln -s initrd-release "$initdir/usr/lib/os-release"
	: >"$initdir/etc/machine-id"
}
