#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# images/run: which machine each kind of image gets, and what it says to what it cannot do. Nothing is booted here: tests/vm does.

load lib

# image NAME KIND [MEMBER…]: an image of a MiB with its sidecar
image()
{
	local member
	truncate -s 1M "$BATS_TEST_TMPDIR/$1.img"
	{
		printf '{\n  "name": "%s",\n  "kind": "%s",\n  "file": "%s.img",\n' "$1" "$2" "$1"
		for member in "${@:3}"; do
			printf '  %s,\n' "$member"
		done
		printf '  "inputs": "0"\n}\n'
	} >"$BATS_TEST_TMPDIR/$1.json"
	: >"$BATS_TEST_TMPDIR/vmlinux-guest"
}

# dry [OPTION…]: QEMU's words, one a line
dry()
{
	cd "$BATS_TEST_TMPDIR" || return
	run "$TOP/images/run" --dry-run --accel=tcg "$@"
	if [ "$status" = 0 ]; then
		output=$(eval "printf '%s\n' $output")
		mapfile -t lines <<<"$output"
	fi
}

pmem='"cmdline": "root=/dev/pmem0 rootfstype=erofs rootflags=dax=always ro quiet"'
kernel='"vmlinux": "vmlinux-guest"'

@test "a DAX image is persistent memory, read-only and shared, of a q35 with the smallest firmware" {
	image a dax-erofs "$kernel" "$pmem"
	dry a.img
	assert_success
	assert_line "memory-backend-file,id=image,share=on,readonly=on,mem-path=./a.img,size=1048576"
	assert_line "virtio-pmem-pci,memdev=image"
	assert_line qboot.rom
	assert_line ./vmlinux-guest
	assert_line "256M,slots=4,maxmem=1281M"
	assert_line "console=hvc0 panic=-1 reboot=t TERM=dumb root=/dev/pmem0 rootfstype=erofs rootflags=dax=always ro quiet"
}

@test "the same as a block device: another name, nothing mapped" {
	image a dax-erofs "$kernel" "$pmem"
	dry a --attach=blk
	assert_line "if=none,id=image,format=raw,file=./a.img,readonly=on"
	assert_line --partial "root=/dev/vda rootfstype=erofs ro quiet"
	dry a.json --attach=blk --machine=microvm --memory=64 --cpus=2
	assert_line virtio-blk-device,drive=image
	assert_line --partial microvm,acpi=off
	assert_line 64M
	assert_line 2
}

@test "a Kata image is an NVDIMM when it has the header, and keeps quotes of its command line" {
	image k kata "$kernel" '"dax-header": true' '"cmdline": "dm-mod.create=\"v,,,ro,0 8 verity 1 /dev/pmem0p1 /dev/pmem0p2\" root=/dev/dm-0"'
	dry k
	assert_line "nvdimm,memdev=image,unarmed=on"
	assert_line --regexp "^q35,nvdimm=on"
	assert_line --partial 'dm-mod.create="v,,,ro,0 8 verity 1 /dev/pmem0p1 /dev/pmem0p2" root=/dev/dm-0'
	dry k --attach=blk
	assert_line --partial 'verity 1 /dev/vda1 /dev/vda2"'
	image k kata "$kernel" '"dax-header": false' '"cmdline": "root=/dev/vda1"'
	dry k
	assert_line virtio-blk-pci,drive=image
}

@test "an initrd goes with its kernel: the tiny one on a microvm" {
	image i initrd "$kernel" '"cmdline": "quiet"'
	dry i
	assert_line --regexp "^q35,sata=off"
	assert_line ./i.img
	image i initrd "$kernel" '"kernel": "guest-tiny"'
	dry i
	assert_line --partial microvm
}

@test "a disk has UEFI, is not changed unless asked to, and hears its command line from the firmware" {
	image d disk
	dry d --append=a,b
	assert_line --partial if=pflash,unit=0,format=raw,readonly=on
	assert_line --partial file=./d.img,snapshot=on
	assert_line --partial "kernel-cmdline-extra=console=ttyS0"
	assert_line --partial "a,,b"
	dry d --write
	assert_line --partial file=./d.img,snapshot=off
}

@test "what the guest runs: share, bundle, command" {
	image a dax-erofs "$kernel" "$pmem"
	mkdir "$BATS_TEST_TMPDIR/share"
	dry a --share="$BATS_TEST_TMPDIR/share" --share-by=9p --tag=t --workload=b/config.json
	assert_line virtio-9p-pci,fsdev=share,mount_tag=t
	assert_line --partial "limpid.share=t limpid.workload=b/config.json root="
	dry a --append=root=/dev/other
	assert_line --regexp ' root=/dev/pmem0 .* root=/dev/other$'
	dry a --exec="sh -c 'exit 7'" -- -device pvpanic
	assert_line --partial "limpid.exec=\"sh -c 'exit 7'\""
	assert_line pvpanic
}

@test "what cannot be done is said in one line" {
	image a dax-erofs "$kernel" "$pmem"
	image t tar
	image n dax-erofs
	local case words
	while IFS='|' read -r words case; do
		# shellcheck disable=SC2086 # words
		dry $words
		assert_equal "$status" 2
		assert_line "run: $case"
	done <<-'END'
		|which image?
		nothing|there is no 'nothing'
		a b|only one image can be run, not also 'b'
		--frob a|there is no option '--frob'
		--memory=many a|--memory=many: not a number
		--attach=scsi a|--attach=scsi: not one of pmem nvdimm blk
		--attach=nvdimm a|an image of kind 'dax-erofs' has not the header that an nvdimm needs for DAX
		--machine=microvm a|microvm has no pmem device
		--share=/no/where a|there is no directory '/no/where' to share
		--exec=say"no" a|--exec: the kernel has no way to quote a "
		--kernel=gone a|there is no 'gone'
		t|'t' is of kind 'tar', which does not boot
		n|'n' has no kernel of its own
	END
	: >"$BATS_TEST_TMPDIR/lonely.img"
	dry lonely.img
	assert_line "run: 'lonely.img' has no .json beside it that says what it is"
}

@test "--help lists every option in 80 columns" {
	run -0 "$TOP/images/run" --help
	local option
	for option in $(grep -oE '^	--[a-z-]+' "$TOP/images/run"); do
		[ "$option" = -- ] || assert_line --partial "$option"
	done
	assert_equal "$(awk 'length > 80' <<<"$output")" ""
}
