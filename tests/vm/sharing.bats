#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# Guests on one image share the host's one copy of it, and none can change it.

load lib

setup_file()
{
	vm_image workload
	export IMAGE
}

teardown()
{
	vm_cleanup
}

# mapped NAME FIELD: KiB of the image's mapping in that guest's QEMU
mapped()
{
	awk -v field="$2:" '/^[0-9a-f]+-[0-9a-f]+ / { here = index($0, "workload.erofs") } here && $1 == field { sum += $2 }
		END { print sum + 0 }' "/proc/$(vm_qemu "$1")/smaps"
}

@test "two guests that have read the whole image: one copy on the host, nothing in their own page cache" {
	# directories are looked through first: their pages are no content
	local name read='set -- /usr/bin/* /usr/lib/x86_64-linux-gnu/*.so* /usr/lib/systemd/*.so;'
	read+=' cached() { while read -r key value unit; do [ $key != Cached: ] || echo $value; done </proc/meminfo; };'
	read+=' before=$(cached); cat $* $* $* >/dev/null; echo cached $(($(cached) - before)) more; sleep 1000'
	vm_start a "$IMAGE" --exec="$read"
	vm_says a more
	vm_start b "$IMAGE" --exec="$read"
	vm_says b more
	for name in a b; do
		local cached rss pss
		cached=$(sed -n 's/.*cached \([0-9]*\).*/\1/p' "$BATS_TEST_TMPDIR/$name")
		rss=$(mapped "$name" Rss)
		pss=$(mapped "$name" Pss)
		echo "$name: cached $cached, Rss $rss, Pss $pss KiB"
		[ "$cached" -le 64 ]
		[ "$rss" -ge 16384 ]
		# half of it, but for what only one of them has read
		[ $((pss * 2)) -le $((rss + rss / 50)) ]
	done
}

@test "what a guest writes to the image's device is nowhere, not even in that guest" {
	local bytes before after part
	bytes=$(stat -c %s "$IMAGE.erofs")
	before=$(sha256sum <"$IMAGE.erofs")
	# the root's own device is in use: a second one on the same file
	part='bs=4096 count=1 status=none'
	vm_run "$IMAGE" --append=limpid.init=/usr/lib/limpid/workload --exec="dd if=/dev/urandom of=/dev/pmem1 seek=64 conv=fsync $part;
		echo written \$?; dd if=/dev/pmem1 skip=64 $part | sha256sum >/tmp/1; dd if=/dev/pmem0 skip=64 $part | sha256sum >/tmp/0;
		read a </tmp/1; read b </tmp/0; [ \${a%% *} = \${b%% *} ]" \
		-- -object "memory-backend-file,id=second,share=on,readonly=on,mem-path=$IMAGE.erofs,size=$bytes" \
		-device virtio-pmem-pci,memdev=second
	assert_line 'written 0'
	assert_equal "$status" 0
	after=$(sha256sum <"$IMAGE.erofs")
	assert_equal "$after" "$before"
}
