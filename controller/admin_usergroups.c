/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Usergroups of the policy: which there are, and who is in them by which line. */
#include <string.h>

#include "controller/internal.h"

static bool names_usergroup(const struct policy_user_match *user, size_t index)
{
	return user->kind == POLICY_USER_GROUP && user->usergroup == index;
}

static size_t rules_of(const policy_model_t *model, size_t index)
{
	const struct policy_rule *rule = NULL;
	size_t count = 0;

	for (size_t i = 0; (rule = policy_model_rule(model, i)) != NULL; i++) {
		count += names_usergroup(&rule->user, index) ||
		         names_usergroup(&rule->to_user, index);
	}
	return count;
}

static void members_add(const struct policy_usergroup *usergroup, codec_doc_t *answer)
{
	char user[POLICY_NAME_MAX_BYTES + 2];

	for (size_t i = 0; i < usergroup->member_count; i++) {
		const struct policy_user_match *member = &usergroup->members[i];
		if (policy_user_format(member, user, sizeof(user)) >= 0) {
			codec_doc_addf(answer, CODEC_USERGROUP_MEMBERS, "%u %s", member->line,
			               user);
		}
	}
}

static void lines_add(const policy_model_t *model, size_t index, codec_doc_t *answer)
{
	const struct policy_line *line = NULL;

	for (size_t i = 0; (line = policy_model_line(model, i)) != NULL; i++) {
		if (line->kind == POLICY_LINE_USERGROUP && line->group == index) {
			codec_doc_addf(answer, CODEC_USERGROUP_LINES, "%.*s", (int)line->size_bytes,
			               line->text);
		}
	}
}

static int send_usergroup(struct call *call, const policy_model_t *model, size_t index)
{
	_cleanup_(codec_doc_destroy) codec_doc_t *answer = call_doc(call, CODEC_USERGROUP);
	const struct policy_usergroup *usergroup = policy_model_usergroup(model, index);

	if (answer == NULL) {
		return PR_ENOMEM;
	}
	codec_doc_set_text(answer, CODEC_USERGROUP_NAME, usergroup->name);
	codec_doc_set_u64(answer, CODEC_USERGROUP_RULES, rules_of(model, index));
	members_add(usergroup, answer);
	lines_add(model, index, answer);
	call->sent++;
	return call_send(call, answer);
}

int admin_usergroups_get(struct call *call)
{
	_cleanup_(draft_view_done) struct draft_view view = { 0 };
	const char *name = codec_doc_text(call->document, CODEC_USERGROUPS_GET_NAME);
	bool draft = codec_doc_u64(call->document, CODEC_USERGROUPS_GET_DRAFT) != 0;
	int ret = draft_view_open(call, draft, &view);

	name += name[0] == '@';
	for (size_t i = 0; ret == PR_OK && i < policy_model_usergroup_count(view.model); i++) {
		if (name[0] == '\0' ||
		    strcmp(name, policy_model_usergroup(view.model, i)->name) == 0) {
			ret = send_usergroup(call, view.model, i);
		}
	}
	if (ret == PR_OK && name[0] != '\0' && call->sent == 0) {
		return call_fail(call, PR_ENOENT, "there is no usergroup '%.64s' in %s", name,
		                 draft ? "your draft" : "the policy in force");
	}
	return ret == PR_OK ? call_end(call, true) : ret;
}
