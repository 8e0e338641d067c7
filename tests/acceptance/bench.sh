#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# portreeve-bench: every suite gives its rows with limits of the same rounds; bad input; what a bench
# that is interrupted or killed leaves behind.
set -u
. "$(dirname "$0")/lib.sh"
lib_start bnch

bench=$lib_build/portreeve-bench
echo 'rounds = 1' >"$lib_data/bench.conf"

# A line of JSON for each of these metrics, its value above 0 unless it counts what must be 0.
rows() { # SUITE METRICS...
	local suite=$1
	shift
	"$bench" "$suite" --json --config "$lib_data/bench.conf" >"$lib_data/$suite.json" \
		2>"$lib_data/$suite.err"
	is $? 0 "$suite: ends well"
	python3 - "$lib_data/$suite.json" "$@" <<-'END'
		import json, sys
		rows = {row["metric"]: row for row in map(json.loads, open(sys.argv[1]))}
		wrong = [m for m in sys.argv[2:] if m not in rows or
		         set(rows[m]) < {"metric", "value", "unit", "vs", "ratio", "runs", "spread", "note"}]
		wrong += [m for m, row in rows.items() if row["value"] <= 0 and row["unit"] != "count"
		          and not m.endswith(("added.p50", "added.p99", "commit.visible"))]
		wrong += [m for m, row in rows.items() if row["unit"] == "count" and row["value"] != 0]
		print(*["# %s: %s" % (m, rows.get(m)) for m in wrong], sep="\n")
		sys.exit(len(wrong) > 0)
	END
	ok $? "$suite: all its rows, nothing failed, nothing lost"
}

left() { # namespaces, processes and folders of a bench
	ls /run/netns 2>/dev/null | grep '^prt-bench-[^-]*$'
	pgrep -f "$lib_build/portreeve-[a-z]* --config /var/tmp/portreeve-bench"
	ls -d /var/tmp/portreeve-bench.* 2>/dev/null
}

rows limits limits.none.rate.64 limits.control.rate.64 limits.accept_all.rate.64 limits.accept_all_batched.rate.64 \
	limits.accept_all.pair.rate.1 limits.echo.1 limits.echo.16 limits.echo.64 limits.echo.rtt \
	limits.lmdb.append.1000 limits.fsync limits.random_load
rows connect connect.rate.1 connect.rate.64 connect.added.p50 connect.added.p99 connect.cpu \
	connect.control connect.failed connect.steps connect.events.missing connect.pair.rate.64 \
	connect.pair.failed
rows verdicts verdicts.control verdicts.1 verdicts.16 verdicts.half_load.p99 verdicts.rules_10000 commit.visible
rows agents agents.storm agents.verdict.p99 agents.memory agents.policy inventory.hosts inventory.hosts.json \
	inventory.members inventory.preview inventory.commit inventory.delta
# On a machine with nothing else to do hosts takes a tenth of that, see doc/performance.md.
python3 - "$lib_data/agents.json" <<-'END'
	import json, sys
	rows = {row["metric"]: row["value"] for row in map(json.loads, open(sys.argv[1]))}
	slow = {m: v for m, v in rows.items() if m.startswith("inventory.") and not m.endswith("delta") and v > 1000}
	print("# over a second:", slow)
	sys.exit(len(slow) > 0 or rows["inventory.delta"] > 20000)
END
ok $? "10,000 endpoints are listed within a second, a change of one sends no other"
is "$(left)" '' "nothing is left of them"

"$bench" nonsense >"$lib_data/out" 2>&1
is $? 2 "an unknown suite"
grep -q "no suite is called 'nonsense'" "$lib_data/out" && grep -q connect "$lib_data/out"
ok $? "and the ones that there are"
setpriv --reuid 65534 --regid 65534 --clear-groups "$bench" limits >"$lib_data/out" 2>&1
is $? 1 "not as root"
grep -q 'run as root' "$lib_data/out"
ok $? "it says so"

# interrupted, killed
lib_spawn interrupted "$bench" limits
lib_until 20 test -e /run/netns/prt-bench-s5
"$bench" limits >"$lib_data/out" 2>&1
grep -q 'another bench runs' "$lib_data/out"
ok $? "one at a time"
lib_stop interrupted INT
is "$(left)" '' "interrupted: nothing is left"
lib_spawn killed "$bench" connect
lib_until 20 test -e /run/netns/prt-bench-c6
lib_stop killed KILL
sleep 0.5
is "$(pgrep -f "$lib_build/portreeve-[a-z]* --config /var/tmp/portreeve-bench")" '' \
	"killed: its processes end with it"
"$bench" limits --config "$lib_data/bench.conf" >"$lib_data/out" 2>&1
is "$? $(left)" '0 ' "the next run takes away the rest"
