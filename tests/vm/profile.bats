#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# Profiles of what a guest executes: a program whose counts anybody can tell is recorded, and compilers make it faster by what was seen.

load lib

FLAGS=(-O2 -g -fcf-protection -Wl,--build-id)

setup_file()
{
	export DIR=$BATS_FILE_TMPDIR
	mkdir -p "$DIR/root/usr/bin"
	gcc "${FLAGS[@]}" -o "$DIR/known" "$TOP/tests/vm/profile/known.c"
	cp "$DIR/known" "$DIR/root/usr/bin/known"
	workload "$DIR/known" >"$DIR/workload"
	record known "$DIR/workload" >"$DIR/log" 2>&1 || {
		cat "$DIR/log"
		return 1
	}
	export PROFILE=$VM_MIX/local-recipes/known.profile
}

teardown_file()
{
	rm -f "$VM_MIX"/local-recipes/{known,faster,kernel-guest}.profile
}

# workload PROGRAM: a script that brings it into the guest, and runs it
workload()
{
	printf 'base64 -d >/tmp/known <<END\n%s\nEND\nchmod 755 /tmp/known && /tmp/known\n' "$(base64 "$1")"
}

# record NAME WORKLOAD [OPTION…]
record()
{
	rm -f "$VM_MIX/local-recipes/$1.profile"
	vm_mixer profile record "$1" --workload="$2" --root="$DIR/root" --source='known 1.0-1' "${@:3}" </dev/null
}

# function NAME: what the profile says of it
function_of()
{
	sed -n "/^$1:/,/^[^ ]/p" "$PROFILE" | sed '1b; /^[^ ]/d'
}

# instructions FILE: that programs executed in the recording
instructions()
{
	awk '$1 == "block" {n += $3 * $4} END {print n}' "$1"
}

@test "what a program executed is counted exactly, by function and line" {
	run function_of hot
	assert_line --regexp '^hot:[0-9]+:2$'
	# the call by pointer is five lines below hot's first, and went to both
	assert_line --regexp '^ 5(\.[0-9]+)?: 110000 thrice:10000 twice:100000$'
	# one in eight
	assert_line --regexp '^ 6(\.[0-9]+)?: 110000$'
	assert_line --regexp '^ 7(\.[0-9]+)?: 13750$'
	# step is inlined there
	assert_line --regexp '^ 7(\.[0-9]+)?: step:[0-9]+$'
	assert_line --regexp '^  2(\.[0-9]+)?: 13750$'
	run function_of twice
	assert_line --regexp '^twice:[0-9]+:100000$'
	run function_of weigh
	assert_line --regexp '^weigh:[0-9]+:110000$'
	run function_of cold
	assert_line --regexp '^cold:[0-9]+:1$'
}

@test "the profile says what it is of" {
	build_id=$(readelf -n "$DIR/known" | sed -n 's/.*Build ID: //p')
	run mixer profile show "$PROFILE" --match="$DIR/known"
	assert_success
	assert_line "known 1.0-1, build-id $build_id"
	assert_line --regexp "recorded 20.* by qemu, workload $(sha256sum "$DIR/workload" | cut -c 1-16), weight 100.0 %, 0 builds ago"
	assert_line --regexp '^100.0 % of it is of functions'
	assert [ "$(grep -c '% .*calls  hot$' <<<"$output")" = 1 ]
}

@test "nearly all that programs executed is of known files; without debug information that is all there is to say" {
	printf 'seq 1 20000 | sort -r | sha256sum\n' >"$DIR/sort"
	run vm_mixer profile record sort --workload="$DIR/sort"
	assert_failure 1
	assert_line --partial 'there is no debug information of what was executed, as of /usr/'
	assert_line --partial 'hint: --debug'
	share=$(sed -n 's/.*executed, \([0-9]*\)\.[0-9] % is of files of the release.*/\1/p' <<<"$output")
	assert [ "$share" -ge 95 ]
}

@test "gcc needs fewer instructions with it" {
	mixer profile export --gcc="$(gcc -dumpversion | cut -d . -f 1)" "$PROFILE" "$DIR/known.afdo"
	gcc "${FLAGS[@]}" -fauto-profile="$DIR/known.afdo" -o "$DIR/faster" "$TOP/tests/vm/profile/known.c"
	[ "$("$DIR/faster")" = "$("$DIR/known")" ]
	workload "$DIR/faster" >"$DIR/workload.faster"
	cp "$DIR/faster" "$DIR/root/usr/bin/faster"
	record faster "$DIR/workload.faster" --files=/usr/bin/faster --keep="$DIR/faster.recording"
	workload "$DIR/known" >"$DIR/workload.known"
	record faster "$DIR/workload.known" --files=/usr/bin/known --keep="$DIR/known.recording"
	before=$(instructions "$DIR/known.recording") after=$(instructions "$DIR/faster.recording")
	echo "$before $after" | tee "$DIR/instructions"
	# 1.2 million fewer of 3.2, besides what shell and base64 take
	assert [ $((before - after)) -gt 800000 ]
}

@test "clang reads it as it is" {
	clang -O2 -g -fprofile-sample-use="$PROFILE" -S -emit-llvm -o "$DIR/known.ll" "$TOP/tests/vm/profile/known.c"
	run grep -A 5 '^define.* @hot(' "$DIR/known.ll"
	assert_output --partial '!prof'
	# hot was entered twice; clang adds one
	run grep 'function_entry_count' "$DIR/known.ll"
	assert_output --partial 'i64 3}'
}

@test "the kernel of a guest is recorded from power-on" {
	rm -f "$VM_MIX/local-recipes/kernel-guest.profile"
	# shellcheck disable=SC2016 # the guest's
	printf 'i=0; while [ $i -lt 100 ]; do i=$((i + 1)); read -r line </proc/self/stat; done\n' >"$DIR/reads"
	run vm_mixer profile record --kernel guest --workload="$DIR/reads" --age=0 --keep="$DIR/kernel.recording"
	assert_success
	[[ $output =~ 'of what the kernel executed, '([0-9]+) ]]
	[ "${BASH_REMATCH[1]}" -ge 95 ]
	[[ $output =~ /usr/lib/kernel/guest/vmlinux:\ lines\ are\ known\ of\ ([0-9]+) ]]
	# of code that it moves between branches clang says line 0; of gcc's it is 98
	[ "${BASH_REMATCH[1]}" -ge 75 ]
	PROFILE=$VM_MIX/local-recipes/kernel-guest.profile
	run mixer profile show "$PROFILE"
	assert_line --regexp '^linux [0-9].*\+limpid\.[0-9a-f]{10}, build-id [0-9a-f]{40}$'
	# once, before there is a program
	run function_of start_kernel
	assert_line --regexp '^start_kernel:[0-9]+:1$'
	# a call by pointer, 100 times and more
	run function_of proc_single_show
	assert_line --regexp '^ [0-9.]+: [0-9]+ (.* )?proc_(tgid|pid)_stat:1[0-9][0-9]( |$)'
	for function in do_syscall_64 do_task_stat; do
		run function_of "$function"
		assert_line --regexp "^$function:[0-9]+:[1-9][0-9][0-9]+$"
	done
	run vm_mixer profile import --kernel=guest --source='linux 1' "$DIR/kernel.recording" "$DIR/kernel.profile"
	assert_success
	diff <(grep -v '^#' "$PROFILE") <(grep -v '^#' "$DIR/kernel.profile")
	run vm_mixer profile import --kernel=native "$DIR/kernel.recording" "$DIR/kernel.profile"
	assert_failure 1
}

# kernels: a workspace whose kernel is known.c, which a recipe of this test compiles as ours does the kernel
kernels()
{
	cd "$BATS_TEST_TMPDIR"
	mkdir -p config/{profiles,fragments,trained}
	printf '# Not much.\nfragments = none\ntrained = t\n' >config/profiles/small
	cp "$TOP/tests/vm/profile/known.c" config/fragments/none.config
	: >config/check
	cat >config/build <<-'END'
		set -eu
		compile() { gcc -g -O2 $FLAGS -x c -o /mnt/build/vmlinux /mnt/config/fragments/none.config; echo "told $FLAGS"; }
		package()
		{
			mkdir -p /tmp/deb/DEBIAN
			cp /mnt/build/vmlinux /tmp/deb/vmlinux
			printf 'Package: limpid-kernel-small\nVersion: %s\nArchitecture: amd64\nMaintainer: x <x@localhost>\nDescription: x\n' "$VERSION" >/tmp/deb/DEBIAN/control
			dpkg-deb --root-owner-group -b /tmp/deb "/mnt/out/limpid-kernel-small_${VERSION}_amd64.deb"
		}
		case $1 in compile | package) "$1" ;; esac
	END
	mixer init mix --bundles="$TOP/bundles" --content-url="file://$PWD/mix/update/www"
	printf '\n[mix]\nkernel-config = %s/config\n' "$PWD" >>mix/mixer.conf
	cp "$VM_MIX/tools.lock" mix/
}

# built [OPTION…]: builds it; $told is what its compiler was, $version which it became
built()
{
	run mixer -C mix kernel build "$@" small
	assert_success
	told=$(sed -n 's/^told //p' /var/cache/limpid/kernels/log/small.log | tail -n 1)
	version=$(basename mix/local-debs/*.deb)
}

@test "a kernel is built with what was learnt of it: another one; if that was another program's, without, and a warning says so" {
	kernels
	built
	assert_equal "$told" ''
	plain=$version
	cp "$PROFILE" config/trained/t.profile
	built
	[[ $told == -fauto-profile=/mnt/profile/small.afdo* ]]
	refute_output --partial warning
	[ "$version" != "$plain" ]
	trained=$version
	# the workspace's own hides it
	mkdir mix/local-recipes
	sed 's/^hot:\([0-9]*\):2$/hot:\1:3/' "$PROFILE" >mix/local-recipes/kernel-t.profile
	built
	[ "$version" != "$trained" ]
	rm mix/local-recipes/kernel-t.profile
	built
	assert_equal "$version" "$trained"
	assert_output --partial 'as before'
	built --no-profile
	assert_equal "$version" "$plain"
	sed -E 's/^([a-z]+):/other_\1:/; s/: (step|thrice|twice):/: other_\1:/' "$PROFILE" >config/trained/t.profile
	built
	assert_equal "$told" ''
	assert_output --partial "built without its training, '$PWD/config/trained/t.profile'"
	built
	assert_output --partial 'as before'
	assert_output --partial "built without its training"
	run mixer -C mix kernel list
	assert_line --regexp '^small .* stale profile Not much\.$'
	built --no-profile
	run mixer -C mix kernel list
	assert_line --regexp '^small .* profile +Not much\.$'
	refute_output --partial stale
}

@test "what cannot be recorded is one line with a way out" {
	run vm_mixer profile record known
	assert_failure 1
	assert_line --partial "there is no recipe 'known'"
	printf 'exit 7\n' >"$DIR/fails"
	run record broken "$DIR/fails"
	assert_failure 1
	assert_line --partial "ended with status 7"
	assert_line --partial 'hint: '
	refute [ -e "$VM_MIX/local-recipes/broken.profile" ]
	run vm_mixer profile record --kernel none
	assert_failure 1
	assert_line --partial "there is no kernel profile 'none'"
	run record broken "$DIR/none"
	assert_failure 1
	assert_line --partial "none: No such file"
}
