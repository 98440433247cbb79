#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# mixer build when things go wrong: nothing half-done is ever published or taken for done.

load lib

setup()
{
	mix_init
	content os-core usr/bin/base base
	content app usr/share/app/file "$(seq 1 2000)"
	bundle os-core
	bundle app
}

# published: what clients see, but for signatures (ECDSA's differ each time) and the time of publishing
published()
{
	(cd "$1/update/www" && find . -path '*/.new-*' -prune -o -type f ! -name '*.sig' ! -name freshness ! -name Manifest.MoM.tar -print0 |
		LC_ALL=C sort -z | xargs -0 sha256sum)
}

@test "what was built without its profile is told at the end, kernels too, until it was trained anew" {
	mkdir -p "$MIX/kernel/profiles" "$MIX/local-recipes" "$MIX/local-debs" "$MIX/recipes.lock"
	sed -i "/^\[mix\]/a kernel-config = $MIX/kernel" "$MIX/mixer.conf"
	printf 'fragments = a\ntrained = t\n' >"$MIX/kernel/profiles/one"
	echo 'source = thing' >"$MIX/local-recipes/other"
	for stem in kernel-t other; do
		echo 'f:1:1' >"$MIX/local-recipes/$stem.profile"
	done
	for package in limpid-kernel-one thing-dbgsrc; do
		mkdir -p "$BATS_TEST_TMPDIR/$package/DEBIAN"
		printf '%s\n' "Package: $package" 'Version: 1+limpid.0123' 'Architecture: amd64' 'Maintainer: x <x@localhost>' 'Description: x' \
			>"$BATS_TEST_TMPDIR/$package/DEBIAN/control"
		dpkg-deb --root-owner-group -b "$BATS_TEST_TMPDIR/$package" "$MIX/local-debs/${package}_1+limpid.0123_amd64.deb" >/dev/null
		echo "1+limpid.0123 $(sha256sum <"$MIX/local-recipes/other.profile" | cut -d ' ' -f 1)" >"$MIX/local-debs/$package.stale"
	done
	content os-core usr/share/base base
	bundle os-core
	mixer -C "$MIX" -q lock
	run -0 mixer -C "$MIX" build
	assert_line "warning: 2 packages are built without their profiles, which are stale: other limpid-kernel-one"
	echo ' 1: 1' >>"$MIX/local-recipes/kernel-t.profile"
	content os-core usr/share/base more
	run -0 mixer -C "$MIX" build
	assert_line "warning: 1 packages are built without their profiles, which are stale: other"
}

@test "a build killed at any file it writes is completed by the next, to the same bytes" {
	release
	want=$(published "$MIX")
	cp -a "$MIX" "$BATS_TEST_TMPDIR/done"
	n=1
	while :; do
		rm -rf "$MIX/update" "$MIX/cache"
		printf 'release = 10\nprevious = 0\nformat = 30\n' >"$MIX/mixer.state"
		run strace -f -qq -o /dev/null -e trace=rename,renameat,renameat2 \
			-e inject=rename,renameat,renameat2:signal=KILL:when=$n mixer -C "$MIX" build
		[ "$status" != 0 ] || break
		# either nothing is announced, or all of it is there
		if [ -e "$MIX/update/www/version/format30/latest" ]; then
			[ -e "$MIX/update/www/10/Manifest.MoM.tar" ]
		fi
		run mixer -C "$MIX" build
		[ "$status" = 0 ] || [ "$status" = 3 ] || fail "after kill $n: $output"
		assert_equal "$(published "$MIX")" "$want"
		assert_equal "$(cat "$MIX/update/www/version/format30/latest")" 10
		n=$((n + 1 + n / 8))
	done
	[ "$n" -gt 20 ]
}

@test "a full disk ends the build with a clear error, and the next one goes on" {
	[ "$(id -u)" = 0 ] || skip "needs root"
	mkdir "$BATS_TEST_TMPDIR/small"
	mount -t tmpfs -o size=600k tmpfs "$BATS_TEST_TMPDIR/small"
	cp -a "$MIX/." "$BATS_TEST_TMPDIR/small/"
	sed -i "s|$MIX|$BATS_TEST_TMPDIR/small|g" "$BATS_TEST_TMPDIR/small/mixer.conf"
	head -c 500000 /dev/urandom >"$BATS_TEST_TMPDIR/small/bundles/tree/app/usr/share/app/big"
	run mixer -C "$BATS_TEST_TMPDIR/small" build
	status_full=$status output_full=$output
	announced=$(ls "$BATS_TEST_TMPDIR/small/update/www/version" 2>/dev/null || true)
	mount -o remount,size=20m "$BATS_TEST_TMPDIR/small"
	run mixer -C "$BATS_TEST_TMPDIR/small" build
	again=$status
	umount "$BATS_TEST_TMPDIR/small"
	assert_equal "$status_full" 1
	[[ $output_full == *"No space left on device"* ]]
	assert_equal "$announced" ""
	assert_equal "$again" 0
}

@test "two builds at once: the second says so and does nothing" {
	strace -f -qq -o /dev/null -e trace=syncfs -e inject=syncfs:delay_enter=3000000 mixer -C "$MIX" build >"$BATS_TEST_TMPDIR/first" 2>&1 &
	first=$!
	sleep 1
	run mixer -C "$MIX" build
	assert_failure 1
	assert_output --partial "another"
	wait $first
	assert_equal "$(cat "$MIX/update/www/version/format30/latest")" 10
}

@test "bundles that claim the same path with other content are named" {
	content app usr/share/same one
	content third usr/share/same two
	bundle app
	bundle third
	mixer -C "$MIX" lock
	run mixer -C "$MIX" build
	assert_failure 1
	assert_output --partial "/usr/share/same is not the same in 'bundle app'"
	assert_output --partial "hint:"
	assert_not_exist "$MIX/update/www/10"
}

@test "content outside of /usr, with a newline in its name, or that is a FIFO is refused by name" {
	content app etc/app.conf x
	run mixer -C "$MIX" build
	assert_failure 1
	assert_output --partial "/etc: a release holds nothing outside of /usr"
	rm -r "$MIX/bundles/tree/app/etc"
	touch "$MIX/bundles/tree/app/usr/share/app/"$'new\nline'
	run mixer -C "$MIX" build
	assert_failure 1
	assert_output --partial "/usr/share/app/new?line"
	rm "$MIX/bundles/tree/app/usr/share/app/"$'new\nline'
	mkfifo "$MIX/bundles/tree/app/usr/share/app/pipe"
	run timeout 20 mixer -C "$MIX" build
	assert_failure 1
	assert_output --partial "/usr/share/app/pipe"
}

@test "a changed bundle needs a new lock, and says so" {
	release
	bundle app 'nosuch-package'
	run mixer -C "$MIX" build
	assert_failure 1
	assert_output --partial "hint: 'mixer lock --keep'"
	run mixer -C "$MIX" lock
	assert_failure 1
	assert_output --partial "nosuch-package"
	assert_equal "$(cat "$MIX/update/www/version/format30/latest")" 10
}

@test "a key that does not belong to the certificate signs nothing" {
	openssl ecparam -name prime256v1 -genkey -noout -out "$MIX/private.pem"
	run mixer -C "$MIX" build
	assert_failure 1
	assert_output --partial "does not belong to"
	assert_not_exist "$MIX/update/www/version/format30/latest"
}

@test "each step runs alone, with the same result" {
	release
	want=$(published "$MIX")
	rm -rf "$MIX/update" "$MIX/cache"
	printf 'release = 10\nprevious = 0\nformat = 30\n' >"$MIX/mixer.state"
	run -0 mixer -C "$MIX" build bundles
	assert_not_exist "$MIX/update/www/10"
	run -0 mixer -C "$MIX" build update --increment
	assert_equal "$(published "$MIX")" "$want"
	run -0 mixer -C "$MIX" build validate
	content app usr/share/app/file "$(seq 1 2001)"
	run -0 mixer -C "$MIX" build bundles
	run -0 mixer -C "$MIX" build update
	assert_not_exist "$MIX/update/www/20/pack-app-from-10.tar"
	run -0 mixer -C "$MIX" build delta-packs --from=10
	run -0 mixer -C "$MIX" build delta-manifests --from=10
	assert_exist "$MIX/update/www/20/pack-app-from-10.tar"
	run -0 mixer -C "$MIX" build validate
}

@test "when nothing has changed there is nothing to build: status 3, and nothing is written" {
	release
	find "$MIX/update" "$MIX/cache" "$MIX/mixer.state" -printf '%p %T@ %s\n' | LC_ALL=C sort >"$BATS_TEST_TMPDIR/before"
	# a clone of the same sources has other times
	find "$MIX/bundles" -exec touch -d @1000000000 {} +
	run mixer -C "$MIX" build
	assert_failure 3
	assert_output --partial "nothing to build: release 10"
	find "$MIX/update" "$MIX/cache" "$MIX/mixer.state" -printf '%p %T@ %s\n' | LC_ALL=C sort >"$BATS_TEST_TMPDIR/after"
	run -0 diff "$BATS_TEST_TMPDIR/before" "$BATS_TEST_TMPDIR/after"
	# the mode of a file is a change as its content is
	chmod +x "$MIX/bundles/tree/app/usr/share/app/file"
	run -0 mixer -C "$MIX" build
	assert_equal "$(cat "$MIX/update/www/version/format30/latest")" 20
}

@test "bundles that include one another are built, installed and updated" {
	content one usr/share/one one
	content one usr/share/both both
	content two usr/share/two two
	content two usr/share/both both
	bundle two
	bundle one 'include(two)'
	bundle two 'include(one)'
	release
	run -0 mixer -C "$MIX" build validate
	machine one
	run -0 sw os-install -B one
	assert_equal "$(cat "$ROOT/usr/share/one")" one
	assert_equal "$(cat "$ROOT/usr/share/two")" two
	assert_equal "$(cat "$ROOT/usr/share/both")" both
	content one usr/share/both other
	content two usr/share/both other
	release
	run -0 sw update
	assert_equal "$(cat "$ROOT/usr/share/both")" other
	run -0 sw verify
}

@test "deltas are made from as many releases as asked, and a report makes none" {
	release
	for text in two three; do
		content app usr/share/app/file "$(seq 1 2000) $text"
		release --previous-versions=0
	done
	[ -z "$(find "$MIX/update/www/30" -name '*from-[12]0*')" ]
	run -0 --separate-stderr mixer -C "$MIX" build delta-packs --previous-versions=5 --report
	assert_output "20 → 30
10 → 30"
	[ -z "$(find "$MIX/update/www/30" -name '*from-[12]0*')" ]
	run -0 mixer -C "$MIX" build delta-packs --previous-versions=1
	assert_exist "$MIX/update/www/30/pack-app-from-20.tar"
	assert_not_exist "$MIX/update/www/30/pack-app-from-10.tar"
	content app usr/share/app/file "$(seq 1 2000) four"
	release
	for from in 10 20 30; do
		assert_exist "$MIX/update/www/40/pack-app-from-$from.tar"
	done
}

@test "what is to be left out is left out" {
	release --no-signing --skip-packs
	assert_not_exist "$MIX/update/www/10/Manifest.MoM.sig"
	assert_not_exist "$MIX/update/www/version/format30/latest.sig"
	assert_not_exist "$MIX/update/www/version/format30/freshness"
	[ -z "$(find "$MIX/update/www/10" -name 'pack-*')" ]
	[ -n "$(find "$MIX/update/www/10/files" -type f)" ]
	content app usr/share/app/file other
	release --skip-fullfiles
	assert_exist "$MIX/update/www/20/Manifest.MoM.sig"
	assert_exist "$MIX/update/www/20/pack-app-from-0.tar"
	assert_not_exist "$MIX/update/www/20/files"
}

@test "a minimal version stamps all older files anew" {
	release
	content app usr/share/app/file other
	release --min-version=20
	assert_equal "$(sed -n 's/^minversion:\t//p' "$MIX/update/www/20/Manifest.MoM")" 20
	[ "$(cut -f 3 -s "$MIX"/update/www/20/Manifest.{app,os-core} | sed '/^[0-9]\+$/!d' | sort -u)" = 20 ]
	run -0 mixer -C "$MIX" build validate
	machine one
	run -0 sw os-install -B app
	run -0 sw verify
}
