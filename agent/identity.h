/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/**
 * @file
 * Who this agent is and whom it trusts: its Curve key and UUID (`agent.key` in the state
 * directory), and what enrolment told it (`joined.conf`), which the configuration may override.
 */

#include <stddef.h>

#include "agent/config.h"
#include "agent/speaker/speaker.h"
#include "base/defs.h"
#include "bus/bus.h"

#define AGENT_CONTROLLERS_MAX 8

struct agent_identity {
	struct pr_uuid id;
	struct bus_key key;
	uint8_t authority_key[BUS_KEY_BYTES];
	struct speaker_service controllers[AGENT_CONTROLLERS_MAX];
	size_t controller_count;
};

/** What was wrong, ready to print. */
struct agent_problem {
	char text[512];
};

/** Make the state directory, or check that it is a folder of ours that nobody else may enter. */
int agent_state_directory(const struct agent_config *config,
                          struct agent_problem *ret_problem) _must_check_;

/**
 * Load key, controllers and authority key.
 * @retval PR_EKEYFILE  The key is missing or too open.
 * @retval PR_ENOENT    Not enrolled yet.
 * @retval PR_ECONF     A controller line or the authority key is malformed.
 */
int agent_identity_load(const struct agent_config *config, struct agent_identity *ret_identity,
                        struct agent_problem *ret_problem) _must_check_;
/** Forget the secret key. */
void agent_identity_wipe(struct agent_identity *identity);

/**
 * First start: make a key if there is none, spend the token, write down what the controller said.
 *
 * @param token   Its text, or "-": a line of standard input.
 * @retval PR_OK  Enrolled; @p ret_pending says whether somebody has to approve it first. An agent
 *                that has joined already stays as it is and spends no token.
 */
int agent_enroll(const struct agent_config *config, const char *token, bool *ret_pending,
                 struct agent_problem *ret_problem) _must_check_;

/** Name of this host: configured, else the system's. */
void agent_name(const struct agent_config *config, char *name, size_t size_bytes);
