/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "policy/parser.h"

/* Columns count characters: every byte that does not continue one. Goes on where it last was. */
static uint32_t column_of(struct policy_parser *parser, size_t offset)
{
	size_t i = parser->column_offset;
	if (offset < i) {
		i = 0;
		parser->column = 1;
	}
	for (; i < offset && i < parser->size_bytes; i++) {
		parser->column += ((unsigned char)parser->start[i] & 0xc0) != 0x80;
	}
	parser->column_offset = i;
	return parser->column;
}

bool policy_parser_error_at(struct policy_parser *parser, uint32_t column, const char *format, ...)
{
	char message[POLICY_MESSAGE_BYTES];
	va_list args;
	va_start(args, format);
	(void)vsnprintf(message, sizeof(message), format, args);
	va_end(args);
	policy_errors_add(parser->errors, parser->line, column, "%s", message);
	return false;
}

bool policy_token_error(struct policy_parser *parser, const char *format, ...)
{
	char message[POLICY_MESSAGE_BYTES];
	va_list args;
	va_start(args, format);
	(void)vsnprintf(message, sizeof(message), format, args);
	va_end(args);
	return policy_parser_error_at(parser, parser->token.column, "%s", message);
}

bool policy_parser_no_memory(struct policy_parser *parser)
{
	parser->out_of_memory = true;
	return false;
}

bool policy_line_check(struct policy_parser *parser)
{
	if (parser->size_bytes > POLICY_LINE_MAX_BYTES) {
		return policy_parser_error_at(parser, 1, "line of %zu bytes is longer than %u",
		                              parser->size_bytes, POLICY_LINE_MAX_BYTES);
	}
	size_t offset = 0;
	while (offset < parser->size_bytes) {
		uint32_t code = 0;
		size_t bytes = policy_utf8_next(parser->start + offset, parser->size_bytes - offset,
		                                &code);
		if (bytes == 0) {
			return policy_parser_error_at(parser, column_of(parser, offset),
			                              "byte 0x%02x is not valid UTF-8",
			                              (unsigned char)parser->start[offset]);
		}
		bool line_end = code == '\r' && offset + 1 == parser->size_bytes;
		if (policy_code_is_hostile(code) && !line_end) {
			return policy_parser_error_at(parser, column_of(parser, offset),
			                              "control or invisible character U+%04X is "
			                              "not allowed",
			                              code);
		}
		offset += bytes;
	}
	return true;
}

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

static bool read_string(struct policy_parser *parser)
{
	struct policy_token *token = &parser->token;
	size_t i = parser->offset + 1;
	token->kind = POLICY_TOKEN_STRING;
	while (i < parser->size_bytes && parser->start[i] != '"') {
		if (parser->start[i] != '\\') {
			token->text[token->bytes++] = parser->start[i++];
			continue;
		}
		size_t taken = policy_escape_read(parser->start + i, parser->size_bytes - i,
		                                  token->text, &token->bytes);
		if (taken == 0) {
			return policy_parser_error_at(parser, column_of(parser, i),
			                              POLICY_ESCAPES " in quotes");
		}
		i += taken;
	}
	if (i == parser->size_bytes) {
		return policy_token_error(parser, "quotes are not closed");
	}
	i++;
	if (i < parser->size_bytes && !is_space(parser->start[i])) {
		return policy_parser_error_at(parser, column_of(parser, i),
		                              "a space must follow the closing quotes");
	}
	parser->offset = i;
	return true;
}

static bool read_word(struct policy_parser *parser)
{
	struct policy_token *token = &parser->token;
	size_t i = parser->offset;
	token->kind = POLICY_TOKEN_WORD;
	while (i < parser->size_bytes && !is_space(parser->start[i])) {
		if (parser->start[i] == '"') {
			return policy_parser_error_at(parser, column_of(parser, i),
			                              "quotes inside a word: put the whole value "
			                              "in quotes");
		}
		token->text[token->bytes++] = parser->start[i++];
	}
	parser->offset = i;
	return true;
}

bool policy_token_next(struct policy_parser *parser)
{
	struct policy_token *token = &parser->token;
	while (parser->offset < parser->size_bytes && is_space(parser->start[parser->offset])) {
		parser->offset++;
	}
	token->column = column_of(parser, parser->offset);
	token->kind = POLICY_TOKEN_END;
	token->bytes = 0;
	bool good = true;
	if (parser->offset < parser->size_bytes && parser->start[parser->offset] != '#') {
		good = parser->start[parser->offset] == '"' ? read_string(parser)
		                                            : read_word(parser);
	}
	token->text[token->bytes] = '\0';
	return good;
}

bool policy_token_is(const struct policy_parser *parser, const char *word)
{
	return parser->token.kind == POLICY_TOKEN_WORD && strcmp(parser->token.text, word) == 0;
}
