#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# What a mirror, someone on the way, a thief of a key or a hostile root can try: nothing that is not the release's gets in or out.
# shellcheck disable=SC2016,SC2030,SC2031 # texts with dollars; each test is a process of its own

load lib

setup()
{
	[ "$(id -u)" = 0 ] || skip "needs root"
	OUTSIDE=$BATS_TEST_TMPDIR/outside
	mkdir -p "$OUTSIDE/lib"
	echo victim | tee "$OUTSIDE/victim" >"$OUTSIDE/lib/victim"
	OUTSIDE_LIST=$(tree_list "$OUTSIDE")
}

# the predecessor's tree, signed by its own key: what an attacker has to work with. In $WEB; the machine has release 10.
mirror()
{
	WEB=$BATS_TEST_TMPDIR/web
	cp -r "$TOP/tests/vectors/www" "$WEB"
	vectors m "$WEB"
	install_10 >/dev/null 2>&1
	remember
}

# the same tree, signed by a key that the test has; see forge
thief()
{
	forge
	machine m
	install_10 >/dev/null 2>&1
	remember
}

remember() { BEFORE=$(tree_list "$ROOT"); }

# nothing in the root has changed, nor beside it
untouched()
{
	diff <(echo "$BEFORE") <(tree_list "$ROOT") && outside_untouched
}

# a release's MoM is not fetched again when it is in the cache
fresh() { rm -rf "$BATS_TEST_TMPDIR/m/cache"; }

outside_untouched()
{
	diff <(echo "$OUTSIDE_LIST") <(tree_list "$OUTSIDE")
}

# refused STATUS COMMAND [ARG…]: and nothing has changed
refused()
{
	local want=$1
	shift
	run timeout 60 swupd "$1" "${SWUPD_GLOBAL[@]}" "${@:2}"
	assert_failure "$want"
	assert_output --partial "swupd: "
	untouched
}

updated_to_30()
{
	as_installed update-10-to-30.tsv && outside_untouched
}

@test "a forged manifest in the tar of the MoM, with a link that is named as if it were verified" {
	mirror
	hash=$(awk '$4 == "os-core" { print $2 }' "$WEB/30/Manifest.MoM")
	mkdir "$BATS_TEST_TMPDIR/evil"
	cd "$BATS_TEST_TMPDIR/evil" || return
	cp "$WEB/30/Manifest.MoM" "$WEB/30/Manifest.MoM.sig" .
	cp /bin/true pwned
	chmod 4755 pwned
	evil=$(swupd hashdump pwned)
	sed "s|^F..x.*/usr/bin/hello\$|F..x\t$evil\t30\t/usr/bin/hello|" "$WEB/30/Manifest.os-core" >Manifest.os-core
	ln Manifest.os-core "Manifest.os-core.$hash"
	fullfile "$WEB/30/files/$evil.tar" pwned "$evil"
	tar -cf "$WEB/30/Manifest.MoM.tar" Manifest.MoM Manifest.MoM.sig Manifest.os-core "Manifest.os-core.$hash"
	# the original of the bundle's manifest is gone, so that only the forged one could be used
	rm "$WEB/30/Manifest.os-core.tar" "$WEB"/30/Manifest-os-core-delta-*
	refused 4 update -I
	run grep -r "$evil" "$BATS_TEST_TMPDIR/m/cache"
	assert_failure
	# also when it comes as the bundle's own, or has come into the cache under the right name before
	tar -cf "$WEB/30/Manifest.MoM.tar" Manifest.MoM Manifest.MoM.sig
	tar -cf "$WEB/30/Manifest.os-core.tar" Manifest.os-core
	refused 14 update -I
	cp Manifest.os-core "$BATS_TEST_TMPDIR/m/cache/manifest/$hash"
	refused 14 update -I
}

@test "packs full of other things: what is not an object of the release is passed over" {
	mirror
	for pack in "$WEB"/30/pack-*-from-10.tar; do
		rm -rf "$BATS_TEST_TMPDIR/pack"
		mkdir "$BATS_TEST_TMPDIR/pack"
		tar -C "$BATS_TEST_TMPDIR/pack" -I zstd -xf "$pack"
		python3 - "$pack" "$BATS_TEST_TMPDIR/pack" "$OUTSIDE" "$ROOT" <<-'END'
			import io, os, sys, tarfile
			pack, source, outside, root = sys.argv[1:]
			objects = sorted(os.listdir(source + "/staged"))
			tar = tarfile.open(pack, "w", format=tarfile.PAX_FORMAT)
			def add(name, data=b"evil", **fields):
			    member = tarfile.TarInfo(name)
			    for key, value in fields.items():
			        setattr(member, key, value)
			    member.size = len(data) if member.isreg() else 0
			    tar.addfile(member, io.BytesIO(data))
			def link(name, target, kind=tarfile.SYMTYPE):
			    add(name, type=kind, linkname=target)
			add(outside + "/victim")
			for up in range(1, 12):
			    add("../" * up + outside[1:] + "/victim")
			    add("staged/" + "../" * up + outside[1:] + "/victim")
			for name in ("../manifest/" + "a" * 64, "manifest/" + "b" * 64, "../bundles/evil", "staged/../../journal", "staged/.",
			             "staged/..", "staged//" + "c" * 64, "staged/" + "d" * 63, "staged/" + "e" * 65, "staged/" + "F" * 64,
			             "staged/x/" + "f" * 64, "STAGED/" + "0" * 64, "usr/bin/evil", "delta/../../x", "delta/10-20-x-y", ""):
			    add(name)
			# a directory that is a link, then files through it; an object's name that is a link to elsewhere, then its content
			link("staged/out", outside)
			add("staged/out/victim")
			link("staged", outside)
			add("staged/victim")
			link("delta", outside)
			add("delta/victim")
			for name in objects[:3]:
			    link("staged/" + name, outside + "/victim")
			    link("staged/" + name, outside + "/victim", tarfile.LNKTYPE)
			    link("staged/" + name, root + "/usr/lib/os-release", tarfile.LNKTYPE)
			    add("staged/" + name, type=tarfile.FIFOTYPE)
			    add("staged/" + name, type=tarfile.CHRTYPE, devmajor=1, devminor=3)
			    add("staged/" + name, type=tarfile.BLKTYPE, devmajor=8, devminor=0)
			    add("staged/" + name, type=tarfile.DIRTYPE)
			    add("staged/" + name + "/inner")
			    add("staged/" + name, b"other content", mode=0o4755)
			# and at last what belongs there
			for kind in "staged", "delta":
			    for name in sorted(os.listdir(source + "/" + kind)) if os.path.isdir(source + "/" + kind) else []:
			        tar.add(source + "/" + kind + "/" + name, kind + "/" + name, recursive=False)
			tar.close()
		END
	done
	# only packs bring what is in them: whole files of it are gone
	run -0 timeout 60 swupd update "${SWUPD_GLOBAL[@]}" -I
	updated_to_30
	run -0 sw diagnose -I
	# nor does anything of them remain in our own directories
	run find "$BATS_TEST_TMPDIR/m" \( -name 'aaaa*' -o -name 'bbbb*' -o -name evil -o -name out -o -name journal \)
	assert_output ""
}

@test "extended attributes in tars are not installed" {
	mirror
	command -v setcap >/dev/null || skip "no setcap"
	hello=$(awk '$4 == "/usr/bin/hello" { print $2 }' "$WEB/30/Manifest.os-core")
	edit=$(awk '$4 == "/usr/bin/edit" { print $2 }' "$WEB/30/Manifest.editors")
	mkdir -p "$BATS_TEST_TMPDIR/x/staged"
	cd "$BATS_TEST_TMPDIR/x" || return
	tar -xf "$WEB/20/files/$hello.tar"
	tar -C staged -xf "$WEB/30/files/$edit.tar"
	setcap cap_setuid+ep "$hello"
	setcap cap_setuid+ep "staged/$edit"
	setfattr -n user.evil -v 1 "$hello"
	tar --xattrs --xattrs-include='*' -cf "$WEB/20/files/$hello.tar" "$hello"
	# one by a pack, one as a whole file; acls, too
	setfacl -m u:1234:rwx "staged/$edit"
	chmod --reference="$ROOT/usr/bin/edit" "staged/$edit"
	rm "$WEB/30/pack-os-core-from-10.tar"
	tar --xattrs --xattrs-include='*' --acls -cf "$WEB/30/pack-editors-from-10.tar" staged
	[ "$(grep -c security.capability "$WEB/20/files/$hello.tar" "$WEB/30/pack-editors-from-10.tar")" = "$WEB/20/files/$hello.tar:1
$WEB/30/pack-editors-from-10.tar:1" ]
	run -0 sw update -I --verbose
	updated_to_30
	run -0 getfattr -R -h -m - "$ROOT"
	assert_output ""
	run getcap -r "$ROOT"
	assert_output ""
}

@test "names in signed manifests that lead elsewhere, or that nobody could print" {
	thief
	new_release 40 30
	cp "$WEB/40/Manifest.os-core" "$BATS_TEST_TMPDIR/good"
	hash=$(swupd hashdump "$ROOT/usr/bin/hello")
	for name in "/usr/../../$OUTSIDE/victim" /../x /.. /. / '' usr/bin/relative ../x /usr//double /usr/bin/ /usr/./x /usr/bin/.. \
		$'/usr/bin/a\001b' $'/usr/bin/a\177' $'/usr/bin/a\033[31m' $'/usr/bin/a\rb' "/$(printf 'x%.0s' {1..5000})"; do
		cp "$BATS_TEST_TMPDIR/good" "$WEB/40/Manifest.os-core"
		printf 'F...\t%s\t40\t%s\n' "$hash" "$name" >>"$WEB/40/Manifest.os-core"
		resign 40 os-core
		fresh
		refused 14 update -I
		assert_output --regexp "line 4[0-9]: the name|carriage return"
	done
	# a bundle that is named like a path, listed or included
	cp "$BATS_TEST_TMPDIR/good" "$WEB/40/Manifest.os-core"
	resign 40 os-core
	cp "$WEB/40/Manifest.MoM" "$BATS_TEST_TMPDIR/mom"
	for name in ../../../../../../x /etc/passwd . .. a/b -x '' MoM $'a\002'; do
		printf 'M...\t%s\t40\t%s\n' "$hash" "$name" | cat "$BATS_TEST_TMPDIR/mom" - >"$WEB/40/Manifest.MoM"
		resign 40
		fresh
		refused 4 update -I
		assert_output --partial "line "
	done
	cp "$BATS_TEST_TMPDIR/mom" "$WEB/40/Manifest.MoM"
	sed -i '/^contentsize:/ a includes:\t../../../x' "$WEB/40/Manifest.os-core"
	resign 40 os-core
	fresh
	refused 14 update -I
}

@test "a removal does not go where such a name leads" {
	thief
	list 10 editors "/var/../../$OUTSIDE/victim" F... "$(swupd hashdump "$OUTSIDE/victim")"
	resign 10 editors
	fresh
	refused 14 bundle-remove -I editors
	refused 14 repair -I
	refused 14 diagnose -I
}

@test "a file below a link or a file of the same release is no way out, and refused before anything is changed" {
	thief
	new_release 40 30 editors
	ln -s "$OUTSIDE" "$BATS_TEST_TMPDIR/link"
	publish 40 os-core /usr/link "$BATS_TEST_TMPDIR/link"
	publish 40 os-core /usr/link/victim "$ROOT/usr/bin/hello"
	resign 40 os-core
	refused 42 update -I
	# and the machine is not stuck with it
	run -0 sw clean
	run -0 sw update -I -V 30
	updated_to_30
	# over two bundles
	machine two
	install_10
	remember
	unlist 40 os-core /usr/link/victim
	publish 40 os-core /usr/link "$ROOT/usr/bin/hello"
	publish 40 editors /usr/link/victim "$ROOT/usr/bin/hello"
	resign 40 os-core editors
	rm -rf "$BATS_TEST_TMPDIR/two/cache"
	refused 42 update -I
	run -0 sw clean
}

@test "the updater's own place is not content" {
	thief
	new_release 40 30
	mkdir -m 700 "$ROOT/usr/.swupd"
	publish 40 os-core /usr/.swupd "$ROOT/usr/.swupd"
	publish 40 os-core /usr/.swupd/journal "$ROOT/usr/bin/hello"
	resign 40 os-core
	refused 42 update -I
	refused 42 os-install -I -x
	run -0 sw clean
	run -0 sw update -I -V 30
}

@test "a root with links to elsewhere: nothing outside changes" {
	mirror
	for command in "update -I" "repair -I" "repair -I --picky" "bundle-remove -I editors extras" "os-install -I -x -V 30" "bundle-add -I extras" \
		"diagnose -I --picky" clean; do
		for link in usr/share/editors usr/share usr/lib usr/bin usr/share/clear/bundles usr; do
			for target in "$OUTSIDE" "$(realpath -m --relative-to="$ROOT/$(dirname "$link")" "$OUTSIDE")"; do
				rm -rf "$BATS_TEST_TMPDIR/w" && cp -a "$BATS_TEST_TMPDIR/m" "$BATS_TEST_TMPDIR/w"
				rm -rf "$OUTSIDE" && mkdir "$OUTSIDE"
				cp -a "$ROOT/$link/." "$OUTSIDE/"
				echo victim >"$OUTSIDE/victim"
				OUTSIDE_LIST=$(tree_list "$OUTSIDE")
				rm -rf "$BATS_TEST_TMPDIR/w/root/$link"
				ln -s "$target" "$BATS_TEST_TMPDIR/w/root/$link"
				# shellcheck disable=SC2086 # words
				run timeout 60 swupd $command "${SWUPD_GLOBAL[@]}" -p "$BATS_TEST_TMPDIR/w/root"
				outside_untouched || fail "$command, $link -> $target"
				[ "$status" != 124 ] || fail "$command hangs, $link -> $target"
			done
		done
	done
}

@test "links in the places of our own state: nothing outside changes" {
	mirror
	for link in var var/lib var/lib/swupd var/lib/swupd/bundles var/lib/swupd/trust var/lib/swupd/version var/lib/swupd/seen \
		var/lib/swupd/swupd_lock usr/.swupd usr/.swupd/staged usr/.swupd/next usr/.swupd/journal; do
		rm -rf "$BATS_TEST_TMPDIR/w" && cp -a "$BATS_TEST_TMPDIR/m" "$BATS_TEST_TMPDIR/w"
		rm -rf "$OUTSIDE" && mkdir "$OUTSIDE" && echo victim >"$OUTSIDE/victim" && echo victim >"$OUTSIDE/.new.1.abc"
		mkdir "$OUTSIDE/staged" && echo victim >"$OUTSIDE/staged/victim"
		OUTSIDE_LIST=$(tree_list "$OUTSIDE")
		rm -rf "$BATS_TEST_TMPDIR/w/root/$link"
		for target in "$OUTSIDE" "$OUTSIDE/victim"; do
			mkdir -p "$(dirname "$BATS_TEST_TMPDIR/w/root/$link")"
			ln -sfn "$target" "$BATS_TEST_TMPDIR/w/root/$link"
			for command in "update -I" "bundle-remove -I editors" "clean --all" "repair -I"; do
				# shellcheck disable=SC2086 # words
				run timeout 60 swupd $command "${SWUPD_GLOBAL[@]}" -p "$BATS_TEST_TMPDIR/w/root"
				outside_untouched || fail "$command, $link -> $target"
				[ "$status" != 124 ] || fail "$command hangs, $link -> $target"
			done
		done
	done
}

@test "a journal that someone wrote leads nowhere" {
	mirror
	mkdir -m 700 "$ROOT/usr/.swupd"
	echo evil >"$ROOT/usr/.swupd/evil"
	for step in "put F usr/.swupd/evil ../outside/victim" "put F ../../outside/victim usr/bin/hello" "del ../../outside/victim" "del /etc/passwd" \
		"dir 777 0 0 ../../outside" "mark ../../../x" "unmark ../../../../../outside/victim"; do
		printf 'swupd-journal 1\nrelease\t10\t30\n%s\n' "$(tr ' ' '\t' <<<"$step")" >"$ROOT/usr/.swupd/journal"
		printf 'end\t%s\n' "$(sha256sum <"$ROOT/usr/.swupd/journal" | cut -c 1-64)" >>"$ROOT/usr/.swupd/journal"
		run sw clean
		assert_failure
		assert_output --partial journal
		untouched
	done
	# through a link in the root
	ln -s "$OUTSIDE" "$ROOT/usr/share/out"
	remember
	printf 'swupd-journal 1\nrelease\t10\t30\nput\tF\tusr/.swupd/evil\tusr/share/out/victim\ndel\tusr/share/out/victim\n' >"$ROOT/usr/.swupd/journal"
	printf 'end\t%s\n' "$(sha256sum <"$ROOT/usr/.swupd/journal" | cut -c 1-64)" >>"$ROOT/usr/.swupd/journal"
	run sw clean
	untouched
	# one whose sum is wrong is not begun
	sed -i 's/^release.*/release\t10\t20/' "$ROOT/usr/.swupd/journal"
	refused 40 clean
	assert_output --partial "hint: remove it"
}

@test "a FIFO or device in the place of a file hangs nobody" {
	mirror
	hello=$ROOT/usr/bin/hello
	rm "$hello" "$ROOT/usr/bin/edit" "$ROOT/usr/share/editors/"*.dat
	mkfifo "$hello" "$ROOT/usr/share/editors/big.dat"
	mknod "$ROOT/usr/bin/edit" c 1 5
	run timeout 30 swupd diagnose "${SWUPD_GLOBAL[@]}" -I
	assert_failure 1
	assert_output --partial "Hash mismatch for file: $hello"
	assert_output --partial "Hash mismatch for file: $ROOT/usr/bin/edit"
	run timeout 10 swupd hashdump "$hello"
	assert_failure
	refute_output --partial 0000
	run -0 timeout 30 swupd update "${SWUPD_GLOBAL[@]}" -I
	updated_to_30
	rm "$hello" && mkfifo "$hello"
	run -0 timeout 30 swupd repair "${SWUPD_GLOBAL[@]}" -I
	updated_to_30
	# nor where we read our own settings
	for file in usr/lib/os-release usr/share/defaults/swupd/format usr/share/clear/versionstamp usr/share/clear/bundles/editors var/lib/swupd/seen \
		usr/share/clear/update-ca/Swupd_Root.pem; do
		mkdir -p "$(dirname "$ROOT/$file")"
		mv "$ROOT/$file" "$BATS_TEST_TMPDIR/saved" 2>/dev/null || true
		mkfifo "$ROOT/$file"
		for command in info check-update "update --status" "diagnose" "bundle-list --all"; do
			# shellcheck disable=SC2086 # words
			run timeout 10 swupd $command "${SWUPD_GLOBAL[@]}"
			[ "$status" != 124 ] || fail "$command hangs at $file"
		done
		rm "$ROOT/$file"
		mv "$BATS_TEST_TMPDIR/saved" "$ROOT/$file" 2>/dev/null || true
	done
}

@test "an older newest release is refused, once a newer one was seen" {
	thief
	run -0 sw update -I --status
	# the mirror goes back to what was signed before
	printf 20 >"$WEB/version/format30/latest"
	sign "$WEB/version/format30/latest"
	refused 21 update -I
	assert_output --partial "release 30 was seen before"
	refused 21 update -I --status
	refused 21 os-install -I -x
	# but may be named, as the hint says
	assert_output --partial -- "--version"
	run -0 sw update -I -V 20
	as_installed update-10-to-20.tsv
	# a release is what its number says
	cp "$WEB/20/Manifest.MoM" "$WEB/20/Manifest.MoM.sig" "$WEB/30/"
	tar -C "$WEB/30" -cf "$WEB/30/Manifest.MoM.tar" Manifest.MoM Manifest.MoM.sig
	printf 30 >"$WEB/version/format30/latest"
	sign "$WEB/version/format30/latest"
	remember
	fresh
	refused 4 update -I
}

@test "what is not signed, by another key, or by one whose time is over is refused" {
	thief
	cp -r "$WEB" "$BATS_TEST_TMPDIR/good"
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 36500 -subj "/CN=forge" -keyout "$BATS_TEST_TMPDIR/other.pem" \
		-out "$BATS_TEST_TMPDIR/other-cert.pem" 2>/dev/null
	# what: each is done to the signature of the MoM, and to that of latest
	for what in none empty junk other attached tampered of-other; do
		for file in 30/Manifest.MoM version/format30/latest; do
			rm -rf "$WEB" && cp -r "$BATS_TEST_TMPDIR/good" "$WEB"
			fresh
			case $what in
			none) rm "$WEB/$file.sig" ;;
			empty) : >"$WEB/$file.sig" ;;
			junk) head -c 2000 /dev/urandom >"$WEB/$file.sig" ;;
			other) CERT=$BATS_TEST_TMPDIR/other-cert.pem KEY=$BATS_TEST_TMPDIR/other.pem sign "$WEB/$file" ;;
			attached) openssl cms -sign -nodetach -binary -noattr -outform DER -signer "$CERT" -inkey "$KEY" -in "$WEB/$file" -out "$WEB/$file.sig" ;;
			tampered) sed -i '1 s/^3/4/; s/^timestamp:.*/timestamp:\t1/' "$WEB/$file" ;;
			of-other) cp "$WEB/20/Manifest.MoM.sig" "$WEB/$file.sig" ;;
			esac
			# shellcheck disable=SC2046 # words
			tar -C "$WEB/30" -cf "$WEB/30/Manifest.MoM.tar" Manifest.MoM $(cd "$WEB/30" && ls Manifest.MoM.sig 2>/dev/null)
			refused 21 update -I
		done
	done
	# that is what these options are for
	rm -rf "$WEB" && cp -r "$BATS_TEST_TMPDIR/good" "$WEB"
	rm "$WEB/version/format30/latest.sig"
	run -0 sw update -I -V 20 --nosigcheck-latest
	rm "$WEB"/*/Manifest.MoM.sig
	for release in 20 30; do
		tar -C "$WEB/$release" -cf "$WEB/$release/Manifest.MoM.tar" Manifest.MoM
	done
	fresh
	remember
	refused 21 update -I --nosigcheck-latest
	run -0 sw update -I --nosigcheck
}

# certificate NAME FROM TO: $NAME.pem and $NAME.key, valid between these days (YYMMDD)
certificate()
{
	local dir=$BATS_TEST_TMPDIR/ca
	mkdir -p "$dir"
	: >"$dir/index"
	printf '[ca]\ndefault_ca=x\n[x]\ndatabase=%s/index\nnew_certs_dir=%s\nserial=%s/serial\ndefault_md=sha256\npolicy=p\nunique_subject=no\n[p]\ncommonName=supplied\n' \
		"$dir" "$dir" "$dir" >"$dir/conf"
	openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$1" -keyout "$dir/$1.key" -out "$dir/$1.csr" 2>/dev/null
	openssl ca -batch -rand_serial -selfsign -notext -config "$dir/conf" -startdate "${2}000000Z" -enddate "${3}000000Z" -keyfile "$dir/$1.key" \
		-in "$dir/$1.csr" -out "$dir/$1.pem" 2>/dev/null
}

@test "an expired certificate, or one that is not valid yet" {
	thief
	for days in "200101 210101" "400101 490101"; do
		# shellcheck disable=SC2086 # two words
		certificate over $days
		fresh
		CERT=$BATS_TEST_TMPDIR/ca/over.pem
		KEY=$BATS_TEST_TMPDIR/ca/over.key
		for release in 10 20 30; do
			resign "$release"
		done
		sign "$WEB/version/format30/latest"
		machine m
		refused 21 update -I
		refused 21 diagnose -I
	done
	# the same with one that is valid
	certificate fine 200101 490101
	CERT=$BATS_TEST_TMPDIR/ca/fine.pem
	KEY=$BATS_TEST_TMPDIR/ca/fine.key
	for release in 10 20 30; do
		resign "$release"
	done
	sign "$WEB/version/format30/latest"
	machine m
	run -0 sw update -I
}

@test "info says that all release keys of a root file have expired" {
	mirror
	certificate over 200101 210101
	local over=$BATS_TEST_TMPDIR/ca/over root=$BATS_TEST_TMPDIR/root digest
	digest=$(openssl x509 -in "$over.pem" -outform DER | sha256sum | cut -d ' ' -f 1)
	printf 'ROOT\t1\nnumber:\t1\nthreshold:\t1\nroot-key:\t%s\nrelease-key:\t%s\n\n' "$digest" "$digest" | cat - "$over.pem" >"$root"
	openssl cms -sign -binary -noattr -signer "$over.pem" -inkey "$over.key" -outform DER -in "$root" -out "$root.der"
	printf -- '-----BEGIN CMS-----\n%s\n-----END CMS-----\n' "$(base64 -w 64 "$root.der")" >>"$root"
	run -0 swupd info -p "$ROOT" -C "$root"
	assert_line "keys: all release keys that this system knows have expired"
}

@test "what stands in a file of addresses is text" {
	mirror
	mkdir -p "$ROOT/usr/share/defaults/swupd"
	for url in 'file:///%n%n%n%s%s%s%s' 'http://127.0.0.1:1/%s%n%x' '%n' '$(touch /tmp/evil)' '`id`' "$(printf 'x%.0s' {1..60000})" 'gopher://127.0.0.1/x' \
		'file://127.0.0.1/etc' $'\001\002' '--help'; do
		printf '%s\n' "$url" | tee "$ROOT/usr/share/defaults/swupd/contenturl" >"$ROOT/usr/share/defaults/swupd/versionurl"
		run timeout 30 swupd update -p "$ROOT" -K "$BATS_TEST_TMPDIR/m/cache" -I -N -C "$CERT" --max-retries=0
		[ "$status" -gt 0 ] && [ "$status" -lt 100 ] || fail "$url: $status"
		assert_output --partial "swupd: "
		run -0 timeout 30 swupd info -p "$ROOT"
		# of files there is one spelling
		case $url in file:*) url=${url/127.0.0.1/} url=${url//%/%25} ;; esac
		assert_output --partial -- "${url:0:100}"
	done
}

@test "counts, numbers and texts of a signed manifest that cannot be right" {
	thief
	new_release 40 30
	cp "$WEB/40/Manifest.os-core" "$BATS_TEST_TMPDIR/good"
	for change in 's/^filecount:.*/filecount:\t99/' 's/^filecount:.*/filecount:\t1/' 's/^filecount:.*/filecount:\t-1/' \
		's/^filecount:.*/filecount:\t99999999999999999999/' 's/^version:.*/version:\t41/' 's/^MANIFEST.*/MANIFEST\t99999999999/' '1d' '$d' '/^$/d' \
		's/^(F...\t)[0-9a-f]{8}/\1zzzzzzzz/' 's/\t10\t/\t1000000000000\t/' 's/\t10\t/\t-10\t/' 's/^F/Q/' 's/^contentsize:.*/contentsize:\t-5/' \
		'$p' '$s/.$//; $s/[^\t]*$//' 's/\t/ /g'; do
		sed -E "$change" "$BATS_TEST_TMPDIR/good" >"$WEB/40/Manifest.os-core"
		# as resign, but for the count
		relist 40 os-core
		sign "$WEB/40/Manifest.MoM"
		tar -C "$WEB/40" -cf "$WEB/40/Manifest.MoM.tar" Manifest.MoM Manifest.MoM.sig
		fresh
		run timeout 60 swupd update "${SWUPD_GLOBAL[@]}" -I
		[ "$status" = 14 ] || fail "$change: $status, $output"
		untouched
	done
	head -c 3000000 /dev/zero >"$WEB/40/Manifest.os-core"
	relist 40 os-core
	resign 40
	fresh
	refused 14 update -I
}

@test "a cached manifest that was cut, exchanged or linked is fetched again" {
	mirror
	hash=$(awk '$4 == "libs" { print $2 }' "$WEB/10/Manifest.MoM")
	cached=$BATS_TEST_TMPDIR/m/cache/manifest/$hash
	assert_file_exist "$cached"
	for how in cut other empty link directory fifo; do
		rm -rf "$cached"
		case $how in
		cut) head -n 12 "$WEB/10/Manifest.libs" >"$cached" ;;
		other) cp "$WEB/10/Manifest.editors" "$cached" ;;
		empty) : >"$cached" ;;
		link) ln -s "$WEB/10/Manifest.editors" "$cached" ;;
		directory) mkdir "$cached" ;;
		fifo) mkfifo "$cached" ;;
		esac
		run -0 timeout 30 swupd diagnose "${SWUPD_GLOBAL[@]}" -I
		assert_output --partial "nothing is wrong"
		untouched
	done
	head -n 12 "$WEB/10/Manifest.libs" >"$cached"
	for mom in "$BATS_TEST_TMPDIR"/m/cache/mom/*-10; do
		head -n 8 "$WEB/10/Manifest.MoM" >"$mom"
	done
	run -0 sw update -I
	updated_to_30
}

@test "another cache to look into may be full of anything" {
	mirror
	other=$BATS_TEST_TMPDIR/other
	cp -r "$BATS_TEST_TMPDIR/m/cache" "$other"
	for file in "$other"/manifest/* "$other"/mom/*; do
		echo junk >"$file"
	done
	mkdir "$other/manifest/directory"
	mkfifo "$other/manifest/$(printf 'a%.0s' {1..64})"
	ln -s "$OUTSIDE/victim" "$other/manifest/link"
	ln -s "$OUTSIDE" "$other/mom/link"
	machine n
	run -0 timeout 60 swupd os-install "${SWUPD_GLOBAL[@]}" -I -V 10 -B os-core-update,editors,libs -s "$other"
	as_installed install-10.tsv
	outside_untouched
	machine o
	run -0 timeout 60 swupd os-install "${SWUPD_GLOBAL[@]}" -I -V 10 -s /dev/null
	run -0 timeout 60 swupd diagnose "${SWUPD_GLOBAL[@]}" -I
}

@test "small files that are bombs or have no end" {
	thief
	cp -r "$WEB" "$BATS_TEST_TMPDIR/good"
	head -c 200M /dev/zero | zstd -q >"$BATS_TEST_TMPDIR/zeros.zst"
	head -c 200M /dev/zero >"$BATS_TEST_TMPDIR/zeros"
	hash=$(awk '$4 == "/usr/bin/hello" { print $2 }' "$WEB/30/Manifest.os-core")
	# latest is larger than any number; the signature is
	for file in version/format30/latest version/format30/latest.sig; do
		ln -sf "$BATS_TEST_TMPDIR/zeros" "$WEB/$file"
		run timeout 30 swupd update "${SWUPD_GLOBAL[@]}" -I
		[[ $status = @(16|21|40) ]]
		untouched
		rm "$WEB/$file" && cp "$BATS_TEST_TMPDIR/good/$file" "$WEB/$file"
	done
	# a tar of the MoM whose text does not end
	cp "$BATS_TEST_TMPDIR/zeros" "$BATS_TEST_TMPDIR/Manifest.MoM"
	tar -C "$BATS_TEST_TMPDIR" -I zstd -cf "$WEB/30/Manifest.MoM.tar" Manifest.MoM
	refused 4 update -I
	fresh
	cp "$BATS_TEST_TMPDIR/good/30/Manifest.MoM.tar" "$WEB/30/"
	# a whole file and a pack that say less than they hold
	rm "$WEB"/30/pack-os-core-from-*
	truncate -s 100M "$BATS_TEST_TMPDIR/zeros"
	tar -C "$BATS_TEST_TMPDIR" -I zstd --transform="s|.*|$hash|" -cf "$WEB/20/files/$hash.tar" zeros
	refused 1 update -I
	tar -C "$BATS_TEST_TMPDIR" -I zstd --transform="s|.*|staged/$hash|" -cf "$WEB/30/pack-os-core-from-10.tar" zeros
	refused 1 update -I
	[ "$(du -sm "$BATS_TEST_TMPDIR/m" | cut -f 1)" -lt 20 ]
}

@test "staged setuid programs are not within reach of users" {
	mirror
	run -0 sw update -I --download
	[ "$(stat -c '%a %u' "$ROOT/usr/.swupd")" = "700 0" ]
	# what another user made there before is not used
	rm -rf "$ROOT/usr/.swupd"
	hash=$(awk '$4 == "/usr/bin/hello" { print $2 }' "$WEB/30/Manifest.os-core")
	mkdir -p "$ROOT/usr/.swupd/staged"
	chmod -R 777 "$ROOT/usr/.swupd"
	chown -R 1234 "$ROOT/usr/.swupd"
	cp /bin/true "$ROOT/usr/.swupd/staged/$hash"
	run -0 sw update -I --download
	[ "$(stat -c '%a %u' "$ROOT/usr/.swupd" "$ROOT/usr/.swupd/staged" | sort -u)" = "700 0" ]
	run -0 sw update -I
	updated_to_30
}
