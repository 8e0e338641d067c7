/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/** @file A parsed query. Never included from outside. */

#include "policy/internal.h"
#include "policy/query.h"

#define POLICY_QUERY_ENDS_MAX 8 /* fields that one term looks at */

enum policy_query_compare {
	POLICY_QUERY_NONE,   /* the record has no value */
	POLICY_QUERY_EQUAL,  /* text, whole */
	POLICY_QUERY_GLOB,   /* text with `*` and `?` */
	POLICY_QUERY_PART,   /* text somewhere inside */
	POLICY_QUERY_START,  /* text at the start */
	POLICY_QUERY_RANGE,  /* only number */
	POLICY_QUERY_PREFIX, /* only address */
};

/** One of the values of a list. Text is in lower case; numbers and prefixes if it reads as one. */
struct policy_query_choice {
	enum policy_query_compare compare;
	const char *text;
	bool has_range, has_prefix;
	bool id_start; /* of a UUID or container ID the start will do */
	uint64_t first, last;
	struct pr_prefix prefix;
};

struct policy_query_term {
	uint8_t fields[POLICY_QUERY_ENDS_MAX]; /* enum policy_query_field: any of them */
	uint8_t field_count;
	const char *key; /* label */
	const struct policy_query_choice *choices;
	size_t choice_count;
};

enum policy_query_kind {
	POLICY_QUERY_ALL,
	POLICY_QUERY_TERM,
	POLICY_QUERY_NOT, /* left */
	POLICY_QUERY_AND,
	POLICY_QUERY_OR,
};

struct policy_query_node {
	enum policy_query_kind kind;
	const struct policy_query_node *left, *right;
	const struct policy_query_term *term;
};

struct policy_query {
	struct policy_arena arena;
	const struct policy_query_node *root;
	bool uses[_POLICY_QUERY_FIELD_MAX];
};

/** What the parser knows of a field word. */
enum policy_query_value_kind {
	POLICY_QUERY_WORDS,   /* text */
	POLICY_QUERY_NUMBERS, /* numbers, ranges, comparisons */
	POLICY_QUERY_ADDRS,
	POLICY_QUERY_IDS,   /* text, or its start */
	POLICY_QUERY_ENUM,  /* one of some words */
	POLICY_QUERY_MIXED, /* a name or a number */
	POLICY_QUERY_WHO,   /* name, UUID, container or address */
};

struct policy_query_field_spec {
	const char *word;
	enum policy_query_value_kind kind;
	int8_t source, destination; /* enum policy_query_field; -1: none. One-sided: source */
	const char *const *words;   /* ENUM: NULL-terminated, pairs of what is said and meant */
};

/**
 * Find a field by its word (without `:`), and what it looks at.
 * @param term  fields and key are filled.
 * @return NULL: no such field.
 */
const struct policy_query_field_spec *policy_query_field_find(struct policy_arena *arena,
                                                              const char *word,
                                                              struct policy_query_term *term);

/** Words of all fields, for suggestions. @return how many. */
size_t policy_query_field_words(const char **words, size_t max);
