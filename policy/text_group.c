/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdio.h>
#include <string.h>

#include "policy/parser.h"

static const struct {
	const char *word;
	enum policy_selector_kind kind;
} selector_words[] = {
	{ "name", POLICY_SELECT_NAME },
	{ "image", POLICY_SELECT_IMAGE },
	{ "compose.project", POLICY_SELECT_COMPOSE_PROJECT },
	{ "compose.service", POLICY_SELECT_COMPOSE_SERVICE },
	{ "host", POLICY_SELECT_HOST },
	{ "cgroup", POLICY_SELECT_CGROUP },
	{ "kind", POLICY_SELECT_KIND },
};

#define LABEL_WORD "label."

static bool selector_kind(struct policy_parser *parser, struct policy_selector *selector)
{
	static const char *const words[] = {
		"name",   "image", "compose.project", "compose.service", "host",
		"cgroup", "kind",  "label.KEY"
	};
	const char *text = parser->token.text;
	char hint[POLICY_HINT_BYTES];
	for (size_t i = 0; i < PR_ARRAY_LEN(selector_words); i++) {
		if (policy_token_is(parser, selector_words[i].word)) {
			selector->kind = selector_words[i].kind;
			return policy_token_next(parser);
		}
	}
	if (strncmp(text, LABEL_WORD, sizeof(LABEL_WORD) - 1) != 0) {
		return policy_token_error(
			parser, "unknown selector \"%.*s\"%s", POLICY_SHOWN(text),
			policy_hint(text, words, PR_ARRAY_LEN(words), hint, sizeof(hint)));
	}
	size_t bytes = parser->token.bytes - (sizeof(LABEL_WORD) - 1);
	if (bytes == 0 || bytes > POLICY_VALUE_MAX_BYTES) {
		return policy_token_error(parser, "a label's key has 1 to %u bytes",
		                          POLICY_VALUE_MAX_BYTES);
	}
	selector->kind = POLICY_SELECT_LABEL;
	selector->key =
		policy_arena_text(&parser->model->arena, text + sizeof(LABEL_WORD) - 1, bytes);
	return selector->key != NULL ? policy_token_next(parser) : policy_parser_no_memory(parser);
}

static bool read_selector(struct policy_parser *parser, struct policy_selector *selector)
{
	static const char *const kinds[] = { "host", "container" };
	char hint[POLICY_HINT_BYTES];
	if (!selector_kind(parser, selector)) {
		return false;
	}
	if (selector->kind == POLICY_SELECT_KIND && !policy_token_is(parser, kinds[0]) &&
	    !policy_token_is(parser, kinds[1])) {
		return policy_token_error(
			parser, "a kind is host or container%s",
			policy_hint(parser->token.text, kinds, 2, hint, sizeof(hint)));
	}
	return policy_value_text(parser, "selector's value", POLICY_VALUE_MAX_BYTES,
	                         &selector->value);
}

static bool read_select(struct policy_parser *parser, struct policy_group_term *term)
{
	struct policy_array selectors = { 0 };
	bool good = true;
	if (parser->token.kind == POLICY_TOKEN_END) {
		return policy_token_error(parser, "a selector is missing, e.g. select name web*");
	}
	while (good && parser->token.kind != POLICY_TOKEN_END &&
	       !policy_token_is(parser, "select") && !policy_token_is(parser, "member")) {
		struct policy_selector *selector = policy_array_add(&selectors, sizeof(*selector));
		good = selector != NULL ? read_selector(parser, selector)
		                        : policy_parser_no_memory(parser);
	}
	if (good && selectors.count == 0) {
		good = policy_token_error(parser, "a selector is missing, e.g. select name web*");
	}
	if (good) {
		term->selectors =
			policy_arena_copy(&parser->model->arena, selectors.items,
		                          selectors.count * sizeof(struct policy_selector));
		term->selector_count = (uint32_t)selectors.count;
		good = term->selectors != NULL || policy_parser_no_memory(parser);
	}
	policy_array_done(&selectors);
	return good;
}

static bool read_term(struct policy_parser *parser, struct policy_group_term *term)
{
	static const char *const words[] = { "member", "select" };
	char hint[POLICY_HINT_BYTES];
	if (policy_token_is(parser, "member")) {
		return policy_token_next(parser) && policy_value_uuid(parser, &term->member);
	}
	if (policy_token_is(parser, "select")) {
		return policy_token_next(parser) && read_select(parser, term);
	}
	return policy_token_error(parser, "\"%.*s\": write member UUID or select SELECTOR VALUE%s",
	                          POLICY_SHOWN(parser->token.text),
	                          policy_hint(parser->token.text, words, 2, hint, sizeof(hint)));
}

/* Index of a group or usergroup, made if new. */
static uint32_t intern(struct policy_parser *parser, struct policy_names *names,
                       struct policy_array *items, size_t item_bytes, const char *name,
                       const char *what, uint32_t max)
{
	uint32_t index = policy_names_find(names, name);
	if (index != POLICY_NO_INDEX) {
		return index;
	}
	if (names->count == max) {
		(void)policy_parser_error_at(parser, 1, "more than %u %ss", max, what);
		return POLICY_NO_INDEX;
	}
	index = policy_names_add(names, name);
	if (index == POLICY_NO_INDEX || policy_array_add(items, item_bytes) == NULL) {
		(void)policy_parser_no_memory(parser);
		return POLICY_NO_INDEX;
	}
	return index;
}

bool policy_line_group(struct policy_parser *parser, struct policy_line *line)
{
	policy_model_t *model = parser->model;
	const char *name = NULL;
	if (!policy_value_name(parser, "group", &name)) {
		return false;
	}
	uint32_t index = intern(parser, &model->group_names, &model->groups,
	                        sizeof(struct policy_group), name, "group", POLICY_GROUPS_MAX);
	if (index == POLICY_NO_INDEX) {
		return false;
	}
	struct policy_group *group = (struct policy_group *)model->groups.items + index;
	if (group->name == NULL) {
		group->name = name;
		group->line = parser->line;
	}
	line->group = index;
	while (parser->token.kind != POLICY_TOKEN_END) {
		if (parser->terms.count == POLICY_MEMBERS_MAX) {
			return policy_parser_error_at(parser, 1,
			                              "more than %u members and selectors in all "
			                              "groups",
			                              POLICY_MEMBERS_MAX);
		}
		struct policy_owned_term *owned = policy_array_add(&parser->terms, sizeof(*owned));
		if (owned == NULL) {
			return policy_parser_no_memory(parser);
		}
		owned->group = index;
		if (!read_term(parser, &owned->term)) {
			return false;
		}
	}
	return true;
}

/* `a,b` or `a` of the current word. */
static bool read_members(struct policy_parser *parser, uint32_t usergroup, bool *ret_comma)
{
	char *rest = parser->token.text;
	uint32_t column = parser->token.column;
	bool split = parser->token.kind == POLICY_TOKEN_WORD;
	do {
		size_t bytes = split ? strcspn(rest, ",") : strlen(rest);
		bool comma = rest[bytes] == ',';
		rest[bytes] = '\0';
		if (parser->users.count == POLICY_MEMBERS_MAX) {
			return policy_parser_error_at(parser, 1,
			                              "more than %u members in all usergroups",
			                              POLICY_MEMBERS_MAX);
		}
		struct policy_owned_user *owned = policy_array_add(&parser->users, sizeof(*owned));
		if (owned == NULL) {
			return policy_parser_no_memory(parser);
		}
		owned->usergroup = usergroup;
		owned->column = column;
		if (!policy_user_from_text(parser, rest, column, true, &owned->user)) {
			return false;
		}
		owned->user.line = parser->line;
		*ret_comma = comma;
		rest += bytes + comma;
		column += (uint32_t)(bytes + comma);
	} while (*rest != '\0');
	return policy_token_next(parser);
}

static bool read_member_list(struct policy_parser *parser, uint32_t usergroup)
{
	bool comma = true;
	if (!policy_token_is(parser, "member")) {
		return policy_token_error(parser, "write member and user names or uids");
	}
	if (!policy_token_next(parser)) {
		return false;
	}
	while (comma && parser->token.kind != POLICY_TOKEN_END) {
		comma = false;
		if (!read_members(parser, usergroup, &comma)) {
			return false;
		}
	}
	return comma ? policy_token_error(parser, "a user is missing") : true;
}

bool policy_line_usergroup(struct policy_parser *parser, struct policy_line *line)
{
	policy_model_t *model = parser->model;
	const char *name = NULL;
	if (!policy_value_name(parser, "usergroup", &name)) {
		return false;
	}
	uint32_t index =
		intern(parser, &model->usergroup_names, &model->usergroups,
	               sizeof(struct policy_usergroup), name, "usergroup", POLICY_USERGROUPS_MAX);
	if (index == POLICY_NO_INDEX) {
		return false;
	}
	struct policy_usergroup *usergroup =
		(struct policy_usergroup *)model->usergroups.items + index;
	if (usergroup->name == NULL) {
		usergroup->name = name;
		usergroup->line = parser->line;
	}
	line->group = index;
	while (parser->token.kind != POLICY_TOKEN_END) {
		if (!read_member_list(parser, index)) {
			return false;
		}
	}
	return true;
}
