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

# The page as the user's client gets it; true when it came whole.
story_load() { # URL [curl options]
	local url=$1
	shift
	story_as_mac setpriv --reuid 7501 --regid 7501 --clear-groups \
		curl -s -L --connect-timeout 3 -m 20 "$@" "$url"
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
story_answers() { lib_docker dockersrv logs wordpress_apache_1 2>/dev/null | grep -c '"GET / HTTP'; }

# An agent that sees mymacbook's users.
story_mac_agent() {
	lib_mounts_mymacbook=$lib_run/mac.mnt
	lib_agent mymacbook
}

# The events of the story's services, newest last, as a person sees them.
story_table() { lib_pr events 'dst.port:8000,80,3306' "$@" 2>/dev/null; }
