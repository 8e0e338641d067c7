/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "controller/decide_internal.h"

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
void decide_ask_policy(const struct decision *decision, struct policy_verdict *ret_said)
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
