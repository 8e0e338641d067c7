#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Who began a connection, when its process is gone, has become another program, has passed its socket
# on, and lies about its name. First in enforce: a storm of 100,000 such lives (--full: 1,000,000),
# judged by the storm's own log. Then in observe, with eBPF, without it, and where the kernel refuses.
. "$(dirname "$0")/lib.sh"
lib_start storm

full=''
[ "${1:-}" != --full ] || full=--full
echo 'rounds = 2' >"$lib_data/bench.conf"
"$lib_build/portreeve-bench" attribution --json $full --config "$lib_data/bench.conf" \
	>"$lib_data/storm.json" 2>"$lib_data/storm.err"
is $? 0 "a storm in enforce"
value() { # METRIC: its value, as a shell can compare it
	sed -n "s/^{\"metric\": *\"$1\", *\"value\": *\([-0-9.e]*\).*/\1/p" "$lib_data/storm.json"
}
diag "$(grep -o '"attribution\.wrong".*' "$lib_data/storm.json")"
diag "$(grep -o '"attribution\.unknown".*' "$lib_data/storm.json")"
is "$(value attribution.wrong)" 0 "nobody is named who did not begin it"
awk -v share="$(value attribution.unknown)" 'BEGIN { exit !(share != "" && share <= 0.001) }'
ok $? "unknown are at most 0.1 %: $(value attribution.unknown)"
is "$(value attribution.missing)" 0 "every connection has its event"
is "$(value attribution.fallback.missing)" 0 "with eBPF off, too"
is "$(value join.rate) $(value join.wrong) $(value join.failed)" "1 0 0" \
	"two hosts with the same container addresses: all joined, none wrongly, all served"

# --- observe: who is gone before the copy is read ---

lib_host ctl 1
lib_host one 2
lib_host two 3
lib_host box 4
lib_controller ctl
lib_recorder ctl
lib_agent one
lib_agent two
lib_stop agent-two
echo 'ebpf = no' >>"$lib_data/agent-two.conf"
lib_agent_run two
lib_until 15 lib_agent_active two
ok $? "three agents in observe, one with eBPF off"
lib_agent box
lib_stop agent-box
lib_spawn agent-box nsenter --net="/run/netns/prt-$lib_name-box" unshare --pid --fork --kill-child --mount-proc \
	"$lib_build/portreeve-agent" --config "$lib_data/agent-box.conf"
lib_until 15 lib_agent_active box
ok $? "and one in a process namespace of its own"

# Each is a process that lives only for its connection, or its datagram.
cat >"$lib_data/short.py" <<'END'
import os, socket, sys
count, kind = int(sys.argv[1]), sys.argv[2]
for i in range(count):
    pid = os.fork()
    if pid == 0:
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM if kind != "tcp" else socket.SOCK_STREAM)
        s.setblocking(False)
        to = ("192.168.7.1", 20000 + i)
        try:
            if kind == "send":
                s.sendto(b"x", to)
            else:
                s.connect(to)
            if kind == "connected":
                s.send(b"x")
        except OSError:
            pass
        os._exit(0)
    os.waitpid(pid, 0)
END
known() { # HOST PROTOCOL: events of short lives whose process is known, and all of them
	lib_pr events "src:$1 AND proto:$2 AND dst.port:20000-20199" --json -n 0 2>/dev/null >"$lib_data/events"
	echo "$(grep -c '"process":{"pid":[1-9][0-9]*,"name":"python' "$lib_data/events") $(grep -c . "$lib_data/events")"
}
all_there() { [ "$(known "$1" "$2" | cut -d' ' -f2)" -ge "$3" ]; }
for host in one two; do
	lib_in $host python3 "$lib_data/short.py" 100 tcp
	lib_in $host python3 "$lib_data/short.py" 100 connected
	lib_until 10 all_there $host tcp 100
	lib_until 10 all_there $host udp 100
done
is "$(known one tcp)" '100 100' "observe, TCP: all are known though they are gone"
is "$(known one udp)" '100 100' "observe, connected UDP: all"
diag "with eBPF off: TCP $(known two tcp), UDP $(known two udp) (known, all)"
lib_in one python3 "$lib_data/short.py" 200 send
lib_until 10 all_there one udp 300
is "$(known one udp)" '300 300' "observe, sendto() alone: all 200 more"

# --- which way is in force, and why ---

attribution_of() { lib_pr status --json | grep "\"agent $1\"" | sed -n 's/.*"attribution": *"\([^"]*\)".*/\1/p'; }
is "$(attribution_of one)" eBPF "status says eBPF"
is "$(attribution_of two)" '/proc (ebpf = no in the configuration)' "status says that it is off, and by whom"
is "$(attribution_of box)" '/proc (the agent is in a process namespace of its own)' \
	"status says that it cannot be, and why"
is "$(grep -c 'attribution: by /proc alone, because the agent is in a process namespace' "$lib_data/agent-box.log")" \
	1 "and so does its log, once"
