/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/**
 * @file
 * A second evaluator, for tests: straight from the model, rule by rule, clause by clause, no
 * bitsets, no tables. Shares with the product only the text parser and the globs.
 */

#include "policy/policy.h"

struct naive {
	const policy_model_t *model;
	const struct policy_endpoint *endpoints;
	size_t endpoint_count;
	bool *membership; /* group * endpoint_count + endpoint */
};

void naive_init(struct naive *naive, const policy_model_t *model,
                const struct policy_endpoint *endpoints, size_t endpoint_count);
void naive_done(struct naive *naive);

/** Fills all but `depends`. */
void naive_evaluate(const struct naive *naive, const struct policy_request *request,
                    uint64_t now_wall_ns, uint64_t revision, struct policy_verdict *verdict);
