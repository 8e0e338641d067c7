/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "policy/parser.h"

typedef bool (*line_fn)(struct policy_parser *parser, struct policy_line *line);

static const struct {
	const char *word;
	enum policy_line_kind kind;
	line_fn read;
} line_table[] = {
	{ "mode", POLICY_LINE_MODE, policy_line_mode },
	{ "lost", POLICY_LINE_LOST, policy_line_lost },
	{ "lifeline", POLICY_LINE_LIFELINE, policy_line_lifeline },
	{ "group", POLICY_LINE_GROUP, policy_line_group },
	{ "usergroup", POLICY_LINE_USERGROUP, policy_line_usergroup },
	{ "rule", POLICY_LINE_RULE, policy_line_rule },
	{ "expect", POLICY_LINE_EXPECT, policy_line_expect },
};

static bool unknown_line(struct policy_parser *parser)
{
	const char *words[PR_ARRAY_LEN(line_table)];
	char hint[POLICY_HINT_BYTES];
	for (size_t i = 0; i < PR_ARRAY_LEN(line_table); i++) {
		words[i] = line_table[i].word;
	}
	const char *text = parser->token.text;
	if (parser->token.kind == POLICY_TOKEN_STRING) {
		return policy_token_error(parser, "a line starts with a word without quotes");
	}
	(void)policy_hint(text, words, PR_ARRAY_LEN(words), hint, sizeof(hint));
	return policy_token_error(parser, "unknown word \"%.*s\"%s", POLICY_SHOWN(text),
	                          hint[0] != '\0' ? hint
	                                          : ": a line starts with mode, lost, lifeline, "
	                                            "group, usergroup, rule or expect");
}

static bool parse_line(struct policy_parser *parser, struct policy_line *line)
{
	line->kind = POLICY_LINE_BLANK;
	if (!policy_line_check(parser) || !policy_token_next(parser)) {
		return false;
	}
	if (parser->token.kind == POLICY_TOKEN_END) {
		return true;
	}
	for (size_t i = 0; i < PR_ARRAY_LEN(line_table); i++) {
		if (policy_token_is(parser, line_table[i].word)) {
			line->kind = line_table[i].kind;
			return policy_token_next(parser) && line_table[i].read(parser, line);
		}
	}
	return unknown_line(parser);
}

static bool parse_next_line(struct policy_parser *parser, const char *start, size_t size_bytes)
{
	if (parser->model->lines.count == POLICY_LINES_MAX) {
		return policy_parser_error_at(parser, 1, "more than %u lines", POLICY_LINES_MAX);
	}
	struct policy_line *line = policy_array_add(&parser->model->lines, sizeof(*line));
	if (line == NULL) {
		return policy_parser_no_memory(parser);
	}
	line->text = start;
	line->size_bytes = (uint32_t)size_bytes;
	parser->line++;
	parser->start = start;
	parser->size_bytes = size_bytes;
	parser->offset = 0;
	parser->column_offset = 0;
	parser->column = 1;
	parser->services.count = 0;
	(void)parse_line(parser, line); /* its error is noted: the other lines are read too */
	return !parser->out_of_memory && !parser->model->arena.failed;
}

static void parse_lines(struct policy_parser *parser)
{
	const char *text = parser->model->text;
	const char *end = text + parser->model->text_size_bytes;
	while (text < end) {
		const char *newline = memchr(text, '\n', (size_t)(end - text));
		const char *line_end = newline != NULL ? newline : end;
		if (!parse_next_line(parser, text, (size_t)(line_end - text))) {
			return;
		}
		text = line_end + 1;
	}
}

static int model_new(const char *text, size_t size_bytes, policy_model_t **ret_model)
{
	_cleanup_(policy_model_destroy) policy_model_t *model = calloc(1, sizeof(*model));
	if (model == NULL) {
		return PR_ENOMEM;
	}
	model->text = malloc(size_bytes + 1);
	if (model->text == NULL) {
		return PR_ENOMEM;
	}
	if (size_bytes > 0) {
		memcpy(model->text, text, size_bytes);
	}
	model->text[size_bytes] = '\0';
	model->text_size_bytes = size_bytes;
	*ret_model = take_ptr(model);
	return PR_OK;
}

static int parse_all(struct policy_parser *parser)
{
	parse_lines(parser);
	if (!parser->out_of_memory) {
		policy_text_resolve(parser);
	}
	bool failed = parser->out_of_memory || parser->model->arena.failed;
	policy_array_done(&parser->references);
	policy_array_done(&parser->services);
	policy_array_done(&parser->terms);
	policy_array_done(&parser->users);
	return failed ? PR_ENOMEM : PR_OK;
}

int policy_text_parse(const char *text, size_t size_bytes, struct policy_errors *errors,
                      policy_model_t **ret_model)
{
	errors->count = 0;
	errors->total = 0;
	if (size_bytes > POLICY_TEXT_MAX_BYTES) {
		policy_errors_add(errors, 1, 1, "text of %zu bytes is longer than %u", size_bytes,
		                  POLICY_TEXT_MAX_BYTES);
		return PR_EPOLICY;
	}
	_cleanup_(policy_model_destroy) policy_model_t *model = NULL;
	int err = model_new(text, size_bytes, &model);
	if (err != PR_OK) {
		return err;
	}
	_cleanup_(pr_free) struct policy_parser *parser = calloc(1, sizeof(*parser));
	if (parser == NULL) {
		return PR_ENOMEM;
	}
	parser->model = model;
	parser->errors = errors;
	err = parse_all(parser);
	if (err != PR_OK) {
		return err;
	}
	if (errors->total > 0) {
		policy_errors_sort(errors);
		return PR_EPOLICY;
	}
	*ret_model = take_ptr(model);
	return PR_OK;
}
