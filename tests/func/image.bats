#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# Images of a small release of Debian's packages: what is in them is what swupd installs, whatever their kind, and whoever makes
# them, wherever, gets the same bytes.

# shellcheck disable=SC2154 # bats sets stderr and stderr_lines

load lib

# One mix for all tests of this file
setup_file()
{
	[ "$(id -u)" = 0 ] || return 0
	export MIX=$BATS_FILE_TMPDIR/mix
	local top
	top=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)
	mixer init "$MIX" --bundles="$top/bundles" --content-url="file://$MIX/update/www"
	mkdir -p "$MIX/local-bundles/tree/usr/bin" "$MIX/local-bundles/tree/usr/lib/kernel/small" "$MIX/local-images"
	# what a file system could get wrong: set-user-ID, names, sizes around a block, a directory of several blocks
	(
		cd "$MIX/local-bundles/tree" || exit
		printf '#!/bin/sh\necho "the application"\n' >usr/bin/app
		cp usr/bin/app usr/bin/app-su
		chmod 755 usr/bin/app
		chmod 4755 usr/bin/app-su
		ln -s app usr/bin/"$(printf 'l%.0s' $(seq 200))"
		mkdir -p usr/share/app/many usr/share/factory/etc
		echo "a = 1" >usr/share/factory/etc/app.conf
		for size in 0 1 4095 4096 4097 2097152; do
			head -c "$size" /dev/zero | tr '\0' x >usr/share/app/"$size bytes"
		done
		for i in $(seq 300); do echo "$i" >"usr/share/app/many/a file with a longer name, number $i"; done
		echo vmlinux >usr/lib/kernel/small/vmlinux
	)
	# what a test of images needs of Debian
	printf '%s\n' '# [TITLE]: os-core' base-files libc6 dash coreutils >"$MIX/local-bundles/os-core"
	printf '%s\n' '# [TITLE]: app' 'content(tree)' >"$MIX/local-bundles/app"
	printf '%s\n' os-core app >"$MIX/mixbundles"
	mixer -C "$MIX" lock --repositories=debian >"$BATS_FILE_TMPDIR/log" 2>&1 || { cat "$BATS_FILE_TMPDIR/log" >&2; false; }
	mixer -C "$MIX" build >>"$BATS_FILE_TMPDIR/log" 2>&1 || { cat "$BATS_FILE_TMPDIR/log" >&2; false; }

	image all-tar 'kind = tar' 'compress = none'
	image all-erofs 'kind = dax-erofs' 'kernel = small' 'cmdline = quiet' 'budget = 64M'
	image all-ext4 'kind = dax-ext4'
	image all-initrd 'kind = initrd' 'compress = gzip' 'init = /usr/bin/app'
	image all-oci 'kind = oci' 'command = /usr/bin/app'
	image base-oci 'kind = oci' 'bundles = os-core'
	swupd os-install -p "$BATS_FILE_TMPDIR/root" -u "file://$MIX/update/www" -F 30 -C "$MIX/Swupd_Root.pem" -N --no-progress \
		-B app >>"$BATS_FILE_TMPDIR/log" 2>&1 || { cat "$BATS_FILE_TMPDIR/log" >&2; false; }
	mixer -C "$MIX" image all-tar all-erofs all-ext4 all-initrd all-oci base-oci >"$BATS_FILE_TMPDIR/made" 2>>"$BATS_FILE_TMPDIR/log"
}

# image NAME LINE…: a definition, of the bundle app unless a line names others
image()
{
	local name=$1
	shift
	printf '%s\n' "$@" >"$MIX/local-images/$name.image"
	grep -q '^bundles' "$MIX/local-images/$name.image" || echo 'bundles = app' >>"$MIX/local-images/$name.image"
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
	sed -n "s/^  \"$2\": \"\{0,1\}\([^\"]*[^\",]\)\"\{0,1\},\{0,1\}\$/\1/p" "$OUT/$1.json"
}

# as_installed_tree DIR [PATH…]: what swupd has installed, but for its own state
as_installed_tree()
{
	local dir=$1
	shift
	[ $# != 0 ] || set -- bin boot dev etc home lib lib64 mnt opt proc root run sbin srv sys tmp usr
	diff <(cd "$BATS_FILE_TMPDIR/root" && tree_list . "$@") <(cd "$dir" && tree_list . "$@") | head -n 20
	return "${PIPESTATUS[0]}"
}

@test "every image has its description, with the right digest" {
	run -0 cat "$BATS_FILE_TMPDIR/made"
	for name in all-tar all-erofs all-ext4 all-initrd all-oci base-oci; do
		assert_line --partial "update/images/10/$(member "$name" file)  "
		python3 -m json.tool "$OUT/$name.json" >/dev/null
	done
	for name in all-tar all-erofs all-ext4 all-initrd; do
		file=$OUT/$(member "$name" file)
		assert_equal "$(member "$name" sha256)" "$(sha256sum <"$file" | cut -d ' ' -f 1)"
		assert_equal "$(member "$name" bytes)" "$(stat -c %s "$file")"
	done
	assert_equal "$(member all-erofs cmdline)" "root=/dev/pmem0 rootfstype=erofs rootflags=dax=always ro quiet"
	assert_equal "$(cat "$OUT/$(member all-erofs vmlinux)")" vmlinux
	run -0 find "$OUT" -name '.*' -mindepth 1
	assert_output ""
}

@test "tar" {
	mkdir "$D/x"
	tar -C "$D/x" -xpf "$OUT/all-tar.tar"
	run as_installed_tree "$D/x"
	assert_output ""
	run -0 chroot "$D/x" /usr/bin/app
	assert_output "the application"
	assert_equal "$(tar -tvf "$OUT/all-tar.tar" | awk '{ print $4 }' | sort -u)" 1970-01-01
}

@test "dax-erofs: nothing is inline or compressed, and the size is of whole huge pages" {
	file=$OUT/all-erofs.erofs
	run -0 fsck.erofs "$file"
	run -0 fsck.erofs --extract="$D/x" --preserve "$file"
	chmod u+s "$D/x/usr/bin/app-su" # the extraction loses it
	run as_installed_tree "$D/x"
	assert_output ""
	assert_equal $(($(stat -c %s "$file") % 2097152)) 0
	run -0 dump.erofs -s "$file"
	assert_output --partial "$(member all-erofs root-uuid)"
	refute_output --partial compr_cfgs
	assert_output --partial "created:                           Thu Jan  1 00:00:00 1970"
	for path in "/usr/share/app/4097 bytes" /usr/bin/app; do
		run -0 dump.erofs --path="$path" "$file"
		assert_output --partial "Layout: 0"
		assert_output --partial "Inode size: 32"
	done
	# the modes that dump.erofs does not show: each inode begins with its format and then, 4 bytes on, its mode
	run -0 python3 -c '
import sys, struct
image = open(sys.argv[1], "rb").read()
modes = {struct.unpack_from("<H", image, at + 4)[0] for at in range(1024, len(image) - 32, 32)}
print(0o104755 in modes, 0o41777 in modes)' "$file"
	assert_output "True True"
}

@test "dax-ext4: whole, without journal, with no more free blocks than the size's rounding" {
	file=$OUT/all-ext4.ext4
	run -0 e2fsck -fn "$file"
	mkdir "$D/x"
	debugfs -R "rdump / $D/x" "$file" >/dev/null 2>&1
	rmdir "$D/x/lost+found"
	# the extraction loses them
	for path in /usr/bin/app-su /tmp; do
		mode=$(debugfs -R "stat $path" "$file" 2>/dev/null | sed -n 's/.*Mode: *\([0-7]*\).*/\1/p')
		assert_equal "$mode" "$(stat -c %04a "$BATS_FILE_TMPDIR/root$path" | sed 's/^/0/; s/^00/0/')"
		chmod "$mode" "$D/x$path"
	done
	run as_installed_tree "$D/x"
	assert_output ""
	run -0 dumpe2fs -h "$file"
	assert_output --regexp "Filesystem UUID: +$(member all-ext4 root-uuid)"
	assert_output --regexp "Block size: +4096"
	refute_output --partial has_journal
	free=$(sed -n 's/^Free blocks: *//p' <<<"$output")
	[ "$free" -lt 600 ] || fail "$free blocks are free"
	assert_equal $(($(stat -c %s "$file") % 2097152)) 0
}

@test "initrd" {
	mkdir "$D/x"
	gzip -dc "$OUT/all-initrd.initrd.gz" | (cd "$D/x" && cpio -idm --quiet)
	assert_equal "$(readlink "$D/x/init")" usr/bin/app
	assert_equal "$(readlink "$D/x/usr/sbin/init")" ../../usr/bin/app
	# devices that a program needs before it can mount any
	[ -c "$D/x/dev/console" ]
	rm "$D/x/usr/sbin/init" "$D/x"/dev/*
	run as_installed_tree "$D/x"
	assert_output ""
}

@test "oci: skopeo takes it, layers of common bundles are common" {
	run -0 skopeo inspect --config "oci:$OUT/all-oci.oci"
	assert_output --partial '"/usr/bin/app"'
	assert_output --partial '"org.opencontainers.image.version": "10"'
	run -0 skopeo copy -q --insecure-policy "oci:$OUT/all-oci.oci:10" "dir:$D/dir"
	mkdir "$D/x"
	layer_list=$(python3 -c 'import json,sys; print(*[l["digest"][7:] for l in json.load(open(sys.argv[1]))["layers"]])' "$D/dir/manifest.json")
	for layer in $layer_list; do tar -C "$D/x" -xzpf "$D/dir/$layer"; done
	run as_installed_tree "$D/x"
	assert_output ""
	read -r -a layers <<<"$layer_list"
	assert_equal "${#layers[@]}" 2
	assert_file_exist "$OUT/base-oci.oci/blobs/sha256/${layers[0]}"
	assert_file_not_exist "$OUT/base-oci.oci/blobs/sha256/${layers[1]}"
}

@test "nothing is made again, unless it changed or is to be" {
	run -0 --separate-stderr mixer -C "$MIX" image all-tar all-erofs all-ext4 all-initrd all-oci base-oci
	assert_equal "${#lines[@]}" "$(grep -c 'as it was' <<<"$output")"
	before=$(stat -c %i "$OUT/all-tar.tar")
	echo more >>"$OUT/all-tar.tar"
	run -0 mixer -C "$MIX" image all-tar
	refute_output --partial "as it was"
	[ "$(stat -c %i "$OUT/all-tar.tar")" != "$before" ]
	sum=$(sha256sum "$OUT/all-ext4.ext4")
	mkdir "$OUT/.new-all-ext4"
	echo left >"$OUT/.new-all-ext4/by a run that was killed"
	run -0 mixer -C "$MIX" image --force all-ext4
	assert_equal "$(sha256sum "$OUT/all-ext4.ext4")" "$sum"
	[ ! -e "$OUT/.new-all-ext4" ]
}

@test "another user with another cache and only the published tree makes the same bytes" {
	setpriv --reuid=65534 --regid=65534 --clear-groups unshare -Ur true || skip "users may not make user namespaces"
	mkdir -p "$D/home/mix"
	copy_tools "$D/home/cache" image
	cp -R "$MIX"/{mixer.conf,mixer.state,tools.lock,local-images,Swupd_Root.pem,private.pem} "$D/home/mix/"
	mkdir "$D/home/mix/update"
	cp -R "$MIX/update/www" "$D/home/mix/update/"
	cp "$(command -v mixer)" "$D/home/mixer"
	chown -R 65534:65534 "$D/home"
	chmod 711 "$BATS_RUN_TMPDIR" "$BATS_FILE_TMPDIR" "$BATS_TEST_TMPDIR" "$BATS_RUN_TMPDIR"/*
	run -0 setpriv --reuid=65534 --regid=65534 --clear-groups "$D/home/mixer" -C "$D/home/mix" --cache="$D/home/cache" \
		image all-erofs all-ext4 all-initrd all-oci all-tar
	for name in all-erofs all-ext4 all-initrd all-oci all-tar; do
		run -0 cmp "$OUT/$name.json" "$D/home/mix/update/images/10/$name.json"
	done
	run -0 cmp "$OUT/all-ext4.ext4" "$D/home/mix/update/images/10/all-ext4.ext4"
	run -0 cmp "$OUT/all-erofs.erofs" "$D/home/mix/update/images/10/all-erofs.erofs"
}

@test "what cannot be made leaves nothing, and is told" {
	image bad 'kind = dax-erofs' 'budget = 4M'
	run -1 --separate-stderr mixer -C "$MIX" image bad
	[[ ${stderr_lines[-1]} =~ "image 'bad': "[0-9.]+" MiB is "[0-9.]+" MiB more than its budget of 4.0 MiB; of its bundles, by "\
"their own files: 'os-core' "[0-9.]+" MiB, 'app' "[0-9.]+" MiB"$ ]] || fail "$stderr"
	image bad 'kind = tar' 'compress = zstd' 'bundles = app' 'compressed-budget = 100K'
	run -1 --separate-stderr mixer -C "$MIX" image bad
	[[ $stderr = *" compressed is "*" more than its budget of 100.0 KiB"* ]] || fail "$stderr"
	image bad 'kind = dax-erofs' 'kernel = large'
	run -1 --separate-stderr mixer -C "$MIX" image bad
	assert_equal "${stderr_lines[-2]}" \
		"mixer: image 'bad': release 10 has no kernel 'large' (/usr/lib/kernel/large/vmlinux)"
	assert_equal "${stderr_lines[-1]}" "hint: it has small"
	image bad 'kind = tar' 'bundles = large'
	run -1 --separate-stderr mixer -C "$MIX" image bad
	assert_equal "${stderr_lines[-2]}" "mixer: image 'bad': release 10 has no bundle 'large'"
	image bad 'kind = tar' 'budgte = 4M'
	run -1 --separate-stderr mixer -C "$MIX" image bad
	assert_equal "${stderr_lines[0]}" "mixer: $MIX/local-images/bad.image:2: no such key: 'budgte'"
	# all definitions are read before the first image is made
	run -1 mixer -C "$MIX" image --force all-tar bad
	refute_output --partial all-tar
	rm "$MIX/local-images/bad.image"
	run -1 mixer -C "$MIX" image bad
	assert_line "mixer: no image is named 'bad'"
	run -1 mixer -C "$MIX" image --release=30 all-tar
	assert_line "mixer: release 30 is not published"
	run -0 find "$OUT" -name '*bad*'
	assert_output ""
	# a disk that is full
	mkdir "$D/small"
	mount -t tmpfs -o size=6m tmpfs "$D/small"
	mv "$MIX/update/images" "$MIX/update/images.away"
	mkdir -p "$MIX/update/images/10"
	mount --bind "$D/small" "$MIX/update/images/10"
	run --separate-stderr mixer -C "$MIX" image all-erofs
	left=$(ls -A "$D/small")
	umount "$MIX/update/images/10" "$D/small"
	rm -r "$MIX/update/images"
	mv "$MIX/update/images.away" "$MIX/update/images"
	assert_equal "$status" 1
	[[ $stderr = *"image 'all-erofs': there is no room: "* ]] || fail "$stderr"
	assert_equal "$left" ""
}

@test "definitions are listed and shown" {
	run -0 mixer -C "$MIX" image list
	assert_line --regexp "^all-erofs +dax-erofs "
	assert_line --regexp "^guest +dax-erofs +container guest"
	run -0 mixer -C "$MIX" -q image list
	assert_line guest
	run -0 mixer -C "$MIX" image show all-erofs
	assert_line "budget = 64M"
	assert_line --regexp "^update/images/10/all-erofs.erofs +[0-9.]+ MiB$"
	run -0 mixer -C "$MIX" image show guest
	assert_line "# not made for release 10"
}
