/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "controller/internal.h"

#define LOG_COMPONENT    "admin"
#define TOKEN_LIFE_S     3600
#define TOKEN_LIFE_MAX_S (30 * 24 * 3600)
#define TOKEN_GRANTS_ROLE                                                        \
	(BUS_ROLE_AGENT | BUS_ROLE_RECORDER | BUS_ROLE_ADMIN | BUS_ROLE_VIEWER | \
	 BUS_ROLE_SUBSCRIBER)

/* Names are shown to people and written into policy log and tables. */
static bool name_is_good(const char *name)
{
	size_t length = strlen(name);

	if (length == 0 || length >= sizeof(((struct store_peer *)NULL)->name)) {
		return false;
	}
	for (size_t i = 0; i < length; i++) {
		if ((unsigned char)name[i] < ' ' || name[i] == 0x7f) {
			return false;
		}
	}
	return true;
}

static int newcomer_of(struct call *call, const struct store_peer *token,
                       struct store_peer *ret_peer)
{
	size_t key_bytes = 0;
	const uint8_t *key = codec_doc_blob(call->document, CODEC_ENROLL_PUBLIC_KEY, &key_bytes);
	const char *name = codec_doc_text(call->document, CODEC_ENROLL_NAME);
	struct store_peer peer = {
		.id = codec_doc_uuid(call->document, CODEC_ENROLL_UUID),
		.status = token->grants_approved ? STORE_PEER_APPROVED : STORE_PEER_PENDING,
		.created_wall_ns = call->admin->now_wall_ns,
		.seen_wall_ns = call->admin->now_wall_ns,
	};

	if (pr_uuid_is_null(&peer.id)) {
		return call_fail(call, PR_EINVAL, "enroll: the uuid is missing");
	}
	if (key_bytes != sizeof(peer.public_key)) {
		return call_fail(call, PR_EINVAL, "enroll: a public key has %zu bytes, not %zu",
		                 sizeof(peer.public_key), key_bytes);
	}
	/* The name that the token was made for is the administrator's word: it comes first. */
	if (token->name[0] == '\0' && !name_is_good(name)) {
		return call_fail(call, PR_EINVAL,
		                 "enroll: the name must be printable, 1 to 63 bytes");
	}
	memcpy(peer.public_key, key, key_bytes);
	(void)snprintf(peer.name, sizeof(peer.name), "%s",
	               token->name[0] != '\0' ? token->name : name);
	memcpy(peer.role, token->grants, sizeof(peer.role));
	memcpy(peer.address, call->frame->address, sizeof(peer.address));
	peer.address[sizeof(peer.address) - 1] = '\0';
	*ret_peer = peer;
	return PR_OK;
}

/* Taking the key out of the keyring cuts the connection; the answer has to get there first. The
 * token itself is gone from the store: it enrols nobody again. */
static void let_leave(struct call *call)
{
	struct admin *admin = call->admin;

	if (admin->leaving_count < LEAVING_MAX) {
		admin->leaving[admin->leaving_count++] =
			(struct leaving){ .peer = call->frame->peer,
			                  .until_ns = admin->now_ns + LEAVING_NS };
	}
}

int admin_enroll(struct call *call)
{
	struct admin *admin = call->admin;
	_cleanup_(codec_doc_destroy) codec_doc_t *answer = NULL;
	struct store_peer token = { 0 }, peer = { 0 };

	int ret = store_peer_find(admin->setup.store, call->frame->peer.public_key, &token);
	if (ret == PR_ENOENT) {
		return call_fail(call, ret, "this token has been used: ask for another one");
	}
	if (ret == PR_OK && token.expires_wall_ns != 0 &&
	    token.expires_wall_ns <= admin->now_wall_ns) {
		return call_fail(call, PR_EEXPIRED, "this token has expired: ask for another one");
	}
	if (ret == PR_OK) {
		ret = newcomer_of(call, &token, &peer);
	}
	if (ret != PR_OK) {
		return ret;
	}
	ret = store_peer_enroll(admin->setup.store, &token.id, &peer);
	if (ret == PR_EEXIST) {
		return call_fail(call, ret, "this uuid or key is enrolled already");
	}
	if (ret != PR_OK) {
		return ret;
	}
	char name[80], id[PR_UUID_TEXT_BYTES];
	log_info("enrolled %s '%s' (%s) from %s%s", peer.role,
	         pr_log_escape(peer.name, name, sizeof(name)), pr_uuid_format(&peer.id, id),
	         peer.address, peer.status == STORE_PEER_PENDING ? ", waits for approval" : "");
	answer = call_doc(call, CODEC_ENROLLED);
	if (answer == NULL) {
		return PR_ENOMEM;
	}
	codec_doc_set_text(answer, CODEC_ENROLLED_ROLE, peer.role);
	codec_doc_set_blob(answer, CODEC_ENROLLED_AUTHORITY_KEY,
	                   admin->setup.keys->authority.public_key,
	                   sizeof(admin->setup.keys->authority.public_key));
	codec_doc_set_u64(answer, CODEC_ENROLLED_PENDING, peer.status == STORE_PEER_PENDING);
	(void)call_send(call, answer);
	let_leave(call);
	return admin_peers_changed(admin, &peer);
}

/* ---- tokens ---- */

static int token_text(struct call *call, const struct bus_key *key, enum bus_role role,
                      uint64_t expires_wall_ns, char text[static BUS_TOKEN_TEXT_BYTES])
{
	const struct admin_setup *setup = &call->admin->setup;
	struct bus_token token = { .key = *key, .role = role, .expires_wall_ns = expires_wall_ns };

	(void)snprintf(token.endpoint, sizeof(token.endpoint), "tcp://%s:%u",
	               setup->conf->advertise, (unsigned)setup->conf->port);
	memcpy(token.server_key, setup->keys->curve.public_key, sizeof(token.server_key));
	int ret = bus_token_format(&token, text);
	bus_key_wipe(&token.key, sizeof(token.key));
	return ret;
}

static int token_peer(struct call *call, struct store_peer *ret_peer, enum bus_role *ret_role)
{
	const char *role = codec_doc_text(call->document, CODEC_TOKEN_NEW_ROLE);
	const char *name = codec_doc_text(call->document, CODEC_TOKEN_NEW_NAME);
	uint64_t seconds = codec_doc_u64(call->document, CODEC_TOKEN_NEW_SECONDS);
	enum bus_role grants = BUS_ROLE_NONE;

	if (bus_role_parse(role, &grants) != PR_OK || (grants & TOKEN_GRANTS_ROLE) == 0) {
		return call_fail(call, PR_EINVAL,
		                 "no such role to give: '%.32s'; agent, recorder, admin, viewer or "
		                 "subscriber",
		                 role);
	}
	if (name[0] != '\0' && !name_is_good(name)) {
		return call_fail(call, PR_EINVAL, "the name must be printable, at most 63 bytes");
	}
	if (seconds > TOKEN_LIFE_MAX_S) {
		return call_fail(call, PR_EINVAL, "a token lives at most %d seconds",
		                 TOKEN_LIFE_MAX_S);
	}
	seconds = seconds != 0 ? seconds : TOKEN_LIFE_S;
	struct store_peer peer = {
		.id = pr_uuid_new(),
		.grants_approved = codec_doc_u64(call->document, CODEC_TOKEN_NEW_APPROVED) != 0,
		.status = STORE_PEER_APPROVED,
		.created_wall_ns = call->admin->now_wall_ns,
		.expires_wall_ns = call->admin->now_wall_ns + seconds * PR_NS_PER_S,
	};
	(void)snprintf(peer.role, sizeof(peer.role), "%s", bus_role_name(BUS_ROLE_ENROLLING));
	(void)snprintf(peer.grants, sizeof(peer.grants), "%s", bus_role_name(grants));
	(void)snprintf(peer.name, sizeof(peer.name), "%s", name);
	*ret_peer = peer;
	*ret_role = grants;
	return PR_OK;
}

int admin_token_new(struct call *call)
{
	char text[BUS_TOKEN_TEXT_BYTES];
	struct store_peer peer = { 0 };
	enum bus_role role = BUS_ROLE_NONE;
	struct bus_key key = { 0 };

	int ret = token_peer(call, &peer, &role);
	if (ret == PR_OK) {
		ret = bus_key_new(&key);
	}
	if (ret == PR_OK) {
		memcpy(peer.public_key, key.public_key, sizeof(peer.public_key));
		ret = token_text(call, &key, role, peer.expires_wall_ns, text);
	}
	bus_key_wipe(&key, sizeof(key));
	if (ret == PR_OK) {
		ret = store_peer_put(call->admin->setup.store, &peer);
	}
	if (ret == PR_OK) {
		ret = admin_peers_changed(call->admin, NULL);
	}
	if (ret != PR_OK) {
		return ret;
	}
	char name[80];
	log_info("'%s' made a token for role %s",
	         pr_log_escape(call_author(call), name, sizeof(name)), peer.grants);
	char target[96];
	(void)snprintf(target, sizeof(target), "%s %s", peer.grants, peer.name);
	admin_audit(call, "token", target, "", "");
	ret = call_ok(call, peer.expires_wall_ns / PR_NS_PER_S, "%s", text);
	bus_key_wipe(text, sizeof(text));
	return ret;
}
