/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "policy/parser.h"

/* `default` or `group NAME`, and the end of the line. */
static bool read_target(struct policy_parser *parser, const char **ret_group, uint32_t *ret_index)
{
	static const char *const words[] = { "default", "group" };
	const char *text = parser->token.text;
	char hint[POLICY_HINT_BYTES];
	if (policy_token_is(parser, "default")) {
		if (!policy_token_next(parser)) {
			return false;
		}
	} else if (policy_token_is(parser, "group")) {
		if (!policy_token_next(parser) ||
		    !policy_value_group(parser, ret_group, ret_index)) {
			return false;
		}
	} else {
		return policy_token_error(parser, "write default or group NAME%s",
		                          policy_hint(text, words, 2, hint, sizeof(hint)));
	}
	if (parser->token.kind != POLICY_TOKEN_END) {
		return policy_token_error(parser, "\"%.*s\" is too much here", POLICY_SHOWN(text));
	}
	return true;
}

bool policy_line_mode(struct policy_parser *parser, struct policy_line *line)
{
	static const char *const words[] = { "observe", "enforce" };
	char hint[POLICY_HINT_BYTES];
	struct policy_mode_line *mode = policy_arena_alloc(&parser->model->arena, sizeof(*mode));
	if (mode == NULL) {
		return policy_parser_no_memory(parser);
	}
	line->mode = mode;
	mode->group_index = POLICY_NO_INDEX;
	if (policy_token_is(parser, "enforce")) {
		mode->mode = POLICY_ENFORCE;
	} else if (policy_token_is(parser, "observe")) {
		mode->mode = POLICY_OBSERVE;
	} else {
		return policy_token_error(
			parser, "a mode is observe or enforce%s",
			policy_hint(parser->token.text, words, 2, hint, sizeof(hint)));
	}
	return policy_token_next(parser) && read_target(parser, &mode->group, &mode->group_index);
}

bool policy_line_lost(struct policy_parser *parser, struct policy_line *line)
{
	static const char *const words[] = { "allow", "last-known", "deny" };
	char hint[POLICY_HINT_BYTES];
	struct policy_lost_line *lost = policy_arena_alloc(&parser->model->arena, sizeof(*lost));
	if (lost == NULL) {
		return policy_parser_no_memory(parser);
	}
	line->lost = lost;
	lost->group_index = POLICY_NO_INDEX;
	size_t kind = 0;
	while (kind < PR_ARRAY_LEN(words) && !policy_token_is(parser, words[kind])) {
		kind++;
	}
	if (kind == PR_ARRAY_LEN(words)) {
		return policy_token_error(
			parser, "a lost mode is deny, last-known or allow%s",
			policy_hint(parser->token.text, words, 3, hint, sizeof(hint)));
	}
	lost->lost.kind = (enum policy_lost_kind)kind;
	if (!policy_token_next(parser)) {
		return false;
	}
	if (lost->lost.kind == POLICY_LOST_LAST_KNOWN) {
		lost->lost.last_known_s = POLICY_LAST_KNOWN_DEFAULT_S;
		bool digit = parser->token.text[0] >= '0' && parser->token.text[0] <= '9';
		if (digit && !policy_value_duration(parser, &lost->lost.last_known_s)) {
			return false;
		}
	}
	return read_target(parser, &lost->group, &lost->group_index);
}
