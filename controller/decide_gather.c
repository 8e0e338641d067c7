/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <string.h>

#include "controller/decide_internal.h"

struct flow_near decide_near_of_notice(const struct codec_notice *notice,
                                       const struct directory_endpoint *reporter)
{
	struct flow_near near_end = {
		.initiator = reporter->policy.id,
		.host = reporter->policy.host_id,
		.namespace_inode = reporter->namespace_inode,
		.request_id = notice->id,
		.src_port = notice->wire_src_port,
		.attempt = notice->attempt,
		.from_state = notice->from_state,
		.uid = CODEC_NO_UID,
		.connection = notice->connection,
	};

	if (notice->from_state == CODEC_KNOWN_KNOWN) {
		near_end.uid = notice->from_uid;
		memcpy(near_end.user, notice->from_user, sizeof(near_end.user));
		memcpy(near_end.exe, notice->from_exe, sizeof(near_end.exe));
	}
	return near_end;
}

/* The initiator as the request itself knows it: near end, or both ends. */
static struct flow_near near_of_request(const struct codec_request *request,
                                        const struct directory_endpoint *reporter)
{
	struct codec_notice notice = codec_notice_of(request, 0);

	return decide_near_of_notice(&notice, reporter);
}

/* A near end may not speak for an address that is another enrolled host's. */
static bool source_is_foreign(const struct decision *decision)
{
	const struct directory_endpoint *owner = NULL;

	return directory_lookup(decision->context->directory, decision->reporter,
	                        &decision->request->wire_src, &owner) == DIRECTORY_FOUND &&
	       !pr_uuid_equal(&owner->policy.host_id, &decision->reporter->policy.host_id);
}

static bool candidate_add(void *arg, const struct directory_endpoint *endpoint)
{
	struct decision *decision = arg;

	if (decision->candidate_count == DECIDE_CANDIDATES_MAX) {
		decision->candidate_count++; /* more than can be asked about */
		return false;
	}
	decision->candidates[decision->candidate_count++] = endpoint->policy.id;
	return true;
}

/* An address names all that live in one namespace. Only the far end knows which of them it is. */
static void gather_candidates(struct decision *decision, const struct directory_endpoint *endpoint)
{
	(void)candidate_add(decision, endpoint);
	directory_each_sharer(decision->context->directory, endpoint, candidate_add, decision);
	if (decision->candidate_count < 2) {
		decision->candidate_count = 0;
		decision->destination = endpoint->policy.id;
		return;
	}
	decision->unknown = CODEC_UNKNOWN_ENDPOINT;
	decision->context->counters->several_destinations++;
	if (decision->candidate_count > DECIDE_CANDIDATES_MAX) {
		decision->candidate_count = 0; /* unknown, and no rule that names it matches */
	}
}

static void gather_destination(struct decision *decision)
{
	const struct directory_endpoint *endpoint = NULL;

	if (decision->request->end == CODEC_END_BOTH &&
	    !pr_uuid_is_null(&decision->request->to_endpoint)) {
		decision->destination = decision->request->to_endpoint;
		return;
	}
	switch (directory_lookup(decision->context->directory, decision->reporter,
	                         &decision->request->dst, &endpoint)) {
	case DIRECTORY_FOUND:
		gather_candidates(decision, endpoint);
		return;
	case DIRECTORY_AMBIGUOUS:
	case DIRECTORY_NONE:
		return;
	}
}

void decide_gather_near(struct decision *decision)
{
	const struct decide_context *context = decision->context;
	const struct codec_request *request = decision->request;

	decision->source = decision->reporter->policy.id;
	decision->near_end = near_of_request(request, decision->reporter);
	gather_destination(decision);
	if (request->end == CODEC_END_BOTH) {
		decision->connection =
			flow_connection_id(&decision->key, request->src_port,
		                           &decision->reporter->policy.id, request->id);
		return;
	}
	if (source_is_foreign(decision)) {
		context->counters->foreign_source++;
		decision->connection =
			flow_connection_id(&decision->key, request->src_port,
		                           &decision->reporter->policy.id, request->id);
		return;
	}
	decision->connection = flow_table_put(context->flows, &decision->key, &decision->near_end,
	                                      context->now_ns);
}

/* Could an enrolled endpoint have sent this, directly or behind its host's address? */
static bool source_may_be_enrolled(const struct decision *decision)
{
	const struct directory_endpoint *owner = NULL;

	return directory_lookup(decision->context->directory, decision->reporter,
	                        &decision->request->wire_src, &owner) != DIRECTORY_NONE ||
	       directory_is_local(decision->context->directory, &decision->reporter->policy.host_id,
	                          &decision->request->wire_src);
}

/*
 * A container's first packets can be faster than its agent's word of them. Who has the source
 * address says whether that may be so now, for a host's address its newest container; it does not
 * say who sent.
 */
static bool source_may_be_newborn(const struct decision *decision)
{
	const struct decide_context *context = decision->context;
	const struct directory_endpoint *owner = NULL;

	switch (directory_lookup(context->directory, decision->reporter,
	                         &decision->request->wire_src, &owner)) {
	case DIRECTORY_FOUND:
		return directory_is_new(context->directory, &owner->policy.id, context->now_ns);
	case DIRECTORY_AMBIGUOUS: /* one may have taken over from another that has just gone */
		return directory_is_new(context->directory, &decision->reporter->policy.host_id,
		                        context->now_ns);
	case DIRECTORY_NONE:
		break;
	}
	return false;
}

enum decide_result decide_gather_far(struct decision *decision, bool may_wait)
{
	const struct decide_context *context = decision->context;
	const struct codec_request *request = decision->request;
	const struct flow_near *near_end = NULL;
	struct flow_query query = {
		.host = decision->reporter->policy.host_id,
		.namespace_inode = decision->reporter->namespace_inode,
		.src_port = request->src_port,
		.attempt = request->attempt,
		.last = !may_wait,
		.local = directory_is_local(context->directory, &decision->reporter->policy.host_id,
		                            &request->wire_src),
		.loopback = pr_addr_is_loopback(&request->wire_src),
	};

	decision->destination = decision->reporter->policy.id;
	decision->near_end.uid = CODEC_NO_UID;
	enum flow_match match =
		flow_table_find(context->flows, &decision->key, &query, context->now_ns, &near_end);
	if (match == FLOW_FOUND) {
		context->counters->flow_found++;
		decision->near_end = *near_end;
		decision->source = near_end->initiator;
		decision->connection = near_end->connection;
		return DECIDE_DONE;
	}
	bool enrolled = source_may_be_enrolled(decision);
	if (may_wait && (enrolled || match == FLOW_AMBIGUOUS)) {
		return DECIDE_WAIT;
	}
	if (match == FLOW_AMBIGUOUS) {
		context->counters->ambiguous++;
		decision->unknown = CODEC_UNKNOWN_NO_NOTICE;
	} else if (enrolled && source_may_be_newborn(decision)) {
		context->counters->newborn++;
		decision->unknown = CODEC_UNKNOWN_NEWBORN;
	} else if (enrolled) {
		context->counters->no_notice++;
		decision->unknown = CODEC_UNKNOWN_NO_NOTICE;
	}
	decision->connection = flow_connection_id(&decision->key, request->src_port,
	                                          &decision->reporter->policy.id, request->id);
	return DECIDE_DONE;
}
