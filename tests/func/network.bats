#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# Servers that do not what they should, proxies, TLS: the update comes from what is right, or ends with one clear error, and nothing has changed; the next run goes on.

load lib

# Releases 10 and 20; what changes is more than comes with the head of the update file
setup_file()
{
	[ "$(id -u)" = 0 ] || return 0
	export BATS_TEST_TMPDIR=$BATS_FILE_TMPDIR
	local n i
	mix_init
	always_valid
	for n in 10 20; do
		content os-core usr/bin/base "base $n"
		content os-core usr/share/text "$(seq 1 7 200000 | sed "s/^177.*/$n/")"
		content b1 usr/share/b1/file "$n"
		for i in 1 2; do
			mkdir -p "$MIX/bundles/tree/b$i/usr/share/b$i"
			head -c 200000 /dev/urandom >"$MIX/bundles/tree/b$i/usr/share/b$i/noise"
		done
		bundle os-core
		bundle b1
		bundle b2
		release
		cp -a "$MIX/update/www/version" "$BATS_FILE_TMPDIR/version-$n"
	done
	# what was signed long ago, and the same a minute later: release 20
	SOURCE_DATE_EPOCH=1600000000 mixer -C "$MIX" freshen
	cp -a "$MIX/update/www/version" "$BATS_FILE_TMPDIR/version-expired"
	SOURCE_DATE_EPOCH=$(($(date +%s) + 60)) mixer -C "$MIX" freshen
	export BATS_TEST_TMPDIR=$BATS_FILE_TMPDIR/installed
	machine a
	sw os-install -V 10 -B os-core,b1,b2
}

# always_valid: the mix signs by a certificate that was valid in 2020 already
always_valid()
{
	(
		cd "$BATS_FILE_TMPDIR" || exit
		printf '[ca]\ndefault_ca=c\n[c]\ndatabase=index\nserial=serial\nnew_certs_dir=.\ndefault_md=sha256\npolicy=p\n[p]\ncommonName=supplied\n' >ca.cnf
		: >index
		echo 01 >serial
		openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=old -keyout "$MIX/private.pem" -out old.csr
		openssl ca -batch -selfsign -notext -config ca.cnf -in old.csr -keyfile "$MIX/private.pem" -startdate 20200101000000Z \
			-enddate 21000101000000Z -out "$MIX/Swupd_Root.pem"
	) 2>/dev/null
}

setup()
{
	[ "$(id -u)" = 0 ] || skip "needs root"
	WWW=$MIX/update/www
}

teardown()
{
	[ -z "${SERVER_PID:-}" ] || kill "$SERVER_PID"
	serve_stop
	! mountpoint -q "${CACHE:-/nonexistent}" || umount "$CACHE"
}

# behind WAY [ONLY]: the machine has release 10 and a server that behaves so
behind()
{
	[ -z "${SERVER_PID:-}" ] || kill "$SERVER_PID"
	: >"$BATS_TEST_TMPDIR/log"
	"$TOP/tests/func/misbehave.py" "$WWW" "$@" >"$BATS_TEST_TMPDIR/log" 3>&- &
	SERVER_PID=$!
	until [ -s "$BATS_TEST_TMPDIR/log" ]; do sleep 0.05; done
	URL=http://127.0.0.1:$(head -n 1 "$BATS_TEST_TMPDIR/log")
	rm -rf "$BATS_TEST_TMPDIR/a"
	cp -a "$BATS_FILE_TMPDIR/installed/a" "$BATS_TEST_TMPDIR/a"
	machine a
	SWUPD_GLOBAL+=(--allow-insecure-http --retry-delay=0)
}

updated()
{
	run -0 sw diagnose --picky -u "file://$WWW"
	assert_equal "$(cat "$ROOT/usr/bin/base")" "base 20"
}

# unchanged: the old release, whole, and nothing else; with a good server the next run completes it
unchanged()
{
	run -0 same_tree "$BATS_FILE_TMPDIR/installed/a/root" "$ROOT"
	run -0 sw update -u "file://$WWW"
	updated
}

@test "parts that are not what was asked for: shifted, lying, long, cut, reset; then other files have it" {
	local way
	for way in shifted lying long cut reset growing html; do
		behind "$way" update-from
		run -0 sw update
		updated
	done
}

@test "parts that are refused: all of it, by one request more" {
	local status
	cp -a "$WWW" "$BATS_TEST_TMPDIR/www"
	WWW=$BATS_TEST_TMPDIR/www
	# there is nothing else
	rm -r "$WWW"/20/pack-* "$WWW/20/files"
	for status in 400 416 501; do
		behind "$status"
		run -0 sw update
		updated
		assert_equal "$(grep -c update-from "$BATS_TEST_TMPDIR/log")" 2
	done
}

# parts: "first-last" of what was asked for of the update file, but the head
parts()
{
	awk '/update-from-/ && $3 !~ /=0-/ { sub("bytes=", "", $3); print $3 }' "$BATS_TEST_TMPDIR/log"
}

@test "a part that is cut once goes on where it ended, in the same run and in the next" {
	local first again way
	cp -a "$WWW" "$BATS_TEST_TMPDIR/www"
	WWW=$BATS_TEST_TMPDIR/www
	for way in same next; do
		behind torn update-from
		# in the next: of a mix that has nothing else, so that the first run ends
		if [ "$way" = next ]; then
			SWUPD_GLOBAL+=(--max-retries=0)
			mv "$WWW/20/files" "$BATS_TEST_TMPDIR/files"
			rm -f "$WWW"/20/pack-*
			run ! sw update
			# what was whole of it is there
			run -0 find "$ROOT/usr/.swupd/staged" -size -400 -size +380
			assert_equal "${#lines[@]}" 1
		fi
		run -0 sw update
		run -0 parts
		assert_equal "${#lines[@]}" 2
		first=${lines[0]} again=${lines[1]}
		assert_equal "${again%-*}" "$((${first%-*} + (${first#*-} + 1 - ${first%-*}) / 2))"
		assert_equal "${again#*-}" "${first#*-}"
		[ "$way" = same ] || mv "$BATS_TEST_TMPDIR/files" "$WWW/20/files"
		updated
		run find "$BATS_TEST_TMPDIR/a/cache/download" -type f
		assert_output ""
	done
}

# small_cache: the cache is a file system of 64 MiB
small_cache()
{
	mount -t tmpfs -o size=64m tmpfs "$BATS_TEST_TMPDIR/a/cache"
	CACHE=$BATS_TEST_TMPDIR/a/cache
}

# sent: the most MiB that the server got rid of in one answer
sent()
{
	sleep 0.2
	awk '$1 == "SENT" { if ($2 > most) most = $2 } END { printf "%d\n", most / 2^20 }' "$BATS_TEST_TMPDIR/log"
}

@test "answers without end are cut, the disk is not filled, and other files have it" {
	behind endless update-from
	small_cache
	run -0 sw update
	assert_equal "$(grep -c SENT "$BATS_TEST_TMPDIR/log")" 1
	[ "$(sent)" -le 16 ]
	updated
	umount "$CACHE"

	behind flood update-from
	small_cache
	run -0 sw update
	[ "$(sent)" -le 48 ]
	updated
	umount "$CACHE"

	# packs, which are asked for where there is no update file
	cp -a "$WWW" "$BATS_TEST_TMPDIR/www"
	WWW=$BATS_TEST_TMPDIR/www
	rm "$WWW/20/update-from-10"
	behind endless pack-
	small_cache
	run -0 sw update
	[ "$(sent)" -gt 0 ]
	[ "$(sent)" -le 16 ]
	updated
}

@test "all of it cut, reset or a portal's page: one error, nothing changes" {
	local way
	for way in cut reset html; do
		behind "$way"
		run ! sw update
		assert_equal "$(grep -c '^swupd:' <<<"$output")" 1
		unchanged
	done
}

@test "content cut, but the newest is known: an error that names what could not be had" {
	behind cut 20/
	run ! sw update
	assert_output --partial "cannot update to release 20"
	unchanged
}

@test "answers in chunks, also to questions of HTTP/1.0" {
	behind chunked
	run -0 sw update
	updated
}

@test "a server that is busy is asked again" {
	behind busy
	run -0 sw update
	updated
}

@test "a server that sends byte after byte does not keep us for ever" {
	behind slow update-from
	SWUPD_GLOBAL+=(--max-retries=0)
	run -0 timeout 300 swupd update "${SWUPD_GLOBAL[@]}"
	updated
}

@test "a server that says nothing is left after half a minute, and other files have it" {
	behind silent update-from
	SWUPD_GLOBAL+=(--max-retries=0)
	run -0 timeout 120 swupd update "${SWUPD_GLOBAL[@]}"
	updated
}

@test "a first question that is not answered, or byte after byte, is asked anew in bounded time" {
	local name pids=()
	behind late freshness
	# each gets one of those answers
	for name in a b c; do
		cp -aT "$BATS_FILE_TMPDIR/installed/a" "$BATS_TEST_TMPDIR/$name"
		machine "$name"
		SWUPD_GLOBAL+=(--allow-insecure-http)
		timeout 20 swupd update "${SWUPD_GLOBAL[@]}" 3>&- &
		pids+=($!)
	done
	for name in "${pids[@]}"; do
		wait "$name"
	done
	assert_equal "$(grep -c freshness "$BATS_TEST_TMPDIR/log")" 6
	for name in a b c; do
		machine "$name"
		updated
	done
}

@test "a proxy of the environment is used, and none for what no_proxy names" {
	behind proxy
	local proxy=$URL
	URL=http://limpid.invalid machine a
	SWUPD_GLOBAL+=(--allow-insecure-http)
	http_proxy=$proxy run -0 sw update
	run -0 grep -c '^GET http://limpid.invalid/' "$BATS_TEST_TMPDIR/log"
	updated
	http_proxy=$proxy no_proxy=limpid.invalid run ! sw update
	http_proxy=http://127.0.0.1:9 run ! sw check-update
	assert_output --partial 'cannot tell the newest release'
}

# authority NAME; certificate NAME AUTHORITY
authority()
{
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj "/CN=$1" -keyout "$1.key" -out "$1.pem" 2>/dev/null
}

certificate()
{
	openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$1" -keyout "$1.key" -out "$1.csr" 2>/dev/null
	openssl x509 -req -in "$1.csr" -CA "$2.pem" -CAkey "$2.key" -days 2 -out "$1.pem" 2>/dev/null \
		-extfile <(echo "subjectAltName=IP:127.0.0.1")
}

# serve_tls [SETTING]: the tree by "server", on a port of TLS
serve_tls()
{
	local port
	port=$(free_port)
	serve "$WWW" "listen 127.0.0.1:$port ssl http2; ssl_certificate $PWD/server.pem; ssl_certificate_key $PWD/server.key; ${1:-}"
	URL=https://127.0.0.1:$port
}

@test "TLS: an authority of our own, a certificate of the client, one connection of HTTP/2" {
	cd "$BATS_TEST_TMPDIR"
	authority ours
	authority others
	certificate server ours
	certificate client ours
	cat client.pem client.key >both.pem
	cp -a "$BATS_FILE_TMPDIR/installed/a" .
	serve_tls "ssl_client_certificate $PWD/ours.pem; ssl_verify_client on;"
	machine a
	# nobody knows this authority, then the wrong one is known
	run ! sw update
	assert_output --partial certificate
	SSL_CERT_FILE=$PWD/others.pem run ! sw update
	export SSL_CERT_FILE=$PWD/ours.pem
	# without a certificate of its own
	run ! sw update
	run -0 same_tree "$BATS_FILE_TMPDIR/installed/a/root" "$ROOT"
	: >"$ACCESS"
	# shellcheck disable=SC2016
	run -0 unshare -m sh -c 'mkdir -p /etc/swupd && mount -t tmpfs tmpfs /etc/swupd && cp "$0" /etc/swupd/client.pem && exec "$@"' \
		"$PWD/both.pem" swupd update "${SWUPD_GLOBAL[@]}"
	sleep 0.2
	assert_equal "$(awk '{ print $6 }' "$ACCESS" | sort -u | wc -l)" 1
	assert_equal "$(awk '{ print $8 }' "$ACCESS" | sort -u)" HTTP/2.0
	updated
}

@test "TLS through a proxy: the server is known by its own certificate" {
	cd "$BATS_TEST_TMPDIR"
	authority ours
	certificate server ours
	behind proxy
	local proxy=$URL before
	serve_tls
	machine a
	https_proxy=$proxy run ! sw update
	assert_output --partial certificate
	before=$(grep -c "^CONNECT ${URL#*://} " "$BATS_TEST_TMPDIR/log")
	SSL_CERT_FILE=$PWD/ours.pem https_proxy=$proxy run -0 sw update
	# one connection for all
	assert_equal "$(grep -c "^CONNECT ${URL#*://} " "$BATS_TEST_TMPDIR/log")" "$((before + 1))"
	updated
}

@test "TLS: authorities by name; all of them only where the server's is not among those" {
	cd "$BATS_TEST_TMPDIR"
	authority ours
	authority others
	certificate server ours
	unset SSL_CERT_FILE SSL_CERT_DIR
	local in_certs="mount -t tmpfs tmpfs /etc/ssl/certs && cd /etc/ssl/certs && cp '$PWD/ours.pem' '$PWD/others.pem' ."
	serve_tls
	cp -a "$BATS_FILE_TMPDIR/installed/a" .
	machine a
	asks()
	{
		unshare -m sh -c "$in_certs && $1 && exec strace -f -o '$BATS_TEST_TMPDIR/opened' -e trace=openat swupd check-update ${SWUPD_GLOBAL[*]}"
	}
	# none
	run ! asks 'rm ours.pem && openssl rehash .'
	assert_output --partial certificate
	# by name: what is in the bundle is not looked at
	run -0 asks 'openssl rehash . && echo broken >ca-certificates.crt'
	run ! grep ca-certificates "$BATS_TEST_TMPDIR/opened"
	# in the bundle alone; and there are no names
	run -0 asks 'mkdir x && mv ours.pem x && openssl rehash . && mv x/ours.pem ca-certificates.crt'
	run -0 grep ca-certificates "$BATS_TEST_TMPDIR/opened"
	run -0 asks 'mv ours.pem ca-certificates.crt'
}

# mirrored MIRROR [ORIGIN]: the machine has release 10, whose origin is a web server of the tree, and a mirror of the user's
mirrored()
{
	rm -rf "$BATS_TEST_TMPDIR/a"
	cp -a "$BATS_FILE_TMPDIR/installed/a" "$BATS_TEST_TMPDIR/a"
	serve_stop
	URL=${ORIGIN:-}
	serve "$WWW"
	ORIGIN=$URL
	machine a
	SWUPD_GLOBAL=(-p "$ROOT" -K "$BATS_TEST_TMPDIR/a/cache" -F 30 -C "$MIX/Swupd_Root.pem" -N --no-progress --allow-insecure-http)
	mkdir -p "$ROOT/etc/swupd" "$ROOT/usr/share/defaults/swupd"
	echo "$1" | tee "$ROOT/etc/swupd/mirror_contenturl" >"$ROOT/etc/swupd/mirror_versionurl"
	echo "${2:-$ORIGIN}" | tee "$ROOT/usr/share/defaults/swupd/contenturl" >"$ROOT/usr/share/defaults/swupd/versionurl"
}

# followed: updated, but for what the release does not know
followed()
{
	rm -r "$ROOT/usr/share/defaults" "$ROOT/etc/swupd"
	updated
}

# one_warning: that the mirror is left
one_warning()
{
	assert_equal "$(grep -c "going on with $ORIGIN, not the mirror" <<<"$output")" 1
}

@test "a mirror that is dead, breaks off, or is nothing of the kind: its origin, with one warning; it is asked no more" {
	local way
	mirrored http://127.0.0.1:9
	run -0 sw update
	one_warning
	followed
	for way in reset html busy; do
		behind "$way"
		mirrored "$URL"
		run -0 sw update
		one_warning
		[ "$(grep -c ^GET "$BATS_TEST_TMPDIR/log")" -le 4 ]
		followed
	done
}

@test "what a mirror has not comes from its origin, once for each; also when it is a tar" {
	local copy=$BATS_TEST_TMPDIR/copy
	cp -a "$WWW" "$copy"
	# it knows of the release, and has nothing of it
	rm -r "$copy/20"
	mirrored "file://$copy"
	: >"$ACCESS"
	run -0 sw update
	refute_output --partial "going on"
	sleep 0.2
	run -0 awk '{ print $2, $7 }' "$ACCESS"
	[ "${#lines[@]}" -gt 1 ]
	refute_output --partial version
	assert_equal "$(sort <<<"$output" | uniq -d)" ""
	followed
	# it has half of it
	cp -a "$WWW/20" "$copy"
	rm "$copy"/20/update-from-* "$copy"/20/pack-* "$copy"/20/Manifest.MoM*
	tar -cf "$copy.tar" -C "$copy" .
	mirrored "file://$copy.tar"
	run -0 sw update
	followed
}

@test "what is wrong on a mirror comes from its origin: content, manifests, lists of them, out of date" {
	local copy=$BATS_TEST_TMPDIR/copy file
	for file in '20/files/*' '20/Manifest*os-core*' '20/Manifest.MoM*' version/format30/freshness; do
		rm -rf "$copy"
		cp -a "$WWW" "$copy"
		# shellcheck disable=SC2086 # patterns
		(cd "$copy" && for file in $file 20/update-from-* 20/pack-*; do printf damaged >"$file"; done)
		mirrored "file://$copy"
		run -0 sw update
		one_warning
		followed
	done
}

@test "a mirror that is behind what this machine has seen, or whose word has expired: its origin, with one warning" {
	local way copy=$BATS_TEST_TMPDIR/copy
	behind well
	sw update --download
	cp "$ROOT/var/lib/swupd/seen" "$BATS_TEST_TMPDIR/seen"
	cp -a "$WWW" "$copy"
	rm -r "$copy/20"
	for way in 10 20 expired; do
		rm -r "$copy/version"
		cp -a "$BATS_FILE_TMPDIR/version-$way" "$copy/version"
		WWW=$copy behind well
		mirrored "$URL"
		cp "$BATS_TEST_TMPDIR/seen" "$ROOT/var/lib/swupd/seen"
		run -0 sw update
		one_warning
		case $way in
			10) assert_output --partial "release 10 is the newest, but release 20 was seen before; going on" ;;
			20) assert_output --regexp "but a statement from [^;]* was seen before; going on" ;;
			expired) assert_output --regexp "expired[^;]*; going on" ;;
		esac
		# nothing more is asked there
		run -0 grep GET "$BATS_TEST_TMPDIR/log"
		assert_output "GET /version/format30/freshness -"
		followed
	done
	# who has seen no other believes it
	cp -aT "$BATS_FILE_TMPDIR/version-10" "$copy/version"
	WWW=$copy behind well
	mirrored "$URL"
	run -0 sw update
	refute_output --partial "going on"
	assert_equal "$(cat "$ROOT/usr/bin/base")" "base 10"
}

@test "a mirror whose origin cannot be reached is as good as without: what it has not is missing, after errors it is asked again" {
	behind busy
	mirrored "$URL" http://127.0.0.1:9
	SWUPD_GLOBAL+=(--retry-delay=0)
	run -0 sw update
	assert_output --partial "going on with the mirror"
	followed
	mirrored "file://$WWW" http://127.0.0.1:9
	rm -r "$BATS_TEST_TMPDIR/a/cache"
	cp -a "$WWW" "$BATS_TEST_TMPDIR/www"
	rm "$BATS_TEST_TMPDIR"/www/20/{update-from-*,pack-*}
	echo "file://$BATS_TEST_TMPDIR/www" >"$ROOT/etc/swupd/mirror_contenturl"
	mkdir "$BATS_TEST_TMPDIR/a/cache"
	run -0 sw update
	refute_output --partial "127.0.0.1:9"
	followed
	mirrored http://127.0.0.1:9 http://127.0.0.1:8
	run -16 sw update
	assert_equal "$(grep -c '^swupd: cannot tell the newest release' <<<"$output")" 1
}

@test "with --url nothing else is asked" {
	mirrored http://127.0.0.1:9
	: >"$ACCESS"
	run -16 sw update -u http://127.0.0.1:9
	assert_equal "$(cat "$ACCESS")" ""
}

@test "a mirror that is slow beyond use is left for its origin" {
	behind crawling update-from
	mirrored "$URL"
	[ "$(stat -c %s "$WWW/20/update-from-10")" -gt 200000 ]
	run -0 timeout 100 swupd update "${SWUPD_GLOBAL[@]}"
	one_warning
	followed
}
