#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Resident memory of an agent that watches 50 containers, in observe and in enforce, and of a
# controller with 1,000 endpoints and 10,000 rules. The figures are printed whatever they are.
set -u
. "$(dirname "$0")/lib.sh"
containers=50
agent_limit_mib=30
controller_limit_mib=100
lib_start foot

lib_host ctl 1
lib_host srv 2
lib_engine srv
lib_controller ctl
lib_recorder ctl

for ((i = 0; i < containers; i++)); do
	echo "run -d --network none --name c$i prt-busybox /bin/sleep 100000"
done >"$lib_run/runs"
export lib_build lib_run
# shellcheck disable=SC2016
xargs -P 4 -L 1 bash -c 'exec "$lib_build/engine/root/usr/bin/docker" -H "unix://$lib_run/srv.docker" "$@"' docker \
	<"$lib_run/runs" >"$lib_data/runs.log" 2>&1
is "$(lib_docker srv ps -q | wc -l)" "$containers" "$containers containers run"
lib_agent srv "$lib_run/srv.docker"

watched() { # watched MODE: containers whose rules stand in this mode
	lib_pr hosts --json | grep '"kind":"container"' | grep -c "\"enforced\":\"$1\""
}
all_watched() { [ "$(watched "$1")" -ge "$containers" ]; }
resident_kib() { awk '/^VmRSS:/ { print $2 }' "/proc/$(lib_pid_of agent-srv)/status"; }
mib() { awk -v kib="$1" 'BEGIN { printf "%.1f", kib / 1024 }'; }

measure() { # measure MODE
	local kib
	lib_until 30 all_watched "$1"
	ok $? "agent: $(watched "$1") namespaces of containers in $1"
	sleep 1
	kib=$(resident_kib)
	[ "$kib" -le $((agent_limit_mib * 1024)) ]
	ok $? "agent with $containers namespaces in $1: $(mib "$kib") MiB resident, limit $agent_limit_mib MiB"
}

measure observe
echo 'mode enforce default' >"$lib_data/policy"
lib_commit "$lib_data/policy" "all in enforce"
measure enforce
diag "threads $(awk '/^Threads:/ { print $2 }' "/proc/$(lib_pid_of agent-srv)/status"), open files" \
	"$(find "/proc/$(lib_pid_of agent-srv)/fd" -mindepth 1 | wc -l)"

# The controller's tool prints what each of its processes needs.
tool=$lib_build/tests/controller/test_footprint
[ -x "$tool" ] || make -C "$lib_build" tests/controller/test_footprint >"$lib_data/make.log" 2>&1
(cd "$lib_build" && builddir=$lib_build srcdir=$lib_source "$tool" 1000 10000) >"$lib_data/controller-footprint.log" 2>&1
ok $? "a controller with 1,000 endpoints and 10,000 rules runs"
grep '^#' "$lib_data/controller-footprint.log"
figures=$(sed -n 's/^# \(supervisor\|child [0-9]*\): resident \([0-9.]*\) MiB.*/\2/p' "$lib_data/controller-footprint.log")
is "$(wc -w <<<"$figures")" 4 "supervisor, admin service and two workers are measured"
sum=$(awk '{ for (i = 1; i <= NF; i++) sum += $i } END { printf "%.1f", sum }' <<<"${figures//$'\n'/ }")
awk -v a="$sum" -v b="$controller_limit_mib" 'BEGIN { exit !(a > 0 && a <= b) }'
ok $? "a controller's processes together: $sum MiB resident, shared pages in each, limit $controller_limit_mib MiB"
