#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# Keys change: the mixer's root files, and machines that know only the certificate that they were installed with.

load lib

setup()
{
	[ "$(id -u)" = 0 ] || skip "needs root"
	mix_init
	WWW=$MIX/update/www
	content os-core-update usr/share/update/file update
	content os-core usr/bin/base 0
	bundle os-core
	bundle os-core-update
}

# next TEXT: a release with another file
next()
{
	content os-core usr/bin/base "$1"
	release
}

# installed NAME [OPTION…]: a machine that trusts what its release brought, no more
installed()
{
	machine "$1"
	sw os-install -B os-core-update "${@:2}" >/dev/null
	known "$1"
}

# known NAME: that machine again
known()
{
	machine "$1"
	SWUPD_GLOBAL=(-p "$ROOT" -K "$BATS_TEST_TMPDIR/$1/cache" -N --no-progress)
}

# has RELEASE: what the machine has
has() { assert_equal "$(cat "$ROOT/usr/share/clear/version")" "$1"; }

mix() { mixer -C "$MIX" "$@"; }

# certificate NAME: a key and its certificate, made elsewhere
certificate()
{
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 -subj "/CN=$1" \
		-keyout "$BATS_TEST_TMPDIR/$1.key" -out "$BATS_TEST_TMPDIR/$1.pem" 2>/dev/null
}

digest() { openssl x509 -in "$1" -outform DER | sha256sum | cut -d ' ' -f 1; }

@test "machines follow two changes of keys, release by release or at once" {
	next 1
	installed often
	installed seldom
	first=$(digest "$MIX/Swupd_Root.pem")
	run -0 mix key rotate
	run -0 digest "$MIX/Swupd_Root.pem"
	refute_output "$first"
	next 2
	known often
	run -0 sw check-update
	run -0 sw update
	has 20
	assert_equal "$(digest "$ROOT/usr/share/clear/update-ca/Swupd_Root.pem")" "$(digest "$MIX/keys/2/Swupd_Root.pem")"
	cmp "$ROOT/usr/share/clear/update-ca/root" "$WWW/version/root/2"
	run -0 mix key rotate
	next 3
	run -0 sw update
	has 30
	run -0 sw diagnose --picky

	# release 10 was signed by a key that is listed no more
	run -0 mix key show
	refute_output --partial "$first"
	known seldom
	rm -rf "$BATS_TEST_TMPDIR/seldom/cache"
	run -0 sw update
	has 30
	run -0 sw diagnose --picky
	for release in 10 20 30; do
		run -0 mix build validate --to=$release
	done
	# no key was lost
	assert_equal "$(digest "$MIX/keys/1/Swupd_Root.pem")" "$first"
	for key in 1 2 3; do
		assert_equal "$(stat -c %a "$MIX/keys/$key/private.pem")" 600
		cmp <(openssl pkey -in "$MIX/keys/$key/private.pem" -pubout) \
			<(openssl x509 -in "$MIX/keys/$key/Swupd_Root.pem" -noout -pubkey)
	done
	cmp "$MIX/keys/3/private.pem" "$MIX/private.pem"
}

# theirs CERT FILE SIG: verified as the predecessor's client does
theirs()
{
	openssl smime -verify -inform DER -content "$2" -in "$3" -purpose any -CAfile "$1" >/dev/null 2>&1
}

@test "the predecessor's client follows with the new certificate in its hand" {
	next 1
	mix key rotate
	next 2
	mix key rotate
	next 3
	for release in 10 20 30; do
		run -0 theirs "$MIX/Swupd_Root.pem" "$WWW/$release/Manifest.MoM" "$WWW/$release/Manifest.MoM.sig"
	done
	run -0 theirs "$MIX/Swupd_Root.pem" "$WWW/version/format30/latest" "$WWW/version/format30/latest.sig"
	run -0 theirs "$MIX/Swupd_Root.pem" "$WWW/version/latest_version" "$WWW/version/latest_version.sig"
	# without it, it can still verify and repair what it has
	mkdir "$BATS_TEST_TMPDIR/tar"
	tar -C "$BATS_TEST_TMPDIR/tar" -xf "$WWW/10/Manifest.MoM.tar"
	cd "$BATS_TEST_TMPDIR/tar"
	run -0 theirs "$MIX/keys/1/Swupd_Root.pem" Manifest.MoM Manifest.MoM.sig
	run ! theirs "$MIX/keys/2/Swupd_Root.pem" Manifest.MoM Manifest.MoM.sig
}

@test "a new machine begins with the first certificate or with a root file" {
	next 1
	mix key rotate
	mix key drop
	next 2
	CERT=$MIX/keys/1/Swupd_Root.pem installed a
	has 20
	CERT=$WWW/version/root/3 installed b
	has 20
	# the certificate of today signed no root 1
	machine c
	run -21 sw os-install -B os-core-update
	assert_output --partial "root 1 is not signed by an installed certificate"
	assert_output --partial "hint: machines that are installed after a change of keys begin with a root file: --certpath=FILE with the tree's version/root/3"
}

@test "a root file that is missing, changed or from elsewhere stops the update" {
	next 1
	installed a
	mix key rotate
	next 2
	root=$WWW/version/root/2
	cp "$root" "$BATS_TEST_TMPDIR/root"
	rm "$root"
	run -21 sw update
	assert_output --partial "version/root/2"
	has 10
	sed 's/^threshold:\t1/threshold:\t2/' "$BATS_TEST_TMPDIR/root" >"$root"
	run -21 sw update
	# the last signature is by the new key only: that of the old one is missing
	sed '/BEGIN CMS/,$d' "$BATS_TEST_TMPDIR/root" >"$root"
	run -21 sw update
	assert_output --partial "needs 1 signatures by keys of root 1, and has 0"
	mix key sign "$root" --certificate="$MIX/Swupd_Root.pem" --key="$MIX/private.pem"
	run -21 sw update
	assert_output --partial "needs 1 signatures by keys of root 1, and has 0"
	has 10
	cp "$BATS_TEST_TMPDIR/root" "$root"
	run -0 sw update
	has 20
}

@test "a stolen key counts until it is dropped" {
	next 1
	installed a
	installed b
	mix key rotate
	# the thief: the mix with the old key, and what is published
	cp -a "$MIX" "$BATS_TEST_TMPDIR/thief"
	cp "$MIX/keys/1/"*.pem "$BATS_TEST_TMPDIR/thief/"
	content os-core usr/bin/base evil
	mixer -C "$BATS_TEST_TMPDIR/thief" build >/dev/null 2>&1
	evil=(-u "file://$BATS_TEST_TMPDIR/thief/update/www" -F 30)

	run -0 sw update "${evil[@]}"
	has 20
	mix key drop
	next 2
	known a
	run -0 sw update
	has 20
	assert_equal "$(cat "$ROOT/usr/bin/base")" 2
	cp "$WWW/version/root/"* "$BATS_TEST_TMPDIR/thief/update/www/version/root/"
	content os-core usr/bin/base worse
	mixer -C "$BATS_TEST_TMPDIR/thief" build >/dev/null 2>&1
	run -21 sw update "${evil[@]}"
	assert_output --partial "is by 'CN=Limpid', which is not a key we trust"
	has 20
	# nor when the release is named
	run -21 sw update "${evil[@]}" -V 30
	has 20
}

@test "two of three people change the root keys, and one alone cannot" {
	next 1
	installed a
	certificate ann
	certificate ben
	certificate eve
	run mix key rotate --threshold=2 --root-cert="$BATS_TEST_TMPDIR/ann.pem,$BATS_TEST_TMPDIR/ben.pem" \
		--root-cert="$BATS_TEST_TMPDIR/eve.pem"
	assert_failure 3
	assert_output --partial "root 2 needs 2 signatures by keys of root 2, and has 0"
	assert_output --partial "mixer key sign"
	assert_not_exist "$WWW/version/root/2"
	# until then everything goes on with the old key, and nothing begins twice
	next 2
	run -0 sw update
	has 20
	run -1 mix key rotate
	assert_output --partial "root 2 waits in keys/2"
	run -0 mix key show
	assert_output --partial "root 2 waits"

	root=$MIX/keys/2/root
	cd "$BATS_TEST_TMPDIR"
	run -0 mixer key sign "$root" --certificate=ann.pem --key=ann.key
	assert_output --partial "root 2, threshold 2"
	run -3 mix key publish
	assert_output --partial "has 1"
	run -0 mixer key sign "$root" --certificate=eve.pem --key=eve.key
	run -0 mix key publish
	next 3
	run -0 sw update
	has 30

	# the root keys stay when the release key changes
	run -3 mix key rotate
	assert_output --partial "root 3 needs 2 signatures by keys of root 2, and has 0"
	run -0 mixer key sign "$MIX/keys/3/root" --certificate=ben.pem --key=ben.key
	run -3 mix key publish
	run -0 mixer key sign "$MIX/keys/3/root" --certificate=ann.pem --key=ann.key
	run -0 mix key publish
	next 4
	run -0 sw update
	has 40
	run -0 sw diagnose --picky
}

@test "a threshold that can never be met is refused, and leaves nothing behind" {
	next 1
	run -1 mix key rotate --threshold=2
	assert_output --partial "threshold 2 is more than the 1 root keys"
	assert_not_exist "$MIX/keys/2"
	run -0 mix key rotate
	assert_exist "$WWW/version/root/2"
}

@test "a rotation that was interrupted is completed" {
	next 1
	installed a
	cp "$MIX/private.pem" "$BATS_TEST_TMPDIR/old.key"
	cp "$MIX/Swupd_Root.pem" "$BATS_TEST_TMPDIR/old.pem"
	cp "$WWW/version/format30/freshness" "$BATS_TEST_TMPDIR/freshness"
	mix key rotate
	# killed after the root was published; between certificate and key
	cp "$BATS_TEST_TMPDIR/old.key" "$MIX/private.pem"
	cp "$BATS_TEST_TMPDIR/freshness" "$WWW/version/format30/freshness"
	run -0 mix key show
	assert_output --partial "is not in use yet"
	assert_output --partial "from before the newest root"
	run -1 mix key rotate
	assert_output --partial "root 2 is published, but its key is not in use"
	run -0 mix key publish
	cmp "$MIX/private.pem" "$MIX/keys/2/private.pem"
	cmp "$MIX/Swupd_Root.pem" "$MIX/keys/2/Swupd_Root.pem"
	next 2
	run -0 sw update
	has 20
	# a key of which there is no copy is not overwritten
	certificate mine
	cp "$BATS_TEST_TMPDIR/mine.key" "$MIX/private.pem"
	run -1 mix key publish
	assert_output --partial "there is no copy of it"
	cmp "$BATS_TEST_TMPDIR/mine.key" "$MIX/private.pem"
}

@test "a rotation killed at any rename leaves a tree that machines believe, and is completed" {
	strace -qq -o /dev/null true 2>/dev/null || skip "needs ptrace"
	next 1
	installed a
	cp -a "$MIX" "$BATS_TEST_TMPDIR/whole"
	cp -a "$BATS_TEST_TMPDIR/a" "$BATS_TEST_TMPDIR/machine"
	first=$(digest "$MIX/Swupd_Root.pem")
	for ((kill = 1; ; kill++)); do
		[ "$kill" -lt 100 ]
		rm -rf "$MIX" "$BATS_TEST_TMPDIR/a"
		cp -a "$BATS_TEST_TMPDIR/whole" "$MIX"
		cp -a "$BATS_TEST_TMPDIR/machine" "$BATS_TEST_TMPDIR/a"
		result=0
		strace -f -qq -o /dev/null -e trace=renameat,renameat2,mkdirat \
			-e inject=renameat,renameat2,mkdirat:signal=KILL:when=$kill \
			mixer -C "$MIX" key rotate >/dev/null 2>&1 || result=$?
		echo "killed at $kill: $result"
		# what is published holds at any time
		run -0 sw update
		[ "$result" != 0 ] || break
		mix key publish || [ $? = 3 ]
		[ -e "$WWW/version/root/2" ] || mix key rotate
		cmp "$MIX/private.pem" "$MIX/keys/2/private.pem"
		cmp "$MIX/Swupd_Root.pem" "$MIX/keys/2/Swupd_Root.pem"
		assert_equal "$(digest "$MIX/keys/1/Swupd_Root.pem")" "$first"
		run -0 mix key show
		refute_output --partial "publish"
		run -0 mix build validate
		rm -rf "$BATS_TEST_TMPDIR/a/cache"
		mix key drop
		run -0 sw update
	done
	[ "$kill" -gt 10 ]
}

# signer NAME: a program on the other side that signs with this key, as an agent or a hardware token would
signer()
{
	cat >"$BATS_TEST_TMPDIR/sign-$1" <<-END
		#!/bin/sh
		exec openssl cms -sign -binary -noattr -outform DER -signer "$BATS_TEST_TMPDIR/$1.pem" \
			-inkey "$BATS_TEST_TMPDIR/$1.key"
	END
	chmod 755 "$BATS_TEST_TMPDIR/sign-$1"
}

# use NAME: mixer.conf names that signer
use()
{
	sed -i '/^\[sign\]/,$d' "$MIX/mixer.conf"
	printf '[sign]\ncertificate = %s.pem\ncommand = %s\n' "$BATS_TEST_TMPDIR/$1" "$BATS_TEST_TMPDIR/sign-$1" \
		>>"$MIX/mixer.conf"
}

@test "keys that a command keeps sign releases and are changed by hand" {
	rm "$MIX/private.pem" "$MIX/Swupd_Root.pem"
	certificate old
	certificate new
	signer old
	signer new
	use old
	next 1
	CERT=$BATS_TEST_TMPDIR/old.pem installed a
	run -0 mix freshen
	run -1 mix key rotate
	assert_output --partial "no new one can be made here"
	assert_output --partial "--release-cert=FILE"
	run -3 mix key rotate --release-cert="$BATS_TEST_TMPDIR/new.pem"
	run -0 mixer key sign "$MIX/keys/2/root" --certificate="$BATS_TEST_TMPDIR/new.pem" \
		--command="$BATS_TEST_TMPDIR/sign-new"
	run -0 mix key publish
	assert_output --partial "mixer.conf to use the new key"
	run -0 sw update
	use new
	run -0 mix freshen
	next 2
	run -0 sw update
	has 20
	run -0 mix key drop
	next 3
	run -0 sw update
	has 30
	# a command that does not sign as the certificate says publishes nothing
	printf '#!/bin/sh\nexec "%s"\n' "$BATS_TEST_TMPDIR/sign-old" >"$BATS_TEST_TMPDIR/sign-new"
	run -1 mix freshen
	assert_output --partial "did not sign as certificate"
	run -0 sw update
}

@test "freshness ends, and freshen mends it" {
	run -3 mix freshen
	# a certificate that was valid in 2020 already
	cd "$BATS_TEST_TMPDIR"
	printf '[ca]\ndefault_ca=c\n[c]\ndatabase=index\nserial=serial\nnew_certs_dir=.\ndefault_md=sha256\npolicy=p\n[p]\ncommonName=supplied\n' >ca.cnf
	: >index
	echo 01 >serial
	openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=old -keyout old.key -out old.csr 2>/dev/null
	openssl ca -batch -selfsign -notext -config ca.cnf -in old.csr -keyfile old.key -startdate 20200101000000Z \
		-enddate 21000101000000Z -out old.pem 2>/dev/null
	cp old.key "$MIX/private.pem"
	cp old.pem "$MIX/Swupd_Root.pem"
	next 1
	installed a
	SOURCE_DATE_EPOCH=1600000000 run -0 mix freshen
	run -21 sw check-update
	assert_output --partial "expired"
	run -21 sw update
	assert_output --partial "expired"
	run -0 mix key show
	assert_output --partial "freshness has expired"
	# soon
	SOURCE_DATE_EPOCH=$(($(date +%s) - 25 * 86400)) run -0 mix freshen
	run -0 mix key show
	assert_output --partial "expires within 7 days"
	run -0 mix freshen
	run -0 mix key show
	refute_output --partial "expire"
	run -0 sw update
}

@test "machines of a format that ended are told anew, too" {
	next 1
	installed a
	content os-core usr/bin/base 2
	mix build --format=31
	run -0 cat "$WWW/version/format31/latest" "$WWW/version/latest_version"
	assert_output 2020
	cp -r "$WWW/version" "$BATS_TEST_TMPDIR/"
	run -0 mix freshen
	run -1 cmp "$BATS_TEST_TMPDIR/version/format30/freshness" "$WWW/version/format30/freshness"
	run -1 cmp "$BATS_TEST_TMPDIR/version/format31/freshness" "$WWW/version/format31/freshness"
	for name in latest_version format30/latest format31/latest; do
		cmp "$BATS_TEST_TMPDIR/version/$name" "$WWW/version/$name"
	done
	run -0 sw update
	has 10
}

@test "key show warns of a certificate that ends soon" {
	openssl req -x509 -key "$MIX/private.pem" -days 59 -subj /CN=soon -out "$MIX/Swupd_Root.pem"
	run -0 mix key show
	assert_output --partial "the certificate expires within 60 days: 'mixer key rotate'"
	openssl req -x509 -key "$MIX/private.pem" -days 61 -subj /CN=later -out "$MIX/Swupd_Root.pem"
	run -0 mix key show
	refute_output --partial "expires within"
}

@test "keys change before anything is signed, too" {
	content os-core usr/bin/base 1
	mix lock || [ $? = 3 ]
	run -0 mix build --no-signing
	run -0 mix key rotate
	assert_output --partial "root 2 is published"
	cmp "$MIX/private.pem" "$MIX/keys/2/private.pem"
	run -0 mix key publish
	# who asks for it by name is told
	run -1 mix freshen
	assert_output --partial "release 10 is not signed"
	next 2
	CERT=$WWW/version/root/2 installed a
	has 20
}

@test "answers and warnings come in the order in which they were said" {
	openssl req -x509 -key "$MIX/private.pem" -days 59 -subj /CN=soon -out "$MIX/Swupd_Root.pem"
	run -0 mix key show
	assert_line --index 0 --partial "certificate $MIX/Swupd_Root.pem"
	assert_line --index 2 --partial "the certificate expires within 60 days"
}
