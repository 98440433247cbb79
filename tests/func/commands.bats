#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# Every command and option of swupd(8): what it answers, what it does, how it ends.
# shellcheck disable=SC2016,SC2030,SC2031 # texts with dollars; each test is a process of its own

load lib

setup()
{
	[ "$(id -u)" = 0 ] || skip "needs root"
	vectors m
	SWUPD_GLOBAL+=(-I)
	M=$BATS_TEST_TMPDIR/m
}

teardown()
{
	serve_stop
}

# answers STATUS COMMAND [ARG…]: stdout goes to $output, the story to $stderr
answers()
{
	local want=$1
	shift
	run --separate-stderr swupd "$1" "${SWUPD_GLOBAL[@]}" "${@:2}"
	# shellcheck disable=SC2154 # set by run
	[ "$status" = "$want" ] || fail "$*: status $status, not $want: $stderr"
}

# web: the tree as a directory that may be changed
web()
{
	WEB=$BATS_TEST_TMPDIR/web
	cp -r "$VECTORS/www" "$WEB"
	SWUPD_GLOBAL+=(-u "file://$WEB")
}

release() { sed -n 's/^VERSION_ID=//p' "$ROOT/usr/lib/os-release"; }

@test "info" {
	install_10
	answers 0 info
	assert_line "release: 10"
	assert_line "root: $ROOT"
	assert_line "format: 30"
	assert_line "content URL: $URL"
	assert_line "version URL: $URL"
	assert_line --regexp '^key: CN=swupd test root.*sha256 [0-9a-f]{64}$'
	[ -z "$stderr" ]
	answers 0 info --nosigcheck -c http://c -v http://v -F 31
	assert_line "content URL: http://c"
	assert_line "version URL: http://v"
	assert_line "format: 31"
	assert_line --partial "keys: not checked"
	# without options what stands in the root counts
	run -0 swupd info -p "$ROOT" -I
	assert_line --regexp "^content URL: $(tr -d '\n' <"$ROOT/usr/share/defaults/swupd/contenturl" | sed 's|/*$||')$"
	mkdir -m 700 "$ROOT/usr/.swupd"
	touch "$ROOT/usr/.swupd/journal"
	answers 0 info
	assert_line --partial "interrupted run: yes"
}

@test "check-update, update --status" {
	install_10
	answers 0 check-update
	assert_output 30
	[[ $stderr = *"installed: 10, on the server: 30"* ]]
	answers 0 check-update --quiet
	[ "$output$stderr" = 30 ]
	answers 0 update -s
	assert_output "installed: 10, newest: 30"
	answers 0 update --status -V 20
	assert_output "installed: 10, newest: 20"
	[ "$(release)" = 10 ]
	sw update
	answers 1 check-update
	assert_output ""
	answers 1 check-update --quiet
	[ -z "$output$stderr" ]
	answers 1 update --status
	assert_output "installed: 30, the newest"
}

@test "update: to a release by number, to the latest, with a cache that is kept" {
	install_10
	answers 0 update --version=20
	[ "$(release)" = 20 ]
	answers 0 update -m 20
	[[ $stderr = *"already"* ]]
	answers 0 update -V latest --keepcache
	[ "$(release)" = 30 ]
	# the manifests of the release before are still there
	assert_file_exist "$M"/cache/mom/*-20
	answers 0 update
	[[ $stderr = *"release 30 is already the newest"* ]]
	assert_output ""
	answers 0 clean
	run ls "$M/cache/mom"
	refute_output --partial -20
	assert_output --partial -30
	# a number beyond the newest is the newest
	answers 0 update -V 4000
	answers 15 update -V 20
	[[ $stderr = *"hint: 'swupd repair --force --version=20' goes back"* ]]
}

@test "update --download, then without the server" {
	web
	install_10
	before=$(tree_list "$ROOT")
	answers 0 update --download
	[[ $stderr = *"release 30 is downloaded"* ]]
	diff <(echo "$before") <(tree_list "$ROOT")
	# all but the number is gone
	find "$WEB" -type f -not -path '*/version/*' -delete
	answers 0 update
	as_installed update-10-to-30.tsv
}

@test "os-install: a directory, a release, bundles, an empty root only" {
	answers 0 os-install -V 10
	[ "$(release)" = 10 ]
	answers 0 bundle-list --quiet
	assert_output os-core
	run --separate-stderr swupd os-install "$ROOT" "${SWUPD_GLOBAL[@]:2}"
	[ "$status" = 32 ]
	[[ $stderr = *"it has a usr already"* ]]
	answers 0 os-install --force --bundles=editors,libs
	[ "$(release)" = 30 ]
	answers 0 bundle-list --quiet
	assert_output "$(printf '%s\n' editors extras libs os-core)"
	# the directory as an argument, without what bundles also add
	run -0 swupd os-install "$BATS_TEST_TMPDIR/argument" "${SWUPD_GLOBAL[@]:2}" -B editors --skip-optional
	run -0 swupd bundle-list -p "$BATS_TEST_TMPDIR/argument" --quiet
	assert_output "$(printf '%s\n' editors libs os-core)"
	run -0 ls "$BATS_TEST_TMPDIR/argument/var/lib/swupd/bundles"
	assert_output editors
	answers 3 os-install --force -B nonsense
}

@test "os-install --download and --statedir-cache" {
	web
	answers 0 os-install -V 10 -B libs --download
	[ ! -e "$ROOT/usr/lib" ]
	cp -a "$M" "$BATS_TEST_TMPDIR/n"
	find "$WEB" -type f -delete
	answers 0 os-install -V 10 -B libs
	answers 0 diagnose
	# another machine has the content, another cache the manifests
	rm -rf "$BATS_TEST_TMPDIR/n/cache"
	ROOT=$BATS_TEST_TMPDIR/n/root
	SWUPD_GLOBAL+=(-p "$ROOT" -K "$BATS_TEST_TMPDIR/n/cache")
	answers 4 os-install -V 10 -B libs
	answers 0 os-install -V 10 -B libs -s "$M/cache"
	answers 0 diagnose
	answers 0 bundle-list --quiet
	assert_output "$(printf '%s\n' libs os-core)"
}

@test "bundle-add: with what it includes and also adds, or without" {
	sw os-install -V 30
	answers 0 bundle-add newbundle --skip-optional
	assert_output ""
	[[ $stderr = *"added: newbundle"* ]]
	answers 0 bundle-list --quiet
	assert_output "$(printf '%s\n' editors libs newbundle os-core)"
	answers 0 bundle-add newbundle
	[[ $stderr = *"already installed"* ]]
	answers 0 bundle-remove newbundle -R
	answers 0 bundle-list --quiet
	assert_output os-core
	answers 0 bundle-add --skip-diskspace-check newbundle
	answers 0 bundle-list --quiet
	assert_output "$(printf '%s\n' editors extras libs newbundle os-core)"
	answers 0 diagnose
	# one that is there by another is asked for now
	answers 0 bundle-add libs
	answers 0 bundle-list --status
	assert_line "libs (explicitly installed)"
}

@test "bundle-add: unknown names are told, the others are added" {
	sw os-install -V 30
	answers 3 bundle-add nonsense libs
	[[ $stderr = *"no bundle 'nonsense'"*"1 of 2 bundles do not exist"* ]]
	answers 0 bundle-list --quiet
	assert_output "$(printf '%s\n' libs os-core)"
	answers 3 bundle-add ../../etc
}

@test "aliases: of the system, of the user, who wins" {
	sw os-install -V 30
	mkdir -p "$ROOT/usr/share/defaults/swupd/alias.d" "$ROOT/etc/swupd/alias.d"
	printf 'many\tlibs\textras\nmine\textras\n# comment\n' >"$ROOT/usr/share/defaults/swupd/alias.d/a"
	printf 'mine\tlibs\n' >"$ROOT/etc/swupd/alias.d/z"
	answers 0 bundle-add mine
	answers 0 bundle-list --quiet
	assert_output "$(printf '%s\n' libs os-core)"
	answers 0 bundle-add many
	answers 0 bundle-list --quiet
	assert_output "$(printf '%s\n' extras libs os-core)"
	answers 0 bundle-remove many
	answers 0 bundle-list --quiet
	assert_output os-core
	run -0 swupd os-install "$BATS_TEST_TMPDIR/other" "${SWUPD_GLOBAL[@]:2}" -B libs
}

@test "bundle-remove: what others need stays, unless forced" {
	install_10
	cp -a "$M" "$BATS_TEST_TMPDIR/saved"
	answers 2 bundle-remove libs
	[[ $stderr = *"'libs' is needed by editors"*"hint:"*"--force"* ]]
	answers 2 bundle-remove os-core
	answers 2 bundle-remove -x os-core
	answers 3 bundle-remove nonsense
	answers 3 bundle-remove newbundle
	as_installed install-10.tsv
	answers 0 bundle-remove extras
	answers 13 bundle-remove extras
	answers 0 bundle-remove libs editors
	answers 0 bundle-list --quiet
	assert_output "$(printf '%s\n' os-core os-core-update)"
	answers 0 diagnose --picky
	rm -rf "$M" && cp -a "$BATS_TEST_TMPDIR/saved" "$M"
	answers 0 bundle-remove --force libs
	answers 0 bundle-list --quiet
	assert_output "$(printf '%s\n' extras os-core os-core-update)"
	answers 0 diagnose --picky
	assert_not_exist "$ROOT/usr/share/common"
}

@test "bundle-remove --recursive and --orphans" {
	sw os-install -V 30 -B newbundle,extras
	cp -a "$M" "$BATS_TEST_TMPDIR/saved"
	answers 0 bundle-list --orphans
	assert_output ""
	# what was asked for stays
	answers 0 bundle-remove -R newbundle
	answers 0 bundle-list --quiet
	assert_output "$(printf '%s\n' extras os-core)"
	rm -rf "$M" && cp -a "$BATS_TEST_TMPDIR/saved" "$M"
	answers 0 bundle-remove newbundle
	answers 0 bundle-list --orphans --quiet
	assert_output "$(printf '%s\n' editors libs)"
	answers 0 bundle-remove --orphans
	[[ $stderr = *"removed: "* ]]
	answers 0 bundle-list --quiet
	assert_output "$(printf '%s\n' extras os-core)"
	answers 0 bundle-remove --orphans
	[[ $stderr = *"nothing to remove"* ]]
	answers 0 diagnose --picky
}

@test "bundle-list: installed, of the release, by need, by status" {
	install_10
	answers 0 bundle-list
	assert_output "$(printf '%s\n' editors extras libs os-core os-core-update)"
	answers 0 bundle-list --all
	assert_line "extras (experimental)"
	answers 0 bundle-list --all --quiet
	assert_line extras
	answers 0 bundle-list --status
	assert_line "editors (explicitly installed)"
	assert_line "extras (installed)"
	sw update
	answers 0 bundle-list --all --status
	assert_line newbundle
	assert_line "extras (experimental) (installed)"
	answers 0 bundle-list --has-dep=libs
	assert_output editors
	answers 0 bundle-list -D libs --all
	assert_output "$(printf '%s\n' editors newbundle)"
	answers 0 bundle-list --deps=newbundle
	assert_output "$(printf '%s\n' editors libs os-core)"
	answers 3 bundle-list --deps=nonsense
	answers 3 bundle-list --has-dep=nonsense
}

@test "bundle-info" {
	install_10
	answers 0 bundle-info editors
	assert_line "bundle: editors"
	assert_line "status: explicitly installed"
	assert_line "release: 10, last changed in 10"
	assert_line --regexp '^size: .*KiB, .*KiB with all that it includes$'
	answers 0 bundle-info extras -V 20
	assert_line "status: installed"
	assert_line "release: 20, last changed in 20"
	answers 0 bundle-info newbundle --version=latest --dependencies
	assert_line "status: not installed"
	assert_line "  libs"
	answers 0 bundle-info editors --files --dependencies
	assert_line "  extras (optional)"
	assert_line "  /usr/share/editors/file with spaces"
	answers 3 bundle-info newbundle
	answers 3 bundle-info nonsense
	answers 4 bundle-info editors -V 15
}

# damage: one of each difference that there is
damage()
{
	rm "$ROOT/usr/bin/edit"                                              # missing
	rm -r "$ROOT/usr/share/libs"                                         # missing directory
	echo changed >>"$ROOT/usr/bin/hello"                                 # content
	chmod 700 "$ROOT/usr/bin/setgid-tool"                                # mode
	chown 5:5 "$ROOT/usr/share/owned-dir/owned-file"                     # owner
	chmod 777 "$ROOT/usr/share/private-dir"                              # of a directory
	chown 1 "$ROOT/usr/share/sticky-dir"
	ln -sfn other "$ROOT/usr/lib/libsmall.so"                            # target
	rm -r "$ROOT/usr/share/editors" && echo file >"$ROOT/usr/share/editors" # directory -> file
	rm -r "$ROOT/usr/share/common" && ln -s /etc "$ROOT/usr/share/common"   # directory -> link
	rm "$ROOT/usr/bin/sh" && mkdir -p "$ROOT/usr/bin/sh" && echo mine >"$ROOT/usr/bin/sh/mine" # link -> directory with something
	rm "$ROOT/usr/lib/empty-file" && ln -s nowhere "$ROOT/usr/lib/empty-file" # file -> link
	rm "$ROOT/usr/share/xattr-file" && mkdir "$ROOT/usr/share/xattr-file"     # file -> directory
	rm "$ROOT/usr/bin/dangling" && mkfifo "$ROOT/usr/bin/dangling"            # link -> FIFO
	mkdir -p "$ROOT/usr/share/mine/deep" && echo mine >"$ROOT/usr/share/mine/deep/file"
	echo mine >"$ROOT/usr/local-file"
}

@test "diagnose and repair: each kind of difference" {
	install_10
	run -0 sw bundle-add extras
	mkdir -p "$ROOT/etc/app" "$ROOT/usr/local/bin" "$ROOT/home/u"
	echo mine | tee "$ROOT/etc/app/conf" "$ROOT/usr/local/bin/tool" "$ROOT/home/u/file" >"$ROOT/etc/config-file"
	good=$(tree_list "$ROOT")
	damage
	bad=$(tree_list "$ROOT")
	answers 1 diagnose
	for path in bin/edit share/libs share/libs/dup1; do
		[[ $stderr = *"-> Missing file: $ROOT/usr/$path"* ]] || fail "$path"
	done
	for path in bin/hello bin/setgid-tool share/owned-dir/owned-file share/private-dir share/sticky-dir lib/libsmall.so share/editors share/common bin/sh \
		lib/empty-file share/xattr-file bin/dangling; do
		[[ $stderr = *"-> Hash mismatch for file: $ROOT/usr/$path"$'\n'* ]] || fail "$path: $stderr"
	done
	[[ $stderr != *mine* ]]
	[[ $stderr != */etc/* ]]
	diff <(echo "$bad") <(tree_list "$ROOT")
	answers 0 repair
	[[ $stderr = *"-> Missing file: $ROOT/usr/bin/edit -> fixed"* ]]
	[[ $stderr = *"-> Hash mismatch for file: $ROOT/usr/share/editors -> fixed"* ]]
	[[ $stderr != *"not fixed"* ]]
	answers 0 diagnose
	[[ $stderr = *"nothing is wrong"* ]]
	# what the user had in a directory in the wrong place is kept beside
	run -0 cat "$ROOT"/usr/bin/.deleted.*.sh/mine
	assert_output mine
	rm -r "$ROOT"/usr/bin/.deleted.*.sh
	answers 1 diagnose --picky
	for path in local-file share/mine share/mine/deep share/mine/deep/file; do
		[[ $stderr = *"-> Extra file: $ROOT/usr/$path"* ]] || fail "$path: $stderr"
	done
	answers 0 repair --picky
	[[ $stderr = *"-> Extra file: $ROOT/usr/share/mine/deep/file -> deleted"* ]]
	diff <(echo "$good") <(tree_list "$ROOT")
	answers 0 repair
}

@test "diagnose and repair: what the release says is deleted" {
	install_10
	sw update
	echo back >"$ROOT/usr/share/libs/old-name"
	mkdir "$ROOT/usr/share/extras/dir-deleted-in-30"
	answers 1 diagnose
	[[ $stderr = *"-> File that should be deleted: $ROOT/usr/share/libs/old-name"* ]]
	[[ $stderr = *"-> File that should be deleted: $ROOT/usr/share/extras/dir-deleted-in-30"* ]]
	answers 0 diagnose --quick
	answers 0 repair
	[[ $stderr = *"$ROOT/usr/share/libs/old-name -> deleted"* ]]
	as_installed update-10-to-30.tsv
}

@test "diagnose and repair: only a part of it" {
	install_10
	damage
	answers 1 diagnose --quick
	[[ $stderr = *"Missing file: $ROOT/usr/bin/edit"* && $stderr != *"Hash mismatch"* ]]
	answers 1 diagnose --bundles=libs
	[[ $stderr = *share/libs/dup1* && $stderr != *bin/hello* ]]
	answers 0 diagnose -B os-core-update
	answers 3 diagnose -B nonsense
	answers 1 diagnose --file=/usr/bin
	[[ $stderr = *bin/hello* && $stderr != *share* ]]
	answers 1 diagnose --file=/usr/bin/hello/
	[[ $stderr = *bin/hello* && $stderr != *bin/edit* ]]
	answers 0 diagnose --file=/usr/bin/setuid-tool
	answers 0 diagnose --file=/usr/bi
	answers 1 diagnose --extra-files-only
	[[ $stderr = *"Extra file: $ROOT/usr/share/mine"* && $stderr != *bin/hello* ]]
	answers 1 diagnose --picky --picky-tree=/usr/share/mine
	[[ $stderr = *"Extra file: $ROOT/usr/share/mine/deep/file"* && $stderr != *local-file* ]]
	answers 1 diagnose --extra-files-only -X /usr/share -w '/usr/share/mine/deep|/usr/share/other'
	[[ $stderr = *"Extra file: $ROOT/usr/share/mine"* && $stderr != *deep* ]]
	# the whole path must match
	answers 1 diagnose --extra-files-only --picky-whitelist=/usr/share/mine/dee
	[[ $stderr = *deep/file* ]]
	answers 0 repair --file=/usr/bin/hello
	answers 0 diagnose --file=/usr/bin/hello
	answers 1 diagnose
	answers 0 repair --quick
	answers 0 diagnose --quick
	answers 1 diagnose
	answers 0 repair --extra-files-only -X /usr/share/mine
	assert_not_exist "$ROOT/usr/share/mine/deep"
	assert_exist "$ROOT/usr/local-file"
}

@test "diagnose and repair: another release" {
	install_10
	answers 1 diagnose -V 20
	[[ $stderr = *"Hash mismatch for file: $ROOT/usr/lib/os-release"* ]]
	answers 15 repair -V 20
	answers 0 repair -V 20 --force
	[ "$(release)" = 20 ]
	answers 0 repair -V 10 --force
	[ "$(release)" = 10 ]
	answers 0 repair -V 30 --picky
	[ "$(release)" = 30 ]
	answers 0 diagnose --picky
	answers 0 repair -x -V 10
	answers 0 diagnose
	# of another format
	answers 14 diagnose -F 31
	answers 0 diagnose -F 31 -x
}

@test "verify: the old name" {
	run --separate-stderr swupd verify --install -V 10 -B libs "${SWUPD_GLOBAL[@]}"
	[ "$status" = 0 ]
	[ "$(release)" = 10 ]
	answers 0 verify
	rm "$ROOT/usr/bin/hello"
	answers 1 verify -m 10
	[[ $stderr = *"Missing file: $ROOT/usr/bin/hello"* ]]
	answers 0 verify --fix
	answers 0 verify
	echo x >"$ROOT/usr/x"
	answers 1 verify --picky
	answers 0 verify -f -Y
	assert_not_exist "$ROOT/usr/x"
	answers 0 verify -f -m 20 -x
	[ "$(release)" = 20 ]
}

@test "clean: what is not needed, what was left by others, everything" {
	install_10
	mkdir -p "$M/cache/download-999999" "$M/cache/staged" "$M/cache/download"
	touch "$M/cache/download/x.part" "$M/cache/download-999999/y" "$M/cache/pack-libs-from-0-to-10.tar" "$M/cache/manifest/$(printf 'a%.0s' {1..64})" \
		"$M/cache/keep"
	before=$(find "$M/cache" | sort)
	answers 0 clean --dry-run
	assert_output "4 files, 0 B, would be removed"
	[ "$before" = "$(find "$M/cache" | sort)" ]
	answers 0 clean
	assert_output "4 files, 0 B, were removed"
	assert_not_exist "$M/cache/download/x.part"
	assert_not_exist "$M/cache/download-999999"
	assert_not_exist "$M/cache/pack-libs-from-0-to-10.tar"
	assert_exist "$M/cache/keep"
	# the installed release's manifests stay
	run find "$M/cache/manifest" "$M/cache/mom" -type f
	assert_equal "${#lines[@]}" 7
	answers 0 clean
	assert_output "0 files, 0 B, were removed"
	answers 0 clean --all --dry-run
	[[ $output = "7 files, "*" would be removed" ]]
	answers 0 clean --all
	run find "$M/cache/manifest" "$M/cache/mom" -type f
	assert_output ""
	# what was staged for a run to come goes, too
	sw update --download
	assert_exist "$ROOT/usr/.swupd/staged"
	answers 0 clean
	assert_not_exist "$ROOT/usr/.swupd"
	answers 0 diagnose
}

@test "hashdump" {
	install_10
	for path in bin/hello bin/sh share/sticky-dir lib/empty-file "share/editors/file with spaces"; do
		want=$(awk -v path="/usr/$path" -F '\t' '$4 == path { print $2 }' "$VECTORS"/www/10/Manifest.{os-core,editors,libs})
		run -0 --separate-stderr swupd hashdump "$ROOT/usr/$path"
		assert_output "$want"
		run -0 --separate-stderr swupd hashdump -p "$ROOT" "/usr/$path"
		assert_output "$want"
		run -0 --separate-stderr swupd hashdump --no-xattrs --path="$ROOT" "usr/$path"
		assert_output "$want"
	done
	cd "$ROOT/usr/bin" || return
	run -0 --separate-stderr swupd hashdump -n setuid-tool
	assert_output "$(awk '$4 == "/usr/bin/setuid-tool" { print $2 }' "$VECTORS/www/10/Manifest.os-core")"
	run -0 --separate-stderr swupd hashdump no-such-file
	assert_output "$(printf '0%.0s' {1..64})"
}

@test "directories: --path, --statedir, --cachedir, --datadir" {
	install_10
	state=$BATS_TEST_TMPDIR/state
	SWUPD_GLOBAL=(-p "$ROOT" -u "$URL" -F 30 -C "$CERT" -N --no-progress -I)
	answers 0 bundle-add extras -S "$state"
	assert_exist "$state/bundles/extras"
	assert_exist "$state/mom"
	[ "$(stat -c %a "$state")" = 755 ]
	answers 0 update -V 20 --datadir="$BATS_TEST_TMPDIR/data" --cachedir="$BATS_TEST_TMPDIR/cache"
	assert_exist "$BATS_TEST_TMPDIR/data/version"
	assert_exist "$BATS_TEST_TMPDIR/data/seen"
	assert_exist "$BATS_TEST_TMPDIR/cache/mom"
	assert_not_exist "$BATS_TEST_TMPDIR/data/mom"
	# who else could write there could become root
	mkdir "$BATS_TEST_TMPDIR/open" && chmod 777 "$BATS_TEST_TMPDIR/open"
	answers 0 clean -K "$BATS_TEST_TMPDIR/open"
	[ "$(stat -c %a "$BATS_TEST_TMPDIR/open")" = 755 ]
	chown 1234 "$BATS_TEST_TMPDIR/open"
	answers 32 clean -K "$BATS_TEST_TMPDIR/open"
	[[ $stderr = *"does not belong to root"*"hint: chown"* ]]
	cd "$M" || return
	SWUPD_GLOBAL+=(-p root)
	answers 0 info
	assert_line "root: $ROOT"
	answers 0 update -K "$M/cache"
	as_installed update-10-to-30.tsv
}

@test "addresses: --url, --contenturl, --versionurl, --port, --allow-insecure-http" {
	install_10
	mkdir "$BATS_TEST_TMPDIR/versions" "$BATS_TEST_TMPDIR/content"
	cp -r "$VECTORS/www/version" "$BATS_TEST_TMPDIR/versions/"
	cp -r "$VECTORS"/www/[0-9]* "$BATS_TEST_TMPDIR/content/"
	SWUPD_GLOBAL=(-p "$ROOT" -K "$M/cache" -F 30 -C "$CERT" -N --no-progress -I)
	answers 0 update -V 20 -c "file://$BATS_TEST_TMPDIR/content" --versionurl="file://$BATS_TEST_TMPDIR/versions/"
	[ "$(release)" = 20 ]
	answers 16 check-update -u "file://$BATS_TEST_TMPDIR/content"
	# the special ones win over --url
	answers 0 check-update -u "file://$BATS_TEST_TMPDIR/content" -v "file://$BATS_TEST_TMPDIR/versions"
	serve "$VECTORS/www"
	answers 43 check-update -u "$URL"
	[[ $stderr = *"--allow-insecure-http"* ]]
	answers 0 check-update -u http://127.0.0.1 -P "${URL##*:}" --allow-insecure-http
	answers 0 update -u http://127.0.0.1:9 --port="${URL##*:}" --allow-insecure-http -W 1 -r 0 -d 0
	[ "$(release)" = 30 ]
	# one connection, as asked for, for a whole run
	[ "$(cut -d ' ' -f 6 "$ACCESS" | sort -u | wc -l)" -le 2 ]
	# a mirror of the user's is before what the release says
	SWUPD_GLOBAL=(-p "$ROOT" -K "$M/cache" -C "$CERT" -N --no-progress -I)
	mkdir -p "$ROOT/etc/swupd"
	echo "file://$BATS_TEST_TMPDIR/versions" >"$ROOT/etc/swupd/mirror_versionurl"
	echo "file://$BATS_TEST_TMPDIR/content" >"$ROOT/etc/swupd/mirror_contenturl"
	answers 1 check-update
	answers 0 info
	assert_line "content URL: file://$BATS_TEST_TMPDIR/content"
}

@test "tries after failures: --max-retries, --retry-delay" {
	install_10
	serve "$VECTORS/www" "location = /version/format30/latest { return 503; }"
	SWUPD_GLOBAL+=(-u "$URL" --allow-insecure-http)
	answers 16 update --max-retries=2 --retry-delay=0
	assert_equal "$(grep -c 'format30/latest 503' "$ACCESS")" 3
	: >"$ACCESS"
	answers 16 update -r 0
	assert_equal "$(grep -c 'format30/latest 503' "$ACCESS")" 1
	begin=$(date +%s%N)
	answers 16 update -r 1 -d 1
	[ $((($(date +%s%N) - begin) / 1000000)) -ge 1000 ]
}

@test "what is said: --quiet, --verbose, --debug, --time, --no-progress" {
	install_10
	cp -a "$M" "$BATS_TEST_TMPDIR/saved"
	answers 0 update --quiet
	[ -z "$output$stderr" ]
	rm -rf "$M" && cp -a "$BATS_TEST_TMPDIR/saved" "$M"
	answers 0 update --time
	[[ $stderr =~ [0-9]\.[0-9]+\ s\ +load_manifests ]]
	[[ $stderr =~ [0-9]\.[0-9]+\ s\ +update_files ]]
	rm -rf "$M" && cp -a "$BATS_TEST_TMPDIR/saved" "$M"
	SWUPD_GLOBAL=("${SWUPD_GLOBAL[@]/--no-progress/-I}")
	answers 0 update -V 20 --quiet
	[ -z "$output$stderr" ]
	answers 0 update
	[[ $stderr = *load_manifests* ]]
	rm -rf "$M" && cp -a "$BATS_TEST_TMPDIR/saved" "$M"
	: >"$M/cache/mom/$(basename "$M"/cache/mom/*-10)"
	answers 0 diagnose --debug
	[[ $stderr = *"the cached MoM of release 10 is not used"* ]]
	answers 0 diagnose
	[[ $stderr != *"cached MoM"* ]]
	answers 2 bundle-remove --quiet libs
	[[ $stderr = "swupd: "* ]]
	answers 1 diagnose --quiet -V 20
	[ -z "$output$stderr" ]
}

# json FILE STATUS SECTION: a JSON array as the predecessor's, with this end; prints the messages
json()
{
	python3 - "$@" <<-'END'
		import json, sys
		file, status, section = sys.argv[1:]
		lines = open(file, encoding="utf-8").read().split("\n")
		assert lines[0] == "[" and lines[-2] == "]" and lines[-1] == "", lines
		for line in lines[1:-3]:
		    assert line.endswith(","), line
		    json.loads(line[:-1])
		events = json.load(open(file, encoding="utf-8"))
		assert events[0] == {"type": "start", "section": section}, events[0]
		assert events[-1] == {"type": "end", "section": section, "status": int(status)}, events[-1]
		for event in events[1:-1]:
		    kind = event["type"]
		    if kind == "progress":
		        assert set(event) == {"type", "currentStep", "totalSteps", "stepCompletion", "stepDescription"}, event
		        assert -1 <= event["stepCompletion"] <= 100 and 1 <= event["currentStep"] <= event["totalSteps"], event
		        print("progress:", event["stepDescription"])
		    else:
		        assert kind in ("info", "warning", "error") and set(event) == {"type", "msg"} and event["msg"], event
		        print(kind + ":", event["msg"])
	END
}

@test "--json-output: whole and true, also of failures" {
	install_10
	cp -a "$M" "$BATS_TEST_TMPDIR/saved"
	while read -r want command; do
		# shellcheck disable=SC2086 # words
		answers "$want" $command --json-output
		[ -z "$stderr" ] || fail "$command: $stderr"
		echo "$output" >"$BATS_TEST_TMPDIR/json"
		# shellcheck disable=SC2086
		run -0 json "$BATS_TEST_TMPDIR/json" "$want" ${command%% *}
		echo "$output" >"$BATS_TEST_TMPDIR/said"
		[ "$want" -lt 2 ] || [ "$(grep -c ^error: "$BATS_TEST_TMPDIR/said")" = 1 ] || fail "$command: $output"
	done <<-END
		0 info
		0 check-update
		0 bundle-list
		0 bundle-list --all
		0 bundle-info editors --files
		0 diagnose
		1 diagnose -V 20
		0 hashdump /
		2 bundle-remove libs
		3 bundle-add nonsense
		4 diagnose -V 15
		15 update -V 5
		15 update extra
		16 update -u file:///nonexistent
		21 update -C /nonexistent
		0 clean --dry-run
		0 update
		1 check-update
		0 update
	END
}

@test "--json-output: any text, and each step" {
	install_10
	printf 'x"y\\z\t\001\033[31m\303\274\377\n' >"$ROOT/usr/share/defaults/swupd/contenturl"
	run --separate-stderr swupd info -p "$ROOT" -j
	[ "$status" = 0 ]
	echo "$output" >"$BATS_TEST_TMPDIR/json"
	run -0 json "$BATS_TEST_TMPDIR/json" 0 info
	assert_output --partial 'content URL: x"y\z'
	SWUPD_GLOBAL=("${SWUPD_GLOBAL[@]/--no-progress/-j}")
	answers 0 update --time
	[ -z "$stderr" ]
	echo "$output" >"$BATS_TEST_TMPDIR/json"
	run -0 json "$BATS_TEST_TMPDIR/json" 0 update
	for step in load_manifests download_packs extract_packs validate_fullfiles download_fullfiles extract_fullfiles update_files; do
		assert_line "progress: $step"
	done
	assert_line "info: release 30 is installed: 31 paths changed"
}

@test "signatures and clock: --certpath, --nosigcheck, --nosigcheck-latest, --ignore-time" {
	web
	install_10
	SWUPD_GLOBAL=(-p "$ROOT" -K "$M/cache" -u "file://$WEB" -F 30 -N --no-progress)
	# the certificate of the release itself
	date +%s >"$ROOT/usr/share/clear/versionstamp"
	answers 0 check-update
	answers 21 update -C /etc/passwd
	rm "$WEB/version/format30/latest.sig"
	answers 21 update
	answers 0 update --nosigcheck-latest -V 20
	[ "$(release)" = 20 ]
	rm "$WEB"/*/Manifest.MoM.sig
	for release in 10 20 30; do
		tar -C "$WEB/$release" -cf "$WEB/$release/Manifest.MoM.tar" Manifest.MoM
	done
	rm -r "$M/cache"
	echo 9999999999 >"$ROOT/usr/share/clear/versionstamp"
	answers 22 update --nosigcheck
	answers 21 update --ignore-time --nosigcheck-latest
	answers 0 update --ignore-time --nosigcheck
	[ "$(release)" = 30 ]
}

@test "questions: --yes and --assume" {
	install_10
	answers 0 update --yes -V 20
	answers 0 update --assume=no
	answers 15 update --assume=x
	[ "$(release)" = 30 ]
}

@test "--format: of another kind of releases" {
	install_10
	answers 16 update -F 31
	answers 16 update -F staging
	answers 0 update -F 30
}

# boot_manager STATUS: a boot manager in the root that notes how it is called
boot_manager()
{
	printf '#!/bin/sh\necho "$@" >>%s\nexit %s\n' "$BATS_TEST_TMPDIR/called" "$1" >"$ROOT/usr/bin/clr-boot-manager"
	chmod 755 "$ROOT/usr/bin/clr-boot-manager"
	rm -f "$BATS_TEST_TMPDIR/called"
}

@test "after a change: the boot manager, --no-scripts, --no-boot-update" {
	install_10
	cp -a "$M" "$BATS_TEST_TMPDIR/saved"
	boot_manager 0
	answers 0 update
	assert_not_exist "$BATS_TEST_TMPDIR/called"
	SWUPD_GLOBAL=("${SWUPD_GLOBAL[@]/#-N/--no-progress}")
	for option in --no-boot-update -b --no-scripts -N; do
		rm -rf "$M" && cp -a "$BATS_TEST_TMPDIR/saved" "$M"
		boot_manager 0
		answers 0 update "$option"
		assert_not_exist "$BATS_TEST_TMPDIR/called"
	done
	rm -rf "$M" && cp -a "$BATS_TEST_TMPDIR/saved" "$M"
	boot_manager 0
	answers 0 update
	assert_equal "$(cat "$BATS_TEST_TMPDIR/called")" "update --path $ROOT"
	# nothing for the boot manager to do
	boot_manager 0
	answers 0 update
	answers 0 bundle-remove extras
	assert_not_exist "$BATS_TEST_TMPDIR/called"
	rm -rf "$M" && cp -a "$BATS_TEST_TMPDIR/saved" "$M"
	boot_manager 3
	answers 28 update
	[[ $stderr = *"release 30 is installed, but"* ]]
	[ "$(release)" = 30 ]
	answers 0 diagnose
}

# with_etc COMMAND [ARG…]: with $BATS_TEST_TMPDIR/etc over /etc and $BATS_TEST_TMPDIR/share over /usr/share
with_etc()
{
	mkdir -p "$BATS_TEST_TMPDIR"/{etc,share,work1,work2}
	unshare -m bash -c '
		cd "$1" || exit 77
		mount -t overlay -o "lowerdir=/etc,upperdir=$1/etc,workdir=$1/work1" none /etc || exit 77
		mount -t overlay -o "lowerdir=/usr/share,upperdir=$1/share,workdir=$1/work2" none /usr/share || exit 77
		shift
		"$@"' bash "$BATS_TEST_TMPDIR" "$@"
}

@test "configuration files: what the distribution says, then the administrator, then the command line" {
	install_10
	run with_etc true
	[ "$status" != 77 ] || skip "cannot mount overlays"
	mkdir -p "$BATS_TEST_TMPDIR/etc/swupd" "$BATS_TEST_TMPDIR/share/defaults/swupd"
	cat >"$BATS_TEST_TMPDIR/share/defaults/swupd/config" <<-END
		# of the distribution
		quiet = true
		path = $ROOT
		url = file:///nonexistent
		[bundle-list]
		all = true
		[CHECK-UPDATE]
		url = file:///of-the-distribution
	END
	cat >"$BATS_TEST_TMPDIR/etc/swupd/config" <<-END
		; of the administrator
		[GLOBAL]
		cachedir = $M/cache
		ignore_time=TRUE
		certpath = $CERT
		contenturl = $URL
		[check-update]
		versionurl = file:///of-the-administrator
		[bundle-info]
		dependencies=true
	END
	run -0 --separate-stderr with_etc swupd info
	assert_line "root: $ROOT"
	assert_line "content URL: $URL"
	assert_line "version URL: file:///nonexistent"
	run --separate-stderr with_etc swupd check-update
	[ "$status" = 16 ]
	[[ $stderr = *of-the-administrator* ]]
	run --separate-stderr with_etc swupd check-update -v "$URL"
	[ "$status" = 0 ]
	[ "$output$stderr" = 30 ]
	run -0 --separate-stderr with_etc swupd bundle-list
	assert_line os-core
	assert_line extras
	run -0 --separate-stderr with_etc swupd bundle-info editors
	assert_line "  libs"
	# what is not understood
	echo 'no_such_key = 1' >>"$BATS_TEST_TMPDIR/etc/swupd/config"
	run --separate-stderr with_etc swupd bundle-info editors
	[ "$status" = 0 ]
	[[ $stderr = *"/etc/swupd/config: 'bundle-info' has no option 'no-such-key'"* ]]
	for line in 'max_retries = many' 'no equals sign' '[unclosed' '= value'; do
		printf '[GLOBAL]\n%s\n' "$line" >"$BATS_TEST_TMPDIR/etc/swupd/config"
		run --separate-stderr with_etc swupd info
		[[ $status = @(15|43) ]] || fail "$line: $status"
		[[ $stderr = *"/etc/swupd/config:2: "* ]] || fail "$line: $stderr"
	done
}

@test "the running system: libraries, services and boot are looked after" {
	upper=$BATS_TEST_TMPDIR/upper
	mkdir "$upper"
	cat >"$BATS_TEST_TMPDIR/live" <<-'END'
		# live DIR LOG COMMAND…: the command in a root that is the host's with release 10 over it
		dir=$1 log=$2 top=$3
		shift 3
		mount -t tmpfs none "$dir" || exit 77
		mkdir "$dir"/{upper,work,root}
		cp -a "$dir".installed/. "$dir/upper"
		for program in sbin/ldconfig sbin/systemctl bin/clr-boot-manager bin/clr-service-restart; do
			mkdir -p "$dir/upper/usr/${program%/*}"
			printf '#!/usr/bin/bash\necho "${0##*/} $*" >>%s\n' "$log" >"$dir/upper/usr/$program"
			chmod 755 "$dir/upper/usr/$program"
		done
		mkdir -p "$dir/upper/run/systemd/system" "$dir/upper/usr/lib/systemd/system" "$dir/upper/etc"
		touch "$dir/upper/usr/lib/systemd/system/update-triggers.target" "$dir/upper/etc/ld.so.cache"
		echo mine >"$dir/upper/etc/mine"
		mount -t overlay -o "lowerdir=/,upperdir=$dir/upper,workdir=$dir/work" none "$dir/root" || exit 77
		for path in /proc /dev /tmp "$top" "$(dirname "$log")"; do
			mkdir -p "$dir/root$path"
			mount --rbind "$path" "$dir/root$path" || exit 77
		done
		chroot "$dir/root" "$@" || exit
		chroot "$dir/root" swupd diagnose "${@:3}" || exit
		[ "$(cat "$dir/root/etc/mine")" = mine ]
	END
	run -0 sw os-install -p "$upper.installed" -V 10 -B os-core-update,editors,libs
	log=$BATS_TEST_TMPDIR/called
	swupd=$(command -v swupd)
	cp "$swupd" "$upper.installed/usr/bin/swupd"
	for options in "" --wait-for-scripts --no-scripts --no-boot-update; do
		rm -f "$log"
		# shellcheck disable=SC2086 # words
		run unshare -m bash "$BATS_TEST_TMPDIR/live" "$upper" "$log" "$TOP" swupd update -u "$URL" -C "$CERT" -F 30 -I --no-progress $options
		[ "$status" != 77 ] || skip "cannot mount overlays"
		assert_success
		assert_output --partial "release 30 is installed"
		assert_output --partial "nothing is wrong"
		case $options in
		"") want=(clr-boot-manager\ update ldconfig\  "systemctl daemon-reload" clr-service-restart\  "systemctl restart --no-block update-triggers.target") ;;
		--wait*) want=(clr-boot-manager\ update ldconfig\  "systemctl daemon-reload" clr-service-restart\  "systemctl restart update-triggers.target") ;;
		--no-scripts) want=() ;;
		--no-boot*) want=(ldconfig\  "systemctl daemon-reload" clr-service-restart\  "systemctl restart --no-block update-triggers.target") ;;
		esac
		[ "$(cat "$log" 2>/dev/null)" = "$([ ${#want[@]} = 0 ] || printf '%s\n' "${want[@]}")" ] || fail "$options: $(cat "$log")"
	done
}

@test "libraries: those for tars and transfers, and what they bring, only where there are any" {
	run ldd "$(command -v swupd)"
	assert_success
	assert_output --partial libcrypto
	refute_output --partial libarchive
	refute_output --partial libcurl
	install_10
	serve "$VECTORS/www"
	SWUPD_GLOBAL+=(-u "$URL" --allow-insecure-http)
	LD_DEBUG=files LD_DEBUG_OUTPUT=$BATS_TEST_TMPDIR/before run swupd check-update "${SWUPD_GLOBAL[@]}"
	run grep -l libcurl "$BATS_TEST_TMPDIR"/before.*
	assert_success
}
