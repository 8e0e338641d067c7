/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>
#include <zmq.h>

#include "base/backoff.h"
#include "base/clock.h"
#include "base/err.h"
#include "bus/internal.h"

struct bus_client {
	bus_context_t *context;
	void *socket;
	void *monitor;
	zmq_msg_t message; /* the frame last given out */
	size_t frame_max_bytes;
	enum bus_link link;
	uint64_t connection; /* handshakes so far */
	int epoll_fd;        /* the socket's descriptor and the monitor's */
	bool waits_for_wake;
	/*
	 * Something may wait at the socket, at the monitor. Which of the two woke us is not known:
	 * frames are looked for first, and if there were some, the news wait for the next wake-up.
	 */
	bool frames_due, news_due, frames_came;
	uint64_t look_at_ns;       /* frames are due then; 0: not left for later */
	bool failed;               /* the last handshake */
	bool told_no;              /* by the server's ZAP handler */
	bool away;                 /* not connected: zmq does not try again */
	uint64_t retry_at_ns;      /* then we do */
	struct pr_backoff backoff; /* of handshakes that failed otherwise */
	char endpoint[192];
};

static int endpoint_format(const struct bus_client_options *options, bus_client_t *client)
{
	const char *source = options->source;
	int wrote;

	if (source == NULL) {
		wrote = snprintf(client->endpoint, sizeof(client->endpoint), "%s",
		                 options->endpoint);
	} else {
		bool v6 = strchr(source, ':') != NULL;
		wrote = snprintf(client->endpoint, sizeof(client->endpoint), "tcp://%s%s%s:0;%s",
		                 v6 ? "[" : "", source, v6 ? "]" : "",
		                 options->endpoint + strlen("tcp://"));
	}
	return wrote > 0 && (size_t)wrote < sizeof(client->endpoint) ? PR_OK : PR_EINVAL;
}

static int client_connect(bus_client_t *client, const struct bus_client_options *options)
{
	const struct bus_key *key = options->key;
	void *socket = client->socket;
	int ret = endpoint_format(options, client);

	bus_options_common(socket, client->endpoint, options->frame_max_bytes,
	                   options->high_water_mark, &ret);
	bus_options_client(socket, pr_backoff_chance(), options->heartbeat_ms, &ret);
	bus_option_set_bytes(socket, ZMQ_CURVE_SERVERKEY, options->server_key, BUS_KEY_BYTES, &ret);
	bus_option_set_bytes(socket, ZMQ_CURVE_PUBLICKEY, key->public_key, BUS_KEY_BYTES, &ret);
	bus_option_set_bytes(socket, ZMQ_CURVE_SECRETKEY, key->secret_key, BUS_KEY_BYTES, &ret);
	if (ret == PR_OK) {
		ret = bus_monitor_open(client->context->zmq, socket, &client->monitor);
	}
	if (ret == PR_OK && zmq_connect(socket, client->endpoint) != 0) {
		ret = bus_zmq_error();
	}
	return ret;
}

static int socket_fd(void *socket)
{
	int fd = -1;
	size_t size_bytes = sizeof(fd);

	return zmq_getsockopt(socket, ZMQ_FD, &fd, &size_bytes) == 0 ? fd : -1;
}

/* The socket's own descriptor can tell of a link before the monitor has the news. */
static int client_watch(bus_client_t *client)
{
	const int fds[] = { socket_fd(client->socket), socket_fd(client->monitor) };
	struct epoll_event event = { .events = EPOLLIN };

	client->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (client->epoll_fd < 0) {
		return -errno;
	}
	for (size_t i = 0; i < PR_ARRAY_LEN(fds); i++) {
		if (epoll_ctl(client->epoll_fd, EPOLL_CTL_ADD, fds[i], &event) != 0) {
			return -errno;
		}
	}
	return PR_OK;
}

int bus_client_new(bus_context_t *context, const struct bus_client_options *options,
                   bus_client_t **ret_client)
{
	if (!bus_endpoint_valid(options->endpoint) || options->server_key == NULL ||
	    options->frame_max_bytes == 0) {
		return PR_EINVAL;
	}
	_cleanup_(bus_client_destroy) bus_client_t *client = calloc(1, sizeof(*client));
	if (client == NULL) {
		return PR_ENOMEM;
	}
	client->context = context;
	context->sockets++;
	(void)zmq_msg_init(&client->message);
	client->frame_max_bytes = options->frame_max_bytes;
	client->waits_for_wake = options->waits_for_wake;
	client->backoff = (struct pr_backoff){
		.first_ns = (uint64_t)bus_tunables.failed_retry_ms * PR_NS_PER_MS,
		.longest_ns = (uint64_t)bus_tunables.failed_retry_max_ms * PR_NS_PER_MS,
	};
	client->epoll_fd = -1;
	bus_client_wake(client);
	client->socket = zmq_socket(context->zmq, ZMQ_DEALER);
	if (client->socket == NULL) {
		return bus_zmq_error();
	}
	int ret = client_connect(client, options);
	if (ret == PR_OK) {
		ret = client_watch(client);
	}
	if (ret == PR_OK) {
		*ret_client = take_ptr(client);
	}
	return ret;
}

void bus_client_destroy(bus_client_t **client_p)
{
	bus_client_t *client = *client_p;
	if (client == NULL) {
		return;
	}
	(void)zmq_msg_close(&client->message);
	pr_fd_close(&client->epoll_fd);
	if (client->socket != NULL) {
		bus_monitor_close(client->socket, &client->monitor);
		(void)zmq_close(client->socket);
	}
	client->context->sockets--;
	free(client);
	*client_p = NULL;
}

int bus_client_fd(const bus_client_t *client)
{
	return client->epoll_fd;
}

void bus_client_wake(bus_client_t *client)
{
	client->frames_due = client->news_due = true;
}

void bus_client_leave(bus_client_t *client)
{
	if (client->waits_for_wake && client->frames_due) {
		client->frames_due = false;
		client->look_at_ns =
			pr_clock_monotonic_ns() + (uint64_t)bus_tunables.leave_ms * PR_NS_PER_MS;
	}
}

uint64_t bus_client_look_ns(const bus_client_t *client)
{
	return client->look_at_ns != 0 ? client->look_at_ns : UINT64_MAX;
}

/* What was left for later. */
static bool look_due(const bus_client_t *client)
{
	return client->look_at_ns != 0 && pr_clock_monotonic_ns() >= client->look_at_ns;
}

bool bus_client_due(const bus_client_t *client)
{
	return client->frames_due || client->news_due || look_due(client);
}

/* Connect again when it is time. */
static void away_end(bus_client_t *client)
{
	if (!client->away || pr_clock_monotonic_ns() < client->retry_at_ns) {
		return;
	}
	/* What the monitor still says is of the connection that was given up. */
	while (bus_monitor_next(client->monitor) != BUS_MONITOR_NONE) {
	}
	client->told_no = client->away = false;
	if (zmq_connect(client->socket, client->endpoint) != 0) {
		client->away = true;
		client->retry_at_ns = pr_clock_monotonic_ns() +
		                      (uint64_t)bus_tunables.refused_retry_ms * PR_NS_PER_MS;
	}
}

/*
 * The last handshake failed. After a plain refusal zmq would give up for ever, but a key can be
 * admitted later; after any other failure it would try again at once and as often as it fails, and
 * a server that is too slow for all who come would only get slower.
 */
static void away_begin(bus_client_t *client)
{
	uint64_t wait_ns = (uint64_t)bus_tunables.refused_retry_ms * PR_NS_PER_MS;

	if (!client->told_no) {
		wait_ns = pr_backoff_next_ns(&client->backoff, pr_backoff_chance());
	}
	(void)zmq_disconnect(client->socket, client->endpoint);
	client->failed = false;
	client->away = true;
	client->retry_at_ns = pr_clock_monotonic_ns() + wait_ns;
}

static void event_take(bus_client_t *client, enum bus_monitor_event event)
{
	switch (event) {
	case BUS_MONITOR_UP:
		client->link = BUS_LINK_UP;
		client->connection++;
		client->failed = client->told_no = false;
		pr_backoff_reset(&client->backoff);
		break;
	case BUS_MONITOR_REFUSED_AUTH:
	case BUS_MONITOR_REFUSED:
		client->link = BUS_LINK_REFUSED;
		client->failed = true;
		client->told_no = client->told_no || event == BUS_MONITOR_REFUSED_AUTH;
		break;
	default:
		/* The end of a refused connection says nothing new. */
		if (client->link == BUS_LINK_UP) {
			client->link = BUS_LINK_CONNECTING;
		}
		break;
	}
}

enum bus_link bus_client_link(bus_client_t *client)
{
	enum bus_monitor_event event;

	if (client->waits_for_wake && client->frames_due) {
		return client->link;
	}
	while (client->news_due &&
	       (event = bus_monitor_next(client->monitor)) != BUS_MONITOR_NONE) {
		/* A connection that is given up may come to stand all the same: it counts not. */
		if (!client->away) {
			event_take(client, event);
		}
	}
	if (client->failed) {
		away_begin(client);
	}
	client->news_due = !client->waits_for_wake;
	away_end(client);
	return client->link;
}

uint64_t bus_client_connection(const bus_client_t *client)
{
	return client->connection;
}

/* zmq gives the parts of one message together: the rest of a multi-part one is here already. */
static int message_receive(bus_client_t *client)
{
	bool whole = true;

	do {
		int got = zmq_msg_recv(&client->message, client->socket, ZMQ_DONTWAIT);
		if (got < 0 && zmq_errno() == EINTR) {
			continue;
		}
		if (got < 0) {
			return bus_zmq_error();
		}
		whole = whole && !zmq_msg_more(&client->message);
	} while (zmq_msg_more(&client->message));
	return whole && zmq_msg_size(&client->message) <= client->frame_max_bytes ? PR_OK
	                                                                          : PR_EMALF;
}

int bus_client_receive(bus_client_t *client, const uint8_t **ret_data, size_t *ret_bytes)
{
	int ret;

	(void)bus_client_link(client);
	if (!client->frames_due && !look_due(client)) {
		return PR_EAGAIN;
	}
	client->look_at_ns = 0;
	do {
		ret = message_receive(client);
	} while (ret == PR_EMALF);
	if (client->waits_for_wake) {
		client->frames_due = ret == PR_OK;
		client->news_due = client->news_due && ret != PR_OK && !client->frames_came;
		client->frames_came = ret == PR_OK;
	}
	if (ret == PR_OK) {
		*ret_data = zmq_msg_data(&client->message);
		*ret_bytes = zmq_msg_size(&client->message);
	}
	return ret;
}

int bus_client_send(bus_client_t *client, const void *data, size_t size_bytes)
{
	if (size_bytes > client->frame_max_bytes) {
		return PR_ETOOBIG;
	}
	if (bus_client_link(client) != BUS_LINK_UP) {
		return PR_EAGAIN;
	}
	/* A send takes the wake-up of a frame with it. */
	client->frames_due = true;
	if (zmq_send(client->socket, data, size_bytes, ZMQ_DONTWAIT) < 0) {
		return bus_zmq_error();
	}
	return PR_OK;
}

static bool frame_waits(bus_client_t *client)
{
	int events = 0;
	size_t size_bytes = sizeof(events);

	return zmq_getsockopt(client->socket, ZMQ_EVENTS, &events, &size_bytes) == 0 &&
	       (events & ZMQ_POLLIN) != 0;
}

int bus_client_wait(bus_client_t *client, int timeout_ms)
{
	uint64_t end_ns = pr_clock_monotonic_ns() + (uint64_t)timeout_ms * PR_NS_PER_MS;

	for (;;) {
		if (frame_waits(client)) {
			return PR_OK;
		}
		(void)bus_client_link(client);
		if (client->told_no) {
			return PR_EPERM;
		}
		uint64_t now_ns = pr_clock_monotonic_ns();
		if (now_ns >= end_ns) {
			return PR_ETIMEOUT;
		}
		uint64_t until_ns = end_ns;
		if (client->away && client->retry_at_ns < end_ns) {
			until_ns = client->retry_at_ns > now_ns ? client->retry_at_ns : now_ns;
		}
		zmq_pollitem_t items[] = {
			{ .socket = client->socket, .events = ZMQ_POLLIN },
			{ .socket = client->monitor, .events = ZMQ_POLLIN },
		};
		(void)zmq_poll(items, PR_ARRAY_LEN(items),
		               (long)((until_ns - now_ns) / PR_NS_PER_MS) + 1);
	}
}
