/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/**
 * @file
 * The tests that a policy carries: its `expect` lines, run against its own image.
 *
 * A line holds if what it says is so for every member of its groups, every port of its services,
 * and whoever the users and processes are that it does not name: those stay open, and a rule that
 * names one of them leaves the line open, which is a failure. `any` is whoever there is. An address
 * stands for somebody who is not enrolled. An endpoint is tested by who it is: rules on addresses
 * do not match it. Modes play no part: it is about what rules and default say.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "policy/policy.h"

/** Evaluations in one run: more than a second's worth is refused. */
#define POLICY_EXPECT_TRIES_MAX (1U << 20)

enum policy_expect_outcome {
	POLICY_EXPECT_ALLOWED,
	POLICY_EXPECT_DENIED,
	POLICY_EXPECT_OPEN, /* depends on something that the line does not name */
};

/** The first combination of a line that is not as expected. */
struct policy_expect_failure {
	uint32_t line; /* from 1 */
	const struct policy_expect *expect;
	enum policy_expect_outcome outcome;
	uint32_t rule;                      /* that decided; 0: default, or open */
	struct pr_uuid source, destination; /* all zero: not an endpoint */
	uint8_t proto;
	uint16_t port;
};

struct policy_expect_result {
	size_t lines, failed;
	size_t untried;         /* lines with a group or host that nobody is in now */
	uint32_t untried_first; /* line of the first of them */
};

/** Has the model any `expect` line? */
bool policy_expect_any(const policy_model_t *model);

/**
 * Run all lines.
 *
 * @param image      Compiled from @p model and @p endpoints.
 * @param endpoints  For `host NAME`.
 * @param visit      Called once for each line that fails.
 *
 * @retval PR_OK      Also if lines failed: see @p ret_result.
 * @retval PR_ETOOBIG More than POLICY_EXPECT_TRIES_MAX combinations.
 * @retval PR_ENOMEM
 */
int policy_expect_run(const policy_model_t *model, const policy_image_t *image,
                      const struct policy_endpoint *endpoints, size_t endpoint_count,
                      uint64_t now_wall_ns,
                      void (*visit)(void *arg, const struct policy_expect_failure *failure),
                      void *arg, struct policy_expect_result *ret_result) _must_check_;
