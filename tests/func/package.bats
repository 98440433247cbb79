#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# A package of Debian is built anew, twice: its bytes, its debug information, its sources; and what is said when it cannot be.

load lib

# What is made once on a machine serves all runs; what these tests are about is made anew
setup_file()
{
	[ "$(id -u)" = 0 ] || return 0
	export CACHE=$BATS_FILE_TMPDIR/cache AGAIN=$BATS_FILE_TMPDIR/again MIX=$BATS_FILE_TMPDIR/mix
	local top shared=/var/cache/limpid
	top=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)
	mkdir -p "$shared"/{debs,indexes,buildroots} "$CACHE" "$AGAIN"
	ln -s "$shared"/{debs,indexes,buildroots} "$CACHE/"
	ln -s "$shared/debs" "$AGAIN/"
	mixer init "$MIX" --bundles="$top/bundles" >/dev/null
	mkdir -p "$MIX/local-recipes/patches"
	printf '# A small one\nflags = -fno-strict-aliasing\n' >"$MIX/local-recipes/bzip2"
	# not every mirror has the sources of security updates
	mixer -C "$MIX" --cache="$CACHE" package lock --repositories=debian bzip2
	mixer -C "$MIX" --cache="$CACHE" package build bzip2
	VERSION=$(sed -n 's/^source bzip2 \([^ ]*\) .*/\1/p' "$MIX/recipes.lock/bzip2")
	export VERSION
	mkdir "$BATS_FILE_TMPDIR/x"
	for deb in "$MIX"/local-debs/*.deb; do
		dpkg-deb -x "$deb" "$BATS_FILE_TMPDIR/x"
	done
}

setup()
{
	[ "$(id -u)" = 0 ] || skip "needs root"
	X=$BATS_FILE_TMPDIR/x
}

package()
{
	mixer -C "$MIX" --cache="$CACHE" package "$@"
}

# recipe NAME [LINE…]: one of bzip2, with its lock
recipe()
{
	local name=$1
	shift
	printf '%s\n' 'source = bzip2' "$@" >"$MIX/local-recipes/$name"
	sed "s/^bundle bzip2/bundle $name/" "$MIX/recipes.lock/bzip2" >"$MIX/recipes.lock/$name"
}

# rules LINE: patches/rules.patch adds a line to Debian's rules of bzip2
rules()
{
	local dir=$BATS_TEST_TMPDIR/rules file
	file=$(sed -n 's/^file \([0-9a-f]*\) .*\.debian\.tar\..*/\1/p' "$MIX/recipes.lock/bzip2")
	mkdir -p "$dir/a" "$dir/b"
	tar -C "$dir/a" -xf "$CACHE/sources/$file" debian/rules
	cp -R "$dir/a/debian" "$dir/b/"
	printf '%s\n' "$1" >>"$dir/b/debian/rules"
	(cd "$dir" && diff -u a/debian/rules b/debian/rules) >"$MIX/local-recipes/patches/rules.patch" || [ $? = 1 ]
}

# built: the .deb files in local-debs with their digests
built()
{
	(cd "$MIX/local-debs" && sha256sum ./*.deb)
}

@test "two builds, one in a build root of its own, give the same bytes" {
	built >"$BATS_TEST_TMPDIR/first"
	[ "$(wc -l <"$BATS_TEST_TMPDIR/first")" = 6 ]
	rm "$MIX"/local-debs/*.deb
	# beside another root, whose files it shares
	key=$({ echo "buildroot 1" && awk '$1 == "package" { print $2, $5 }' "$MIX/recipes.lock/bzip2"; } | sha256sum)
	mkdir "$AGAIN/buildroots"
	cp -a "$CACHE/buildroots/${key%% *}" "$AGAIN/buildroots/other"
	run -0 mixer -C "$MIX" --cache="$AGAIN" package build bzip2
	assert_output --partial "package bzip2: building bzip2 $VERSION+limpid."
	run -0 diff "$BATS_TEST_TMPDIR/first" <(built)
	[ "$AGAIN/buildroots/${key%% *}/usr/bin/dpkg-deb" -ef "$AGAIN/buildroots/other/usr/bin/dpkg-deb" ]
}

@test "what was built is found again, in the place of what is older" {
	touch "$MIX/local-debs/bzip2_0.9-1+limpid.0123456789_amd64.deb"
	rm "$MIX"/local-debs/libbz2-1.0_*.deb
	run -0 package build bzip2
	assert_output --partial ", as before"
	[ "$(built | wc -l)" = 6 ]
	run -0 package list
	assert_line --regexp "^bzip2 +$VERSION\+limpid\.[0-9a-f]{10} +no profile +A small one$"
	assert_line --regexp "^systemd +not built +profile"
	assert_line --regexp "^xz-utils +not built +no profile"
	refute_line --partial "a guest with swupd loses"
	run -0 package list --reasons
	assert_line --regexp "^ +a guest with swupd loses [0-9]+ libraries"
}

# deb NAME VERSION [FIELD]: an empty package in local-debs
deb()
{
	local dir=$BATS_TEST_TMPDIR/deb-$1
	mkdir -p "$dir/DEBIAN"
	printf '%s\n' "Package: $1" "Version: $2" 'Architecture: amd64' 'Maintainer: x <x@localhost>' 'Description: x' "${@:3}" >"$dir/DEBIAN/control"
	dpkg-deb --root-owner-group -b "$dir" "$MIX/local-debs/$1_$2_amd64.deb" >/dev/null
}

@test "what another recipe of the source made goes with it, and packages of others stay" {
	deb bzip2-extra 1.0.9-1+limpid.0123456789 'Source: bzip2'
	deb bzip2-more 1.0.9-1+limpid.0123456789 'Source: bzip2 (1.0.9-1)'
	deb bzip2-mine 2.0-1 'Source: bzip2'
	deb bzip2-ours 2.0+limpid.mine 'Source: bzip2'
	deb bzip2z 1.0+limpid.0123456789
	deb limpid-kernel-x 6.1+limpid.0123456789
	touch "$MIX/local-debs/odd_1+limpid.0123456789_amd64.deb"
	run -0 package build bzip2
	assert_output --partial ", as before"
	run -0 ls "$MIX/local-debs"
	refute_line --partial bzip2-extra
	refute_line --partial bzip2-more
	for name in bzip2-dbgsrc bzip2-mine bzip2-ours bzip2z limpid-kernel-x odd; do
		assert_line --regexp "^${name}_"
	done
	rm "$MIX"/local-debs/{bzip2-mine,bzip2-ours,bzip2z,limpid,odd}*
}

@test "a recipe that changed is said to have, and is built from another root only when locked anew" {
	recipe other 'flags = -O3'
	run -0 package list
	assert_line --regexp '^other .*\(inputs changed since it was built\)$'
	printf 'source = bzip2\ncheck = yes\n' >"$MIX/local-recipes/other"
	run -1 package build other
	assert_output --partial "recipe 'other' changed since recipes.lock/other was made"
	assert_output --partial "hint: 'mixer package lock other' makes it anew"
}

@test "each program has its symbols by its build id" {
	n=0
	while IFS= read -r file; do
		id=$(readelf -n "$file" 2>/dev/null | sed -n 's/^ *Build ID: //p')
		[ -n "$id" ] || continue
		n=$((n + 1))
		assert_file_exist "$X/usr/lib/debug/.build-id/${id::2}/${id:2}.debug"
	done < <(find "$X/usr/bin" "$X/usr/lib" -path "$X/usr/lib/debug" -prune -o -type f -print)
	[ "$n" -ge 3 ]
}

@test "debug information names sources that are in the package of sources, and no place of a build" {
	debug=/usr/src/debug/bzip2-$VERSION+limpid
	find "$X/usr/lib/debug" -name '*.debug' -exec readelf --debug-dump=rawline {} + >"$BATS_TEST_TMPDIR/lines"
	run -0 grep -c "$debug" "$BATS_TEST_TMPDIR/lines"
	run -1 grep /mnt "$BATS_TEST_TMPDIR/lines"
	for name in bzip2.c bzip2recover.c blocksort.c bzlib.c bzlib.h decompress.c; do
		assert_file_exist "$(echo "$X$debug".*/"$name")"
		run -0 grep -q "$name" "$BATS_TEST_TMPDIR/lines"
	done
	# what is no source of a program is not there
	assert_not_exist "$(echo "$X$debug".*)/debian"
	run -0 grep -e "-fno-omit-frame-pointer -mno-omit-leaf-frame-pointer -fno-strict-aliasing" "$CACHE/rebuilds/log/bzip2.log"
}

@test "mixer lock takes the rebuilt package, and warns when Debian's is newer" {
	printf '# [TITLE]: os-core\n# [DESCRIPTION]: x\n# [STATUS]: Active\n# [CAPABILITIES]: x\n# [MAINTAINER]: x\nbzip2\n' \
		>"$MIX/local-bundles/os-core"
	echo os-core >"$MIX/mixbundles"
	run -0 mixer -C "$MIX" --cache="$CACHE" lock --repositories=debian,local
	refute_output --partial warning
	# and with it what explains it
	run -0 sed -n "s/^package \([^ ]*\) $VERSION+limpid\.[^ ]* .* local bzip2 $VERSION .*/\1/p" "$MIX/mixer.lock"
	assert_output "bzip2
bzip2-dbgsrc
bzip2-dbgsym
libbz2-1.0
libbz2-1.0-dbgsym"

	mkdir -p "$BATS_TEST_TMPDIR/old/DEBIAN" "$BATS_TEST_TMPDIR/kept"
	mv "$MIX"/local-debs/*.deb "$BATS_TEST_TMPDIR/kept/"
	printf '%s\n' 'Package: bzip2' 'Source: bzip2 (1.0.6-1)' 'Version: 1.0.6-1+limpid.0123456789' 'Architecture: amd64' \
		'Maintainer: x <x@localhost>' 'Description: x' >"$BATS_TEST_TMPDIR/old/DEBIAN/control"
	dpkg-deb --root-owner-group -b "$BATS_TEST_TMPDIR/old" "$MIX/local-debs/bzip2_1.0.6-1+limpid.0123456789_amd64.deb"
	run -0 mixer -C "$MIX" --cache="$CACHE" lock --repositories=debian,local
	rm "$MIX"/local-debs/*.deb
	mv "$BATS_TEST_TMPDIR"/kept/*.deb "$MIX/local-debs/"
	assert_output --partial "warning: Debian has bzip2 $VERSION, the rebuild in use is of 1.0.6-1: 'mixer package lock bzip2', then 'mixer package build bzip2'"
}

@test "a recipe that cannot be read names file, line and a way out" {
	recipe wrong '# x' 'colour = red'
	run -1 package build wrong
	assert_output --partial "local-recipes/wrong:3: a recipe has no key 'colour'"
	assert_output --partial "hint: there are source, compiler,"
	recipe wrong 'patches = none.patch'
	run -1 package list
	assert_output --partial "local-recipes/wrong:2: there is no file '$MIX/local-recipes/patches/none.patch'"
	rm "$MIX/local-recipes/wrong"
	run -1 package build nobody
	assert_output --partial "there is no recipe 'nobody'"
	assert_output --partial "hint: 'mixer package list' shows what recipes there are"
}

@test "a source that is not what is locked is refused, and fetched anew where it was damaged" {
	recipe again 'flags = -O1'
	file=$(sed -n 's/^file \([0-9a-f]*\) .*\.dsc$/\1/p' "$MIX/recipes.lock/bzip2")
	name=$(sed -n 's/^file .* \(.*\.dsc\)$/\1/p' "$MIX/recipes.lock/bzip2")
	directory=$(sed -n 's/^source .* //p' "$MIX/recipes.lock/bzip2")
	mirror=$BATS_TEST_TMPDIR/mirror
	mkdir -p "$mirror/$directory"
	# as long as the right one
	tr a-e b-f <"$CACHE/sources/$file" >"$mirror/$directory/$name"
	cp "$mirror/$directory/$name" "$CACHE/sources/$file"
	sed -i "/^\[repository debian\]/a uri = file://$mirror" "$MIX/mixer.conf"
	run -1 package build again
	assert_output --partial "package again: source '$name':"
	assert_output --partial "hint: the mirror may be in the middle of an update, or have a newer one: 'mixer package lock' looks"
	assert_not_exist "$CACHE/sources/$file"
	sed -i '/^uri = file/d' "$MIX/mixer.conf"
	run -0 package build again
	run -0 sha256sum "$CACHE/sources/$file"
	assert_output --partial "$file "
	# an index that lies about the files is found out by the .dsc
	sed 's/\.orig\./.other./' "$CACHE/sources/$file" >"$BATS_TEST_TMPDIR/dsc"
	sum=$(sha256sum <"$BATS_TEST_TMPDIR/dsc" | cut -d ' ' -f 1)
	cp "$BATS_TEST_TMPDIR/dsc" "$CACHE/sources/$sum"
	sed -i "s/^file [0-9a-f]* [0-9]* \(.*\.dsc\)$/file $sum $(stat -c %s "$BATS_TEST_TMPDIR/dsc") \1/" "$MIX/recipes.lock/again"
	run -1 package build again
	assert_output --partial "'$name': it names '"
	assert_output --partial "' otherwise than the archive's index"
}

@test "a step that fails is named, with its last words and its log, and leaves nothing" {
	before=$(built)
	rules "\$(info interfaces: \$(shell awk 'NR > 2 { print \$\$1 }' /proc/net/dev))"$'\n'"\$(error this cannot be built)"
	recipe broken 'patches = rules.patch'
	run -1 package build broken
	assert_output --partial "package broken: compile: tools 'broken': sh ended with status 1:"
	assert_output --partial "this cannot be built"
	assert_output --partial "hint: all that it said is in '$CACHE/rebuilds/log/broken.log'"
	# no network but its own end
	run -0 grep "^interfaces: " "$CACHE/rebuilds/log/broken.log"
	assert_line "interfaces: lo:"
	refute_output --partial eth
	printf -- '--- a/none.c\n+++ b/none.c\n@@ -1 +1 @@\n-x\n+y\n' >"$MIX/local-recipes/patches/rules.patch"
	run -1 package build broken
	assert_output --partial "package broken: unpack: "
	assert_equal "$(built)" "$before"
	assert_not_exist "$CACHE/rebuilds/.work"
	[ -z "$(find "$MIX/local-debs" -name '.new*')" ]
}

@test "tests of the package that fail are said to have failed" {
	rules $'override_dh_auto_test-arch:\n\tfalse'
	recipe checked 'check = yes' 'patches = rules.patch'
	run -0 package lock --repositories=debian checked
	run -1 package build checked
	assert_output --partial "package checked: compile: "
	assert_output --partial "the package's own tests failed (check = yes)"
}

@test "flags that the compiler refuses: its error is told" {
	recipe flags 'flags = -fno-such-thing'
	run -1 package build flags
	assert_output --partial "package flags: compile: "
	assert_output --partial "error: unrecognized command-line option"
}

@test "a full disk is said to be full, and no half of a root is left" {
	small=$BATS_TEST_TMPDIR/small
	mkdir "$small"
	mount -t tmpfs -o size=60m tmpfs "$small" || skip "no right to mount"
	ln -s /var/cache/limpid/debs "$small/debs"
	run mixer -C "$MIX" --cache="$small" package build bzip2
	left=$(ls -A "$small/buildroots")
	umount "$small"
	[ "$status" = 1 ]
	assert_output --partial "cannot make the build root: the disk of the cache '$small' is full"
	assert_equal "$left" .lock
}

@test "a profile of something else is told, and the package built without it" {
	recipe stale 'flags = -fno-strict-aliasing'
	printf '%s\n' '# limpid-profile 1' 'never_heard_of:1000:10' ' 1: 1000' >"$MIX/local-recipes/stale.profile"
	run package build stale
	assert_success
	assert_line --partial "package stale: built without its profile, '$MIX/local-recipes/stale.profile', which is of another program or version"
	# packages are handed over, and that
	assert_equal "$(find "$MIX/local-debs" -type f ! -name '*.deb')" "$MIX/local-debs/bzip2-dbgsrc.stale"
	# also with another cache, or none
	run mixer -C "$MIX" --cache="$BATS_TEST_TMPDIR/cache" package list
	assert_line --regexp '^stale .* stale profile'
	refute_line --regexp '^bzip2 .* stale profile'
	# as long as it lies there
	run package build stale
	assert_line --partial "built without its profile"
	# not of a profile that was recorded since
	cp "$MIX/local-recipes/stale.profile" "$BATS_TEST_TMPDIR/profile"
	echo ' 2: 1' >>"$MIX/local-recipes/stale.profile"
	run package list
	refute_line --partial 'stale profile'
	cp "$BATS_TEST_TMPDIR/profile" "$MIX/local-recipes/stale.profile"
	# the code is that of a build without
	dpkg-deb -x "$MIX"/local-debs/bzip2_*.deb "$BATS_TEST_TMPDIR/x"
	objcopy -O binary --only-section=.text "$X/usr/bin/bzip2" "$BATS_TEST_TMPDIR/without"
	objcopy -O binary --only-section=.text "$BATS_TEST_TMPDIR/x/usr/bin/bzip2" "$BATS_TEST_TMPDIR/stale"
	cmp "$BATS_TEST_TMPDIR/without" "$BATS_TEST_TMPDIR/stale"
	rm "$MIX/local-recipes"/stale*
	run -0 package build bzip2
	assert_not_exist "$MIX/local-debs/bzip2-dbgsrc.stale"
}

@test "a profile that the compiler crashes on is used without what is called by pointer" {
	# what bzip2 has, so that it fits; the name stands in gcc's file only as what a line calls
	printf '%s\n' '# limpid-profile 1' 'BZ2_compressBlock:1000:10' ' 1: 1000 crashes_gcc:1000' >"$MIX/local-recipes/crash.profile"
	rules "ifneq (,\$(wildcard /mnt/profile/*))
\$(if \$(shell grep -l crashes_gcc /mnt/profile/*),\$(shell echo 'x.c:1: internal compiler error: Segmentation fault' >&2)\$(error gcc crashed))
endif"
	recipe crash 'patches = rules.patch'
	run -0 package build crash
	assert_output --partial "package crash: the compiler crashed on its profile; again without the functions that are called by pointer"
	refute_output --partial "is of another program"
	run -0 grep -c -e -fauto-profile=/mnt/profile/crash.afdo "$CACHE/rebuilds/log/crash.log"
	run -0 package list
	assert_line --regexp '^crash .* profile '
	refute_line --regexp '^crash .* stale profile'
	rm "$MIX/local-recipes"/crash*
}

@test "a profile that the compiler crashes on in any form is left out, and that is told again and again" {
	printf '%s\n' '# limpid-profile 1' 'BZ2_compressBlock:1000:10' ' 1: 1000' >"$MIX/local-recipes/crash.profile"
	rules "ifneq (,\$(wildcard /mnt/profile/*))
\$(shell echo 'clang: error: clang frontend command failed with exit code 139 (use -v to see invocation)' >&2)\$(error clang crashed)
endif"
	recipe crash 'patches = rules.patch'
	run -0 package build crash
	assert_output --partial "package crash: the compiler crashed on its profile; again without the functions that are called by pointer"
	for _ in 1 2; do
		assert_output --partial "package crash: built without its profile, '$MIX/local-recipes/crash.profile', on which the compiler crashed: record it again"
		run -0 package build crash
	done
	run -0 package list
	assert_line --regexp '^crash .* stale profile '
	rm "$MIX/local-recipes"/crash*
}

@test "a full disk is said to be full while a package is built, too, and nothing of it is left" {
	before=$(built)
	recipe disk 'flags = -O1'
	small=$BATS_TEST_TMPDIR/small
	mkdir "$small"
	while IFS='|' read -r size stage; do
		mount -t tmpfs -o size="$size" tmpfs "$small" || skip "no right to mount"
		ln -s /var/cache/limpid/{debs,buildroots} "$CACHE/sources" "$small/"
		run mixer -C "$MIX" --cache="$small" package build disk
		left=$(ls -A "$small/rebuilds")
		umount "$small"
		[ "$status" = 1 ]
		assert_line "mixer: package disk: ${stage}the disk of the cache '$small' is full"
		assert_equal "$left" "$(printf '.lock\nlog')"
	done <<-END
		200k|
		7m|compile: 
	END
	assert_equal "$(built)" "$before"
}

@test "a full disk of local-debs is said to be full, and what was there still is" {
	cp -R "$MIX" "$BATS_TEST_TMPDIR/mix"
	export MIX=$BATS_TEST_TMPDIR/mix
	mount -t tmpfs -o size=100k tmpfs "$MIX/local-debs" || skip "no right to mount"
	deb bzip2 0.9-1+limpid.0123456789
	run package build bzip2
	left=$(ls -A "$MIX/local-debs")
	umount "$MIX/local-debs"
	[ "$status" = 1 ]
	assert_line "mixer: package bzip2: the disk of 'local-debs' is full"
	run grep -v -e '^bzip2-dbg' <<<"$left"
	assert_output bzip2_0.9-1+limpid.0123456789_amd64.deb
}

@test "what bundles ship without debug information is rebuilt without a recipe, and what cannot be is told" {
	export MIX=$BATS_TEST_TMPDIR/mix
	mixer -q init "$MIX" --bundles="$BATS_TEST_DIRNAME/../../bundles"
	local=(--cache="$CACHE" -C "$MIX")
	printf '%s\n' '# [TITLE]: os-core' bzip2 >"$MIX/local-bundles/os-core"
	printf '%s\n' '# [TITLE]: more' 'include(os-core)' hostname odd >"$MIX/local-bundles/more"
	printf '%s\n' '# [TITLE]: other' 'include(os-core)' sed >"$MIX/local-bundles/other"
	printf '%s\n' os-core more other >"$MIX/mixbundles"
	mkdir -p "$MIX/local-recipes" "$BATS_TEST_TMPDIR"/odd/{DEBIAN,usr/bin}
	echo 'bogus = 1' >"$MIX/local-recipes/hostname"
	echo 'int main(void) { return 0; }' | gcc -x c -Wl,--build-id -o "$BATS_TEST_TMPDIR/odd/usr/bin/odd" -
	# our own, of a source that Debian has, too
	printf '%s\n' 'Package: odd' 'Source: dash' 'Version: 1' 'Architecture: amd64' 'Maintainer: x <x@localhost>' 'Description: x' \
		>"$BATS_TEST_TMPDIR/odd/DEBIAN/control"
	dpkg-deb --root-owner-group -b "$BATS_TEST_TMPDIR/odd" "$MIX/local-debs/odd_1_amd64.deb" >/dev/null

	run -2 mixer "${local[@]}" debuginfo build
	run -3 mixer "${local[@]}" debuginfo build more
	mixer "${local[@]}" -q lock --repositories=debian,local
	mixer "${local[@]}" -q build
	run -1 mixer "${local[@]}" debuginfo build nothing
	assert_output --partial "the release has no bundle 'nothing'"
	run -2 mixer "${local[@]}" debuginfo build --except=gcc-13 more
	assert_output --partial "no package of the mix is of a source 'gcc-13'"
	run -2 mixer "${local[@]}" debuginfo build --repositories=nothing more
	assert_output --partial "'nothing' is no archive of mixer.conf"

	# an older source than that of the release is no help
	cp "$MIX/mixer.lock" "$BATS_TEST_TMPDIR/lock"
	sed -i "s/^\(package .*bzip2\) $VERSION pool/\1 9.0-1 pool/" "$MIX/mixer.lock"
	run -1 mixer "${local[@]}" debuginfo build --repositories=debian --except=gcc-14,hostname more
	assert_output --partial "source 'bzip2': the archives have $VERSION, the release is of 9.0-1 (--older rebuilds that)"
	assert_output --partial "1 sources could not be rebuilt: bzip2"
	refute_output --partial "are rebuilt"
	cp "$BATS_TEST_TMPDIR/lock" "$MIX/mixer.lock"

	# bzip2 is of os-core, which 'more' includes; nobody asked for what 'other' has
	run -1 mixer "${local[@]}" debuginfo build --repositories=debian --except=gcc-14 more
	assert_output --partial "local-recipes/hostname:1: a recipe has no key 'bogus' (there are source,"
	assert_output --partial "1 of 2 sources are rebuilt"
	assert_output --partial "1 sources could not be rebuilt: hostname"
	assert_file_exist "$MIX/local-debs/odd_1_amd64.deb"
	rm "$MIX/local-recipes/hostname"
	run -0 mixer "${local[@]}" package list
	assert_line --regexp "^bzip2 +$VERSION\+limpid\.[0-9a-f]{10} +no profile +$"

	mixer "${local[@]}" -q lock --repositories=debian,local
	mixer "${local[@]}" -q build
	run -0 jq -r '.missing[].name' <(mixer "${local[@]}" debuginfo status --json)
	assert_line hostname
	refute_line bzip2
	refute_line libbz2-1.0
	run -3 mixer "${local[@]}" debuginfo build --except=gcc-14,hostname more
	assert_output --partial "there is nothing to rebuild"
	sed -i 's/^\[publish\]$/&\ndebuginfo = no/' "$MIX/mixer.conf"
	run -1 mixer "${local[@]}" debuginfo build all
	assert_output --partial "the mix has no debug information"
}
