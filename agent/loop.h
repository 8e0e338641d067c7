/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/** @file The agent as its two halves see it: agent.c makes and joins the parts, loop.c turns them.
 */

#include "agent/agent.h"
#include "agent/book.h"
#include "agent/cpus.h"
#include "agent/gate/gate.h"
#include "agent/inventory/inventory.h"
#include "agent/keeper/owner.h"
#include "agent/keeper/thread.h"
#include "agent/opener.h"
#include "agent/outbox.h"
#include "agent/reach.h"
#include "agent/speaker/speaker.h"
#include "agent/timer.h"

struct agent {
	const struct agent_config *config;
	struct agent_identity identity;
	bus_context_t *context;
	speaker_t *speaker;
	gate_kernel_real_t *kernel;
	gate_t *gate;
	opener_t *opener; /* NULL: eBPF is off */
	origin_t *origin; /* NULL: off, not yet there, or refused: origin_why */
	char origin_why[ORIGIN_WHY_BYTES];
	owner_t *owner;
	keeper_thread_t *keeper;
	outbox_t *orders; /* those that the keeper could not take yet */
	inventory_t *inventory;
	book_t *book;
	struct part_counters kernel_counters[PART_NAMESPACE_MAX];
	struct reach reach;
	struct codec_verdict *verdicts; /* come in while the speaker turns, for the gate after it */
	size_t verdict_count;
	uint64_t revision; /* logged last, once revision_said */
	bool revision_said;
	int signal_fd, epoll_fd;
	struct loop_timer timer;
	cpus_t *cpus; /* NULL: the kernel places the threads */
	bool stop_asked, keeper_stopped;
};

/* ---- agent.c ---- */

/** An order for the keeper; it waits in the outbox while the keeper is busy. */
void agent_order_give(void *context, const struct part_order *order);
/** Give keeper and gate the lifeline that holds now. */
void agent_lifeline_order(agent_t *agent);
/** From now on attribution asks it first; NULL: it is not to be had, because of @p why. */
void agent_origin_set(agent_t *agent, origin_t *origin, const char *why);
/** Facts for `portreeve status`; counters.c. @p context is the agent. */
void agent_counters_add(void *context, codec_doc_t *doc);
/** Log that workers answer, or no longer do. */
void agent_reach_say(enum reach_news news);

/* ---- loop.c ---- */

int agent_loop_open(agent_t *agent) _must_check_;
