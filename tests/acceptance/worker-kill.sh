#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A worker that is killed, frozen or cut off delays no decision beyond 300 ms plus one round trip,
# and loses none. Two hosts in enforce, 200 connections/s between them for the whole time, worker 0
# and then worker 1 struck in each way. Judged by the client's own log, by the log of a server that
# must hear nothing, and by the events of both agents.
#
# Both ends of a connection ask: one connect() is two decisions, one after the other, each with its
# own 300 ms.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/load.sh"
lib_start wkill
seconds=${WORKER_KILL_SECONDS:-38}

worker_fact() { # worker_fact NUMBER FACT
	lib_pr status --json 2>/dev/null |
		sed -n "/\"service\":\"worker $1\"/s/.*\"$2\":\"\\{0,1\\}\\([^\",}]*\\).*/\\1/p"
}

worker_is_back() { # worker_is_back NUMBER STARTS
	[ "$(worker_fact "$1" starts)" = "$2" ] && [ "$(worker_fact "$1" state)" = active ]
}

cut_worker() { # NUMBER: neither hears the other any more
	lib_in ctl nft -f - <<-END
		table inet prt_cut {
			chain in { type filter hook input priority 0; tcp dport $((7410 + $1)) drop; }
			chain out { type filter hook output priority 0; tcp sport $((7410 + $1)) drop; }
		}
	END
}

cut_undo() { lib_in ctl nft delete table inet prt_cut; }

lib_host ctl 1
lib_host srv 2
lib_host cli 3
lib_controller ctl
lib_recorder ctl
lib_agent srv
lib_agent cli
load_servers
load_client plain 2
lib_until 10 load_over plain
diag "baseline, nothing held: $(cat "$lib_data/plain.log")"

load_policy
lib_commit "$lib_data/policy" "enforce"
load_client calm 8
lib_until 15 load_over calm
diag "baseline, both ends asked, no fault: $(cat "$lib_data/calm.log")"
for number in 0 1; do
	requests=$(worker_fact $number requests)
	diag "worker $number was asked $requests times"
	[ "$requests" -gt 100 ]
	ok $? "worker $number decides its share before the faults"
done
load_probe
load_client load "$seconds"
sleep 1.5
for number in 0 1; do
	pid=$(worker_fact $number pid)
	starts=$(worker_fact $number starts)
	begin=$(load_now_ns)
	kill -KILL "$pid"
	lib_until 5 worker_is_back $number $((starts + 1))
	ok $? "worker $number killed: another takes its place"
	sleep 1.5
	load_phase "worker $number killed" "$begin"

	pid=$(worker_fact $number pid)
	begin=$(load_now_ns)
	kill -STOP "$pid"
	sleep 5
	kill -CONT "$pid"
	lib_until 5 worker_is_back $number $((starts + 1))
	ok $? "worker $number frozen for 5 s: it goes on"
	sleep 1
	load_phase "worker $number frozen" "$begin"

	begin=$(load_now_ns)
	cut_worker $number
	sleep 3
	cut_undo
	sleep 4 # TCP waits as long again before it tries again: until then the worker stays cut off
	load_phase "worker $number cut off" "$begin"
done
lib_until 60 load_over load
ok $? "the load ended by itself"
diag "under faults: $(cat "$lib_data/load.log")"
lib_stop probe
sleep 1.5

load_judge
