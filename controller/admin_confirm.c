/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A commit that goes back by itself unless it is confirmed in time. What waits stands in the store
 * before the commit does, so that no death of a process makes a trial permanent.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "controller/internal.h"

#define LOG_COMPONENT  "admin"
#define VALUE_NAME     "policy.confirm"
#define CONFIRM_MAX_S  86400U
#define AUTHOR_BYTES   64
#define WAITING_FORMAT "%" SCNu64 " %" SCNu64 " %" SCNu64 " %63[^\n]"

struct waiting {
	uint64_t revision; /* on trial; 0: none */
	uint64_t base;     /* to go back to */
	uint64_t until_wall_ns;
	char author[AUTHOR_BYTES];
};

static int waiting_read(struct admin *admin, struct waiting *ret_waiting)
{
	_cleanup_(pr_free) uint8_t *data = NULL;
	size_t size_bytes = 0;

	*ret_waiting = (struct waiting){ 0 };
	int ret = store_value_get(admin->setup.store, VALUE_NAME, &data, &size_bytes);
	if (ret != PR_OK) {
		return ret == PR_ENOENT ? PR_OK : ret;
	}
	int got = sscanf((const char *)data, WAITING_FORMAT, &ret_waiting->revision,
	                 &ret_waiting->base, &ret_waiting->until_wall_ns, ret_waiting->author);
	return got >= 3 ? PR_OK : PR_ECORRUPT;
}

void admin_confirm_cancel(struct admin *admin)
{
	int ret = store_value_delete(admin->setup.store, VALUE_NAME);

	if (ret != PR_OK) {
		log_error("cannot forget a commit on trial: %s", pr_strerror(ret));
	}
}

int admin_confirm_check(struct call *call, const struct publish *publish)
{
	struct waiting waiting;

	if (publish->confirm_s > CONFIRM_MAX_S) {
		return call_fail(call, PR_EINVAL,
		                 "a commit waits for its confirmation at most %u s", CONFIRM_MAX_S);
	}
	int ret = waiting_read(call->admin, &waiting);
	bool ends_trials = publish->force || publish->is_rollback;
	if (ends_trials && publish->confirm_s == 0) {
		return PR_OK;
	}
	/* One that another commit has replaced is none. */
	if (ret != PR_OK || waiting.revision == 0 ||
	    waiting.revision < call->admin->view.revision) {
		return ret;
	}
	return call_fail(call, PR_EBUSY,
	                 "revision %llu by %s is on trial: first `portreeve policy confirm`, or "
	                 "`portreeve policy rollback %llu`",
	                 (unsigned long long)waiting.revision, waiting.author,
	                 (unsigned long long)waiting.base);
}

int admin_confirm_begin(struct call *call, const struct publish *publish)
{
	char text[160];

	if (publish->confirm_s == 0) {
		return PR_OK; /* a trial that there is ends when this commit is done, not before */
	}
	int length =
		snprintf(text, sizeof(text), "%" PRIu64 " %" PRIu64 " %" PRIu64 " %.63s",
	                 publish->base + 1, publish->base,
	                 (uint64_t)(call->admin->now_wall_ns + publish->confirm_s * PR_NS_PER_S),
	                 call_author(call));
	return store_value_put(call->admin->setup.store, VALUE_NAME, text, (size_t)length);
}

int admin_policy_confirm(struct call *call)
{
	struct waiting waiting;
	char target[64], undo[64];

	int ret = waiting_read(call->admin, &waiting);
	if (ret == PR_OK && waiting.revision == 0) {
		return call_fail(call, PR_ENOENT, "no commit waits for a confirmation");
	}
	if (ret == PR_OK) {
		ret = store_value_delete(call->admin->setup.store, VALUE_NAME);
	}
	if (ret != PR_OK) {
		return ret;
	}
	(void)snprintf(target, sizeof(target), "revision %llu",
	               (unsigned long long)waiting.revision);
	(void)snprintf(undo, sizeof(undo), "portreeve policy rollback %llu",
	               (unsigned long long)waiting.base);
	admin_audit(call, "confirm", target, "", undo);
	return call_ok(call, waiting.revision, "%s stays in force; undo: %s", target, undo);
}

static int go_back(struct admin *admin, const struct waiting *waiting)
{
	_cleanup_(store_revision_done) struct store_revision old = { 0 };
	const struct authority *authority = &admin->setup.authority;
	char message[128], target[64], undo[64];
	uint64_t number = 0;

	(void)snprintf(message, sizeof(message),
	               "revision %" PRIu64 " by %.40s was not confirmed in time: back to %" PRIu64,
	               waiting->revision, waiting->author, waiting->base);
	int ret = authority->read(authority->self, waiting->base, &old);
	if (ret != PR_OK) {
		return ret;
	}
	struct store_revision revision = { .time_wall_ns = admin->now_wall_ns,
		                           .author = (char *)(uintptr_t) "controller",
		                           .message = message,
		                           .text = old.text,
		                           .text_bytes = old.text_bytes };
	ret = authority->commit(authority->self, waiting->revision, &revision, NULL, &number);
	if (ret != PR_OK) {
		return ret;
	}
	log_warn("%s", message);
	admin_changed(admin);
	(void)snprintf(target, sizeof(target), "revision %" PRIu64, number);
	(void)snprintf(undo, sizeof(undo), "portreeve policy rollback %" PRIu64, waiting->revision);
	admin_audit_self(admin, "go-back", target, message, undo);
	return PR_OK;
}

void admin_confirm_tick(struct admin *admin)
{
	const struct authority *authority = &admin->setup.authority;
	struct waiting waiting;
	uint64_t head = 0;
	int ret = waiting_read(admin, &waiting);

	if (ret == PR_OK && (waiting.revision == 0 || admin->now_wall_ns < waiting.until_wall_ns)) {
		return;
	}
	/* Not by the view: that may lag behind, and a trial that is not seen would stay for ever.
	 */
	if (ret == PR_OK) {
		ret = authority->watch(authority->self, &head);
	}
	if (ret == PR_OK && waiting.revision == head) {
		ret = go_back(admin, &waiting);
	}
	if (ret == PR_OK || ret == PR_ECONFLICT) {
		/* Done, or it never came, or another has replaced it. */
		admin_confirm_cancel(admin);
		return;
	}
	log_error("cannot take an unconfirmed commit back: %s, trying again", pr_strerror(ret));
}
