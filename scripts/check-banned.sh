#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Calls that nobody may use, and C++ comments. TAP: one result a call.
set -eu
root=${1:-${srcdir:-.}}
# shellcheck source=scripts/files.sh
. "$(dirname "$0")/files.sh"

# call, then what to use instead
banned='
sprintf   snprintf
vsprintf  vsnprintf
strcpy    memcpy with a checked length
strcat    snprintf
strncpy   memcpy with a checked length
strncat   snprintf
atoi      strtoull or a parser with bounds
atol      strtoull or a parser with bounds
atoll     strtoull or a parser with bounds
rand      getrandom, or a seeded generator of the test
srand     a seeded generator of the test
gets      getline
strtok    strsep
system    the library that does it: no shell-outs
popen     the library that does it: no shell-outs
alloca    an array with a fixed size
tmpnam    mkstemp
mktemp    mkstemp
'
cd "$root"
# Without comments and strings, "file:line:code".
code=$(project_c_files . | tr '\n' '\0' | xargs -0 -r awk '
	FNR == 1 { inside = 0 }
	{
		line = $0
		gsub(/\\"/, "", line)
		gsub(/"[^"]*"/, "\"\"", line)
		gsub(/\/\*([^*]|\*[^\/])*\*\//, "", line)
		if (inside) {
			if (line !~ /\*\//) { next }
			sub(/.*\*\//, "", line)
			inside = 0
		}
		if (line ~ /\/\*/) {
			sub(/\/\*.*/, "", line)
			inside = 1
		}
		print FILENAME ":" FNR ":" line
	}')
count=0
failed=0
report() { # HITS NAME
	count=$((count + 1))
	if [ -z "$1" ]; then
		echo "ok $count - $2"
	else
		echo "not ok $count - $2"
		printf '%s\n' "$1" | head -20 | sed 's/^/# /'
		failed=1
	fi
}
while read -r call instead; do
	[ -n "$call" ] || continue
	hits=$(printf '%s\n' "$code" | grep -E "(^|[^A-Za-z0-9_.>])${call}[[:space:]]*\(" || true)
	report "$hits" "no $call(): $instead"
done <<-END
	$banned
END
hits=$(printf '%s\n' "$code" | grep -E '(^|[[:space:];{}])//' || true)
report "$hits" "no // comments"
echo "1..$count"
exit $failed
