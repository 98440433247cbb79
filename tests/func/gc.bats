#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# mixer gc and mixer mirror: what is left, or copied, is whole, wherever a run was killed; clients install from it and update within it.

load lib

# dated DAY [OPTION…]: a release as of that day
dated()
{
	mixer -C "$MIX" lock >/dev/null || [ $? = 3 ]
	sed -i "s/^time .*/time $((1763596800 + $1 * 86400))/" "$MIX/mixer.lock"
	mixer -C "$MIX" build "${@:2}" >"$MIX/build.log" 2>&1 || { cat "$MIX/build.log"; return 1; }
}

# Releases 10 to 70. 10 and 20 are two days apart, 30 and 40, too; the last three are not.
setup_file()
{
	[ "$(id -u)" = 0 ] || return 0
	export BATS_TEST_TMPDIR=$BATS_FILE_TMPDIR
	local n
	local -A day=([10]=0 [20]=2 [30]=28 [40]=30 [50]=70 [60]=77 [70]=83)
	mix_init
	sed -i '/^content-url/a cover = 2' "$MIX/mixer.conf"
	for n in 10 20 30 40 50 60 70; do
		content os-core usr/bin/base "base $n"
		content b1 usr/share/always "$(seq 1 20000 | sed "s/99/$n/")"
		[ "$n" -gt 20 ] || content b1 usr/share/once "$(seq 2 20000 | sed "s/77/$n/")"
		[ "$n" -lt 50 ] || content b2 usr/share/late "late $n"
		content b2 usr/share/b2 "never changes"
		[ "$n" != 10 ] || content b1 usr/share/gone gone
		[ "$n" != 40 ] || rm "$MIX/bundles/tree/b1/usr/share/gone"
		bundle os-core
		bundle b1
		bundle b2
		dated "${day[$n]}"
	done
}

setup()
{
	[ "$(id -u)" = 0 ] || skip "needs root"
}

teardown()
{
	serve_stop
}

# own: what is changed is a copy of the mix
own()
{
	cp -a "$MIX" "$BATS_TEST_TMPDIR/mix"
	MIX=$BATS_TEST_TMPDIR/mix
	sed -i "s|^cache = .*|cache = $MIX/cache|" "$MIX/mixer.conf"
}

listing() { (cd "$MIX/update" && find . -type f -printf '%p %s\n' | LC_ALL=C sort); }

# steps_are_there [RELEASE]: no list of ways, or not that one, names a file that is not there
steps_are_there()
{
	local list from to
	for list in "$MIX"/update/www/${1:-*}/updates; do
		while read -r from to _; do
			assert_exist "$MIX/update/www/$to/update-from-$from"
		done <"$list"
	done
}

# whole RELEASE…: all that their manifests list is there and right
whole()
{
	local release
	for release; do
		run mixer -C "$MIX" build validate --to="$release"
		assert_success
	done
}

# from_to FROM TO: a machine that installs FROM and updates to TO is as a new one, by nothing but update files
from_to()
{
	rm -rf "$BATS_TEST_TMPDIR/a" "$BATS_TEST_TMPDIR/b"
	machine a
	SWUPD_GLOBAL+=(--allow-insecure-http -r 0)
	sw os-install -V "$1" -B b1,b2
	: >"$ACCESS"
	run -0 sw update -V "$2"
	sleep 0.2
	run cat "$ACCESS"
	refute_output --partial pack-
	refute_output --partial /files/
	run -0 sw diagnose --picky
	local updated=$ROOT
	machine b
	SWUPD_GLOBAL+=(--allow-insecure-http -r 0)
	sw os-install -V "$2" -B b1,b2
	run -0 same_tree "$updated" "$ROOT"
}

@test "update files come from the last releases, and from the last of each longer span" {
	run -0 mixer -C "$MIX" versions
	assert_line --regexp '^  from 60 +[0-9.]+ (B|KiB), '
	# 50 is of these four weeks, 40 and 20 of the four weeks before those and before; 10 and 30 are not the last of theirs
	assert_equal "$(cd "$MIX/update/www/70" && echo update-from-*)" "update-from-20 update-from-40 update-from-50 update-from-60"
	# those go by way of others
	run -0 cat "$MIX/update/www/70/updates"
	assert_line --regexp $'^10\t[2-6]0\t'
	assert_line --regexp $'^30\t[4-6]0\t'
	steps_are_there
}

@test "gc keeps what the policy and the command name; a dry run says the same and changes nothing" {
	own
	listing >"$BATS_TEST_TMPDIR/before"
	run -0 --separate-stderr mixer -C "$MIX" gc --keep=10 --dry-run
	dry=$output
	listing | diff "$BATS_TEST_TMPDIR/before" -
	run -0 --separate-stderr mixer -C "$MIX" gc --keep=10
	assert_equal "${output/removed:/to be removed:}" "$dry"
	assert_line --regexp '^release 70 stays: the newest'
	assert_line --regexp '^release 10 stays: named'
	assert_line --regexp '^release 20 stays: covered'
	assert_line --regexp '^release 30 goes: '
	# what it says is what it did
	listing >"$BATS_TEST_TMPDIR/after"
	local files
	files=$(comm -23 <(cut -d ' ' -f 1 "$BATS_TEST_TMPDIR/before") <(cut -d ' ' -f 1 "$BATS_TEST_TMPDIR/after") | wc -l)
	assert_line --regexp "^removed: $files files, "
	assert_equal "$(cd "$MIX/update/releases" && echo *)" "10 20 40 50 60 70"
	assert_not_exist "$MIX/update/www/30/format"
	assert_not_exist "$MIX/update/www/30/pack-b1-from-0.tar"
	steps_are_there
	# again: nothing
	run -0 mixer -C "$MIX" gc --keep=10
	assert_line "removed: 0 files, 0 B"
	listing | diff "$BATS_TEST_TMPDIR/after" -
	# no longer named: it goes
	run -0 mixer -C "$MIX" gc
	assert_line --regexp '^release 10 goes: '
	whole 20 40 50 60 70
	run -1 mixer -C "$MIX" gc --keep=35
	assert_output --partial "release 35 is to be kept, but it is not published"
}

@test "after gc clients install each release that is kept and update to each newer one by update files" {
	own
	printf '[publish]\nkeep = 10\n' >>"$MIX/mixer.conf"
	run -0 mixer -C "$MIX" gc
	whole 10 20 40 50 60 70
	serve "$MIX/update/www"
	from_to 10 70
	from_to 10 40
	from_to 20 70
	from_to 40 60
	from_to 60 70
}

@test "a machine whose release went can leave it, also with an empty cache" {
	own
	serve "$MIX/update/www"
	machine a
	SWUPD_GLOBAL+=(--allow-insecure-http -r 0)
	sw os-install -V 30 -B b1,b2
	cp -a "$ROOT" "$BATS_TEST_TMPDIR/before"
	run -0 mixer -C "$MIX" gc
	assert_not_exist "$MIX/update/www/30/format"
	# by the update files that lead on from it
	rm -rf "$BATS_TEST_TMPDIR/a/cache" && mkdir "$BATS_TEST_TMPDIR/a/cache"
	: >"$ACCESS"
	run -0 sw update
	sleep 0.2
	run -0 cat "$ACCESS"
	refute_output --partial pack-
	refute_output --partial /files/
	run -0 sw diagnose --picky
	# when the policy does not look back so far any more, its lists are gone, too
	sed -i '/^cover = 2/a cover-days = 20' "$MIX/mixer.conf"
	run -0 mixer -C "$MIX" gc
	assert_not_exist "$MIX/update/www/30/Manifest.MoM"
	whole 50 60 70
	# what a machine can do that still has it
	rm -rf "$BATS_TEST_TMPDIR/a"
	mkdir -p "$BATS_TEST_TMPDIR/a/cache"
	cp -a "$BATS_TEST_TMPDIR/before" "$ROOT"
	run ! sw update
	run -0 sw repair --version=70 --picky --force
	run -0 sw diagnose --picky
}

@test "killed at any file that it removes or writes: kept releases are whole, and the next run ends the work" {
	own
	cp -a "$MIX/update" "$BATS_TEST_TMPDIR/update"
	run -0 mixer -C "$MIX" gc
	listing >"$BATS_TEST_TMPDIR/want"
	local n=1 runs=0 last
	while :; do
		rm -rf "$MIX/update"
		cp -a "$BATS_TEST_TMPDIR/update" "$MIX/update"
		run strace -f -qq -o /dev/null -e trace=unlink,unlinkat,rename,renameat,renameat2 \
			-e inject=unlink,unlinkat,rename,renameat,renameat2:signal=KILL:when=$n mixer -C "$MIX" gc
		last=$status
		# nothing that stays was removed, and no way leads through something that was
		listing | LC_ALL=C comm -13 - "$BATS_TEST_TMPDIR/want" | grep -v /updates >"$BATS_TEST_TMPDIR/lost" || true
		assert_equal "$(cat "$BATS_TEST_TMPDIR/lost")" ""
		steps_are_there
		[ "$last" != 0 ] || break
		run -0 mixer -C "$MIX" gc
		listing | diff "$BATS_TEST_TMPDIR/want" -
		runs=$((runs + 1))
		n=$((n + 1 + n / 3))
	done
	[ "$runs" -ge 10 ]
}

@test "the next release is built on what gc has left" {
	own
	run -0 mixer -C "$MIX" gc
	content os-core usr/bin/base "base 80"
	dated 83
	assert_equal "$(cat "$MIX/update/www/version/format30/latest")" 80
	assert_exist "$MIX/update/www/80/update-from-70"
	assert_exist "$MIX/update/www/80/update-from-20"
	whole 80
	serve "$MIX/update/www"
	from_to 20 80
	from_to 40 80
}

@test "a release from which nothing leads on is covered, however old" {
	own
	# what 10 to 40 had was lost
	rm "$MIX"/update/www/[2-7]0/update-from-[1-4]0
	content os-core usr/bin/base "base 80"
	dated 400
	run -0 cat "$MIX/update/www/80/updates"
	for from in 10 20 30 40 50 60 70; do
		assert_line --regexp "^$from"$'\t'
	done
	steps_are_there 80
	# as many as were asked for, and no more
	content os-core usr/bin/base "base 90"
	dated 401 --previous-versions=1
	assert_equal "$(cd "$MIX/update/www/90" && echo update-from-*)" update-from-80
}

@test "where one format followed another, the releases at its border stay" {
	own
	sed -i '/^\[mix\]/a format = 31' "$MIX/mixer.conf"
	for n in 80 90 100 110; do
		content os-core usr/bin/base "base $n"
		dated $((n + 1000)) --previous-versions=2
	done
	sed -i '/^cover = 2/a cover-days = 0' "$MIX/mixer.conf"
	run -0 mixer -C "$MIX" gc
	assert_line --regexp '^release 70 stays: the newest of its format'
	assert_line --regexp '^release 80 stays: the first of its format'
	assert_equal "$(cd "$MIX/update/releases" && echo *)" "100 110 70 80 90"
	whole 70 80 110
	steps_are_there
}

@test "a release that is not whole stops gc before it removes anything" {
	own
	printf x >>"$MIX/update/www/50/Manifest.b1"
	listing >"$BATS_TEST_TMPDIR/before"
	run -1 mixer -C "$MIX" gc
	assert_output --partial "50/Manifest.b1 is not what the MoM lists"
	assert_output --partial "hint: nothing was removed"
	listing | diff "$BATS_TEST_TMPDIR/before" -
}

@test "gc --cache removes what was not used for long, but not what kept releases and the lock name" {
	own
	local object
	find "$MIX/cache" -type f -exec touch -d '40 days ago' {} +
	mkdir -p "$MIX/cache/tools/$(printf '%064d' 1)/usr" "$MIX/cache/other"
	echo old >"$MIX/cache/tools/$(printf '%064d' 1)/usr/file"
	touch -d '40 days ago' "$MIX/cache/tools/$(printf '%064d' 1)" "$MIX/cache/other"
	# of release 10 alone
	object=$(awk -F '\t' '$8 == "/usr/share/gone" { print $6 }' "$MIX/update/releases/10/full.tree")
	assert_exist "$MIX/cache/objects/${object:0:2}/$object"
	run -0 mixer -C "$MIX" gc --cache --dry-run
	assert_exist "$MIX/cache/tools/$(printf '%064d' 1)"
	run -0 mixer -C "$MIX" gc --cache
	assert_line --regexp '^removed from the cache: [1-9][0-9]* files, '
	assert_not_exist "$MIX/cache/tools/$(printf '%064d' 1)"
	assert_exist "$MIX/cache/other"
	assert_equal "$(find "$MIX/cache/parts" -type f | wc -l)" 0
	# what is used counts as young again, and the rest is made anew
	content os-core usr/bin/base "base 80"
	dated 85
	whole 80
	run -0 mixer -C "$MIX" gc --cache
	# of 50, which nobody needs any more
	assert_line --regexp '^removed from the cache: [1-9][0-9]* files, '
	run -0 mixer -C "$MIX" gc --cache
	assert_line 'removed from the cache: 0 files, 0 B'
	content os-core usr/bin/base "base 90"
	dated 86
	whole 90
}

@test "a cache that is in use is not swept" {
	own
	content os-core usr/bin/base "base 80"
	cp -a "$MIX" "$BATS_TEST_TMPDIR/second"
	strace -f -qq -o /dev/null -e trace=syncfs -e inject=syncfs:delay_enter=3000000 mixer -C "$MIX" build >"$BATS_TEST_TMPDIR/first" 2>&1 &
	first=$!
	sleep 1
	run mixer -C "$BATS_TEST_TMPDIR/second" gc --cache
	wait $first
	assert_equal "$status" 1
	assert_output --partial "the cache is in use"
}

# complete DIR: a tree by itself: its releases install and update with nothing else
complete()
{
	serve_stop
	mv "$MIX" "$MIX.away"
	CERT=$MIX.away/Swupd_Root.pem
	serve "$1"
	from_to 20 70
	from_to 40 70
	CERT=
	mv "$MIX.away" "$MIX"
}

@test "a copy of some releases is whole by itself, made of links where that is possible" {
	own
	run -0 --separate-stderr mixer -C "$MIX" mirror --releases=20,40 "$BATS_TEST_TMPDIR/copy"
	assert_output "20
40
70"
	assert_equal "$(cd "$BATS_TEST_TMPDIR/copy" && echo *)" "10 20 40 70 version"
	assert_not_exist "$BATS_TEST_TMPDIR/copy/50/format"
	[ "$BATS_TEST_TMPDIR/copy/70/pack-b1-from-0.tar" -ef "$MIX/update/www/70/pack-b1-from-0.tar" ]
	run find "$BATS_TEST_TMPDIR/copy" -name 'update-from-[1356]0'
	assert_output ""
	complete "$BATS_TEST_TMPDIR/copy"
	# again: only what is signed anew is asked for
	run -0 mixer -C "$MIX" mirror --releases=20,40 "$BATS_TEST_TMPDIR/copy"
	assert_output --regexp '(^|'$'\n'')[0-3] files came, [1-9][0-9]+ were there'
	# from a tar of it, too
	tar -C "$BATS_TEST_TMPDIR/copy" -cf "$BATS_TEST_TMPDIR/copy.tar" .
	run -0 mixer -C "$MIX" mirror --from="file://$BATS_TEST_TMPDIR/copy.tar" --releases=20,40 "$BATS_TEST_TMPDIR/from-tar"
	diff -r -x .mirror "$BATS_TEST_TMPDIR/copy" "$BATS_TEST_TMPDIR/from-tar"
	# one that is damaged there comes again
	echo x >"$BATS_TEST_TMPDIR/copy/20/x" && mv "$BATS_TEST_TMPDIR/copy/20/x" "$BATS_TEST_TMPDIR/copy/70/pack-b1-from-0.tar"
	run -0 mixer -C "$MIX" mirror "$BATS_TEST_TMPDIR/copy"
	cmp "$BATS_TEST_TMPDIR/copy/70/pack-b1-from-0.tar" "$MIX/update/www/70/pack-b1-from-0.tar"
}

# copy_http [ARG…]: from $URL, without a workspace
copy_http()
{
	mixer mirror --from="$URL" --certificate="$MIX/Swupd_Root.pem" --allow-insecure-http --releases=20,40 "$@" "$BATS_TEST_TMPDIR/copy"
}

@test "over the network: killed anywhere it announces nothing, and the next run goes on; the copy is the same as that of links" {
	own
	serve "$MIX/update/www"
	run -0 mixer -C "$MIX" mirror --releases=20,40 "$BATS_TEST_TMPDIR/linked"
	local n=1 runs=0
	while :; do
		run strace -f -qq -o /dev/null -e trace=rename,renameat,renameat2 -e inject=rename,renameat,renameat2:signal=KILL:when=$n \
			mixer mirror --from="$URL" --certificate="$MIX/Swupd_Root.pem" --allow-insecure-http --releases=20,40 "$BATS_TEST_TMPDIR/copy"
		[ "$status" != 0 ] || break
		# who speaks of releases comes last
		if [ -e "$BATS_TEST_TMPDIR/copy/version/format30/freshness" ]; then
			diff -r -x .mirror -x version "$BATS_TEST_TMPDIR/linked" "$BATS_TEST_TMPDIR/copy"
		fi
		runs=$((runs + 1))
		n=$((n + 2 + n / 2))
	done
	[ "$runs" -ge 6 ]
	diff -r -x .mirror "$BATS_TEST_TMPDIR/linked" "$BATS_TEST_TMPDIR/copy"
	complete "$BATS_TEST_TMPDIR/copy"
}

@test "what is needed and wrong at the source ends the copy before it is announced; what can be done without is left out" {
	own
	serve "$MIX/update/www"
	local fullfile
	fullfile=$(find "$MIX/update/www/70/files" -name '*.tar' | LC_ALL=C sort | head -n 1)
	cp "$fullfile" "$BATS_TEST_TMPDIR/good"
	printf 'damaged' >"$BATS_TEST_TMPDIR/bad"
	# by rename: the files of the other mix are the same
	cp "$BATS_TEST_TMPDIR/bad" "$fullfile.new" && mv "$fullfile.new" "$fullfile"
	run -1 copy_http
	assert_output --partial "$(basename "$fullfile")"
	assert_not_exist "$BATS_TEST_TMPDIR/copy/version"
	assert_not_exist "$BATS_TEST_TMPDIR/copy/70/Manifest.MoM.tar"
	rm "$fullfile"
	run -1 copy_http
	assert_output --partial "neither 70/files/"
	assert_not_exist "$BATS_TEST_TMPDIR/copy/version"
	mv "$BATS_TEST_TMPDIR/good" "$fullfile"
	rm -r "$BATS_TEST_TMPDIR/copy"
	printf 'damaged' >"$MIX/update/www/70/new" && mv "$MIX/update/www/70/new" "$MIX/update/www/70/update-from-20"
	rm "$MIX/update/www/70/pack-b1-from-0.tar"
	run -0 copy_http
	assert_output --partial "70/update-from-20 is left out"
	assert_not_exist "$BATS_TEST_TMPDIR/copy/70/update-from-20"
	# what was signed of the ways is still right
	cmp "$BATS_TEST_TMPDIR/copy/70/updates" "$MIX/update/www/70/updates"
	URL=file://$BATS_TEST_TMPDIR/copy
	machine a
	sw os-install -V 20 -B b1,b2
	run -0 sw update
	run -0 sw diagnose --picky
}

@test "classic = no: a copy is whole by the ways that its lists tell, not by others" {
	mix_init
	printf 'classic = no\n' | sed -i '/^content-url/r /dev/stdin' "$MIX/mixer.conf"
	local n
	for n in 10 20 30 40; do
		content os-core usr/bin/base "base $n"
		content b1 usr/share/always "$(seq 1 20000 | sed "s/99/$n/")"
		bundle os-core
		bundle b1
		dated "$n" --previous-versions=1
	done
	run -0 mixer -C "$MIX" build delta-packs --from=10 --to=40
	run -0 cut -f 1,2 "$MIX/update/www/40/updates"
	assert_line "0	10"
	assert_line "10	40"
	run -0 mixer -C "$MIX" mirror --releases=30 "$BATS_TEST_TMPDIR/copy"
	# 10 to 20 to 30 to 40 is there, too
	assert_exist "$BATS_TEST_TMPDIR/copy/20/update-from-10" "$BATS_TEST_TMPDIR/copy/30/update-from-20" "$BATS_TEST_TMPDIR/copy/40/update-from-30"
	rm "$BATS_TEST_TMPDIR/copy/40/update-from-10" "$MIX/update/www/40/update-from-10"
	run -1 mixer -C "$MIX" mirror --releases=30 "$BATS_TEST_TMPDIR/copy"
	assert_output --partial "release 40: neither "
}

@test "gc, or who makes a file later, signs what was not signed when it was killed; what is said does not become older" {
	own
	local fresh=$MIX/update/www/version/format30/freshness
	cp "$fresh" "$BATS_TEST_TMPDIR/fresh"
	run -0 mixer -C "$MIX" build delta-packs --from=30 --to=70
	run ! cmp -s "$fresh" "$BATS_TEST_TMPDIR/fresh"
	# the list is there, its signature is not
	cp "$BATS_TEST_TMPDIR/fresh" "$fresh"
	SOURCE_DATE_EPOCH=1700000000 run -0 mixer -C "$MIX" gc
	assert_equal "$(grep -a '^updates:' "$fresh" | cut -f 2)" "$(swupd hashdump --no-xattrs "$MIX/update/www/70/updates" 2>/dev/null | tail -n 1)"
	assert_equal "$(sed -n 's/^time:\t//p' "$fresh" | head -n 1)" "$(sed -n 's/^time:\t//p' "$BATS_TEST_TMPDIR/fresh" | head -n 1)"
	URL=file://$MIX/update/www
	machine a
	sw os-install -V 20 -B b1
	run -0 sw update
	# nothing changes: nothing is signed
	cp "$fresh" "$BATS_TEST_TMPDIR/fresh"
	run -0 mixer -C "$MIX" gc
	cmp "$fresh" "$BATS_TEST_TMPDIR/fresh"
}

@test "a tree that somebody else has signed is not copied, nor one that went back" {
	own
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=other -keyout /dev/null -out "$BATS_TEST_TMPDIR/other.pem" 2>/dev/null
	run -1 mixer mirror --from="file://$MIX/update/www" --certificate="$BATS_TEST_TMPDIR/other.pem" "$BATS_TEST_TMPDIR/copy"
	assert_not_exist "$BATS_TEST_TMPDIR/copy/70"
	run -1 mixer mirror --from=http://127.0.0.1:1 --certificate="$MIX/Swupd_Root.pem" "$BATS_TEST_TMPDIR/copy"
	assert_output --partial "--allow-insecure-http"
	cp -a "$MIX/update/www/version" "$BATS_TEST_TMPDIR/version"
	content os-core usr/bin/base "base 80"
	dated 85
	run -0 mixer -C "$MIX" mirror "$BATS_TEST_TMPDIR/copy"
	rm -r "$MIX/update/www/version" && mv "$BATS_TEST_TMPDIR/version" "$MIX/update/www/version"
	run -1 mixer -C "$MIX" mirror "$BATS_TEST_TMPDIR/copy"
	assert_output --partial "release 80 was seen before"
	assert_equal "$(cat "$BATS_TEST_TMPDIR/copy/version/format30/latest")" 80
}

@test "a copy follows a change of keys" {
	own
	run -0 mixer -C "$MIX" mirror "$BATS_TEST_TMPDIR/copy"
	run -0 mixer -C "$MIX" key rotate
	content os-core usr/bin/base "base 80"
	dated 85
	run -0 mixer -C "$MIX" mirror --releases=70 "$BATS_TEST_TMPDIR/copy"
	assert_exist "$BATS_TEST_TMPDIR/copy/version/root/2"
	URL=file://$BATS_TEST_TMPDIR/copy
	CERT=$MIX/keys/1/Swupd_Root.pem
	machine a
	run -0 sw os-install -V 70 -B b1
	run -0 sw update
	CERT=$BATS_TEST_TMPDIR/copy/version/root/2
	machine a
	run -0 sw diagnose --picky
}

@test "classic = no: the way from nothing to each kept release stays, and is copied, with few questions" {
	mix_init
	printf 'classic = no\ncover = 2\ncover-days = 0\n' | sed -i '/^content-url/r /dev/stdin' "$MIX/mixer.conf"
	local n
	for n in 10 20 30 40 50; do
		content os-core usr/bin/base "base $n"
		content b1 usr/share/always "$(seq 1 20000 | sed "s/99/$n/")"
		content b2 usr/share/b2 "never changes"
		bundle os-core
		bundle b1
		bundle b2
		dated "$n"
	done
	assert_exist "$MIX/update/www/10/update-from-0"
	run -0 mixer -C "$MIX" gc --dry-run
	assert_line --regexp '^release 10 goes'
	run -0 mixer -C "$MIX" gc
	assert_exist "$MIX/update/www/10/update-from-0"
	assert_not_exist "$MIX/update/www/10/format"
	whole 30 40 50
	steps_are_there
	run -0 head -n 1 "$MIX/update/www/50/updates"
	assert_output --regexp $'^0\t10\t'
	content os-core usr/bin/base "base 60"
	dated 60
	whole 60
	serve "$MIX/update/www"
	from_to 30 60
	: >"$ACCESS"
	run -0 mixer mirror --from="$URL" --certificate="$MIX/Swupd_Root.pem" --allow-insecure-http --releases=40 "$BATS_TEST_TMPDIR/copy"
	# one for each folder that fullfiles could lie in, not one for each of them
	[ "$(grep -c ' /[0-9]*/files/' "$ACCESS")" -le 6 ]
	serve_stop
	mv "$MIX" "$MIX.away"
	CERT=$MIX.away/Swupd_Root.pem
	serve "$BATS_TEST_TMPDIR/copy"
	from_to 40 60
	serve_stop
	mv "$MIX.away" "$MIX"
	# a copy without it would not be whole
	rm "$MIX/update/www/10/update-from-0" "$BATS_TEST_TMPDIR/copy/10/update-from-0"
	run -1 mixer -C "$MIX" mirror --releases=40 "$BATS_TEST_TMPDIR/copy"
	assert_output --partial "nor a way from nothing is there"
}
