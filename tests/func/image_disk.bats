#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# Images that are disks, of a small release: Kata's layout byte by byte, its hash tree as veritysetup sees it, what Kata has to find in it; a UEFI disk.

# shellcheck disable=SC2154 # bats sets stderr and stderr_lines

load lib

MIB=1048576

# One mix for all tests of this file
setup_file()
{
	[ "$(id -u)" = 0 ] || return 0
	export MIX=$BATS_FILE_TMPDIR/mix
	local top tree=$BATS_FILE_TMPDIR/mix/local-bundles/tree
	top=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)
	mixer init "$MIX" --bundles="$top/bundles" --content-url="file://$MIX/update/www"
	mkdir -p "$tree"/{usr/bin,usr/lib/systemd/system,usr/lib/kernel/small,usr/share/factory/etc} "$MIX/local-images" \
		"$MIX/local-bundles/agent/usr/bin" "$MIX/local-bundles/boot/usr/lib/systemd/boot/efi"
	# stands for systemd and Kata's units: what is looked at is whether they are there
	printf 'not systemd\n' >"$tree/usr/lib/systemd/systemd"
	chmod 755 "$tree/usr/lib/systemd/systemd"
	touch "$tree"/usr/lib/systemd/system/kata-{containers.target,agent.service}
	printf 'set-user-ID\n' >"$tree/usr/bin/su"
	chmod 4755 "$tree/usr/bin/su"
	echo 'a = 1' >"$tree/usr/share/factory/etc/app.conf"
	printf 'vmlinux\n' >"$tree/usr/lib/kernel/small/vmlinux"
	printf 'bzImage\n' >"$tree/usr/lib/kernel/small/bzImage"
	printf 'initrd of the release\n' >"$tree/usr/lib/kernel/small/initrd"
	printf 'agent\n' >"$MIX/local-bundles/agent/usr/bin/kata-agent"
	chmod 755 "$MIX/local-bundles/agent/usr/bin/kata-agent"
	printf 'systemd-boot of the release\n' >"$MIX/local-bundles/boot/usr/lib/systemd/boot/efi/systemd-bootx64.efi"
	printf '%s\n' '# [TITLE]: os-core' base-files 'content(tree)' >"$MIX/local-bundles/os-core"
	printf '%s\n' '# [TITLE]: kata-agent' 'content(agent)' >"$MIX/local-bundles/kata-agent"
	printf '%s\n' '# [TITLE]: loader' 'content(boot)' >"$MIX/local-bundles/loader"
	printf '%s\n' os-core kata-agent loader >"$MIX/mixbundles"
	mixer -C "$MIX" lock --repositories=debian >"$BATS_FILE_TMPDIR/log" 2>&1 || { cat "$BATS_FILE_TMPDIR/log" >&2; false; }
	mixer -C "$MIX" build >>"$BATS_FILE_TMPDIR/log" 2>&1 || { cat "$BATS_FILE_TMPDIR/log" >&2; false; }

	image k-erofs 'kind = kata' 'init = /usr/lib/systemd/systemd'
	image k-ext4 'kind = kata' 'init = /usr/lib/systemd/systemd' 'filesystem = ext4'
	image k-verity 'kind = kata' 'init = /usr/lib/systemd/systemd' 'verity = yes' 'kernel = small'
	image k-plain 'kind = kata' 'init = /usr/lib/systemd/systemd' 'filesystem = ext4' 'dax-header = no' 'verity = yes'
	image d 'kind = disk' 'kernel = small' 'initramfs = host' 'cmdline = quiet' 'etc = factory' 'size = 600M'
	mixer -C "$MIX" image k-erofs k-ext4 k-verity k-plain d >>"$BATS_FILE_TMPDIR/log" 2>&1 ||
		{ cat "$BATS_FILE_TMPDIR/log" >&2; false; }
}

# image NAME LINE…: a definition, with Kata's agent unless a line names other bundles
image()
{
	local name=$1
	shift
	printf '%s\n' "$@" >"$MIX/local-images/$name.image"
	grep -q '^bundles' "$MIX/local-images/$name.image" || echo 'bundles = kata-agent' >>"$MIX/local-images/$name.image"
}

setup()
{
	[ "$(id -u)" = 0 ] || skip "needs root"
	OUT=$MIX/update/images/10
	D=$BATS_TEST_TMPDIR
}

# member IMAGE NAME: of its description
member()
{
	sed -n "s/^  \"$2\": \"\{0,1\}\(.*[^\",]\)\"\{0,1\},\{0,1\}\$/\1/p" "$OUT/$1.json"
}

# number FILE OFFSET BYTES: a little-endian number in a file
number()
{
	od -A n -t "u$3" -j "$2" -N "$3" "$1" | tr -d ' '
}

# tool PROGRAM…: of the tools root; it sees $D as /mnt/d
tool()
{
	mixer -C "$MIX" tools run --bind="$D:/mnt/d" image -- "$@"
}

# part FILE START SIZE NAME: a partition, in $D/NAME
part()
{
	dd if="$1" of="$D/$4" bs=512 skip="$2" count="$3" conv=sparse status=none
	truncate -s $(($3 * 512)) "$D/$4"
}

@test "kata: two labels and the header between them" {
	local file=$OUT/k-ext4.img size
	size=$(stat -c %s "$file")
	[ $((size % (2 * MIB))) = 0 ]
	run -0 sfdisk -d "$file"
	assert_line 'label: dos'
	assert_line --regexp " start= +6144, size= +$(((size - 3 * MIB) / 512)), type=83$"
	# the header at 4096: signature, data offset, mode, alignment
	assert_equal "$(dd if="$file" bs=1 skip=4096 count=15 status=none)" NVDIMM_PFN_INFO
	assert_equal "$(number "$file" $((4096 + 52)) 2).$(number "$file" $((4096 + 54)) 2)" 0.2
	assert_equal "$(number "$file" $((4096 + 56)) 8)" $((2 * MIB))
	assert_equal "$(number "$file" $((4096 + 72)) 4)" 1
	assert_equal "$(number "$file" $((4096 + 84)) 4)" $((2 * MIB))
	# what a persistent memory device has
	dd if="$file" of="$D/pmem" bs=$MIB skip=2 status=none
	run -0 sfdisk -d "$D/pmem"
	assert_line --regexp " start= +2048, size= +$(((size - 3 * MIB) / 512)), type=83$"
	assert_equal "$(sfdisk -d "$file" | grep label-id)" "$(sfdisk -d "$D/pmem" | grep label-id)"
	assert_equal "$(member k-ext4 root-offset) $(member k-ext4 root-bytes)" "$((3 * MIB)) $((size - 3 * MIB))"
	assert_equal "$(member k-ext4 cmdline)" \
		"systemd.unit=kata-containers.target root=/dev/pmem0p1 rootfstype=ext4 rootflags=dax ro"
}

@test "kata: ext4 takes the mount options of Kata's runtime" {
	part "$OUT/k-ext4.img" 6144 $(($(member k-ext4 root-bytes) / 512)) root
	run -0 tool e2fsck -fn /mnt/d/root
	run -0 tool dumpe2fs -h /mnt/d/root
	assert_line --regexp '^Default mount options:.* journal_data_ordered'
	assert_line --regexp '^Block size: +4096$'
	refute_line --regexp '^Filesystem features:.* has_journal'
}

@test "kata: what Kata's tools look for is in the file system" {
	part "$OUT/k-erofs.img" 6144 $(($(member k-erofs root-bytes) / 512)) root
	run -0 tool dump.erofs --path=/usr/sbin/init /mnt/d/root
	assert_output --partial 'symlink'
	for file in /etc/machine-id /etc/resolv.conf; do
		run -0 tool dump.erofs --path=$file /mnt/d/root
		assert_output --partial 'regular file'
		assert_line --regexp 'Size: 0 '
	done
	run -0 tool dump.erofs --path=/var/tmp /mnt/d/root
	assert_output --partial 'symlink'
	tool fsck.erofs --extract=/mnt/d/out /mnt/d/root
	run -0 cat "$D/out/var/lib/osbuilder/osbuilder.yaml"
	assert_line --regexp "^rootfs-creation-time: \"20..-..-..T..:..:..Z\"$"
	assert_line 'file-format-version: "0.0.2"'
	assert_line 'architecture: "x86_64"'
	assert_line "description: \"image 'k-erofs' of release 10\""
	assert_line '      - "kata-agent"'
	assert_line '  agent-is-init-daemon: "no"'
	assert_equal "$(stat -c %A "$D/out")" drwxr-xr-x
}

@test "kata: veritysetup finds the tree and the root hash right, and one changed byte" {
	local image start
	for image in k-verity k-plain; do
		start=$(($(member $image root-offset) / 512))
		part "$OUT/$image.img" $start $(($(member $image root-bytes) / 512)) data
		part "$OUT/$image.img" $(($(member $image hash-offset) / 512)) $(($(member $image hash-bytes) / 512)) hash
		run -0 sfdisk -d "$OUT/$image.img"
		assert_line --regexp "img1 : start= +$start, size= +$(($(member $image root-bytes) / 512)), type=83$"
		assert_line --regexp "img2 : start= +$(($(member $image hash-offset) / 512)), size= +$(($(member $image hash-bytes) / 512)), type=83$"
		# Kata's file says it all
		[[ $(cat "$OUT/root_hash_$image.txt") =~ ^root_hash=([0-9a-f]{64}),salt=([0-9a-f]{64}),data_blocks=([0-9]+),data_block_size=4096,hash_block_size=4096$ ]]
		verify=(veritysetup verify --no-superblock --hash=sha256 "--salt=${BASH_REMATCH[2]}" "--data-blocks=${BASH_REMATCH[3]}"
			--data-block-size=4096 --hash-block-size=4096 /mnt/d/data /mnt/d/hash "${BASH_REMATCH[1]}")
		assert_equal "${BASH_REMATCH[1]} ${BASH_REMATCH[2]} ${BASH_REMATCH[3]}" \
			"$(member $image verity-root-hash) $(member $image verity-salt) $(member $image verity-data-blocks)"
		run -0 tool "${verify[@]}"
		printf 'X' | dd of="$D/data" bs=1 seek=5000 conv=notrunc status=none
		run ! tool "${verify[@]}"
	done
	# both labels agree about both partitions
	dd if="$OUT/k-verity.img" of="$D/pmem" bs=$MIB skip=2 status=none
	for file in "$OUT/k-verity.img" "$D/pmem"; do
		sfdisk -d "$file" | sed -n 's/.*start= *\([0-9]*\), size= *\([0-9]*\),.*/\1 \2/p'
	done >"$D/labels"
	run -0 awk 'NR <= 2 { start[NR] = $1; size[NR] = $2 } NR > 2 && ($1 + 4096 != start[NR - 2] || $2 != size[NR - 2]) { exit 1 } END { print NR }' "$D/labels"
	assert_output 4
	run -0 member k-verity cmdline
	assert_output --partial 'dm-mod.create=\"dm-verity,,,ro,0 '
	assert_output --partial ' /dev/pmem0p1 /dev/pmem0p2 4096 4096 '
	assert_output --partial '" root=/dev/dm-0 rootfstype=erofs ro'
	run -0 member k-plain cmdline
	assert_output --partial ' /dev/vda1 /dev/vda2 4096 4096 '
}

@test "kata: what the bundles lack is told" {
	# kata_needs PATH LINE…: an image of these lines has not that path
	kata_needs()
	{
		local path=$1
		shift
		image bad 'kind = kata' "$@"
		run -1 --separate-stderr mixer -C "$MIX" image bad
		assert_equal "${stderr_lines[-2]}" \
			"mixer: image 'bad': an image of kind kata needs '$path', and nothing of its bundles is that"
	}
	kata_needs /usr/sbin/init
	kata_needs /usr/bin/kata-agent 'bundles = os-core' 'init = /usr/lib/systemd/systemd'
	image bad 'kind = kata' 'agent = none' 'init = /usr/lib/no-such-program'
	run -1 --separate-stderr mixer -C "$MIX" image bad
	assert_equal "$stderr" "mixer: image 'bad': init = /usr/lib/no-such-program: nothing of its bundles has this path"
	image bad 'kind = kata' 'agent = init' 'init = /usr/lib/systemd/systemd'
	run -1 --separate-stderr mixer -C "$MIX" image bad
	assert_equal "${stderr_lines[-2]}" "mixer: image 'bad': agent = init, but '/usr/sbin/init' is systemd"
	image good 'kind = kata' 'agent = init' 'init = /usr/bin/kata-agent'
	run -0 mixer -C "$MIX" image good
	image good 'kind = kata' 'agent = none' 'init = /usr/lib/systemd/systemd' 'bundles = os-core'
	run -0 mixer -C "$MIX" image good
	rm "$MIX"/local-images/{bad,good}.image
}

@test "disk: partitions, boot loader, entry" {
	local file=$OUT/d.disk
	run -0 sfdisk -d "$file"
	assert_line 'label: gpt'
	assert_line --regexp 'start= +2048, size= +524288, type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B, .*name="ESP"$'
	assert_line --regexp 'start= +526336, size= +700416, type=4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709, .*name="root"$'
	assert_equal "$(stat -c %s "$file")" $((600 * MIB))
	part "$file" 2048 524288 esp
	run -0 tool fsck.vfat -n /mnt/d/esp
	tool mcopy -s -i /mnt/d/esp ::/ /mnt/d/
	assert_equal "$(cat "$D"/EFI/BOOT/BOOTX64.EFI)" 'systemd-boot of the release'
	cmp "$D"/EFI/BOOT/BOOTX64.EFI "$D"/EFI/systemd/systemd-bootx64.efi
	assert_equal "$(cat "$D/limpid/10/linux")" bzImage
	run -0 cat "$D/loader/loader.conf"
	assert_line 'default limpid-*'
	run -0 cat "$D/loader/entries/limpid-10.conf"
	assert_line 'title Limpid 10'
	assert_line '# kernel small'
	assert_line 'linux /limpid/10/linux'
	assert_line 'initrd /limpid/10/initrd'
	assert_equal "$(cat "$D/limpid/10/initrd")" 'initrd of the release'
	assert_line "options root=PARTUUID=$(member d root-partition) rootfstype=btrfs rootflags=subvol=root rw quiet"
	assert_equal "$(member d cmdline)" "root=PARTUUID=$(member d root-partition) rootfstype=btrfs rootflags=subvol=root rw quiet"
	sfdisk -d "$file" | grep -iq "uuid=$(member d root-partition), name=\"root\""
}

@test "disk: a whole btrfs, with subvolumes, owners and modes" {
	part "$OUT/d.disk" 526336 700416 root
	run -0 tool btrfs check --check-data-csum /mnt/d/root
	assert_output --partial 'no error found'
	assert_output --partial "UUID: $(member d root-uuid)"
	mkdir "$D/out"
	run -0 tool btrfs restore -S -m -s /mnt/d/root /mnt/d/out
	assert_equal "$(cd "$D/out" && echo *)" 'etc home root roothome srv var'
	assert_equal "$(cat "$D/out/etc/app.conf")" 'a = 1'
	assert_equal "$(cat "$D/out/root/usr/lib/systemd/systemd")" 'not systemd'
	assert_equal "$(stat -c '%a %u:%g' "$D/out/root/usr/bin/su")" '4755 0:0'
	# places for the others
	assert_equal "$(cd "$D/out/root" && ls -A etc home root srv var)" "$(printf 'etc:\n\nhome:\n\nroot:\n\nsrv:\n\nvar:')"
	run -0 tool btrfs inspect-internal dump-tree -t root /mnt/d/root
	assert_output --partial 'name: default'
	refute_output --partial 'otime 1'
}

@test "disk: what cannot be is told" {
	image bad 'kind = disk'
	run -1 --separate-stderr mixer -C "$MIX" image bad
	assert_equal "${stderr_lines[-2]}" "mixer: image 'bad': a disk needs a kernel"
	image bad 'kind = disk' 'kernel = large'
	run -1 --separate-stderr mixer -C "$MIX" image bad
	assert_equal "${stderr_lines[-2]}" \
		"mixer: image 'bad': release 10 has no kernel 'large' (/usr/lib/kernel/large/bzImage)"
	image bad 'kind = disk' 'kernel = small' 'size = 100M'
	run -1 --separate-stderr mixer -C "$MIX" image bad
	[[ ${stderr_lines[-1]} = "mixer: image 'bad': its size of 100.0 MiB is not enough: "* ]] || fail "$stderr"
	rm "$MIX/local-images/bad.image"
	run -0 find "$OUT" -name '*bad*'
	assert_output ""
}

@test "another user, another cache, another time: the same bytes" {
	setpriv --reuid=65534 --regid=65534 --clear-groups unshare -Ur true || skip "users may not make user namespaces"
	mkdir -p "$D/home/mix/update"
	copy_tools "$D/home/cache" image
	cp -R "$MIX"/{mixer.conf,mixer.state,tools.lock,local-images,Swupd_Root.pem,private.pem} "$D/home/mix/"
	cp -R "$MIX/update/www" "$D/home/mix/update/"
	cp "$(command -v mixer)" "$D/home/mixer"
	chown -R 65534:65534 "$D/home"
	chmod 711 "$BATS_RUN_TMPDIR" "$BATS_FILE_TMPDIR" "$BATS_TEST_TMPDIR" "$BATS_RUN_TMPDIR"/*
	run -0 setpriv --reuid=65534 --regid=65534 --clear-groups "$D/home/mixer" -C "$D/home/mix" --cache="$D/home/cache" \
		image k-erofs k-ext4 k-verity k-plain d
	for name in k-erofs k-ext4 k-verity k-plain d; do
		run -0 cmp "$OUT/$name.json" "$D/home/mix/update/images/10/$name.json"
	done
	run -0 cmp "$OUT/root_hash_k-verity.txt" "$D/home/mix/update/images/10/root_hash_k-verity.txt"
	run -0 cmp "$OUT/k-verity.img" "$D/home/mix/update/images/10/k-verity.img"
	run -0 cmp "$OUT/d.disk" "$D/home/mix/update/images/10/d.disk"
}
