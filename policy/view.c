/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "policy/view.h"

#define BIT(field) (1U << (field))

static inline struct policy_class_view class_view(const policy_image_t *image,
                                                  uint32_t class_offset)
{
	if (class_offset == 0) {
		return (struct policy_class_view){ 0 };
	}
	uint32_t head_bytes = policy_class_head_bytes(image->block_count);
	const uint64_t *summary = POLICY_AT(image, class_offset, uint64_t);
	return (struct policy_class_view){
		.summary = summary,
		.ranks = (const uint32_t *)(summary + image->block_count),
		.words = POLICY_AT(summary, head_bytes, uint64_t),
	};
}

static void field_view(const struct policy_tuple *tuple, unsigned field,
                       struct policy_field_view *view)
{
	const policy_image_t *image = tuple->image;
	view->any = POLICY_AT(image, image->any[field], uint64_t);
	view->any_summary = view->any + image->word_count;
	view->classes[0] = class_view(image, tuple->classes[field] & ~POLICY_PATTERNS_TOO);
	view->classes[1] = class_view(image, policy_tuple_other(tuple, field));
}

void policy_views_make(const struct policy_tuple *tuple, uint64_t now_wall_ns,
                       struct policy_views *ret_views)
{
	struct policy_views *views = ret_views;
	views->image = tuple->image;
	views->request = tuple->request;
	views->now_wall_ns = now_wall_ns;
	views->pending = tuple->pending;
	views->active = tuple->active;
	for (uint32_t active = tuple->active; active != 0; active &= active - 1) {
		unsigned field = (unsigned)__builtin_ctz(active);
		field_view(tuple, field, &views->fields[field]);
	}
	views->whole = class_view(tuple->image, tuple->image->proto_whole_classes[tuple->proto]);
}

uint32_t policy_views_pattern_mismatch(const struct policy_views *views, uint32_t index)
{
	const struct policy_image_rule *rule = policy_views_rule(views, index);
	const struct policy_request *request = views->request;
	uint32_t fields = 0;
	if (rule->process != 0 && !(views->pending & BIT(POLICY_FIELD_PROCESS)) &&
	    !POLICY_MUTATED(POLICY_FIELD_PROCESS) &&
	    (request->process == NULL ||
	     !policy_path_match(POLICY_AT(views->image, rule->process, char), request->process))) {
		fields |= BIT(POLICY_FIELD_PROCESS);
	}
	if (rule->to_process != 0 && !(views->pending & BIT(POLICY_FIELD_TO_PROCESS)) &&
	    !POLICY_MUTATED(POLICY_FIELD_TO_PROCESS) &&
	    (request->to_process == NULL ||
	     !policy_path_match(POLICY_AT(views->image, rule->to_process, char),
	                        request->to_process))) {
		fields |= BIT(POLICY_FIELD_TO_PROCESS);
	}
	return fields;
}

uint32_t policy_views_pending(const struct policy_views *views, uint32_t index)
{
	uint32_t fields = policy_views_rule(views, index)->constrained & views->pending;
	bool whole = policy_class_word(&views->whole, index / 64) >> index % 64 & 1;
	if (fields & BIT(POLICY_FIELD_PORT) && whole) {
		fields &= ~BIT(POLICY_FIELD_PORT);
	}
	return fields;
}
