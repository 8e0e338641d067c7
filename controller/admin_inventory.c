/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "controller/internal.h"

#define LOG_COMPONENT    "admin"
#define STAGED_MAX       10000
#define STAGED_MAX_BYTES (64U << 20)

/* What the agent may say of an endpoint; the rest is the controller's own word. */
static bool is_agents_field(unsigned field)
{
	switch (field) {
	case CODEC_ENDPOINT_ID:
	case CODEC_ENDPOINT_MODE:
	case CODEC_ENDPOINT_STATUS:
	case CODEC_ENDPOINT_REPORTED:
	case CODEC_ENDPOINT_GROUPS:
	case CODEC_ENDPOINT_QUARANTINED:
	case CODEC_ENDPOINT_QUARANTINE_BY:
	case CODEC_ENDPOINT_QUARANTINE_REASON:
	case CODEC_ENDPOINT_QUARANTINE_UNTIL:
		return false;
	default:
		return true;
	}
}

static void copy_field(codec_doc_t *to, const codec_doc_t *from, unsigned field,
                       enum codec_kind kind)
{
	struct pr_uuid id;
	size_t count;

	switch (kind) {
	case CODEC_KIND_UUID:
		id = codec_doc_uuid(from, field);
		codec_doc_set_uuid(to, field, &id);
		return;
	case CODEC_KIND_TEXT:
		codec_doc_set_text(to, field, codec_doc_text(from, field));
		return;
	case CODEC_KIND_TEXTS:
		count = codec_doc_count(from, field);
		for (size_t i = 0; i < count; i++) {
			codec_doc_add_text(to, field, codec_doc_item(from, field, i));
		}
		return;
	default:
		codec_doc_set_u64(to, field, codec_doc_u64(from, field));
		return;
	}
}

/* The document that the store keeps. A stopped endpoint has no addresses. */
static codec_doc_t *stored_document(const codec_doc_t *from, bool stopped)
{
	const struct codec_message *message = codec_message_find(CODEC_ENDPOINT);
	codec_doc_t *to = codec_doc_new(CODEC_ENDPOINT);

	for (unsigned field = 0; to != NULL && field < message->field_count; field++) {
		if (is_agents_field(field) && !(stopped && field == CODEC_ENDPOINT_ADDRESSES)) {
			copy_field(to, from, field, message->fields[field].kind);
		}
	}
	if (to != NULL && stopped) {
		codec_doc_set_text(to, CODEC_ENDPOINT_STATUS, "stopped");
	}
	return to;
}

int admin_hello(struct call *call)
{
	struct pr_uuid id = codec_doc_uuid(call->document, CODEC_HELLO_UUID);

	if (!pr_uuid_equal(&id, &call->frame->peer.id)) {
		return call_fail(call, PR_EPERM, "hello: this key belongs to another uuid");
	}
	session_staged_clear(call->session);
	call->session->full = true;
	call->session->epoch = codec_doc_u64(call->document, CODEC_HELLO_EPOCH);
	(void)snprintf(call->session->version, sizeof(call->session->version), "%.31s",
	               codec_doc_text(call->document, CODEC_HELLO_VERSION));
	call->session->state_number = 0;
	char name[80], version[80];
	log_info("agent '%s' (version %s) says hello from %s",
	         pr_log_escape(call->session->name, name, sizeof(name)),
	         pr_log_escape(call->session->version, version, sizeof(version)),
	         call->session->address);
	return PR_OK;
}

/* ---- endpoints ---- */

/* An agent speaks for its own host, and for containers that live there and nowhere else. */
static int check_owner(struct call *call, const struct pr_uuid *id)
{
	const codec_doc_t *document = call->document;
	const struct pr_uuid *agent = &call->frame->peer.id;
	struct pr_uuid host = codec_doc_uuid(document, CODEC_ENDPOINT_HOST);

	if (!pr_uuid_equal(&host, agent)) {
		return call_fail(call, PR_EPERM, "endpoint: it lives on another agent's host");
	}
	if (pr_uuid_equal(id, &host)) {
		return PR_OK;
	}
	if (!codec_endpoint_is_of(document, &host)) {
		return call_fail(call, PR_EPERM,
		                 "endpoint: the uuid is not the one of its container id, or of its "
		                 "name where it has none");
	}
	const struct directory_endpoint *known = directory_find(call->admin->view.directory, id);
	if (known != NULL && !pr_uuid_equal(&known->agent, agent) &&
	    session_is_active(call->admin, session_find(call->admin, &known->agent))) {
		return call_fail(call, PR_ECONFLICT,
		                 "endpoint: the active agent of host '%.64s' speaks for it",
		                 known->policy.host_name != NULL ? known->policy.host_name : "?");
	}
	return PR_OK;
}

static void staged_drop(struct session *session, const struct pr_uuid *id)
{
	for (size_t i = 0; i < session->staged_count; i++) {
		if (pr_uuid_equal(&session->staged[i].id, id)) {
			session->staged_bytes -= session->staged[i].size_bytes;
			free(session->staged[i].data);
			session->staged[i] = session->staged[--session->staged_count];
			return;
		}
	}
}

static int staged_add(struct call *call, const struct pr_uuid *id, uint8_t *data, size_t size_bytes)
{
	struct session *session = call->session;

	if (session->staged_count >= STAGED_MAX ||
	    session->staged_bytes + size_bytes > STAGED_MAX_BYTES) {
		return call_fail(call, PR_ETOOBIG,
		                 "an inventory has at most %d endpoints and %u "
		                 "bytes",
		                 STAGED_MAX, STAGED_MAX_BYTES);
	}
	if (session->staged_count == session->staged_max) {
		size_t max = session->staged_max != 0 ? session->staged_max * 2 : 16;
		struct staged *grown = realloc(session->staged, max * sizeof(*grown));
		if (grown == NULL) {
			return PR_ENOMEM;
		}
		session->staged = grown;
		session->staged_max = max;
	}
	session->staged[session->staged_count++] =
		(struct staged){ .id = *id, .data = data, .size_bytes = size_bytes };
	session->staged_bytes += size_bytes;
	return PR_OK;
}

/* By its agent's word: a container, never the host that the agent runs on. */
static bool is_stopped(const codec_doc_t *document)
{
	struct pr_uuid id = codec_doc_uuid(document, CODEC_ENDPOINT_UUID);
	struct pr_uuid host = codec_doc_uuid(document, CODEC_ENDPOINT_HOST);

	return !pr_uuid_equal(&id, &host) &&
	       strcmp(codec_doc_text(document, CODEC_ENDPOINT_STATUS), "stopped") == 0;
}

int admin_endpoint(struct call *call)
{
	_cleanup_(codec_doc_destroy) codec_doc_t *document = NULL;
	_cleanup_(pr_free) uint8_t *data = NULL;
	struct pr_uuid id = codec_doc_uuid(call->document, CODEC_ENDPOINT_UUID);
	const char *reason = NULL;
	size_t size_bytes = 0;

	int ret = directory_document_check(call->document, &reason);
	if (ret == PR_EMALF) {
		(void)call_fail(call, ret, "endpoint: %s", reason);
	}
	if (ret == PR_OK) {
		ret = check_owner(call, &id);
	}
	if (ret == PR_OK) {
		document = stored_document(call->document, is_stopped(call->document));
		ret = document != NULL ? codec_doc_encode(document, &data, &size_bytes) : PR_ENOMEM;
	}
	if (ret == PR_OK) {
		staged_drop(call->session, &id);
		ret = staged_add(call, &id, data, size_bytes);
	}
	if (ret != PR_OK) {
		call->admin->refused_endpoints++;
		return ret;
	}
	data = NULL; /* the session's now */
	return PR_OK;
}

/* Keep a container that has stopped, without its addresses. */
static int stop_endpoint(struct admin *admin, const struct pr_uuid *agent, const struct pr_uuid *id,
                         struct store_change *ret_change)
{
	_cleanup_(codec_doc_destroy) codec_doc_t *known = NULL;
	_cleanup_(codec_doc_destroy) codec_doc_t *stopped = NULL;
	_cleanup_(pr_free) uint8_t *data = NULL;
	_cleanup_(pr_free) uint8_t *stopped_data = NULL;
	struct store_endpoint endpoint = { .id = *id };
	struct pr_uuid owner = { 0 };
	size_t size_bytes = 0;

	int ret = store_endpoint_get(admin->setup.store, id, &owner, &data, &size_bytes);
	if (ret != PR_OK) {
		return ret == PR_ENOENT ? PR_OK : ret;
	}
	if (!pr_uuid_equal(&owner, agent)) {
		return PR_EPERM;
	}
	ret = codec_doc_decode(data, size_bytes, &known);
	if (ret != PR_OK) {
		return ret;
	}
	stopped = stored_document(known, true);
	if (stopped == NULL) {
		return PR_ENOMEM;
	}
	ret = codec_doc_encode(stopped, &stopped_data, &endpoint.size_bytes);
	if (ret != PR_OK) {
		return ret;
	}
	endpoint.data = stopped_data;
	return store_endpoint_put(admin->setup.store, agent, &endpoint, 1, admin->now_wall_ns,
	                          ret_change);
}

int admin_endpoint_gone(struct call *call)
{
	struct admin *admin = call->admin;
	const struct pr_uuid *agent = &call->frame->peer.id;
	struct pr_uuid id = codec_doc_uuid(call->document, CODEC_ENDPOINT_GONE_UUID);
	struct store_change change = { 0 };
	int ret;

	staged_drop(call->session, &id);
	if (codec_doc_u64(call->document, CODEC_ENDPOINT_GONE_REMOVED) != 0) {
		ret = store_endpoint_remove(admin->setup.store, agent, &id, admin->now_wall_ns,
		                            &change);
	} else {
		ret = stop_endpoint(admin, agent, &id, &change);
	}
	if (ret == PR_EPERM) {
		return call_fail(call, ret, "endpoint gone: another agent speaks for it");
	}
	if (ret == PR_OK && change.changed + change.removed > 0) {
		admin_directory_changed(admin);
	}
	return ret;
}

/* ---- the end of an inventory ---- */

/* A container that a silent agent spoke for has moved: the old one's word ends here. */
static int take_over(struct call *call, const struct pr_uuid *id)
{
	const struct directory_endpoint *known = directory_find(call->admin->view.directory, id);
	struct store_change change = { 0 };

	if (known == NULL || pr_uuid_equal(&known->agent, &call->frame->peer.id)) {
		return PR_OK;
	}
	char text[PR_UUID_TEXT_BYTES];
	log_info("endpoint %s moves from a silent agent to '%.64s'", pr_uuid_format(id, text),
	         call->session->name);
	return store_endpoint_remove(call->admin->setup.store, &known->agent, id,
	                             call->admin->now_wall_ns, &change);
}

static int write_staged(struct call *call, bool full, struct store_change *ret_change)
{
	struct session *session = call->session;
	struct admin *admin = call->admin;
	_cleanup_(pr_free) struct store_endpoint *endpoints =
		calloc(session->staged_count + 1, sizeof(*endpoints));
	int ret = endpoints != NULL ? PR_OK : PR_ENOMEM;

	for (size_t i = 0; ret == PR_OK && i < session->staged_count; i++) {
		const struct staged *staged = &session->staged[i];
		endpoints[i] = (struct store_endpoint){ .id = staged->id,
			                                .data = staged->data,
			                                .size_bytes = staged->size_bytes };
		ret = take_over(call, &staged->id);
	}
	if (ret != PR_OK) {
		return ret;
	}
	if (full) {
		return store_endpoint_replace(admin->setup.store, &call->frame->peer.id, endpoints,
		                              session->staged_count, admin->now_wall_ns,
		                              ret_change);
	}
	return store_endpoint_put(admin->setup.store, &call->frame->peer.id, endpoints,
	                          session->staged_count, admin->now_wall_ns, ret_change);
}

int admin_inventory_end(struct call *call)
{
	_cleanup_(codec_doc_destroy) codec_doc_t *answer = NULL;
	struct admin *admin = call->admin;
	bool full = codec_doc_u64(call->document, CODEC_INVENTORY_END_FULL) != 0;
	struct store_change change = { 0 };

	if (full && !call->session->full) {
		session_staged_clear(call->session);
		return call_fail(
			call, PR_EINVAL,
			"a full inventory begins with hello: send hello and all endpoints");
	}
	int ret = write_staged(call, full, &change);
	session_staged_clear(call->session);
	if (ret != PR_OK) {
		return ret;
	}
	if (change.refused > 0) {
		log_warn("%zu endpoints of '%.64s' belong to other agents, left out",
		         change.refused, call->session->name);
		admin->refused_endpoints += change.refused;
	}
	if (change.changed + change.removed > 0) {
		admin_directory_changed(admin);
	}
	answer = call_doc(call, CODEC_INVENTORY_ACK);
	if (answer == NULL) {
		return PR_ENOMEM;
	}
	codec_doc_set_u64(answer, CODEC_INVENTORY_ACK_DIRECTORY, change.version);
	return call_send(call, answer);
}
