#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# Commits in place: the order in which things become durable, and what a user has where a directory becomes a file, whenever the run is killed.
# inject.bats kills every command everywhere.

load lib

setup()
{
	[ "$(id -u)" = 0 ] || skip "needs root"
	vectors m
}

@test "where a directory becomes a file, what a user had in it is kept, whenever the run is killed" {
	forge
	machine m
	sw os-install -I -V 30 -B extras
	echo mine >"$ROOT/usr/share/tc/file-to-dir/mine"
	new_release 40 30 extras
	echo file >"$BATS_TEST_TMPDIR/file"
	publish 40 extras /usr/share/tc/file-to-dir "$BATS_TEST_TMPDIR/file"
	unlist 40 extras /usr/share/tc/file-to-dir/inner
	ln -s nowhere "$BATS_TEST_TMPDIR/link"
	publish 40 extras /usr/share/tc/link-to-dir "$BATS_TEST_TMPDIR/link"
	unlist 40 extras /usr/share/tc/link-to-dir/inner
	resign 40 extras
	sw update -I --in-place
	run -0 sw diagnose -I
	run -0 cat "$ROOT"/usr/share/tc/.deleted.*.file-to-dir/mine
	assert_output mine
	for scenario in directory-to-file directory-to-file-no-exchange directory-to-file-btrfs; do
		WEB=$WEB CERT=$CERT run -0 "$TOP/tests/inject.py" "$scenario"
		echo "# $output" >&3
	done
}

# the journal lies somewhere in the middle of its commit
half()
{
	inject -o "$BATS_TEST_TMPDIR/calls" swupd update "${SWUPD_GLOBAL[@]}" -I --in-place
	local number
	number=$(grep -n 'renameat .*/usr/\.swupd/next/' "$BATS_TEST_TMPDIR/calls" | sed -n '9s/:.*//p')
	tree_list "$ROOT" >"$BATS_TEST_TMPDIR/new"
	rm -rf "$M"
	cp -a "$BATS_TEST_TMPDIR/saved" "$M"
	run -137 inject -n "$number" swupd update "${SWUPD_GLOBAL[@]}" -I --in-place
	[ -s "$ROOT/usr/.swupd/journal" ]
}

@test "a damaged journal is not guessed at: each command tells it, changes nothing, and its hint is a way out" {
	install_10
	tree_list "$ROOT" >"$BATS_TEST_TMPDIR/old"
	M=$BATS_TEST_TMPDIR/m
	cp -a "$M" "$BATS_TEST_TMPDIR/saved"
	half
	tree_list "$ROOT" >"$BATS_TEST_TMPDIR/half"
	journal=$ROOT/usr/.swupd/journal
	cp "$journal" "$BATS_TEST_TMPDIR/journal"
	size=$(stat -c %s "$journal")
	damages=(
		': >"$journal"'
		'truncate -s $((size / 2)) "$journal"'
		'truncate -s $((size - 1)) "$journal"'
		'echo more >>"$journal"'
		'sed -i "s/bin/bim/" "$journal"'
		'printf "\0" | dd of="$journal" bs=1 seek=$((size / 3)) conv=notrunc status=none'
		'head -c "$size" /dev/zero >"$journal"'
		'sed -i "1s/1/2/" "$journal"'
		'rm "$journal"; mkdir "$journal"'
		'rm "$journal"; mkfifo "$journal"'
	)
	for damage in "${damages[@]}"; do
		rm -rf "$journal"
		cp "$BATS_TEST_TMPDIR/journal" "$journal"
		eval "$damage"
		for command in update clean "bundle-add extras" repair rollback diagnose; do
			# shellcheck disable=SC2086 # words
			run timeout 20 swupd ${command%% *} "${SWUPD_GLOBAL[@]}" ${command#"${command%% *}"}
			[[ $status = @(32|40) ]] || fail "$damage: $command: status $status: $output"
			assert_output --partial "$journal"
			assert_output --partial "hint: remove it, then run 'swupd repair'"
		done
		tree_list "$ROOT" | diff "$BATS_TEST_TMPDIR/half" - || fail "$damage"
	done
	# as it was it is completed
	rm -rf "$journal"
	cp -a "$M" "$BATS_TEST_TMPDIR/again"
	cp "$BATS_TEST_TMPDIR/journal" "$journal"
	sw clean
	tree_list "$ROOT" | diff "$BATS_TEST_TMPDIR/new" -
	# without it, as the hint says, the machine is what its os-release says, which comes last
	rm -rf "$M"
	cp -a "$BATS_TEST_TMPDIR/again" "$M"
	sw repair -I
	run -0 sw diagnose -I
	tree_list "$ROOT" | diff "$BATS_TEST_TMPDIR/old" - | grep '^<' && fail "not all of release 10 is there again"
	sw update -I --in-place
	run -0 sw diagnose -I
}

@test "all is durable before the journal, and the journal before the first change" {
	strace -qq -o /dev/null true 2>/dev/null || skip "needs ptrace"
	install_10
	sw update -I --in-place --download
	# a part of the tree on another file system
	rm -rf "$BATS_TEST_TMPDIR/editors"
	cp -a "$ROOT/usr/share/editors" "$BATS_TEST_TMPDIR/editors"
	mount -t tmpfs -o mode=755 none "$ROOT/usr/share/editors" || skip "cannot mount"
	cp -a "$BATS_TEST_TMPDIR/editors/." "$ROOT/usr/share/editors"
	strace -f -y -qq -o "$BATS_TEST_TMPDIR/trace" -e trace=renameat,renameat2,linkat,unlinkat,fsync,syncfs,symlinkat \
		swupd update "${SWUPD_GLOBAL[@]}" -I --in-place
	run -0 sw diagnose -I
	umount "$ROOT/usr/share/editors"
	# what each call is to us; what the cache and the fetching do is not
	run -0 awk -v root="$ROOT" '
		/ = -1 / { next }
		/ linkat\(.*\/usr\/.swupd\/staged>/ { print "prepare"; next }
		/ unlinkat\(.*\/usr\/.swupd\/staged>/ { print "clear"; next }
		/\/cache\// || /\/usr\/.swupd\/staged/ { next }
		/syncfs\(.*\/usr\/share\/editors>/ { print "sync editors"; next }
		/syncfs\(.*\/usr>/ { print "sync usr"; next }
		/fsync\(.*\.new\./ { print "fsync new"; next }
		/fsync\(.*\/usr\/.swupd>/ { print "fsync dir"; next }
		/renameat\(.*"journal"/ { print "journal"; next }
		/unlinkat\(.*journal"/ { print "forget"; next }
		/renameat\(.*"os-release"/ { print "os-release"; next }
		/renameat2?\(.*"\.swupd-[0-9]+"/ || /renameat2?\(.*\/usr\/.swupd\/next/ || /unlinkat\(.*root\/usr\/[^.]/ { print "change" }
	' "$BATS_TEST_TMPDIR/trace"
	echo "$output"
	# the order in which they are, each run of the same as one; the last is the history's
	[ "$(uniq <<<"$output" | tr '\n' ' ')" = "prepare sync usr sync editors fsync new journal fsync dir change \
os-release sync usr sync editors fsync new clear forget fsync dir fsync new " ]
}
