/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A text becomes the policy in force: every way there leads through here. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "controller/internal.h"

#define LOG_COMPONENT "admin"

/* What is tried out before a text is in force. */
struct trial {
	policy_model_t *model;
	policy_image_t *image;
	struct policy_endpoint *endpoints;
	size_t count;
};

static void trial_done(struct trial *trial)
{
	policy_model_destroy(&trial->model);
	policy_image_destroy(&trial->image);
	free(trial->endpoints);
}

static int trial_make(struct call *call, const struct store_revision *revision, struct trial *trial)
{
	int ret = admin_policy_parse(call, revision->text, revision->text_bytes, &trial->model);

	if (ret == PR_OK) {
		ret = directory_policy_endpoints(call->admin->view.directory, &trial->endpoints,
		                                 &trial->count);
	}
	if (ret == PR_OK) {
		ret = policy_image_compile(trial->model, trial->endpoints, trial->count,
		                           CODEC_REVISION_DRAFT, &trial->image);
	}
	return ret;
}

static int trial_run(struct call *call, const struct publish *publish, const struct trial *trial)
{
	struct policy_expect_result result;
	int ret = PR_OK;

	if (publish->force) {
		return PR_OK;
	}
	ret = admin_guard(call, publish, trial->model, trial->image);
	if (ret == PR_OK && publish->run_expects && policy_expect_any(trial->model)) {
		ret = admin_policy_expect(call, trial->model, trial->image, trial->endpoints,
		                          trial->count, &result);
	}
	return ret;
}

static int say_conflict(struct call *call, uint64_t base)
{
	return call_fail(call, PR_ECONFLICT,
	                 "somebody committed meanwhile: revision %llu is in force, yours was made "
	                 "from %llu; your draft is kept: portreeve policy rebase",
	                 (unsigned long long)call->admin->view.revision, (unsigned long long)base);
}

size_t admin_groups_empty(const policy_model_t *model, const policy_image_t *image,
                          const char **ret_first)
{
	size_t empty = 0;

	for (size_t i = 0; i < policy_model_group_count(model); i++) {
		const char *name = policy_model_group(model, i)->name;
		if (policy_image_group_members(image, name, NULL, 0) <= 0) {
			*ret_first = empty == 0 ? name : *ret_first;
			empty++;
		}
	}
	return empty;
}

/* Say what came of it: the same words in the answer and in the audit log. */
static int say_done(struct call *call, const struct publish *publish, const struct trial *trial,
                    const struct store_revision *revision, uint64_t number)
{
	char undo[64], target[64], empty_text[POLICY_NAME_MAX_BYTES + 80] = "";
	char confirm[96] = "", name[80];
	const char *first = "";
	size_t empty = admin_groups_empty(trial->model, trial->image, &first);

	(void)snprintf(target, sizeof(target), "revision %llu", (unsigned long long)number);
	(void)snprintf(undo, sizeof(undo), "portreeve policy rollback %llu",
	               (unsigned long long)publish->base);
	if (empty > 0) {
		(void)snprintf(empty_text, sizeof(empty_text),
		               "; groups without a member now: %zu (%s%s)", empty, first,
		               empty > 1 ? ", ..." : "");
	}
	if (publish->confirm_s > 0) {
		(void)snprintf(confirm, sizeof(confirm),
		               " for %llu s, then it goes back: keep it with `portreeve policy "
		               "confirm`",
		               (unsigned long long)publish->confirm_s);
	}
	log_info("policy revision %llu by '%s'", (unsigned long long)number,
	         pr_log_escape(revision->author, name, sizeof(name)));
	admin_audit(call, publish->action, target, revision->message, undo);
	return call_ok(call, number, "%s%srevision %llu is in force%s%s; undo: %s",
	               publish->done != NULL ? publish->done : "",
	               publish->done != NULL ? ", " : "", (unsigned long long)number, confirm,
	               empty_text, undo);
}

int admin_policy_publish(struct call *call, const struct publish *publish,
                         const struct store_revision *revision)
{
	_cleanup_(trial_done) struct trial trial = { 0 };
	const struct authority *authority = &call->admin->setup.authority;
	uint64_t number = 0;

	int ret = admin_confirm_check(call, publish);
	if (ret == PR_OK && publish->base != call->admin->view.revision) {
		ret = say_conflict(call, publish->base);
	}
	if (ret == PR_OK) {
		ret = trial_make(call, revision, &trial);
	}
	if (ret == PR_OK) {
		ret = trial_run(call, publish, &trial);
	}
	if (ret == PR_OK) {
		ret = admin_confirm_begin(call, publish);
	}
	if (ret != PR_OK) {
		return ret;
	}
	ret = authority->commit(authority->self, publish->base, revision, publish->draft_of,
	                        &number);
	if ((ret == PR_OK) == (publish->confirm_s == 0)) {
		/* Its own trial that did not begin, or another's that this commit has ended. */
		admin_confirm_cancel(call->admin);
	}
	if (ret != PR_OK) {
		return ret == PR_ECONFLICT ? say_conflict(call, publish->base) : ret;
	}
	admin_changed(call->admin);
	return say_done(call, publish, &trial, revision, number);
}
