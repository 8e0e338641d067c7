/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/log.h"
#include "controller/internal.h"

#define LOG_COMPONENT    "admin"
#define PREFIX_MIN_BYTES 4

static const char *const status_names[] = {
	[STORE_PEER_PENDING] = "pending",
	[STORE_PEER_APPROVED] = "approved",
	[STORE_PEER_REVOKED] = "revoked",
};

/* ---- the keyring ---- */

struct filling {
	unsigned roles;
	struct bus_peer *peers;
	size_t count, max;
	int ret;
};

static bool fill_one(void *arg, const struct store_peer *peer)
{
	struct filling *filling = arg;
	enum bus_role role = BUS_ROLE_NONE;

	if (peer->status != STORE_PEER_APPROVED || bus_role_parse(peer->role, &role) != PR_OK ||
	    (role & filling->roles) == 0) {
		return true;
	}
	if (filling->count == filling->max) {
		size_t max = filling->max != 0 ? filling->max * 2 : 64;
		struct bus_peer *grown = realloc(filling->peers, max * sizeof(*grown));
		if (grown == NULL) {
			filling->ret = PR_ENOMEM;
			return false;
		}
		filling->peers = grown;
		filling->max = max;
	}
	struct bus_peer *to = &filling->peers[filling->count++];
	*to = (struct bus_peer){ .id = peer->id,
		                 .role = role,
		                 .expires_wall_ns = peer->expires_wall_ns };
	memcpy(to->public_key, peer->public_key, sizeof(to->public_key));
	memcpy(to->name, peer->name, sizeof(to->name));
	to->name[sizeof(to->name) - 1] = '\0';
	return true;
}

int admin_keyring_fill(store_t *store, unsigned roles, bus_keyring_t *keyring)
{
	struct filling filling = { .roles = roles };

	int ret = store_peer_list(store, fill_one, &filling);
	if (ret == PR_OK) {
		ret = filling.ret;
	}
	if (ret == PR_OK) {
		ret = bus_keyring_replace(keyring, filling.peers, filling.count);
	}
	free(filling.peers);
	return ret;
}

int admin_keyring_refresh(struct admin *admin)
{
	size_t staying = 0;

	int ret = admin_keyring_fill(admin->setup.store, ~0U, admin->setup.keyring);
	for (size_t i = 0; i < admin->leaving_count; i++) {
		if (admin->leaving[i].until_ns <= admin->now_ns) {
			continue;
		}
		admin->leaving[staying++] = admin->leaving[i];
		int put = bus_keyring_put(admin->setup.keyring, &admin->leaving[i].peer);
		ret = ret != PR_OK ? ret : put;
	}
	admin->leaving_count = staying;
	return ret;
}

/* ---- what is told of a peer ---- */

void admin_peer_document(struct admin *admin, const struct store_peer *peer, codec_doc_t *document)
{
	const struct session *session = session_find(admin, &peer->id);

	codec_doc_set_uuid(document, CODEC_PEER_UUID, &peer->id);
	codec_doc_set_text(document, CODEC_PEER_ROLE, peer->role);
	codec_doc_set_text(document, CODEC_PEER_NAME, peer->name);
	codec_doc_set_blob(document, CODEC_PEER_PUBLIC_KEY, peer->public_key,
	                   sizeof(peer->public_key));
	codec_doc_set_text(document, CODEC_PEER_STATUS, status_names[peer->status]);
	codec_doc_set_text(document, CODEC_PEER_ADDRESS,
	                   session != NULL ? session->address : peer->address);
	codec_doc_set_u64(document, CODEC_PEER_SEEN,
	                  session != NULL ? session->heard_wall_ns : peer->seen_wall_ns);
	codec_doc_set_text(document, CODEC_PEER_VERSION,
	                   session != NULL && session->version[0] != '\0' ? session->version
	                                                                  : peer->version);
}

/* The recorder admits by its own copy of the keys: it is told at once. */
static void tell_recorder(struct admin *admin, const struct store_peer *peer)
{
	_cleanup_(codec_doc_destroy) codec_doc_t *document = codec_doc_new(CODEC_PEER);

	if (document == NULL) {
		return;
	}
	admin_peer_document(admin, peer, document);
	for (size_t i = 0; i < SESSION_BUCKETS; i++) {
		for (struct session *session = admin->sessions[i]; session != NULL;
		     session = session->next) {
			if (session->role == BUS_ROLE_RECORDER) {
				session_send_doc(admin, session, document);
			}
		}
	}
}

int admin_peers_changed(struct admin *admin, const struct store_peer *peer)
{
	int ret = admin_keyring_refresh(admin);

	if (ret == PR_OK) {
		ret = admin_services_refresh(admin);
	}
	if (peer != NULL) {
		tell_recorder(admin, peer);
	}
	if (admin->setup.ops.changed != NULL) {
		admin->setup.ops.changed(admin->setup.ops.arg);
	}
	return ret;
}

static bool list_one(void *arg, const struct store_peer *peer)
{
	struct call *call = arg;
	_cleanup_(codec_doc_destroy) codec_doc_t *document = NULL;

	if (strcmp(peer->role, bus_role_name(BUS_ROLE_ENROLLING)) == 0) {
		return true; /* a token is nobody yet */
	}
	document = call_doc(call, CODEC_PEER);
	if (document == NULL) {
		return false;
	}
	admin_peer_document(call->admin, peer, document);
	call->sent++;
	return call_send(call, document) == PR_OK;
}

int admin_peers_get(struct call *call)
{
	store_t *store = call->admin->setup.store;
	uint64_t known = codec_doc_u64(call->document, CODEC_PEERS_GET_KNOWN);
	struct store_versions versions = { 0 };

	int ret = store_versions(store, &versions);
	if (ret == PR_OK && (known == 0 || known != versions.peers_counter)) {
		ret = store_peer_list(store, list_one, call);
	}
	return ret == PR_OK ? call_end_state(call, true, versions.peers_counter) : ret;
}

/* ---- approve, revoke ---- */

struct finding {
	struct call *call;
	const char *name;
	bool by_name; /* else by UUID prefix */
	size_t count;
	struct store_peer peer;
};

static bool find_one(void *arg, const struct store_peer *peer)
{
	struct finding *finding = arg;
	char id[PR_UUID_TEXT_BYTES];

	if (strcmp(peer->role, bus_role_name(BUS_ROLE_ENROLLING)) == 0) {
		return true;
	}
	(void)pr_uuid_format(&peer->id, id);
	bool match = finding->by_name ? strcmp(peer->name, finding->name) == 0
	                              : strncasecmp(id, finding->name, strlen(finding->name)) == 0;
	if (match) {
		finding->count++;
		finding->peer = *peer;
		call_detail(finding->call, "%s %s %s %s", peer->name, peer->role,
		            status_names[peer->status], id);
	}
	return true;
}

static int find_peer(struct call *call, const char *name, struct store_peer *ret_peer)
{
	struct finding finding = { .call = call, .name = name, .by_name = true };

	int ret = store_peer_list(call->admin->setup.store, find_one, &finding);
	if (ret == PR_OK && finding.count == 0 && strlen(name) >= PREFIX_MIN_BYTES) {
		finding.by_name = false;
		ret = store_peer_list(call->admin->setup.store, find_one, &finding);
	}
	if (ret != PR_OK) {
		return ret;
	}
	if (finding.count == 0) {
		return call_fail(call, PR_ENOENT, "nobody enrolled is called '%.64s'", name);
	}
	if (finding.count > 1) {
		return call_fail(call, PR_EAMBIG, "'%.64s' may be %zu peers: use the uuid", name,
		                 finding.count);
	}
	codec_doc_destroy(&call->error);
	*ret_peer = finding.peer;
	return PR_OK;
}

/* Nothing of a revoked agent stays in the directory: its addresses may be anybody's tomorrow. */
static int forget_agent(struct admin *admin, const struct pr_uuid *agent)
{
	struct store_change change = { 0 };

	int ret = store_endpoint_replace(admin->setup.store, agent, NULL, 0, admin->now_wall_ns,
	                                 &change);
	session_remove(admin, agent);
	if (ret == PR_OK && change.removed > 0) {
		admin_changed(admin);
	}
	return ret;
}

int admin_agent_remove(struct admin *admin, const struct pr_uuid *agent)
{
	struct store_peer peer = { 0 };

	int ret = store_peer_get(admin->setup.store, agent, &peer);
	if (ret == PR_OK) {
		peer.status = STORE_PEER_REVOKED;
		ret = store_peer_put(admin->setup.store, &peer);
	}
	if (ret == PR_OK) {
		ret = admin_peers_changed(admin, &peer);
	}
	return ret == PR_OK || ret == PR_ENOENT ? forget_agent(admin, agent) : ret;
}

int admin_peer_set(struct call *call)
{
	struct admin *admin = call->admin;
	const char *name = codec_doc_text(call->document, CODEC_PEER_SET_NAME);
	const char *status = codec_doc_text(call->document, CODEC_PEER_SET_STATUS);
	bool approve = strcmp(status, status_names[STORE_PEER_APPROVED]) == 0;
	struct store_peer peer = { 0 };

	if (!approve && strcmp(status, status_names[STORE_PEER_REVOKED]) != 0) {
		return call_fail(call, PR_EINVAL, "approved or revoked, not '%.32s'", status);
	}
	int ret = find_peer(call, name, &peer);
	if (ret != PR_OK) {
		return ret;
	}
	if (pr_uuid_equal(&peer.id, &call->frame->peer.id)) {
		return call_fail(call, PR_EINVAL,
		                 "this is your own key: another administrator may revoke it");
	}
	peer.status = approve ? STORE_PEER_APPROVED : STORE_PEER_REVOKED;
	ret = store_peer_put(admin->setup.store, &peer);
	if (ret == PR_OK) {
		ret = admin_peers_changed(admin, &peer);
	}
	if (ret == PR_OK && !approve) {
		ret = forget_agent(admin, &peer.id);
	}
	if (ret != PR_OK) {
		return ret;
	}
	char by[80], whom[80];
	log_info("'%s' %s %s '%s'", pr_log_escape(call_author(call), by, sizeof(by)), status,
	         peer.role, pr_log_escape(peer.name, whom, sizeof(whom)));
	char target[96], undo[96] = "";
	(void)snprintf(target, sizeof(target), "%s %s", peer.role, peer.name);
	(void)snprintf(undo, sizeof(undo), "portreeve agent %s %s", approve ? "revoke" : "approve",
	               pr_uuid_format(&peer.id, whom));
	admin_audit(call, approve ? "approve" : "revoke", target, "", undo);
	return call_ok(call, 1, "%s %s is %s; undo: %s", peer.role, peer.name, status, undo);
}
