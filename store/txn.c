/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <string.h>
#include <sys/statvfs.h>

#include "base/err.h"
#include "store/internal.h"
#include "store/store.h"

#define DISK_SLACK_BYTES (1U << 20)

/* Another process made the map larger: take its size, which needs that we read nothing now. */
static int begin_read(struct store_env *env, MDB_txn **ret_txn)
{
	int ret = mdb_txn_begin(env->env, NULL, MDB_RDONLY, ret_txn);
	if (ret == MDB_MAP_RESIZED && env->live == 0) {
		ret = mdb_env_set_mapsize(env->env, 0);
		if (ret == MDB_SUCCESS) {
			ret = mdb_txn_begin(env->env, NULL, MDB_RDONLY, ret_txn);
		}
	} else if (ret == MDB_READERS_FULL && store_env_readers_check(env) > 0) {
		ret = mdb_txn_begin(env->env, NULL, MDB_RDONLY, ret_txn);
	}
	return ret;
}

int store_txn_read(struct store_txn *txn, struct store_env *env)
{
	*txn = (struct store_txn){ .env = env };
	pthread_mutex_lock(&env->begin);
	int ret = begin_read(env, &txn->txn);
	if (ret == MDB_SUCCESS) {
		env->live++;
	}
	pthread_mutex_unlock(&env->begin);
	txn->err = store_err(ret);
	if (ret != MDB_SUCCESS) {
		*txn = (struct store_txn){ .err = txn->err };
	}
	return txn->err;
}

void store_txn_done(struct store_txn *txn)
{
	if (txn->env == NULL) {
		return;
	}
	if (txn->txn != NULL) {
		mdb_txn_abort(txn->txn);
		txn->txn = NULL;
	}
	if (!txn->writes) {
		pthread_mutex_lock(&txn->env->begin);
		txn->env->live--;
		pthread_mutex_unlock(&txn->env->begin);
	}
	txn->env = NULL;
}

/* LMDB says EIO for a write that the disk took only in part. */
static bool disk_is_full(const struct store_txn *txn)
{
	struct statvfs status;
	if (statvfs(txn->env->path, &status) != 0) {
		return false;
	}
	uint64_t free_bytes = (uint64_t)status.f_bavail * status.f_frsize;
	return free_bytes < 2 * txn->put_bytes + DISK_SLACK_BYTES;
}

static int commit(struct store_txn *txn)
{
	int ret = mdb_txn_commit(txn->txn);
	txn->txn = NULL;
	if (ret == MDB_MAP_FULL) {
		txn->map_full = true;
	}
	if (ret == EDQUOT || (ret == EIO && disk_is_full(txn))) {
		return PR_ENOSPC;
	}
	return store_err(ret);
}

int store_env_write(struct store_env *env, int (*body)(struct store_txn *txn, void *arg), void *arg,
                    bool *ret_map_full)
{
	struct store_txn txn;
	int err = PR_OK;

	if (env->read_only) {
		return PR_EPERM;
	}
	for (int attempt = 0; attempt < 2; attempt++) {
		txn = (struct store_txn){ .env = env, .writes = true };
		err = store_err(mdb_txn_begin(env->env, NULL, 0, &txn.txn));
		if (err != PR_OK) {
			return err;
		}
		err = body(&txn, arg);
		if (err == PR_OK) {
			err = txn.err;
		}
		if (err == PR_OK) {
			err = commit(&txn);
		}
		store_txn_done(&txn);
		if (!txn.map_full || store_env_readers_check(env) <= 0) {
			break;
		}
	}
	if (ret_map_full != NULL) {
		*ret_map_full = txn.map_full;
	}
	return err;
}

int store_txn_fail(struct store_txn *txn, int err)
{
	if (txn->err == PR_OK) {
		txn->err = err;
	}
	return txn->err;
}

struct store_key store_key_bytes(const void *data, size_t size_bytes)
{
	struct store_key key = { .size_bytes = 0 };
	store_key_add(&key, data, size_bytes);
	return key;
}

void store_key_add(struct store_key *key, const void *data, size_t size_bytes)
{
	if (size_bytes > sizeof(key->bytes) - key->size_bytes) {
		key->size_bytes = 0;
		return;
	}
	memcpy(key->bytes + key->size_bytes, data, size_bytes);
	key->size_bytes += size_bytes;
}

struct store_key store_key_u64(uint64_t number)
{
	struct store_key key = { .size_bytes = 8 };
	store_u64_save(key.bytes, number);
	return key;
}

struct store_key store_key_uuid(const struct pr_uuid *id)
{
	return store_key_bytes(id->bytes, sizeof(id->bytes));
}

struct store_key store_key_text(const char *text)
{
	size_t length = strlen(text);
	return store_key_bytes(text, length <= STORE_NAME_MAX_BYTES ? length : 0);
}

static MDB_val val_of(const struct store_key *key)
{
	return (MDB_val){ .mv_size = key->size_bytes, .mv_data = (void *)(uintptr_t)key->bytes };
}

static int txn_fail_mdb(struct store_txn *txn, int ret)
{
	if (ret == MDB_MAP_FULL) {
		txn->map_full = true;
	}
	return store_txn_fail(txn, store_err(ret));
}

int store_txn_get(struct store_txn *txn, unsigned database, const struct store_key *key,
                  struct store_reader *ret_reader)
{
	if (txn->err != PR_OK) {
		return txn->err;
	}
	if (key->size_bytes == 0) {
		return store_txn_fail(txn, PR_EINVAL);
	}
	MDB_val mdb_key = val_of(key);
	MDB_val value;
	int ret = mdb_get(txn->txn, txn->env->dbi[database], &mdb_key, &value);
	if (ret == MDB_NOTFOUND) {
		return PR_ENOENT;
	}
	if (ret != MDB_SUCCESS) {
		return txn_fail_mdb(txn, ret);
	}
	int err = store_reader_start(ret_reader, value.mv_data, value.mv_size);
	return err == PR_OK ? PR_OK : store_txn_fail(txn, err);
}

bool store_txn_has(struct store_txn *txn, unsigned database, const struct store_key *key)
{
	MDB_val mdb_key = val_of(key);
	MDB_val value;

	if (txn->err != PR_OK) {
		return false;
	}
	int ret = mdb_get(txn->txn, txn->env->dbi[database], &mdb_key, &value);
	if (ret != MDB_SUCCESS && ret != MDB_NOTFOUND) {
		txn_fail_mdb(txn, ret);
	}
	return ret == MDB_SUCCESS;
}

void store_txn_put(struct store_txn *txn, unsigned database, const struct store_key *key,
                   struct store_writer *writer)
{
	store_writer_seal(writer);
	if (writer->err != PR_OK) {
		store_txn_fail(txn, writer->err);
	}
	if (key->size_bytes == 0) {
		store_txn_fail(txn, PR_EINVAL);
	}
	if (txn->err != PR_OK) {
		return;
	}
	MDB_val mdb_key = val_of(key);
	MDB_val value = { .mv_size = writer->size_bytes, .mv_data = writer->data };
	int ret = mdb_put(txn->txn, txn->env->dbi[database], &mdb_key, &value, 0);
	if (ret != MDB_SUCCESS) {
		txn_fail_mdb(txn, ret);
	}
	txn->put_bytes += writer->size_bytes + key->size_bytes;
}

void store_txn_delete(struct store_txn *txn, unsigned database, const struct store_key *key)
{
	if (key->size_bytes == 0) {
		store_txn_fail(txn, PR_EINVAL);
	}
	if (txn->err != PR_OK) {
		return;
	}
	MDB_val mdb_key = val_of(key);
	int ret = mdb_del(txn->txn, txn->env->dbi[database], &mdb_key, NULL);
	if (ret != MDB_SUCCESS && ret != MDB_NOTFOUND) {
		txn_fail_mdb(txn, ret);
	}
}

size_t store_txn_count(struct store_txn *txn, unsigned database)
{
	MDB_stat stat;

	if (txn->err != PR_OK) {
		return 0;
	}
	int ret = mdb_stat(txn->txn, txn->env->dbi[database], &stat);
	if (ret != MDB_SUCCESS) {
		txn_fail_mdb(txn, ret);
		return 0;
	}
	return stat.ms_entries;
}

uint64_t store_txn_number(struct store_txn *txn, unsigned database, const char *name)
{
	struct store_key key = store_key_text(name);
	struct store_reader reader;

	if (store_txn_get(txn, database, &key, &reader) != PR_OK) {
		return 0;
	}
	uint64_t number = store_read_u64(&reader);
	if (store_reader_end(&reader) != PR_OK) {
		store_txn_fail(txn, PR_ECORRUPT);
		return 0;
	}
	return number;
}

void store_txn_number_set(struct store_txn *txn, unsigned database, const char *name,
                          uint64_t number)
{
	_cleanup_(store_writer_done) struct store_writer writer = { 0 };
	struct store_key key = store_key_text(name);

	store_writer_start(&writer);
	store_write_u64(&writer, number);
	store_txn_put(txn, database, &key, &writer);
}

void store_cursor_open(struct store_cursor *cursor, struct store_txn *txn, unsigned database)
{
	*cursor = (struct store_cursor){ .txn = txn };
	if (txn->err != PR_OK) {
		return;
	}
	int ret = mdb_cursor_open(txn->txn, txn->env->dbi[database], &cursor->cursor);
	if (ret != MDB_SUCCESS) {
		txn_fail_mdb(txn, ret);
	}
}

void store_cursor_done(struct store_cursor *cursor)
{
	if (cursor->cursor != NULL) {
		mdb_cursor_close(cursor->cursor);
		cursor->cursor = NULL;
	}
}

bool store_cursor_move(struct store_cursor *cursor, MDB_cursor_op op)
{
	if (cursor->txn->err != PR_OK) {
		return false;
	}
	int ret = mdb_cursor_get(cursor->cursor, &cursor->key, &cursor->value, op);
	if (ret != MDB_SUCCESS && ret != MDB_NOTFOUND) {
		txn_fail_mdb(cursor->txn, ret);
	}
	return ret == MDB_SUCCESS;
}

bool store_cursor_seek(struct store_cursor *cursor, const struct store_key *key)
{
	if (key->size_bytes == 0) {
		return store_cursor_move(cursor, MDB_FIRST);
	}
	cursor->key = val_of(key);
	return store_cursor_move(cursor, MDB_SET_RANGE);
}

bool store_cursor_delete(struct store_cursor *cursor)
{
	if (cursor->txn->err != PR_OK) {
		return false;
	}
	int ret = mdb_cursor_del(cursor->cursor, 0);
	if (ret != MDB_SUCCESS) {
		txn_fail_mdb(cursor->txn, ret);
	}
	return ret == MDB_SUCCESS;
}

int store_cursor_value(const struct store_cursor *cursor, struct store_reader *ret_reader)
{
	return store_reader_start(ret_reader, cursor->value.mv_data, cursor->value.mv_size);
}
