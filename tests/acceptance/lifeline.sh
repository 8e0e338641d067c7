#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The lifeline: under an empty policy in enforce everywhere, also on the controller's own host, the
# agents stay connected, come back after a restart and after kill -9, and the command line works;
# everything else is denied, and enforce outlives the agent.
set -u
. "$(dirname "$0")/lib.sh"
lib_start life

lib_host ctl 1
lib_host far 2
lib_host out 3
lib_controller ctl
lib_recorder ctl
lib_agent ctl
lib_agent far
lib_spawn http-far nsenter --net="/run/netns/prt-$lib_name-far" \
	busybox httpd -f -vv -p 9001 -h "$lib_source/doc"

reach() { lib_in "$1" curl -s -o /dev/null --connect-timeout 1 -m 2 http://192.168.7.2:9001/protocol.md; }
heard_since() { # HOST MOMENT: has the controller heard of it after that
	local reported
	reported=$(lib_pr hosts --json | grep "\"name\": *\"$1\"" |
		sed -n 's/.*"reported": *"\([^"]*\)".*/\1/p')
	[[ "$reported" > "$2" ]]
}
moment() { date -u +%Y-%m-%dT%H:%M:%S.999Z; }

reach out
ok $? "before: a stranger's connection passes (observe)"

echo 'mode enforce default' >"$lib_data/policy"
lib_commit "$lib_data/policy" "close everything"
lib_until 5 lib_enforced ctl && lib_until 5 lib_enforced far
ok $? "both agents are in enforce, also the one on the controller's host"
! reach out
ok $? "a stranger's connection is denied"
! lib_in far curl -s -o /dev/null --connect-timeout 1 -m 2 http://192.168.7.3:1/
ok $? "and so is one of the host itself"
lib_pr status >/dev/null 2>&1
ok $? "portreeve status works on the closed host"
lib_pr events -n 5 --json 2>/dev/null | grep -q '"verdict":"denied"'
ok $? "and so does portreeve events: the denials are recorded"

for how in TERM KILL; do
	lib_stop agent-far $how
	! reach out
	ok $? "agent ended by SIG$how: the host stays closed"
	then=$(moment)
	lib_agent_run far
	lib_until 10 heard_since far "$then"
	ok $? "started again after SIG$how it is heard again: its own SYNs are exempt"
	! reach out
	ok $? "and the host is still closed"
done

# The controller's host: its agent restarts while it is closed.
lib_stop agent-ctl KILL
lib_pr hosts >/dev/null 2>&1
ok $? "the command line works while the controller's host has no agent"
then=$(moment)
lib_agent_run ctl
lib_until 10 heard_since ctl "$then" && lib_until 3 heard_since far "$then"
ok $? "its agent comes back, and the other host was never cut off"

lib_stop controller KILL
lib_until 5 lib_gone_name portreeve-controller
lib_controller_run
then=$(moment)
lib_until 15 heard_since far "$then"
ok $? "the controller restarts on its closed host and hears the agents"

printf 'mode enforce default\nrule 1 allow from 192.168.7.3 to host far tcp/9001\n' >"$lib_data/policy"
lib_commit "$lib_data/policy" "open one door"
lib_until 3 reach out
ok $? "a rule opens one door"
lib_pr mode observe default >/dev/null 2>&1
lib_until 5 lib_observed far
ok $? "back to observe by one command"
reach out
ok $? "and everything passes again"
