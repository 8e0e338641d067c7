/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/**
 * @file
 * An admin service on a store in a temporary folder, with a fake bus: what it sends is decoded and
 * kept in order. For the tests of this folder; include once.
 */

#include <ftw.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "controller/admin.h"
#include "tests/tap.h"

#define SENT_MAX   4096
#define START_WALL (1800000000ULL * PR_NS_PER_S)

struct sent {
	struct bus_route route;
	codec_doc_t *document;
};

/** Revisions in memory instead of a store. */
struct fake_authority {
	struct store_revision revisions[64];
	size_t count;
	int fail; /* what commit returns, if not 0 */
};

static struct {
	char folder[64];
	store_t *store;
	bus_keyring_t *keyring;
	struct controller_keys keys;
	struct controller_conf conf;
	struct fake_authority fake;
	admin_t *admin;
	struct sent sent[SENT_MAX];
	size_t sent_count, taken;
	size_t changed; /* hints to workers */
	int send_result;
	uint64_t now_ns;
} bench;

__attribute__((unused)) static void must(bool good, const char *what)
{
	if (!good) {
		(void)printf("Bail out! %s\n", what);
		exit(1);
	}
}

/* ---- fake bus ---- */

static int fake_send(void *arg, const struct bus_route *route, const void *data, size_t size_bytes)
{
	(void)arg;
	if (bench.send_result != PR_OK) {
		return bench.send_result;
	}
	must(bench.sent_count < SENT_MAX, "too many frames");
	struct sent *sent = &bench.sent[bench.sent_count++];
	sent->route = *route;
	must(codec_doc_decode(data, size_bytes, &sent->document) == PR_OK, "sent is no document");
	return PR_OK;
}

static void fake_changed(void *arg)
{
	(void)arg;
	bench.changed++;
}

/* ---- fake authority ---- */

static char *copy_text(const char *text)
{
	char *copy = text != NULL ? strdup(text) : NULL;

	must(text == NULL || copy != NULL, "memory");
	return copy;
}

static int fake_commit(void *self, uint64_t base, const struct store_revision *revision,
                       const struct pr_uuid *draft_of, uint64_t *ret_revision)
{
	struct fake_authority *fake = self;

	(void)draft_of;
	if (fake->fail != PR_OK) {
		return fake->fail;
	}
	if (base != fake->count) {
		return PR_ECONFLICT;
	}
	struct store_revision *to = &fake->revisions[fake->count++];
	*to = *revision;
	to->revision = fake->count;
	to->author = copy_text(revision->author);
	to->message = copy_text(revision->message);
	to->text = copy_text(revision->text);
	*ret_revision = to->revision;
	return PR_OK;
}

static int fake_read(void *self, uint64_t revision, struct store_revision *ret_revision)
{
	struct fake_authority *fake = self;

	revision = revision != 0 ? revision : fake->count;
	if (revision == 0 || revision > fake->count) {
		return PR_ENOENT;
	}
	*ret_revision = fake->revisions[revision - 1];
	ret_revision->author = copy_text(ret_revision->author);
	ret_revision->message = copy_text(ret_revision->message);
	ret_revision->text = copy_text(ret_revision->text);
	return PR_OK;
}

static int fake_list(void *self, size_t limit,
                     bool (*visit)(void *arg, const struct store_revision *revision), void *arg)
{
	struct fake_authority *fake = self;

	for (size_t i = fake->count; i > 0 && (limit == 0 || fake->count - i < limit); i--) {
		struct store_revision revision = fake->revisions[i - 1];
		revision.text = NULL;
		if (!visit(arg, &revision)) {
			break;
		}
	}
	return PR_OK;
}

static int fake_watch(void *self, uint64_t *ret_revision)
{
	*ret_revision = ((struct fake_authority *)self)->count;
	return PR_OK;
}

__attribute__((unused)) static struct authority authority_fake(struct fake_authority *fake)
{
	return (struct authority){ .self = fake,
		                   .commit = fake_commit,
		                   .read = fake_read,
		                   .list = fake_list,
		                   .watch = fake_watch };
}

static void fake_done(struct fake_authority *fake)
{
	for (size_t i = 0; i < fake->count; i++) {
		store_revision_done(&fake->revisions[i]);
	}
	fake->count = 0;
}

/* ---- life ---- */

static struct pr_uuid id_of(const char *name)
{
	return pr_uuid_of_bytes("test", name, strlen(name));
}

static void policy_put(const char *text)
{
	char author[] = "test", message[] = "test";
	struct store_revision revision = { .author = author,
		                           .message = message,
		                           .text = copy_text(text),
		                           .text_bytes = strlen(text) };
	uint64_t head = 0;

	must(store_policy_head(bench.store, &head) == PR_OK, "head");
	must(store_policy_commit(bench.store, head, &revision, NULL, &head) == PR_OK, "commit");
	free(revision.text);
}

static void bench_admin(struct authority authority)
{
	struct admin_setup setup = {
		.ops = { .send = fake_send, .changed = fake_changed },
		.store = bench.store,
		.authority = authority,
		.keyring = bench.keyring,
		.conf = &bench.conf,
		.keys = &bench.keys,
	};

	admin_destroy(&bench.admin);
	must(admin_new(&setup, bench.now_ns, START_WALL + bench.now_ns, &bench.admin) == PR_OK,
	     "admin");
}

__attribute__((unused)) static void bench_start(const char *policy)
{
	static char advertise[] = "192.0.2.250", recorder[] = "tcp://192.0.2.251:7401";
	struct store_options options = { .path = bench.folder, .map_bytes = 64 << 20 };

	(void)snprintf(bench.folder, sizeof(bench.folder), "/tmp/portreeve-test-XXXXXX");
	must(mkdtemp(bench.folder) != NULL, "temporary folder");
	bench.conf = (struct controller_conf){ .advertise = advertise,
		                               .recorder = recorder,
		                               .port = 7400,
		                               .worker_port = 7410,
		                               .workers = 2 };
	bench.keys.id = id_of("controller");
	bench.now_ns = PR_NS_PER_S;
	must(bus_key_new(&bench.keys.curve) == PR_OK, "key");
	must(bus_sign_key_new(&bench.keys.authority) == PR_OK, "key");
	must(store_open(&options, &bench.store) == PR_OK, "store");
	bench.keyring = bus_keyring_new();
	must(bench.keyring != NULL, "keyring");
	policy_put(policy);
	bench_admin(authority_of_store(bench.store));
}

__attribute__((unused)) static void sent_clear(void)
{
	for (size_t i = 0; i < bench.sent_count; i++) {
		codec_doc_destroy(&bench.sent[i].document);
	}
	bench.sent_count = bench.taken = 0;
}

static int remove_one(const char *path, const struct stat *info, int kind, struct FTW *walk)
{
	(void)info;
	(void)kind;
	(void)walk;
	return remove(path);
}

__attribute__((unused)) static void bench_stop(void)
{
	sent_clear();
	admin_destroy(&bench.admin);
	bus_keyring_destroy(&bench.keyring);
	store_destroy(&bench.store);
	fake_done(&bench.fake);
	(void)nftw(bench.folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

/* ---- peers and frames ---- */

/** An enrolled peer of that name and role; made approved if need be. */
__attribute__((unused)) static struct bus_peer peer_of(const char *name, enum bus_role role)
{
	struct bus_peer peer = { .id = id_of(name), .role = role };
	struct store_peer stored = { .id = peer.id, .status = STORE_PEER_APPROVED };

	(void)snprintf(peer.name, sizeof(peer.name), "%s", name);
	memcpy(peer.public_key, peer.id.bytes, sizeof(peer.id.bytes));
	(void)snprintf(stored.name, sizeof(stored.name), "%s", name);
	(void)snprintf(stored.role, sizeof(stored.role), "%s", bus_role_name(role));
	memcpy(stored.public_key, peer.public_key, sizeof(stored.public_key));
	struct store_peer known = { 0 };
	if (store_peer_get(bench.store, &peer.id, &known) == PR_ENOENT) {
		must(store_peer_put(bench.store, &stored) == PR_OK, "peer");
	}
	return peer;
}

static void frame_from(const struct bus_peer *peer, const uint8_t *data, size_t size_bytes)
{
	struct bus_frame frame = { .peer = *peer, .data = data, .size_bytes = size_bytes };

	(void)snprintf(frame.address, sizeof(frame.address), "192.0.2.9");
	frame.route.size_bytes = 4;
	memcpy(frame.route.bytes, peer->id.bytes, 4);
	admin_frame(bench.admin, &frame, bench.now_ns, START_WALL + bench.now_ns);
}

/** Send a document as a peer; it is destroyed. */
__attribute__((unused)) static void say(const struct bus_peer *peer, codec_doc_t *document)
{
	_cleanup_(pr_free) uint8_t *data = NULL;
	size_t size_bytes = 0;

	must(codec_doc_encode(document, &data, &size_bytes) == PR_OK, "encode");
	codec_doc_destroy(&document);
	frame_from(peer, data, size_bytes);
}

/** The next answer, NULL: none. Borrowed until sent_clear(). */
__attribute__((unused)) static const codec_doc_t *answer(void)
{
	return bench.taken < bench.sent_count ? bench.sent[bench.taken++].document : NULL;
}

__attribute__((unused)) static bool is_type(const codec_doc_t *document, enum codec_type type)
{
	return document != NULL && codec_doc_type(document) == type;
}

__attribute__((unused)) static bool is_error(const codec_doc_t *document, const char *code)
{
	return is_type(document, CODEC_ERROR) &&
	       strcmp(codec_doc_text(document, CODEC_ERROR_CODE), code) == 0;
}

__attribute__((unused)) static void tick(void)
{
	admin_tick(bench.admin, bench.now_ns, START_WALL + bench.now_ns);
}

/** An agent tells of its own host, and of nothing else. */
__attribute__((unused)) static void host_put(const struct bus_peer *agent, const char *address)
{
	codec_doc_t *hello = codec_doc_new(CODEC_HELLO);
	codec_doc_t *endpoint = codec_doc_new(CODEC_ENDPOINT);
	codec_doc_t *end = codec_doc_new(CODEC_INVENTORY_END);

	codec_doc_set_uuid(hello, CODEC_HELLO_UUID, &agent->id);
	codec_doc_set_uuid(endpoint, CODEC_ENDPOINT_UUID, &agent->id);
	codec_doc_set_uuid(endpoint, CODEC_ENDPOINT_HOST, &agent->id);
	codec_doc_set_text(endpoint, CODEC_ENDPOINT_KIND, "host");
	codec_doc_set_text(endpoint, CODEC_ENDPOINT_NAME, agent->name);
	codec_doc_set_u64(endpoint, CODEC_ENDPOINT_QUARANTINED, 1); /* not its word */
	codec_doc_addf(endpoint, CODEC_ENDPOINT_ADDRESSES, "global %s/24 02:00:00:00:00:01 eth0",
	               address);
	codec_doc_set_u64(end, CODEC_INVENTORY_END_FULL, 1);
	say(agent, hello);
	say(agent, endpoint);
	say(agent, end);
	sent_clear();
}
