/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/**
 * @file
 * What a request satisfies, field by field, as bitsets over rules. Shared by evaluate.c and
 * explain.c. Never included from outside.
 *
 * POLICY_MUTATE_FIELD is for tests only: it builds an evaluator that does not compare one field
 * (_POLICY_FIELD_MAX: one that overlooks expiry), to prove that the tests would notice.
 */

#include "policy/image.h"

#ifndef POLICY_MUTATE_FIELD
#define POLICY_MUTATE_FIELD (-1)
#endif
#define POLICY_MUTATED(field) ((int)(field) == POLICY_MUTATE_FIELD)

/** A stored class, ready to read; summary is NULL for none. */
struct policy_class_view {
	const uint64_t *summary;
	const uint32_t *ranks;
	const uint64_t *words;
};

/** The rules that a field's value satisfies: any, or one of two classes. */
struct policy_field_view {
	const uint64_t *any; /* NULL: every rule */
	const uint64_t *any_summary;
	struct policy_class_view classes[2];
};

struct policy_views {
	const policy_image_t *image;
	const struct policy_request *request;
	uint64_t now_wall_ns;
	uint32_t pending; /* fields, bit (1 << field) */
	struct policy_field_view fields[_POLICY_FIELD_MAX];
	const struct policy_image_endpoint *endpoints[_POLICY_SIDE_MAX]; /* NULL: not known */
	struct policy_class_view whole; /* rules that name this protocol without ports */
};

void policy_views_make(const policy_image_t *image, const struct policy_request *request,
                       uint64_t now_wall_ns, struct policy_views *ret_views);

/** Rule @p index's patterns: fields whose pattern does not match the known path. */
uint32_t policy_views_pattern_mismatch(const struct policy_views *views, uint32_t index);

/** Pending fields that rule @p index depends on. */
uint32_t policy_views_pending(const struct policy_views *views, uint32_t index);

static inline const struct policy_image_rule *policy_views_rule(const struct policy_views *views,
                                                                uint32_t index)
{
	return POLICY_AT(views->image, views->image->rules, struct policy_image_rule) + index;
}

static inline bool policy_views_expired(const struct policy_views *views,
                                        const struct policy_image_rule *rule)
{
	return rule->expires_wall_ns != 0 && views->now_wall_ns >= rule->expires_wall_ns &&
	       !POLICY_MUTATED(_POLICY_FIELD_MAX);
}

/* The base machine has no popcnt instruction, and the library's function uses a table. */
static inline uint32_t policy_popcount(uint64_t word)
{
	word -= word >> 1 & 0x5555555555555555ULL;
	word = (word & 0x3333333333333333ULL) + (word >> 2 & 0x3333333333333333ULL);
	word = (word + (word >> 4)) & 0x0f0f0f0f0f0f0f0fULL;
	return (uint32_t)(word * 0x0101010101010101ULL >> 56);
}

static inline uint64_t policy_class_word(const struct policy_class_view *view, uint32_t word)
{
	uint32_t block = word / 64;
	uint64_t bit = 1ULL << word % 64;
	if (view->summary == NULL || !(view->summary[block] & bit)) {
		return 0;
	}
	uint32_t before = policy_popcount(view->summary[block] & (bit - 1));
	return view->words[view->ranks[block] + before];
}

static inline uint64_t policy_field_word(const struct policy_field_view *view, uint32_t word)
{
	if (view->any == NULL) {
		return ~0ULL;
	}
	return view->any[word] | policy_class_word(&view->classes[0], word) |
	       policy_class_word(&view->classes[1], word);
}

static inline uint64_t policy_field_summary(const struct policy_field_view *view, uint32_t block)
{
	if (view->any == NULL) {
		return ~0ULL;
	}
	uint64_t summary = view->any_summary[block];
	for (unsigned i = 0; i < 2; i++) {
		if (view->classes[i].summary != NULL) {
			summary |= view->classes[i].summary[block];
		}
	}
	return summary;
}

static inline bool policy_field_has(const struct policy_field_view *view, uint32_t rule)
{
	return policy_field_word(view, rule / 64) >> rule % 64 & 1;
}
