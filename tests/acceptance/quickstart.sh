#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The quickstart as a newcomer runs it, in a network namespace of its own and with --dir: what it
# says holds, a second run changes nothing, --stop leaves nothing, failures are one clear line, and
# the machine's own units, rules, sysctls and listeners are after it what they were before.
set -u
. "$(dirname "$0")/lib.sh"
lib_start quick
lib_host host 1

export builddir=$lib_build
folder=$lib_run/portreeve # short: and gone at the end, whatever happens
quick() { # quick OUTPUT ARGUMENTS...
	local output=$lib_data/$1
	shift
	lib_in host "$lib_source/quickstart" --dir "$folder" "$@" >"$output" 2>&1
}
cli() { lib_in host "$lib_build/portreeve" --config "$folder/etc/cli.conf" "$@"; }
one_line() { # one_line OUTPUT WORDS: the last of what it says, the only one of an error, has these words
	[ "$(grep -c '^quickstart: ' "$lib_data/$1")" -eq 1 ] && tail -n 1 "$lib_data/$1" | grep -q "^quickstart: .*$2"
}
ours() { grep -lF -f <(echo "$folder/") /proc/[0-9]*/cmdline 2>/dev/null | cut -d/ -f3 | grep -vx $$; }
keys() { find "$folder" -name '*.key' -o -name key -o -name '*.conf' | sort | xargs sha256sum; }

# What must not change: the machine's own namespace is that of this script.
machine() {
	find /etc/systemd /lib/systemd/system /etc/rc?.d /etc/init.d 2>/dev/null | sort
	! command -v systemctl >/dev/null || systemctl list-unit-files --no-legend 2>&1 | sort
	nft list ruleset 2>&1
	iptables-save 2>&1 | grep -v '^[#:]'
	sysctl -a 2>/dev/null | grep '^net\.' | grep -vE \
		'netfilter\.nf_conntrack_count|nf_log|\.(p|v)(quick|harmls|docker|reckil|strang|wkill)|veth|if_default|random|fs\.' | sha256sum
	ls /etc/portreeve /var/lib/portreeve /var/log/portreeve /run/portreeve 2>&1
}
listeners() { ss -Hlntu | awk '{ print $1, $5 }' | sort; }
machine >"$lib_data/machine-before"
listeners >"$lib_data/listeners-before"

# --- it must be root, and understood ---

# From a copy that everybody may read: the tree may lie in root's own home.
mkdir -p "$lib_run/nobody"
cp -r "$lib_source/quickstart" "$lib_source/scripts" "$lib_run/nobody/"
chmod -R a+rX "$lib_run/nobody"
setpriv --reuid 65534 --regid 65534 --clear-groups "$lib_run/nobody/quickstart" >"$lib_data/nobody" 2>&1
is $? 1 "not root: refused"
one_line nobody 'run as root' && [ "$(wc -l <"$lib_data/nobody")" -eq 1 ]
ok $? "not root: one line says so"
quick wrong --stpo
is $? 2 "an unknown option is refused"
one_line wrong "unknown option '--stpo'"
ok $? "and named"

# --- the first run ---

began=$SECONDS
quick first
is $? 0 "the first run succeeds" || tail -n 3 "$lib_data/first"
diag "first run with programs already built: $((SECONDS - began)) s"
grep -q '^controller: runs' "$lib_data/first" && grep -q '^recorder: runs' "$lib_data/first" &&
	grep -q '^agent: runs' "$lib_data/first"
ok $? "it says that controller, recorder and agent run"
events=$(grep -c '^20.*Z  *.*tcp/740[01].*portreeve' "$lib_data/first")
[ "$events" -ge 3 ]
ok $? "it printed live events of this machine's own connections, with process ($events)"
grep -q 'udp/9 .*bash .*WOULD-DENY' "$lib_data/first"
ok $? "and what no rule allows as would-deny"
grep -q 'quickstart --stop' "$lib_data/first" && grep -q 'policy export' "$lib_data/first" &&
	grep -q 'mode enforce' "$lib_data/first" && grep -q 'README.md' "$lib_data/first"
ok $? "it says how to go on: stop, a rule, enforce, documents"
is "$(find "$folder" -perm /077 ! -type l | grep -v '/events' | head -n 1)" '' \
	"everything that it made is root's alone"
is "$(grep -rlE 'PRT|secret' /proc/[0-9]*/cmdline 2>/dev/null | grep -c "$folder")" 0 "no secret on a command line"
is "$(cli status --json | grep -c '"service":"worker [01]".*"state":"active"')" 2 "two workers are active"
lib_in host ss -Hlnt | awk '{ print $4 }' | grep -v '^127\.0\.0\.1:' >"$lib_data/open"
is "$(cat "$lib_data/open")" '' "it listens on 127.0.0.1 alone"
cli hosts --json | grep -q '"mode": *"observe"'
ok $? "the host is in observe mode"
is "$(lib_in host nft list ruleset | grep -cE '[^_](queue (num|flags|to)|drop|reject)( |$)')" 0 "its rules hold and drop nothing"
quick status --status
is $? 0 "--status says that all runs"

# --- what its last lines say, done literally ---

sed -n 's/^.*add the line: //p' "$lib_data/first" >"$lib_data/rule"
cli policy export >"$lib_data/my.policy"
cat "$lib_data/rule" >>"$lib_data/my.policy"
cli policy commit -m "my first rule" "$lib_data/my.policy" >"$lib_data/commit" 2>&1
is $? 0 "the rule that it proposes can be committed"
allowed() {
	lib_in host bash -c 'exec 3>/dev/udp/127.0.0.1/9 && echo hello >&3 && sleep 0.3 3>&-'
	cli events -n 5 --json | grep '"rule": *10,' | grep -q '"verdict": *"allowed"'
}
lib_until 10 allowed
ok $? "and is what events then name"

# --- again: nothing changes ---

keys >"$lib_data/keys-before"
ours | sort >"$lib_data/processes-before"
began=$SECONDS
quick second
is $? 0 "a second run succeeds"
diag "second run: $((SECONDS - began)) s"
is "$(grep -c 'runs already' "$lib_data/second")" 3 "it says what runs already"
keys | cmp -s - "$lib_data/keys-before"
ok $? "no key and no configuration changed"
ours | sort | cmp -s - "$lib_data/processes-before"
ok $? "the same processes run"

# --- stop, and start again with what is there ---

quick stop --stop
is $? 0 "--stop succeeds"
is "$(ours)" '' "--stop leaves no process"
is "$(lib_in host nft list ruleset)" '' "--stop leaves no rule"
is "$(ip netns list | grep -c portreeve)" 0 "--stop leaves no namespace"
quick status --status
is $? 1 "--status says that nothing runs"
quick again
is $? 0 "it starts again after --stop"
keys | cmp -s - "$lib_data/keys-before"
ok $? "with the keys that it had"
kill -KILL "$(cut -d' ' -f1 "$folder/run/controller.pid")" "$(cut -d' ' -f1 "$folder/run/agent.pid")"
quick stop-killed --stop
is $? 0 "--stop succeeds after kill -9 of controller and agent"
is "$(ours)$(lib_in host nft list ruleset)" '' "and leaves no process and no rule"
quick purge --stop --purge
is "$?$(ls "$folder" 2>/dev/null)" 0 "--stop --purge leaves no file"

# --- failures are one clear line ---

mkdir -p -m 0700 "$folder" && mkdir -m 0755 "$folder/lib"
quick open
is $? 1 "a state folder that is open to others is refused"
one_line open "$folder/lib must be root's alone.*chmod 700"
ok $? "one line says which, and what to do"
rm -rf "$folder"
lib_spawn squatter nsenter --net="/run/netns/prt-$lib_name-host" busybox nc -ll -p 7401 -e cat
sleep 0.3
quick taken
is $? 1 "a port that is taken is refused"
one_line taken 'port 7401.*taken by busybox'
ok $? "one line says which, and by whom"
quick stop-taken --stop --purge
quick moved --port 7500
is $? 0 "--port 7500 goes around it"
quick stop-moved --stop --purge
is "$(ours)$(lib_in host nft list ruleset)" '' "nothing is left of it"

# --- the machine ---

machine >"$lib_data/machine-after"
diff "$lib_data/machine-before" "$lib_data/machine-after" >"$lib_data/machine-diff"
ok $? "units, rules and sysctls of the machine are as before"
listeners >"$lib_data/listeners-after"
diff "$lib_data/listeners-before" "$lib_data/listeners-after" >"$lib_data/listeners-diff"
ok $? "its listeners are as before"
