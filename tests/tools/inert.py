#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Is what a terminal gets harmless? inert.py FILE...: ends with 1 and says where it is not.

Lines of printable text: no control character but the line's end, none that changes direction or
cannot be seen, nothing that is not UTF-8.
"""
import sys
import unicodedata

HIDDEN = {0x00ad, 0x061c, 0x180e, 0x2028, 0x2029, 0xfeff}
HIDDEN |= set(range(0x200b, 0x2010)) | set(range(0x202a, 0x202f)) | set(range(0x2060, 0x2070))


def main():
    wrong = 0
    for path in sys.argv[1:]:
        data = open(path, "rb").read()
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError as error:
            print(f"{path}: {error}")
            wrong += 1
            continue
        for at, one in enumerate(text):
            if one != "\n" and (unicodedata.category(one) == "Cc" or ord(one) in HIDDEN):
                print(f"{path}: {hex(ord(one))} in {text[max(0, at - 30):at + 30]!r}")
                wrong += 1
                break
    return 1 if wrong else 0


sys.exit(main())
