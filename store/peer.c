/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <string.h>

#include "base/err.h"
#include "store/handle.h"

static void peer_write(struct store_txn *txn, const struct store_peer *peer)
{
	_cleanup_(store_writer_done) struct store_writer writer = { 0 };
	struct store_key key = store_key_uuid(&peer->id);

	store_writer_start(&writer);
	store_write_bytes(&writer, peer->public_key, sizeof(peer->public_key));
	store_write_u8(&writer, (uint8_t)peer->status);
	store_write_u8(&writer, peer->grants_approved);
	store_write_u64(&writer, peer->created_wall_ns);
	store_write_u64(&writer, peer->expires_wall_ns);
	store_write_u64(&writer, peer->seen_wall_ns);
	store_write_text(&writer, peer->role);
	store_write_text(&writer, peer->grants);
	store_write_text(&writer, peer->name);
	store_write_text(&writer, peer->address);
	store_write_text(&writer, peer->version);
	store_txn_put(txn, STORE_DB_PEER, &key, &writer);
}

static int peer_read(struct store_reader *reader, const struct pr_uuid *id, struct store_peer *peer)
{
	*peer = (struct store_peer){ .id = *id };
	store_read_bytes(reader, peer->public_key, sizeof(peer->public_key));
	uint8_t status = store_read_u8(reader);
	peer->grants_approved = store_read_u8(reader) != 0;
	peer->created_wall_ns = store_read_u64(reader);
	peer->expires_wall_ns = store_read_u64(reader);
	peer->seen_wall_ns = store_read_u64(reader);
	store_read_array(reader, peer->role, sizeof(peer->role));
	store_read_array(reader, peer->grants, sizeof(peer->grants));
	store_read_array(reader, peer->name, sizeof(peer->name));
	store_read_array(reader, peer->address, sizeof(peer->address));
	store_read_array(reader, peer->version, sizeof(peer->version));
	if (status > STORE_PEER_REVOKED) {
		return PR_ECORRUPT;
	}
	peer->status = status;
	return store_reader_end(reader);
}

static int peer_load(struct store_txn *txn, const struct pr_uuid *id, struct store_peer *peer)
{
	struct store_key key = store_key_uuid(id);
	struct store_reader reader;

	int err = store_txn_get(txn, STORE_DB_PEER, &key, &reader);
	return err == PR_OK ? peer_read(&reader, id, peer) : err;
}

/* Whose key is it? */
static int key_owner(struct store_txn *txn, const uint8_t *public_key, struct pr_uuid *ret_id)
{
	struct store_key key = store_key_bytes(public_key, STORE_KEY_BYTES);
	struct store_reader reader;

	int err = store_txn_get(txn, STORE_DB_PEER_KEY, &key, &reader);
	if (err != PR_OK) {
		return err;
	}
	*ret_id = store_read_uuid(&reader);
	return store_reader_end(&reader);
}

static void key_put(struct store_txn *txn, const struct store_peer *peer)
{
	_cleanup_(store_writer_done) struct store_writer writer = { 0 };
	struct store_key key = store_key_bytes(peer->public_key, STORE_KEY_BYTES);

	store_writer_start(&writer);
	store_write_uuid(&writer, &peer->id);
	store_txn_put(txn, STORE_DB_PEER_KEY, &key, &writer);
}

static void peer_drop(struct store_txn *txn, const struct store_peer *peer)
{
	struct store_key id = store_key_uuid(&peer->id);
	struct store_key key = store_key_bytes(peer->public_key, STORE_KEY_BYTES);

	store_txn_delete(txn, STORE_DB_PEER, &id);
	store_txn_delete(txn, STORE_DB_PEER_KEY, &key);
}

static void counter_raise(struct store_txn *txn)
{
	uint64_t counter = store_txn_number(txn, STORE_DB_META, STORE_META_PEERS);
	store_txn_number_set(txn, STORE_DB_META, STORE_META_PEERS, counter + 1);
}

static int put_one(struct store_txn *txn, const struct store_peer *peer)
{
	struct store_peer before;
	struct pr_uuid owner;

	int err = key_owner(txn, peer->public_key, &owner);
	if (err == PR_OK && !pr_uuid_equal(&owner, &peer->id)) {
		return PR_EEXIST;
	}
	if (err != PR_OK && err != PR_ENOENT) {
		return err;
	}
	err = peer_load(txn, &peer->id, &before);
	if (err == PR_OK) {
		peer_drop(txn, &before);
	} else if (err != PR_ENOENT) {
		return err;
	}
	peer_write(txn, peer);
	key_put(txn, peer);
	return txn->err;
}

struct put_args {
	const struct store_peer *peers;
	size_t count;
};

static int put_body(struct store_txn *txn, void *arg)
{
	const struct put_args *args = arg;
	int err = PR_OK;

	for (size_t i = 0; i < args->count && err == PR_OK; i++) {
		err = put_one(txn, &args->peers[i]);
	}
	counter_raise(txn);
	return err;
}

/* What is written must be readable: texts end within their arrays. */
static bool peer_fits(const struct store_peer *peer)
{
	return memchr(peer->role, 0, sizeof(peer->role)) != NULL &&
	       memchr(peer->grants, 0, sizeof(peer->grants)) != NULL &&
	       memchr(peer->name, 0, sizeof(peer->name)) != NULL &&
	       memchr(peer->address, 0, sizeof(peer->address)) != NULL &&
	       memchr(peer->version, 0, sizeof(peer->version)) != NULL &&
	       peer->status <= STORE_PEER_REVOKED;
}

int store_peers_put(store_t *store, const struct store_peer *peers, size_t count)
{
	struct put_args args = { .peers = peers, .count = count };

	for (size_t i = 0; i < count; i++) {
		if (!peer_fits(&peers[i])) {
			return PR_EINVAL;
		}
	}
	return store_env_write(&store->env, put_body, &args, /* ret_map_full= */ NULL);
}

int store_peer_put(store_t *store, const struct store_peer *peer)
{
	return store_peers_put(store, peer, 1);
}

int store_peer_get(store_t *store, const struct pr_uuid *id, struct store_peer *ret_peer)
{
	_cleanup_(store_txn_done) struct store_txn txn = { 0 };
	struct store_peer peer;

	int err = store_txn_read(&txn, &store->env);
	if (err == PR_OK) {
		err = peer_load(&txn, id, &peer);
	}
	if (err == PR_OK) {
		*ret_peer = peer;
	}
	return err;
}

int store_peer_find(store_t *store, const uint8_t public_key[static STORE_KEY_BYTES],
                    struct store_peer *ret_peer)
{
	_cleanup_(store_txn_done) struct store_txn txn = { 0 };
	struct store_peer peer;
	struct pr_uuid id;

	int err = store_txn_read(&txn, &store->env);
	if (err == PR_OK) {
		err = key_owner(&txn, public_key, &id);
	}
	if (err != PR_OK) {
		return err;
	}
	err = peer_load(&txn, &id, &peer);
	if (err != PR_OK) {
		return err == PR_ENOENT ? PR_ECORRUPT : err;
	}
	*ret_peer = peer;
	return PR_OK;
}

static int delete_body(struct store_txn *txn, void *arg)
{
	struct store_peer peer;
	int err = peer_load(txn, arg, &peer);
	if (err != PR_OK) {
		return err;
	}
	peer_drop(txn, &peer);
	counter_raise(txn);
	return txn->err;
}

int store_peer_delete(store_t *store, const struct pr_uuid *id)
{
	return store_env_write(&store->env, delete_body, (void *)(uintptr_t)id,
	                       /* ret_map_full= */ NULL);
}

/* Where the cursor stands. */
static int peer_at(const struct store_cursor *cursor, struct store_peer *peer)
{
	struct store_reader reader;
	struct pr_uuid id;

	if (cursor->key.mv_size != sizeof(id.bytes) ||
	    store_cursor_value(cursor, &reader) != PR_OK) {
		return PR_ECORRUPT;
	}
	memcpy(id.bytes, cursor->key.mv_data, sizeof(id.bytes));
	return peer_read(&reader, &id, peer);
}

int store_peer_list(store_t *store, bool (*visit)(void *arg, const struct store_peer *peer),
                    void *arg)
{
	_cleanup_(store_txn_done) struct store_txn txn = { 0 };
	int err = store_txn_read(&txn, &store->env);
	if (err != PR_OK) {
		return err;
	}
	_cleanup_(store_cursor_done) struct store_cursor cursor = { 0 };
	store_cursor_open(&cursor, &txn, STORE_DB_PEER);
	bool more = store_cursor_move(&cursor, MDB_FIRST);
	while (more) {
		struct store_peer peer;
		err = peer_at(&cursor, &peer);
		if (err != PR_OK) {
			return err;
		}
		more = visit(arg, &peer) && store_cursor_move(&cursor, MDB_NEXT);
	}
	return txn.err;
}

struct enroll_args {
	const struct pr_uuid *token;
	const struct store_peer *peer;
};

static int enroll_body(struct store_txn *txn, void *arg)
{
	const struct enroll_args *args = arg;
	struct store_peer token, taken;
	struct pr_uuid owner;

	int err = peer_load(txn, args->token, &token);
	if (err != PR_OK) {
		return err;
	}
	if (token.grants[0] == '\0' || token.status != STORE_PEER_APPROVED) {
		return PR_ENOENT;
	}
	err = peer_load(txn, &args->peer->id, &taken);
	if (err == PR_ENOENT) {
		err = key_owner(txn, args->peer->public_key, &owner);
	}
	if (err != PR_ENOENT) {
		return err == PR_OK ? PR_EEXIST : err;
	}
	peer_drop(txn, &token);
	peer_write(txn, args->peer);
	key_put(txn, args->peer);
	counter_raise(txn);
	return txn->err;
}

int store_peer_enroll(store_t *store, const struct pr_uuid *token, const struct store_peer *peer)
{
	struct enroll_args args = { .token = token, .peer = peer };
	if (!peer_fits(peer)) {
		return PR_EINVAL;
	}
	return store_env_write(&store->env, enroll_body, &args, /* ret_map_full= */ NULL);
}

struct expire_args {
	uint64_t now_wall_ns;
	size_t count;
};

static int expire_body(struct store_txn *txn, void *arg)
{
	struct expire_args *args = arg;
	_cleanup_(store_cursor_done) struct store_cursor cursor = { 0 };

	args->count = 0;
	store_cursor_open(&cursor, txn, STORE_DB_PEER);
	bool more = store_cursor_move(&cursor, MDB_FIRST);
	while (more) {
		struct store_peer peer;
		int err = peer_at(&cursor, &peer);
		if (err != PR_OK) {
			return err;
		}
		if (peer.expires_wall_ns != 0 && peer.expires_wall_ns < args->now_wall_ns) {
			struct store_key key =
				store_key_bytes(peer.public_key, sizeof(peer.public_key));
			store_cursor_delete(&cursor);
			store_txn_delete(txn, STORE_DB_PEER_KEY, &key);
			args->count++;
		}
		more = store_cursor_move(&cursor, MDB_NEXT);
	}
	if (args->count > 0) {
		counter_raise(txn);
	}
	return txn->err;
}

int store_peer_expire(store_t *store, uint64_t now_wall_ns, size_t *ret_count)
{
	struct expire_args args = { .now_wall_ns = now_wall_ns };
	int err = store_env_write(&store->env, expire_body, &args, /* ret_map_full= */ NULL);
	if (err == PR_OK) {
		*ret_count = args.count;
	}
	return err;
}

struct seen_args {
	const struct store_seen *seen;
	size_t count;
};

static int seen_body(struct store_txn *txn, void *arg)
{
	const struct seen_args *args = arg;

	for (size_t i = 0; i < args->count; i++) {
		const struct store_seen *seen = &args->seen[i];
		struct store_peer peer;
		int err = peer_load(txn, &seen->id, &peer);
		if (err == PR_ENOENT) {
			continue;
		}
		if (err != PR_OK) {
			return err;
		}
		peer.seen_wall_ns = seen->seen_wall_ns;
		memcpy(peer.address, seen->address, sizeof(peer.address));
		peer.address[sizeof(peer.address) - 1] = '\0';
		if (seen->version[0] != '\0') {
			memcpy(peer.version, seen->version, sizeof(peer.version));
			peer.version[sizeof(peer.version) - 1] = '\0';
		}
		peer_write(txn, &peer);
	}
	return txn->err;
}

int store_peer_seen(store_t *store, const struct store_seen *seen, size_t count)
{
	struct seen_args args = { .seen = seen, .count = count };
	return count == 0 ? PR_OK
	                  : store_env_write(&store->env, seen_body, &args,
	                                    /* ret_map_full= */ NULL);
}
