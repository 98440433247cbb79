#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# Updates for the next boot on a real machine: a host's btrfs, our initrd and kernel given by the hypervisor, systemd, the release's own swupd. Releases that do
# not come up go back by themselves, and stay back.

load lib
load trial

# seconds in which a release on trial must come up; a boot takes some fifteen of an emulated machine that nobody else uses
DEADLINE=${DEADLINE:-150}

setup_file()
{
	local dir=$BATS_FILE_TMPDIR
	vm_image initrd-host
	INITRD=$IMAGE.initrd.zst
	KERNEL=$(dirname "$IMAGE")/bzImage-guest
	export INITRD KERNEL
	{
		trial_mix os-core os-core-update
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
	driver "$top/etc" /dev/vdb
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
	local disk=$BATS_TEST_TMPDIR/disk top=$BATS_TEST_TMPDIR/top console=$BATS_TEST_TMPDIR/console
	cp --sparse=always "$BATS_FILE_TMPDIR/disk" "$disk"
	mkdir -p "$top"
	mount -o loop,subvolid=5 "$disk" "$top"
	printf '%s\n' "$@" >"$top/etc/steps"
	umount "$top"
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
	mount -o loop,subvolid=5 "$disk" "$top"
	cat "$top"/{etc,var,home,roothome,srv}/mine "$top"/root*/usr/local/mine | sort | uniq -c >"$BATS_TEST_TMPDIR/mine"
	umount "$top"
	assert_equal "$(wc -l <"$BATS_TEST_TMPDIR/mine")" 6
	trial_console "$console"
}

@test "an update for the next boot, accepted by itself; and back" {
	steps 'swupd update --next-boot -V 20' 'swupd info; swupd rollback' 'swupd recover; swupd info'
	boots 'release 10 in /root' 'release 20 in /root-20' 'release 10 in /root' 'release 10 in /root'
	assert_line 'release: 20'
	assert_line --partial 'release 10 boots next'
	assert_line "bad: release 20: it was left by 'swupd rollback'"
	refute_line --regexp '^status: [1-9]'
}

@test "an update in place whose machine stops amid it: completed early in the next boot" {
	steps 'swupd update --in-place -V 20 & while [ ! -e /usr/.swupd/journal ]; do :; done; kill -STOP $!; sync; ls /usr/.swupd/journal; echo b >/proc/sysrq-trigger' \
		'journalctl -b -o cat -u swupd-recover; swupd diagnose; swupd history'
	assert_line /usr/.swupd/journal
	boots 'release 10 in /root' 'release 20 in /root' 'release 20 in /root'
	assert_line --partial 'an interrupted run was completed'
	assert_line 'status: 0'
}

@test "a failing health check, a broken libc, an init that hangs: each goes back by itself, and stays back" {
	steps 'swupd update --next-boot --tries=1 -V 30' \
		'swupd info; swupd update --next-boot --tries=1 -V 40' \
		'swupd info; swupd update --next-boot --tries=1 -V 50' \
		'swupd info; swupd history; swupd update --next-boot'
	boots 'release 10 in /root' 'release 10 in /root' 'release 10 in /root' 'release 10 in /root' 'release 10 in /root'
	assert_line --regexp '^bad: release 30: /usr/share/defaults/swupd/health.d/check ended with 3: 30 has a check that ends with 3'
	assert_line 'bad: release 40: it did not come up in 1 try'
	assert_line 'bad: release 50: it did not come up in 1 try'
	assert_line --regexp 'boot +10 -> 50 .*did not come up'
	assert_line --partial 'release 50 is the newest, but it is known not to work here'
	assert_line 'status: 20'
}

@test "a soft reboot into a prepared release, accepted by itself, and back: the kernel goes on" {
	steps 'swupd update --next-boot -V 20; swupd update --soft-reboot -V 20 && sleep 1000' \
		'findmnt -rno TARGET,OPTIONS -t btrfs | sed s/^/mount:/; ls /run/nextroot /run/systemd/system/multi-user.target.wants; swupd info; swupd rollback --soft-reboot && sleep 1000' \
		'swupd info'
	boots 'release 10 in /root' 'release 20 in /root-20' 'release 10 in /root' 'release 10 in /root'
	assert_line --partial 'release 20 is already prepared'
	for place in etc var home root:roothome srv; do
		assert_line --regexp "^mount:/${place%:*} rw,.*subvol=/${place#*:}\$"
	done
	refute_line --partial swupd-accept.service
	assert_line 'release: 20'
	assert_line "bad: release 20: it was left by 'swupd rollback'"
	# 10; the check of 20, and 20; 10 again; 10 after a reboot. Nothing was on trial but 20.
	kernels a a a a b
}

@test "a failing health check, a broken libc, an init that hangs after a soft reboot: a full reboot goes back by itself" {
	steps 'swupd update --next-boot --soft-reboot --tries=1 -V 30 && sleep 1000' \
		'swupd info; swupd update --next-boot --soft-reboot --tries=1 -V 40 && sleep 1000' \
		'swupd info; swupd update --next-boot --soft-reboot --tries=1 -V 50 && sleep 1000' \
		'swupd info'
	boots 'release 10 in /root' 'release 10 in /root' 'release 10 in /root' 'release 10 in /root' 'release 10 in /root'
	# after the first step the check of 30 ran under the same kernel
	kernels a a b c d e
	assert_line --regexp '^bad: release 30: /usr/share/defaults/swupd/health.d/check ended with 3: 30 has a check that ends with 3'
	assert_line 'bad: release 40: it did not come up in 1 try'
	assert_line 'bad: release 50: it did not come up in 1 try'
}
