#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Broken IP packets, sent as frames: what no kernel would send.

    raw_packets.py INTERFACE TARGET_MAC SOURCE TARGET SOURCE6 TARGET6 COUNT SEED

Prints how many were sent. The same seed sends the same packets.
"""
import random
import socket
import struct
import sys


def checksum(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(">%dH" % (len(data) // 2), data))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF


def ipv4(source, target, protocol, payload, fragment=0, total=None):
    size = 20 + len(payload) if total is None else total
    head = struct.pack(">BBHHHBBH4s4s", 0x45, 0, size, 1, fragment, 64, protocol, 0, source, target)
    return head[:10] + struct.pack(">H", checksum(head)) + head[12:] + payload


def ipv6(source, target, next_header, payload):
    return struct.pack(">IHBB16s16s", 6 << 28, len(payload), next_header, 64, source, target) + payload


def tcp(port, flags, offset=5, rest=b""):
    return struct.pack(">HHIIBBHHH", port, 9001, 1, 0, offset << 4, flags, 1000, 0, 0) + rest


def transports(rng):
    port = rng.randrange(1024, 65536)
    return rng.choice(
        [
            (6, b""),
            (6, tcp(port, 2)[: rng.randrange(1, 20)]),  # cut short
            (6, tcp(port, 2, offset=rng.choice([0, 1, 4, 15]))),  # header longer than the packet
            (6, tcp(port, rng.choice([0, 3, 6, 7, 41, 255]))),  # flags that nobody sends
            (6, tcp(port, 16)),  # in the middle of nothing
            (17, struct.pack(">HHHH", port, 53, rng.choice([0, 7, 9, 65535]), 0)),
            (17, b"\0" * rng.randrange(0, 8)),
            (1, b"\x08"),
            (1, bytes([3, 1, 0, 0, 0, 0, 0, 0]) + b"\x45"),  # an error about no packet
            (58, b"\x80"),
            (132, b"\0" * rng.randrange(0, 12)),
            (rng.randrange(256), rng.randbytes(rng.randrange(64))),
        ]
    )


def packet(rng, four, six):
    protocol, payload = transports(rng)
    if rng.randrange(3) == 0:
        chain = rng.choice([0, 43, 44, 60, 51, 59, 255])
        if rng.randrange(2):
            # an extension header that says it is longer than the packet, or loops on
            payload = bytes([chain, rng.randrange(256)]) + rng.randbytes(rng.randrange(24))
            protocol = chain
        return 0x86DD, ipv6(*six, protocol, payload)
    fragment = rng.choice([0, 0, 0, 0x2000, 1, 0x2001, 0x1FFF])
    total = rng.choice([None, None, None, 19, 65535])
    data = bytearray(ipv4(*four, protocol, payload, fragment, total))
    if rng.randrange(4) == 0:
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return 0x0800, bytes(data)


def main():
    interface, mac = sys.argv[1], bytes.fromhex(sys.argv[2].replace(":", ""))
    four = tuple(socket.inet_pton(socket.AF_INET, text) for text in sys.argv[3:5])
    six = tuple(socket.inet_pton(socket.AF_INET6, text) for text in sys.argv[5:7])
    rng = random.Random(int(sys.argv[8]))
    wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    wire.bind((interface, 0))
    own = wire.getsockname()[4]
    sent = 0
    for _ in range(int(sys.argv[7])):
        kind, data = packet(rng, four, six)
        try:
            wire.send(mac + own + struct.pack(">H", kind) + data)
            sent += 1
        except OSError:
            pass  # the interface's queue is full
    print(sent)


main()
