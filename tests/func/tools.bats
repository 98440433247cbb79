#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# Tools roots from Debian's packages: what a program sees there, as root, as another user and in a chroot; what is said when it
# does not work. And kernel profiles, as far as nothing is compiled.

load lib

setup_file()
{
	[ "$(id -u)" = 0 ] || return 0
	export MIX=$BATS_FILE_TMPDIR/mix
	mkdir -p "$BATS_FILE_TMPDIR/bundles/tools" "$BATS_FILE_TMPDIR/kernel-config/profiles"
	mixer init "$MIX" --bundles="$BATS_FILE_TMPDIR/bundles" >/dev/null
	printf '%s\n' '# [DESCRIPTION]: a shell' dash bash coreutils mawk >"$BATS_FILE_TMPDIR/bundles/tools/small"
	chmod -R a+rX "$BATS_FILE_TMPDIR"
}

setup()
{
	[ "$(id -u)" = 0 ] || skip "needs root"
}

tools()
{
	mixer -C "$MIX" tools "$@"
}

# what_it_sees: a script that names everything that could differ between machines
what_it_sees='
	id -u; ls /dev; ls -d /proc/[0-9]*; uname -n; env | sort; pwd; awk "NR > 2 { print \$1 }" /proc/net/dev
	touch /usr/x 2>/dev/null && echo writable; touch /tmp/x /var/tmp/x /run/x /mnt/x; ls -A /tmp
	cat /etc/passwd; stat -c %U /usr/bin/dash'

# in the order of its locale
seen="0
fd
full
null
random
shm
stderr
stdin
stdout
urandom
zero
/proc/1
/proc/2
limpid
HOME=/root
LC_ALL=C.UTF-8
PATH=/usr/sbin:/usr/bin:/sbin:/bin
PWD=/
TZ=UTC
/
lo:
x
root:x:0:0:root:/root:/bin/sh
nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin
root"

@test "a program sees its tools and nothing of the machine; tools.lock is made when it is missing" {
	rm -f "$MIX/tools.lock"
	export SECRET=1
	run -0 --separate-stderr tools run small -- sh -c "$what_it_sees"
	assert_output "$seen"
	run -0 grep -c '^package dash ' "$MIX/tools.lock"
	run -0 grep '^bundle small ' "$MIX/tools.lock"
	assert_output --partial " coreutils dash "
	# nothing that was mounted is seen here
	run grep "$BATS_FILE_TMPDIR" /proc/mounts
	assert_output ""
	# nor does it stay
	run -0 tools run small -- ls -A /tmp /mnt
	refute_output --partial x
	run -0 tools list
	assert_output --regexp '^small +a shell$'
}

@test "stdin, stdout and what is bound are the caller's" {
	mkdir -p "$BATS_TEST_TMPDIR/dir"
	run -0 --separate-stderr sh -c "echo hello | mixer -C '$MIX' tools run --bind='$BATS_TEST_TMPDIR/dir:/mnt/a/b' small -- \
		sh -c 'tr a-z A-Z | tee /mnt/a/b/file'"
	assert_output HELLO
	assert_equal "$(cat "$BATS_TEST_TMPDIR/dir/file")" HELLO
}

@test "there is no network" {
	run -1 tools run small -- bash -c 'exec 3<>/dev/tcp/127.0.0.1/80'
	assert_output --partial "Network is unreachable"
}

@test "what went wrong is told" {
	while IFS='|' read -r command message; do
		run -1 --separate-stderr sh -c "mixer -C '$MIX' tools run $command"
		[ -z "$output" ] || fail "$command: $output"
		assert_equal "${stderr_lines[0]}" "mixer: $message"
	done <<-END
		small -- sh -c 'exit 3'|tools 'small': sh ended with status 3
		small -- sh -c 'kill -9 \$\$'|tools 'small': sh was killed by signal 9 (Killed)
		small nothing|tools 'small': there is no program 'nothing'
		large true|there is no definition of tools 'large'
		--bind=/nowhere:/mnt/x small true|tools 'small': '/nowhere': No such file or directory
		--bind=/usr:/nowhere small true|tools 'small': cannot bind '/nowhere', from /usr: No such file or directory
		--bind=/usr:/proc/x small true|tools 'small': nothing can be bound to '/proc/x'
	END
	run -2 tools run --bind=x small true
	assert_line "mixer: --bind: 'x' is no HOST:INSIDE"
}

@test "a changed definition is an error until it is locked; one of local-bundles hides another" {
	mkdir -p "$MIX/local-bundles/tools"
	printf '%s\n' dash bash coreutils mawk sed >"$MIX/local-bundles/tools/small"
	run -1 tools run small true
	assert_line "mixer: definitions of tools changed since tools.lock was made"
	assert_line --partial "hint: 'mixer tools lock --keep'"
	run -0 tools lock --keep
	assert_line --regexp "^added +sed "
	run -0 tools run small -- sed --version
	run -3 tools lock --keep
	rm "$MIX/local-bundles/tools/small"
	run -0 tools lock --keep
	run ! tools run small -- sed --version
}

@test "what a killed run left is not taken for a root" {
	cache=$BATS_TEST_TMPDIR/cache
	copy_tools "$cache" small
	mkdir -p "$cache/tools/.new/usr/bin"
	echo junk >"$cache/tools/.new/usr/bin/true"
	run -0 mixer -C "$MIX" --cache="$cache" tools run small true
	[ ! -e "$cache/tools/.new" ]
	# a package that cannot be unpacked: no root comes to be
	rm -rf "$cache/tools" "$cache/objects"
	mkdir "$cache/objects"
	mount -t tmpfs -o size=1m tmpfs "$cache/objects"
	run mixer -C "$MIX" --cache="$cache" tools run small true
	umount "$cache/objects"
	assert_equal "$status" 1
	assert_output --partial "No space left on device"
	assert_equal "$(ls -A "$cache/tools")" .lock
	run -0 mixer -C "$MIX" --cache="$cache" tools run small true
}

@test "nothing outlives a mixer that is killed" {
	mixer -C "$MIX" tools run small -- sleep 98765 3>&- &
	pid=$!
	for _ in $(seq 100); do
		[ "$(pgrep -c -f '^sleep 98765$')" = 0 ] || break
		sleep 0.1
	done
	[ "$(pgrep -c -f '^sleep 98765$')" = 1 ]
	kill -KILL "$pid"
	for _ in $(seq 100); do
		[ "$(pgrep -c -f '^sleep 98765$')" != 0 ] || break
		sleep 0.1
	done
	[ "$(pgrep -c -f '^sleep 98765$')" = 0 ]
}

@test "another user sees the same" {
	unshare --help | grep -q map-root-user
	setpriv --reuid=65534 --regid=65534 --clear-groups unshare -Ur true || skip "users may not make user namespaces"
	home=$BATS_TEST_TMPDIR/home
	mkdir -p "$home"
	copy_tools "$home/cache" small
	cp -R "$MIX" "$home/mix"
	chown -R 65534:65534 "$home"
	chmod 711 "$BATS_RUN_TMPDIR" "$BATS_FILE_TMPDIR" "$BATS_TEST_TMPDIR" "$BATS_RUN_TMPDIR"/*
	cp "$(command -v mixer)" "$home/mixer"
	run -0 --separate-stderr setpriv --reuid=65534 --regid=65534 --clear-groups "$home/mixer" -C "$home/mix" \
		--cache="$home/cache" tools run small -- sh -c "$what_it_sees"
	assert_output "$seen"
	# the same packages under the same key
	key=$(ls "$home/cache/tools")
	[ -d "/var/cache/limpid/tools/$key" ]
}

@test "it works in a chroot whose root is no mount point" {
	root=$BATS_TEST_TMPDIR/root
	copy_tools "$BATS_TEST_TMPDIR/cache" small
	run -0 --separate-stderr unshare --mount --propagation=shared sh -c '
		set -e
		root=$1 mix=$2 cache=$3 mixer=$4 bundles=$5
		mkdir -p "$root/proc" "$root/mix" "$root/cache" "$root/tmp" "$root$bundles"
		for dir in usr dev etc; do mkdir "$root/$dir"; mount --rbind "/$dir" "$root/$dir"; done
		for dir in bin sbin lib lib64; do ln -s "usr/$dir" "$root/$dir"; done
		mount -t proc proc "$root/proc"
		cp -R "$mix/." "$root/mix/"; cp -R "$bundles/." "$root$bundles/"; cp -R "$cache/." "$root/cache/"; cp "$mixer" "$root/tmp/mixer"
		chroot "$root" /tmp/mixer -C /mix --cache=/cache tools run small -- sh -c "$6"
		chroot "$root" sh -c "cut -d \" \" -f 2 /proc/mounts" | grep -c /proc/usr || true
	' sh "$root" "$MIX" "$BATS_TEST_TMPDIR/cache" "$(command -v mixer)" "$BATS_FILE_TMPDIR/bundles" "$what_it_sees"
	assert_output "$seen
0"
}

@test "kernel profiles are listed; one that does not exist, or is wrong, is told before anything is built" {
	run -1 mixer -C "$MIX" kernel build foo
	assert_line --partial "there is no kernel profile 'foo' in '"
	assert_line "hint: 'mixer kernel list' shows what there is"
	printf '# A test.\nfragments = a b\n' >"$BATS_FILE_TMPDIR/kernel-config/profiles/one"
	: >"$MIX/local-debs/limpid-kernel-one_7.3-1+limpid.0123_amd64.deb"
	: >"$MIX/local-debs/limpid-kernel-one-dbg_7.3-2+limpid.0123_amd64.deb"
	run -0 mixer -C "$MIX" kernel list
	assert_output --regexp '^one +7.3-1\+limpid.0123 +no profile +A test.$'
	# one that was trained, and one that was built without that
	echo 'trained = t' >>"$BATS_FILE_TMPDIR/kernel-config/profiles/one"
	mkdir -p "$MIX/local-recipes"
	echo 'f:1:1' >"$MIX/local-recipes/kernel-t.profile"
	run -0 mixer -C "$MIX" kernel list
	assert_output --regexp '^one +7.3-1\+limpid.0123 +profile +A test.$'
	echo "7.3-1+limpid.0123 $(sha256sum <"$MIX/local-recipes/kernel-t.profile" | cut -d ' ' -f 1)" >"$MIX/local-debs/limpid-kernel-one.stale"
	run -0 mixer -C "$MIX" kernel list
	assert_output --regexp '^one +7.3-1\+limpid.0123 +stale profile A test.$'
	rm "$MIX"/local-debs/*
	run -0 mixer -C "$MIX" kernel list
	assert_output --regexp '^one +not built +profile +A test.$'
	echo 'module = yes' >>"$BATS_FILE_TMPDIR/kernel-config/profiles/one"
	run -1 mixer -C "$MIX" kernel build
	assert_line --partial "profiles/one:4: a profile has no key 'module'"
}

@test "a wish for a kernel option that does not survive fails the build" {
	mkdir -p "$BATS_TEST_TMPDIR/profiles" "$BATS_TEST_TMPDIR/fragments"
	cp "$TOP/kernel-config/check" "$BATS_TEST_TMPDIR/check"
	cd "$BATS_TEST_TMPDIR"
	echo 'fragments = base lean' >profiles/p
	printf '%s\n' 'CONFIG_A=y' 'CONFIG_B="text"' 'CONFIG_C=y' >fragments/base.config
	printf '%s\n' '# CONFIG_C is not set' >fragments/lean.config
	printf '%s\n' 'CONFIG_A=y' 'CONFIG_B="text"' >config
	run -0 sh ./check p config
	for line in '# CONFIG_A is not set' 'CONFIG_A=m' 'CONFIG_AB=y'; do
		printf '%s\n' "$line" 'CONFIG_B="text"' >config
		run -1 sh ./check p config
		assert_output --partial "CONFIG_A=y of fragment base became"
		refute_output --partial CONFIG_B
	done
	printf '%s\n' 'CONFIG_A=y' 'CONFIG_B="text"' 'CONFIG_C=y' >config
	run -1 sh ./check p config
	assert_output "check: CONFIG_C=n of fragment lean became y"
	echo 'fragments = base leaner' >profiles/p
	run -2 sh ./check p config
	assert_output "check: there is no fragment 'leaner'"
}
