/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/err.h"
#include "store/handle.h"

static int add_body(struct store_txn *txn, void *arg)
{
	_cleanup_(store_writer_done) struct store_writer writer = { 0 };
	const struct store_audit *entry = arg;
	struct store_key key = store_key_u64(store_last_number(txn, STORE_DB_AUDIT) + 1);

	store_writer_start(&writer);
	store_write_u64(&writer, entry->time_wall_ns);
	store_write_uuid(&writer, &entry->key);
	store_write_text(&writer, entry->name);
	store_write_text(&writer, entry->action);
	store_write_text(&writer, entry->target);
	store_write_text(&writer, entry->reason);
	store_write_text(&writer, entry->undo);
	store_txn_put(txn, STORE_DB_AUDIT, &key, &writer);
	return txn->err;
}

int store_audit_add(store_t *store, const struct store_audit *entry)
{
	return store_env_write(&store->env, add_body, (void *)(uintptr_t)entry,
	                       /* ret_map_full= */ NULL);
}

static int entry_read(const struct store_cursor *cursor, struct store_audit *entry)
{
	struct store_reader reader;

	if (cursor->key.mv_size != 8 || store_cursor_value(cursor, &reader) != PR_OK) {
		return PR_ECORRUPT;
	}
	*entry = (struct store_audit){
		.number = store_u64_load(cursor->key.mv_data),
		.time_wall_ns = store_read_u64(&reader),
	};
	entry->key = store_read_uuid(&reader);
	entry->name = store_read_text(&reader);
	entry->action = store_read_text(&reader);
	entry->target = store_read_text(&reader);
	entry->reason = store_read_text(&reader);
	entry->undo = store_read_text(&reader);
	return store_reader_end(&reader);
}

int store_audit_list(store_t *store, size_t limit,
                     bool (*visit)(void *arg, const struct store_audit *entry), void *arg)
{
	_cleanup_(store_txn_done) struct store_txn txn = { 0 };
	size_t count = 0;

	int err = store_txn_read(&txn, &store->env);
	if (err != PR_OK) {
		return err;
	}
	_cleanup_(store_cursor_done) struct store_cursor cursor = { 0 };
	store_cursor_open(&cursor, &txn, STORE_DB_AUDIT);
	bool more = store_cursor_move(&cursor, MDB_LAST);
	while (more && (limit == 0 || count < limit)) {
		struct store_audit entry;
		if (entry_read(&cursor, &entry) != PR_OK) {
			return PR_ECORRUPT;
		}
		count++;
		more = visit(arg, &entry) && store_cursor_move(&cursor, MDB_PREV);
	}
	return txn.err;
}
