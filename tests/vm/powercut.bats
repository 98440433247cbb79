#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# The short run of powercut: what a disk holds after a loss of power becomes exactly the old or the new release; and the test finds an
# updater that makes nothing durable.

load lib

setup_file()
{
	export MIX=$BATS_FILE_TMPDIR/mix SEED=1
}

# powercut [VARIABLE=VALUE…]
powercut()
{
	run env WORK="$BATS_TEST_TMPDIR/work" "$@" "$TOP/tests/vm/powercut"
}

# all_whole COUNT: each is one of the releases, and there are some of both
all_whole()
{
	assert_success
	assert_line --regexp "^cuts $1, old [1-9][0-9]*, new [1-9][0-9]*, neither 0\$"
	assert_line --regexp '^booted: [1-9]'
}

@test "an update in place on ext4: after any cut the old or the new release" {
	powercut FS=ext4 COMMIT=in-place CUTS=120 BOOTS=2
	all_whole 120
	# some were in between until they were recovered
	assert_line --regexp '^an interrupted run was completed: [1-9]'
}

@test "an update in place on btrfs: after any cut the old or the new release" {
	powercut FS=btrfs COMMIT=in-place CUTS=50 BOOTS=1
	all_whole 50
	# some were in between until they were recovered
	assert_line --regexp '^an interrupted run was completed: [1-9]'
}

@test "an update by exchange on ext4 and btrfs: after any cut the old or the new release" {
	local fs
	for fs in ext4 btrfs; do
		# few states lie after the exchange
		powercut FS=$fs COMMIT=exchange CUTS=80 BOOTS=1
		all_whole 80
		assert_line --regexp '^exchanged: [1-9]'
	done
}

@test "an update for the next boot: after any cut the old or the new release boots" {
	# few states lie after the choice
	powercut FS=btrfs COMMIT=next-boot CUTS=80 BOOTS=2
	all_whole 80
}

@test "an updater whose fsync and syncfs do nothing is found" {
	powercut FS=ext4 COMMIT=in-place CUTS=40 BOOTS=0 NOSYNC=all
	assert_failure 1
	assert_line --regexp '^cuts 40, old [0-9]+, new [0-9]+, neither [1-9]'
	# what is said of a state makes it again
	kept=("$BATS_TEST_TMPDIR"/work/neither/1-*)
	run env WORK="$BATS_TEST_TMPDIR/work" "$TOP/tests/vm/powercut" "${kept[0]##*-}"
	assert_failure 1
	assert_line 'cuts 1, old 0, new 0, neither 1'
	assert_file_exists "$BATS_TEST_TMPDIR/work/state-${kept[0]##*-}.img"
}
