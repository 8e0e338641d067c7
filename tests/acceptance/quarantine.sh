#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# quarantine, release, remove, and the page of a host or container. A Docker host with two web
# containers, and another host; all in observe with a rule that allows everything, so that whatever
# is denied is denied by quarantine. Judged by what real clients get.
. "$(dirname "$0")/lib.sh"
lib_start quar

pr() { lib_pr "$@" >"$lib_data/out" 2>"$lib_data/err"; }
says() { grep -qF -- "$1" "$lib_data/out" "$lib_data/err"; }
now_ms() { echo $(($(date +%s%N) / 1000000)); }

gets() { # HOST URL: a new connection brings the page
	lib_in "$1" curl -s -m 1 "$2" 2>/dev/null | grep -q hello
}
web_gets() { # CONTAINER ADDRESS PORT
	lib_docker srv exec "$1" sh -c "printf 'GET / HTTP/1.0\r\n\r\n' | nc -w 1 $2 $3" 2>/dev/null |
		grep -q hello
}
gets_not() { ! gets "$@"; }
containers() { [ "$(lib_pr hosts --json 2>/dev/null | grep -c '"kind":"container".*"status":"active"')" = "$1" ]; }

# until_bites MS COMMAND...: how long until the command is true, at most MS; in $took
until_bites() {
	local limit=$1 begin
	shift
	begin=$(now_ms)
	took=-1
	while [ $(($(now_ms) - begin)) -lt $((limit + 2000)) ]; do
		if "$@"; then
			took=$(($(now_ms) - begin))
			break
		fi
	done
	[ "$took" -ge 0 ] && [ "$took" -le "$limit" ]
}

# one attempt of 300 ms at most
denied_fast() { ! lib_in cli curl -s -m 0.3 "$1" 2>/dev/null | grep -q hello; }
allowed_fast() { lib_in cli curl -s -m 0.3 "$1" 2>/dev/null | grep -q hello; }

lib_host ctl 1
lib_host srv 2
lib_host cli 3
lib_engine srv
lib_controller ctl
lib_recorder ctl
lib_agent srv "$lib_run/srv.docker"
lib_agent cli
mkdir -p "$lib_data/www"
echo hello >"$lib_data/www/index.html"
lib_spawn web-host nsenter --net="/run/netns/prt-$lib_name-srv" busybox httpd -f -p 9000 -h "$lib_data/www"
lib_spawn web-cli nsenter --net="/run/netns/prt-$lib_name-cli" busybox httpd -f -p 9000 -h "$lib_data/www"
lib_docker srv run -d --name one -p 8001:80 prt-busybox httpd -f -p 80 -h /www >/dev/null
lib_docker srv run -d --name two -p 8002:80 prt-busybox httpd -f -p 80 -h /www >/dev/null
lib_until 15 containers 2
ok $? "two containers run"
printf 'mode  observe default\nrule 10 allow from any to any any\nlifeline from any to host srv tcp/9001\n' \
	>"$lib_data/policy"
lib_commit "$lib_data/policy" "all is allowed"
one=http://192.168.7.2:8001/ two=http://192.168.7.2:8002/ host=http://192.168.7.2:9000/
gets cli $one && gets cli $two && gets cli $host
ok $? "everybody reaches everybody from outside"
web_gets one 192.168.7.3 9000
ok $? "and from within"

# --- the page of a host, fresh within 5 s ---
page() { lib_pr show "$1" 2>/dev/null; }
shows() { page "$1" | grep -q -- "$2"; }
for field in 'Host Name *srv' 'Version ' 'Platform *Linux' 'Status *active' 'Mode *observe' \
	'OS *Debian' 'OS Version ' 'Processor ' 'Report Time ' 'MAC .*IP .*NET MASK' \
	'192.168.7.2/24 *255.255.255.0' 'PROCESS .*PID .*PORT'; do
	shows srv "$field"
	ok $? "the page of a host has: $field"
done
for field in 'Name *one(C)' 'Host *srv' 'Manufacturer *docker' 'Model *[0-9a-f]\{12\}' \
	'Image *prt-busybox' 'Container ID *[0-9a-f]\{64\}' '172.17.0.[0-9]*/16 *255.255.0.0' \
	'busybox *[0-9]* *tcp/80'; do
	shows one "$field"
	ok $? "the page of a container has: $field"
done
lib_pr hosts --json 2>/dev/null | grep '"name":"one"' |
	grep -q '"ip":"172.17.0.[0-9]*","mask":"255.255.0.0".*"port":80,"pid":"[0-9]*","process":"busybox'
ok $? "hosts --json has interfaces with mask, listeners with process, pid and port"
lib_spawn fresh nsenter --net="/run/netns/prt-$lib_name-srv" busybox httpd -f -p 9123 -h "$lib_data/www"
until_bites 5000 shows srv 'tcp/9123'
ok $? "a new listener is on the page after $took ms (limit 5000)"
lib_stop fresh
gone() { ! shows srv 'tcp/9123'; }
until_bites 5000 gone
ok $? "and off it after $took ms when it has ended"
lib_in srv ip address add 192.168.7.77/24 dev eth0
until_bites 5000 shows srv '192.168.7.77/24'
ok $? "a new address after $took ms"
lib_in srv ip address del 192.168.7.77/24 dev eth0
lib_docker srv exec -d two busybox httpd -f -p 81 -h /www
until_bites 5000 shows two 'tcp/81'
ok $? "a new listener of a container after $took ms"

# --- a container ---
pr quarantine one
is $? 2 "no quarantine without a reason"
pr quarantine one --reason 'odd mail'
ok $? "quarantine: $(cat "$lib_data/out")"
until_bites 1000 denied_fast $one
ok $? "nobody reaches it from outside after $took ms (limit 1000)"
for _ in 1 2 3; do
	gets cli $one && break
done
ok $((1 - $?)) "nor later"
web_gets one 192.168.7.3 9000
ok $((1 - $?)) "it reaches nobody"
web_gets two "$(lib_docker srv inspect -f '{{.NetworkSettings.IPAddress}}' one)" 80
ok $((1 - $?)) "nor does its neighbour reach it"
gets cli $two && gets cli $host && web_gets two 192.168.7.3 9000
ok $? "everybody else is as before"
lib_pr events is:quarantined --json 2>/dev/null | grep -q '"decided_by":"quarantine"'
ok $? "events say who decided"
shows one 'Quarantine *by admin, until it is released: odd mail'
ok $? "the page says so, and why"
lib_pr hosts 2>/dev/null | grep -q '^one(C) *active, quarantined'
ok $? "the list, too"

# --- restarts ---
lib_stop agent-srv KILL
lib_agent_run srv
lib_until 10 lib_agent_active srv
gets_not cli $one && gets cli $two
ok $? "over a restart of the agent"
lib_stop controller
lib_stop agent-srv
lib_agent_run srv
sleep 1
gets_not cli $one && gets cli $host
ok $? "over a start of the agent while no controller is there"
lib_controller_run
lib_until 15 lib_agent_active srv
gets_not cli $one && gets cli $two
ok $? "over a restart of the controller"
lib_stop agent-srv KILL
lib_in srv nft list tables | grep portreeve | while read -r _ family table; do
	lib_in srv nft delete table "$family" "$table"
done
lib_docker srv restart -t 0 one >/dev/null
lib_agent_run srv
lib_until 10 lib_agent_active srv
lib_until 10 containers 2
sleep 0.5
gets_not cli $one
ok $? "over a start on a host that has lost all its rules, with the container restarted"

# --- release, expiry ---
pr release one --reason 'it was the newsletter'
ok $? "release: $(cat "$lib_data/out")"
until_bites 1000 allowed_fast $one
ok $? "reached again after $took ms (limit 1000)"
pr quarantine one --reason 'for a moment' --for 3s
until_bites 1000 denied_fast $one
ok $? "a quarantine with an end bites after $took ms"
until_bites 5000 allowed_fast $one
ok $? "and ends by itself (after $took ms more)"
over_is_said() { lib_pr audit --json 2>/dev/null | grep '"action":"release"' | grep -q 'is over'; }
lib_until 3 over_is_said
ok $? "which the audit log has"

# --- a host ---
SSH_CONNECTION='192.168.7.9 4000 192.168.7.2 22' pr quarantine srv --reason 'all of it'
[ $? -eq 4 ] && says 'your own connection'
ok $? "a quarantine that would cut the asker's SSH session is refused"
SSH_CONNECTION='192.168.7.9 4000 192.168.7.2 9001' pr quarantine srv --reason 'all of it'
ok $? "over a lifeline it is not"
until_bites 1000 denied_fast $host
ok $? "the host is not reached after $took ms"
web_gets two 192.168.7.3 9000
ok $((1 - $?)) "nor do its containers reach anybody"
lib_spawn lifeline nsenter --net="/run/netns/prt-$lib_name-srv" busybox httpd -f -p 9001 -h "$lib_data/www"
sleep 0.3
gets cli http://192.168.7.2:9001/
ok $? "its lifeline is"
sleep 2
lib_agent_active srv
ok $? "its agent still speaks with the controller"
pr release srv
until_bites 1000 allowed_fast $host
ok $? "released, it is reached after $took ms"

# --- remove ---
pr remove two --reason 'not needed'
[ $? -ne 0 ] && says 'runs'
ok $? "a running container is not removed"
lib_docker srv stop -t 0 two >/dev/null
stopped() { lib_pr hosts --json 2>/dev/null | grep '"name":"two"' | grep -q '"status":"stopped"'; }
lib_until 5 stopped
pr remove two --reason 'not needed'
[ $? -eq 0 ] && ! lib_pr show two >/dev/null 2>&1
ok $? "a stopped one is"
pr remove cli --reason 'sold'
[ $? -ne 0 ] && says force
ok $? "an active host is not removed without --force"
pr remove cli --reason 'sold' --force
[ $? -eq 0 ] && ! lib_pr show cli >/dev/null 2>&1
ok $? "with it it is: $(cat "$lib_data/out")"
sleep 1.5
! lib_pr show cli >/dev/null 2>&1
ok $? "and does not come back by itself"
