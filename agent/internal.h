/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/** @file Shared by the joining code in agent/ alone. */

#include "agent/config.h"
#include "agent/identity.h"
#include "base/defs.h"

#define AGENT_PATH_BYTES  512
#define AGENT_KEY_FILE    "agent.key"
#define AGENT_JOINED_FILE "joined.conf"

/** Fill a problem's text; returns @p err. */
int agent_fail(struct agent_problem *problem, int err, const char *format, ...) _printf_(3, 4);

/** A file of the state directory. */
void agent_path(const struct agent_config *config, const char *name,
                char path[static AGENT_PATH_BYTES]);

/**
 * Keep the capabilities that keeper and gate need, in the bounding set too, and no_new_privs. Call
 * before any thread exists. Every failing step is an error.
 */
int agent_privilege_drop(struct agent_problem *ret_problem) _must_check_;

/** Take every rule of ours out of this namespace and those of the engine's containers. */
int agent_rules_remove(const struct agent_config *config,
                       struct agent_problem *ret_problem) _must_check_;
