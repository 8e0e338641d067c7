/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Who gets in, who does not, and who is put out again. */

#include <zmq.h>

#include "tests/bus/harbour.h"

static void test_nobody_there(struct harbour *h)
{
	struct harbour nobody = *h;
	(void)snprintf(nobody.endpoint, sizeof(nobody.endpoint), "tcp://127.0.0.1:1");
	_cleanup_(bus_client_destroy) bus_client_t *client =
		harbour_client(&nobody, &h->server_key, h->server_key.public_key);

	ok(bus_client_link(client) == BUS_LINK_CONNECTING, "starts to connect at once");
	ok(bus_client_send(client, "x", 1) == PR_EAGAIN, "nothing is queued for nobody");
}

static void test_admitted(struct harbour *h)
{
	struct bus_key key;
	ok(bus_key_new(&key) == PR_OK, "a key");
	struct bus_peer peer = harbour_enrol(h, &key, BUS_ROLE_AGENT, 0);
	_cleanup_(bus_client_destroy) bus_client_t *client =
		harbour_client(h, &key, h->server_key.public_key);

	ok(harbour_ask(h, client, "hello", 3000) == PR_OK, "an enrolled key is answered");
	ok(bus_client_link(client) == BUS_LINK_UP, "its link is up");
	ok(pr_uuid_equal(&h->last.peer.id, &peer.id) && h->last.peer.role == BUS_ROLE_AGENT &&
	           strcmp(h->last.peer.name, "test") == 0,
	   "the server knows who asked");
	ok(strcmp(h->last.address, "127.0.0.1") == 0, "and from where: %s", h->last.address);
	ok(bus_client_wait(client, 20) == PR_ETIMEOUT, "waiting ends");
	ok(bus_client_send(client, "y", 1) == PR_OK, "one more");
	harbour_pause();
	for (int i = 0; i < 500 && h->last.size_bytes != 1; i++) {
		harbour_echo(h);
		harbour_pause();
	}
	ok(bus_client_wait(client, 2000) == PR_OK, "a wait ends with a frame");

	/* A role that changes bites on the live session. */
	peer.role = BUS_ROLE_VIEWER;
	ok(bus_keyring_put(h->keyring, &peer) == PR_OK, "role taken away");
	ok(harbour_ask(h, client, "again", 700) == PR_ETIMEOUT, "no answer any more");
	ok(harbour_link(h, client, BUS_LINK_REFUSED, 3000), "and the door is closed");
	peer.role = BUS_ROLE_AGENT;
	ok(bus_keyring_put(h->keyring, &peer) == PR_OK, "role given back");
	ok(harbour_ask(h, client, "once more", 5000) == PR_OK, "a refused client tries again");
}

static void test_strangers(struct harbour *h)
{
	struct bus_key key, enrolled, other;
	struct bus_context_counters before, after;
	unsigned echoed = h->echoed;

	ok(bus_key_new(&key) == PR_OK && bus_key_new(&enrolled) == PR_OK &&
	           bus_key_new(&other) == PR_OK,
	   "keys");
	bus_context_counters(h->context, &before);
	bus_client_t *client = harbour_client(h, &key, h->server_key.public_key);
	ok(harbour_link(h, client, BUS_LINK_REFUSED, 3000), "unknown key: refused");
	ok(bus_client_wait(client, 3000) == PR_EPERM, "and a wait says so");
	ok(bus_client_send(client, "x", 1) == PR_EAGAIN, "it cannot send");
	bus_context_counters(h->context, &after);
	ok(after.zap_refused_key > before.zap_refused_key, "counted");
	bus_client_destroy(&client);

	harbour_enrol(h, &enrolled, BUS_ROLE_AGENT, 0);
	client = harbour_client(h, &enrolled, other.public_key);
	ok(harbour_link(h, client, BUS_LINK_REFUSED, 3000), "wrong server key: refused");
	ok(harbour_ask(h, client, "x", 300) == PR_ETIMEOUT, "and nothing is sent to it");
	bus_client_destroy(&client);

	harbour_enrol(h, &key, BUS_ROLE_RECORDER, 0);
	bus_context_counters(h->context, &before);
	client = harbour_client(h, &key, h->server_key.public_key);
	ok(harbour_link(h, client, BUS_LINK_REFUSED, 3000), "a role of another port: refused");
	bus_context_counters(h->context, &after);
	ok(after.zap_refused_role > before.zap_refused_role, "counted");
	bus_client_destroy(&client);
	ok(h->echoed == echoed, "none of their frames came through");
}

/* Sockets made by hand: other mechanisms, other shapes. */
static void test_mechanisms(struct harbour *h)
{
	struct bus_server_counters before, after;
	unsigned echoed = h->echoed;

	bus_server_counters(h->server, &before);
	for (int plain = 0; plain < 2; plain++) {
		void *socket = zmq_socket(h->context->zmq, ZMQ_DEALER);
		int zero = 0;
		(void)zmq_setsockopt(socket, ZMQ_LINGER, &zero, sizeof(zero));
		if (plain) {
			(void)zmq_setsockopt(socket, ZMQ_PLAIN_USERNAME, "root", 4);
			(void)zmq_setsockopt(socket, ZMQ_PLAIN_PASSWORD, "root", 4);
		}
		void *monitor = NULL;
		ok(bus_monitor_open(h->context->zmq, socket, &monitor) == PR_OK, "a monitor");
		ok(zmq_connect(socket, h->endpoint) == 0, "connects");
		(void)zmq_send(socket, "hello", 5, ZMQ_DONTWAIT);
		bool up = false, refused = false;
		for (int i = 0; i < 400 && !refused; i++) {
			harbour_echo(h);
			enum bus_monitor_event event = bus_monitor_next(monitor);
			up = up || event == BUS_MONITOR_UP;
			refused = event == BUS_MONITOR_REFUSED;
			harbour_pause();
		}
		ok(!up && refused, "%s is refused", plain ? "PLAIN" : "NULL");
		bus_monitor_close(socket, &monitor);
		(void)zmq_close(socket);
	}
	ok(h->echoed == echoed, "none of their frames came through");
	bus_server_counters(h->server, &after);
	ok(after.accepted >= before.accepted + 2 && after.handshakes == before.handshakes,
	   "their connections are counted, without a handshake");
}

/* An enrolled peer that does not behave. */
static void *raw_client(struct harbour *h, const struct bus_key *key, const char *routing_id)
{
	void *socket = zmq_socket(h->context->zmq, ZMQ_DEALER);
	int ret = PR_OK;

	bus_option_set(socket, ZMQ_LINGER, 0, &ret);
	bus_option_set_bytes(socket, ZMQ_CURVE_SERVERKEY, h->server_key.public_key, BUS_KEY_BYTES,
	                     &ret);
	bus_option_set_bytes(socket, ZMQ_CURVE_PUBLICKEY, key->public_key, BUS_KEY_BYTES, &ret);
	bus_option_set_bytes(socket, ZMQ_CURVE_SECRETKEY, key->secret_key, BUS_KEY_BYTES, &ret);
	if (routing_id != NULL) {
		bus_option_set_bytes(socket, ZMQ_ROUTING_ID, routing_id, strlen(routing_id), &ret);
	}
	ok(ret == PR_OK && zmq_connect(socket, h->endpoint) == 0, "a client made by hand");
	return socket;
}

static uint64_t malformed_after(struct harbour *h, unsigned ms)
{
	struct bus_server_counters counters;
	uint64_t end_ns = pr_clock_monotonic_ns() + ms * PR_NS_PER_MS;

	while (pr_clock_monotonic_ns() < end_ns) {
		harbour_echo(h);
		harbour_pause();
	}
	bus_server_counters(h->server, &counters);
	return counters.malformed;
}

static void test_shapes(struct harbour *h)
{
	struct bus_key key;
	static char large[HARBOUR_FRAME_BYTES + 1];
	char byte;

	struct bus_server_counters first, second;
	bus_server_counters(h->server, &first);
	ok(bus_key_new(&key) == PR_OK, "a key");
	harbour_enrol(h, &key, BUS_ROLE_AGENT, 0);
	void *socket = raw_client(h, &key, NULL);
	uint64_t before = malformed_after(h, 100);
	bus_server_counters(h->server, &second);
	ok(second.accepted == first.accepted + 1 && second.handshakes == first.handshakes + 1,
	   "its connection and its handshake are counted");
	unsigned echoed = h->echoed;
	for (int i = 0; i < 20; i++) {
		(void)zmq_send(socket, "part", 4, i < 19 ? ZMQ_SNDMORE : 0);
	}
	ok(malformed_after(h, 200) == before + 1 && h->echoed == echoed,
	   "a message of twenty parts is dropped and counted once");
	(void)zmq_send(socket, "", 0, 0);
	ok(malformed_after(h, 200) == before + 1 && h->echoed == echoed + 1,
	   "the next one is read from its start, an empty one too");
	(void)zmq_send(socket, large, HARBOUR_FRAME_BYTES, 0);
	(void)malformed_after(h, 200);
	ok(h->echoed == echoed + 2, "a frame as long as the limit passes");
	(void)zmq_send(socket, large, HARBOUR_FRAME_BYTES + 1, 0);
	ok(malformed_after(h, 200) == before + 2 && h->echoed == echoed + 2,
	   "one byte more is dropped and counted");
	while (zmq_recv(socket, &byte, 1, ZMQ_DONTWAIT) >= 0) {
	}
	static char huge[1 << 20];
	(void)zmq_send(socket, huge, sizeof(huge), ZMQ_DONTWAIT);
	(void)malformed_after(h, 200);
	ok(h->echoed == echoed + 2, "a megabyte is cut off by zmq");
	(void)zmq_close(socket);

	socket = raw_client(h, &key, "agent-1");
	(void)zmq_send(socket, "hello", 5, 0);
	ok(malformed_after(h, 300) == before + 3 && h->echoed == echoed + 2,
	   "a routing id of the client's choice is dropped and counted");
	(void)zmq_close(socket);
}

static void test_revoked(struct harbour *h)
{
	struct bus_key key, idle_key;
	struct bus_server_counters counters;

	ok(bus_key_new(&key) == PR_OK && bus_key_new(&idle_key) == PR_OK, "two keys");
	harbour_enrol(h, &key, BUS_ROLE_AGENT, 0);
	harbour_enrol(h, &idle_key, BUS_ROLE_AGENT, 0);
	bus_client_t *client = harbour_client(h, &key, h->server_key.public_key);
	ok(harbour_ask(h, client, "before", 3000) == PR_OK, "answered");
	bus_client_t *idle = harbour_client(h, &idle_key, h->server_key.public_key);
	ok(harbour_ask(h, idle, "idle", 3000) == PR_OK, "the idle one as well");
	struct bus_route route = h->last.route;
	unsigned echoed = h->echoed;

	uint64_t start_ns = pr_clock_monotonic_ns();
	bus_keyring_remove(h->keyring, idle_key.public_key);
	ok(bus_server_send(h->server, &route, "push", 4) == PR_EUNREACH,
	   "nothing is pushed to a revoked peer");
	ok(harbour_link(h, idle, BUS_LINK_REFUSED, 1000), "an idle session is cut");
	bus_keyring_remove(h->keyring, key.public_key);
	(void)!bus_client_send(client, "after", 5);
	ok(harbour_link(h, client, BUS_LINK_REFUSED, 1000), "a busy session is cut");
	uint64_t took_ns = pr_clock_monotonic_ns() - start_ns;
	ok(took_ns < PR_NS_PER_S, "both within a second: %llu ms",
	   (unsigned long long)(took_ns / PR_NS_PER_MS));
	ok(h->echoed == echoed, "none of its frames came through");
	bus_server_counters(h->server, &counters);
	ok(counters.revoked >= 2, "counted");
	bus_client_destroy(&client);
	bus_client_destroy(&idle);
}

static void test_expiry(struct harbour *h)
{
	struct bus_key key;

	ok(bus_key_new(&key) == PR_OK, "a one-time key");
	harbour_enrol(h, &key, BUS_ROLE_ENROLLING, pr_clock_wall_ns() + 700 * PR_NS_PER_MS);
	bus_client_t *client = harbour_client(h, &key, h->server_key.public_key);
	ok(harbour_ask(h, client, "enrol", 600) == PR_OK, "in time: answered");
	ok(harbour_link(h, client, BUS_LINK_REFUSED, 3000), "its session ends with the key");
	bus_client_destroy(&client);
	client = harbour_client(h, &key, h->server_key.public_key);
	ok(harbour_link(h, client, BUS_LINK_REFUSED, 3000), "an expired key is not let in");
	bus_client_destroy(&client);
}

static void everybody(const struct zap_frame *frames, size_t count, bus_keyring_t *keyring,
                      struct zap_answer *answer)
{
	zap_reply(frames, count, keyring, answer);
	answer->result = ZAP_ADMITTED;
	answer->status = "200";
	(void)snprintf(answer->user_id, sizeof(answer->user_id), "anybody");
}

/* The self-test, and what is left when the handler has died. */
static void test_self_test(void)
{
	_cleanup_(bus_keyring_destroy) bus_keyring_t *keyring = bus_keyring_new();
	struct bus_key key;
	bus_context_t *context = NULL;
	bus_server_t *server = NULL;

	ok(bus_key_new(&key) == PR_OK, "a server key");
	const struct bus_server_options options = {
		.endpoint = "tcp://127.0.0.1:*",
		.key = &key,
		.roles = BUS_ROLE_AGENT,
		.frame_max_bytes = 4096,
	};
	ok(bus_context_new_with(keyring, everybody, &context) == PR_OK,
	   "a handler that admits everybody");
	ok(bus_server_new(context, &options, &server) == PR_EPERM && server == NULL,
	   "the self-test lets no server start on it");
	bus_context_destroy(&context);

	ok(bus_context_new(NULL, &context) == PR_OK, "a context without keyring");
	ok(bus_server_new(context, &options, &server) == PR_EINVAL, "has no servers");
	bus_context_destroy(&context);

	struct harbour h;
	harbour_open(&h, BUS_ROLE_AGENT);
	harbour_enrol(&h, &key, BUS_ROLE_AGENT, 0);
	bus_context_zap_stop(h.context);
	bus_client_t *client = harbour_client(&h, &key, h.server_key.public_key);
	ok(harbour_ask(&h, client, "x", 1000) == PR_ETIMEOUT && h.echoed == 0,
	   "a dead handler admits nobody, not even an enrolled key");
	bus_client_destroy(&client);
	harbour_close(&h);
}

static void test_bad_options(struct harbour *h)
{
	static const char *const endpoints[] = { "inproc://x", "ipc:///tmp/x",      "tcp://",
		                                 "tcp://x",    "udp://127.0.0.1:1", "" };
	struct bus_server_options options = {
		.key = &h->server_key,
		.roles = BUS_ROLE_AGENT,
		.frame_max_bytes = 4096,
	};
	bus_server_t *server = NULL;

	for (size_t i = 0; i < PR_ARRAY_LEN(endpoints); i++) {
		options.endpoint = endpoints[i];
		ok(bus_server_new(h->context, &options, &server) == PR_EINVAL,
		   "no server on '%s': CURVE is on TCP alone", endpoints[i]);
	}
	options.endpoint = h->endpoint;
	ok(bus_server_new(h->context, &options, &server) == PR_EBUSY, "address in use");
	options.endpoint = "tcp://192.0.2.1:9";
	int ret = bus_server_new(h->context, &options, &server);
	ok(ret != PR_OK && server == NULL, "an address that is not ours: %s", pr_strerror(ret));
}

/*
 * A loop that looks at nothing before its descriptor is readable. A send takes the wake-up of an
 * answer with it: without the look that bus_client_due() asks for, that answer would lie there for
 * ever. Nor does one that leaves the last look for later lose any.
 */
static void test_waits_for_wake(struct harbour *h, bool leaves)
{
	struct bus_key key;
	bus_client_t *client = NULL;
	unsigned got = 0, sent = 0, woken = 0;
	const uint8_t *data;
	size_t size_bytes;

	ok(bus_key_new(&key) == PR_OK, "a key");
	harbour_enrol(h, &key, BUS_ROLE_AGENT, 0);
	const struct bus_client_options options = { .endpoint = h->endpoint,
		                                    .server_key = h->server_key.public_key,
		                                    .key = &key,
		                                    .frame_max_bytes = HARBOUR_FRAME_BYTES,
		                                    .waits_for_wake = true };
	ok(bus_client_new(h->context, &options, &client) == PR_OK, "a client that waits");
	struct pollfd wait = { .fd = bus_client_fd(client), .events = POLLIN };
	uint64_t end_ns = pr_clock_monotonic_ns() + 20 * PR_NS_PER_S;
	while (got < 400 && pr_clock_monotonic_ns() < end_ns) {
		harbour_echo(h);
		if (poll(&wait, 1, sent > got ? 2 : 0) > 0) {
			bus_client_wake(client);
			woken++;
		}
		if (sent < 400 && sent < got + 4 && bus_client_send(client, "x", 1) == PR_OK) {
			sent++;
		}
		while (bus_client_due(client)) {
			(void)bus_client_link(client);
			while (bus_client_receive(client, &data, &size_bytes) == PR_OK) {
				got++;
				if (leaves) {
					bus_client_leave(client);
				}
			}
		}
	}
	ok(got == 400, "%u of 400 answers, %u of %u sent, woken %u times", got, got, sent, woken);
	ok(!leaves || bus_client_look_ns(client) != UINT64_MAX, "what was left is due some time");
	while (bus_client_look_ns(client) != UINT64_MAX && pr_clock_monotonic_ns() < end_ns) {
		(void)!bus_client_receive(client, &data, &size_bytes);
	}
	ok(bus_client_connection(client) == 1, "one connection");
	ok(bus_client_receive(client, &data, &size_bytes) == PR_EAGAIN && !bus_client_due(client),
	   "then it is quiet");
	bus_client_destroy(&client);
}

int main(void)
{
	struct harbour h;

	harbour_open(&h, BUS_ROLE_AGENT | BUS_ROLE_ENROLLING);
	test_nobody_there(&h);
	test_admitted(&h);
	test_strangers(&h);
	test_mechanisms(&h);
	test_shapes(&h);
	test_revoked(&h);
	test_expiry(&h);
	test_bad_options(&h);
	test_waits_for_wake(&h, /* leaves= */ false);
	test_waits_for_wake(&h, /* leaves= */ true);
	harbour_close(&h);
	test_self_test();
	return tap_done();
}
