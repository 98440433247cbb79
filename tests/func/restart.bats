#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# After a live update of a running system: a real systemd of Debian 13 as PID 1 of a container of its own, whose root is the machine. Its services
# that use replaced files are told, and restarted where they may be.

load lib
load container

# Two releases for all tests of this file: a library that services use, one program and the kernel are others in 20
setup_file()
{
	[ "$(id -u)" = 0 ] || return 0
	export MIX=$BATS_FILE_TMPDIR/mix
	local top
	top=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)
	{
		mixer init "$MIX" --bundles="$top/bundles" --content-url=file:///srv/www
		packages
		printf '# [%s\n' 'TITLE]: daemons' 'DESCRIPTION]: of this test' 'STATUS]: Active' 'CAPABILITIES]: test' 'MAINTAINER]: test' \
			>"$MIX/local-bundles/daemons"
		printf '%s\n' 'include(os-core)' 'content(tree)' >>"$MIX/local-bundles/daemons"
		printf '%s\n' os-core os-core-update daemons >"$MIX/mixbundles"
		daemons 10 && mixer -C "$MIX" lock && mixer -C "$MIX" build && daemons 20 && mixer -C "$MIX" build
	} >"$BATS_FILE_TMPDIR/log" 2>&1 || { tail -n 20 "$BATS_FILE_TMPDIR/log"; return 1; }
}

# daemons RELEASE: services, all of the same program and library
daemons()
{
	local dir=$MIX/local-bundles/tree unit name
	rm -rf "$dir"
	mkdir -p "$dir"/usr/lib/{daemons,systemd/system/multi-user.target.wants,kernel/test} "$dir/usr/share/defaults/swupd/no-restart.d"
	echo "int daemons_release(void) { return $1; }" >"$BATS_FILE_TMPDIR/lib.c"
	cat >"$BATS_FILE_TMPDIR/main.c" <<-'END'
		#include <stdio.h>
		#include <unistd.h>
		int daemons_release(void);
		int main(void)
		{
			/* it is started as soon as it has said so, and has loaded what it uses */
			printf("release %d\n", daemons_release());
			fflush(stdout);
			if (fork() > 0)
				return 0;
			for (;;)
				pause();
		}
	END
	cc -shared -fPIC -o "$dir/usr/lib/daemons/libdaemons.so" "$BATS_FILE_TMPDIR/lib.c"
	cc -o "$dir/usr/lib/daemons/daemon" "$BATS_FILE_TMPDIR/main.c" -L"$dir/usr/lib/daemons" -ldaemons -Wl,-rpath,/usr/lib/daemons
	for unit in plain marked template@one refusing failing private gone own; do
		name=$unit.service
		[ "$unit" != template@one ] || name=template@.service
		printf '[Service]\nType=forking\nExecStart=/usr/lib/daemons/daemon\n' >"$dir/usr/lib/systemd/system/$name"
		ln -s "../$name" "$dir/usr/lib/systemd/system/multi-user.target.wants/$unit.service"
	done
	(
		cd "$dir/usr/lib/systemd/system" || exit
		sed -i '1i [Unit]\nRefuseManualStop=yes' refusing.service
		# it does not start again where the release is 20; systemd waits for what it does before it starts
		[ "$1" = 10 ] || sed -i 's|^ExecStart=|ExecStartPre=/usr/bin/false\n&|' failing.service
		[ "$1" = 10 ] || rm gone.service multi-user.target.wants/gone.service
		printf 'PrivateMounts=yes\nProtectSystem=strict\nPrivateTmp=yes\n' >>private.service
		sed -i '/^Type/d; s|=/usr.*|=/usr/bin/sleep infinity|' own.service
	)
	touch "$dir/usr/share/defaults/swupd/no-restart.d/template@.service"
	echo "kernel of release $1" >"$dir/usr/lib/kernel/test/bzImage"
}

setup()
{
	[ "$(id -u)" = 0 ] || skip "needs root"
	unshare -mpfuinC true 2>/dev/null || skip "needs namespaces"
	machine m
	sw os-install -V 10 -B os-core-update,daemons
	mkdir -p "$ROOT/etc/swupd/no-restart.d" "$ROOT/srv/www"
	touch "$ROOT/etc/swupd/no-restart.d/marked.service"
	no_container_units
	container
}

teardown()
{
	[ -z "${INIT:-}" ] || kill -KILL "$INIT" || true
}

# pids: of each daemon's process, as the container sees it
pids()
{
	local unit
	for unit in plain private failing marked template@one refusing; do
		echo "$unit $(inside systemctl show -P MainPID "$unit.service")"
	done
}

# said UNIT: what this daemon said last
said()
{
	inside journalctl -q --no-pager -o cat -u "$1" | grep '^release ' | tail -n 1
}

# assert_said UNIT TEXT: now, or as soon as the journal has it
assert_said()
{
	local end=$((SECONDS + 30))
	until [ "$(said "$1")" = "$2" ]; do
		[ "$SECONDS" -lt "$end" ] || assert_equal "$(said "$1")" "$2"
		sleep 0.2
	done
}

# what is told of the services that may not be restarted
assert_objections()
{
	assert_line "marked.service (1 process): not to be restarted: /etc/swupd/no-restart.d has its name"
	assert_line "template@one.service (1 process): not to be restarted: /usr/share/defaults/swupd/no-restart.d has its name"
	assert_line "refusing.service (1 process): not to be restarted: its unit refuses it"
	assert_line "gone.service (1 process): its unit is gone: stop it"
}

@test "services that use replaced files are told, with what is to be done; nothing is restarted; the kernel needs a reboot" {
	local how before
	run -0 inside swupd restart --dry-run
	assert_output ""
	run -0 inside swupd info
	refute_line --partial "reboot: "
	before=$(pids)
	for how in --in-place --quiet; do
		run -0 inside swupd update "$how"
		assert_line "plain.service (1 process): restart it"
		assert_line "private.service (1 process): restart it"
		assert_line "failing.service (1 process): restart it"
		assert_objections
		assert_line "a reboot is needed: the kernel changed"
		# and no others
		assert_equal "$(grep -c 'process' <<<"$output")" 7
		assert_equal "$(pids)" "$before"
		run -0 inside swupd info
		assert_line "reboot: needed: the kernel changed"
		assert_equal "$(inside cat /run/swupd/reboot-required)" "the kernel changed"
		# what began before needs nothing any more
		if [ "$how" = --in-place ]; then
			inside swupd repair --force -V 10 >/dev/null
			inside systemctl restart plain private failing marked template@one gone
			inside rm -r /run/swupd
			before=$(pids)
		fi
	done
	run -0 inside swupd restart --dry-run --json-output
	assert_output --partial '"msg" : "plain.service (1 process): restart it"'
	run -0 jq -r '.[] | select(.type == "info") | .msg' <<<"$output"
	assert_objections
	# a rollback does the same
	run -0 inside swupd rollback
	assert_line "a reboot is needed: the kernel changed"
	# what was started before both
	assert_equal "$(grep 'process' <<<"$output")" "refusing.service (1 process): not to be restarted: its unit refuses it"
}

@test "--restart restarts those that may be, names what did not start again, and leaves the others" {
	local before
	before=$(pids)
	run -28 inside swupd update --restart
	assert_line "plain.service (1 process): restarting it"
	assert_objections
	assert_line "swupd: release 20 is installed: not restarted: failing.service"
	assert_line "hint: 'systemctl status failing.service' tells why"
	diff <(grep -E 'marked|template|refusing' <<<"$before") <(pids | grep -E 'marked|template|refusing')
	assert_said plain "release 20"
	assert_said private "release 20"
	assert_said marked "release 10"
	# once is enough
	run -0 inside swupd restart
	assert_objections
	assert_equal "$(grep -c 'process' <<<"$output")" 4
	# forward and back
	inside systemctl restart marked template@one
	run -0 inside swupd rollback --restart
	assert_line "plain.service (1 process): restarting it"
	assert_said plain "release 10"
	assert_said marked "release 20"
	assert_equal "$(inside systemctl is-active failing)" failed
}

@test "the service that the update runs in is not restarted by it" {
	printf '[Service]\nType=exec\nExecStart=/usr/bin/sh -c "/usr/lib/daemons/daemon; swupd update --restart >/root/told 2>&1; echo $? >/root/status; sleep infinity"\n' \
		>"$ROOT/etc/systemd/system/updater.service"
	inside rm -r /usr/lib/systemd/system/failing.service
	inside systemctl stop failing
	inside systemctl daemon-reload
	inside systemctl start updater
	local end=$((SECONDS + 60))
	until [ -s "$ROOT/root/status" ]; do
		[ "$SECONDS" -lt "$end" ]
		sleep 0.2
	done
	run -0 cat "$ROOT/root/told"
	assert_line --regexp '^updater.service \([12] process(es)?\): swupd runs in it$'
	assert_equal "$(cat "$ROOT/root/status")" 0
	assert_equal "$(inside systemctl is-active updater)" active
	assert_said plain "release 20"
}

@test "--soft-reboot: all of userspace is that of the new release, PID 1 goes on" {
	inside swupd update --soft-reboot || true
	local end=$((SECONDS + 60))
	until [ "$(said marked)" = "release 20" ] && [ "$(inside systemctl is-active multi-user.target)" = active ]; do
		[ "$SECONDS" -lt "$end" ]
		sleep 0.5
	done
	kill -0 "$INIT"
	run -0 inside swupd restart --dry-run
	assert_output ""
}

# replace_library: one of PID 1's becomes another file
replace_library()
{
	# shellcheck disable=SC2016 # it is the container's shell
	inside sh -c 'cd /usr/lib/x86_64-linux-gnu/systemd && for f in libsystemd-core-*.so; do cp "$f" new && mv new "$f"; done'
}

@test "PID 1 that uses replaced files executes itself anew; where it cannot, a reboot is needed until it can" {
	replace_library
	run -0 inside swupd restart --dry-run
	assert_output "init.scope (1 process): 'systemctl daemon-reexec'"
	run -0 inside swupd restart
	run -0 inside swupd restart --dry-run
	assert_output ""
	replace_library
	# nobody can reach it
	inside mv /run/systemd/private /run/systemd/away
	run -28 inside swupd update
	assert_line "a reboot is needed: PID 1 cannot be executed anew"
	inside mv /run/systemd/away /run/systemd/private
	run -0 inside swupd info
	assert_line "reboot: needed: PID 1 cannot be executed anew"
	# all but the one that does not start in release 20
	run -28 inside swupd restart
	run -0 inside swupd info
	assert_line "reboot: needed: the kernel changed"
	refute_line --partial "PID 1"
	# an update does it by itself
	replace_library
	run -0 inside swupd rollback
	refute_output --partial init.scope
	refute_output --partial "PID 1"
}

@test "what is about to become a service's program is waited for, a moment" {
	# systemd-executor opens what shall be its standard input before it executes the program
	printf '[Service]\nStandardInput=file:/run/door\nExecStart=/usr/bin/sleep infinity\n' >"$ROOT/etc/systemd/system/slow.service"
	inside mkfifo /run/door
	inside systemctl daemon-reload
	inside systemctl start --no-block slow
	until [ "$(inside systemctl show -P MainPID slow)" != 0 ]; do
		sleep 0.1
	done
	replace_library
	run -0 inside swupd restart --dry-run
	assert_line "init.scope (1 process): 'systemctl daemon-reexec'"
	assert_line "slow.service (1 process): restart it"
	(sleep 0.3 && inside sh -c 'echo open >/run/door') &
	run -0 inside swupd restart --dry-run
	assert_output "init.scope (1 process): 'systemctl daemon-reexec'"
	assert_equal "$(inside systemctl show -P ActiveState slow)" active
}

@test "what makes no sense is refused before anything changes" {
	run -15 inside swupd update --restart --no-scripts
	assert_line "swupd: --restart does not go with --no-scripts"
	for option in --dry-run --download --status; do
		run -15 inside swupd update --soft-reboot "$option"
		assert_line "swupd: --restart and --soft-reboot go with an update that is made now"
	done
	run -15 inside swupd update --restart --next-boot
	assert_line "swupd: --restart and --soft-reboot go with an update that is made now"
	run -15 inside swupd update --soft-reboot --next-boot
	assert_line "swupd: cannot update to release 20: a soft reboot keeps kernel and initrd, and the release has others"
	run -15 inside unshare -m swupd update --soft-reboot --next-boot
	assert_line "swupd: a soft reboot cannot be made here: PID 1 does not see what is mounted here"
	inside rm /usr/lib/systemd/system/soft-reboot.target
	inside systemctl daemon-reload
	run -15 inside swupd update --soft-reboot
	assert_line "swupd: systemd has no soft reboot here"
	run -15 sw update --restart
	run -15 swupd update --restart -p "$ROOT" -u "file://$MIX/update/www" -C "$MIX/Swupd_Root.pem"
	assert_line --partial "services are restarted only on the running system"
	grep -q VERSION_ID=10 "$ROOT/usr/lib/os-release"
}
