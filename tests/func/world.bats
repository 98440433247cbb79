#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# Small worlds of content() trees: everything that can happen to a path between two releases of our own mixer.

load lib

setup()
{
	[ "$(id -u)" = 0 ] || skip "needs root"
	mix_init
}

tree() { echo "$MIX/bundles/tree/$1"; }

# Three releases: 10; 20 with every change of kind; 30 without the bundle 'extra'
make_world()
{
	local c x
	content os-core usr/bin/base base
	content core2 usr/share/core2/file core2
	content extra usr/share/extra/file extra
	c=$(tree core2)/usr/share/t
	mkdir -p "$c/dir-to-file/sub" "$c/dir-to-link" "$c/goes/deep"
	echo a >"$c/file-to-dir"
	echo a >"$c/file-to-link"
	ln -s file-to-dir "$c/link-to-dir"
	ln -s file-to-dir "$c/link-to-file"
	ln -s one "$c/link-to-link"
	echo a >"$c/dir-to-file/sub/x"
	echo a >"$c/dir-to-link/x"
	echo a >"$c/goes/deep/x"
	echo a >"$c/mode"
	seq 1 20000 >"$c/renamed-1.0"
	seq 1 30000 >"$c/changed"
	head -c 3000 /dev/urandom >"$c/small"
	for x in 'a b' 'ü' '-dash' '100%' "it's" 'semi;colon' 'back\slash' '$HOME' '.hidden' "$(printf 'latin\344')"; do
		echo "$x" >"$c/$x"
	done
	echo s >"$c/setuid" && chmod 4755 "$c/setuid"
	echo g >"$c/setgid" && chmod 2755 "$c/setgid"
	echo l >"$c/hard" && ln "$c/hard" "$c/hard-link"
	: >"$c/empty"
	bundle os-core
	bundle core2
	bundle extra
	release

	rm -r "$c/file-to-dir" "$c/dir-to-file" "$c/dir-to-link" "$c/goes"
	mkdir "$c/file-to-dir" && echo b >"$c/file-to-dir/y"
	ln -sf elsewhere "$c/file-to-link"
	rm "$c/link-to-dir" "$c/link-to-file"
	mkdir "$c/link-to-dir" && echo b >"$c/link-to-dir/y"
	echo b >"$c/link-to-file"
	ln -sfn two "$c/link-to-link"
	echo b >"$c/dir-to-file"
	ln -s file-to-dir "$c/dir-to-link"
	chmod 755 "$c/mode"
	mv "$c/renamed-1.0" "$c/renamed-1.1" && echo more >>"$c/renamed-1.1"
	sed -i 's/^15000$/changed/' "$c/changed"
	echo 'new name' >"$c/neu ü"
	rm "$c/ü"
	chmod 755 "$c/setuid"
	release

	mixer -C "$MIX" bundle remove extra
	content os-core usr/bin/base2 base
	release
}

@test "every change of kind, updated, equals a fresh installation" {
	make_world
	[ "$RELEASE" = 30 ]
	machine a
	sw os-install -V 10 -B core2,extra
	assert_equal "$(stat -c %a "$ROOT/usr/share/t/setuid")" 4755
	updated=$ROOT
	run -0 sw update -V 20
	run -0 sw diagnose --picky
	machine b
	run -0 sw os-install -V 20 -B core2,extra
	run -0 same_tree "$updated" "$ROOT"
	machine a
	run -0 sw update
	assert_output --partial "bundle 'extra' is no longer part of the OS"
	assert_not_exist "$ROOT/usr/share/extra"
	run -0 sw diagnose --picky
	machine c
	run -0 sw os-install -B core2
	run -0 same_tree "$updated" "$ROOT"
	machine d
	sw os-install -V 10 -B core2
	run -0 sw update
	run -0 same_tree "$ROOT" "$updated"
}

@test "an update moves few bytes: deltas, also of renamed files, not whole files" {
	make_world
	serve "$MIX/update/www"
	machine a
	SWUPD_GLOBAL+=(--allow-insecure-http)
	sw os-install -V 10 -B core2
	: >"$ACCESS"
	run -0 sw update -V 20
	sleep 0.2
	serve_stop
	bytes=$(awk '{ s += $5 } END { print s }' "$ACCESS")
	whole=$(stat -c %s "$(tree core2)/usr/share/t/changed")
	run -0 cat "$ACCESS"
	refute_output --partial "/files/"
	[ "$bytes" -lt $((whole / 4)) ]
	# nothing is asked for twice
	run -0 sh -c "awk '{ print \$2, \$7 }' '$ACCESS' | sort | uniq -d"
	assert_output ""
}

@test "what a user put into directories that change or go is kept" {
	make_world
	machine a
	sw os-install -V 10 -B core2
	echo mine >"$ROOT/usr/share/t/dir-to-file/mine"
	echo mine >"$ROOT/usr/share/t/goes/mine"
	mkdir -p "$ROOT/usr/local/bin" "$ROOT/etc/app" "$ROOT/var/lib/app" "$ROOT/home/u"
	echo mine | tee "$ROOT/usr/local/bin/x" "$ROOT/etc/app/x" "$ROOT/var/lib/app/x" "$ROOT/home/u/x" >/dev/null
	before=$(tree_list "$ROOT" ./etc ./var/lib/app ./home ./usr/local)
	run -0 sw update -V 20
	assert_equal "$(cat "$ROOT"/usr/share/t/.deleted.*.dir-to-file/mine)" mine
	assert_equal "$(cat "$ROOT/usr/share/t/goes/mine")" mine
	assert_equal "$(tree_list "$ROOT" ./etc ./var/lib/app ./home ./usr/local)" "$before"
}

@test "a release built twice is the same, byte for byte" {
	make_world
	cp -a "$MIX/update/www" "$BATS_TEST_TMPDIR/first"
	rm -rf "$MIX/update" "$MIX/cache"
	sed -i 's/^release.*/release = 10/; s/^previous.*/previous = 0/' "$MIX/mixer.state"
	git -C "$MIX" init -q 2>/dev/null || true
	run -0 mixer -C "$MIX" build
	# the same wishes as release 30 now, but as the first release: files of equal content have equal fullfiles
	for tar in "$MIX"/update/www/10/files/*.tar; do
		other=$(find "$BATS_TEST_TMPDIR/first" -name "${tar##*/}" | head -n 1)
		[ -z "$other" ] || cmp "$tar" "$other"
	done
	cp -a "$MIX/update/www" "$BATS_TEST_TMPDIR/second"
	rm -rf "$MIX/update" "$MIX/cache"
	sed -i 's/^release.*/release = 10/; s/^previous.*/previous = 0/' "$MIX/mixer.state"
	run -0 mixer -C "$MIX" build
	# all but what is signed: ECDSA signatures differ, and freshness has the time
	run diff -r -q -x '*.sig' -x freshness -x 'Manifest.MoM.tar' "$BATS_TEST_TMPDIR/second" "$MIX/update/www"
	assert_success
}

@test "an unchanged mix has nothing to build, and one changed file costs one release" {
	make_world
	run mixer -C "$MIX" build
	assert_failure 3
	assert_output --partial "nothing to build"
	content core2 usr/share/core2/file changed
	run -0 mixer -C "$MIX" build
	# os-core has the number of the release; of core2 only the one file
	run -0 grep -c $'\t40\t' "$MIX/update/www/40/Manifest.core2"
	assert_output 1
}

@test "bundles are subtracted along includes, and shared ones are installed once" {
	content os-core usr/bin/base base
	content lib usr/lib/libx lib
	content app usr/bin/app app
	content app usr/lib/libx lib
	bundle os-core
	bundle lib
	bundle app 'include(lib)'
	release
	run -0 cat "$MIX/update/www/10/Manifest.app"
	refute_output --partial libx
	assert_output --partial $'includes:\tlib'
	machine a
	run -0 sw os-install -B app
	assert_equal "$(cat "$ROOT/usr/lib/libx")" lib
	run sw bundle-remove lib
	assert_failure 2
	run -0 sw bundle-remove --recursive app
	assert_not_exist "$ROOT/usr/lib/libx"
}
