/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/** @file Shared by the admin service's files. */

#include <stdarg.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "controller/admin.h"
#include "controller/pace.h"
#include "controller/view.h"
#include "policy/expect.h"

#define ADMIN_ROLES_MANAGE BUS_ROLE_ADMIN
#define ADMIN_ROLES_READ   (BUS_ROLE_ADMIN | BUS_ROLE_VIEWER)

/* ---- sessions: who has been heard in this run ---- */

/** An endpoint on its way into the directory. */
struct staged {
	struct pr_uuid id;
	uint8_t *data;
	size_t size_bytes;
};

/** A frame that the peer's queue had no room for. */
struct backlog {
	struct backlog *next;
	size_t size_bytes;
	uint8_t data[];
};

struct session {
	struct session *next; /* in the chain of its id */
	struct pr_uuid id;
	enum bus_role role;
	char name[64], address[64], version[33];
	struct bus_route route; /* of the last frame */
	uint64_t heard_ns, heard_wall_ns;
	uint64_t seen_wall_ns; /* as it stands in the store */
	uint64_t epoch;        /* of the agent's run */
	/* inventory between HELLO or the first ENDPOINT and INVENTORY_END */
	bool full;
	struct staged *staged;
	size_t staged_count, staged_max, staged_bytes;
	/* state */
	uint64_t state_number;     /* sent last; 0: none */
	uint64_t state_hash;       /* of what was sent */
	uint64_t state_generation; /* of admin, when that was compared */
	bool state_asked;          /* a STATE_GET that waits for the directory to settle */
	uint64_t state_asked_id, state_known;
	codec_doc_t *counters; /* the last STATE_GET */
	struct backlog *backlog, **backlog_end;
	size_t backlog_bytes;
};

#define SESSION_BUCKETS 4096
#define LEAVING_MAX     64
#define LEAVING_NS      (3 * PR_NS_PER_S)

/** The key of a token that was just used: admitted until its owner has read the answer. */
struct leaving {
	struct bus_peer peer;
	uint64_t until_ns;
};

struct admin {
	struct admin_setup setup;
	struct view view;
	uint64_t started_wall_ns;
	uint64_t now_ns, now_wall_ns;
	struct session *sessions[SESSION_BUCKETS];
	size_t session_count;
	uint64_t minute_ns;     /* last housekeeping */
	uint64_t looked_ns;     /* last look whether another process changed the peers */
	uint64_t peers_counter; /* of the store, as it is in the keyring */
	uint64_t generation;    /* rises when any agent's state may have changed */
	uint64_t pushed_generation;
	bool unsettled;   /* the directory has changed, image and states not yet */
	struct pace pace; /* of making them */
	bool backlogged;
	struct leaving leaving[LEAVING_MAX];
	size_t leaving_count;
	/* the directory of services, signed */
	uint64_t services_number;
	uint64_t offers_number; /* of the controllers' offers that it is made of */
	uint8_t *services_body;
	size_t services_bytes;
	uint8_t services_signature[BUS_SIGNATURE_BYTES];
	/* endpoints by agent, borrowed from the view */
	const struct directory_endpoint **by_agent;
	size_t by_agent_count;
	bool by_agent_good;
	/* lifelines of the view's model, borrowed */
	const struct policy_lifeline *lifelines[POLICY_LIFELINES_MAX];
	size_t lifeline_count;
	uint64_t lifelines_revision;
	struct pr_log_limit refused_limit;
	uint64_t frames, frames_malformed, refused_role, refused_endpoints, errors, send_failed;
};

/** The session of a frame's peer, made if need be. NULL: out of memory. */
struct session *session_of(struct admin *admin, const struct bus_frame *frame);
struct session *session_find(struct admin *admin, const struct pr_uuid *id);
/** Forget a peer. Not from within its own call. */
void session_remove(struct admin *admin, const struct pr_uuid *id);
/** Forget connections of others than agents that have long been silent. */
void sessions_sweep(struct admin *admin);
void session_staged_clear(struct session *session);
void sessions_each(struct admin *admin,
                   void (*visit)(struct admin *admin, struct session *session));
void sessions_done(struct admin *admin);
/** Note in the store who was heard. */
void sessions_save_seen(struct admin *admin);
/** Heard within ADMIN_HEARD_NS. */
bool session_is_active(const struct admin *admin, const struct session *session);
/** Send to a peer; what its queue has no room for waits in its backlog. */
void session_send(struct admin *admin, struct session *session, const uint8_t *data,
                  size_t size_bytes);
void session_send_doc(struct admin *admin, struct session *session, const codec_doc_t *document);
void sessions_flush(struct admin *admin);

/* ---- a message being answered ---- */

struct call {
	struct admin *admin;
	const struct bus_frame *frame;
	struct session *session;
	const codec_doc_t *document;
	uint64_t id;
	size_t sent;        /* items of a list */
	codec_doc_t *error; /* its details, before it is sent */
	char text[512];     /* of the error */
};

typedef int (*admin_handler)(struct call *call);

/** Remember what went wrong and return @p err, for `return call_fail(...)`. */
int call_fail(struct call *call, int err, const char *format, ...) _printf_(3, 4);
/** A line of details of the error to come. */
void call_detail(struct call *call, const char *format, ...) _printf_(2, 3);
/** A detail for each error of a policy text: "LINE:COLUMN: message". */
void call_policy_errors(struct call *call, const struct policy_errors *errors);
/** New answer with the request's id in it. NULL: out of memory. */
codec_doc_t *call_doc(const struct call *call, enum codec_type type);
/** Send an answer. PR_ENOMEM when it could not be made (@p document is NULL). */
int call_send(struct call *call, const codec_doc_t *document);
/** Answer with an error, whose text and details the call has. */
void call_error(struct call *call, int err);
int call_ok(struct call *call, uint64_t number, const char *format, ...) _printf_(3, 4);
/** End a list of call->sent items. */
int call_end(struct call *call, bool complete);
/** The same, with the state of the list, which the asker may give the next time. */
int call_end_state(struct call *call, bool complete, uint64_t number);
/** Name of the asking key. */
const char *call_author(const struct call *call);

/* ---- handlers ---- */

int admin_enroll(struct call *call);
int admin_token_new(struct call *call);
int admin_directory_get(struct call *call);
int admin_hello(struct call *call);
int admin_endpoint(struct call *call);
int admin_endpoint_gone(struct call *call);
int admin_inventory_end(struct call *call);
int admin_state_get(struct call *call);
int admin_status_get(struct call *call);
int admin_endpoints_get(struct call *call);
int admin_groups_get(struct call *call);
int admin_usergroups_get(struct call *call);
int admin_group_members(struct call *call);
int admin_group_preview(struct call *call);
int admin_explain_get(struct call *call);
int admin_reach_get(struct call *call);
int admin_audit_get(struct call *call);
int admin_quarantine_set(struct call *call);
int admin_quarantine_release(struct call *call);
int admin_endpoint_remove(struct call *call);
int admin_policy_check(struct call *call);
int admin_policy_get(struct call *call);
int admin_policy_import(struct call *call);
int admin_policy_edit(struct call *call);
int admin_policy_discard(struct call *call);
int admin_policy_confirm(struct call *call);
int admin_policy_commit(struct call *call);
int admin_policy_log(struct call *call);
int admin_policy_rollback(struct call *call);
int admin_mode_set(struct call *call);
int admin_peers_get(struct call *call);
int admin_peer_set(struct call *call);

/* ---- between the files ---- */

/** After a write to the store: take the change over, wake the workers, push states. */
void admin_changed(struct admin *admin);
/** After a write of endpoints alone: the directory at once, image and states at their pace. */
void admin_directory_changed(struct admin *admin);
/** Image and states follow the directory now. No state is made before. */
void admin_settle(struct admin *admin);
/** Keyring: the store's peers, and those that are just leaving. */
int admin_keyring_refresh(struct admin *admin);
/** After a change of peers: keyring, services, recorder. */
int admin_peers_changed(struct admin *admin, const struct store_peer *peer);
/** Build and sign the directory of services again if it differs. */
int admin_services_refresh(struct admin *admin);
void admin_services_push(struct admin *admin);
/** Say in the store what this controller offers; take it back. */
int admin_services_offer(struct admin *admin) _must_check_;
void admin_services_withdraw(struct admin *admin);
/** Take over what other controllers on this store offer. */
int admin_services_look(struct admin *admin);
/** Push states that have changed, and answer who asked for one. */
void admin_states_push(struct admin *admin);
/** First of the agent's endpoints in by_agent, and how many. */
const struct directory_endpoint **
admin_endpoints_of(struct admin *admin, const struct pr_uuid *agent, size_t *ret_count);
/** Lines "IN|OUT ADDRESS/BITS PROTO/PORT" of an agent's lifeline. */
void admin_lifeline_add(struct admin *admin, const struct directory_endpoint *host,
                        codec_doc_t *state);
/** Parse a policy text; errors become details. */
int admin_policy_parse(struct call *call, const char *text, size_t size_bytes,
                       policy_model_t **ret_model);
/**
 * Run the expect lines of a model. PR_EPOLICY with a detail for each that fails; the answer is left
 * to be sent.
 */
int admin_policy_expect(struct call *call, const policy_model_t *model, const policy_image_t *image,
                        const struct policy_endpoint *endpoints, size_t count,
                        struct policy_expect_result *ret_result);

/* ---- putting a text in force (admin_publish.c, admin_guard.c, admin_confirm.c) ---- */

/** How a text comes to be in force. */
struct publish {
	const char *action;             /* for the audit log */
	const char *done;               /* first words of the answer; NULL: none */
	uint64_t base;                  /* the revision it was made from */
	const struct pr_uuid *draft_of; /* whose draft ends with it; NULL: none */
	uint64_t confirm_s;             /* goes back unless confirmed within; 0: stays */
	bool force;                     /* whatever it cuts */
	bool is_rollback;               /* also ends a trial */
	bool run_expects;
	unsigned connections_field; /* of the call's document: what the committer needs */
};

/** Commit a text and answer: revision, warnings, undo. */
int admin_policy_publish(struct call *call, const struct publish *publish,
                         const struct store_revision *revision);
/** PR_EPERM, said: a lifeline of the policy, or a connection of the committer, would be cut. */
int admin_guard(struct call *call, const struct publish *publish, const policy_model_t *model,
                const policy_image_t *image);
/** PR_EBUSY, said: another commit is on trial. */
int admin_confirm_check(struct call *call, const struct publish *publish);
/** Before a commit: note that it is on trial, if it is. */
int admin_confirm_begin(struct call *call, const struct publish *publish);
/** There is no trial: it did not begin, or has ended. */
void admin_confirm_cancel(struct admin *admin);
/** Take back what was not confirmed in time. */
void admin_confirm_tick(struct admin *admin);
/** How many groups nobody is in, and the name of the first of them. */
size_t admin_groups_empty(const policy_model_t *model, const policy_image_t *image,
                          const char **ret_first);

/* ---- quarantine (admin_quarantine.c) ---- */

/** End what is over. */
void admin_quarantine_tick(struct admin *admin);
/** PR_EPERM, said: it would cut a connection of the asker. */
int admin_guard_quarantine(struct call *call, unsigned connections_field,
                           const struct directory_endpoint *endpoint);
/** Revoke an agent's key and forget its endpoints (admin_peers.c). */
int admin_agent_remove(struct admin *admin, const struct pr_uuid *agent);

/* ---- drafts (admin_draft.c) ---- */

/** The policy in force, or a key's draft, with its image. */
struct draft_view {
	const policy_model_t *model;
	const policy_image_t *image;
	uint64_t revision; /* all ones: a draft */
	policy_model_t *own_model;
	policy_image_t *own_image;
};

/** PR_ENOENT, said: no draft; PR_EAGAIN, said: no policy yet. */
int draft_view_open(struct call *call, bool draft, struct draft_view *ret_view) _must_check_;
void draft_view_done(struct draft_view *view);

/* ---- audit (admin_audit.c) ---- */

/** Note a change that the asking key has made. Texts may be NULL. */
void admin_audit(struct call *call, const char *action, const char *target, const char *reason,
                 const char *undo);
/** Note a change that the controller has made by itself. */
void admin_audit_self(struct admin *admin, const char *action, const char *target,
                      const char *reason, const char *undo);

void admin_peer_document(struct admin *admin, const struct store_peer *peer, codec_doc_t *document);
/** Parse the address and port of tcp://ADDRESS:PORT. PR_EINVAL. */
int admin_address_parse(const char *endpoint, struct pr_addr *ret_addr, uint16_t *ret_port);
