#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# What mixer does before it builds: init, bundle, lock, versions. Packages are made here; nothing is downloaded.

load lib

setup()
{
	mix_init
	printf 'os-core\n' >"$MIX/mixbundles"
}

# deb NAME VERSION [DEPENDS]: an empty package in local-debs
deb()
{
	local dir=$BATS_TEST_TMPDIR/deb
	rm -rf "$dir"
	mkdir -p "$dir/DEBIAN"
	printf 'Package: %s\nVersion: %s\nArchitecture: all\nMaintainer: test\nDescription: test\n%s' \
		"$1" "$2" "${3:+Depends: $3
}" >"$dir/DEBIAN/control"
	SOURCE_DATE_EPOCH=1700000000 dpkg-deb --root-owner-group -b "$dir" "$MIX/local-debs/$1_$2_all.deb" >/dev/null
}

@test "init makes a workspace with a key, and only once" {
	run -0 mixer init "$BATS_TEST_TMPDIR/new" --content-url=https://example.org --format=31 --mix-version=100
	cd "$BATS_TEST_TMPDIR/new"
	assert_dir_exists local-bundles
	assert_dir_exists local-debs
	assert_equal "$(stat -c %a private.pem)" 600
	run -0 openssl x509 -in Swupd_Root.pem -noout -ext basicConstraints
	grep -qx 'content-url = https://example.org' mixer.conf
	assert_equal "$(cat mixbundles)" 'os-core
os-core-update'
	run -0 mixer versions
	assert_line --partial '100 (format 31)'
	find . -type f -exec sha256sum {} + | sort >../before
	run -0 mixer init --content-url=https://other.example.org
	assert_output --partial 'is a workspace already; nothing was changed'
	find . -type f -exec sha256sum {} + | sort | diff ../before -
}

@test "init never overwrites a key" {
	mkdir "$BATS_TEST_TMPDIR/new"
	echo mine >"$BATS_TEST_TMPDIR/new/private.pem"
	run -0 mixer -C "$BATS_TEST_TMPDIR/new" init
	assert_output --partial 'stays'
	assert_equal "$(cat "$BATS_TEST_TMPDIR/new/private.pem")" mine
}

@test "init makes an RSA key when asked, or none" {
	mixer init "$BATS_TEST_TMPDIR/rsa" --key-type=rsa
	run -0 openssl pkey -in "$BATS_TEST_TMPDIR/rsa/private.pem" -noout -text
	assert_output --partial '4096 bit'
	mixer init "$BATS_TEST_TMPDIR/none" --no-key
	assert_file_not_exists "$BATS_TEST_TMPDIR/none/private.pem"
	run -2 mixer init "$BATS_TEST_TMPDIR/bad" --key-type=dsa
}

@test "every command refuses a folder that is no workspace" {
	for command in 'bundle list' 'bundle add x' 'bundle validate' lock versions 'versions update'; do
		# shellcheck disable=SC2086 # words
		run -1 mixer -C "$BATS_TEST_TMPDIR" $command
		assert_output --partial 'is no workspace: it has no mixer.conf'
		assert_output --partial "'mixer init' makes one"
	done
}

@test "wrong words on the command line are status 2" {
	bundle os-core
	run -2 mixer nonsense
	run -2 mixer -C "$MIX"
	run -2 mixer -C "$MIX" lock --nonsense
	run -2 mixer -C "$MIX" lock extra
	run -2 mixer -C "$MIX" bundle add
	run -2 mixer -C "$MIX" bundle list elsewhere
	run -2 mixer -C "$MIX" lock --repositories=nowhere
	assert_output --partial "there is no repository 'nowhere'"
}

@test "help of every command fits 80 columns and is in the manual page" {
	mixer --help | awk 'length > 80 { print; bad = 1 } END { exit bad }'
	man -l -Tutf8 "$TOP/mixer/man/mixer.8" | col -b | tr -s ' \n' ' ' >"$BATS_TEST_TMPDIR/page"
	while read -r command; do
		# shellcheck disable=SC2086 # words
		mixer $command --help >"$BATS_TEST_TMPDIR/help"
		awk 'length > 80 { print; bad = 1 } END { exit bad }' "$BATS_TEST_TMPDIR/help"
		grep -qF " $command" "$BATS_TEST_TMPDIR/page" || { echo "not in mixer(8): $command"; return 1; }
		while read -r option; do
			grep -qF -- "$option" "$BATS_TEST_TMPDIR/page" || { echo "not in mixer(8): $option"; return 1; }
		done < <(grep -o -- '--[a-z-]*' "$BATS_TEST_TMPDIR/help")
	done < <(mixer --help | sed -n 's/^  \([a-z-]*\( [a-z-]*\)\?\)  .*/\1/p')
}

@test "--help lists each command once; the first of several words those that begin with it" {
	run -0 mixer --help
	[ "$(grep -c '^  [a-z]' <<<"$output")" -gt 40 ]
	assert_equal "$(grep '^  [a-z]' <<<"$output" | sort | uniq -d)" ""
	run -0 mixer kernel --help
	assert_equal "$(sed -n 's/^  \([a-z]* [a-z]*\)  .*/\1/p' <<<"$output")" $'kernel build\nkernel list'
	run -2 --separate-stderr mixer kernel
	assert_equal "$stderr" $'mixer: \'kernel\' is not a command\nhint: \'mixer kernel --help\' lists them'
	run -2 --separate-stderr mixer nonsense --help
	assert_equal "$stderr" $'mixer: \'nonsense --help\' is not a command\nhint: \'mixer --help\' lists them'
}

@test "bundle add wants definitions, also of what is included" {
	bundle os-core
	run -1 mixer -C "$MIX" bundle add gone
	assert_output --partial "there is no definition of bundle 'gone'"
	printf 'include(gone)\n' >"$MIX/bundles/editors"
	run -1 mixer -C "$MIX" bundle add editors
	assert_output --partial "bundle 'editors' wants 'gone'"
	assert_equal "$(cat "$MIX/mixbundles")" os-core
	printf 'include(os-core)\n' >"$MIX/bundles/editors"
	mixer -C "$MIX" bundle add editors
	assert_equal "$(cat "$MIX/mixbundles")" 'editors
os-core'
	run -0 mixer -C "$MIX" bundle add editors
	assert_output --partial 'is in the mix already'
}

@test "bundle list shows the mix, definitions and the tree" {
	bundle os-core
	bundle libs
	bundle editors 'include(libs)' 'also-add(docs)'
	printf '# [DESCRIPTION]: to read\n' >"$MIX/bundles/docs"
	printf 'editors\nos-core\n' >"$MIX/mixbundles"
	run -0 mixer -C "$MIX" bundle list --quiet
	assert_output 'docs
editors
libs
os-core'
	run -0 mixer -C "$MIX" bundle list
	assert_line --regexp '^docs +to read \(by another bundle\)$'
	run -0 mixer -C "$MIX" bundle list --tree
	assert_output 'editors
    os-core
    libs
        os-core
    docs (also)
os-core'
	run -0 mixer -C "$MIX" bundle list local --quiet
	assert_output ''
}

@test "bundle create copies what it hides, and its content stays where it is" {
	bundle os-core
	content os-core etc/x text
	bundle os-core
	run -0 mixer -C "$MIX" bundle create os-core own --add
	assert_output --partial 'a copy of'
	grep -qx "content($MIX/bundles/tree/os-core)" "$MIX/local-bundles/os-core"
	grep -qx '# \[TITLE\]: own' "$MIX/local-bundles/own"
	run -0 mixer -C "$MIX" bundle list mix --quiet
	assert_line own
	echo changed >>"$MIX/local-bundles/own"
	run -0 mixer -C "$MIX" bundle edit own
	assert_output --partial 'is there'
	grep -qx changed "$MIX/local-bundles/own"
	run -0 mixer -C "$MIX" bundle remove --local own os-core
	assert_file_not_exists "$MIX/local-bundles/own"
	assert_equal "$(cat "$MIX/mixbundles")" ''
	run -1 mixer -C "$MIX" bundle remove own
	assert_output --partial "'own' is not in the mix"
}

@test "bundle validate says all that is wrong" {
	bundle os-core
	printf 'two words\n' >"$MIX/bundles/a"
	printf 'content(nowhere)\n' >"$MIX/bundles/b"
	printf 'also-add(gone)\n' >"$MIX/bundles/c"
	run -1 mixer -C "$MIX" bundle validate
	assert_line --partial "/a:1: 'two words' is neither a package nor a directive"
	assert_line --partial "/b: content($MIX/bundles/nowhere) is no directory"
	assert_line --partial "/c: bundle 'c' wants 'gone'"
	assert_line --partial '3 of 4 bundles cannot be used'
	run -0 mixer -C "$MIX" bundle validate os-core --strict
	printf '' >"$MIX/bundles/a"
	run -0 mixer -C "$MIX" bundle validate a
	run -1 mixer -C "$MIX" bundle validate a --strict
}

@test "lock says what changed, and nothing when nothing did" {
	deb liba 1
	deb tool 1 'liba (>= 1)'
	bundle os-core tool
	run -0 mixer -C "$MIX" lock
	assert_line 'added    liba 1 (local)'
	assert_line 'added    tool 1 (local)'
	grep -qx 'time 1700000000' "$MIX/mixer.lock"
	grep -qx 'bundle os-core liba tool' "$MIX/mixer.lock"
	cp "$MIX/mixer.lock" "$BATS_TEST_TMPDIR/first"
	run -3 mixer -C "$MIX" lock
	assert_output --partial 'mixer.lock stays as it is'
	cmp "$MIX/mixer.lock" "$BATS_TEST_TMPDIR/first"
	rm "$MIX/mixer.lock"
	mixer -C "$MIX" lock
	cmp "$MIX/mixer.lock" "$BATS_TEST_TMPDIR/first"

	deb liba 2
	run -3 mixer -C "$MIX" lock --keep
	run -0 mixer -C "$MIX" lock
	assert_line 'changed  liba 1 → 2 (local)'
	printf 'include(os-core)\n' >"$MIX/bundles/more"
	mixer -C "$MIX" bundle add more
	bundle os-core liba
	run -0 mixer -C "$MIX" lock
	assert_line 'removed  tool 1'
	assert_line --partial 'more is new'
}

@test "lock explains why there is none, and leaves the old one" {
	deb tool 1 'liba (>= 2)'
	deb liba 1
	bundle os-core liba
	mixer -C "$MIX" lock
	cp "$MIX/mixer.lock" "$BATS_TEST_TMPDIR/first"
	bundle os-core tool
	run -1 mixer -C "$MIX" lock
	assert_output --partial "bundle 'os-core' wants 'tool', which needs 'liba (>= 2)', but only 1 (local) is there"
	cmp "$MIX/mixer.lock" "$BATS_TEST_TMPDIR/first"
	echo damaged >"$MIX/local-debs/bad.deb"
	run -1 mixer -C "$MIX" lock
	assert_output --partial 'bad.deb is no proper .deb'
}

@test "lock does not follow what packages.drop names" {
	deb tool 1 'nowhere | elsewhere, liba'
	deb liba 1 more
	bundle os-core tool
	printf 'elsewhere # no need\nmore from liba\n' >"$MIX/bundles/packages.drop"
	mixer -C "$MIX" lock
	grep -qx 'bundle os-core liba tool' "$MIX/mixer.lock"
}

@test "lock refuses a mix without os-core" {
	bundle os-core
	printf '' >"$MIX/mixbundles"
	run -1 mixer -C "$MIX" lock
	assert_output --partial "the mix has no bundle 'os-core'"
}

@test "two runs do not write to one workspace" {
	bundle os-core
	exec 9<>"$MIX/.mixer.lock-file"
	python3 - <<-'END' 9>&9
		import fcntl, struct
		fcntl.fcntl(9, 37, struct.pack('hhqqi', fcntl.F_WRLCK, 0, 0, 0, 0))
	END
	run -1 mixer -C "$MIX" lock 9>&-
	assert_output --partial 'another run holds the lock'
	run -0 mixer -C "$MIX" bundle list 9>&-
	exec 9>&-
	run -0 mixer -C "$MIX" lock
}

@test "versions update goes only forward" {
	bundle os-core
	run -0 mixer -C "$MIX" versions
	assert_line --partial 'next release:   10'
	assert_line --partial 'not locked yet'
	mixer -C "$MIX" versions update
	mixer -C "$MIX" versions update --increment 5
	run -0 mixer -C "$MIX" versions
	assert_line --partial 'next release:   25'
	mixer -C "$MIX" versions update --mix-version 40
	printf 'release = 40\nprevious = 30\nformat = 30\n' >"$MIX/mixer.state"
	run -2 mixer -C "$MIX" versions update --mix-version 30
	run -2 mixer -C "$MIX" versions update --mix-version 4294967295 --increment 1
	run -0 mixer -C "$MIX" versions --json-output
	python3 -c 'import json, sys; json.load(sys.stdin)' <<<"$output"
}
