#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Groups follow containers as they come, go, are renamed or made again by Compose: within 1 s, and
# before a new container's first connection is decided. A new container's process connects with its
# first instruction. What got through is judged by what the servers got; a refusal by what the
# client was told (a rule rejects), and both by the clock.
. "$(dirname "$0")/lib.sh"
lib_start sele

now_ms() { echo $(($(date +%s%N) / 1000000)); }
members() { lib_pr group members "$1" --json 2>/dev/null; }
in_group() { members "$1" | grep -q "\"name\": *\"$2\""; }
not_in_group() { ! in_group "$@"; }
has_id() { members "$1" | grep -q "$2"; }
compose() {
	DOCKER_HOST="unix://$lib_run/srv.docker" docker-compose --ansi never -p shop \
		-f "$lib_data/compose.yml" "$@" >>"$lib_data/compose.log" 2>&1
}
id_of() { lib_docker srv inspect -f '{{.Id}}' "$1" 2>/dev/null; }
address_of() {
	lib_docker srv inspect -f '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}' "$1"
}

# took COMMAND...: milliseconds until it is true, 5,000 at most
took() {
	local begin
	begin=$(now_ms)
	until "$@"; do
		[ $(($(now_ms) - begin)) -lt 5000 ] || break
		sleep 0.02
	done
	echo $(($(now_ms) - begin))
}

within() { # within MS LIMIT TEXT
	[ "$1" -le "$2" ]
	ok $? "$3: $1 ms"
}

# What the servers got: the paths that they were asked for.
front_log() { lib_docker srv logs shop_front_1 2>&1; }
reached() { front_log | grep -q "url:/$1\$"; }
far_reached() { grep -q "url:/$1\$" "$lib_data/http-far.log"; }

asking() { printf 'GET /%s HTTP/1.0\r\n\r\n' "$1"; }

# newborn NAME TOKEN ADDRESS [docker options] IMAGE: a container whose only process asks at once. Its words
# are in $lib_data/newborn; how long it lived, with its start and end, in $ms.
newborn() {
	local name=$1 token=$2 to=$3 begin
	shift 3
	begin=$(now_ms)
	asking "$token" | lib_docker srv run -i --rm --network shop_net --name "$name" "$@" \
		nc -w 4 "$to" 80 >"$lib_data/newborn" 2>&1
	ms=$(($(now_ms) - begin))
	times="$times $ms"
}
refused() { grep -q 'Connection refused' "$lib_data/newborn"; }

asks() { # asks CONTAINER TOKEN: a running container asks
	asking "$2" | lib_docker srv exec -i "$1" nc -w 1 "$front" 80 >/dev/null 2>&1
	reached "$2"
}
number=0
gets() { # the next question of a running container gets through
	number=$((number + 1))
	asks "$1" "again-$number"
}
gets_not() { ! gets "$@"; }

lib_host ctl 1
lib_host srv 2
lib_host far 3
lib_engine srv
lib_controller ctl
lib_recorder ctl
lib_agent srv "$lib_run/srv.docker"
lib_agent far
lib_docker srv tag prt-busybox prt-gold
lib_spawn http-far nsenter --net="/run/netns/prt-$lib_name-far" \
	busybox httpd -f -vv -p 80 -h "$lib_source/doc"
front=172.31.7.10
far=192.168.7.3
cat >"$lib_data/compose.yml" <<-END
	version: "2.4"
	services:
	  front:
	    image: prt-busybox
	    command: httpd -f -vv -p 80 -h /www
	    networks: { net: { ipv4_address: 172.31.7.10 } }
	  worker:
	    image: prt-busybox
	    command: sh -c "printf 'GET /worker HTTP/1.0\\r\\n\\r\\n' | nc -w 4 $front 80"
	    networks: [ net ]
	networks:
	  net: { ipam: { config: [ { subnet: 172.31.7.0/24 } ] } }
END
cat >"$lib_data/policy" <<-END
	mode observe default
	mode enforce group front
	mode enforce group named
	mode enforce group client
	mode enforce group far
	group front  select compose.service front
	group named  select name shop_front_1
	group worker select compose.service worker
	group client select name client-*
	group tier   select label.tier gold
	group golden select image prt-gold
	group far    select host far
	rule 10 allow from client to front tcp/80
	rule 20 allow from worker to front tcp/80
	rule 30 allow from tier   to front tcp/80
	rule 40 allow from golden to front tcp/80
	rule 50 allow from client to far   tcp/80
	rule 90 reject from any   to front tcp/80
	rule 91 reject from any   to far   tcp/80
	lifeline from any to host srv tcp/9001
END
lib_commit "$lib_data/policy" "what clients may"

# --- made by Compose ---

is "$(members client | grep -c '"name"')" 0 "a group that selects nobody yet is empty"
compose up -d front
within "$(took in_group front shop_front_1)" 1000 "made by Compose: in the group of its service"
within "$(took lib_enforced shop_front_1)" 1000 "and enforced"
old=$(id_of shop_front_1)

# --- the first connection of a new container ---

times=''
good=0
for i in 1 2 3 4 5; do
	newborn "client-$i" "first-$i" "$front" prt-busybox
	reached "first-$i" && good=$((good + 1))
done
is "$good" 5 "five new containers, chosen by name: the first connection of each gets through"
diag "each with its start and end in ms:$times"
times=''
newborn some-1 label "$front" -l tier=gold prt-busybox
reached label
ok $? "chosen by a label, too"
newborn some-2 image "$front" prt-gold
reached image
ok $? "chosen by its image, too"
newborn client-6 far "$far" prt-busybox
far_reached far
ok $? "to another host, behind its own host's address, too"
diag "each with its start and end in ms:$times"

begin=$(now_ms)
for i in 1 2 3 4 5 6 7 8; do
	newborn "client-at-once-$i" "at-once-$i" "$front" prt-busybox &
	births="${births:-} $!"
done
# shellcheck disable=SC2086
wait $births
good=0
for i in 1 2 3 4 5 6 7 8; do
	reached "at-once-$i" && good=$((good + 1))
done
is "$good" 8 "eight at the same time: each gets through ($(($(now_ms) - begin)) ms for all)"

for not in 'other-1 name prt-busybox' 'other-2 label -l tier=golden prt-busybox' \
	'other-3 image prt-busybox'; do
	read -r name what options <<<"$not"
	# shellcheck disable=SC2086
	newborn "$name" "no-$what" "$front" $options
	refused && ! reached "no-$what" && [ "$ms" -le 1000 ]
	ok $? "not chosen by $what: refused, with start and end after $ms ms"
done
newborn other-4 no-far "$far" prt-busybox
refused && ! far_reached no-far
ok $? "nor to the other host: refused after $ms ms"

# --- whoever takes over an address inherits nothing ---

lib_docker srv run -d --network shop_net --name client-short prt-busybox sleep 1000 >/dev/null
asks client-short before
ok $? "a client is served"
address=$(address_of client-short)
lib_docker srv rm -f client-short >/dev/null
newborn heir inherited "$front" prt-busybox
is "$(lib_docker srv run --rm --network shop_net --name heir-2 prt-busybox ip -4 -o address show dev eth0 |
	grep -c "$address/")" 1 "its address goes to the next container"
refused && ! reached inherited && [ "$ms" -le 1000 ]
ok $? "which is refused, $ms ms"

# one that no engine knows, in the same network, with a client's address
bridge=br-$(lib_docker srv network inspect -f '{{.Id}}' shop_net | cut -c1-12)
ip netns add "prt-$lib_name-str"
lib_in srv ip link add vstr type veth peer name eth0 netns "prt-$lib_name-str"
lib_in srv ip link set vstr master "$bridge" up
lib_in str ip address add 172.31.7.77/24 dev eth0
lib_in str ip link set eth0 up
stranger() { # stranger TOKEN [curl options]
	local token=$1 begin
	shift
	begin=$(now_ms)
	lib_in str curl -s -m 3 -o /dev/null "$@" "http://$front/$token"
	is $? 7 "a stranger in the same network is refused ($token)"
	ms=$(($(now_ms) - begin))
	! reached "$token" && [ $ms -lt 900 ]
	ok $? "after $ms ms, nothing came through"
}
stranger unknown-address
lib_docker srv run -d --network shop_net --name client-short prt-busybox sleep 1000 >/dev/null
lib_in str ip address add "$(address_of client-short)/24" dev eth0
address=$(address_of client-short)
stranger beside-a-birth
lib_docker srv rm -f client-short >/dev/null
nsenter --net="/proc/$(lib_docker srv inspect -f '{{.State.Pid}}' shop_front_1)/ns/net" \
	ip neighbour flush all
stranger address-of-one-gone --interface "$address"
lib_in srv ip link del vstr

# --- renamed ---

lib_docker srv run -d --network shop_net --name plain prt-busybox sleep 1000 >/dev/null
lib_docker srv run -d --network shop_net --name keeper -l tier=gold prt-busybox sleep 1000 >/dev/null
within "$(took in_group tier keeper)" 1000 "a label selects"
gets_not plain
ok $? "a container that nobody chose: refused"
lib_docker srv rename plain client-late
begin=$(now_ms)
took gets client-late >/dev/null
within $(($(now_ms) - begin)) 1000 "renamed: allowed"
within "$(took in_group client client-late)" 1000 "and listed in the group"
gets client-late
ok $? "it goes on being served"
lib_docker srv rename client-late plain
begin=$(now_ms)
took gets_not plain >/dev/null
within $(($(now_ms) - begin)) 1000 "renamed back: the next connection is refused"
within "$(took not_in_group client plain)" 1000 "and it is out of the group"
gets_not plain
ok $? "it stays refused"

# --- stopped, removed ---

lib_docker srv stop -t 0 keeper >/dev/null
stopped() { lib_pr hosts --json | grep '"name": *"keeper"' | grep -q '"status": *"stopped"'; }
within "$(took stopped)" 1000 "stopped: hosts says so"
in_group tier keeper
ok $? "and it stays in its group: it can be started again"
lib_docker srv create --name never -l tier=back prt-busybox true >/dev/null
lib_stop agent-srv
lib_agent_run srv
never() { lib_pr hosts --json | grep '"name": *"never"' | grep -q '"status": *"stopped"'; }
lib_until 5 never && stopped && in_group tier keeper && lib_until 5 lib_enforced shop_front_1
ok $? "the same after the agent began anew; so is one that never ran"
lib_docker srv rm keeper never >/dev/null
within "$(took not_in_group tier keeper)" 1000 "removed: out of its group"
lib_docker srv run -d --network shop_net --name client-last prt-busybox sleep 1000 >/dev/null
asks client-last last
took in_group client client-last >/dev/null
lib_docker srv rm -f client-last >/dev/null
within "$(took not_in_group client client-last)" 1000 "removed while it ran: out of its group"

# --- made again by Compose, and several of one service ---

workers() { front_log | grep -c 'url:/worker$'; }
compose up -d worker
lib_until 5 reached worker
is "$(workers)" 1 "a worker made by Compose asks at once and is served"
compose up -d --scale worker=3 worker
sleep 1
is "$(workers)" 4 "three of them: each is served (the first was started again)"
is "$(members worker | grep -c '"name"')" 3 "and in their group"
compose up -d --force-recreate --scale worker=1 front
new=$(id_of shop_front_1)
[ -n "$new" ] && [ "$old" != "$new" ]
ok $? "Compose made the server again: another container"
within "$(took has_id front "${new:0:12}")" 1000 "the new one is in its group"
gone() { ! has_id front "${old:0:12}"; }
within "$(took gone)" 1000 "the old one is not"
within "$(took lib_enforced shop_front_1)" 1000 "it is enforced"
newborn client-7 after "$front" prt-busybox
reached after
ok $? "a new client gets through to it"
newborn other-5 no-after "$front" prt-busybox
refused && ! reached no-after
ok $? "one that nobody chose is refused, after $ms ms"
lib_docker srv rm -f shop_worker_1 >/dev/null
compose up -d --force-recreate --scale worker=1 worker
lib_until 5 reached worker
is "$(workers)" 1 "a worker made again is served at its first connection"

# --- history ---

lives() { # QUERY: of how many of the two servers events are found
	lib_pr events "$1" --json -n 0 2>/dev/null | grep -oE "${old:0:12}|${new:0:12}" | sort -u | wc -l
}
both() { [ "$(lives "$1")" = 2 ]; }
# Compose renames what it makes anew before it removes it: it had its name then.
for query in dst.name:shop_front_1 dst.group:named dst.compose.service:front compose.project:shop dst.image:prt-busybox; do
	lib_until 5 both "$query"
	is "$(lives "$query")" 2 "events of both servers are found by $query"
done
found() { lib_pr events "$1 AND verdict:allowed" --json -n 5 2>/dev/null | grep -q '"verdict"'; }
lib_until 5 found src.name:client-last
ok $? "those of a removed container by its name"
lib_until 5 found 'src.image:prt-gold'
ok $? "by its image"
lib_until 5 found 'src.label.tier:gold'
ok $? "by its label"
unknown=$(lib_pr events 'dst.group:front AND src.kind:none' --json -n 0 2>/dev/null | grep -c '"verdict"')
diag "events at the server whose source was not known: $unknown"
