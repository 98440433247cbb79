#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# Runs in place that are killed, or refused by the kernel, at every call that changes something: what remains is the old tree or the new one.

load lib

# everything that makes a difference on disk, by the kernel's names
CHANGING="mkdirat symlinkat linkat renameat renameat2 unlinkat fchmod fchmodat fchown fchownat utimensat ftruncate pwrite64 write fsync
	syncfs"

setup_file()
{
	[ "$(id -u)" = 0 ] || return 0
	# hundreds of trees are copied and synced
	export WORLD
	WORLD=$(mktemp -d -p "$([ "$(stat -f -c %T /dev/shm)" = tmpfs ] && echo /dev/shm || echo "$BATS_FILE_TMPDIR")" limpid.XXXXXX)
	chmod 755 "$WORLD"
}

teardown_file()
{
	[ -z "${WORLD:-}" ] || rm -rf "$WORLD"
}

setup()
{
	[ "$(id -u)" = 0 ] || skip "needs root"
	strace -qq -o /dev/null true 2>/dev/null || skip "needs ptrace"
	BATS_TEST_TMPDIR=$WORLD/$BATS_TEST_NUMBER
	mkdir -p "$BATS_TEST_TMPDIR"
	vectors m
	M=$BATS_TEST_TMPDIR/m
}

# what a user has, also in a directory that release 20 removes and where release 20 has a directory for a file
user_files()
{
	mkdir -p "$ROOT"/etc/app "$ROOT"/var/lib/app "$ROOT"/home/u "$ROOT"/usr/local/bin "$ROOT"/usr/share/extras/dir-deleted-in-30
	echo mine | tee "$ROOT"/etc/app/conf "$ROOT"/var/lib/app/db "$ROOT"/home/u/.profile "$ROOT"/usr/local/bin/tool >/dev/null
	ln -s /nowhere "$ROOT"/etc/link
}

# save NAME: the machine as it is, and what its tree and tracked bundles are; load_saved NAME: as it was
save()
{
	rm -rf "${BATS_TEST_TMPDIR:?}/$1"
	cp -a "$M" "$BATS_TEST_TMPDIR/$1"
	state >"$BATS_TEST_TMPDIR/$1.state"
}

load_saved()
{
	rm -rf "$M"
	cp -a "$BATS_TEST_TMPDIR/$1" "$M"
}

state()
{
	tree_list "$ROOT" | sed -E 's/\.deleted\.[0-9]+\./.deleted.T./'
	find "$ROOT/var/lib/swupd/bundles" -printf 'tracked %f\n' 2>/dev/null | sort
}

# is NAME…: the machine is as one of these was, and that one's name is in $IS
is()
{
	state >"$BATS_TEST_TMPDIR/state"
	for IS in "$@"; do
		! cmp -s "$BATS_TEST_TMPDIR/$IS.state" "$BATS_TEST_TMPDIR/state" || return 0
	done
	echo "neither of $*:"
	diff "$BATS_TEST_TMPDIR/$1.state" "$BATS_TEST_TMPDIR/state"
}

# no_litter: nothing of ours that nobody asked for is left
no_litter()
{
	! find "$ROOT" "$M/cache" \( -name '.update.*' -o -name '.swupd*' -o -name '.new.*' -o -name '*.part' -o -name '*.old' \) | grep .
}

# broken INJECTION COMMAND [ARG…]: swupd with something done to a call of it
broken()
{
	local injection=$1 command=$2
	shift 2
	# the braces keep bash's word of the killed child away
	{
		strace -f -qq -o /dev/null -e "trace=${injection%%:*}" -e "inject=$injection" \
			swupd "$command" "${SWUPD_GLOBAL[@]}" "$@" >"$BATS_TEST_TMPDIR/out" 2>&1
	} 2>/dev/null
}

# kill_loop OLD COMMAND [ARG…]: the command, beginning from OLD, killed at its 1st, 2nd… call of each kind until it gets through (beyond
# $EACH every 7th); each time the function "survived" looks at what remains
kill_loop()
{
	local old=$1 call n status kills=0
	shift
	for call in $CHANGING; do
		for ((n = 1; ; n += n < ${EACH:-40} ? 1 : 7)); do
			load_saved "$old"
			status=0
			broken "$call:signal=KILL:when=$n" "$@" || status=$?
			[ "$status" = 137 ] || break
			kills=$((kills + 1))
			survived "$@" || { echo "killed at $call number $n"; return 1; }
		done
		[ "$status" = 0 ] || { cat "$BATS_TEST_TMPDIR/out"; echo "status $status, not killed at $call number $n"; return 1; }
	done
	echo "# killed $kills times" >&3
	[ "$kills" -ge "$LEAST" ] || { echo "killed only $kills times"; return 1; }
}

# completed OLD NEW COMMAND [ARG…]: what remains is OLD or NEW, with a journal at the latest when another run has looked after it; then
# the command works
completed()
{
	local old=$1 new=$2 journal=
	shift 2
	[ ! -e "$ROOT/usr/.swupd/journal" ] || journal=yes
	[ -n "$journal" ] || is "$old" "$new" || return
	sw clean >"$BATS_TEST_TMPDIR/out" 2>&1 || { cat "$BATS_TEST_TMPDIR/out"; return 1; }
	[ -z "$journal" ] || is "$old" "$new" || return
	no_litter || return
	[ "$IS" != "$new" ] || return 0
	sw "$@" >"$BATS_TEST_TMPDIR/out" 2>&1 || { cat "$BATS_TEST_TMPDIR/out"; return 1; }
	is "$new" && no_litter
}

# The installed release 10 as "old", updated to 30 as "new", with all that this takes at hand as "fetched"
releases()
{
	install_10
	user_files
	save old
	sw update -I --in-place
	sw diagnose -I
	save new
	load_saved old
	sw update -I --in-place --download
	is old
	save fetched
}

@test "an update killed while it fetches changes nothing" {
	releases
	survived()
	{
		is old || return
		# the next one takes what is whole of it
		sw update -I --in-place >/dev/null 2>&1 && is new && no_litter
	}
	EACH=15 LEAST=50 kill_loop old update -I --in-place --download
}

@test "an update killed while it installs leaves the old release or the new one" {
	releases
	survived()
	{
		# os-release comes last: with a journal, and before it is completed, a system that says it is the new release has all of it
		if [ -e "$ROOT/usr/.swupd/journal" ] && grep -q 'VERSION_ID=30' "$ROOT/usr/lib/os-release"; then
			is new || return
		fi
		completed old new "$@"
	}
	LEAST=100 kill_loop fetched update -I --in-place
}

@test "a run that completes a killed one may be killed, too" {
	releases
	load_saved fetched
	run -137 broken renameat:signal=KILL:when=12 update -I --in-place
	run ! is old new
	save half
	survived() { completed new new "$@"; }
	LEAST=60 kill_loop half clean
}

@test "an installation that is killed can be made again or completed" {
	mkdir -p "$ROOT"
	save old
	install_10
	save new
	survived()
	{
		sw clean >/dev/null 2>&1 || return
		# what was begun was completed, or nothing is there
		if [ -e "$ROOT/usr/lib/os-release" ]; then
			is new
		else
			! find "$ROOT/usr" -mindepth 1 -not -path '*/.swupd*' | grep . && sw "$@" >/dev/null 2>&1 && is new
		fi && no_litter
	}
	# what it does after the fetching is what an update does
	EACH=8 LEAST=100 kill_loop old os-install -I -V 10 -B os-core-update,editors,libs
}

@test "a removal of bundles that is killed is made or not" {
	releases
	load_saved old
	sw bundle-remove -I editors extras
	save new
	survived() { completed old new "$@"; }
	LEAST=60 kill_loop old bundle-remove -I editors extras
}

@test "a repair that is killed is made or not" {
	releases
	rm "$ROOT/usr/bin/edit" "$ROOT/usr/lib/libsmall.so"
	mkdir "$ROOT/usr/lib/libsmall.so"
	echo changed >"$ROOT/usr/bin/hello"
	rm -r "$ROOT/usr/share/private-dir"
	ln -s /etc "$ROOT/usr/share/private-dir"
	chmod 777 "$ROOT/usr/share/owned-dir"
	echo extra >"$ROOT/usr/share/extra"
	save old
	sw repair -I --picky
	run -0 sw diagnose -I --picky
	save new
	survived() { completed old new "$@"; }
	LEAST=80 kill_loop old repair -I --picky
}

@test "where a directory becomes a file, what a user had in it is kept, whenever the run is killed" {
	forge
	machine m
	sw os-install -I -V 30 -B extras
	echo mine >"$ROOT/usr/share/tc/file-to-dir/mine"
	save old
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
	save new
	survived() { completed old new "$@"; }
	LEAST=60 kill_loop old update -I --in-place
	# the same on a file system that cannot exchange two names
	for ((n = 1; ; n++)); do
		load_saved old
		status=0
		{
			strace -f -qq -o /dev/null -e trace=renameat,renameat2 -e inject=renameat2:error=EINVAL \
				-e inject=renameat:signal=KILL:when="$n" swupd update "${SWUPD_GLOBAL[@]}" -I --in-place >/dev/null 2>&1
		} 2>/dev/null || status=$?
		[ "$status" = 137 ] || break
		completed old new update -I --in-place || fail "killed at renameat number $n"
	done
	[ "$status" = 0 ]
	is new
	[ "$n" -gt 8 ]
}

# refused ERROR STATUS EVERY: an update to which the kernel says ERROR at every EVERYth call of each kind, once and from then on, ends with STATUS
# (or does without that call), and whole with the next run
refused()
{
	local error=$1 want=$2 every=$3 call n more status refusals=0 first=1 step through
	for call in $CHANGING; do
		step=$every
		# few, and what all else hangs on
		[[ $call != @(fsync|syncfs|renameat2) ]] || step=1
		for more in "" +; do
			# the first, then each EVERYth, beginning elsewhere with each kind of call
			through=0
			for ((n = 1; n < 90 && through < 3; n += n < 2 && step > 1 ? first : step)); do
				load_saved old
				status=0
				strace -f -qq -o /dev/null --seccomp-bpf -e "trace=$call" -e "inject=$call:error=$error:when=$n$more" \
					swupd update "${SWUPD_GLOBAL[@]}" -I --in-place >"$BATS_TEST_TMPDIR/out" 2>&1 || status=$?
				if [ "$status" = 0 ]; then
					is new || { echo "$error at $call $n$more: status 0, but not the new release"; return 1; }
					through=$((through + 1))
					continue
				fi
				through=0
				cp "$BATS_TEST_TMPDIR/out" "$BATS_TEST_TMPDIR/said"
				refusals=$((refusals + 1))
				[ "$status" = "$want" ] && completed old new update -I --in-place && continue
				echo "$error at $call number $n$more: status $status"
				cat "$BATS_TEST_TMPDIR/said"
				return 1
			done
			first=$((first % every + 1))
		done
	done
	echo "# refused $refusals times" >&3
	[ "$refusals" -gt 30 ]
}

@test "a full disk is told as such at every step, and nothing is lost" {
	releases
	refused ENOSPC 25 9
}

@test "a disk with errors is told as such at every step, and nothing is lost" {
	releases
	refused EIO 32 11
}

@test "a file system that becomes read-only is told as such at every step, and nothing is lost" {
	releases
	refused EROFS 7 13
}

@test "all is durable before the journal, and the journal before the first change" {
	releases
	load_saved fetched
	mkdir "$BATS_TEST_TMPDIR/var"
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
