#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Groups follow containers as they come, go, are renamed or made again by Compose: before a new
# container's first connection is decided, and within 1 s everywhere. Everything in enforce with
# nothing allowed but between two selected groups; judged by what the containers get.
. "$(dirname "$0")/lib.sh"
lib_start sele

pr() { lib_pr "$@" >"$lib_data/out" 2>"$lib_data/err"; }
now_ms() { echo $(($(date +%s%N) / 1000000)); }
members() { lib_pr group members "$1" --json 2>/dev/null | grep -c '"name"'; }
in_group() { lib_pr group members "$1" --json 2>/dev/null | grep -q "\"name\": *\"$2\""; }
not_in_group() { ! in_group "$@"; }
compose() {
	DOCKER_HOST="unix://$lib_run/srv.docker" docker-compose --ansi never -p shop -f "$lib_data/compose.yml" "$@" \
		>>"$lib_data/compose.log" 2>&1
}
address_of() { lib_docker srv inspect -f '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}' "$1"; }

# took COMMAND...: milliseconds until it is true, at most 5 s
took() {
	local begin
	begin=$(now_ms)
	until "$@"; do
		[ $(($(now_ms) - begin)) -lt 5000 ] || break
		sleep 0.02
	done
	echo $(($(now_ms) - begin))
}

lib_host ctl 1
lib_host srv 2
lib_engine srv
lib_controller ctl
lib_recorder ctl
lib_agent srv "$lib_run/srv.docker"
cat >"$lib_data/compose.yml" <<-END
	version: "3"
	services:
	  front:
	    image: prt-busybox
	    command: httpd -f -p 80 -h /www
	    network_mode: bridge
END
cat >"$lib_data/policy" <<-END
	mode observe default
	mode enforce group front
	mode enforce group client
	group front  select compose.service front
	group client select name client-*
	group tier   select label.tier gold
	rule 10 allow from client to front tcp/80
	lifeline from any to host srv tcp/9001
END
lib_commit "$lib_data/policy" "what clients may"
compose up -d
lib_until 15 in_group front shop_front_1
ok $? "a container of Compose is in the group of its service"
is "$(members client)" 0 "a group that selects nobody yet is empty"
lib_until 10 lib_enforced shop_front_1
ok $? "and enforced"
front=$(address_of shop_front_1)

# --- a new container's first connection ---

first() { # NAME: what its first and only connection, made at once, brings
	lib_docker srv run --rm --name "$1" prt-busybox sh -c \
		"printf 'GET / HTTP/1.0\r\n\r\n' | nc -w 3 $front 80" 2>/dev/null | grep -c hello
}
good=0
for i in 1 2 3 4 5; do
	good=$((good + $(first "client-$i")))
done
is "$good" 5 "five new containers, each chosen by its name: their first connection is allowed"
is "$(first other)" 0 "one that nobody chose: denied"

# --- renamed ---

lib_docker srv run -d --name plain prt-busybox sleep 1000 >/dev/null
lib_docker srv run -d --name keeper -l tier=gold prt-busybox sleep 1000 >/dev/null
lib_until 10 in_group tier keeper
ok $? "a label selects"
gets() {
	lib_docker srv exec "$1" sh -c "printf 'GET / HTTP/1.0\r\n\r\n' | nc -w 1 $front 80" 2>/dev/null |
		grep -q hello
}
gets plain
is $? 1 "before: denied"
lib_docker srv rename plain client-late
ms=$(took in_group client client-late)
[ "$ms" -le 1000 ]
ok $? "renamed: in the group after $ms ms"
ms=$(took gets client-late)
[ "$ms" -le 1500 ]
ok $? "and allowed, $ms ms later"
lib_docker srv rename client-late plain
ms=$(took not_in_group client plain)
[ "$ms" -le 1000 ]
ok $? "renamed back: out of it after $ms ms"
gets plain
is $? 1 "and denied"
lib_docker srv rm -f keeper >/dev/null
ms=$(took not_in_group tier keeper)
[ "$ms" -le 1000 ]
ok $? "removed: out of its group after $ms ms"

# --- made again by Compose ---

before=$(lib_docker srv inspect -f '{{.Id}}' shop_front_1)
compose up -d --force-recreate
after=$(lib_docker srv inspect -f '{{.Id}}' shop_front_1)
[ -n "$after" ] && [ "$before" != "$after" ]
ok $? "Compose made it again: another container"
front=$(address_of shop_front_1)
is "$(first client-6)" 1 "the new one is in its group: a client reaches it"
lib_until 10 lib_enforced shop_front_1
ok $? "and it is enforced"
is "$(first stranger)" 0 "a stranger does not"
both() { # QUERY: the containers that answered as the target, of both lives
	lib_pr events "$1 AND dst.port:80 AND verdict:allowed" --json -n 0 2>/dev/null |
		grep -oE "(${before:0:12}|${after:0:12})" | sort -u | wc -l
}
both_found() { [ "$(both "$1")" = 2 ]; }
lib_until 10 both_found dst.name:shop_front_1
is "$(both dst.name:shop_front_1)" 2 "the history of both is found by name"
is "$(both dst.image:prt-busybox)" 2 "and by image"
