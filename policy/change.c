/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "policy/change.h"

/* A formatted rule and what stood behind it. */
#define LINE_BYTES (2 * POLICY_LINE_MAX_BYTES + 2)

static bool starts_with(const char *line, const char *word)
{
	size_t bytes = strlen(word);

	return strncmp(line, word, bytes) == 0 && (line[bytes] == ' ' || line[bytes] == '\t');
}

static const char *blanks_skip(const char *text)
{
	return text + strspn(text, " \t");
}

static bool is_action(const char *line)
{
	static const char *const words[] = { "allow", "deny", "reject", "staged" };

	for (size_t i = 0; i < PR_ARRAY_LEN(words); i++) {
		if (starts_with(line, words[i])) {
			return true;
		}
	}
	return false;
}

static enum policy_line_kind kind_of(const char *line)
{
	static const struct {
		const char *word;
		enum policy_line_kind kind;
	} kinds[] = {
		{ "mode", POLICY_LINE_MODE },           { "lost", POLICY_LINE_LOST },
		{ "lifeline", POLICY_LINE_LIFELINE },   { "group", POLICY_LINE_GROUP },
		{ "usergroup", POLICY_LINE_USERGROUP }, { "rule", POLICY_LINE_RULE },
		{ "expect", POLICY_LINE_EXPECT },
	};

	for (size_t i = 0; i < PR_ARRAY_LEN(kinds); i++) {
		if (starts_with(line, kinds[i].word)) {
			return kinds[i].kind;
		}
	}
	return POLICY_LINE_BLANK;
}

static int number_next(const policy_model_t *model, uint32_t *ret_number)
{
	size_t count = policy_model_rule_count(model);
	uint32_t last = count > 0 ? policy_model_rule(model, count - 1)->number : 0;

	if (last >= POLICY_RULE_NUMBER_MAX) {
		return PR_ETOOBIG;
	}
	*ret_number = last + POLICY_CHANGE_STEP < POLICY_RULE_NUMBER_MAX ? last + POLICY_CHANGE_STEP
	                                                                 : last + 1;
	return PR_OK;
}

/* Put in what a person may leave out: "rule", and the number. */
static int line_complete(const policy_model_t *model, const char *line,
                         char whole[static LINE_BYTES])
{
	uint32_t number = 0;
	int ret = PR_OK;

	line = blanks_skip(line);
	if (strlen(line) > POLICY_LINE_MAX_BYTES) {
		return PR_ETOOBIG;
	}
	if (strpbrk(line, "\n\r") != NULL) {
		return PR_EINVAL;
	}
	const char *behind = starts_with(line, "rule") ? blanks_skip(line + 4) : line;
	if (is_action(behind)) {
		ret = number_next(model, &number);
		(void)snprintf(whole, LINE_BYTES, "rule %u %s", number, behind);
	} else if (behind == line && isdigit((unsigned char)*line) != 0) {
		(void)snprintf(whole, LINE_BYTES, "rule %s", line);
	} else {
		(void)snprintf(whole, LINE_BYTES, "%s", line);
	}
	return ret;
}

/* Behind the rule with the next lower number, else in front of the first one. */
static size_t rule_place(const policy_model_t *model, uint32_t number)
{
	size_t count = policy_model_rule_count(model), low = 0, high = count;
	size_t line = policy_model_line_count(model);

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (policy_model_rule(model, middle)->number < number) {
			low = middle + 1;
		} else {
			high = middle;
		}
	}
	if (count == 0) {
		return line;
	}
	const struct policy_rule *neighbour = policy_model_rule(model, low > 0 ? low - 1 : 0);
	(void)policy_model_rule_find(model, neighbour->number, &line);
	return low > 0 ? line + 1 : line;
}

/* Behind the last line of its kind, else at the end. */
static size_t other_place(const policy_model_t *model, enum policy_line_kind kind)
{
	size_t count = policy_model_line_count(model);

	for (size_t i = count; kind != POLICY_LINE_BLANK && i > 0; i--) {
		if (policy_model_line(model, i - 1)->kind == kind) {
			return i;
		}
	}
	return count;
}

int policy_change_add(const policy_model_t *model, const char *line, struct policy_errors *errors,
                      policy_model_t **ret_model, uint32_t *ret_number, size_t *ret_line)
{
	char whole[LINE_BYTES];
	struct policy_edit edit = { .text = whole };
	uint32_t number = 0;

	*errors = (struct policy_errors){ 0 };
	int ret = line_complete(model, line, whole);
	if (ret != PR_OK) {
		return ret;
	}
	enum policy_line_kind kind = kind_of(whole);
	if (kind == POLICY_LINE_RULE) {
		number = (uint32_t)strtoul(whole + 4, NULL, 10);
	}
	edit.line = kind == POLICY_LINE_RULE ? rule_place(model, number) : other_place(model, kind);
	if (ret_number != NULL) {
		*ret_number = number;
	}
	if (ret_line != NULL) {
		*ret_line = edit.line;
	}
	return policy_model_edit(model, &edit, errors, ret_model);
}

int policy_change_remove(const policy_model_t *model, uint32_t number, struct policy_errors *errors,
                         policy_model_t **ret_model)
{
	struct policy_edit edit = { .remove_count = 1 };

	*errors = (struct policy_errors){ 0 };
	if (policy_model_rule_find(model, number, &edit.line) == NULL) {
		return PR_ENOENT;
	}
	return policy_model_edit(model, &edit, errors, ret_model);
}

/* The text without the lines of a group or usergroup, NUL-terminated. */
static char *text_without(const policy_model_t *model, enum policy_line_kind kind, size_t group,
                          size_t *ret_bytes)
{
	const struct policy_line *line = NULL;
	size_t size_bytes = 0, all = 1;

	for (size_t i = 0; (line = policy_model_line(model, i)) != NULL; i++) {
		all += line->size_bytes + 1;
	}
	char *text = malloc(all);
	for (size_t i = 0; text != NULL && (line = policy_model_line(model, i)) != NULL; i++) {
		if (line->kind == kind && line->group == group) {
			continue;
		}
		memcpy(text + size_bytes, line->text, line->size_bytes);
		size_bytes += line->size_bytes;
		text[size_bytes++] = '\n';
	}
	*ret_bytes = size_bytes;
	return text;
}

static int lines_remove(const policy_model_t *model, enum policy_line_kind kind, size_t group,
                        struct policy_errors *errors, policy_model_t **ret_model)
{
	size_t size_bytes = 0;
	_cleanup_(pr_free) char *text = text_without(model, kind, group, &size_bytes);

	return text != NULL ? policy_text_parse(text, size_bytes, errors, ret_model) : PR_ENOMEM;
}

int policy_change_group_remove(const policy_model_t *model, const char *group,
                               struct policy_errors *errors, policy_model_t **ret_model)
{
	const struct policy_group *found = policy_model_group_find(model, group);

	*errors = (struct policy_errors){ 0 };
	return found != NULL ? lines_remove(model, POLICY_LINE_GROUP,
	                                    (size_t)(found - policy_model_group(model, 0)), errors,
	                                    ret_model)
	                     : PR_ENOENT;
}

int policy_change_usergroup_remove(const policy_model_t *model, const char *usergroup,
                                   struct policy_errors *errors, policy_model_t **ret_model)
{
	const struct policy_usergroup *found = policy_model_usergroup_find(model, usergroup);

	*errors = (struct policy_errors){ 0 };
	return found != NULL ? lines_remove(model, POLICY_LINE_USERGROUP,
	                                    (size_t)(found - policy_model_usergroup(model, 0)),
	                                    errors, ret_model)
	                     : PR_ENOENT;
}

/* Where the remark behind a line begins: a '#' at the start of a word, outside of quotes. */
static size_t remark_offset(const struct policy_line *line)
{
	bool quoted = false, in_word = false;

	for (size_t i = 0; i < line->size_bytes; i++) {
		char c = line->text[i];
		if (quoted) {
			i += c == '\\';
			quoted = c != '"';
			continue;
		}
		if (c == '#' && !in_word) {
			return i;
		}
		quoted = c == '"';
		in_word = c != ' ' && c != '\t' && c != '\r';
	}
	return line->size_bytes;
}

/* A rule in canonical form with the remark of its line. */
static int rule_rewrite(const struct policy_line *line, const struct policy_rule *rule,
                        char text[static LINE_BYTES])
{
	size_t remark = remark_offset(line);
	int length = policy_rule_format(rule, text, LINE_BYTES);

	if (length < 0) {
		return length;
	}
	if (remark < line->size_bytes) {
		(void)snprintf(text + length, LINE_BYTES - (size_t)length, " %.*s",
		               (int)(line->size_bytes - remark), line->text + remark);
	}
	return PR_OK;
}

int policy_change_move(const policy_model_t *model, uint32_t number, uint32_t to,
                       struct policy_errors *errors, policy_model_t **ret_model)
{
	_cleanup_(policy_model_destroy) policy_model_t *without = NULL;
	char text[LINE_BYTES];
	size_t line = 0;
	const struct policy_rule *rule = policy_model_rule_find(model, number, &line);

	*errors = (struct policy_errors){ 0 };
	if (rule == NULL) {
		return PR_ENOENT;
	}
	if (policy_model_rule_find(model, to, NULL) != NULL) {
		return PR_EEXIST;
	}
	struct policy_rule moved = *rule;
	moved.number = to;
	int ret = rule_rewrite(policy_model_line(model, line), &moved, text);
	if (ret == PR_OK) {
		ret = policy_change_remove(model, number, errors, &without);
	}
	if (ret == PR_OK) {
		ret = policy_change_add(without, text, errors, ret_model, NULL, NULL);
	}
	return ret;
}

int policy_change_status(const policy_model_t *model, uint32_t number, enum policy_status status,
                         struct policy_errors *errors, policy_model_t **ret_model)
{
	char text[LINE_BYTES];
	struct policy_edit edit = { .remove_count = 1, .text = text };
	const struct policy_rule *rule = policy_model_rule_find(model, number, &edit.line);

	*errors = (struct policy_errors){ 0 };
	if (rule == NULL) {
		return PR_ENOENT;
	}
	if (rule->status == status) {
		return PR_EEXIST;
	}
	struct policy_rule changed = *rule;
	changed.status = status;
	int ret = rule_rewrite(policy_model_line(model, edit.line), &changed, text);
	return ret == PR_OK ? policy_model_edit(model, &edit, errors, ret_model) : ret;
}
