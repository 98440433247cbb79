# SPDX-License-Identifier: LGPL-2.1-or-later
# For the tests that boot: images of the release in $VM_MIX (ci/vm makes it), guests by images/run or by QEMU directly.
# shellcheck shell=bash disable=SC2154,SC2034 # bats sets status, output and BATS_*, and reads the first two

bats_require_minimum_version 1.5.0
load /usr/lib/bats/bats-support/load.bash
load /usr/lib/bats/bats-assert/load.bash
load /usr/lib/bats/bats-file/load.bash

TOP=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)
VM_MIX=${VM_MIX:-$TOP/build/vm/mix}
# VM_KERNEL=FILE: a kernel to try, instead of the images' own
VM_KERNEL=${VM_KERNEL:-}
# Seconds after which a guest hangs. An emulated boot takes two, on a machine that others use, too.
VM_TIMEOUT=${VM_TIMEOUT:-120}
export TOP VM_MIX

# vm_mixer ARGUMENT…: of the release's workspace, of which every file of tests makes its images: one at a time
vm_mixer()
{
	flock "$VM_MIX" mixer -C "$VM_MIX" "$@"
}

# vm_image NAME [LINE…]: make this image of the release; its path is in $IMAGE. With lines: the image is of this test, and they
# are its definition. An image whose inputs have not changed is not made again.
vm_image()
{
	local name=$1
	shift
	if [ $# != 0 ]; then
		mkdir -p "$VM_MIX/local-images"
		printf '%s\n' "$@" >"$VM_MIX/local-images/$name.image"
	fi
	vm_mixer image "$name" >"$BATS_FILE_TMPDIR/$name.log" 2>&1 || {
		cat "$BATS_FILE_TMPDIR/$name.log"
		return 1
	}
	IMAGE=$VM_MIX/update/images/$(vm_release)/$name
}

# vm_release: its number
vm_release()
{
	cat "$VM_MIX/update/www/version/format30/latest"
}

# vm_run [OPTION…] IMAGE [-- QEMU ARGUMENT…]: images/run, nobody at the terminal; $status is the workload's, $output the console
vm_run()
{
	run "$TOP/images/run" --timeout="$VM_TIMEOUT" ${VM_KERNEL:+--kernel="$VM_KERNEL"} "$@" </dev/null
}

# vm_start NAME [OPTION…] IMAGE [-- QEMU ARGUMENT…]: the same in the background: its console goes to the file $BATS_TEST_TMPDIR/NAME,
# its process is in ${VM_PID[NAME]}. vm_cleanup, in teardown, ends those that still run.
declare -gA VM_PID=()
vm_start()
{
	local name=$1
	shift
	"$TOP/images/run" --timeout="$VM_TIMEOUT" ${VM_KERNEL:+--kernel="$VM_KERNEL"} "$@" </dev/null >"$BATS_TEST_TMPDIR/$name" 2>&1 3>&- &
	VM_PID[$name]=$!
}

# vm_says NAME TEXT: wait until the console of that guest has a line with this text
vm_says()
{
	local end=$((SECONDS + VM_TIMEOUT))
	until grep -qF -- "$2" "$BATS_TEST_TMPDIR/$1"; do
		if ! kill -0 "${VM_PID[$1]}" 2>/dev/null || [ "$SECONDS" -ge "$end" ]; then
			# it may have said so with its last words
			grep -qF -- "$2" "$BATS_TEST_TMPDIR/$1" && return 0
			echo "the guest $1 has not said '$2':"
			tail -n 40 "$BATS_TEST_TMPDIR/$1"
			return 1
		fi
		sleep 0.1
	done
}

# vm_qemu NAME: the process of QEMU of that guest
vm_qemu()
{
	local pid
	for pid in $(ps -o pid= --ppid "${VM_PID[$1]}"); do
		[ "$(cat "/proc/$pid/comm")" != qemu-system-x86 ] || echo "$pid"
	done
}

# vm_wait NAME: until it has ended; $status is its, $output (and ${lines[@]}) its console
vm_wait()
{
	status=0
	wait "${VM_PID[$1]}" || status=$?
	output=$(cat "$BATS_TEST_TMPDIR/$1")
	mapfile -t lines <<<"$output"
	unset "VM_PID[$1]"
}

vm_cleanup()
{
	local pid
	for pid in "${VM_PID[@]}"; do
		# the first signal is for the workload, which need not heed it
		while kill "$pid" 2>/dev/null; do
			sleep 0.3
		done
		wait "$pid" || true
	done
	VM_PID=()
}

# oci DIR WORD…: an OCI bundle in DIR, with what is in DIR/root, that runs these words; $OCI is a jq filter that changes its config.json
oci()
{
	local dir=$1
	shift
	mkdir -p "$dir/root"
	jq -n '{
		ociVersion: "1.0.2",
		process: {
			cwd: "/", args: $ARGS.positional, env: ["PATH=/bin:/usr/bin"], user: {uid: 0, gid: 0}, noNewPrivileges: true,
			capabilities: {bounding: ["CAP_KILL"], permitted: ["CAP_KILL"], effective: ["CAP_KILL"]}
		},
		root: {path: "root"},
		hostname: "container",
		mounts: [
			{destination: "/proc", type: "proc", source: "proc"},
			{destination: "/dev", type: "tmpfs", source: "tmpfs", options: ["nosuid", "mode=755", "size=64k"]},
			{destination: "/dev/pts", type: "devpts", source: "devpts", options: ["nosuid", "noexec", "newinstance", "ptmxmode=0666"]},
			{destination: "/sys", type: "sysfs", source: "sysfs", options: ["nosuid", "noexec", "nodev", "ro"]},
			{destination: "/sys/fs/cgroup", type: "cgroup", source: "cgroup", options: ["ro"]}
		],
		linux: {
			namespaces: [{type: "pid"}, {type: "network"}, {type: "ipc"}, {type: "uts"}, {type: "mount"}, {type: "cgroup"}],
			resources: {pids: {limit: 64}}
		}
	}' --args -- "$@" | jq "${OCI:-.}" >"$dir/config.json"
}
