#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# Which processes use files that an update has replaced: real ones, whose root or mount namespace is the machine's, on real file systems.

load lib

setup_file()
{
	# A program and its library, static enough for a root without a C library. Both are mapped.
	cat >"$BATS_FILE_TMPDIR/main.c" <<-'END'
		#include <fcntl.h>
		#include <pthread.h>
		#include <stdio.h>
		#include <string.h>
		#include <sys/mman.h>
		#include <unistd.h>

		static void *wait_for_ever(void *arg)
		{
			for (;;)
				pause();
			return arg;
		}

		/* map [FILE|memfd|chroot=DIR]… [thread]: thread: the first one ends */
		int main(int argc, char **argv)
		{
			pthread_t thread;
			for (int i = 1; i < argc; i++) {
				if (strcmp(argv[i], "thread") == 0)
					continue;
				if (strncmp(argv[i], "chroot=", 7) == 0) {
					if (chroot(argv[i] + 7) < 0)
						return 3;
					continue;
				}
				int fd = strcmp(argv[i], "memfd") ? open(argv[i], O_RDONLY) : memfd_create("/usr/bin/hello", 0);
				if (strcmp(argv[i], "memfd") == 0 && ftruncate(fd, 4096) < 0)
					return 4;
				if (fd < 0 || mmap(NULL, 1, PROT_READ, MAP_SHARED, fd, 0) == MAP_FAILED)
					return 2;
				close(fd);
			}
			puts("ready");
			fflush(stdout);
			if (argc > 1 && strcmp(argv[argc - 1], "thread") == 0) {
				pthread_create(&thread, NULL, wait_for_ever, NULL);
				pthread_exit(NULL);
			}
			wait_for_ever(NULL);
		}
	END
	cc -static -pthread -o "$BATS_FILE_TMPDIR/map" "$BATS_FILE_TMPDIR/main.c"
}

# in 10, 20 and 30
SAME=/usr/bin/setgid-tool

setup()
{
	[ "$(id -u)" = 0 ] || skip "needs root"
	vectors m
	PIDS=()
}

teardown()
{
	[ ${#PIDS[@]} = 0 ] || kill -KILL "${PIDS[@]}" 2>/dev/null || true
	[ -z "${LOOP:-}" ] || umount -l "$LOOP"
}

# start_on TYPE: a machine on such a disk
start_on()
{
	machine "$1"
	disk "$1"
	install_10
	install -D "$BATS_FILE_TMPDIR/map" "$ROOT/opt/map"
	mkdir -p "$ROOT"/{proc,home}
	echo mine >"$ROOT/home/file"
	# what a user has below usr
	mkdir -p "$ROOT/usr/local/bin"
	cp "$BATS_FILE_TMPDIR/map" "$ROOT/usr/local/bin/mine"
	PIDS=()
}

# start NAME COMMAND…: until it is ready; its process is in ${NAMED[NAME]}
declare -gA NAMED=()
start()
{
	local name=$1 fifo=$BATS_TEST_TMPDIR/fifo line
	shift
	rm -f "$fifo"
	mkfifo "$fifo"
	"$@" >"$fifo" 2>/dev/null 3>&- &
	NAMED[$name]=$!
	PIDS+=("$!")
	read -r line <"$fifo"
	[ "$line" = ready ]
}

# told [NAME…]: exactly these processes are
told()
{
	local name want=
	run -0 sw restart --dry-run
	for name; do
		want+="process ${NAMED[$name]} "
		want+=$'\n'
	done
	diff <(printf '%s' "$want" | sort) <(cut -d '(' -f 1 <<<"$output" | grep . | sort)
}

stop()
{
	kill -KILL "${PIDS[@]}"
	wait "${PIDS[@]}" 2>/dev/null || true
	PIDS=()
}

# cast: processes of every kind, before the update
cast()
{
	# usr/bin/hello is another in 20
	start changed chroot "$ROOT" /opt/map /usr/bin/hello
	start unchanged chroot "$ROOT" /opt/map "$SAME"
	start thread chroot "$ROOT" /opt/map /usr/bin/hello thread
	start below "$ROOT/opt/map" "$ROOT/usr/bin/hello" "chroot=$ROOT/home"
	start memory chroot "$ROOT" /opt/map memfd /home/file
	start users chroot "$ROOT" /usr/local/bin/mine
	# a mount namespace of its own, over the same files
	start private unshare -m --propagation private chroot "$ROOT" /opt/map /usr/bin/hello
	# one whose root is a container's, with the same names
	rm -rf "$ROOT/home/container"
	mkdir -p "$ROOT/home/container/usr/bin"
	cp "$ROOT/usr/bin/hello" "$ROOT/home/container/usr/bin/hello"
	cp "$BATS_FILE_TMPDIR/map" "$ROOT/home/container/map"
	cat >"$BATS_TEST_TMPDIR/pivot" <<-'END'
		mount --bind "$1" "$1" && cd "$1" && mkdir -p old && pivot_root . old && exec /map /usr/bin/hello
	END
	start container unshare -m --propagation private sh "$BATS_TEST_TMPDIR/pivot" "$ROOT/home/container"
	start pivoted unshare -m --propagation private sh -c "mount --bind '$ROOT' '$ROOT' && cd '$ROOT' && mkdir -p home/old &&
		pivot_root . home/old && exec /opt/map /usr/bin/hello"
	rm "$ROOT/home/file" "$ROOT/usr/local/bin/mine"
	echo other >"$ROOT/home/file"
	cp "$BATS_FILE_TMPDIR/map" "$ROOT/usr/local/bin/mine"
}

@test "processes that use replaced files are told by their inodes, others are not: in place and by exchange, on ext4 and btrfs" {
	for type in ext4 btrfs btrfs-subvolume; do
		for how in in-place exchange; do
			start_on "$type"
			cast
			told
			option=()
			[ "$how" = exchange ] || option=(--in-place)
			run -0 sw update -I -V 20 "${option[@]}"
			told changed thread below private pivoted
			assert_line --regexp "^process ${NAMED[changed]} \\(map\\): end it"
			run -0 sw history
			assert_output --partial "($([ "$how" = exchange ] && echo exchange || echo in place))"
			stop
			# what begins now is not
			start after chroot "$ROOT" /opt/map /usr/bin/hello "$SAME"
			told
			# nor what is of the tree before the one before, if the release still has it
			if [ "$how" = exchange ]; then
				start old chroot "$ROOT" /opt/map "$SAME"
				sw update -I
				sw rollback
				sw rollback
				told
			fi
			stop
			umount -l "$LOOP"
			LOOP=
		done
	done
}
