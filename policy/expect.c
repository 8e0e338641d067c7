/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "policy/expect.h"

#define ADDRESS_BITS 128

/* Who may stand at one end of a line. */
struct side {
	bool endpoints; /* ids; else what is set in the request's fields holds for all */
	struct pr_uuid *ids;
	size_t count;
};

struct run {
	const policy_model_t *model;
	const policy_image_t *image;
	const struct policy_endpoint *endpoints;
	size_t endpoint_count;
	uint64_t now_wall_ns;
	uint32_t tries_left;
	struct policy_request request;
	struct policy_expect_failure failure;
};

static void side_done(struct side *side)
{
	free(side->ids);
}

bool policy_expect_any(const policy_model_t *model)
{
	for (size_t i = 0; i < policy_model_line_count(model); i++) {
		if (policy_model_line(model, i)->kind == POLICY_LINE_EXPECT) {
			return true;
		}
	}
	return false;
}

static int members_take(const struct run *run, const char *group, struct side *side)
{
	long count = policy_image_group_members(run->image, group, NULL, 0);

	side->count = count > 0 ? (size_t)count : 0;
	side->ids = calloc(side->count + 1, sizeof(*side->ids));
	if (side->ids == NULL) {
		return PR_ENOMEM;
	}
	(void)policy_image_group_members(run->image, group, side->ids, side->count);
	return PR_OK;
}

static int host_take(const struct run *run, const char *name, struct side *side)
{
	side->ids = calloc(run->endpoint_count + 1, sizeof(*side->ids));
	if (side->ids == NULL) {
		return PR_ENOMEM;
	}
	for (size_t i = 0; i < run->endpoint_count; i++) {
		const struct policy_endpoint *endpoint = &run->endpoints[i];
		if (endpoint->kind == POLICY_HOST && endpoint->name != NULL &&
		    strcmp(endpoint->name, name) == 0) {
			side->ids[side->count++] = endpoint->id;
		}
	}
	return PR_OK;
}

/* One end of a line: endpoints one by one, or fields of the request once for all. */
static int side_make(struct run *run, const struct policy_operand *operand,
                     enum policy_field endpoint_field, enum policy_field address_field,
                     struct pr_addr *address, struct side *ret_side)
{
	uint8_t *known = run->request.known;

	*ret_side = (struct side){ .endpoints = true };
	known[endpoint_field] = POLICY_KNOWN;
	known[address_field] = POLICY_UNKNOWN;
	switch (operand->kind) {
	case POLICY_OPERAND_GROUP:
		return members_take(run, operand->name, ret_side);
	case POLICY_OPERAND_HOST:
		return host_take(run, operand->name, ret_side);
	case POLICY_OPERAND_ENDPOINT:
		ret_side->ids = calloc(1, sizeof(*ret_side->ids));
		if (ret_side->ids == NULL) {
			return PR_ENOMEM;
		}
		ret_side->ids[0] = operand->endpoint;
		break;
	case POLICY_OPERAND_PREFIX:
		ret_side->endpoints = false;
		known[endpoint_field] = POLICY_UNKNOWN;
		known[address_field] =
			operand->prefix.bits == ADDRESS_BITS ? POLICY_KNOWN : POLICY_PENDING;
		*address = operand->prefix.addr;
		break;
	case POLICY_OPERAND_ANY:
		ret_side->endpoints = false;
		known[endpoint_field] = POLICY_PENDING;
		known[address_field] = POLICY_PENDING;
		break;
	}
	ret_side->count = 1;
	return PR_OK;
}

static uint8_t user_take(const struct policy_user_match *match, struct policy_user *user)
{
	if (match->kind == POLICY_USER_NAME) {
		*user = (struct policy_user){ .uid = UINT32_MAX, .name = match->name };
		return POLICY_KNOWN;
	}
	if (match->kind == POLICY_USER_UID) {
		*user = (struct policy_user){ .uid = match->uid };
		return POLICY_KNOWN;
	}
	return POLICY_PENDING;
}

/* Whom a clause stands for, one after the other: a usergroup's members. False: there are no more.
 */
static bool user_nth(const struct run *run, const struct policy_user_match *match, size_t nth,
                     struct policy_user *user, uint8_t *known)
{
	if (match->kind == POLICY_USER_GROUP) {
		const struct policy_usergroup *usergroup =
			policy_model_usergroup(run->model, match->usergroup);
		if (nth >= usergroup->member_count) {
			return false;
		}
		match = &usergroup->members[nth];
		nth = 0;
	}
	*known = user_take(match, user);
	return nth == 0;
}

static void processes_take(struct policy_request *request, const struct policy_expect *expect)
{
	request->process = expect->process.path;
	request->to_process = expect->to_process.path;
	request->known[POLICY_FIELD_PROCESS] =
		expect->process.path != NULL ? POLICY_KNOWN : POLICY_PENDING;
	request->known[POLICY_FIELD_TO_PROCESS] =
		expect->to_process.path != NULL ? POLICY_KNOWN : POLICY_PENDING;
}

/* True: as expected. Else the failure says what was found. */
static bool one_holds(struct run *run)
{
	struct policy_verdict verdict;
	const struct policy_request *request = &run->request;
	struct policy_expect_failure *failure = &run->failure;

	policy_image_evaluate(run->image, request, run->now_wall_ns, &verdict);
	bool open = verdict.provisional &&
	            !policy_image_allows_anyway(run->image, request, run->now_wall_ns);
	failure->outcome = open                                    ? POLICY_EXPECT_OPEN
	                   : verdict.policy_action == POLICY_ALLOW ? POLICY_EXPECT_ALLOWED
	                                                           : POLICY_EXPECT_DENIED;
	failure->rule = verdict.rule;
	failure->source = request->source;
	failure->destination = request->destination;
	failure->proto = request->proto;
	failure->port = request->port;
	return failure->outcome ==
	       (failure->expect->allow ? POLICY_EXPECT_ALLOWED : POLICY_EXPECT_DENIED);
}

/* PR_OK: holds; PR_EPOLICY: does not; PR_ETOOBIG. */
static int ports_run(struct run *run, uint8_t proto, uint32_t first, uint32_t last)
{
	run->request.proto = proto;
	for (uint32_t port = first; port <= last; port++) {
		if (run->tries_left == 0) {
			return PR_ETOOBIG;
		}
		run->tries_left--;
		run->request.port = (uint16_t)port;
		if (!one_holds(run)) {
			return PR_EPOLICY;
		}
	}
	return PR_OK;
}

static int service_run(struct run *run, const struct policy_service *service)
{
	static const uint8_t protocols[] = { IPPROTO_TCP, IPPROTO_UDP, IPPROTO_ICMP };
	int ret = PR_OK;

	if (!service->any && !service->whole) {
		run->request.known[POLICY_FIELD_PORT] = POLICY_KNOWN;
		return ports_run(run, service->proto, service->first, service->last);
	}
	run->request.known[POLICY_FIELD_PORT] = POLICY_PENDING;
	if (service->whole) {
		return ports_run(run, service->proto, 0, 0);
	}
	for (size_t i = 0; i < PR_ARRAY_LEN(protocols) && ret == PR_OK; i++) {
		ret = ports_run(run, protocols[i], 0, 0);
	}
	return ret;
}

static int services_run(struct run *run, const struct policy_expect *expect)
{
	int ret = PR_OK;

	for (size_t i = 0; i < expect->service_count && ret == PR_OK; i++) {
		ret = service_run(run, &expect->services[i]);
	}
	return ret;
}

static int pairs_run(struct run *run, const struct policy_expect *expect, const struct side *from,
                     const struct side *to)
{
	static const struct pr_uuid nobody = { 0 };
	int ret = PR_OK;

	for (size_t i = 0; i < from->count && ret == PR_OK; i++) {
		run->request.source = from->endpoints ? from->ids[i] : nobody;
		for (size_t k = 0; k < to->count && ret == PR_OK; k++) {
			run->request.destination = to->endpoints ? to->ids[k] : nobody;
			ret = services_run(run, expect);
		}
	}
	return ret;
}

/* For each user of the one end and of the other. PR_ENOENT: nobody, a usergroup is empty. */
static int users_run(struct run *run, const struct policy_expect *expect, const struct side *from,
                     const struct side *to)
{
	struct policy_request *request = &run->request;
	uint8_t *known = request->known;
	int ret = PR_ENOENT;

	for (size_t i = 0;
	     (ret == PR_OK || ret == PR_ENOENT) &&
	     user_nth(run, &expect->user, i, &request->user, &known[POLICY_FIELD_USER]);
	     i++) {
		for (size_t k = 0; (ret == PR_OK || ret == PR_ENOENT) &&
		                   user_nth(run, &expect->to_user, k, &request->to_user,
		                            &known[POLICY_FIELD_TO_USER]);
		     k++) {
			ret = pairs_run(run, expect, from, to);
		}
	}
	return ret;
}

/* PR_ENOENT: nobody to try it with. */
static int line_run(struct run *run, const struct policy_expect *expect)
{
	_cleanup_(side_done) struct side from = { 0 }, to = { 0 };
	struct policy_request *request = &run->request;

	/* A near end may pass what another end decides: that is how a line turns out open. */
	*request = (struct policy_request){ .asker = POLICY_END_NEAR };
	request->known[POLICY_FIELD_PROTO] = POLICY_KNOWN;
	processes_take(request, expect);
	int ret = side_make(run, &expect->source, POLICY_FIELD_SOURCE, POLICY_FIELD_SOURCE_ADDR,
	                    &request->source_addr, &from);
	if (ret == PR_OK) {
		ret = side_make(run, &expect->destination, POLICY_FIELD_DESTINATION,
		                POLICY_FIELD_DESTINATION_ADDR, &request->destination_addr, &to);
	}
	if (ret == PR_OK && (from.count == 0 || to.count == 0)) {
		return PR_ENOENT;
	}
	return ret == PR_OK ? users_run(run, expect, &from, &to) : ret;
}

int policy_expect_run(const policy_model_t *model, const policy_image_t *image,
                      const struct policy_endpoint *endpoints, size_t endpoint_count,
                      uint64_t now_wall_ns,
                      void (*visit)(void *arg, const struct policy_expect_failure *failure),
                      void *arg, struct policy_expect_result *ret_result)
{
	struct policy_expect_result result = { 0 };
	struct run run = { .model = model,
		           .image = image,
		           .endpoints = endpoints,
		           .endpoint_count = endpoint_count,
		           .now_wall_ns = now_wall_ns,
		           .tries_left = POLICY_EXPECT_TRIES_MAX };

	for (size_t i = 0; i < policy_model_line_count(model); i++) {
		const struct policy_line *line = policy_model_line(model, i);
		if (line->kind != POLICY_LINE_EXPECT) {
			continue;
		}
		result.lines++;
		run.failure = (struct policy_expect_failure){ .line = (uint32_t)i + 1,
			                                      .expect = line->expect };
		int ret = line_run(&run, line->expect);
		if (ret == PR_EPOLICY) {
			result.failed++;
			visit(arg, &run.failure);
		} else if (ret == PR_ENOENT) {
			result.untried_first =
				result.untried++ == 0 ? (uint32_t)i + 1 : result.untried_first;
		} else if (ret != PR_OK) {
			return ret;
		}
	}
	*ret_result = result;
	return PR_OK;
}
