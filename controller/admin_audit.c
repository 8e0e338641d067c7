/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who changed what, when and why. */
#include "controller/internal.h"

#define LOG_COMPONENT "admin"

static void add(struct admin *admin, struct store_audit *entry)
{
	entry->time_wall_ns = admin->now_wall_ns;
	int ret = store_audit_add(admin->setup.store, entry);
	if (ret != PR_OK) {
		log_error("'%s' is done, but the audit log has no entry of it: %s", entry->action,
		          pr_strerror(ret));
	}
}

void admin_audit(struct call *call, const char *action, const char *target, const char *reason,
                 const char *undo)
{
	struct store_audit entry = {
		.key = call->frame->peer.id,
		.name = call_author(call),
		.action = action,
		.target = target,
		.reason = reason,
		.undo = undo,
	};

	add(call->admin, &entry);
}

void admin_audit_self(struct admin *admin, const char *action, const char *target,
                      const char *reason, const char *undo)
{
	struct store_audit entry = { .name = "controller",
		                     .action = action,
		                     .target = target,
		                     .reason = reason,
		                     .undo = undo };

	add(admin, &entry);
}

static bool send_entry(void *arg, const struct store_audit *entry)
{
	struct call *call = arg;
	_cleanup_(codec_doc_destroy) codec_doc_t *answer = call_doc(call, CODEC_AUDIT);

	if (answer == NULL) {
		return false;
	}
	codec_doc_set_u64(answer, CODEC_AUDIT_NUMBER, entry->number);
	codec_doc_set_u64(answer, CODEC_AUDIT_TIME, entry->time_wall_ns);
	codec_doc_set_uuid(answer, CODEC_AUDIT_KEY, &entry->key);
	codec_doc_set_text(answer, CODEC_AUDIT_NAME, entry->name);
	codec_doc_set_text(answer, CODEC_AUDIT_ACTION, entry->action);
	codec_doc_set_text(answer, CODEC_AUDIT_TARGET, entry->target);
	codec_doc_set_text(answer, CODEC_AUDIT_REASON, entry->reason);
	codec_doc_set_text(answer, CODEC_AUDIT_UNDO, entry->undo);
	call->sent++;
	return call_send(call, answer) == PR_OK;
}

int admin_audit_get(struct call *call)
{
	uint64_t limit = codec_doc_u64(call->document, CODEC_AUDIT_GET_LIMIT);

	int ret = store_audit_list(call->admin->setup.store, (size_t)limit, send_entry, call);
	return ret == PR_OK ? call_end(call, limit == 0 || call->sent < limit) : ret;
}
