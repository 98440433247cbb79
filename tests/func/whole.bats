#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# classic = no: no packs, no fullfiles. What an update file does not bring, for an installation, another bundle, a repair, comes from those with all objects of a release.

load lib

# Releases 10 to 50 of a mix that publishes only update files; text in b1 and b2 changes a little in each, b3 is new in 40
setup_file()
{
	[ "$(id -u)" = 0 ] || return 0
	export BATS_TEST_TMPDIR=$BATS_FILE_TMPDIR
	local n
	mix_init
	echo 'classic = no' | sed -i '/^content-url/r /dev/stdin' "$MIX/mixer.conf"
	for n in 10 20 30 40 50; do
		content os-core usr/bin/base "base $n"
		cp /bin/bash "$MIX/bundles/tree/os-core/usr/bin/program"
		printf 'r%d' "$n" | dd of="$MIX/bundles/tree/os-core/usr/bin/program" bs=1 seek=$((n * 9000)) conv=notrunc status=none
		ln -sfn "to-$n" "$MIX/bundles/tree/os-core/usr/bin/link"
		content b1 usr/share/b1/file "$(seq 1 7 200000 | sed "s/^177.*/$n/")"
		content b1 usr/share/b1/same "$(seq 1 11 100000)"
		content b2 usr/share/b2/file "$(seq 2 7 200000 | sed "s/^277.*/$n/")"
		content b2 usr/share/b2/same "$(seq 2 11 100000)"
		[ "$n" -lt 40 ] || content b3 usr/share/b3/file "$(seq 3 13 300000 | sed "s/^377.*/$n/")"
		bundle os-core
		bundle b1
		bundle b2
		[ "$n" -lt 40 ] || bundle b3
		release --previous-versions=1
	done
}

setup()
{
	[ "$(id -u)" = 0 ] || skip "needs root"
	WWW=$MIX/update/www
}

teardown()
{
	serve_stop
	[ -z "${MOUNTED:-}" ] || umount "$MOUNTED"
}

# own: what is changed is a copy
own()
{
	cp -a "$WWW" "$BATS_TEST_TMPDIR/www"
	WWW=$BATS_TEST_TMPDIR/www
}

# other_mix: $MIX, the caller's own, is a copy in which releases can be made
other_mix()
{
	MIX=$BATS_TEST_TMPDIR/other
	cp -a "$BATS_FILE_TMPDIR/mix" "$MIX"
	sed -i "s|$BATS_FILE_TMPDIR/mix|$MIX|" "$MIX/mixer.conf"
}

# served NAME: a machine whose releases are served
served()
{
	serve "$WWW"
	machine "$1"
	SWUPD_GLOBAL+=(--allow-insecure-http -r 0)
}

requests() { sleep 0.2; wc -l <"$ACCESS"; }

# only_whole: none of the classic files was asked for, nor anything that is not there
only_whole()
{
	run -0 cat "$ACCESS"
	refute_output --partial pack-
	refute_output --partial /files/
	refute_output --partial '" 404 '
}

@test "a release is published without packs and fullfiles, and all of it can be had" {
	run find "$WWW" -name 'pack-*' -o -name files -o -name 'Manifest-*-delta-*'
	assert_output ""
	[ -e "$WWW/10/update-from-0" ]
	[ ! -e "$WWW/20/update-from-0" ]
	assert_equal "$(head -n 1 "$WWW/50/updates" | cut -f 1,2)" "$(printf '0\t10')"
	run mixer -C "$MIX" build validate
	refute_line --regexp '^[0-9]+/'
}

@test "an installation of the newest, by way of the first: few requests, whatever the number of bundles" {
	served a
	run -0 sw os-install -B os-core,b1,b2,b3
	only_whole
	refute_output --partial Manifest.
	# freshness, the list, and a head and a range of each of five files at most
	[ "$(requests)" -le 12 ] || { cat "$ACCESS"; false; }
	run -0 sw diagnose --picky
	for file in b1 b2 b3; do
		run -0 cmp "$ROOT/usr/share/$file/file" "$MIX/bundles/tree/$file/usr/share/$file/file"
	done
	run -0 cmp "$ROOT/usr/bin/program" "$MIX/bundles/tree/os-core/usr/bin/program"
	run find "$BATS_TEST_TMPDIR/a/cache/download" -type f
	assert_output ""
}

@test "a server without ranges, and a file of any size: it is fetched once" {
	local MIX
	other_mix
	WWW=$MIX/update/www
	# larger than a head may be
	truncate -s 300M "$WWW/10/update-from-0"
	serve "$WWW" 'max_ranges 0;'
	machine a
	SWUPD_GLOBAL+=(--allow-insecure-http -r 0)
	# than what was signed, too
	run ! sw os-install -B os-core,b1
	assert_output --regexp "an update file is not used: .*/10/update-from-0: larger than"
	run -0 mixer -C "$MIX" build delta-packs --from=40
	rm -rf "$BATS_TEST_TMPDIR/a"
	machine a
	SWUPD_GLOBAL+=(--allow-insecure-http -r 0)
	: >"$ACCESS"
	run -0 "$TOP/ci/measure" "$BATS_TEST_TMPDIR/peak" install swupd os-install "${SWUPD_GLOBAL[@]}" -B os-core,b1
	[ "$(cut -f 3 "$BATS_TEST_TMPDIR/peak" | cut -d . -f 1)" -lt 100 ]
	sleep 0.2
	assert_equal "$(grep -c 'update-from-0' "$ACCESS")" 1
	run -0 sw diagnose --picky
	run find "$BATS_TEST_TMPDIR/a/cache/download" -type f
	assert_output ""
}

@test "one that is larger than was signed, by its index, is not used" {
	local MIX WWW FILE
	other_mix
	WWW=$MIX/update/www
	FILE=$WWW/10/update-from-0
	cp "$FILE" "$BATS_TEST_TMPDIR/good"
	truncate -s -1 "$FILE"
	mixer -C "$MIX" build delta-packs --from=40
	cp "$BATS_TEST_TMPDIR/good" "$FILE"
	served a
	run ! sw os-install -B os-core,b1
	assert_output --regexp "10/update-from-0 is not used: it is larger than what was signed"
	: >"$ACCESS"
	truncate -s +1 "$FILE"
	mixer -C "$MIX" build delta-packs --from=40
	run -0 sw os-install -B os-core,b1
	only_whole
}

@test "another bundle, old and new ones: no more than what is its own" {
	served a
	sw os-install -B os-core,b1
	: >"$ACCESS"
	run -0 sw bundle-add b2
	only_whole
	run -0 sw bundle-add b3
	only_whole
	run -0 sw diagnose --picky
	local added=$ROOT
	machine new
	SWUPD_GLOBAL+=(--allow-insecure-http)
	sw os-install -B os-core,b1,b2,b3
	run -0 same_tree "$added" "$ROOT"
}

@test "a repair, also of what others are made from" {
	served a
	sw os-install -B os-core,b1,b2
	cp -a "$ROOT" "$BATS_TEST_TMPDIR/before"
	: >"$ACCESS"
	rm "$ROOT/usr/share/b1/file"
	echo damaged >"$ROOT/usr/share/b2/same"
	printf 'xx' | dd of="$ROOT/usr/bin/program" bs=1 seek=70000 conv=notrunc status=none
	run -0 sw repair
	only_whole
	run -0 same_tree "$BATS_TEST_TMPDIR/before" "$ROOT"
}

@test "updates, of one release and of four; what the user has damaged comes from elsewhere too" {
	served a
	sw os-install -V 10 -B os-core,b1,b2
	echo mine >"$ROOT/usr/share/b2/file"
	run -0 sw update -V 20
	run -0 sw repair
	: >"$ACCESS"
	run -0 sw update
	run -0 sw diagnose --picky
	run cat "$ACCESS"
	refute_output --partial pack-
	refute_output --partial /files/
}

@test "from far behind all of a release is fetched, where that is less than what has changed on the way" {
	local MIX n bad
	BATS_TEST_TMPDIR+=/changes
	mkdir "$BATS_TEST_TMPDIR"
	mix_init
	echo 'classic = no' | sed -i '/^content-url/r /dev/stdin' "$MIX/mixer.conf"
	for n in 10 20 30 40 50; do
		content os-core usr/bin/base "base $n"
		content b1 usr/share/noise begin
		head -c 500000 /dev/urandom >"$MIX/bundles/tree/b1/usr/share/noise"
		content b1 usr/share/same "$(seq 100000)"
		bundle os-core
		bundle b1
		release --previous-versions=1
	done
	WWW=$MIX/update/www
	assert_equal "$(cut -f 1,2 "$WWW/50/updates" | tr '\t\n' '- ')" "0-50 10-20 20-30 30-40 40-50 "
	served a
	sw os-install -V 10 -B os-core,b1
	: >"$ACCESS"
	run -0 sw update
	only_whole
	[ "$(requests)" -le 4 ] || { cat "$ACCESS"; false; }
	[ "$(awk '{ n += $4 } END { print n }' "$ACCESS")" -lt 800000 ] || { cat "$ACCESS"; false; }
	run -0 sw diagnose --picky
	cmp "$ROOT/usr/share/noise" "$MIX/bundles/tree/b1/usr/share/noise"
	# where it is damaged, or is not there, the changes are
	for bad in damaged gone; do
		case $bad in
		damaged) printf 'x' | dd of="$WWW/50/update-from-0" bs=1 seek=40 conv=notrunc status=none ;;
		gone) rm "$WWW/50/update-from-0" ;;
		esac
		rm -rf "$BATS_TEST_TMPDIR/a"
		machine a
		SWUPD_GLOBAL+=(--allow-insecure-http -r 0)
		sw os-install -V 10 -B os-core,b1
		: >"$ACCESS"
		run -0 sw update
		sleep 0.2
		run -0 cat "$ACCESS"
		assert_output --partial /20/update-from-10
		refute_output --partial /files/
		run -0 sw diagnose --picky
	done
	# from the one before it is the change that is fetched
	machine b
	SWUPD_GLOBAL+=(--allow-insecure-http -r 0)
	sw os-install -V 40 -B os-core,b1
	: >"$ACCESS"
	run -0 sw update
	run -0 cat "$ACCESS"
	refute_output --partial update-from-0
	run -0 sw diagnose --picky
}

@test "a file of any size is made from the one before, in little memory" {
	local MIX large
	BATS_TEST_TMPDIR+=/large
	mkdir "$BATS_TEST_TMPDIR"
	mix_init
	echo 'classic = no' | sed -i '/^content-url/r /dev/stdin' "$MIX/mixer.conf"
	large=$MIX/bundles/tree/os-core/usr/share/large
	content os-core usr/share/large begin
	# holes, so that it takes no room; what is in between was the largest that could be made from
	truncate -s 520M "$large"
	bundle os-core
	release
	printf end >>"$large"
	release
	[ "$(stat -c %s "$MIX/update/www/20/update-from-10")" -lt 4096 ]
	run mixer -C "$MIX" build validate
	refute_line --regexp '^[0-9]+/'
	machine a
	run -0 sw os-install -V 10
	run -0 "$TOP/ci/measure" "$BATS_TEST_TMPDIR/peak" update swupd update "${SWUPD_GLOBAL[@]}"
	run -0 cmp "$ROOT/usr/share/large" "$large"
	[ "$(cut -f 3 "$BATS_TEST_TMPDIR/peak" | cut -d . -f 1)" -lt 50 ]
	# and by way of the release before
	rm -rf "$ROOT" "$BATS_TEST_TMPDIR/a/cache"
	machine a
	run -0 sw os-install
	run -0 cmp "$ROOT/usr/share/large" "$large"
}

@test "back to an older release" {
	served a
	sw os-install -B os-core,b1,b2
	run -0 sw repair --force -V 20
	run -0 sw diagnose --picky
	assert_equal "$(cat "$ROOT/usr/bin/base")" "base 20"
}

@test "a dry run tells what will be fetched" {
	served a
	sw os-install -V 10 -B os-core,b1
	echo mine >"$ROOT/usr/share/b1/file"
	run -0 sw update --dry-run
	assert_line 'packs: 0'
	assert_line 'single files: 0'
}

@test "room is looked for before anything is fetched: for what it makes, and for the file itself" {
	local MIX
	other_mix
	WWW=$MIX/update/www
	# neither does compress
	head -c 20M /dev/urandom >"$MIX/bundles/tree/b1/usr/share/b1/file"
	release --previous-versions=1
	served a
	mount -t tmpfs -o size=34m tmpfs "$BATS_TEST_TMPDIR/a"
	MOUNTED=$BATS_TEST_TMPDIR/a
	mkdir -p "$ROOT" "$BATS_TEST_TMPDIR/a/cache"
	run -25 sw os-install -B os-core,b1
	assert_output --regexp 'the new content takes 4[0-9]'
	sleep 0.2
	run -0 cat "$ACCESS"
	refute_output --regexp 'update-from-0 .* bytes=[1-9]'
	mount -o remount,size=60m "$MOUNTED"
	run -0 sw os-install -B os-core,b1
	run -0 sw diagnose --picky
}

@test "a release that changes much has all objects again, and what came before is no longer asked for" {
	own
	local MIX
	other_mix
	WWW=$MIX/update/www
	cp -a "$BATS_FILE_TMPDIR/mix/bundles/tree/os-core/usr/bin/program" "$BATS_TEST_TMPDIR/program"
	head -c 900000 /dev/urandom >"$MIX/bundles/tree/b1/usr/share/b1/file"
	release --previous-versions=1
	[ -e "$WWW/$RELEASE/update-from-0" ]
	assert_equal "$(head -n 1 "$WWW/$RELEASE/updates" | cut -f 1,2)" "$(printf '0\t%s' "$RELEASE")"
	served a
	run -0 sw os-install -B os-core,b1,b2
	run grep -c update-from- "$ACCESS"
	refute_output --partial "/10/"
	run -0 cmp "$ROOT/usr/share/b1/file" "$MIX/bundles/tree/b1/usr/share/b1/file"
}

@test "the cache is lost: the next release is made from what is published" {
	local MIX
	other_mix
	rm -rf "$MIX/cache"
	content b1 usr/share/b1/file "$(seq 1 7 200000 | sed "s/^177.*/60/")"
	release --previous-versions=1
	[ "$(stat -c %s "$MIX/update/www/60/update-from-50")" -lt 20000 ]
	machine a
	run -0 sw os-install -B os-core,b1,b2
	run -0 cmp "$ROOT/usr/share/b1/file" "$MIX/bundles/tree/b1/usr/share/b1/file"
}

@test "damaged anywhere: an installation ends with an error that names it, and leaves nothing; nothing is believed" {
	own
	local at size
	size=$(stat -c %s "$WWW/10/update-from-0")
	for at in 9 30 "$((size / 3))" "$((size / 2))" "$((size - 100))"; do
		cp "$MIX/update/www/10/update-from-0" "$WWW/10/update-from-0"
		printf '\xa5\x5a' | dd of="$WWW/10/update-from-0" bs=1 seek="$at" conv=notrunc status=none
		machine "damaged-$at"
		run sw os-install -B os-core,b1,b2 -u "file://$WWW"
		# the last bytes may be of nothing that is needed
		[ "$status" != 0 ] || run -0 sw diagnose --picky -u "file://$WWW"
		[ "$status" = 0 ] || assert_output --regexp 'update-from-0|cannot fetch'
	done
}

@test "what an interrupted run left was damaged when the power went: it is fetched anew" {
	local file part
	serve "$WWW" 'limit_rate 100k;'
	machine a
	SWUPD_GLOBAL+=(--allow-insecure-http -r 0)
	run -137 timeout -s KILL 2 swupd os-install "${SWUPD_GLOBAL[@]}" -V 10 -B os-core,b1,b2
	file=$(echo "$BATS_TEST_TMPDIR"/a/cache/download/update-0-10-*.part)
	part=$(stat -c %s "$file")
	[ "$part" -gt 50000 ]
	serve_stop
	NGINX_PID=
	serve "$WWW"
	machine a
	SWUPD_GLOBAL+=(--allow-insecure-http -r 0)
	# the blocks of its last bytes were never written
	truncate -s "$((part / 2))" "$file" && truncate -s "$part" "$file"
	rm -rf "$ROOT"
	run -0 sw os-install -V 10 -B os-core,b1,b2
	only_whole
	run -0 sw diagnose --picky
	# and that of its head
	rm -rf "$ROOT" "$BATS_TEST_TMPDIR/a/cache"
	mkdir -p "$BATS_TEST_TMPDIR/a/cache/download"
	chmod 700 "$BATS_TEST_TMPDIR/a/cache/download"
	head -c 100 "$WWW/10/update-from-0" >"$BATS_TEST_TMPDIR/a/cache/download/update-0-10-0.part"
	truncate -s 4096 "$BATS_TEST_TMPDIR/a/cache/download/update-0-10-0.part"
	run -0 sw os-install -V 10 -B os-core,b1,b2
	run -0 sw diagnose --picky
}

@test "what is damaged on the server is said so, not that a file is missing which never was there" {
	own
	local size
	size=$(stat -c %s "$WWW/10/update-from-0")
	dd if=/dev/zero of="$WWW/10/update-from-0" bs=1 seek="$((size / 2))" count=2000 conv=notrunc status=none
	served a
	run ! sw os-install -V 10 -B os-core,b1,b2
	assert_output --regexp "swupd: .*10/update-from-0 is damaged"
	refute_output --partial 404
	# the rest was fetched once, and what was damaged in it once more
	sleep 0.2
	[ "$(grep -c update-from-0 "$ACCESS")" -le 5 ]
}

@test "mixer build validate finds what cannot be had" {
	local MIX
	other_mix
	WWW=$MIX/update/www
	mv "$WWW/10/update-from-0" "$BATS_TEST_TMPDIR/good"
	run mixer -C "$MIX" build validate
	assert_line --regexp '^10/files/[0-9a-f]*.tar .*/usr/share/b1/same. is missing'
	cp "$BATS_TEST_TMPDIR/good" "$WWW/10/update-from-0"
	rm "$WWW/30/update-from-20"
	run mixer -C "$MIX" build validate
	assert_line --regexp '^50/files/[0-9a-f]*.tar .*/usr/share/b1/file. is missing'
}

@test "classic = yes again, with --min-version: clients that know no update files have all" {
	local MIX
	other_mix
	sed -i '/^classic/d' "$MIX/mixer.conf"
	content b1 usr/share/b1/file "another"
	release --min-version=60
	rm "$MIX"/update/www/*/update-from-* "$MIX"/update/www/*/updates
	machine a
	run -0 sw os-install -B os-core,b1,b2
	run -0 sw diagnose --picky
	run find "$MIX/update/www/60" -name 'pack-*-from-0.tar'
	assert_equal "${#lines[@]}" 4
}

@test "by way of several files: what others are made from comes from them, with all that is beside it" {
	local MIX WWW n
	BATS_TEST_TMPDIR+=/beside
	mkdir -p "$BATS_TEST_TMPDIR"
	mix_init
	echo 'classic = no' | sed -i '/^content-url/r /dev/stdin' "$MIX/mixer.conf"
	for n in 10 20 30; do
		content os-core usr/bin/base "base $n"
		content b1 usr/share/b1/text "$(for i in $(seq 150); do echo "$i" | sha256sum; done; echo "$n")"
		rm -f "$MIX/bundles/tree/b1/usr/share/b1/passing"
		[ "$n" != 20 ] || head -c 300000 /dev/urandom >"$MIX/bundles/tree/b1/usr/share/b1/passing"
		content b1 usr/share/b1/same "$(seq 200000)"
		bundle os-core
		bundle b1
		release --previous-versions=1
	done
	BATS_TEST_TMPDIR=${BATS_TEST_TMPDIR%/beside}
	WWW=$MIX/update/www
	served a
	sw os-install -V 10 -B os-core,b1
	: >"$ACCESS"
	run -0 sw update
	run -0 cat "$ACCESS"
	refute_output --partial update-from-0
	[ "$(requests)" -le 8 ] || { cat "$ACCESS"; false; }
	run -0 sw diagnose --picky
}
