#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Somebody who should not be there, written after doc/protocol.md alone: other software on the wire.

	stranger.py enroll TOKEN NAME KEYFILE	join as a program in another language would
	stranger.py again TOKEN			a one-time token a second time
	stranger.py forge TOKEN			a token altered to give another role, its check made right
	stranger.py doors|roles|imposter_hello|imposter|reports|twice|replay|large|garbage|open FOLDER
	stranger.py revoked FOLDER NAME
	stranger.py halfopen FOLDER COUNT SECONDS

FOLDER holds thief.key (an enrolled agent's), viewer.key, admin.key, controller.pub, recorder.pub,
victims (UUID and address of the near and the far agent, one line each) and address (the
controller's). Prints "ok TEXT" or "no TEXT", "# TEXT" for figures, and "done" at the end.
"""
import base64
import hashlib
import os
import random
import socket
import struct
import sys
import threading
import time
import uuid

import msgpack
import zmq
import zmq.utils.monitor
import zmq.utils.z85

VERSION = 256
(REQUEST, VERDICT, EVENT, EVENT_ACK, NOTICE) = (1, 2, 3, 4, 5)
(OK, ERROR, END, ENROLL, ENROLLED, DIRECTORY_GET, HELLO, ENDPOINT, ENDPOINT_GONE, INVENTORY_END,
 INVENTORY_ACK, STATE_GET, STATE) = (32, 33, 34, 40, 41, 42, 45, 46, 47, 48, 49, 50, 51)
(STATUS_GET, STATUS, ENDPOINTS_GET, POLICY_CHECK, POLICY_GET, POLICY, POLICY_IMPORT, POLICY_COMMIT,
 POLICY_LOG, POLICY_ROLLBACK, GROUP_MEMBERS, MODE_SET, TOKEN_NEW, PEERS_GET, PEER, PEER_SET) = \
    range(60, 76)
(EVENTS_GET, EVENT_ROW, EVENTS_LOST, SPOOL_LOST) = range(80, 84)
NEAR, FAR, BOTH = 0, 1, 2
DENY, ALLOW = 0, 1
PORTS = (7400, 7401, 7410, 7411)
CONTEXT = zmq.Context()


def say(good, text):
    print(("ok " if good else "no ") + text, flush=True)


# ---- frames ----

def control(kind, /, **fields):
    return msgpack.packb([kind, VERSION, fields], use_bin_type=True)


def text_fixed(text, size):
    raw = text.encode()
    return bytes([0xd9, size]) + raw + bytes(size - len(raw))


def address_bytes(text):
    return b"\xc4\x10" + bytes(10) + b"\xff\xff" + socket.inet_aton(text)


def hot(kind, records):
    head = b"\x93\xcd" + struct.pack(">H", kind) + b"\xcd" + struct.pack(">H", VERSION)
    return head + b"\xdc" + struct.pack(">H", len(records)) + b"".join(records)


def record(values):
    """Values in the table's order: (kind, value)."""
    form = {"U8": b"\xcc%s", "U16": b"\xcd%s", "U32": b"\xce%s", "U64": b"\xcf%s"}
    code = {"U8": ">B", "U16": ">H", "U32": ">I", "U64": ">Q"}
    out = b"\xdc" + struct.pack(">H", len(values))
    for kind, value in values:
        if kind in form:
            out += form[kind][:1] + struct.pack(code[kind], value)
        elif kind == "UUID":
            out += b"\xc4\x10" + value.bytes
        elif kind == "ADDR":
            out += address_bytes(value)
        else:
            out += text_fixed(value, int(kind[4:]))
    return out


def request(number, end, reporter, src, dst, port, wire_src=None, src_port=40000):
    return record([
        ("U64", number), ("U64", 0), ("U8", end), ("U8", 1), ("U8", 6), ("UUID", reporter),
        ("ADDR", src), ("U16", src_port), ("ADDR", dst), ("U16", port),
        ("ADDR", wire_src or src), ("ADDR", dst), ("U16", port),
        ("U8", 2 if end != FAR else 0), ("U32", 0 if end != FAR else 0xffffffff),
        ("TEXT32", "root" if end != FAR else ""), ("TEXT128", "/bin/true" if end != FAR else ""),
        ("U8", 2 if end == FAR else 0), ("U32", 0 if end == FAR else 0xffffffff),
        ("TEXT32", "root" if end == FAR else ""), ("TEXT128", "/bin/true" if end == FAR else ""),
        ("UUID", uuid.UUID(int=0)), ("U32", 0)])


def notice(number, reporter, wire_src, wire_dst, port):
    return record([
        ("U64", number), ("U64", 0), ("U8", 6), ("UUID", reporter), ("ADDR", wire_src),
        ("U16", 41000), ("ADDR", wire_dst), ("U16", port), ("U8", 2), ("U32", 0),
        ("TEXT32", "root"), ("TEXT128", "/bin/true"), ("U64", 7), ("U32", 9)])


def event(seq, src, dst, src_endpoint=None, user=None, connection=0):
    none = uuid.UUID(int=0)
    return record([
        ("U64", seq), ("U64", time.time_ns()), ("U32", 1), ("U8", 0), ("U8", 6), ("ADDR", src),
        ("U16", 1), ("ADDR", dst), ("U16", 2), ("ADDR", "0.0.0.0"), ("U16", 0),
        ("UUID", src_endpoint or none), ("UUID", none), ("U32", 0), ("TEXT32", user or ""),
        ("U32", 0), ("TEXT128", ""), ("U8", 0), ("U8", 1), ("U8", 1), ("U32", 0xffffffff),
        ("U64", 1), ("U8", 0), ("U64", connection)])


VERDICT_FIELDS = ("id", "action", "mode", "final", "rule", "staged_rule", "revision", "decided_by",
                  "unknown", "connection", "src_endpoint", "dst_endpoint", "lease_mask", "lease_ms")


def frame_read(data):
    """(type, fields) of a control frame, (type, [records]) of verdicts."""
    kind, _, body = msgpack.unpackb(data, raw=False, strict_map_key=False)
    if kind == VERDICT:
        return kind, [dict(zip(VERDICT_FIELDS, one)) for one in body]
    return kind, body


# ---- keys and sockets ----

class Key:
    def __init__(self, public, secret, name=None):
        self.public, self.secret, self.uuid = public, secret, name or uuid.uuid4()

    @staticmethod
    def new():
        return Key(*zmq.curve_keypair())

    @staticmethod
    def load(path):
        lines = dict(line.split(" ", 1) for line in open(path, encoding="ascii")
                     if not line.startswith("#"))
        return Key(lines["public"].strip().encode(), lines["secret"].strip().encode(),
                   uuid.UUID(lines["uuid"].strip()))

    def save(self, path):
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w",
                  encoding="ascii") as file:
            file.write(f"uuid {self.uuid}\npublic {self.public.decode()}\n"
                       f"secret {self.secret.decode()}\n")


class Place:
    """A deployment as the folder describes it."""

    def __init__(self, folder):
        self.folder = folder
        read = lambda name: open(os.path.join(folder, name), encoding="ascii").read().strip()
        self.address = read("address")
        self.controller, self.recorder = read("controller.pub"), read("recorder.pub")
        near, far = (line.split() for line in read("victims").splitlines())
        self.near, self.near_address = uuid.UUID(near[0]), near[1]
        self.far, self.far_address = uuid.UUID(far[0]), far[1]
        self.own_address = read("own")

    def key(self, name):
        return Key.load(os.path.join(self.folder, name + ".key"))

    def server_key(self, port):
        return (self.recorder if port == 7401 else self.controller).encode()

    def link(self, port, key, **options):
        return Link(f"tcp://{self.address}:{port}", self.server_key(port), key, **options)


class Link:
    """A DEALER that knows whether its handshake succeeded."""

    count = 0

    def __init__(self, endpoint, server_key, key, mechanism="curve", maximum=-1):
        self.socket = CONTEXT.socket(zmq.DEALER)
        self.socket.linger = 0
        self.socket.setsockopt(zmq.RECONNECT_IVL, -1)
        self.socket.setsockopt(zmq.IMMEDIATE, 1)
        self.socket.setsockopt(zmq.MAXMSGSIZE, maximum)
        if mechanism == "curve":
            self.socket.curve_serverkey = server_key
            self.socket.curve_publickey, self.socket.curve_secretkey = key.public, key.secret
        elif mechanism == "plain":
            self.socket.plain_username, self.socket.plain_password = b"admin", b"admin"
        Link.count += 1
        self.monitor = self.socket.get_monitor_socket(addr=f"inproc://link-{Link.count}")
        self.state = "waiting"
        self.socket.connect(endpoint)

    def watch(self, seconds):
        """"up", "refused" or "waiting"."""
        end = time.monotonic() + seconds
        while self.state == "waiting" and time.monotonic() < end:
            if self.monitor.poll(50):
                number = zmq.utils.monitor.recv_monitor_message(self.monitor)["event"]
                if number == zmq.EVENT_HANDSHAKE_SUCCEEDED:
                    self.state = "up"
                elif number in (zmq.EVENT_HANDSHAKE_FAILED_AUTH, zmq.EVENT_DISCONNECTED,
                                zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL,
                                zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL):
                    self.state = "refused"
        return self.state

    def gone(self, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.monitor.poll(50):
                number = zmq.utils.monitor.recv_monitor_message(self.monitor)["event"]
                if number == zmq.EVENT_DISCONNECTED:
                    return True
        return False

    def send(self, *parts):
        try:
            self.socket.send_multipart(parts, zmq.DONTWAIT)
            return True
        except zmq.Again:
            return False

    def receive(self, seconds=2.0):
        if self.socket.poll(int(seconds * 1000)):
            return frame_read(self.socket.recv())
        return None, None

    def ask(self, frame, seconds=2.0):
        self.watch(2)
        self.send(frame)
        return self.receive(seconds)

    def close(self):
        self.socket.disable_monitor()
        self.socket.close()


def status(place):
    """{service: {fact: value}} of controller and recorder."""
    facts = {}
    for port in (7400, 7401):
        link = place.link(port, place.key("admin"))
        kind, body = link.ask(control(STATUS_GET, id=1))
        while kind == STATUS:
            facts[body["service"]] = dict(line.rsplit(" ", 1) for line in body["facts"])
            kind, body = link.receive()
        link.close()
    return facts


def fact(facts, service, name):
    return int(facts.get(service, {}).get(name, "-1"))


def rises(before, service, names, text):
    """A refusal must show in `portreeve status`."""
    after = status(PLACE)
    risen = sum(fact(after, service, name) - fact(before, service, name) for name in names)
    say(risen > 0, f"{text}: counted by {service} as {', '.join(names)} ({risen} more)")


# ---- tokens ----

def token_read(text):
    body = text.split("portreeve-1-", 1)[1]
    raw = base64.urlsafe_b64decode(body + "=" * (-len(body) % 4))
    return raw, raw[10:42], raw[42:74], raw[75:75 + raw[74]].decode()


def token_link(text):
    _, server, secret, endpoint = token_read(text)
    secret = zmq.utils.z85.encode(secret)
    return Link(endpoint, zmq.utils.z85.encode(server), Key(zmq.curve_public(secret), secret))


def enroll(text, name, path=None):
    key = Key.new()
    link = token_link(text)
    if link.watch(2) != "up":
        return link.state, None
    kind, body = link.ask(control(ENROLL, id=1, uuid=key.uuid.bytes, name=name,
                                  public_key=zmq.utils.z85.decode(key.public)))
    link.close()
    if kind == ENROLLED and path:
        key.save(path)
    return kind, body


def do_enroll(token, name, path):
    kind, body = enroll(token, name, path)
    say(kind == ENROLLED, f"'{name}' joins with its token as {body and body.get('role')}")


def do_again(token):
    state, body = enroll(token, "again")
    say(state in ("refused", ERROR), f"a token that was used is refused ({state}: {body})")


def do_forge(token):
    raw, _, _, _ = token_read(token)
    raw = raw[:1] + bytes([3]) + raw[2:-8] # the number of the bit of role admin
    raw += hashlib.blake2b(raw, digest_size=16).digest()[:8]
    forged = "portreeve-1-" + base64.urlsafe_b64encode(raw).decode().rstrip("=")
    kind, body = enroll(forged, "forger")
    role = body.get("role") if body else None
    say(role != "admin", f"a token altered to say admin gives what was meant when it was made "
        f"({role or body})")


# ---- who knocks ----

def do_doors(place):
    thief = place.key("thief")
    before = status(place)
    stolen = Key(thief.public, Key.new().secret)
    frame = hot(REQUEST, [request(1, NEAR, place.near, place.near_address, place.far_address, 9001)])
    cases = {
        "a key that nobody enrolled": lambda port: place.link(port, Key.new()),
        "an enrolled public key without its secret": lambda port: place.link(port, stolen),
        "another server key": lambda port: Link(f"tcp://{place.address}:{port}",
                                                Key.new().public, thief),
        "mechanism NULL": lambda port: place.link(port, None, mechanism="null"),
        "mechanism PLAIN": lambda port: place.link(port, None, mechanism="plain"),
    }
    for text, make in cases.items():
        links = {port: make(port) for port in PORTS}
        for link in links.values():
            link.watch(0.3)
            link.send(frame)
        answers = [port for port, link in links.items() if link.receive(0.1)[0] is not None]
        ups = [port for port, link in links.items() if link.watch(0.1) == "up"]
        say(not answers and not ups, f"{text}: no session and no answer on {len(links)} ports")
        for link in links.values():
            link.close()
    time.sleep(0.7) # workers publish every half second
    for service in ("controller", "worker 0", "worker 1", "recorder"):
        names = ["sessions_refused" if service == "recorder" else "handshakes_refused"]
        rises(before, service, names, "keys of strangers")
        rises(before, service, ["handshakes_failed"], "other mechanisms and broken handshakes")


MANAGE = {
    "POLICY_IMPORT": control(POLICY_IMPORT, id=9, text="mode observe default\n"),
    "POLICY_COMMIT": control(POLICY_COMMIT, id=9, message="mine", force=True),
    "POLICY_ROLLBACK": control(POLICY_ROLLBACK, id=9, revision=1, message="mine"),
    "MODE_SET": control(MODE_SET, id=9, mode="observe", group="default"),
    "TOKEN_NEW": control(TOKEN_NEW, id=9, role="admin", name="mine"),
    "PEER_SET": control(PEER_SET, id=9, name="srv", status="revoked"),
}
READ = {
    "STATUS_GET": control(STATUS_GET, id=9), "ENDPOINTS_GET": control(ENDPOINTS_GET, id=9),
    "POLICY_GET": control(POLICY_GET, id=9), "POLICY_LOG": control(POLICY_LOG, id=9),
    "PEERS_GET": control(PEERS_GET, id=9), "GROUP_MEMBERS": control(GROUP_MEMBERS, id=9, group="x"),
    "POLICY_CHECK": control(POLICY_CHECK, id=9, text=""),
}


def refused_role(link, messages, who):
    wrong = []
    for name, frame in messages.items():
        kind, body = link.ask(frame)
        if kind != ERROR or body["code"] != "PR_EROLE":
            wrong.append(f"{name}: {kind} {body}")
    say(not wrong, f"{who}: each of {len(messages)} messages is answered PR_EROLE {wrong or ''}")


def do_roles(place):
    before = status(place)
    agent_messages = {
        "HELLO": control(HELLO, id=9, uuid=place.near.bytes, version="0", epoch=1),
        "STATE_GET": control(STATE_GET, id=9),
        "INVENTORY_END": control(INVENTORY_END, id=9, full=True),
    }
    refused_role(place.link(7400, place.key("thief")), {**MANAGE, **READ},
                 "an agent's key on the admin port")
    refused_role(place.link(7400, place.key("viewer")), MANAGE, "a viewer that commits")
    refused_role(place.link(7400, place.key("admin")), agent_messages, "an admin that poses as agent")
    rises(before, "controller", ["refused_role"], "messages above their sender's role")
    refused_role(place.link(7401, place.key("thief")),
                 {"EVENTS_GET": control(EVENTS_GET, id=9), "STATUS_GET": control(STATUS_GET, id=9)},
                 "an agent's key that reads the history")
    events = {"EVENT": hot(EVENT, [event(1, "192.0.2.1", "192.0.2.2")]),
              "SPOOL_LOST": control(SPOOL_LOST, first=1, count=1000)}
    refused_role(place.link(7401, place.key("admin")), events, "an admin that writes events")
    refused_role(place.link(7401, place.key("viewer")), events, "a viewer that writes events")
    rises(before, "recorder", ["frames_refused_role"], "messages above their sender's role")
    for who in ("admin", "viewer"):
        for port in (7410, 7411):
            link = place.link(port, place.key(who))
            say(link.watch(1) == "refused", f"key of {who} on worker port {port}: no session")
            link.close()
    time.sleep(0.7)
    for service in ("worker 0", "worker 1"):
        rises(before, service, ["handshakes_refused"], "keys of admins")


def inventory(place, key):
    """Say hello as the thief's own host; the ACK says that it is in the directory."""
    link = place.link(7400, key)
    link.watch(2)
    link.send(control(HELLO, id=1, uuid=key.uuid.bytes, version="0.1", epoch=1))
    link.send(control(ENDPOINT, uuid=key.uuid.bytes, host=key.uuid.bytes, kind="host", name="thief",
                      host_name="thief", addresses=[f"global {place.own_address}/24 - eth0"]))
    link.send(control(INVENTORY_END, id=2, full=True))
    kind = None
    end = time.monotonic() + 3
    while kind != INVENTORY_ACK and time.monotonic() < end:
        kind, body = link.receive(1)
        if kind == ERROR:
            print(f"# {body}")
    return link, kind == INVENTORY_ACK


def decide(link, frame, seconds=1.0):
    kind, body = link.ask(frame, seconds)
    return body[0] if kind == VERDICT else None


def do_imposter_hello(place):
    link, good = inventory(place, place.key("thief"))
    say(good, "the thief's own host is taken into the directory, as any agent's")
    link.close()


def do_imposter(place):
    key = place.key("thief")
    before = status(place)
    link, _ = inventory(place, key)
    kind, body = link.ask(control(HELLO, id=7, uuid=place.near.bytes, version="0", epoch=1))
    say(kind == ERROR and body["code"] == "PR_EPERM", f"hello with another's UUID: {body}")
    for what, name, host in (("another host", place.far, place.far),
                             ("another host as a container of its own", place.far, key.uuid),
                             ("a container on another host", uuid.uuid4(), place.far)):
        kind, body = link.ask(control(ENDPOINT, uuid=name.bytes, host=host.bytes, kind="container",
                                      container_id="ab" * 32, name="x", host_name="x"))
        say(kind == ERROR and body["code"] == "PR_EPERM", f"inventory that names {what}: {body}")
    rises(before, "controller", ["refused_endpoints"], "endpoints of others")

    workers = {port: place.link(port, key) for port in (7410, 7411)}
    number = 100
    for port, worker in workers.items():
        mine = decide(worker, hot(REQUEST, [request(1, NEAR, key.uuid, place.own_address,
                                                    place.far_address, 9002)]))
        say(mine and mine["action"] == ALLOW and mine["rule"] == 20,
            f"worker {port - 7410} allows the thief what rule 20 allows it: its frames are good")
        for what, end, reporter, wire in (
                ("of the near agent's host", NEAR, place.near, place.near_address),
                ("of the far agent's host", FAR, place.far, place.near_address),
                ("of both ends of the far host", BOTH, place.far, place.far_address),
                ("of nobody", NEAR, uuid.uuid4(), place.near_address),
                ("of its own host, from the near host's address", NEAR, key.uuid,
                 place.near_address)):
            number += 1
            said = decide(worker, hot(REQUEST, [request(number, end, reporter, wire,
                                                        place.far_address, 9001)]))
            say(said is not None and said["action"] == DENY, f"worker {port - 7410}: a request in "
                f"the name {what} is denied ({said and said['action']})")
    time.sleep(0.7)
    for service in ("worker 0", "worker 1"):
        for name in ("foreign_reporter", "unknown_reporter", "foreign_source"):
            rises(before, service, [name], "requests in another's name")


def do_reports(place):
    """Endpoints, users, events and flows of another agent's, told to who believes agents."""
    key = place.key("thief")
    link, good = inventory(place, key)
    say(good, "a thief with a good key and a host of its own")
    before = status(place)
    kind, body = link.ask(control(ENDPOINT, uuid=place.far.bytes, host=place.far.bytes, kind="host",
                                  name="mine", host_name="mine"))
    say(kind == ERROR and body["code"] == "PR_EPERM", f"another's host in its inventory: {body}")
    rises(before, "controller", ["refused_endpoints"], "endpoints of others")
    recorder = place.link(7401, key)
    recorder.watch(2)
    recorder.send(control(ENDPOINT, uuid=place.far.bytes, host=place.far.bytes, kind="host",
                          name="stolen", host_name="stolen"))
    recorder.send(hot(EVENT, [event(1, place.far_address, place.own_address, place.far, "thief-was-here",
                                    connection=4711)]))
    kind, body = recorder.receive(3)
    say(kind == EVENT_ACK, "an event in another's name is kept under its own key, as what it said")
    time.sleep(0.5)
    rises(before, "recorder", ["users_foreign"], "a user at another's endpoint")
    rises(before, "recorder", ["names_refused"], "another's host's name at the recorder")
    for port in (7410, 7411):
        worker = place.link(port, key)
        worker.watch(2)
        worker.send(hot(NOTICE, [
            notice(1, place.far, place.far_address, place.near_address, 9001),
            notice(2, key.uuid, place.far_address, place.near_address, 9001),
            notice(3, uuid.uuid4(), place.own_address, place.near_address, 9001)]))
        time.sleep(0.8)
        for name in ("notices_foreign_reporter", "notices_foreign_source"):
            rises(before, f"worker {port - 7410}", [name], "notices of others' flows")
        worker.close()
    link.close()
    recorder.close()


def do_twice(place):
    key = place.key("thief")
    held, _ = inventory(place, key)
    port = 7410
    worker = place.link(port, key)
    frame = hot(REQUEST, [request(500, NEAR, key.uuid, place.own_address, place.far_address, 9002,
                                  src_port=45000)])
    time.sleep(0.6)
    first = decide(worker, frame)
    time.sleep(0.6)
    before = fact(status(place), "worker 0", "flows")
    again = [decide(worker, frame) for _ in range(5)]
    other = place.link(port, key)
    again.append(decide(other, frame))
    time.sleep(0.6)
    after = fact(status(place), "worker 0", "flows")
    say(first is not None and all(one == first for one in again),
        f"the same request frame six times more: the same verdict each time {first if not all(one == first for one in again) else ''}")
    say(after <= before, f"and no second effect: flows remembered {before}, then {after}")
    held.close()


# ---- raw bytes ----

def raw_connect(place, port, seconds=2.0):
    return socket.create_connection((place.address, port), timeout=seconds)


def closed_within(sock, seconds):
    sock.settimeout(seconds)
    try:
        while sock.recv(65536):
            pass
        return True
    except socket.timeout:
        return False
    except OSError:
        return True


class Tap(threading.Thread):
    """Carry one connection to a port and keep what the client said."""

    def __init__(self, place, port):
        super().__init__(daemon=True)
        self.place, self.port, self.said = place, port, b""
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = "tcp://127.0.0.1:%d" % self.listener.getsockname()[1]

    def run(self):
        client, _ = self.listener.accept()
        server = raw_connect(self.place, self.port)
        server.settimeout(None)
        back = threading.Thread(target=self.carry, args=(server, client, False), daemon=True)
        back.start()
        self.carry(client, server, True)

    def carry(self, source, sink, keep):
        try:
            while True:
                data = source.recv(65536)
                if not data:
                    return
                if keep:
                    self.said += data
                sink.sendall(data)
        except OSError:
            return


def do_replay(place):
    key = place.key("thief")
    held, _ = inventory(place, key)
    frame = hot(REQUEST, [request(700, NEAR, key.uuid, place.own_address, place.far_address, 9002)])
    frames = {7410: frame, 7411: frame, 7400: control(DIRECTORY_GET, id=3),
              7401: hot(EVENT, [event(1, "192.0.2.1", "192.0.2.2")])}
    for port, frame in frames.items():
        tap = Tap(place, port)
        tap.start()
        link = Link(tap.endpoint, place.server_key(port), key)
        link.watch(2)
        link.send(frame)
        kind, _ = link.receive(2)
        say(kind is not None, f"port {port}: a session is recorded ({len(tap.said)} bytes)")
        time.sleep(0.6)
        before = status(place)
        sock = raw_connect(place, port)
        sock.sendall(tap.said)
        gone = closed_within(sock, 4)
        time.sleep(0.6)
        after = status(place)
        say(gone, f"port {port}: the same bytes again are hung up on")
        service, name = {7410: ("worker 0", "frames"), 7411: ("worker 1", "frames"),
                         7401: ("recorder", "event_frames"),
                         7400: ("controller", "handshakes_failed")}[port]
        risen = fact(after, service, name) - fact(before, service, name)
        if port != 7400 and port != 7401:
            say(risen == 0, f"port {port}: no frame of them is taken ({service} {name})")
        failed = fact(after, service, "handshakes_failed") - fact(before, service,
                                                                  "handshakes_failed")
        say(failed > 0, f"port {port}: counted as handshakes_failed ({failed} more)")
        link.close()
    held.close()


def do_large(place):
    key = place.key("thief")
    before = status(place)
    for port in PORTS:
        for size in (65536, 65537, 70000, 1 << 20):
            link = place.link(port, key)
            link.watch(2)
            link.send(os.urandom(size))
            kind, body = link.receive(0.15)
            say(kind in (None, ERROR), f"port {port}: a frame of {size} bytes: "
                f"{'dropped' if kind is None else body['code']}")
            link.close()
    link = place.link(7400, key)
    kind, body = link.ask(control(HELLO, id=1, uuid=key.uuid.bytes, version="x" * (1 << 20), epoch=1))
    say(kind == ERROR, f"port 7400: a good message of over 1 MiB from an agent: "
        f"{body and body.get('code')}")
    link.close()
    time.sleep(0.7)
    for service in ("controller", "worker 0", "worker 1", "recorder"):
        rises(before, service, ["frames_malformed", "frames_dropped"], "frames that are too large")


def mutate(generator, frame):
    data = bytearray(frame)
    for _ in range(generator.randint(1, 6)):
        place = generator.randrange(len(data))
        how = generator.randrange(4)
        if how == 0:
            data[place] ^= 1 << generator.randrange(8)
        elif how == 1:
            data[place] = generator.choice((0, 0x7f, 0x80, 0xc4, 0xdc, 0xdd, 0xdf, 0xff))
        elif how == 2 and len(data) > 1:
            del data[place:place + generator.randint(1, 8)]
        else:
            data[place:place] = generator.randbytes(generator.randint(1, 8))
        if not data:
            data = bytearray(b"\0")
    return bytes(data)


def do_garbage(place):
    generator = random.Random(7)
    key, admin = place.key("thief"), place.key("admin")
    held, _ = inventory(place, key)
    before = status(place)
    samples = list(READ.values()) + [
        control(HELLO, id=1, uuid=key.uuid.bytes, version="0.1", epoch=1),
        control(STATE_GET, id=2, number=0, counters=["a 1", "b 2"]),
        control(ENDPOINT, uuid=key.uuid.bytes, host=key.uuid.bytes, kind="container", name="x",
                labels=["a=b"], addresses=["global 192.0.2.1/24 - eth0"]),
        control(INVENTORY_END, id=1), control(EVENTS_GET, id=3, query="port:80 and not host:x"),
        control(POLICY_CHECK, id=4, text="mode enforce default\nrule 1 allow from any to any any\n"),
        hot(REQUEST, [request(900, FAR, key.uuid, "192.0.2.1", place.own_address, 80)] * 3),
        hot(VERDICT, [b"\xdc\x00\x01\xcc\x00"])]
    # never an event's number that could be taken: it would make a gap of the thief's own
    allows = 0
    for port in PORTS:
        for who in (key, admin) if port < 7410 else (key,):
            link = place.link(port, who)
            link.watch(2)
            for number in range(250):
                if number % 3 == 0:
                    frame = generator.randbytes(generator.randint(1, 300))
                else:
                    frame = mutate(generator, generator.choice(samples))
                if number % 50 == 49:
                    link.send(frame, b"second part")
                else:
                    link.send(frame)
                while link.socket.poll(0):
                    try:
                        kind, body = frame_read(link.socket.recv())
                    except Exception as problem: # pylint: disable=broad-except
                        say(False, f"port {port} answers what is no frame: {problem}")
                        continue
                    allows += kind == VERDICT and any(one["action"] == ALLOW for one in body)
            link.close()
    say(allows == 0, f"random and mutated frames in 6 sessions: no allow ({allows})")
    for port in PORTS:
        sockets = []
        greeting = b"\xff" + bytes(8) + b"\x7f\x03\x01CURVE" + bytes(15 + 1 + 31)
        for number in range(60):
            sock = raw_connect(place, port)
            data = (generator.randbytes(generator.randint(1, 4000)),
                    greeting + generator.randbytes(200), mutate(generator, greeting),
                    greeting + b"\x04\xc8\x05HELLO" + generator.randbytes(194))[number % 4]
            try:
                sock.sendall(data)
            except OSError:
                pass
            sockets.append(sock)
        for sock in sockets:
            sock.close()
    time.sleep(0.8)
    for service in ("controller", "worker 0", "worker 1", "recorder"):
        rises(before, service, ["frames_malformed"], "random and mutated frames")
        rises(before, service, ["handshakes_failed"], "random bytes instead of a handshake")
    do_open(place)
    held.close()


def do_open(place):
    """Do all ports still serve who may?"""
    key = place.key("thief")
    for port in PORTS:
        link = place.link(port, key)
        say(link.watch(2) == "up", f"port {port} still serves an enrolled key")
        link.close()


def do_halfopen(place, count, seconds):
    """A third says nothing, a third half a greeting, a third a greeting and no more."""
    greeting = b"\xff" + bytes(8) + b"\x7f\x03\x01CURVE" + bytes(15 + 1 + 31)
    sockets, failed = {port: [] for port in PORTS}, 0
    begin = time.monotonic()
    for number in range(int(count)):
        for port in PORTS:
            try:
                sock = raw_connect(place, port)
                if number % 3:
                    sock.sendall(greeting if number % 3 == 1 else greeting[:12])
                sockets[port].append(sock)
            except OSError:
                failed += 1
    print(f"# {sum(map(len, sockets.values()))} half-open connections made in "
          f"{time.monotonic() - begin:.1f} s, {failed} not accepted", flush=True)
    end = begin + float(seconds)
    time.sleep(max(0, end - time.monotonic()))
    for port, some in sockets.items():
        open_still = sum(not closed_within(sock, 0.0005) for sock in some[-200:])
        say(open_still == 0, f"port {port}: half-open connections are hung up on after 3 s "
            f"({open_still} of the last {len(some[-200:])} still open)")
        for sock in some:
            sock.close()


def do_revoked(place, name):
    key, admin = place.key("thief"), place.link(7400, place.key("admin"))
    held, _ = inventory(place, key)
    links = [place.link(port, key) for port in (7410, 7411)]
    recorder = place.link(7401, key)
    for link in links + [recorder]:
        link.watch(2)
    frame = lambda number: hot(REQUEST, [request(number, NEAR, key.uuid, place.own_address,
                                                 place.far_address, 9002)])
    say(all(decide(link, frame(1)) for link in links), "before: both workers answer the thief")
    kind, _ = admin.ask(control(PEER_SET, id=1, name=name, status="revoked"))
    begin = time.monotonic()
    say(kind == OK, "the thief is revoked")
    last, number = 0.0, 10
    while time.monotonic() < begin + 2.5:
        for link in links:
            number += 1
            link.send(frame(number))
            while link.socket.poll(5):
                link.socket.recv()
                last = time.monotonic() - begin
        recorder.send(hot(EVENT, [event(10 ** 6, "192.0.2.1", "192.0.2.2")]))
        while recorder.socket.poll(5):
            recorder.socket.recv()
            last = max(last, time.monotonic() - begin)
    say(last < 1.0, f"its live sessions are answered nothing from 1 s on (last answer {last * 1000:.0f} "
        f"ms after)")
    ups = [port for port in PORTS if place.link(port, key).watch(0.5) == "up"]
    say(not ups, f"and a new one is refused on every port {ups or ''}")
    held.close()


if __name__ == "__main__":
    words = sys.argv[1:]
    if words[0] in ("enroll", "again", "forge"):
        globals()["do_" + words[0]](*words[1:])
    else:
        PLACE = Place(words[1])
        globals()["do_" + words[0]](PLACE, *words[2:])
    print("done", flush=True)
    os._exit(0)
