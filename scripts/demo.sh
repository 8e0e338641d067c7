#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What `quickstart --demo` shows: WordPress on a Docker server, a user who loads its page, and what
# Portreeve sees of it and lets through. Everything lives in network namespaces prt-demo-*, and is
# gone when this ends, also by Ctrl-C.
set -u
root=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=tests/acceptance/lib.sh
. "$root/tests/acceptance/lib.sh"
# shellcheck source=tests/acceptance/story.sh
. "$root/tests/acceptance/story.sh"

bold=''
plain=''
if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then
	bold=$(printf '\033[1m')
	plain=$(printf '\033[0m')
fi
say() { printf '\n%s%s%s\n' "$bold" "$1" "$plain"; }
detail() { printf '  %s\n' "$@"; }
bail() {
	printf 'quickstart: the demo stops here: %s\n  logs: %s\n' "$*" "$lib_data" >&2
	exit 1
}

demo_end() {
	local status=$?
	trap - EXIT
	printf '\ntaking it all down ...\n'
	lib_sweep keep
	exit $status
}

# The table for somebody who sees it the first time.
table() { # SINCE
	lib_pr events 'dst.port:8000,80,3306,22' --since "$1" --json 2>/dev/null |
		"$root/scripts/demo_table.py"
}

now() { date --utc +%FT%T.%3NZ; }

try() { # WHAT, then a command: say how it went
	local what=$1
	shift
	if "$@" >/dev/null 2>&1; then
		printf '  %-62s yes\n' "$what"
	else
		printf '  %-62s no\n' "$what"
	fi
}

commit() { # SOURCE-OF-ROW-TWO [...]: put the policy in force and show its rules
	story_policy "$@"
	lib_commit "$lib_data/policy" "the demo's"
	lib_pr policy list 2>/dev/null | sed 's/^/  /'
}

setting() {
	say '1. The machines: a Docker server (dockersrv), a user (macuser on mymacbook), a controller'
	story_hosts
	if [ ! -s "$story_cache/wordpress.tar" ] || [ ! -s "$story_cache/mariadb.tar" ]; then
		detail 'making the images of WordPress and MariaDB from Debian packages, this once: 1 to 5 minutes'
	fi
	story_engine --iptables=false || bail 'the images could not be made'
	story_mac_user
	detail 'starting WordPress and MariaDB with Docker Compose, and a third container beside them'
	story_up || bail "docker-compose: $(tail -n 1 "$lib_data/compose.log")"
	story_install || bail 'WordPress does not answer'
	detail 'starting the controller, the recorder, and an agent on each of the two machines'
	lib_controller ctl
	lib_recorder ctl
	lib_agent dockersrv "$lib_run/dockersrv.docker"
	story_mac_agent
}

watching() {
	local since
	say '2. macuser opens http://192.168.1.2:8000/. Everything is only watched (observe):'
	since=$(now)
	story_page || bail 'the page does not come'
	sleep 1
	table "$since"
	detail '' 'Every connection, seen from both of its ends: who, with which program, to whom.' \
		'"would be denied": there is no rule yet that allows it.'
}

enforcing() {
	local since
	say '3. Two rules, and the two containers are protected (enforce):'
	commit 'from apache'
	since=$(now)
	printf '\n'
	try 'macuser loads the page' story_page
	try "the third container reaches the database's port" story_greets third "$story_db" 3306 mariadb
	try "the third container reaches the database's SSH server" story_greets third "$story_db" 22 SSH
	sleep 1
	printf '\n'
	table "$since"
	detail '' 'What is only watched passes, and is told: the containers in enforce refuse by themselves.'
}

swapping() {
	say '4. Both containers restart the other way round and swap their addresses:'
	detail "before: apache $(story_address "$story_apache"), database $(story_address "$story_db")"
	lib_docker dockersrv stop -t 2 "$story_apache" "$story_db" >/dev/null
	lib_docker dockersrv start "$story_apache" >/dev/null
	lib_docker dockersrv start "$story_db" >/dev/null
	detail "after:  apache $(story_address "$story_apache"), database $(story_address "$story_db")" ''
	lib_until 20 story_page
	try 'macuser loads the page' story_page
	try "the third container reaches the database's port" story_greets third "$story_db" 3306 mariadb
	detail '' 'Rules name containers, never addresses: nothing had to be changed.'
}

moving() {
	say '5. The user, too: both machines in enforce, one rule for macuser; then he changes networks:'
	commit 'from apache' 'user macuser'
	printf '\n'
	try 'macuser loads the page' story_page
	try 'root on the same machine does' story_load_as 0 "$story_url"
	story_move mymacbook 192.168.2.36
	try 'macuser, now on 192.168.2.36, loads the page' story_page
	lib_in stranger ip -4 address flush dev eth0
	story_move stranger 192.168.1.36
	try 'a stranger who took 192.168.1.36 does' \
		lib_in stranger curl -s -f -L -m 3 -o /dev/null "$story_url"
}

lib_start demo
trap demo_end EXIT
setting
watching
enforcing
swapping
moving
say 'That was it. Watch this machine: sudo ./quickstart. Write rules: doc/policy.md.'
