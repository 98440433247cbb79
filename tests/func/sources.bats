#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# Where a published tree can lie: a directory, one tar file of it; and what is known of it in a state directory.

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
		[ "$n" = 20 ] || content b1 usr/share/b1/old "gone in 20"
		bundle os-core
		bundle b1
		bundle b2
		release
		rm -f "$MIX/bundles/tree/b1/usr/share/b1/old"
	done
	tar -cf "$BATS_FILE_TMPDIR/tree.tar" -C "$MIX/update/www" .
}

setup()
{
	[ "$(id -u)" = 0 ] || skip "needs root"
	WWW=$MIX/update/www
	TAR=$BATS_FILE_TMPDIR/tree.tar
}

teardown()
{
	[ -z "${STATE:-}" ] || umount "$STATE"
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

@test "what was downloaded is promised only as long as it is there" {
	cp "$TAR" "$BATS_TEST_TMPDIR/stick.tar"
	machine_of a "file://$BATS_TEST_TMPDIR/stick.tar"
	run -0 sw os-install -V 10 -B os-core,b1,b2
	run -0 sw update --download
	run -0 sw bundle-remove b2
	run -16 sw update -u http://127.0.0.1:9 --allow-insecure-http --max-retries=0
	refute_output --partial 'which is downloaded'
}

@test "what a killed run left of its downloads goes with the next that finds nothing to do" {
	machine_of a "file://$WWW"
	run -0 sw os-install -B os-core,b1
	local download=$BATS_TEST_TMPDIR/a/cache/download
	mkdir -p "$download"
	head -c 100000 /dev/zero >"$download/base-10-20-3"
	run -0 sw update --keepcache
	assert_exist "$download/base-10-20-3"
	# not while another run is at it
	flock "$download" sleep 2 3>&- &
	sleep 0.2
	run -0 sw update
	assert_exist "$download/base-10-20-3"
	wait
	run -0 sw update
	assert_output --partial "already the newest"
	assert_not_exist "$download"
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

# newest_only: in $COPY a tree that has nothing of release 10 but files of later releases
newest_only()
{
	COPY=$BATS_TEST_TMPDIR/copy
	mixer -C "$MIX" mirror "$COPY"
	assert_not_exist "$COPY/10/Manifest.MoM.tar"
}

@test "a tree without the installed release updates a machine that knows its release" {
	newest_only
	machine_of a "file://$WWW"
	run -0 sw os-install -V 10 -B os-core,b1
	cp -a "$BATS_TEST_TMPDIR/a" "$BATS_TEST_TMPDIR/b"
	# who knows nothing of it
	rm -r "$BATS_TEST_TMPDIR/a/cache/mom"
	run -4 sw update -u "file://$COPY"
	assert_output --partial "the MoM of release 10"
	assert_output --partial "hint: 'swupd repair --picky --version=20' goes by what is on the disk"
	run -0 sw repair --picky --version=20 -u "file://$COPY"
	run -0 sw diagnose --picky -u "file://$WWW"
	machine_of b "file://$COPY"
	run -0 sw update
	run -0 sw diagnose --picky -u "file://$WWW"
}

@test "a copy of the list of manifests that is not that of the installed release is none: damaged, signed by another, of another mix with its numbers" {
	newest_only
	machine_of a "file://$WWW"
	run -0 sw os-install -V 10 -B os-core,b1
	# the same key, the same number, another day
	(
		export BATS_TEST_TMPDIR=$BATS_TEST_TMPDIR/again
		mkdir "$BATS_TEST_TMPDIR"
		cp "$MIX"/private.pem "$MIX"/Swupd_Root.pem "$BATS_TEST_TMPDIR"
		mix_init
		cp "$BATS_TEST_TMPDIR"/*.pem "$MIX"
		content os-core usr/bin/base "base 20"
		content os-core usr/share/empty ""
		content b1 usr/share/b1/file other
		bundle os-core
		bundle b1
		mixer -C "$MIX" lock || [ $? = 3 ]
		sed -i 's/^time .*/time 1763596800/' "$MIX/mixer.lock"
		mixer -C "$MIX" build
	)
	assert_equal "$(cat "$BATS_TEST_TMPDIR/again/mix/update/www/version/format30/latest")" 10
	# with its manifests
	run -0 sw bundle-list --deps=b1 -u "file://$BATS_TEST_TMPDIR/again/mix/update/www"
	run -0 sw bundle-list --deps=b1 -u "file://$WWW"
	local cache=$BATS_TEST_TMPDIR/a/cache/mom mom
	assert_equal "$(find "$cache" -name '*-10' | wc -l)" 2
	# it is looked at first
	mom=$(grep -LF "$(awk '$4 == "os-core" { print $2 }' "$WWW/10/Manifest.MoM")" "$cache"/*-10)
	mv "$mom" "$cache/0000000000000002-10"
	mv "$mom.sig" "$cache/0000000000000002-10.sig"
	sed s/os-core/so-core/ "$WWW/10/Manifest.MoM" >"$cache/0000000000000000-10"
	cp "$WWW/10/Manifest.MoM" "$cache/0000000000000001-10"
	cp "$cache/0000000000000002-10.sig" "$cache/0000000000000001-10.sig"
	run -0 sw update -u "file://$COPY"
	assert_not_exist "$ROOT/usr/share/b1/old"
	run -0 sw diagnose --picky -u "file://$WWW"
}

@test "what was downloaded from one place is applied where another is given and does not answer" {
	cp "$TAR" "$BATS_TEST_TMPDIR/stick.tar"
	machine_of a "file://$BATS_TEST_TMPDIR/stick.tar"
	run -0 sw os-install -V 10 -B os-core,b1
	run -0 sw update --download
	run -0 sw update -u http://127.0.0.1:9 --allow-insecure-http --max-retries=0
	assert_output --partial 'going on with release 20, which is downloaded'
	assert_equal "$(cat "$ROOT/usr/bin/base")" "base 20"
	run -0 sw diagnose --picky
}

@test "a name with spaces and signs: as it is, escaped, as a path; of a directory and a tar; for the mixer, too" {
	local stick="$BATS_TEST_TMPDIR/USB STICK #1 50%" source n=0
	mkdir "$stick"
	cp -a "$WWW" "$stick/tree"
	cp "$TAR" "$stick/tree.tar"
	local escaped=${stick//%/%25}
	escaped=${escaped//#/%23}
	escaped=${escaped// /%20}
	for source in "file://$stick" "file://$escaped" "$stick"; do
		n=$((n + 1))
		machine_of "a$n" "$source/tree"
		run -0 sw os-install -V 10 -B os-core,b1
		run -0 sw update -u "$source/tree.tar"
		run -0 sw diagnose --picky
		run -0 mixer mirror --from="$source/tree" --certificate="$MIX/Swupd_Root.pem" "$BATS_TEST_TMPDIR/copy$n"
		run -0 mixer mirror --from="$source/tree.tar" --certificate="$MIX/Swupd_Root.pem" "$BATS_TEST_TMPDIR/copy-tar$n"
		diff -r -x .mirror "$BATS_TEST_TMPDIR/copy$n" "$BATS_TEST_TMPDIR/copy-tar$n"
	done
}

@test "a state directory without room, however little is left: the old release, or the new one and no error that says otherwise" {
	local pages state=$BATS_TEST_TMPDIR/state installed=0 failed=0
	machine_of a "file://$WWW"
	SWUPD_GLOBAL=(-p "$ROOT" -S "$state" -u "file://$WWW" -F 30 -C "$MIX/Swupd_Root.pem" -N --no-progress)
	mkdir "$state"
	run -0 sw os-install -V 10 -B os-core,b1
	cp -a "$ROOT" "$BATS_TEST_TMPDIR/root"
	for pages in {0..18}; do
		rm -rf "$ROOT"
		cp -a "$BATS_TEST_TMPDIR/root" "$ROOT"
		mount -t tmpfs -o size=1m tmpfs "$state"
		STATE=$state
		echo 10 >"$state/version"
		mkdir "$state/bundles"
		dd if=/dev/zero of="$state/filler" bs=4k 2>/dev/null || true
		truncate -s "-$((pages * 4096))" "$state/filler"
		run sw update
		if [ "$(cat "$ROOT/usr/bin/base")" = "base 20" ]; then
			installed=$((installed + 1))
			assert_equal "$(cat "$state/version")" 20
			[ "$status" = 0 ] || assert_line --partial "swupd: release 20 is installed"
		else
			failed=$((failed + 1))
			[ "$status" = 25 ]
			run -0 same_tree "$BATS_TEST_TMPDIR/root" "$ROOT"
		fi
		umount "$state"
		STATE=
	done
	[ "$installed" -gt 2 ] && [ "$failed" -gt 5 ]
}
