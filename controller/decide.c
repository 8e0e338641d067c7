/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "controller/decide_internal.h"

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

	decide_ask_policy(decision, &said);
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
		decide_gather_near(&decision);
	} else if (decide_gather_far(&decision, may_wait) == DECIDE_WAIT) {
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
	struct flow_near near_end = decide_near_of_notice(notice, reporter);
	(void)flow_table_put(context->flows, &key, &near_end, context->now_ns);
	context->counters->notices++;
	return true;
}
