#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Observe mode is harmless: under 500 new connections a second between two hosts with agents, each
# process of ours is frozen (SIGSTOP) and killed (kill -9) in turn. No connection may fail or take
# 200 ms longer than without an agent, and while the agent of an end is alive every connection has
# its event from that end, with the process. By default a freeze lasts 3 s and a killed daemon stays
# away for 2 s; --full: 10 s each. The judge is the load generator's own log.
#
# "Without an agent" is the slowest of a run before the agents start and of a control load that goes
# on all the time between two hosts without one: a machine that stalls by itself stalls that too.
set -u
. "$(dirname "$0")/lib.sh"
frozen_s=3
away_s=2
if [ "${1:-}" = --full ]; then
	frozen_s=10
	away_s=10
fi
rate=500
baseline_s=8
hold_ms=300 # so long the socket of a connection is there to be attributed
lib_start harmls

lib_host ctl 1
lib_host srv 2
lib_host cli 3
lib_host idle 4
lib_host busy 5

load=$lib_build/tests/tools/connect_load
in_background() { # in_background LABEL HOST COMMAND...: and out of bash's list of jobs
	local label=$1 host=$2
	shift 2
	lib_spawn "$label" nsenter --net="/run/netns/prt-$lib_name-$host" "$@"
	disown -a
}
slowest_us() { sed -n 's/.*max_us //p' "$1" | tail -n 1; }
failures() { sed -n 's/.* failed \([0-9]*\) .*/\1/p' "$1" | tail -n 1; }
now_ns() { date +%s%N; }

in_background server srv "$load" server 192.168.7.2 9000
in_background control-server idle "$load" server 192.168.7.4 9000
lib_until 5 grep -q listening "$lib_data/server.log"
lib_until 5 grep -q listening "$lib_data/control-server.log"
server_pid=$(lib_pid_of server)

# --- without an agent, and then with everything ---

lib_in cli "$load" client 192.168.7.2 9000 $rate $baseline_s $hold_ms >"$lib_data/baseline.log"
diag "without an agent: $(cat "$lib_data/baseline.log")"
lib_controller ctl
lib_recorder ctl

# Seconds that the load must last: generous; it is ended when the faults are over.
steps_s=$((7 * (frozen_s + away_s + 4) + 12))
in_background client cli "$load" client 192.168.7.2 9000 $rate $steps_s $hold_ms "$lib_data/connections"
in_background control busy "$load" client 192.168.7.4 9000 $((rate / 2)) $steps_s $hold_ms
started=$SECONDS
client_pid=$(lib_pid_of client)
sleep 1
lib_agent srv # started under load: that too must harm nothing
lib_agent cli
sleep 1
from_ns=$(now_ns)
sleep 2

# --- faults ---

fact() { # fact SERVICE NAME: of `portreeve status`
	lib_pr status --json 2>/dev/null | python3 -c '
import json, sys
for line in sys.stdin:
    one = json.loads(line)
    if one["service"] == sys.argv[1]:
        print(one["facts"][sys.argv[2]])' "$1" "$2"
}

away() { # away END FROM-NS: from then until now the agent of END was not alive
	echo "$1 $2 $(now_ns)" >>"$lib_data/away"
}
: >"$lib_data/away"

freeze() { # freeze WHAT PID [END]
	local since
	since=$(now_ns)
	kill -STOP "$2" || bail "$1 does not run"
	sleep $frozen_s
	kill -CONT "$2"
	if [ -n "${3:-}" ]; then
		sleep 1.5 # what waited in the kernel meanwhile comes first
		away "$3" "$since"
	fi
}

fresh_log() { : >"$lib_data/$1.log"; }

kill_agent() { # END
	local since
	since=$(now_ns)
	kill -KILL "$(lib_pid_of "agent-$1")"
	sleep $away_s
	fresh_log "agent-$1"
	lib_agent_run "$1"
	disown -a
	lib_until 10 grep -q ready "$lib_data/agent-$1.log"
	ok $? "agent on $1: the next one is ready after kill -9"
	sleep 0.5
	away "$1" "$since"
}

for end in cli srv; do
	freeze "agent $end" "$(lib_pid_of "agent-$end")" $end
	kill_agent $end
done
for name in 0 1; do
	pid=$(fact "worker $name" pid)
	freeze "worker $name" "$pid"
	kill -KILL "$pid"
	sleep $away_s
done
pid=$(fact controller pid)
freeze admin "$pid"
kill -KILL "$pid"
sleep $away_s
freeze recorder "$(lib_pid_of recorder)"
kill -KILL "$(lib_pid_of recorder)"
sleep $away_s
lib_recorder_run
disown -a
freeze supervisor "$(lib_pid_of controller)"
kill -KILL "$(lib_pid_of controller)"
sleep $away_s
lib_controller_run
disown -a
sleep 2
to_ns=$(now_ns)
faults_s=$((SECONDS - started))

# --- judge ---

lib_until $((steps_s - faults_s + 15)) lib_gone "$client_pid"
ok $? "the load ran to its end"
lib_until 10 lib_gone "$(lib_pid_of control)"
diag "with agents, frozen and killed: $(tail -n 1 "$lib_data/client.log")"
diag "control without agents meanwhile: $(tail -n 1 "$lib_data/control.log")"
is "$(failures "$lib_data/client.log")" 0 "no connection failed"
limit_us=$(slowest_us "$lib_data/baseline.log")
control_us=$(slowest_us "$lib_data/control.log")
[ "$control_us" -le "$limit_us" ] || limit_us=$control_us
limit_us=$((limit_us + 200000))
[ "$(slowest_us "$lib_data/client.log")" -le $limit_us ]
ok $? "no connection took 200 ms longer than without an agent ($(slowest_us "$lib_data/client.log") us, limit $limit_us)"

counted() { # events are complete when their number rests
	local before=-1 now=0
	until [ "$now" = "$before" ]; do
		before=$now
		sleep 2
		now=$(fact recorder events)
	done
}
lib_until 15 lib_pr events -n 1
counted
lib_pr events --json -n 0 dst.port:9000 >"$lib_data/events.json" 2>"$lib_data/events.err"
python3 - "$lib_data" "$from_ns" "$to_ns" "$client_pid" "$server_pid" >"$lib_data/verdict" <<-'END'
	import bisect, datetime, json, sys
	folder, start, end, client, server = sys.argv[1], *map(int, sys.argv[2:])
	def ns(text):
	    t = datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))
	    return int(t.timestamp() * 1000) * 10**6
	away = {"cli": [], "srv": []}
	for line in open(folder + "/away"):
	    name, a, b = line.split()
	    away[name].append((int(a) - 300 * 10**6, int(b)))
	seen = {"initiator": {}, "terminator": {}}
	total = 0
	for line in open(folder + "/events.json"):
	    e = json.loads(line)
	    total += 1
	    seen.get(e["reporter"], {}).setdefault(e["src"]["port"], []).append((ns(e["time"]), e))
	asked = {"cli": 0, "srv": 0}
	bad = {}
	first = {}
	for line in open(folder + "/connections"):
	    number, port, at, latency, pid = map(int, line.split())
	    if not start <= at <= end:
	        continue
	    for name, reporter, process in (("cli", "initiator", client), ("srv", "terminator", server)):
	        if any(a <= at <= b for a, b in away[name]):
	            continue
	        asked[name] += 1
	        near = [e for t, e in seen[reporter].get(port, ()) if abs(t - at) < 2 * 10**9]
	        what = None
	        if not near:
	            what = "no event"
	        elif not any(e["process"] and e["process"]["pid"] == process for e in near):
	            what = "no process (%s)" % near[0]["unknown"]
	        if what:
	            bad[name, what] = bad.get((name, what), 0) + 1
	            first.setdefault((name, what), (at - start) / 1e9)
	print("# %d events; connections while the agent was alive: client's end %d, server's end %d"
	      % (total, asked["cli"], asked["srv"]))
	for (name, what), count in sorted(bad.items()):
	    print("# %s: %d connections: %s, the first after %.1f s" % (name, count, what, first[name, what]))
	for name, text in (("cli", "client's"), ("srv", "server's")):
	    print("good" if asked[name] and not any(k[0] == name for k in bad) else "bad", name)
END
grep '^#' "$lib_data/verdict"
grep -q '^good cli' "$lib_data/verdict"
ok $? "client's end: every connection has its event with process while the agent is alive"
grep -q '^good srv' "$lib_data/verdict"
ok $? "server's end: every connection has its event with process while the agent is alive"
diag "freezes of $frozen_s s, away for $away_s s, faults took $faults_s s"
if [ "$lib_failed" -gt 0 ]; then
	lib_pr status >"$lib_data/status" 2>&1
	grep -iE 'lost|gap|unknown|gone|overrun|cut|full|late' "$lib_data/status" | grep -v ' 0$' |
		while read -r line; do diag "$line"; done
fi
