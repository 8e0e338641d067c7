# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# tests/tools/stranger.py, another implementation of the protocol, on a host of its own; sourced after
# lib.sh by strangers.sh and identity-bad-input.sh.

stranger_on() { # stranger_on HOST: its keys lie in $folder
	stranger_host=$1
	folder=$lib_data/stranger
	mkdir -p "$folder"
}

stranger() { # stranger COMMAND...: its lines become results
	lib_results lib_in "$stranger_host" timeout 60 /usr/bin/python3 \
		"$lib_source/tests/tools/stranger.py" "$@" 2>>"$lib_data/stranger.err" ||
		ok 1 "stranger.py $1 came to its end (see stranger.err)"
}
