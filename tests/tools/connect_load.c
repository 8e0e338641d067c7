/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A server that accepts and holds, and a client that opens connections on a fixed schedule (open
 * loop: a slow connection does not delay the next) and keeps its own log: the judge of tests that
 * ask whether a connection was delayed, lost or wrongly attributed.
 *
 *   connect_load server ADDRESS PORT
 *   connect_load client ADDRESS PORT[-LAST] RATE SECONDS HOLD_MS [LOGFILE]
 *
 * With PORT-LAST the connections go to these ports in turn: the flow key, and with it the worker,
 * changes from one to the next.
 *
 * The client prints one line: made, failed, p50_us, p99_us, max_us. LOGFILE gets a line for each
 * connection: sequence, local port, start (wall ns), latency (us, -1 failed), pid.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/addr.h"
#include "base/clock.h"
#include "base/defs.h"
#include "base/err.h"

#define OPEN_MAX_COUNT 16384
#define FAIL_AFTER_NS  (20 * PR_NS_PER_S)

struct connection {
	int fd;
	bool connected;
	uint64_t start_ns, start_wall_ns, close_ns;
	int64_t latency_us; /* -1: failed */
	uint16_t port;
};

struct client {
	struct sockaddr_storage to;
	socklen_t to_bytes;
	unsigned port, ports; /* first, count */
	uint64_t interval_ns, hold_ns;
	struct connection *all;
	size_t count, made; /* planned, started */
	size_t first_open;  /* all before are closed */
	int epoll_fd;
};

static socklen_t address_parse(const char *text, const char *port, struct sockaddr_storage *to)
{
	struct pr_addr addr;
	memset(to, 0, sizeof(*to));
	if (pr_addr_parse(text, &addr) != PR_OK) {
		return 0;
	}
	if (pr_addr_is_v4(&addr)) {
		struct sockaddr_in *four = (struct sockaddr_in *)to;
		four->sin_family = AF_INET;
		four->sin_port = htons((uint16_t)strtoul(port, NULL, 10));
		four->sin_addr.s_addr = pr_addr_to_v4(&addr);
		return sizeof(*four);
	}
	struct sockaddr_in6 *six = (struct sockaddr_in6 *)to;
	six->sin6_family = AF_INET6;
	six->sin6_port = htons((uint16_t)strtoul(port, NULL, 10));
	memcpy(&six->sin6_addr, addr.bytes, sizeof(addr.bytes));
	return sizeof(*six);
}

static int server_run(const struct sockaddr_storage *at, socklen_t at_bytes)
{
	int one = 1;
	char drain[256];
	int fd = socket(at->ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	struct epoll_event listening = { .events = EPOLLIN, .data.fd = fd };
	if (bind(fd, (const struct sockaddr *)at, at_bytes) != 0 || listen(fd, 4096) != 0 ||
	    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &listening) != 0) {
		perror("connect_load server");
		return 1;
	}
	puts("listening");
	for (;;) {
		struct epoll_event events[256];
		int count = epoll_wait(epoll_fd, events, 256, -1);
		for (int i = 0; i < count; i++) {
			int ready = events[i].data.fd;
			if (ready != fd) {
				if (read(ready, drain, sizeof(drain)) <= 0) {
					(void)close(ready);
				}
				continue;
			}
			int peer;
			while ((peer = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >=
			       0) {
				struct epoll_event event = { .events = EPOLLIN, .data.fd = peer };
				(void)epoll_ctl(epoll_fd, EPOLL_CTL_ADD, peer, &event);
			}
		}
	}
}

static void connection_end(struct connection *connection, int64_t latency_us)
{
	/* A reset leaves no TIME_WAIT behind: ports do not run out. */
	struct linger now = { .l_onoff = 1, .l_linger = 0 };
	(void)setsockopt(connection->fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	pr_fd_close(&connection->fd);
	connection->latency_us = latency_us;
}

static void connection_connected(struct client *client, struct connection *connection)
{
	int error = 0;
	socklen_t size = sizeof(error);
	uint64_t now_ns = pr_clock_monotonic_ns();
	(void)getsockopt(connection->fd, SOL_SOCKET, SO_ERROR, &error, &size);
	if (error != 0) {
		connection_end(connection, -1);
		return;
	}
	(void)epoll_ctl(client->epoll_fd, EPOLL_CTL_DEL, connection->fd, NULL);
	connection->connected = true;
	connection->latency_us = (int64_t)((now_ns - connection->start_ns) / PR_NS_PER_US);
	connection->close_ns = now_ns + client->hold_ns;
}

static void port_set(struct sockaddr_storage *to, unsigned port)
{
	if (to->ss_family == AF_INET) {
		((struct sockaddr_in *)to)->sin_port = htons((uint16_t)port);
	} else {
		((struct sockaddr_in6 *)to)->sin6_port = htons((uint16_t)port);
	}
}

static void connection_start(struct client *client)
{
	struct sockaddr_storage own, to = client->to;
	socklen_t own_bytes = sizeof(own);
	size_t index = client->made++;
	port_set(&to, client->port + (unsigned)(index % client->ports));
	struct connection *connection = &client->all[index];

	connection->latency_us = -1;
	connection->fd =
		socket(client->to.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	connection->start_ns = pr_clock_monotonic_ns();
	connection->start_wall_ns = pr_clock_wall_ns();
	connection->close_ns = connection->start_ns + FAIL_AFTER_NS;
	if (connection->fd < 0) {
		return;
	}
	int ret = connect(connection->fd, (struct sockaddr *)&to, client->to_bytes);
	if (ret != 0 && errno != EINPROGRESS) {
		connection_end(connection, -1);
		return;
	}
	(void)getsockname(connection->fd, (struct sockaddr *)&own, &own_bytes);
	connection->port =
		ntohs(own.ss_family == AF_INET ? ((struct sockaddr_in *)&own)->sin_port
	                                       : ((struct sockaddr_in6 *)&own)->sin6_port);
	struct epoll_event event = { .events = EPOLLOUT, .data.u64 = index };
	(void)epoll_ctl(client->epoll_fd, EPOLL_CTL_ADD, connection->fd, &event);
}

static void connections_close_due(struct client *client, uint64_t now_ns)
{
	for (size_t i = client->first_open; i < client->made; i++) {
		struct connection *connection = &client->all[i];
		if (connection->fd >= 0 && connection->close_ns <= now_ns) {
			connection_end(connection,
			               connection->connected ? connection->latency_us : -1);
		}
	}
	while (client->first_open < client->made && client->all[client->first_open].fd < 0) {
		client->first_open++;
	}
}

static void client_run(struct client *client)
{
	uint64_t next_ns = pr_clock_monotonic_ns();
	while (client->first_open < client->count) {
		uint64_t now_ns = pr_clock_monotonic_ns();
		while (client->made < client->count && next_ns <= now_ns &&
		       client->made - client->first_open < OPEN_MAX_COUNT) {
			connection_start(client);
			next_ns += client->interval_ns;
		}
		connections_close_due(client, now_ns);
		struct epoll_event events[256];
		int count = epoll_wait(client->epoll_fd, events, 256, 1);
		for (int i = 0; i < count; i++) {
			connection_connected(client, &client->all[events[i].data.u64]);
		}
	}
}

static int latency_order(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
	return x < y ? -1 : x > y;
}

static int client_report(const struct client *client, const char *log_path)
{
	size_t good = 0;
	int64_t *latencies = calloc(client->count + 1, sizeof(*latencies));
	FILE *log = log_path != NULL ? fopen(log_path, "we") : NULL;
	if (latencies == NULL || (log_path != NULL && log == NULL)) {
		perror("connect_load client");
		free(latencies);
		return 1;
	}
	for (size_t i = 0; i < client->count; i++) {
		const struct connection *connection = &client->all[i];
		if (connection->latency_us >= 0) {
			latencies[good++] = connection->latency_us;
		}
		if (log != NULL) {
			(void)fprintf(log, "%zu %u %llu %lld %d\n", i, connection->port,
			              (unsigned long long)connection->start_wall_ns,
			              (long long)connection->latency_us, (int)getpid());
		}
	}
	qsort(latencies, good, sizeof(*latencies), latency_order);
	printf("made %zu failed %zu p50_us %lld p99_us %lld max_us %lld\n", client->count,
	       client->count - good, good > 0 ? (long long)latencies[good / 2] : -1LL,
	       good > 0 ? (long long)latencies[good * 99 / 100] : -1LL,
	       good > 0 ? (long long)latencies[good - 1] : -1LL);
	if (log != NULL) {
		(void)fclose(log);
	}
	free(latencies);
	return 0;
}

int main(int argc, char **argv)
{
	struct client client = { 0 };
	bool serve = argc == 4 && strcmp(argv[1], "server") == 0;
	if (!serve && (argc < 7 || argc > 8 || strcmp(argv[1], "client") != 0)) {
		fputs("usage: connect_load server ADDRESS PORT\n"
		      "       connect_load client ADDRESS PORT[-LAST] RATE SECONDS HOLD_MS "
		      "[LOGFILE]\n",
		      stderr);
		return 2;
	}
	client.to_bytes = address_parse(argv[2], argv[3], &client.to);
	if (client.to_bytes == 0) {
		(void)fprintf(stderr, "connect_load: '%s' is not an address\n", argv[2]);
		return 2;
	}
	(void)setvbuf(stdout, NULL, _IOLBF, 0);
	if (serve) {
		return server_run(&client.to, client.to_bytes);
	}
	unsigned long rate = strtoul(argv[4], NULL, 10), seconds = strtoul(argv[5], NULL, 10);
	if (rate == 0 || rate > 100000 || seconds == 0 || seconds > 3600) {
		fputs("connect_load: rate 1..100000, seconds 1..3600\n", stderr);
		return 2;
	}
	const char *last = strchr(argv[3], '-');
	client.port = (unsigned)strtoul(argv[3], NULL, 10);
	client.ports = last != NULL ? (unsigned)strtoul(last + 1, NULL, 10) - client.port + 1 : 1;
	if (client.port == 0 || client.ports == 0 || client.port + client.ports > 65536) {
		fputs("connect_load: ports 1..65535, the last not below the first\n", stderr);
		return 2;
	}
	client.interval_ns = PR_NS_PER_S / rate;
	client.hold_ns = strtoul(argv[6], NULL, 10) * PR_NS_PER_MS;
	client.count = rate * seconds;
	client.all = calloc(client.count, sizeof(*client.all));
	client.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (client.all == NULL || client.epoll_fd < 0) {
		perror("connect_load");
		return 1;
	}
	client_run(&client);
	int ret = client_report(&client, argc == 8 ? argv[7] : NULL);
	free(client.all);
	return ret;
}
