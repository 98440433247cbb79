#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# Releases that do not come up, on a machine as that of tests/vm/next_boot.bats: each goes back by itself, and stays back.

load lib
load trial

setup_file()
{
	trial_host
	{
		trial_mix os-core os-core-update
		health 0 10
		release
		health 3 20
		release
		health 0 30
		hanging_init
		release
		rm "$MIX"/local-debs/systemd_*
		broken_libc
		release
	} >"$BATS_FILE_TMPDIR/log" 2>&1 || {
		tail -n 40 "$BATS_FILE_TMPDIR/log"
		return 1
	}
	trial_done
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

@test "a failing health check, an init that hangs, a broken libc: each goes back by itself, and stays back" {
	steps 'swupd update --next-boot --tries=1 -V 20' \
		'swupd info; swupd update --next-boot --tries=1 -V 30' \
		'swupd info; swupd update --next-boot --tries=1 -V 40' \
		'swupd info; swupd history; swupd update --next-boot'
	boots 'release 10 in /root' 'release 10 in /root' 'release 10 in /root' 'release 10 in /root' 'release 10 in /root'
	assert_line --regexp '^bad: release 20: /usr/share/defaults/swupd/health.d/check ended with 3: 20 has a check that ends with 3'
	assert_line 'bad: release 30: it did not come up in 1 try'
	assert_line 'bad: release 40: it did not come up in 1 try'
	assert_line --regexp 'boot +10 -> 40 .*did not come up'
	assert_line --partial 'release 40 is the newest, but it is known not to work here'
	assert_line 'status: 20'
}

@test "a failing health check, an init that hangs, a broken libc after a soft reboot: a full reboot goes back by itself" {
	[ -n "${LONG:-}" ] || skip "takes ten minutes: LONG=1"
	steps 'swupd update --next-boot --soft-reboot --tries=1 -V 20 && sleep 1000' \
		'swupd info; swupd update --next-boot --soft-reboot --tries=1 -V 30 && sleep 1000' \
		'swupd info; swupd update --next-boot --soft-reboot --tries=1 -V 40 && sleep 1000' \
		'swupd info'
	boots 'release 10 in /root' 'release 10 in /root' 'release 10 in /root' 'release 10 in /root' 'release 10 in /root'
	# after the first step the check of 20 ran under the same kernel
	kernels a a b c d e
	assert_line --regexp '^bad: release 20: /usr/share/defaults/swupd/health.d/check ended with 3: 20 has a check that ends with 3'
	assert_line 'bad: release 30: it did not come up in 1 try'
	assert_line 'bad: release 40: it did not come up in 1 try'
}
