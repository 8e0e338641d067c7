#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Judge a run of connect_load against the events of both agents, and print its figures.

	judge_load.py LOG EVENTS FIRST_PORT PORTS NEAR_AGENT FAR_AGENT [PHASES]

LOG is connect_load's own, EVENTS the output of `portreeve events --json`. PHASES has a line for
each: name, start and end (ns since 1970). Prints TAP-like lines, "ok TEXT" or "no TEXT", and figures,
"# TEXT"; the last line is "done".
"""
import collections
import datetime
import json
import sys


def say(good, text):
    print(("ok " if good else "no ") + text)


def connections_read(path, first, ports):
    """(source port, destination port), start, latency (us, -1 failed) of each connection."""
    found = []
    for line in open(path, encoding="ascii"):
        number, port, start, latency, _ = line.split()
        found.append(((int(port), first + int(number) % ports), int(start), int(latency)))
    return found


def judge_events(connections, events, during, near, far):
    """Every connection has its event at both ends, and no number of an agent is missing."""
    wanted = collections.Counter(key for key, _, _ in connections)
    for agent, reporter in ((near, "initiator"), (far, "terminator")):
        had = collections.Counter()
        wrong = 0
        for event in during:
            key = (event["src"]["port"], event["dst"]["port"])
            if event["agent"] == agent and event["reporter"] == reporter and key in wanted:
                had[key] += 1
                wrong += event["verdict"] != "allowed"
        missing = sum((wanted - had).values())
        say(missing == 0, f"every connection has its event of the {reporter} ({missing} of "
            f"{len(connections)} have none)")
        say(wrong == 0, f"every event of the {reporter} says allowed ({wrong} do not)")
        numbers = sorted(event["seq"] for event in events if event["agent"] == agent)
        gaps = sum(b - a != 1 for a, b in zip([0] + numbers, numbers))
        say(numbers and gaps == 0, f"numbers of the {reporter}'s agent run from 1 to "
            f"{numbers[-1] if numbers else 0} without gap ({gaps} gaps)")


def figures(name, connections, events):
    good = sorted(latency for _, _, latency in connections if latency >= 0)
    if not good:
        print(f"# {name}: no connection")
        return
    keys = collections.Counter(key for key, _, _ in connections)
    times = {reporter: [event["latency_us"] for event in events if event["reporter"] == reporter
                        and (event["src"]["port"], event["dst"]["port"]) in keys]
             for reporter in ("initiator", "terminator")}
    print(f"# {name}: {len(connections)} connections, {len(connections) - len(good)} failed, connect() "
          f"p50 {good[len(good) // 2] / 1000:.1f} p99 {good[len(good) * 99 // 100] / 1000:.1f} "
          f"max {good[-1] / 1000:.1f} ms; slowest decision near "
          f"{max(times['initiator'], default=0) / 1000:.1f} far "
          f"{max(times['terminator'], default=0) / 1000:.1f} ms")


def main():
    log, events_path, first, ports, near, far = sys.argv[1:7]
    connections = connections_read(log, int(first), int(ports))
    events = [json.loads(line) for line in open(events_path, encoding="utf-8")]
    # Earlier runs may have used the same source ports.
    begin = datetime.datetime.fromtimestamp(connections[0][1] / 1e9 - 0.01, datetime.timezone.utc)
    during = [event for event in events if event["time"] >= begin.strftime("%Y-%m-%dT%H:%M:%S.%f")]
    failed = [c for c in connections if c[2] < 0]
    say(connections and not failed, f"no connection failed or was refused ({len(failed)} of "
        f"{len(connections)} were)")
    for key, start, _ in failed[:10]:
        print(f"# failed: source port {key[0]} to port {key[1]} at {start}")
        for event in during:
            if (event["src"]["port"], event["dst"]["port"]) == key:
                print(f"#   {event['reporter']} {event['time']} {event['verdict']} "
                      f"by {event['decided_by']}, {event['latency_us']} us, {event['unknown']}")
    judge_events(connections, events, during, near, far)
    if len(sys.argv) > 7:
        for line in open(sys.argv[7], encoding="utf-8"):
            name, start, end = line.rsplit(" ", 2)
            within = [c for c in connections if int(start) <= c[1] < int(end)]
            keys = {c[0] for c in within}
            figures(name, within, [e for e in during
                                   if (e["src"]["port"], e["dst"]["port"]) in keys])
    figures("whole run", connections, during)
    print("done")


main()
