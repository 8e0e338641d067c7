/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <string.h>
#include <zmq.h>

#include "base/err.h"
#include "bus/internal.h"

const struct bus_tunables bus_tunables = {
	.handshake_ms = 3000,
	.heartbeat_ms = 2000,
	.heartbeat_timeout_ms = 6000,
	.reconnect_ms = 100,
	.reconnect_max_ms = 5000,
	.backlog = 1024,
	.high_water_mark = 1024,
	.linger_ms = 0,
	.self_test_ms = 5000,
	.refused_retry_ms = 1000,
	.frame_overhead_bytes = 64,
	.frame_least_bytes = 2048,
	.routes_max = 65536,
};

int bus_zmq_error(void)
{
	int code = zmq_errno();

	switch (code) {
	case EADDRINUSE:
		return PR_EBUSY;
	case EHOSTUNREACH:
		return PR_EUNREACH;
	case EPROTONOSUPPORT:
	case ENOCOMPATPROTO:
		return PR_EINVAL;
	case EMTHREAD:
	case EMFILE:
	case ENFILE:
		return PR_ENOMEM;
	case ETERM:
	case ENOTSOCK:
	case EFSM:
		return PR_EIO;
	default:
		/* zmq's own codes lie far above every errno. */
		return code > 0 && code < ZMQ_HAUSNUMERO ? -code : PR_EIO;
	}
}

void bus_option_set_bytes(void *socket, int option, const void *value, size_t size_bytes, int *ret)
{
	if (*ret == PR_OK && zmq_setsockopt(socket, option, value, size_bytes) != 0) {
		*ret = bus_zmq_error();
	}
}

void bus_option_set(void *socket, int option, int value, int *ret)
{
	bus_option_set_bytes(socket, option, &value, sizeof(value), ret);
}

void bus_options_common(void *socket, const char *endpoint, size_t frame_max_bytes,
                        int high_water_mark, int *ret)
{
	const struct bus_tunables *t = &bus_tunables;
	int queue = high_water_mark > 0 ? high_water_mark : t->high_water_mark;
	int64_t limit = (int64_t)frame_max_bytes + t->frame_overhead_bytes;

	if (limit < t->frame_least_bytes) {
		limit = t->frame_least_bytes;
	}
	bus_option_set_bytes(socket, ZMQ_MAXMSGSIZE, &limit, sizeof(limit), ret);
	bus_option_set(socket, ZMQ_SNDHWM, queue, ret);
	bus_option_set(socket, ZMQ_RCVHWM, queue, ret);
	bus_option_set(socket, ZMQ_LINGER, t->linger_ms, ret);
	bus_option_set(socket, ZMQ_HANDSHAKE_IVL, t->handshake_ms, ret);
	bus_option_set(socket, ZMQ_HEARTBEAT_IVL, t->heartbeat_ms, ret);
	bus_option_set(socket, ZMQ_HEARTBEAT_TIMEOUT, t->heartbeat_timeout_ms, ret);
	bus_option_set(socket, ZMQ_HEARTBEAT_TTL, t->heartbeat_timeout_ms, ret);
	/* Only where it is asked for: it changes what a host name resolves to. */
	bus_option_set(socket, ZMQ_IPV6, strchr(endpoint, '[') != NULL, ret);
}

bool bus_endpoint_valid(const char *endpoint)
{
	if (endpoint == NULL || strncmp(endpoint, "tcp://", 6) != 0) {
		return false;
	}
	const char *port = strrchr(endpoint + 6, ':');
	return port != NULL && port != endpoint + 6 && port[1] != '\0' &&
	       strchr(endpoint, ';') == NULL;
}
