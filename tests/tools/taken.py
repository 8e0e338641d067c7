#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Another program that was there first: binds an NFQUEUE number or an NFLOG group and answers
nothing.

    taken.py queue|log NUMBER
"""
import signal
import socket
import struct
import sys
import time

NETLINK_NETFILTER = 12
REQUEST_ACK = 5
KINDS = {
    # message type, the attribute with the command to bind
    "queue": ((3 << 8) | 2, struct.pack("=HHBBH", 8, 1, 1, 0, 0)),
    "log": ((4 << 8) | 1, struct.pack("=HHB3x", 5, 1, 1)),
}


def main():
    kind, number = sys.argv[1], int(sys.argv[2])
    message_type, attribute = KINDS[kind]
    body = struct.pack("=BB", 0, 0) + struct.pack(">H", number) + attribute
    head = struct.pack("=IHHII", 16 + len(body), message_type, REQUEST_ACK, 1, 0)
    netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER)
    netlink.bind((0, 0))
    for _ in range(30):
        netlink.send(head + body)
        error = struct.unpack_from("=i", netlink.recv(4096), 16)[0]
        if error == 0:
            break
        time.sleep(0.1)  # one who was killed holds it until its last thread has ended
    print("bound" if error == 0 else "refused %d" % error, flush=True)
    if error != 0:
        sys.exit(1)
    signal.pause()


main()
