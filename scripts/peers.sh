# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Sourced by ./check after dependencies.sh: what portreeve-bench measures itself against, fetched into
# the build folder. Nothing is installed, started or enabled.
#
#	peers_opensnitch FOLDER		Debian's package, unpacked: FOLDER/root/usr/bin/opensnitchd
#	peers_cedar FOLDER SOURCE	the npm package and the script that runs it

peers_opensnitch() { # FOLDER
	[ ! -x "$1/root/usr/bin/opensnitchd" ] || return 0
	rm -rf "$1"
	dependencies_unpack "$1" opensnitch
}

peers_cedar() { # FOLDER SOURCE
	local name
	mkdir -p "$1" || return 1
	for name in package.json package-lock.json .npmrc cedar.mjs; do
		cp "$2/bench/cedar/$name" "$1/$name" || return 1
	done
	[ ! -d "$1/node_modules/@cedar-policy" ] || return 0
	(cd "$1" && npm ci --no-audit --no-fund)
}
