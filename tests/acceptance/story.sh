# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The white paper's story on real parts, for wordpress.sh and `quickstart --demo`, sourced after
# lib.sh: a router (lan), a controller (ctl), a Docker server with WordPress and MariaDB started by
# Compose (dockersrv), a user's machine (mymacbook). Images are kept in $story_cache between runs.

# shellcheck source=/dev/null
. "$lib_source/scripts/images.sh"
story_cache=${PORTREEVE_CACHE:-$lib_build/images}
story_url=http://192.168.1.2:8000/
lib_net=192.168.1
story_apache=wordpress_apache_1
story_db=wordpress_db_1

story_hosts() {
	lib_in lan ip address add 192.168.1.254/24 dev br0
	lib_in lan ip address add 192.168.2.254/24 dev br0
	lib_in lan sysctl -q -w net.ipv4.ip_forward=1 net.ipv4.conf.br0.send_redirects=0
	lib_host ctl 1
	lib_host dockersrv 2
	lib_host mymacbook 36
	lib_host stranger 66
	local host
	for host in ctl dockersrv mymacbook stranger; do
		lib_in "$host" ip route add default via 192.168.1.254
	done
}

# Give a host another address, as if it was carried to another network.
story_move() { # HOST ADDRESS
	lib_in "$1" ip -4 address flush dev eth0
	lib_in "$1" ip address add "$2/24" dev eth0
	lib_in "$1" ip route replace default via "${2%.*}.254"
}

story_engine() { # [dockerd options]
	images_make "$story_cache" || return 1
	lib_engine dockersrv "$@"
	local image
	for image in wordpress mariadb; do
		lib_docker dockersrv import "$story_cache/$image.tar" "prt-$image" >/dev/null || return 1
	done
}

story_compose() {
	DOCKER_HOST="unix://$lib_run/dockersrv.docker" docker-compose --ansi never -p wordpress \
		-f "$lib_source/doc/examples/wordpress/docker-compose.yml" "$@"
}

# What Compose starts, and a third container on the same network.
story_up() {
	story_compose up -d >"$lib_data/compose.log" 2>&1 || return 1
	lib_docker dockersrv run -d --name third --network wordpress_default prt-wordpress \
		/bin/sleep 100000 >/dev/null
}

story_address() { # CONTAINER
	lib_docker dockersrv inspect -f '{{.NetworkSettings.Networks.wordpress_default.IPAddress}}' "$1"
}

# mymacbook has a user that this machine does not: a passwd of its own, in a mount namespace.
story_as_mac() { # COMMAND...
	nsenter --mount="$lib_run/mac.mnt" --net="/run/netns/prt-$lib_name-mymacbook" "$@"
}

story_mac_user() {
	(cat /etc/passwd; echo 'macuser:x:7501:7501:The Mac user:/:/bin/sh') >"$lib_data/passwd"
	chmod 0644 "$lib_data/passwd"
	mkdir -p "$lib_run/mac"
	mount --bind "$lib_run/mac" "$lib_run/mac"
	mount --make-private "$lib_run/mac"
	: >"$lib_run/mac/mnt"
	unshare --mount="$lib_run/mac/mnt" mount --bind "$lib_data/passwd" /etc/passwd
	ln -sf mac/mnt "$lib_run/mac.mnt"
}

# The page as a client on mymacbook gets it.
story_load() { # URL [curl options]
	local url=$1
	shift
	story_as_mac setpriv --reuid 7501 --regid 7501 --clear-groups \
		curl -g -s -L --connect-timeout 3 -m 20 "$@" "$url"
}

story_load_as() { # UID URL: true when the page came whole
	story_as_mac setpriv --reuid "$1" --clear-groups curl -s -L --connect-timeout 3 -m 20 "$2" \
		2>/dev/null | grep -q 'Portreeve on Docker'
}

story_page() { story_load "$story_url" 2>/dev/null | grep -q 'Portreeve on Docker'; }

# WordPress's own installation page, as a visitor fills it in.
story_install() {
	lib_until 60 story_install_page || return 1
	story_load "${story_url}wp-admin/install.php?step=2" \
		--data-urlencode 'weblog_title=Portreeve on Docker' -d user_name=admin \
		--data-urlencode 'admin_password=not-a-secret-1' \
		--data-urlencode 'admin_password2=not-a-secret-1' -d pw_weak=1 \
		-d admin_email=admin@example.com -d blog_public=0 -d language= >"$lib_data/install.html"
	lib_until 20 story_page
}
story_install_page() { story_load "${story_url}wp-admin/install.php" | grep -q 'name="setup"\|weblog_title'; }

# What Apache's own access log says it answered, to whomever.
story_answers() { lib_docker dockersrv logs "$story_apache" 2>/dev/null | grep -c '"GET / HTTP'; }

# An agent that sees mymacbook's users.
story_mac_agent() {
	lib_mounts_mymacbook=$lib_run/mac.mnt
	lib_agent mymacbook
}

# The events of the story's services, newest last, as a person sees them.
story_table() { lib_pr events 'dst.port:8000,80,3306' "$@" 2>/dev/null; }

# --- the host policy of the paper, and what it is judged by ---

story_uuid() { # NAME
	lib_pr show "$1" --json 2>/dev/null | sed -n 's/.*"endpoint": *"\([^"]*\)".*/\1/p'
}

# The paper's two rows on groups of UUIDs, in $lib_data/policy. Row two is for whom $1 says. With a
# second argument the hosts are in enforce, too, and mymacbook (the user that $2 says) may load it.
# With a third, row one is for whom that says.
story_policy() { # 'from any' ['user macuser' ['from mymacbook']]
	{
		echo 'mode  observe default'
		echo 'mode  enforce group apache'
		echo 'mode  enforce group wordpress_db'
		echo "group apache       member $(story_uuid "$story_apache")"
		echo "group wordpress_db member $(story_uuid "$story_db")"
		echo "rule 10 allow ${3:-from any} to apache tcp/80 comment \"Allow Apache server\""
		echo "rule 20 allow $1 to wordpress_db tcp/3306 comment \"Allow MySQL server\""
		if [ $# -gt 1 ]; then
			echo "group hosts     member $(story_uuid dockersrv) member $(story_uuid mymacbook)"
			echo "group dockersrv member $(story_uuid dockersrv)"
			echo "group mymacbook member $(story_uuid mymacbook)"
			echo 'mode  enforce group hosts'
			echo "rule 30 allow $2 from mymacbook to dockersrv tcp/8000 comment \"Allow the user's machine\""
		fi
	} >"$lib_data/policy"
}

# What a service says first, heard in another container: true if it has the word in it.
story_greets() { # FROM-CONTAINER TO-CONTAINER PORT WORD
	lib_docker dockersrv exec "$1" perl -MIO::Socket::INET -e '
		$SIG{ALRM} = sub { exit 1 }; alarm 3;
		$s = IO::Socket::INET->new(PeerAddr => $ARGV[0], PeerPort => $ARGV[1], Timeout => 2) or exit 1;
		sysread($s, $b, 200); print $b' "$(story_address "$2")" "$3" 2>/dev/null | grep -aqi "$4"
}

# A listener in a container, for the time of the test.
story_listen() { # CONTAINER PORT
	lib_docker dockersrv exec -d "$1" perl -MIO::Socket::INET -e '
		$l = IO::Socket::INET->new(LocalPort => $ARGV[0], Listen => 5, ReuseAddr => 1) or exit 1;
		while ($c = $l->accept) { print $c "listens\n"; close $c }' "$2"
	sleep 0.5
}

# The newest event from the third container to a service of the database was denied, by that.
story_denied() { # SERVICE RULE
	sleep 0.5
	lib_pr events "src.name:third dst.name:$story_db service:$1" --json -n 1 2>/dev/null |
		grep '"verdict":"denied"' |
		if [ "$2" = default ]; then grep -q '"rule":null'; else grep -q "\"rule\":$2"; fi
}
