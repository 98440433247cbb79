#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# The text of our kernels: what a profile names exists, and an option that vanished does not go unseen.

load lib

setup()
{
	FOLDER=$BATS_TEST_TMPDIR/kernel-config
	mkdir -p "$FOLDER/fragments" "$FOLDER/profiles"
	cp "$TOP/kernel-config/check" "$FOLDER"
	printf 'fragments = base more\n' >"$FOLDER/profiles/small"
	printf 'CONFIG_NET=y\n# CONFIG_PCI is not set\nCONFIG_NR_CPUS=64\n' >"$FOLDER/fragments/base.config"
	printf '# later counts\nCONFIG_NR_CPUS=16\nCONFIG_LSM="landlock"\n' >"$FOLDER/fragments/more.config"
}

@test "what every fragment wishes for is there" {
	printf 'CONFIG_NET=y\nCONFIG_NR_CPUS=16\nCONFIG_LSM="landlock"\n' >"$BATS_TEST_TMPDIR/.config"
	run "$FOLDER/check" small "$BATS_TEST_TMPDIR/.config"
	[ "$status" = 0 ]
	[ -z "$output" ]
}

@test "an option that vanished, changed or came back is named with its fragment" {
	printf '# CONFIG_NET is not set\nCONFIG_PCI=y\nCONFIG_NR_CPUS=64\n' >"$BATS_TEST_TMPDIR/.config"
	run "$FOLDER/check" small "$BATS_TEST_TMPDIR/.config"
	[ "$status" = 1 ]
	[ "${#lines[@]}" = 4 ]
	[[ $output == *"CONFIG_NET=y of fragment base became n"* ]]
	[[ $output == *"CONFIG_PCI=n of fragment base became y"* ]]
	[[ $output == *"CONFIG_NR_CPUS=16 of fragment more became 64"* ]]
	[[ $output == *'CONFIG_LSM="landlock" of fragment more became n'* ]]
}

@test "a profile, a fragment or a configuration that is not there is named" {
	run "$FOLDER/check" large "$FOLDER/profiles/small"
	[ "$status" = 2 ]
	[[ $output == *"no profile 'large'"* ]]
	run "$FOLDER/check" small "$FOLDER/none"
	[ "$status" = 2 ]
	[[ $output == *"cannot read '$FOLDER/none'"* ]]
	rm "$FOLDER/fragments/more.config"
	run "$FOLDER/check" small "$FOLDER/profiles/small"
	[ "$status" = 2 ]
	[[ $output == *"no fragment 'more'"* ]]
}

@test "profiles name fragments that exist, and each fragment has a profile" {
	cat "$TOP"/kernel-config/profiles/* | sed -n 's/^fragments *= *//p' | tr ' ' '\n' | sort -u >"$BATS_TEST_TMPDIR/named"
	find "$TOP/kernel-config/fragments" -name '*.config' -printf '%f\n' | sed 's/\.config$//' | sort >"$BATS_TEST_TMPDIR/there"
	diff "$BATS_TEST_TMPDIR/named" "$BATS_TEST_TMPDIR/there"
}

@test "a fragment has options and comments, nothing else, and no option twice" {
	for fragment in "$TOP"/kernel-config/fragments/*.config; do
		run grep -vnE '^(CONFIG_[A-Z0-9a-z_]+=(y|m|[0-9]+|"[^"]*")|# CONFIG_[A-Z0-9a-z_]+ is not set|#( .*)?)$' "$fragment"
		[ "$status" = 1 ] || { echo "$fragment: $output"; return 1; }
		run sh -c "sed -n 's/^# \(CONFIG_[A-Za-z0-9_]*\) is not set$/\1/p; s/^\(CONFIG_[A-Za-z0-9_]*\)=.*/\1/p' '$fragment' | sort | uniq -d"
		[ -z "$output" ] || { echo "$fragment: $output"; return 1; }
	done
}
