/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/** @file A server with its keyring and clients, all in one thread, for tests of sockets. */

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "bus/internal.h"
#include "tests/tap.h"

#define HARBOUR_FRAME_BYTES 4096
#ifndef HARBOUR_HIGH_WATER
#define HARBOUR_HIGH_WATER 8
#endif

struct harbour {
	bus_keyring_t *keyring;
	bus_context_t *context;
	bus_server_t *server;
	struct bus_key server_key;
	char endpoint[64];
	struct bus_frame last; /* the frame echoed last, without its data */
	unsigned echoed;
};

static inline void harbour_serve(struct harbour *h, unsigned roles, unsigned port)
{
	char endpoint[64];
	(void)snprintf(endpoint, sizeof(endpoint), "tcp://127.0.0.1:%u", port);
	const struct bus_server_options options = {
		.endpoint = port != 0 ? endpoint : "tcp://127.0.0.1:*",
		.key = &h->server_key,
		.roles = roles,
		.frame_max_bytes = HARBOUR_FRAME_BYTES,
		.high_water_mark = HARBOUR_HIGH_WATER,
	};
	int ret = bus_server_new(h->context, &options, &h->server);
	ok(ret == PR_OK, "a server starts: %s", pr_strerror(ret));
	if (ret == PR_OK) {
		(void)snprintf(h->endpoint, sizeof(h->endpoint), "tcp://127.0.0.1:%u",
		               bus_server_port(h->server));
	}
}

static inline void harbour_open(struct harbour *h, unsigned roles)
{
	*h = (struct harbour){ .keyring = bus_keyring_new() };
	ok(bus_key_new(&h->server_key) == PR_OK, "a server key");
	ok(bus_context_new(h->keyring, &h->context) == PR_OK, "a context with ZAP handler");
	harbour_serve(h, roles, 0);
}

static inline void harbour_close(struct harbour *h)
{
	bus_server_destroy(&h->server);
	bus_context_destroy(&h->context);
	bus_keyring_destroy(&h->keyring);
}

static inline struct bus_peer harbour_enrol(struct harbour *h, const struct bus_key *key,
                                            enum bus_role role, uint64_t expires_wall_ns)
{
	struct bus_peer peer = { .id = pr_uuid_new(),
		                 .role = role,
		                 .name = "test",
		                 .expires_wall_ns = expires_wall_ns };
	memcpy(peer.public_key, key->public_key, BUS_KEY_BYTES);
	ok(bus_keyring_put(h->keyring, &peer) == PR_OK, "enrolled as %s", bus_role_name(role));
	return peer;
}

static inline bus_client_t *harbour_client(struct harbour *h, const struct bus_key *key,
                                           const uint8_t *server_key)
{
	const struct bus_client_options options = {
		.endpoint = h->endpoint,
		.server_key = server_key,
		.key = key,
		.frame_max_bytes = HARBOUR_FRAME_BYTES + 512,
		.high_water_mark = HARBOUR_HIGH_WATER,
	};
	bus_client_t *client = NULL;
	int ret = bus_client_new(h->context, &options, &client);
	ok(ret == PR_OK, "a client starts: %s", pr_strerror(ret));
	return client;
}

/* Answer what waits at the server with the same bytes. */
static inline void harbour_echo(struct harbour *h)
{
	struct bus_frame frame;

	while (h->server != NULL && bus_server_receive(h->server, &frame) == PR_OK) {
		h->echoed++;
		(void)!bus_server_send(h->server, &frame.route, frame.data, frame.size_bytes);
		h->last = frame;
	}
}

static inline void harbour_pause(void)
{
	(void)poll(NULL, 0, 1);
}

/* Let time pass until the client's link is as wanted. */
static inline bool harbour_link(struct harbour *h, bus_client_t *client, enum bus_link want,
                                unsigned timeout_ms)
{
	uint64_t end_ns = pr_clock_monotonic_ns() + timeout_ms * PR_NS_PER_MS;

	while (pr_clock_monotonic_ns() < end_ns) {
		harbour_echo(h);
		if (bus_client_link(client) == want) {
			return true;
		}
		harbour_pause();
	}
	return false;
}

/* Send a text and wait for its echo. PR_ETIMEOUT without one. */
static inline int harbour_ask(struct harbour *h, bus_client_t *client, const char *text,
                              unsigned timeout_ms)
{
	uint64_t end_ns = pr_clock_monotonic_ns() + timeout_ms * PR_NS_PER_MS;
	bool sent = false;
	const uint8_t *data;
	size_t size_bytes;

	while (pr_clock_monotonic_ns() < end_ns) {
		sent = sent || bus_client_send(client, text, strlen(text)) == PR_OK;
		harbour_echo(h);
		while (bus_client_receive(client, &data, &size_bytes) == PR_OK) {
			if (size_bytes == strlen(text) && memcmp(data, text, size_bytes) == 0) {
				return PR_OK;
			}
		}
		harbour_pause();
	}
	return PR_ETIMEOUT;
}
