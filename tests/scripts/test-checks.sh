#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The checks fail when they should: a small tree that passes, then one violation of each kind. TAP.
set -u
srcdir=$(cd "${srcdir:-.}" && pwd)
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
count=0
failed=0

result() { # GOOD NAME
	count=$((count + 1))
	if [ "$1" = yes ]; then
		echo "ok $count - $2"
	else
		echo "not ok $count - $2"
		failed=1
	fi
}

fresh_tree() {
	rm -rf "${tree:?}"/*
	mkdir -p "$tree"/{base,codec,bus,store,policy,agent/keeper,agent/gate,controller,cli,tests/store,doc}
	local head='/* SPDX-License-Identifier: GPL-2.0-or-later */'
	cp "$srcdir/.clang-format" "$tree"
	printf '%s\n#pragma once\n' "$head" | tee "$tree/base/err.h" "$tree/base/internal.h" \
		"$tree/codec/codec.h" "$tree/store/store.h" "$tree/store/internal.h" \
		"$tree/agent/part.h" "$tree/agent/keeper/keeper.h" >"$tree/agent/gate/gate.h"
	printf '%s\n#include <lmdb.h>\n\n#include "base/err.h"\n#include "codec/codec.h"\n' "$head" \
		>"$tree/store/store.c"
	printf '%s\n#include "agent/part.h"\n' "$head" >"$tree/agent/keeper/keeper.c"
	printf '%s\n#include "agent/gate/gate.h"\n#include "agent/keeper/keeper.h"\n' "$head" \
		>"$tree/agent/agent.c"
	printf '%s\n#include "store/store.h"\n' "$head" >"$tree/tests/store/test_store.c"
	printf '# Store\n' >"$tree/doc/store.md"
}

check() { # SCRIPT: its exit status
	bash "$srcdir/scripts/check-$1.sh" "$tree" >"$tree.log" 2>&1
}

passes() { # SCRIPT NAME
	if check "$1"; then result yes "$2"; else
		result no "$2"
		sed 's/^/# /' "$tree.log"
	fi
}

# SCRIPT NAME WORDS: the check fails, and its output has the words.
fails() {
	if check "$1"; then
		result no "$2"
	elif grep -qF -- "$3" "$tree.log" && grep -q '^not ok' "$tree.log"; then
		result yes "$2"
	else
		result no "$2: says '$3'"
		sed 's/^/# /' "$tree.log"
	fi
}

# FILE LINE NAME WORDS: with this line in this file the layer check fails.
layer_fails() {
	fresh_tree
	mkdir -p "$(dirname "$tree/$1")"
	echo "$2" >>"$tree/$1"
	fails layers "$3" "$4"
}

fresh_tree
passes layers 'a good tree has good layers'
passes banned 'a good tree calls nothing that is banned'
passes spdx 'a good tree says its licence'
have_format=no
if command -v clang-format >/dev/null; then
	have_format=yes
	passes format 'a good tree is formatted'
fi

layer_fails codec/x.c '#include "store/store.h"' 'codec may not use store' \
	'codec/x.c:1: codec/ may not include "store/store.h"'
layer_fails base/x.c '#include "codec/codec.h"' 'base may use nothing' 'base/ may not include'
layer_fails bus/x.c '#include "codec/codec.h"' 'bus may not use codec' 'bus/ may not include'
layer_fails cli/x.c '#include "store/store.h"' 'cli may not use store' 'cli/ may not include'
layer_fails agent/x.c '#include "store/store.h"' 'agent may not use store' 'agent/ may not include'
layer_fails controller/x.c '#include "agent/part.h"' 'controller may not use agent' \
	'controller/ may not include'
layer_fails codec/x.c '#  include  "store/store.h"' 'blanks do not hide an include' \
	'codec/ may not include'
layer_fails codec/x.c '#include <lmdb.h>' 'LMDB in store alone' 'codec/ may not include <lmdb.h>'
layer_fails controller/x.c '#include <czmq.h>' 'czmq in bus alone' 'may not include <czmq.h>'
layer_fails agent/x.c '#include <zmq.h>' 'zmq in bus alone' 'may not include <zmq.h>'
layer_fails store/x.c '#include <sodium.h>' 'libsodium in bus alone' 'may not include <sodium.h>'
layer_fails store/x.c '#include <msgpack.h>' 'MessagePack in codec alone' \
	'may not include <msgpack.h>'
layer_fails controller/x.c '#include <libnetfilter_queue/libnetfilter_queue.h>' \
	'netfilter in agent alone' 'controller/ may not include <libnetfilter_queue'
layer_fails cli/x.c '#include <curl/curl.h>' 'curl in agent alone' 'may not include <curl/curl.h>'
layer_fails store/x.c '#include "base/internal.h"' 'internal.h never leaves its folder' \
	'"base/internal.h" never leaves its folder'
layer_fails tests/codec/x.c '#include "store/internal.h"' 'not even into another'\''s tests' \
	'never leaves its folder'
layer_fails controller/x.c '#include "store/table.h"' 'only public headers cross a border' \
	'"store/table.h" is not a public header of store/'
layer_fails store/x.c '#include "store.h"' 'includes are written from the root' \
	'is not written from the root'
layer_fails store/x.c '#include "base/../agent/part.h"' 'includes do not climb' 'climbs out'
layer_fails store/x.c '#include <base/err.h>' 'ours stand in quotes' 'belongs in quotes'
layer_fails agent/gate/gate.c '#include "agent/agent.h"' 'gate may not use the joining code' \
	'of agent/ a part may include agent/part.h alone'
layer_fails agent/gate/gate.c '#include "agent/keeper/keeper.h"' 'gate may not use keeper' \
	'agent/gate/ may not include "agent/keeper/keeper.h"'
layer_fails agent/keeper/x.c '#include "agent/gate/gate.h"' 'keeper may not use gate' \
	'agent/keeper/ may not include'
layer_fails agent/part.h '#include "agent/gate/gate.h"' 'a shared header brings no part in' \
	'a shared header may not include'
layer_fails nobody/x.c 'int x;' 'a folder that is not in the design' \
	'nobody/ is not a folder of the design'
layer_fails nobody/notes.txt 'words' 'even without C files' 'nobody/ is not a folder of the design'
layer_fails doc/x.c 'int x;' 'C files where none belong' 'doc/ holds C files'
layer_fails x.c 'int x;' 'C files in no folder' 'x.c lies in no folder'

for call in sprintf strcpy strcat atoi rand gets strtok system popen; do
	fresh_tree
	printf '\tx = %s (y);\n' "$call" >>"$tree/cli/x.c"
	fails banned "$call() is banned" "cli/x.c:1:"
done
fresh_tree
printf '/* system() and\n * strcpy(a) */\n\tputs("system(1) https://x \\" popen(2)");\n\tmy_system(1);\n' \
	>>"$tree/cli/x.c"
passes banned 'comments, strings and longer names are not calls'
fresh_tree
printf '\tx = 1; // why\n' >>"$tree/cli/x.c"
fails banned 'C++ comments are refused' 'cli/x.c:1:'

fresh_tree
echo 'int x;' >>"$tree/cli/x.c"
fails spdx 'a C file without a licence' 'cli/x.c lacks'
fresh_tree
mkdir -p "$tree/scripts"
printf '#!/bin/sh\necho x\n' >>"$tree/scripts/x.sh"
fails spdx 'a script without a licence' 'scripts/x.sh lacks'

if [ "$have_format" = yes ]; then
	fresh_tree
	printf 'int x( void )\n{ return 1; }\n' >>"$tree/cli/x.c"
	fails format 'an unformatted file' 'cli/x.c is formatted: run clang-format'
else
	count=$((count + 1))
	echo "ok $count # SKIP clang-format is not installed: ./check --deps installs it"
fi
rm -f "$tree.log"
echo "1..$count"
exit $failed
