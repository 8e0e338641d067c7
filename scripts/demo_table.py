#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Events as JSON on standard input, as a table for somebody who sees them the first time."""
import json
import sys

STATUS = {"allowed": "allowed", "denied": "DENIED", "rejected": "REJECTED",
          "would-deny": "would be denied"}


def name_of(end):
    return end.get("name") or end.get("ip") or "?"


def word_of(value, key):
    """The named part of an object, or the text that it is."""
    if isinstance(value, dict):
        value = value.get(key)
    return str(value) if value not in (None, "") else "?"


def row_of(event):
    end = event["src"] if event["reporter"] == "initiator" else event["dst"]
    program = word_of(event.get("process"), "exe").rsplit("/", 1)[-1]
    user = word_of(event.get("user"), "name")
    rule = event.get("rule")
    return (name_of(event["src"]), name_of(event["dst"]), event["service"], name_of(end), program,
            user, STATUS.get(event["verdict"], event["verdict"]),
            "rule %s" % rule if rule else "no rule")


def main():
    table = [("FROM", "TO", "SERVICE", "SEEN AT", "PROGRAM", "USER", "WHAT HAPPENED", "WHY")]
    table += [row_of(json.loads(line)) for line in sys.stdin if line.strip()]
    widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
    for row in table:
        print("  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())


main()
