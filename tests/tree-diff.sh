#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# tree-diff.sh A B: are two trees the same, file by file (type, mode, owner, content, extended attributes)?
set -eu
BATS_TEST_DIRNAME=$(cd "$(dirname "$0")/func" && pwd)
load() { :; }
bats_require_minimum_version() { :; }
# shellcheck source=tests/func/lib.bash
. "$BATS_TEST_DIRNAME/lib.bash"
same_tree "$1" "$2"
