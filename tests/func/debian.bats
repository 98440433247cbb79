#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# The whole path on real input: Debian 13's packages, a web server, installation, update, and the programs run.

load lib

# One mix for all tests of this file: it takes some minutes
setup_file()
{
	[ "$(id -u)" = 0 ] || return 0
	export MIX=$BATS_FILE_TMPDIR/mix
	local top
	top=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)
	mixer init "$MIX" --bundles="$top/bundles" --content-url="file://$MIX/update/www"
	(cd "$top" && ci/deb)
	cp "$(cd "$top" && realpath "${O:-build}")"/deb/swupd_*.deb "$MIX/local-debs/"
	printf '%s\n' os-core os-core-update ca-certs openssl curl python3-basic network-basic nginx >"$MIX/mixbundles"
	mixer -C "$MIX" lock --repositories=debian,local >"$BATS_FILE_TMPDIR/log" 2>&1
	mixer -C "$MIX" build >>"$BATS_FILE_TMPDIR/log" 2>&1
	mixer -C "$MIX" lock >>"$BATS_FILE_TMPDIR/log" 2>&1
	mixer -C "$MIX" build >>"$BATS_FILE_TMPDIR/log" 2>&1
}

setup()
{
	[ "$(id -u)" = 0 ] || skip "needs root"
}

teardown()
{
	serve_stop
}

@test "release 10 is installed over HTTP and updated to 20, which equals a fresh installation" {
	serve "$MIX/update/www"
	machine a
	SWUPD_GLOBAL+=(--allow-insecure-http)
	run -0 sw os-install -V 10 -B os-core-update,curl,openssl,python3-basic
	run -0 sw bundle-add nginx
	: >"$ACCESS"
	run -0 sw update
	assert_equal "$(sed -n 's/^VERSION_ID=//p' "$ROOT/usr/lib/os-release")" 20
	run -0 sh -c "awk '{ print \$2, \$7 }' '$ACCESS' | sort | uniq -d"
	assert_output ""
	run -0 sw diagnose --picky
	run -0 sw bundle-remove nginx
	run -0 sw diagnose --picky
	updated=$ROOT
	URL=
	machine b
	run -0 sw os-install -V 20 -B os-core-update,curl,openssl,python3-basic
	run -0 same_tree "$updated" "$ROOT"

	# nothing of the vendor's is outside of /usr
	assert_equal "$(find "$ROOT/etc" "$ROOT/home" "$ROOT/root" -mindepth 1 | wc -l)" 0
	assert_equal "$(find "$ROOT/var" -mindepth 1 -not -path "$ROOT/var/lib*" | wc -l)" 0

	# its programs run, with an empty /etc
	run -0 chroot "$ROOT" /usr/bin/bash -c 'echo "$BASH_VERSION"; seq 3 | sort -r | head -n 1'
	assert_line 3
	run -0 chroot "$ROOT" /usr/bin/openssl dgst -sha256 /usr/lib/os-release
	run -0 chroot "$ROOT" /usr/bin/curl -s file:///usr/lib/os-release
	assert_output --partial "VERSION_ID=20"
	run -0 chroot "$ROOT" /usr/bin/python3 -c 'import ssl, json, hashlib, sqlite3; print("python runs")'
	assert_output "python runs"
	run -0 chroot "$ROOT" /usr/bin/swupd info
	assert_output --partial "release: 20"

	# what systemd does at the first start of a machine
	run systemd-tmpfiles --root="$ROOT" --create --exclude-prefix=/dev --exclude-prefix=/proc --exclude-prefix=/sys
	assert_file_exist "$ROOT/etc/ssl/certs/ca-certificates.crt"
}

@test "what a release is made of is bound to its signature" {
	mom=$MIX/update/www/20/Manifest.MoM
	for name in sbom.spdx.json mixer.lock; do
		hash=$(sha256sum "$MIX/update/www/20/$name" | cut -d ' ' -f 1)
		run -0 grep "^attached:" "$mom"
		assert_output --partial "$hash"
	done
	run -0 openssl smime -verify -binary -inform DER -in "$mom.sig" -content "$mom" -purpose any \
		-CAfile "$MIX/Swupd_Root.pem" -out /dev/null
	run -0 python3 -c "import json; d = json.load(open('$MIX/update/www/20/sbom.spdx.json'))
assert d['spdxVersion'] == 'SPDX-2.3' and any(p['name'] == 'bash' for p in d['packages'])"
}

@test "os-core is smaller than what was measured before us" {
	# facts of the feasibility study: 95 packages, 90.3 MB
	packages=$(sed -n 's/^bundle os-core //p' "$MIX/mixer.lock" | wc -w)
	size=$(sed -n 's/^contentsize:\t//p' "$MIX/update/www/10/Manifest.os-core")
	[ "$packages" -lt 95 ]
	[ "$size" -lt 90300000 ]
}

@test "the release is valid: hashes, files, packs, and every program has its libraries and interpreter" {
	run -0 mixer -C "$MIX" build validate
}
