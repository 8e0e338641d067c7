/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "store/handle.h"

static int endpoint_read(struct store_reader *reader, const struct pr_uuid *id,
                         struct store_endpoint *endpoint)
{
	*endpoint = (struct store_endpoint){ .id = *id };
	endpoint->agent = store_read_uuid(reader);
	endpoint->version = store_read_u64(reader);
	endpoint->changed_wall_ns = store_read_u64(reader);
	bool gone = store_read_u8(reader) != 0;
	const uint8_t *data = store_read_blob(reader, &endpoint->size_bytes);
	endpoint->data = gone ? NULL : data;
	return store_reader_end(reader);
}

static int endpoint_load(struct store_txn *txn, const struct pr_uuid *id,
                         struct store_endpoint *endpoint)
{
	struct store_key key = store_key_uuid(id);
	struct store_reader reader;

	int err = store_txn_get(txn, STORE_DB_ENDPOINT, &key, &reader);
	return err == PR_OK ? endpoint_read(&reader, id, endpoint) : err;
}

static struct store_key agent_key(const struct pr_uuid *agent, const struct pr_uuid *id)
{
	struct store_key key = store_key_uuid(agent);
	store_key_add(&key, id->bytes, sizeof(id->bytes));
	return key;
}

static void id_put(struct store_txn *txn, unsigned database, const struct store_key *key,
                   const struct pr_uuid *id)
{
	_cleanup_(store_writer_done) struct store_writer writer = { 0 };
	store_writer_start(&writer);
	store_write_uuid(&writer, id);
	store_txn_put(txn, database, key, &writer);
}

/* Write an endpoint or tombstone under the next version; @p old_version 0: it is new. */
static void endpoint_write(struct store_txn *txn, const struct store_endpoint *endpoint,
                           uint64_t old_version)
{
	_cleanup_(store_writer_done) struct store_writer writer = { 0 };
	uint64_t version = store_txn_number(txn, STORE_DB_META, STORE_META_DIRECTORY) + 1;
	struct store_key key = store_key_uuid(&endpoint->id);
	struct store_key old_key = store_key_u64(old_version);
	struct store_key version_key = store_key_u64(version);
	struct store_key owner_key = agent_key(&endpoint->agent, &endpoint->id);

	if (old_version != 0) {
		store_txn_delete(txn, STORE_DB_ENDPOINT_VERSION, &old_key);
		store_txn_delete(txn, STORE_DB_TOMBSTONE, &old_key);
	}
	store_writer_start(&writer);
	store_write_uuid(&writer, &endpoint->agent);
	store_write_u64(&writer, version);
	store_write_u64(&writer, endpoint->changed_wall_ns);
	store_write_u8(&writer, endpoint->data == NULL);
	store_write_blob(&writer, endpoint->data != NULL ? (const void *)endpoint->data : "",
	                 endpoint->data != NULL ? endpoint->size_bytes : 0);
	store_txn_put(txn, STORE_DB_ENDPOINT, &key, &writer);
	id_put(txn, STORE_DB_ENDPOINT_VERSION, &version_key, &endpoint->id);
	if (endpoint->data == NULL) {
		store_txn_delete(txn, STORE_DB_ENDPOINT_AGENT, &owner_key);
		id_put(txn, STORE_DB_TOMBSTONE, &version_key, &endpoint->id);
	} else {
		id_put(txn, STORE_DB_ENDPOINT_AGENT, &owner_key, &endpoint->id);
	}
	store_txn_number_set(txn, STORE_DB_META, STORE_META_DIRECTORY, version);
}

/* Throw away the oldest tombstones beyond the bound; who has not seen them must start anew. */
static void tombstones_trim(struct store_txn *txn)
{
	size_t count = store_txn_count(txn, STORE_DB_TOMBSTONE);
	_cleanup_(store_cursor_done) struct store_cursor cursor = { 0 };

	if (count <= STORE_TOMBSTONES_MAX) {
		return;
	}
	store_cursor_open(&cursor, txn, STORE_DB_TOMBSTONE);
	for (; count > STORE_TOMBSTONES_MAX && store_cursor_move(&cursor, MDB_FIRST); count--) {
		struct store_reader reader;
		struct store_key version_key =
			store_key_bytes(cursor.key.mv_data, cursor.key.mv_size);
		if (version_key.size_bytes != 8 || store_cursor_value(&cursor, &reader) != PR_OK) {
			store_txn_fail(txn, PR_ECORRUPT);
			return;
		}
		struct pr_uuid id = store_read_uuid(&reader);
		struct store_key id_key = store_key_uuid(&id);
		store_cursor_delete(&cursor);
		store_txn_delete(txn, STORE_DB_ENDPOINT_VERSION, &version_key);
		store_txn_delete(txn, STORE_DB_ENDPOINT, &id_key);
		store_txn_number_set(txn, STORE_DB_META, STORE_META_FLOOR,
		                     store_u64_load(version_key.bytes));
	}
}

struct change_args {
	const struct pr_uuid *agent;
	const struct store_endpoint *endpoints;
	size_t count;
	uint64_t time_wall_ns;
	bool full;                    /* those that are not named go */
	const struct pr_uuid *remove; /* only this one goes; NULL: none */
	struct store_change change;
};

static int endpoint_change(struct store_txn *txn, struct change_args *args,
                           const struct store_endpoint *given)
{
	struct store_endpoint now;

	int err = endpoint_load(txn, &given->id, &now);
	if (err != PR_OK && err != PR_ENOENT) {
		return err;
	}
	if (err == PR_OK && now.data != NULL) {
		if (!pr_uuid_equal(&now.agent, args->agent)) {
			args->change.refused++;
			return PR_OK;
		}
		if (now.size_bytes == given->size_bytes &&
		    memcmp(now.data, given->data, now.size_bytes) == 0) {
			return PR_OK;
		}
	}
	struct store_endpoint next = *given;
	next.agent = *args->agent;
	next.changed_wall_ns = args->time_wall_ns;
	endpoint_write(txn, &next, err == PR_OK ? now.version : 0);
	args->change.changed++;
	return txn->err;
}

static int endpoint_bury(struct store_txn *txn, struct change_args *args, const struct pr_uuid *id)
{
	struct store_endpoint now;

	int err = endpoint_load(txn, id, &now);
	if (err == PR_ENOENT) {
		return PR_OK;
	}
	if (err != PR_OK) {
		return err;
	}
	if (now.data == NULL || !pr_uuid_equal(&now.agent, args->agent)) {
		return PR_OK;
	}
	struct store_endpoint next = { .id = *id,
		                       .agent = *args->agent,
		                       .changed_wall_ns = args->time_wall_ns };
	endpoint_write(txn, &next, now.version);
	args->change.removed++;
	return txn->err;
}

static int compare_ids(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct pr_uuid));
}

/* The ids that an agent has in the directory; malloc'd. */
static int ids_of_agent(struct store_txn *txn, const struct pr_uuid *agent,
                        struct pr_uuid **ret_ids, size_t *ret_count)
{
	_cleanup_(store_cursor_done) struct store_cursor cursor = { 0 };
	_cleanup_(pr_free) struct pr_uuid *ids = NULL;
	struct store_key start = store_key_uuid(agent);
	size_t count = 0;

	store_cursor_open(&cursor, txn, STORE_DB_ENDPOINT_AGENT);
	bool more = store_cursor_seek(&cursor, &start);
	while (more && cursor.key.mv_size == 2 * sizeof(*ids) &&
	       memcmp(cursor.key.mv_data, agent->bytes, sizeof(agent->bytes)) == 0) {
		if ((count & (count - 1)) == 0) {
			struct pr_uuid *larger =
				realloc(ids, (count == 0 ? 1 : 2 * count) * sizeof(*ids));
			if (larger == NULL) {
				return PR_ENOMEM;
			}
			ids = larger;
		}
		memcpy(&ids[count++], (const uint8_t *)cursor.key.mv_data + sizeof(*ids),
		       sizeof(*ids));
		more = store_cursor_move(&cursor, MDB_NEXT);
	}
	*ret_ids = take_ptr(ids);
	*ret_count = count;
	return txn->err;
}

/* Bury what the agent has and has not named. */
static int others_bury(struct store_txn *txn, struct change_args *args)
{
	_cleanup_(pr_free) struct pr_uuid *ids = NULL;
	_cleanup_(pr_free) struct pr_uuid *named = calloc(args->count + 1, sizeof(*named));
	size_t count = 0;

	if (named == NULL) {
		return PR_ENOMEM;
	}
	for (size_t i = 0; i < args->count; i++) {
		named[i] = args->endpoints[i].id;
	}
	qsort(named, args->count, sizeof(*named), compare_ids);
	int err = ids_of_agent(txn, args->agent, &ids, &count);
	for (size_t i = 0; i < count && err == PR_OK; i++) {
		if (bsearch(&ids[i], named, args->count, sizeof(*named), compare_ids) == NULL) {
			err = endpoint_bury(txn, args, &ids[i]);
		}
	}
	return err;
}

static int change_body(struct store_txn *txn, void *arg)
{
	struct change_args *args = arg;
	int err = PR_OK;

	args->change = (struct store_change){ 0 };
	if (args->full) {
		err = others_bury(txn, args);
	}
	if (args->remove != NULL) {
		err = endpoint_bury(txn, args, args->remove);
	}
	for (size_t i = 0; i < args->count && err == PR_OK; i++) {
		err = args->endpoints[i].data == NULL
		              ? PR_EINVAL
		              : endpoint_change(txn, args, &args->endpoints[i]);
	}
	tombstones_trim(txn);
	args->change.version = store_txn_number(txn, STORE_DB_META, STORE_META_DIRECTORY);
	return err;
}

static int change(store_t *store, struct change_args *args, struct store_change *ret_change)
{
	int err = store_env_write(&store->env, change_body, args, /* ret_map_full= */ NULL);
	if (err == PR_OK) {
		*ret_change = args->change;
	}
	return err;
}

int store_endpoint_put(store_t *store, const struct pr_uuid *agent,
                       const struct store_endpoint *endpoints, size_t count, uint64_t time_wall_ns,
                       struct store_change *ret_change)
{
	struct change_args args = {
		.agent = agent, .endpoints = endpoints, .count = count, .time_wall_ns = time_wall_ns
	};
	return change(store, &args, ret_change);
}

int store_endpoint_replace(store_t *store, const struct pr_uuid *agent,
                           const struct store_endpoint *endpoints, size_t count,
                           uint64_t time_wall_ns, struct store_change *ret_change)
{
	struct change_args args = { .agent = agent,
		                    .endpoints = endpoints,
		                    .count = count,
		                    .time_wall_ns = time_wall_ns,
		                    .full = true };
	return change(store, &args, ret_change);
}

int store_endpoint_remove(store_t *store, const struct pr_uuid *agent, const struct pr_uuid *id,
                          uint64_t time_wall_ns, struct store_change *ret_change)
{
	struct change_args args = { .agent = agent, .remove = id, .time_wall_ns = time_wall_ns };
	return change(store, &args, ret_change);
}

int store_endpoint_get(store_t *store, const struct pr_uuid *id, struct pr_uuid *ret_agent,
                       uint8_t **ret_data, size_t *ret_bytes)
{
	_cleanup_(store_txn_done) struct store_txn txn = { 0 };
	struct store_endpoint endpoint;

	int err = store_txn_read(&txn, &store->env);
	if (err == PR_OK) {
		err = endpoint_load(&txn, id, &endpoint);
	}
	if (err != PR_OK) {
		return err;
	}
	if (endpoint.data == NULL) {
		return PR_ENOENT;
	}
	uint8_t *data = malloc(endpoint.size_bytes + 1);
	if (data == NULL) {
		return PR_ENOMEM;
	}
	memcpy(data, endpoint.data, endpoint.size_bytes);
	*ret_agent = endpoint.agent;
	*ret_data = data;
	*ret_bytes = endpoint.size_bytes;
	return PR_OK;
}

/* The endpoint that a version names. */
static int changed_at(struct store_txn *txn, const struct store_cursor *cursor,
                      struct store_endpoint *endpoint)
{
	struct store_reader reader;

	if (cursor->key.mv_size != 8 || store_cursor_value(cursor, &reader) != PR_OK) {
		return PR_ECORRUPT;
	}
	struct pr_uuid id = store_read_uuid(&reader);
	int err = endpoint_load(txn, &id, endpoint);
	if (err != PR_OK) {
		return err == PR_ENOENT ? PR_ECORRUPT : err;
	}
	return endpoint->version == store_u64_load(cursor->key.mv_data) ? PR_OK : PR_ECORRUPT;
}

int store_endpoint_changes(store_t *store, uint64_t since,
                           bool (*visit)(void *arg, const struct store_endpoint *endpoint),
                           void *arg, uint64_t *ret_version)
{
	_cleanup_(store_txn_done) struct store_txn txn = { 0 };
	int err = store_txn_read(&txn, &store->env);
	if (err != PR_OK) {
		return err;
	}
	uint64_t version = store_txn_number(&txn, STORE_DB_META, STORE_META_DIRECTORY);
	uint64_t floor = store_txn_number(&txn, STORE_DB_META, STORE_META_FLOOR);
	if (txn.err == PR_OK && since != 0 && (since < floor || since > version)) {
		return PR_EOLD;
	}
	_cleanup_(store_cursor_done) struct store_cursor cursor = { 0 };
	struct store_key start = store_key_u64(since + 1);
	store_cursor_open(&cursor, &txn, STORE_DB_ENDPOINT_VERSION);
	bool more = store_cursor_seek(&cursor, &start);
	while (more) {
		struct store_endpoint endpoint;
		err = changed_at(&txn, &cursor, &endpoint);
		if (err != PR_OK) {
			return err;
		}
		bool wanted = since != 0 || endpoint.data != NULL;
		if (wanted && !visit(arg, &endpoint)) {
			version = endpoint.version;
			break;
		}
		more = store_cursor_move(&cursor, MDB_NEXT);
	}
	if (txn.err == PR_OK) {
		*ret_version = version;
	}
	return txn.err;
}
