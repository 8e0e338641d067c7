/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/** @file Random policies and requests drawn from the same small pools of values. For tests. */

#include "policy/policy.h"

#define CASES_ENDPOINTS 12
#define CASES_NOW_NS    1800000000000000000ULL /* 2027-01-15 */

/** Part of every policy: members by name, by number, shared with another, none. */
#define CASES_USERGROUPS                        \
	"usergroup staff member ana, 1001\n"    \
	"usergroup daemons member 33,999\n"     \
	"usergroup both member ana, carl, 33\n" \
	"usergroup noone\n"                     \
	"usergroup staff member bob\n"

struct cases_random {
	uint64_t state; /* not 0 */
};

uint32_t cases_random_below(struct cases_random *random, uint32_t bound);

/** The endpoints that requests come from and go to. */
const struct policy_endpoint *cases_endpoints(void);

/** A policy text of @p rules rules. Caller frees. */
char *cases_policy(struct cases_random *random, unsigned rules);

/** Another value for one field, and for its knowledge; _POLICY_FIELD_MAX is the time. */
void cases_vary(struct cases_random *random, unsigned field, struct policy_request *request,
                uint64_t *now_wall_ns);

/** A request, all fields drawn. */
void cases_request(struct cases_random *random, struct policy_request *request,
                   uint64_t *now_wall_ns);

/** Do two verdicts agree in everything but `depends`? */
bool cases_same(const struct policy_verdict *a, const struct policy_verdict *b);

/** Do they agree in all? */
bool cases_identical(const struct policy_verdict *a, const struct policy_verdict *b);
