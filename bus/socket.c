/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <string.h>
#include <zmq.h>

#include "base/backoff.h"
#include "base/err.h"
#include "bus/internal.h"

const struct bus_tunables bus_tunables = {
	.handshake_ms = 3000,
	.client_handshake_ms = 15000,
	.connect_ms = 5000,
	.heartbeat_ms = 2000,
	.heartbeat_timeout_ms = 6000,
	.reconnect_ms = 200,
	.reconnect_max_ms = 5000,
	.backlog = 1024,
	.leave_ms = 20,
	.high_water_mark = 1024,
	.linger_ms = 0,
	.self_test_ms = 5000,
	.refused_retry_ms = 1000,
	.failed_retry_ms = 500,
	.failed_retry_max_ms = 10000,
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
	/* Only where it is asked for: it changes what a host name resolves to. */
	bus_option_set(socket, ZMQ_IPV6, strchr(endpoint, '[') != NULL, ret);
}

/*
 * zmq finds a timer by looking through all of its thread's, and a heartbeat sets and removes two
 * for each answer: with n connections a server would spend n * n on them (10,000: more than it
 * has). So clients ask and servers answer, and a server learns of a client that is gone from the
 * kernel, whose timers cost nothing, after the same time.
 */
void bus_options_server(void *socket, int *ret)
{
	const struct bus_tunables *t = &bus_tunables;
	int pause_s = t->heartbeat_ms / 1000;

	bus_option_set(socket, ZMQ_HANDSHAKE_IVL, t->handshake_ms, ret);
	bus_option_set(socket, ZMQ_TCP_KEEPALIVE, 1, ret);
	bus_option_set(socket, ZMQ_TCP_KEEPALIVE_IDLE, pause_s, ret);
	bus_option_set(socket, ZMQ_TCP_KEEPALIVE_INTVL, pause_s, ret);
	bus_option_set(socket, ZMQ_TCP_KEEPALIVE_CNT, t->heartbeat_timeout_ms / t->heartbeat_ms - 1,
	               ret);
	bus_option_set(socket, ZMQ_TCP_MAXRT, t->heartbeat_timeout_ms, ret);
	bus_option_set(socket, ZMQ_BACKLOG, t->backlog, ret);
}

/* Waits differ from client to client, so that those who lost a server do not come back as one. */
void bus_options_client(void *socket, uint64_t chance, int heartbeat_ms, int *ret)
{
	const struct bus_tunables *t = &bus_tunables;
	uint32_t first = (uint32_t)chance, longest = (uint32_t)(chance >> 32);
	int beat_ms = heartbeat_ms > 0 ? heartbeat_ms : t->heartbeat_ms;

	bus_option_set(socket, ZMQ_HANDSHAKE_IVL, t->client_handshake_ms, ret);
	bus_option_set(socket, ZMQ_CONNECT_TIMEOUT, t->connect_ms, ret);
	bus_option_set(socket, ZMQ_HEARTBEAT_IVL, beat_ms, ret);
	bus_option_set(socket, ZMQ_HEARTBEAT_TIMEOUT,
	               beat_ms * (t->heartbeat_timeout_ms / t->heartbeat_ms), ret);
	bus_option_set(socket, ZMQ_RECONNECT_IVL,
	               (int)pr_backoff_spread_ns((uint64_t)t->reconnect_ms, first), ret);
	bus_option_set(socket, ZMQ_RECONNECT_IVL_MAX,
	               (int)pr_backoff_spread_ns((uint64_t)t->reconnect_max_ms, longest), ret);
	bus_option_set(socket, ZMQ_IMMEDIATE, 1, ret);
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
