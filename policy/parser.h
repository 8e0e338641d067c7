/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/** @file The text parser's state, shared by text_*.c. Never included from outside. */

#include "policy/internal.h"

enum policy_token_kind { POLICY_TOKEN_END, POLICY_TOKEN_WORD, POLICY_TOKEN_STRING };

struct policy_token {
	enum policy_token_kind kind;
	uint32_t column; /* of its first character */
	size_t bytes;
	char text[POLICY_LINE_MAX_BYTES + 1];
};

/** A name whose meaning is known only when all lines are read. */
struct policy_reference {
	const char *name;
	uint32_t *ret_index; /* GROUP */
	struct policy_user_match *user;
	uint32_t line, column;
};

/** A group's term, in order of the text; gathered by group when all lines are read. */
struct policy_owned_term {
	uint32_t group;
	struct policy_group_term term;
};

struct policy_owned_user {
	uint32_t usergroup, column;
	struct policy_user_match user;
};

struct policy_parser {
	policy_model_t *model;
	struct policy_errors *errors;
	struct policy_array references; /* struct policy_reference */
	struct policy_array services;   /* struct policy_service, of this rule */
	struct policy_array terms;      /* struct policy_owned_term */
	struct policy_array users;      /* struct policy_owned_user */
	size_t service_count;           /* taken so far */
	size_t lifeline_count;
	size_t expect_count;
	bool out_of_memory;

	uint32_t line; /* from 1 */
	const char *start;
	size_t size_bytes;
	size_t offset;        /* where the next token is looked for */
	size_t column_offset; /* the last byte whose column was asked, and that column, 1 at first
	                       */
	uint32_t column;
	struct policy_token token;
};

/* ---- text_resolve.c ---- */

/** When all lines are read: names, duplicates, order. Notes errors. */
void policy_text_resolve(struct policy_parser *parser);

/* ---- text_token.c ---- */

/** Read the next token. @return false: malformed, and the error is noted. */
bool policy_token_next(struct policy_parser *parser);
bool policy_token_is(const struct policy_parser *parser, const char *word);
/** Note an error at the current token. Always false, for `return`. */
bool policy_token_error(struct policy_parser *parser, const char *format, ...) _printf_(2, 3);
bool policy_parser_error_at(struct policy_parser *parser, uint32_t column, const char *format, ...)
	_printf_(3, 4);
/** Memory failed: makes the whole parse fail. Always false. */
bool policy_parser_no_memory(struct policy_parser *parser);
/** UTF-8, no control or hidden characters. Notes the error. */
bool policy_line_check(struct policy_parser *parser);
/** A token's text, cut to what a message can hold: two arguments for "%.*s". */
#define POLICY_SHOWN(text) policy_shown_bytes(text), (text)
#define POLICY_HINT_BYTES  96

/* ---- text_value.c: each reads the current token(s) and leaves the next one current ---- */

bool policy_value_number(struct policy_parser *parser, const char *what, uint64_t min, uint64_t max,
                         uint64_t *ret_number);
bool policy_value_uuid(struct policy_parser *parser, struct pr_uuid *ret_id);
/** A name in the arena. @param what  "group", "owner": for messages. */
bool policy_value_name(struct policy_parser *parser, const char *what, const char **ret_name);
/** Any text up to @p max bytes. */
bool policy_value_text(struct policy_parser *parser, const char *what, size_t max_bytes,
                       const char **ret_text);
bool policy_value_operand(struct policy_parser *parser, struct policy_operand *ret_operand);
bool policy_value_user(struct policy_parser *parser, struct policy_user_match *ret_user);
bool policy_value_process(struct policy_parser *parser, bool glob_allowed,
                          struct policy_process_match *ret_process);
bool policy_value_expires(struct policy_parser *parser, uint64_t *ret_wall_ns);
bool policy_value_duration(struct policy_parser *parser, uint32_t *ret_s);
/** Reference to a group by the current token. */
bool policy_value_group(struct policy_parser *parser, const char **ret_name, uint32_t *ret_index);
/** One user name or uid, from @p text at @p column. */
bool policy_user_from_text(struct policy_parser *parser, const char *text, uint32_t column,
                           bool in_usergroup, struct policy_user_match *user);
bool policy_value_is_uuid(const char *text);

/* ---- text_service.c ---- */

/** Add the ranges of one word (`tcp/80,443`) to parser->services. */
bool policy_value_service(struct policy_parser *parser);
/** Would the word be a service? `any` is one. */
bool policy_word_is_service(const char *word);
bool policy_services_take(struct policy_parser *parser, const struct policy_service **ret_services,
                          size_t *ret_count);

/* ---- text_rule.c ---- */

bool policy_line_rule(struct policy_parser *parser, struct policy_line *line);
bool policy_line_lifeline(struct policy_parser *parser, struct policy_line *line);
bool policy_line_expect(struct policy_parser *parser, struct policy_line *line);

/* ---- text_group.c ---- */

bool policy_line_group(struct policy_parser *parser, struct policy_line *line);
bool policy_line_usergroup(struct policy_parser *parser, struct policy_line *line);

/* ---- text_mode.c ---- */

bool policy_line_mode(struct policy_parser *parser, struct policy_line *line);
bool policy_line_lost(struct policy_parser *parser, struct policy_line *line);
