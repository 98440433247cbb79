#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# mixer build delta-packs, delta-manifests, validate: what an update fetches, and whether a release is whole.

load lib

setup()
{
	mix_init
	content os-core usr/bin/base base
	first_content
	bundle os-core
	bundle app
	release
}

# noise SEED: text that does not compress to nothing, the same each time
noise()
{
	awk -v seed="$1" 'BEGIN { srand(seed); for (i = 0; i < 3000; i++) print rand() }'
}

first_content()
{
	local tree=$MIX/bundles/tree/app/usr
	mkdir -p "$tree/share/app" "$tree/lib/app-1.2" "$tree/lib/app"
	noise 1 >"$tree/share/app/changes"
	noise 2 >"$tree/share/app/moves"
	noise 3 >"$tree/lib/app-1.2/plugin"
	noise 4 >"$tree/lib/app/lib.so.1.2"
	noise 5 >"$tree/share/app/stays"
	echo small >"$tree/share/app/small"
}

second_content()
{
	local tree=$MIX/bundles/tree/app/usr
	sed -i '1500s/.*/changed/' "$tree/share/app/changes"
	mv "$tree/share/app/moves" "$tree/share/moved"
	mv "$tree/lib/app-1.2" "$tree/lib/app-1.3"
	echo more >>"$tree/lib/app-1.3/plugin"
	mv "$tree/lib/app/lib.so.1.2" "$tree/lib/app/lib.so.1.3"
	sed -i '1s/^/x/' "$tree/lib/app/lib.so.1.3"
	echo other >"$tree/share/app/small"
	ln -s small "$tree/share/app/link"
}

# members PACK: its names with the digests left out, counted
members()
{
	zstd -qdc "$1" | tar -t | sed -E 's/[0-9a-f]{64}/H/g' | LC_ALL=C sort | uniq -c | sed 's/^ *//'
}

@test "a pack has deltas for what changed, moved or has a new version, and the rest whole" {
	second_content
	release
	run -0 members "$MIX/update/www/20/pack-app-from-10.tar"
	assert_line '4 delta/10-20-H-H'
	# small, link, and the directories app-1.3 and its like, which are one object
	assert_line --regexp '^[23] staged/H/?$'
	assert_equal "$(find "$MIX/update/www/20/delta" -type f | wc -l)" 4
	[ "$(stat -c %s "$MIX/update/www/20/pack-app-from-10.tar")" -lt 4000 ]
}

@test "a client updates with nothing but manifest deltas and packs" {
	[ "$(id -u)" = 0 ] || skip "needs root"
	machine a
	sw os-install -V 10 -B app
	updated=$ROOT
	second_content
	release
	machine fresh
	sw os-install -V 20 -B app
	fresh=$ROOT
	rm -r "$MIX/update/www/20/files" "$MIX"/update/www/20/pack-*-from-0.tar "$MIX"/update/www/20/delta \
		"$MIX"/update/www/20/Manifest.app.tar
	machine a
	run -0 sw update
	run -0 sw diagnose --picky
	run -0 same_tree "$updated" "$fresh"
}

@test "without the pack the same update takes fullfiles, and the tree is the same" {
	[ "$(id -u)" = 0 ] || skip "needs root"
	machine a
	sw os-install -V 10 -B app
	machine b
	sw os-install -V 10 -B app
	second_content
	release
	machine a
	with=$ROOT
	run -0 sw update
	rm "$MIX"/update/www/20/pack-*-from-10.tar "$MIX"/update/www/20/Manifest-*
	machine b
	run -0 sw update
	run -0 same_tree "$with" "$ROOT"
}

@test "packs and deltas are the same bytes whoever makes them, with or without caches" {
	second_content
	release --previous-versions=0
	assert_file_not_exists "$MIX/update/www/20/pack-app-from-10.tar"
	run -0 mixer -C "$MIX" --threads=1 build delta-packs --from=10
	run -0 mixer -C "$MIX" --threads=1 build delta-manifests --from=10
	want=$(cd "$MIX/update/www/20" && sha256sum pack-*-from-10.tar Manifest-*-delta-from-10)
	rm -r "$MIX/cache" "$MIX"/update/www/20/pack-*-from-10.tar "$MIX"/update/www/20/Manifest-* "$MIX"/update/www/20/delta
	run -0 mixer -C "$MIX" --threads=4 build delta-packs --from=10
	run -0 mixer -C "$MIX" --threads=4 build delta-manifests --from=10
	assert_equal "$(cd "$MIX/update/www/20" && sha256sum pack-*-from-10.tar Manifest-*-delta-from-10)" "$want"
}

# made: what delta-packs makes of release 20, and what is signed of it but for the time
made()
{
	(cd "$MIX/update/www" && sha256sum 20/pack-*-from-10.tar 20/delta/* 20/update-from-10 20/updates &&
		grep -a -E '^(release|root|mom|updates?):' version/format30/freshness)
}

@test "delta-packs killed at any file it writes is completed by the next, to the same bytes, and what is signed tells of them" {
	second_content
	release --previous-versions=0
	cp -a "$MIX/update/www/version" "$BATS_TEST_TMPDIR/version"
	run -0 mixer -C "$MIX" build delta-packs --from=10
	want=$(made)
	assert_equal "$(awk '$1 == "updates:" { print $2 }' <<<"$want")" "$(swupd hashdump "$MIX/update/www/20/updates")"
	n=1
	while :; do
		rm -r "$MIX"/update/www/20/{pack-*-from-10.tar,delta,update-from-10,updates} "$MIX"/cache/{deltas,diffs,parts,sections} \
			"$MIX/update/www/version"
		cp -a "$BATS_TEST_TMPDIR/version" "$MIX/update/www/version"
		# each thread would count for itself
		run strace -f -qq -o /dev/null -e trace=rename,renameat,renameat2 \
			-e inject=rename,renameat,renameat2:signal=KILL:when=$n mixer -C "$MIX" --threads=1 build delta-packs --from=10
		[ "$status" != 0 ] || break
		run -0 mixer -C "$MIX" build delta-packs --from=10
		assert_equal "$(made)" "$want"
		assert_dir_not_exists "$MIX/update/www/.new-packs-10-20"
		run find "$MIX/update/www" -name '.new.*'
		assert_output ""
		n=$((n + 1))
	done
	[ "$n" -gt 20 ]
}

@test "a pack from a release that was not the last goes over all between" {
	[ "$(id -u)" = 0 ] || skip "needs root"
	machine a
	sw os-install -V 10 -B app
	updated=$ROOT
	second_content
	release
	sed -i '7s/.*/again/' "$MIX/bundles/tree/app/usr/share/app/changes"
	release
	assert_file_exists "$MIX/update/www/30/pack-app-from-10.tar"
	assert_file_exists "$MIX/update/www/30/pack-app-from-20.tar"
	run -0 mixer -C "$MIX" build delta-packs --report
	assert_output '20 → 30
10 → 30'
	machine fresh
	sw os-install -V 30 -B app
	fresh=$ROOT
	rm -r "$MIX"/update/www/[23]0/files "$MIX"/update/www/30/pack-*-from-0.tar "$MIX/update/www/30/pack-app-from-20.tar"
	machine a
	run -0 sw update
	run -0 same_tree "$updated" "$fresh"
}

@test "a release whose trees are gone gives no packs, and says why" {
	second_content
	release --previous-versions=0
	rm -r "$MIX/update/releases/10"
	run -1 mixer -C "$MIX" build delta-packs --from=10
	assert_output --partial "from release 10 to 20: update/releases/10 is not there any more"
	assert_output --partial "hint:"
	# of itself, mixer does not look for them
	run -0 mixer -C "$MIX" build delta-packs
}

@test "validate finds nothing wrong, then what is damaged, with status 1" {
	second_content
	release
	run -0 mixer -C "$MIX" build validate
	run -0 mixer -C "$MIX" build validate --to=10
	file=$(find "$MIX/update/www/20/files" -type f | sort | head -n 1)
	rm "$file"
	run -1 mixer -C "$MIX" build validate --quick
	assert_output --partial "20/files/$(basename "$file")"
	assert_output --partial "release 20: 1 finding"
	printf x >"$file"
	run -1 mixer -C "$MIX" build validate
	assert_output --partial "20/files/$(basename "$file")"
}

@test "validate names programs without their interpreter or library, and links that lead nowhere" {
	cp "$(type -P true)" "$MIX/bundles/tree/app/usr/bin-true"
	mkdir -p "$MIX/bundles/tree/app/usr/bin"
	printf '#!/usr/bin/nosuch\n' >"$MIX/bundles/tree/app/usr/bin/script"
	chmod 755 "$MIX/bundles/tree/app/usr/bin/script"
	ln -s nowhere "$MIX/bundles/tree/app/usr/bin/link"
	release
	run -1 mixer -C "$MIX" build validate
	assert_line 'app: /usr/bin-true needs libc.so.6, which is not there'
	assert_line 'app: /usr/bin/script is run by /usr/bin/nosuch, which is not there'
	assert_line 'app: /usr/bin/link leads to nowhere, which is not there'
}

# large_content MIB: a file of about that size, of blocks that are nearly the same
large_content()
{
	local file=$MIX/bundles/tree/app/usr/share/app/large
	head -c 65521 /dev/zero | openssl enc -aes-128-ctr -K 00 -iv 00 2>/dev/null >"$BATS_TEST_TMPDIR/block"
	for ((i = 0; i < 16 * $1; i++)); do
		cat "$BATS_TEST_TMPDIR/block"
		echo "$i"
	done >"$file"
}

@test "a build takes no more memory for a large file than for a small one" {
	sed -i -e '/^\[mix\]/a threads = 2' -e '/^\[publish\]/a classic = no' "$MIX/mixer.conf"
	large_content 160
	# KiB of memory of its own; files that the kernel can read again do not count
	(ulimit -d 450000 && release)
	printf x | dd of="$MIX/bundles/tree/app/usr/share/app/large" bs=1 seek=100000000 conv=notrunc status=none
	(ulimit -d 450000 && release)
	mixer -C "$MIX" build validate
}
