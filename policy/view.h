/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/**
 * @file
 * What a request satisfies, field by field: first as a tuple of classes, then as bitsets over
 * rules. Shared by evaluate.c, explain.c and cache.c. Never included from outside.
 *
 * POLICY_MUTATE_FIELD is for tests only: it builds an evaluator that does not compare one field
 * (_POLICY_FIELD_MAX: one that overlooks expiry), to prove that the tests would notice.
 */

#include "policy/image.h"

#ifndef POLICY_MUTATE_FIELD
#define POLICY_MUTATE_FIELD (-1)
#endif
#define POLICY_MUTATED(field) ((int)(field) == POLICY_MUTATE_FIELD)

/** All fields but protocol, port, source and destination. */
#define POLICY_FIELDS_RARER                                                                  \
	(1U << POLICY_FIELD_SOURCE_ADDR | 1U << POLICY_FIELD_DESTINATION_ADDR |              \
	 1U << POLICY_FIELD_USER | 1U << POLICY_FIELD_TO_USER | 1U << POLICY_FIELD_PROCESS | \
	 1U << POLICY_FIELD_TO_PROCESS)

/** Fields that may have two classes. */
#define POLICY_FIELDS_OF_TWO                                                                 \
	(1U << POLICY_FIELD_USER | 1U << POLICY_FIELD_TO_USER | 1U << POLICY_FIELD_PROCESS | \
	 1U << POLICY_FIELD_TO_PROCESS)

/** Set in a process's class: rules with a pattern may match as well. Offsets are even. */
#define POLICY_PATTERNS_TOO 1U
#define POLICY_CLASSES_MAX  (_POLICY_FIELD_MAX + _POLICY_SIDE_MAX)

/**
 * A request as the image sees it. Two requests with the same asker, protocol, modes, pending fields
 * and classes meet the same rules, except for expiry and for patterns of paths.
 */
struct policy_tuple {
	const policy_image_t *image;
	const struct policy_request *request;
	uint32_t pending;                     /* fields, bit (1 << field) */
	uint32_t active;                      /* fields that exclude any rule */
	uint32_t classes[POLICY_CLASSES_MAX]; /* by field, then users' names by side; 0: none */
	uint32_t only_by_port; /* the only rule of the port's class, + 1; 0: none, or look there */
	uint8_t modes[_POLICY_SIDE_MAX];
	uint8_t proto; /* 0 if no rule names one */
};

void policy_tuple_make(const policy_image_t *image, const struct policy_request *request,
                       struct policy_tuple *ret_tuple);

/**
 * The verdict on a tuple.
 * @return Does the tuple, with the image's epoch, decide all of it? Not if a path was compared.
 */
bool policy_tuple_evaluate(const struct policy_tuple *tuple, uint64_t now_wall_ns,
                           struct policy_verdict *ret_verdict);

/** Rules that a field leaves, in order. */
struct policy_few {
	unsigned field;
	uint32_t count;
	uint32_t rules[POLICY_FEW];
};

/** policy_tuple_few() beyond its short cut. */
bool policy_tuple_few_of_all(const struct policy_tuple *tuple, struct policy_few *ret_few);

/**
 * Is there an active field that leaves at most POLICY_FEW rules? Then evaluation looks at these
 * alone, which takes no longer than to ask a cache.
 */
static inline bool policy_tuple_few(const struct policy_tuple *tuple, struct policy_few *ret_few)
{
	/* Most requests: no rule, or one, has the port. */
	if (tuple->active & 1U << POLICY_FIELD_PORT &&
	    tuple->image->any_classes[POLICY_FIELD_PORT] == 0 &&
	    (tuple->only_by_port != 0 || tuple->classes[POLICY_FIELD_PORT] == 0)) {
		ret_few->field = POLICY_FIELD_PORT;
		ret_few->count = tuple->only_by_port != 0;
		ret_few->rules[0] = tuple->only_by_port - 1;
		return true;
	}
	return policy_tuple_few_of_all(tuple, ret_few);
}

/** policy_tuple_evaluate() for such a tuple. */
void policy_tuple_evaluate_few(const struct policy_tuple *tuple, const struct policy_few *few,
                               uint64_t now_wall_ns, struct policy_verdict *ret_verdict);
/** The second class of a field, beside that in the tuple's place for it; 0: none. */
static inline uint32_t policy_tuple_other(const struct policy_tuple *tuple, unsigned field)
{
	if (field == POLICY_FIELD_USER || field == POLICY_FIELD_TO_USER) {
		return tuple->classes[_POLICY_FIELD_MAX + (field == POLICY_FIELD_TO_USER)];
	}
	return tuple->classes[field] & POLICY_PATTERNS_TOO
	               ? tuple->image->processes[field == POLICY_FIELD_TO_PROCESS].patterns
	               : 0;
}

/** A stored class, ready to read; summary is NULL for none. */
struct policy_class_view {
	const uint64_t *summary;
	const uint32_t *ranks;
	const uint64_t *words;
};

/** The rules that a field's value satisfies: any, or one of two classes. */
struct policy_field_view {
	const uint64_t *any;
	const uint64_t *any_summary;
	struct policy_class_view classes[2];
};

struct policy_views {
	const policy_image_t *image;
	const struct policy_request *request;
	uint64_t now_wall_ns;
	uint32_t pending;                                   /* fields, bit (1 << field) */
	uint32_t active;                                    /* fields that exclude any rule */
	struct policy_field_view fields[_POLICY_FIELD_MAX]; /* only the active ones are filled */
	struct policy_class_view whole; /* rules that name this protocol without ports */
};

void policy_views_make(const struct policy_tuple *tuple, uint64_t now_wall_ns,
                       struct policy_views *ret_views);

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
	return view->any[word] | policy_class_word(&view->classes[0], word) |
	       policy_class_word(&view->classes[1], word);
}

static inline uint64_t policy_field_summary(const struct policy_field_view *view, uint32_t block)
{
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

/* Without a branch on what is not known before: reads a word even if it is that of another. */
static inline bool policy_class_has(const policy_image_t *image, uint32_t class_offset,
                                    uint32_t index)
{
	if (class_offset == 0) {
		return false;
	}
	uint32_t word = index / 64, block = word / 64;
	const uint64_t *summary = POLICY_AT(image, class_offset, uint64_t);
	const uint32_t *ranks = (const uint32_t *)(summary + image->block_count);
	const uint64_t *words =
		POLICY_AT(summary, policy_class_head_bytes(image->block_count), uint64_t);
	uint64_t before = summary[block] & ((1ULL << word % 64) - 1);
	uint64_t bits = words[ranks[block] + policy_popcount(before)];
	return bits >> index % 64 & summary[block] >> word % 64 & 1;
}

/** Does a field's value satisfy rule @p index? */
static inline bool policy_tuple_has(const struct policy_tuple *tuple, unsigned field,
                                    uint32_t index)
{
	const policy_image_t *image = tuple->image;
	if (image->any_classes[field] != 0) {
		const uint64_t *any = POLICY_AT(image, image->any[field], uint64_t);
		if (any[index / 64] >> index % 64 & 1) {
			return true;
		}
	}
	bool has = policy_class_has(image, tuple->classes[field] & ~POLICY_PATTERNS_TOO, index);
	if (POLICY_FIELDS_OF_TWO & 1U << field) {
		has = has || policy_class_has(image, policy_tuple_other(tuple, field), index);
	}
	return has;
}
