#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Strangers, imposters and noise against a whole deployment in enforce: nobody gets in, nobody gets a
# verdict that is not theirs, each attempt shows as an error or in a count of `portreeve status`, no
# process of ours ends, and the connections of those who belong go on being decided and recorded.
#
# The stranger is tests/tools/stranger.py: another implementation of the protocol, on a host of its
# own (str), also with keys that it should not have.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/stranger.sh"
lib_start stran
stranger_on str

# Every process of ours, with the workers' starts: nothing may have ended meanwhile.
processes() {
	lib_pr status --json | grep -v '"service":"agent ' | grep -oE '"(service|pid|starts)":("[^"]*"|[0-9]*)' | tr '\n' ' '
	for label in controller recorder agent-srv agent-cli; do
		lib_gone "$(lib_pid_of $label)" && echo "$label is gone"
	done
}

undisturbed() { # undisturbed TEXT: the same processes, an allow is an allow, a deny a deny
	is "$(processes)" "$processes" "$1: the same processes as before"
	lib_in cli curl -s -m 2 -o /dev/null http://192.168.7.2:9001/policy.md
	ok $? "$1: an allowed connection is allowed"
	! lib_in cli curl -s -m 0.5 -o /dev/null http://192.168.7.2:9100/policy.md
	ok $? "$1: a denied one is denied"
}

from_file() { sed -n "s/^$1 //p" "$2"; }

lib_host ctl 1
lib_host srv 2
lib_host cli 3
lib_host str 4
lib_controller ctl
lib_recorder ctl
lib_agent srv
lib_agent cli
for port in 9001 9100; do
	lib_spawn "http-$port" nsenter --net="/run/netns/prt-$lib_name-srv" \
		busybox httpd -f -vv -p "$port" -h "$lib_source/doc"
done
lib_spawn http-str nsenter --net="/run/netns/prt-$lib_name-str" \
	busybox httpd -f -vv -p 9003 -h "$lib_source/doc"

# --- keys that a stranger may have ---
stranger enroll "$(lib_token agent thief)" thief "$folder/thief.key"
stranger enroll "$(lib_token viewer viewer)" viewer "$folder/viewer.key"
cp "$lib_data/cli/admin.key" "$folder/admin.key"
from_file public "$lib_data/controller/controller.key" >"$folder/controller.pub"
from_file public "$lib_data/recorder/key" >"$folder/recorder.pub"
echo 192.168.7.1 >"$folder/address"
echo 192.168.7.4 >"$folder/own"
printf '%s 192.168.7.3\n%s 192.168.7.2\n' "$(from_file uuid "$lib_data/agent-cli/agent.key")" \
	"$(from_file uuid "$lib_data/agent-srv/agent.key")" >"$folder/victims"

cat >"$lib_data/policy" <<-'END'
	mode enforce default
	lost deny default
	rule 10 allow from host cli to host srv tcp/9001
	rule 20 allow from host thief to host srv tcp/9002
	rule 30 allow from host cli to 192.168.7.4 tcp/9003
END
stranger imposter_hello "$folder"
lib_commit "$lib_data/policy" "enforce"
processes=$(processes)
undisturbed "at the start"
: >"$lib_data/http-9100.log"

# --- tokens ---
token=$(lib_token agent mallory)
altered=$(printf '%s' "$token" | sed 's/^\(portreeve-1-.\{20\}\)\(.\)/\1X/')
[ "$altered" != "$token" ] || altered=$(printf '%s' "$token" | sed 's/^\(portreeve-1-.\{20\}\)\(.\)/\1Y/')
printf 'state_directory = %s/mallory\nname = mallory\ndocker_socket = none\npodman_socket =\n' "$lib_data" \
	>"$lib_data/mallory.conf"
said=$(printf '%s' "$altered" | lib_in str timeout 10 "$lib_build/portreeve-agent" \
	--config "$lib_data/mallory.conf" --enroll - 2>&1)
[ $? -ne 0 ] && [ ! -e "$lib_data/mallory/agent.key" ]
ok $? "an altered token is refused before anything is made: $(printf '%s' "$said" | tail -n 1)"
stranger forge "$token"
stranger again "$token"

# --- wrong keys, wrong roles, wrong names, the same again ---
revision=$(lib_pr policy log --json | head -n 1)
stranger doors "$folder"
stranger roles "$folder"
is "$(lib_pr policy log --json | head -n 1)" "$revision" "no policy was committed meanwhile"
stranger imposter "$folder"
stranger twice "$folder"
stranger replay "$folder"
stranger large "$folder"
undisturbed "after imposters, replays and large frames"
stranger garbage "$folder"
undisturbed "after random and mutated bytes"

# --- a thousand half-open connections on each port ---
lib_spawn load nsenter --net="/run/netns/prt-$lib_name-cli" "$lib_build/tests/tools/connect_load" \
	client 192.168.7.2 9001 20 8 50 "$lib_data/load.connections"
(stranger halfopen "$folder" 1000 6.5 >"$lib_data/halfopen") &
halfopen=$!
slowest=0
for _ in 1 2 3 4 5; do
	sleep 1
	begin=$(date +%s%3N)
	lib_in ctl timeout 5 "$lib_build/portreeve" --config "$lib_data/cli/cli.conf" status >/dev/null 2>&1
	answered=$?
	took=$(($(date +%s%3N) - begin))
	[ $took -gt $slowest ] && slowest=$took
	[ $answered -eq 0 ] || break
done
ok $answered "portreeve status answers meanwhile, in at most $slowest ms"
wait $halfopen
while read -r word _ _ text; do
	case $word in
	ok) ok 0 "$text" ;;
	not) ok 1 "$text" ;;
	'#') diag "$text" ;;
	esac
done < <(sed 's/^not ok/not/; s/^# /# - - /' "$lib_data/halfopen")
lib_until 15 lib_gone "$(lib_pid_of load)"
diag "connections of an enrolled host meanwhile: $(cat "$lib_data/load.log")"
grep -q ' failed 0 ' "$lib_data/load.log"
ok $? "not one of them failed"
[ "$(sed -n 's/.*max_us \([0-9]*\).*/\1/p' "$lib_data/load.log")" -lt 1000000 ]
ok $? "each was decided within a second"
undisturbed "after the half-open connections"

# --- revoked ---
stranger revoked "$folder" thief
lib_in cli curl -s -m 2 -o /dev/null http://192.168.7.4:9003/policy.md
ok $? "before it is revoked, cli reaches the stranger's own service, as rule 30 says"
lib_pr agent revoke cli >"$lib_data/revoke.out" 2>&1
ok $? "portreeve agent revoke cli"
sleep 1
lib_capture_start str 'tcp dst port 9003 and tcp[tcpflags] & tcp-syn != 0'
! lib_in cli curl -s -m 7 -o /dev/null http://192.168.7.4:9003/policy.md
ok $? "a second later its connections get no verdict: lost mode deny holds"
is "$(lib_capture_stop)" 0 "nothing of them leaves the host"
lib_pr agent approve cli >>"$lib_data/revoke.out" 2>&1
ok $? "portreeve agent approve cli"
lib_until 10 lib_in cli curl -s -m 1 -o /dev/null http://192.168.7.4:9003/policy.md
ok $? "approved again, its connections are decided again"
lib_until 10 lib_agent_active cli
undisturbed "at the end"

# --- nothing was lost, nothing was let in ---
sleep 1.5
lib_pr events --json -n 0 >"$lib_data/events" 2>"$lib_data/events.err"
for host in cli srv; do
	uuid=$(from_file uuid "$lib_data/agent-$host/agent.key")
	grep -oE "\"id\":\"$uuid-[0-9]+\"" "$lib_data/events" | grep -oE '[0-9]+"' | tr -d '"' | sort -n \
		>"$lib_data/seq"
	is "$(tail -n 1 "$lib_data/seq")" "$(grep -c . "$lib_data/seq")" \
		"events of $host are numbered without gap ($(grep -c . "$lib_data/seq") events)"
	is "$(head -n 1 "$lib_data/seq")" 1 "from 1"
	acknowledged=$(lib_pr status --json | grep "\"agent $host\"" |
		sed -n 's/.*"events_lost":\([0-9]*\).*/\1/p')
	is "$acknowledged" 0 "agent $host lost none"
done
is "$(grep -c "\"agent\":\"$(from_file uuid "$folder/thief.key")\"" "$lib_data/events")" 1 \
	"of the thief's events the one of before the replay is kept, and none of a replay or after its revocation"
grep '"decided_by":"\(lost-controller\|deadline\)"' "$lib_data/events" | grep -q '"verdict":"denied"'
ok $? "the denial while cli was revoked is recorded, decided by lost mode"
[ ! -s "$lib_data/http-9100.log" ]
ok $? "the denied service heard nothing from beginning to end"
