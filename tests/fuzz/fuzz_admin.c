/* SPDX-License-Identifier: GPL-2.0-or-later */

/** @file Any bytes as a frame to the admin service: the first byte chooses who sends them. */

#include "tests/controller/harness.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes);

static const enum bus_role roles[] = {
	BUS_ROLE_ADMIN, BUS_ROLE_AGENT,    BUS_ROLE_ENROLLING,  BUS_ROLE_VIEWER,
	BUS_ROLE_AGENT, BUS_ROLE_RECORDER, BUS_ROLE_SUBSCRIBER, BUS_ROLE_WORKER,
};

/* Uses the harness's shared memory folder if there is one: each write is an fsync. */
static void start(void)
{
	pr_log_set_level(PR_LOG_ERROR);
	bench_start("mode observe default\ngroup web select name web*\n");
	(void)atexit(bench_stop);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes)
{
	if (bench.admin == NULL) {
		start();
	}
	if (size_bytes == 0) {
		return 0;
	}
	enum bus_role role = roles[data[0] % PR_ARRAY_LEN(roles)];
	struct bus_peer peer = { .id = id_of(bus_role_name(role)), .role = role };
	bench.now_ns += PR_NS_PER_MS;
	frame_from(&peer, data + 1, size_bytes - 1);
	tick();
	sent_clear();
	return 0;
}
