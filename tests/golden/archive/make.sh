#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# How the files of this folder were made: a Debian archive with two packages, signed at several times. Needs gpg; the tests need only the
# results (and gpgv). Running it again gives other keys, so all files change together.
set -eu
cd "$(dirname "$0")"
home=$(mktemp -d)
trap 'rm -rf "$home"' EXIT
run_gpg()
{
	gpg --homedir "$home" --batch --quiet --faked-system-time 20260101T000000! --pinentry-mode loopback \
		--passphrase '' "$@" 2>/dev/null
}
for name in archive stranger; do
	run_gpg --quick-generate-key "$name <$name@localhost>" rsa2048 sign never
done
run_gpg --export archive >keyring.gpg

printf 'the package a' >a_1_amd64.deb
printf 'the package b, version 2' >b_2_all.deb
: >Packages
for file in a_1_amd64.deb b_2_all.deb; do
	name=${file%%_*} rest=${file#*_}
	arch=${rest#*_}
	cat >>Packages <<-END
		Package: $name
		Version: ${rest%%_*}
		Architecture: ${arch%.deb}
		Depends: $([ "$name" = a ] && echo b)
		Filename: pool/main/$file
		Size: $(wc -c <$file)
		SHA256: $(sha256sum <$file | cut -d' ' -f1)

	END
done
xz -9 -f -k Packages

# release FILE KEY DATE [FIELD…]
release()
{
	out=$1 key=$2 date=$3
	shift 3
	{
		printf 'Origin: Test\nSuite: stable\nCodename: trial\nDate: %s\nAcquire-By-Hash: yes\n' "$date"
		printf 'Architectures: amd64\nComponents: main\n'
		[ $# = 0 ] || printf '%s\n' "$@"
		echo 'SHA256:'
		for f in Packages Packages.xz; do
			echo " $(sha256sum <$f | cut -d' ' -f1) $(wc -c <$f) main/binary-amd64/$f"
		done
	} >"$home/text"
	run_gpg --local-user "$key" --digest-algo SHA256 --clearsign --output - "$home/text" >"$out"
}
release InRelease archive 'Thu, 01 Jan 2026 00:00:00 UTC' 'Valid-Until: Tue, 01 Jan 2036 00:00:00 UTC'
release InRelease.newer archive 'Mon, 01 Jun 2026 00:00:00 UTC' 'Valid-Until: Tue, 01 Jan 2036 00:00:00 UTC'
release InRelease.expired archive 'Thu, 01 Jan 2026 00:00:00 UTC' 'Valid-Until: Thu, 08 Jan 2026 00:00:00 UTC'
release InRelease.stranger stranger 'Thu, 01 Jan 2026 00:00:00 UTC'
