/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The draft of a key: a text that is changed until it is committed. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controller/names.h"
#include "policy/change.h"

/* A line of policy in a command: each quote of the shell becomes four bytes. */
#define UNDO_BYTES (4 * POLICY_LINE_MAX_BYTES + 64)

/* ---- reading ---- */

void draft_view_done(struct draft_view *view)
{
	policy_image_destroy(&view->own_image);
	policy_model_destroy(&view->own_model);
}

/* PR_ENOENT, not said: there is none. */
static int draft_read(struct call *call, policy_model_t **ret_model, uint64_t *ret_base)
{
	_cleanup_(store_draft_done) struct store_draft draft = { 0 };

	int ret = store_draft_get(call->admin->setup.store, &call->frame->peer.id, &draft);
	if (ret == PR_OK) {
		*ret_base = draft.base;
		ret = admin_policy_parse(call, draft.text, draft.text_bytes, ret_model);
	}
	return ret;
}

static int own_image_make(struct call *call, struct draft_view *view)
{
	_cleanup_(pr_free) struct policy_endpoint *endpoints = NULL;
	size_t count = 0;

	int ret = directory_policy_endpoints(call->admin->view.directory, &endpoints, &count);
	if (ret == PR_OK) {
		ret = policy_image_compile(view->own_model, endpoints, count, CODEC_REVISION_DRAFT,
		                           &view->own_image);
	}
	return ret;
}

int draft_view_open(struct call *call, bool draft, struct draft_view *ret_view)
{
	const struct view *view = &call->admin->view;
	uint64_t base = 0;

	if (!draft && view->image == NULL) {
		return call_fail(call, PR_EAGAIN, "there is no policy yet");
	}
	if (!draft) {
		ret_view->model = view->model;
		ret_view->image = view->image;
		ret_view->revision = view->revision;
		return PR_OK;
	}
	int ret = draft_read(call, &ret_view->own_model, &base);
	if (ret == PR_ENOENT) {
		return call_fail(call, ret, "there is no draft of yours");
	}
	if (ret == PR_OK) {
		ret = own_image_make(call, ret_view);
	}
	ret_view->model = ret_view->own_model;
	ret_view->image = ret_view->own_image;
	ret_view->revision = CODEC_REVISION_DRAFT;
	return ret;
}

/* ---- import, discard ---- */

int admin_policy_import(struct call *call)
{
	_cleanup_(policy_model_destroy) policy_model_t *model = NULL;
	const char *text = codec_doc_text(call->document, CODEC_POLICY_IMPORT_TEXT);
	uint64_t base = codec_doc_u64(call->document, CODEC_POLICY_IMPORT_BASE);
	struct store_draft draft = {
		.base = base != 0 ? base : call->admin->view.revision,
		.time_wall_ns = call->admin->now_wall_ns,
		.text_bytes = strlen(text),
	};

	if (base > call->admin->view.revision) {
		return call_fail(call, PR_ENOENT,
		                 "there is no revision %llu: policy log lists them",
		                 (unsigned long long)base);
	}
	int ret = admin_policy_parse(call, text, draft.text_bytes, &model);
	if (ret != PR_OK) {
		return ret;
	}
	draft.text = (char *)(uintptr_t)text;
	ret = store_draft_put(call->admin->setup.store, &call->frame->peer.id, &draft);
	if (ret != PR_OK) {
		return ret;
	}
	return call_ok(call, policy_model_rule_count(model),
	               "draft with %zu rule%s, made from revision %llu; commit puts it in force, "
	               "`portreeve policy discard` forgets it",
	               policy_model_rule_count(model),
	               policy_model_rule_count(model) == 1 ? "" : "s",
	               (unsigned long long)draft.base);
}

int admin_policy_discard(struct call *call)
{
	_cleanup_(store_draft_done) struct store_draft draft = { 0 };
	const struct pr_uuid *author = &call->frame->peer.id;

	int ret = store_draft_get(call->admin->setup.store, author, &draft);
	if (ret == PR_ENOENT) {
		return call_fail(call, ret, "there is no draft of yours");
	}
	if (ret == PR_OK) {
		ret = store_draft_delete(call->admin->setup.store, author);
	}
	return ret == PR_OK ? call_ok(call, draft.base,
	                              "your draft, made from revision %llu, is forgotten",
	                              (unsigned long long)draft.base)
	                    : ret;
}

/* ---- one change ---- */

struct change {
	struct call *call;
	const policy_model_t *model; /* before */
	struct policy_errors *errors;
	const char *line; /* of the request */
	uint32_t number, to;
	policy_model_t *changed; /* owned by the caller */
	size_t at;               /* index of an added line */
	char done[POLICY_LINE_MAX_BYTES + 64];
	char undo[UNDO_BYTES];
};

/* 'text' for a shell. */
static void quote(const char *text, size_t size_bytes, char *to, size_t room)
{
	size_t used = 0;

	to[used++] = '\'';
	for (size_t i = 0; i < size_bytes && used + 6 < room; i++) {
		if (text[i] == '\'') {
			memcpy(to + used, "'\\''", 4);
			used += 4;
		} else {
			to[used++] = text[i];
		}
	}
	to[used++] = '\'';
	to[used] = '\0';
}

/* A line more of one that there was must go alone: only the editor can do that. */
static void undo_of_group(struct change *change, const struct policy_line *line)
{
	bool users = line->kind == POLICY_LINE_USERGROUP;
	const char *name = users ? policy_model_usergroup(change->changed, line->group)->name
	                         : policy_model_group(change->changed, line->group)->name;
	bool was_there = users ? policy_model_usergroup_find(change->model, name) != NULL
	                       : policy_model_group_find(change->model, name) != NULL;

	if (was_there) {
		(void)snprintf(change->undo, sizeof(change->undo), "portreeve policy edit");
	} else {
		(void)snprintf(change->undo, sizeof(change->undo), "portreeve policy rm %sgroup %s",
		               users ? "user" : "", name);
	}
}

static int change_add(struct change *change)
{
	uint32_t number = 0;
	int ret = policy_change_add(change->model, change->line, change->errors, &change->changed,
	                            &number, &change->at);

	if (ret != PR_OK) {
		return ret;
	}
	const struct policy_line *line = policy_model_line(change->changed, change->at);
	change->number = number;
	(void)snprintf(change->done, sizeof(change->done), "added: %.*s", (int)line->size_bytes,
	               line->text);
	if (number != 0) {
		(void)snprintf(change->undo, sizeof(change->undo), "portreeve policy rm %u",
		               number);
	} else if (line->kind == POLICY_LINE_GROUP || line->kind == POLICY_LINE_USERGROUP) {
		undo_of_group(change, line);
	} else {
		(void)snprintf(change->undo, sizeof(change->undo), "portreeve policy edit");
	}
	return PR_OK;
}

static int change_remove(struct change *change)
{
	char quoted[UNDO_BYTES - 32];
	size_t at = 0;

	if (policy_model_rule_find(change->model, change->number, &at) != NULL) {
		const struct policy_line *line = policy_model_line(change->model, at);
		quote(line->text, line->size_bytes, quoted, sizeof(quoted));
		(void)snprintf(change->undo, sizeof(change->undo), "portreeve policy add %s",
		               quoted);
	}
	(void)snprintf(change->done, sizeof(change->done), "rule %u is out", change->number);
	return policy_change_remove(change->model, change->number, change->errors,
	                            &change->changed);
}

/* The command that puts a group of one line back; of more lines: the editor. */
static void undo_of_lines(struct change *change, enum policy_line_kind kind, size_t group)
{
	char quoted[UNDO_BYTES - 32];
	const struct policy_line *line = NULL, *only = NULL;
	size_t count = 0;

	for (size_t i = 0; (line = policy_model_line(change->model, i)) != NULL; i++) {
		if (line->kind == kind && line->group == group) {
			only = line;
			count++;
		}
	}
	if (count == 1) {
		quote(only->text, only->size_bytes, quoted, sizeof(quoted));
		(void)snprintf(change->undo, sizeof(change->undo), "portreeve policy add %s",
		               quoted);
	} else {
		(void)snprintf(change->undo, sizeof(change->undo), "portreeve policy edit");
	}
}

static int change_usergroup_remove(struct change *change)
{
	const char *name = change->line + (change->line[0] == '@');
	const struct policy_usergroup *usergroup = policy_model_usergroup_find(change->model, name);

	if (usergroup != NULL) {
		undo_of_lines(change, POLICY_LINE_USERGROUP,
		              (size_t)(usergroup - policy_model_usergroup(change->model, 0)));
	}
	(void)snprintf(change->done, sizeof(change->done), "usergroup %.64s is out", name);
	return policy_change_usergroup_remove(change->model, name, change->errors,
	                                      &change->changed);
}

static int change_group_remove(struct change *change)
{
	const struct policy_group *group = policy_model_group_find(change->model, change->line);

	if (group != NULL) {
		undo_of_lines(change, POLICY_LINE_GROUP,
		              (size_t)(group - policy_model_group(change->model, 0)));
	}
	(void)snprintf(change->done, sizeof(change->done), "group %.64s is out", change->line);
	return policy_change_group_remove(change->model, change->line, change->errors,
	                                  &change->changed);
}

static int change_move(struct change *change)
{
	(void)snprintf(change->done, sizeof(change->done), "rule %u is now rule %u", change->number,
	               change->to);
	(void)snprintf(change->undo, sizeof(change->undo), "portreeve policy mv %u %u", change->to,
	               change->number);
	return policy_change_move(change->model, change->number, change->to, change->errors,
	                          &change->changed);
}

static int status_set(struct change *change, enum policy_status status)
{
	static const char *const back[] = { [POLICY_ENABLED] = "enable",
		                            [POLICY_DISABLED] = "disable",
		                            [POLICY_STAGED] = "stage" };
	const struct policy_rule *rule =
		policy_model_rule_find(change->model, change->number, NULL);

	if (rule != NULL) {
		(void)snprintf(change->undo, sizeof(change->undo), "portreeve policy %s %u",
		               back[rule->status], change->number);
	}
	(void)snprintf(change->done, sizeof(change->done), "rule %u is %s", change->number,
	               policy_status_name(status));
	return policy_change_status(change->model, change->number, status, change->errors,
	                            &change->changed);
}

static int change_enable(struct change *change)
{
	return status_set(change, POLICY_ENABLED);
}

static int change_disable(struct change *change)
{
	return status_set(change, POLICY_DISABLED);
}

static int change_stage(struct change *change)
{
	return status_set(change, POLICY_STAGED);
}

static const struct {
	const char *name;
	int (*make)(struct change *change);
} changes[] = {
	{ "add", change_add },
	{ "rm", change_remove },
	{ "rm-group", change_group_remove },
	{ "mv", change_move },
	{ "enable", change_enable },
	{ "disable", change_disable },
	{ "stage", change_stage },
	{ "rm-usergroup", change_usergroup_remove },
};

static int say_failed(struct change *change, const char *name, int ret)
{
	struct call *call = change->call;
	const struct policy_errors *errors = change->errors;

	switch (ret) {
	case PR_ENOENT:
		return strncmp(name, "rm-", 3) == 0
		               ? call_fail(call, ret, "there is no %s '%.64s'", name + 3,
		                           change->line)
		               : call_fail(call, ret, "there is no rule %u in the draft",
		                           change->number);
	case PR_EEXIST:
		return strcmp(name, "mv") == 0
		               ? call_fail(call, ret, "there is a rule %u already", change->to)
		               : call_fail(call, ret, "rule %u is so already", change->number);
	case PR_EINVAL:
		return call_fail(call, ret,
		                 "one line at a time: `policy edit` and `policy import` "
		                 "take many");
	case PR_ETOOBIG:
		return call_fail(call, ret,
		                 "a line has at most %u bytes, and rules are numbered to %u",
		                 POLICY_LINE_MAX_BYTES, POLICY_RULE_NUMBER_MAX);
	case PR_EPOLICY:
		break;
	default:
		return ret;
	}
	call_policy_errors(call, errors);
	return call_fail(call, ret, "the policy would have %zu error%s, your draft is as it was",
	                 errors->total, errors->total == 1 ? "" : "s");
}

static int change_make(struct change *change, const char *name)
{
	for (size_t i = 0; i < PR_ARRAY_LEN(changes); i++) {
		if (strcmp(changes[i].name, name) == 0) {
			int ret = changes[i].make(change);
			return ret == PR_OK ? ret : say_failed(change, name, ret);
		}
	}
	return call_fail(change->call, PR_EINVAL, "there is no change '%.32s'", name);
}

/* ---- names in a line: an endpoint's name becomes its UUID ---- */

static bool is_known_operand(const policy_model_t *model, const char *word)
{
	struct pr_uuid id;
	struct pr_prefix prefix;

	return strcmp(word, "any") == 0 || strcmp(word, "host") == 0 ||
	       policy_model_group_find(model, word) != NULL || pr_uuid_parse(word, &id) == PR_OK ||
	       pr_prefix_parse(word, &prefix) == PR_OK;
}

/* The word behind `from` or `to`; @p id is "" where it stays as it is. */
static int operand_resolve(struct call *call, const policy_model_t *model, const char *word,
                           char id[static PR_UUID_TEXT_BYTES])
{
	const struct directory_endpoint *endpoint = NULL;

	id[0] = '\0';
	if (is_known_operand(model, word)) {
		return PR_OK;
	}
	int ret = names_find_one(call, word, model, &endpoint);
	if (ret == PR_OK) {
		(void)pr_uuid_format(&endpoint->policy.id, id);
	}
	return ret;
}

/* @p to has room for a line and the UUIDs in it. */
static int line_resolve(struct call *call, const policy_model_t *model, const char *line, char *to,
                        size_t room)
{
	char word[POLICY_LINE_MAX_BYTES + 1], id[PR_UUID_TEXT_BYTES];
	bool operand = false, quoted = false;
	size_t used = 0;

	while (*line != '\0') {
		size_t blanks = strspn(line, " \t");
		size_t bytes = strcspn(line + blanks, " \t");
		(void)snprintf(word, sizeof(word), "%.*s", (int)bytes, line + blanks);
		id[0] = '\0';
		int ret = operand && !quoted ? operand_resolve(call, model, word, id) : PR_OK;
		if (ret != PR_OK) {
			return ret;
		}
		int length = snprintf(to + used, room - used, "%.*s%s", (int)blanks, line,
		                      id[0] != '\0' ? id : word);
		if (length < 0 || (size_t)length >= room - used) {
			return PR_ETOOBIG;
		}
		used += (size_t)length;
		for (size_t i = 0; i < bytes; i++) {
			quoted ^= word[i] == '"' && (i == 0 || word[i - 1] != '\\');
		}
		operand = !quoted && (strcmp(word, "from") == 0 || strcmp(word, "to") == 0);
		line += blanks + bytes;
	}
	return PR_OK;
}

static int draft_save(struct call *call, const policy_model_t *model, uint64_t base)
{
	_cleanup_(store_draft_done) struct store_draft draft = { .base = base,
		                                                 .time_wall_ns =
		                                                         call->admin->now_wall_ns };

	int ret = policy_text_format(model, &draft.text, &draft.text_bytes);
	return ret == PR_OK
	               ? store_draft_put(call->admin->setup.store, &call->frame->peer.id, &draft)
	               : ret;
}

static int edit_answer(const struct change *change, uint64_t base)
{
	_cleanup_(codec_doc_destroy) codec_doc_t *answer = call_doc(change->call, CODEC_OK);
	char text[sizeof(change->done) + sizeof(change->undo) + 160];

	if (answer == NULL) {
		return PR_ENOMEM;
	}
	(void)snprintf(text, sizeof(text), "draft of revision %llu: %s; undo: %s",
	               (unsigned long long)base, change->done, change->undo);
	codec_doc_set_text(answer, CODEC_OK_TEXT, text);
	codec_doc_set_u64(answer, CODEC_OK_NUMBER, change->number);
	return call_send(change->call, answer);
}

static int edit(struct call *call, struct change *change)
{
	_cleanup_(policy_model_destroy) policy_model_t *draft = NULL;
	_cleanup_(pr_free) char *line = calloc(1, 2 * POLICY_LINE_MAX_BYTES);
	const char *name = codec_doc_text(call->document, CODEC_POLICY_EDIT_CHANGE);
	const char *asked = codec_doc_text(call->document, CODEC_POLICY_EDIT_LINE);
	uint64_t base = call->admin->view.revision;

	if (line == NULL) {
		return PR_ENOMEM;
	}
	int ret = draft_read(call, &draft, &base);
	if (ret == PR_ENOENT && call->admin->view.model == NULL) {
		return call_fail(call, PR_EAGAIN, "there is no policy yet");
	}
	if (ret != PR_OK && ret != PR_ENOENT) {
		return ret;
	}
	change->model = draft != NULL ? draft : call->admin->view.model;
	change->line = asked;
	if (strcmp(name, "add") == 0 && strncmp(asked, "group", 5) != 0 &&
	    strncmp(asked, "usergroup", 9) != 0 && strlen(asked) <= POLICY_LINE_MAX_BYTES) {
		ret = line_resolve(call, change->model, asked, line, 2 * POLICY_LINE_MAX_BYTES);
		if (ret != PR_OK) {
			return ret;
		}
		change->line = line;
	}
	ret = change_make(change, name);
	if (ret == PR_OK) {
		ret = draft_save(call, change->changed, base);
	}
	return ret == PR_OK ? edit_answer(change, base) : ret;
}

int admin_policy_edit(struct call *call)
{
	_cleanup_(pr_free) struct change *change = calloc(1, sizeof(*change));
	_cleanup_(pr_free) struct policy_errors *errors = calloc(1, sizeof(*errors));
	uint64_t number = codec_doc_u64(call->document, CODEC_POLICY_EDIT_NUMBER);
	uint64_t to = codec_doc_u64(call->document, CODEC_POLICY_EDIT_TO);

	if (change == NULL || errors == NULL) {
		return PR_ENOMEM;
	}
	if (number > POLICY_RULE_NUMBER_MAX || to > POLICY_RULE_NUMBER_MAX) {
		return call_fail(call, PR_EINVAL, "rules are numbered from 1 to %u",
		                 POLICY_RULE_NUMBER_MAX);
	}
	*change = (struct change){
		.call = call, .errors = errors, .number = (uint32_t)number, .to = (uint32_t)to
	};
	int ret = edit(call, change);
	policy_model_destroy(&change->changed);
	return ret;
}
