#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# fresh.sh [TARGET…]: 'make TARGET' (release and check) from a fresh clone in a fresh Debian 12 root with nothing but git
# and make, as a newcomer would. The root is made with mmdebstrap from the machine's own apt sources; needs root.
# KEEP=1 leaves it. CACHE=DIR is used as /var/cache/limpid there (default: none, so everything is downloaded).
set -euo pipefail
top=$(cd "$(dirname "$0")/.." && pwd)
targets=("$@")
[ $# != 0 ] || targets=(release check)
command -v mmdebstrap >/dev/null || { echo "fresh.sh: mmdebstrap is missing: run ci/setup" >&2; exit 1; }
root=$(mktemp -d "${TMPDIR:-/var/tmp}/limpid-fresh.XXXXXX")

# shellcheck disable=SC2317 # it is called by the trap
cleanup()
{
	local dir
	for dir in var/cache/limpid dev/shm dev/pts dev sys proc; do
		! mountpoint -q "$root/$dir" || umount -R "$root/$dir"
	done
	! mountpoint -q "$root" || umount "$root"
	if [ -n "${KEEP:-}" ]; then
		echo "kept: $root"
	else
		rm -rf --one-file-system "$root"
	fi
}
trap cleanup EXIT

echo "== a fresh Debian 12 in $root"
# the archive is the machine's own; only the suites of Debian 12
# shellcheck disable=SC2016 # apt's variables
uri=$(apt-get indextargets --format '$(REPO_URI) $(ORIGIN) $(LABEL) $(CODENAME)' | awk '$2 == "Debian" && $3 == "Debian" { print $1; exit }')
# shellcheck disable=SC2016
security=$(apt-get indextargets --format '$(REPO_URI) $(ORIGIN) $(LABEL)' | awk '$3 == "Debian-Security" { print $1; exit }')
sources=("deb $uri bookworm main" "deb $uri bookworm-updates main")
[ -z "$security" ] || sources+=("deb $security bookworm-security main")
proxy=$(apt-config dump --format '%v%n' Acquire::http::Proxy | head -n 1)
# a mount point, as / of a machine or a container is: programs change how mounts below it spread
mount --bind "$root" "$root" && mount --make-private "$root"
mmdebstrap --mode=root --variant=minbase --include=git,make,ca-certificates bookworm "$root" "${sources[@]}" 2>/dev/null
[ -z "$proxy" ] || echo "Acquire::http::Proxy \"$proxy\";" >"$root/etc/apt/apt.conf.d/90proxy"
cp -L /etc/resolv.conf "$root/etc/resolv.conf" 2>/dev/null || true
cp -L /etc/hosts "$root/etc/hosts" 2>/dev/null || true

mount -t proc proc "$root/proc"
mount --rbind /sys "$root/sys" && mount --make-rslave "$root/sys"
mount --rbind /dev "$root/dev" && mount --make-rslave "$root/dev"
if [ -n "${CACHE:-}" ]; then
	mkdir -p "$CACHE" "$root/var/cache/limpid"
	mount --bind "$CACHE" "$root/var/cache/limpid"
fi

echo "== a fresh clone"
git -c safe.directory='*' clone -q "$top" "$root/root/limpid"
status=0
for target in "${targets[@]}"; do
	echo "== make $target"
	chroot "$root" env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 \
		${http_proxy:+http_proxy="$http_proxy"} make -C /root/limpid "$target" || { status=1; echo "make $target failed"; }
done
exit $status
