/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/**
 * @file
 * The agent as a whole: its parts, and the loop that joins them.
 *
 * Threads: agent_new() starts the keeper's, the inventory's and zmq's; everything else runs in the
 * caller's. Signals must be blocked before.
 */

#include "agent/config.h"
#include "agent/identity.h"
#include "base/defs.h"

typedef struct agent agent_t;

/**
 * Open everything; nothing waits for the network.
 *
 * @param config     Borrowed for good.
 * @param identity   Copied.
 * @param signal_fd  From pr_program_signals(); borrowed.
 */
int agent_new(const struct agent_config *config, const struct agent_identity *identity,
              int signal_fd, agent_t **ret_agent, struct agent_problem *ret_problem) _must_check_;
/** Held packets are denied, rules stay. */
void agent_destroy(agent_t **agent_p);

/**
 * Run until SIGTERM or SIGINT. Then rules of namespaces in observe are removed; those in enforce
 * stay: without an agent, new connections there drop.
 * @retval PR_OK  Told to stop.
 */
int agent_run(agent_t *agent) _must_check_;
