#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# The root cannot be used: say why, then start again, so that a boot loader that counts tries takes another release.
# On the kernel's command line: rd.emergency=reboot (default), poweroff, halt; rd.shell: a shell instead, for whoever sits at the console.

action=reboot
root=none
shell=
read -r line </proc/cmdline
for word in $line; do
	case $word in
	root=*) root=${word#root=} ;;
	rd.emergency=poweroff | rd.emergency=halt) action=${word#rd.emergency=} ;;
	rd.shell) shell=yes ;;
	esac
done

echo
echo "initrd: the system cannot be started: its root is '$root'"
systemctl --failed --plain --no-legend --no-pager | while read -r unit _; do
	echo "initrd: failed: $unit"
done
for link in /dev/disk/by-partuuid/* /dev/disk/by-label/* /dev/disk/by-uuid/*; do
	[ ! -e "$link" ] || echo "initrd: there is $link"
done
if [ -n "$shell" ]; then
	echo "initrd: a shell; 'systemctl default' tries again, 'systemctl --force reboot' gives up"
	exec sh -i
fi
echo "initrd: $action in 10 seconds ('rd.shell' on the kernel's command line gives a shell)"
sleep 10
exec systemctl --force "$action"
