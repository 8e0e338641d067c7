/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Groups of the policy: which there are, who is in them, who would be. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controller/names.h"

#define PREVIEW_NAME "preview"

int admin_group_members(struct call *call)
{
	const char *group = codec_doc_text(call->document, CODEC_GROUP_MEMBERS_GROUP);
	const struct view *view = &call->admin->view;
	_cleanup_(pr_free) struct pr_uuid *ids = NULL;
	_cleanup_(names_done) struct names names = { 0 };

	long count = view->image != NULL ? policy_image_group_members(view->image, group, NULL, 0)
	                                 : PR_ENOENT;
	if (count < 0) {
		return call_fail(call, (int)count,
		                 "there is no group '%.64s' in the policy in force", group);
	}
	ids = calloc((size_t)count + 1, sizeof(*ids));
	if (ids == NULL) {
		return PR_ENOMEM;
	}
	count = policy_image_group_members(view->image, group, ids, (size_t)count);
	for (long i = 0; i < count; i++) {
		const struct directory_endpoint *endpoint =
			directory_find(view->directory, &ids[i]);
		if (endpoint != NULL && !names_take(&names, endpoint)) {
			break;
		}
	}
	return admin_endpoints_send(call, &names);
}

/* ---- list ---- */

static bool names_group(const struct policy_operand *operand, size_t group)
{
	return operand->kind == POLICY_OPERAND_GROUP && operand->group == group;
}

static size_t rules_of(const policy_model_t *model, size_t group)
{
	size_t count = 0;

	for (size_t i = 0; i < policy_model_rule_count(model); i++) {
		const struct policy_rule *rule = policy_model_rule(model, i);
		count +=
			names_group(&rule->source, group) || names_group(&rule->destination, group);
	}
	return count;
}

/* The lines of the text that speak of it: its own, and its mode. */
static void lines_add(const policy_model_t *model, size_t group, codec_doc_t *answer)
{
	const struct policy_line *line = NULL;

	for (size_t i = 0; (line = policy_model_line(model, i)) != NULL; i++) {
		if (line->kind == POLICY_LINE_GROUP && line->group == group) {
			codec_doc_addf(answer, CODEC_GROUP_LINES, "%.*s", (int)line->size_bytes,
			               line->text);
		}
		if (line->kind == POLICY_LINE_MODE && line->mode->group != NULL &&
		    line->mode->group_index == group) {
			codec_doc_set_text(answer, CODEC_GROUP_MODE,
			                   policy_mode_name(line->mode->mode));
		}
	}
}

static int send_group(struct call *call, const struct draft_view *view, size_t index)
{
	_cleanup_(codec_doc_destroy) codec_doc_t *answer = call_doc(call, CODEC_GROUP);
	const struct policy_group *group = policy_model_group(view->model, index);

	if (answer == NULL) {
		return PR_ENOMEM;
	}
	long members = policy_image_group_members(view->image, group->name, NULL, 0);
	codec_doc_set_text(answer, CODEC_GROUP_NAME, group->name);
	codec_doc_set_u64(answer, CODEC_GROUP_COUNT, members > 0 ? (uint64_t)members : 0);
	codec_doc_set_u64(answer, CODEC_GROUP_RULES, rules_of(view->model, index));
	lines_add(view->model, index, answer);
	call->sent++;
	return call_send(call, answer);
}

int admin_groups_get(struct call *call)
{
	_cleanup_(draft_view_done) struct draft_view view = { 0 };
	bool draft = codec_doc_u64(call->document, CODEC_GROUPS_GET_DRAFT) != 0;
	int ret = draft_view_open(call, draft, &view);

	for (size_t i = 0; ret == PR_OK && i < policy_model_group_count(view.model); i++) {
		ret = send_group(call, &view, i);
	}
	return ret == PR_OK ? call_end(call, true) : ret;
}

/* ---- preview ---- */

struct preview {
	const struct policy_group *group;
	struct names names;
};

static bool preview_look(void *arg, const struct directory_endpoint *endpoint)
{
	struct preview *preview = arg;

	return !policy_group_matches(preview->group, &endpoint->policy) ||
	       names_take(&preview->names, endpoint);
}

int admin_group_preview(struct call *call)
{
	_cleanup_(policy_model_destroy) policy_model_t *model = NULL;
	const char *selectors = codec_doc_text(call->document, CODEC_GROUP_PREVIEW_SELECTORS);
	char text[POLICY_LINE_MAX_BYTES + sizeof(PREVIEW_NAME) + 16];
	struct preview preview = { 0 };

	if (strlen(selectors) > POLICY_LINE_MAX_BYTES || strpbrk(selectors, "\r\n") != NULL) {
		return call_fail(call, PR_EINVAL, "selectors are one line of at most %u bytes",
		                 POLICY_LINE_MAX_BYTES);
	}
	int length = snprintf(text, sizeof(text), "group %s %s", PREVIEW_NAME, selectors);
	int ret = admin_policy_parse(call, text, (size_t)length, &model);
	if (ret != PR_OK) {
		return ret;
	}
	preview.group = policy_model_group(model, 0);
	if (preview.group != NULL) {
		directory_each(call->admin->view.directory, preview_look, &preview);
	}
	ret = admin_endpoints_send(call, &preview.names);
	names_done(&preview.names);
	return ret;
}
