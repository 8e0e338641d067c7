#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Two controllers on one policy store, each on a host of its own. One of them killed whole, frozen,
# or cut off delays no decision beyond 300 ms and a round trip, decides nothing wrongly, and loses no
# event. Two hosts in enforce, 200 connections/s between them for the whole time. Judged by the
# client's own log, by the log of a server that must hear nothing, and by the events of both agents.
#
# Both ends of a connection ask: one connect() is two decisions, one after the other, each with its
# own 300 ms.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/load.sh"
lib_start ckill
seconds=${CONTROLLER_KILL_SECONDS:-40}

other_pr() { lib_in ctl2 "$lib_build/portreeve" --config "$lib_data/cli/cli2.conf" "$@"; }

second_make() { # the second controller, on the first one's store
	cat >"$lib_data/controller2.conf" <<-END
		state_directory = $lib_data/controller2
		share = $lib_data/controller
		listen = 0.0.0.0
		advertise = 192.168.7.5
		recorder = tcp://192.168.7.1:7401
		admin_config = $lib_data/cli/cli2.conf
	END
	lib_in ctl2 "$lib_build/portreeve-controller" --config "$lib_data/controller2.conf" --init \
		>"$lib_data/controller2-init.log" 2>&1
}

second_run() {
	lib_spawn controller2 nsenter --net="/run/netns/prt-$lib_name-ctl2" \
		"$lib_build/portreeve-controller" --config "$lib_data/controller2.conf"
}

run() { if [ "$1" = controller ]; then lib_controller_run; else second_run; fi; } # LABEL
ask() { # LABEL ARGUMENTS...
	local label=$1
	shift
	if [ "$label" = controller ]; then lib_pr "$@"; else other_pr "$@"; fi
}
answers() { ask "$1" hosts; } # LABEL
asked() { # LABEL: requests that its workers have decided
	ask "$1" status --json 2>/dev/null | grep '"service":"worker' |
		sed 's/.*"requests":"\{0,1\}\([0-9]*\).*/\1/' | awk '{ sum += $1 } END { print sum + 0 }'
}
knows_both() { [ "$(ask "$1" hosts --json 2>/dev/null | grep -c '"status":"active"')" = 2 ]; }

whole() { kill "-$2" -- "-$(lib_pid_of "$1")"; } # LABEL SIGNAL: the daemon with its children

cut_off() { # HOST: nobody hears it any more, nor does it hear anybody
	lib_in "$1" nft -f - <<-END
		table inet prt_cut {
			chain in { type filter hook input priority 0; iifname eth0 drop; }
			chain out { type filter hook output priority 0; oifname eth0 drop; }
		}
	END
}

lib_host ctl 1
lib_host srv 2
lib_host cli 3
lib_host ctl2 5
lib_controller ctl
lib_recorder ctl
second_make
ok $? "a second controller is made on the store of the first"
(
	cat "$lib_data/cli/cli.conf"
	sed -n "s/.*first one's: //p" "$lib_data/controller2-init.log"
) >"$lib_data/cli/both.conf"
chmod 0600 "$lib_data/cli/both.conf"
second_run
lib_until 10 answers controller2
ok $? "it answers the same administrator"
lib_agent srv
lib_agent cli
lib_until 10 knows_both controller && lib_until 10 knows_both controller2
ok $? "both controllers know both hosts as active"
load_servers
load_policy
other_pr policy commit -m "by the second" "$lib_data/policy" >"$lib_data/commit.out" 2>&1
ok $? "a commit at the second controller: $(tail -n 1 "$lib_data/commit.out")"
lib_until 5 lib_settled
ok $? "is served by the first one's workers and agents"
load_client calm 8
lib_until 15 load_over calm
diag "baseline, both ends asked, no fault: $(cat "$lib_data/calm.log")"
for label in controller controller2; do
	requests=$(asked $label)
	[ "$requests" -gt 100 ]
	ok $? "the workers of $label decide their share ($requests requests)"
done
load_probe
load_client load "$seconds"
sleep 1.5
for label in controller controller2; do
	host=ctl
	[ $label = controller ] || host=ctl2
	begin=$(load_now_ns)
	whole $label KILL
	sleep 3
	run $label
	lib_until 10 answers $label
	ok $? "$label killed whole, and started again"
	sleep 1
	load_phase "$label killed" "$begin"

	begin=$(load_now_ns)
	whole $label STOP
	sleep 4
	whole $label CONT
	lib_until 10 answers $label
	ok $? "$label frozen for 4 s: it goes on"
	sleep 1
	load_phase "$label frozen" "$begin"

	begin=$(load_now_ns)
	cut_off $host
	sleep 3
	lib_in $host nft delete table inet prt_cut
	sleep 4 # TCP waits as long again before it tries again: until then it stays cut off
	load_phase "$label cut off" "$begin"
done
lib_until 60 load_over load
ok $? "the load ended by itself"
diag "under faults: $(cat "$lib_data/load.log")"
lib_stop probe
lib_until 15 knows_both controller
sleep 1.5

load_judge

# --- what one of them says, the other serves ---
lib_stop controller
other_pr quarantine srv --reason 'while the first is away' >"$lib_data/out" 2>&1
ok $? "with the first one stopped the second goes on: $(cat "$lib_data/out")"
lib_in cli "$lib_build/portreeve" --config "$lib_data/cli/both.conf" show srv 2>"$lib_data/err" |
	grep -q 'Quarantine *by admin' && grep -q 'not reachable, trying the next' "$lib_data/err"
ok $? "and a command line that knows both finds it"
sleep 1
lib_in cli curl -s -m 1 -o /dev/null http://192.168.7.2:9001/
is $? 28 "and its word bites"
lib_controller_run
lib_until 10 answers controller
lib_pr show srv 2>/dev/null | grep -q 'Quarantine *by admin'
ok $? "the first one, back again, knows of it"
