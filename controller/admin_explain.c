/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Would a connection be allowed, by which rule, and why by none before it? */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controller/who.h"

#define PAIRS_MAX   4096U
#define DETAILS_MAX 20U
#define RULES_MAX   1000U /* sent; the rest is counted */
#define NAME_BYTES  256

/* What comes of one pair. */
struct outcome {
	struct policy_verdict verdict;
	bool depends;
	bool quarantined;
};

struct explain {
	struct call *call;
	struct draft_view view;
	struct who from, to;
	struct policy_request request;
	uint64_t skipped;
	int ret;
};

static void explain_done(struct explain *explain)
{
	who_done(&explain->from);
	who_done(&explain->to);
	draft_view_done(&explain->view);
}

/* ---- the question ---- */

static int service_take(struct explain *explain)
{
	const char *service = codec_doc_text(explain->call->document, CODEC_EXPLAIN_GET_SERVICE);
	_cleanup_(policy_model_destroy) policy_model_t *model = NULL;
	_cleanup_(pr_free) struct policy_errors *errors = calloc(1, sizeof(*errors));
	char text[256];

	if (errors == NULL) {
		return PR_ENOMEM;
	}
	(void)snprintf(text, sizeof(text), "rule 1 allow from any to any %.128s", service);
	int ret = strpbrk(service, " \t\r\n") == NULL
	                  ? policy_text_parse(text, strlen(text), errors, &model)
	                  : PR_EPOLICY;
	if (ret != PR_OK && ret != PR_EPOLICY) {
		return ret;
	}
	const struct policy_rule *rule = ret == PR_OK ? policy_model_rule(model, 0) : NULL;
	if (rule == NULL || rule->service_count != 1 || rule->services[0].any ||
	    (!rule->services[0].whole && rule->services[0].first != rule->services[0].last)) {
		return call_fail(explain->call, PR_EINVAL,
		                 "'%.64s' is not one service: tcp/80, udp/53, icmp/8, proto/132",
		                 service);
	}
	explain->request.proto = rule->services[0].proto;
	explain->request.port = rule->services[0].first;
	return PR_OK;
}

static uint8_t user_take(const char *text, struct policy_user *user)
{
	if (text[0] == '\0') {
		return POLICY_PENDING;
	}
	if (text[strspn(text, "0123456789")] == '\0' && strlen(text) < 10) {
		*user = (struct policy_user){ .uid = (uint32_t)strtoul(text, NULL, 10) };
	} else {
		*user = (struct policy_user){ .uid = UINT32_MAX, .name = text };
	}
	return POLICY_KNOWN;
}

static uint8_t process_take(const char *text, const char **process)
{
	*process = text[0] != '\0' ? text : NULL;
	return text[0] != '\0' ? POLICY_KNOWN : POLICY_PENDING;
}

static void people_take(struct explain *explain)
{
	const codec_doc_t *asked = explain->call->document;
	struct policy_request *request = &explain->request;
	uint8_t *known = request->known;

	known[POLICY_FIELD_PROTO] = known[POLICY_FIELD_PORT] = POLICY_KNOWN;
	known[POLICY_FIELD_USER] =
		user_take(codec_doc_text(asked, CODEC_EXPLAIN_GET_USER), &request->user);
	known[POLICY_FIELD_TO_USER] =
		user_take(codec_doc_text(asked, CODEC_EXPLAIN_GET_TO_USER), &request->to_user);
	known[POLICY_FIELD_PROCESS] =
		process_take(codec_doc_text(asked, CODEC_EXPLAIN_GET_PROCESS), &request->process);
	known[POLICY_FIELD_TO_PROCESS] = process_take(
		codec_doc_text(asked, CODEC_EXPLAIN_GET_TO_PROCESS), &request->to_process);
}

static void pair_take(struct explain *explain, size_t from, size_t to)
{
	const struct policy_reach_end *source = &explain->from.ends[from];
	const struct policy_reach_end *destination = &explain->to.ends[to];
	struct policy_request *request = &explain->request;

	request->source = source->id;
	request->destination = destination->id;
	request->source_addr = source->address;
	request->destination_addr = destination->address;
	request->known[POLICY_FIELD_SOURCE] = request->known[POLICY_FIELD_DESTINATION] =
		POLICY_KNOWN;
	request->known[POLICY_FIELD_SOURCE_ADDR] =
		source->has_address ? POLICY_KNOWN : POLICY_UNKNOWN;
	request->known[POLICY_FIELD_DESTINATION_ADDR] =
		destination->has_address ? POLICY_KNOWN : POLICY_UNKNOWN;
}

static struct outcome pair_judge(struct explain *explain, size_t from, size_t to)
{
	struct outcome outcome = { 0 };
	uint64_t now_wall_ns = explain->call->admin->now_wall_ns;
	bool to_known = !pr_uuid_is_null(&explain->to.ends[to].id);

	pair_take(explain, from, to);
	/* Both ends ask; whichever is in enforce makes it bite. */
	explain->request.asker = to_known ? POLICY_END_BOTH : POLICY_END_NEAR;
	policy_image_evaluate(explain->view.image, &explain->request, now_wall_ns,
	                      &outcome.verdict);
	outcome.depends =
		(outcome.verdict.provisional &&
	         !policy_image_allows_anyway(explain->view.image, &explain->request, now_wall_ns));
	const struct admin *admin = explain->call->admin;
	outcome.quarantined =
		!outcome.verdict.lifeline &&
		(quarantine_holds(&admin->view.quarantine, explain->from.endpoints[from],
	                          now_wall_ns) ||
	         quarantine_holds(&admin->view.quarantine, explain->to.endpoints[to], now_wall_ns));
	return outcome;
}

/* ---- the answer ---- */

/* The line by which a user is in the rule's usergroup. */
static void because_add(const struct explain *explain, const char *word,
                        const struct policy_user_match *match, const struct policy_user *user,
                        enum policy_field field, codec_doc_t *answer)
{
	const policy_model_t *model = explain->view.model;
	char shown[POLICY_NAME_MAX_BYTES + 2] = "";

	if (match->kind != POLICY_USER_GROUP || explain->request.known[field] != POLICY_KNOWN) {
		return;
	}
	const struct policy_user_match *member =
		policy_usergroup_member(policy_model_usergroup(model, match->usergroup), user);
	const struct policy_line *line =
		member != NULL ? policy_model_line(model, member->line - 1) : NULL;
	if (line != NULL && policy_user_format(member, shown, sizeof(shown)) >= 0) {
		codec_doc_addf(answer, CODEC_EXPLAIN_RULE_BECAUSE,
		               "%s %s is in @%s by line %u: %.*s", word, shown, match->name,
		               member->line, (int)line->size_bytes, line->text);
	}
}

static bool rule_send(void *arg, const struct policy_explanation *step)
{
	struct explain *explain = arg;
	const uint32_t ends = 1U << POLICY_FIELD_SOURCE | 1U << POLICY_FIELD_DESTINATION |
	                      1U << POLICY_FIELD_SOURCE_ADDR | 1U << POLICY_FIELD_DESTINATION_ADDR;
	bool no = step->mismatch != 0;

	if (!step->decides && ((step->mismatch & ends) != 0 || explain->call->sent >= RULES_MAX) &&
	    explain->call->sent >= DETAILS_MAX) {
		explain->skipped++;
		return true;
	}
	_cleanup_(codec_doc_destroy) codec_doc_t *answer =
		call_doc(explain->call, CODEC_EXPLAIN_RULE);
	if (answer == NULL) {
		explain->ret = PR_ENOMEM;
		return false;
	}
	char text[POLICY_LINE_MAX_BYTES + 1] = "lifeline";
	const struct policy_rule *rule =
		policy_model_rule_find(explain->view.model, step->rule.number, NULL);
	if (rule != NULL && policy_rule_format(rule, text, sizeof(text)) < 0) {
		text[0] = '\0';
	}
	const char *outcome = no                                   ? "no"
	                      : step->expired                      ? "expired"
	                      : step->rule.status == POLICY_STAGED ? "staged"
	                      : step->pending != 0                 ? "perhaps"
	                                                           : "decides";
	codec_doc_set_u64(answer, CODEC_EXPLAIN_RULE_NUMBER, step->rule.number);
	codec_doc_set_text(answer, CODEC_EXPLAIN_RULE_TEXT, text);
	codec_doc_set_text(answer, CODEC_EXPLAIN_RULE_OUTCOME, outcome);
	if (rule != NULL) {
		because_add(explain, "user", &rule->user, &explain->request.user, POLICY_FIELD_USER,
		            answer);
		because_add(explain, "to-user", &rule->to_user, &explain->request.to_user,
		            POLICY_FIELD_TO_USER, answer);
	}
	for (unsigned field = 0; field < _POLICY_FIELD_MAX; field++) {
		if (((no ? step->mismatch : step->pending) >> field & 1U) != 0) {
			codec_doc_add_text(answer, CODEC_EXPLAIN_RULE_FIELDS,
			                   policy_field_name((enum policy_field)field));
		}
	}
	explain->call->sent++;
	explain->ret = call_send(explain->call, answer);
	return explain->ret == PR_OK;
}

static const char *verdict_name(const struct outcome *outcome)
{
	if (outcome->quarantined) {
		return "denied";
	}
	if (outcome->depends) {
		return "depends";
	}
	switch (outcome->verdict.policy_action) {
	case POLICY_ALLOW:
		return "allowed";
	case POLICY_REJECT:
		return "rejected";
	default:
		return "denied";
	}
}

static int explanation_send(struct explain *explain, const struct outcome *outcome, uint64_t pairs)
{
	_cleanup_(codec_doc_destroy) codec_doc_t *answer =
		call_doc(explain->call, CODEC_EXPLANATION);
	char name[NAME_BYTES];

	if (answer == NULL) {
		return PR_ENOMEM;
	}
	codec_doc_set_text(answer, CODEC_EXPLANATION_VERDICT, verdict_name(outcome));
	codec_doc_set_u64(answer, CODEC_EXPLANATION_RULE, outcome->verdict.rule);
	codec_doc_set_u64(answer, CODEC_EXPLANATION_LIFELINE, outcome->verdict.lifeline);
	codec_doc_set_text(answer, CODEC_EXPLANATION_MODE, policy_mode_name(outcome->verdict.mode));
	codec_doc_set_text(answer, CODEC_EXPLANATION_SRC,
	                   who_format(&explain->from, 0, name, sizeof(name)));
	codec_doc_set_text(answer, CODEC_EXPLANATION_DST,
	                   who_format(&explain->to, 0, name, sizeof(name)));
	codec_doc_set_u64(answer, CODEC_EXPLANATION_REVISION, explain->view.revision);
	codec_doc_set_u64(answer, CODEC_EXPLANATION_SKIPPED, explain->skipped);
	codec_doc_set_u64(answer, CODEC_EXPLANATION_PAIRS, pairs);
	codec_doc_set_u64(answer, CODEC_EXPLANATION_QUARANTINED, outcome->quarantined);
	explain->call->sent++;
	return call_send(explain->call, answer);
}

static bool same(const struct outcome *one, const struct outcome *other)
{
	return one->depends == other->depends && one->quarantined == other->quarantined &&
	       one->verdict.policy_action == other->verdict.policy_action &&
	       one->verdict.rule == other->verdict.rule &&
	       one->verdict.lifeline == other->verdict.lifeline &&
	       one->verdict.mode == other->verdict.mode;
}

/* All members of groups must fare alike, or nothing can be said of the groups. */
static int pairs_judge(struct explain *explain, struct outcome *ret_first, uint64_t *ret_pairs)
{
	char from[NAME_BYTES], to[NAME_BYTES];
	bool differ = false;

	if (explain->from.count * explain->to.count > PAIRS_MAX) {
		return call_fail(explain->call, PR_ETOOBIG, "more than %u pairs: name one endpoint",
		                 PAIRS_MAX);
	}
	*ret_first = pair_judge(explain, 0, 0);
	for (size_t i = 0; i < explain->from.count; i++) {
		for (size_t k = 0; k < explain->to.count; k++) {
			struct outcome outcome = pair_judge(explain, i, k);
			differ |= !same(ret_first, &outcome);
			if (i * explain->to.count + k < DETAILS_MAX) {
				call_detail(explain->call, "from %s to %s: %s, rule %u",
				            who_format(&explain->from, i, from, sizeof(from)),
				            who_format(&explain->to, k, to, sizeof(to)),
				            verdict_name(&outcome), outcome.verdict.rule);
			}
		}
	}
	if (differ) {
		return call_fail(explain->call, PR_EAMBIG,
		                 "the members do not fare alike: name one endpoint");
	}
	codec_doc_destroy(&explain->call->error);
	*ret_pairs = explain->from.count * explain->to.count;
	return PR_OK;
}

int admin_explain_get(struct call *call)
{
	_cleanup_(explain_done) struct explain explain = { .call = call };
	const codec_doc_t *asked = call->document;
	struct outcome outcome = { 0 };
	uint64_t pairs = 0;

	int ret = draft_view_open(call, codec_doc_u64(asked, CODEC_EXPLAIN_GET_DRAFT) != 0,
	                          &explain.view);
	const char *from = codec_doc_text(asked, CODEC_EXPLAIN_GET_SRC);
	const char *to = codec_doc_text(asked, CODEC_EXPLAIN_GET_DST);
	if (ret == PR_OK && (from[0] == '\0' || to[0] == '\0')) {
		return call_fail(call, PR_EINVAL, "say who: source and destination");
	}
	if (ret == PR_OK) {
		ret = service_take(&explain);
	}
	if (ret == PR_OK) {
		ret = who_find(call, &explain.view, from, &explain.from);
	}
	if (ret == PR_OK) {
		ret = who_find(call, &explain.view, to, &explain.to);
	}
	if (ret != PR_OK) {
		return ret;
	}
	people_take(&explain);
	ret = pairs_judge(&explain, &outcome, &pairs);
	if (ret == PR_OK) {
		pair_take(&explain, 0, 0);
		policy_image_explain(explain.view.image, &explain.request, call->admin->now_wall_ns,
		                     rule_send, &explain);
		ret = explain.ret;
	}
	if (ret == PR_OK) {
		ret = explanation_send(&explain, &outcome, pairs);
	}
	return ret == PR_OK ? call_end(call, true) : ret;
}
