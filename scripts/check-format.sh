#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Every C file is as clang-format would write it. TAP.
set -eu
root=${1:-${srcdir:-.}}
# shellcheck source=scripts/files.sh
. "$(dirname "$0")/files.sh"

if ! command -v clang-format >/dev/null; then
	echo "1..0 # SKIP clang-format is not installed: ./check --deps installs it"
	exit 0
fi
cd "$root"
out=$(project_c_files . | tr '\n' '\0' | xargs -0 -r clang-format --dry-run -Werror 2>&1 || true)
bad=$(printf '%s\n' "$out" | sed -n 's/^\([^:]*\):[0-9]*:[0-9]*: error:.*/\1/p' | sort -u)
count=0
for file in $bad; do
	count=$((count + 1))
	echo "not ok $count - $file is formatted: run clang-format -i $file"
done
if [ "$count" -eq 0 ] && [ -n "$out" ]; then
	printf '%s\n' "$out" | sed 's/^/# /'
	echo "not ok 1 - clang-format ran"
	echo 1..1
	exit 1
fi
if [ "$count" -eq 0 ]; then
	count=1
	echo "ok 1 - $(project_c_files . | wc -l) C files are formatted"
fi
echo "1..$count"
[ -z "$bad" ]
