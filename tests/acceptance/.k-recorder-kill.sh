#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# kill -9 of recorder, agents and controller under load, 20 times each (--full: 200). No event that
# was acknowledged is lost, none is there twice, every number is stored or counted as missing, every
# connection that a server saw has its event from both ends. In enforce, while an agent is dead,
# what was established goes on and new connections drop; the next agent adopts the rules. Nothing
# denied passes. Judges: a load generator's own log of acknowledgements, the servers' own logs, and
# a numbered stream.
set -u
. "$(dirname "$0")/lib.sh"
kills=20
case ${1:-} in
--full) kills=200 ;;
[1-9]*) kills=$1 ;;
esac
lib_start krk

lib_host ctl 1
lib_host srv 2
lib_host cli 3
lib_controller ctl
lib_recorder ctl
lib_agent srv
lib_agent cli

# --- policy and load ---

cat >"$lib_data/policy" <<-'END'
	mode enforce default
	rule 10 allow from host cli to host srv tcp/9001
	rule 20 allow from host cli to host srv tcp/9005
END
lib_commit "$lib_data/policy" "two services"

in_background() { # in_background LABEL HOST COMMAND...: and out of bash's list of jobs
	local label=$1 host=$2
	shift 2
	lib_spawn "$label" nsenter --net="/run/netns/prt-$lib_name-$host" "$@"
	disown -a
}
agent_id() { lib_pr agent list --json | grep "\"$1\"" | sed -n 's/.*"uuid": *"\([^"]*\)".*/\1/p'; }

lib_in ctl "$lib_build/tests/tools/event-load" join "$(lib_token agent load)" "$lib_data/load.key" ||
	bail "the load generator cannot join"
recorder_key=$(sed -n 's/^public //p' "$lib_data/recorder/key")
load_id=$(sed -n 's/^uuid //p' "$lib_data/load.key")
cli_id=$(agent_id cli)
srv_id=$(agent_id srv)

in_background load ctl "$lib_build/tests/tools/event-load" \
	tcp://192.168.7.1:7401 "$recorder_key" "$lib_data/load.key" 0 1500
witness() { in_background "$1" srv python3 "$lib_source/tests/tools/witness.py" 192.168.7.2 "$2"; }
witness server 9001
witness denied 9002
witness stream-server 9005
for server in server denied stream-server; do
	lib_until 5 grep -q listening "$lib_data/$server.log"
done
in_background stream cli bash -c 'i=0
	exec 3<>/dev/tcp/192.168.7.2/9005
	while sleep 0.02; do echo "$((i += 1))" >&3; done'
connect=$lib_build/tests/tools/connect_load
in_background connections cli "$connect" client 192.168.7.2 9001 50 3600 5
in_background denied-near cli "$connect" client 192.168.7.2 9002 10 3600 5
in_background denied-far ctl "$connect" client 192.168.7.2 9002 10 3600 5

acknowledged() { awk '$1 == "ack" { n = $2 } END { print n + 0 }' "$lib_data/load.log"; }
acknowledged_beyond() { [ "$(acknowledged)" -gt "$1" ]; }
facts() { lib_pr status 2>/dev/null | awk '$1 == "recorder" { print $2, $3 }'; }
fact() { facts | awk -v name="$1" '$1 == name { n = $2 } END { print n + 0 }'; }
agents_report() { # agents_report CLI SRV: both are beyond these numbers
	facts >"$lib_run/facts"
	awk -v cli="seq.$cli_id" -v srv="seq.$srv_id" -v a="$1" -v b="$2" '
		$1 == cli { x = $2 } $1 == srv { y = $2 } END { exit !(x > a && y > b) }' "$lib_run/facts"
}
stream_at() { grep -c '^[0-9]' "$lib_data/stream-server.log"; }
streams() { [ "$(stream_at)" -gt 10 ]; }
connects() { # a new connection that policy allows
	timeout "${1:-0.25}" nsenter --net="/run/netns/prt-$lib_name-cli" \
		bash -c 'exec 3<>/dev/tcp/192.168.7.2/9001' 2>/dev/null
}
now_ms() { echo $((${EPOCHREALTIME/[.,]/} / 1000)); }
connects_within() { # connects_within MS SINCE: prints how long it took
	until connects; do
		[ $(($(now_ms) - $2)) -lt "$1" ] || break
	done
	echo $(($(now_ms) - $2))
}

lib_until 10 acknowledged_beyond 0
ok $? "events of the load generator are acknowledged"
lib_until 15 agents_report 0 0
ok $? "events of both agents are stored"
lib_until 5 streams
ok $? "a numbered stream runs"

# --- kills ---

pause() { sleep "0.$((RANDOM % 4))$((RANDOM % 10))"; }

stored_again() { # stored_again VICTIM ACKNOWLEDGED CLI SRV
	lib_until 20 acknowledged_beyond "$2"
	ok $? "$kills kills of $1: the load generator's events are acknowledged again"
	lib_until 30 agents_report "$3" "$4"
	ok $? "$kills kills of $1: both agents' events are stored again"
}

before=$(acknowledged) cli_seq=$(fact "seq.$cli_id") srv_seq=$(fact "seq.$srv_id")
for ((i = 0; i < kills; i++)); do
	pause
	lib_stop recorder KILL
	lib_recorder_run
	disown -a
done
stored_again "the recorder" "$before" "$cli_seq" "$srv_seq"

before=$(acknowledged) cli_seq=$(fact "seq.$cli_id") srv_seq=$(fact "seq.$srv_id")
slowest=0 stalled=0 leaked=0
for ((i = 0; i < kills; i++)); do
	victim=cli
	[ $((i % 2)) -eq 0 ] || victim=srv
	pause
	lib_stop "agent-$victim" KILL
	stream=$(stream_at)
	connects && leaked=$((leaked + 1))
	[ "$(stream_at)" -gt "$stream" ] || stalled=$((stalled + 1))
	since=$(now_ms)
	lib_agent_run "$victim"
	disown -a
	took=$(connects_within 5000 "$since")
	[ "$took" -le "$slowest" ] || slowest=$took
done
stored_again "agents" "$before" "$cli_seq" "$srv_seq"
is "$stalled" 0 "while an agent is dead an established flow goes on, $kills times"
is "$leaked" 0 "while an agent is dead a new connection drops, $kills times"
[ "$slowest" -le 2000 ]
ok $? "new allowed connections work again within 2 s of the next agent's start"
diag "slowest first connection after an agent's start: $slowest ms"
is "$(grep -c 'rules adopted' "$lib_data/agent-cli.log") $(grep -c 'rules adopted' "$lib_data/agent-srv.log")" \
	"$((kills / 2)) $((kills / 2))" "each next agent adopted the rules that stood"

before=$(acknowledged) cli_seq=$(fact "seq.$cli_id") srv_seq=$(fact "seq.$srv_id")
slowest=0
for ((i = 0; i < kills; i++)); do
	pause
	pid=$(lib_pid_of controller)
	family=
	[ $((i % 2)) -eq 0 ] || family=$(pgrep -P "$pid")
	# shellcheck disable=SC2086
	kill -KILL "$pid" $family
	lib_stop controller KILL
	since=$(now_ms)
	lib_controller_run
	disown -a
	took=$(connects_within 10000 "$since")
	[ "$took" -le "$slowest" ] || slowest=$took
done
stored_again "the controller" "$before" "$cli_seq" "$srv_seq"
[ "$slowest" -lt 10000 ]
ok $? "new allowed connections work again after each start of the controller"
diag "slowest first connection after a controller's start: $slowest ms"

# --- judge ---

for load in connections denied-near denied-far load; do
	lib_stop "$load"
done
lib_stop stream KILL
sleep 2 # the agents' last ones
last=$(acknowledged)

numbers() { # numbers UUID: of all events that are stored, one a line
	lib_pr events --json -n 0 "agent:$1" 2>"$lib_data/events.err" |
		sed -n 's/.*"seq": *\([0-9]*\).*/\1/p' | sort -n
}
numbers "$load_id" >"$lib_data/load.numbers"
missing=$(awk -v last="$last" '$1 <= last { seen[$1] = 1 }
	END { for (n = 1; n <= last; n++) missing += !(n in seen); print missing + 0 }' \
	"$lib_data/load.numbers")
diag "load generator: $last acknowledged, $(wc -l <"$lib_data/load.numbers") stored"
[ "$last" -gt 1000 ] && [ "$missing" = 0 ]
ok $? "of $last acknowledged events $missing are missing"
is "$(uniq -d "$lib_data/load.numbers" | wc -l)" 0 "none is there twice"
is "$(fact "gap.$load_id")" 0 "and no gap was counted"

for agent in cli srv; do
	id=$(agent_id $agent)
	numbers "$id" >"$lib_data/agent-$agent.numbers"
	stored=$(wc -l <"$lib_data/agent-$agent.numbers")
	seq=$(fact "seq.$id") gap=$(fact "gap.$id") lost=$(fact "lost.$id")
	diag "agent $agent: last number $seq, stored $stored, gap $gap, said to be lost $lost"
	is "$(uniq -d "$lib_data/agent-$agent.numbers" | wc -l)" 0 "none of agent $agent's is there twice"
	[ "$stored" -gt 100 ] && [ "$stored" -eq "$seq" ] && [ "$gap" -eq 0 ] && [ "$lost" -eq 0 ]
	ok $? "agent $agent: every number from 1 on is stored, through all kills"
done

# What the server accepted, by the client's port, against the events of both ends.
sed -n 's/^accepted 192\.168\.7\.3 //p' "$lib_data/server.log" | sort -u >"$lib_data/accepted"
for agent in cli srv; do
	lib_pr events --json -n 0 "agent:$(agent_id $agent)" 2>>"$lib_data/events.err" |
		grep '"service":"tcp/9001"' | grep '"verdict":"allowed"' |
		sed -n 's/.*"src":{"ip":"[^"]*","port":\([0-9]*\).*/\1/p' | sort -u >"$lib_data/seen.$agent"
done
silent=$(sort -u "$lib_data/seen.cli" | comm -23 "$lib_data/accepted" - | wc -l)
diag "near end: $(wc -l <"$lib_data/accepted") connections accepted by the server, $silent without an event"
[ -s "$lib_data/accepted" ] && [ "$silent" -eq 0 ]
ok $? "every connection that the server accepted has its event of the near end"
silent=$(comm -23 "$lib_data/accepted" "$lib_data/seen.srv" | wc -l)
diag "far end: $silent without an event"
is "$silent" 0 "and of the far end"

is "$(grep -c accepted "$lib_data/denied.log")" 0 "the denied service's own log: nobody ever reached it"
grep '^[0-9]' "$lib_data/stream-server.log" | awk '$1 != NR { exit 1 }'
ok $? "the stream arrived whole: $(stream_at) lines in order"

# --- a gap is shown ---

cli_seq=$(fact "seq.$cli_id")
lib_stop recorder KILL
connects 1
connects 1
sleep 0.3
lib_stop agent-cli KILL
rm -f "$lib_data"/agent-cli/events/*
lib_recorder_run
lib_agent_run cli
disown -a
connects_within 5000 "$(now_ms)" >/dev/null
lib_until 15 agents_report "$((cli_seq + 2))" 0
stored=$(numbers "$cli_id" | wc -l)
seq=$(fact "seq.$cli_id") gap=$(fact "gap.$cli_id") lost=$(fact "lost.$cli_id")
diag "spool taken away: last number $seq, stored $stored, gap $gap, said to be lost $lost"
[ $((gap + lost)) -ge 2 ] && [ $((stored + gap + lost)) -eq "$seq" ]
ok $? "a spool that somebody deletes is a count of missing events in status, none hidden"
