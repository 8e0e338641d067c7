/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

#include "base/clock.h"
#include "base/err.h"
#include "bus/internal.h"

/* In the draft part of zmq.h; the library takes it all the same, and we check that it does. */
#ifndef ZMQ_ZAP_ENFORCE_DOMAIN
#define ZMQ_ZAP_ENFORCE_DOMAIN 93
#endif

#define COUNT_EVERY_NS (100 * PR_NS_PER_MS)

struct bus_server {
	bus_context_t *context;
	void *socket;
	void *monitor;
	zmq_msg_t message; /* the frame last given out */
	routes_t *routes;
	unsigned roles;
	unsigned port;
	size_t frame_max_bytes;
	uint64_t generation;     /* of the keyring, when the routes were last swept */
	uint64_t expiry_wall_ns; /* when the next key runs out */
	uint64_t counted_ns;     /* when the monitor was last read */
	struct bus_server_counters counters;
};

static int options_set(bus_server_t *server, const struct bus_server_options *options)
{
	char domain[ZAP_DOMAIN_BYTES];
	void *socket = server->socket;
	int ret = PR_OK;

	zap_domain_format(options->roles, domain);
	bus_options_common(socket, options->endpoint, options->frame_max_bytes,
	                   options->high_water_mark, &ret);
	bus_options_server(socket, &ret);
	bus_option_set_bytes(socket, ZMQ_ZAP_DOMAIN, domain, strlen(domain), &ret);
	bus_option_set(socket, ZMQ_ZAP_ENFORCE_DOMAIN, 1, &ret);
	bus_option_set(socket, ZMQ_CURVE_SERVER, 1, &ret);
	bus_option_set_bytes(socket, ZMQ_CURVE_SECRETKEY, options->key->secret_key, BUS_KEY_BYTES,
	                     &ret);
	bus_option_set(socket, ZMQ_ROUTER_MANDATORY, 1, &ret);
	return ret;
}

/* Bind, learn the port, and let a stranger knock. */
static int serve(bus_server_t *server, const struct bus_server_options *options)
{
	char endpoint[256];
	size_t size_bytes = sizeof(endpoint);

	if (zmq_bind(server->socket, options->endpoint) != 0 ||
	    zmq_getsockopt(server->socket, ZMQ_LAST_ENDPOINT, endpoint, &size_bytes) != 0) {
		return bus_zmq_error();
	}
	const char *port = strrchr(endpoint, ':');
	if (port == NULL) {
		return PR_EINVAL;
	}
	server->port = (unsigned)strtoul(port + 1, NULL, 10);
	return bus_self_test(server->context, endpoint, options->key->public_key);
}

int bus_server_new(bus_context_t *context, const struct bus_server_options *options,
                   bus_server_t **ret_server)
{
	if (context->keyring == NULL || !bus_endpoint_valid(options->endpoint) ||
	    options->roles == 0 || options->frame_max_bytes == 0) {
		return PR_EINVAL;
	}
	_cleanup_(bus_server_destroy) bus_server_t *server = calloc(1, sizeof(*server));
	if (server == NULL) {
		return PR_ENOMEM;
	}
	server->context = context;
	context->sockets++;
	(void)zmq_msg_init(&server->message);
	server->roles = options->roles;
	server->frame_max_bytes = options->frame_max_bytes;
	server->routes = routes_new(bus_tunables.routes_max);
	server->socket = zmq_socket(context->zmq, ZMQ_ROUTER);
	if (server->routes == NULL) {
		return PR_ENOMEM;
	}
	if (server->socket == NULL) {
		return bus_zmq_error();
	}
	int ret = options_set(server, options);
	if (ret == PR_OK) {
		ret = bus_monitor_open_server(context->zmq, server->socket, &server->monitor);
	}
	if (ret == PR_OK) {
		ret = serve(server, options);
	}
	if (ret == PR_OK) {
		*ret_server = take_ptr(server);
	}
	return ret;
}

void bus_server_destroy(bus_server_t **server_p)
{
	bus_server_t *server = *server_p;
	if (server == NULL) {
		return;
	}
	(void)zmq_msg_close(&server->message);
	if (server->socket != NULL) {
		bus_monitor_close(server->socket, &server->monitor);
		(void)zmq_close(server->socket);
	}
	routes_destroy(&server->routes);
	server->context->sockets--;
	free(server);
	*server_p = NULL;
}

unsigned bus_server_port(const bus_server_t *server)
{
	return server->port;
}

int bus_server_fd(const bus_server_t *server)
{
	int fd = -1;
	size_t size_bytes = sizeof(fd);

	if (zmq_getsockopt(server->socket, ZMQ_FD, &fd, &size_bytes) != 0) {
		return -1;
	}
	return fd;
}

/* ---- who may ---- */

static bool route_stays(const struct route_entry *entry, void *arg)
{
	const bus_server_t *server = arg;
	struct bus_peer peer;

	return bus_keyring_find(server->context->keyring, entry->public_key, &peer) == PR_OK &&
	       ((unsigned)peer.role & server->roles) != 0;
}

/* The keyring changed or a key ran out: cut the sessions that it no longer carries. */
static void sessions_recheck(bus_server_t *server)
{
	bus_keyring_t *keyring = server->context->keyring;
	uint64_t generation = bus_keyring_generation(keyring);
	uint64_t now_wall_ns = pr_clock_wall_ns();

	if (generation == server->generation && now_wall_ns < server->expiry_wall_ns) {
		return;
	}
	server->generation = generation;
	server->expiry_wall_ns = bus_keyring_next_expiry_ns(keyring, now_wall_ns);
	server->counters.revoked += routes_sweep(server->routes, route_stays, server);
}

static uint32_t route_number(const uint8_t *bytes)
{
	return (uint32_t)bytes[1] << 24 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 8 |
	       bytes[4];
}

/* Peer of a received message, by what our ZAP handler said of it and the keyring says now. */
static int peer_admit(bus_server_t *server, zmq_msg_t *message, const struct bus_route *route,
                      struct bus_peer *ret_peer)
{
	uint8_t public_key[BUS_KEY_BYTES];
	uint32_t number = route_number(route->bytes);

	if (zap_user_id_parse(zmq_msg_gets(message, "User-Id"), public_key) != PR_OK) {
		server->counters.malformed++;
		return PR_EPERM;
	}
	const struct route_entry *entry = routes_find(server->routes, number);
	int fd = zmq_msg_get(message, ZMQ_SRCFD);
	if ((entry == NULL || entry->fd != fd ||
	     memcmp(entry->public_key, public_key, BUS_KEY_BYTES) != 0) &&
	    routes_put(server->routes, number, fd, public_key) != PR_OK) {
		server->counters.malformed++;
		return PR_ENOSPC;
	}
	if (bus_keyring_find(server->context->keyring, public_key, ret_peer) != PR_OK) {
		server->counters.revoked++;
		routes_cut(server->routes, number);
		return PR_EPERM;
	}
	if (((unsigned)ret_peer->role & server->roles) == 0) {
		server->counters.refused_role++;
		routes_cut(server->routes, number);
		return PR_EROLE;
	}
	return PR_OK;
}

/* ---- frames ---- */

static int part_receive(bus_server_t *server, zmq_msg_t *message)
{
	int got;

	do {
		got = zmq_msg_recv(message, server->socket, ZMQ_DONTWAIT);
	} while (got < 0 && zmq_errno() == EINTR);
	return got < 0 ? bus_zmq_error() : PR_OK;
}

/* The rest of a message that is too long, so that the next one starts at its start. */
static void parts_drain(bus_server_t *server)
{
	while (zmq_msg_more(&server->message) && part_receive(server, &server->message) == PR_OK) {
	}
}

/* One message into server->message. PR_EMALF: dropped, go on. */
static int message_receive(bus_server_t *server, struct bus_route *ret_route)
{
	int ret = part_receive(server, &server->message);
	if (ret != PR_OK) {
		return ret;
	}
	const uint8_t *id = zmq_msg_data(&server->message);
	bool good = zmq_msg_size(&server->message) == ROUTE_BYTES && id[0] == 0;
	if (good) {
		memcpy(ret_route->bytes, id, ROUTE_BYTES);
		ret_route->size_bytes = ROUTE_BYTES;
	}
	bool has_body = zmq_msg_more(&server->message);
	if (has_body) {
		ret = part_receive(server, &server->message);
		if (ret != PR_OK) {
			return ret;
		}
	}
	if (!good || !has_body || zmq_msg_more(&server->message) ||
	    zmq_msg_size(&server->message) > server->frame_max_bytes) {
		parts_drain(server);
		server->counters.malformed++;
		return PR_EMALF;
	}
	return PR_OK;
}

static void address_copy(char *text, size_t size_bytes, zmq_msg_t *message)
{
	const char *address = zmq_msg_gets(message, "Peer-Address");

	text[0] = '\0';
	if (address == NULL) {
		return;
	}
	/* An IPv4 peer of an IPv6 socket. */
	if (strncmp(address, "::ffff:", 7) == 0) {
		address += 7;
	}
	size_t length = strnlen(address, size_bytes - 1);
	memcpy(text, address, length);
	text[length] = '\0';
}

static void connections_count(bus_server_t *server)
{
	enum bus_monitor_event event;

	while ((event = bus_monitor_next(server->monitor)) != BUS_MONITOR_NONE) {
		server->counters.accepted += event == BUS_MONITOR_ACCEPTED;
		server->counters.handshakes += event == BUS_MONITOR_UP;
	}
}

/* The monitor has no bound: strangers who knock must not fill it. But not at every turn. */
static void connections_look(bus_server_t *server)
{
	uint64_t now_ns = pr_clock_monotonic_ns();

	if (now_ns - server->counted_ns >= COUNT_EVERY_NS) {
		server->counted_ns = now_ns;
		connections_count(server);
	}
}

int bus_server_receive(bus_server_t *server, struct bus_frame *ret_frame)
{
	struct bus_frame frame = { 0 };

	sessions_recheck(server);
	for (;;) {
		int ret = message_receive(server, &frame.route);
		if (ret == PR_EMALF) {
			continue;
		}
		if (ret != PR_OK) {
			connections_look(server);
			return ret;
		}
		if (peer_admit(server, &server->message, &frame.route, &frame.peer) == PR_OK) {
			break;
		}
	}
	address_copy(frame.address, sizeof(frame.address), &server->message);
	frame.data = zmq_msg_data(&server->message);
	frame.size_bytes = zmq_msg_size(&server->message);
	server->counters.received++;
	*ret_frame = frame;
	return PR_OK;
}

int bus_server_send(bus_server_t *server, const struct bus_route *route, const void *data,
                    size_t size_bytes)
{
	if (route->size_bytes != ROUTE_BYTES || route->bytes[0] != 0) {
		return PR_EINVAL;
	}
	if (size_bytes > server->frame_max_bytes) {
		return PR_ETOOBIG;
	}
	sessions_recheck(server);
	uint32_t number = route_number(route->bytes);
	if (routes_find(server->routes, number) == NULL) {
		server->counters.send_failed++;
		return PR_EUNREACH;
	}
	if (zmq_send(server->socket, route->bytes, ROUTE_BYTES, ZMQ_SNDMORE | ZMQ_DONTWAIT) < 0 ||
	    zmq_send(server->socket, data, size_bytes, ZMQ_DONTWAIT) < 0) {
		int ret = bus_zmq_error();
		if (ret == PR_EUNREACH) {
			routes_remove(server->routes, number);
		}
		server->counters.send_failed++;
		return ret;
	}
	server->counters.sent++;
	return PR_OK;
}

void bus_server_counters(bus_server_t *server, struct bus_server_counters *ret_counters)
{
	connections_count(server);
	*ret_counters = server->counters;
}
