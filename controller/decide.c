/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <string.h>

#include "controller/decide.h"

#define CANDIDATES_MAX 64 /* endpoints in one namespace that are told apart */

/* One decision on its way. */
struct decision {
	const struct decide_context *context;
	const struct codec_request *request;
	const struct directory_endpoint *reporter;
	struct flow_key key;
	struct pr_uuid source, destination; /* zero: not known */
	struct flow_near near_end;          /* what is known of the initiator */
	uint8_t unknown;                    /* CODEC_UNKNOWN_*, about the other end */
	uint64_t connection;
	/* Near end: who may be the destination, if several have its address. */
	size_t candidate_count;
	struct pr_uuid candidates[CANDIDATES_MAX];
};

struct flow_key decide_flow_key(const struct codec_request *request)
{
	return (struct flow_key){ .proto = request->proto,
		                  .wire_src = request->wire_src,
		                  .wire_dst = request->wire_dst,
		                  .wire_dst_port = request->wire_dst_port };
}

struct flow_key decide_notice_key(const struct codec_notice *notice)
{
	return (struct flow_key){ .proto = notice->proto,
		                  .wire_src = notice->wire_src,
		                  .wire_dst = notice->wire_dst,
		                  .wire_dst_port = notice->wire_dst_port };
}

static uint8_t action_on_wire(enum policy_action action)
{
	switch (action) {
	case POLICY_ALLOW:
		return CODEC_ACTION_ALLOW;
	case POLICY_REJECT:
		return CODEC_ACTION_REJECT;
	case POLICY_DENY:
		break;
	}
	return CODEC_ACTION_DENY;
}

static uint8_t mode_on_wire(enum policy_mode mode)
{
	return mode == POLICY_OBSERVE ? CODEC_MODE_OBSERVE : CODEC_MODE_ENFORCE;
}

/* A deny that no policy made: something about the request is not as it must be. */
static void refuse(const struct decide_context *context, const struct codec_request *request,
                   struct codec_verdict *ret_verdict)
{
	enum policy_mode mode = POLICY_ENFORCE;

	if (context->image != NULL) {
		mode = policy_image_endpoint_mode(context->image, &request->reporter);
	}
	*ret_verdict = (struct codec_verdict){
		.id = request->id,
		.action = CODEC_ACTION_DENY,
		.mode = mode_on_wire(mode),
		.final = 1,
		.rule = CODEC_NO_RULE,
		.staged_rule = CODEC_NO_RULE,
		.revision = context->image != NULL ? policy_image_revision(context->image) : 0,
		.decided_by = CODEC_DECIDED_BY_WORKER,
	};
	context->counters->requests++;
	context->counters->denied++;
}

static struct flow_near near_of_notice(const struct codec_notice *notice,
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

	return near_of_notice(&notice, reporter);
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

	if (decision->candidate_count == CANDIDATES_MAX) {
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
	if (decision->candidate_count > CANDIDATES_MAX) {
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

static void gather_near(struct decision *decision)
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

static enum decide_result gather_far(struct decision *decision, bool may_wait)
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

static enum policy_end end_for_policy(uint8_t end)
{
	switch (end) {
	case CODEC_END_NEAR:
		return POLICY_END_NEAR;
	case CODEC_END_FAR:
		return POLICY_END_FAR;
	default:
		return POLICY_END_BOTH;
	}
}

static void know_initiator(const struct flow_near *near_end, struct policy_request *ask)
{
	if (near_end->from_state != CODEC_KNOWN_KNOWN) {
		return;
	}
	if (near_end->uid != CODEC_NO_UID) {
		ask->known[POLICY_FIELD_USER] = POLICY_KNOWN;
		ask->user = (struct policy_user){ near_end->uid, near_end->user };
	}
	if (near_end->exe[0] != '\0') {
		ask->known[POLICY_FIELD_PROCESS] = POLICY_KNOWN;
		ask->process = near_end->exe;
	}
}

static void know_terminator(const struct codec_request *request, struct policy_request *ask)
{
	if (request->to_state != CODEC_KNOWN_KNOWN || request->end == CODEC_END_NEAR) {
		return;
	}
	if (request->to_uid != CODEC_NO_UID) {
		ask->known[POLICY_FIELD_TO_USER] = POLICY_KNOWN;
		ask->to_user = (struct policy_user){ request->to_uid, request->to_user };
	}
	if (request->to_exe[0] != '\0') {
		ask->known[POLICY_FIELD_TO_PROCESS] = POLICY_KNOWN;
		ask->to_process = request->to_exe;
	}
}

static void ask_policy_of(const struct decision *decision, const struct pr_uuid *destination,
                          struct policy_verdict *ret_said)
{
	const struct codec_request *request = decision->request;
	struct policy_request ask = {
		.asker = end_for_policy(request->end),
		.proto = request->proto,
		.port = request->dst_port,
		.source = decision->source,
		.destination = *destination,
		.source_addr = request->src,
		.destination_addr = request->dst,
	};

	ask.known[POLICY_FIELD_PROTO] = POLICY_KNOWN;
	ask.known[POLICY_FIELD_PORT] = POLICY_KNOWN;
	ask.known[POLICY_FIELD_SOURCE_ADDR] = POLICY_KNOWN;
	ask.known[POLICY_FIELD_DESTINATION_ADDR] = POLICY_KNOWN;
	if (!pr_uuid_is_null(&decision->source)) {
		ask.known[POLICY_FIELD_SOURCE] = POLICY_KNOWN;
	}
	if (!pr_uuid_is_null(destination)) {
		ask.known[POLICY_FIELD_DESTINATION] = POLICY_KNOWN;
	}
	know_initiator(&decision->near_end, &ask);
	know_terminator(request, &ask);
	policy_request_mark_pending(decision->context->image, &ask);
	policy_image_evaluate_cached(decision->context->image, decision->context->cache, &ask,
	                             decision->context->now_wall_ns, ret_said);
}

static bool is_allow(const struct policy_verdict *said)
{
	return said->policy_action == POLICY_ALLOW;
}

/* Which of two candidates' verdicts says more of them all: the one that bites here. */
static void candidate_join(struct policy_verdict *joined, const struct policy_verdict *said)
{
	bool differ = joined->rule != said->rule || joined->policy_action != said->policy_action;

	joined->provisional |= said->provisional;
	joined->depends |= said->depends;
	if (joined->valid_until_wall_ns == 0 ||
	    (said->valid_until_wall_ns != 0 &&
	     said->valid_until_wall_ns < joined->valid_until_wall_ns)) {
		joined->valid_until_wall_ns = said->valid_until_wall_ns;
	}
	if (differ) {
		joined->rule = 0;
		joined->several = true;
		joined->policy_action =
			is_allow(joined) || is_allow(said) ? POLICY_ALLOW : POLICY_DENY;
		joined->provisional |= is_allow(joined);
	}
}

/*
 * Several endpoints have the destination's address. Whoever of them is denied to and in enforce
 * denies by himself; is one denied to who does not, this end has to do it. A lifeline to one of
 * them is never cut.
 */
static void ask_policy(const struct decision *decision, struct policy_verdict *ret_said)
{
	struct policy_verdict said, bitten;
	bool bites = false;

	if (decision->candidate_count == 0) {
		ask_policy_of(decision, &decision->destination, ret_said);
		return;
	}
	for (size_t i = 0; i < decision->candidate_count; i++) {
		const struct pr_uuid *candidate = &decision->candidates[i];
		ask_policy_of(decision, candidate, &said);
		if (said.lifeline) {
			*ret_said = said;
			return;
		}
		if (!is_allow(&said) && policy_image_endpoint_mode(decision->context->image,
		                                                   candidate) != POLICY_ENFORCE) {
			bitten = said;
			bites = true;
		}
		if (i == 0) {
			*ret_said = said;
		} else {
			candidate_join(ret_said, &said);
		}
	}
	if (bites) {
		*ret_said = bitten;
	}
}

static bool is_quarantined(const struct decision *decision, const struct pr_uuid *id)
{
	const struct decide_context *context = decision->context;

	return context->quarantine != NULL && context->quarantine->count > 0 &&
	       !pr_uuid_is_null(id) &&
	       quarantine_holds(context->quarantine, directory_find(context->directory, id),
	                        context->now_wall_ns);
}

/* Before policy, but not before lifelines. It bites where the asker speaks for who is isolated. */
static void quarantine_apply(const struct decision *decision, struct codec_verdict *verdict)
{
	bool source = is_quarantined(decision, &decision->source);
	bool destination = is_quarantined(decision, &decision->destination);
	uint8_t end = decision->request->end;

	if (!source && !destination) {
		return;
	}
	verdict->action = CODEC_ACTION_DENY;
	verdict->final = 1;
	verdict->rule = verdict->staged_rule = CODEC_NO_RULE;
	verdict->decided_by = CODEC_DECIDED_BY_QUARANTINE;
	if (end == CODEC_END_BOTH || (source && end == CODEC_END_NEAR) ||
	    (destination && end == CODEC_END_FAR)) {
		verdict->mode = CODEC_MODE_ENFORCE;
	}
	decision->context->counters->quarantined++;
}

static void answer(const struct decision *decision, struct codec_verdict *ret_verdict)
{
	struct decide_counters *counters = decision->context->counters;
	struct policy_verdict said = { 0 };

	ask_policy(decision, &said);
	/* A staged rule is only named where it would turn an allow into something else. */
	bool staged = said.staged_rule != 0 && said.staged_action != POLICY_ALLOW &&
	              said.policy_action == POLICY_ALLOW;
	*ret_verdict = (struct codec_verdict){
		.id = decision->request->id,
		.action = action_on_wire(said.policy_action),
		.mode = mode_on_wire(said.mode),
		.final = !said.provisional,
		.rule = said.rule != 0 ? said.rule : CODEC_NO_RULE,
		.staged_rule = staged ? said.staged_rule : CODEC_NO_RULE,
		.revision = said.revision,
		.decided_by = said.lifeline ? CODEC_DECIDED_BY_BUILT_IN : CODEC_DECIDED_BY_WORKER,
		.unknown = decision->unknown,
		.connection = decision->connection,
		.src_endpoint = decision->source,
		.dst_endpoint = decision->destination,
	};
	if (!said.lifeline) {
		quarantine_apply(decision, ret_verdict);
	}
	counters->requests++;
	counters->provisional += !ret_verdict->final;
	if (ret_verdict->action == CODEC_ACTION_ALLOW) {
		counters->allowed++;
	} else {
		counters->denied++;
	}
}

/* Who asks for both ends speaks for both. */
static bool taker_is_own(const struct decision *decision, const struct pr_uuid *agent)
{
	const struct pr_uuid *id = &decision->request->to_endpoint;

	if (decision->request->end != CODEC_END_BOTH || pr_uuid_is_null(id)) {
		return true;
	}
	const struct directory_endpoint *taker = directory_find(decision->context->directory, id);
	return taker != NULL && pr_uuid_equal(&taker->agent, agent);
}

enum decide_result decide_request(const struct decide_context *context,
                                  const struct codec_request *request, const struct pr_uuid *agent,
                                  bool may_wait, struct codec_verdict *ret_verdict)
{
	struct decision decision = {
		.context = context,
		.request = request,
		.reporter = directory_find(context->directory, &request->reporter),
		.key = decide_flow_key(request),
	};

	if (decision.reporter == NULL) {
		context->counters->unknown_reporter++;
		refuse(context, request, ret_verdict);
		return DECIDE_DONE;
	}
	if (!pr_uuid_equal(&decision.reporter->agent, agent)) {
		context->counters->foreign_reporter++;
		refuse(context, request, ret_verdict);
		return DECIDE_DONE;
	}
	if (!taker_is_own(&decision, agent)) {
		context->counters->foreign_reporter++;
		refuse(context, request, ret_verdict);
		return DECIDE_DONE;
	}
	if (context->image == NULL) {
		context->counters->no_policy++;
		refuse(context, request, ret_verdict);
		return DECIDE_DONE;
	}
	if (request->end != CODEC_END_FAR) {
		gather_near(&decision);
	} else if (gather_far(&decision, may_wait) == DECIDE_WAIT) {
		return DECIDE_WAIT;
	}
	answer(&decision, ret_verdict);
	return DECIDE_DONE;
}

/* ---- notices ---- */

bool decide_notice(const struct decide_context *context, const struct codec_notice *notice,
                   const struct pr_uuid *agent)
{
	const struct directory_endpoint *reporter =
		directory_find(context->directory, &notice->reporter);

	if (reporter == NULL || !pr_uuid_equal(&reporter->agent, agent)) {
		context->counters->notices_foreign_reporter++;
		return false;
	}
	/* Only what is known to be this host's: an address that nobody has could be anybody's. */
	if (!directory_is_own(context->directory, &reporter->policy.host_id, &notice->wire_src)) {
		context->counters->notices_foreign_source++;
		return false;
	}
	struct flow_key key = decide_notice_key(notice);
	struct flow_near near_end = near_of_notice(notice, reporter);
	(void)flow_table_put(context->flows, &key, &near_end, context->now_ns);
	context->counters->notices++;
	return true;
}
