/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdio.h>
#include <string.h>

#include "policy/parser.h"

/* What rule, lifeline and expect lines are made of; each line allows some of it. */
struct clauses {
	struct policy_operand *source, *destination;
	struct policy_user_match *user, *to_user;
	struct policy_process_match *process, *to_process;
	struct policy_rule *rule; /* NULL: not a rule line */
	uint32_t seen;            /* bit per clause */
};

typedef bool (*clause_fn)(struct policy_parser *parser, struct clauses *clauses);

static bool clause_from(struct policy_parser *parser, struct clauses *clauses)
{
	return policy_value_operand(parser, clauses->source);
}

static bool clause_to(struct policy_parser *parser, struct clauses *clauses)
{
	return policy_value_operand(parser, clauses->destination);
}

static bool clause_user(struct policy_parser *parser, struct clauses *clauses)
{
	return policy_value_user(parser, clauses->user);
}

static bool clause_to_user(struct policy_parser *parser, struct clauses *clauses)
{
	return policy_value_user(parser, clauses->to_user);
}

static bool clause_process(struct policy_parser *parser, struct clauses *clauses)
{
	return policy_value_process(parser, clauses->rule != NULL, clauses->process);
}

static bool clause_to_process(struct policy_parser *parser, struct clauses *clauses)
{
	return policy_value_process(parser, clauses->rule != NULL, clauses->to_process);
}

static bool clause_expires(struct policy_parser *parser, struct clauses *clauses)
{
	return policy_value_expires(parser, &clauses->rule->expires_wall_ns);
}

static bool clause_owner(struct policy_parser *parser, struct clauses *clauses)
{
	return policy_value_text(parser, "owner", POLICY_NAME_MAX_BYTES, &clauses->rule->owner);
}

static bool clause_comment(struct policy_parser *parser, struct clauses *clauses)
{
	return policy_value_text(parser, "comment", POLICY_COMMENT_MAX_BYTES,
	                         &clauses->rule->comment);
}

static const struct clause {
	const char *word;
	clause_fn read;
	bool in_lifeline, in_expect;
} clause_table[] = {
	{ "from", clause_from, true, true },
	{ "to", clause_to, true, true },
	{ "user", clause_user, false, true },
	{ "process", clause_process, false, true },
	{ "to-user", clause_to_user, false, true },
	{ "to-process", clause_to_process, false, true },
	{ "expires", clause_expires, false, false },
	{ "owner", clause_owner, false, false },
	{ "comment", clause_comment, false, false },
};

#define CLAUSE_FROM 1U
#define CLAUSE_TO   2U

static bool read_status(struct policy_parser *parser, struct policy_rule *rule)
{
	enum policy_status status =
		policy_token_is(parser, "staged") ? POLICY_STAGED : POLICY_DISABLED;
	if (rule->status == status) {
		return policy_token_error(parser, "\"%s\" is given twice", parser->token.text);
	}
	if (rule->status != POLICY_ENABLED) {
		return policy_token_error(parser, "a rule is staged or disabled, not both");
	}
	rule->status = status;
	return policy_token_next(parser);
}

static bool read_clause(struct policy_parser *parser, size_t index, struct clauses *clauses)
{
	const struct clause *clause = &clause_table[index];
	if (clauses->seen & 1U << index) {
		return policy_token_error(parser, "\"%s\" is given twice", clause->word);
	}
	clauses->seen |= 1U << index;
	return policy_token_next(parser) && clause->read(parser, clauses);
}

/* Clauses in any order, each once, and service words between them. */
static bool read_clauses(struct policy_parser *parser, struct clauses *clauses, bool lifeline)
{
	while (parser->token.kind != POLICY_TOKEN_END) {
		size_t i = 0;
		while (i < PR_ARRAY_LEN(clause_table) &&
		       !policy_token_is(parser, clause_table[i].word)) {
			i++;
		}
		bool status =
			policy_token_is(parser, "staged") || policy_token_is(parser, "disabled");
		if (i < PR_ARRAY_LEN(clause_table)) {
			bool fits = clauses->rule != NULL || (lifeline ? clause_table[i].in_lifeline
			                                               : clause_table[i].in_expect);
			if (!fits) {
				return policy_token_error(parser,
				                          "\"%s\" does not belong in this line",
				                          clause_table[i].word);
			}
			if (!read_clause(parser, i, clauses)) {
				return false;
			}
		} else if (status && clauses->rule != NULL) {
			if (!read_status(parser, clauses->rule)) {
				return false;
			}
		} else if (!policy_value_service(parser)) {
			return false;
		}
	}
	if (!(clauses->seen & CLAUSE_FROM)) {
		return policy_token_error(parser, "no source: write \"from any\" to mean all");
	}
	if (!(clauses->seen & CLAUSE_TO)) {
		return policy_token_error(parser, "no destination: write \"to any\" to mean all");
	}
	return true;
}

static bool read_action(struct policy_parser *parser, bool reject_allowed,
                        enum policy_action *ret_action)
{
	static const char *const names[] = { "allow", "deny", "reject" };
	static const enum policy_action actions[] = { POLICY_ALLOW, POLICY_DENY, POLICY_REJECT };
	char hint[POLICY_HINT_BYTES];
	size_t count = reject_allowed ? 3 : 2;
	for (size_t i = 0; i < count; i++) {
		if (policy_token_is(parser, names[i])) {
			*ret_action = actions[i];
			return policy_token_next(parser);
		}
	}
	if (parser->token.kind == POLICY_TOKEN_END) {
		return policy_token_error(parser, "the action is missing: allow%s",
		                          reject_allowed ? ", deny or reject" : " or deny");
	}
	return policy_token_error(
		parser, "\"%.*s\" is not an action%s", POLICY_SHOWN(parser->token.text),
		policy_hint(parser->token.text, names, count, hint, sizeof(hint)));
}

static bool add_rule(struct policy_parser *parser, const struct policy_rule *rule)
{
	if (parser->model->rules.count == POLICY_RULES_MAX) {
		return policy_parser_error_at(parser, 1, "more than %u rules", POLICY_RULES_MAX);
	}
	struct policy_rule_ref *ref = policy_array_add(&parser->model->rules, sizeof(*ref));
	if (ref == NULL) {
		return policy_parser_no_memory(parser);
	}
	ref->rule = rule;
	ref->line = parser->line - 1;
	return true;
}

bool policy_line_rule(struct policy_parser *parser, struct policy_line *line)
{
	uint64_t number = 0;
	struct policy_rule *rule = policy_arena_alloc(&parser->model->arena, sizeof(*rule));
	if (rule == NULL) {
		return policy_parser_no_memory(parser);
	}
	line->rule = rule;
	if (!policy_value_number(parser, "rule number", 1, POLICY_RULE_NUMBER_MAX, &number)) {
		return false;
	}
	rule->number = (uint32_t)number;
	if (policy_token_is(parser, "staged") && !read_status(parser, rule)) {
		return false;
	}
	struct clauses clauses = {
		.source = &rule->source,
		.destination = &rule->destination,
		.user = &rule->user,
		.to_user = &rule->to_user,
		.process = &rule->process,
		.to_process = &rule->to_process,
		.rule = rule,
	};
	return read_action(parser, true, &rule->action) && read_clauses(parser, &clauses, false) &&
	       policy_services_take(parser, &rule->services, &rule->service_count) &&
	       add_rule(parser, rule);
}

bool policy_line_lifeline(struct policy_parser *parser, struct policy_line *line)
{
	struct policy_lifeline *lifeline =
		policy_arena_alloc(&parser->model->arena, sizeof(*lifeline));
	if (lifeline == NULL) {
		return policy_parser_no_memory(parser);
	}
	line->lifeline = lifeline;
	if (parser->lifeline_count++ == POLICY_LIFELINES_MAX) {
		return policy_parser_error_at(parser, 1, "more than %u lifelines",
		                              POLICY_LIFELINES_MAX);
	}
	struct clauses clauses = { .source = &lifeline->source,
		                   .destination = &lifeline->destination };
	if (!read_clauses(parser, &clauses, true)) {
		return false;
	}
	if (lifeline->source.kind == POLICY_OPERAND_ANY &&
	    lifeline->destination.kind == POLICY_OPERAND_ANY) {
		return policy_parser_error_at(parser, 1,
		                              "a lifeline from any to any would switch the policy "
		                              "off");
	}
	return policy_services_take(parser, &lifeline->services, &lifeline->service_count);
}

bool policy_line_expect(struct policy_parser *parser, struct policy_line *line)
{
	enum policy_action action = POLICY_DENY;
	struct policy_expect *expect = policy_arena_alloc(&parser->model->arena, sizeof(*expect));
	if (expect == NULL) {
		return policy_parser_no_memory(parser);
	}
	line->expect = expect;
	if (parser->expect_count++ == POLICY_EXPECTS_MAX) {
		return policy_parser_error_at(parser, 1, "more than %u expect lines",
		                              POLICY_EXPECTS_MAX);
	}
	struct clauses clauses = {
		.source = &expect->source,
		.destination = &expect->destination,
		.user = &expect->user,
		.to_user = &expect->to_user,
		.process = &expect->process,
		.to_process = &expect->to_process,
	};
	if (!read_action(parser, false, &action) || !read_clauses(parser, &clauses, false)) {
		return false;
	}
	expect->allow = action == POLICY_ALLOW;
	return policy_services_take(parser, &expect->services, &expect->service_count);
}
