# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Sourced by ./check, ./quickstart and the acceptance tests, after step.sh: the Debian packages that
# building, testing and running need, installed without a service being started or enabled, and a
# Docker engine unpacked, not installed.
#
#	dependencies_install LOG_FOLDER build tests	installs what is missing of these lists
#	dependencies_unpack FOLDER PACKAGES...		FOLDER/root then holds them
#	dependencies_unpack_engine FOLDER		FOLDER/root then holds the engine, FOLDER/env
#							what to source before running it
#	dependencies_unpack_podman FOLDER		the same of Podman

# shellcheck disable=SC2034
DEPENDENCIES_build='gcc make libc6-dev autoconf automake pkgconf libzmq3-dev libczmq-dev libmsgpack-dev
	libnetfilter-queue-dev libnetfilter-log-dev libnetfilter-conntrack-dev libnftnl-dev libmnl-dev
	liblmdb-dev libsodium-dev libcurl4-openssl-dev libjansson-dev libcap-ng-dev uuid-dev
	libbpf-dev clang bpftool'
# shellcheck disable=SC2034
DEPENDENCIES_runtime='iproute2 procps'
# shellcheck disable=SC2034
DEPENDENCIES_tests='git clang clang-format libclang-rt-14-dev tcpdump nftables iptables conntrack iproute2
	curl socat busybox-static python3 python3-zmq python3-msgpack procps util-linux
	debootstrap docker-compose'
# shellcheck disable=SC2034
DEPENDENCIES_demo='iproute2 curl iptables nftables busybox-static python3 util-linux debootstrap
	docker-compose'
# shellcheck disable=SC2034
DEPENDENCIES_bench='iproute2 iptables conntrack procps util-linux'
# Whoever has them from elsewhere keeps those.
command -v npm >/dev/null || DEPENDENCIES_bench="$DEPENDENCIES_bench nodejs npm"
DEPENDENCIES_ENGINE='docker.io containerd runc tini'
# runc, not crun: that one refuses hosts with both kinds of control groups.
DEPENDENCIES_PODMAN='podman conmon runc netavark aardvark-dns golang-github-containers-common
	golang-github-containers-image'

# Elsewhere only in the test of this file.
DEPENDENCIES_POLICY=${DEPENDENCIES_POLICY:-/usr/sbin/policy-rc.d}
DEPENDENCIES_LOCK=${DEPENDENCIES_LOCK:-/run/portreeve-dependencies.lock}

dependencies_missing() { # LIST...
	local list package packages=''
	for list in "$@"; do
		list=DEPENDENCIES_$list
		packages="$packages ${!list}"
	done
	for package in $(printf '%s\n' $packages | sort -u); do
		[ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] ||
			printf '%s ' "$package"
	done
}

# Put the machine's own policy-rc.d back as it was: the same file, or none.
dependencies_policy_restore() {
	if [ -e "$DEPENDENCIES_POLICY.portreeve-none" ]; then
		rm -f "$DEPENDENCIES_POLICY" "$DEPENDENCIES_POLICY.portreeve-none"
	elif [ -e "$DEPENDENCIES_POLICY.portreeve-saved" ] || [ -L "$DEPENDENCIES_POLICY.portreeve-saved" ]; then
		mv -fT "$DEPENDENCIES_POLICY.portreeve-saved" "$DEPENDENCIES_POLICY"
	fi
}

# From here on no package may start a service.
dependencies_policy_deny() {
	dependencies_policy_restore # what a killed machine left
	if [ -e "$DEPENDENCIES_POLICY" ] || [ -L "$DEPENDENCIES_POLICY" ]; then
		mv -T "$DEPENDENCIES_POLICY" "$DEPENDENCIES_POLICY.portreeve-saved"
	else
		: >"$DEPENDENCIES_POLICY.portreeve-none"
	fi
	printf '#!/bin/sh\n# Of Portreeve, for the length of one apt-get run.\nexit 101\n' \
		>"$DEPENDENCIES_POLICY"
	chmod 0755 "$DEPENDENCIES_POLICY"
}

# Stand-ins that maintainer scripts find first: nothing is enabled or started, all else is passed on.
dependencies_stand_ins() { # FOLDER
	local name
	cat >"$1/deb-systemd-helper" <<-'END'
		#!/bin/sh
		for word in "$@"; do
			[ "$word" != enable ] || exit 0
		done
		exec /usr/bin/deb-systemd-helper "$@"
	END
	for name in deb-systemd-invoke invoke-rc.d update-rc.d; do
		printf '#!/bin/sh\nexit 0\n' >"$1/$name"
	done
	cat >"$1/systemctl" <<-'END'
		#!/bin/sh
		for word in "$@"; do
			case $word in
			start | restart | try-restart | reload-or-restart | enable | reenable | preset | daemon-reload) exit 0 ;;
			esac
		done
		[ -x /usr/bin/systemctl ] || exit 0
		exec /usr/bin/systemctl "$@"
	END
	chmod 0755 "$1"/*
}

dependencies_apt() { # FOLDER WORDS...
	local stand_ins=$1
	shift
	DEBIAN_FRONTEND=noninteractive DEBCONF_NONINTERACTIVE_SEEN=true NEEDRESTART_MODE=l \
		SYSTEMD_OFFLINE=1 apt-get -q -y -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 \
		-o DPkg::Path="$stand_ins:/usr/sbin:/usr/bin:/sbin:/bin" "$@"
}

# Install PACKAGES with starts and enabling denied. A guardian puts policy-rc.d back when this shell
# says so, or when it and apt-get are gone, however they went.
dependencies_apt_install() { # LOG_FOLDER PACKAGES...
	local logs=$1 stand_ins guardian said lock status=0
	shift
	stand_ins=$(mktemp -d) || return 1
	dependencies_stand_ins "$stand_ins"
	exec {lock}>"$DEPENDENCIES_LOCK"
	flock "$lock"
	mkfifo "$stand_ins/said"
	dependencies_policy_deny
	setsid bash -c '
		trap "" INT TERM HUP
		read -r _ <"$1/said"
		rm -rf "$1"
		DEPENDENCIES_POLICY=$2
		eval "$3"
		dependencies_policy_restore
	' guardian "$stand_ins" "$DEPENDENCIES_POLICY" "$(declare -f dependencies_policy_restore)" \
		</dev/null >/dev/null 2>&1 &
	guardian=$!
	exec {said}>"$stand_ins/said"
	step 'apt-get update' "$logs/apt-update.log" dependencies_apt "$stand_ins" update || status=$?
	if [ "$status" -eq 0 ]; then
		step "apt-get install $# packages" "$logs/apt-install.log" dependencies_apt \
			"$stand_ins" install --no-install-recommends "$@" || status=$?
	fi
	echo over >&"$said"
	exec {said}>&-
	wait "$guardian"
	exec {lock}>&-
	return "$status"
}

dependencies_install() { # LOG_FOLDER LIST...
	local logs=$1 missing
	shift
	if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
		echo "this needs Debian 12 (apt-get is not there)" >&2
		return 1
	fi
	missing=$(dependencies_missing "$@")
	if [ -z "$missing" ]; then
		echo "packages for $*: all installed"
		return 0
	fi
	if [ "$(id -u)" -ne 0 ]; then
		echo "packages are missing, run as root or install: $missing" >&2
		return 1
	fi
	echo "packages for $*: installing $missing"
	# shellcheck disable=SC2086
	dependencies_apt_install "$logs" $missing || return 1
	missing=$(dependencies_missing "$@")
	if [ -n "$missing" ]; then
		echo "packages are still missing after apt-get: $missing" >&2
		return 1
	fi
}

# Fetch packages into the current folder; package lists are updated once if that fails.
dependencies_download() { # PACKAGES...
	local options='-q -o APT::Sandbox::User=root -o Acquire::Retries=3'
	# shellcheck disable=SC2086
	apt-get $options download "$@" || {
		apt-get $options update && apt-get $options download "$@"
	}
}

# Libraries that the engine's programs lack on this machine, by the names of their files.
dependencies_engine_lacks() { # ROOT
	local program
	for program in "$1"/usr/bin/* "$1"/usr/sbin/*; do
		LD_LIBRARY_PATH=$(dependencies_engine_libraries "$1") ldd "$program" 2>/dev/null |
			awk '/not found/ { print $1 }'
	done | sort -u
}

dependencies_engine_libraries() { # ROOT
	local triplet
	triplet=$(gcc -print-multiarch 2>/dev/null || echo "$(uname -m)-linux-gnu")
	printf '%s/usr/lib/%s:%s/lib/%s' "$1" "$triplet" "$1" "$triplet"
}

dependencies_unpack() { # FOLDER PACKAGES...: fetch and unpack into FOLDER/root
	local folder=$1 package
	shift
	mkdir -p "$folder/debs" "$folder/root" || return 1
	(cd "$folder/debs" && dependencies_download "$@") || return 1
	for package in "$@"; do
		dpkg-deb -x "$folder"/debs/"$package"_*.deb "$folder/root" || return 1
	done
}

# Unpack an engine under FOLDER, once, with the libraries that this machine lacks: nothing is
# installed, started or enabled.
dependencies_unpack_once() { # FOLDER NAME PROGRAM PACKAGES...
	local folder=$1 name=$2 program=$3 libraries package
	shift 3
	mkdir -p "$folder" || return 1
	folder=$(cd "$folder" && pwd)
	if [ -e "$folder/env" ] && [ -x "$folder/root/$program" ]; then
		return 0
	fi
	rm -rf "$folder/debs" "$folder/root"
	if ! dependencies_unpack "$folder" "$@" >"$folder/unpack.log" 2>&1; then
		echo "$name could not be fetched, log: $folder/unpack.log" >&2
		return 1
	fi
	if [ -n "$(dependencies_engine_lacks "$folder/root")" ]; then
		# Of their packages' dependencies, every library that is not installed.
		libraries=$(for package in "$folder"/debs/*.deb; do dpkg-deb -f "$package" Depends; done |
			tr ',|' '\n\n' | awk '$1 ~ /^lib/ { print $1 }' | sort -u)
		for package in $libraries; do
			dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed ||
				dependencies_unpack "$folder" "$package" >>"$folder/unpack.log" 2>&1
		done
	fi
	libraries=$(dependencies_engine_lacks "$folder/root")
	if [ -n "$libraries" ]; then
		echo "$name lacks these libraries:" $libraries >&2
		return 1
	fi
	printf 'export PATH=%s/root/usr/sbin:%s/root/usr/bin:$PATH\nexport LD_LIBRARY_PATH=%s\n' \
		"$folder" "$folder" "$(dependencies_engine_libraries "$folder/root")" >"$folder/env"
}

dependencies_unpack_engine() { # FOLDER
	# shellcheck disable=SC2086
	dependencies_unpack_once "$1" 'the Docker engine' usr/sbin/dockerd $DEPENDENCIES_ENGINE
}

dependencies_unpack_podman() { # FOLDER
	# shellcheck disable=SC2086
	dependencies_unpack_once "$1" Podman usr/bin/podman $DEPENDENCIES_PODMAN
}
