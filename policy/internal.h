/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/** @file What the files of policy/ share. Never included from outside. */

#include "policy/policy.h"

#define POLICY_PROTO_ICMP  1
#define POLICY_PROTO_TCP   6
#define POLICY_PROTO_UDP   17
#define POLICY_PROTO_ICMP6 58

/** In front of a usergroup's name, where a user's may stand, too. */
#define POLICY_USERGROUP_MARK '@'

/* ---- arena: memory that lives as long as its model ---- */

struct policy_chunk;

struct policy_arena {
	struct policy_chunk *chunks;
	bool failed; /* sticky: out of memory */
};

/** Zeroed, aligned for any type. NULL: out of memory, and failed is set. */
void *policy_arena_alloc(struct policy_arena *arena, size_t size_bytes);
void *policy_arena_copy(struct policy_arena *arena, const void *data, size_t size_bytes);
/** Copy of a text, NUL-terminated. */
const char *policy_arena_text(struct policy_arena *arena, const char *text, size_t size_bytes);
void policy_arena_done(struct policy_arena *arena);

/* ---- growing array ---- */

struct policy_array {
	void *items;
	size_t count;
	size_t capacity;
};

/** Room for one more item of @p item_bytes, zeroed; NULL: out of memory. */
void *policy_array_add(struct policy_array *array, size_t item_bytes);
void policy_array_done(struct policy_array *array);

/* ---- names -> index ---- */

struct policy_names {
	const char **names; /* by index; borrowed */
	uint32_t *slots;    /* index + 1; 0 is free */
	uint32_t slot_mask;
	uint32_t count;
	uint32_t capacity;
};

#define POLICY_NO_INDEX UINT32_MAX

uint32_t policy_hash(const void *data, size_t size_bytes);
/** Index of a name, POLICY_NO_INDEX if it is not there. */
uint32_t policy_names_find(const struct policy_names *names, const char *name);
/** Add a name that is not there. POLICY_NO_INDEX: out of memory. */
uint32_t policy_names_add(struct policy_names *names, const char *name);
void policy_names_done(struct policy_names *names);

/* ---- model ---- */

struct policy_rule_ref {
	const struct policy_rule *rule;
	uint32_t line; /* index */
};

struct policy_model {
	struct policy_arena arena;
	char *text;
	size_t text_size_bytes;
	struct policy_array lines;      /* struct policy_line */
	struct policy_array rules;      /* struct policy_rule_ref, by number */
	struct policy_array groups;     /* struct policy_group */
	struct policy_array usergroups; /* struct policy_usergroup */
	struct policy_names group_names;
	struct policy_names usergroup_names;
};

bool policy_term_matches(const struct policy_group_term *term,
                         const struct policy_endpoint *endpoint);
bool policy_prefix_matches(const struct pr_prefix *prefix, const struct pr_addr *addr);

/* ---- errors of a text ---- */

void policy_errors_add(struct policy_errors *errors, uint32_t line, uint32_t column,
                       const char *format, ...) _printf_(4, 5);
void policy_errors_sort(struct policy_errors *errors);
/** `, did you mean "x"?` or nothing, in @p buffer. Returns @p buffer. */
const char *policy_hint(const char *word, const char *const *words, size_t count, char *buffer,
                        size_t buffer_bytes);
/** A token as it may stand in a message: at most 40 bytes, cut between characters. */
int policy_shown_bytes(const char *text);

/**
 * Length of the UTF-8 character at @p text, 0 if it is malformed; @p ret_code is its code point.
 */
size_t policy_utf8_next(const char *text, size_t size_bytes, uint32_t *ret_code);
/** Control, bidirectional or invisible: not allowed in a policy or a query, but for escapes. */
bool policy_code_is_hostile(uint32_t code);

/* ---- escapes in quotes ---- */

#define POLICY_ESCAPES      "only \\\", \\\\, \\x01 to \\x7f and \\u{1} to \\u{10ffff} may stand"
#define POLICY_ESCAPE_BYTES 16U

/**
 * The character that an escape at @p text stands for, behind the @p bytes that @p to has.
 *
 * @return  how many bytes of @p text it takes, never fewer than it adds; 0: it is none.
 */
size_t policy_escape_read(const char *text, size_t size_bytes, char *to, size_t *bytes);
/** The first character of @p text as it stands in quotes; returns its bytes there. */
size_t policy_escape_format(const char *text, char shown[static POLICY_ESCAPE_BYTES]);
/** Does a text hold what may stand as an escape alone? */
bool policy_text_is_hostile(const char *text);
