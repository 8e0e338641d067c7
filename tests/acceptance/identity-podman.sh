#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Podman beside Docker on one host, and a network namespace that the configuration names: endpoints
# like any other, with rules across them in enforce, judged by the servers' own logs and by captures
# at the receiver. Podman's service absent, started, killed and started again; a namespace made anew.
set -u
. "$(dirname "$0")/lib.sh"
lib_start podman

space=/run/netns/prt-$lib_name-build
space_make() { # the third kind, with a link to the host; its server, as ip netns exec would start it
	ip netns add "prt-$lib_name-build"
	lib_in srv ip link add vbuild type veth peer name eth0 netns "$space"
	lib_in srv ip address add 10.77.0.1/24 dev vbuild
	lib_in srv ip link set vbuild up
	lib_in build ip link set lo up
	lib_in build ip address add 10.77.0.2/24 dev eth0
	lib_in build ip link set eth0 up
	lib_in build ip route add default via 10.77.0.1
	lib_spawn http-build nsenter --net="$space" busybox httpd -f -vv -p 80 -h "$lib_source/doc"
}

lib_host ctl 1
lib_host srv 2
lib_engine srv
lib_podman_make srv
lib_in srv sysctl -q -w net.ipv4.ip_forward=1
lib_docker srv network create --subnet 172.30.0.0/24 dnet >/dev/null
lib_podman srv network create --subnet 172.31.0.0/24 pnet >/dev/null 2>&1
docker_run() { lib_docker srv run -d --network dnet "$@" >/dev/null; }
podman_run() { lib_podman srv run -d "$@" >>"$lib_data/podman-run.log" 2>&1; }
docker_run --name dweb prt-busybox /bin/httpd -f -vv -p 80 -h /www
podman_run --name pweb --network pnet -p 8081:80 -l com.docker.compose.service=shop \
	prt-busybox /bin/httpd -f -vv -p 80 -h /www || bail "podman run: $(tail -n 1 "$lib_data/podman-run.log")"
# Docker's FORWARD chain ends in DROP; traffic between the engines is the tester's own wish.
lib_in srv iptables -I DOCKER-USER -j ACCEPT
lib_controller ctl
lib_recorder ctl
lib_agent srv "$lib_run/srv.docker" "$lib_run/srv.podsock" "build $space"

# --- who there is ---

shown() { lib_pr show "$1" --json 2>/dev/null; } # NAME
field() { shown "$1" | sed -n "s/.*\"$2\":\"\([^\"]*\)\".*/\1/p"; } # NAME FIELD
active() { [ "$(field "$1" status)" = active ]; }
uuid_of() { # of a full container ID
	python3 -c 'import sys, uuid; print(uuid.uuid5(uuid.UUID("6b1d0c5e-9342-4e7f-8a26-d0517c3be894"), sys.argv[1]))' "$1"
}
podman_id() { lib_podman srv inspect -f '{{.Id}}' "$1" 2>/dev/null; }
count() { lib_pr hosts --json 2>/dev/null | grep -c '"status":"active"'; }

lib_until 15 active dweb
ok $? "Docker's container is there, without any Podman service"
grep -q "info agent: no Podman engine, trying on: $lib_run/srv.podsock: it is not there" "$lib_data/agent-srv.log"
ok $? "the absent one is said, once: $(grep -c 'no Podman engine' "$lib_data/agent-srv.log")"
[ "$(count)" -eq 2 ]
ok $? "host and Docker's container: nothing more ($(count))"
lib_podman_run srv
lib_until 5 active pweb
ok $? "the service runs: Podman's container is there"
[ "$(field dweb manufacturer)/$(field pweb manufacturer)" = docker/podman ]
ok $? "whose each is: $(field dweb manufacturer), $(field pweb manufacturer), image $(field pweb image)"
is "$(field pweb endpoint)" "$(uuid_of "$(podman_id pweb)")" "a Podman container's UUID is that of its full ID"
space_make
lib_until 5 active build
ok $? "a namespace that is made is there"
is "$(field build model)/$(field build kind)/$(field build manufacturer)" "namespace/container/$space" \
	"it is shown as what it is"
first=$(field build endpoint)

# --- rules across the three, in enforce ---

address_dweb=$(lib_docker srv inspect -f '{{.NetworkSettings.Networks.dnet.IPAddress}}' dweb)
address_pweb=$(lib_podman srv inspect -f '{{.NetworkSettings.Networks.pnet.IPAddress}}' pweb)
address_build=10.77.0.2
answers_dweb() { lib_docker srv logs dweb 2>&1 | grep -c 'response:'; }
answers_pweb() { lib_podman srv logs pweb 2>&1 | grep -c 'response:'; }
answers_build() { grep -c 'response:' "$lib_data/http-build.log"; }
get='printf "GET / HTTP/1.0\r\n\r\n" | nc -w 3'
from_dweb() { lib_docker srv exec dweb sh -c "$get $1 80" | grep -q '^HTTP'; } # ADDRESS
from_pweb() { lib_podman srv exec pweb sh -c "$get $1 80" 2>/dev/null | grep -q '^HTTP'; }
from_build() { lib_in build curl -s -o /dev/null --connect-timeout 2 -m 3 "http://$1/"; }
from_srv() { lib_in srv curl -s -o /dev/null --connect-timeout 2 -m 3 "http://$1/"; }

groups='group dweb  select name dweb kind container
group pweb  select name pweb
group shop  select compose.service shop
group build select name build
group srv   select name srv kind host
mode enforce group dweb
mode enforce group pweb
group late  select name late
group crew  select name one
group two   select name two
mode enforce group build
mode enforce group late
mode enforce group crew
group inhost select name inhost
group inbuild select name inbuild
mode enforce group inhost
mode enforce group inbuild
'
all_rules='rule 10 allow from dweb to shop tcp/80
rule 20 allow from pweb to dweb tcp/80
rule 30 allow from pweb to build tcp/80
rule 40 allow from build to pweb tcp/80
rule 50 allow from build to dweb tcp/80
rule 60 allow from dweb to build tcp/80
rule 70 allow from srv to pweb tcp/80
rule 80 allow from srv to build tcp/80
rule 90 allow from late to srv udp/53
rule 91 allow from two to late tcp/80
rule 92 allow from inhost to late tcp/80
rule 93 allow from inbuild to late tcp/80
rule 94 allow from srv to late tcp/80
'
policy_without() { # REGULAR-EXPRESSION of rules, or "none"
	{
		printf '%s' "$groups"
		printf '%s' "$all_rules" | grep -vE "^rule ($1) "
	} >"$lib_data/policy"
	lib_commit "$lib_data/policy" "without $1"
}

# Allowed: the server's own log has one answer more.
allowed() { # FROM TO
	local before after address=address_$2
	before=$(answers_"$2")
	from_"$1" "${!address}"
	local status=$?
	sleep 0.2
	after=$(answers_"$2")
	[ $status -eq 0 ] && [ "$after" -eq $((before + 1)) ]
	ok $? "$1 to $2: allowed, and the server answered once"
	[ $status -eq 0 ] || diag "status $status, answers $before -> $after"
}
# Denied at the near end: nothing arrives where the server lives.
denied() { # FROM TO
	local before after seen address=address_$2
	before=$(answers_"$2")
	lib_capture_start srv "tcp dst port 80 and dst host ${!address}"
	from_"$1" "${!address}"
	local status=$?
	after=$(answers_"$2")
	seen=$(lib_capture_stop)
	[ $status -ne 0 ] && [ "$after" -eq "$before" ] && [ "$seen" -eq 0 ]
	ok $? "$1 to $2: denied, no packet left ($seen)"
	[ $status -ne 0 ] || diag "status $status, answers $before -> $after"
}

policy_without none
for pair in 'dweb pweb' 'pweb dweb' 'pweb build' 'build pweb' 'build dweb' 'dweb build' 'srv pweb' 'srv build'; do
	# shellcheck disable=SC2086
	allowed $pair
done
policy_without '[1-6]0'
for pair in 'dweb pweb' 'pweb dweb' 'pweb build' 'build pweb'; do
	# shellcheck disable=SC2086
	denied $pair
done

# --- the service is killed; nothing else of Podman's stops ---

policy_without none
lib_stop podman-srv KILL
lib_until 5 grep -q "warn agent: no Podman engine, trying on: $lib_run/srv.podsock" "$lib_data/agent-srv.log"
ok $? "the service is killed, and that is said"
active pweb && lib_enforced pweb
ok $? "its container stays known, and in enforce"
allowed pweb build
lib_podman srv rm -f -t 0 pweb >/dev/null 2>&1
podman_run --name late --network pnet prt-busybox /bin/httpd -f -vv -p 80 -h /www
podman_run --name later --network pnet prt-busybox /bin/sleep 1000
lib_podman_run srv
lib_until 5 active late && lib_until 5 active later
ok $? "it runs again: what was started meanwhile is there"
! active pweb
ok $? "and what was removed meanwhile has gone"
lib_podman srv rm -f -t 0 later >/dev/null 2>&1
lib_until 5 eval '! active later'
ok $? "one that is removed goes at once"

# Its name service is on the host, at the network's gateway.
asks_name() { lib_podman srv exec late busybox timeout 3 busybox nslookup late 172.31.0.1 2>/dev/null | grep -q 'Address.*172.31.0.'; }
asks_name
ok $? "Podman's name service answers a container in enforce that has a rule for it"
policy_without 90
! asks_name
ok $? "and not without"
policy_without none

# One engine's silence is not the other's.
kill -STOP "$(lib_pid_of dockerd-srv)"
since=$(date +%s%N)
podman_run --name quick --network pnet prt-busybox /bin/sleep 1000
lib_until 5 active quick
ok $? "dockerd is frozen: Podman's news are there all the same"
diag "$((($(date +%s%N) - since) / 1000000)) ms from podman run to the controller"
kill -CONT "$(lib_pid_of dockerd-srv)"

# A pod: one network, an endpoint for each of its containers.
lib_podman srv pod create --infra-image prt-busybox --infra-command '/bin/sleep 1000' --network pnet \
	--name crew >/dev/null 2>&1
podman_run --pod crew --name one prt-busybox /bin/httpd -f -vv -p 80 -h /www
podman_run --pod crew --name two prt-busybox /bin/sleep 1000
lib_until 5 active one && lib_until 5 active two
ok $? "a pod's containers are endpoints, each its own"
infra=$(lib_podman srv inspect -f '{{.Name}}' "$(lib_podman srv pod inspect -f '{{.InfraContainerID}}' crew)")
interfaces() { shown "$1" | grep -o '"interfaces":\[[^]]*\]'; } # NAME
[[ $(interfaces "$infra") = *172.31.0.* ]]
ok $? "the address is its infra container's, $infra: $(interfaces "$infra" | grep -o '172.31.0.[0-9]*' | head -n 1)"
is "$(interfaces one) $(interfaces two)" '"interfaces":[] "interfaces":[]' "the others are its guests"
listens() { shown "$1" | grep -o '"service": *"[^"]*"' | grep -c "tcp/$2\""; } # NAME PORT
# Looked at every two seconds; one look may have been before the container was known as a guest.
listening() { echo "$(listens one 80) $(listens two 80) $(listens "$infra" 80)"; }
listens_alone() { [ "$(listening)" = '1 0 0' ]; }
lib_until 10 listens_alone
is "$(listening)" "1 0 0" "a listener is its container's alone"

address_late=$(lib_podman srv inspect -f '{{.NetworkSettings.Networks.pnet.IPAddress}}' late)
answers_late() { lib_podman srv logs late 2>&1 | grep -c 'response:'; }
from_pod() { lib_podman srv exec "$1" sh -c "$get $address_late 80" 2>/dev/null | grep -q '^HTTP'; }
lib_until 5 lib_enforced one
from_pod two
ok $? "a pod's container in observe reaches a server"
! from_pod one
ok $? "its neighbour in enforce does not, though network and address are the same"
is "$(answers_late)" 1 "the server answered once"

# Guests of the host and of the named namespace: by control group, both ways.
podman_run --name inhost --network host prt-busybox /bin/httpd -f -vv -p 8088 -h /www
podman_run --name inbuild --network "ns:/proc/$(lib_pid_of http-build)/ns/net" \
	prt-busybox /bin/httpd -f -vv -p 81 -h /www
lib_until 5 lib_enforced inhost && lib_until 5 lib_enforced inbuild
ok $? "one in the host's network and one in the named namespace: endpoints, in enforce"
told_apart() { # host and namespace are looked at every two seconds
	[ "$(listens inhost 8088) $(listens srv 8088) $(listens inbuild 81) $(listens build 81) $(listens build 80) $(listens inbuild 80)" = \
		"1 0 1 0 1 0" ]
}
lib_until 10 told_apart
ok $? "listeners are told apart, also by the threads that look at the host and at Docker"
guest() { lib_podman srv exec "$1" sh -c "$get $address_late 80" 2>/dev/null | grep -q '^HTTP'; }
guest inhost && guest inbuild
ok $? "each reaches a server by its own rule"
from_srv "$address_late"
ok $? "the host, in observe, goes on beside its guest"
! from_build "$address_late"
ok $? "the namespace has no rule, and does not"
policy_without '9[23]'
! guest inhost && ! guest inbuild
ok $? "without their rules they do not"
policy_without none
lib_podman srv rm -f -t 0 inhost inbuild >/dev/null 2>&1
lib_until 5 eval '! active inhost && ! active inbuild'
ok $? "they have gone"

# --- the namespace is made anew under its name ---

lib_stop http-build
ip netns del "prt-$lib_name-build"
lib_until 5 eval '! active build'
ok $? "the namespace has gone"
lib_in srv ip link del vbuild 2>/dev/null
space_make
lib_until 5 active build && lib_until 5 lib_enforced build
ok $? "another one under its name is there, and in enforce"
is "$(field build endpoint)" "$first" "as the same endpoint"
allowed srv build
policy_without 80
denied_far() { # the far end denies: the packet comes, and no answer
	local before after
	before=$(answers_build)
	from_srv "$address_build"
	local status=$?
	after=$(answers_build)
	[ $status -ne 0 ] && [ "$after" -eq "$before" ]
	ok $? "srv to build: denied by the namespace made anew"
}
denied_far

# --- the agent dies; another one comes ---

lib_stop agent-srv KILL
from_srv "$address_build"
[ $? -ne 0 ]
ok $? "without an agent the namespace lets nobody in"
lib_agent_run srv
adopted() { [ "$(grep -c 'in enforce, rules adopted' "$lib_data/agent-srv.log")" -ge 4 ]; }
lib_until 10 adopted
ok $? "the next agent adopts the rules of all three kinds: dweb, late, the pod's and build's"
is "$(field build endpoint)" "$first" "the namespace is who it was"
policy_without none
allowed srv build

# --- what was recorded, and the way out ---

sleep 1
lib_pr events -n 1000 --json >"$lib_data/events.json" 2>/dev/null
told() { # TEXT PYTHON-CONDITION over `joined(SRC, DST)`: both ends' events of a connection
	python3 - "$lib_data/events.json" "$2" <<-'END2'
		import json, sys
		e = [json.loads(line) for line in open(sys.argv[1])]
		def joined(src, dst):
		    ends = {}
		    for x in e:
		        if x["src"]["name"] == src and x["dst"]["name"] == dst and x["verdict"] == "allowed":
		            ends.setdefault(x["connection"], {})[x["reporter"]] = x
		    return [(c["initiator"], c["terminator"]) for c in ends.values() if len(c) == 2]
		sys.exit(0 if eval(sys.argv[2]) else 1)
	END2
	ok $? "$1"
}
for pair in 'dweb pweb' 'pweb dweb' 'pweb build' 'build pweb' 'build dweb' 'dweb build' 'two late' \
	'inhost late' 'inbuild late'; do
	told "${pair/ / to }: both ends in one record, with the processes" \
		"any(n['process']['name'] in ('busybox', 'curl') and f['process']['name'] == 'busybox'
		 for n, f in joined('${pair% *}', '${pair#* }'))"
done
lib_stop agent-srv
lib_in srv "$lib_build/portreeve-agent" --config "$lib_data/agent-srv.conf" --remove-rules >"$lib_data/removed" 2>&1
grep -q 'rules removed: container late' "$lib_data/removed" &&
	grep -q 'rules removed: container dweb' "$lib_data/removed" &&
	grep -q 'rules removed: container build' "$lib_data/removed"
ok $? "--remove-rules: from containers of both engines and from the namespace"
from_srv "$address_build"
ok $? "which is open again"
