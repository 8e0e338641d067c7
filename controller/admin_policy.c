/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controller/internal.h"

#define MESSAGE_MAX_BYTES 1024

void call_policy_errors(struct call *call, const struct policy_errors *errors)
{
	for (size_t i = 0; i < errors->count; i++) {
		call_detail(call, "%u:%u: %s", errors->items[i].line, errors->items[i].column,
		            errors->items[i].message);
	}
}

int admin_policy_parse(struct call *call, const char *text, size_t size_bytes,
                       policy_model_t **ret_model)
{
	_cleanup_(pr_free) struct policy_errors *errors = calloc(1, sizeof(*errors));

	if (errors == NULL) {
		return PR_ENOMEM;
	}
	int ret = policy_text_parse(text, size_bytes, errors, ret_model);
	if (ret != PR_EPOLICY) {
		return ret;
	}
	call_policy_errors(call, errors);
	return call_fail(call, PR_EPOLICY, "the policy has %zu error%s, nothing was changed",
	                 errors->total, errors->total == 1 ? "" : "s");
}

/* ---- check, commit, roll back ---- */

int admin_policy_check(struct call *call)
{
	_cleanup_(policy_model_destroy) policy_model_t *model = NULL;
	_cleanup_(policy_image_destroy) policy_image_t *image = NULL;
	_cleanup_(pr_free) struct policy_endpoint *endpoints = NULL;
	const char *text = codec_doc_text(call->document, CODEC_POLICY_CHECK_TEXT);
	struct policy_expect_result tests = { 0 };
	size_t count = 0, empty = 0;
	const char *first_empty = "";
	char untried[96] = "";

	int ret = admin_policy_parse(call, text, strlen(text), &model);
	if (ret == PR_OK) {
		ret = directory_policy_endpoints(call->admin->view.directory, &endpoints, &count);
	}
	if (ret == PR_OK) {
		ret = policy_image_compile(model, endpoints, count, CODEC_REVISION_DRAFT, &image);
	}
	if (ret == PR_OK) {
		ret = admin_policy_expect(call, model, image, endpoints, count, &tests);
	}
	if (ret != PR_OK) {
		return ret;
	}
	if (tests.untried > 0) {
		(void)snprintf(untried, sizeof(untried),
		               "; expect lines not tried, without a member now: %zu (line %u)",
		               tests.untried, tests.untried_first);
	}
	size_t groups = policy_model_group_count(model);
	empty = admin_groups_empty(model, image, &first_empty);
	if (empty == 0) {
		return call_ok(call, policy_model_rule_count(model),
		               "good: rules %zu, groups %zu, expect lines %zu%s",
		               policy_model_rule_count(model), groups, tests.lines, untried);
	}
	return call_ok(call, policy_model_rule_count(model),
	               "good: rules %zu, groups %zu, %zu of them without a member now (%s%s), "
	               "expect lines %zu%s",
	               policy_model_rule_count(model), groups, empty, first_empty,
	               empty > 1 ? ", ..." : "", tests.lines, untried);
}

static int check_message(struct call *call, const char *message)
{
	if (message[strspn(message, " \t\n")] == '\0') {
		return call_fail(call, PR_EINVAL, "say why: the message may not be empty");
	}
	if (strlen(message) > MESSAGE_MAX_BYTES) {
		return call_fail(call, PR_EINVAL, "the message has at most %d bytes",
		                 MESSAGE_MAX_BYTES);
	}
	return PR_OK;
}

/* Wrap a text as a revision by the asking key; strings are borrowed. */
static struct store_revision revision_of(struct call *call, char *text, size_t text_bytes,
                                         const char *message)
{
	return (struct store_revision){
		.time_wall_ns = call->admin->now_wall_ns,
		.author = (char *)(uintptr_t)call_author(call),
		.message = (char *)(uintptr_t)message,
		.text = text,
		.text_bytes = text_bytes,
	};
}

int admin_policy_commit(struct call *call)
{
	_cleanup_(store_draft_done) struct store_draft draft = { 0 };
	const char *message = codec_doc_text(call->document, CODEC_POLICY_COMMIT_MESSAGE);
	uint64_t base = codec_doc_u64(call->document, CODEC_POLICY_COMMIT_BASE);
	const struct pr_uuid *author = &call->frame->peer.id;

	int ret = check_message(call, message);
	if (ret != PR_OK) {
		return ret;
	}
	ret = store_draft_get(call->admin->setup.store, author, &draft);
	if (ret == PR_ENOENT) {
		return call_fail(call, ret,
		                 "there is no draft of yours: `policy edit`, `policy add` or "
		                 "`policy import` make one");
	}
	if (ret != PR_OK) {
		return ret;
	}
	struct store_revision revision = revision_of(call, draft.text, draft.text_bytes, message);
	struct publish publish = {
		.action = "commit",
		.base = base != 0 ? base : draft.base,
		.draft_of = author,
		.confirm_s = codec_doc_u64(call->document, CODEC_POLICY_COMMIT_CONFIRM),
		.force = codec_doc_u64(call->document, CODEC_POLICY_COMMIT_FORCE) != 0,
		.run_expects = true,
		.connections_field = CODEC_POLICY_COMMIT_CONNECTIONS,
	};
	return admin_policy_publish(call, &publish, &revision);
}

int admin_policy_rollback(struct call *call)
{
	_cleanup_(store_revision_done) struct store_revision old = { 0 };
	uint64_t wanted = codec_doc_u64(call->document, CODEC_POLICY_ROLLBACK_REVISION);
	const char *message = codec_doc_text(call->document, CODEC_POLICY_ROLLBACK_MESSAGE);
	const struct authority *authority = &call->admin->setup.authority;
	char own_message[64], done[64];

	(void)snprintf(own_message, sizeof(own_message), "roll back to revision %llu",
	               (unsigned long long)wanted);
	int ret = wanted != 0 ? authority->read(authority->self, wanted, &old) : PR_ENOENT;
	if (ret == PR_ENOENT) {
		return call_fail(call, ret, "there is no revision %llu: policy log lists them",
		                 (unsigned long long)wanted);
	}
	if (ret == PR_OK && message[0] != '\0') {
		ret = check_message(call, message);
	}
	if (ret != PR_OK) {
		return ret;
	}
	struct store_revision revision = revision_of(call, old.text, old.text_bytes,
	                                             message[0] != '\0' ? message : own_message);
	struct publish publish = {
		.action = "rollback",
		.base = call->admin->view.revision,
		.force = codec_doc_u64(call->document, CODEC_POLICY_ROLLBACK_FORCE) != 0,
		.is_rollback = true,
		.connections_field = CODEC_POLICY_ROLLBACK_CONNECTIONS,
	};
	(void)snprintf(done, sizeof(done), "the text of revision %llu is back",
	               (unsigned long long)wanted);
	publish.done = done;
	return admin_policy_publish(call, &publish, &revision);
}

/* ---- get, log ---- */

static void count_rules(const char *text, size_t size_bytes, codec_doc_t *answer)
{
	_cleanup_(policy_model_destroy) policy_model_t *model = NULL;
	_cleanup_(pr_free) struct policy_errors *errors = calloc(1, sizeof(*errors));

	if (errors != NULL && policy_text_parse(text, size_bytes, errors, &model) == PR_OK) {
		codec_doc_set_u64(answer, CODEC_POLICY_RULES, policy_model_rule_count(model));
	}
}

static int get_draft(struct call *call, codec_doc_t *answer)
{
	_cleanup_(store_draft_done) struct store_draft draft = { 0 };

	int ret = store_draft_get(call->admin->setup.store, &call->frame->peer.id, &draft);
	if (ret == PR_ENOENT) {
		return call_fail(call, ret, "there is no draft of yours");
	}
	if (ret != PR_OK) {
		return ret;
	}
	codec_doc_set_u64(answer, CODEC_POLICY_REVISION, draft.base);
	codec_doc_set_text(answer, CODEC_POLICY_TEXT, draft.text);
	codec_doc_set_text(answer, CODEC_POLICY_AUTHOR, call_author(call));
	codec_doc_set_u64(answer, CODEC_POLICY_TIME, draft.time_wall_ns);
	codec_doc_set_u64(answer, CODEC_POLICY_DRAFT, 1);
	count_rules(draft.text, draft.text_bytes, answer);
	return PR_OK;
}

static void describe_revision(codec_doc_t *answer, const struct store_revision *revision)
{
	codec_doc_set_u64(answer, CODEC_POLICY_REVISION, revision->revision);
	codec_doc_set_text(answer, CODEC_POLICY_TEXT, revision->text != NULL ? revision->text : "");
	codec_doc_set_text(answer, CODEC_POLICY_AUTHOR, revision->author);
	codec_doc_set_text(answer, CODEC_POLICY_MESSAGE, revision->message);
	codec_doc_set_u64(answer, CODEC_POLICY_TIME, revision->time_wall_ns);
}

int admin_policy_get(struct call *call)
{
	_cleanup_(codec_doc_destroy) codec_doc_t *answer = call_doc(call, CODEC_POLICY);
	_cleanup_(store_revision_done) struct store_revision revision = { 0 };
	uint64_t wanted = codec_doc_u64(call->document, CODEC_POLICY_GET_REVISION);
	const struct authority *authority = &call->admin->setup.authority;

	if (answer == NULL) {
		return PR_ENOMEM;
	}
	if (wanted == CODEC_REVISION_DRAFT) {
		int ret = get_draft(call, answer);
		return ret == PR_OK ? call_send(call, answer) : ret;
	}
	int ret = authority->read(authority->self, wanted, &revision);
	if (ret == PR_ENOENT) {
		return call_fail(call, ret, "there is no revision %llu: policy log lists them",
		                 (unsigned long long)wanted);
	}
	if (ret != PR_OK) {
		return ret;
	}
	describe_revision(answer, &revision);
	if (revision.revision == call->admin->view.revision) {
		codec_doc_set_u64(answer, CODEC_POLICY_RULES, call->admin->view.rule_count);
	} else {
		count_rules(revision.text, revision.text_bytes, answer);
	}
	return call_send(call, answer);
}

static bool log_entry(void *arg, const struct store_revision *revision)
{
	struct call *call = arg;
	_cleanup_(codec_doc_destroy) codec_doc_t *answer = call_doc(call, CODEC_POLICY);

	if (answer == NULL) {
		return false;
	}
	describe_revision(answer, revision);
	if (revision->revision == call->admin->view.revision) {
		codec_doc_set_u64(answer, CODEC_POLICY_RULES, call->admin->view.rule_count);
	}
	call->sent++;
	return call_send(call, answer) == PR_OK;
}

int admin_policy_log(struct call *call)
{
	uint64_t limit = codec_doc_u64(call->document, CODEC_POLICY_LOG_LIMIT);
	const struct authority *authority = &call->admin->setup.authority;

	int ret = authority->list(authority->self, (size_t)limit, log_entry, call);
	if (ret != PR_OK) {
		return ret;
	}
	return call_end(call, limit == 0 || call->sent < limit ||
	                              call->sent == call->admin->view.revision);
}
