/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The tests that a policy carries, run against the endpoints of now. */
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controller/internal.h"
#include "policy/expect.h"

#define NAME_MAX_BYTES 96

struct told {
	struct call *call;
	const struct policy_endpoint *endpoints;
	size_t count;
};

/* "web_1", or "anybody else" where the line itself says who. */
static void name_of(const struct told *told, const struct pr_uuid *id,
                    const struct policy_operand *operand, char name[static NAME_MAX_BYTES])
{
	if (pr_uuid_is_null(id)) {
		if (policy_operand_format(operand, name, NAME_MAX_BYTES) < 0) {
			name[0] = '\0';
		}
		return;
	}
	for (size_t i = 0; i < told->count; i++) {
		if (pr_uuid_equal(&told->endpoints[i].id, id) && told->endpoints[i].name != NULL) {
			(void)snprintf(name, NAME_MAX_BYTES, "%.64s", told->endpoints[i].name);
			return;
		}
	}
	(void)pr_uuid_format(id, name);
}

static void outcome_format(const struct policy_expect_failure *failure, char *text,
                           size_t size_bytes)
{
	const char *what = failure->outcome == POLICY_EXPECT_ALLOWED ? "allowed" : "denied";

	if (failure->outcome == POLICY_EXPECT_OPEN) {
		(void)snprintf(text, size_bytes,
		               "it depends on a user, process, source or port that the line does "
		               "not name");
	} else if (failure->rule == 0) {
		(void)snprintf(text, size_bytes, "%s: no rule matches", what);
	} else {
		(void)snprintf(text, size_bytes, "%s by rule %u", what, failure->rule);
	}
}

static void failure_tell(void *arg, const struct policy_expect_failure *failure)
{
	const struct told *told = arg;
	char from[NAME_MAX_BYTES], to[NAME_MAX_BYTES], outcome[128];
	const char *proto = failure->proto == IPPROTO_TCP   ? "tcp"
	                    : failure->proto == IPPROTO_UDP ? "udp"
	                                                    : "protocol";

	name_of(told, &failure->source, &failure->expect->source, from);
	name_of(told, &failure->destination, &failure->expect->destination, to);
	outcome_format(failure, outcome, sizeof(outcome));
	call_detail(told->call, "%u:1: expected %s; from %s to %s %s/%u: %s", failure->line,
	            failure->expect->allow ? "allow" : "deny", from, to, proto,
	            *proto == 'p' ? failure->proto : failure->port, outcome);
}

int admin_policy_expect(struct call *call, const policy_model_t *model, const policy_image_t *image,
                        const struct policy_endpoint *endpoints, size_t count,
                        struct policy_expect_result *ret_result)
{
	struct told told = { .call = call, .endpoints = endpoints, .count = count };

	int ret = policy_expect_run(model, image, endpoints, count, call->admin->now_wall_ns,
	                            failure_tell, &told, ret_result);
	if (ret == PR_ETOOBIG) {
		return call_fail(call, ret,
		                 "the expect lines make more than %u combinations of endpoints and "
		                 "ports: name smaller groups or ranges; nothing was changed",
		                 POLICY_EXPECT_TRIES_MAX);
	}
	if (ret == PR_OK && ret_result->failed > 0) {
		return call_fail(
			call, PR_EPOLICY, "%zu of %zu expect lines fail%s, nothing was changed",
			ret_result->failed, ret_result->lines, ret_result->failed == 1 ? "s" : "");
	}
	return ret;
}
