#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Judge of joined connections: the clients' own logs (port_log) against the recorded events.

judge_join.py EVENTS.json LOG... ; a log is named CASE.CONTAINER.USER.SERVER, its lines are own
address, own port, address and port that the server saw. Prints a line a case and ends with 1 if any
connection was joined wrongly, with 2 if a case is not complete.

right    the server's end names the container, and shares `connection` with the event of that
         container and that port, which names the user and the program
who      the same, but user or program are not known there
unknown  the server's end names nobody (said, never guessed)
wrong    it names somebody else, or shares `connection` with what is not its other end
missing  there is no event of the server's end

A first packet that was refused for want of a notice is sent again: the last of several counts, and
every one of them may be wrong.
"""
import collections
import ipaddress
import json
import os
import sys


def address(text):
    return str(ipaddress.ip_address(text))


def events_read(path):
    with open(path, encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def end(event):
    return address(event["src"]["ip"]), event["src"]["port"]


def far_judge(event, others, container, user, own):
    if not event["src"]["name"] or event["src"]["kind"] == "external":
        return "wrong" if others else "unknown"
    if event["src"]["name"] != container:
        return "wrong"
    if not others:
        return "alone"
    if any((e["src"]["name"], end(e)) != (container, own) for e in others):
        return "wrong"
    known = [e for e in others if (e["user"] or {}).get("name") == user and
             (e["process"] or {}).get("name") == "port_log"]
    return "right" if known else "who"


def case_judge(path, far, near, result):
    case, container, user, server = os.path.basename(path).split(".")
    count = collections.Counter()
    for line in open(path, encoding="utf-8"):
        own, own_port, seen, seen_port = line.split()
        if seen == "-":
            count["failed"] += 1
            continue
        own, seen = (address(own), int(own_port)), (address(seen), int(seen_port))
        found = far[server, seen] or far[server, own]
        said = [far_judge(event, near[event["connection"]], container, user, own)
                for event in sorted(found, key=lambda event: event["time"])]
        count["missing" if not said else "wrong" if "wrong" in said else said[-1]] += 1
    result[case] += count


def main():
    events = events_read(sys.argv[1])
    far, near = collections.defaultdict(list), collections.defaultdict(list)
    for event in events:
        if event["reporter"] == "terminator":
            far[event["dst"]["name"], end(event)].append(event)
        elif event["reporter"] == "initiator":
            near[event["connection"]].append(event)
    result = collections.defaultdict(collections.Counter)
    for path in sys.argv[2:]:
        case_judge(path, far, near, result)
    wrong = incomplete = 0
    for case, count in result.items():
        print(case, " ".join(f"{name}={number}" for name, number in sorted(count.items())))
        wrong += count["wrong"]
        incomplete += sum(count.values()) - count["right"]
    for connection, ends in near.items():
        if connection and len({(e["src"]["name"], end(e)) for e in ends}) > 1:
            print("one connection, several near ends:", connection,
                  [(e["src"]["name"], end(e)) for e in ends])
            wrong += 1
    return 1 if wrong else 2 if incomplete else 0


sys.exit(main())
