#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# Content made by the predecessor's mixer, installed and updated by our client: every path ends as with theirs.

load lib

setup()
{
	[ "$(id -u)" = 0 ] || skip "needs root"
	vectors m
}

@test "an installation of the predecessor's release 10 is theirs, path by path" {
	run install_10
	assert_success
	as_installed install-10.tsv
	run -0 sw bundle-list --quiet
	assert_line editors
	assert_line extras
	run -0 sw diagnose -I
}

@test "updates 10 to 20 to 30 by packs and deltas" {
	install_10
	run -0 sw update -I -V 20
	as_installed update-10-to-20.tsv
	run -0 sw diagnose -I
	run -0 sw update -I
	as_installed update-10-to-20-to-30.tsv
	run -0 sw diagnose -I
}

@test "update 10 to 30 at once, then a bundle added and bundles removed" {
	install_10
	run -0 sw update -I
	as_installed update-10-to-30.tsv
	run -0 sw bundle-add -I newbundle
	as_installed update-10-to-30-then-add-newbundle.tsv
	run -0 sw bundle-remove -I newbundle editors
	as_installed then-remove-newbundle-editors.tsv
}

@test "updates need no packs: whole files do" {
	cp -r "$VECTORS/www" "$BATS_TEST_TMPDIR/www"
	find "$BATS_TEST_TMPDIR/www" -name 'pack-*' -delete
	find "$BATS_TEST_TMPDIR/www" -name 'Manifest-*-delta-*' -delete
	URL=file://$BATS_TEST_TMPDIR/www
	machine m
	install_10
	run -0 sw update -I
	as_installed update-10-to-30.tsv
}

@test "a format bump of the predecessor is followed to the new format" {
	URL=file://$VECTORS/www-format-bump
	machine bump
	sw os-install -I -V 10 -B os-core-update
	# the format must come from the root, not from an option
	SWUPD_GLOBAL=(-p "$ROOT" -K "$BATS_TEST_TMPDIR/bump/cache" -u "$URL" -C "$CERT" -N --no-progress)
	run -0 sw update -I
	run -0 cat "$ROOT/usr/share/defaults/swupd/format"
	assert_output 31
	run sw update -I
	assert_success
	assert_output --partial "already the newest"
}

@test "a tampered fullfile, pack or manifest is never installed" {
	cp -r "$VECTORS/www" "$BATS_TEST_TMPDIR/www"
	URL=file://$BATS_TEST_TMPDIR/www
	machine m
	find "$BATS_TEST_TMPDIR/www" -name 'pack-*' -delete
	# every file's tar is another's
	first=$(find "$BATS_TEST_TMPDIR/www/10/files" -name '*.tar' | sort | head -n 1)
	for tar in "$BATS_TEST_TMPDIR"/www/10/files/*.tar; do
		[ "$tar" = "$first" ] || cp "$first" "$tar"
	done
	run install_10
	assert_failure 1
	assert_output --partial "damaged on the server"
	assert_not_exist "$ROOT/usr/bin"
	machine other
	cp "$BATS_TEST_TMPDIR/www/20/Manifest.os-core.tar" "$BATS_TEST_TMPDIR/www/10/Manifest.os-core.tar"
	run install_10
	assert_failure 14
}
