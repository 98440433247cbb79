# SPDX-License-Identifier: LGPL-2.1-or-later
# A root whose PID 1 is a real systemd, in namespaces of its own.
# shellcheck shell=bash disable=SC2154 # bats sets BATS_*

# packages: of swupd as it is here, in the mix
packages()
{
	local top
	top=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)
	# another file of tests may be making its own
	mkdir "$BATS_FILE_TMPDIR/out"
	ln -s "$(cd "$top" && realpath "${O:-build}")"/{bin,guest} "$BATS_FILE_TMPDIR/out/"
	(cd "$top" && O=$BATS_FILE_TMPDIR/out ci/deb)
	cp "$BATS_FILE_TMPDIR"/out/deb/swupd_*.deb "$MIX/local-debs/"
}

# no_container_units: what a container has no business with
no_container_units()
{
	local unit
	mkdir -p "$ROOT/etc/systemd/system"
	for unit in systemd-sysctl systemd-udevd systemd-udev-trigger systemd-networkd systemd-resolved; do
		ln -s /dev/null "$ROOT/etc/systemd/system/$unit.service"
	done
}

# container [FILE]: PID 1 of the root runs in namespaces of its own, which see nothing of the host's network; its process here is $INIT. Before
# it begins the lines of the file are run in its root.
container()
{
	cat >"$BATS_TEST_TMPDIR/container" <<-'END'
		set -e
		mount --make-rprivate /
		mount --rbind "$ROOT" "$ROOT"
		cd "$ROOT"
		mount -t proc proc proc
		mount --bind proc/sys proc/sys
		mount -o remount,bind,ro proc/sys
		mount -t tmpfs tmpfs run
		mount -t sysfs -o ro sysfs sys
		mount -t cgroup2 none sys/fs/cgroup
		mount -t tmpfs tmpfs dev
		mkdir dev/pts dev/shm run/host
		cp -a /dev/{null,zero,full,random,urandom,tty} dev/
		mount --bind "$MIX/update/www" srv/www
		[ -z "$MORE" ] || . "$MORE"
		pivot_root . run/host
		umount -l /run/host
		exec env -i container=test PATH=/usr/bin setpriv --bounding-set=-sys_time,-sys_module,-sys_rawio,-syslog \
			--inh-caps=-sys_time,-sys_module,-sys_rawio,-syslog /usr/lib/systemd/systemd
	END
	ROOT=$ROOT MIX=$MIX MORE=${1:-} unshare -mpfuinC bash "$BATS_TEST_TMPDIR/container" </dev/null >"$BATS_TEST_TMPDIR/console" 2>&1 3>&- &
	local unshare=$! end=$((SECONDS + 60))
	until INIT=$(ps -o pid= --ppid "$unshare") && [ -n "$INIT" ] && [ "$(inside systemctl is-active multi-user.target)" = active ]; do
		[ "$SECONDS" -lt "$end" ] || fail "the container has not started: $(cat "$BATS_TEST_TMPDIR/console")"
		sleep 0.2
	done
	INIT=${INIT// /}
}

# inside COMMAND…: run it in the container
inside()
{
	nsenter -t "${INIT// /}" -m -p -u -i -n -C -r env -i PATH=/usr/bin LANG=C.UTF-8 "$@" 2>&1
}
