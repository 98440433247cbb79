#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# mixer build --executor=slurm: the heavy part on two nodes of a real Slurm, whose daemons run here, on 127.0.0.1 and in a folder of their own.

load lib

# why not, or nothing
hindrance()
{
	if [ "$(id -u)" != 0 ]; then
		echo "the daemons need root"
	elif ! command -v slurmctld >/dev/null; then
		echo "there is no slurmctld (ci/setup installs it)"
	elif ! unshare -pf --mount-proc true 2>/dev/null; then
		echo "a node needs a namespace of processes"
	fi
}

setup_file()
{
	[ -z "$(hindrance)" ] || return 0
	export SLURM=$BATS_FILE_TMPDIR/slurm
	export SLURM_CONF=$SLURM/slurm.conf
	local -a ports
	mapfile -t ports < <(python3 -c '
import socket
held = [socket.create_server(("127.0.0.1", 0)) for i in range(3)]
for s in held: print(s.getsockname()[1])')
	mkdir -p "$SLURM"/{state,spool-n1,spool-n2}
	(umask 077 && head -c 128 /dev/urandom >"$SLURM/munge.key")
	cat >"$SLURM_CONF" <<-END
		ClusterName=test
		SlurmctldHost=$(hostname)(127.0.0.1)
		SlurmctldPort=${ports[0]}
		SlurmUser=root
		SlurmdUser=root
		AuthType=auth/munge
		AuthInfo=socket=$SLURM/munge.socket
		CredType=cred/munge
		StateSaveLocation=$SLURM/state
		SlurmdSpoolDir=$SLURM/spool-%n
		SlurmctldPidFile=$SLURM/slurmctld.pid
		SlurmdPidFile=$SLURM/slurmd-%n.pid
		MailProg=/bin/true
		ProctrackType=proctrack/linuxproc
		TaskPlugin=task/none
		JobAcctGatherType=jobacct_gather/none
		AccountingStorageType=accounting_storage/none
		SelectType=select/cons_tres
		SelectTypeParameters=CR_Core_Memory
		SchedulerType=sched/builtin
		SchedulerParameters=batch_sched_delay=0,sched_interval=1
		SlurmdTimeout=3
		MessageTimeout=3
		ReturnToService=2
		MpiDefault=none
		SwitchType=switch/none
		SlurmdParameters=config_overrides
		NodeName=n1 NodeHostname=$(hostname) NodeAddr=127.0.0.1 Port=${ports[1]} CPUs=1 RealMemory=4000
		NodeName=n2 NodeHostname=$(hostname) NodeAddr=127.0.0.1 Port=${ports[2]} CPUs=1 RealMemory=4000
		PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
	END
	daemon munged munged --force -F -S "$SLURM/munge.socket" --key-file="$SLURM/munge.key" --pid-file="$SLURM/munge.pid" \
		--log-file="$SLURM/munge.log" --seed-file="$SLURM/munge.seed"
	until_true 10 test -S "$SLURM/munge.socket"
	daemon slurmctld slurmctld -D
	daemon n1 slurmd -D -N n1
	node2
	until_true 20 idle
}

teardown_file()
{
	[ -n "${SLURM:-}" ] || return 0
	local name pid
	# at once: they would first wait for one another
	for name in n2 n1 slurmctld munged; do
		pid=$(cat "$SLURM/$name")
		kill -KILL "$pid" 2>/dev/null || continue
		until_true 10 eval "! kill -0 $pid"
	done
}

# daemon NAME COMMAND…: its process is $SLURM/NAME
daemon()
{
	local name=$1
	shift
	"$@" </dev/null >"$SLURM/$name.out" 2>&1 3>&- &
	echo $! >"$SLURM/$name"
	disown
}

# a node that dies with all that runs on it
node2()
{
	daemon n2 unshare -pf --mount-proc --kill-child slurmd -D -N n2
}

idle()
{
	[ "$(sinfo -h -o '%t %D')" = "idle 2" ]
}

# until_true SECONDS COMMAND…
until_true()
{
	local end=$((SECONDS + $1))
	shift
	until "$@" >/dev/null 2>&1; do
		[ "$SECONDS" -lt "$end" ] || fail "still not: $*"
		sleep 0.1
	done
}

setup()
{
	[ -z "$(hindrance)" ] || skip "$(hindrance)"
	until_true 20 idle
	mix_init
	printf '[publish]\nlevel = 3\n' >>"$MIX/mixer.conf"
	first_content
}

# noise BYTES: always the same, that compress to three quarters
noise()
{
	openssl enc -aes-128-ctr -nosalt -K 00 -iv 00 </dev/zero 2>/dev/null | base64 | head -c "$1"
}

# 226 files, of which 9 MB do not compress to nothing: tasks for both nodes
first_content()
{
	local name
	mkdir -p "$BATS_TEST_TMPDIR/files"
	noise 9000000 | split -b 40000 -a 3 -d - "$BATS_TEST_TMPDIR/files/"
	for name in os-core one two; do
		mkdir -p "$MIX/bundles/tree/$name/usr/share/$name"
	done
	mv "$BATS_TEST_TMPDIR"/files/0* "$MIX/bundles/tree/os-core/usr/share/os-core/"
	mv "$BATS_TEST_TMPDIR"/files/1* "$MIX/bundles/tree/one/usr/share/one/"
	mv "$BATS_TEST_TMPDIR"/files/2* "$MIX/bundles/tree/two/usr/share/two/"
	bundle os-core
	bundle one
	bundle two
	# one that needs more memory than the others
	head -c 60000000 /dev/zero >"$MIX/bundles/tree/two/usr/share/two/large"
}

second_content()
{
	find "$MIX/bundles/tree" -name '*[0369]' -type f -exec sed -i '1s/^/changed/; 300s/^/more/' {} +
}

# published DIR: what clients see
published()
{
	(cd "$1/update/www" && find . -type f ! -name freshness -print0 | LC_ALL=C sort -z | xargs -0 sha256sum)
}

# without_slurm: the same builds by threads, in $OTHER
without_slurm()
{
	local mix=$MIX
	OTHER=$BATS_TEST_TMPDIR/other
	cp -a "$MIX" "$OTHER"
	sed -i "s|$MIX|$OTHER|" "$OTHER/mixer.conf"
	MIX=$OTHER
	"$@"
	MIX=$mix
}

slurm_build()
{
	mixer -C "$MIX" -v build --no-signing --executor=slurm "$@"
}

# background [NODE]: a build in a session of its own, $BUILD, with tasks that take seconds; returns in the midst of them, when one runs on that node
background()
{
	sed -i 's/^level = 3/level = 19/' "$MIX/mixer.conf"
	setsid mixer -C "$MIX" -v build --no-signing --skip-packs --executor=slurm >"$BATS_TEST_TMPDIR/log" 2>&1 3>&- &
	BUILD=$!
	until_true 20 runs "${1:-n}"
	until_true 20 some_made
}

nothing_left()
{
	[ -z "$(squeue -h)" ]
}

# kill_task NODE: one that runs there
kill_task()
{
	local id
	id=$(squeue -h -t RUNNING -w "$1" -o %A | head -n 1)
	[ -n "$id" ] && scancel --batch --signal=KILL "$id"
}

some_made()
{
	[ "$(find "$MIX/cache/fullfiles" -type f | wc -l)" -gt 20 ]
}

runs()
{
	squeue -h -t RUNNING -o %N | grep -q "$1"
}

threads_build()
{
	mixer -C "$MIX" build --no-signing "$@"
}

two_releases()
{
	threads_build "$@"
	second_content
	threads_build "$@"
}

@test "slurm: two releases on two nodes are what threads make, file by file" {
	without_slurm two_releases >"$BATS_TEST_TMPDIR/log" 2>&1
	run -0 slurm_build
	assert_output --regexp 'Slurm did 2[0-9]+ of 2[0-9]+ jobs; tasks by node: n1 [1-9][0-9]*, n2 [1-9]'
	assert_output --regexp 'array [0-9]+, tasks 1 to 1 with 512 MiB'
	assert_output --partial 'with 256 MiB'
	second_content
	run -0 slurm_build
	assert_output --partial 'deltas:'
	assert_output --partial 'Slurm did '
	[ "$(ls -A "$MIX/cache/jobs")" = "" ]
	[ -e "$MIX/update/www/20/update-from-10" ]
	diff <(published "$OTHER") <(published "$MIX")
	run -3 slurm_build
}

@test "slurm: a node that dies, and a task that does, leave nothing out" {
	sed -i 's/^level = 3/level = 19/' "$MIX/mixer.conf"
	without_slurm threads_build --skip-packs >"$BATS_TEST_TMPDIR/log" 2>&1
	background n2
	kill -KILL "$(cat "$SLURM/n2")"
	# and of the other node a task
	until_true 20 kill_task n1
	wait "$BUILD" || fail "$(cat "$BATS_TEST_TMPDIR/log")"
	node2
	run -0 cat "$BATS_TEST_TMPDIR/log"
	assert_output --regexp 'Slurm left [0-9]+ of [0-9]+ jobs undone, task [0-9]+: (NODE_FAIL|FAILED)'
	assert_output --regexp 'Slurm did [1-9][0-9]* of [0-9]+ jobs; tasks by node: n1 [1-9][0-9]*, n2 1'
	diff <(published "$OTHER") <(published "$MIX")
}

@test "slurm: a cancelled array ends the build, and the same command goes on" {
	# enough for seconds more: it must not have ended before that is cancelled
	noise 40000000 | tail -c 20000000 | split -b 40000 -a 3 -d - "$MIX/bundles/tree/one/usr/share/one/more"
	background
	# the last, which has most to do: another may have ended meanwhile
	scancel "$(squeue -h -o %F | sort -n | tail -n 1)"
	status=0
	wait "$BUILD" || status=$?
	[ "$status" = 1 ]
	run cat "$BATS_TEST_TMPDIR/log"
	assert_output --regexp "mixer: .*Slurm's array [0-9]+ was cancelled"
	assert_output --partial 'hint: what was made is kept'
	[ ! -e "$MIX/update/www/version" ]
	run -0 slurm_build --skip-packs
}

@test "slurm: with mixer its arrays end, however it ends" {
	background
	kill -KILL "$BUILD"
	wait "$BUILD" || true
	until_true 10 nothing_left
	rm -r "$MIX/cache"
	background
	# the whole group, as a terminal does it
	kill -TERM -- "-$BUILD"
	wait "$BUILD" || true
	until_true 10 nothing_left
}

@test "slurm: without Slurm it says so" {
	mkdir "$BATS_TEST_TMPDIR/bin"
	ln -s "$(command -v mixer)" "$BATS_TEST_TMPDIR/bin/"
	PATH=$BATS_TEST_TMPDIR/bin run -1 slurm_build
	assert_output --regexp 'cannot use Slurm: cannot run scancel: No such file'
	assert_output --partial 'hint: --executor=threads builds without it'
	sed 's/^SlurmctldPort=.*/SlurmctldPort=1/; s/^MessageTimeout=.*/MessageTimeout=1/' "$SLURM_CONF" >"$BATS_TEST_TMPDIR/slurm.conf"
	SLURM_CONF=$BATS_TEST_TMPDIR/slurm.conf run -1 slurm_build
	assert_output --partial 'cannot use Slurm: '
	assert_output --partial 'Unable to contact slurm controller'
	SBATCH_PARTITION=none run -1 slurm_build
	assert_output --partial 'Slurm takes no jobs'
	assert_output --partial 'Invalid partition name'
	run -2 mixer -C "$MIX" build --executor=other
	sed -i 's/^\[mix\]/[mix]\nexecutor = slurm/' "$MIX/mixer.conf"
	run -2 mixer -C "$MIX" --executor=wrong build
	SBATCH_PARTITION=none run -1 mixer -C "$MIX" build --no-signing
	run -0 mixer -C "$MIX" build --no-signing --executor=threads
}
