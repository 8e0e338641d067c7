/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Is the door closed? Asked once, by a stranger, before anything is served. */

#include <stdio.h>
#include <string.h>
#include <zmq.h>

#include "base/backoff.h"
#include "base/clock.h"
#include "base/err.h"
#include "bus/internal.h"

/* Where a listening socket is reached from inside. */
static int reach(const char *endpoint, char text[static 128])
{
	const char *port = strrchr(endpoint, ':');
	const char *host = endpoint;

	if (port == NULL) {
		return PR_EINVAL;
	}
	if (strncmp(endpoint, "tcp://0.0.0.0:", 14) == 0) {
		host = "tcp://127.0.0.1";
	} else if (strncmp(endpoint, "tcp://[::]:", 11) == 0) {
		host = "tcp://[::1]";
	}
	size_t host_bytes = host == endpoint ? (size_t)(port - endpoint) : strlen(host);
	int wrote = snprintf(text, 128, "%.*s%s", (int)host_bytes, host, port);
	return wrote > 0 && wrote < 128 ? PR_OK : PR_EINVAL;
}

static int stranger_new(bus_context_t *context, const char *endpoint, const uint8_t *server_key,
                        void **ret_socket, void **ret_monitor)
{
	struct bus_key key;
	int ret = bus_key_new(&key);
	if (ret != PR_OK) {
		return ret;
	}
	void *socket = zmq_socket(context->zmq, ZMQ_DEALER);
	if (socket == NULL) {
		return bus_zmq_error();
	}
	bus_options_common(socket, endpoint, 0, 1, &ret);
	bus_options_client(socket, pr_backoff_chance(), 0, &ret);
	bus_option_set_bytes(socket, ZMQ_CURVE_SERVERKEY, server_key, BUS_KEY_BYTES, &ret);
	bus_option_set_bytes(socket, ZMQ_CURVE_PUBLICKEY, key.public_key, BUS_KEY_BYTES, &ret);
	bus_option_set_bytes(socket, ZMQ_CURVE_SECRETKEY, key.secret_key, BUS_KEY_BYTES, &ret);
	bus_key_wipe(&key, sizeof(key));
	if (ret == PR_OK) {
		ret = bus_monitor_open(context->zmq, socket, ret_monitor);
	}
	if (ret == PR_OK && zmq_connect(socket, endpoint) != 0) {
		ret = bus_zmq_error();
	}
	*ret_socket = socket;
	return ret;
}

/* Only a plain no of the ZAP handler is good; silence is not. */
static int refusal_wait(void *monitor)
{
	uint64_t now_ns = pr_clock_monotonic_ns();
	uint64_t end_ns = now_ns + (uint64_t)bus_tunables.self_test_ms * PR_NS_PER_MS;

	for (; now_ns < end_ns; now_ns = pr_clock_monotonic_ns()) {
		zmq_pollitem_t item = { .socket = monitor, .events = ZMQ_POLLIN };
		(void)zmq_poll(&item, 1, (long)((end_ns - now_ns) / PR_NS_PER_MS) + 1);
		switch (bus_monitor_next(monitor)) {
		case BUS_MONITOR_REFUSED_AUTH:
			return PR_OK;
		case BUS_MONITOR_UP:
			return PR_EPERM;
		default:
			break;
		}
	}
	return PR_EPERM;
}

int bus_self_test(bus_context_t *context, const char *endpoint,
                  const uint8_t server_key[static BUS_KEY_BYTES])
{
	char address[128];
	void *socket = NULL, *monitor = NULL;
	int ret = reach(endpoint, address);
	if (ret != PR_OK) {
		return ret;
	}
	ret = stranger_new(context, address, server_key, &socket, &monitor);
	if (ret == PR_OK) {
		ret = refusal_wait(monitor);
	}
	if (socket != NULL) {
		bus_monitor_close(socket, &monitor);
		(void)zmq_close(socket);
	}
	return ret;
}
