#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The white paper's story: WordPress and MariaDB started by Compose on a Docker server, a user on
# another host who loads the page. Judges: Apache's access log, the database's own banner and
# greeting at the client, what a listener in a container got.
set -u
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/story.sh"
lib_start wp

row() { # SOURCE TARGET USER SERVICE PROCESS: one event of the table, and only one
	local found
	found=$(awk -v s="$1" -v t="$2" -v u="$3" -v v="$4" -v p="$5" \
		'$2 == s && $3 == t && $4 == v && $5 == u && $6 == p' "$lib_data/table" | wc -l)
	is "$found" 1 "row: $1 to $2, user $3, $4, process $5"
}

# Load the page once and keep the table of what happened, when all of it has arrived.
table_of() { # URL ROWS
	local since
	since=$(date --utc +%FT%T.%3NZ)
	story_load "$1" -o /dev/null
	table_rows() { # ROWS
		story_table --since "$since" >"$lib_data/table"
		[ "$(wc -l <"$lib_data/table")" -gt "$1" ]
	}
	lib_until 8 table_rows "$2"
	sed 's/^/# /' "$lib_data/table"
}

page_ok() { # TEXT: the page comes, and Apache has answered it
	local before
	before=$(story_answers)
	story_page && [ "$(story_answers)" -gt "$before" ]
	ok $? "$1"
}

# Load the page and keep its connections.
joined_of() { # URL ROWS
	local since
	since=$(date --utc +%FT%T.%3NZ)
	story_load "$1" -o /dev/null
	joined_rows() { # ROWS
		lib_pr events --joined --since "$since" 'dst.port:8000,80,3306' >"$lib_data/joined" 2>/dev/null
		# An end that has not arrived yet is not a failure yet.
		[ "$(grep -vc 'not seen' "$lib_data/joined")" -gt "$1" ]
	}
	lib_until 8 joined_rows "$2"
	sed 's/^/# /' "$lib_data/joined"
}

joined_row() { # SOURCE USER PROCESS TARGET USER PROCESS SERVICE: one connection, and only one
	local found
	found=$(awk -v a="$1" -v b="$2" -v c="$3" -v d="$4" -v e="$5" -v f="$6" -v g="$7" \
		'$2 == a && $3 == b && $4 == c && $5 == d && $6 == e && $7 == f && $8 == g' \
		"$lib_data/joined" | wc -l)
	is "$found" 1 "joined: $2 $3 on $1 to $5 $6 on $4, $7"
}

story_hosts
story_engine --iptables=false || bail "no images"
story_mac_user
story_up || bail "compose up: $(tail -n 1 "$lib_data/compose.log")"
story_install
ok $? "WordPress is installed through its own page, in MariaDB"
lib_controller ctl
lib_recorder ctl
lib_agent dockersrv "$lib_run/dockersrv.docker"
story_mac_agent

# --- the event table of the white paper, everything in observe ---

page_ok "macuser's curl on mymacbook loads the page, Apache's access log has it"
table_of "$story_url" 6
row mymacbook dockersrv macuser tcp/8000 curl
row mymacbook dockersrv root tcp/8000 docker-proxy
row dockersrv "$story_apache(C)" root tcp/80 docker-proxy
row dockersrv "$story_apache(C)" root tcp/80 apache2
row "$story_apache(C)" "$story_db(C)" www-data tcp/3306 apache2
row "$story_apache(C)" "$story_db(C)" mysql tcp/3306 mariadbd
sleep 11 # then no other visit is mixed up with this one
joined_of "$story_url" 3
is "$(wc -l <"$lib_data/joined")" 4 "joined: six events are three connections"
joined_row mymacbook macuser curl dockersrv root docker-proxy tcp/8000
joined_row dockersrv root docker-proxy "$story_apache(C)" root apache2 tcp/80
joined_row "$story_apache(C)" www-data apache2 "$story_db(C)" mysql mariadbd tcp/3306
lib_pr trace "$(awk '/mariadbd/ { print $NF }' "$lib_data/joined")" >"$lib_data/tree" 2>&1
sed 's/^/# /' "$lib_data/tree"
is "$(wc -l <"$lib_data/tree")" 7 \
	"trace of the database's connection: a tree of four ends and three connections"
is "$(grep -o 'curl\|docker-proxy\|apache2\|mariadbd\|same process\|same program\|one of' \
	"$lib_data/tree" | tr '\n' ' ')" \
	'curl docker-proxy same process apache2 same program mariadbd ' \
	"trace: curl, docker-proxy, Apache (its child opens it: the same program), MariaDB"
table_of "http://[fd07::2]:8000/wp-login.php" 6
row mymacbook dockersrv macuser tcp/8000 curl
row mymacbook dockersrv root tcp/8000 docker-proxy
row "$story_apache(C)" "$story_db(C)" mysql tcp/3306 mariadbd

# --- (a) the two rows of the paper's host policy, the two groups in enforce ---

story_greets third "$story_db" 22 SSH && story_greets third "$story_db" 3306 mariadb
ok $? "while everything is observed, the third container reaches the database's tcp/22 and tcp/3306"
story_policy 'from any'
lib_commit "$lib_data/policy" "the paper's two rows"
page_ok "(a) the page loads"
story_greets third "$story_db" 3306 mariadb
ok $? "(a) the third container reaches tcp/3306, as row two says"
story_greets third "$story_db" 22 SSH
ok $((1 - $?)) "(a) and not tcp/22"
story_denied tcp/22 default
ok $? "(a) the event says so, by the default"

# --- (b) row two from apache alone ---

story_policy 'from apache'
lib_commit "$lib_data/policy" "the database for apache alone"
page_ok "(b) the page loads"
story_greets third "$story_db" 3306 mariadb
ok $((1 - $?)) "(b) the third container reaches tcp/3306 no more"
story_denied tcp/3306 default
ok $? "(b) the event says so, by the default"
lib_pr explain third "$story_db" tcp/3306 >"$lib_data/explain"
is $? 10 "(b) explain says the same"
lib_pr explain "$story_apache" "$story_db" tcp/3306 >"$lib_data/explain"
is $? 0 "(b) and that apache may"

# --- (c) addresses swap, decisions stay ---

apache_was=$(story_address "$story_apache")
db_was=$(story_address "$story_db")
lib_docker dockersrv stop -t 2 "$story_apache" "$story_db" >/dev/null
lib_docker dockersrv start "$story_apache" >/dev/null
lib_docker dockersrv start "$story_db" >/dev/null
is "$(story_address "$story_apache") $(story_address "$story_db")" "$db_was $apache_was" \
	"(c) stopped, and started the other way round, they have each other's address"
lib_until 20 story_page
page_ok "(c) the page loads"
story_greets third "$story_db" 3306 mariadb || story_greets third "$story_db" 22 SSH
ok $((1 - $?)) "(c) the third container reaches neither tcp/3306 nor tcp/22 of the database"
story_listen "$story_db" 80
story_greets third "$story_db" 80 listens
ok $((1 - $?)) "(c) the database, at Apache's old address, is not open on tcp/80"
story_listen "$story_apache" 3306
story_greets third "$story_apache" 3306 listens
ok $((1 - $?)) "(c) Apache, at the database's old address, is not open on tcp/3306"
last=$(story_address "$story_apache")
lib_docker dockersrv stop -t 2 "$story_apache" "$story_db" third >/dev/null
for container in third "$story_db" "$story_apache"; do
	lib_docker dockersrv start "$container" >/dev/null
done
is "$(story_address third)" "$last" "(c) then the third container gets the address that Apache had"
lib_until 20 story_page
page_ok "(c) the page loads"
story_greets third "$story_db" 3306 mariadb
ok $((1 - $?)) "(c) the third container has nothing of that address: no tcp/3306"

# --- (d) host and user, whatever the network ---

story_policy 'from apache' 'user macuser'
lib_commit "$lib_data/policy" "both hosts in enforce, macuser alone"
page_ok "(d) macuser loads the page"
table_of "$story_url" 6
is "$(grep -c 'ALLOWED *#[123]0' "$lib_data/table")" 6 "(d) all six events are allowed, by rules 10, 20 and 30"
story_load_as 0 "$story_url"
ok $((1 - $?)) "(d) root on mymacbook does not"
story_move mymacbook 192.168.2.36
page_ok "(d) carried to another network, macuser's first connection there loads the page"
story_load_as 0 "$story_url"
ok $((1 - $?)) "(d) root still does not"
before=$(story_answers)
lib_in stranger ip -4 address flush dev eth0
story_move stranger 192.168.1.36
lib_in stranger curl -s -m 3 "$story_url" >/dev/null
is "$? $(story_answers)" "28 $before" "(d) a stranger that took its old address gets nothing"
story_policy 'from apache' ''
lib_commit "$lib_data/policy" "the host, whoever the user"
page_ok "(d) by the host's rule macuser loads the page"
story_load_as 0 "$story_url"
ok $? "(d) so does root on mymacbook"
before=$(story_answers)
lib_in stranger curl -s -m 3 "$story_url" >/dev/null
is "$? $(story_answers)" "28 $before" "(d) the stranger still gets nothing"

# --- the same on an engine with its own rules: DNAT straight to Apache ---

lib_docker dockersrv stop -t 2 "$story_apache" "$story_db" third >/dev/null
lib_stop dockerd-dockersrv
lib_engine_run dockersrv
lib_until 40 lib_docker dockersrv version || bail "the engine does not come back"
for container in "$story_db" "$story_apache" third; do
	lib_docker dockersrv start "$container" >/dev/null
done
watched_again() { lib_pr hosts --json | grep '"kind": *"container"' | grep -c '"status": *"active"' | grep -qx 3; }
lib_until 10 watched_again
ok $? "default engine: the agent knows its containers again"
story_move mymacbook 192.168.1.37
lib_until 20 story_page
story_policy 'from apache' '' 'from mymacbook'
lib_commit "$lib_data/policy" "Apache for mymacbook alone: on this engine nothing is in between"
page_ok "default engine: the page loads by the host's rule"
table_of "$story_url" 4
row mymacbook dockersrv macuser tcp/8000 curl
row mymacbook "$story_apache(C)" root tcp/80 apache2
row "$story_apache(C)" "$story_db(C)" www-data tcp/3306 apache2
row "$story_apache(C)" "$story_db(C)" mysql tcp/3306 mariadbd
joined_of "$story_url" 2
is "$(wc -l <"$lib_data/joined")" 3 "default engine: joined: four events are two connections"
joined_row mymacbook macuser curl "$story_apache(C)" root apache2 'tcp/8000>80'
joined_row "$story_apache(C)" www-data apache2 "$story_db(C)" mysql mariadbd tcp/3306
story_move mymacbook 192.168.2.37
page_ok "default engine: carried to another network, its first connection there loads the page"
before=$(story_answers)
story_move stranger 192.168.1.37
lib_in stranger curl -s -m 3 "$story_url" >/dev/null
is "$? $(story_answers)" "28 $before" "default engine: a stranger with its old address gets nothing"
