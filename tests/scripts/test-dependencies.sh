#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Installing packages denies starts and enabling and leaves the machine's own policy-rc.d as it was,
# also when it fails or is killed. With a stand-in for apt-get: nothing is installed. TAP.
set -u
srcdir=$(cd "${srcdir:-.}" && pwd)
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
export DEPENDENCIES_POLICY=$place/policy-rc.d DEPENDENCIES_LOCK=$place/lock PLACE=$place
count=0
failed=0

result() { # STATUS NAME
	count=$((count + 1))
	if [ "$1" -eq 0 ]; then
		echo "ok $count - $2"
	else
		echo "not ok $count - $2"
		failed=1
	fi
}

mkdir "$place/bin"
cat >"$place/bin/dpkg-query" <<-'END'
	#!/bin/sh
	[ -e "$PLACE/installed" ] && printf installed
END
cat >"$place/bin/apt-get" <<-'END'
	#!/bin/bash
	echo "$*" >>"$PLACE/calls"
	for word in "$@"; do
		case $word in
		DPkg::Path=*) PATH=${word#*=} ;;
		install)
			"$DEPENDENCIES_POLICY" ssh start
			echo "policy $?" >>"$PLACE/seen"
			deb-systemd-helper enable ssh.service && systemctl enable ssh.service &&
				systemctl start ssh.service && invoke-rc.d ssh start &&
				deb-systemd-invoke start ssh.service && update-rc.d ssh enable
			echo "enable $?" >>"$PLACE/seen"
			[ ! -e "$PLACE/slow" ] || sleep 2
			[ ! -e "$PLACE/broken" ] || exit 100
			: >"$PLACE/installed"
			;;
		esac
	done
END
chmod +x "$place"/bin/*

install_all() {
	PATH=$place/bin:$PATH bash -c '. "$1/scripts/step.sh"; . "$1/scripts/dependencies.sh"
		id() { echo 0; }
		dependencies_install "$PLACE/logs" build' install "$srcdir" >"$place/out" 2>&1
}

fresh() { # with a policy-rc.d of the machine's own: WORDS; without: nothing
	rm -rf "$place"/{installed,calls,seen,slow,broken,logs,policy-rc.d*}
	if [ $# -gt 0 ]; then
		printf '%s\n' "$*" >"$DEPENDENCIES_POLICY"
		chmod 0741 "$DEPENDENCIES_POLICY"
		touch -d 2020-01-01 "$DEPENDENCIES_POLICY"
		before=$(stat -c '%i %a %Y %s' "$DEPENDENCIES_POLICY")
	fi
}

unchanged() {
	[ "$(stat -c '%i %a %Y %s' "$DEPENDENCIES_POLICY")" = "$before" ] &&
		[ "$(echo "$place"/policy-rc.d*)" = "$DEPENDENCIES_POLICY" ]
}

absent() {
	[ "$(echo "$place"/policy-rc.d*)" = "$place/policy-rc.d*" ]
}

# Wait, at most 10 s, until a command succeeds.
wait_for() {
	local tries=100
	until "$@"; do
		tries=$((tries - 1))
		[ "$tries" -gt 0 ] || return 1
		sleep 0.1
	done
}

fresh '#!/bin/sh'
install_all
result $? 'installs what is missing'
grep -q 'policy 101' "$place/seen"
result $? 'no service may start meanwhile'
grep -q 'enable 0' "$place/seen"
result $? 'enabling and starting do nothing and say that all is well'
unchanged
result $? 'the machine has its own policy-rc.d back, the same file'
grep -q -- '--no-install-recommends' "$place/calls"
result $? 'without recommended packages'

rm -f "$place/calls"
install_all
result $? 'a second time'
[ ! -e "$place/calls" ]
result $? 'apt-get is left alone when nothing is missing'

fresh
install_all
result $? 'on a machine without policy-rc.d'
absent
result $? 'there is none afterwards'

fresh '#!/bin/sh'
: >"$place/broken"
! install_all
result $? 'a failing apt-get is a failure'
grep -q 'FAILED (status 100)' "$place/out"
result $? 'said with status and log'
unchanged
result $? 'policy-rc.d is back after a failure'

for signal in TERM KILL; do
	fresh '#!/bin/sh'
	: >"$place/slow"
	install_all &
	wait_for test -e "$place/seen"
	shell_pid=$(pgrep -P $! | head -n 1)
	kill -"$signal" "${shell_pid:-$!}"
	wait $! 2>/dev/null
	wait_for unchanged
	result $? "policy-rc.d is back after SIG$signal in the middle"
	wait_for test -e "$place/installed" || true
done

fresh '#!/bin/sh own'
mv "$DEPENDENCIES_POLICY" "$DEPENDENCIES_POLICY.portreeve-saved"
printf '#!/bin/sh\nexit 101\n' >"$DEPENDENCIES_POLICY"
install_all && unchanged
result $? 'what a machine that lost power left is put right'

# On the real package lists: every package that is named exists.
if command -v apt-cache >/dev/null && [ -n "$(apt-cache policy libc6 2>/dev/null)" ]; then
	# shellcheck source=scripts/dependencies.sh
	. "$srcdir/scripts/dependencies.sh"
	# shellcheck disable=SC2086
	packages=$(printf '%s\n' $DEPENDENCIES_build $DEPENDENCIES_runtime $DEPENDENCIES_tests \
		$DEPENDENCIES_ENGINE $DEPENDENCIES_PODMAN | sort -u)
	# shellcheck disable=SC2086
	known=$(apt-cache policy $packages 2>/dev/null | sed -n 's/^\([^ :]*\):$/\1/p' | sort -u)
	unknown=$(comm -23 <(echo "$packages") <(echo "$known") | tr '\n' ' ')
	[ -z "$unknown" ]
	result $? "every named package exists:${unknown:- yes}"
else
	count=$((count + 1))
	echo "ok $count # SKIP there are no package lists here: apt-get update makes them"
fi
echo "1..$count"
exit $failed
