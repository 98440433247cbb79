#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# What is the user's stays byte for byte what it was, with all attributes and times, whatever swupd does; so does what a process sees that has /usr
# mounted its own way.

load lib

setup()
{
	[ "$(id -u)" = 0 ] || skip "needs root"
	vectors m
}

teardown()
{
	[ -z "${BACKGROUND:-}" ] || { touch "$BATS_TEST_TMPDIR/stop" && wait "$BACKGROUND"; }
	[ -z "${LOOP:-}" ] || umount "$LOOP"
	[ -z "${TOPLEVEL:-}" ] || umount -R "$ROOT" "$TOPLEVEL"
}

# everything that a file system can hold, below each folder that is the user's
user_files()
{
	local top dir
	for top in etc var/lib/app var/log home/u root srv usr/local; do
		dir=$ROOT/$top/d
		mkdir -p "$dir/sub"
		echo "mine in $top" >"$dir/file"
		: >"$dir/empty"
		truncate -s 1M "$dir/sparse"
		ln "$dir/file" "$dir/sub/same"
		ln -s /nowhere "$dir/link"
		mkfifo -m 600 "$dir/fifo"
		mknod -m 640 "$dir/node" c 1 3
		cp /bin/true "$dir/setuid"
		chown 12:34 "$dir/setuid"
		chmod 6751 "$dir/setuid"
		setcap cap_net_raw+ep "$dir/file"
		setfattr -n user.note -v "of mine" "$dir/file" "$dir"
		setfacl -m u:77:rx,d:u:78:r "$dir/sub"
		printf 'x' >"$dir"/$'name with\nmore\tand \xff'
		chmod 1773 "$dir/sub"
		touch -h -d '2001-02-03 04:05:06.789012345' "$dir/link" "$dir/file" "$dir/sub"
		touch -d '2099-01-01' "$dir/empty"
		chattr +d "$dir/file" 2>/dev/null || true
	done
	# names of ours, and of the release's bundles, that are none here
	echo mine | tee "$ROOT/etc/os-release.old" "$ROOT/home/u/.swupd" "$ROOT/srv/.update.x" "$ROOT/var/log/.new.1.2" >/dev/null
	mkdir "$ROOT/srv/.usr-next" "$ROOT/home/u/.usr-old"
}

# users: all that is theirs, and when it was changed; a second name in the next /usr is such a change of a file, so for usr/local without
users()
{
	(
		cd "$ROOT" || exit
		find etc var home root srv \( -path var/lib/swupd -o -path var/cache/swupd \) -prune -o \
			-printf '%p\0%i %y %#m %U:%G %n %s %b %T+ %C@ %l\0'
		find usr/local -printf '%p\0%y %#m %U:%G %s %T+ %l\0'
		find etc var home root srv usr/local -path var/lib/swupd -prune -o -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum -bz
		find etc var home root srv usr/local -path var/lib/swupd -prune -o ! -type l -print0 | LC_ALL=C sort -z |
			xargs -0 getfattr -h -d -m - -e hex --absolute-names 2>/dev/null | tr '\n' '\0'
		find etc var home root srv usr/local -path var/lib/swupd -prune -o -type f -print0 | LC_ALL=C sort -z |
			xargs -0 lsattr -d 2>/dev/null | tr '\n' '\0'
	) | LC_ALL=C sort -z | tr '\0\n' '\n?'
}

# remember: what they are, which has everything everywhere
remember()
{
	local what
	users >"$BATS_TEST_TMPDIR/was"
	for what in security.capability posix_acl_default user.note 2001-02-03 'c 0640 ' '06751 12:34' 1048576; do
		[ "$(grep -c -e "$what" "$BATS_TEST_TMPDIR/was")" -ge 7 ] || fail "not everywhere: $what"
	done
}

# leaves STATUS COMMAND…: nothing of theirs is changed by it
leaves()
{
	local want=$1
	shift
	run "-$want" "$@"
	users >"$BATS_TEST_TMPDIR/now"
	diff "$BATS_TEST_TMPDIR/was" "$BATS_TEST_TMPDIR/now" >&2 || fail "$* changed what is the user's"
}

@test "whatever is done, /etc, /var, /home, /root, /srv and /usr/local are what they were" {
	for type in ext4 btrfs-subvolume; do
		machine "$type"
		disk "$type"
		install_10
		user_files
		remember
		leaves 0 sw update -I -V 20 --download
		leaves 0 sw update -I -V 20
		[ -d "$ROOT/.usr-old" ]
		leaves 0 sw rollback
		leaves 0 sw rollback
		leaves 0 sw update -I
		leaves 0 sw rollback
		leaves 0 sw clean --all
		# named, since that it was gone back from is remembered
		leaves 0 sw update -I -V 30 --in-place
		[ ! -e "$ROOT/.usr-old" ]
		run -0 sw diagnose -I
		# also what does not come to its end
		sw repair -I --force -V 10
		leaves 137 inject -n 300 swupd update "${SWUPD_GLOBAL[@]}" -I --in-place
		leaves 0 sw clean
		sw repair -I --force -V 10
		leaves 25 inject -n 200 -e ENOSPC -a swupd update "${SWUPD_GLOBAL[@]}" -I
		leaves 0 sw clean
		leaves 0 sw bundle-remove -I editors
		leaves 0 sw bundle-add -I editors
		echo changed >"$ROOT/usr/bin/hello"
		rm "$ROOT/usr/bin/edit"
		echo extra >"$ROOT/usr/share/extra"
		leaves 0 sw repair -I --picky
		[ ! -e "$ROOT/usr/share/extra" ]
		umount "$LOOP"
		LOOP=
	done
}

@test "so they are when a release is prepared for the next boot, boots, is accepted or not, and on the way back" {
	roots
	install_10
	user_files
	remember
	leaves 0 sw update -I --next-boot -V 20
	boot
	leaves 0 sw accept
	leaves 0 sw rollback
	boot
	leaves 0 sw recover
	# never accepted
	leaves 0 sw update -I --next-boot -V 30 --tries=1
	boot
	leaves 0 sw recover
	boot
	leaves 0 sw recover
	assert_output --partial 'release 30 did not start here, and release 10 is back'
	# also what does not come to its end
	leaves 137 inject -n 200 swupd update "${SWUPD_GLOBAL[@]}" -I --next-boot -V 20
	leaves 0 sw clean
	leaves 25 inject -n 300 -e ENOSPC -a swupd update "${SWUPD_GLOBAL[@]}" -I --next-boot -V 20
	leaves 0 sw clean
	leaves 0 sw update -I --next-boot -V 20
	# dropped by a change that is made now
	leaves 0 sw bundle-remove -I editors
	leaves 0 sw update -I -V 20
}

# protected MOUNT…: a process of its own mount namespace in which these are done; it writes what it sees of /usr to "seen" each time that "look" is
# made, until "stop" is: by its name, from within, through a file that it holds open, and whether it could write there
protected()
{
	rm -f "$BATS_TEST_TMPDIR"/{ready,look,seen,stop}
	unshare -m --propagation private bash -c '
		root=$1 dir=$2
		shift 2
		for command; do eval "$command" || exit; done
		exec 7<"$root/usr/bin/hello"
		cd "$root/usr/lib" || exit
		touch "$dir/ready"
		while [ ! -e "$dir/stop" ]; do
			sleep 0.05
			[ -e "$dir/look" ] || continue
			{
				sed -n "s/^VERSION_ID=/absolute /p" "$root/usr/lib/os-release"
				sed -n "s/^VERSION_ID=/relative /p" os-release
				echo "open $(sha256sum /proc/self/fd/7 | cut -c 1-64)"
				touch ../share/mine && echo written
			} >"$dir/seen.new" 2>&1
			mv "$dir/seen.new" "$dir/seen"
			rm "$dir/look"
		done
	' bash "$ROOT" "$BATS_TEST_TMPDIR" "$@" 3>&- &
	BACKGROUND=$!
	for _ in {1..200}; do
		[ ! -e "$BATS_TEST_TMPDIR/ready" ] || return 0
		sleep 0.05
	done
	return 1
}

# sees LINE…: the process does
sees()
{
	touch "$BATS_TEST_TMPDIR/look"
	while [ -e "$BATS_TEST_TMPDIR/look" ]; do
		kill -0 "$BACKGROUND" || fail "it is gone"
		sleep 0.05
	done
	for line; do
		grep -qxF "$line" "$BATS_TEST_TMPDIR/seen" || fail "not '$line': $(cat "$BATS_TEST_TMPDIR/seen")"
	done
	! grep -qx "written" "$BATS_TEST_TMPDIR/seen"
}

@test "a service with parts of /usr mounted read-only keeps its release while /usr is exchanged" {
	for type in ext4 btrfs-subvolume; do
		machine "$type"
		disk "$type"
		install_10
		hello="open $(sha256sum "$ROOT/usr/bin/hello" | cut -c 1-64)"
		# as ProtectSystem= and InaccessiblePaths= do (systemd.exec(5))
		# shellcheck disable=SC2016 # for its shell
		protected 'mount --bind "$root/usr" "$root/usr"' 'mount -o remount,bind,ro "$root/usr"' \
			'mount -t tmpfs -o mode=000,ro none "$root/usr/share/private-dir"'
		sees "absolute 10" "relative 10" "$hello"
		run -0 sw info
		assert_line --partial "updates: by exchange of /usr"
		sw update -I -V 20
		grep -q VERSION_ID=20 "$ROOT/usr/lib/os-release"
		# by its name it is the new one, on which that mount does not lie (swupd(8), update)
		sees "absolute 20" "relative 10" "$hello"
		sw rollback
		sees "absolute 10" "relative 10" "$hello"
		# the tree that it uses goes: what it has open stays
		sw update -I
		run -0 sw clean --all
		[ ! -e "$ROOT/.usr-old" ]
		grep -q VERSION_ID=30 "$ROOT/usr/lib/os-release"
		sees "$hello"
		run -0 sw diagnose -I
		touch "$BATS_TEST_TMPDIR/stop"
		wait "$BACKGROUND"
		BACKGROUND=
		umount "$LOOP"
		LOOP=
	done
}
