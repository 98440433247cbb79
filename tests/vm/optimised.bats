#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# The loop of 'make optimised' for one small package: dash is rebuilt, shipped, watched in a guest of that release, rebuilt with what was learnt, shipped again, and its
# debug information found by a debugger that has nothing but the address of a web server.

load lib
load ../func/serve

setup_file()
{
	[ "$(id -u)" = 0 ] || return 0
	export O=${VM_MIX%/vm/mix}
	export MIX=$O/optimised/mix
	rm -f "$MIX/local-recipes/dash.profile"
	# not every mirror has the sources of security updates
	SOURCES=debian timeout 1500 "$BATS_TEST_DIRNAME/../../ci/optimised" dash >"$BATS_FILE_TMPDIR/log" 2>&1 || {
		tail -n 30 "$BATS_FILE_TMPDIR/log"
		return 1
	}
}

setup()
{
	[ "$(id -u)" = 0 ] || skip "builds roots"
	NUMBER=$(cat "$MIX/update/www/version/format30/latest")
}

teardown()
{
	serve_stop
}

@test "what the guest executed of dash is known by line, and pinned with where it comes from" {
	run cat "$BATS_FILE_TMPDIR/log"
	[[ $output =~ /usr/bin/dash:\ lines\ are\ known\ of\ ([0-9]+) ]]
	[ "${BASH_REMATCH[1]}" -ge 90 ]
	profile=$MIX/local-recipes/dash.profile
	run mixer profile show "$profile"
	assert_line --regexp '^dash 0\.5\.[^ ]+, build-id [0-9a-f]{40}$'
	assert_line --regexp 'calls +evalcommand$'
	# the newest comes first, before what is shipped with the recipe
	run grep -m 1 '^# recorded' "$profile"
	assert_output --partial "workload $(sha256sum bundles/recipes/dash.workload | cut -d' ' -f1)"
	run grep -m 1 '^# weight' "$profile"
	assert_output '# weight 1000 generation 0'
}

@test "the release has the package that was built with the profile" {
	run mixer -C "$MIX" package list
	assert_line --regexp '^dash +0\.5\.[^ ]*\+limpid\.[0-9a-f]{10} +profile +/bin/sh$'
	locked=$(sed -n 's/^package dash \([^ ]*\) .*/\1/p' "$MIX/mixer.lock")
	run mixer -C "$MIX" package list
	assert_line --partial " $locked "
	run mixer -C "$MIX" package build --no-profile dash
	assert_success
	run mixer -C "$MIX" package list
	assert_line --regexp '^dash .* profile .*inputs changed since it was built'
	mixer -C "$MIX" package build dash
}

@test "it runs in a guest, and takes fewer instructions than without the profile" {
	[ -n "${LONG:-}" ] || skip "makes two more releases: LONG=1"
	RUNS=0 MIX=$MIX SOURCES=debian timeout 1500 ci/bench-fdo dash >"$BATS_TEST_TMPDIR/log" 2>&1 || {
		tail -n 30 "$BATS_TEST_TMPDIR/log"
		return 1
	}
	jq -e '.[0] | .name == "dash: instructions of its workload" and .value > 1e8 and .value < .baseline_value' "$O/bench/fdo.json"
}

@test "a debugger finds symbols, lines and source text of it by a web server alone" {
	serve "$MIX/update/www"
	export DEBUGINFOD_URLS=$URL/debuginfo DEBUGINFOD_CACHE_PATH=$BATS_TEST_TMPDIR/cache
	id=$(jq -r '.files[] | select(.path == "/usr/bin/dash") | .build_id' "$MIX/update/www/$NUMBER/debuginfo.json")
	program=$(timeout 60 debuginfod-find executable "$id")
	run timeout 120 gdb -q -batch -nx -iex 'set debuginfod enabled on' -ex 'info line evalcommand' -ex 'list evalcommand' "$program"
	assert_line --regexp 'Line [0-9]+ of ".*eval\.c"'
	assert_line --regexp '^[0-9]+.*evalcommand\('
}

# dash_of DEBS: a digest of its instructions; the program is $BATS_TEST_TMPDIR/dash
dash_of()
{
	rm -rf "$BATS_TEST_TMPDIR/x"
	dpkg-deb -x "$1"/dash_*.deb "$BATS_TEST_TMPDIR/x"
	cp "$BATS_TEST_TMPDIR/x/usr/bin/dash" "$BATS_TEST_TMPDIR/dash"
	objdump -d --no-show-raw-insn "$BATS_TEST_TMPDIR/dash" | sha256sum
}

# says ROOT: what the script of dash's workload prints there
says()
{
	rm -rf "$1"/tmp/{work,out}
	mkdir -p "$1/tmp/work"
	cp bundles/recipes/dash.workload "$1/tmp/workload"
	# when the workload is done, its folder is still there
	# shellcheck disable=SC2016 # that script's
	printf '#!/bin/sh\ncp "$TMPDIR"/*/out /tmp/out 2>/dev/null || :\n' >"$1/tmp/mark"
	chmod 755 "$1/tmp/mark"
	chroot "$1" /usr/bin/env -i PATH=/usr/bin TMPDIR=/tmp/work MARK=/tmp/mark dash /tmp/workload 2
	cat "$1/tmp/out"
}

@test "clang uses the profile, too, and what it makes does the same" {
	[ -n "${LONG:-}" ] || skip "builds it two times more: LONG=1"
	mix=$BATS_TEST_TMPDIR/mix
	mixer init "$mix" --bundles=bundles >/dev/null
	mkdir -p "$mix/local-recipes"
	cp bundles/recipes/dash{,.profile,.workload} "$mix/local-recipes"
	echo 'compiler = clang' >>"$mix/local-recipes/dash"
	mixer -C "$mix" package lock --repositories=debian dash
	mixer -C "$mix" package build --no-profile dash
	plain=$(dash_of "$mix/local-debs")
	run -0 mixer -C "$mix" package build dash
	# the log is of what was built last
	[[ $output == *"as before"* ]] || grep -q -e -fprofile-sample-use=/mnt/profile/dash.prof /var/cache/limpid/rebuilds/log/dash.log
	run -0 dash_of "$mix/local-debs"
	refute_output "$plain"
	# in the release, in the place of gcc's
	root=$BATS_TEST_TMPDIR/root
	swupd os-install --url="file://$MIX/update/www" --certpath="$MIX/Swupd_Root.pem" --bundles=os-core --no-scripts --statedir="$BATS_TEST_TMPDIR/state" "$root"
	mkdir -p "$root"/{tmp,dev}
	touch "$root/dev/null"
	says "$root" >"$BATS_TEST_TMPDIR/gcc"
	# one for each file and round
	[ "$(wc -l <"$BATS_TEST_TMPDIR/gcc")" -gt 4000 ]
	cp --remove-destination "$BATS_TEST_TMPDIR/dash" "$root/usr/bin/dash"
	says "$root" >"$BATS_TEST_TMPDIR/clang"
	cmp "$BATS_TEST_TMPDIR/gcc" "$BATS_TEST_TMPDIR/clang"
}
