#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A real Docker engine, two containers and a client host with an agent of its own: allow and deny by
# group across containers, host and client. The judges are the servers' own logs and a capture at
# the receiver, never our own word.
set -u
. "$(dirname "$0")/lib.sh"
lib_start docker

lib_host ctl 1
lib_host srv 2
lib_host cli 3
lib_engine srv --ip6tables --experimental
lib_docker srv network create --subnet 172.30.0.0/24 appnet >/dev/null
lib_docker srv run -d --name web --network appnet -p 8080:80 prt-busybox \
	/bin/httpd -f -vv -p 80 -h /www >/dev/null
lib_docker srv run -d --name app --network appnet prt-busybox /bin/sleep 100000 >/dev/null
web_address=$(lib_docker srv inspect -f '{{.NetworkSettings.Networks.appnet.IPAddress}}' web)

lib_controller ctl
lib_recorder ctl
lib_agent srv "$lib_run/srv.docker"
lib_agent cli

# Servers that we did not write, each with a log of its own.
lib_spawn http-srv nsenter --net="/run/netns/prt-$lib_name-srv" \
	busybox httpd -f -vv -p 9001 -h "$lib_source/doc"
lib_spawn http-cli nsenter --net="/run/netns/prt-$lib_name-cli" \
	busybox httpd -f -vv -p 9000 -h "$lib_source/doc"
lib_spawn udp-srv nsenter --net="/run/netns/prt-$lib_name-srv" \
	socat -d -d UDP4-RECVFROM:5300,fork EXEC:cat

groups='group web    select name web kind container
group app    select name app kind container
group srv    select name srv kind host
group client select name cli kind host
mode enforce group web
mode enforce group app
mode enforce group srv
mode enforce group client
'
all_rules='rule 10 allow from client to srv tcp/8080
rule 11 allow from client to web tcp/80
rule 20 allow from app to web tcp/80
rule 30 allow from app to client tcp/9000 comment "masqueraded, and still known at the far end"
rule 40 allow from srv to web tcp/80
rule 50 allow from client to srv tcp/9001
rule 60 allow from client to srv udp/5300
'

policy_without() { # policy_without [NUMBER]: commit all rules but that one
	{
		printf '%s' "$groups"
		printf '%s' "$all_rules" | grep -v "^rule ${1:-none} "
	} >"$lib_data/policy"
	lib_commit "$lib_data/policy" "without ${1:-none}"
}


# How often a server's own log says that it answered.
answers_web() { lib_docker srv logs web 2>&1 | grep -c 'response:'; }
answers_srv() { grep -c 'response:' "$lib_data/http-srv.log"; }
answers_cli() { grep -c 'response:' "$lib_data/http-cli.log"; }
answers_udp() { grep -c 'received packet' "$lib_data/udp-srv.log"; }


connect_published() { lib_in cli curl -s -o /dev/null --connect-timeout 2 -m 4 http://192.168.7.2:8080/; }
# A request from a container; true when the answer is there.
from_app() { # ADDRESS PORT
	lib_docker srv exec app sh -c "printf 'GET / HTTP/1.0\r\n\r\n' | nc -w 3 $1 $2" |
		grep -q '^HTTP'
}

connect_app_web() { from_app "$web_address" 80; }
connect_app_cli() { from_app 192.168.7.3 9000; }
connect_srv_web() { lib_in srv curl -s -o /dev/null --connect-timeout 2 -m 4 "http://$web_address/"; }
connect_own_published() { lib_in srv curl -s -o /dev/null --connect-timeout 2 -m 4 http://192.168.7.2:8080/; }
connect_cli_srv() { lib_in cli curl -s -o /dev/null --connect-timeout 2 -m 4 http://192.168.7.2:9001/; }
connect_cli_srv6() { lib_in cli curl -s -o /dev/null --connect-timeout 2 -m 4 'http://[fd07::2]:9001/'; }
connect_udp() { [ "$(echo ping | lib_in cli timeout 3 socat -t 2 - UDP4:192.168.7.2:5300)" = ping ]; }

# pair WHAT CONNECT ANSWERS RULE RECEIVER CAPTURE-FILTER REACHES: one allow and one deny.
# REACHES: whether a denied packet may reach the receiver (the far end denies) or not (the near end).
pair() {
	local what=$1 connect=$2 answers=$3 rule=$4 receiver=$5 filter=$6 reaches=$7 before after seen
	policy_without
	before=$($answers)
	$connect
	local status=$?
	sleep 0.2
	after=$($answers)
	[ $status -eq 0 ] && [ "$after" -eq $((before + 1)) ]
	ok $? "$what: allowed by its group, and the server answered once"
	policy_without "$rule"
	before=$($answers)
	lib_capture_start "$receiver" "$filter"
	$connect
	status=$?
	sleep 0.2
	after=$($answers)
	seen=$(lib_capture_stop)
	if [ "$reaches" = reaches ]; then
		[ $status -ne 0 ] && [ "$after" -eq "$before" ] && [ "$seen" -gt 0 ]
		ok $? "$what: denied at the far end, the server saw nothing"
	else
		[ $status -ne 0 ] && [ "$after" -eq "$before" ] && [ "$seen" -eq 0 ]
		ok $? "$what: denied at the near end, no packet left"
	fi
	diag "answers $before -> $after, packets at the receiver $seen, client's status $status"
}

pair "client to published port" connect_published answers_web 11 srv 'tcp port 8080' reaches
pair "client to published port, as the host" connect_published answers_web 10 srv 'tcp port 8080' -
pair "container to container" connect_app_web answers_web 20 srv "tcp port 80 and src $web_address" -
pair "container to client" connect_app_cli answers_cli 30 cli 'tcp port 9000' -
pair "host to container" connect_srv_web answers_web 40 srv "tcp port 80 and src $web_address" -
pair "host to its own published port" connect_own_published answers_web 40 srv "tcp port 80 and src $web_address" -
pair "client to host" connect_cli_srv answers_srv 50 srv 'tcp port 9001' -
pair "client to host over IPv6" connect_cli_srv6 answers_srv 50 srv 'ip6 and tcp port 9001' -
pair "client to host over UDP" connect_udp answers_udp 60 srv 'udp port 5300' -

# What was recorded: the story of one connection of each kind, told by both ends.
sleep 1
lib_pr events -n 1000 --json >"$lib_data/events.json" 2>/dev/null
told() { # told TEXT PYTHON-CONDITION over `e`, the list of events
	python3 - "$lib_data/events.json" "$2" <<-'END'
		import json, sys
		e = [json.loads(line) for line in open(sys.argv[1])]
		def ends(**want):
		    """Connections of which both ends were recorded with these values."""
		    def fits(x):
		        return all(str(x[k] if k in x else x[k[:3]][k[4:]]) == v for k, v in want.items())
		    near = {x["connection"]: x for x in e if x["reporter"] == "initiator" and fits(x)}
		    far = {x["connection"]: x for x in e if x["reporter"] == "terminator" and fits(x)}
		    return [(near[c], far[c]) for c in near if c in far]
		sys.exit(0 if eval(sys.argv[2]) else 1)
	END
	ok $? "$1"
}

told "container to container: both ends recorded as one connection, with process and user" \
	"any(n['process']['name'] == 'busybox' and f['process']['name'] == 'busybox'
	 and n['user'] == {'uid': 0, 'name': 'root'} and n['src']['kind'] == 'container'
	 for n, f in ends(src_name='app', dst_name='web', service='tcp/80', verdict='allowed'))"
told "published port: the container's end knows the client and the address before translation" \
	"any(x['src']['name'] == 'cli' and x['dst']['name'] == 'web' and x['reporter'] == 'terminator'
	 and x['translated'] == {'ip': '192.168.7.2', 'port': 8080} and x['rule'] == 11 for x in e)"
told "published port of the own host: the host is the near end, the container the far end" \
	"any(n['src']['name'] == 'srv' and n['process']['name'] == 'curl' and
	 n['translated'] == {'ip': '192.168.7.2', 'port': 8080} and f['process']['name'] == 'busybox'
	 for n, f in ends(dst_name='web', service='tcp/80', verdict='allowed'))"
told "a denied connection says so, with mode, default and who decided" \
	"any(x['verdict'] == 'denied' and x['mode'] == 'enforce' and x['rule'] is None
	 and x['decided_by'] == 'worker' and x['src']['name'] == 'app' for x in e)"
told "container to another host: the far end sees its host's address, and names the container all the same" \
	"any(f['src']['ip'] == '192.168.7.2' and f['src']['kind'] == 'container' and n['process']['name'] == 'busybox'
	 for n, f in ends(src_name='app', dst_name='cli', service='tcp/9000', verdict='allowed'))"
told "the rule's comment stands in the event" \
	"any(x['rule'] == 30 and x['rule_comment'] == 'masqueraded, and still known at the far end' for x in e)"
told "the client's own process is named at its end" \
	"any(x['src']['name'] == 'cli' and x['process']['name'] == 'curl'
	 and x['process']['exe'] == '/usr/bin/curl' for x in e)"
told "numbers of each agent's events have no hole" \
	"all(sorted(s) == list(range(min(s), max(s) + 1)) for s in
	 [[x['seq'] for x in e if x['agent'] == a] for a in {x['agent'] for x in e}])"
