/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/defs.h"
#include "bench/traffic.h"

#define IN_FLIGHT_MAX 1024
#define DRAIN_NS      (8 * PR_NS_PER_S)
#define EVENTS        64

#ifndef IP_BIND_ADDRESS_NO_PORT
#define IP_BIND_ADDRESS_NO_PORT 24
#endif

/* ---- histogram ---- */

static unsigned bucket_of(uint64_t value_ns)
{
	if (value_ns < 2 * TRAFFIC_SLOTS) {
		return (unsigned)value_ns;
	}
	unsigned shift = 63 - (unsigned)__builtin_clzll(value_ns) - 6;
	unsigned bucket =
		(shift + 1) * TRAFFIC_SLOTS + (unsigned)(value_ns >> shift) - TRAFFIC_SLOTS;
	return bucket < TRAFFIC_BUCKETS ? bucket : TRAFFIC_BUCKETS - 1;
}

static double bucket_middle(unsigned bucket)
{
	if (bucket < 2 * TRAFFIC_SLOTS) {
		return bucket;
	}
	unsigned shift = bucket / TRAFFIC_SLOTS - 1;
	return (double)((uint64_t)(bucket % TRAFFIC_SLOTS + TRAFFIC_SLOTS) << shift) +
	       (double)(1ULL << shift) / 2;
}

void traffic_histogram_add(struct traffic_histogram *histogram, uint64_t value_ns)
{
	histogram->buckets[bucket_of(value_ns)]++;
	histogram->count++;
}

void traffic_histogram_merge(struct traffic_histogram *into, const struct traffic_histogram *from)
{
	for (unsigned i = 0; i < TRAFFIC_BUCKETS; i++) {
		into->buckets[i] += from->buckets[i];
	}
	into->count += from->count;
}

double traffic_histogram_us(const struct traffic_histogram *histogram, double share)
{
	uint64_t wanted = (uint64_t)(share * (double)histogram->count), seen = 0;

	for (unsigned i = 0; i < TRAFFIC_BUCKETS; i++) {
		seen += histogram->buckets[i];
		if (seen > wanted) {
			return bucket_middle(i) / 1e3;
		}
	}
	return 0;
}

/* ---- client ---- */

struct attempt {
	int fd; /* -1: free */
	uint64_t start_ns;
};

struct client {
	const struct traffic_plan *plan;
	struct traffic_result *result;
	struct attempt attempts[IN_FLIGHT_MAX];
	int epoll_fd;
	unsigned open;
	uint32_t source_first; /* host order */
	uint64_t begun;
	struct sockaddr_in to;
};

static int socket_make(const struct client *client)
{
	static const struct linger reset = { .l_onoff = 1 };
	static const int on = 1;
	struct sockaddr_in from = { .sin_family = AF_INET };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0) {
		return -1;
	}
	(void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	(void)setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
	from.sin_addr.s_addr =
		htonl(client->source_first + (uint32_t)(client->begun % client->plan->sources));
	if (bind(fd, (const struct sockaddr *)&from, sizeof(from)) != 0) {
		(void)close(fd);
		return -1;
	}
	return fd;
}

static void attempt_end(struct client *client, struct attempt *attempt, bool good)
{
	uint64_t took_ns = pr_clock_monotonic_ns() - attempt->start_ns;

	(void)close(attempt->fd);
	attempt->fd = -1;
	client->open--;
	client->result->failed += !good;
	if (good) {
		client->result->made++;
		client->result->steps += took_ns >= TRAFFIC_STEP_NS;
		traffic_histogram_add(&client->result->latency, took_ns);
	}
}

static void attempt_begin(struct client *client, unsigned index)
{
	struct attempt *attempt = &client->attempts[index];
	struct epoll_event wanted = { .events = EPOLLOUT, .data.u32 = index };
	int fd = socket_make(client);

	if (fd < 0) {
		client->result->failed++;
		return;
	}
	client->begun++;
	client->open++;
	*attempt = (struct attempt){ .fd = fd, .start_ns = pr_clock_monotonic_ns() };
	if (connect(fd, (const struct sockaddr *)&client->to, sizeof(client->to)) == 0) {
		attempt_end(client, attempt, true);
	} else if (errno != EINPROGRESS ||
	           epoll_ctl(client->epoll_fd, EPOLL_CTL_ADD, fd, &wanted) != 0) {
		attempt_end(client, attempt, false);
	}
}

static void attempts_wait(struct client *client)
{
	struct epoll_event events[EVENTS];
	int count = epoll_wait(client->epoll_fd, events, EVENTS, 100);

	for (int i = 0; i < count; i++) {
		struct attempt *attempt = &client->attempts[events[i].data.u32];
		int error = 0;
		socklen_t size = sizeof(error);
		if (attempt->fd >= 0) {
			(void)getsockopt(attempt->fd, SOL_SOCKET, SO_ERROR, &error, &size);
			attempt_end(client, attempt, error == 0);
		}
	}
}

static void client_run(struct client *client)
{
	const struct traffic_plan *plan = client->plan;
	uint64_t start_ns = pr_clock_monotonic_ns(), now_ns = start_ns;

	while (now_ns - start_ns < plan->duration_ns) {
		for (unsigned i = 0; i < plan->in_flight; i++) {
			if (client->attempts[i].fd < 0) {
				attempt_begin(client, i);
			}
		}
		attempts_wait(client);
		now_ns = pr_clock_monotonic_ns();
	}
	client->result->elapsed_ns = now_ns - start_ns;
	client->result->made_in_time = client->result->made;
	while (client->open > 0 && pr_clock_monotonic_ns() - now_ns < DRAIN_NS) {
		attempts_wait(client);
	}
	client->result->failed += client->open; /* no answer is no connection */
}

void traffic_client(const void *plan, int fd)
{
	struct client *client = calloc(1, sizeof(*client));
	struct traffic_result *result = calloc(1, sizeof(*result));
	struct in_addr source;

	if (client == NULL || result == NULL) {
		return;
	}
	client->plan = plan;
	client->result = result;
	client->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	client->to = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons(TRAFFIC_PORT) };
	if (client->epoll_fd < 0 || client->plan->in_flight > IN_FLIGHT_MAX ||
	    inet_pton(AF_INET, client->plan->server, &client->to.sin_addr) != 1 ||
	    inet_pton(AF_INET, client->plan->source, &source) != 1) {
		return;
	}
	client->source_first = ntohl(source.s_addr);
	for (unsigned i = 0; i < IN_FLIGHT_MAX; i++) {
		client->attempts[i].fd = -1;
	}
	client_run(client);
	(void)!write(fd, result, sizeof(*result));
}

/* ---- server ---- */

void traffic_server(const void *plan, int fd)
{
	static const int on = 1;
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(TRAFFIC_PORT) };
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)plan;
	(void)setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (listener < 0 ||
	    bind(listener, (const struct sockaddr *)&address, sizeof(address)) != 0 ||
	    listen(listener, 16384) != 0 || write(fd, "r", 1) != 1) {
		return;
	}
	for (;;) {
		int accepted = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
		if (accepted >= 0) {
			(void)close(accepted);
		}
	}
}
