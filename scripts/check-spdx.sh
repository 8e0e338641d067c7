#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Every source file says its licence in one of its first three lines. TAP.
set -eu
root=${1:-${srcdir:-.}}
# shellcheck source=scripts/files.sh
. "$(dirname "$0")/files.sh"
cd "$root"

line='SPDX-License-Identifier: GPL-2.0-or-later'
missing=''
total=0
while IFS= read -r file; do
	case $file in
	tests/fuzz/*.in/* | tests/fuzz/*.repro/*) continue ;;
	*.c | *.h | *.def | *.sh | *.py | *.ac | *.am | *.inc | *.m4 | check | quickstart | .ci/run) ;;
	*) continue ;;
	esac
	[ -f "$file" ] || continue
	total=$((total + 1))
	if [[ $(head -n 3 "$file") != *"$line"* ]]; then
		missing="$missing $file"
	fi
done < <(project_files .)
if [ -n "$missing" ] || [ "$total" -eq 0 ]; then
	for file in $missing; do
		echo "# $file lacks: $line"
	done
	echo "not ok 1 - $total source files say their licence"
	echo 1..1
	exit 1
fi
echo "ok 1 - $total source files say their licence"
echo 1..1
