#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What acceptance scripts share: TAP, test hosts in network namespaces, a Docker engine in one, our
# daemons, and the cleaning up of all that, also of what a killed run left behind. Sourced first:
#
#   . "$(dirname "$0")/lib.sh"; lib_start docker
#
# Test hosts are namespaces prt-NAME-HOST, joined by a bridge in prt-NAME-lan. Nothing is ever
# started or set in the machine's own namespace; every process is ended by its id.

lib_source=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
lib_build=${PORTREEVE_BUILD:-$lib_source/build}
[ -x "$lib_build/portreeve-agent" ] || lib_build=${PORTREEVE_BUILD:-$lib_source}
lib_count=0
lib_failed=0
lib_net=192.168.7 # of the test hosts

# --- TAP ---

ok() { # ok CONDITION-STATUS TEXT: `ok $? "what"`
	lib_count=$((lib_count + 1))
	if [ "$1" -eq 0 ]; then
		echo "ok $lib_count - $2"
	else
		echo "not ok $lib_count - $2"
		lib_failed=$((lib_failed + 1))
	fi
	return 0
}

is() { # is GOT WANTED TEXT
	[ "$1" = "$2" ]
	local same=$?
	ok $same "$3"
	[ $same -eq 0 ] || diag "got '$1', wanted '$2'"
}

diag() { printf '# %s\n' "$*"; }

# A judge's lines become results: "ok TEXT", "no TEXT", "# TEXT". Fails if it did not end with "done".
lib_results() { # lib_results COMMAND...
	local word text ended=1
	while read -r word text; do
		case $word in
		ok) ok 0 "$text" ;;
		no) ok 1 "$text" ;;
		'#') diag "$text" ;;
		done) ended=0 ;;
		esac
	done < <("$@")
	return $ended
}

bail() {
	echo "Bail out! $*"
	exit 1
}

# Wait until a command succeeds: lib_until SECONDS COMMAND...
lib_until() {
	local deadline=$((SECONDS + $1))
	shift
	until "$@" >/dev/null 2>&1; do
		[ $SECONDS -lt $deadline ] || return 1
		sleep 0.1
	done
}

# --- start and end ---

lib_start() { # lib_start NAME (at most 6 letters, interfaces are named after it)
	lib_name=$1
	if [ "$(id -u)" -ne 0 ]; then
		echo "1..0 # SKIP needs root: namespaces, rules, a Docker engine"
		exit 0
	fi
	[ -x "$lib_build/portreeve-agent" ] ||
		bail "no portreeve-agent in $lib_build: build first, or set PORTREEVE_BUILD"
	lib_run=/run/prt-$lib_name           # sockets and pid files: short paths
	lib_data=$lib_build/acceptance/$lib_name # logs, stores, images
	lib_sweep
	mkdir -p "$lib_run" "$lib_data"
	trap lib_end EXIT
	trap 'exit 130' INT TERM HUP PIPE
	ip netns add "prt-$lib_name-lan"
	lib_in lan ip link add br0 type bridge
	lib_in lan ip link set br0 up
}

lib_end() {
	local status=$?
	trap - EXIT
	echo "1..$lib_count"
	[ "$lib_failed" -eq 0 ] && [ "$lib_count" -gt 0 ] && [ "$status" -eq 0 ]
	local good=$?
	if [ $good -ne 0 ]; then
		diag "$lib_failed of $lib_count failed; logs are in $lib_data"
	fi
	lib_sweep keep
	exit $good
}

# A recorded process is ours if it still has the start time that was written down.
lib_start_time() { sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20; }

lib_kill_recorded() { # SIGNAL
	local file pid since
	for file in "$lib_run"/pid.*; do
		[ -e "$file" ] || continue
		read -r pid since <"$file"
		[ "$(lib_start_time "$pid")" = "$since" ] && kill "-$1" "$pid" 2>/dev/null
	done
}

lib_any_recorded() {
	local file pid since
	for file in "$lib_run"/pid.*; do
		[ -e "$file" ] || continue
		read -r pid since <"$file"
		[ "$(lib_start_time "$pid")" = "$since" ] && return 0
	done
	return 1
}

lib_none_recorded() { ! lib_any_recorded; }

# Take down everything of this script, of this run or an earlier one that was killed.
lib_sweep() {
	local pid path ns
	if [ -d "$lib_run" ]; then
		for path in "$lib_run"/*.docker; do # engines first: they own containers
			[ -S "$path" ] && lib_engine_empty "$path"
		done
		for path in "$lib_run"/*.containers; do
			[ -f "$path" ] && lib_podman_empty "$(basename "$path" .containers)"
		done
		lib_kill_recorded CONT
		lib_kill_recorded TERM
		lib_until 10 lib_none_recorded || lib_kill_recorded KILL
		# shims and containers of an engine that was killed: they name our directory
		for pid in $(grep -lF -- "$lib_run/" /proc/[0-9]*/cmdline 2>/dev/null | cut -d/ -f3); do
			[ "$pid" = $$ ] || kill -KILL "$pid" 2>/dev/null
		done
	fi
	for ns in $(ip netns list | awk '{print $1}' | grep "^prt-$lib_name-"); do
		for pid in $(ip netns pids "$ns"); do
			kill -KILL "$pid" 2>/dev/null
		done
		ip netns del "$ns"
	done
	grep -oE " ($lib_run|$lib_data)/[^ ]*" /proc/mounts | sort -r | while read -r path; do
		umount -l "$path" 2>/dev/null
	done
	rm -rf "$lib_run"
	if [ "${1:-}" != keep ]; then
		rm -rf "$lib_data"
	else
		rm -rf "$lib_data"/*.engine "$lib_data"/*.podman
	fi
	return 0
}

# --- test hosts ---

lib_in() { # lib_in HOST COMMAND...: run in a test host
	local host=$1
	shift
	nsenter --net="/run/netns/prt-$lib_name-$host" "$@"
}

lib_host() { # lib_host HOST NUMBER: $lib_net.NUMBER/24 and fd07::NUMBER/64 on eth0
	local ns=prt-$lib_name-$1
	ip netns add "$ns"
	lib_in "$1" ip link set lo up
	ip link add "p$lib_name$2" netns "prt-$lib_name-lan" type veth peer name eth0 netns "$ns"
	lib_in lan ip link set "p$lib_name$2" master br0 up
	lib_in "$1" ip address add "$lib_net.$2/24" dev eth0
	lib_in "$1" ip address add "fd07::$2/64" dev eth0 nodad
	lib_in "$1" ip link set eth0 up
	lib_in "$1" sysctl -q -w net.ipv6.conf.all.forwarding=0
}

# Start a process in the background and write down its id: lib_spawn LABEL COMMAND...
# Output goes to LABEL.log. The id is in $lib_pid and $lib_run/pid.LABEL.
lib_spawn() {
	local label=$1
	shift
	setsid "$@" >>"$lib_data/$label.log" 2>&1 </dev/null &
	disown
	lib_pid=$!
	# nsenter and friends exec: the id and its start time stay
	echo "$lib_pid $(lib_start_time $lib_pid)" >"$lib_run/pid.$label"
}

lib_pid_of() { cut -d' ' -f1 "$lib_run/pid.$1"; }

lib_stop() { # lib_stop LABEL [SIGNAL]: end a spawned process and wait for it
	local pid
	pid=$(lib_pid_of "$1")
	kill "-${2:-TERM}" "$pid" 2>/dev/null
	lib_until 15 lib_gone "$pid" || kill -KILL "$pid" 2>/dev/null
	rm -f "$lib_run/pid.$1"
}

lib_gone() { ! kill -0 "$1" 2>/dev/null || grep -q '^State:.Z' "/proc/$1/status" 2>/dev/null; }

# --- Docker engine in a test host ---

lib_engine() { # lib_engine HOST [dockerd options]
	local host=$1 root=$lib_build/engine
	shift
	# shellcheck source=/dev/null
	. "$lib_source/scripts/dependencies.sh"
	dependencies_unpack_engine "$root" >"$lib_data/unpack.log" 2>&1 ||
		bail "cannot unpack the Docker engine: $(tail -n 1 "$lib_data/unpack.log")"
	lib_engine_run "$host" "$@"
	lib_until 40 lib_docker "$host" version || bail "dockerd on $host does not answer"
	lib_image "$host"
}

lib_engine_run() { # lib_engine_run HOST [dockerd options]: start it, without waiting for it
	local host=$1 mounts=lib_mounts_$1
	shift
	# left by one that was killed: where nobody reaps, it takes its dead containerd for alive
	rm -f "$lib_run/$host.dockerpid" "$lib_run/$host.exec/containerd/containerd.pid"
	lib_spawn "dockerd-$host" bash -c ". $lib_build/engine/env; exec \"\$@\"" engine \
		nsenter ${!mounts:+--mount="${!mounts}"} --net="/run/netns/prt-$lib_name-$host" dockerd \
		--data-root "$lib_data/$host.engine" --exec-root "$lib_run/$host.exec" \
		--pidfile "$lib_run/$host.dockerpid" -H "unix://$lib_run/$host.docker" \
		--exec-opt native.cgroupdriver=cgroupfs "$@" # no unit of the machine's systemd
}

lib_docker() { # lib_docker HOST ARGUMENTS...
	local host=$1
	shift
	"$lib_build/engine/root/usr/bin/docker" -H "unix://$lib_run/$host.docker" "$@"
}

lib_engine_empty() { # SOCKET: remove its containers, quickly
	local ids docker=$lib_build/engine/root/usr/bin/docker
	[ -x "$docker" ] || return 0
	ids=$(timeout 5 "$docker" -H "unix://$1" ps -aq 2>/dev/null)
	# shellcheck disable=SC2086
	[ -z "$ids" ] || timeout 20 "$docker" -H "unix://$1" rm -f $ids >/dev/null 2>&1
}

# --- Podman in a test host: its own mounts, storage and configuration; nothing of the machine's ---

lib_podman_make() { # lib_podman_make HOST: unpacked and configured, with an image; no service runs
	local host=$1 root=$lib_build/podman folder
	# shellcheck source=/dev/null
	. "$lib_source/scripts/dependencies.sh"
	dependencies_unpack_podman "$root" >"$lib_data/unpack-podman.log" 2>&1 ||
		bail "cannot unpack Podman: $(tail -n 1 "$lib_data/unpack-podman.log")"
	folder=$(cd "$root/root" && pwd)
	mkdir -p "$lib_run/mounts" "$lib_run/$host.home/.config/containers" "$lib_data/$host.podman"
	cp "$folder/etc/containers/policy.json" "$lib_run/$host.home/.config/containers/"
	# The limits: as root without CAP_SYS_RESOURCE nobody gets Podman's defaults.
	cat >"$lib_run/$host.containers" <<-END
		[containers]
		default_ulimits = ["nofile=1024:4096", "nproc=2048:4096"]
		[engine]
		cgroup_manager = "cgroupfs"
		conmon_path = ["$folder/usr/bin/conmon"]
		events_logger = "file"
		helper_binaries_dir = ["$folder/usr/lib/podman"]
		runtime = "runc"
		[engine.runtimes]
		runc = ["$folder/usr/sbin/runc"]
		[network]
		network_backend = "netavark"
		network_config_dir = "$lib_data/$host.podman/networks"
	END
	mountpoint -q "$lib_run/mounts" || {
		mount --bind "$lib_run/mounts" "$lib_run/mounts"
		mount --make-private "$lib_run/mounts"
	}
	: >"$lib_run/mounts/$host"
	# shellcheck disable=SC2016
	unshare --mount="$lib_run/mounts/$host" --propagation private sh -c '
		mount --bind "$1" /mnt && mount -t tmpfs tmpfs /run && mkdir -p "$1" /run/netns &&
			mount --move /mnt "$1" && mount -t tmpfs tmpfs /var/lib && mount -t tmpfs tmpfs /dev/shm
	' mounts "$lib_run" || bail "no mounts for Podman"
	lib_image_tree | lib_podman "$host" import - prt-busybox >"$lib_data/import-podman.log" 2>&1 ||
		bail "podman import: $(tail -n 1 "$lib_data/import-podman.log")"
}

# $lib_words: podman in a host's mounts and network.
lib_podman_words() { # HOST
	# shellcheck disable=SC2016
	lib_words=(nsenter --mount="$lib_run/mounts/$1" --net="/run/netns/prt-$lib_name-$1"
		env HOME="$lib_run/$1.home" CONTAINERS_CONF="$lib_run/$1.containers"
		bash -c '. "$0"; exec podman "$@"' "$lib_build/podman/env"
		--root "$lib_data/$1.podman/root" --runroot "$lib_run/$1.runroot"
		--tmpdir "$lib_run/$1.podtmp" --storage-driver vfs)
}

lib_podman() { # lib_podman HOST ARGUMENTS...
	lib_podman_words "$1"
	shift
	"${lib_words[@]}" "$@"
}

lib_podman_run() { # lib_podman_run HOST: the service, which containers do not need
	lib_podman_words "$1"
	rm -f "$lib_run/$1.podsock"
	lib_spawn "podman-$1" "${lib_words[@]}" system service --time=0 "unix://$lib_run/$1.podsock"
	lib_until 10 test -S "$lib_run/$1.podsock" || bail "podman system service on $1 does not come"
}

lib_podman_empty() { # HOST: remove its pods and containers, quickly
	local id ids pids
	[ -e "/run/netns/prt-$lib_name-$1" ] || return 0
	ids=$(find "$lib_data/$1.podman/root/vfs-containers" -mindepth 1 -maxdepth 1 -type d -printf '%f\n')
	lib_podman_words "$1"
	timeout 20 "${lib_words[@]}" pod rm -fa -t 0 >/dev/null 2>&1
	timeout 20 "${lib_words[@]}" rm -fa -t 0 >/dev/null 2>&1
	for id in $ids; do # what it lost sight of, because it was killed in the middle
		pids=$(grep -lF -- "libpod-$id" /proc/[0-9]*/cgroup 2>/dev/null | cut -d/ -f3)
		# shellcheck disable=SC2086
		[ -z "$pids" ] || kill -KILL $pids 2>/dev/null
	done
	# Podman leaves its own control groups behind; one that is in use does not go.
	rmdir /sys/fs/cgroup/*/libpod_parent/conmon /sys/fs/cgroup/*/libpod_parent \
		/sys/fs/cgroup/libpod_parent/conmon /sys/fs/cgroup/libpod_parent 2>/dev/null
}

lib_image_tree() { # a file system of one static binary, as tar
	local tree=$lib_run/image tool
	mkdir -p "$tree/bin" "$tree/etc" "$tree/www" "$tree/tmp"
	cp /bin/busybox "$tree/bin/busybox"
	for tool in sh httpd nc sleep wget ip ping udpsvd tcpsvd cat echo ls ps kill; do
		ln -sf busybox "$tree/bin/$tool"
	done
	printf 'root:x:0:0:root:/:/bin/sh\nwww:x:33:33:www:/:/bin/sh\n' >"$tree/etc/passwd"
	echo hello >"$tree/www/index.html"
	tar -C "$tree" -c .
	rm -rf "$tree"
}

lib_image() { # lib_image HOST: an image of it: prt-busybox
	lib_image_tree | lib_docker "$1" import - prt-busybox >/dev/null
}

# --- our daemons in test hosts ---

# lib_capture_start HOST FILTER; lib_capture_stop prints how many packets came.
lib_capture_start() {
	rm -f "$lib_data/capture"
	lib_spawn capture nsenter --net="/run/netns/prt-$lib_name-$1" \
		tcpdump -i any -n -U --immediate-mode -w "$lib_data/capture" "$2"
	lib_until 5 grep -q 'listening on' "$lib_data/capture.log"
	: >"$lib_data/capture.log"
}

lib_capture_stop() {
	lib_stop capture INT
	tcpdump -n -r "$lib_data/capture" 2>/dev/null | wc -l
}

lib_address() { # address of a test host, or the one set for it
	lib_in "$1" ip -4 -o address show dev eth0 | awk '{sub("/.*", "", $4); print $4; exit}'
}

# portreeve as the first administrator, on the controller's host
lib_pr() { lib_in "$lib_controller_host" "$lib_build/portreeve" --config "$lib_data/cli/cli.conf" "$@"; }

lib_controller() { # lib_controller HOST: controller with two workers; the recorder's place is HOST too
	local address
	lib_controller_host=$1
	address=$(lib_address "$1")
	cat >"$lib_data/controller.conf" <<-END
		state_directory = $lib_data/controller
		listen = 0.0.0.0
		advertise = $address
		recorder = tcp://$address:7401
		admin_config = $lib_data/cli/cli.conf
	END
	lib_in "$1" "$lib_build/portreeve-controller" --config "$lib_data/controller.conf" --init \
		>"$lib_data/controller-init.log" 2>&1 || bail "controller --init: $(tail -1 "$lib_data/controller-init.log")"
	lib_controller_run
	lib_until 10 lib_pr hosts || bail "the controller does not answer: see $lib_data/controller.log"
}

lib_controller_run() {
	lib_spawn controller nsenter --net="/run/netns/prt-$lib_name-$lib_controller_host" \
		"$lib_build/portreeve-controller" --config "$lib_data/controller.conf"
}

lib_token() { # lib_token ROLE NAME
	lib_pr enroll --role "$1" --name "$2" --json 2>/dev/null |
		sed -n 's/.*"token": *"\([^"]*\)".*/\1/p'
}

lib_commit() { # lib_commit FILE MESSAGE: make it the policy in force and wait until all serve it
	local revision
	lib_pr policy commit -m "$2" "$1" >"$lib_data/commit.out" 2>&1 ||
		bail "policy commit: $(cat "$lib_data/commit.out")"
	lib_until 5 lib_settled || diag "not everybody serves the new revision after 5 s"
}

# Everybody serves the policy in force: workers by `status`, agents by what they say of themselves.
lib_settled() {
	local revision
	revision=$(lib_pr policy log --json 2>/dev/null | sed -n '1s/.*"revision": *\([0-9]*\).*/\1/p')
	lib_pr status --json 2>/dev/null >"$lib_run/status"
	[ -n "$revision" ] && ! grep -o '"revision": *[0-9]*' "$lib_run/status" |
		grep -vq "[^0-9]$revision\$" && lib_all_enforced
}

# Where policy says enforce, the kernel does: the way there takes a moment of its own.
lib_all_enforced() {
	! lib_pr hosts --json 2>/dev/null | grep '"status":"active"' | grep '"mode":"enforce"' |
		grep -vq '"enforced":"enforce"'
}

lib_recorder() { # lib_recorder HOST
	cat >"$lib_data/recorder.conf" <<-END
		state_directory = $lib_data/recorder
		listen = tcp://0.0.0.0:7401
		map_size = ${lib_map_size:-1G}
	END
	lib_recorder_host=$1
	lib_token recorder recorder | lib_in "$1" "$lib_build/portreeve-recorder" \
		--config "$lib_data/recorder.conf" --enroll - >"$lib_data/recorder-enroll.log" 2>&1 ||
		bail "recorder --enroll: $(tail -n 1 "$lib_data/recorder-enroll.log")"
	lib_recorder_run
	lib_until 10 lib_pr events -n 1 || bail "the recorder does not answer: see $lib_data/recorder.log"
}

lib_recorder_run() {
	lib_spawn recorder nsenter --net="/run/netns/prt-$lib_name-$lib_recorder_host" \
		"$lib_build/portreeve-recorder" --config "$lib_data/recorder.conf"
}

# The machine's own engines are nobody's business here: both kinds are named, or none.
lib_agent() { # lib_agent HOST [docker socket path [podman socket path [namespace...]]]: configure, enrol, start
	local space
	cat >"$lib_data/agent-$1.conf" <<-END
		state_directory = $lib_data/agent-$1
		name = $1
		docker_socket = ${2:-none}
		podman_socket = ${3:-}
	END
	for space in "${@:4}"; do
		echo "namespace = $space" >>"$lib_data/agent-$1.conf"
	done
	lib_token agent "$1" | lib_in "$1" "$lib_build/portreeve-agent" \
		--config "$lib_data/agent-$1.conf" --enroll - >"$lib_data/agent-$1-enroll.log" 2>&1 ||
		bail "agent --enroll on $1: $(tail -n 1 "$lib_data/agent-$1-enroll.log")"
	lib_agent_run "$1"
	lib_until 15 lib_agent_active "$1" || bail "agent $1 is not active: see $lib_data/agent-$1.log"
}

lib_agent_run() { # with its own mount namespace, if lib_mounts_HOST names one
	local mounts=lib_mounts_$1
	lib_spawn "agent-$1" nsenter ${!mounts:+--mount="${!mounts}"} --net="/run/netns/prt-$lib_name-$1" \
		"$lib_build/portreeve-agent" --config "$lib_data/agent-$1.conf"
}

lib_agent_active() { lib_pr hosts --json | grep "\"name\": *\"$1\"" | grep -q '"status": *"active"'; }

lib_mode_is() { lib_pr show "$1" --json 2>/dev/null | grep -q "\"enforced\": *\"$2\""; }
lib_enforced() { lib_mode_is "$1" enforce; }
lib_observed() { lib_mode_is "$1" observe; }

# No process of this test, by the folder it names, has this program's name any more.
lib_gone_name() { ! pgrep -f "$1 --config $lib_data/" >/dev/null; }
