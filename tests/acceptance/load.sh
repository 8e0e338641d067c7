# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Connections at a steady rate through faults, and their judgement, for worker-kill.sh and
# controller-kill.sh; sourced after lib.sh. Hosts srv and cli; 32 servers, so that 32 flow keys spread
# over the workers (of 8 keys, one run in 128 gave all to one of two); and a denied service at 9100.

load_tools=$lib_build/tests/tools

load_now_ns() { date +%s%N; }

# load_phase NAME START: from START until now
load_phase() { printf '%s %s %s\n' "$1" "$2" "$(load_now_ns)" >>"$lib_data/phases"; }

load_servers() {
	local port
	for port in $(seq 9001 9032); do
		lib_spawn "server-$port" nsenter --net="/run/netns/prt-$lib_name-srv" \
			"$load_tools/connect_load" server 192.168.7.2 "$port"
	done
	lib_spawn denied nsenter --net="/run/netns/prt-$lib_name-srv" \
		busybox httpd -f -vv -p 9100 -h "$lib_source/doc"
	sleep 0.3
	lib_in cli curl -s -m 2 http://192.168.7.2:9100/policy.md >/dev/null
	grep -q . "$lib_data/denied.log"
	ok $? "the server that must hear nothing later is heard while nothing is enforced"
}

load_policy() { # the policy that all of it runs under, in $lib_data/policy
	cat >"$lib_data/policy" <<-'END'
		mode enforce default
		lost deny default
		rule 10 allow from host cli to host srv tcp/9001-9032
	END
}

load_client() { # LABEL SECONDS
	lib_spawn "$1" nsenter --net="/run/netns/prt-$lib_name-cli" "$load_tools/connect_load" client \
		192.168.7.2 9001-9032 200 "$2" 200 "$lib_data/$1.connections"
}

load_over() { lib_gone "$(lib_pid_of "$1")"; } # LABEL

load_figure() { sed -n "s/.* $2 \\([0-9-]*\\).*/\\1/p" "$lib_data/$1.log"; } # LABEL NAME

# The denied service is tried all the time, from now on.
load_probe() {
	: >"$lib_data/denied.log"
	lib_spawn probe nsenter --net="/run/netns/prt-$lib_name-cli" \
		sh -c 'while :; do curl -s -m 0.4 http://192.168.7.2:9100/policy.md && echo answered; done'
}

load_judge() { # the load "load" against the events of both agents, and its slowest against "calm"
	local near far limit_us slowest_us probes
	lib_pr events --json -n 0 >"$lib_data/events" 2>"$lib_data/events.err"
	near=$(sed -n 's/^uuid //p' "$lib_data/agent-cli/agent.key")
	far=$(sed -n 's/^uuid //p' "$lib_data/agent-srv/agent.key")
	lib_results "$lib_source/tests/tools/judge_load.py" "$lib_data/load.connections" "$lib_data/events" \
		9001 32 "$near" "$far" "$lib_data/phases" 2>"$lib_data/judge.err"
	ok $? "the judge came to its end"

	# A round trip of this machine: the calm run's slowest connect(). A stalled worker that goes on
	# has much to catch up with beside everybody else, so one of 8,000 meets such a one twice.
	limit_us=$((300000 + $(load_figure calm max_us)))
	slowest_us=$(load_figure load max_us)
	diag "slowest connect() $slowest_us us; one decision may take 300 ms and a round trip, a connect()" \
		"is two of them, and the calm run's slowest was $(load_figure calm max_us) us"
	diag "$(awk -v limit=$limit_us '$4 > limit' "$lib_data/load.connections" | grep -c .) of" \
		"$(grep -c . "$lib_data/load.connections") took longer than 300 ms and the calm run's slowest"
	[ "$slowest_us" -lt $((2 * limit_us)) ]
	ok $? "slowest connect() is below two times (300 ms and the calm run's slowest)"
	is "$(grep -c . "$lib_data/denied.log")" 0 "the denied service heard nothing, whatever happened"
	probes=$(grep -c '"port":9100,.*"verdict":"denied"' "$lib_data/events")
	[ "$probes" -gt 20 ]
	ok $? "the denied service was tried and denied all the time ($probes events)"
	is "$(grep '"port":9100,.*"mode":"enforce"' "$lib_data/events" | grep -c '"verdict":"allowed"')" 0 \
		"no event calls it allowed"
	for word in cli srv; do
		diag "agent $word: $(lib_pr status --json 2>/dev/null | grep "\"agent $word\"" |
			grep -oE '"(requests|workers)_[a-z]*":[0-9]*' | tr '\n' ' ')"
	done
}
