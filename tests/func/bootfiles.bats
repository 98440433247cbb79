#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# Kernels, initrds and entries on the boot partition: FAT where this kernel has it, else ext4 that the configuration names.

load lib

setup()
{
	[ "$(id -u)" = 0 ] || skip "needs root"
	mix_init
	machine m
	# without -N: what follows a change is what is looked at
	SWUPD_GLOBAL=("${SWUPD_GLOBAL[@]/#-N/--no-progress}")
	ESP=$ROOT/efi
}

teardown()
{
	local dir
	for dir in "$BATS_TEST_TMPDIR"/*/root/efi; do
		! mountpoint -q "$dir" || umount "$dir"
	done
}

# kernel BYTES [SEED]: of the release to come
kernel()
{
	mkdir -p "$MIX/bundles/tree/os-core/usr/lib/kernel/small"
	openssl enc -aes-128-ctr -nosalt -K "$(printf '%032d' "$2")" -iv 00000000000000000000000000000000 </dev/zero 2>/dev/null |
		head -c "$1" >"$MIX/bundles/tree/os-core/usr/lib/kernel/small/bzImage"
}

# releases BYTES N: N releases, each with a kernel of that size of its own
releases()
{
	local n
	for ((n = 1; n <= $2; n++)); do
		content os-core usr/bin/base "$n"
		kernel "$1" "$n"
		bundle os-core
		release
	done
}

# esp MIB: an empty boot partition of that size at /efi
esp()
{
	rm -f "$BATS_TEST_TMPDIR/esp"
	truncate -s "$1M" "$BATS_TEST_TMPDIR/esp"
	mkdir -p "$ESP"
	if grep -qw vfat /proc/filesystems; then
		mkfs.vfat "$BATS_TEST_TMPDIR/esp" >/dev/null
	else
		mkfs.ext4 -q -m 0 "$BATS_TEST_TMPDIR/esp"
		SWUPD_GLOBAL+=(--boot=/efi)
	fi
	mount -o loop "$BATS_TEST_TMPDIR/esp" "$ESP"
	rm -rf "$ESP/lost+found"
	mkdir -p "$ESP/loader/entries"
}

OPTIONS="root=LABEL=x rootfstype=btrfs rootflags=subvol=root rw"

# entry RELEASE [FILE [SUBVOLUME]]: what images/disk.image has of a release, with the installed kernel
entry()
{
	local file=${2:-limpid-$1.conf}
	mkdir -p "$ESP/limpid/$1"
	cp "${KERNEL:-$ROOT/usr/lib/kernel/small/bzImage}" "$ESP/limpid/$1/linux"
	printf '%s\n' '# kernel small' "title $NAME $1" "version $1" 'sort-key limpid' "linux /limpid/$1/linux" \
		"options ${OPTIONS/subvol=root/subvol=${3:-root}}" >"$ESP/loader/entries/$file"
}

# foreign: files that are not ours, some with names like ours
foreign()
{
	mkdir -p "$ESP"/{EFI/BOOT,limpid/10,limpid/99x,limpid/keep,Windows}
	echo loader >"$ESP/EFI/BOOT/BOOTX64.EFI"
	echo 'default limpid-*' >"$ESP/loader/loader.conf"
	printf 'title Rescue\nlinux /limpid/10/linux-7\ninitrd /vmlinuz\n' >"$ESP/loader/entries/limpid-rescue.conf"
	printf 'title Other\nlinux /vmlinuz\n' >"$ESP/loader/entries/other-5.conf"
	printf 'title Mine\nlinux /vmlinuz\n' >"$ESP/loader/entries/limpid-7.conf"
	echo x | tee "$ESP"/{vmlinuz,limpid/10/linux-7,limpid/10/notes,limpid/99x/linux,limpid/keep/linux,loader/entries/limpid-5.new~} >/dev/null
	(cd "$ESP" && find . -type f ! -path ./limpid/10/linux ! -name limpid-10.conf -print0 | xargs -0 sha256sum) >"$BATS_TEST_TMPDIR/foreign"
}

foreign_is_whole() { (cd "$ESP" && sha256sum --quiet -c "$BATS_TEST_TMPDIR/foreign"); }

# start RELEASE: that one is installed, and there is its entry
start()
{
	sw os-install -I -V "$1"
	NAME=$(sed -n 's/^NAME="\{0,1\}\([^"]*\).*/\1/p' "$ROOT/usr/lib/os-release")
	entry "$1"
}

entries() { (cd "$ESP/loader/entries" && ls); }

# kernel_of RELEASE: the entry's kernel is that of the release
kernel_of()
{
	local linux
	linux=$(sed -n 's/^linux //p' "$ESP/loader/entries/limpid-$1.conf")
	cmp "$ESP$linux" "$MIX/kernel-$1"
}

# keep_kernels: of all releases, for kernel_of
keep_kernels()
{
	local n
	for ((n = 1; n <= $2; n++)); do
		kernel "$1" "$n"
		mv "$MIX/bundles/tree/os-core/usr/lib/kernel/small/bzImage" "$MIX/kernel-$((n * 10))"
	done
}

# state: all of the partition and of the root, to be compared
state()
{
	tree_list "$ROOT"
	(cd "$ESP" && find . -printf '%p %y %s %T@\n' | sort)
}

@test "an update brings kernel and entry, keeps what ran before and leaves all else alone" {
	releases 300000 3
	keep_kernels 300000 3
	esp 16
	start 10
	foreign
	state >"$BATS_TEST_TMPDIR/before"
	run -0 sw update -I -V 20 --dry-run
	assert_line --regexp '^boot: at most [23][0-9][0-9]\.[0-9] KiB of 1[0-9]\.[0-9] MiB free$'
	state | diff "$BATS_TEST_TMPDIR/before" -
	sw update -I -V 20
	foreign_is_whole
	run -0 cat "$ESP/loader/entries/limpid-20.conf"
	assert_output "$(printf '%s\n' '# kernel small' "title $NAME 20" 'version 20' 'sort-key limpid' 'linux /limpid/20/linux' "options $OPTIONS")"
	kernel_of 20
	kernel_of 10
	run -0 sw update -I -V 30
	kernel_of 30
	kernel_of 20
	# the one before the last good one goes, with its kernel, but not its neighbours
	assert_equal "$(entries)" "$(printf '%s\n' limpid-20.conf limpid-30.conf limpid-5.new~ limpid-7.conf limpid-rescue.conf other-5.conf)"
	run -0 ls "$ESP/limpid/10"
	assert_output "$(printf '%s\n' linux-7 notes)"
	foreign_is_whole
	[ ! -e "$ROOT/var/lib/swupd/boot-pending" ]
}

@test "what is there already is not copied again" {
	releases 300000 1
	content os-core usr/bin/base 2
	release
	esp 16
	start 10
	sw update -I -V 20
	run -0 cat "$ESP/loader/entries/limpid-20.conf"
	assert_line "linux /limpid/10/linux"
	[ ! -e "$ESP/limpid/20" ]
	# the release that brought it may go, its kernel not
	content os-core usr/bin/base 3
	release
	sw update -I -V 30
	assert_equal "$(entries)" "$(printf '%s\n' limpid-20.conf limpid-30.conf)"
	run -0 find "$ESP/limpid" -type f
	assert_output "$ESP/limpid/10/linux"
	# nothing to do: nothing is written
	state >"$BATS_TEST_TMPDIR/before"
	sw update -I
	touch "$ROOT/var/lib/swupd/boot-pending"
	sw update -I
	state | diff "$BATS_TEST_TMPDIR/before" -
}

@test "a full partition fails before anything changes, and says so" {
	releases 3000000 2
	esp 8
	start 10
	head -c 2000000 /dev/urandom >"$ESP/photo"
	state >"$BATS_TEST_TMPDIR/before"
	run -25 sw update -I
	assert_output --partial "swupd: cannot update to release 20: the kernel of release 20 takes 2.9 MiB on the boot partition $ESP, but only "
	assert_output --partial "hint: remove what is not needed there"
	state | diff "$BATS_TEST_TMPDIR/before" -
	rm "$ESP/photo"
	sw update -I
	assert_equal "$(entries)" "$(printf '%s\n' limpid-10.conf limpid-20.conf)"
}

@test "room is made: bad and old entries of other roots go first, what was good stays" {
	releases 3000000 4
	keep_kernels 3000000 4
	esp 11
	start 30
	KERNEL=$MIX/kernel-10 entry 10 limpid-10.conf old-root
	KERNEL=$MIX/kernel-20 entry 20 limpid-20+0-3.conf other-root
	sw update -I -V 40
	# one of them was enough
	assert_equal "$(entries)" "$(printf '%s\n' limpid-10.conf limpid-30.conf limpid-40.conf)"
	[ ! -e "$ESP/limpid/20" ]
	kernel_of 10
	kernel_of 30
	kernel_of 40
}

@test "a read-only partition fails before anything changes" {
	releases 300000 2
	esp 8
	start 10
	mount -o remount,ro "$ESP"
	state >"$BATS_TEST_TMPDIR/before"
	run -7 sw update -I
	assert_output --partial "swupd: cannot update to release 20: the boot partition $ESP is read-only"
	state | diff "$BATS_TEST_TMPDIR/before" -
	run -0 sw update -I --no-boot-update
}

@test "what a killed run left is no entry, and goes" {
	releases 300000 2
	keep_kernels 300000 2
	esp 8
	start 10
	mkdir "$ESP/limpid/20"
	head -c 100000 "$MIX/kernel-20" >"$ESP/limpid/20/linux"
	echo 'title half' >"$ESP/loader/entries/limpid-20.new"
	sw update -I
	kernel_of 20
	assert_equal "$(entries)" "$(printf '%s\n' limpid-10.conf limpid-20.conf)"
}

# One after the other: all calls that change something on the partition, until an update is through
@test "killed at each change of the partition: a whole entry is there, and the next run completes it" {
	command -v strace >/dev/null || skip "needs strace"
	releases 300000 2
	keep_kernels 300000 2
	esp 8
	start 10
	cp -a "$ROOT" "$BATS_TEST_TMPDIR/copy"
	local call n kills=0
	for call in mkdirat openat2 copy_file_range write fsync syncfs renameat2; do
		for ((n = 1; n < 40; n++)); do
			find "$ROOT" -mindepth 1 -maxdepth 1 ! -name efi -exec rm -rf {} +
			cp -a "$BATS_TEST_TMPDIR"/copy/usr "$BATS_TEST_TMPDIR"/copy/var "$ROOT/"
			rm -rf "$ESP/limpid/20" "$ESP"/loader/entries/limpid-20*
			run strace -f -o /dev/null -P "$ESP" -P "$ESP/limpid" -P "$ESP/limpid/20" -P "$ESP/limpid/20/linux" \
				-P "$ESP/loader/entries" -P "$ESP/loader/entries/limpid-20.new" -P limpid/20 \
				-e "inject=$call:signal=KILL:when=$n" swupd update "${SWUPD_GLOBAL[@]}" -I
			[ "$status" != 0 ] || break
			kills=$((kills + 1))
			kernel_of 10
			[ ! -e "$ESP/loader/entries/limpid-20.conf" ] || kernel_of 20
			run -0 sw update -I
			assert_equal "$(entries)" "$(printf '%s\n' limpid-10.conf limpid-20.conf)"
			kernel_of 20
			run -0 find "$ESP/limpid" -type f
			assert_equal "$(sort <<<"$output")" "$(printf '%s\n' "$ESP"/limpid/{1,2}0/linux)"
			[ ! -e "$ROOT/var/lib/swupd/boot-pending" ]
		done
	done
	echo "# killed $kills times" >&3
	[ "$kills" -ge 10 ]
}

@test "a partition that loses what is written is told, and the next run tries again" {
	command -v strace >/dev/null || skip "needs strace"
	releases 300000 2
	keep_kernels 300000 2
	esp 8
	start 10
	run -32 strace -f -o /dev/null -P "$ESP/limpid/20/linux" -e inject=fsync:error=EIO swupd update "${SWUPD_GLOBAL[@]}" -I
	assert_output --partial "release 20 is installed, but an action after it did not work: cannot bring release 20 to the boot partition: $ESP/limpid/20/linux"
	assert_output --partial "hint: the next swupd tries it again"
	grep -q VERSION_ID=20 "$ROOT/usr/lib/os-release"
	assert_equal "$(entries)" limpid-10.conf
	[ ! -e "$ESP/limpid/20" ]
	run -0 sw update -I
	kernel_of 20
}

@test "an initrd comes with the release; a kernel without modules keeps the one that it has" {
	releases 300000 1
	esp 16
	start 10
	echo 'old initrd' >"$ESP/limpid/10/initrd"
	echo microcode >"$ESP/ucode"
	sed -i 's|^options|initrd /ucode\ninitrd /limpid/10/initrd\noptions|' "$ESP/loader/entries/limpid-10.conf"
	kernel 300000 2
	release
	sw update -I
	run -0 grep initrd "$ESP/loader/entries/limpid-20.conf"
	assert_output "$(printf '%s\n' 'initrd /ucode' 'initrd /limpid/10/initrd')"
	# modules, and no initrd of its own
	kernel 300000 3
	content os-core usr/lib/kernel/small/release 6.1-small
	content os-core usr/lib/modules/6.1-small/modules.dep x
	release
	state >"$BATS_TEST_TMPDIR/before"
	run -43 sw update -I
	assert_output --partial "cannot update to release 30: release 30 has modules for its kernel 'small', but no initrd with them (/usr/lib/kernel/small/initrd)"
	state | diff "$BATS_TEST_TMPDIR/before" -
	content os-core usr/lib/kernel/small/initrd 'new initrd'
	release
	sw update -I
	run -0 grep initrd "$ESP/loader/entries/limpid-40.conf"
	assert_output "$(printf '%s\n' 'initrd /ucode' 'initrd /limpid/40/initrd')"
	assert_equal "$(cat "$ESP/limpid/40/initrd")" 'new initrd'
	run -0 find "$ESP/limpid" -type f
	refute_output --partial /10/linux
}

@test "rollback puts the newer entry behind, and an update takes it up again" {
	releases 300000 2
	keep_kernels 300000 2
	esp 16
	start 10
	sw update -I
	run -0 sw rollback
	assert_equal "$(entries)" "$(printf '%s\n' limpid-10.conf limpid-20+0-1.conf)"
	sw rollback
	assert_equal "$(entries)" "$(printf '%s\n' limpid-10.conf limpid-20.conf)"
	kernel_of 10
	kernel_of 20
}

@test "several kernels: the one that the entry names, or none is guessed" {
	releases 300000 1
	content os-core usr/lib/kernel/other/bzImage 'another kernel'
	release
	esp 16
	start 10
	sw update -I
	run -0 grep -x '# kernel small' "$ESP/loader/entries/limpid-20.conf"
	sed -i '/^#/d' "$ESP"/loader/entries/*
	content os-core usr/bin/base 3
	release
	state >"$BATS_TEST_TMPDIR/before"
	run -43 sw update -I
	assert_output --partial "which kernel of release 30 is to be started: other small?"
	state | diff "$BATS_TEST_TMPDIR/before" -
}

@test "names of ours that others have are told before anything changes" {
	releases 300000 2
	esp 16
	start 10
	printf 'title Mine\nlinux /vmlinuz\n' >"$ESP/loader/entries/limpid-20.conf"
	state >"$BATS_TEST_TMPDIR/before"
	run -32 sw update -I
	assert_output --partial "$ESP/loader/entries/limpid-20.conf is there, but not ours"
	state | diff "$BATS_TEST_TMPDIR/before" -
	rm "$ESP/loader/entries/limpid-20.conf"
	echo x >"$ESP/limpid/20"
	run -32 sw update -I
	assert_output --partial "$ESP/limpid/20 is not a directory"
}

@test "a partition without entries of ours is left alone; one that is named has to have them" {
	releases 300000 2
	esp 8
	start 10
	rm -r "$ESP/limpid" "$ESP/loader/entries/limpid-10.conf"
	foreign
	state >"$BATS_TEST_TMPDIR/before"
	run -43 sw update -I --boot=/efi
	assert_output --partial "$ESP/loader/entries has no entry 'limpid-RELEASE.conf' of ours"
	run -43 sw update -I --boot=/nowhere
	state | diff "$BATS_TEST_TMPDIR/before" -
	sw update -I --no-boot-update
	foreign_is_whole
}

# inside COMMAND…: in the machine's root as /, with this system's libraries; the kernel's command line is $CMDLINE, EFI variables lie in $VARIABLES
inside()
{
	local top
	mkdir -p "$ROOT"/{proc,sys/firmware/efi/efivars,mnt,dev}
	echo "$CMDLINE" >"$BATS_TEST_TMPDIR/cmdline"
	top=/mnt$(dirname "$(command -v swupd)")
	unshare -m --propagation private sh -ec "
		mount --bind / '$ROOT/mnt'
		mount --rbind '$MIX' '$ROOT/mnt$MIX'
		mount -t proc proc '$ROOT/proc'
		mount --bind '$BATS_TEST_TMPDIR/cmdline' '$ROOT/proc/cmdline'
		[ -z '${VARIABLES:-}' ] || mount --bind '${VARIABLES:-}' '$ROOT/sys/firmware/efi/efivars'
		exec chroot '$ROOT' /mnt/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2 --library-path /mnt/usr/lib/x86_64-linux-gnu '$top/swupd' \"\$@\"
	" sh "$@"
}

# variable NAME TEXT: as a loader leaves it
variable()
{
	{
		printf '\6\0\0\0'
		printf '%s\0' "$2" | iconv -t UTF-16LE
	} >"$VARIABLES/$1-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"
}

@test "the entry that runs is never removed: told by the loader, or by the kernel's command line" {
	releases 3000000 4
	keep_kernels 3000000 4
	local how options
	for how in loader cmdline; do
		machine "by-$how"
		ESP=$ROOT/efi
		esp 11
		start 30
		KERNEL=$MIX/kernel-10 entry 10
		KERNEL=$MIX/kernel-20 entry 20
		sed -i 's/ rw$/ rw quiet/' "$ESP/loader/entries/limpid-10.conf"
		CMDLINE="$OPTIONS quiet added=by-the-loader" VARIABLES=
		if [ "$how" = loader ]; then
			CMDLINE=other
			VARIABLES=$BATS_TEST_TMPDIR/variables
			mkdir "$VARIABLES"
			variable LoaderEntrySelected LIMPID-10.conf
		fi
		options=(-u "file:///mnt$MIX/update/www" -C "/mnt$MIX/Swupd_Root.pem" -F 30 --boot=/efi --no-progress)
		run inside update "${options[@]}" -I
		assert_success
		# 20 has gone; the new one has the options of the one that runs
		assert_equal "$(entries)" "$(printf '%s\n' limpid-10.conf limpid-30.conf limpid-40.conf)"
		kernel_of 10
		kernel_of 40
		run -0 tail -n 1 "$ESP/loader/entries/limpid-40.conf"
		assert_output "options $OPTIONS quiet"
		umount "$ESP"
	done
}
