#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# Guests that are a kernel and one program: no systemd, no shell, no disk.

load lib

setup()
{
	# a static program, with a status and a message of its own
	SHARE=$BATS_TEST_TMPDIR/share
	mkdir "$SHARE"
	cp "$TOP/build/guest/first" "$SHARE/program"
}

# runs IMAGE: it runs a program of the host's, and ends with its status
runs()
{
	vm_run --memory=32 --share="$SHARE" --share-by=9p --exec=/run/limpid/share/program "$@"
	echo "$output"
	assert_equal "$status" 2
	assert_line 'first: only the kernel runs this, as PID 1'
}

@test "tiny: on a machine without PCI and ACPI, in 32 MiB" {
	vm_image tiny
	runs "$IMAGE"
}

@test "initrd-agent: the kernel of other guests, the agent is PID 1" {
	vm_image initrd-agent
	runs "$IMAGE" --memory=64
}
