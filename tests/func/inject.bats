#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# Each changing call of swupd, at which it is killed, or which fails: a sample of what 'make inject' does. tests/inject.py says what is demanded.

load lib

setup()
{
	[ "$(id -u)" = 0 ] || skip "needs root"
}

# injected SCENARIO
injected()
{
	run -0 "$TOP/tests/inject.py" "$1"
	echo "# $output" >&3
}

@test "an installation" {
	injected install
}

@test "an update in place" {
	injected update-in-place
}

@test "what completes an update in place that was killed" {
	injected complete
}

@test "an update by exchange, of links" {
	injected update-ext4
}

@test "an update by exchange, of a snapshot" {
	injected update-btrfs
}

@test "a rollback, of links" {
	injected rollback-ext4
}

@test "a rollback, of a snapshot" {
	injected rollback-btrfs
}

@test "an update for the next boot" {
	injected update-next-boot
}

@test "a rollback to the root before" {
	injected rollback-next-boot
}

@test "a repair" {
	injected repair
}

@test "a bundle is added" {
	injected bundle-add
}

@test "a bundle is removed" {
	injected bundle-remove
}

@test "all scenarios are here, and an unknown one is told" {
	run -1 "$TOP/tests/inject.py" nothing
	assert_line --partial "there is no scenario 'nothing'"
	for scenario in ${lines[1]#hint: }; do
		grep -q "^	injected $scenario\$" "$BATS_TEST_FILENAME" || fail "$scenario is not tried"
	done
}
