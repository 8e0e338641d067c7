#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Follow the events of Portreeve from a program of your own.

	follow_events.py join TOKEN KEYFILE	once; `portreeve enroll --role subscriber` prints the token
	follow_events.py follow KEYFILE		from now on, one line an event; Ctrl-C ends it
	follow_events.py follow KEYFILE --json	one JSON object an event

What was seen is noted beside the key (KEYFILE.seen): started again, it goes on where it stopped,
without a hole and without showing an event twice. Needs Debian's python3-zmq and python3-msgpack.
Written from doc/protocol.md.
"""
import argparse
import base64
import ctypes
import ctypes.util
import hashlib
import ipaddress
import json
import os
import sys
import time
import uuid

import msgpack
import zmq

VERSION = 256
OK, ERROR, END, ENROLL, ENROLLED, DIRECTORY_GET, DIRECTORY, SERVICES = 32, 33, 34, 40, 41, 42, 43, 44
EVENTS_GET, EVENT_ROW, EVENTS_LOST = 80, 81, 82
FIELDS = ("seq", "time", "latency_us", "reporter", "proto", "src", "src_port", "dst", "dst_port",
          "translated", "translated_port", "src_endpoint", "dst_endpoint", "uid", "user", "pid", "exe",
          "unknown", "verdict", "mode", "rule", "revision", "decided_by", "connection")
VERDICTS = ("DENIED", "ALLOWED", "REJECTED", "WOULD-DENY")
PROTOS = {1: "icmp", 6: "tcp", 17: "udp", 58: "icmp6"}
REPEAT_S = 5
OVERLAP_NS = 60 * 10**9
CONTEXT = zmq.Context()


def die(text):
    sys.exit("follow_events.py: " + text)


# ---- frames ----

def frame(kind, **fields):
    return msgpack.packb([kind, VERSION, fields], use_bin_type=True)


def frame_read(data):
    kind, version, body = msgpack.unpackb(data, raw=False, strict_map_key=False)
    if version // 256 != VERSION // 256:
        die("the server speaks version %d.%d of the protocol" % divmod(version, 256))
    return kind, body


def connect(endpoint, server_key, public, secret):
    socket = CONTEXT.socket(zmq.DEALER)
    socket.linger = 0
    socket.setsockopt(zmq.IMMEDIATE, 1)
    socket.setsockopt(zmq.HEARTBEAT_IVL, 2000)
    socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, 6000)
    socket.curve_serverkey = server_key.encode()
    socket.curve_publickey, socket.curve_secretkey = public.encode(), secret.encode()
    socket.connect(endpoint)
    return socket


def ask(socket, request, wait_s=5):
    """The first answer; None: none in time."""
    if not socket.poll(wait_s * 1000, zmq.POLLOUT):
        return None, {}
    socket.send(request)
    return frame_read(socket.recv()) if socket.poll(wait_s * 1000) else (None, {})


# ---- joining ----

def token_read(text):
    """(controller's endpoint, its key, one-time secret key) of `portreeve-1-...`."""
    if not text.startswith("portreeve-1-"):
        die("this is no token")
    text = text[len("portreeve-1-"):]
    raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    body, check = raw[:-8], raw[-8:]
    if hashlib.blake2b(body, digest_size=16).digest()[:8] != check:
        die("the token is damaged")
    length = body[74]
    endpoint = body[75:75 + length].decode("ascii")
    return endpoint, zmq_key(body[10:42]), zmq_key(body[42:74])


def zmq_key(raw):
    from zmq.utils import z85
    return z85.encode(raw).decode()


def join(token, path):
    endpoint, server_key, once = token_read(token)
    public, secret = (key.decode() for key in zmq.curve_keypair())
    own = uuid.uuid4()
    socket = connect(endpoint, server_key, zmq.curve_public(once.encode()).decode(), once)
    from zmq.utils import z85
    kind, body = ask(socket, frame(ENROLL, id=1, uuid=own.bytes, public_key=z85.decode(public),
                                   name="follow_events.py"))
    if kind is None:
        die("no answer: the token was used, has expired, or nobody is at " + endpoint)
    if kind != ENROLLED:
        die("refused: " + body.get("text", "no reason given"))
    keys = {"uuid": str(own), "public": public, "secret": secret, "controller": endpoint,
            "controller_key": server_key, "authority_key": body["authority_key"].hex()}
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w",
              encoding="ascii") as file:
        json.dump(keys, file)
    print("joined as %s%s" % (body["role"],
                              ", waits for `portreeve agent approve`" if body.get("pending") else ""))


# ---- who is where ----

def signed_by(key, body, signature):
    """Ed25519 (RFC 8032), by the library that ZeroMQ uses itself."""
    name = ctypes.util.find_library("sodium") or die("libsodium is missing")
    return ctypes.CDLL(name).crypto_sign_verify_detached(
        signature, body, ctypes.c_ulonglong(len(body)), key) == 0


def recorder_find(keys):
    """(endpoint, key) of the recorder, from the controller's signed directory."""
    socket = connect(keys["controller"], keys["controller_key"], keys["public"], keys["secret"])
    kind, body = ask(socket, frame(DIRECTORY_GET, id=1))
    socket.close()
    if kind is None:
        return None
    if kind != DIRECTORY:
        die("no directory: " + body.get("text", "not allowed"))
    if not signed_by(bytes.fromhex(keys["authority_key"]), body["body"], body["signature"]):
        die("the directory is not signed by the authority that this program joined")
    kind, services = frame_read(body["body"])
    if kind != SERVICES or not services.get("recorders"):
        die("the directory names no recorder")
    return services["recorders"][0].split()[:2]


# ---- events ----

def address(raw):
    found = ipaddress.IPv6Address(raw)
    return str(found.ipv4_mapped or found)


def event_read(row):
    _, records = frame_read(row["event"])
    event = dict(zip(FIELDS, records[0]))
    for name in ("src", "dst", "translated"):
        event[name] = address(event[name])
    for name in ("src_endpoint", "dst_endpoint"):
        event[name] = str(uuid.UUID(bytes=event[name]))
    for name in ("user", "exe"):
        event[name] = event[name].rstrip("\0")
    event["agent"] = str(uuid.UUID(bytes=row["agent"]))
    event["id"] = "%s-%d" % (event["agent"], event["seq"])
    for name in ("src_name", "dst_name", "rule_comment"):
        event[name] = row.get(name, "")
    return event


def inert(text):
    """Names come from other machines: nothing of them may steer a terminal."""
    return "".join(c if c.isprintable() else "\\x%02x" % ord(c) for c in text)


def line_print(event):
    proto, port = event["proto"], event["dst_port"]
    if proto in (1, 58):
        port //= 256
    service = "%s/%d" % (PROTOS[proto], port) if proto in PROTOS else "proto/%d" % proto
    when = time.strftime("%F %T", time.localtime(event["time"] / 1e9))
    print(inert("%s  %s -> %s  %s  %s as %s  %s" % (
        when, event["src_name"] or event["src"], event["dst_name"] or event["dst"], service,
        event["exe"] or "?", event["user"] or "?", VERDICTS[event["verdict"]])), flush=True)


class Seen:
    """The highest number of each agent, and the newest time: where to go on."""

    def __init__(self, path):
        self.path, self.agents, self.time = path, {}, 0
        if os.path.exists(path):
            with open(path, encoding="ascii") as file:
                self.time, self.agents = json.load(file)

    def fresh(self, event):
        if event["seq"] <= self.agents.get(event["agent"], 0):
            return False
        self.agents[event["agent"]] = event["seq"]
        self.time = max(self.time, event["time"])
        return True

    def save(self):
        with open(self.path + ".new", "w", encoding="ascii") as file:
            json.dump([self.time, self.agents], file)
        os.replace(self.path + ".new", self.path)


def follow(path, as_json):
    with open(path, encoding="ascii") as file:
        keys = json.load(file)
    seen = Seen(path + ".seen")
    seen.time = seen.time or time.time_ns()
    found = recorder_find(keys) or die("the controller does not answer")
    socket = connect(found[0], found[1], keys["public"], keys["secret"])
    asked = 0
    while True:
        if time.monotonic() - asked >= REPEAT_S and socket.poll(0, zmq.POLLOUT):
            socket.send(frame(EVENTS_GET, id=1, follow=True,
                              since_wall_ns=max(0, seen.time - OVERLAP_NS)))
            asked = time.monotonic()
        if not socket.poll(500):
            continue
        kind, body = frame_read(socket.recv())
        if kind == EVENT_ROW:
            event = event_read(body)
            if seen.fresh(event):
                print(json.dumps(event), flush=True) if as_json else line_print(event)
                seen.save()
        elif kind == EVENTS_LOST:
            print("%d events not shown" % body.get("count", 0), file=sys.stderr)
        elif kind == ERROR:
            die("refused: " + body.get("text", "no reason given"))


def main():
    parser = argparse.ArgumentParser(description="Follow the events of Portreeve.")
    commands = parser.add_subparsers(dest="command", required=True)
    joining = commands.add_parser("join", help="make a key and enrol it with a one-time token")
    joining.add_argument("token")
    joining.add_argument("keyfile")
    following = commands.add_parser("follow", help="one line an event, until Ctrl-C")
    following.add_argument("keyfile")
    following.add_argument("--json", action="store_true")
    options = parser.parse_args()
    try:
        if options.command == "join":
            join(options.token, options.keyfile)
        else:
            follow(options.keyfile, options.json)
    except KeyboardInterrupt:
        pass
    except OSError as error:
        die(str(error))


main()
