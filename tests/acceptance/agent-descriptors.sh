#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Containers come and go, in observe, in enforce and in observe again: the agent watches each and
# keeps nothing of those that have gone, neither descriptors nor namespaces.
. "$(dirname "$0")/lib.sh"
lib_start fds

containers=${CONTAINERS:-20}

# All of the agent's.
open_count() { find "/proc/$agent/fd" -mindepth 1 | wc -l; }
active_count() { lib_pr hosts --json | grep '"image": *"prt-busybox"' | grep -c '"status": *"active"'; }
watched_all() { [ "$(active_count)" = "$containers" ]; }
watched_none() { [ "$(active_count)" = 0 ]; }
few_open() { [ "$(open_count)" -le $((before + 4)) ]; }

policy() { # policy LINE...
	printf '%s\n' "$@" >"$lib_data/policy"
	lib_pr policy commit --force -m test "$lib_data/policy" >>"$lib_data/commit.out" 2>&1
}

round() { # round NAME
	local i
	for i in $(seq 1 "$containers"); do
		lib_docker dock run -d --name "c$i" prt-busybox sleep 1000 >/dev/null
	done
	lib_until 10 watched_all
	ok $? "$1: $containers containers are watched"
	[ "$(open_count)" -ge $((before + 3 * containers)) ]
	ok $? "$1: with descriptors of their own: $(open_count), $before before"
	for i in $(seq 1 "$containers"); do
		lib_docker dock rm -f "c$i" >/dev/null
	done
	lib_until 10 watched_none
	ok $? "$1: all have gone"
	# A hint, the spool's next file and the host's queue may have come since.
	lib_until 10 few_open
	ok $? "$1: and so have their descriptors: $(open_count), $before before"
}

lib_host ctl 1
lib_host dock 2
lib_controller ctl
lib_recorder ctl
lib_engine dock
lib_agent dock "$lib_run/dock.docker"
agent=$(lib_pid_of agent-dock)
# Its eBPF programs come half a second or more after it, with descriptors of their own.
loaded() {
	local status
	status=$(lib_pr status --json) || return 1
	[[ $status == *'"attribution"'* && $status != *'is being loaded'* ]]
}
lib_until 20 loaded
ok $? "the agent is through with its start"
sleep 1
before=$(open_count)

round observe
policy 'mode enforce default' 'rule 10 allow from any to any any'
ok $? "enforce"
sleep 1
round enforce
policy 'mode observe default'
ok $? "observe again"
sleep 1
round "observe again"
kill -0 "$agent"
ok $? "the agent lives"
! grep -qE 'error|AddressSanitizer|runtime error' "$lib_data/agent-dock.log"
ok $? "and has no error to tell"
