/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "policy/view.h"

static void explain_rule(const struct policy_views *views, uint32_t index,
                         struct policy_explanation *explanation)
{
	const struct policy_image_rule *rule = policy_views_rule(views, index);
	*explanation = (struct policy_explanation){ 0 };
	policy_image_rule_info(views->image, index, &explanation->rule);
	for (unsigned field = 0; field < _POLICY_FIELD_MAX; field++) {
		if (views->active & 1U << field &&
		    !policy_field_has(&views->fields[field], index)) {
			explanation->mismatch |= 1U << field;
		}
	}
	explanation->mismatch |= policy_views_pattern_mismatch(views, index);
	explanation->pending = policy_views_pending(views, index);
	explanation->expired = policy_views_expired(views, rule);
	explanation->decides = explanation->mismatch == 0 && explanation->pending == 0 &&
	                       !explanation->expired && rule->status == POLICY_ENABLED;
}

void policy_image_explain(const policy_image_t *image, const struct policy_request *request,
                          uint64_t now_wall_ns,
                          bool (*visit)(void *arg, const struct policy_explanation *explanation),
                          void *arg)
{
	struct policy_tuple tuple;
	struct policy_views views;
	struct policy_explanation explanation = { 0 };
	policy_tuple_make(image, request, &tuple);
	policy_views_make(&tuple, now_wall_ns, &views);
	for (uint32_t i = 0; i < image->rule_count && !explanation.decides; i++) {
		explain_rule(&views, i, &explanation);
		if (!visit(arg, &explanation)) {
			return;
		}
	}
}

struct alike {
	bool all_allow, decided;
};

static bool alike_look(void *arg, const struct policy_explanation *explanation)
{
	struct alike *alike = arg;

	if (explanation->mismatch == 0 && !explanation->expired &&
	    explanation->rule.status == POLICY_ENABLED) {
		alike->all_allow &= explanation->rule.action == POLICY_ALLOW;
		alike->decided |= explanation->decides;
	}
	return alike->all_allow;
}

bool policy_image_allows_anyway(const policy_image_t *image, const struct policy_request *request,
                                uint64_t now_wall_ns)
{
	struct alike alike = { .all_allow = true };

	policy_image_explain(image, request, now_wall_ns, alike_look, &alike);
	return alike.all_allow && alike.decided;
}
