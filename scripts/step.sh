# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Sourced by ./check, ./quickstart and the acceptance tests: steps with progress, and where the
# programs lie.

STEP_EVERY_S=10 # a step says that it still runs
STEP_PID=''

# step WHAT LOG COMMAND...: run COMMAND with its output in LOG; a line when it starts, one every
# STEP_EVERY_S, one when it ends. Returns the command's status.
step() {
	local what=$1 log=$2 start=$SECONDS pid status=0 next
	shift 2
	mkdir -p "$(dirname "$log")"
	echo "$what ..."
	"$@" >"$log" 2>&1 </dev/null &
	pid=$!
	STEP_PID=$pid
	next=$((SECONDS + STEP_EVERY_S))
	while kill -0 "$pid" 2>/dev/null; do
		sleep 0.2
		if [ "$SECONDS" -ge "$next" ]; then
			echo "  still at it, $((SECONDS - start)) s"
			next=$((SECONDS + STEP_EVERY_S))
		fi
	done
	wait "$pid" || status=$?
	STEP_PID=''
	if [ "$status" -eq 0 ]; then
		echo "  done, $((SECONDS - start)) s"
	else
		echo "  FAILED (status $status) after $((SECONDS - start)) s, log: $log"
	fi
	return "$status"
}

# For traps: end the command that runs now.
step_stop() {
	if [ -n "$STEP_PID" ]; then
		kill -TERM "$STEP_PID" 2>/dev/null
		wait "$STEP_PID" 2>/dev/null
		STEP_PID=''
	fi
}

# find_builddir ROOT: the folder with our programs: $builddir, ROOT/build or ROOT itself.
find_builddir() {
	local folder
	for folder in "${builddir:-}" "$1/build" "$1"; do
		if [ -n "$folder" ] && [ -x "$folder/portreeve-agent" ]; then
			(cd "$folder" && pwd)
			return 0
		fi
	done
	echo "the programs are not built: run ./check --unit, or autoreconf -fi, configure and make" >&2
	return 1
}
