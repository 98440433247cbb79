#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# Update files (update(5)): few requests however many bundles there are, and whatever is wrong with one, the update takes what it needs from elsewhere.

load lib

BUNDLES=12

# Releases 10 and 20 of bundles whose files all change a little, a program among them
setup_file()
{
	[ "$(id -u)" = 0 ] || return 0
	export BATS_TEST_TMPDIR=$BATS_FILE_TMPDIR
	local i n
	mix_init
	for n in 10 20; do
		content os-core usr/bin/base "base $n"
		cp /bin/bash "$MIX/bundles/tree/os-core/usr/bin/program"
		[ "$n" = 10 ] || printf 'another' | dd of="$MIX/bundles/tree/os-core/usr/bin/program" bs=1 seek=500000 conv=notrunc status=none
		ln -sfn "to-$n" "$MIX/bundles/tree/os-core/usr/bin/link"
		bundle os-core
		for ((i = 1; i <= BUNDLES; i++)); do
			content "b$i" "usr/share/b$i/file" "$(seq "$i" 7 200000 | sed "s/^${i}77.*/$n/")"
			# two have it in common
			[ "$((i % 2))" = 0 ] || content "b$i" "usr/share/common-$(((i + 3) / 4))" "$(seq "$(((i + 3) / 4))" 5 50000 | sed "s/99/$n/")"
			bundle "b$i"
		done
		release
	done
}

setup()
{
	[ "$(id -u)" = 0 ] || skip "needs root"
	WWW=$MIX/update/www
	FILE=$WWW/20/update-from-10
}

teardown()
{
	serve_stop
}

# installed NAME [BUNDLES]: a machine with release 10 of all, or these, from where the releases are served
installed()
{
	machine "$1"
	[ -z "${URL:-}" ] || SWUPD_GLOBAL+=(--allow-insecure-http -r 0)
	sw os-install -V 10 -B "${2:-$(printf 'b%d,' $(seq "$BUNDLES"))os-core}"
	[ -z "${URL:-}" ] || : >"$ACCESS"
}

# own: what is changed is a copy
own()
{
	cp -a "$WWW" "$BATS_TEST_TMPDIR/www"
	WWW=$BATS_TEST_TMPDIR/www
	FILE=$WWW/20/update-from-10
}

# as_new: it is what a new installation is
as_new()
{
	run -0 sw diagnose --picky
	local updated=$ROOT
	URL=
	WWW=$MIX/update/www
	machine new
	[ -e "$ROOT/usr" ] || sw os-install -V 20 -B "${1:-$(printf 'b%d,' $(seq "$BUNDLES"))os-core}"
	run -0 same_tree "$updated" "$ROOT"
}

# the same releases, with another key and another content
other_mix()
{
	(
		BATS_TEST_TMPDIR+=/other
		mkdir -p "$BATS_TEST_TMPDIR"
		mix_init
		for n in 10 20; do
			content os-core usr/bin/base "evil $n"
			bundle os-core
			release
		done
	)
}

requests() { sleep 0.2; wc -l <"$ACCESS"; }

@test "an update takes three requests whatever the number of bundles, and fewer bytes than its packs" {
	serve "$WWW"
	installed a
	run -0 sw update
	[ "$(requests)" -le 3 ] || { cat "$ACCESS"; false; }
	local packs
	packs=$(cat "$MIX"/update/www/20/pack-*-from-10.tar | wc -c)
	[ "$(stat -c %s "$FILE")" -lt "$((packs * 6 / 10))" ]
	as_new
}

@test "eight requests at most, also when every second of many bundles is installed" {
	BATS_TEST_TMPDIR+=/many
	mkdir "$BATS_TEST_TMPDIR"
	mix_init
	local n i
	for n in 10 20; do
		content os-core usr/bin/base "base $n"
		bundle os-core
		# each more than lies between two ranges
		for i in $(seq 10 49); do
			mkdir -p "$MIX/bundles/tree/b$i/usr/share"
			head -c 50000 /dev/urandom >"$MIX/bundles/tree/b$i/usr/share/noise-$i"
			bundle "b$i"
		done
		release
	done
	WWW=$MIX/update/www
	serve "$WWW"
	installed a "$(printf 'b%d,' $(seq 10 2 48))os-core"
	run -0 sw update
	[ "$(requests)" -le 8 ] || { cat "$ACCESS"; false; }
	run cat "$ACCESS"
	refute_output --partial pack-
	refute_output --partial /files/
	# ranges, not all of it
	[ "$(grep -c ' 206 ' "$ACCESS")" -ge 4 ]
	as_new "$(printf 'b%d,' $(seq 10 2 48))os-core"
}

@test "with an empty cache, too: the manifests of the installed release come in one file" {
	own
	serve "$WWW"
	installed a
	rm -rf "$BATS_TEST_TMPDIR/a/cache" && mkdir "$BATS_TEST_TMPDIR/a/cache"
	cp -a "$ROOT" "$BATS_TEST_TMPDIR/before"
	run -0 sw update
	[ "$(requests)" -le 8 ] || { cat "$ACCESS"; false; }
	run -0 cat "$ACCESS"
	assert_output --partial "/10/manifests"
	refute_output --partial "Manifest.b"
	run -0 sw diagnose --picky
	# where it is damaged, or is not there, they come one by one
	for bad in damaged gone; do
		case $bad in
		damaged) printf '\xa5\x5a' | dd of="$WWW/10/manifests" bs=1 seek="$(($(stat -c %s "$WWW/10/manifests") / 2))" conv=notrunc status=none ;;
		gone) rm "$WWW/10/manifests" ;;
		esac
		machine a
		SWUPD_GLOBAL+=(--allow-insecure-http -r 0)
		rm -rf "$ROOT" "$BATS_TEST_TMPDIR/a/cache" && mkdir "$BATS_TEST_TMPDIR/a/cache"
		cp -a "$BATS_TEST_TMPDIR/before" "$ROOT"
		: >"$ACCESS"
		run -0 sw update
		sleep 0.2
		run -0 grep -c "Manifest.b" "$ACCESS"
		run -0 sw diagnose --picky
	done
}

@test "what gzip and zip hold is compared expanded, and compressed again to the same bytes" {
	BATS_TEST_TMPDIR+=/deflated
	mkdir "$BATS_TEST_TMPDIR"
	mix_init
	local n tree=$MIX/bundles/tree/os-core/usr/share
	mkdir -p "$tree"
	for n in 10 20; do
		# a small one, and one that expands to more than a client holds in memory
		awk -v n="$n" 'BEGIN { srand(1); for (i = 0; i < 40000; i++) print i % 9999 == 99 ? "in release " n : int(rand() * 100000000) }' >"$BATS_TEST_TMPDIR/text"
		gzip -9nc "$BATS_TEST_TMPDIR/text" >"$tree/manual.gz"
		python3 - "$tree/archive.jar" "$n" <<-'END'
			import random, sys, zipfile
			random.seed(1)
			with zipfile.ZipFile(sys.argv[1], "w") as z:
			    for member in range(3):
			        lines = ["%d\n" % random.randrange(10**8) for _ in range(200000)]
			        lines[1000 + member] = "in release %s\n" % (sys.argv[2] if member else "any")
			        z.writestr(zipfile.ZipInfo(str(member)), "".join(lines), zipfile.ZIP_DEFLATED)
		END
		bundle os-core
		release
	done
	WWW=$MIX/update/www
	[ "$(cat "$tree"/* | wc -c)" -gt 2000000 ]
	[ "$(stat -c %s "$WWW/20/update-from-10")" -lt 20000 ]
	serve "$WWW"
	installed a os-core
	run -0 sw update
	[ "$(requests)" -le 3 ] || { cat "$ACCESS"; false; }
	run -0 cmp "$tree/archive.jar" "$ROOT/usr/share/archive.jar"
	run -0 find "$BATS_TEST_TMPDIR/a/cache" -name '.new.*'
	assert_output ""
	as_new os-core
}

@test "no room, from wherever on: nothing is installed, and the next run goes on" {
	local n=1 status runs=0
	serve "$WWW"
	installed a
	cp -a "$ROOT" "$BATS_TEST_TMPDIR/before"
	cp -a "$BATS_TEST_TMPDIR/a/cache" "$BATS_TEST_TMPDIR/cache"
	while :; do
		rm -rf "$ROOT" "$BATS_TEST_TMPDIR/a/cache"
		cp -a "$BATS_TEST_TMPDIR/before" "$ROOT"
		cp -a "$BATS_TEST_TMPDIR/cache" "$BATS_TEST_TMPDIR/a/cache"
		run inject -n "$n" -e ENOSPC -a swupd update "${SWUPD_GLOBAL[@]}"
		[ "$status" != 0 ] || break
		# but what was staged, which the next run takes
		run -0 diff -r --no-dereference -x .swupd "$BATS_TEST_TMPDIR/before/usr" "$ROOT/usr"
		run -0 sw update
		run -0 sw diagnose --picky
		runs=$((runs + 1))
		n=$((n + 1 + n / 2))
	done
	[ "$runs" -ge 8 ]
}

@test "of bundles that are not installed nothing is fetched" {
	serve "$WWW"
	installed a b3
	# what has the others' content lies behind the head's first 64 KiB only in a larger file
	run -0 sw update
	run cat "$ACCESS"
	refute_output --partial pack-
	refute_output --partial /files/
	as_new b3
}

@test "an installation asks once whether a way leads from nothing, and a bundle that is added" {
	serve "$WWW"
	machine a
	SWUPD_GLOBAL+=(--allow-insecure-http -r 0)
	run -0 sw os-install -V 20 -B os-core,b1
	sleep 0.2
	assert_equal "$(grep -c /20/updates "$ACCESS")" 1
	: >"$ACCESS"
	run -0 sw bundle-add b3
	sleep 0.2
	assert_equal "$(grep -c /20/updates "$ACCESS")" 1
}

@test "a server without ranges, and a directory" {
	serve "$WWW" 'max_ranges 0;'
	installed a
	run -0 sw update
	[ "$(requests)" -le 2 ] || { cat "$ACCESS"; false; }
	as_new
	rm -rf "$BATS_TEST_TMPDIR/new"
	URL=
	installed b
	run -0 sw update
	as_new
}

@test "classic = no: no packs of changes, the update needs none" {
	own
	rm "$WWW"/20/pack-*-from-10.tar "$WWW"/20/Manifest-*-delta-from-*
	serve "$WWW"
	installed a
	run -0 sw update
	run cat "$ACCESS"
	refute_output --partial 404
	as_new
}

@test "damaged anywhere: what it does not bring comes from elsewhere" {
	own
	local at size n=0
	size=$(stat -c %s "$FILE")
	installed a
	cp -a "$ROOT" "$BATS_TEST_TMPDIR/before"
	for at in 3 9 12 20 30 200 "$((size / 8))" "$((size / 3))" "$((size / 2))" "$((size - 40))"; do
		cp "$MIX/update/www/20/update-from-10" "$FILE"
		printf '\xa5\x5a' | dd of="$FILE" bs=1 seek="$at" conv=notrunc status=none
		rm -rf "$ROOT" "$BATS_TEST_TMPDIR/a/cache" && mkdir "$BATS_TEST_TMPDIR/a/cache"
		cp -a "$BATS_TEST_TMPDIR/before" "$ROOT"
		run -0 sw update -u "file://$WWW"
		run -0 sw diagnose --picky
		n=$((n + 1))
	done
	assert_equal "$n" 10
	as_new
}

@test "cut, empty, grown, a page of HTML, of other releases: the update goes on without" {
	own
	local bad size
	size=$(stat -c %s "$FILE")
	serve "$WWW"
	installed a
	cp -a "$ROOT" "$BATS_TEST_TMPDIR/before"
	for bad in cut-head cut-index cut-section empty grown html other gone directory; do
		rm -rf "$FILE"
		cp "$MIX/update/www/20/update-from-10" "$FILE"
		case $bad in
		cut-head) truncate -s 10 "$FILE" ;;
		cut-index) truncate -s 100 "$FILE" ;;
		cut-section) truncate -s "$((size - 1000))" "$FILE" ;;
		empty) : >"$FILE" ;;
		grown) head -c 100000 /dev/urandom >>"$FILE" ;;
		html) printf '<html><body>Please log in</body></html>' >"$FILE" ;;
		other) printf '\x07' | dd of="$FILE" bs=1 seek=8 conv=notrunc status=none ;;
		gone) rm "$FILE" ;;
		directory) rm "$FILE" && mkdir "$FILE" ;;
		esac
		rm -rf "$ROOT" "$BATS_TEST_TMPDIR/a/cache" && mkdir "$BATS_TEST_TMPDIR/a/cache"
		cp -a "$BATS_TEST_TMPDIR/before" "$ROOT"
		run -0 sw update
		run -0 sw diagnose --picky
	done
	as_new
}

@test "a file that the user has changed is the only one that comes otherwise" {
	serve "$WWW"
	installed a
	echo mine >"$ROOT/usr/share/b3/file"
	truncate -s 5000 "$ROOT/usr/share/b5/file"
	run -0 sw update
	run -0 sw repair
	assert_equal "$(grep -c /files/ "$ACCESS")" 2
	run grep pack- "$ACCESS"
	refute_line --regexp 'pack-(os-core|b[^35])'
	as_new
}

@test "a signature that is wrong in it is not believed, nor is its manifest of manifests" {
	own
	# of a mix of somebody else
	other_mix
	installed a
	cp "$BATS_TEST_TMPDIR/other/mix/update/www/20/update-from-10" "$FILE"
	run -0 sw update -u "file://$WWW"
	run -0 sw diagnose --picky -u "file://$WWW"
	as_new
}

# Releases 10 to 50, each with an update file from the one before alone
far_behind()
{
	local n
	BATS_TEST_TMPDIR+=/far
	mkdir -p "$BATS_TEST_TMPDIR"
	mix_init
	for n in 10 20 30 40 50; do
		content os-core usr/bin/base "base $n"
		content b1 usr/share/always "$(seq 1 30000 | sed "s/99/$n/")"
		[ "$n" != 20 ] && [ "$n" != 10 ] || content b1 usr/share/once "$(seq 2 30000 | sed "s/77/$n/")"
		[ "$n" -lt 40 ] || content b1 usr/share/late "$(seq 3 30000 | sed "s/55/$n/")"
		[ "$n" -lt 30 ] || content b1 usr/share/new "$(seq 4 30000 | sed "s/33/$n/")"
		[ "$n" != 10 ] || content b1 usr/share/gone gone
		[ "$n" != 40 ] || rm "$MIX/bundles/tree/b1/usr/share/gone"
		cp /bin/bash "$MIX/bundles/tree/os-core/usr/bin/program"
		printf 'r%d' "$n" | dd of="$MIX/bundles/tree/os-core/usr/bin/program" bs=1 seek=$((n * 9000)) conv=notrunc status=none
		bundle os-core
		bundle b1
		release --previous-versions=1
	done
	BATS_TEST_TMPDIR=${BATS_TEST_TMPDIR%/far}
}

@test "from a release that is far behind: by way of others, and by nothing else" {
	local MIX WWW
	far_behind
	WWW=$MIX/update/www
	assert_equal "$(cut -f 1,2 "$WWW/50/updates")" "$(printf '10\t20\n20\t30\n30\t40\n40\t50')"
	serve "$WWW"
	installed a os-core,b1
	run -0 sw update
	run -0 cat "$ACCESS"
	refute_output --partial pack-
	refute_output --partial /files/
	refute_output --partial Manifest
	# freshness, the list, four heads; all is in them
	[ "$(requests)" -le 6 ] || { cat "$ACCESS"; false; }
	run -0 sw diagnose --picky
	local updated=$ROOT
	URL=
	machine new
	sw os-install -B os-core,b1
	run -0 same_tree "$updated" "$ROOT"
	# nothing of the releases between is left
	run find "$BATS_TEST_TMPDIR/a/cache/download" -type f
	assert_output ""
}

# noisy N: releases 10 to 10 N; in each the bundles have so much that is new that no head has it, and of every second one nobody asks
noisy()
{
	BATS_TEST_TMPDIR+=/noisy
	mkdir -p "$BATS_TEST_TMPDIR"
	mix_init
	for ((n = 10; n <= 10 * $1; n += 10)); do
		content os-core usr/bin/base "base $n"
		bundle os-core
		for i in 1 2 3 4; do
			mkdir -p "$MIX/bundles/tree/b$i/usr/share"
			# 10 to 60 leads through the releases between, by changes of changes
			[ "$n" != 10 ] || head -c 900000 /dev/urandom >"$MIX/bundles/tree/b$i/usr/share/noise-$i"
			head -c $((60000 + n * 300)) /dev/urandom | dd of="$MIX/bundles/tree/b$i/usr/share/noise-$i" bs=1000 seek="$n" conv=notrunc status=none
			bundle "b$i"
		done
		release --previous-versions=1
	done
	BATS_TEST_TMPDIR=${BATS_TEST_TMPDIR%/noisy}
	WWW=$MIX/update/www
}

@test "eight requests at most by way of six files, too: the smallest come whole" {
	local MIX WWW n i far
	noisy 7
	assert_equal "$(cut -f 1,2 "$WWW/70/updates" | wc -l)" 6
	serve "$WWW"
	for far in 10 20 30 40; do
		rm -rf "$BATS_TEST_TMPDIR/a"
		machine a
		SWUPD_GLOBAL+=(--allow-insecure-http -r 0)
		sw os-install -V "$far" -B os-core,b1,b3
		: >"$ACCESS"
		# no more than heads, which are held in memory
		run -0 sw update --dry-run
		sleep 0.2
		run awk '$4 > 66000' "$ACCESS"
		assert_output ""
		: >"$ACCESS"
		run -0 sw update
		[ "$(requests)" -le 8 ] || { cat "$ACCESS"; false; }
		run -0 cat "$ACCESS"
		refute_output --partial pack-
		refute_output --partial /files/
		refute_output --partial '" 404 '
		# of as many as eight requests leave, ranges: all that is known before
		[ "$far" = 10 ] || [ "$(requests)" = 8 ] || { cat "$ACCESS"; false; }
		run -0 sw diagnose --picky
	done
}

@test "of a list of ways that is not the one that was signed the ways are gone, but nothing is planned by its sizes" {
	local MIX WWW bad
	far_behind
	WWW=$MIX/update/www
	cp "$WWW/50/updates" "$BATS_TEST_TMPDIR/good"
	serve "$WWW"
	for bad in '30\t40' '1000000\t9000000000' '4000000000\t9000000000'; do
		sed "s/\t[0-9]*\t[0-9]*\$/\t$bad/" "$BATS_TEST_TMPDIR/good" >"$WWW/50/updates"
		run ! cmp -s "$BATS_TEST_TMPDIR/good" "$WWW/50/updates"
		rm -rf "$BATS_TEST_TMPDIR/a"
		installed a os-core,b1
		run -0 sw update
		run -0 cat "$ACCESS"
		refute_output --partial pack-
		refute_output --partial /files/
		[ "$(requests)" -le 6 ] || { cat "$ACCESS"; false; }
		run -0 sw diagnose --picky
	done
}

@test "a file that is made later is told at once, to who asks for the newest" {
	local MIX WWW
	far_behind
	WWW=$MIX/update/www
	run -0 grep -a '^update:' "$WWW/version/format30/freshness"
	assert_output --regexp '^update:'$'\t''40 [0-9]+ [0-9]+$'
	run -0 mixer -C "$MIX" build delta-packs --from=10 --to=50
	run -0 grep -a '^update:' "$WWW/version/format30/freshness"
	assert_line --regexp "^update:"$'\t'"10 [0-9]+ $(stat -c %s "$WWW/50/update-from-10")\$"
	serve "$WWW"
	installed a os-core,b1
	run -0 sw update
	run -0 cat "$ACCESS"
	refute_output --partial /updates
	[ "$(requests)" -le 3 ] || { cat "$ACCESS"; false; }
	# of another than the newest nothing is said, and what is said stays as it is
	cp "$WWW/version/format30/freshness" "$BATS_TEST_TMPDIR/freshness"
	run -0 mixer -C "$MIX" build delta-packs --from=10 --to=30
	cmp "$WWW/version/format30/freshness" "$BATS_TEST_TMPDIR/freshness"
}

@test "what the older file is of no use for comes alone, from however far, whatever is installed" {
	local MIX WWW n
	BATS_TEST_TMPDIR+=/own
	mkdir -p "$BATS_TEST_TMPDIR"
	mix_init
	for n in 10 20 30 40; do
		content os-core usr/bin/base "base $n"
		content os-core usr/share/changes "$(seq 1 30000 | sed "s/99/$n/")"
		content b1 usr/share/firmware ""
		openssl enc -aes-128-ctr -nosalt -K "$n" -iv 0 -in /dev/zero 2>/dev/null | head -c 500000 >"$MIX/bundles/tree/b1/usr/share/firmware"
		bundle os-core
		bundle b1
		release --previous-versions=1
	done
	BATS_TEST_TMPDIR=${BATS_TEST_TMPDIR%/own}
	WWW=$MIX/update/www
	serve "$WWW"
	installed a os-core,b1
	echo damaged >"$ROOT/usr/share/firmware"
	run -0 sw update
	run -0 cat "$ACCESS"
	refute_output --partial pack-
	refute_output --partial /files/
	[ "$(awk '{ n += $4 } END { print n }' "$ACCESS")" -lt 900000 ] || { cat "$ACCESS"; false; }
	cmp "$ROOT/usr/share/firmware" "$MIX/bundles/tree/b1/usr/share/firmware"
}

@test "small files are of one release: those between are not looked at for them" {
	local MIX WWW n
	BATS_TEST_TMPDIR+=/small
	mkdir -p "$BATS_TEST_TMPDIR"
	mix_init
	for n in 10 20 30 40; do
		content os-core usr/bin/base "$(seq 1 60; echo "base $n")"
		content os-core usr/share/passing ""
		[ "$n" = 40 ] || head -c 200000 /dev/urandom >"$MIX/bundles/tree/os-core/usr/share/passing"
		bundle os-core
		release --previous-versions=1
	done
	BATS_TEST_TMPDIR=${BATS_TEST_TMPDIR%/small}
	WWW=$MIX/update/www
	serve "$WWW"
	installed a os-core
	run -0 sw update
	run -0 cat "$ACCESS"
	refute_output --partial pack-
	refute_output --partial /files/
	# freshness, the list, three heads
	[ "$(requests)" -le 5 ] || { cat "$ACCESS"; false; }
	run -0 sw diagnose --picky
}

@test "of two ways the one of fewer bytes is told, kept and gone" {
	local MIX WWW n
	BATS_TEST_TMPDIR+=/bytes
	mkdir -p "$BATS_TEST_TMPDIR"
	mix_init
	for n in 10 20 30 40; do
		content os-core usr/bin/base "base $n"
		[ "$n" != 30 ] || head -c 900000 /dev/urandom >"$MIX/bundles/tree/os-core/usr/bin/huge"
		[ "$n" != 40 ] || rm "$MIX/bundles/tree/os-core/usr/bin/huge"
		bundle os-core
		release --previous-versions=2
	done
	BATS_TEST_TMPDIR=${BATS_TEST_TMPDIR%/bytes}
	WWW=$MIX/update/www
	# 30 has in passing what nobody needs any more, and leads on in as many steps
	assert_exist "$WWW/30/update-from-10" "$WWW/40/update-from-30"
	assert_equal "$(cut -f 1,2 "$WWW/40/updates")" "$(printf '10\t20\n20\t40\n30\t40')"
	run -0 mixer -C "$MIX" gc --keep=10 --keep=30
	assert_exist "$WWW/20/update-from-10"
	assert_exist "$WWW/40/update-from-20"
	assert_equal "$(cut -f 1,2 "$WWW/40/updates")" "$(printf '10\t20\n20\t40\n30\t40')"
	serve "$WWW"
	installed a os-core
	run -0 sw update
	run -0 cat "$ACCESS"
	assert_output --partial /20/update-from-10
	assert_output --partial /40/update-from-20
	refute_output --partial /30/
	run -0 sw diagnose --picky
}

@test "a way that ends, or a step of it that is damaged: the update goes on without" {
	local MIX WWW bad
	far_behind
	WWW=$MIX/update/www
	cp "$WWW/30/update-from-20" "$BATS_TEST_TMPDIR/good"
	serve "$WWW"
	installed a os-core,b1
	cp -a "$ROOT" "$BATS_TEST_TMPDIR/before"
	for bad in gone head section loop text; do
		cp "$BATS_TEST_TMPDIR/good" "$WWW/30/update-from-20"
		case $bad in
		gone) rm "$WWW/30/update-from-20" ;;
		head) printf 'x' | dd of="$WWW/30/update-from-20" bs=1 seek=60 conv=notrunc status=none ;;
		section) printf 'xyz' | dd of="$WWW/30/update-from-20" bs=1 seek=$(($(stat -c %s "$WWW/30/update-from-20") - 30)) conv=notrunc status=none ;;
		loop) printf '10\t20\n20\t10\n' >"$WWW/50/updates" ;;
		text) printf '<html>' >"$WWW/50/updates" ;;
		esac
		rm -rf "$ROOT" "$BATS_TEST_TMPDIR/a/cache" && mkdir "$BATS_TEST_TMPDIR/a/cache"
		cp -a "$BATS_TEST_TMPDIR/before" "$ROOT"
		run -0 sw update
		run -0 sw diagnose --picky
	done
}

@test "one that would take any amount of memory, or several: the update goes on without, in little" {
	own
	local one kind steps
	# threads and their stacks are as many as there are cores
	one=$(taskset -cp $$ | sed 's/.*: *//; s/[,-].*//')
	installed a
	cp -a "$ROOT" "$BATS_TEST_TMPDIR/before"
	for kind in honest records shapes index sections window mom expands chain; do
		rm -rf "$ROOT" "$BATS_TEST_TMPDIR/a/cache" && mkdir "$BATS_TEST_TMPDIR/a/cache"
		cp -a "$BATS_TEST_TMPDIR/before" "$ROOT"
		case $kind in
		honest) ;;
		chain)
			# by way of nine others, each with as many records as one may have
			rm "$FILE"
			for ((steps = 10; steps < 20; steps++)); do
				mkdir -p "$WWW/$((steps + 1))"
				printf '%d\t%d\n' "$steps" "$((steps + 1))"
				"$BATS_TEST_DIRNAME/hostile_update.py" records "$WWW/$((steps + 1))/update-from-$steps" "$steps" "$((steps + 1))"
			done >"$WWW/20/updates"
			;;
		*) "$BATS_TEST_DIRNAME/hostile_update.py" "$kind" "$FILE" 10 20 ;;
		esac
		run -0 bash -c 'ulimit -v 300000; exec taskset -c "$@"' - "$one" "$TOP/ci/measure" "$BATS_TEST_TMPDIR/peak" "$kind" swupd update "${SWUPD_GLOBAL[@]}" -u "file://$WWW"
		[ "$(grep -c 'update-from-.* is not used' <<<"$output")" -le 1 ]
		run -0 sw diagnose --picky
	done
	cat "$BATS_TEST_TMPDIR/peak"
	run -0 awk -F '\t' 'NR == 1 { most = $3 + 70 } $3 > most' "$BATS_TEST_TMPDIR/peak"
	assert_output ""
	as_new
}

@test "what an object that is not wanted expands to is neither fetched nor passed over, if it is much" {
	own
	local program
	program=$(awk '$4 == "/usr/bin/program" { print $2 }' "$WWW/20/Manifest.os-core")
	"$BATS_TEST_DIRNAME/hostile_update.py" "bomb:$program:$(stat -c %s "$MIX/bundles/tree/os-core/usr/bin/program")" "$FILE" 10 20
	serve "$WWW"
	installed a
	run -0 sw update
	refute_output --partial "is not used"
	assert_equal "$(sleep 0.2; grep -c /update-from- "$ACCESS")" 1
	as_new
}

@test "a dry run says what is fetched of it, and fetches no more than its head" {
	serve "$WWW"
	installed a
	run -0 sw update --dry-run
	assert_line 'packs: 0'
	assert_line 'single files: 0'
	[ "$(requests)" -le 2 ] || { cat "$ACCESS"; false; }
	run cat "$ACCESS"
	refute_output --partial pack-
}

@test "mixer build validate finds what is wrong in one" {
	# that a program of the test finds no libraries is not meant
	run mixer -C "$MIX" build validate
	refute_line --regexp '^20/'
	cp "$FILE" "$BATS_TEST_TMPDIR/good"
	printf '\xa5\x5a' | dd of="$FILE" bs=1 seek="$(($(stat -c %s "$FILE") / 2))" conv=notrunc status=none
	run mixer -C "$MIX" build validate
	cp "$BATS_TEST_TMPDIR/good" "$FILE"
	assert_line --regexp '^20/update-from-10'
}
