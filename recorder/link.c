/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/log.h"
#include "codec/codec.h"
#include "recorder/link.h"

#define LOG_COMPONENT "link"
#define FRAMES_A_RUN  1000

struct recorder_link {
	struct recorder_link_setup setup;
	bus_client_t *client;
	size_t controller; /* index of the one that is tried */
	uint64_t next_id;
	uint64_t peers_id;      /* of the request under way; 0: none */
	uint64_t peers_sent_ns; /* last request */
	uint64_t since_ns;      /* when this controller was taken, or answered */
	uint64_t answered_ns;
	uint64_t known; /* state of the list that we hold, as the controller counts; 0: none */
	struct bus_peer *peers; /* of the answer under way */
	size_t peer_count, peer_room;
	struct bus_peer *admitted; /* in the keyring, in order of id; NULL until an answer came */
	size_t admitted_count;
	bool is_up;
};

/* ---- keyring and store ---- */

/* Those that have business here. */
static bool has_business(enum bus_role role)
{
	return role == BUS_ROLE_AGENT || role == BUS_ROLE_ADMIN || role == BUS_ROLE_VIEWER ||
	       role == BUS_ROLE_SUBSCRIBER;
}

struct load {
	struct bus_peer *peers;
	size_t count, room;
	bool failed;
};

static bool on_stored(void *arg, const struct store_peer *stored)
{
	struct load *load = arg;
	enum bus_role role;

	if (stored->status != STORE_PEER_APPROVED || bus_role_parse(stored->role, &role) != PR_OK) {
		return true;
	}
	if (load->count == load->room) {
		size_t room = load->room * 2 + 64;
		struct bus_peer *larger = reallocarray(load->peers, room, sizeof(*larger));
		if (larger == NULL) {
			load->failed = true;
			return false;
		}
		load->peers = larger;
		load->room = room;
	}
	struct bus_peer *peer = &load->peers[load->count++];
	*peer = (struct bus_peer){ .id = stored->id, .role = role };
	memcpy(peer->public_key, stored->public_key, sizeof(peer->public_key));
	memcpy(peer->name, stored->name, sizeof(peer->name));
	return true;
}

static int keyring_load(recorder_link_t *link)
{
	struct load load = { 0 };

	int err = store_peer_list(link->setup.store, on_stored, &load);
	if (err == PR_OK && load.failed) {
		err = PR_ENOMEM;
	}
	if (err == PR_OK) {
		err = bus_keyring_replace(link->setup.keyring, load.peers, load.count);
	}
	link->admitted_count = err == PR_OK ? load.count : 0;
	free(load.peers);
	return err;
}

static int id_compare(const void *a, const void *b)
{
	return memcmp(((const struct bus_peer *)a)->id.bytes,
	              ((const struct bus_peer *)b)->id.bytes, PR_UUID_BYTES);
}

static struct store_peer stored_of(const struct bus_peer *peer)
{
	struct store_peer stored = { .id = peer->id, .status = STORE_PEER_APPROVED };
	memcpy(stored.public_key, peer->public_key, sizeof(stored.public_key));
	memcpy(stored.name, peer->name, sizeof(stored.name));
	(void)snprintf(stored.role, sizeof(stored.role), "%s", bus_role_name(peer->role));
	return stored;
}

static bool same_peer(const struct store_peer *a, const struct store_peer *b)
{
	return memcmp(a->public_key, b->public_key, sizeof(a->public_key)) == 0 &&
	       strcmp(a->role, b->role) == 0 && strcmp(a->name, b->name) == 0 &&
	       a->status == b->status;
}

/* Make the store's list the one that came. Those that are as they were cost nothing. */
static int store_update(recorder_link_t *link)
{
	struct load old = { 0 };

	int err = store_peer_list(link->setup.store, on_stored, &old);
	for (size_t i = 0; i < old.count && err == PR_OK; i++) {
		if (link->peer_count == 0 || bsearch(&old.peers[i], link->peers, link->peer_count,
		                                     sizeof(*link->peers), id_compare) == NULL) {
			err = store_peer_delete(link->setup.store, &old.peers[i].id);
		}
	}
	for (size_t i = 0; i < link->peer_count && err == PR_OK; i++) {
		const struct store_peer stored = stored_of(&link->peers[i]);
		struct store_peer before;
		if (store_peer_get(link->setup.store, &stored.id, &before) != PR_OK ||
		    !same_peer(&before, &stored)) {
			err = store_peer_put(link->setup.store, &stored);
		}
	}
	free(old.peers);
	return err;
}

/* The list is complete: first it holds, then it is remembered. */
static int peers_take(recorder_link_t *link)
{
	if (link->peer_count > 0) {
		qsort(link->peers, link->peer_count, sizeof(*link->peers), id_compare);
	}
	if (link->admitted != NULL && link->admitted_count == link->peer_count &&
	    memcmp(link->admitted, link->peers, link->peer_count * sizeof(*link->peers)) == 0) {
		return PR_OK;
	}
	int err = bus_keyring_replace(link->setup.keyring, link->peers, link->peer_count);
	if (err != PR_OK) {
		return err;
	}
	link->admitted_count = link->peer_count;
	free(link->admitted);
	link->admitted = NULL;
	err = store_update(link);
	if (err == PR_OK) {
		link->admitted = link->peers;
		link->peers = NULL;
		link->peer_room = 0;
		link->peer_count = 0;
	}
	return err;
}

/* ---- messages ---- */

static void doc_send(recorder_link_t *link, const codec_doc_t *doc)
{
	_cleanup_(pr_free) uint8_t *data = NULL;
	size_t size_bytes;

	/* What is not sent now is asked for again. */
	if (codec_doc_encode(doc, &data, &size_bytes) == PR_OK) {
		(void)!bus_client_send(link->client, data, size_bytes);
	}
}

static void peers_ask(recorder_link_t *link, uint64_t now_ns)
{
	_cleanup_(codec_doc_destroy) codec_doc_t *doc = codec_doc_new(CODEC_PEERS_GET);

	if (doc == NULL) {
		return;
	}
	link->peers_id = ++link->next_id;
	link->peers_sent_ns = now_ns;
	link->peer_count = 0;
	codec_doc_set_u64(doc, CODEC_PEERS_GET_ID, link->peers_id);
	codec_doc_set_u64(doc, CODEC_PEERS_GET_KNOWN, link->known);
	doc_send(link, doc);
}

static void revision_ask(recorder_link_t *link, uint64_t revision)
{
	_cleanup_(codec_doc_destroy) codec_doc_t *doc = codec_doc_new(CODEC_POLICY_GET);

	if (doc == NULL) {
		return;
	}
	codec_doc_set_u64(doc, CODEC_POLICY_GET_ID, ++link->next_id);
	codec_doc_set_u64(doc, CODEC_POLICY_GET_REVISION, revision);
	doc_send(link, doc);
}

static void on_peer(recorder_link_t *link, const codec_doc_t *doc)
{
	enum bus_role role;
	size_t key_bytes;
	const uint8_t *key = codec_doc_blob(doc, CODEC_PEER_PUBLIC_KEY, &key_bytes);

	if (codec_doc_u64(doc, CODEC_PEER_ID) == 0) {
		/* Pushed: something has changed. The list is asked for at once. */
		link->peers_sent_ns = 0;
		return;
	}
	if (codec_doc_u64(doc, CODEC_PEER_ID) != link->peers_id || link->peers_id == 0 ||
	    strcmp(codec_doc_text(doc, CODEC_PEER_STATUS), "approved") != 0 ||
	    bus_role_parse(codec_doc_text(doc, CODEC_PEER_ROLE), &role) != PR_OK ||
	    !has_business(role) || key_bytes != BUS_KEY_BYTES ||
	    link->peer_count >= RECORDER_PEERS_MAX) {
		return;
	}
	if (link->peer_count == link->peer_room) {
		size_t room = link->peer_room * 2 + 64;
		struct bus_peer *larger = reallocarray(link->peers, room, sizeof(*larger));
		if (larger == NULL) {
			/* An incomplete list must not be taken for a complete one. */
			link->peers_id = 0;
			return;
		}
		link->peers = larger;
		link->peer_room = room;
	}
	struct bus_peer *peer = &link->peers[link->peer_count++];
	memset(peer, 0, sizeof(*peer)); /* also between the fields: lists are compared */
	peer->id = codec_doc_uuid(doc, CODEC_PEER_UUID);
	peer->role = role;
	memcpy(peer->public_key, key, key_bytes);
	const char *name = codec_doc_text(doc, CODEC_PEER_NAME);
	size_t length = strnlen(name, sizeof(peer->name) - 1);
	memcpy(peer->name, name, length);
}

static void on_end(recorder_link_t *link, const codec_doc_t *doc, uint64_t now_ns)
{
	if (link->peers_id == 0 || codec_doc_u64(doc, CODEC_END_ID) != link->peers_id) {
		return;
	}
	uint64_t number = codec_doc_u64(doc, CODEC_END_NUMBER);
	link->peers_id = 0;
	link->since_ns = now_ns;
	if (link->known != 0 && number == link->known) {
		link->answered_ns = now_ns;
		return;
	}
	int err = peers_take(link);
	if (err != PR_OK) {
		log_warn("keys of peers: %s, trying again", pr_strerror(err));
		number = 0;
	}
	link->known = number;
	link->answered_ns = now_ns;
}

static void on_policy(recorder_link_t *link, const codec_doc_t *doc)
{
	const char *text = codec_doc_text(doc, CODEC_POLICY_TEXT);
	struct store_revision revision = {
		.revision = codec_doc_u64(doc, CODEC_POLICY_REVISION),
		.time_wall_ns = codec_doc_u64(doc, CODEC_POLICY_TIME),
		.author = (char *)(uintptr_t)codec_doc_text(doc, CODEC_POLICY_AUTHOR),
		.message = (char *)(uintptr_t)codec_doc_text(doc, CODEC_POLICY_MESSAGE),
		.text = (char *)(uintptr_t)text,
		.text_bytes = strlen(text),
	};
	if (codec_doc_u64(doc, CODEC_POLICY_DRAFT) != 0) {
		return;
	}
	int err = recorder_comments_put(link->setup.comments, &revision);
	if (err != PR_OK) {
		log_debug("revision %llu: %s", (unsigned long long)revision.revision,
		          pr_strerror(err));
	}
}

static void frame_take(recorder_link_t *link, const uint8_t *data, size_t size_bytes,
                       uint64_t now_ns)
{
	_cleanup_(codec_doc_destroy) codec_doc_t *doc = NULL;

	if (codec_doc_decode(data, size_bytes, &doc) != PR_OK) {
		return;
	}
	switch ((int)codec_doc_type(doc)) {
	case CODEC_PEER:
		on_peer(link, doc);
		break;
	case CODEC_END:
		on_end(link, doc, now_ns);
		break;
	case CODEC_POLICY:
		on_policy(link, doc);
		break;
	case CODEC_ERROR:
		log_debug("controller: %s", codec_doc_text(doc, CODEC_ERROR_TEXT));
		break;
	default:
		break;
	}
}

/* ---- life ---- */

static int controller_take(recorder_link_t *link, size_t index, uint64_t now_ns)
{
	const struct recorder_identity *identity = link->setup.identity;
	const struct recorder_controller *controller = &identity->controllers[index];
	const struct bus_client_options options = { .endpoint = controller->endpoint,
		                                    .server_key = controller->server_key,
		                                    .key = &identity->key,
		                                    .frame_max_bytes = CODEC_DOC_MAX_BYTES };

	bus_client_destroy(&link->client);
	link->controller = index;
	link->peers_id = 0;
	link->known = 0;
	link->since_ns = now_ns;
	return bus_client_new(link->setup.context, &options, &link->client);
}

int recorder_link_new(const struct recorder_link_setup *setup, recorder_link_t **ret_link)
{
	_cleanup_(recorder_link_destroy) recorder_link_t *link = calloc(1, sizeof(*link));
	if (link == NULL) {
		return PR_ENOMEM;
	}
	link->setup = *setup;
	int err = keyring_load(link);
	if (err == PR_OK) {
		err = controller_take(link, 0, pr_clock_monotonic_ns());
	}
	if (err == PR_OK) {
		*ret_link = take_ptr(link);
	}
	return err;
}

void recorder_link_destroy(recorder_link_t **link_p)
{
	if (*link_p == NULL) {
		return;
	}
	bus_client_destroy(&(*link_p)->client);
	free((*link_p)->peers);
	free((*link_p)->admitted);
	free(*link_p);
	*link_p = NULL;
}

int recorder_link_fd(const recorder_link_t *link)
{
	return link->client != NULL ? bus_client_fd(link->client) : -1;
}

static void link_watch(recorder_link_t *link, uint64_t now_ns)
{
	const char *endpoint = link->setup.identity->controllers[link->controller].endpoint;
	bool is_up = link->client != NULL && bus_client_link(link->client) == BUS_LINK_UP;

	if (is_up != link->is_up) {
		link->is_up = is_up;
		if (is_up) {
			log_info("controller %s is there", endpoint);
		} else {
			log_warn("controller %s is away, going on with the keys that are known",
			         endpoint);
		}
	}
	size_t count = link->setup.identity->controller_count;
	if (now_ns - link->since_ns > RECORDER_ANSWER_NS && (count > 1 || link->client == NULL)) {
		int err = controller_take(link, (link->controller + 1) % count, now_ns);
		if (err != PR_OK) {
			log_warn("controller: %s, trying the next one", pr_strerror(err));
		}
	}
}

bool recorder_link_run(recorder_link_t *link, uint64_t now_ns)
{
	const uint8_t *data;
	size_t size_bytes;
	uint64_t revision;
	bool busy = false;

	link_watch(link, now_ns);
	if (link->client == NULL) {
		return false;
	}
	for (unsigned i = 0; i < FRAMES_A_RUN; i++) {
		if (bus_client_receive(link->client, &data, &size_bytes) != PR_OK) {
			break;
		}
		frame_take(link, data, size_bytes, now_ns);
		busy = true;
	}
	if (!link->is_up) {
		return busy;
	}
	uint64_t wait_ns = link->peers_id != 0 ? RECORDER_ANSWER_NS : RECORDER_PEERS_NS;
	if (link->peers_sent_ns == 0 || now_ns - link->peers_sent_ns >= wait_ns) {
		peers_ask(link, now_ns);
		busy = true;
	}
	while ((revision = recorder_comments_wanted(link->setup.comments, now_ns)) != 0) {
		revision_ask(link, revision);
		busy = true;
	}
	return busy;
}

void recorder_link_state(recorder_link_t *link, struct recorder_link_state *ret_state)
{
	*ret_state = (struct recorder_link_state){
		.up = link->is_up,
		.answered_ns = link->answered_ns,
		.peers = link->admitted_count,
		.endpoint = link->setup.identity->controllers[link->controller].endpoint,
	};
}
