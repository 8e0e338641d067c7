#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# kill -9 of recorder, agent and controller under load, 20 times each (--full: 200): no event that
# was acknowledged is lost, none is there twice, and what never came is shown as a count. Judged by
# the numbers of events: of a load generator that keeps its own log of acknowledgements, and of a
# real agent that watches real connections.
set -u
. "$(dirname "$0")/lib.sh"
kills=20
[ "${1:-}" = --full ] && kills=200
lib_start reckil

lib_host ctl 1
lib_host srv 2
lib_controller ctl
lib_recorder ctl
lib_agent srv

# --- load ---

lib_in ctl "$lib_build/tests/tools/event-load" join "$(lib_token agent load)" "$lib_data/load.key" ||
	bail "the load generator cannot join"
recorder_key=$(sed -n 's/^public[ =:]*//p' "$lib_data/recorder/key")
load_id=$(sed -n 's/^uuid[ =:]*//p' "$lib_data/load.key")
agent_id=$(lib_pr agent list --json | grep '"srv"' | sed -n 's/.*"uuid": *"\([^"]*\)".*/\1/p')
lib_spawn load nsenter --net="/run/netns/prt-$lib_name-ctl" "$lib_build/tests/tools/event-load" \
	tcp://192.168.7.1:7401 "$recorder_key" "$lib_data/load.key" 0 1500
lib_spawn target nsenter --net="/run/netns/prt-$lib_name-ctl" \
	"$lib_build/tests/tools/connect_load" server 192.168.7.1 9000
lib_spawn connections nsenter --net="/run/netns/prt-$lib_name-srv" \
	"$lib_build/tests/tools/connect_load" client 192.168.7.1 9000 100 3600 5

acknowledged() { awk '$1 == "ack" { n = $2 } END { print n + 0 }' "$lib_data/load.log"; }
acknowledged_beyond() { [ "$(acknowledged)" -gt "$1" ]; }
fact() { # fact NAME: a number of the recorder's status; nothing when it has none
	lib_pr status 2>/dev/null | awk -v name="$1" '$1 == "recorder" && $2 == name { print $3 }'
}
agent_reports() { [ "$(fact "seq.$agent_id")" -gt "$1" ]; }

lib_until 10 acknowledged_beyond 0
ok $? "events of the load generator are acknowledged"
lib_until 15 agent_reports 0
ok $? "events of a real agent are stored"

# --- kills ---

pause() { sleep "0.$((RANDOM % 5))$((RANDOM % 10))"; }

# Out of bash's list of jobs, which it would call out as killed.
disown -a
kill_recorder() {
	lib_stop recorder KILL
	lib_recorder_run
	disown
}
kill_agent() {
	lib_stop agent-srv KILL
	lib_agent_run srv
	disown
}
kill_controller() {
	lib_stop controller KILL
	lib_controller_run
	disown
}

for victim in recorder agent controller; do
	before=$(acknowledged)
	seq=$(fact "seq.$agent_id")
	for ((i = 0; i < kills; i++)); do
		pause
		"kill_$victim"
	done
	lib_until 20 acknowledged_beyond "$before"
	ok $? "$kills kills of the $victim: the load generator's events are acknowledged again"
	lib_until 30 agent_reports "${seq:-0}"
	ok $? "$kills kills of the $victim: the agent's events are stored again"
done

# --- judge ---

lib_stop connections
lib_stop load
sleep 2 # the agent's last ones
last=$(acknowledged)

numbers() { # numbers UUID: of all events that are stored, one a line
	lib_pr events --json -n 0 "agent:$1" 2>"$lib_data/events.err" |
		sed -n 's/.*"seq": *\([0-9]*\).*/\1/p' | sort -n
}
numbers "$load_id" >"$lib_data/load.numbers"
missing=$(awk -v last="$last" '$1 <= last { seen[$1] = 1 }
	END { for (n = 1; n <= last; n++) missing += !(n in seen); print missing + 0 }' \
	"$lib_data/load.numbers")
twice=$(uniq -d "$lib_data/load.numbers" | wc -l)
diag "load generator: $last acknowledged, $(wc -l <"$lib_data/load.numbers") stored"
[ "$last" -gt 1000 ] && [ "$missing" = 0 ]
ok $? "of $last acknowledged events $missing are missing"
is "$twice" 0 "none is there twice"
is "$(fact "gap.$load_id")" 0 "and no gap was counted"

numbers "$agent_id" >"$lib_data/agent.numbers"
stored=$(wc -l <"$lib_data/agent.numbers")
seq=$(fact "seq.$agent_id")
gap=$(fact "gap.$agent_id")
lost=$(fact "lost.$agent_id")
diag "agent: last number $seq, stored $stored, gap $gap, said to be lost ${lost:-0}"
is "$(uniq -d "$lib_data/agent.numbers" | wc -l)" 0 "none of the agent's is there twice"
[ "$stored" -gt 100 ]
ok $? "$stored of the agent's events are stored"
is "$((stored + gap + ${lost:-0}))" "$seq" "every number of the agent is stored or counted as missing"
is "$gap" 0 "and the agent itself told of every missing one"
