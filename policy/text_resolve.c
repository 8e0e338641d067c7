/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdlib.h>
#include <string.h>

#include "policy/parser.h"

static void error_at(struct policy_parser *parser, uint32_t line, uint32_t column,
                     const char *message, const char *name, const char *hint)
{
	policy_errors_add(parser->errors, line, column, "%s \"%.*s\"%s", message,
	                  POLICY_SHOWN(name), hint);
}

static void resolve_group(struct policy_parser *parser, const struct policy_reference *reference)
{
	const struct policy_names *names = &parser->model->group_names;
	char hint[POLICY_HINT_BYTES] = "";
	*reference->ret_index = policy_names_find(names, reference->name);
	if (*reference->ret_index != POLICY_NO_INDEX) {
		return;
	}
	if (parser->errors->count < POLICY_ERRORS_MAX) {
		(void)policy_hint(reference->name, names->names, names->count, hint, sizeof(hint));
	}
	error_at(parser, reference->line, reference->column, "unknown group", reference->name,
	         hint);
}

/* "@ops" is the usergroup, "ops" the user. Where both are called so, "ops" is more likely to be a
 * mistake than a user, and would change its meaning with the usergroup: it is refused. */
static void resolve_user(struct policy_parser *parser, const struct policy_reference *reference)
{
	const struct policy_names *names = &parser->model->usergroup_names;
	uint32_t index = policy_names_find(names, reference->name);
	char hint[POLICY_HINT_BYTES] = "";

	if (reference->user->kind == POLICY_USER_NAME) {
		if (index != POLICY_NO_INDEX) {
			policy_errors_add(parser->errors, reference->line, reference->column,
			                  "\"%.*s\" is a usergroup: write @%.*s, or the uid of a "
			                  "user of that name",
			                  POLICY_SHOWN(reference->name),
			                  POLICY_SHOWN(reference->name));
		}
		return;
	}
	reference->user->usergroup = index;
	if (index == POLICY_NO_INDEX) {
		if (parser->errors->count < POLICY_ERRORS_MAX) {
			(void)policy_hint(reference->name, names->names, names->count, hint,
			                  sizeof(hint));
		}
		error_at(parser, reference->line, reference->column, "unknown usergroup",
		         reference->name, hint);
	}
}

static void resolve_references(struct policy_parser *parser)
{
	const struct policy_reference *references = parser->references.items;
	for (size_t i = 0; i < parser->references.count; i++) {
		if (references[i].user == NULL) {
			resolve_group(parser, &references[i]);
		} else {
			resolve_user(parser, &references[i]);
		}
	}
}

/* Terms are in order of the text; each group's become one array, in that order. */
static void gather_terms(struct policy_parser *parser)
{
	policy_model_t *model = parser->model;
	struct policy_group *groups = model->groups.items;
	const struct policy_owned_term *owned = parser->terms.items;
	for (size_t i = 0; i < parser->terms.count; i++) {
		groups[owned[i].group].term_count++;
	}
	for (size_t i = 0; i < model->groups.count; i++) {
		groups[i].terms = policy_arena_alloc(&model->arena,
		                                     groups[i].term_count * sizeof(owned->term));
		if (groups[i].terms == NULL) {
			return;
		}
		groups[i].term_count = 0;
	}
	for (size_t i = 0; i < parser->terms.count; i++) {
		struct policy_group *group = &groups[owned[i].group];
		struct policy_group_term *terms = (struct policy_group_term *)group->terms;
		terms[group->term_count++] = owned[i].term;
	}
}

static void gather_users(struct policy_parser *parser)
{
	policy_model_t *model = parser->model;
	struct policy_usergroup *usergroups = model->usergroups.items;
	const struct policy_owned_user *owned = parser->users.items;
	for (size_t i = 0; i < parser->users.count; i++) {
		usergroups[owned[i].usergroup].member_count++;
	}
	for (size_t i = 0; i < model->usergroups.count; i++) {
		usergroups[i].members = policy_arena_alloc(
			&model->arena, usergroups[i].member_count * sizeof(owned->user));
		if (usergroups[i].members == NULL) {
			return;
		}
		usergroups[i].member_count = 0;
	}
	for (size_t i = 0; i < parser->users.count; i++) {
		struct policy_usergroup *usergroup = &usergroups[owned[i].usergroup];
		struct policy_user_match *users = (struct policy_user_match *)usergroup->members;
		users[usergroup->member_count++] = owned[i].user;
	}
}

/* A usergroup as a member would be taken for a user of that name: more likely a mistake. */
static void check_nesting(struct policy_parser *parser)
{
	const struct policy_owned_user *owned = parser->users.items;
	for (size_t i = 0; i < parser->users.count; i++) {
		const char *name = owned[i].user.name;
		if (name != NULL &&
		    policy_names_find(&parser->model->usergroup_names, name) != POLICY_NO_INDEX) {
			error_at(parser, owned[i].user.line, owned[i].column,
			         "a usergroup cannot be a member of a usergroup:", name, "");
		}
	}
}

static int compare_rules(const void *left, const void *right)
{
	const struct policy_rule_ref *a = left, *b = right;
	if (a->rule->number != b->rule->number) {
		return a->rule->number < b->rule->number ? -1 : 1;
	}
	return a->line == b->line ? 0 : a->line < b->line ? -1 : 1;
}

static void order_rules(struct policy_parser *parser)
{
	struct policy_array *rules = &parser->model->rules;
	struct policy_rule_ref *refs = rules->items;
	if (rules->count > 1) {
		qsort(refs, rules->count, sizeof(*refs), compare_rules);
	}
	for (size_t i = 1; i < rules->count; i++) {
		if (refs[i].rule->number == refs[i - 1].rule->number) {
			policy_errors_add(parser->errors, refs[i].line + 1, 1,
			                  "rule %u stands already at line %u: give one of them "
			                  "another number",
			                  refs[i].rule->number, refs[i - 1].line + 1);
		}
	}
}

/* A default and each group can have one mode and one lost line. */
static void check_twice(struct policy_parser *parser, const uint32_t *first, uint32_t line)
{
	if (*first != 0) {
		policy_errors_add(parser->errors, line, 1,
		                  "said already at line %u: one of the two must go", *first);
	}
}

static void check_modes(struct policy_parser *parser)
{
	const struct policy_line *lines = parser->model->lines.items;
	size_t targets = parser->model->groups.count + 1;
	_cleanup_(pr_free) uint32_t *said = calloc(targets * 2, sizeof(*said));
	if (said == NULL) {
		parser->out_of_memory = true;
		return;
	}
	for (uint32_t i = 0; i < parser->model->lines.count; i++) {
		bool mode = lines[i].kind == POLICY_LINE_MODE;
		const char *group = NULL;
		uint32_t index = POLICY_NO_INDEX;
		if (mode) {
			group = lines[i].mode->group;
			index = lines[i].mode->group_index;
		} else if (lines[i].kind == POLICY_LINE_LOST) {
			group = lines[i].lost->group;
			index = lines[i].lost->group_index;
		} else {
			continue;
		}
		if (group != NULL && index == POLICY_NO_INDEX) {
			continue;
		}
		size_t target = (group != NULL ? index + 1 : 0) + (mode ? 0 : targets);
		check_twice(parser, &said[target], i + 1);
		said[target] = i + 1;
	}
}

void policy_text_resolve(struct policy_parser *parser)
{
	gather_terms(parser);
	gather_users(parser);
	if (parser->model->arena.failed) {
		return;
	}
	resolve_references(parser);
	check_nesting(parser);
	order_rules(parser);
	if (parser->errors->total == 0) {
		check_modes(parser);
	}
}
