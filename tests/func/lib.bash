# SPDX-License-Identifier: LGPL-2.1-or-later
# For the functional tests: worlds made by the real mixer, trees compared file by file.
# shellcheck shell=bash disable=SC2154 # bats sets status, output and BATS_*

bats_require_minimum_version 1.5.0
load /usr/lib/bats/bats-support/load.bash
load /usr/lib/bats/bats-assert/load.bash
load /usr/lib/bats/bats-file/load.bash

TOP=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)
export TOP

# tree_list DIR [PATH…]: what a tree is: type, mode, owner, link target or content, extended attributes; lines that begin with
# the path or the content's hash, sorted. State of the updater is left out. With paths: only below those.
tree_list()
{
	local dir=$1
	shift
	local -a state=(\( -path ./usr/.swupd -o -path ./var/lib/swupd -o -path ./var/tmp/swupd \) -prune -o)
	(
		cd "$dir" || exit
		find "${@:-.}" "${state[@]}" \( -type f -printf '%p F %#m %U:%G %s\n' \) -o \
			\( -type l -printf '%p L %U:%G %l\n' \) -o -printf '%p %y %#m %U:%G\n'
		find "${@:-.}" "${state[@]}" -type f -print0 | xargs -0 -r sha256sum -b
		getfattr -R -h -d -m - --absolute-names "${@:-.}" 2>/dev/null
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
	VECTORS=$TOP/tests/vectors
	URL=file://${2:-$VECTORS/www}
	CERT=$VECTORS/cert/Swupd_Root.pem
	machine "$1"
}

# as_installed TSV: the root is what the predecessor's client left, path by path
as_installed()
{
	(
		cd "$ROOT" || exit
		find . -mindepth 1 \( -path ./var/lib/swupd -o -path ./var/tmp \) -prune -o -printf '/%P\t%y\t%m\t%U\t%G\n' |
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

# serve DIR: a real web server (nginx) on loopback; its address in $URL, its access log in $ACCESS
serve()
{
	local dir=$BATS_TEST_TMPDIR/nginx port
	mkdir -p "$dir"
	port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
	ACCESS=$dir/access.log
	cat >"$dir/nginx.conf" <<-END
		worker_processes 1;
		pid $dir/pid;
		error_log $dir/error.log;
		events { worker_connections 256; }
		http {
			default_type application/octet-stream;
			log_format short '\$request_method \$uri \$status \$body_bytes_sent \$bytes_sent \$connection';
			access_log $ACCESS short;
			client_body_temp_path $dir/body; proxy_temp_path $dir/proxy; fastcgi_temp_path $dir/fcgi;
			uwsgi_temp_path $dir/uwsgi; scgi_temp_path $dir/scgi;
			server { listen 127.0.0.1:$port; root $1; }
		}
	END
	chmod 755 "$BATS_TEST_TMPDIR" "$dir"
	nginx -c "$dir/nginx.conf" -p "$dir" -g 'user root;' 3>&- || return
	URL=http://127.0.0.1:$port
	NGINX_PID=$dir/pid
	export URL
}

serve_stop()
{
	[ -z "${NGINX_PID:-}" ] || kill "$(cat "$NGINX_PID")"
}
