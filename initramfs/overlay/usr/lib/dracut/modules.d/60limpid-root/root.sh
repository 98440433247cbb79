#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# systemd has mounted root= with rootflags= at /sysroot. On btrfs:
#
#  - Without subvol= on the command line, the root is what swupd has chosen among those in the top level, by links in its folder .swupd: a root on trial
#    (try+LEFT-DONE -> NAME) as long as it has tries, each counted here before it is booted; else the good one (good -> NAME).
#  - /etc, /var, /home, /root and /srv are subvolumes beside the root's, so that a snapshot of the root has none of them; PID 1 of the real system
#    must find them in place. Which there are, the file system itself knows.

top=/run/limpid/top
state=$top/.swupd

# 3: an error, which 'quiet' lets through to the console
say() {
	echo "<3>initrd: $*" >/dev/kmsg
}

fail() {
	say "$*"
	exit 1
}

# mount_subvolume NAME PLACE [OPTIONS]
mount_subvolume() {
	why=$(mount -t btrfs -o "subvol=/$1${3:+,$3}" "$device" "$2" 2>&1) || fail "cannot mount the subvolume '/$1' of $device: $why"
}

# count LINK: one try less; fails when that cannot be made sure of
count() {
	link=${1##*/} left=${link#try+} done=0
	case $left in
	*-*) done=${left#*-} left=${left%%-*} ;;
	esac
	case $left$done in
	'' | *[!0-9]*) return 1 ;;
	esac
	[ "$left" -gt 0 ] || return 1
	mv -T "$1" "$state/try+$((left - 1))-$((done + 1))" && sync -f "$state"
}

# The root to boot, in $root, and in $trial whether it is on trial; nothing where nobody chooses
choose() {
	root='' trial=''
	case $flags in
	*subvol*) return ;;
	esac
	for link in "$state"/try+*; do
		name=$(readlink "$link") || continue
		if [ -d "$top/$name/usr" ] && count "$link"; then
			root=$name trial=yes
			return
		fi
	done
	# one that somebody has removed leaves the default
	name=$(readlink "$state/good") && [ -d "$top/$name/usr" ] && root=$name
}

# A release on trial has to be accepted in time (swupd-accept.service), else the machine starts again, whatever hangs. softdog or the machine's
# own watchdog keeps the time, here the kernel does where there is neither, as long as PID 1 works.
start_trial() {
	: >/run/limpid/trial
	echo 10 >/proc/sys/kernel/panic
	mkdir -p /run/systemd/system/multi-user.target.wants
	ln -s /usr/lib/systemd/system/swupd-accept.service /run/systemd/system/multi-user.target.wants/swupd-accept.service
	[ -e /dev/watchdog ] || modprobe -q softdog || return 0
	wdctl --settimeout "$deadline" /dev/watchdog >/dev/null 2>&1 || say "the watchdog does not take a deadline of $deadline seconds"
	echo start >/dev/watchdog
}

device='' flags='' deadline=600
while read -r source place type all _; do
	[ "$place" != /sysroot ] || device=$source fstype=$type options=$all
done </proc/self/mounts
[ -n "$device" ] || fail "there is no root: the kernel's command line names none (root=PARTUUID=…)"
[ "$fstype" = btrfs ] || exit 0
read -r line </proc/cmdline
for word in $line; do
	case $word in
	rootflags=*) flags=${word#rootflags=} ;;
	limpid.deadline=*) deadline=${word#limpid.deadline=} ;;
	esac
done

mkdir -p "$top"
mount_subvolume '' "$top"
choose
case ",$options," in
*",subvol=/${root:-none},"*) ;;
# over what is there, which PID 1 knows as the root
*) [ -z "$root" ] || mount_subvolume "$root" /sysroot "${options%%,*}${flags:+,$flags}" ;;
esac
# without subvol= swupd may choose another one for the next boot
case $flags in
*subvol*) [ ! -e /sys/firmware/efi/efivars/LoaderBootCountPath-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f ] || trial=yes ;;
*) echo "${root:-default}" >/run/limpid/root ;;
esac
[ -z "$trial" ] || start_trial
# their names, and where they belong
for pair in etc:etc var:var home:home roothome:root srv:srv; do
	name=${pair%:*} place=/sysroot/${pair#*:}
	[ -d "$top/$name" ] || continue
	[ -d "$place" ] || fail "the root has no directory '${pair#*:}' for the subvolume '$name'"
	mount_subvolume "$name" "$place"
done
umount "$top"
