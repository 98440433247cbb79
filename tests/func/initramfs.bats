#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# Initrds on real input: what dracut picks of a release, whether all of it is there and is the release's, for whom it works.

load lib

# One mix for all tests of this file, and one unpacked initrd
setup_file()
{
	[ "$(id -u)" = 0 ] || return 0
	export MIX=$BATS_FILE_TMPDIR/mix INITRD=$BATS_FILE_TMPDIR/initrd RELEASE_ROOT=$BATS_FILE_TMPDIR/root
	local top
	top=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)
	mixer init "$MIX" --bundles="$top/bundles" --content-url="file://$MIX/update/www"
	mkdir -p "$MIX/local-images"
	# a guest's agent, without the package that 'make deb' makes
	bundle_of_agent
	bundle_of_mine
	bundle_of_kernel
	printf '%s\n' os-core initramfs kernel-kvm agent mine kernel-small >"$MIX/mixbundles"
	mixer -C "$MIX" lock >"$BATS_FILE_TMPDIR/log" 2>&1
	mixer -C "$MIX" build >>"$BATS_FILE_TMPDIR/log" 2>&1
	image host 'initramfs = host'
	image modules 'initramfs = host' 'bundles = kernel-kvm'
	mixer -C "$MIX" image host modules >>"$BATS_FILE_TMPDIR/log" 2>&1
	unpack host
	unpack modules
	swupd os-install -p "$RELEASE_ROOT" -u "file://$MIX/update/www" -C "$MIX/Swupd_Root.pem" -K "$BATS_FILE_TMPDIR/cache" -N --no-progress \
		-B initramfs,kernel-kvm,kernel-small >>"$BATS_FILE_TMPDIR/log" 2>&1
}

setup()
{
	[ "$(id -u)" = 0 ] || skip "needs root"
}

bundle_of_agent()
{
	mkdir -p "$MIX/local-bundles/agent.d/usr/bin"
	printf '#!agent\n' >"$MIX/local-bundles/agent.d/usr/bin/agent"
	chmod 755 "$MIX/local-bundles/agent.d/usr/bin/agent"
	printf '# [TITLE]: agent\nbase-files\ncontent(agent.d)\n' >"$MIX/local-bundles/agent"
}

# a kernel that has its initrd as content
bundle_of_kernel()
{
	mkdir -p "$MIX/local-bundles/small.d/usr/lib/kernel/small"
	echo kernel >"$MIX/local-bundles/small.d/usr/lib/kernel/small/bzImage"
	printf '# [TITLE]: kernel-small\ncontent(small.d)\ninitrd(host)\n' >"$MIX/local-bundles/kernel-small"
}

# a configuration of one's own, and one that cannot be
bundle_of_mine()
{
	local dir=$MIX/local-bundles/mine.d/usr/lib/dracut name
	mkdir -p "$dir"/modules.d/70{mine,broken} "$dir"/dracut.conf.d/{mine,broken}
	for name in mine broken; do
		sed "s/limpid-root/$name/" "$BATS_TEST_DIRNAME/../../initramfs/overlay/usr/lib/dracut/dracut.conf.d/host/50-limpid.conf" \
			>"$dir/dracut.conf.d/$name/50.conf"
	done
	printf '%s\n' '#!/bin/bash' 'check() { return 255; }' 'depends() { echo limpid-root; }' 'install() { inst_multiple uname; }' \
		>"$dir/modules.d/70mine/module-setup.sh"
	sed 's/inst_multiple uname/need inst_multiple no-such-program/' "$dir/modules.d/70mine/module-setup.sh" >"$dir/modules.d/70broken/module-setup.sh"
	printf '# [TITLE]: mine\ninclude(initramfs)\ncontent(mine.d)\n' >"$MIX/local-bundles/mine"
}

# image NAME LINE…: a definition
image()
{
	local name=$1
	shift
	printf '%s\n' 'kind = initrd' 'bundles = initramfs' "$@" >"$MIX/local-images/$name.image"
}

# unpack NAME: the initrd of that name, as files in $INITRD-NAME
unpack()
{
	mkdir -p "$INITRD-$1"
	zstd -dc "$MIX"/update/images/*/"$1".initrd.zst >"$INITRD-$1.cpio"
	(cd "$INITRD-$1" && cpio -idm --quiet <"$INITRD-$1.cpio")
}

# has NAME PATH…: fails and names what is missing
has()
{
	local path missing=0
	for path in "${@:2}"; do
		[ -e "$INITRD-$1/$path" ] || [ -L "$INITRD-$1/$path" ] || { echo "$1: $path is missing"; missing=1; }
	done
	return "$missing"
}

@test "what a host needs to find its root is there" {
	for name in host modules; do
		run -0 has $name init usr/lib/systemd/systemd usr/lib/systemd/systemd-executor usr/lib/systemd/systemd-shutdown \
			usr/lib/systemd/systemd-udevd usr/lib/systemd/system-generators/systemd-fstab-generator \
			usr/lib/systemd/systemd-sysroot-fstab-check etc/initrd-release usr/lib/initrd-release \
			usr/bin/{sh,mount,umount,mkdir,udevadm,systemctl,sleep,ls,cat} usr/lib/limpid/initrd-{root,emergency} \
			usr/lib/udev/rules.d/{50-udev-default,60-block,60-persistent-storage,64-btrfs,99-systemd}.rules \
			usr/lib/systemd/system/{initrd,initrd-root-fs,initrd-root-device,initrd-switch-root,emergency}.target \
			usr/lib/systemd/system/initrd-root-fs.target.requires/limpid-root.service \
			usr/lib/systemd/system/{initrd-switch-root,initrd-parse-etc,initrd-cleanup,limpid-root,emergency}.service \
			sysroot proc sys dev run tmp etc/passwd etc/group dev/console
		assert_equal "$(readlink "$INITRD-$name/init")" usr/lib/systemd/systemd
		run -0 grep -c '^disk:x:' "$INITRD-$name/etc/group"
		# no secrets, no identity, nothing of the machine that made it
		run ! ls "$INITRD-$name"/etc/{shadow,gshadow,fstab,hostname}
		assert_equal "$(stat -c %s "$INITRD-$name/etc/machine-id")" 0
	done
}

@test "a kernel with modules brings those of disks and file systems, and what loads them; one without brings none" {
	modules=$(cd "$INITRD-modules/usr/lib/modules" && find . -name '*.ko*' -printf '%f\n' | sed 's/\.ko.*//')
	for module in virtio_blk virtio_scsi ahci sd_mod btrfs erofs overlay nd_pmem virtio_pmem; do
		grep -qx "$module" <<<"$modules" || fail "$module is missing"
	done
	run -0 has modules usr/sbin/modprobe usr/lib/udev/rules.d/80-drivers.rules \
		"usr/lib/modules/$(ls "$RELEASE_ROOT/usr/lib/modules")"/modules.{dep,alias}.bin usr/lib/x86_64-linux-gnu/libkmod.so.2
	run ! grep -qE '^(e1000|drm|snd|usb_storage)$' <<<"$modules"
	[ ! -e "$INITRD-host/usr/lib/modules" ]
	[ ! -e "$INITRD-host/usr/bin/kmod" ]
}

@test "every program and library is the release's, with all libraries that it needs" {
	local n=0 file needed
	for name in host modules; do
		cd "$INITRD-$name"
		while read -r file; do
			n=$((n + 1))
			cmp "$file" "$RELEASE_ROOT/$file" || fail "$name: $file is not the release's"
			while read -r needed; do
				[ -e "usr/lib/x86_64-linux-gnu/$needed" ] || [ -e "usr/lib/x86_64-linux-gnu/systemd/$needed" ] ||
					fail "$name: $file needs $needed"
			done < <(readelf -d "$file" 2>/dev/null | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p')
		done < <(find . -type f -exec sh -c 'head -c 4 "$1" | grep -q ELF' sh {} \; -printf '%P\n')
		# no link leads nowhere, but to what a running system makes
		run -0 find . -xtype l -not -lname '/proc/*' -not -lname '../run*' -not -lname '/run/*'
		assert_output ""
	done
	[ "$n" -gt 60 ]
}

@test "what its units call is there" {
	cd "$INITRD-host"
	sed -n 's/^Exec[A-Za-z]*=[-@:+!]*\([^ ]*\).*/\1/p' usr/lib/systemd/system/*.service | sort -u | while read -r program; do
		case $program in
		/*) [ -x "./$program" ] || fail "$program" ;;
		*) [ -x "usr/bin/$program" ] || [ -x "usr/sbin/$program" ] || fail "$program" ;;
		esac
	done
	for unit in usr/lib/systemd/system/*; do
		[ -f "$unit" ] || continue
		while IFS="=" read -r _ words; do
			for needed in $words; do
				[ -e "usr/lib/systemd/system/$needed" ] || fail "$unit requires $needed"
			done
		done < <(grep "^Requires=" "$unit")
	done
}

@test "everything is root's, old, and not setuid" {
	run -0 cpio -itv --quiet --numeric-uid-gid <"$INITRD-host.cpio"
	refute_line --regexp '^...s'
	for line in "${lines[@]}"; do
		[[ $line =~ \ 0\ +0\ .*\ Jan\ +1\ +1970\  ]] || fail "$line"
	done
}

@test "another user gets the same bytes, from a cache that has no initrd" {
	setpriv --reuid=65534 --regid=65534 --clear-groups unshare -Ur true || skip "users may not make user namespaces"
	home=$BATS_TEST_TMPDIR/home
	copy_tools "$home/cache" image
	mkdir "$home/mix"
	cp -R "$MIX"/{mixer.conf,mixer.state,mixbundles,mixer.lock,tools.lock,Swupd_Root.pem,local-bundles,local-images,local-debs} "$home/mix/"
	mkdir "$home/mix/update"
	# only what is published
	cp -R "$MIX/update/www" "$home/mix/update/"
	chown -R 65534:65534 "$home"
	chmod 711 "$BATS_RUN_TMPDIR" "$BATS_FILE_TMPDIR" "$BATS_TEST_TMPDIR" "$BATS_RUN_TMPDIR"/*
	cp "$(command -v mixer)" "$home/mixer"
	run -0 setpriv --reuid=65534 --regid=65534 --clear-groups "$home/mixer" -C "$home/mix" --cache="$home/cache" image modules
	run -0 cmp "$MIX"/update/images/*/modules.initrd.zst "$home"/mix/update/images/*/modules.initrd.zst
}

@test "it is made anew only when something of it has changed" {
	rm -rf "$MIX"/update/images
	before=$(ls -l --time-style=full-iso /var/cache/limpid/made/initramfs-*)
	run -0 mixer -C "$MIX" image host
	assert_equal "$(ls -l --time-style=full-iso /var/cache/limpid/made/initramfs-*)" "$before"
	cmp <(zstd -dc "$MIX"/update/images/*/host.initrd.zst) "$INITRD-host.cpio"
}

@test "an agent is the first program, and has the devices that it asks for" {
	printf '%s\n' 'kind = initrd' 'bundles = agent' 'init = /usr/bin/agent' 'compress = gzip' >"$MIX/local-images/agent.image"
	run -0 mixer -C "$MIX" image agent
	run -0 sh -c "gzip -dc '$MIX'/update/images/*/agent.initrd.gz | cpio -itv --quiet"
	assert_line --regexp '^crw-------.* 5, +1 .* dev/console$'
	assert_line --regexp '^crw-rw-rw-.* 1, +3 .* dev/null$'
	assert_line --regexp '^crw-rw-rw-.* 5, +0 .* dev/tty$'
	assert_line --regexp '^crw-------.* 4, +64 .* dev/ttyS0$'
	assert_line --regexp '^crw-rw-rw-.* 1, +5 .* dev/zero$'
	assert_line --regexp ' init -> usr/bin/agent$'
	assert_line --regexp ' usr/sbin/init -> ../../usr/bin/agent$'
	assert_line --regexp ' sbin -> usr/sbin$'
}

@test "a configuration of a bundle of one's own; what its modules cannot install is an error" {
	image mine 'initramfs = mine'
	run -0 mixer -C "$MIX" image mine
	unpack mine
	cmp "$INITRD-mine/usr/bin/uname" "$RELEASE_ROOT/usr/bin/uname"
	[ -x "$INITRD-mine/usr/lib/limpid/initrd-root" ]
	[ ! -e "$INITRD-host/usr/bin/uname" ]
	image broken 'initramfs = broken'
	run -1 mixer -C "$MIX" image broken
	assert_line --partial "mixer: image 'broken': initramfs 'broken': tools 'of the release': dracut ended with status 1: "
	assert_line --partial "limpid: cannot do 'inst_multiple no-such-program'"
}

@test "what the release does not have is told" {
	image none 'initramfs = nothing'
	run -1 mixer -C "$MIX" image none
	assert_line --partial "initramfs 'nothing': release 10 has no initramfs 'nothing' (/usr/lib/dracut/dracut.conf.d/nothing/)"
	assert_line --partial "hint: 'mixer bundle add initramfs'"
	image none 'initramfs = host' 'kernel = nothing'
	run -1 mixer -C "$MIX" image none
	assert_line --partial "release 10 has no kernel 'nothing' (/usr/lib/kernel/nothing/)"
	# nothing is left of what failed
	run -0 find "$MIX/update/images" -name '.new*'
	assert_output ""
}

@test "an initrd is content of a kernel's bundle: the same as the image, made once" {
	cmp "$RELEASE_ROOT/usr/lib/kernel/small/initrd" "$MIX"/update/images/*/host.initrd.zst
	assert_equal "$(stat -c '%a %u:%g' "$RELEASE_ROOT/usr/lib/kernel/small/initrd")" '644 0:0'
	run -0 grep -l $'\t/usr/lib/kernel/small/initrd$' "$MIX"/update/www/10/Manifest.{kernel-small,initramfs,os-core}
	assert_output "$MIX/update/www/10/Manifest.kernel-small"
	# another build takes what was made
	before=$(ls -l --time-style=full-iso /var/cache/limpid/made/init*)
	echo more >"$MIX/local-bundles/agent.d/usr/bin/agent-more"
	mixer -C "$MIX" build >"$BATS_TEST_TMPDIR/log" 2>&1 || fail "$(cat "$BATS_TEST_TMPDIR/log")"
	assert_equal "$(ls -l --time-style=full-iso /var/cache/limpid/made/init*)" "$before"
	[ ! -e "$MIX/update/www/20/Manifest.kernel-small" ]
}

@test "what an initrd of a bundle needs is told" {
	sed -i 's/initrd(host)/initrd(other)/' "$MIX/local-bundles/kernel-small"
	run mixer -C "$MIX" build
	assert_failure
	assert_output --partial "bundle 'kernel-small': initrd(other): no bundle of the mix has the configuration 'other' (/usr/lib/dracut/dracut.conf.d/other/)"
	sed -i 's/initrd(other)/initrd(host)/' "$MIX/local-bundles/kernel-small"
	echo 'initrd(host)' >>"$MIX/local-bundles/agent"
	run mixer -C "$MIX" build
	assert_failure
	assert_output --partial "bundle 'agent': initrd(host): neither it nor what it includes has a kernel (/usr/lib/kernel/NAME/bzImage)"
}
