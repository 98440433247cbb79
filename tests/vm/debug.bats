#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# A program of a sealed guest is looked at: dead, on this machine, by its core and a web server; and alive, there, with the disk of tools. Before that:
# there is debug information.

load lib
load ../func/serve

setup_file()
{
	[ "$(id -u)" = 0 ] || return 0
	vm_image workload
	export WORKLOAD=$IMAGE
	vm_image debug-tools
	export TOOLS=$IMAGE.erofs
}

setup()
{
	[ "$(id -u)" = 0 ] || skip "the images are root's"
}

teardown()
{
	serve_stop
	vm_cleanup
}

@test "of what we build ourselves, all has debug information" {
	run -0 --separate-stderr vm_mixer debuginfo status --json
	# these have no program but ours; of os-guest, those count that os-core has not
	ours=$(jq '[.bundles[] | select(.name | test("^(kernel-guest(-tiny)?|agent-init|os-guest)$"))]' <<<"$output")
	jq -e 'any(.name == "kernel-guest") and any(.name == "agent-init") and any(.name == "os-guest")' <<<"$ours"
	jq -e 'all(.files > 0 and .covered_files == .files and .covered_bytes == .bytes)' <<<"$ours"
	# and what lies beside programs of others
	jq -e '[.missing[].name | select(test("^(swupd|limpid-)"))] == []' <<<"$output"
}

@test "a core that a guest leaves in its share has lines on this machine, which has nothing of the release" {
	mkdir -m 777 "$BATS_TEST_TMPDIR/share"
	vm_run "$WORKLOAD" --share="$BATS_TEST_TMPDIR/share" --share-by=9p \
		--exec="ulimit -c unlimited; echo /run/limpid/share/core >/proc/sys/kernel/core_pattern; sleep 100 & sleep 1; kill -SEGV \$!; wait \$!; echo status \$?; sync"
	assert_line --partial "status 139"
	core=$(echo "$BATS_TEST_TMPDIR"/share/core*)
	[ -s "$core" ]
	serve "$VM_MIX/update/www"
	export DEBUGINFOD_URLS=$URL/debuginfo DEBUGINFOD_CACHE_PATH=$BATS_TEST_TMPDIR/debuginfod
	# by the build-ids in the core alone
	run timeout 120 eu-stack --core="$core"
	assert_output --partial "clock_nanosleep"
	assert_output --partial "__libc_start_main"
	# gdb of Debian 12 wants to be given the program
	swupd os-install --url="file://$VM_MIX/update/www" --certpath="$VM_MIX/Swupd_Root.pem" --bundles=container-guest --no-scripts \
		--statedir="$BATS_TEST_TMPDIR/state" "$BATS_TEST_TMPDIR/root" >/dev/null
	run timeout 120 gdb -q -batch -nx -iex 'set debuginfod enabled on' -iex "set sysroot $BATS_TEST_TMPDIR/root" -ex bt \
		"$BATS_TEST_TMPDIR/root/usr/bin/sleep" "$core"
	assert_output --partial "clock_nanosleep.c:"
	assert_output --partial "libc_start_call_main (main="
}

@test "tools on a second disk: strace, and gdb in PID 1 with lines of the C library" {
	vm_run "$WORKLOAD" --memory=512 --debug-tools="$TOOLS" \
		--exec="/usr/lib/limpid/tools strace -e trace=openat -o /dev/stdout /usr/bin/true; /usr/lib/limpid/tools gdb -q -batch -nx -p 1 -ex bt; ls /run/limpid/tools/tmp"
	assert_equal "$status" 0
	assert_line --partial 'openat(AT_FDCWD, "/lib/x86_64-linux-gnu/libc.so.6"'
	assert_line --partial "manager_loop () from target:"
	assert_line --partial "epoll_wait.c:"
	# programs of the guest, not of the disk
	assert_line --partial "sd_event_run"
}

@test "perf of the disk records the guest's programs by their build-ids, and bpftrace runs there" {
	mkdir "$BATS_TEST_TMPDIR/share"
	cat >"$BATS_TEST_TMPDIR/share/look" <<-'END'
		perf record -q -e cpu-clock -o /run/limpid/share/perf.data -- chroot /mnt sha256sum /usr/lib/x86_64-linux-gnu/systemd/libsystemd-shared-257.so
		perf --no-pager buildid-list -i /run/limpid/share/perf.data
		# what it can attach to is the kernel's: that of guests has no probes
		bpftrace -l 'software:cpu-clock:*'
	END
	vm_run "$WORKLOAD" --memory=768 --debug-tools="$TOOLS" --share="$BATS_TEST_TMPDIR/share" --share-by=9p \
		--exec="/usr/lib/limpid/tools bash </run/limpid/share/look 2>&1"
	assert_line --partial "software:cpu-clock:"
	[ -s "$BATS_TEST_TMPDIR/share/perf.data" ]
	assert_line --regexp "^[0-9a-f]{40} .*libcrypto.so.3"
}

# network: the script that gives a guest of os-guest the network of QEMU's own, in which this machine is 10.0.2.2; with "${NETWORK[@]}" behind --
NETWORK=(-netdev user,id=net -device virtio-net-pci,netdev=net)
network()
{
	cat <<-'END'
		mkdir -p /run/systemd/network
		printf '[Match]\nName=en*\n[Network]\nAddress=10.0.2.15/24\nGateway=10.0.2.2\nLinkLocalAddressing=no\n' >/run/systemd/network/10-test.network
		systemctl start systemd-networkd
		until networkctl reload && networkctl | grep -q 'ether *routable *configured'; do sleep 0.2; done
	END
}

# crash: the script that ends a program of ours, and waits until its core is stored
crash()
{
	cat <<-'END'
		truncate -s 64G /tmp/large
		swupd hashdump /tmp/large &
		until ls -l /proc/$!/fd | grep -q /tmp/large; do sleep 0.2; done
		kill -SEGV $!
		wait $!
		echo "status $?"
		until coredumpctl -q info | grep -q '(present)'; do sleep 0.2; done
	END
}

@test "coredumpctl of a stateless guest debugs a program with functions, lines and sources, from a web server" {
	vm_image coredump-debug 'kind = dax-erofs' 'bundles = os-guest os-core-update debug-basic' 'kernel = guest' 'state = overlay' \
		'init = /usr/lib/limpid/first' 'cmdline = quiet systemd.show_status=false panic=1 coredump_filter=0xb3'
	mkdir "$BATS_TEST_TMPDIR/share"
	serve "$VM_MIX/update/www"
	{
		crash
		network
		# shellcheck disable=SC2016 # it is the guest's shell
		echo 'sysctl -n kernel.core_pattern
			coredumpctl --no-pager info
			coredumpctl debug --debugger-arguments="-batch -ex bt -ex \"frame function hashdump_run\" -ex list"
			systemctl --failed --plain --no-legend | sed "s/^/failed unit: /"'
	} >"$BATS_TEST_TMPDIR/share/look"
	vm_run "$IMAGE" --memory=512 --share="$BATS_TEST_TMPDIR/share" --share-by=9p \
		--exec="DEBUGINFOD_URLS=http://10.0.2.2:${URL##*:}/debuginfo sh /run/limpid/share/look 2>&1" -- "${NETWORK[@]}"
	assert_equal "$status" 0
	assert_line --partial "status 139"
	assert_line --partial "|/usr/lib/systemd/systemd-coredump "
	assert_line --regexp "Storage: /var/lib/systemd/coredump/core.swupd.*\(present\)"
	# in the journal, without a network
	assert_line --regexp "#[0-9]+ .* __libc_start_main \\(libc.so.6 "
	assert_line --regexp "^#[0-9]+ .*hashdump_run \(.*\) at .*swupd/cmd/hashdump.c:[0-9]+"
	assert_line --regexp "^#[0-9]+ .*main \(argc=.*\) at .*swupd/main.c:[0-9]+"
	# the text of the line
	assert_line --regexp "^[0-9]+[[:blank:]].*file_hash_at\(m->root, file"
	# gdb itself says "Download failed: …" of sources that nobody has, such as those of libc, in which the program may have been
	refute_line --regexp "^failed unit: "
}

# watched: the script by which perf of the disk of tools tells what functions a program of ours calls
watched()
{
	cat <<-'END'
		head -c 256M /dev/zero >/mnt/tmp/zeros
		perf record -q -e cpu-clock:u --call-graph dwarf,8192 -o /tmp/perf.data -- chroot /mnt /usr/bin/swupd hashdump /tmp/zeros
		perf --no-pager report -i /tmp/perf.data --stdio --children -g none -s sym
	END
}

# coredump_only: in $IMAGE, a guest that keeps cores, and has nothing to look at them with
coredump_only()
{
	vm_image coredump-only 'kind = dax-erofs' 'bundles = os-guest os-core-update coredump' 'kernel = guest' 'state = overlay' \
		'init = /usr/lib/limpid/first' 'cmdline = quiet systemd.show_status=false panic=1 coredump_filter=0xb3'
}

@test "a guest that only keeps cores: the disk of tools looks at one; debuginfod over https is believed by its certificate" {
	coredump_only
	local share=$BATS_TEST_TMPDIR/share tls name
	mkdir "$share"
	for name in right wrong; do
		openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$name" -addext 'subjectAltName = IP:10.0.2.2' \
			-keyout "$BATS_TEST_TMPDIR/$name.key" -out "$share/$name.pem" 2>/dev/null
	done
	tls=$(free_port)
	serve "$VM_MIX/update/www" "listen 127.0.0.1:$tls ssl; ssl_certificate $share/right.pem; ssl_certificate_key $BATS_TEST_TMPDIR/right.key;"
	{
		crash
		network
		cat <<-'END'
			coredumpctl dump -q -o /run/core >/dev/null
			id=$(/usr/lib/limpid/tools eu-readelf -n /mnt/usr/bin/swupd | sed -n 's/.*Build ID: //p')
			cd /run/limpid/share
			/usr/lib/limpid/tools timeout 60 debuginfod-find debuginfo "$id"
			echo "public authorities: $?"
			SSL_CERT_FILE=$PWD/wrong.pem /usr/lib/limpid/tools timeout 60 debuginfod-find debuginfo "$id"
			echo "wrong: $?"
			SSL_CERT_FILE=$PWD/none.pem /usr/lib/limpid/tools true
			echo "none: $?"
			SSL_CERT_FILE=$PWD/right.pem /usr/lib/limpid/tools timeout 60 debuginfod-find debuginfo "$id"
			echo "right: $?"
			# what the guest itself believes
			mkdir -p /etc/ssl/certs
			cp right.pem /etc/ssl/certs/ca-certificates.crt
			/usr/lib/limpid/tools gdb -q -batch -iex 'set sysroot /mnt' -ex bt -ex 'frame function hashdump_run' -ex list /mnt/usr/bin/swupd /run/core
			/usr/lib/limpid/tools bash </run/limpid/share/perf
		END
	} >"$share/look"
	watched >"$share/perf"
	vm_run "$IMAGE" --memory=1024 --debug-tools="$TOOLS" --share="$share" --share-by=9p \
		--exec="DEBUGINFOD_URLS=https://10.0.2.2:$tls/debuginfo sh /run/limpid/share/look 2>&1" -- "${NETWORK[@]}"
	assert_equal "$status" 0
	assert_line --partial "status 139"
	assert_line --partial "public authorities: 1"
	assert_line --partial "wrong: 1"
	assert_line --partial "none: 125"
	assert_line --partial "right: 0"
	assert_line --regexp "^#[0-9]+ .*hashdump_run \(.*\) at .*swupd/cmd/hashdump.c:[0-9]+"
	assert_line --regexp "^[0-9]+[[:blank:]].*file_hash_at\(m->root, file"
}

@test "debug information on a disk of tools: lines and sources without a network, and perf names what programs call" {
	vm_image tools-debuginfo 'kind = dax-erofs' 'bundles = debug-tools os-core-update-debuginfo' 'etc = factory'
	local disk=$IMAGE.erofs share=$BATS_TEST_TMPDIR/share
	coredump_only
	mkdir "$share"
	{
		crash
		cat <<-'END'
			coredumpctl dump -q -o /run/core >/dev/null
			/usr/lib/limpid/tools gdb -q -batch -iex 'set sysroot /mnt' -ex bt -ex 'frame function hashdump_run' -ex list /mnt/usr/bin/swupd /run/core
			/usr/lib/limpid/tools bash </run/limpid/share/perf
		END
	} >"$share/look"
	watched >"$share/perf"
	vm_run "$IMAGE" --memory=1024 --debug-tools="$disk" --share="$share" --share-by=9p --exec="sh /run/limpid/share/look 2>&1"
	assert_equal "$status" 0
	assert_line --regexp "^#[0-9]+ .*hashdump_run \\(.*\\) at .*swupd/cmd/hashdump.c:[0-9]+"
	assert_line --regexp "^[0-9]+[[:blank:]].*file_hash_at\\(m->root, file"
	assert_line --regexp " hashdump_run *$"
}

@test "a guest without the disk says so" {
	vm_run "$WORKLOAD" --exec="/usr/lib/limpid/tools true"
	assert_equal "$status" 125
	assert_line --partial "no disk with the serial limpid-tools"
}
