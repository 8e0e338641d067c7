/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controller/internal.h"

#define LINE_BYTES 256

/* Is this the mode line of that group (NULL: default)? */
static bool is_mode_of(const struct policy_line *line, const char *group)
{
	if (line->kind != POLICY_LINE_MODE || (line->mode->group == NULL) != (group == NULL)) {
		return false;
	}
	return group == NULL || strcmp(line->mode->group, group) == 0;
}

/* Where the line goes: the group's own, else behind the last mode line, else at the top. */
static struct policy_edit edit_for(const policy_model_t *model, const char *group)
{
	struct policy_edit edit = { 0 };
	const struct policy_line *line = NULL;

	for (size_t i = 0; (line = policy_model_line(model, i)) != NULL; i++) {
		if (is_mode_of(line, group)) {
			return (struct policy_edit){ .line = i, .remove_count = 1 };
		}
		if (line->kind == POLICY_LINE_MODE) {
			edit.line = i + 1;
		}
	}
	return edit;
}

static int edit_failed(struct call *call, int ret, const struct policy_errors *errors)
{
	if (ret != PR_EPOLICY) {
		return ret;
	}
	call_policy_errors(call, errors);
	return call_fail(call, ret, "this mode would make a policy with errors");
}

/* The text in force with one mode line set; malloc'd. */
static int text_with_mode(struct call *call, const char *group, const char *mode_line,
                          char **ret_text, size_t *ret_bytes)
{
	_cleanup_(policy_model_destroy) policy_model_t *model = NULL;
	_cleanup_(pr_free) struct policy_errors *errors = calloc(1, sizeof(*errors));

	if (errors == NULL) {
		return PR_ENOMEM;
	}
	struct policy_edit edit = edit_for(call->admin->view.model, group);
	edit.text = mode_line;
	int ret = policy_model_edit(call->admin->view.model, &edit, errors, &model);
	if (ret != PR_OK) {
		return edit_failed(call, ret, errors);
	}
	return policy_text_format(model, ret_text, ret_bytes);
}

int admin_mode_set(struct call *call)
{
	const char *mode = codec_doc_text(call->document, CODEC_MODE_SET_MODE);
	const char *group = codec_doc_text(call->document, CODEC_MODE_SET_GROUP);
	bool is_default = strcmp(group, "default") == 0;
	_cleanup_(pr_free) char *text = NULL;
	char line[LINE_BYTES], done[96];
	size_t text_bytes = 0;

	if (strcmp(mode, "observe") != 0 && strcmp(mode, "enforce") != 0) {
		return call_fail(call, PR_EINVAL, "mode is observe or enforce, not '%.32s'", mode);
	}
	if (call->admin->view.model == NULL) {
		return call_fail(call, PR_EAGAIN, "there is no policy yet");
	}
	if (!is_default && policy_model_group_find(call->admin->view.model, group) == NULL) {
		return call_fail(call, PR_ENOENT, "there is no group '%.64s' in the policy", group);
	}
	(void)snprintf(line, sizeof(line), "mode  %s %s%.64s", mode, is_default ? "" : "group ",
	               group);
	int ret = text_with_mode(call, is_default ? NULL : group, line, &text, &text_bytes);
	if (ret != PR_OK) {
		return ret;
	}
	struct store_revision revision = {
		.time_wall_ns = call->admin->now_wall_ns,
		.author = (char *)(uintptr_t)call_author(call),
		.message = line,
		.text = text,
		.text_bytes = text_bytes,
	};
	(void)snprintf(done, sizeof(done), "%.64s is now in %s",
	               is_default ? "every endpoint without a mode of its own" : group, mode);
	struct publish publish = {
		.action = "mode",
		.done = done,
		.base = call->admin->view.revision,
		.force = codec_doc_u64(call->document, CODEC_MODE_SET_FORCE) != 0,
		.connections_field = CODEC_MODE_SET_CONNECTIONS,
	};
	return admin_policy_publish(call, &publish, &revision);
}
