/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/**
 * @file
 * Shared by the files of store/ alone: environment, transactions with a sticky error, and the form
 * of stored values.
 *
 * A value is format (1 byte), content, checksum (4 bytes); numbers are big-endian, so that keys
 * made of them sort; a text is its length (7 bits a byte, low first), its bytes and a NUL, so that
 * it can be borrowed from the map.
 */

#include <lmdb.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/defs.h"
#include "base/id.h"

#define STORE_DATABASES_MAX 16

struct store_env {
	MDB_env *env;
	char *path;
	bool read_only;
	unsigned live;         /* read transactions now, of this process */
	pthread_mutex_t begin; /* guards live; held while a read transaction begins */
	MDB_dbi dbi[STORE_DATABASES_MAX];
};

struct store_env_options {
	const char *path;
	uint64_t map_bytes;
	uint64_t schema;
	bool read_only;
	const char *const *databases; /* the first holds the schema number */
	size_t database_count;
};

/** Translate what LMDB and the system return; the only place that does. */
int store_err(int mdb_ret);

/** @p env zeroed by the caller; store_env_done() it, also after a failure. */
int store_env_open(struct store_env *env, const struct store_env_options *options) _must_check_;
void store_env_done(struct store_env *env);
int store_env_readers_check(struct store_env *env);

/* ---- transactions: after a failure every call does nothing, and commit returns it ---- */

struct store_txn {
	struct store_env *env;
	MDB_txn *txn;
	int err;
	bool writes;
	bool map_full;      /* err came from the map, not from the disk */
	uint64_t put_bytes; /* to tell a full disk from a broken one */
};

int store_txn_read(struct store_txn *txn, struct store_env *env) _must_check_;
/** End a read, or throw a write away. Fine on one that did not begin. */
void store_txn_done(struct store_txn *txn);

/**
 * One write transaction around @p body. When the map is full, readers that died are cleared, and if
 * there were any it is all done again; so @p body must set its results anew each time.
 */
int store_env_write(struct store_env *env, int (*body)(struct store_txn *txn, void *arg), void *arg,
                    bool *ret_map_full) _must_check_;

/** Note an error, unless there is one. Returns the one that stands. */
int store_txn_fail(struct store_txn *txn, int err);

struct store_key {
	uint8_t bytes[256];
	size_t size_bytes;
};

struct store_key store_key_u64(uint64_t number);
struct store_key store_key_uuid(const struct pr_uuid *id);
/** Longer than STORE_NAME_MAX_BYTES, or empty: size 0, which every use refuses. */
struct store_key store_key_text(const char *text);
struct store_key store_key_bytes(const void *data, size_t size_bytes);
void store_key_add(struct store_key *key, const void *data, size_t size_bytes);
uint64_t store_u64_load(const uint8_t *bytes);
void store_u64_save(uint8_t *bytes, uint64_t number);

struct store_writer;
struct store_reader;

/** PR_OK, PR_ENOENT (which does not stick) or the sticky error. */
int store_txn_get(struct store_txn *txn, unsigned database, const struct store_key *key,
                  struct store_reader *ret_reader);
bool store_txn_has(struct store_txn *txn, unsigned database, const struct store_key *key);
/** Takes what the writer holds, with its error, and leaves it empty. */
void store_txn_put(struct store_txn *txn, unsigned database, const struct store_key *key,
                   struct store_writer *writer);
/** Not there is fine. */
void store_txn_delete(struct store_txn *txn, unsigned database, const struct store_key *key);
size_t store_txn_count(struct store_txn *txn, unsigned database);
/** Numbers kept in a database of their own or in the first one; absent: 0. */
uint64_t store_txn_number(struct store_txn *txn, unsigned database, const char *name);
void store_txn_number_set(struct store_txn *txn, unsigned database, const char *name,
                          uint64_t number);

struct store_cursor {
	struct store_txn *txn;
	MDB_cursor *cursor;
	MDB_val key, value; /* where it stands; borrowed from the map */
};

void store_cursor_open(struct store_cursor *cursor, struct store_txn *txn, unsigned database);
void store_cursor_done(struct store_cursor *cursor);
/** Move. False: nothing there, or an error, which sticks to the transaction. */
bool store_cursor_move(struct store_cursor *cursor, MDB_cursor_op op);
/** To the first key at @p key or behind it. */
bool store_cursor_seek(struct store_cursor *cursor, const struct store_key *key);
bool store_cursor_delete(struct store_cursor *cursor);
/** Check the value where it stands; PR_ECORRUPT does not stick. */
int store_cursor_value(const struct store_cursor *cursor, struct store_reader *ret_reader);

/* ---- values ---- */

struct store_writer {
	uint8_t *data;
	size_t size_bytes, room_bytes;
	int err;
};

/** Empties it, keeps its memory. */
void store_writer_start(struct store_writer *writer);
void store_writer_done(struct store_writer *writer);
void store_write_u8(struct store_writer *writer, uint8_t number);
void store_write_u16(struct store_writer *writer, uint16_t number);
void store_write_u32(struct store_writer *writer, uint32_t number);
void store_write_u64(struct store_writer *writer, uint64_t number);
void store_write_bytes(struct store_writer *writer, const void *data, size_t size_bytes);
void store_write_uuid(struct store_writer *writer, const struct pr_uuid *id);
/** NULL is "". */
void store_write_text(struct store_writer *writer, const char *text);
/** Length and bytes, and a NUL behind. */
void store_write_blob(struct store_writer *writer, const void *data, size_t size_bytes);
/** Append the checksum. */
void store_writer_seal(struct store_writer *writer);

/** After the end or a wrong length every read gives zero or "", and err is PR_ECORRUPT. */
struct store_reader {
	const uint8_t *at;
	size_t left_bytes;
	int err;
};

/** Check format and checksum. */
int store_reader_start(struct store_reader *reader, const void *data, size_t size_bytes);
uint8_t store_read_u8(struct store_reader *reader);
uint16_t store_read_u16(struct store_reader *reader);
uint32_t store_read_u32(struct store_reader *reader);
uint64_t store_read_u64(struct store_reader *reader);
void store_read_bytes(struct store_reader *reader, void *data, size_t size_bytes);
struct pr_uuid store_read_uuid(struct store_reader *reader);
/** Borrowed from the map; never NULL. */
const char *store_read_text(struct store_reader *reader);
const uint8_t *store_read_blob(struct store_reader *reader, size_t *ret_bytes);
/** A text into an array; longer ones are PR_ECORRUPT. */
void store_read_array(struct store_reader *reader, char *text, size_t size_bytes);
/** PR_OK if all was there and all was read. */
int store_reader_end(const struct store_reader *reader);
