#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The white paper's story: WordPress and MariaDB started by Compose on a Docker server, a user on
# another host who loads the page. Judges: Apache's access log, the database's own answers, captures
# at the receiver.
set -u
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/story.sh"
lib_start wp
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

before=$(story_answers)
story_page
ok $? "macuser's curl on mymacbook loads the page"
is "$(story_answers)" $((before + 1)) "Apache's access log has that request"
sleep 1
story_table >"$lib_data/table"
sed 's/^/# /' "$lib_data/table"

row() { # SOURCE TARGET USER SERVICE PROCESS: one event of the table, and only one
	local found
	found=$(awk -v s="$1" -v t="$2" -v u="$3" -v v="$4" -v p="$5" \
		'$2 == s && $3 == t && $4 == v && $5 == u && $6 == p' "$lib_data/table" | wc -l)
	is "$found" 1 "row: $1 to $2, user $3, $4, process $5"
}
row mymacbook dockersrv macuser tcp/8000 curl
row mymacbook dockersrv root tcp/8000 docker-proxy
row dockersrv 'wordpress_apache_1(C)' root tcp/80 docker-proxy
row dockersrv 'wordpress_apache_1(C)' root tcp/80 apache2
row 'wordpress_apache_1(C)' 'wordpress_db_1(C)' www-data tcp/3306 apache2
row 'wordpress_apache_1(C)' 'wordpress_db_1(C)' mysql tcp/3306 mariadbd
