/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <arpa/inet.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
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
		owner_initiator(owner, 0, &flow, geteuid(), &found);
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
