/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "controller/internal.h"

#define LOG_COMPONENT "admin"
#define NO_ID         UINT32_MAX
#define TICK_MS       50
#define TICK_BUSY_MS  5
#define MINUTE_NS     (60 * PR_NS_PER_S)
#define LOOK_NS       (500 * PR_NS_PER_MS)

#define ANYBODY_ENROLLED                                                                           \
	(BUS_ROLE_AGENT | BUS_ROLE_WORKER | BUS_ROLE_RECORDER | BUS_ROLE_ADMIN | BUS_ROLE_VIEWER | \
	 BUS_ROLE_SUBSCRIBER)

struct row {
	enum codec_type type;
	unsigned roles;
	unsigned id_field; /* NO_ID: the message has none */
	admin_handler handle;
};

/* Who may send what. A message that is not here may be sent by nobody. */
static const struct row rows[] = {
	{ CODEC_ENROLL, BUS_ROLE_ENROLLING, CODEC_ENROLL_ID, admin_enroll },
	{ CODEC_DIRECTORY_GET, ANYBODY_ENROLLED, CODEC_DIRECTORY_GET_ID, admin_directory_get },
	{ CODEC_HELLO, BUS_ROLE_AGENT, CODEC_HELLO_ID, admin_hello },
	{ CODEC_ENDPOINT, BUS_ROLE_AGENT, CODEC_ENDPOINT_ID, admin_endpoint },
	{ CODEC_ENDPOINT_GONE, BUS_ROLE_AGENT, NO_ID, admin_endpoint_gone },
	{ CODEC_INVENTORY_END, BUS_ROLE_AGENT, CODEC_INVENTORY_END_ID, admin_inventory_end },
	{ CODEC_STATE_GET, BUS_ROLE_AGENT, CODEC_STATE_GET_ID, admin_state_get },
	{ CODEC_STATUS_GET, ADMIN_ROLES_READ, CODEC_STATUS_GET_ID, admin_status_get },
	{ CODEC_ENDPOINTS_GET, ADMIN_ROLES_READ, CODEC_ENDPOINTS_GET_ID, admin_endpoints_get },
	{ CODEC_GROUP_MEMBERS, ADMIN_ROLES_READ, CODEC_GROUP_MEMBERS_ID, admin_group_members },
	{ CODEC_GROUPS_GET, ADMIN_ROLES_READ, CODEC_GROUPS_GET_ID, admin_groups_get },
	{ CODEC_USERGROUPS_GET, ADMIN_ROLES_READ, CODEC_USERGROUPS_GET_ID, admin_usergroups_get },
	{ CODEC_GROUP_PREVIEW, ADMIN_ROLES_READ, CODEC_GROUP_PREVIEW_ID, admin_group_preview },
	{ CODEC_EXPLAIN_GET, ADMIN_ROLES_READ, CODEC_EXPLAIN_GET_ID, admin_explain_get },
	{ CODEC_REACH_GET, ADMIN_ROLES_READ, CODEC_REACH_GET_ID, admin_reach_get },
	{ CODEC_AUDIT_GET, ADMIN_ROLES_READ, CODEC_AUDIT_GET_ID, admin_audit_get },
	{ CODEC_POLICY_CHECK, ADMIN_ROLES_READ, CODEC_POLICY_CHECK_ID, admin_policy_check },
	{ CODEC_POLICY_GET, ADMIN_ROLES_READ | BUS_ROLE_RECORDER, CODEC_POLICY_GET_ID,
	  admin_policy_get },
	{ CODEC_POLICY_LOG, ADMIN_ROLES_READ, CODEC_POLICY_LOG_ID, admin_policy_log },
	{ CODEC_POLICY_IMPORT, ADMIN_ROLES_MANAGE, CODEC_POLICY_IMPORT_ID, admin_policy_import },
	{ CODEC_POLICY_EDIT, ADMIN_ROLES_MANAGE, CODEC_POLICY_EDIT_ID, admin_policy_edit },
	{ CODEC_POLICY_DISCARD, ADMIN_ROLES_MANAGE, CODEC_POLICY_DISCARD_ID, admin_policy_discard },
	{ CODEC_POLICY_CONFIRM, ADMIN_ROLES_MANAGE, CODEC_POLICY_CONFIRM_ID, admin_policy_confirm },
	{ CODEC_POLICY_COMMIT, ADMIN_ROLES_MANAGE, CODEC_POLICY_COMMIT_ID, admin_policy_commit },
	{ CODEC_POLICY_ROLLBACK, ADMIN_ROLES_MANAGE, CODEC_POLICY_ROLLBACK_ID,
	  admin_policy_rollback },
	{ CODEC_QUARANTINE_SET, ADMIN_ROLES_MANAGE, CODEC_QUARANTINE_SET_ID, admin_quarantine_set },
	{ CODEC_QUARANTINE_RELEASE, ADMIN_ROLES_MANAGE, CODEC_QUARANTINE_RELEASE_ID,
	  admin_quarantine_release },
	{ CODEC_ENDPOINT_REMOVE, ADMIN_ROLES_MANAGE, CODEC_ENDPOINT_REMOVE_ID,
	  admin_endpoint_remove },
	{ CODEC_MODE_SET, ADMIN_ROLES_MANAGE, CODEC_MODE_SET_ID, admin_mode_set },
	{ CODEC_TOKEN_NEW, ADMIN_ROLES_MANAGE, CODEC_TOKEN_NEW_ID, admin_token_new },
	{ CODEC_PEERS_GET, ADMIN_ROLES_READ | BUS_ROLE_RECORDER, CODEC_PEERS_GET_ID,
	  admin_peers_get },
	{ CODEC_PEER_SET, ADMIN_ROLES_MANAGE, CODEC_PEER_SET_ID, admin_peer_set },
};

static const struct row *row_of(enum codec_type type)
{
	for (size_t i = 0; i < PR_ARRAY_LEN(rows); i++) {
		if (rows[i].type == type) {
			return &rows[i];
		}
	}
	return NULL;
}

unsigned admin_roles_of(enum codec_type type)
{
	const struct row *row = row_of(type);

	return row != NULL ? row->roles : 0;
}

/* ---- answers ---- */

int call_fail(struct call *call, int err, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	(void)vsnprintf(call->text, sizeof(call->text), format, args);
	va_end(args);
	return err;
}

void call_detail(struct call *call, const char *format, ...)
{
	char line[1024];
	va_list args;

	if (call->error == NULL) {
		call->error = codec_doc_new(CODEC_ERROR);
	}
	if (call->error == NULL) {
		return;
	}
	va_start(args, format);
	(void)vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	codec_doc_add_text(call->error, CODEC_ERROR_DETAILS, line);
}

codec_doc_t *call_doc(const struct call *call, enum codec_type type)
{
	codec_doc_t *document = codec_doc_new(type);

	if (document != NULL) {
		/* The id comes first in every answer of the control plane. */
		codec_doc_set_u64(document, CODEC_OK_ID, call->id);
	}
	return document;
}

int call_send(struct call *call, const codec_doc_t *document)
{
	if (document == NULL) {
		return PR_ENOMEM;
	}
	session_send_doc(call->admin, call->session, document);
	return PR_OK;
}

int call_ok(struct call *call, uint64_t number, const char *format, ...)
{
	_cleanup_(codec_doc_destroy) codec_doc_t *document = call_doc(call, CODEC_OK);
	char text[1024];
	va_list args;

	if (document == NULL) {
		return PR_ENOMEM;
	}
	va_start(args, format);
	(void)vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	codec_doc_set_text(document, CODEC_OK_TEXT, text);
	codec_doc_set_u64(document, CODEC_OK_NUMBER, number);
	return call_send(call, document);
}

int call_end(struct call *call, bool complete)
{
	return call_end_state(call, complete, 0);
}

int call_end_state(struct call *call, bool complete, uint64_t number)
{
	_cleanup_(codec_doc_destroy) codec_doc_t *document = call_doc(call, CODEC_END);

	if (document == NULL) {
		return PR_ENOMEM;
	}
	codec_doc_set_u64(document, CODEC_END_COUNT, call->sent);
	codec_doc_set_u64(document, CODEC_END_COMPLETE, complete);
	codec_doc_set_u64(document, CODEC_END_NUMBER, number);
	return call_send(call, document);
}

const char *call_author(const struct call *call)
{
	return call->frame->peer.name;
}

void call_error(struct call *call, int err)
{
	call->admin->errors++;
	if (call->error == NULL) {
		call->error = codec_doc_new(CODEC_ERROR);
	}
	if (call->error == NULL) {
		return;
	}
	codec_doc_set_u64(call->error, CODEC_ERROR_ID, call->id);
	codec_doc_set_text(call->error, CODEC_ERROR_CODE, pr_err_name(err));
	codec_doc_set_text(call->error, CODEC_ERROR_TEXT,
	                   call->text[0] != '\0' ? call->text : pr_strerror(err));
	session_send_doc(call->admin, call->session, call->error);
}

/* ---- frames ---- */

static int refuse_role(struct call *call, enum codec_type type)
{
	const struct codec_message *message = codec_message_find(type);
	uint64_t suppressed = 0;

	call->admin->refused_role++;
	if (pr_log_limited(&call->admin->refused_limit, &suppressed)) {
		char name[80];
		log_warn("'%s' (%s) may not send %s, refused (%llu more before)",
		         pr_log_escape(call->frame->peer.name, name, sizeof(name)),
		         bus_role_name(call->frame->peer.role),
		         message != NULL ? message->name : "this", (unsigned long long)suppressed);
	}
	return call_fail(call, PR_EROLE, "a key of role %s may not send %s",
	                 bus_role_name(call->frame->peer.role),
	                 message != NULL ? message->name : "this message");
}

static int take(struct call *call)
{
	_cleanup_(codec_doc_destroy) codec_doc_t *document = NULL;
	const struct bus_frame *frame = call->frame;
	enum codec_type type = 0;

	int ret = codec_frame_type(frame->data, frame->size_bytes, &type);
	if (ret != PR_OK) {
		call->admin->frames_malformed++;
		return ret;
	}
	const struct row *row = row_of(type);
	if (row == NULL || (row->roles & frame->peer.role) == 0) {
		return refuse_role(call, type);
	}
	if (frame->size_bytes > ADMIN_AGENT_FRAME_BYTES && frame->peer.role != BUS_ROLE_ADMIN) {
		return call_fail(call, PR_ETOOBIG, "a message of role %s has at most %u bytes",
		                 bus_role_name(frame->peer.role), ADMIN_AGENT_FRAME_BYTES);
	}
	ret = codec_doc_decode(frame->data, frame->size_bytes, &document);
	if (ret != PR_OK) {
		call->admin->frames_malformed++;
		return ret;
	}
	call->document = document;
	call->id = row->id_field != NO_ID ? codec_doc_u64(document, row->id_field) : 0;
	ret = row->handle(call);
	call->document = NULL;
	return ret;
}

void admin_frame(admin_t *admin, const struct bus_frame *frame, uint64_t now_ns,
                 uint64_t now_wall_ns)
{
	admin->now_ns = now_ns;
	admin->now_wall_ns = now_wall_ns;
	admin->frames++;
	struct call call = { .admin = admin, .frame = frame, .session = session_of(admin, frame) };

	if ((frame->peer.role & ADMIN_ROLES_READ) != 0) {
		admin_settle(admin); /* a person sees what is */
	}
	if (call.session == NULL) {
		admin->errors++;
		return;
	}
	int ret = take(&call);
	if (ret != PR_OK) {
		call_error(&call, ret);
	}
	codec_doc_destroy(&call.error);
}

/* ---- life ---- */

/* What is made of the directory: it costs what is there, not what has changed. */
static void settle(struct admin *admin)
{
	uint64_t begun_ns = pr_clock_monotonic_ns();
	int ret = view_refresh(&admin->view, NULL);

	if (ret != PR_OK) {
		log_error("cannot take over what has changed: %s, trying again at the next change",
		          pr_strerror(ret));
	}
	admin->unsettled = false;
	admin->by_agent_good = false;
	admin->generation++;
	pace_done(&admin->pace, admin->now_ns, pr_clock_monotonic_ns() - begun_ns);
}

static void wake_workers(const struct admin *admin)
{
	if (admin->setup.ops.changed != NULL) {
		admin->setup.ops.changed(admin->setup.ops.arg);
	}
}

void admin_changed(struct admin *admin)
{
	settle(admin);
	wake_workers(admin);
}

void admin_directory_changed(struct admin *admin)
{
	int ret = view_refresh_directory(&admin->view, NULL);

	if (ret != PR_OK) {
		log_error("cannot take over the directory: %s, trying again at the next change",
		          pr_strerror(ret));
	}
	admin->unsettled = true;
	admin->by_agent_good = false; /* it borrows from what was there */
	wake_workers(admin);
}

void admin_settle(struct admin *admin)
{
	if (admin->unsettled) {
		settle(admin);
	}
}

int admin_new(const struct admin_setup *setup, uint64_t now_ns, uint64_t now_wall_ns,
              admin_t **ret_admin)
{
	_cleanup_(admin_destroy) admin_t *admin = calloc(1, sizeof(*admin));

	if (admin == NULL) {
		return PR_ENOMEM;
	}
	admin->setup = *setup;
	admin->now_ns = admin->minute_ns = now_ns;
	admin->now_wall_ns = admin->started_wall_ns = now_wall_ns;
	admin->generation = 1;
	int ret = view_init(&admin->view, setup->store, setup->authority);
	if (ret == PR_OK) {
		ret = view_refresh(&admin->view, NULL);
	}
	if (ret == PR_OK) {
		ret = admin_keyring_fill(setup->store, ~0U, setup->keyring);
	}
	if (ret == PR_OK) {
		ret = admin_services_offer(admin);
	}
	if (ret == PR_OK) {
		ret = admin_services_refresh(admin);
	}
	if (ret != PR_OK) {
		return ret;
	}
	*ret_admin = take_ptr(admin);
	return PR_OK;
}

void admin_leave(admin_t *admin)
{
	admin_services_withdraw(admin);
}

void admin_destroy(admin_t **admin_p)
{
	admin_t *admin = *admin_p;

	if (admin == NULL) {
		return;
	}
	if (admin->setup.store != NULL) {
		sessions_save_seen(admin);
	}
	sessions_done(admin);
	view_done(&admin->view);
	free(admin->services_body);
	free(admin->by_agent);
	free(admin);
	*admin_p = NULL;
}

static void housekeep(struct admin *admin)
{
	size_t expired = 0;

	admin->minute_ns = admin->now_ns;
	sessions_save_seen(admin);
	sessions_sweep(admin);
	(void)store_readers_check(admin->setup.store);
	int ret = store_peer_expire(admin->setup.store, admin->now_wall_ns, &expired);
	if (ret == PR_OK && expired > 0) {
		ret = admin_peers_changed(admin, NULL);
		log_info("%zu enrolment tokens expired unused", expired);
	}
	if (ret != PR_OK) {
		log_warn("housekeeping: %s, trying again in a minute", pr_strerror(ret));
	}
}

/* Another controller on this store has changed something. Workers look by themselves. */
static void look_at_view(struct admin *admin)
{
	bool changed = false;

	/* Unsettled: it is read anyway, as soon as its pace allows. */
	if (!admin->unsettled && view_refresh(&admin->view, &changed) == PR_OK && changed) {
		admin->by_agent_good = false;
		admin->generation++;
	}
	(void)admin_services_look(admin);
}

/* `--init` beside a running controller may have made a new administrator. */
static void look(struct admin *admin)
{
	struct store_versions versions = { 0 };

	admin->looked_ns = admin->now_ns;
	look_at_view(admin);
	admin_confirm_tick(admin);
	admin_quarantine_tick(admin);
	if (admin->leaving_count > 0) {
		(void)admin_keyring_refresh(admin);
	}
	if (store_versions(admin->setup.store, &versions) == PR_OK &&
	    versions.peers_counter != admin->peers_counter &&
	    admin_keyring_refresh(admin) == PR_OK) {
		admin->peers_counter = versions.peers_counter;
	}
}

static void push(struct admin *admin)
{
	uint64_t begun_ns = pr_clock_monotonic_ns();

	admin_settle(admin);
	admin_states_push(admin);
	admin->pushed_generation = admin->generation;
	pace_done(&admin->pace, admin->now_ns, pr_clock_monotonic_ns() - begun_ns);
}

void admin_tick(admin_t *admin, uint64_t now_ns, uint64_t now_wall_ns)
{
	admin->now_ns = now_ns;
	admin->now_wall_ns = now_wall_ns;
	sessions_flush(admin);
	if (pace_due(&admin->pace, now_ns)) {
		admin_settle(admin);
	}
	if (admin->pushed_generation != admin->generation) {
		push(admin);
	}
	if (now_ns - admin->minute_ns >= MINUTE_NS) {
		housekeep(admin);
	}
	if (now_ns - admin->looked_ns >= LOOK_NS) {
		look(admin);
	}
}

int admin_tick_ms(const admin_t *admin)
{
	int wait_ms = admin->backlogged ? TICK_BUSY_MS : TICK_MS;

	if (admin->unsettled) {
		uint64_t left_ns = pace_left_ns(&admin->pace, admin->now_ns);
		wait_ms = left_ns / PR_NS_PER_MS < (uint64_t)wait_ms
		                  ? (int)(left_ns / PR_NS_PER_MS) + 1
		                  : wait_ms;
	}
	return wait_ms;
}
