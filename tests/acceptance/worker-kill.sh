#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A worker that is killed, frozen or cut off delays no decision beyond 300 ms plus one round trip,
# and loses none. Two hosts in enforce, 200 connections/s between them for the whole time, worker 0
# and then worker 1 struck in each way. Judged by the client's own log, by the log of a server that
# must hear nothing, and by the events of both agents.
#
# Both ends of a connection ask: one connect() is two decisions, one after the other, each with its
# own 300 ms. Ports 9001 to 9032 take turns: 32 flow keys, so that both
# workers decide all the time (of 8 keys, one run in 128 gave all to one worker).
. "$(dirname "$0")/lib.sh"
lib_start wkill
tools=$lib_build/tests/tools
seconds=${WORKER_KILL_SECONDS:-38}
phases=$lib_data/phases

now_ns() { date +%s%N; }

# phase NAME START: from START until now
phase() { printf '%s %s %s\n' "$1" "$2" "$(now_ns)" >>"$phases"; }

worker_fact() { # worker_fact NUMBER FACT
	lib_pr status --json 2>/dev/null |
		sed -n "/\"service\":\"worker $1\"/s/.*\"$2\":\"\\{0,1\\}\\([^\",}]*\\).*/\\1/p"
}

worker_is_back() { # worker_is_back NUMBER STARTS
	[ "$(worker_fact "$1" starts)" = "$2" ] && [ "$(worker_fact "$1" state)" = active ]
}

client() { # client LABEL SECONDS
	lib_spawn "$1" nsenter --net="/run/netns/prt-$lib_name-cli" "$tools/connect_load" client \
		192.168.7.2 9001-9032 200 "$2" 200 "$lib_data/$1.connections"
}

client_over() { lib_gone "$(lib_pid_of "$1")"; }

figure() { sed -n "s/.* $2 \\([0-9-]*\\).*/\\1/p" "$lib_data/$1.log"; }

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
for port in $(seq 9001 9032); do
	lib_spawn "server-$port" nsenter --net="/run/netns/prt-$lib_name-srv" \
		"$tools/connect_load" server 192.168.7.2 "$port"
done
lib_spawn denied nsenter --net="/run/netns/prt-$lib_name-srv" \
	busybox httpd -f -vv -p 9100 -h "$lib_source/doc"
sleep 0.3
lib_in cli curl -s -m 2 http://192.168.7.2:9100/policy.md >/dev/null
grep -q . "$lib_data/denied.log"
ok $? "the server that must hear nothing later is heard while nothing is enforced"
client plain 2
lib_until 10 client_over plain
diag "baseline, nothing held: $(cat "$lib_data/plain.log")"

cat >"$lib_data/policy" <<-'END'
	mode enforce default
	lost deny default
	rule 10 allow from host cli to host srv tcp/9001-9032
END
lib_commit "$lib_data/policy" "enforce"
client calm 3
lib_until 10 client_over calm
diag "baseline, both ends asked, no fault: $(cat "$lib_data/calm.log")"
for number in 0 1; do
	requests=$(worker_fact $number requests)
	diag "worker $number was asked $requests times"
	[ "$requests" -gt 100 ]
	ok $? "worker $number decides its share before the faults"
done
: >"$lib_data/denied.log"

# A service that is denied, tried all the time.
lib_spawn probe nsenter --net="/run/netns/prt-$lib_name-cli" \
	sh -c 'while :; do curl -s -m 0.4 http://192.168.7.2:9100/policy.md && echo answered; done'
client load "$seconds"
sleep 1.5
for number in 0 1; do
	pid=$(worker_fact $number pid)
	starts=$(worker_fact $number starts)
	begin=$(now_ns)
	kill -KILL "$pid"
	lib_until 5 worker_is_back $number $((starts + 1))
	ok $? "worker $number killed: another takes its place"
	sleep 1.5
	phase "worker $number killed" "$begin"

	pid=$(worker_fact $number pid)
	begin=$(now_ns)
	kill -STOP "$pid"
	sleep 5
	kill -CONT "$pid"
	lib_until 5 worker_is_back $number $((starts + 1))
	ok $? "worker $number frozen for 5 s: it goes on"
	sleep 1
	phase "worker $number frozen" "$begin"

	begin=$(now_ns)
	cut_worker $number
	sleep 3
	cut_undo
	sleep 4 # TCP waits as long again before it tries again: until then the worker stays cut off
	phase "worker $number cut off" "$begin"
done
lib_until 60 client_over load
ok $? "the load ended by itself"
diag "under faults: $(cat "$lib_data/load.log")"
lib_stop probe
sleep 1.5

lib_pr events --json -n 0 >"$lib_data/events" 2>"$lib_data/events.err"
near=$(sed -n 's/^uuid //p' "$lib_data/agent-cli/agent.key")
far=$(sed -n 's/^uuid //p' "$lib_data/agent-srv/agent.key")
while read -r word text; do
	case $word in
	ok) ok 0 "$text" ;;
	no) ok 1 "$text" ;;
	'#') diag "$text" ;;
	done) judged=yes ;;
	esac
done < <("$lib_source/tests/tools/judge_load.py" "$lib_data/load.connections" "$lib_data/events" \
	9001 32 "$near" "$far" "$phases" 2>"$lib_data/judge.err")
is "${judged:-no}" yes "the judge came to its end"

limit_us=$((2 * 300000 + $(figure calm max_us)))
slowest_us=$(figure load max_us)
diag "slowest connect() $slowest_us us; one decision may take 300 ms and a round trip, a connect()" \
	"is two of them, and the calm run's slowest was $(figure calm max_us) us"
one_us=$((300000 + $(figure calm max_us)))
diag "$(awk -v limit=$one_us '$4 > limit' "$lib_data/load.connections" | grep -c .) of" \
	"$(grep -c . "$lib_data/load.connections") took longer than 300 ms and the calm run's slowest"
[ "$slowest_us" -lt "$limit_us" ]
ok $? "slowest connect() is below two times 300 ms and the calm run's slowest"
heard=$(grep -c . "$lib_data/denied.log")
is "$heard" 0 "the denied service heard nothing, whatever happened to the workers"
probes=$(grep -c '"port":9100,.*"verdict":"denied"' "$lib_data/events")
[ "$probes" -gt 20 ]
ok $? "the denied service was tried and denied all the time ($probes events)"
is "$(grep '"port":9100,.*"mode":"enforce"' "$lib_data/events" | grep -c '"verdict":"allowed"')" 0 \
	"no event calls it allowed"
diag "agent cli: $(lib_pr status --json | grep '"agent cli"' | grep -oE '"(requests|workers)_[a-z]*":[0-9]*' | tr '\n' ' ')"
diag "agent srv: $(lib_pr status --json | grep '"agent srv"' | grep -oE '"(requests|workers)_[a-z]*":[0-9]*' | tr '\n' ' ')"
