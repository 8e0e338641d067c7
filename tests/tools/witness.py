#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A server that knows nothing of us: the judge of who got through.

    witness.py ADDRESS PORT

Prints "accepted IP PORT" for every connection and then every line that a peer sends.
"""
import selectors
import socket
import sys


def main():
    listener = socket.create_server((sys.argv[1], int(sys.argv[2])), backlog=1024)
    selector = selectors.DefaultSelector()
    selector.register(listener, selectors.EVENT_READ)
    print("listening", flush=True)
    while True:
        for key, _ in selector.select():
            if key.fileobj is listener:
                peer, address = listener.accept()
                selector.register(peer, selectors.EVENT_READ)
                print("accepted", address[0], address[1], flush=True)
                continue
            try:
                data = key.fileobj.recv(65536)
            except OSError:
                data = b""
            if data:
                sys.stdout.write(data.decode("ascii", "replace"))
                sys.stdout.flush()
            else:
                selector.unregister(key.fileobj)
                key.fileobj.close()


main()
