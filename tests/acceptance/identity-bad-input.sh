#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Names that mean harm: labels, users, programs, hosts and reasons with escape sequences, characters
# that change direction, line ends, 64 KiB, ../ and formulas. They are stored as they are (JSON says
# them exactly) and shown inert by every command. A Docker engine whose answers are cut, huge, wrong
# or none. Agents that report what is not theirs: see strangers.sh, too. Judges: the bytes of every
# output, the lists of what was made.
set -u
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/stranger.sh"
lib_start ibad

lib_host ctl 1
lib_host srv 2
lib_host fake 3
cc -O2 -Wall -static -o "$lib_data/port_log" "$lib_source/tests/tools/port_log.c" ||
	bail "cannot build port_log"

# --- what is made: names in a file each, as JSON that the judge reads ---

esc=$'\e[2J\e[31mred'
bidi=$'a\u202etxt.exe\u202c'
hidden=$'ad\u200bmin\ufeff'
lines=$'one\ntwo\r\tthree'
formula='=HYPERLINK("http://192.0.2.1","x")'
dots='../../../etc/passwd'
large=$(head -c 65536 /dev/zero | tr '\0' z)
mkdir -p "$lib_data/programs"
binary=$'100%\xff\xfe'
names=("$esc" "$bidi" "$hidden" "$binary" "=1+1 |x" "@SUM(A1)" "$(head -c 250 /dev/zero | tr '\0' n)")
for name in "${names[@]}"; do
	cp "$lib_data/port_log" "$lib_data/programs/$name"
done
printf '%s:x:%d:1::/:/bin/sh\n' root 0 "$esc" 2001 "$bidi" 2002 "=2+3" 2003 \
	"$(head -c 300 /dev/zero | tr '\0' u)" 2004 "$binary" 2005 >"$lib_data/passwd"

lib_engine srv
lib_docker srv network create --subnet 172.18.0.0/16 net >/dev/null
lib_docker srv run -d --name evil --network net --hostname 'evil' \
	-l "esc=$esc" -l "bidi=$bidi" -l "hidden=$hidden" -l "lines=$lines" -l "formula=$formula" \
	-l "dots=$dots" -l "large=$large" -l "$esc=key" \
	-v "$lib_data/passwd:/etc/passwd:ro" -v "$lib_data/programs:/programs:ro" \
	prt-busybox /bin/sleep 100000 >/dev/null || bail "no container"

lib_controller ctl
lib_recorder ctl
lib_agent srv "$lib_run/srv.docker"

# --- an engine that answers badly, on a host with a name of the same kind ---

pids=()
for i in 0 1; do
	ip netns add "prt-$lib_name-c$i"
	lib_spawn "sleeper$i" nsenter --net="/run/netns/prt-$lib_name-c$i" sleep 100000
	pids+=("$lib_pid")
done
echo good good >"$lib_run/modes"
lib_spawn engine python3 "$lib_source/tests/tools/fake_engine.py" "$lib_run/fake.docker" "$lib_run/modes" "${pids[@]}"
lib_until 5 test -S "$lib_run/fake.docker"
printf 'state_directory = %s/agent-fake\nname = fake%s\ndocker_socket = %s\n' "$lib_data" "$bidi" \
	"$lib_run/fake.docker" >"$lib_data/agent-fake.conf"
lib_token agent fake | lib_in fake "$lib_build/portreeve-agent" --config "$lib_data/agent-fake.conf" \
	--enroll - >"$lib_data/agent-fake-enroll.log" 2>&1
ok $? "an agent whose name changes direction may enrol"
lib_agent_run fake
known() { lib_pr show "$1" --json 2>/dev/null | grep -q '"status":"active"'; }
alive() { ! lib_gone "$(lib_pid_of agent-fake)"; }
lib_until 10 known good-0 && lib_until 5 known good-1 && lib_until 5 known bad
ok $? "good answers: its containers are known"
lib_stop agent-fake

changed() { lib_pr show bad --json 2>/dev/null | grep -q '"status":"active"'; }
for mode in cut huge wrong none noise error; do
	echo "good $mode" >"$lib_run/modes"
	: >"$lib_data/agent-fake.log"
	lib_agent_run fake
	lib_until 15 grep -q 'the Docker engine answers' "$lib_data/agent-fake.log" && known good-1
	ok $? "one container's page is $mode: the others are known all the same"
	lib_until 5 grep -q 'container bad0' "$lib_data/agent-fake.log"
	ok $? "$mode: it is said: $(grep -m 1 'container bad0' "$lib_data/agent-fake.log" | cut -c1-160)"
	[ "$(grep -c 'container bad0' "$lib_data/agent-fake.log")" -le 3 ] && alive
	ok $? "$mode: not again and again, and the agent lives"
	echo "good good" >"$lib_run/modes"
	lib_until 6 changed
	ok $? "$mode: right again, it is known"
	lib_stop agent-fake
done
for mode in cut huge wrong none noise error; do
	echo "$mode good" >"$lib_run/modes"
	: >"$lib_data/agent-fake.log"
	lib_agent_run fake
	lib_until 10 grep -q 'no Docker engine' "$lib_data/agent-fake.log"
	ok $? "the list is $mode: no engine, and why: $(grep -m 1 'no Docker engine' "$lib_data/agent-fake.log" | cut -c1-160)"
	echo "good good" >"$lib_run/modes"
	lib_until 10 grep -q 'the Docker engine answers' "$lib_data/agent-fake.log" && alive
	ok $? "$mode: right again, the agent goes on"
	lib_stop agent-fake
done
echo "good nul" >"$lib_run/modes"
lib_agent_run fake
label_is() { # label_is NAME LABEL: in JSON
	lib_pr show "$1" --json 2>/dev/null | python3 -c 'import json, sys
sys.exit(sys.argv[1] not in json.load(sys.stdin)["labels"])' "$2"
}
lib_until 10 label_is bad $'nul=b\ufffdc' && label_is bad $'nul\ufffdkey=a' && label_is bad 'kept=\u0000'
ok $? "NUL in labels: shown as U+FFFD, nothing else is lost"
echo "good labels" >"$lib_run/modes"
lib_until 10 label_is bad tier=front
ok $? "more labels than there is room for: the container is known, and its short label behind them"
alive
ok $? "the agent lives"

# --- connections by such programs and users, reasons of such words ---

lib_spawn server nsenter --net="/run/netns/prt-$lib_name-fake" "$lib_data/port_log" serve 9001
lib_until 5 lib_observed evil
# open_by UID NAME: a connection; Docker's command cannot say a name that is not UTF-8
open_by() {
	local program="/programs/$2"

	[ "$2" = "$binary" ] && program="/programs/100%*"
	lib_docker srv exec -u "$1" evil /bin/sh -c 'IFS=; for one in $0; do exec "$one" open 192.168.7.3 9001 0 1; done' \
		"$program" >>"$lib_data/opened" 2>&1
}
uid=2001
for name in "${names[@]}"; do
	open_by $uid "$name"
	uid=$((uid < 2005 ? uid + 1 : 2001))
done
cat >"$lib_data/policy" <<-'END'
	mode observe default
	group evil select label.esc * kind container
	rule 8 allow from evil to any tcp/9001 process "/programs/\x1b[2J\x1b[31mred"
	rule 9 allow from evil to any tcp/9001 process :/programs/100%25%FF%FE
	rule 10 allow from evil to any tcp/9001
END
lib_pr policy commit -m "$esc$bidi" "$lib_data/policy" >"$lib_data/commit.out" 2>&1
ok $? "a commit for a reason like that"
sleep 1
for name in "$esc" "$binary" "$bidi"; do
	open_by 2001 "$name"
done
lib_pr quarantine evil --reason "$bidi$lines" >"$lib_data/quarantine.out" 2>&1
sleep 1.5

lib_docker srv exec -d evil "/programs/$esc" serve 9100
lib_docker srv exec -d evil "/programs/=1+1 |x" serve 9101
listens() { lib_pr show evil --json 2>/dev/null | grep -q '"service":"tcp/9100"'; }
lib_until 6 listens

# --- every output ---

event=$(lib_pr events 'dst.port:9001' -n 1 --json 2>/dev/null | sed -n 's/.*"id":"\([^"]*\)".*/\1/p')
mkdir -p "$lib_data/shown"
n=0
shown() { # shown COMMAND...: what a terminal would get
	n=$((n + 1))
	lib_pr "$@" >"$lib_data/shown/$n.$1" 2>&1
	[ -s "$lib_data/shown/$n.$1" ] || diag "nothing from: $*"
}
shown hosts
shown hosts --wide
shown hosts "$esc"
shown show evil
shown show "fake$bidi"
shown show bad
shown show "$esc$bidi"
shown events -n 100
shown events -n 100 --wide
shown events --joined -n 100
shown events "user:$bidi"
shown events "$formula"
shown users
shown users 2001
shown users "$bidi"
shown trace "id:$event"
shown explain evil "fake$bidi" tcp/9001
shown explain "$bidi" "$esc" tcp/9001
shown reach --to "fake$bidi"
shown group list
shown group members evil
shown group members "$esc"
shown group preview select label.bidi '*'
shown group preview select "$esc" "$lines"
shown policy log
shown policy list
shown policy add "$lines"
shown audit
shown status
shown agent list
cp "$lib_data/commit.out" "$lib_data/quarantine.out" "$lib_data/shown/"
python3 "$lib_source/tests/tools/inert.py" "$lib_data/shown"/* >"$lib_data/inert.out" 2>&1
ok $? "nothing that any of $n commands shows moves a cursor, changes direction or hides"
while read -r line; do diag "$line"; done < <(head -n 10 "$lib_data/inert.out")
python3 "$lib_source/tests/tools/inert.py" "$lib_data"/{controller,recorder,agent-srv,agent-fake}.log >"$lib_data/inert.out" 2>&1
ok $? "nor does any log: $(head -n 1 "$lib_data/inert.out")"

# --- exactly, in JSON ---

lib_pr show evil --json >"$lib_data/evil.json" 2>/dev/null
lib_pr events 'dst.port:9001' -n 100 --json >"$lib_data/events.json" 2>/dev/null
lib_pr events 'dst.port:9001 reporter:initiator rule:8,9,10' -n 100 --json >"$lib_data/later.json" 2>/dev/null
lib_pr events 'process:"/programs/\x1b[2J\x1b[31mred"' --json >"$lib_data/asked.json" 2>/dev/null
lib_pr users --json >"$lib_data/users.json" 2>/dev/null
lib_pr hosts --json >"$lib_data/hosts.json" 2>/dev/null
lib_pr audit --json >"$lib_data/audit.json" 2>/dev/null
exactly() { # exactly TEXT PYTHON-CONDITION: over the words above as a list
	python3 - "$lib_data" "$2" "$esc" "$bidi" "$hidden" "$lines" "$formula" "$dots" <<-'END'
		import json, sys
		esc, bidi, hidden, lines, formula, dots = sys.argv[3:]
		def read(name):
		    return [json.loads(line) for line in open(f"{sys.argv[1]}/{name}.json", encoding="utf-8")]
		sys.exit(0 if eval("(" + sys.argv[2] + ")") else 1)
	END
	ok $? "$1"
}
exactly "labels" "{f'esc={esc}', f'bidi={bidi}', f'hidden={hidden}', f'lines={lines}', f'formula={formula}',
	f'dots={dots}', 'large=' + 'z' * 65536, f'{esc}=key'} <= set(read('evil')[0]['labels'])"
exactly "programs that listen" "{esc, '=1+1 |x'} <= {x['process'] for x in read('evil')[0]['listeners']}"
exactly "host's name" "any(x['name'] == 'fake' + bidi for x in read('hosts'))"
exactly "programs" "{'/programs/' + x for x in (esc, bidi, hidden, '=1+1 |x', '@SUM(A1)')} <=
	{(x['process'] or {}).get('exe') for x in read('events')}"
exactly "a program whose name is not UTF-8: byte by byte" \
	"':/programs/100%25%FF%FE' in {(x['process'] or {}).get('exe') for x in read('events')}"
exactly "a path too long: by a digest" \
	"{'#'} == {x['process']['exe'][0] for x in read('events') if x['process'] and x['process']['exe']
	and len(x['process']['exe']) == 37 and '/' not in x['process']['exe']}"
exactly "events are found by such a path" "{'/programs/' + esc} == {x['process']['exe'] for x in read('asked')}"
exactly "users" "{esc, bidi, '=2+3', ':100%25%FF%FE'} <= {(x['user'] or {}).get('name') for x in read('events')} and
	{esc, bidi, '=2+3', ':100%25%FF%FE'} <= {x.get('user') for x in read('users')}"
exactly "rules by such paths decided for those, and for no others" \
	"{('/programs/' + esc, 8), (':/programs/100%25%FF%FE', 9), ('/programs/' + bidi, 10)} ==
	{((x['process'] or {}).get('exe'), x['rule']) for x in read('later')}"
grep -qiF 'u001b[2J\u001b[31mred"' "$lib_data/events.json" && ! grep -q "$(printf '\033')" "$lib_data/events.json"
ok $? "JSON says an escape character as RFC 8259 wants it"
grep -qF '\x1b[2J\x1b[31mred' "$lib_data/shown"/*.events &&
	grep -qF '/programs/\x1b[2J\x1b[31mred' "$lib_data/shown"/*.users
ok $? "the tables show it inert: $(grep -hoF '/programs/\x1b[2J\x1b[31mred' "$lib_data/shown"/*.users | head -n 1)"
exactly "reasons" "any(esc + bidi in json.dumps(x, ensure_ascii=False).encode().decode('unicode_escape', 'ignore')
	or esc + bidi in [str(v) for v in x.values()] for x in read('audit'))"
# --- an agent that reports what is not its own ---

lib_host thief 4
stranger_on thief
from_file() { sed -n "s/^$1 //p" "$2"; }
stranger enroll "$(lib_token agent thief)" thief "$folder/thief.key"
cp "$lib_data/cli/admin.key" "$folder/admin.key"
from_file public "$lib_data/controller/controller.key" >"$folder/controller.pub"
from_file public "$lib_data/recorder/key" >"$folder/recorder.pub"
echo 192.168.7.1 >"$folder/address"
echo 192.168.7.4 >"$folder/own"
for host in fake srv; do
	echo "$(from_file uuid "$lib_data/agent-$host/agent.key") $(lib_address $host)"
done >"$folder/victims"
stranger reports "$folder"
lib_pr users --json 2>/dev/null | grep -q thief-was-here
[ $? -eq 1 ]
ok $? "no user of its invention was seen anywhere"
! lib_pr hosts --json 2>/dev/null | grep -qE '"name":"(mine|stolen)"'
ok $? "no host has the name that it gave"
lib_pr events --joined --json -n 0 2>/dev/null >"$lib_data/joined.json"
! grep thief-was-here "$lib_data/joined.json" | grep -q '"reporter":"terminator"'
ok $? "its event is joined with nobody's"

diag "users in events: $(python3 -c 'import json,sys
print(sorted({str((json.loads(l)["user"] or {}).get("name"))[:40] for l in open(sys.argv[1])}))' "$lib_data/events.json" | cat -v)"
diag "took $SECONDS s"
