/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <arpa/inet.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "agent/keeper/owner.h"
#include "base/clock.h"
#include "base/err.h"
#include "bench/attribute.h"
#include "bench/traffic.h"
#include "codec/codec.h"

#define QUESTIONS 3000

static int connecting(const struct attribute_plan *plan, struct part_flow *ret_flow)
{
	static const struct linger reset = { .l_onoff = 1 };
	struct sockaddr_in from = { .sin_family = AF_INET };
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(TRAFFIC_PORT) };
	socklen_t size = sizeof(from);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0 || inet_pton(AF_INET, plan->source, &from.sin_addr) != 1 ||
	    inet_pton(AF_INET, plan->server, &to.sin_addr) != 1) {
		return -1;
	}
	(void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	(void)bind(fd, (const struct sockaddr *)&from, sizeof(from));
	(void)connect(fd, (const struct sockaddr *)&to, sizeof(to));
	(void)getsockname(fd, (struct sockaddr *)&from, &size);
	*ret_flow = (struct part_flow){ .proto = IPPROTO_TCP,
		                        .outbound = true,
		                        .src = pr_addr_from_v4(from.sin_addr.s_addr),
		                        .src_port = ntohs(from.sin_port),
		                        .dst = pr_addr_from_v4(to.sin_addr.s_addr),
		                        .dst_port = TRAFFIC_PORT };
	return fd;
}

static int place_open(origin_t *origin, owner_t **ret_owner)
{
	struct owner_config config;
	struct stat space;
	int diag = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);

	owner_config_default(&config);
	config.origin = origin;
	config.second_budget_ns = UINT64_MAX; /* the step is measured, not its bound */
	if (diag < 0 || stat("/proc/self/ns/net", &space) != 0) {
		return -errno;
	}
	int ret = owner_new(&config, ret_owner);
	return ret == PR_OK ? owner_namespace_add(*ret_owner, 0, space.st_ino, diag, 0) : ret;
}

void attribute_run(const void *plan, int fd)
{
	struct traffic_histogram *took = calloc(1, sizeof(*took));
	struct attribute_result result = { .asked = QUESTIONS };
	uint32_t uid = geteuid();
	const struct attribute_plan *how = plan;
	char why[ORIGIN_WHY_BYTES];
	origin_t *origin = NULL;
	owner_t *owner = NULL;

	result.by_ebpf = !how->fallback && origin_new(&origin, why) == PR_OK;
	if (took == NULL || place_open(origin, &owner) != PR_OK) {
		return;
	}
	for (unsigned i = 0; i < QUESTIONS; i++) {
		struct part_owner found;
		struct part_flow flow;
		int client = connecting(plan, &flow);
		if (client < 0) {
			return;
		}
		uint64_t start_ns = pr_clock_monotonic_ns();
		owner_begin(owner);
		owner_initiator(owner, 0, &flow, uid, &found);
		traffic_histogram_add(took, pr_clock_monotonic_ns() - start_ns);
		result.known += found.unknown == CODEC_UNKNOWN_NONE;
		(void)close(client);
	}
	result.p50_us = traffic_histogram_us(took, 0.5);
	(void)!write(fd, &result, sizeof(result));
	owner_destroy(&owner);
	origin_destroy(&origin);
	free(took);
}

/* ------------------------------------------------------------------------------------- batches */

#define BATCH   64
#define BATCHES 200

static uint64_t cpu_ns(void)
{
	struct timespec now;
	(void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (uint64_t)now.tv_sec * PR_NS_PER_S + (uint64_t)now.tv_nsec;
}

void attribute_batch_run(const void *plan, int fd)
{
	static const struct attribute_plan nowhere = { .server = "127.0.0.1",
		                                       .source = "127.0.0.1" };
	struct attribute_batch result = { 0 };
	char why[ORIGIN_WHY_BYTES];
	origin_t *origin = NULL;
	owner_t *owner = NULL;
	uint64_t took_ns = 0;
	uint32_t uid = geteuid();

	(void)plan;
	result.by_ebpf = origin_new(&origin, why) == PR_OK;
	if (place_open(origin, &owner) != PR_OK) {
		return;
	}
	for (unsigned i = 0; i < BATCHES; i++) {
		struct part_flow flows[BATCH];
		struct part_owner found;
		int clients[BATCH];
		for (unsigned j = 0; j < BATCH; j++) {
			clients[j] = connecting(&nowhere, &flows[j]);
		}
		uint64_t start_ns = cpu_ns();
		owner_begin(owner);
		for (unsigned j = 0; j < BATCH; j++) {
			owner_initiator(owner, 0, &flows[j], uid, &found);
		}
		took_ns += cpu_ns() - start_ns;
		for (unsigned j = 0; j < BATCH; j++) {
			(void)close(clients[j]);
		}
	}
	result.lookup_us = (double)took_ns / 1e3 / (BATCH * BATCHES);
	(void)!write(fd, &result, sizeof(result));
	owner_destroy(&owner);
	origin_destroy(&origin);
}

/* ------------------------------------------------------------------------------ the other end */

#define NEIGHBOURS 20

static int listening(struct sockaddr_in *ret_address)
{
	socklen_t size = sizeof(*ret_address);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	*ret_address = (struct sockaddr_in){ .sin_family = AF_INET,
		                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	if (bind(fd, (const struct sockaddr *)ret_address, size) != 0 || listen(fd, 16) != 0 ||
	    getsockname(fd, (struct sockaddr *)ret_address, &size) != 0) {
		return -1;
	}
	return fd;
}

static void neighbours_start(pid_t pids[static NEIGHBOURS])
{
	for (int i = 0; i < NEIGHBOURS; i++) {
		pids[i] = fork();
		if (pids[i] == 0) {
			(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
			for (;;) {
				(void)pause();
			}
		}
	}
}

static void neighbours_end(const pid_t pids[static NEIGHBOURS])
{
	for (int i = 0; i < NEIGHBOURS; i++) {
		(void)kill(pids[i], SIGKILL);
		(void)waitpid(pids[i], NULL, 0);
	}
}

/* us a connection, so many at a time. */
static double listener_us(owner_t *owner, const struct sockaddr_in *to, unsigned at_a_time,
                          struct attribute_listener *result)
{
	struct part_flow flow = { .proto = IPPROTO_TCP,
		                  .held = true,
		                  .src = pr_addr_from_v4(to->sin_addr.s_addr),
		                  .dst = pr_addr_from_v4(to->sin_addr.s_addr),
		                  .dst_port = ntohs(to->sin_port) };
	uint64_t start_ns = cpu_ns();

	for (unsigned i = 0; i < BATCH * BATCHES; i++) {
		struct part_owner found;
		flow.src_port = (uint16_t)(1024 + i);
		if (i % at_a_time == 0) {
			owner_begin(owner);
		}
		owner_listener(owner, 0, &flow, &found);
		result->asked++;
		result->known += found.unknown == CODEC_UNKNOWN_NONE;
	}
	return (double)(cpu_ns() - start_ns) / 1e3 / (BATCH * BATCHES);
}

void attribute_listener_run(const void *plan, int fd)
{
	const struct attribute_plan *how = plan;
	struct attribute_listener result = { 0 };
	char why[ORIGIN_WHY_BYTES];
	pid_t pids[NEIGHBOURS];
	origin_t *origin = NULL;
	owner_t *owner = NULL;
	struct sockaddr_in to;

	neighbours_start(pids);
	int server = listening(&to);
	bool ready = server >= 0 && (how->fallback || origin_new(&origin, why) == PR_OK) &&
	             place_open(origin, &owner) == PR_OK;
	if (ready) {
		result.batch_us = listener_us(owner, &to, BATCH, &result);
		result.single_us = listener_us(owner, &to, 1, &result);
		(void)!write(fd, &result, sizeof(result));
	}
	neighbours_end(pids);
	owner_destroy(&owner);
	origin_destroy(&origin);
}

/* ------------------------------------------------------------------------------ connect() itself
 */

#define CONNECTS 6000

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return x < y ? -1 : x > y;
}

/* The middle half: what interrupts it now and then is not its own. */
static double middle_us(uint64_t *took_ns)
{
	uint64_t sum_ns = 0;

	qsort(took_ns, CONNECTS, sizeof(*took_ns), compare);
	for (unsigned i = CONNECTS / 4; i < CONNECTS * 3 / 4; i++) {
		sum_ns += took_ns[i];
	}
	return (double)sum_ns / 1e3 / (CONNECTS / 2);
}

void attribute_connect_run(const void *plan, int fd)
{
	static const struct linger reset = { .l_onoff = 1 };
	const struct attribute_connect_plan *how = plan;
	uint64_t *took_ns = calloc(CONNECTS, sizeof(*took_ns));
	struct sockaddr_in to;
	char why[ORIGIN_WHY_BYTES];
	origin_t *origin = NULL;
	int server = listening(&to);
	uint64_t cookie;

	if (took_ns == NULL || server < 0 || (how->attached && origin_new(&origin, why) != PR_OK) ||
	    (how->watched && origin_watch(origin, server, &cookie) != PR_OK)) {
		return;
	}
	for (unsigned i = 0; i < CONNECTS; i++) {
		int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		(void)setsockopt(client, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
		uint64_t start_ns = pr_clock_monotonic_ns();
		(void)connect(client, (const struct sockaddr *)&to, sizeof(to));
		took_ns[i] = pr_clock_monotonic_ns() - start_ns;
		int other = accept4(server, NULL, NULL, SOCK_CLOEXEC);
		(void)close(client);
		(void)close(other);
	}
	double us = middle_us(took_ns);
	(void)!write(fd, &us, sizeof(us));
	origin_destroy(&origin);
	free(took_ns);
}
