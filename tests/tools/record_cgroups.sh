#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What is in which control group on a machine with Docker and Podman, as tests/base/cgroups has it,
# and what /proc says of a container of a dockerd with --userns-remap, as tests/agent/remapped has it.
# It empties both engines and sets them up anew: for a machine to throw away, as cgroup_machine.sh
# makes one, which runs it as root at its start.
#
#	record_cgroups.sh FOLDER KIND	files recorded-KIND-DRIVER, recorded-KIND-remapped, remapped-KIND
set -u

log() { echo "record: $*" >&2; }
docker_pid() { docker inspect -f '{{.State.Pid}}' "$1"; }
podman_pid() { podman inspect -f '{{.State.Pid}}' "$1"; }
user_podman() { # of the user ana, in her own service manager
	systemd-run --quiet --user --machine=ana@.host --wait --pipe --collect -p KillMode=process podman "$@"
}

image() { # a file system of one static binary, as tar
	local tree tool
	tree=$(mktemp -d)
	mkdir -p "$tree/bin" "$tree/etc" "$tree/tmp" "$tree/sys" "$tree/proc"
	cp /bin/busybox "$tree/bin/busybox"
	for tool in sh sleep mkdir cat; do
		ln -s busybox "$tree/bin/$tool"
	done
	printf 'root:x:0:0:root:/:/bin/sh\nwww:x:33:33:www:/:/bin/sh\n' >"$tree/etc/passwd"
	chmod 0755 "$tree"
	tar -C "$tree" -c .
	rm -rf "$tree"
}

container() { # NAME ID PID: its first process
	[ -r "/proc/${3:-0}/cgroup" ] || {
		log "does not run: $1"
		return
	}
	printf 'container %s %s\n' "$1" "$2"
	cat "/proc/$3/cgroup"
}
process() { # NAME PID WHAT: whose a process is, and what it is
	[ -r "/proc/${2:-0}/cgroup" ] || {
		log "no process: $3"
		return
	}
	printf 'process %s: %s\n' "$1" "$3"
	cat "/proc/$2/cgroup"
}
below() { # ID: a process in the group that a container's process made
	grep -lE "$1.*/sub\$" /proc/[0-9]*/cgroup 2>/dev/null | head -n 1 | cut -d/ -f3
}
asleep() { pgrep -f "^/bin/sleep $1\$"; } # SECONDS: as whoever started it marked it

heads() { # KIND
	cat <<-END
		# SPDX-License-Identifier: GPL-2.0-or-later
		# Recorded by tests/tools/record_cgroups.sh in a virtual machine: control groups $1.
		# Linux $(uname -r), systemd $(systemctl --version | awk 'NR == 1 { print $2 }').
		# Docker $(docker version -f '{{.Server.Version}}'), driver $(docker info -f '{{.CgroupDriver}}'), $(runc --version | head -n 1).
		# Podman $(podman version -f '{{.Version}}'), driver $(podman info -f '{{.Host.CgroupManager}}'), $(podman info -f '{{.Host.OCIRuntime.Version}}' | head -n 1).
		# Mounted: $(mounts)
	END
}
mounts() { awk '/ - cgroup/ { print $NF ~ /rw/ ? $5 : $5 " read-only" }' /proc/1/mountinfo | paste -sd' '; }

# --- containers, as the engines make them ---

docker_start() {
	local name parent=/shop
	[ "$(docker info -f '{{.CgroupDriver}}')" = systemd ] && parent=shop.slice
	docker run -d --name bridge -p 8080:80 box /bin/sleep 100001 || return 1
	docker run -d --name joined --network container:bridge box /bin/sleep 100002
	docker run -d --name host-one --network host box /bin/sleep 100003
	docker run -d --name host-two --network host box /bin/sleep 100004
	docker run -d --name host-pids --network host --pid host box /bin/sleep 100005
	docker run -d --name host-groups --network host --cgroupns host box /bin/sleep 100006
	docker run -d --name own-groups --network host --cgroupns private box /bin/sleep 100007
	docker run -d --name host-shop --network host --cgroup-parent "$parent" box /bin/sleep 100008
	# shellcheck disable=SC2016
	docker run -d --name host-nested --network host --privileged box /bin/sh -c '
		/bin/sleep 100009 &
		for top in /sys/fs/cgroup /sys/fs/cgroup/*; do
			[ -w "$top/cgroup.procs" ] && /bin/mkdir -p "$top/sub" && echo $! >"$top/sub/cgroup.procs"
		done
		/bin/sleep 100010'
	docker exec -d host-one /bin/sleep 100011
	docker exec -d host-pids /bin/sleep 100012
}
docker_tell() {
	local name
	for name in bridge joined host-one host-two host-pids host-groups own-groups host-shop host-nested; do
		container "$name" "$(docker inspect -f '{{.Id}}' "$name")" "$(docker_pid "$name")"
	done
	process host-one "$(asleep 100011)" 'docker exec'
	process host-pids "$(asleep 100012)" 'docker exec'
	process host-nested "$(below "$(docker inspect -f '{{.Id}}' host-nested)")" 'in a group that it made below its own'
}

podman_start() {
	podman image exists box || image | podman import - box >/dev/null
	podman run -d --name pod-host-one --network host box /bin/sleep 100020 || return 1
	podman run -d --name pod-bridge --network none box /bin/sleep 100021
	podman pod create --name duo --network host --infra-image box --infra-command '/bin/sleep 100022' --infra-name duo-infra
	# As by hand: a service of systemd's gets no scope of its own for the monitor.
	env -u INVOCATION_ID podman run -d --name duo-one --pod duo box /bin/sleep 100023
	podman run -d --name duo-two --pod duo box /bin/sleep 100024
	podman exec -d pod-host-one /bin/sleep 100025
	systemd-run --quiet --unit box-split -p Delegate=yes -p Type=forking \
		podman run -d --name pod-split --network host --cgroups split box /bin/sleep 100026
}
podman_tell() {
	local name
	for name in pod-host-one pod-bridge duo-infra duo-one duo-two pod-split; do
		podman container exists "$name" || continue
		container "$name" "$(podman inspect -f '{{.Id}}' "$name")" "$(podman_pid "$name")"
	done
	process pod-host-one "$(asleep 100025)" 'podman exec'
	process outside "$(podman inspect -f '{{.State.ConmonPid}}' pod-host-one)" 'conmon of pod-host-one'
	process outside "$(podman inspect -f '{{.State.ConmonPid}}' duo-one)" 'conmon of duo-one, in a pod'
	process outside "$(podman inspect -f '{{.State.ConmonPid}}' pod-split)" 'conmon of pod-split'
}

rootless_start() {
	image >/tmp/box.tar
	chmod 0644 /tmp/box.tar
	user_podman import -q /tmp/box.tar box && user_podman run -d --name user-host --network host box /bin/sleep 100030
}
rootless_tell() { # no endpoint of ours. Where it has no group of its own, it is any process of the user
	local pid whose=outside
	pid=$(user_podman inspect -f '{{.State.Pid}}' user-host)
	grep -q "$(user_podman inspect -f '{{.Id}}' user-host)" "/proc/$pid/cgroup" && whose=stranger
	process $whose "$pid" "of a container of ana's own Podman"
	process outside "$(user_podman inspect -f '{{.State.ConmonPid}}' user-host)" 'its conmon'
}

# --- the host itself ---

host_tell() {
	process outside 1 'the first process'
	process outside 2 'the kernel'
	process outside "$(pgrep -x dockerd)" 'dockerd'
	process outside "$(pgrep -x -n docker-proxy)" 'docker-proxy of bridge'
	process outside "$(pgrep -n containerd-shim)" "a container's containerd-shim"
	process outside "$(pgrep -x cron)" 'cron'
	process outside "$(pgrep -u ana -x bash | head -n 1)" 'a login of ana'
	process outside "$(pgrep -u ana -x systemd | head -n 1)" "ana's service manager"
}

# --- a dockerd with --userns-remap ---

remapped_start() {
	docker run -d --name remapped -u www box /bin/sleep 100001
	docker run -d --name of-host -u www --network host --userns host box /bin/sleep 100002
	docker run -d --name refused --network host box /bin/sleep 100003
}
remapped_tell() {
	local name
	for name in remapped of-host; do
		container "$name" "$(docker inspect -f '{{.Id}}' "$name")" "$(docker_pid "$name")"
	done
}
# Each text as /proc has it, after a line "== NAME FILE"; of its mounts those that matter for names.
remapped_show() {
	local name pid
	cat <<-END
		# SPDX-License-Identifier: GPL-2.0-or-later
		# Recorded by tests/tools/record_cgroups.sh in a virtual machine: a container of a Docker
		# $(docker version -f '{{.Server.Version}}') with --userns-remap=default, $(grep dockremap /etc/subuid) in /etc/subuid, and one with
		# --userns=host beside it, both with -u www. Linux $(uname -r), $(runc --version | head -n 1).
	END
	for name in remapped of-host; do
		pid=$(docker_pid "$name")
		printf '== %s uid_map\n' "$name"
		cat "/proc/$pid/uid_map"
		printf '== %s status\n' "$name"
		grep '^[UG]id:' "/proc/$pid/status"
		printf '== %s mountinfo\n' "$name"
		awk '$5 == "/" || $5 ~ "^/etc"' "/proc/$pid/mountinfo"
		printf '== %s passwd\n' "$name"
		cat "/proc/$pid/root/etc/passwd"
	done
}

# --- the run: the driver that Docker chooses here, the other one, remapped ---

engines_restart() { # DOCKER'S-CONFIGURATION
	docker ps -aq | xargs -r docker rm -f
	podman pod rm -fa -t 0
	podman rm -fa -t 0
	user_podman rm -fa -t 0
	systemctl reset-failed
	mkdir -p /etc/docker
	echo "$1" >/etc/docker/daemon.json
	systemctl restart docker
	answers
	image | docker import - box
}
answers() {
	for _ in $(seq 100); do
		docker version >/dev/null 2>&1 && return
		sleep 1
	done
}
logged_in() {
	for _ in $(seq 100); do
		pgrep -u ana -x bash >/dev/null && return
		sleep 1
	done
}

folder=$1 kind=$2
answers
logged_in
mkdir -p "$folder"
chosen=$(docker info -f '{{.CgroupDriver}}')
for driver in cgroupfs systemd; do
	[ "$driver" = systemd ] && runtime=crun || runtime=runc
	mkdir -p /etc/containers
	printf '[engine]\ncgroup_manager = "%s"\nruntime = "%s"\n' "$driver" "$runtime" >/etc/containers/containers.conf
	if [ "$driver" = "$chosen" ]; then
		engines_restart '{}' >&2
	else
		engines_restart "{\"exec-opts\": [\"native.cgroupdriver=$driver\"]}" >&2
	fi
	docker_start >&2
	podman_start >&2
	rootless_start >&2
	{
		heads "$kind"
		docker_tell
		podman_tell
		rootless_tell
		host_tell
	} >"$folder/recorded-$kind-$driver"
done
engines_restart '{"userns-remap": "default"}' >&2
remapped_start >&2
{
	heads "$kind, --userns-remap"
	remapped_tell
	host_tell
} >"$folder/recorded-$kind-remapped"
remapped_show >"$folder/remapped-$kind"
