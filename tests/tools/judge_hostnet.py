#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""judge_hostnet.py EVENTS WANTED...: do the events of these connections say this, and nothing else?

WANTED is "SOURCE-PORT REPORTER SOURCE DESTINATION PROGRAM USER VERDICT RULE": names, "-" for none and
"*" for anything. Exit 1 names what is missing or otherwise.
"""
import json
import sys


def seen(event):
    """An event as the words of WANTED, after port and reporter."""
    return [
        event["src"]["name"] or "-",
        event["dst"]["name"] or "-",
        event["process"]["exe"] or "-",
        event["user"]["name"] or "-",
        event["verdict"],
        "-" if event["rule"] is None else str(event["rule"]),
    ]


def main():
    events = [json.loads(line) for line in open(sys.argv[1], encoding="utf-8")]
    bad = 0
    for line in sys.argv[2:]:
        port, reporter, *wanted = line.split()
        found = [e for e in events if e["src"]["port"] == int(port) and e["reporter"] == reporter]
        said = [seen(e) for e in found]
        good = found and all(all(w in ("*", h) for w, h in zip(wanted, s)) for s in said)
        if not good:
            bad += 1
            print("wanted:", line, "got:", [" ".join(s) + " (" + str(e["unknown"]) + ")"
                                            for s, e in zip(said, found)])
    return 1 if bad else 0


sys.exit(main())
