#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# Where a published tree can lie: a directory, one tar file of it.

load lib

setup_file()
{
	[ "$(id -u)" = 0 ] || return 0
	export BATS_TEST_TMPDIR=$BATS_FILE_TMPDIR
	local n
	mix_init
	for n in 10 20; do
		content os-core usr/bin/base "base $n"
		content os-core usr/share/empty ""
		content b1 usr/share/b1/file "$(seq 1 7 300000 | sed "s/^177.*/$n/")"
		content b2 usr/share/b2/file "$(seq 2 7 200000)"
		bundle os-core
		bundle b1
		bundle b2
		release
	done
	tar -cf "$BATS_FILE_TMPDIR/tree.tar" -C "$MIX/update/www" .
}

setup()
{
	[ "$(id -u)" = 0 ] || skip "needs root"
	WWW=$MIX/update/www
	TAR=$BATS_FILE_TMPDIR/tree.tar
}

# machine_of NAME URL
machine_of()
{
	URL=$2 machine "$1"
}

@test "a tar is a source like its directory: installation, update, bundles, repair" {
	machine_of a "file://$TAR"
	run -0 sw os-install -V 10 -B os-core,b1
	run -0 sw update --dry-run
	assert_line 'packs: 0'
	run -0 sw update
	run -0 sw bundle-add b2
	echo damaged >"$ROOT/usr/share/b1/file"
	run -0 sw repair
	run -0 sw diagnose --picky
	local other=$ROOT
	machine_of b "file://$WWW"
	run -0 sw os-install -B os-core,b1,b2
	run -0 same_tree "$other" "$ROOT"
}

@test "what is downloaded from it is applied without it" {
	cp "$TAR" "$BATS_TEST_TMPDIR/stick.tar"
	machine_of a "file://$BATS_TEST_TMPDIR/stick.tar"
	run -0 sw os-install -V 10 -B os-core,b1
	run -0 sw update --download
	mv "$BATS_TEST_TMPDIR/stick.tar" "$BATS_TEST_TMPDIR/gone"
	run -0 sw update
	assert_output --partial 'going on with release 20, which is downloaded'
	run find "$BATS_TEST_TMPDIR/a/cache" -name downloaded
	assert_output ""
	assert_equal "$(cat "$ROOT/usr/bin/base")" "base 20"
	mv "$BATS_TEST_TMPDIR/gone" "$BATS_TEST_TMPDIR/stick.tar"
	run -0 sw diagnose --picky
}

@test "names of other tars: without ./, with long ones, the last of several counts" {
	local tar=$BATS_TEST_TMPDIR/t.tar long
	long=$(printf 'a%.0s' {1..180})
	mkdir -p "$BATS_TEST_TMPDIR/x/$long"
	echo long >"$BATS_TEST_TMPDIR/x/$long/file"
	mkdir "$BATS_TEST_TMPDIR/old"
	cp -a "$WWW/version" "$BATS_TEST_TMPDIR/old"
	echo nonsense >"$BATS_TEST_TMPDIR/old/version/format30/freshness"
	tar --format=gnu -cf "$tar" -C "$BATS_TEST_TMPDIR/x" "$long" -C "$BATS_TEST_TMPDIR/old" version
	(cd "$WWW" && tar --format=gnu -rf "$tar" -- *)
	machine_of a "file://$tar"
	run -0 sw os-install -B os-core,b1
	run -0 sw diagnose --picky
}

@test "a tar that is compressed, cut, or none: an error that says so; nothing is installed" {
	gzip -k -c "$TAR" >"$BATS_TEST_TMPDIR/c.tar"
	head -c 3000 "$TAR" >"$BATS_TEST_TMPDIR/cut.tar"
	echo "<html>" >"$BATS_TEST_TMPDIR/html.tar"
	local bad
	for bad in c cut html; do
		machine_of "$bad" "file://$BATS_TEST_TMPDIR/$bad.tar"
		run ! sw os-install -B os-core
		[ ! -e "$ROOT/usr/bin" ]
	done
	machine_of c "file://$BATS_TEST_TMPDIR/c.tar"
	run sw os-install -B os-core
	assert_output --partial 'hint: a content URL is a directory, or a tar that is not compressed'
}

@test "a tar in which bytes are damaged is not believed" {
	local at size
	size=$(stat -c %s "$TAR")
	for at in "$((size / 5))" "$((size / 2))" "$((size * 4 / 5))"; do
		cp "$TAR" "$BATS_TEST_TMPDIR/d.tar"
		head -c 2000 /dev/urandom | dd of="$BATS_TEST_TMPDIR/d.tar" bs=1 seek="$at" conv=notrunc status=none
		machine_of "d$at" "file://$BATS_TEST_TMPDIR/d.tar"
		run sw os-install -B os-core,b1
		[ "$status" != 0 ] || run -0 sw diagnose --picky -u "file://$WWW"
	done
}
