/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Isolate an endpoint, let it go, forget it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "controller/names.h"

#define LOG_COMPONENT "admin"
#define LIFE_MAX_S    (366U * 86400U)

static int reason_check(struct call *call, const char *reason)
{
	if (reason[strspn(reason, " \t\n")] == '\0') {
		return call_fail(call, PR_EINVAL, "say why: the reason may not be empty");
	}
	if (strlen(reason) >= QUARANTINE_REASON_BYTES || strchr(reason, '\n') != NULL) {
		return call_fail(call, PR_EINVAL, "the reason is one line of at most %d bytes",
		                 QUARANTINE_REASON_BYTES - 1);
	}
	return PR_OK;
}

static void until_format(uint64_t until_wall_ns, char *text, size_t size_bytes)
{
	char time[PR_CLOCK_TEXT_BYTES];

	if (until_wall_ns == 0) {
		(void)snprintf(text, size_bytes, "until it is released");
	} else {
		(void)snprintf(text, size_bytes, "until %s", pr_clock_format(until_wall_ns, time));
	}
}

int admin_quarantine_set(struct call *call)
{
	struct admin *admin = call->admin;
	const codec_doc_t *asked = call->document;
	const char *reason = codec_doc_text(asked, CODEC_QUARANTINE_SET_REASON);
	uint64_t seconds = codec_doc_u64(asked, CODEC_QUARANTINE_SET_SECONDS);
	const struct directory_endpoint *endpoint = NULL;
	struct quarantine quarantine = { .since_wall_ns = admin->now_wall_ns };
	char until[96], undo[128], id[PR_UUID_TEXT_BYTES];

	int ret = reason_check(call, reason);
	if (ret == PR_OK && seconds > LIFE_MAX_S) {
		ret = call_fail(call, PR_EINVAL, "a quarantine lasts at most %u s, or has no end",
		                LIFE_MAX_S);
	}
	if (ret == PR_OK) {
		ret = names_find_one(call, codec_doc_text(asked, CODEC_QUARANTINE_SET_NAME), NULL,
		                     &endpoint);
	}
	if (ret == PR_OK && codec_doc_u64(asked, CODEC_QUARANTINE_SET_FORCE) == 0) {
		ret = admin_guard_quarantine(call, CODEC_QUARANTINE_SET_CONNECTIONS, endpoint);
	}
	if (ret == PR_OK && admin->view.quarantine.count >= QUARANTINE_MAX) {
		ret = call_fail(call, PR_ETOOBIG,
		                "%u endpoints are in quarantine: that is the limit",
		                QUARANTINE_MAX);
	}
	if (ret != PR_OK) {
		return ret;
	}
	quarantine.id = endpoint->policy.id;
	quarantine.until_wall_ns = seconds != 0 ? admin->now_wall_ns + seconds * PR_NS_PER_S : 0;
	(void)snprintf(quarantine.by, sizeof(quarantine.by), "%s", call_author(call));
	(void)snprintf(quarantine.reason, sizeof(quarantine.reason), "%s", reason);
	ret = quarantine_put(admin->setup.store, &quarantine);
	if (ret != PR_OK) {
		return ret;
	}
	char name[96];
	(void)snprintf(name, sizeof(name), "%.80s", names_text(endpoint->policy.name));
	bool host = endpoint->policy.kind == POLICY_HOST;
	admin_changed(admin); /* from here on the endpoint may be another object */
	until_format(quarantine.until_wall_ns, until, sizeof(until));
	(void)snprintf(undo, sizeof(undo), "portreeve release %s",
	               pr_uuid_format(&quarantine.id, id));
	admin_audit(call, "quarantine", name, reason, undo);
	return call_ok(call, quarantine.until_wall_ns / PR_NS_PER_S,
	               "%s is in quarantine%s %s: only lifelines pass; undo: %s", name,
	               host ? ", with its containers," : "", until, undo);
}

/* By name; by UUID also when nobody of that UUID is known now. */
static int released_find(struct call *call, const char *name, struct pr_uuid *ret_id)
{
	const struct directory_endpoint *endpoint = NULL;

	if (pr_uuid_parse(name, ret_id) == PR_OK) {
		return PR_OK;
	}
	int ret = names_find_one(call, name, NULL, &endpoint);
	if (ret == PR_OK) {
		*ret_id = endpoint->policy.id;
	}
	return ret;
}

int admin_quarantine_release(struct call *call)
{
	struct admin *admin = call->admin;
	const char *name = codec_doc_text(call->document, CODEC_QUARANTINE_RELEASE_NAME);
	const char *reason = codec_doc_text(call->document, CODEC_QUARANTINE_RELEASE_REASON);
	struct pr_uuid id = { 0 };
	char undo[128], text[PR_UUID_TEXT_BYTES];

	int ret = released_find(call, name, &id);
	if (ret == PR_OK && quarantine_find(&admin->view.quarantine, &id) == NULL) {
		ret = call_fail(call, PR_ENOENT, "'%.64s' is not in quarantine", name);
	}
	if (ret == PR_OK) {
		ret = quarantine_delete(admin->setup.store, &id);
	}
	if (ret != PR_OK) {
		return ret;
	}
	admin_changed(admin);
	(void)snprintf(undo, sizeof(undo), "portreeve quarantine %s --reason WHY",
	               pr_uuid_format(&id, text));
	admin_audit(call, "release", name, reason, undo);
	return call_ok(call, 0, "%s is released, policy alone decides again; undo: %s", name, undo);
}

void admin_quarantine_tick(struct admin *admin)
{
	const struct quarantine_set *set = &admin->view.quarantine;
	bool changed = false;

	for (size_t i = 0; i < set->count; i++) {
		const struct quarantine *item = &set->items[i];
		char id[PR_UUID_TEXT_BYTES];
		if (item->until_wall_ns == 0 || admin->now_wall_ns < item->until_wall_ns) {
			continue;
		}
		int ret = quarantine_delete(admin->setup.store, &item->id);
		if (ret != PR_OK) {
			log_error("cannot end a quarantine that is over: %s, trying again",
			          pr_strerror(ret));
			return;
		}
		admin_audit_self(admin, "release", pr_uuid_format(&item->id, id),
		                 "the time of its quarantine is over", "");
		changed = true;
	}
	if (changed) {
		admin_changed(admin);
	}
}

/* ---- remove ---- */

static int container_remove(struct call *call, const struct directory_endpoint *endpoint)
{
	struct admin *admin = call->admin;
	struct store_change change = { 0 };
	const struct session *session = session_find(admin, &endpoint->agent);

	if (!endpoint->stopped && session_is_active(admin, session)) {
		return call_fail(call, PR_EBUSY,
		                 "%.64s runs, its agent would name it again at once: stop it, or "
		                 "put it in quarantine",
		                 names_text(endpoint->policy.name));
	}
	int ret = store_endpoint_remove(admin->setup.store, &endpoint->agent, &endpoint->policy.id,
	                                admin->now_wall_ns, &change);
	if (ret == PR_OK) {
		admin_changed(admin);
	}
	return ret;
}

static int host_remove(struct call *call, const struct directory_endpoint *endpoint)
{
	const struct session *session = session_find(call->admin, &endpoint->agent);

	if (session_is_active(call->admin, session) &&
	    codec_doc_u64(call->document, CODEC_ENDPOINT_REMOVE_FORCE) == 0) {
		return call_fail(
			call, PR_EBUSY,
			"%.64s is active: --force cuts its agent off, and what it enforces "
			"stays as it is",
			names_text(endpoint->policy.name));
	}
	return admin_agent_remove(call->admin, &endpoint->agent);
}

int admin_endpoint_remove(struct call *call)
{
	const char *name = codec_doc_text(call->document, CODEC_ENDPOINT_REMOVE_NAME);
	const char *reason = codec_doc_text(call->document, CODEC_ENDPOINT_REMOVE_REASON);
	const struct directory_endpoint *endpoint = NULL;
	char undo[96] = "", shown[96] = "", id[PR_UUID_TEXT_BYTES];

	int ret = reason_check(call, reason);
	if (ret == PR_OK) {
		ret = names_find_one(call, name, NULL, &endpoint);
	}
	if (ret != PR_OK) {
		return ret;
	}
	bool host = endpoint->policy.kind == POLICY_HOST;
	(void)snprintf(shown, sizeof(shown), "%.80s", names_text(endpoint->policy.name));
	if (host) {
		(void)snprintf(undo, sizeof(undo), "portreeve agent approve %s",
		               pr_uuid_format(&endpoint->agent, id));
	}
	ret = host ? host_remove(call, endpoint) : container_remove(call, endpoint);
	if (ret != PR_OK) {
		return ret;
	}
	admin_audit(call, "remove", shown, reason, undo);
	return call_ok(call, 0, "%s is forgotten%s%s%s", shown,
	               host ? ", with its containers, and its key is revoked; undo: " : "", undo,
	               host ? "" : "; it comes back when its agent names it again");
}
