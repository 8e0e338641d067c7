/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdlib.h>
#include <string.h>

#include "controller/names.h"

static void add_quarantine(struct admin *admin, const struct directory_endpoint *endpoint,
                           codec_doc_t *document)
{
	const struct quarantine *own =
		quarantine_find(&admin->view.quarantine, &endpoint->policy.id);

	if (!quarantine_holds(&admin->view.quarantine, endpoint, admin->now_wall_ns)) {
		return;
	}
	codec_doc_set_u64(document, CODEC_ENDPOINT_QUARANTINED, 1);
	if (own != NULL) {
		codec_doc_set_text(document, CODEC_ENDPOINT_QUARANTINE_BY, own->by);
		codec_doc_set_text(document, CODEC_ENDPOINT_QUARANTINE_REASON, own->reason);
		codec_doc_set_u64(document, CODEC_ENDPOINT_QUARANTINE_UNTIL, own->until_wall_ns);
	}
}

/* When its agent was heard, and what it is to the policy in force. */
static void add_session(struct admin *admin, const struct pr_uuid *agent, bool stopped,
                        codec_doc_t *document)
{
	const struct session *session = session_find(admin, agent);
	struct store_peer peer = { 0 };

	if (!stopped) {
		codec_doc_set_text(document, CODEC_ENDPOINT_STATUS,
		                   session_is_active(admin, session) ? "active" : "silent");
	}
	if (session != NULL) {
		codec_doc_set_u64(document, CODEC_ENDPOINT_REPORTED, session->heard_wall_ns);
	} else if (store_peer_get(admin->setup.store, agent, &peer) == PR_OK) {
		codec_doc_set_u64(document, CODEC_ENDPOINT_REPORTED, peer.seen_wall_ns);
	}
}

static void add_policy(struct admin *admin, const struct pr_uuid *id, codec_doc_t *document)
{
	const policy_image_t *image = admin->view.image;
	const char *group = NULL;

	if (image == NULL) {
		return;
	}
	codec_doc_set_text(document, CODEC_ENDPOINT_MODE,
	                   policy_mode_name(policy_image_endpoint_mode(image, id)));
	for (size_t i = 0; (group = policy_image_endpoint_group(image, id, i)) != NULL; i++) {
		codec_doc_add_text(document, CODEC_ENDPOINT_GROUPS, group);
	}
}

/* What the agent told, as it is stored, and behind it what the controller knows: there may be ten
 * thousand of them to send. */
static int send_endpoint(struct call *call, const struct directory_endpoint *endpoint)
{
	struct admin *admin = call->admin;
	_cleanup_(codec_doc_destroy) codec_doc_t *document = call_doc(call, CODEC_ENDPOINT);
	_cleanup_(pr_free) uint8_t *stored = NULL;
	_cleanup_(pr_free) uint8_t *data = NULL;
	struct pr_uuid agent = { 0 };
	size_t stored_bytes = 0, size_bytes = 0;

	if (document == NULL) {
		return PR_ENOMEM;
	}
	int ret = store_endpoint_get(admin->setup.store, &endpoint->policy.id, &agent, &stored,
	                             &stored_bytes);
	if (ret == PR_ENOENT) {
		return PR_OK; /* gone meanwhile */
	}
	add_session(admin, &agent, endpoint->stopped, document);
	add_quarantine(admin, endpoint, document);
	add_policy(admin, &endpoint->policy.id, document);
	if (ret == PR_OK) {
		ret = codec_doc_encode_behind(document, stored, stored_bytes, &data, &size_bytes);
	}
	if (ret == PR_OK) {
		call->sent++;
		session_send(admin, call->session, data, size_bytes);
	}
	return ret;
}

int admin_endpoints_send(struct call *call, struct names *names)
{
	int ret = names->failed ? PR_ENOMEM : PR_OK;

	names_sort(names);
	for (size_t i = 0; ret == PR_OK && i < names->count; i++) {
		ret = send_endpoint(call, names->found[i]);
	}
	return ret == PR_OK ? call_end(call, true) : ret;
}

int admin_endpoints_get(struct call *call)
{
	const char *name = codec_doc_text(call->document, CODEC_ENDPOINTS_GET_NAME);
	_cleanup_(names_done) struct names names = { 0 };
	const struct directory_endpoint *one = NULL;
	int ret = PR_OK;

	if (name[0] == '\0') {
		directory_each(call->admin->view.directory, names_take, &names);
	} else {
		ret = names_find_one(call, name, NULL, &one);
		if (ret == PR_OK) {
			(void)names_take(&names, one);
		}
	}
	return ret == PR_OK ? admin_endpoints_send(call, &names) : ret;
}
