#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# Servers, disks, clocks and command lines that are not as they should be: the right status, a sentence that tells, nothing half done.
# shellcheck disable=SC2016,SC2030,SC2031 # texts with dollars; each test is a process of its own

load lib

setup()
{
	[ "$(id -u)" = 0 ] || skip "needs root"
}

teardown()
{
	[ -z "${MOUNTED:-}" ] || umount -l "$MOUNTED"
	[ -z "${BACKGROUND:-}" ] || kill -9 "$BACKGROUND" 2>/dev/null || true
	serve_stop
}

# the predecessor's tree in $WEB, and a machine with release 10; more options for each run as arguments
installed()
{
	WEB=$BATS_TEST_TMPDIR/web
	cp -r "$VECTORS/www" "$WEB"
	vectors m "$WEB"
	SWUPD_GLOBAL+=(-I --allow-insecure-http --retry-delay=0 "$@")
	install_10 >/dev/null 2>&1
	BEFORE=$(tree_list "$ROOT")
}

# the same, with a release 40 that has a file of 3 MB, signed by a key of ours
installed_forged()
{
	forge
	new_release 40 30
	head -c 3000000 /dev/urandom >"$BATS_TEST_TMPDIR/big"
	publish 40 os-core /usr/lib/big "$BATS_TEST_TMPDIR/big"
	resign 40 os-core
	machine m
	SWUPD_GLOBAL+=(-I --allow-insecure-http --retry-delay=0 "$@")
	install_10 >/dev/null 2>&1
	BEFORE=$(tree_list "$ROOT")
}

untouched() { diff <(echo "$BEFORE") <(tree_list "$ROOT"); }

# fails STATUS TEXT COMMAND [ARG…]: with that status and something like TEXT on stderr, and nothing has changed
fails()
{
	local want=$1 text=$2
	run --separate-stderr timeout 100 swupd "$3" "${SWUPD_GLOBAL[@]}" "${@:4}"
	# shellcheck disable=SC2154 # set by run
	[ "$status" = "$want" ] || fail "status $status, not $want: $stderr"
	[[ $stderr =~ $text ]] || fail "no '$text' in: $stderr"
	untouched
}

# use_server: of the running one instead of the directory
use_server() { SWUPD_GLOBAL+=(-u "$URL"); }

@test "a server that cannot be reached" {
	installed --max-retries=0
	SWUPD_GLOBAL+=(-u http://127.0.0.1:1)
	fails 16 "127.0.0.1" update
	fails 16 "127.0.0.1" check-update
	run -0 sw bundle-list
	SWUPD_GLOBAL+=(-u "file://$BATS_TEST_TMPDIR/none")
	fails 16 "no such file" update
	SWUPD_GLOBAL+=(-u http://no-such-host.invalid)
	fails 16 "no-such-host.invalid" update
	SWUPD_GLOBAL+=(-u "http://127.0.0.1:1/")
	SWUPD_GLOBAL=("${SWUPD_GLOBAL[@]/--allow-insecure-http/--no-progress}")
	fails 43 "without TLS" update
}

@test "files that the server does not have" {
	installed
	serve "$WEB"
	use_server
	# the MoM of the new release
	mv "$WEB/30/Manifest.MoM.tar" "$BATS_TEST_TMPDIR/"
	fails 4 "MoM of release 30.*404" update
	mv "$BATS_TEST_TMPDIR/Manifest.MoM.tar" "$WEB/30/"
	# of the old one, without which nobody knows what is installed
	rm -rf "$BATS_TEST_TMPDIR/m/cache"
	mv "$WEB/10/Manifest.MoM.tar" "$BATS_TEST_TMPDIR/"
	fails 4 "MoM of release 10.*404" update
	mv "$BATS_TEST_TMPDIR/Manifest.MoM.tar" "$WEB/10/"
	mv "$WEB/30/Manifest.libs.tar" "$BATS_TEST_TMPDIR/"
	rm "$WEB"/30/Manifest-libs-delta-*
	fails 14 "'libs'.*404" update
	mv "$BATS_TEST_TMPDIR/Manifest.libs.tar" "$WEB/30/"
	mv "$WEB/version/format30" "$BATS_TEST_TMPDIR/"
	fails 16 "latest.*404" update
	mv "$BATS_TEST_TMPDIR/format30" "$WEB/version/"
	# a fullfile, which has no other way
	rm "$WEB"/30/pack-*
	hello=$(awk '$4 == "/usr/bin/hello" { print $2 }' "$WEB/30/Manifest.os-core")
	mv "$WEB/20/files/$hello.tar" "$BATS_TEST_TMPDIR/"
	fails 17 "'/usr/bin/hello'.*404" update
	mv "$BATS_TEST_TMPDIR/$hello.tar" "$WEB/20/files/"
	run -0 sw update
	as_installed update-10-to-30.tsv
}

@test "what needs no server works without it: its manifests are at hand" {
	installed --max-retries=0
	serve "$WEB"
	use_server
	run -0 sw diagnose
	run -0 sw update --download
	serve_stop
	run -0 sw diagnose
	run -0 sw bundle-list --all
	run -0 sw bundle-info editors --files --dependencies
	run -0 sw bundle-remove extras
	run -0 sw clean
	run -0 sw diagnose
	fails_not_reached()
	{
		run sw "$@"
		assert_failure 16
	}
	fails_not_reached update
	rm "$ROOT/usr/bin/hello"
	fails_not_reached repair
}

@test "a server that answers everything with an error, a page to log in, or another place" {
	installed --max-retries=1
	for answer in "return 500;" "return 403;" "return 429;" "return 200 '<html>Please log in</html>';" "return 302 /again;" "return 204;" \
		"return 200 '30';" "return 200 '';" "return 444;"; do
		serve "$WEB" "location / { $answer }"
		SWUPD_GLOBAL+=(-u "$URL")
		run --separate-stderr timeout 60 swupd update "${SWUPD_GLOBAL[@]}"
		[[ $status = @(16|17|21) ]] || fail "$answer: $status, $stderr"
		[[ $stderr = *"swupd: cannot"* ]]
		untouched
		serve_stop
	done
	# only content is so
	for answer in "return 500;" "return 403;" "return 200 '<html>Please log in</html>';" "return 302 /again;"; do
		serve "$WEB" "location /30/files/ { $answer } location ~ /30/pack { $answer }"
		SWUPD_GLOBAL+=(-u "$URL")
		run --separate-stderr timeout 60 swupd update "${SWUPD_GLOBAL[@]}"
		[[ $status = @(1|17) ]] || fail "$answer: $status, $stderr"
		untouched
		serve_stop
	done
	serve "$WEB"
	run -0 sw update
	as_installed update-10-to-30.tsv
}

@test "latest is empty, cut or no number" {
	installed --nosigcheck-latest
	for text in '' x -30 0 99999999999 $'\n30' '30x' ' '; do
		printf '%s' "$text" >"$WEB/version/format30/latest"
		fails 16 "no release number" update
	done
}

@test "damaged packs, deltas and manifest deltas are not needed" {
	installed --verbose
	cp -r "$WEB" "$BATS_TEST_TMPDIR/good"
	cp -a "$BATS_TEST_TMPDIR/m" "$BATS_TEST_TMPDIR/saved"
	run -0 sw update
	as_installed update-10-to-30.tsv
	mv "$ROOT" "$BATS_TEST_TMPDIR/updated"
	for damage in cut empty junk flipped other; do
		rm -rf "$WEB" "$BATS_TEST_TMPDIR/m"
		cp -r "$BATS_TEST_TMPDIR/good" "$WEB"
		cp -a "$BATS_TEST_TMPDIR/saved" "$BATS_TEST_TMPDIR/m"
		for file in "$WEB"/30/pack-*-from-10.tar "$WEB"/30/Manifest-*-delta-*; do
			case $damage in
			cut) truncate -s $(($(stat -c %s "$file") * 2 / 3)) "$file" ;;
			empty) : >"$file" ;;
			junk) head -c 3000 /dev/urandom >"$file" ;;
			flipped) printf '\125' | dd of="$file" bs=1 seek=$(($(stat -c %s "$file") / 2)) conv=notrunc status=none ;;
			other) cp "$WEB/30/Manifest.MoM.tar" "$file" ;;
			esac
		done
		run -0 sw update
		same_tree "$BATS_TEST_TMPDIR/updated" "$ROOT" || fail "$damage"
	done
	# whole packs with deltas that lead to something else
	rm -rf "$WEB" "$BATS_TEST_TMPDIR/m"
	cp -r "$BATS_TEST_TMPDIR/good" "$WEB"
	cp -a "$BATS_TEST_TMPDIR/saved" "$BATS_TEST_TMPDIR/m"
	for pack in "$WEB"/30/pack-*-from-10.tar; do
		mkdir -p "$BATS_TEST_TMPDIR/pack"
		tar -C "$BATS_TEST_TMPDIR/pack" -xf "$pack"
		for file in "$BATS_TEST_TMPDIR"/pack/delta/*; do
			[ ! -f "$file" ] || printf '\1\2\3' | dd of="$file" bs=1 seek=$(($(stat -c %s "$file") - 9)) conv=notrunc status=none
		done
		for file in "$BATS_TEST_TMPDIR"/pack/staged/*; do
			[ ! -f "$file" ] || [ -L "$file" ] || echo more >>"$file"
		done
		tar -C "$BATS_TEST_TMPDIR/pack" --transform='s|^\./||' -cf "$pack" .
		rm -rf "$BATS_TEST_TMPDIR/pack"
	done
	run -0 sw update
	assert_output --partial "is not taken from its pack"
	same_tree "$BATS_TEST_TMPDIR/updated" "$ROOT"
}

@test "damaged whole files and manifests end the run, and nothing is installed" {
	installed
	rm "$WEB"/30/pack-* "$WEB"/30/Manifest-*
	hello=$WEB/20/files/$(awk '$4 == "/usr/bin/hello" { print $2 }' "$WEB/30/Manifest.os-core").tar
	for file in "$hello" "$WEB/30/Manifest.libs.tar" "$WEB/30/Manifest.MoM.tar"; do
		case $file in
		*MoM*) want=4 ;;
		*Manifest*) want=14 ;;
		*) want=1 ;;
		esac
		cp "$file" "$BATS_TEST_TMPDIR/good"
		for damage in cut empty junk other link; do
			rm "$file"
			case $damage in
			cut) head -c $(($(stat -c %s "$BATS_TEST_TMPDIR/good") * 2 / 3)) "$BATS_TEST_TMPDIR/good" >"$file" ;;
			empty) : >"$file" ;;
			junk) head -c 3000 /dev/urandom >"$file" ;;
			other) cp "$WEB/10/Manifest.libs.tar" "$file" ;;
			link) ln -s /dev/null "$file" ;;
			esac
			rm -rf "$BATS_TEST_TMPDIR/m/cache"
			fails "$want" "swupd: cannot update to release 30" update
		done
		rm "$file" && cp "$BATS_TEST_TMPDIR/good" "$file"
	done
	run -0 sw update
	as_installed update-10-to-30.tsv
}

# until TEST…: waits until it is so, 20 s at most
until_so()
{
	for ((i = 0; i < 400; i++)); do
		! "$@" || return 0
		sleep 0.05
	done
	return 1
}

part_has() { [ "$(cat "$BATS_TEST_TMPDIR"/m/cache/download/*.part 2>/dev/null | wc -c)" -gt "$1" ]; }

@test "a download that was cut is gone on with, whoever died" {
	installed_forged --max-retries=1
	serve "$WEB" "limit_rate 400k;"
	use_server
	swupd update "${SWUPD_GLOBAL[@]}" >/dev/null 2>&1 3>&- &
	BACKGROUND=$!
	until_so part_has 700000
	kill -9 $BACKGROUND
	wait $BACKGROUND || true
	untouched
	# now it is the server that dies
	swupd update "${SWUPD_GLOBAL[@]}" >"$BATS_TEST_TMPDIR/out" 2>&1 3>&- &
	BACKGROUND=$!
	until_so part_has 1400000
	kill -9 -- "$(cat "$NGINX_PID")" $(pgrep -P "$(cat "$NGINX_PID")")
	rm "$NGINX_PID"
	status=0
	wait $BACKGROUND || status=$?
	BACKGROUND=
	[[ $status = @(16|17) ]]
	grep -q "swupd: cannot update to release 40" "$BATS_TEST_TMPDIR/out"
	untouched
	have=$(cat "$BATS_TEST_TMPDIR"/m/cache/download/*.part | wc -c)
	: >"$ACCESS"
	serve "$WEB"
	run -0 sw update
	run -0 grep /40/files/ "$ACCESS"
	# one answer with the rest, and not much more
	assert_output --regexp ' 206 '
	sent=$(awk '$3 == 206 { print $4 }' "$ACCESS")
	[ "$sent" -lt $((3100000 - have)) ]
	[ "$sent" -gt 100000 ]
	run -0 sw diagnose
	assert_equal "$(sha256sum <"$ROOT/usr/lib/big")" "$(sha256sum <"$BATS_TEST_TMPDIR/big")"
	run find "$BATS_TEST_TMPDIR/m" -name '*.part'
	assert_output ""
}

@test "a part that is of something else, or longer than all, is thrown away" {
	installed_forged
	serve "$WEB"
	use_server
	hash=$(swupd hashdump "$BATS_TEST_TMPDIR/big")
	for size in 10 100000 5000000; do
		cp -a "$BATS_TEST_TMPDIR/m" "$BATS_TEST_TMPDIR/saved"
		mkdir -p "$BATS_TEST_TMPDIR/m/cache/download"
		head -c "$size" /dev/zero >"$BATS_TEST_TMPDIR/m/cache/download/$hash.tar.part"
		run -0 sw update
		run -0 sw diagnose
		rm -rf "$BATS_TEST_TMPDIR/m"
		mv "$BATS_TEST_TMPDIR/saved" "$BATS_TEST_TMPDIR/m"
	done
}

@test "TLS: a server with a certificate that nobody vouches for" {
	installed --max-retries=0
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 100 -subj "/CN=localhost" \
		-addext "subjectAltName=IP:127.0.0.1" -keyout "$BATS_TEST_TMPDIR/tls.key" -out "$BATS_TEST_TMPDIR/tls.pem" 2>/dev/null
	serve "$WEB" "ssl_certificate $BATS_TEST_TMPDIR/tls.pem; ssl_certificate_key $BATS_TEST_TMPDIR/tls.key;"
	# listen takes "ssl" only in its own line
	sed -i 's/listen \([^;]*\);/listen \1 ssl;/' "$BATS_TEST_TMPDIR/nginx/nginx.conf"
	serve_stop
	nginx -c "$BATS_TEST_TMPDIR/nginx/nginx.conf" -p "$BATS_TEST_TMPDIR/nginx" -g 'user root;' 3>&-
	SWUPD_GLOBAL+=(-u "https${URL#http}")
	fails 24 "certificate" update
	SSL_CERT_FILE=$BATS_TEST_TMPDIR/tls.pem run -0 sw update
	as_installed update-10-to-30.tsv
}

# small_root BYTES: the machine's root is a file system of that size
small_root()
{
	mv "$ROOT" "$BATS_TEST_TMPDIR/content"
	mkdir "$ROOT"
	mount -t tmpfs -o "mode=755,size=$1" none "$ROOT" || skip "cannot mount"
	MOUNTED=$ROOT
	cp -a "$BATS_TEST_TMPDIR/content/." "$ROOT"
}

@test "a root without room: nothing changes, and it works with more" {
	installed_forged
	small_root 2m
	fails 25 "No space|takes" update
	fails 25 "No space|takes" update
	mount -o remount,size=20m "$ROOT"
	run -0 sw update
	run -0 sw diagnose
	refute [ -e "$ROOT/usr/.swupd" ]
}

@test "a new bundle that would not fit is refused before anything is fetched" {
	installed
	run -0 sw bundle-remove extras
	BEFORE=$(tree_list "$ROOT")
	serve "$WEB"
	use_server
	small_root 1m
	dd if=/dev/zero of="$ROOT/filler" bs=4096 count=10000 status=none 2>/dev/null || true
	truncate -s -20480 "$ROOT/filler"
	BEFORE=$(tree_list "$ROOT")
	fails 25 "takes|No space" bundle-add extras
	run grep -c -e pack-extras -e /files/ "$ACCESS"
	fails 25 "No space" bundle-add --skip-diskspace-check extras
	rm "$ROOT/filler"
	run -0 sw bundle-add extras
	run -0 sw diagnose
}

@test "a cache without room" {
	installed_forged
	mkdir -p "$BATS_TEST_TMPDIR/small"
	mount -t tmpfs -o size=200k none "$BATS_TEST_TMPDIR/small" || skip "cannot mount"
	MOUNTED=$BATS_TEST_TMPDIR/small
	SWUPD_GLOBAL+=(-K "$MOUNTED")
	fails 25 "No space|takes" update
	mount -o remount,size=20m "$MOUNTED"
	run -0 sw update
	run -0 sw diagnose
}

@test "a read-only root is told as such" {
	installed
	mount --bind "$ROOT" "$ROOT" || skip "cannot mount"
	MOUNTED=$ROOT
	mount -o remount,bind,ro "$ROOT"
	for command in update "bundle-remove editors" repair "os-install -x" clean; do
		# shellcheck disable=SC2086 # words
		fails 7 "Read-only file system" $command
	done
	run -0 sw info
	run -0 sw bundle-list
	run -0 sw check-update
	umount "$ROOT"
	MOUNTED=
	run -0 sw update
}

@test "two runs at once: the second is told, and readers need not wait" {
	installed
	cat >"$BATS_TEST_TMPDIR/hold.py" <<-'END'
		import fcntl, os, struct, sys, time
		fd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT, 0o600)
		fcntl.fcntl(fd, fcntl.F_OFD_SETLK, struct.pack("hhqqixxxx", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0))
		open(sys.argv[2], "w").close()
		time.sleep(60)
	END
	python3 "$BATS_TEST_TMPDIR/hold.py" "$ROOT/var/lib/swupd/swupd_lock" "$BATS_TEST_TMPDIR/held" 3>&- &
	BACKGROUND=$!
	until_so test -e "$BATS_TEST_TMPDIR/held"
	for command in update "bundle-add extras" "bundle-remove editors" diagnose repair clean "os-install -x" "verify --fix"; do
		# shellcheck disable=SC2086 # words
		fails 9 "another run holds the lock.*hint: wait" $command
	done
	for command in info "check-update" bundle-list "bundle-list --all" "bundle-info editors"; do
		# shellcheck disable=SC2086 # words
		run -0 sw $command
	done
	kill $BACKGROUND
	wait $BACKGROUND || true
	BACKGROUND=
	run -0 sw update
}

@test "two roots with one cache at the same time" {
	installed
	machine n
	SWUPD_GLOBAL+=(-I -K "$BATS_TEST_TMPDIR/m/cache")
	install_10 >/dev/null 2>&1
	for i in 1 2 3 4; do
		rm -rf "$BATS_TEST_TMPDIR/m/cache"
		cp -a "$BATS_TEST_TMPDIR/m" "$BATS_TEST_TMPDIR/a"
		cp -a "$BATS_TEST_TMPDIR/n" "$BATS_TEST_TMPDIR/b"
		swupd update "${SWUPD_GLOBAL[@]}" -p "$BATS_TEST_TMPDIR/a/root" >"$BATS_TEST_TMPDIR/a.out" 2>&1 3>&- &
		first=$!
		second=0
		swupd update "${SWUPD_GLOBAL[@]}" -p "$BATS_TEST_TMPDIR/b/root" >"$BATS_TEST_TMPDIR/b.out" 2>&1 || second=$?
		status=0
		wait $first || status=$?
		[ "$status $second" = "0 0" ] || fail "$status $second: $(cat "$BATS_TEST_TMPDIR"/?.out)"
		same_tree "$BATS_TEST_TMPDIR/a/root" "$BATS_TEST_TMPDIR/b/root"
		rm -rf "$BATS_TEST_TMPDIR/a" "$BATS_TEST_TMPDIR/b"
	done
}

@test "wrong command lines: status 15, a sentence and a hint on stderr, nothing on stdout" {
	installed
	while IFS= read -r line; do
		# shellcheck disable=SC2086 # words
		run --separate-stderr swupd $line
		[ "$status" = 15 ] || fail "$line: status $status, $stderr"
		[[ $stderr = "swupd: "*"hint: "* ]] || fail "$line: $stderr"
		# shellcheck disable=SC2154
		[ -z "$output" ] || fail "$line: $output"
	done <<-END
		no-such-command
		--no-such-option
		update --no-such-option
		update -Q
		update extra-argument
		update -V
		update -V x
		update -V -1
		update -V 0
		update -V 99999999999
		update --version=
		update --quiet=yes
		update --port=0
		update --port=65536
		update --port=x
		update -P
		update -W 0
		update -r -1
		update -d 61
		update --assume=perhaps
		bundle-add
		bundle-remove
		bundle-info
		bundle-info a b
		hashdump
		hashdump a b
		os-install a b
		clean all
		diagnose extra
		info extra
	END
	for line in "update -V 5" "update -F 0" "update -F x" "update -F -1" "update -F 30x" "update -S relative" "update -S /" "update -S /usr/" "update -S /var" \
		"update -K relative" "update -Z relative" "diagnose -q -Y" "diagnose -q --extra-files-only" "diagnose -Y --extra-files-only" "diagnose -B libs -Y" \
		"diagnose --file=relative" "diagnose -V latest" "diagnose -Y -w (" "repair -V 20" "bundle-remove --orphans libs" "bundle-remove --orphans -x" \
		"bundle-remove --orphans -R" "bundle-list --orphans --deps=libs" "bundle-list -D libs --deps=libs" "verify --fix --install" "os-install $ROOT"; do
		# shellcheck disable=SC2086 # words
		fails 15 "swupd: " $line
	done
	run --separate-stderr swupd update -p "$ROOT" -I -N -K "$BATS_TEST_TMPDIR/m/cache" -C "$CERT"
	assert_failure 16
	rm -r "$ROOT/usr/share/defaults/swupd"
	BEFORE=$(tree_list "$ROOT")
	run --separate-stderr swupd update -p "$ROOT" -I -N -K "$BATS_TEST_TMPDIR/m/cache" -C "$CERT"
	[ ! -e /usr/share/defaults/swupd/contenturl ] || skip "this system has addresses of its own"
	assert_failure 15
	[[ $stderr = *"hint: give --url"* ]]
}

@test "a plain user: what changes the system is refused, what reads it works" {
	installed
	chmod a+x "$BATS_RUN_TMPDIR" "$BATS_RUN_TMPDIR"/test "$BATS_TEST_TMPDIR" "$BATS_TEST_TMPDIR/m"
	cp "$(command -v swupd)" "$BATS_TEST_TMPDIR/swupd"
	chmod -R a+rX "$WEB"
	cp "$CERT" "$BATS_TEST_TMPDIR/cert.pem"
	CERT=$BATS_TEST_TMPDIR/cert.pem
	user=(setpriv --reuid=65534 --regid=65534 --clear-groups "$BATS_TEST_TMPDIR/swupd")
	SWUPD_GLOBAL+=(-C "$CERT")
	for command in update "update --status" "bundle-add extras" "bundle-remove editors" diagnose repair "os-install -x" clean "bundle-info libs" "bundle-list --all" \
		"bundle-list --orphans" "verify"; do
		# shellcheck disable=SC2086 # words
		run --separate-stderr "${user[@]}" $command "${SWUPD_GLOBAL[@]}"
		[ "$status" = 1 ] || fail "$command: $status, $stderr"
		[[ $stderr = *"must be run as root"* ]] || fail "$command: $stderr"
		untouched
	done
	run -0 "${user[@]}" info "${SWUPD_GLOBAL[@]}"
	assert_line "release: 10"
	run -0 --separate-stderr "${user[@]}" check-update "${SWUPD_GLOBAL[@]}"
	assert_output 30
	run -0 --separate-stderr "${user[@]}" bundle-list "${SWUPD_GLOBAL[@]}"
	assert_line editors
	run -0 --separate-stderr "${user[@]}" hashdump "$ROOT/usr/bin/hello"
	assert_output "$(awk '$4 == "/usr/bin/hello" { print $2 }' "$WEB/10/Manifest.os-core")"
	run -0 "${user[@]}" --help
	run -0 "${user[@]}" update --help
}

@test "a system that does not say which release it is" {
	installed
	os_release=$ROOT/usr/lib/os-release
	for text in '' 'VERSION_ID=' 'VERSION_ID=x' 'VERSION_ID=-3' 'VERSION_ID=0' 'VERSION_ID=99999999999' 'VERSION_ID="10' 'NAME=x' missing; do
		printf '%s\n' "$text" >"$os_release"
		[ "$text" != missing ] || rm "$os_release"
		BEFORE=$(tree_list "$ROOT")
		[ "$text" != 'VERSION_ID="10' ] || continue
		for command in update check-update diagnose "bundle-add extras" "bundle-remove editors" "bundle-info libs" "bundle-list --all"; do
			# shellcheck disable=SC2086 # words
			fails 20 "cannot tell which release" $command
		done
	done
	run -0 sw info
	assert_line "release: none"
	printf 'VERSION_ID="10"\n' >"$os_release"
	run -0 sw update
	# where the file is missing below /usr, that of /etc counts
	run -0 sw info
	assert_line "release: 30"
	mv "$os_release" "$ROOT/etc/os-release"
	run -0 sw info
	assert_line "release: 30"
}

@test "no certificate, one that is none, and keys that were adopted and cannot be read" {
	installed
	SWUPD_GLOBAL=(-p "$ROOT" -K "$BATS_TEST_TMPDIR/m/cache" -u "file://$WEB" -F 30 -N --no-progress -I)
	mv "$ROOT/usr/share/clear/update-ca/Swupd_Root.pem" "$BATS_TEST_TMPDIR/cert.pem"
	BEFORE=$(tree_list "$ROOT")
	for command in update diagnose "bundle-add extras" "check-update"; do
		# shellcheck disable=SC2086 # words
		fails 21 "no certificate.*hint: name it with --certpath" $command
	done
	fails 21 "no certificate" update -C "$BATS_TEST_TMPDIR/none.pem"
	echo junk >"$BATS_TEST_TMPDIR/junk.pem"
	fails 21 "junk.pem" update -C "$BATS_TEST_TMPDIR/junk.pem"
	fails 21 "" update -C /dev/null
	fails 21 "" update -C "$BATS_TEST_TMPDIR"
	cp "$BATS_TEST_TMPDIR/cert.pem" "$ROOT/usr/share/clear/update-ca/Swupd_Root.pem"
	mkdir -p "$ROOT/var/lib/swupd/trust"
	echo junk >"$ROOT/var/lib/swupd/trust/root"
	BEFORE=$(tree_list "$ROOT")
	fails 21 "root keys of this system cannot be read.*hint: remove" update
	rm "$ROOT/var/lib/swupd/trust/root"
	run -0 sw update
}

@test "a clock that is before the installed release" {
	installed
	SWUPD_GLOBAL=("${SWUPD_GLOBAL[@]/#-I/--no-progress}")
	stamp=$ROOT/usr/share/clear/versionstamp
	for text in $(($(date +%s) + 10 * 86400)) 9999999999 x '' missing; do
		printf '%s' "$text" >"$stamp"
		[ "$text" != missing ] || rm "$stamp"
		BEFORE=$(tree_list "$ROOT")
		for command in update check-update diagnose "bundle-add extras"; do
			# shellcheck disable=SC2086 # words
			fails 22 "clock.*hint: .*--ignore-time" $command
		done
		run -0 sw check-update --ignore-time
	done
	# a battery clock that drifts by some hours is fine
	printf '%s' $(($(date +%s) + 3600)) >"$stamp"
	run -0 sw check-update
	run -0 sw update
}

@test "a root that is not there, or no directory" {
	installed
	SWUPD_GLOBAL+=(-p "$BATS_TEST_TMPDIR/none")
	for command in update diagnose info bundle-list clean; do
		run sw $command
		assert_failure 32
		assert_output --partial "$BATS_TEST_TMPDIR/none"
		refute [ -e "$BATS_TEST_TMPDIR/none" ]
	done
	echo file >"$BATS_TEST_TMPDIR/file"
	SWUPD_GLOBAL+=(-p "$BATS_TEST_TMPDIR/file")
	for command in update "os-install -V 10" info; do
		# shellcheck disable=SC2086 # words
		run sw $command
		assert_failure
		assert_output --partial "$BATS_TEST_TMPDIR/file"
	done
	# an installation into a full directory needs to be forced
	machine m
	SWUPD_GLOBAL+=(-I)
	run sw os-install -V 20
	assert_failure
	assert_output --partial "hint: give another directory, or --force"
	untouched
}
