#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# swupd update --dry-run: what it says is what an update does, and it changes nothing. What an update leaves in the state directory.

load lib

setup()
{
	[ "$(id -u)" = 0 ] || skip "needs root"
	vectors m
	M=$BATS_TEST_TMPDIR/m
}

teardown()
{
	serve_stop
	[ -z "${LOOP:-}" ] || umount "$LOOP"
}

# disk MIB: the machine's root on a file system of its own
disk()
{
	truncate -s "$1M" "$BATS_TEST_TMPDIR/disk"
	mkfs.ext4 -q "$BATS_TEST_TMPDIR/disk"
	mkdir -p "$ROOT"
	mount -o loop "$BATS_TEST_TMPDIR/disk" "$ROOT" || skip "cannot mount ext4"
	LOOP=$ROOT
	rm -rf "$ROOT/lost+found"
}

# snapshot: each object of root, data and cache with its inode, attributes, times and content
snapshot()
{
	find "$M" -printf '%p %y %i %m %U:%G %s %T@ %C@ %l\n' | sort
	find "$M" -type f -exec sha256sum {} + | sort
}

# said KEY: the answer's line
said()
{
	sed -n "s/^$1: //p" <<<"$output"
}

@test "it tells what an update does then, and changes nothing, not even times" {
	serve "$VECTORS/www"
	SWUPD_GLOBAL=(-p "$ROOT" -K "$M/cache" -u "$URL" -F 30 -C "$CERT" -N --no-progress --allow-insecure-http)
	install_10
	for how in exchange in-place; do
		sw clean --all >/dev/null
		local option=()
		[ "$how" = exchange ] || option=(--in-place)
		snapshot >"$BATS_TEST_TMPDIR/before"
		run -0 --separate-stderr sw update -I -V 30 --dry-run "${option[@]}"
		dry=$output
		snapshot | diff "$BATS_TEST_TMPDIR/before" -
		assert_line "release: 10 to 30"
		if [ "$how" = exchange ]; then
			assert_line "commit: by exchange of /usr, prepared as links"
		else
			assert_line "commit: in place"
		fi
		# an old tree
		assert_line "download: not known: the release tells no sizes"
		: >"$ACCESS"
		run -0 sw update -I -V 30 "${option[@]}"
		done=$output
		output=$dry
		[[ $done = *"release 30 is installed: $(($(said files) + $(said links) + $(said directories) + $(said removed))) paths changed"* ]]
		assert_equal "$(grep -c '/pack-' "$ACCESS")" "$(said packs)"
		# and what is not in the packs
		[ "$(grep -c '/files/' "$ACCESS")" -ge "$(said 'single files')" ]
		[ "$how" = exchange ] || break
		sw rollback
	done
	# there is nothing to do
	run -0 sw update -I --dry-run
	assert_output "release 30 is already the newest"
}

@test "with sizes in the manifests: bytes, for programs in bytes; the server sends no more" {
	mix_init
	URL='' CERT='' machine m
	content os-core usr/bin/same same
	bundle os-core
	release
	sw os-install -I
	for i in 1 2 3; do
		head -c 100000 /dev/urandom >"$MIX/bundles/tree/os-core/usr/bin/new$i"
	done
	cp "$MIX/bundles/tree/os-core/usr/bin/same" "$MIX/bundles/tree/os-core/usr/bin/copy"
	release
	run -0 --separate-stderr sw update --dry-run --json-output
	run -0 jq -r '.[] | select(.type == "info") | .msg' <<<"$output"
	assert_line "packs: 0"
	refute_line --partial "sizes: "
	# the three, and the releases' own small texts; the head of the update file, which came already, will come again
	[ "$(said download | sed 's/at most //')" -ge 300000 ]
	[ "$(said download | sed 's/at most //')" -lt 310000 ]
	local staging
	staging=$(said staging)
	[ "$staging" -ge $((3 * 102400 + 4096)) ]
	[ $((staging % 4096)) = 0 ]
	serve "$MIX/update/www"
	run -0 swupd update -p "$ROOT" -K "$M/cache" -u "$URL" -F 30 -C "$MIX/Swupd_Root.pem" -N --no-progress --allow-insecure-http
	[ "$(awk '/\/(pack-|files\/|update-from)/ { sum += $4 } END { print sum + 0 }' "$ACCESS")" -lt 310000 ]
}

@test "what does not fit is told with status 25, by it and by the update, before a byte of content" {
	mix_init
	URL='' CERT='' machine m
	disk 24
	content os-core usr/bin/same same
	bundle os-core
	release
	sw os-install -I
	head -c 40000000 /dev/zero >"$MIX/bundles/tree/os-core/usr/bin/big"
	release
	snapshot >"$BATS_TEST_TMPDIR/before"
	run -25 sw update --dry-run
	assert_line --partial "commit: in place: there is no room for a second tree"
	assert_line --partial "cannot update to release 20: the new content takes "
	why=$(grep "the new content takes" <<<"$output")
	snapshot | diff "$BATS_TEST_TMPDIR/before" -
	serve "$MIX/update/www"
	run -25 swupd update -p "$ROOT" -K "$M/cache" -u "$URL" -F 30 -C "$MIX/Swupd_Root.pem" -N --no-progress --allow-insecure-http
	assert_line "$why"
	run grep -E '/(pack-|files/)' "$ACCESS"
	assert_output ""
	# a tree of many directories has no room twice, the content has
	rm "$MIX/bundles/tree/os-core/usr/bin/big"
	head -c 100000 /dev/urandom >"$MIX/bundles/tree/os-core/usr/bin/small"
	release
	mkdir "$ROOT/usr/local" "$ROOT"/usr/local/{1..999}
	dd if=/dev/zero of="$ROOT/filler" bs=64k 2>/dev/null || true
	truncate -s -2M "$ROOT/filler"
	run -0 sw update --dry-run
	assert_line --partial "commit: in place: a second tree takes "
}

@test "an interrupted run is told, not completed" {
	strace -qq -o /dev/null true 2>/dev/null || skip "needs ptrace"
	install_10
	local n
	for ((n = 5; n < 100; n += 5)); do
		{ strace -f -qq -o /dev/null -e trace=renameat,renameat2 -e "inject=renameat,renameat2:signal=KILL:when=$n" \
			swupd update "${SWUPD_GLOBAL[@]}" -I --in-place >/dev/null 2>&1; } 2>/dev/null || true
		[ ! -e "$ROOT/usr/.swupd/journal" ] || break
	done
	[ -e "$ROOT/usr/.swupd/journal" ]
	snapshot >"$BATS_TEST_TMPDIR/before"
	run -20 sw update -I --dry-run
	assert_line "hint: 'swupd clean' completes it"
	snapshot | diff "$BATS_TEST_TMPDIR/before" -
}

# state_is_small: nothing but marks, what was trusted and seen, and the manifests of the installed release; nothing of a run
state_is_small()
{
	find "$ROOT/var/lib/swupd" "$M/cache" -mindepth 1 -type f -printf '%P\n' |
		grep -vE '^(bundles/[a-z-]+|version|seen|history|swupd_lock|trust/.*|mom/[0-9a-f]*-?30(\.sig)?|manifest/[0-9a-f]{64})$' && return 1
	[ ! -e "$ROOT/usr/.swupd" ]
	[ "$(find "$M/cache/manifest" -type f | wc -l)" -le 6 ]
	[ "$(du -sk --apparent-size "$ROOT/var/lib/swupd" "$M/cache" | awk '{ sum += $1 } END { print sum }')" -le 200 ]
}

@test "the state directory has no content after an update, also after a failed one and killed ones" {
	strace -qq -o /dev/null true 2>/dev/null || skip "needs ptrace"
	install_10
	sw update -I
	state_is_small
	# fetching failed in the middle: what there is of it is for the next try
	machine second
	M=$BATS_TEST_TMPDIR/second
	install_10
	cp -r "$VECTORS/www" "$BATS_TEST_TMPDIR/www"
	rm -r "$BATS_TEST_TMPDIR"/www/30/files "$BATS_TEST_TMPDIR"/www/*/pack-*
	run swupd update -p "$ROOT" -K "$M/cache" -u "file://$BATS_TEST_TMPDIR/www" -F 30 -C "$CERT" -N --no-progress -I -r 0
	[ "$status" != 0 ]
	[ -e "$ROOT/usr/.swupd/staged" ]
	sw update -I
	state_is_small
	# killed at any write, again and again, then once to the end
	machine third
	M=$BATS_TEST_TMPDIR/third
	install_10
	local call n
	for call in openat write renameat linkat unlinkat; do
		for n in 20 60 150; do
			{ strace -f -qq -o /dev/null -e "trace=$call" -e "inject=$call:signal=KILL:when=$n" \
				swupd update "${SWUPD_GLOBAL[@]}" -I >/dev/null 2>&1; } 2>/dev/null || true
			[ "$(du -sk --apparent-size "$M/cache" | cut -f 1)" -le 1000 ]
		done
	done
	sw update -I
	grep -q VERSION_ID=30 "$ROOT/usr/lib/os-release"
	# the one that was killed may have been through
	sw clean >/dev/null
	state_is_small
}
