/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "store/handle.h"

void store_revision_done(struct store_revision *revision)
{
	free(revision->author);
	free(revision->message);
	free(revision->text);
	*revision = (struct store_revision){ 0 };
}

void store_draft_done(struct store_draft *draft)
{
	free(draft->text);
	*draft = (struct store_draft){ 0 };
}

/* A copy with a NUL behind. NULL: out of memory. */
static char *copy_text(const void *data, size_t size_bytes)
{
	char *text = malloc(size_bytes + 1);
	if (text != NULL) {
		memcpy(text, data, size_bytes);
		text[size_bytes] = '\0';
	}
	return text;
}

uint64_t store_last_number(struct store_txn *txn, enum store_database database)
{
	_cleanup_(store_cursor_done) struct store_cursor cursor = { 0 };
	store_cursor_open(&cursor, txn, database);
	if (!store_cursor_move(&cursor, MDB_LAST)) {
		return 0;
	}
	if (cursor.key.mv_size != 8) {
		store_txn_fail(txn, PR_ECORRUPT);
		return 0;
	}
	return store_u64_load(cursor.key.mv_data);
}

uint64_t store_policy_last(struct store_txn *txn)
{
	return store_last_number(txn, STORE_DB_POLICY);
}

int store_policy_head(store_t *store, uint64_t *ret_revision)
{
	_cleanup_(store_txn_done) struct store_txn txn = { 0 };
	int err = store_txn_read(&txn, &store->env);
	if (err != PR_OK) {
		return err;
	}
	uint64_t revision = store_policy_last(&txn);
	if (txn.err == PR_OK) {
		*ret_revision = revision;
	}
	return txn.err;
}

/* Everything but the text; strings are borrowed. */
static int header_read(struct store_reader *reader, struct store_revision *revision)
{
	revision->time_wall_ns = store_read_u64(reader);
	revision->text_bytes = store_read_u64(reader);
	revision->author = (char *)(uintptr_t)store_read_text(reader);
	revision->message = (char *)(uintptr_t)store_read_text(reader);
	return store_reader_end(reader);
}

/* What is stored under a number; strings are borrowed. */
static int revision_read(struct store_txn *txn, uint64_t number, struct store_revision *revision)
{
	struct store_key key = store_key_u64(number);
	struct store_reader header, body;
	size_t text_bytes;

	*revision = (struct store_revision){ .revision = number };
	int err = store_txn_get(txn, STORE_DB_POLICY, &key, &header);
	if (err != PR_OK) {
		return err;
	}
	if (header_read(&header, revision) != PR_OK) {
		return PR_ECORRUPT;
	}
	err = store_txn_get(txn, STORE_DB_POLICY_TEXT, &key, &body);
	if (err != PR_OK) {
		return err == PR_ENOENT ? PR_ECORRUPT : err;
	}
	revision->text = (char *)(uintptr_t)store_read_blob(&body, &text_bytes);
	return store_reader_end(&body) != PR_OK || text_bytes != revision->text_bytes ? PR_ECORRUPT
	                                                                              : PR_OK;
}

int store_policy_get(store_t *store, uint64_t revision, struct store_revision *ret_revision)
{
	_cleanup_(store_txn_done) struct store_txn txn = { 0 };
	_cleanup_(store_revision_done) struct store_revision copy = { 0 };
	struct store_revision found;

	int err = store_txn_read(&txn, &store->env);
	if (err != PR_OK) {
		return err;
	}
	err = revision_read(&txn, revision != 0 ? revision : store_policy_last(&txn), &found);
	if (err != PR_OK) {
		return err;
	}
	copy = (struct store_revision){
		.revision = found.revision,
		.time_wall_ns = found.time_wall_ns,
		.author = strdup(found.author),
		.message = strdup(found.message),
		.text = copy_text(found.text, found.text_bytes),
		.text_bytes = found.text_bytes,
	};
	if (copy.author == NULL || copy.message == NULL || copy.text == NULL) {
		return PR_ENOMEM;
	}
	*ret_revision = copy;
	copy = (struct store_revision){ 0 };
	return PR_OK;
}

int store_policy_list(store_t *store, size_t limit,
                      bool (*visit)(void *arg, const struct store_revision *revision), void *arg)
{
	_cleanup_(store_txn_done) struct store_txn txn = { 0 };
	int err = store_txn_read(&txn, &store->env);
	if (err != PR_OK) {
		return err;
	}
	_cleanup_(store_cursor_done) struct store_cursor cursor = { 0 };
	store_cursor_open(&cursor, &txn, STORE_DB_POLICY);
	bool more = store_cursor_move(&cursor, MDB_LAST);
	for (size_t n = 0; more && (limit == 0 || n < limit); n++) {
		struct store_revision revision = { 0 };
		struct store_reader reader;
		err = store_cursor_value(&cursor, &reader);
		if (err != PR_OK || cursor.key.mv_size != 8) {
			return PR_ECORRUPT;
		}
		revision.revision = store_u64_load(cursor.key.mv_data);
		if (header_read(&reader, &revision) != PR_OK) {
			return PR_ECORRUPT;
		}
		more = visit(arg, &revision) && store_cursor_move(&cursor, MDB_PREV);
	}
	return txn.err;
}

static void revision_write(struct store_txn *txn, uint64_t number,
                           const struct store_revision *revision)
{
	_cleanup_(store_writer_done) struct store_writer writer = { 0 };
	struct store_key key = store_key_u64(number);

	store_writer_start(&writer);
	store_write_u64(&writer, revision->time_wall_ns);
	store_write_u64(&writer, revision->text_bytes);
	store_write_text(&writer, revision->author);
	store_write_text(&writer, revision->message);
	store_txn_put(txn, STORE_DB_POLICY, &key, &writer);
	store_writer_start(&writer);
	store_write_blob(&writer, revision->text, revision->text_bytes);
	store_txn_put(txn, STORE_DB_POLICY_TEXT, &key, &writer);
}

struct commit_args {
	uint64_t base;
	const struct store_revision *revision;
	const struct pr_uuid *draft_of;
	uint64_t number;
};

static int commit_body(struct store_txn *txn, void *arg)
{
	struct commit_args *args = arg;
	uint64_t last = store_policy_last(txn);

	if (txn->err != PR_OK) {
		return txn->err;
	}
	if (last != args->base) {
		return PR_ECONFLICT;
	}
	args->number = last + 1;
	revision_write(txn, args->number, args->revision);
	if (args->draft_of != NULL) {
		struct store_key key = store_key_uuid(args->draft_of);
		store_txn_delete(txn, STORE_DB_DRAFT, &key);
	}
	return txn->err;
}

int store_policy_commit(store_t *store, uint64_t base, const struct store_revision *revision,
                        const struct pr_uuid *draft_of, uint64_t *ret_revision)
{
	struct commit_args args = { .base = base, .revision = revision, .draft_of = draft_of };
	int err = store_env_write(&store->env, commit_body, &args, /* ret_map_full= */ NULL);
	if (err == PR_OK) {
		*ret_revision = args.number;
	}
	return err;
}

static int cache_body(struct store_txn *txn, void *arg)
{
	const struct store_revision *revision = arg;
	struct store_revision found;

	int err = revision_read(txn, revision->revision, &found);
	if (err == PR_OK) {
		bool same = found.text_bytes == revision->text_bytes &&
		            memcmp(found.text, revision->text, found.text_bytes) == 0;
		return same ? PR_OK : PR_ECONFLICT;
	}
	if (err != PR_ENOENT) {
		return err;
	}
	revision_write(txn, revision->revision, revision);
	return txn->err;
}

int store_policy_cache(store_t *store, const struct store_revision *revision)
{
	if (revision->revision == 0) {
		return PR_EINVAL;
	}
	return store_env_write(&store->env, cache_body, (void *)(uintptr_t)revision,
	                       /* ret_map_full= */ NULL);
}

int store_draft_get(store_t *store, const struct pr_uuid *author, struct store_draft *ret_draft)
{
	_cleanup_(store_txn_done) struct store_txn txn = { 0 };
	struct store_key key = store_key_uuid(author);
	struct store_reader reader;
	struct store_draft draft;

	int err = store_txn_read(&txn, &store->env);
	if (err == PR_OK) {
		err = store_txn_get(&txn, STORE_DB_DRAFT, &key, &reader);
	}
	if (err != PR_OK) {
		return err;
	}
	draft.base = store_read_u64(&reader);
	draft.time_wall_ns = store_read_u64(&reader);
	const uint8_t *text = store_read_blob(&reader, &draft.text_bytes);
	if (store_reader_end(&reader) != PR_OK) {
		return PR_ECORRUPT;
	}
	draft.text = copy_text(text, draft.text_bytes);
	if (draft.text == NULL) {
		return PR_ENOMEM;
	}
	*ret_draft = draft;
	return PR_OK;
}

struct draft_args {
	const struct pr_uuid *author;
	const struct store_draft *draft; /* NULL: delete */
};

static int draft_body(struct store_txn *txn, void *arg)
{
	_cleanup_(store_writer_done) struct store_writer writer = { 0 };
	const struct draft_args *args = arg;
	struct store_key key = store_key_uuid(args->author);

	if (args->draft == NULL) {
		store_txn_delete(txn, STORE_DB_DRAFT, &key);
		return txn->err;
	}
	store_writer_start(&writer);
	store_write_u64(&writer, args->draft->base);
	store_write_u64(&writer, args->draft->time_wall_ns);
	store_write_blob(&writer, args->draft->text, args->draft->text_bytes);
	store_txn_put(txn, STORE_DB_DRAFT, &key, &writer);
	return txn->err;
}

int store_draft_put(store_t *store, const struct pr_uuid *author, const struct store_draft *draft)
{
	struct draft_args args = { .author = author, .draft = draft };
	return store_env_write(&store->env, draft_body, &args, /* ret_map_full= */ NULL);
}

int store_draft_delete(store_t *store, const struct pr_uuid *author)
{
	struct draft_args args = { .author = author };
	return store_env_write(&store->env, draft_body, &args, /* ret_map_full= */ NULL);
}
