#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# Updates for the next boot on a real machine: a host's btrfs, our initrd and kernel given by the hypervisor, systemd, the release's own swupd. Releases that do
# not come up go back by themselves, and stay back.

load lib

# seconds in which a release on trial must come up; a boot takes some fifteen of an emulated machine that nobody else uses
DEADLINE=${DEADLINE:-150}

setup_file()
{
	local dir=$BATS_FILE_TMPDIR
	vm_image initrd-host
	INITRD=$IMAGE.initrd.zst
	KERNEL=$(dirname "$IMAGE")/bzImage-guest
	MIX=$dir/mix
	export INITRD KERNEL MIX
	{
		mixer init "$MIX" --bundles="$TOP/bundles" --content-url=file:///run/www
		cp "$VM_MIX"/local-debs/swupd_*.deb "$MIX/local-debs/"
		printf '%s\n' os-core os-core-update trial >"$MIX/mixbundles"
		printf '# [TITLE]: trial\n# [DESCRIPTION]: trial\n# [STATUS]: Active\n# [CAPABILITIES]: test\n# [MAINTAINER]: test\ninclude(os-core)\ncontent(tree)\n' \
			>"$MIX/local-bundles/trial"
		mkdir -p "$MIX/local-bundles/tree/usr/share/defaults/swupd/health.d"
		health 0 10
		release
		health 0 20
		release
		health 3 30
		release
		health 0 40
		broken_libc
		release
		rm "$MIX"/local-debs/libc6_*
		hanging_init
		release
	} >"$dir/log" 2>&1 || {
		tail -n 40 "$dir/log"
		return 1
	}
	mke2fs -q -t ext4 -d "$MIX/update/www" "$dir/www" 512M
	disk
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

# health STATUS TEXT: the release has a check that says this
health()
{
	printf '#!/bin/sh\necho "%s has a check that ends with %s"\nexit %s\n' "$2" "$1" "$1" >"$MIX/local-bundles/tree/usr/share/defaults/swupd/health.d/check"
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

# every program ends as soon as it begins
broken_libc()
{
	cat >"$BATS_FILE_TMPDIR/break" <<-'END'
		import subprocess, sys
		library = sys.argv[1]
		lines = subprocess.run(["readelf", "-sW", "--dyn-syms", library], capture_output=True, text=True, check=True).stdout
		at = int(next(l.split()[1] for l in lines.splitlines() if " __libc_start_main@@" in l), 16)
		with open(library, "r+b") as f:
		    f.seek(at)
		    f.write(b"\x0f\x0b")
	END
	repack libc6 sh -c "python3 $BATS_FILE_TMPDIR/break usr/lib/x86_64-linux-gnu/libc.so.6"
}

hanging_init()
{
	printf '#include <unistd.h>\nint main(void) { for (;;) pause(); }\n' >"$BATS_FILE_TMPDIR/hang.c"
	cc -static -o "$BATS_FILE_TMPDIR/hang" "$BATS_FILE_TMPDIR/hang.c"
	repack systemd cp "$BATS_FILE_TMPDIR/hang" usr/lib/systemd/systemd
}

# a disk on which release 10 is installed, and which does at each boot what the next line of /etc/steps says
disk()
{
	local dir=$BATS_FILE_TMPDIR top=$BATS_FILE_TMPDIR/top
	mkdir -p "$top"
	truncate -s 1G "$dir/disk"
	mkfs.btrfs -q "$dir/disk" 2>/dev/null
	mount -o loop "$dir/disk" "$top"
	for name in root etc var home roothome srv; do
		btrfs -q subvolume create "$top/$name"
	done
	swupd os-install -p "$top/root" -u "file://$MIX/update/www" -C "$MIX/Swupd_Root.pem" -K "$dir/cache" -N --no-progress -V 10 -B os-core-update,trial \
		>>"$dir/log" 2>&1
	cp -a "$top/root/var/." "$top/var/"
	rm -rf "$top"/root/{etc,var,home,root,srv}
	mkdir "$top"/root/{etc,var,home,root,srv}
	mkdir -p "$top/etc/systemd/system/multi-user.target.wants" "$top/etc/swupd"
	printf '[GLOBAL]\nno_progress = true\n' >"$top/etc/swupd/config"
	cat >"$top/etc/driver" <<-'END'
		#!/bin/sh
		. /usr/lib/os-release
		mkdir -p /run/www
		mount -o ro /dev/vdb /run/www
		trial=
		[ ! -e /run/limpid/trial ] || trial=' on trial'
		echo "boot: release $VERSION_ID in $(cat /run/limpid/root)$trial"
		[ -z "$trial" ] || exit 0
		read -r step </etc/steps || exec systemctl poweroff --no-block
		sed -i 1d /etc/steps
		sync
		sh -c "$step"
		echo "status: $?"
		systemctl reboot --no-block
	END
	chmod +x "$top/etc/driver"
	cat >"$top/etc/systemd/system/driver.service" <<-'END'
		[Unit]
		After=multi-user.target swupd-accept.service
		[Service]
		Type=idle
		ExecStart=/etc/driver
		StandardOutput=tty
		TTYPath=/dev/console
	END
	ln -s /dev/null "$top/etc/systemd/system/serial-getty@ttyS0.service"
	ln -s ../driver.service "$top/etc/systemd/system/multi-user.target.wants/"
	for file in etc/mine var/mine home/mine roothome/mine srv/mine root/usr/local/mine; do
		mkdir -p "$top/${file%/*}"
		echo "mine: $file" >"$top/$file"
	done
	btrfs subvolume set-default "$top/root"
	umount "$top"
}

# steps LINE…: on a copy of that disk, which the machine runs until there is no step any more; $output is its console
steps()
{
	local disk=$BATS_TEST_TMPDIR/disk top=$BATS_TEST_TMPDIR/top
	cp --sparse=always "$BATS_FILE_TMPDIR/disk" "$disk"
	mkdir -p "$top"
	mount -o loop,subvolid=5 "$disk" "$top"
	printf '%s\n' "$@" >"$top/etc/steps"
	umount "$top"
	CONSOLE=$BATS_TEST_TMPDIR/console
	timeout 1500 qemu-system-x86_64 -nodefaults -no-user-config -display none -M q35 -accel tcg -cpu max,-erms,-la57 -m 512M -bios qboot.rom \
		-kernel "$KERNEL" -initrd "$INITRD" -serial stdio \
		-append "console=ttyS0 panic=10 reboot=t quiet systemd.show_status=false root=/dev/vda rootfstype=btrfs rw limpid.deadline=$DEADLINE" \
		-drive "file=$disk,if=none,id=disk,format=raw" -device virtio-blk-pci,drive=disk \
		-drive "file=$BATS_FILE_TMPDIR/www,if=none,id=www,format=raw,readonly=on" -device virtio-blk-pci,drive=www \
		</dev/null >"$CONSOLE" 2>&1 || {
		tail -n 60 "$CONSOLE"
		return 1
	}
	# what PID 1 sends to set up a terminal goes before our lines
	sed -i -E 's/\r//g; s/\x1b(\[[0-9;?!]*[a-zA-Z]|\][^\x1b\x07]*(\x1b\\|\x07))//g' "$CONSOLE"
	# whatever happened, what is the machine's own is as it was
	mount -o loop,subvolid=5 "$disk" "$top"
	cat "$top"/{etc,var,home,roothome,srv}/mine "$top"/root*/usr/local/mine | sort | uniq -c >"$BATS_TEST_TMPDIR/mine"
	umount "$top"
	assert_equal "$(wc -l <"$BATS_TEST_TMPDIR/mine")" 6
	run cat "$CONSOLE"
}

# boots WANTED…: which releases came up, and where; without those on trial
boots()
{
	assert_equal "$(grep '^boot: ' "$CONSOLE" | grep -v 'on trial')" "$(printf 'boot: %s\n' "$@")"
}

@test "an update for the next boot, accepted by itself; and back" {
	steps 'swupd update --next-boot -V 20' 'swupd info; swupd rollback' 'swupd recover; swupd info'
	boots 'release 10 in default' 'release 20 in root-20' 'release 10 in root' 'release 10 in root'
	assert_line 'release: 20'
	assert_line --partial 'release 10 boots next'
	assert_line "bad: release 20: it was left by 'swupd rollback'"
	refute_line --regexp '^status: [1-9]'
}

@test "an update in place whose machine stops amid it: completed early in the next boot" {
	steps 'swupd update --in-place -V 20 & while [ ! -e /usr/.swupd/journal ]; do :; done; kill -STOP $!; sync; ls /usr/.swupd/journal; echo b >/proc/sysrq-trigger' \
		'journalctl -b -o cat -u swupd-recover; swupd diagnose; swupd history'
	assert_line /usr/.swupd/journal
	boots 'release 10 in default' 'release 20 in default' 'release 20 in default'
	assert_line --partial 'an interrupted run was completed'
	assert_line 'status: 0'
}

@test "a failing health check, a broken libc, an init that hangs: each goes back by itself, and stays back" {
	steps 'swupd update --next-boot --tries=1 -V 30' \
		'swupd info; swupd update --next-boot --tries=1 -V 40' \
		'swupd info; swupd update --next-boot --tries=1 -V 50' \
		'swupd info; swupd history; swupd update --next-boot'
	boots 'release 10 in default' 'release 10 in root' 'release 10 in root' 'release 10 in root' 'release 10 in root'
	assert_line --regexp '^bad: release 30: /usr/share/defaults/swupd/health.d/check ended with 3: 30 has a check that ends with 3'
	assert_line 'bad: release 40: it did not come up in 1 try'
	assert_line 'bad: release 50: it did not come up in 1 try'
	assert_line --regexp 'boot +10 -> 50 .*did not come up'
	assert_line --partial 'release 50 is the newest, but it is known not to work here'
	assert_line 'status: 20'
}
