# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Sourced by tests/acceptance/story.sh: container images made from Debian packages, of the mirror
# that this machine's apt uses, for nothing can be pulled. No service is started on this machine:
# maintainer scripts run in a chroot that denies starts, in mount and process namespaces of their own.
#
#	images_make FOLDER	FOLDER/wordpress.tar and FOLDER/mariadb.tar, made once

# shellcheck disable=SC2034
IMAGES_wordpress='apache2 libapache2-mod-php php-mysql wordpress wordpress-theme-twentytwentythree default-mysql-client curl'
# shellcheck disable=SC2034
IMAGES_mariadb='mariadb-server dropbear-bin'

# "deb URI RELEASE main", one line for each of apt's own main package lists.
images_sources() {
	apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT) $(IDENTIFIER)' |
		awk '$3 == "main" && $4 == "Packages" { print "deb", $1, $2, $3 }' | sort -u
}

# The machine's own way to the mirror (proxies, certificates), its names and its sources.
images_network() { # TREE
	cp -L /etc/resolv.conf /etc/hosts "$1/etc/"
	apt-config dump | grep -E '^Acquire::(http|https)::' >"$1/etc/apt/apt.conf.d/90machine"
	images_sources >"$1/etc/apt/sources.list"
}

images_base() { # FOLDER
	local mirror release
	read -r _ mirror release _ < <(images_sources | grep -vE -- '-(updates|security|backports) ')
	[ -n "${release:-}" ] || {
		echo "apt knows no package list: is there a line in /etc/apt/sources.list?" >&2
		return 1
	}
	debootstrap --variant=minbase --exclude=tzdata "$release" "$1/base" "$mirror" || return 1
	printf '#!/bin/sh\nexit 101\n' >"$1/base/usr/sbin/policy-rc.d"
	chmod 0755 "$1/base/usr/sbin/policy-rc.d"
	printf 'path-exclude=/usr/share/%s/*\n' doc man locale info >"$1/base/etc/dpkg/dpkg.cfg.d/slim"
	echo 'force-unsafe-io' >>"$1/base/etc/dpkg/dpkg.cfg.d/slim"
	images_network "$1/base"
}

images_one() { # FOLDER NAME
	local tree=$1/$2 packages=IMAGES_$2
	cp -a "$1/base" "$tree" || return 1
	# The namespaces end whatever a maintainer script left running.
	unshare --mount --pid --fork --kill-child --mount-proc="$tree/proc" chroot "$tree" /bin/sh -ec "
		export DEBIAN_FRONTEND=noninteractive PATH=/usr/sbin:/usr/bin:/sbin:/bin
		apt-get -q update
		apt-get -q -y --no-install-recommends install ${!packages}
		apt-get clean" || return 1
	rm -rf "$tree"/var/lib/apt/lists/* "$tree"/usr/sbin/policy-rc.d "$tree"/etc/apt/apt.conf.d/90machine
	# Engines write these themselves.
	: >"$tree/etc/resolv.conf"
	: >"$tree/etc/hosts"
	tar -C "$tree" --one-file-system -cf "$1/$2.tar.new" . && mv "$1/$2.tar.new" "$1/$2.tar"
}

images_make() { # FOLDER
	local folder=$1
	if [ -s "$folder/wordpress.tar" ] && [ -s "$folder/mariadb.tar" ]; then
		return 0
	fi
	mkdir -p "$folder" || return 1
	folder=$(cd "$folder" && pwd)
	rm -rf "$folder"/{base,wordpress,mariadb}
	images_base "$folder" >"$folder/base.log" 2>&1 || {
		echo "debootstrap failed: $(tail -n 1 "$folder/base.log"), log: $folder/base.log" >&2
		return 1
	}
	images_one "$folder" wordpress >"$folder/wordpress.log" 2>&1 &
	local other=$! status=0
	images_one "$folder" mariadb >"$folder/mariadb.log" 2>&1 || status=1
	wait "$other" || status=1
	rm -rf "$folder"/{base,wordpress,mariadb}
	[ "$status" -eq 0 ] || echo "images could not be made, logs: $folder/*.log" >&2
	return "$status"
}
