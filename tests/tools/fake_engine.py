#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A Docker engine that answers badly: what an agent asks an engine, and what it may get.

    fake_engine.py SOCKET MODES PID...

Its containers good-0, good-1, ... are the processes named; `bad`, listed in front of them, is the
first process too. MODES is a file with two words, read for each request: how the list is answered,
and how the page of `bad` is: good, cut, huge, wrong, none, noise, error, silent, nul, labels.
"""
import json
import os
import socket
import sys
import threading

NETWORK = "9" * 64
BAD = "bad" + "0" * 61
EVENTS = []


def page(container, name, pid, labels):
    return {"Id": container, "Name": "/" + name, "Image": "sha256:" + container,
            "State": {"Running": True, "Pid": pid}, "HostConfig": {"NetworkMode": "app"},
            "Config": {"Image": "image:1", "Labels": labels},
            "NetworkSettings": {"Networks": {"app": {
                "NetworkID": NETWORK, "IPAddress": "172.18.0.2", "IPPrefixLen": 16,
                "MacAddress": "", "GlobalIPv6Address": ""}}}}


def whole(body, status="200 OK"):
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def spoilt(mode, value):
    """The answer's bytes, and whether the connection ends with it."""
    body = json.dumps(value).encode()
    if mode == "cut":
        return whole(body + b" " * 100)[:-150], True
    if mode == "huge":
        return whole(body[:-1] + b" " * (17 << 20) + body[-1:]), False
    if mode == "wrong":
        wrong = {"Id": 7, "State": [], "Config": "x", "NetworkSettings": None, "HostConfig": 1}
        return whole(json.dumps(wrong if isinstance(value, dict) else wrong).encode()), False
    if mode == "none":
        return whole(b""), False
    if mode == "noise":
        return whole(bytes(range(256)) * 8), False
    if mode == "error":
        return whole(b"{\"message\":\"no\"}", "500 Internal Server Error"), False
    if mode == "nul":
        value["Config"]["Labels"] = {"nul\0key": "a", "nul": "b\0c", "kept": "\\u0000"}
        value["Name"] = "/bad"
        return whole(json.dumps(value).encode()), False
    if mode == "labels":
        value["Config"]["Labels"] = {f"label{i:04}": "x" * 4000 for i in range(400)}
        value["Config"]["Labels"]["tier"] = "front"
        return whole(json.dumps(value).encode()), False
    return whole(body), False


def modes(path):
    with open(path, encoding="ascii") as file:
        return file.read().split()


def answer(path, modes_path, pids):
    of_list, of_bad = modes(modes_path)
    if path == "/version":
        return whole(b'{"Components":[{"Name":"Engine","Version":"20.10"}]}'), False
    if path.startswith("/networks"):
        return whole(json.dumps([{"Id": NETWORK, "Driver": "bridge", "Options": {}}]).encode()), False
    if path.startswith("/containers/json"):
        ids = [BAD] + [f"{i:064x}" for i in range(len(pids))]
        return spoilt(of_list, [{"Id": one} for one in ids])
    container = path.split("/")[2]
    if container == BAD:
        return spoilt(of_bad, page(BAD, "bad", pids[0], {}))
    number = int(container, 16)
    return whole(json.dumps(page(container, f"good-{number}", pids[number], {})).encode()), False


def serve(peer, modes_path, pids):
    with peer:
        while True:
            data = peer.recv(65536)
            if not data:
                return
            path = data.split(b" ")[1].decode()
            path = path[path.index("/", 1):]
            if path.startswith("/events"):
                peer.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
                EVENTS.append(peer)
                while peer.recv(1):
                    pass
                return
            if "silent" in modes(modes_path) and path.startswith("/containers"):
                threading.Event().wait(30)
            try:
                data, ends = answer(path, modes_path, pids)
                peer.sendall(data)
            except OSError:
                return
            if ends:
                return


def event_say(modes_path, seen):
    """A new word in the file: the stream says that `bad` was renamed, or, with `garbage`, noise."""
    while True:
        now = os.stat(modes_path).st_mtime_ns
        if now != seen:
            seen = now
            event = {"Type": "container", "Action": "rename", "Actor": {"ID": BAD}}
            lines = [b"\xff\0garbage {]\n", json.dumps({"Type": 1, "Actor": []}).encode() + b"\n",
                     json.dumps(event).encode() + b"\n"]
            for peer in list(EVENTS):
                try:
                    for line in lines:
                        peer.sendall(b"%x\r\n%s\r\n" % (len(line), line))
                except OSError:
                    EVENTS.remove(peer)
        threading.Event().wait(0.1)


def main():
    path, modes_path, pids = sys.argv[1], sys.argv[2], [int(pid) for pid in sys.argv[3:]]
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(16)
    threading.Thread(target=event_say, args=(modes_path, os.stat(modes_path).st_mtime_ns),
                     daemon=True).start()
    while True:
        peer, _ = listener.accept()
        threading.Thread(target=serve, args=(peer, modes_path, pids), daemon=True).start()


main()
