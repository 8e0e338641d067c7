#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A subscriber that we did not write in C: doc/examples/follow_events.py joins with a token, follows
# live events, is killed and started again, and may do nothing else. What it printed is compared with
# what the recorder holds.
. "$(dirname "$0")/lib.sh"
lib_start sub
example=$lib_source/doc/examples/follow_events.py
keys=$lib_data/subscriber.json

lib_host ctl 1
lib_host srv 2
lib_host cli 3
lib_host sub 4
lib_controller ctl
lib_recorder ctl
lib_agent srv
lib_agent cli
lib_spawn web nsenter --net="/run/netns/prt-$lib_name-srv" busybox httpd -f -p 8000 -h "$lib_source/doc"

lib_in sub "$example" join "$(lib_token subscriber example)" "$keys" >"$lib_data/join.log" 2>&1
is "$(cat "$lib_data/join.log")" 'joined as subscriber' "the example joins with a token"
is "$(stat -c %a "$keys")" 600 "its keys are its own"
lib_in sub "$example" join "portreeve-1-AAAA" "$lib_data/none" >"$lib_data/join2.log" 2>&1
[ $? -ne 0 ] && grep -q 'damaged' "$lib_data/join2.log"
ok $? "a damaged token is told"

follow() { # LABEL [--json]
	local label=$1
	shift
	lib_spawn "$label" nsenter --net="/run/netns/prt-$lib_name-sub" "$example" follow "$keys" "$@"
}
connections() { # COUNT
	local i
	for i in $(seq "$1"); do
		lib_in cli curl -s -m 2 -o /dev/null http://192.168.7.2:8000/policy.md
	done
}
lines() { cat "$lib_data"/follow*.log | grep -c '"dst_port": 8000'; }
has() { [ "$(lines)" -ge "$1" ]; }

follow follow1 --json
sleep 2
connections 20
lib_until 10 has 40
ok $? "20 connections, both ends of each: $(lines) events followed live"
lib_stop follow1 KILL
connections 10
follow follow2 --json
lib_until 10 has 60
ok $? "killed and started again it has what came between: $(lines)"
lib_stop recorder KILL
connections 5
lib_recorder_run
connections 5
lib_until 25 has 80
ok $? "a recorder that is killed and comes back is followed on: $(lines)"
sleep 1
lib_stop follow2

# The same events as the recorder holds, none twice, each agent's in order.
lib_pr events 'dst.port:8000' --json -n 0 2>/dev/null | sed -n 's/^{"id":"\([^"]*\)".*/\1/p' | sort \
	>"$lib_data/recorded"
cat "$lib_data"/follow[12].log | grep '"dst_port": 8000' |
	sed -n 's/.*"id": "\([^"]*\)".*/\1/p' >"$lib_data/followed"
sort "$lib_data/followed" >"$lib_data/followed.sorted"
cmp -s "$lib_data/recorded" "$lib_data/followed.sorted"
ok $? "it got exactly the $(wc -l <"$lib_data/recorded") events that the recorder holds, none twice"
awk '{ agent = substr($0, 1, 36); number = substr($0, 38) + 0
	if (number <= last[agent]) bad = 1
	last[agent] = number } END { exit bad }' "$lib_data/followed"
ok $? "each agent's in order"
lib_pr events 'dst.port:8000' --json -n 1 2>/dev/null >"$lib_data/one"
id=$(sed -n 's/^{"id":"\([^"]*\)".*/\1/p' "$lib_data/one")
exe=$(sed -n 's/.*"exe":"\([^"]*\)".*/\1/p' "$lib_data/one")
grep -h "\"id\": \"$id\"" "$lib_data"/follow[12].log | grep -q "\"exe\": \"$exe\""
ok $? "and says the same of one ($exe)"

follow follow3
sleep 2
connections 1
people() { grep -q 'cli -> srv  tcp/8000  /usr/bin/busybox as root  WOULD-DENY' "$lib_data/follow3.log"; }
lib_until 5 people
ok $? "for people: $(grep -m 1 busybox "$lib_data/follow3.log")"
lib_stop follow3

# --- what a subscriber may not ---
/usr/bin/python3 - "$keys" "$lib_data/as-cli" <<-'END'
	import json, sys
	keys = json.load(open(sys.argv[1]))
	print("uuid %(uuid)s\npublic %(public)s\nsecret %(secret)s" % keys, file=open(sys.argv[2] + ".key", "w"))
END
chmod 600 "$lib_data/as-cli.key"
sed "s#^key *=.*#key = $lib_data/as-cli.key#" "$lib_data/cli/cli.conf" >"$lib_data/as-cli.conf"
chmod 600 "$lib_data/as-cli.conf"
echo 'mode  enforce default' >"$lib_data/policy"
for command in 'hosts' 'policy show' "policy import $lib_data/policy" 'policy rollback 1' 'mode enforce default' \
	'enroll' 'agent list' 'quarantine srv --reason x' 'audit' 'explain srv cli tcp/1'; do
	# shellcheck disable=SC2086
	lib_in sub "$lib_build/portreeve" --config "$lib_data/as-cli.conf" $command >"$lib_data/refused" 2>&1
	[ $? -eq 4 ] && grep -q 'role subscriber' "$lib_data/refused"
	ok $? "refused to a subscriber: $command"
done
lib_in sub "$lib_build/portreeve" --config "$lib_data/as-cli.conf" events -n 1 >"$lib_data/allowed" 2>&1
ok $? "events are not"
lib_pr agent revoke example >/dev/null 2>&1
sleep 1.5
lib_in sub timeout 8 "$example" follow "$keys" >"$lib_data/revoked.log" 2>&1
[ $? -eq 1 ] && grep -q 'does not answer' "$lib_data/revoked.log"
ok $? "revoked, its key opens nothing: $(cat "$lib_data/revoked.log")"
