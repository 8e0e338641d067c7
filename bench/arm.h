/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/**
 * @file
 * The arms of the connection benches: the same client, server and veth pair, each with another
 * firewall in the way. Every arm has two namespaces of its own, cN and sN, and 10.77.N.0/24 between
 * them; all stand at once, so that rounds can change from one to the next without a pause.
 */

#include "bench/bench.h"
#include "bench/deploy.h"
#include "bench/stage.h"
#include "bench/traffic.h"

enum arm_kind {
	ARM_NONE,       /* no firewall, no rule */
	ARM_ACCEPT_ALL, /* accept.h, one receive and one verdict a packet */
	ARM_BATCHED,    /* accept.h, batched, two queues by CPU */
	ARM_OPENSNITCH, /* Debian's package, method proc, a rule of its own that allows */
	ARM_PORTREEVE,
};

struct arm {
	const char *name;
	enum arm_kind kind;
	bool pair; /* the server's INPUT is held, too */
	unsigned number;
	char client[STAGE_LABEL_BYTES], server[STAGE_LABEL_BYTES];
	pid_t server_process;
	const char *settings; /* more lines for the agent's configuration; NULL: as shipped */
};

/** Namespaces, server, firewall. @p deploy is for ARM_PORTREEVE. PR_ENOENT: no such peer here. */
int arm_open(stage_t *stage, struct deploy *deploy, struct arm *arm) _must_check_;

struct arm_figures {
	double rate, p50_us, p99_us, cpu_us;
	uint64_t made, failed, steps;
};

/** One run of an arm; figures are added to @p total as well (NULL: nobody adds). */
int arm_run(stage_t *stage, const struct arm *arm, unsigned in_flight, uint64_t duration_ns,
            struct arm_figures *ret_figures, struct traffic_result *total) _must_check_;
