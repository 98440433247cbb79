# SPDX-License-Identifier: LGPL-2.1-or-later
# For the tests of releases on trial: a mix whose releases can be made to fail, and a machine that does at each boot what it is told.
# shellcheck shell=bash disable=SC2154,SC2034 # bats sets BATS_*

# trial_mix BUNDLE…: a mix of these and of "trial", whose content is $MIX/local-bundles/tree; its releases come from /run/www
trial_mix()
{
	MIX=$BATS_FILE_TMPDIR/mix
	export MIX
	mixer init "$MIX" --bundles="$TOP/bundles" --content-url=file:///run/www
	cp "$VM_MIX"/local-debs/*.deb "$MIX/local-debs/"
	printf '%s\n' "$@" trial >"$MIX/mixbundles"
	printf '# [TITLE]: trial\n# [DESCRIPTION]: trial\n# [STATUS]: Active\n# [CAPABILITIES]: test\n# [MAINTAINER]: test\ninclude(os-core)\ncontent(tree)\n' \
		>"$MIX/local-bundles/trial"
	mkdir -p "$MIX/local-bundles/tree/usr/share/defaults/swupd/health.d"
}

release()
{
	local i
	# enough that changing them in place takes a while
	mkdir -p "$MIX/local-bundles/tree/usr/share/trial"
	for i in {1..400}; do
		echo "$i of the release before $(cat "$MIX/update/www/version/format30/latest" 2>/dev/null)" >"$MIX/local-bundles/tree/usr/share/trial/$i"
	done
	mixer -C "$MIX" lock || [ $? = 3 ]
	mixer -C "$MIX" build
}

# health STATUS TEXT: the release has a check that says this; the console has in which boot of the kernel
health()
{
	cat >"$MIX/local-bundles/tree/usr/share/defaults/swupd/health.d/check" <<-END
		#!/bin/sh
		echo "checked: release \$SWUPD_RELEASE, kernel \$(cat /proc/sys/kernel/random/boot_id)" >/dev/console
		echo "$2 has a check that ends with $1"
		exit $1
	END
	chmod 755 "$MIX/local-bundles/tree/usr/share/defaults/swupd/health.d/check"
}

# repack PACKAGE COMMAND…: the same version, in which the command, run in its tree, has changed something; local packages are preferred
repack()
{
	local package=$1 tree=$BATS_FILE_TMPDIR/$1 sum
	shift
	sum=$(awk -v p="$package" '$1 == "package" && $2 == p { print $5 }' "$MIX/mixer.lock")
	dpkg-deb -R "${LIMPID_CACHE:-/var/cache/limpid}/debs/$sum.deb" "$tree"
	(cd "$tree" && "$@")
	rm -f "$tree/DEBIAN/md5sums"
	dpkg-deb --root-owner-group -Znone -b "$tree" "$MIX/local-debs/"
	rm -rf "$tree"
}

# driver ETC DEVICE: the machine with this /etc runs a line of /etc/steps at each boot, with the releases that are on the device, and starts again; without any it goes off
driver()
{
	local etc=$1 device=$2 unit
	mkdir -p "$etc/systemd/system/multi-user.target.wants" "$etc/swupd"
	printf '[GLOBAL]\nno_progress = true\n' >"$etc/swupd/config"
	cat >"$etc/driver" <<-END
		#!/bin/sh
		. /usr/lib/os-release
		mkdir -p /run/www
		mount -o ro $device /run/www
		trial=
		[ ! -e /run/limpid/trial ] || trial=' on trial'
		echo "boot: release \$VERSION_ID in \$(findmnt -no FSROOT /)\$trial"
		echo "kernel: \$(cat /proc/sys/kernel/random/boot_id)"
		[ -z "\$trial" ] || exit 0
		read -r step </etc/steps || exec systemctl poweroff --no-block
		sed -i 1d /etc/steps
		sync
		sh -c "\$step"
		echo "status: \$?"
		systemctl reboot --no-block
	END
	chmod +x "$etc/driver"
	cat >"$etc/systemd/system/driver.service" <<-'END'
		[Unit]
		After=multi-user.target swupd-accept.service
		[Service]
		Type=idle
		ExecStart=/etc/driver
		StandardOutput=tty
		TTYPath=/dev/console
	END
	ln -s /dev/null "$etc/systemd/system/serial-getty@ttyS0.service"
	# an emulated processor never idles until we speak: without a network it need not look for one
	for unit in systemd-networkd.service systemd-networkd.socket systemd-resolved.service; do
		ln -s /dev/null "$etc/systemd/system/$unit"
	done
	ln -s ../driver.service "$etc/systemd/system/multi-user.target.wants/"
}

# trial_console FILE: what a test compares is what the driver has said
trial_console()
{
	CONSOLE=$1
	# what PID 1 sends to set up a terminal goes before our lines
	sed -i -E 's/\r//g; s/\x1b(\[[0-9;?!]*[a-zA-Z]|\][^\x1b\x07]*(\x1b\\|\x07))//g' "$CONSOLE"
	run cat "$CONSOLE"
}

# kernels WANTED…: a letter for each line that tells in which boot of the kernel it was written: the same letter, the same boot
kernels()
{
	assert_equal "$(awk 'match($0, /kernel:? [0-9a-f-]+$/) { id = $NF; if (!(id in seen)) seen[id] = substr("abcdefgh", ++n, 1); print seen[id] }' "$CONSOLE" | xargs)" "$*"
}

# boots WANTED…: which releases came up, and where; without those on trial
boots()
{
	local came
	came=$(grep '^boot: ' "$CONSOLE" | grep -v 'on trial')
	[ "$came" = "$(printf 'boot: %s\n' "$@")" ] || tail -n 100 "$CONSOLE"
	assert_equal "$came" "$(printf 'boot: %s\n' "$@")"
}

# seconds in which a release on trial must come up; a boot takes some fifteen of an emulated machine that nobody else uses
DEADLINE=${DEADLINE:-150}

# trial_host: in setup_file, what such a machine boots: a hypervisor gives kernel and initrd
trial_host()
{
	vm_image initrd-host
	INITRD=$IMAGE.initrd.zst
	KERNEL=$(dirname "$IMAGE")/bzImage-guest
	export INITRD KERNEL
}

# trial_done: in setup_file, after the last release
trial_done()
{
	mke2fs -q -t ext4 -d "$MIX/update/www" "$BATS_FILE_TMPDIR/www" 512M
	disk
}

# mounted OPTIONS DISK COMMAND…: the command, a function with what it calls exported, while the disk is mounted at $top. In a mount namespace of its own: one that somebody makes
# meanwhile has all mounts of ours, and as long as it lasts what we wrote need not be on the disk
mounted()
{
	local options=$1 disk=$2
	export top=$disk.top
	mkdir -p "$top"
	# shellcheck disable=SC2016 # it is the other shell's
	unshare -m bash -euc 'mount -o "$0" "$1" "$top"; "${@:2}"; umount "$top"' "$options" "$disk" "${@:3}"
}

# a disk on which release 10 is installed, and which does at each boot what the next line of /etc/steps says
disk()
{
	truncate -s 1G "$BATS_FILE_TMPDIR/disk"
	mkfs.btrfs -q "$BATS_FILE_TMPDIR/disk" 2>/dev/null
	mounted loop "$BATS_FILE_TMPDIR/disk" install_host
}

install_host()
{
	local name file
	for name in root etc var home roothome srv; do
		btrfs -q subvolume create "$top/$name"
	done
	swupd os-install -p "$top/root" -u "file://$MIX/update/www" -C "$MIX/Swupd_Root.pem" -K "$BATS_FILE_TMPDIR/cache" -N --no-progress -V 10 -B os-core-update,trial \
		>>"$BATS_FILE_TMPDIR/log" 2>&1
	cp -a "$top/root/var/." "$top/var/"
	rm -rf "$top"/root/{etc,var,home,root,srv}
	mkdir "$top"/root/{etc,var,home,root,srv}
	driver "$top/etc" /dev/vdb
	for file in etc/mine var/mine home/mine roothome/mine srv/mine root/usr/local/mine; do
		mkdir -p "$top/${file%/*}"
		echo "mine: $file" >"$top/$file"
	done
	btrfs subvolume set-default "$top/root"
}
export -f driver install_host

write_steps()
{
	printf '%s\n' "$@" >"$top/etc/steps"
}
export -f write_steps

read_mine()
{
	cat "$top"/{etc,var,home,roothome,srv}/mine "$top"/root*/usr/local/mine | sort | uniq -c
}
export -f read_mine

# steps LINE…: on a copy of that disk, which the machine runs until there is no step any more; $output is its console
steps()
{
	local disk=$BATS_TEST_TMPDIR/disk console=$BATS_TEST_TMPDIR/console
	cp --sparse=always "$BATS_FILE_TMPDIR/disk" "$disk"
	mounted loop,subvolid=5 "$disk" write_steps "$@"
	timeout 1500 qemu-system-x86_64 -nodefaults -no-user-config -display none -M q35 -accel tcg -cpu max,-erms,-la57 -m 512M -bios qboot.rom \
		-kernel "$KERNEL" -initrd "$INITRD" -serial stdio \
		-append "console=ttyS0 panic=10 reboot=t quiet systemd.show_status=false root=/dev/vda rootfstype=btrfs rw limpid.deadline=$DEADLINE" \
		-drive "file=$disk,if=none,id=disk,format=raw" -device virtio-blk-pci,drive=disk \
		-drive "file=$BATS_FILE_TMPDIR/www,if=none,id=www,format=raw,readonly=on" -device virtio-blk-pci,drive=www \
		</dev/null >"$console" 2>&1 || {
		tail -n 60 "$console"
		return 1
	}
	# whatever happened, what is the machine's own is as it was
	mounted loop,subvolid=5 "$disk" read_mine >"$BATS_TEST_TMPDIR/mine"
	assert_equal "$(wc -l <"$BATS_TEST_TMPDIR/mine")" 6
	trial_console "$console"
}
