#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# A guest runs what it is given, says how that ended, and is gone: a container of release content, shared by the host.

load lib

setup_file()
{
	vm_image workload
	export IMAGE SHARE=$BATS_FILE_TMPDIR/share
	local mix=$VM_MIX
	swupd os-install --url="file://$mix/update/www" --certpath="$mix/Swupd_Root.pem" --bundles=container-guest --no-scripts \
		--statedir="$BATS_FILE_TMPDIR/state" "$BATS_FILE_TMPDIR/root" >/dev/null
	# all bundles of this file have the one root
	mkdir -p "$SHARE"
	mv "$BATS_FILE_TMPDIR/root" "$SHARE/root"
}

setup()
{
	[ "$(id -u)" = 0 ] || skip "an installed root is root's"
}

teardown()
{
	vm_cleanup
}

# bundle NAME SCRIPT: an OCI bundle in the share that runs a script of sh in the shared root
bundle()
{
	OCI='.root.path = "../root"' oci "$SHARE/$1" /usr/bin/sh -c "$2"
}

@test "a container over 9p: its own namespaces and cgroup, and its exit status is ours" {
	bundle own 'echo "I am $$ on $(cat /proc/sys/kernel/hostname)"; cat /proc/self/cgroup; cat /sys/fs/cgroup/pids.max
		ls -1 /proc/sys/net/ipv4/conf; echo written >/written; exit 7'
	vm_run "$IMAGE" --share="$SHARE" --share-by=9p --workload=own
	assert_equal "$status" 7
	assert_line "I am 1 on container"
	assert_line "0::/"
	assert_line 64
	# a network of its own has no device but lo
	refute_line eth0
	assert_line lo
	# what it wrote is on this side
	assert_equal "$(cat "$SHARE/root/written")" written
}

@test "a container over virtiofs, its bundle named by the configuration" {
	[ -x /usr/libexec/virtiofsd ] || [ -x /usr/lib/qemu/virtiofsd ] || skip "no virtiofsd"
	bundle fs 'echo hello from fs'
	vm_run "$IMAGE" --share="$SHARE" --share-by=virtiofs --tag=other --workload=fs/config.json
	assert_equal "$status" 0
	assert_line "hello from fs"
}

@test "without systemd: the workload's runner is PID 1" {
	bundle tiny 'echo tiny; exit 3'
	vm_run "$IMAGE" --append=limpid.init=/usr/lib/limpid/workload --share="$SHARE" --share-by=9p --workload=tiny
	assert_equal "$status" 3
	assert_output tiny
}

@test "a signal to images/run is one for the container" {
	bundle signals 'trap "echo asked to end; exit 5" TERM; echo running; while :; do sleep 0.1; done'
	vm_start a "$IMAGE" --share="$SHARE" --share-by=9p --workload=signals
	vm_says a running
	kill -TERM "${VM_PID[a]}"
	vm_wait a
	assert_line "asked to end"
	assert_equal "$status" 5
}

@test "a command of the guest instead of a container" {
	vm_run "$IMAGE" --exec="echo 'two  words' >&2; kill -USR1 \$\$"
	# and not a word besides
	assert_output "two  words"
	assert_equal "$status" 138
	vm_run "$IMAGE" --append=limpid.init=/usr/lib/limpid/workload --exec="no-such-program --at all"
	assert_equal "$status" 125
	assert_line "run: the guest could not run its workload: cannot run 'no-such-program': No such file or directory"
}

@test "a terminal: what is typed, its size, Ctrl-C" {
	run "$BATS_TEST_DIRNAME/terminal.py" "$TOP/images/run" --timeout="$VM_TIMEOUT" ${VM_KERNEL:+--kernel="$VM_KERNEL"} "$IMAGE" --exec=/bin/sh
	assert_equal "$status" 4
	refute_output --partial "still 42"
}

@test "no share, another share, no bundle, a broken one, a program that is not there: said, and off" {
	local off=--append=limpid.init=/usr/lib/limpid/workload
	vm_run "$IMAGE" --workload=own
	assert_equal "$status" 125
	assert_line "limpid: cannot run the workload: the host shares nothing: no device for virtiofs or 9p"
	assert_line --partial "run: the guest could not run its workload: the host shares nothing"

	vm_run "$IMAGE" "$off limpid.share=wanted" --tag=given --share="$SHARE" --share-by=9p
	assert_equal "$status" 125
	assert_line "limpid: cannot run the workload: the host does not share 'wanted', but 'given'"

	vm_run "$IMAGE" "$off" --share="$SHARE" --share-by=9p --workload=nothing
	assert_equal "$status" 125
	assert_line --partial "there is no '/run/limpid/share/nothing'"

	mkdir -p "$SHARE/broken"
	echo '{ "ociVersion": "1.0.2", "process": {' >"$SHARE/broken/config.json"
	vm_run "$IMAGE" --share="$SHARE" --share-by=9p --workload=broken
	assert_equal "$status" 125
	assert_line --partial "config.json"
	assert_line "limpid: cannot run the workload: crun can make no container of '/run/limpid/share/broken'"

	OCI='.root.path = "../root"' oci "$SHARE/absent" /no/such/program
	vm_run "$IMAGE" "$off" --share="$SHARE" --share-by=9p --workload=absent
	assert_equal "$status" 125
	assert_line --partial "/no/such/program"
}

@test "a guest that hangs is ended after its time" {
	VM_TIMEOUT=8 vm_run "$IMAGE" --exec="sleep 1000"
	assert_equal "$status" 124
}
