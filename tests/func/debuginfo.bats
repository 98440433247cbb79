#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# Debug information of a release, found by its build-ids from a web server that knows nothing of it.

load lib

# deb NAME VERSION DIR [FIELD…]: DIR becomes a package in local-debs
deb()
{
	local name=$1 version=$2 dir=$3
	mkdir -p "$dir/DEBIAN" "$MIX/local-debs"
	{
		printf 'Package: %s\nVersion: %s\nArchitecture: amd64\nMaintainer: t\nDescription: t\n' "$name" "$version"
		[ $# = 3 ] || printf '%s\n' "${@:4}"
	} >"$dir/DEBIAN/control"
	dpkg-deb --root-owner-group -Zgzip -b "$dir" "${DEBS:-$MIX/local-debs}/${name}_$version.deb" >/dev/null
}

build_id()
{
	readelf -n "$1" | sed -n 's/.*Build ID: //p'
}

# program VERSION [FLAG…]: package hello with a program and a library, and what a rebuild by 'mixer package build' has beside it: hello-dbgsym and hello-dbgsrc, in
# $BATS_TEST_TMPDIR/debs
program()
{
	local version=$1 src=$BATS_TEST_TMPDIR/hello-$1 root=$BATS_TEST_TMPDIR/root-$1 debug=$BATS_TEST_TMPDIR/debug-$1 file id
	mkdir -p "$src/sub" "$root"/usr/{bin,lib} "$debug/usr/lib/debug/.build-id" "$debug-src/usr/src/debug/hello-$version/sub"
	cat >"$src/hello.c" <<-END
		int divide(int a, int b);
		int main(int argc, char **argv)
		{
			(void)argv;
			return divide(argc, argc - 1) + $version;
		}
	END
	cat >"$src/sub/divide.c" <<-END
		int divide(int a, int b)
		{
			return a / b; /* nobody looked */
		}
	END
	(
		cd "$src" || exit
		flags=(-g -O1 -fno-inline "-ffile-prefix-map=$PWD=/usr/src/debug/hello-$version" -Wl,--build-id "${@:2}")
		gcc "${flags[@]}" -shared -fPIC -o "$root/usr/lib/libdivide.so.1" sub/../sub/divide.c -Wl,-soname,libdivide.so.1
		gcc "${flags[@]}" -o "$root/usr/bin/hello" hello.c "$root/usr/lib/libdivide.so.1"
	) || return
	for file in "$root/usr/lib/libdivide.so.1" "$root/usr/bin/hello"; do
		id=$(build_id "$file")
		[ -n "$id" ] || continue
		mkdir -p "$debug/usr/lib/debug/.build-id/${id:0:2}"
		objcopy --only-keep-debug --compress-debug-sections "$file" "$debug/usr/lib/debug/.build-id/${id:0:2}/${id:2}.debug"
	done
	strip --strip-unneeded "$root/usr/lib/libdivide.so.1" "$root/usr/bin/hello"
	cp "$src/hello.c" "$debug-src/usr/src/debug/hello-$version/"
	cp "$src/sub/divide.c" "$debug-src/usr/src/debug/hello-$version/sub/"
	# no address of the web as it stands, and longer than a file's name may be, folders and all
	long=$(printf 'x%.0s' {1..120})
	mkdir -p "$debug-src/usr/src/debug/hello-$version/$long"
	echo odd >"$debug-src/usr/src/debug/hello-$version/$long/odd #1 100%41+?.h"
	deb hello "$version" "$root"
	mkdir -p "$BATS_TEST_TMPDIR/debs"
	DEBS=$BATS_TEST_TMPDIR/debs deb hello-dbgsym "$version" "$debug" "Source: hello" "Depends: hello (= $version)"
	DEBS=$BATS_TEST_TMPDIR/debs deb hello-dbgsrc "$version" "$debug-src" "Source: hello"
	HELLO=$root
}

setup()
{
	mix_init
	content os-core usr/share/base base
	bundle os-core
	bundle hello hello
	DEBUGINFO=$MIX/update/www/debuginfo
	export DEBUGINFOD_CACHE_PATH=$BATS_TEST_TMPDIR/debuginfod DEBUGINFOD_URLS= DEBUGINFOD_TIMEOUT=5 LC_ALL=C.UTF-8
}

teardown()
{
	serve_stop
	[ -z "${PYTHON_PID:-}" ] || kill "$PYTHON_PID"
}

# a release with all of it
with_all()
{
	program 1
	cp "$BATS_TEST_TMPDIR"/debs/*.deb "$MIX/local-debs/"
	release
}

# crash: a core of hello, of a machine that has nothing but the release
crash()
{
	machine m
	sw os-install -B os-core,hello >/dev/null
	CORE=$BATS_TEST_TMPDIR/core
	(cd "$BATS_TEST_TMPDIR" && DEBUGINFOD_URLS='' LD_LIBRARY_PATH=$ROOT/usr/lib gdb -q -batch -nx -ex run \
		-ex "generate-core-file $CORE" "$ROOT/usr/bin/hello") >"$BATS_TEST_TMPDIR/gdb.log" 2>&1
	[ -s "$CORE" ]
}

# look: what gdb, elfutils and debuginfod-find make of the core, by the server in $URL
look()
{
	local id
	id=$(build_id "$ROOT/usr/lib/libdivide.so.1")
	rm -rf "$DEBUGINFOD_CACHE_PATH"
	export DEBUGINFOD_URLS=$URL/debuginfo

	run debuginfod-find debuginfo "$id"
	assert_success
	assert_equal "$(build_id "$output")" "$id"
	run debuginfod-find source "$id" /usr/src/debug/hello-1/sub/divide.c
	assert_success
	cmp "$output" "$BATS_TEST_TMPDIR/hello-1/sub/divide.c"
	# as it stands in the line table
	run debuginfod-find source "$id" /usr/src/debug/hello-1/sub/../sub/divide.c
	assert_success
	run debuginfod-find executable "$id"
	assert_success
	cmp "$output" "$ROOT/usr/lib/libdivide.so.1"
	run debuginfod-find debuginfo 0123456789abcdef0123456789abcdef01234567
	assert_failure
	assert_output --partial "No such file"

	run timeout 120 gdb -q -batch -nx -iex 'set debuginfod enabled on' -ex bt -ex list "$ROOT/usr/bin/hello" "$CORE"
	assert_output --partial "divide (a=1, b=0) at"
	assert_output --partial "main (argc="
	assert_output --partial "nobody looked"

	run timeout 120 eu-stack -s --core="$CORE" --executable="$ROOT/usr/bin/hello"
	assert_output --partial "divide"
	assert_output --partial "divide.c:3"
	run timeout 120 eu-addr2line -f -e "$ROOT/usr/bin/hello" main
	assert_output --partial "hello.c:3"
}

@test "a crash is looked at with names, lines and sources, from nginx" {
	with_all
	crash
	serve "$MIX/update/www"
	look
}

@test "the same from a server of plain directories" {
	with_all
	crash
	port=$(free_port)
	python3 -m http.server -b 127.0.0.1 -d "$MIX/update/www" "$port" >"$BATS_TEST_TMPDIR/python.log" 2>&1 3>&- &
	PYTHON_PID=$!
	for _ in $(seq 50); do
		curl -s -o "$BATS_TEST_TMPDIR/first" "http://127.0.0.1:$port/" && break
		sleep 0.1
	done
	URL=http://127.0.0.1:$port
	look
}

@test "status says what is covered and what is not, and why; an index of it is published" {
	program 1
	release
	run mixer -C "$MIX" -q debuginfo status
	assert_success
	assert_line --partial "release 10: debug information of 0.0 %"
	assert_line --regexp "^missing hello .*: no repository has hello-dbgsym 1$"
	cp "$BATS_TEST_TMPDIR"/debs/*.deb "$MIX/local-debs/"
	# the release is what it was, but now there is something that explains it
	run mixer -C "$MIX" -q lock
	assert_line "added    hello-dbgsym 1 (local)"
	run mixer -C "$MIX" build
	assert_failure 3
	assert_output --partial "nothing to build"
	run mixer -C "$MIX" -q debuginfo status --release=10
	assert_line --partial "release 10: debug information of 100.0 %"
	assert_line --regexp "^bundle hello  *100.0 % of"
	refute_line --partial missing
	run jq -e '.percent == 100 and .files == 2 and .covered_files == 2 and .missing == []' <(mixer -C "$MIX" debuginfo status --json)
	assert_success
	run jq -r '.files[] | "\(.path) \(.covered) \(.by) \(.build_id)"' "$MIX/update/www/10/debuginfo.json"
	assert_line "/usr/bin/hello true hello-dbgsym $(build_id "$HELLO/usr/bin/hello")"
	# debug packages are no part of what is installed, and not of its bill of materials
	run jq -r '.packages[].name' "$MIX/update/www/10/sbom.spdx.json"
	assert_line hello
	refute_line hello-dbgsym
	refute [ -e "$MIX/update/www/10/Manifest.hello-debuginfo" ]
}

@test "content of a bundle that explains itself does so in each release" {
	mkdir -p "$MIX/bundles/tree/hello/usr/bin"
	echo 'int main(void) { return 0; }' | gcc -g -x c -Wl,--build-id -o "$MIX/bundles/tree/hello/usr/bin/own" -
	bundle hello
	for n in 10 20 30; do
		content os-core usr/share/base "base $n"
		release
		run -0 mixer -C "$MIX" -q debuginfo status
		assert_line --partial "release $n: debug information of 100.0 %"
	done
}

@test "what is of another build explains nothing" {
	program 1
	mv "$BATS_TEST_TMPDIR"/debs/hello-dbgsym_1.deb "$BATS_TEST_TMPDIR/other.deb"
	rm -r "$BATS_TEST_TMPDIR"/*-1 "$BATS_TEST_TMPDIR"/debug-1-src
	program 1 -O2 -fomit-frame-pointer -DOTHER='"x"' -Wl,--defsym=other=1
	mv "$BATS_TEST_TMPDIR/other.deb" "$MIX/local-debs/hello-dbgsym_1.deb"
	release
	run mixer -C "$MIX" -q debuginfo status
	assert_line --regexp "^missing hello .*: hello-dbgsym 1 is of another build$"
	refute [ -e "$DEBUGINFO/buildid/$(build_id "$HELLO/usr/bin/hello")" ]
}

@test "a program without a build-id is named, unless a bundle says that it is known" {
	program 1 -Wl,--build-id=none
	run release
	assert_failure
	assert_output --partial "/usr/bin/hello (hello): no build-id; /usr/lib/libdivide.so.1 (hello): no build-id"
	assert_output --partial "no-build-id(PATH)"
	refute [ -e "$MIX/update/www/10" ]
	bundle hello hello "no-build-id(/usr/bin/hello)"
	run release
	assert_failure
	assert_output --partial "/usr/lib/libdivide.so.1 (hello): no build-id"
	refute_output --partial "/usr/bin/hello (hello)"
	bundle hello hello "no-build-id(/usr/bin/hello)" "no-build-id(/usr/lib/)"
	release
	run mixer -C "$MIX" -q debuginfo status
	assert_line --partial "it has no build-id"
}

@test "a build-id is written once, for all releases, and goes with the last that has it" {
	with_all
	first=$(build_id "$HELLO/usr/bin/hello") same=$(build_id "$HELLO/usr/lib/libdivide.so.1")
	inode=$(stat -c %i "$DEBUGINFO/buildid/$first/debuginfo")
	# it is the object of the cache, not a copy
	[ "$(stat -c %h "$DEBUGINFO/buildid/$first/debuginfo")" -gt 1 ]
	content os-core usr/share/base other
	release
	assert_equal "$RELEASE" 20
	assert_equal "$(stat -c %i "$DEBUGINFO/buildid/$first/debuginfo")" "$inode"
	rm "$MIX"/local-debs/*.deb
	program 2
	cp "$BATS_TEST_TMPDIR"/debs/*_2.deb "$MIX/local-debs/"
	release
	second=$(build_id "$HELLO/usr/bin/hello")
	[ -e "$DEBUGINFO/buildid/$first/debuginfo" ]
	[ -e "$DEBUGINFO/buildid/$second/debuginfo" ]
	[ "$(ls "$DEBUGINFO/source" | wc -l)" = 2 ]
	sed -i '/^\[publish\]/a cover = 0\ncover-days = 0' "$MIX/mixer.conf"
	run mixer -C "$MIX" gc
	assert_success
	assert_line --partial "debug information of releases that go"
	refute [ -e "$DEBUGINFO/buildid/$first" ]
	[ -e "$DEBUGINFO/buildid/$second/debuginfo" ]
	[ -e "$DEBUGINFO/buildid/$second/source/usr/src/debug/hello-2/hello.c" ]
	[ "$(ls "$DEBUGINFO/source" | wc -l)" = 1 ]
	[ -n "$same" ]
}

# copy [OPTION…]: over the network, without a workspace
copy()
{
	mixer mirror --debuginfo --from="$URL" --certificate="$MIX/Swupd_Root.pem" --allow-insecure-http "$@" "$BATS_TEST_TMPDIR/copy"
}

@test "a mirror has it, too, when asked to: complete in itself" {
	with_all
	crash
	# of the release before nothing but its own list speaks
	first=$(build_id "$HELLO/usr/bin/hello")
	rm "$MIX"/local-debs/*.deb
	program 2
	cp "$BATS_TEST_TMPDIR"/debs/*_2.deb "$MIX/local-debs/"
	release
	second=$(build_id "$HELLO/usr/bin/hello")
	run -0 mixer -C "$MIX" mirror "$BATS_TEST_TMPDIR/plain"
	assert_not_exist "$BATS_TEST_TMPDIR/plain/debuginfo"
	serve "$MIX/update/www"
	# the newest alone
	run -0 copy
	assert_exist "$BATS_TEST_TMPDIR/copy/debuginfo/buildid/$second/debuginfo"
	assert_not_exist "$BATS_TEST_TMPDIR/copy/debuginfo/buildid/$first"
	run -0 copy --releases=10
	diff -r --no-dereference "$MIX/update/www/debuginfo" "$BATS_TEST_TMPDIR/copy/debuginfo"
	for name in debuginfo.list debuginfo.json; do
		cmp "$MIX/update/www/10/$name" "$BATS_TEST_TMPDIR/copy/10/$name"
		cmp "$MIX/update/www/20/$name" "$BATS_TEST_TMPDIR/copy/20/$name"
	done
	run -0 copy --releases=10
	assert_output --regexp '(^|'$'\n'')[0-3] files came, [1-9][0-9]+ were there'
	# of a copy a copy, of a tar, and of the same file system
	local from=file://$BATS_TEST_TMPDIR/copy
	run -0 mixer mirror --debuginfo --from="$from" --certificate="$MIX/Swupd_Root.pem" --releases=10 "$BATS_TEST_TMPDIR/linked"
	diff -r --no-dereference "$BATS_TEST_TMPDIR/copy/debuginfo" "$BATS_TEST_TMPDIR/linked/debuginfo"
	[ "$BATS_TEST_TMPDIR/linked/debuginfo/buildid/$first/executable" -ef "$BATS_TEST_TMPDIR/copy/debuginfo/buildid/$first/executable" ]
	tar -C "$BATS_TEST_TMPDIR/copy" -cf "$BATS_TEST_TMPDIR/copy.tar" .
	run -0 mixer mirror --debuginfo --from="$from.tar" --certificate="$MIX/Swupd_Root.pem" --releases=10 "$BATS_TEST_TMPDIR/from-tar"
	diff -r --no-dereference "$BATS_TEST_TMPDIR/copy/debuginfo" "$BATS_TEST_TMPDIR/from-tar/debuginfo"
	# with nothing else
	serve_stop
	rm -r "$MIX/update/www"
	serve "$BATS_TEST_TMPDIR/copy"
	look
}

@test "debug information that is not what the list says is no part of a mirror" {
	with_all
	id=$(build_id "$HELLO/usr/bin/hello")
	serve "$MIX/update/www"
	tr '\000' '\001' <"$DEBUGINFO/buildid/$id/debuginfo" >"$BATS_TEST_TMPDIR/other"
	mv "$BATS_TEST_TMPDIR/other" "$DEBUGINFO/buildid/$id/debuginfo"
	run -1 copy
	assert_output --partial "debuginfo/buildid/$id/debuginfo: it is not what the list says"
	assert_not_exist "$BATS_TEST_TMPDIR/copy/debuginfo/buildid/$id/debuginfo"
	assert_not_exist "$BATS_TEST_TMPDIR/copy/10/debuginfo.list"
	assert_not_exist "$BATS_TEST_TMPDIR/copy/version"
	# one that is listed, and not there
	rm "$DEBUGINFO/buildid/$id/debuginfo"
	run -1 copy
	assert_output --partial "debuginfo/buildid/$id/debuginfo"
	# a list that leads elsewhere
	sed 's/^debug\t[0-9a-f]*/debug\t..\/../' "$MIX/update/www/10/debuginfo.list" >"$BATS_TEST_TMPDIR/list"
	mv "$BATS_TEST_TMPDIR/list" "$MIX/update/www/10/debuginfo.list"
	run -1 copy
	assert_output --regexp "10/debuginfo.list: line [0-9]+: '../..' is no build-id"
	# a tree of before there were lists
	rm "$MIX/update/www/10/debuginfo.list"
	run -0 copy
	assert_output --partial "10/debuginfo.list is not there: no debug information of release 10"
}

@test "a list that an older mixer made is made anew" {
	with_all
	cp "$MIX/update/releases/10/debuginfo" "$BATS_TEST_TMPDIR/list"
	sed -i '1s/2$/1/; s/\t644\t0\t0//; s/\t755\t0\t0//' "$MIX/update/releases/10/debuginfo"
	rm "$MIX/update/www/10/debuginfo.list"
	run -0 mixer -C "$MIX" gc
	assert_output --partial "update/releases/10 is not there any more: all debug information stays"
	run -3 mixer -C "$MIX" build
	cmp "$BATS_TEST_TMPDIR/list" "$MIX/update/releases/10/debuginfo"
	cmp "$BATS_TEST_TMPDIR/list" "$MIX/update/www/10/debuginfo.list"
}

@test "debuginfo = no publishes none, and locks none" {
	program 1
	cp "$BATS_TEST_TMPDIR"/debs/*.deb "$MIX/local-debs/"
	sed -i '/^\[publish\]/a debuginfo = no' "$MIX/mixer.conf"
	release
	refute grep -q dbgsym "$MIX/mixer.lock"
	refute [ -e "$DEBUGINFO" ]
	run mixer -C "$MIX" -q debuginfo status
	assert_line --partial "debuginfo = no in mixer.conf"
}

@test "NAME-debuginfo brings the same to a machine without a network" {
	program 1
	cp "$BATS_TEST_TMPDIR"/debs/*.deb "$MIX/local-debs/"
	mixer -C "$MIX" bundle add hello-debuginfo
	run mixer -C "$MIX" bundle list
	assert_line --regexp "^hello-debuginfo +Debug information of hello"
	run mixer -C "$MIX" bundle add nothing-debuginfo
	assert_failure
	release
	crash
	run sw bundle-add hello-debuginfo
	assert_success
	run timeout 120 gdb -q -batch -nx -iex "set debug-file-directory $ROOT/usr/lib/debug:/usr/lib/debug" \
		-iex "set substitute-path /usr/src/debug $ROOT/usr/src/debug" -ex bt -ex list "$ROOT/usr/bin/hello" "$CORE"
	assert_output --partial "divide (a=1, b=0) at"
	assert_output --partial "nobody looked"
	# what gdb looks for in the machine itself
	id=$(build_id "$ROOT/usr/bin/hello")
	[ -e "$ROOT/usr/lib/debug/.build-id/${id:0:2}/${id:2}.debug" ]
	run sw diagnose
	assert_success
}

@test "an archive of debug packages gives those of what is locked, and only those" {
	program 1
	archive=$BATS_TEST_TMPDIR/archive home=$BATS_TEST_TMPDIR/gpg
	mkdir -p "$archive/pool" "$archive/dists/test-debug/main/binary-amd64" -m 755
	mkdir -m 700 "$home"
	gpg --homedir "$home" --batch --quiet --passphrase '' --quick-gen-key t@example.org rsa2048 sign never 2>/dev/null
	gpg --homedir "$home" --export >"$MIX/debug.gpg"
	cp "$BATS_TEST_TMPDIR"/debs/hello-dbgsym_1.deb "$archive/pool/"
	# of the right name, but for another version; and a program that nobody asked for
	DEBS=$archive/pool deb hello-dbgsym 2 "$BATS_TEST_TMPDIR/debug-1"
	DEBS=$archive/pool deb hello 9 "$BATS_TEST_TMPDIR/root-1"
	(
		cd "$archive" || exit
		for file in pool/*.deb; do
			dpkg-deb -f "$file"
			printf 'Filename: %s\nSize: %s\nSHA256: %s\n\n' "$file" "$(stat -c %s "$file")" "$(sha256sum <"$file" | cut -d ' ' -f 1)"
		done >dists/test-debug/main/binary-amd64/Packages
		cd dists/test-debug || exit
		{
			printf 'Origin: t\nSuite: test-debug\nCodename: test-debug\nDate: %s\nArchitectures: amd64\nComponents: main\nSHA256:\n' \
				"$(date -Ru)"
			printf ' %s %s main/binary-amd64/Packages\n' "$(sha256sum <main/binary-amd64/Packages | cut -d ' ' -f 1)" \
				"$(stat -c %s main/binary-amd64/Packages)"
		} >Release
		gpg --homedir "$home" --batch --quiet --clearsign -o InRelease Release
	)
	serve "$archive"
	printf '[repository debug]\nuri = %s\nsuite = test-debug\nkeyring = debug.gpg\ndebug = yes\n' "$URL" >>"$MIX/mixer.conf"
	release
	run grep '^package' "$MIX/mixer.lock"
	assert_line --regexp "^package hello 1 .* local "
	assert_line --regexp "^package hello-dbgsym 1 .* debug "
	assert_equal "${#lines[@]}" 2
	refute grep -q dbgsym_2 "$ACCESS"
	[ -e "$DEBUGINFO/buildid/$(build_id "$HELLO/usr/bin/hello")/debuginfo" ]
	gpgconf --homedir "$home" --kill all
}

@test "NAME-debuginfo without any debug package says so" {
	program 1
	mixer -C "$MIX" bundle add hello-debuginfo
	run mixer -C "$MIX" lock
	assert_success
	assert_output --partial "bundle 'hello-debuginfo' is empty"
}

# our_debs O: ci/deb, of the programs that are tested, into this folder
our_debs()
{
	local built
	built=$(realpath "$(dirname "$(command -v swupd)")/..")
	mkdir -p "$1"
	cp -r "$built/bin" "$built/guest" "$1/"
	cd "$BATS_TEST_DIRNAME/../.."
	O=$1 run ci/deb
}

@test "our own packages have their symbols and sources beside them" {
	local o=$BATS_TEST_TMPDIR/o root=$BATS_TEST_TMPDIR/root programs
	our_debs "$o"
	assert_success
	mkdir "$root"
	for package in swupd swupd-dbgsym limpid-mixer limpid-mixer-dbgsym limpid-guest limpid-guest-dbgsym limpid-dbgsrc; do
		dpkg-deb -x "$o"/deb/"$package"_*.deb "$root"
	done
	# each of them, so that a new one cannot be forgotten
	mapfile -t programs < <(cd "$root" && find usr/bin usr/lib/limpid -type f -exec sh -c 'readelf -h "$1" >/dev/null 2>&1' sh {} \; -print | sort)
	assert_equal "${programs[*]}" "usr/bin/mixer usr/bin/swupd usr/lib/limpid/first usr/lib/limpid/mark usr/lib/limpid/record.so usr/lib/limpid/workload"
	for program in "${programs[@]}"; do
		case $program in
		*.so) function=qemu_plugin_install ;;
		*/first) function=first ;;
		*) function=main ;;
		esac
		run gdb -nx -batch -iex "set debug-file-directory $root/usr/lib/debug" -ex "set substitute-path /usr/src/debug $root/usr/src/debug" \
			-ex "info line $function" -ex "list $function" "$root/$program"
		assert_success
		assert_line --regexp 'Line [0-9]+ of "(/usr/src/debug/limpid-[0-9.]+/)?(swupd|mixer|mixer/record|images/guest|tests/vm)/[a-z]+\.c"'
		assert_line --regexp "[0-9]+.*$function\\("
		run readelf -S "$root/$program"
		refute_line --partial .debug_info
	done
}

@test "no package of ours is made with a program that nobody could find the symbols of" {
	local o=$BATS_TEST_TMPDIR/o
	our_debs "$o"
	assert_success
	before=$(cd "$o/deb" && sha256sum ./*)
	objcopy --remove-section=.note.gnu.build-id "$o/bin/mark"
	run env O="$o" ci/deb
	assert_failure 1
	assert_output "deb: /usr/lib/limpid/mark has no build-id: nobody could find its symbols"
	# those of before stay
	assert_equal "$(cd "$o/deb" && sha256sum ./*)" "$before"
}
