/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "store/handle.h"

struct value_args {
	const char *name;
	const void *data; /* NULL with delete */
	size_t size_bytes;
	bool is_delete;
	uint64_t number;
};

static int value_body(struct store_txn *txn, void *arg)
{
	_cleanup_(store_writer_done) struct store_writer writer = { 0 };
	const struct value_args *args = arg;
	struct store_key key = store_key_text(args->name);

	if (args->is_delete) {
		store_txn_delete(txn, STORE_DB_VALUE, &key);
		return txn->err;
	}
	store_writer_start(&writer);
	store_write_blob(&writer, args->data, args->size_bytes);
	store_txn_put(txn, STORE_DB_VALUE, &key, &writer);
	return txn->err;
}

int store_value_put(store_t *store, const char *name, const void *data, size_t size_bytes)
{
	struct value_args args = { .name = name, .data = data, .size_bytes = size_bytes };
	return store_env_write(&store->env, value_body, &args, /* ret_map_full= */ NULL);
}

int store_value_delete(store_t *store, const char *name)
{
	struct value_args args = { .name = name, .is_delete = true };
	return store_env_write(&store->env, value_body, &args, /* ret_map_full= */ NULL);
}

int store_value_get(store_t *store, const char *name, uint8_t **ret_data, size_t *ret_bytes)
{
	_cleanup_(store_txn_done) struct store_txn txn = { 0 };
	struct store_key key = store_key_text(name);
	struct store_reader reader;
	size_t size_bytes;

	int err = store_txn_read(&txn, &store->env);
	if (err == PR_OK) {
		err = store_txn_get(&txn, STORE_DB_VALUE, &key, &reader);
	}
	if (err != PR_OK) {
		return err;
	}
	const uint8_t *found = store_read_blob(&reader, &size_bytes);
	if (store_reader_end(&reader) != PR_OK) {
		return PR_ECORRUPT;
	}
	uint8_t *data = malloc(size_bytes + 1);
	if (data == NULL) {
		return PR_ENOMEM;
	}
	memcpy(data, found, size_bytes);
	data[size_bytes] = 0;
	*ret_data = data;
	*ret_bytes = size_bytes;
	return PR_OK;
}

int store_value_list(store_t *store, const char *prefix,
                     bool (*visit)(void *arg, const char *name, const uint8_t *data,
                                   size_t size_bytes),
                     void *arg)
{
	_cleanup_(store_txn_done) struct store_txn txn = { 0 };
	struct store_key start = store_key_text(prefix);
	size_t prefix_bytes = strlen(prefix);

	if (prefix_bytes > STORE_NAME_MAX_BYTES) {
		return PR_EINVAL;
	}
	int err = store_txn_read(&txn, &store->env);
	if (err != PR_OK) {
		return err;
	}
	_cleanup_(store_cursor_done) struct store_cursor cursor = { 0 };
	store_cursor_open(&cursor, &txn, STORE_DB_VALUE);
	bool more = store_cursor_seek(&cursor, &start);
	while (more && cursor.key.mv_size >= prefix_bytes &&
	       memcmp(cursor.key.mv_data, prefix, prefix_bytes) == 0) {
		char name[STORE_NAME_MAX_BYTES + 1] = "";
		struct store_reader reader;
		size_t size_bytes;
		if (cursor.key.mv_size >= sizeof(name) ||
		    store_cursor_value(&cursor, &reader) != PR_OK) {
			return PR_ECORRUPT;
		}
		memcpy(name, cursor.key.mv_data, cursor.key.mv_size);
		const uint8_t *data = store_read_blob(&reader, &size_bytes);
		if (store_reader_end(&reader) != PR_OK) {
			return PR_ECORRUPT;
		}
		more = visit(arg, name, data, size_bytes) && store_cursor_move(&cursor, MDB_NEXT);
	}
	return txn.err;
}

static int number_body(struct store_txn *txn, void *arg)
{
	struct value_args *args = arg;
	args->number = store_txn_number(txn, STORE_DB_NUMBER, args->name) + 1;
	store_txn_number_set(txn, STORE_DB_NUMBER, args->name, args->number);
	return txn->err;
}

int store_number_next(store_t *store, const char *name, uint64_t *ret_number)
{
	struct value_args args = { .name = name };
	int err = store_env_write(&store->env, number_body, &args, /* ret_map_full= */ NULL);
	if (err == PR_OK) {
		*ret_number = args.number;
	}
	return err;
}

int store_number_get(store_t *store, const char *name, uint64_t *ret_number)
{
	_cleanup_(store_txn_done) struct store_txn txn = { 0 };
	int err = store_txn_read(&txn, &store->env);
	if (err != PR_OK) {
		return err;
	}
	uint64_t number = store_txn_number(&txn, STORE_DB_NUMBER, name);
	if (txn.err == PR_OK) {
		*ret_number = number;
	}
	return txn.err;
}
