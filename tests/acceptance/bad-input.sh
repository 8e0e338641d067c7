#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What goes wrong around us: configurations with errors, an engine that is absent, killed and
# started again, a container that dies while its packet waits, queue, log group and mark bits that
# another program uses, full disks, broken packets. Always a clear error or a counted drop; what is
# in enforce stays closed, what is in observe stays open. Judges: exit codes, who got through to
# servers that are not ours, counters.
set -u
. "$(dirname "$0")/lib.sh"
lib_start badin

# --- configurations ---

refuses() { # refuses WHAT PROGRAM CONFIG PATTERN: ends at once with 1 and says why, on one line
	local status
	timeout 5 "$lib_build/portreeve-$2" --config "$3" >"$lib_run/said" 2>&1
	status=$?
	[ $status -eq 1 ] && grep -qE -- "$4" "$lib_run/said"
	ok $? "$2: $1"
	[ $status -eq 1 ] && grep -qE -- "$4" "$lib_run/said" || diag "status $status: $(head -c 300 "$lib_run/said")"
}

conf=$lib_data/bad.conf
for program in agent controller recorder; do
	printf 'state_directory = %s/none\ncolour = blue\n' "$lib_data" >"$conf"
	refuses "unknown key" $program "$conf" "bad.conf:2: .*'colour'"
	printf '# fine\n\nstate_directory = not/absolute\n' >"$conf"
	refuses "bad path" $program "$conf" 'bad.conf:3: state_directory'
	printf 'state_directory = /run/x\nstate_directory = /run/y\n' >"$conf"
	refuses "a name given twice" $program "$conf" 'bad.conf:2: .*state_directory'
	printf 'state_directory\n' >"$conf"
	refuses "a line that is none" $program "$conf" 'bad.conf:1: '
	refuses "no such file" $program "$lib_data/nowhere.conf" 'nowhere.conf: '
done
printf 'queue = 65536\n' >"$conf"
refuses "number out of range" agent "$conf" 'bad.conf:1: queue'
printf 'mark_mask = 0x10\n' >"$conf"
refuses "bits outside the mask" agent "$conf" 'mark_allow and mark_reject must lie within mark_mask'
printf 'deadline = 5\n' >"$conf"
refuses "a length of time without unit" agent "$conf" 'bad.conf:1: deadline'
printf 'workers = many\n' >"$conf"
refuses "not a number" controller "$conf" 'bad.conf:1: workers'
printf 'map_size = 1Q\n' >"$conf"
refuses "unknown unit" recorder "$conf" 'bad.conf:1: map_size'

# --- a deployment; the agents' hosts ---

lib_host ctl 1
lib_host srv 2
lib_host cli 3
lib_host new 4
lib_engine srv --live-restore
lib_docker srv network create --subnet 172.30.0.0/24 appnet >/dev/null
lib_docker srv run -d --name web --network appnet prt-busybox /bin/httpd -f -p 80 -h /www >/dev/null
lib_docker srv run -d --name app --network appnet prt-busybox /bin/sleep 100000 >/dev/null
mkdir -p "$lib_data/recorder" "$lib_data/agent-cli"
mount -t tmpfs -o size=6m,mode=0700 tmpfs "$lib_data/recorder"
mount -t tmpfs -o size=6m,mode=0700 tmpfs "$lib_data/agent-cli"
lib_controller ctl
lib_recorder ctl
lib_agent srv "$lib_run/srv.docker"
lib_agent cli "$lib_run/cli.docker"
disown -a
ok $? "agents run, one of them without any engine"
grep -q 'no Docker engine' "$lib_data/agent-cli.log"
ok $? "the agent without an engine says so"

lib_spawn server nsenter --net="/run/netns/prt-$lib_name-srv" python3 "$lib_source/tests/tools/witness.py" 192.168.7.2 9001
lib_spawn denied nsenter --net="/run/netns/prt-$lib_name-srv" python3 "$lib_source/tests/tools/witness.py" 192.168.7.2 9002
lib_spawn new-server nsenter --net="/run/netns/prt-$lib_name-new" python3 "$lib_source/tests/tools/witness.py" 192.168.7.4 9001
disown -a
policy() { # policy [LINES]: enforce everywhere but on new, and LINES
	cat >"$lib_data/policy" <<-END
		mode enforce default
		group new select name new kind host
		group web select name web kind container
		group app select name app kind container
		group dying select name dying kind container
		${1:-mode observe group new}
		rule 10 allow from host cli to host srv tcp/9001
		rule 20 allow from app to web tcp/80
		rule 30 allow from dying to web tcp/80
	END
	lib_commit "$lib_data/policy" "${2:-all}"
}
policy
reaches() { # reaches HOST ADDRESS PORT [SECONDS]
	timeout "${4:-1}" nsenter --net="/run/netns/prt-$lib_name-$1" \
		bash -c "exec 3<>/dev/tcp/$2/$3" 2>/dev/null
}
within() { # within CONTAINER-PID ADDRESS PORT: from the namespace of a container
	timeout 1 nsenter -t "$1" -n bash -c "exec 3<>/dev/tcp/$2/$3" 2>/dev/null
}
alive() { # alive LABEL: the process that we started is still the one
	local pid since
	read -r pid since <"$lib_run/pid.$1"
	[ "$(lib_start_time "$pid")" = "$since" ]
}
enforced() { # enforced HOST PATTERN: what `portreeve hosts` says of its rules
	lib_pr hosts --json | grep "\"name\":\"$1\"" | grep -qE "\"enforced\":\"$2"
}
fact() { # fact SERVICE NAME
	lib_pr status --json 2>/dev/null | grep "\"service\":\"$1\"" |
		sed -n "s/.*\"$2\":\([0-9]*\).*/\1/p"
}

# --- key files: missing, open to others, a link ---

for case in "agent agent-srv.conf agent-srv/agent.key" "recorder recorder.conf recorder/key" \
	"controller controller.conf controller/controller.key"; do
	read -r program config key <<<"$case"
	key=$lib_data/$key
	chmod 0644 "$key"
	refuses "a key that others may read" "$program" "$lib_data/$config" "${key##*/}"
	chmod 0600 "$key"
	mv "$key" "$lib_data/moved.key"
	refuses "no key" "$program" "$lib_data/$config" "${key##*/}|--enroll|--init"
	ln -s "$lib_data/moved.key" "$key"
	refuses "a key that is a link" "$program" "$lib_data/$config" "${key##*/}"
	rm "$key"
	mv "$lib_data/moved.key" "$key"
done

# --- the engine is killed and comes again ---

app=$(lib_docker srv inspect -f '{{.State.Pid}}' app)
web=$(lib_docker srv inspect -f '{{.NetworkSettings.Networks.appnet.IPAddress}}' web)
lib_until 10 enforced app enforce && lib_until 10 enforced web enforce
ok $? "containers are in enforce"
within "$app" "$web" 80
ok $? "engine up: allowed between containers"
lib_stop dockerd-srv KILL
lib_until 5 grep -q 'no Docker engine' "$lib_data/agent-srv.log"
ok $? "engine killed: the agent says so"
within "$app" "$web" 80
ok $? "engine killed: known containers, allowed"
! within "$app" 192.168.7.2 9001
ok $? "engine killed: known containers, denied"
lib_engine_run srv --live-restore
disown -a
lib_until 30 lib_docker srv version
lib_until 15 grep -q 'the Docker engine answers' "$lib_data/agent-srv.log"
lib_docker srv run -d --name later --network appnet prt-busybox /bin/sleep 100000 >/dev/null
lib_until 10 enforced later enforce
ok $? "engine started again: a new container is found and in enforce"
within "$app" "$web" 80
ok $? "engine started again: allowed between containers"
! within "$(lib_docker srv inspect -f '{{.State.Pid}}' later)" "$web" 80
ok $? "engine started again: the new container is denied"
alive agent-srv
ok $? "the agent lived through it all"

# --- a container dies while its packet waits ---

descriptors() { find "/proc/$(lib_pid_of agent-srv)/fd" -mindepth 1 | wc -l; }
no_questions() { [ "$(fact "agent srv" questions_open)" = 0 ]; }
descriptors_are() { [ "$(descriptors)" -le "$1" ]; }
before=$(descriptors)
lib_docker srv run -d --name dying --network appnet prt-busybox /bin/sleep 100000 >/dev/null
lib_until 10 enforced dying enforce
dying=$(lib_docker srv inspect -f '{{.State.Pid}}' dying)
workers=$(pgrep -P "$(lib_pid_of controller)" | tail -n +2)
# shellcheck disable=SC2086
kill -STOP $workers
within "$dying" "$web" 80 &
disown -a
sleep 0.5
[ "$(awk '$1 == 7400 { print $3 }' "/proc/$dying/net/netfilter/nfnetlink_queue")" = 1 ]
ok $? "both workers frozen: the container's packet waits in its queue"
lib_docker srv kill dying >/dev/null
lib_docker srv rm -f dying >/dev/null 2>&1
sleep 0.2
# shellcheck disable=SC2086
kill -CONT $workers
lib_until 12 no_questions
ok $? "the container is gone: no question stays open"
lib_until 5 descriptors_are "$before"
ok $? "and no descriptor: $before before, $(descriptors) after"
event_of_dying() { lib_pr events --json -n 0 2>/dev/null | grep '"name":"dying"' | grep -q '"service":"tcp/80"'; }
lib_until 8 event_of_dying
ok $? "its connection has an event"
diag "decided by: $(lib_pr events --json -n 0 2>/dev/null | grep '"name":"dying"' | grep '"service":"tcp/80"' | sed -n 's/.*"decided_by":"\([^"]*\)".*/\1/p' | tr '\n' ' ')"
alive agent-srv && within "$app" "$web" 80
ok $? "the agent lives and decides"

# --- queue, log group, mark bits of another program ---

taken() { # taken KIND: bind what is ours, on new
	rm -f "$lib_data/taken-$1.log"
	lib_spawn "taken-$1" nsenter --net="/run/netns/prt-$lib_name-new" python3 "$lib_source/tests/tools/taken.py" "$1" 7400
	disown -a
	lib_until 5 grep -q bound "$lib_data/taken-$1.log" || diag "$(cat "$lib_data/taken-$1.log")"
}
new_agent() {
	lib_agent_run new
	disown -a
	lib_until 10 lib_agent_active new
}

taken log
lib_agent new
disown -a
lib_until 5 enforced new 'failed: log group 7400'
ok $? "log group taken: named in portreeve hosts"
grep -q 'log group 7400 is bound by another program' "$lib_data/agent-new.log"
ok $? "log group taken: named in the agent's log"
reaches cli 192.168.7.4 9001 || reaches ctl 192.168.7.4 9001
ok $? "log group taken in observe: the host's traffic passes, as observe promises"
lib_stop taken-log
lib_until 15 enforced new observe
ok $? "log group free again: the host is observed without a restart"

taken queue
policy 'mode enforce group new' "new in enforce"
lib_until 5 enforced new 'failed: queue number 7400'
ok $? "queue taken: named in portreeve hosts"
grep -q 'queue number 7400 is bound by another program' "$lib_data/agent-new.log"
ok $? "queue taken: named in the agent's log"
diag "from observe, queue taken: $(reaches ctl 192.168.7.4 9001 && echo 'open as before, in observe' || echo closed)"
lib_stop taken-queue
lib_until 15 enforced new enforce
ok $? "queue free again: the host goes to enforce without a restart"
! reaches ctl 192.168.7.4 9001
ok $? "and is closed"

lib_stop agent-new KILL
taken queue
new_agent
lib_until 5 enforced new 'failed: queue number 7400'
ok $? "queue taken while the agent was dead: named"
! reaches ctl 192.168.7.4 9001
ok $? "queue taken in enforce: the rules stand, new connections drop"
lib_stop taken-queue
lib_until 15 enforced new enforce
ok $? "queue free again: adopted without a restart"

policy
lib_until 10 enforced new observe
lib_in new nft 'table ip other { chain out { type filter hook output priority 0; meta mark set 0x10000001; }; }'
policy 'mode enforce group new' "new in enforce, marks taken"
lib_until 5 enforced new 'failed: mark bits 0x10000000'
ok $? "mark bits taken: named with table and chain in portreeve hosts"
grep -q 'mark bits 0x10000000 are used by another program: table ip other' "$lib_data/agent-new.log"
ok $? "mark bits taken: named in the agent's log"
lib_in new nft delete table ip other
lib_until 15 enforced new enforce
ok $? "mark bits free again: the host goes to enforce without a restart"
lib_stop agent-new

# --- full disks ---

cli_id=$(lib_pr agent list --json | grep '"cli"' | sed -n 's/.*"uuid": *"\([^"]*\)".*/\1/p')
beyond() { [ "$(fact recorder "seq.$cli_id")" -gt "$1" ]; }
full() { [ "$(fact recorder disk_full)" = 1 ]; }
lost() { [ "$(fact "agent cli" events_lost)" -gt 0 ]; }
fill() { dd if=/dev/zero of="$1/filler" bs=64k >/dev/null 2>&1; dd if=/dev/zero of="$1/filler" bs=512 oflag=append conv=notrunc >/dev/null 2>&1; }
connections() { lib_in cli "$lib_build/tests/tools/connect_load" client 192.168.7.2 9001 "$1" 2 5; }

fill "$lib_data/recorder"
result=$(connections 150)
diag "recorder's disk full: $result"
[[ $result == *"failed 0 "* ]]
ok $? "recorder's disk full: verdicts go on"
lib_until 5 full
ok $? "recorder's disk full: shown in status"
seq=$(fact recorder "seq.$cli_id")
rm "$lib_data/recorder/filler"
lib_until 15 beyond "$((seq + 100))"
ok $? "recorder's disk free again: what waited is stored"
is "$(fact recorder "gap.$cli_id")" 0 "recorder's disk: nothing was lost"

fill "$lib_data/agent-cli"
result=$(connections 150)
diag "agent's disk full: $result"
[[ $result == *"failed 0 "* ]]
ok $? "agent's disk full: verdicts go on"
lib_until 5 lost
ok $? "agent's disk full: events lost are counted: $(fact "agent cli" events_lost)"
rm "$lib_data/agent-cli/filler"
seq=$(fact recorder "seq.$cli_id")
reaches cli 192.168.7.2 9001
lib_until 10 beyond "$seq"
ok $? "agent's disk free again: events are recorded again"
stored=$(lib_pr events --json -n 0 "agent:$cli_id" 2>/dev/null | wc -l)
seq=$(fact recorder "seq.$cli_id") gap=$(fact recorder "gap.$cli_id") missing=$(fact recorder "lost.$cli_id")
diag "agent cli: last number $seq, stored $stored, gap $gap, said to be lost ${missing:-0}"
[ $((stored + gap + ${missing:-0})) -eq "$seq" ] && [ $((gap + ${missing:-0})) -gt 0 ]
ok $? "every number is stored or counted as missing"

# --- broken packets ---

mac=$(lib_in srv ip -o link show eth0 | sed 's/.*ether \([^ ]*\).*/\1/')
sum() { echo $(($(fact "agent srv" malformed) + $(fact "agent srv" midstream) + $(fact "agent srv" kernel_dropped_invalid))); }
counted() { [ "$(sum)" -ge $((before + 100)) ]; }
before=$(sum)
accepted=$(grep -c accepted "$lib_data/server.log")
sent=$(lib_in ctl timeout 20 python3 "$lib_source/tests/tools/raw_packets.py" eth0 "$mac" \
	192.168.7.1 192.168.7.2 fd07::1 fd07::2 5000 "${SEED:-7}")
lib_until 8 counted
ok $? "$sent broken packets: counted: $(($(sum) - before)) malformed, mid-stream or invalid"
diag "malformed $(fact "agent srv" malformed), mid-stream $(fact "agent srv" midstream), dropped as invalid $(fact "agent srv" kernel_dropped_invalid)"
alive agent-srv && reaches cli 192.168.7.2 9001
ok $? "the agent lives and decides"
is "$(grep -c accepted "$lib_data/server.log")" "$((accepted + 1))" "none of them reached the server"
is "$(grep -c accepted "$lib_data/denied.log")" 0 "nobody ever reached the denied service"
