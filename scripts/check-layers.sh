#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Who may include whom (doc/ARCHITECTURE.md). TAP: one result a component, one for the folders, one
# for the three parts of the agent. A new edge is a change of doc/ARCHITECTURE.md first.
set -eu
root=${1:-${srcdir:-.}}
# shellcheck source=scripts/files.sh
. "$(dirname "$0")/files.sh"

# Every top-level folder: a component with what it may include of ours, or "-" (no C files).
folders='
base:       base
codec:      codec base
bus:        bus base
store:      store codec base
policy:     policy codec base
agent:      agent policy bus codec base
controller: controller policy store bus codec base
recorder:   recorder store policy bus codec base
cli:        cli policy bus codec base
console:    console policy bus codec base
bench:      bench agent policy store bus codec base
tests:      tests agent controller recorder cli console bench policy store bus codec base
scripts:    -
doc:        -
packaging:  -
m4:         -
.ci:        -
'

# Headers that may cross a component's border, as patterns. Tests of X itself and fuzz
# targets may include all of X.
public='
agent/keeper/origin.h
agent/keeper/owner.h
base/*.h
bus/bus.h
codec/codec.h
codec/msg.def
policy/policy.h
policy/change.h
policy/expect.h
policy/merge.h
policy/query.h
policy/reach.h
store/history.h
store/store.h
'

# Foreign headers: pattern, then the components that may include them.
foreign='
lmdb.h                   store bench tests
zmq.h                    bus bench tests
czmq.h                   bus bench tests
sodium.h                 bus tests
sodium/*                 bus tests
msgpack.h                codec tests
msgpack/*                codec tests
libnetfilter_queue/*     agent bench tests
libnetfilter_log/*       agent bench tests
libnetfilter_conntrack/* agent bench tests
libnfnetlink/*           agent bench tests
libnftnl/*               agent bench tests
libmnl/*                 agent bench tests
linux/netfilter*         agent bench tests
curl/*                   agent tests
cap-ng.h                 agent tests
bpf/*                    agent tests
jansson.h                agent policy cli console tests
uuid/*                   base
'

count=0
failed=0

result() { # PROBLEMS NAME
	count=$((count + 1))
	if [ -z "$1" ]; then
		echo "ok $count - $2"
	else
		echo "not ok $count - $2"
		printf '%s\n' "$1" | sed '/^$/d; s/^/# /'
		failed=1
	fi
}

files=$(project_files "$root")

# Folders: listed, and without C files where none belong.
problems=''
for folder in $(printf '%s\n' "$files" | sed -n 's,/.*,,p' | sort -u); do
	line=$(printf '%s' "$folders" | awk -v f="$folder:" '$1 == f { print $2 }')
	[ "$folder" != build-aux ] || continue
	if [ -z "$line" ]; then
		problems="$problems
$folder/ is not a folder of the design"
	elif [ "$line" = - ] && printf '%s\n' "$files" | grep -q "^$folder/.*\.[ch]$"; then
		problems="$problems
$folder/ holds C files"
	fi
done
for file in $(printf '%s\n' "$files" | grep '^[^/]*\.[ch]$' || true); do
	[ "$file" = config.h ] || problems="$problems
$file lies in no folder"
done
result "$problems" "every folder is one of the design"

# All includes at once: component|file|line|quote or angle|target
includes=$(cd "$root" && project_c_files . | tr '\n' '\0' |
	xargs -0 -r grep -nHE '^[[:space:]]*#[[:space:]]*include[[:space:]]*["<]' -- 2>/dev/null |
	sed -E 's,^([^:/]*)(/[^:]*):([0-9]+):[^"<]*(["<])([^">]*)[">].*,\1|\1\2|\3|\4|\5,')

# shellcheck disable=SC2016
judge='
function matches(text, pattern,   prefix) {
	if (pattern ~ /\*/) {
		prefix = substr(pattern, 1, index(pattern, "*") - 1)
		return substr(text, 1, length(prefix)) == prefix
	}
	return text == pattern
}
function folder_of(path,   parts) {
	split(path, parts, "/")
	return parts[1]
}
function complain(why) {
	print $2 ":" $3 ": " why
}
BEGIN {
	FS = "|"
	split(may_list, words, " ")
	for (i in words) { may[words[i]] = 1 }
	split(all_list, words, " ")
	for (i in words) { ours[words[i]] = 1 }
	public_count = split(public_list, publics, " ")
	foreign_count = split(foreign_list, foreigns, ";")
}
$1 != component { next }
$4 == "<" {
	if (folder_of($5) in ours && $5 ~ /\//) {
		complain("<" $5 "> of ours belongs in quotes")
	}
	for (i = 1; i <= foreign_count; i++) {
		words_count = split(foreigns[i], words, " ")
		if (!matches($5, words[1])) { continue }
		allowed = 0
		for (j = 2; j <= words_count; j++) { allowed = allowed || words[j] == component }
		if (!allowed) { complain(component "/ may not include <" $5 ">") }
	}
	next
}
{
	target = folder_of($5)
	if ($5 !~ /\//) { complain("\"" $5 "\" is not written from the root"); next }
	if ($5 ~ /\.\.\//) { complain("\"" $5 "\" climbs out"); next }
	if (!(target in may)) { complain(component "/ may not include \"" $5 "\""); next }
	if (target == component) { next }
	# The tests of a component itself, and fuzz targets, may look inside it.
	own_test = component == "tests" && (index($2, "tests/" target "/") == 1 || index($2, "tests/fuzz/") == 1)
	if (own_test) { next }
	if ($5 ~ /\/internal\.h$/ || $5 ~ /_internal\.h$/) {
		complain("\"" $5 "\" never leaves its folder"); next
	}
	# Daemons and programs have no public header, for nobody but tests includes them.
	if (component == "tests" && target ~ /^(agent|controller|recorder|cli|console|bench)$/) { next }
	for (i = 1; i <= public_count; i++) {
		if (matches($5, publics[i])) { next }
	}
	complain("\"" $5 "\" is not a public header of " target "/")
}
'
components=$(printf '%s' "$folders" | awk -F: 'NF && $2 !~ /-/ { print $1 }')
for component in $components; do
	[ -d "$root/$component" ] || continue
	may=$(printf '%s' "$folders" | sed -n "s/^$component: *//p")
	problems=$(printf '%s\n' "$includes" | awk -v component="$component" -v may_list="$may" \
		-v all_list="$(echo $components)" -v public_list="$(echo $public)" \
		-v foreign_list="$(printf '%s' "$foreign" | sed '/^$/d' | tr '\n' ';')" "$judge")
	result "$problems" "$component/ includes only what it may"
done

# The parts of the agent: agent/part.h and their own folder, nothing else of agent/; and part.h
# brings no part in. The joining code in agent/ itself may see all of them.
# shellcheck disable=SC2016
problems=$(printf '%s\n' "$includes" | awk -F'|' '
$1 != "agent" || $4 != "\"" || $5 !~ /^agent\// { next }
{
	split($2, from, "/")
	split($5, to, "/")
	inside = $2 ~ /^agent\/[^\/]*\//
	part = $5 ~ /^agent\/[^\/]*\//
	if (inside && part && from[2] != to[2]) {
		print $2 ":" $3 ": agent/" from[2] "/ may not include \"" $5 "\""
	} else if (inside && !part && $5 != "agent/part.h") {
		print $2 ":" $3 ": of agent/ a part may include agent/part.h alone, not \"" $5 "\""
	} else if ($2 == "agent/part.h" && part) {
		print $2 ":" $3 ": a shared header may not include \"" $5 "\""
	}
}')
result "$problems" "keeper, gate and speaker are apart"
echo "1..$count"
exit $failed
