#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# Updates for the next boot, on a btrfs as our hosts have it: what the running system keeps, what boots next, what becomes of trials. The initrd's part is
# played here by boot() of lib.bash; tests/vm/next_boot.bats has the real one.

load lib

setup()
{
	[ "$(id -u)" = 0 ] || skip "needs root"
	vectors m
	roots
	install_10
	echo mine | tee "$ROOT"/etc/conf "$ROOT"/var/data "$ROOT"/home/letter "$ROOT"/root/.profile "$ROOT"/srv/page >/dev/null
	mkdir -p "$ROOT/usr/local/bin"
	echo mine >"$ROOT/usr/local/bin/tool"
}

teardown()
{
	umount -R "$ROOT" "$TOPLEVEL" || true
}

# the whole of a root and of all that lies beside it
all_but()
{
	tree_list "$1" | grep -v -e ' \./run' -e '^\./run' -e '\.swupd' || true
}

release()
{
	run -0 sw info
	assert_line "release: $1"
}

@test "prepared beside the running system, which does not change; accepted after the boot; then the way back" {
	OTHER=$BATS_TEST_TMPDIR/other
	cp -a "$ROOT" "$OTHER"
	swupd update "${SWUPD_GLOBAL[@]/$ROOT/$OTHER}" -I -V 20
	all_but "$ROOT" >"$BATS_TEST_TMPDIR/before"
	run -0 sw update -I --next-boot -V 20
	assert_line --partial 'release 20 is prepared for the next boot'
	refute_output --partial 'not subvolumes'
	all_but "$ROOT" | diff "$BATS_TEST_TMPDIR/before" -
	release 10
	assert_line 'next boot: release 20, on trial in root-20, 3 tries'
	assert_equal "$(readlink "$TOPLEVEL/.swupd/good")" root
	run -0 sw update -I --next-boot -V 20
	assert_line --partial 'release 20 is already prepared'

	boot
	release 20
	assert_line 'on trial: release 20 in root-20'
	# as a live update leaves it
	diff <(tree_list "$OTHER" | grep '\./usr') <(tree_list "$ROOT" | grep '\./usr')
	run -0 sw accept
	assert_line --partial 'release 20 is good'
	assert_equal "$(readlink "$TOPLEVEL/.swupd/good")" root-20
	assert_not_exists "$TOPLEVEL"/.swupd/try+*
	assert_not_exists "$ROOT/usr/.swupd"
	assert_equal "$(cat "$ROOT/var/lib/swupd/version")" 20
	assert_equal "$(cat "$ROOT"/{etc/conf,var/data,home/letter,root/.profile,srv/page,usr/local/bin/tool})" "$(yes mine | head -n 6)"
	boot
	release 20

	run -0 sw rollback
	assert_line --partial 'release 10 boots next'
	release 20
	boot
	release 10
	run -0 sw recover
	assert_equal "$(cat "$ROOT/var/lib/swupd/version")" 10
	all_but "$ROOT" | diff "$BATS_TEST_TMPDIR/before" -
	# who went back does not get it again by itself
	sw update -I --next-boot -V latest
	boot
	sw accept
	sw rollback
	boot
	run -20 sw update -I
	assert_output --partial "known not to work here: it was left by 'swupd rollback'"
	run -0 sw history
	assert_line --regexp '10 -> 20 .*next boot.* done'
}

@test "never accepted: back in the release before after the last try, the release is bad, another one is not" {
	sw update -I --next-boot -V 20 --tries=2
	local try
	for try in 1 2; do
		boot
		release 20
		sw recover
		assert_exists "$ROOT/usr/.swupd/arrive"
	done
	boot
	release 10
	run -0 sw recover
	assert_output --partial 'release 20 did not start here, and release 10 is back: it did not come up in 2 tries'
	release 10
	assert_line 'bad: release 20: it did not come up in 2 tries'
	assert_equal "$(cat "$ROOT/var/lib/swupd/version")" 10
	run -0 sw history
	assert_line --regexp '10 -> 20 .*next boot.* it did not come up in 2 tries'
	boot
	release 10
	# named, it is tried again
	sw update -I --next-boot -V 20
	boot
	sw accept
	release 20
	refute_line --partial 'bad:'
}

@test "a bundle that the release drops is forgotten once that is good, and known again on the way back" {
	forge
	new_release 40 30
	sed -i '/\teditors$/d' "$WEB/40/Manifest.MoM"
	resign 40
	machine m
	local asked=$ROOT/var/lib/swupd/bundles/editors
	run -0 sw update -I --next-boot -V 40
	assert_line --partial "bundle 'editors' is no longer part of the OS"
	boot
	assert_exists "$asked"
	sw clean
	sw accept
	assert_not_exists "$asked"
	sw rollback
	assert_not_exists "$asked"
	boot
	sw recover
	assert_exists "$asked"
}

@test "a live change drops what was prepared; a trial has to end first" {
	sw update -I --next-boot -V 20
	run -0 sw bundle-remove editors
	assert_line --partial 'release 20, which was prepared for the next boot, is dropped'
	assert_not_exists "$TOPLEVEL/root-20"
	boot
	release 10
	sw update -I --next-boot -V 20
	boot
	run -32 sw update -I -V 30
	assert_output --partial 'release 20 is still on trial'
	run -32 sw update -I --next-boot -V 30
	assert_output --partial 'release 20 is still on trial'
	release 20
	sw accept
	sw update -I --next-boot --live -V 30
	release 30
}

@test "a root that somebody has removed: the good one boots, and that is said" {
	sw update -I --next-boot -V 20
	btrfs -q subvolume delete "$TOPLEVEL/root-20"
	run -0 sw recover
	assert_output --partial "release 20 does not boot next: its root 'root-20' is gone"
	release 10
	refute_line --partial 'next boot'
	assert_not_exists "$TOPLEVEL"/.swupd/try+3
	sw update -I --next-boot -V 20
	boot
	release 20
}

@test "killed at each call that changes something: the release before or the new one boots, nothing is left" {
	skip_unless_strace
	local n call
	for call in ioctl linkat symlinkat renameat renameat2 unlinkat fsync syncfs; do
		for ((n = 1; ; n += 1 + n / 3)); do
			run strace -f -qq -o /dev/null -e "trace=$call" -e "inject=$call:signal=KILL:when=$n" \
				swupd update "${SWUPD_GLOBAL[@]}" -I --next-boot -V 20
			[ "$status" != 0 ] || break
			boot
			run -0 sw info
			case ${lines[0]} in
			'release: 20') sw accept && sw rollback && boot && sw recover && rm -r "$ROOT/var/lib/swupd/bad" ;;
			'release: 10') sw recover ;;
			*) fail "after kill $n at $call: ${lines[0]}" ;;
			esac
		done
		boot
		sw accept && sw rollback && boot && sw recover && rm -r "$ROOT/var/lib/swupd/bad"
	done
	sw update -I --next-boot -V 20
	assert_not_exists "$TOPLEVEL/.swupd-next"
	assert_equal "$(find "$TOPLEVEL" -maxdepth 1 -name 'root*' -printf '%f\n' | sort | tr '\n' ' ')" 'root root-20 roothome '
}

# strace is not on each machine
skip_unless_strace()
{
	command -v strace >/dev/null || skip "needs strace"
}

@test "old roots are kept to a number, never the running one or the one that boots" {
	local release
	for release in 20 30; do
		sw update -I --next-boot -V "$release"
		boot
		sw accept --keep-roots=1
	done
	assert_not_exists "$TOPLEVEL/root"
	assert_exists "$TOPLEVEL/root-20"
	assert_exists "$TOPLEVEL/root-30"
	btrfs -q subvolume snapshot "$TOPLEVEL/root-20" "$TOPLEVEL/root-mine"
	# of a disk of which 90 % shall be free nothing old is kept; what is not of our names stays
	dd if=/dev/urandom of="$ROOT/var/fill" bs=1M count=60 status=none
	sync -f "$ROOT"
	sw rollback
	boot
	sw recover
	sw update -I --next-boot -V 30 --roots-free=90 || true
	assert_exists "$TOPLEVEL/root-20"
	assert_exists "$TOPLEVEL/root-mine"
}

@test "refused where it cannot be: another file system, a root that nobody chooses, subvolumes inside" {
	rm "$ROOT/run/limpid/root"
	run -15 sw update -I --next-boot -V 20
	assert_output --partial 'neither a loader'
	assert_output --partial "hint: 'swupd update' changes the running system at once"
	echo root >"$ROOT/run/limpid/root"
	btrfs -q subvolume create "$ROOT/usr/local/sub"
	run -15 sw update -I --next-boot -V 20
	assert_output --partial 'there are subvolumes inside the root'
	btrfs -q subvolume delete "$ROOT/usr/local/sub"
	umount "$ROOT/srv"
	run -0 sw update -I --next-boot -V 20
	assert_output --partial 'not subvolumes of their own: /srv'
}

@test "no room: an error, the system as before, nothing left" {
	dd if=/dev/urandom of="$ROOT/var/fill" bs=1M status=none 2>/dev/null || true
	dd if=/dev/urandom of="$ROOT/var/fill2" bs=4k status=none 2>/dev/null || true
	sync -f "$ROOT"
	all_but "$ROOT" >"$BATS_TEST_TMPDIR/before"
	run sw update -I --next-boot -V 20
	assert_equal "$status" 25
	all_but "$ROOT" | diff "$BATS_TEST_TMPDIR/before" -
	assert_not_exists "$TOPLEVEL/root-20"
	assert_not_exists "$TOPLEVEL/.swupd-next"
}
