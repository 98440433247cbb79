# SPDX-License-Identifier: LGPL-2.1-or-later
# For the functional tests: worlds made by the real mixer, trees compared file by file.
# shellcheck shell=bash disable=SC2154 # bats sets status, output and BATS_*

bats_require_minimum_version 1.5.0
load /usr/lib/bats/bats-support/load.bash
load /usr/lib/bats/bats-assert/load.bash
load /usr/lib/bats/bats-file/load.bash
load ../func/serve

TOP=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)
VECTORS=$TOP/tests/vectors
export TOP

# tree_list DIR [PATH…]: what a tree is: type, mode, owner, link target or content, extended attributes; lines that begin with
# the path or the content's hash, sorted. State of the updater is left out. With paths: only below those.
tree_list()
{
	local dir=$1
	shift
	local -a state=(\( -path ./usr/.swupd -o -path ./var/lib/swupd -o -path ./var/tmp/swupd -o -path ./.usr-old \) -prune -o)
	(
		cd "$dir" || exit
		find "${@:-.}" "${state[@]}" \( -type f -printf '%p F %#m %U:%G %s\n' \) -o \
			\( -type l -printf '%p L %U:%G %l\n' \) -o -printf '%p %y %#m %U:%G\n'
		find "${@:-.}" "${state[@]}" -type f -print0 | xargs -0 -r sha256sum -b
		find "${@:-.}" "${state[@]}" -print0 | xargs -0 -r getfattr -h -d -m - --absolute-names 2>/dev/null
	) | LC_ALL=C sort
}

# same_tree A B: fails and shows the first differences
same_tree()
{
	diff <(tree_list "$1") <(tree_list "$2") | head -n 40
	return "${PIPESTATUS[0]}"
}

# mix_init: a workspace in $MIX with an empty set of bundle definitions in $MIX/bundles and a cache of its own
mix_init()
{
	MIX=$BATS_TEST_TMPDIR/mix
	mkdir -p "$MIX/bundles"
	mixer -C "$MIX" init --bundles="$MIX/bundles" --content-url="file://$MIX/update/www" >/dev/null
	# small worlds are made of directories and of packages of their own
	cat >"$MIX/mixer.conf" <<-END
		[mix]
		bundles = $MIX/bundles
		cache = $MIX/cache
		[publish]
		content-url = file://$MIX/update/www
		[repository local]
		path = local-debs
		[sign]
		certificate = Swupd_Root.pem
		key = private.pem
	END
	: >"$MIX/mixbundles"
	export MIX
}

# bundle NAME [LINE…]: (re)write a definition; the tree $MIX/bundles/tree/NAME is its content when it exists
bundle()
{
	local name=$1
	shift
	{
		printf '# [TITLE]: %s\n# [DESCRIPTION]: %s\n# [STATUS]: Active\n# [CAPABILITIES]: test\n# [MAINTAINER]: test\n' \
			"$name" "$name"
		[ "$name" = os-core ] || echo 'include(os-core)'
		[ ! -d "$MIX/bundles/tree/$name" ] || echo "content(tree/$name)"
		[ $# = 0 ] || printf '%s\n' "$@"
	} >"$MIX/bundles/$name"
	mixer -C "$MIX" bundle add "$name" >/dev/null 2>&1 || true
}

# content BUNDLE PATH TEXT: a file of its tree
content()
{
	mkdir -p "$MIX/bundles/tree/$1/$(dirname "$2")"
	printf '%s' "$3" >"$MIX/bundles/tree/$1/$2"
}

# copy_tools CACHE SET: the packages of this set of tools, so that another cache needs no network; those of sets that were not used
# need not be in ours
copy_tools()
{
	local hash hashes
	hashes=$(awk -v set="$2" '$1 == "package" { hash[$2] = $5 }
		$1 == "bundle" && $2 == set { for (i = 3; i <= NF; i++) print hash[$i] }' "$MIX/tools.lock")
	[ -n "$hashes" ] || return
	mkdir -p "$1/debs"
	for hash in $hashes; do
		cp "/var/cache/limpid/debs/$hash.deb" "$1/debs/" || return
	done
}

# release: lock and build the next one; its number is in $RELEASE
release()
{
	mixer -C "$MIX" lock >/dev/null || [ $? = 3 ]
	mixer -C "$MIX" build "$@" >"$MIX/build.log" 2>&1 || { cat "$MIX/build.log"; return 1; }
	RELEASE=$(cat "$MIX/update/www/version/format30/latest")
	export RELEASE
}

# machine NAME: sets ROOT and SWUPD (an array) for a machine of that name with a cache of its own
machine()
{
	ROOT=$BATS_TEST_TMPDIR/$1/root
	mkdir -p "$BATS_TEST_TMPDIR/$1/cache"
	SWUPD_GLOBAL=(-p "$ROOT" -K "$BATS_TEST_TMPDIR/$1/cache" -u "${URL:-file://$MIX/update/www}" -F "${FORMAT:-30}"
		-C "${CERT:-$MIX/Swupd_Root.pem}" -N --no-progress)
}

# disk TYPE [MIB]: the machine's root on a file system of its own, $LOOP, for teardown to unmount; btrfs-subvolume: /usr is one
disk()
{
	local type=${1%-subvolume}
	rm -f "$BATS_TEST_TMPDIR/disk"
	truncate -s "${2:-256}M" "$BATS_TEST_TMPDIR/disk"
	"mkfs.$type" -q "$BATS_TEST_TMPDIR/disk"
	mkdir -p "$ROOT"
	mount -o loop "$BATS_TEST_TMPDIR/disk" "$ROOT" || skip "cannot mount $type"
	LOOP=$ROOT
	rm -rf "$ROOT/lost+found"
	[ "$type" = "$1" ] || btrfs -q subvolume create "$ROOT/usr"
}

# roots [MIB]: the machine's root is one of several in the top level of a btrfs ($TOPLEVEL, for teardown to unmount), as our hosts have it
roots()
{
	local name
	TOPLEVEL=$BATS_TEST_TMPDIR/top
	truncate -s "${1:-256}M" "$BATS_TEST_TMPDIR/disk"
	mkfs.btrfs -q "$BATS_TEST_TMPDIR/disk" 2>/dev/null
	mkdir -p "$ROOT" "$TOPLEVEL"
	mount -o loop "$BATS_TEST_TMPDIR/disk" "$TOPLEVEL" || skip "cannot mount btrfs"
	DEVICE=$(findmnt -no SOURCE "$TOPLEVEL")
	for name in root etc var home roothome srv; do
		btrfs -q subvolume create "$TOPLEVEL/$name"
	done
	mkdir "$TOPLEVEL"/root/{etc,var,home,root,srv,run}
	enter root
}

# enter NAME: the machine runs in that root, as our initrd mounts it
enter()
{
	! mountpoint -q "$ROOT" || umount -R "$ROOT"
	mount -o "subvol=$1" "$DEVICE" "$ROOT"
	local name
	for name in etc var home srv; do
		mount -o "subvol=$name" "$DEVICE" "$ROOT/$name"
	done
	mount -o subvol=roothome "$DEVICE" "$ROOT/root"
	mount -t tmpfs tmpfs "$ROOT/run"
	mkdir -p "$ROOT/run/limpid"
	echo "$1" >"$ROOT/run/limpid/root"
}

# boot: what the initrd does (initramfs/README.md)
boot()
{
	local link left tried
	for link in "$TOPLEVEL"/.swupd/try+*; do
		[ -L "$link" ] || continue
		left=${link##*+} tried=0
		case $left in *-*) tried=${left#*-} left=${left%-*} ;; esac
		if [ "$left" -gt 0 ]; then
			mv -T "$link" "$TOPLEVEL/.swupd/try+$((left - 1))-$((tried + 1))"
			enter "$(readlink "$TOPLEVEL/.swupd/try+$((left - 1))-$((tried + 1))")"
			: >"$ROOT/run/limpid/trial"
			return
		fi
	done
	if [ -L "$TOPLEVEL/.swupd/good" ]; then
		enter "$(readlink "$TOPLEVEL/.swupd/good")"
	else
		enter root
	fi
}

# sw COMMAND [ARG…]: swupd on that machine
sw()
{
	local command=$1
	shift
	swupd "$command" "${SWUPD_GLOBAL[@]}" "$@"
}

# vectors NAME [TREE]: a machine of that name for what the predecessor's mixer made (tests/vectors/README.md)
vectors()
{
	URL=file://${2:-$VECTORS/www}
	CERT=$VECTORS/cert/Swupd_Root.pem
	machine "$1"
}

# as_installed TSV: the root is what the predecessor's client left, path by path
as_installed()
{
	(
		cd "$ROOT" || exit
		find . -mindepth 1 \( -path ./var/lib/swupd -o -path ./var/tmp -o -path ./.usr-old \) -prune -o -printf '/%P\t%y\t%m\t%U\t%G\n' |
			sed 's/\tf\t/\tF\t/; s/\td\t/\tD\t/; s/\tl\t\([0-7]*\)\t/\tL\t\1\t/'
	) | LC_ALL=C sort >"$BATS_TEST_TMPDIR/have"
	tail -n +2 "$VECTORS/installed-state/$1" | cut -f 1-5 | LC_ALL=C sort >"$BATS_TEST_TMPDIR/want"
	diff "$BATS_TEST_TMPDIR/want" "$BATS_TEST_TMPDIR/have" || return
	tail -n +2 "$VECTORS/installed-state/$1" | while IFS=$'\t' read -r path kind _ _ _ _ _ hash; do
		[ "$(swupd hashdump "$ROOT$path")" = "$hash" ] || { echo "$path ($kind) differs"; return 1; }
	done
}

# install_10 [OPTION…]: the installation that the states after updates begin from
install_10()
{
	sw os-install -I -V 10 -B os-core-update,editors,libs "$@"
}

# forge [TREE]: a copy of the predecessor's tree in $WEB that is signed by a key of ours, so that a test can be the builder, or a thief of
# its key. After changes: resign.
forge()
{
	WEB=$BATS_TEST_TMPDIR/web
	KEY=$BATS_TEST_TMPDIR/key.pem
	CERT=$BATS_TEST_TMPDIR/cert.pem
	cp -r "${1:-$TOP/tests/vectors/www}" "$WEB"
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 36500 -subj "/CN=forge" -keyout "$KEY" \
		-out "$CERT" 2>/dev/null
	for release in "$WEB"/[0-9]*; do
		resign "${release##*/}"
	done
	sign "$WEB/version/latest_version" "$WEB/version/format30/latest"
	URL=file://$WEB
}

# sign FILE…: FILE.sig, detached, in DER, by $KEY
sign()
{
	local file
	for file; do
		openssl cms -sign -binary -noattr -outform DER -signer "$CERT" -inkey "$KEY" -in "$file" -out "$file.sig"
	done
}

# resign RELEASE [BUNDLE…]: after the texts of these manifests were changed: counts, hashes, signature, tars
resign()
{
	local dir=$WEB/$1 bundle hash
	for bundle in "${@:2}"; do
		recount "$dir/Manifest.$bundle"
		relist "$1" "$bundle"
	done
	recount "$dir/Manifest.MoM"
	sign "$dir/Manifest.MoM"
	tar -C "$dir" --owner=0 --group=0 --mode=644 -cf "$dir/Manifest.MoM.tar" Manifest.MoM Manifest.MoM.sig
}

# relist RELEASE BUNDLE: the tar of its manifest, and its hash in the MoM
relist()
{
	local dir=$WEB/$1 hash
	chmod 644 "$dir/Manifest.$2"
	hash=$(swupd hashdump "$dir/Manifest.$2")
	sed -i -E "s/^(....)\t[0-9a-f]{64}\t[0-9]+\t$2\$/\1\t$hash\t$1\t$2/" "$dir/Manifest.MoM"
	tar -C "$dir" --owner=0 --group=0 -cf "$dir/Manifest.$2.tar" "Manifest.$2"
	rm -f "$dir/Manifest-$2-delta-from-"*
}

recount()
{
	sed -i -E "s/^(filecount:\t).*/\1$(sed '1,/^$/d' "$1" | wc -l)/" "$1"
}

# new_release NUMBER FROM [BUNDLE…]: one that differs from FROM in nothing yet; it has manifests of its own of these bundles and os-core
new_release()
{
	local to=$1 from=$2 bundle
	mkdir -p "$WEB/$to/files"
	for bundle in MoM os-core "${@:3}"; do
		sed -E "s/^version:.*/version:\t$to/; s/^previous:.*/previous:\t$from/" \
			"$WEB/$from/Manifest.$bundle" >"$WEB/$to/Manifest.$bundle"
	done
	printf 'NAME=Forged\nID=forged\nVERSION_ID=%s\n' "$to" >"$BATS_TEST_TMPDIR/os-release"
	publish "$to" os-core /usr/lib/os-release "$BATS_TEST_TMPDIR/os-release"
	resign "$to" os-core "${@:3}"
	printf '%s' "$to" | tee "$WEB/version/latest_version" >"$WEB/version/format30/latest"
	sign "$WEB/version/latest_version" "$WEB/version/format30/latest"
}

# list RELEASE BUNDLE PATH FLAGS HASH: the line of a path in a manifest
list()
{
	local manifest=$WEB/$1/Manifest.$2
	awk -v path="$3" -F '\t' '$4 != path' "$manifest" >"$manifest.new"
	printf '%s\t%s\t%s\t%s\n' "$4" "$5" "$1" "$3" >>"$manifest.new"
	mv "$manifest.new" "$manifest"
}

# publish RELEASE BUNDLE PATH FILE: list this file, link or directory there, and make its fullfile
publish()
{
	local kind=F hash
	[ ! -d "$4" ] || kind=D
	[ ! -L "$4" ] || kind=L
	hash=$(swupd hashdump "$4")
	list "$1" "$2" "$3" "$kind..." "$hash"
	fullfile "$WEB/$1/files/$hash.tar" "$4" "$hash"
}

# fullfile TAR FILE NAME [OPTION…]: a tar of FILE under NAME
fullfile()
{
	tar -C "$(dirname "$2")" --no-recursion --numeric-owner --transform="s|.*|$3|S" "${@:4}" -cf "$1" "$(basename "$2")"
}

# unlist RELEASE BUNDLE PATH: it is gone since that release
unlist()
{
	list "$1" "$2" "$3" .d.. 0000000000000000000000000000000000000000000000000000000000000000
}
