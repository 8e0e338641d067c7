#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Containers in the host's network namespace, told apart from the host and from each other by control
# group; containers that joined another one's namespace; --pid=host; a user namespace. Rules by group
# let one of them through and not the other, nor the host, in both directions: judged at the receiver
# by capture, and by its word to the client. Who cannot be told is nobody, and is denied.
set -u
. "$(dirname "$0")/lib.sh"
lib_start hostnt

lib_host ctl 1
lib_host alpha 2
lib_host beta 3
cc -O2 -Wall -static -o "$lib_data/port_log" "$lib_source/tests/tools/port_log.c" ||
	bail "cannot build port_log"
lib_engine alpha

run() { # NAME OPTIONS... -- COMMAND...: a container on alpha
	local name=$1 options=()
	shift
	while [ "$1" != -- ]; do
		options+=("$1")
		shift
	done
	shift
	lib_docker alpha run -d --name "$name" -v "$lib_data/port_log:/bin/port_log:ro" "${options[@]}" \
		prt-busybox "$@" >/dev/null || bail "no container $name"
}
run one --network host -- /bin/port_log serve 9101
run two --network host -- /bin/port_log serve 9102
run web -- /bin/port_log serve 9201
run side --network container:web -- /bin/port_log serve 9202
run seer --network host --pid host -- /bin/port_log serve 9103
lib_spawn serve-alpha nsenter --net="/run/netns/prt-$lib_name-alpha" "$lib_data/port_log" serve 9100
lib_spawn serve-beta nsenter --net="/run/netns/prt-$lib_name-beta" "$lib_data/port_log" serve 9001

lib_controller ctl
lib_recorder ctl
lib_agent alpha "$lib_run/alpha.docker"
lib_agent beta
for name in one two web side seer; do
	lib_until 15 lib_observed $name || bail "$name is not watched: see $lib_data/agent-alpha.log"
done
pid_of() { lib_docker alpha inspect -f '{{.State.Pid}}' "$1"; }
id_of() { lib_docker alpha inspect -f '{{.Id}}' "$1"; }
web_ip=$(lib_docker alpha inspect -f '{{.NetworkSettings.IPAddress}}' web)

# --- each is an endpoint ---

field() { lib_pr show "$1" --json 2>/dev/null | sed -n "s/.*\"$2\": *\"\\([^\"]*\\)\".*/\\1/p" | head -n 1; }
listens() { lib_pr show "$1" --json 2>/dev/null | grep -o '"service": *"[^"]*"' | grep -c "tcp/$2\""; }
# NAME PORT...: who of them listens. Looked at every two seconds, the host by a thread of its own.
listening() { while [ $# -gt 0 ]; do printf '%s ' "$(listens "$1" "$2")"; shift 2; done; }
listening_is() { local wanted=$1; shift; [ "$(listening "$@")" = "$wanted" ]; } # COUNTS NAME PORT...
listens_are() { # TEXT COUNTS NAME PORT...
	local text=$1 wanted=$2
	shift 2
	lib_until 10 listening_is "$wanted" "$@"
	is "$(listening "$@")" "$wanted" "$text"
}
[[ $(field one endpoint) =~ ^[0-9a-f]{8}-[0-9a-f]{4}-5 ]] && [ "$(field one endpoint)" != "$(field two endpoint)" ]
ok $? "a host-network container is an endpoint with a UUID of its own: $(field one endpoint)"
[[ $(field one cgroup) = */$(id_of one) ]]
ok $? "and its control group is shown: $(field one cgroup)"

listens_are "a listener is its container's, not its neighbours' nor the host's" "1 0 0 0 " \
	one 9101 two 9101 seer 9101 alpha 9101
listens_are "and the host's is the host's" "1 0 " alpha 9100 one 9100
listens_are "so it is with a container that joined another" "1 0 0 1 " web 9201 side 9201 web 9202 side 9202

# --- who opens what ---

# opens WHO ADDRESS PORT SOURCE-PORT [USER]: one connection; the server's word is in from.SOURCE-PORT
opens() {
	if [ "$1" = alpha ] || [ "$1" = beta ]; then
		lib_in "$1" "$lib_data/port_log" open "$2" "$3" "$4" 1 >"$lib_data/from.$4"
	else
		lib_docker alpha exec -u "${5:-root}" "$1" /bin/port_log open "$2" "$3" "$4" 1 >"$lib_data/from.$4"
	fi
}
reached() { grep -q . "$lib_data/from.$1" && ! grep -q ' - -$' "$lib_data/from.$1"; }
# batch TEXT <<<"WHO ADDRESS PORT SOURCE-PORT USER yes|no"...: all at once, then a result for each
batch() {
	local text=$1 lines=() line who address port source user wanted
	mapfile -t lines
	for line in "${lines[@]}"; do
		read -r who address port source user wanted <<<"$line"
		opens "$who" "$address" "$port" "$source" "$user" 2>>"$lib_data/opens.log" &
	done
	wait
	for line in "${lines[@]}"; do
		read -r who address port source user wanted <<<"$line"
		if [ "$wanted" = yes ]; then
			reached "$source"
			ok $? "$text: $who reaches $address:$port"
		else
			! reached "$source"
			ok $? "$text: $who does not reach $address:$port"
		fi
	done
}
judge() { # TEXT WANTED... (see judge_hostnet.py)
	local text=$1
	shift
	sleep 0.7
	lib_pr events -n 10000 --json >"$lib_data/events.json" 2>/dev/null
	python3 "$lib_source/tests/tools/judge_hostnet.py" "$lib_data/events.json" "$@" >"$lib_data/judged"
	ok $? "$text"
	while read -r line; do diag "$line"; done <"$lib_data/judged"
}
log=$lib_data/port_log

# --- observe: events name the container; nothing waits, so a far end may ask before the near end ---

batch observe <<-'END'
	one 192.168.7.3 9001 20001 root yes
	two 192.168.7.3 9001 20002 www yes
	alpha 192.168.7.3 9001 20003 root yes
	beta 192.168.7.2 9101 20004 root yes
	beta 192.168.7.2 9100 20005 root yes
	side 192.168.7.3 9001 20006 root yes
	web 192.168.7.3 9001 20007 root yes
	seer 192.168.7.3 9001 20008 www yes
END
judge "observe: events name the endpoint, its program and its user" \
	"20001 initiator one beta /bin/port_log root would-deny -" \
	"20001 terminator * beta $log root would-deny -" \
	"20002 initiator two beta /bin/port_log www would-deny -" \
	"20002 terminator * beta $log root would-deny -" \
	"20003 initiator alpha beta $log root would-deny -" \
	"20003 terminator * beta $log root would-deny -" \
	"20004 initiator beta - $log root would-deny -" \
	"20004 terminator beta one /bin/port_log root would-deny -" \
	"20005 terminator beta alpha $log root would-deny -" \
	"20006 initiator side beta /bin/port_log root would-deny -" \
	"20007 initiator web beta /bin/port_log root would-deny -" \
	"20008 initiator seer beta /bin/port_log www would-deny -"

# --- enforce at the far end alone, then at the near end: the group with one in it ---

groups='group one   select name one
group two   select name two
group side  select name side
group seer  select name seer
group alpha select host alpha
group beta  select host beta
'
policy() { # NAME MODES...: with the rules on stdin
	local name=$1
	shift
	{
		printf '%s' "$groups"
		printf 'mode enforce group %s\n' "$@"
		cat
	} >"$lib_data/policy"
	lib_commit "$lib_data/policy" "$name"
}
policy far beta <<-'END'
	rule 10 allow from one to beta tcp/9001
	rule 20 allow from side to beta tcp/9001
END
batch "far end in enforce" <<-'END'
	one 192.168.7.3 9001 21001 root yes
	two 192.168.7.3 9001 21002 root no
	alpha 192.168.7.3 9001 21003 root no
	side 192.168.7.3 9001 21006 root yes
	web 192.168.7.3 9001 21007 root no
END
judge "the far end says whom it denied" \
	"21001 terminator one beta $log root allowed 10" \
	"21002 terminator two beta $log root denied -" \
	"21003 terminator alpha beta $log root denied -"

policy near one two alpha side seer <<-'END'
	rule 10 allow from one to beta tcp/9001
	rule 20 allow from side to beta tcp/9001
	rule 30 allow user www from seer to beta tcp/9001
	rule 40 allow from beta to one tcp/9101
	rule 50 allow from beta to side tcp/9202
	rule 60 allow from one to alpha tcp/9100
	rule 70 allow from one to two tcp/9102
	rule 80 allow from alpha to alpha tcp/9100
END
lib_capture_start beta 'tcp[tcpflags] & tcp-syn != 0 and tcp[tcpflags] & tcp-ack == 0 and
	dst port 9001 and (src port 22002 or src port 22003 or src port 22007 or src port 22009)'
batch "near end in enforce" <<-'END'
	one 192.168.7.3 9001 22001 root yes
	two 192.168.7.3 9001 22002 root no
	alpha 192.168.7.3 9001 22003 root no
	side 192.168.7.3 9001 22006 root yes
	seer 192.168.7.3 9001 22008 www yes
	seer 192.168.7.3 9001 22009 root no
	beta 192.168.7.2 9101 22010 root yes
	beta 192.168.7.2 9102 22011 root no
	beta 192.168.7.2 9100 22012 root no
	one 192.168.7.2 9100 22013 root yes
	one 127.0.0.1 9102 22014 root yes
	two 127.0.0.1 9101 22015 root no
	alpha 127.0.0.1 9100 22016 root yes
	alpha 127.0.0.1 9102 22017 root no
END
is "$(lib_capture_stop)" 0 "not one packet of what is denied came to beta"
lib_pr explain beta 192.168.7.2 tcp/9101 >"$lib_data/explain.out" 2>&1
[ $? -ne 0 ] && grep -q 'do not fare alike' "$lib_data/explain.out" && grep -q 'to one: allowed' "$lib_data/explain.out"
ok $? "explain: an address of the host is also its guests': $(head -n 1 "$lib_data/explain.out")"
judge "the events say which rule, at both ends" \
	"22001 initiator one beta /bin/port_log root allowed 10" \
	"22001 terminator one beta $log root allowed 10" \
	"22002 initiator two beta /bin/port_log root denied -" \
	"22003 initiator alpha beta $log root denied -" \
	"22008 initiator seer beta /bin/port_log www allowed 30" \
	"22009 initiator seer beta /bin/port_log root denied -" \
	"22010 terminator beta one /bin/port_log root allowed 40" \
	"22011 terminator beta two /bin/port_log root denied -" \
	"22012 terminator beta alpha $log root denied -" \
	"22013 initiator one alpha /bin/port_log root allowed 60" \
	"22013 terminator one alpha $log root allowed 60" \
	"22014 terminator one two /bin/port_log root allowed 70" \
	"22015 initiator two one /bin/port_log root denied -" \
	"22016 initiator alpha alpha $log root allowed 80" \
	"22017 initiator alpha two $log root denied -"

# --- a user namespace: whoever is root in one of his own is not root here ---

policy users alpha one beta <<-'END'
	rule 10 allow user root from alpha to beta tcp/9001
	rule 20 allow user root from one to beta tcp/9001
	rule 30 allow user www-data from alpha to beta tcp/9001
END
pretends() { # OPTIONS... -- SOURCE-PORT: user 33, in new namespaces, connects from alpha
	local options=()
	while [ "$1" != -- ]; do
		options+=("$1")
		shift
	done
	lib_in alpha setpriv --reuid 33 --regid 33 --clear-groups unshare "${options[@]}" \
		"$lib_run/port_log" open 192.168.7.3 9001 "$2" 1 >"$lib_data/from.$2" 2>>"$lib_data/opens.log"
}
cp "$lib_data/port_log" "$lib_run/port_log" && chmod 0755 "$lib_run" "$lib_run/port_log"
pretends --user --map-root-user --mount -- 27001
pretends --user -- 27002
opens alpha 192.168.7.3 9001 27003
judge "a user of a user namespace is the host's user, by number and name" \
	"27001 initiator alpha beta $lib_run/port_log www-data allowed 30" \
	"27002 initiator alpha beta $lib_run/port_log www-data allowed 30" \
	"27003 initiator alpha beta $log root allowed 10"

# --- control groups: below the container's it is the container; a name alone is nobody's ---

# in_groups PATH-OF-PIDS PATH-OF-THE-REST COMMAND...: on alpha, in these groups of all hierarchies
trees=(/sys/fs/cgroup/*/)
[ "$(stat -f -c %T /sys/fs/cgroup)" = cgroup2fs ] && trees=(/sys/fs/cgroup) # one alone, of pids too
in_groups() {
	# shellcheck disable=SC2016
	lib_in alpha bash -c 'pids=$1 rest=$2 trees=$3; shift 3
		for tree in $trees; do
			path=$rest
			case $tree in */pids/ | */cgroup) path=$pids ;; esac
			mkdir -p "$tree/$path" && echo $$ >"$tree/$path/cgroup.procs"
		done
		exec "$@"' groups "$1" "$2" "${trees[*]}" "${@:3}" 2>>"$lib_data/groups.log"
}
groups_clean() {
	local tree
	for tree in "${trees[@]}"; do
		rmdir "$tree/prt-hostnt/docker-$1.scope" "$tree/prt-hostnt" "$tree/docker/$1/below" 2>/dev/null
	done
	return 0
}
one_id=$(id_of one)
policy groups one two alpha side seer <<-'END'
	rule 10 allow from one to beta tcp/9001
	rule 40 allow from beta to one tcp/9101
END
in_groups "docker/$one_id/below" "docker/$one_id" "$log" open 192.168.7.3 9001 23001 1 >"$lib_data/from.23001"
reached 23001
ok $? "a process in a group below the container's is the container's"
in_groups "prt-hostnt/docker-$one_id.scope" . "$log" open 192.168.7.3 9001 23002 1 >"$lib_data/from.23002"
! reached 23002
ok $? "a process in a group that only has the container's name is not let through"
half=()
if [ ${#trees[@]} -gt 1 ]; then
	in_groups "docker/$one_id" . "$log" open 192.168.7.3 9001 23003 1 >"$lib_data/from.23003"
	! reached 23003
	ok $? "nor one that is in its groups of one hierarchy alone"
	half=("23003 initiator - - $log root denied -")
fi
groups_clean "$one_id"
judge "the events of those who cannot be told name nobody" \
	"23001 initiator one beta $log root allowed 10" \
	"23002 initiator - - $log root denied -" "${half[@]}"

# --- one container in enforce in a host that observes; quarantine; the agent is killed ---

policy guest one beta <<-'END'
	rule 10 allow from one to beta tcp/9001
	rule 20 allow from alpha to beta tcp/9001
	rule 30 allow from two to beta tcp/9001
END
is "$(field one enforced) $(field alpha enforced) $(field two enforced)" "enforce observe observe" \
	"one container enforces, the host and its other containers observe"
batch "a guest in enforce" <<-'END'
	one 192.168.7.3 9001 24001 root yes
	one 192.168.7.2 9100 24002 root no
	alpha 192.168.7.2 9102 24003 root yes
	two 192.168.7.2 9100 24004 root yes
END
lib_pr quarantine two --reason test >"$lib_data/quarantine.out" 2>&1
lib_until 5 lib_enforced two
batch "two in quarantine" <<-'END'
	two 192.168.7.3 9001 24011 root no
	one 192.168.7.3 9001 24012 root yes
	alpha 192.168.7.3 9001 24013 root yes
END
lib_pr release two >>"$lib_data/quarantine.out" 2>&1
lib_until 5 lib_observed two
ok $? "released"

lib_capture_start beta 'tcp[tcpflags] & tcp-syn != 0 and dst port 9002'
for _ in 1 2 3 4; do
	# shellcheck disable=SC2016
	lib_docker alpha exec -d one sh -c \
		'i=0; while [ $i -lt 20 ]; do nc -w 1 192.168.7.3 9002 </dev/null; i=$((i + 1)); done'
done
agent_pid=$(lib_pid_of agent-alpha)
kill -KILL "$agent_pid"
lib_until 5 lib_gone "$agent_pid"
echo 'ebpf = no' >>"$lib_data/agent-alpha.conf"
lib_agent_run alpha
lib_until 15 lib_agent_active alpha
sleep 1
lib_until 10 lib_enforced one && lib_until 10 lib_observed alpha
ok $? "a killed agent's successor finds both as they were"
is "$(lib_capture_stop)" 0 "and not one packet of the container got through meanwhile"

# --- without eBPF ---

batch "without eBPF" <<-'END'
	one 192.168.7.3 9001 25001 root yes
	one 192.168.7.2 9100 25002 root no
	alpha 192.168.7.3 9001 25003 root yes
	two 192.168.7.3 9001 25004 root yes
	beta 192.168.7.2 9101 25005 root no
END
judge "without eBPF the events say it, too" \
	"25001 initiator one beta /bin/port_log root allowed 10" \
	"25002 initiator one alpha /bin/port_log root denied -" \
	"25003 initiator alpha beta $log root allowed 20" \
	"25003 terminator alpha beta $log root allowed 20" \
	"25004 initiator two beta /bin/port_log root allowed 30" \
	"25005 initiator beta - $log root denied -"

# --- they go and come ---

lib_docker alpha stop -t 1 one >/dev/null
back_in_observe() { lib_in alpha nft list table inet portreeve | grep -q 'state=observe'; }
lib_until 10 back_in_observe
ok $? "the container stops: the host's packets are not held any more"
lib_docker alpha start one >/dev/null
lib_until 10 lib_enforced one
ok $? "it starts again: it is in enforce again"
batch "started again" <<-'END'
	one 192.168.7.3 9001 26001 root yes
	one 192.168.7.2 9100 26002 root no
	alpha 192.168.7.2 9102 26003 root yes
END
diag "took $SECONDS s"
