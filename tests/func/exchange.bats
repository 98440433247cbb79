#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# Updates by exchange of /usr: on real file systems, seen by readers, refused, and back again. inject.bats kills them everywhere.

load lib

setup()
{
	[ "$(id -u)" = 0 ] || skip "needs root"
	# two releases more than install_10 begins with: 20 and 30
	vectors m
}

teardown()
{
	[ -z "${LOOP:-}" ] || {
		chattr -R -ia "$LOOP" 2>/dev/null || true
		umount -R "$LOOP"
	}
}

# what a user has, also in a directory that release 20 removes and where release 20 has a directory for a file
user_files()
{
	mkdir -p "$ROOT"/etc/app "$ROOT"/home/u "$ROOT"/usr/local/bin "$ROOT"/usr/share/extras/dir-deleted-in-30
	echo mine | tee "$ROOT"/etc/app/conf "$ROOT"/home/u/.profile "$ROOT"/usr/local/bin/tool >/dev/null
	ln -s /nowhere "$ROOT"/usr/local/link
	mkfifo -m 600 "$ROOT"/usr/local/fifo
	setfattr -n user.note -v "of mine" "$ROOT"/usr/local/bin
	chown 12:34 "$ROOT"/usr/local/bin
	chmod 2751 "$ROOT"/usr/local/bin
}

# clean_root: nothing of ours but the old tree
clean_root()
{
	! find "$ROOT" -path "$ROOT/.usr-old" -prune -o \( -name '.swupd*' -o -name '.usr-next' -o -name '.usr-gone' -o -name '.new.*' \) \
		-print | grep .
}

# listed LINE-END…: the last lines of the history
listed()
{
	run -0 sw history
	local n=$((${#lines[@]} - $#))
	for want; do
		[[ ${lines[n]} = *"$want" ]] || fail "'${lines[n]}' is not '$want'"
		n=$((n + 1))
	done
}

# reader COMMAND…: a process opens /usr and in it two files that differ between releases, again and again, while the command runs. What it saw is
# in $SEEN: a line for each pair of digests.
reader()
{
	cat >"$BATS_TEST_TMPDIR/reader.py" <<-'END'
		import hashlib, os, sys
		root, stop, names, seen = sys.argv[1], sys.argv[2], sys.argv[3:], {}
		while not os.path.exists(stop):
		    usr = os.open(root + "/usr", os.O_PATH)
		    pair = []
		    for name in names:
		        with open(os.open(name, os.O_RDONLY, dir_fd=usr), "rb") as file:
		            pair.append(hashlib.sha256(file.read()).hexdigest())
		    os.close(usr)
		    seen[tuple(pair)] = seen.get(tuple(pair), 0) + 1
		for pair, times in seen.items():
		    print(*pair, times)
	END
	rm -f "$BATS_TEST_TMPDIR/stop"
	python3 "$BATS_TEST_TMPDIR/reader.py" "$ROOT" "$BATS_TEST_TMPDIR/stop" "${PAIR[@]}" >"$BATS_TEST_TMPDIR/seen" 3>&- &
	local pid=$! status=0
	"$@" || status=$?
	touch "$BATS_TEST_TMPDIR/stop"
	wait "$pid" || { echo "the reader missed a file"; return 1; }
	SEEN=$(cat "$BATS_TEST_TMPDIR/seen")
	return "$status"
}

# first and last of what a commit in place places
PAIR=(bin/hello lib/os-release)

pair()
{
	(cd "$ROOT/usr" && sha256sum "${PAIR[@]}" | cut -d ' ' -f 1 | tr '\n' ' ')
}

@test "a reader never sees a mixture in hundreds of exchanges" {
	for type in ext4 btrfs-subvolume; do
		machine "$type"
		disk "$type"
		install_10
		pair >"$BATS_TEST_TMPDIR/old"
		back_and_forth()
		{
			for _ in {1..25}; do
				sw update -I -V 20 --keepcache && sw rollback && sw rollback && sw rollback || return
			done
		}
		sw update -I -V 20
		pair >"$BATS_TEST_TMPDIR/new"
		for ((i = 1; i <= ${#PAIR[@]}; i++)); do
			[ "$(cut -d ' ' -f "$i" "$BATS_TEST_TMPDIR/old")" != "$(cut -d ' ' -f "$i" "$BATS_TEST_TMPDIR/new")" ]
		done
		sw rollback
		reader back_and_forth >"$BATS_TEST_TMPDIR/log" 2>&1 || fail "$(tail -n 3 "$BATS_TEST_TMPDIR/log")"
		echo "# $type: $(cut -d ' ' -f 3 <<<"$SEEN" | tr '\n' ' ')looks at the releases" >&3
		diff <(sort "$BATS_TEST_TMPDIR"/{old,new}) <(cut -d ' ' -f 1,2 <<<"$SEEN" | sed 's/$/ /' | sort)
		run -0 sw diagnose -I
		umount "$LOOP"
		LOOP=
	done
}

@test "an exchange is what a commit in place is, and what users have is kept, on each file system" {
	install_10
	user_files
	sw update -I --in-place
	sw diagnose -I
	tree_list "$ROOT" >"$BATS_TEST_TMPDIR/want"
	for type in ext4 btrfs btrfs-subvolume; do
		machine "$type"
		disk "$type"
		install_10
		user_files
		tree_list "$ROOT" >"$BATS_TEST_TMPDIR/old"
		run -0 sw info
		assert_line "updates: by exchange of /usr, prepared as $([ "$type" = btrfs-subvolume ] && echo a snapshot || echo links)"
		sw update -I
		listed "(exchange)  done"
		tree_list "$ROOT" | diff "$BATS_TEST_TMPDIR/want" - || fail "$type"
		clean_root
		run -0 sw info
		assert_line "rollback: to release 10"
		# back and forward again
		sw rollback 10
		tree_list "$ROOT" | diff "$BATS_TEST_TMPDIR/old" - || fail "$type, back"
		listed "update  10 -> 30  (exchange)  done" "rollback  30 -> 10  (exchange)  done"
		clean_root
		sw rollback
		tree_list "$ROOT" | diff "$BATS_TEST_TMPDIR/want" - || fail "$type, forward"
		run -0 sw diagnose -I --picky
		# the old tree goes when it is asked to
		run -20 sw rollback 20
		assert_output --partial "release 10, not 20"
		sw clean --all
		[ ! -e "$ROOT/.usr-old" ]
		run -20 sw rollback
		assert_output --partial "there is no older release to go back to"
		umount "$LOOP"
		LOOP=
	done
}

@test "nothing is written through a link: the old tree is byte for byte what it was" {
	disk ext4
	install_10
	user_files
	# also what a repair and bundles change later
	all() { (cd "$1" && find . -path ./.swupd -prune -o -type f -printf '%p %i %m %U %G %s %T@\n' -exec sha256sum {} + | sort); }
	all "$ROOT/usr" >"$BATS_TEST_TMPDIR/was"
	sw update -I
	all "$ROOT/.usr-old" | diff "$BATS_TEST_TMPDIR/was" -
	[ "$(stat -c %i "$ROOT/usr/local/bin/tool")" = "$(stat -c %i "$ROOT/.usr-old/local/bin/tool")" ]
	rm "$ROOT/usr/bin/hello"
	sw repair -I
	sw bundle-remove -I editors
	sw bundle-add -I editors
	all "$ROOT/.usr-old" | diff "$BATS_TEST_TMPDIR/was" -
}

@test "who holds the old tree keeps it" {
	disk ext4
	install_10
	exec 5<"$ROOT/usr/bin/hello"
	cd "$ROOT/usr/lib"
	was=$(sha256sum "$ROOT/usr/bin/hello" | cut -d ' ' -f 1)
	sw update -I
	grep -q 'VERSION_ID=10' os-release
	grep -q 'VERSION_ID=30' "$ROOT/usr/lib/os-release"
	[ "$(sha256sum <&5 | cut -d ' ' -f 1)" = "$was" ]
	exec 5<&-
	cd /
}

@test "where /usr cannot be exchanged the update is made in place, and info says why" {
	disk ext4
	install_10
	# in_place WHY: update from 10 to 20, and again the 10 of before
	in_place()
	{
		run -0 sw info
		assert_line "updates: in place: $1"
		run -0 sw update -I -V 20 --verbose
		assert_line --partial "in place: $1"
		listed "10 -> 20  (in place)  done"
		[ ! -e "$ROOT/.usr-old" ]
		run -0 sw diagnose -I
		sw repair -I --force -V 10
	}
	mkdir -p "$ROOT/usr/local/disk"
	mount -t tmpfs none "$ROOT/usr/local/disk"
	in_place "/usr/local/disk is a mount point"
	umount "$ROOT/usr/local/disk"
	chattr +i "$ROOT/usr/local/disk"
	in_place "/usr/local/disk is immutable"
	chattr -i "$ROOT/usr/local/disk"
	# an immutable file is found only when it is to get a second name
	touch "$ROOT/usr/local/file"
	chattr +i "$ROOT/usr/local/file"
	run -0 sw update -I -V 20 --verbose
	assert_line --partial "in place: /usr/local/file cannot have a second link"
	chattr -i "$ROOT/usr/local/file"
	clean_root
	sw repair -I --force -V 10
	# what the user says goes
	sw update -I -V 20 --in-place
	listed "10 -> 20  (in place)  done"
	umount "$LOOP"
	disk btrfs-subvolume
	install_10
	btrfs -q subvolume create "$ROOT/usr/local"
	in_place "there are subvolumes below /usr"
}

# refuses STATUS WORDS: neither way of committing begins what it could not complete; without the obstacle (removed by the command in $AWAY) both work
refuses()
{
	local way
	tree_list "$ROOT" >"$BATS_TEST_TMPDIR/old"
	for way in "" --in-place; do
		# shellcheck disable=SC2086 # a word or none
		run "-$1" sw update -I -V 30 $way
		assert_line --partial "$2"
		[ ! -e "$ROOT/usr/.swupd/journal" ]
		tree_list "$ROOT" | diff "$BATS_TEST_TMPDIR/old" -
	done
	$AWAY
	sw update -I -V 30
	run -0 sw diagnose -I
	sw rollback
	tree_list "$ROOT" | diff "$BATS_TEST_TMPDIR/old" -
	sw clean --all
	clean_root
}

@test "what a commit could not complete is refused before it begins" {
	for type in ext4 btrfs-subvolume; do
		machine "$type"
		disk "$type"
		install_10
		# files that change and that go, folders of such, a folder that changes
		for path in usr/bin/hello usr/share/extras/deleted-in-20 usr/bin usr/share/extras usr/share/private-dir; do
			chattr +i "$ROOT/$path"
			AWAY="chattr -i $ROOT/$path" refuses 32 "'/$path' is immutable"
		done
		chattr +a "$ROOT/usr/bin"
		AWAY="chattr -a $ROOT/usr/bin" refuses 32 "'/usr/bin' is immutable"
		for path in usr/bin usr/share/extras; do
			mount --bind "$ROOT/$path" "$ROOT/$path"
			mount -o remount,bind,ro "$ROOT/$path"
			AWAY="umount $ROOT/$path" refuses 7 "it is mounted read-only"
		done
		umount "$LOOP"
		LOOP=
	done
}

@test "a part of /usr that is mounted from elsewhere on the same file system is updated in its place" {
	disk ext4
	install_10
	mkdir "$ROOT/elsewhere"
	cp -a "$ROOT/usr/bin" "$ROOT/elsewhere"
	mount --bind "$ROOT/elsewhere/bin" "$ROOT/usr/bin"
	sw update -I
	listed "(in place)  done"
	run -0 sw diagnose -I --picky
	umount "$ROOT/usr/bin"
	clean_root
}

@test "an immutable root is updated in place" {
	disk ext4
	install_10
	chattr +i "$ROOT"
	run -0 sw info
	assert_line "updates: in place: / is immutable"
	run sw update -I
	chattr -i "$ROOT"
	assert_success
	listed "(in place)  done"
	run -0 sw diagnose -I
}

@test "an update in place forgets the older tree" {
	disk ext4
	install_10
	sw update -I -V 20
	[ -d "$ROOT/.usr-old" ]
	sw update -I --in-place
	[ ! -e "$ROOT/.usr-old" ]
	clean_root
}

@test "a disk too full for a second tree is told, and the update is made in place" {
	disk ext4 24
	install_10
	# directories, which need room only in a second tree
	mkdir "$ROOT/usr/local" "$ROOT"/usr/local/{1..999}
	dd if=/dev/zero of="$ROOT/filler" bs=64k 2>/dev/null || true
	truncate -s -2M "$ROOT/filler"
	run -0 sw info
	assert_line --partial "updates: in place: a second tree takes "
	sw update -I
	listed "(in place)  done"
	run -0 sw diagnose -I
	clean_root
	[ ! -e "$ROOT/.usr-old" ]
}

@test "what a release changes outside of /usr goes with it, and comes back" {
	forge
	machine forged
	disk btrfs-subvolume
	sw os-install -I -V 10 -B os-core-update
	new_release 40 10 os-core
	echo file >"$BATS_TEST_TMPDIR/file"
	mkdir -m 755 "$BATS_TEST_TMPDIR/dir"
	publish 40 os-core /boot "$BATS_TEST_TMPDIR/dir"
	publish 40 os-core /boot/kernel "$BATS_TEST_TMPDIR/file"
	ln -s usr/lib "$BATS_TEST_TMPDIR/link"
	publish 40 os-core /lib "$BATS_TEST_TMPDIR/link"
	resign 40 os-core
	tree_list "$ROOT" >"$BATS_TEST_TMPDIR/old"
	sw update -I -V 40
	tree_list "$ROOT" >"$BATS_TEST_TMPDIR/new"
	run -0 cat "$ROOT/boot/kernel"
	sw rollback
	tree_list "$ROOT" | diff "$BATS_TEST_TMPDIR/old" -
	sw rollback
	tree_list "$ROOT" | diff "$BATS_TEST_TMPDIR/new" -
}

@test "the history is bounded, and a damaged one is begun anew" {
	install_10
	for ((i = 0; i < 250; i++)); do
		printf '%d\tupdate\texchange\t%d\t%d\tdone\n' "$i" "$i" $((i + 1))
	done >"$ROOT/var/lib/swupd/history"
	sw update -I -V 20
	run -0 sw history
	[ ${#lines[@]} = 200 ]
	[[ ${lines[199]} = *"update  10 -> 20  "* ]]
	head -c 2000000 /dev/zero >"$ROOT/var/lib/swupd/history"
	sw rollback
	listed "rollback  20 -> 10  (exchange)  done"
	[ "$(wc -l <"$ROOT/var/lib/swupd/history")" = 1 ]
	# what did not work is told, too
	cp -r "$VECTORS/www" "$BATS_TEST_TMPDIR/www"
	rm -r "$BATS_TEST_TMPDIR"/www/30/{files,delta} "$BATS_TEST_TMPDIR"/www/30/pack-*
	URL=file://$BATS_TEST_TMPDIR/www
	SWUPD_GLOBAL=(-p "$ROOT" -K "$BATS_TEST_TMPDIR/m/cache" -u "$URL" -F 30 -C "$CERT" -N --no-progress -r 0)
	run sw update -I
	[ "$status" != 0 ]
	run -0 sw history
	[[ ${lines[1]} = *"update  10 -> 30  (fetch)  "* ]]
}
