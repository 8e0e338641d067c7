/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "policy/internal.h"

void policy_model_destroy(policy_model_t **model_p)
{
	policy_model_t *model = *model_p;
	if (model == NULL) {
		return;
	}
	policy_array_done(&model->lines);
	policy_array_done(&model->rules);
	policy_array_done(&model->groups);
	policy_array_done(&model->usergroups);
	policy_names_done(&model->group_names);
	policy_names_done(&model->usergroup_names);
	policy_arena_done(&model->arena);
	free(model->text);
	free(model);
	*model_p = NULL;
}

int policy_text_format(const policy_model_t *model, char **ret_text, size_t *ret_size_bytes)
{
	char *text = malloc(model->text_size_bytes + 1);
	if (text == NULL) {
		return PR_ENOMEM;
	}
	memcpy(text, model->text, model->text_size_bytes + 1);
	*ret_text = text;
	*ret_size_bytes = model->text_size_bytes;
	return PR_OK;
}

size_t policy_model_line_count(const policy_model_t *model)
{
	return model->lines.count;
}

const struct policy_line *policy_model_line(const policy_model_t *model, size_t index)
{
	const struct policy_line *lines = model->lines.items;
	return index < model->lines.count ? &lines[index] : NULL;
}

size_t policy_model_rule_count(const policy_model_t *model)
{
	return model->rules.count;
}

const struct policy_rule *policy_model_rule(const policy_model_t *model, size_t index)
{
	const struct policy_rule_ref *refs = model->rules.items;
	return index < model->rules.count ? refs[index].rule : NULL;
}

const struct policy_rule *policy_model_rule_find(const policy_model_t *model, uint32_t number,
                                                 size_t *ret_line)
{
	const struct policy_rule_ref *refs = model->rules.items;
	size_t low = 0, high = model->rules.count;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (refs[middle].rule->number < number) {
			low = middle + 1;
		} else {
			high = middle;
		}
	}
	if (low == model->rules.count || refs[low].rule->number != number) {
		return NULL;
	}
	if (ret_line != NULL) {
		*ret_line = refs[low].line;
	}
	return refs[low].rule;
}

size_t policy_model_group_count(const policy_model_t *model)
{
	return model->groups.count;
}

const struct policy_group *policy_model_group(const policy_model_t *model, size_t index)
{
	const struct policy_group *groups = model->groups.items;
	return index < model->groups.count ? &groups[index] : NULL;
}

const struct policy_group *policy_model_group_find(const policy_model_t *model, const char *name)
{
	uint32_t index = policy_names_find(&model->group_names, name);
	return index == POLICY_NO_INDEX ? NULL : policy_model_group(model, index);
}

size_t policy_model_usergroup_count(const policy_model_t *model)
{
	return model->usergroups.count;
}

const struct policy_usergroup *policy_model_usergroup(const policy_model_t *model, size_t index)
{
	const struct policy_usergroup *usergroups = model->usergroups.items;
	return index < model->usergroups.count ? &usergroups[index] : NULL;
}

const struct policy_usergroup *policy_model_usergroup_find(const policy_model_t *model,
                                                           const char *name)
{
	uint32_t index = policy_names_find(&model->usergroup_names, name);
	return index == POLICY_NO_INDEX ? NULL : policy_model_usergroup(model, index);
}

const struct policy_user_match *policy_usergroup_member(const struct policy_usergroup *usergroup,
                                                        const struct policy_user *user)
{
	for (size_t i = 0; i < usergroup->member_count; i++) {
		const struct policy_user_match *member = &usergroup->members[i];
		if (member->kind == POLICY_USER_UID
		            ? member->uid == user->uid
		            : user->name != NULL && strcmp(member->name, user->name) == 0) {
			return member;
		}
	}
	return NULL;
}

/* Where line @p index starts in the text; the count of lines is the end. */
static size_t line_offset(const policy_model_t *model, size_t index)
{
	const struct policy_line *line = policy_model_line(model, index);
	return line != NULL ? (size_t)(line->text - model->text) : model->text_size_bytes;
}

int policy_model_edit(const policy_model_t *model, const struct policy_edit *edit,
                      struct policy_errors *errors, policy_model_t **ret_model)
{
	size_t count = model->lines.count;
	errors->count = 0;
	errors->total = 0;
	if (edit->line > count || edit->remove_count > count - edit->line) {
		return PR_EINVAL;
	}
	size_t head = line_offset(model, edit->line);
	size_t tail = line_offset(model, edit->line + edit->remove_count);
	size_t added = edit->text != NULL ? strlen(edit->text) : 0;
	size_t rest = model->text_size_bytes - tail;
	_cleanup_(pr_free) char *text = malloc(head + added + rest + 2);
	if (text == NULL) {
		return PR_ENOMEM;
	}
	size_t size_bytes = head;
	memcpy(text, model->text, head);
	if (added > 0 && head > 0 && text[head - 1] != '\n') {
		text[size_bytes++] = '\n';
	}
	if (added > 0) {
		memcpy(text + size_bytes, edit->text, added);
		size_bytes += added;
		if (text[size_bytes - 1] != '\n') {
			text[size_bytes++] = '\n';
		}
	}
	memcpy(text + size_bytes, model->text + tail, rest);
	return policy_text_parse(text, size_bytes + rest, errors, ret_model);
}

bool policy_prefix_matches(const struct pr_prefix *prefix, const struct pr_addr *addr)
{
	bool v4 = prefix->bits >= 96 && pr_addr_is_v4(&prefix->addr);
	return v4 == pr_addr_is_v4(addr) && pr_prefix_contains(prefix, addr);
}

const char *policy_action_name(enum policy_action action)
{
	static const char *const names[] = { "deny", "reject", "allow" };
	return names[action];
}

const char *policy_mode_name(enum policy_mode mode)
{
	return mode == POLICY_ENFORCE ? "enforce" : "observe";
}

const char *policy_status_name(enum policy_status status)
{
	static const char *const names[] = { "enabled", "disabled", "staged" };
	return names[status];
}

const char *policy_lost_name(enum policy_lost_kind kind)
{
	static const char *const names[] = { "allow", "last-known", "deny" };
	return names[kind];
}

const char *policy_field_name(enum policy_field field)
{
	static const char *const names[] = {
		"protocol", "port",           "destination", "destination address",
		"source",   "source address", "user",        "process",
		"to-user",  "to-process",
	};
	return names[field];
}
