/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "store/users.h"

#define OPEN_MAX_ROWS 32 /* rows kept in memory during a write; events of one come together */
#define KEEP_NS       (30 * 24 * 3600 * PR_NS_PER_S)
#define SWEEP_NS      (3600 * PR_NS_PER_S) /* an agent that is full is swept so often at most */
#define UID_AT        32
#define NAME_AT       36

struct open_row {
	struct store_key key; /* size 0: free */
	struct store_user user;
	uint64_t used;
};

/* What an agent has. */
struct holder {
	struct pr_uuid agent;
	uint64_t rows, refused, swept_wall_ns;
	bool loaded;
};

struct store_users {
	struct store_txn *txn;
	unsigned user_database, agent_database;
	uint64_t max_bytes;
	uint64_t uses;
	struct holder holder; /* of the agent noted last */
	struct open_row rows[OPEN_MAX_ROWS];
};

struct store_users *store_users_new(unsigned user_database, unsigned agent_database,
                                    uint64_t max_bytes)
{
	struct store_users *users = calloc(1, sizeof(*users));

	if (users != NULL) {
		users->user_database = user_database;
		users->agent_database = agent_database;
		users->max_bytes = max_bytes;
	}
	return users;
}

void store_users_destroy(struct store_users **users_p)
{
	free(*users_p);
	*users_p = NULL;
}

/* As store_txn_get(), but a value that cannot be read is no error that stays: it must not keep
 * events out. The value is borrowed from the map until the next write. */
static int value_get(struct store_txn *txn, unsigned database, const struct store_key *key,
                     struct store_reader *ret_reader)
{
	_cleanup_(store_cursor_done) struct store_cursor cursor = { 0 };

	store_cursor_open(&cursor, txn, database);
	if (!store_cursor_seek(&cursor, key) || cursor.key.mv_size != key->size_bytes ||
	    memcmp(cursor.key.mv_data, key->bytes, key->size_bytes) != 0) {
		return txn->err == PR_OK ? PR_ENOENT : txn->err;
	}
	return store_cursor_value(&cursor, ret_reader);
}

/* ---- rows ---- */

static struct store_key key_of(const struct pr_uuid *agent, const struct pr_uuid *endpoint,
                               uint32_t uid, const char *name)
{
	const uint8_t number[] = { (uint8_t)(uid >> 24), (uint8_t)(uid >> 16), (uint8_t)(uid >> 8),
		                   (uint8_t)uid };
	struct store_key key = store_key_uuid(agent);

	store_key_add(&key, endpoint->bytes, sizeof(endpoint->bytes));
	store_key_add(&key, number, sizeof(number));
	store_key_add(&key, name, strlen(name));
	return key;
}

static int user_read(const void *key_data, size_t key_bytes, struct store_reader *reader,
                     struct store_user *user)
{
	const uint8_t *key = key_data;

	*user = (struct store_user){ 0 };
	if (key_bytes < NAME_AT || key_bytes - NAME_AT >= sizeof(user->name)) {
		return PR_ECORRUPT;
	}
	memcpy(user->agent.bytes, key, sizeof(user->agent.bytes));
	memcpy(user->endpoint.bytes, key + sizeof(user->agent.bytes), sizeof(user->endpoint.bytes));
	user->uid = (uint32_t)key[UID_AT] << 24 | (uint32_t)key[UID_AT + 1] << 16 |
	            (uint32_t)key[UID_AT + 2] << 8 | key[UID_AT + 3];
	memcpy(user->name, key + NAME_AT, key_bytes - NAME_AT);
	user->connections = store_read_u64(reader);
	user->denied = store_read_u64(reader);
	user->first_wall_ns = store_read_u64(reader);
	user->last_wall_ns = store_read_u64(reader);
	user->programs_gone = store_read_u64(reader);
	user->program_count = store_read_u8(reader);
	if (user->program_count > STORE_USER_PROGRAMS_MAX) {
		return PR_ECORRUPT;
	}
	for (size_t i = 0; i < user->program_count; i++) {
		struct store_user_program *program = &user->programs[i];
		store_read_array(reader, program->exe, sizeof(program->exe));
		program->connections = store_read_u64(reader);
		program->last_wall_ns = store_read_u64(reader);
	}
	user->last_count = store_read_u8(reader);
	if (user->last_count > STORE_USER_LAST_MAX) {
		return PR_ECORRUPT;
	}
	for (size_t i = 0; i < user->last_count; i++) {
		store_read_bytes(reader, user->last[i].bytes, sizeof(user->last[i].bytes));
		user->last[i].set = true;
	}
	return store_reader_end(reader);
}

static void user_write(struct store_writer *writer, const struct store_user *user)
{
	store_writer_start(writer);
	store_write_u64(writer, user->connections);
	store_write_u64(writer, user->denied);
	store_write_u64(writer, user->first_wall_ns);
	store_write_u64(writer, user->last_wall_ns);
	store_write_u64(writer, user->programs_gone);
	store_write_u8(writer, (uint8_t)user->program_count);
	for (size_t i = 0; i < user->program_count; i++) {
		store_write_text(writer, user->programs[i].exe);
		store_write_u64(writer, user->programs[i].connections);
		store_write_u64(writer, user->programs[i].last_wall_ns);
	}
	store_write_u8(writer, (uint8_t)user->last_count);
	for (size_t i = 0; i < user->last_count; i++) {
		store_write_bytes(writer, user->last[i].bytes, sizeof(user->last[i].bytes));
	}
}

static void row_save(struct store_users *users, struct open_row *row)
{
	_cleanup_(store_writer_done) struct store_writer writer = { 0 };

	if (row->key.size_bytes != 0) {
		user_write(&writer, &row->user);
		store_txn_put(users->txn, users->user_database, &row->key, &writer);
		row->key.size_bytes = 0;
	}
}

/* ---- agents ---- */

static void holder_save(struct store_users *users)
{
	_cleanup_(store_writer_done) struct store_writer writer = { 0 };
	struct store_key key = store_key_uuid(&users->holder.agent);

	if (users->holder.loaded) {
		store_writer_start(&writer);
		store_write_u64(&writer, users->holder.rows);
		store_write_u64(&writer, users->holder.refused);
		store_write_u64(&writer, users->holder.swept_wall_ns);
		store_txn_put(users->txn, users->agent_database, &key, &writer);
		users->holder.loaded = false;
	}
}

static struct holder *holder_of(struct store_users *users, const struct pr_uuid *agent)
{
	struct holder *holder = &users->holder;
	struct store_key key = store_key_uuid(agent);
	struct store_reader reader;

	if (holder->loaded && pr_uuid_equal(&holder->agent, agent)) {
		return holder;
	}
	holder_save(users);
	*holder = (struct holder){ .agent = *agent, .loaded = true };
	if (value_get(users->txn, users->agent_database, &key, &reader) == PR_OK) {
		holder->rows = store_read_u64(&reader);
		holder->refused = store_read_u64(&reader);
		holder->swept_wall_ns = store_read_u64(&reader);
	}
	return holder;
}

/* Take out whom nobody has seen for long, by the agent's own clock. */
static void holder_sweep(struct store_users *users, struct holder *holder, uint64_t now_wall_ns)
{
	_cleanup_(store_cursor_done) struct store_cursor cursor = { 0 };
	struct store_key start = store_key_uuid(&holder->agent);
	struct store_user user;
	struct store_reader reader;

	for (size_t i = 0; i < OPEN_MAX_ROWS; i++) {
		row_save(users, &users->rows[i]);
	}
	holder->swept_wall_ns = now_wall_ns;
	holder->rows = 0;
	store_cursor_open(&cursor, users->txn, users->user_database);
	bool more = store_cursor_seek(&cursor, &start);
	while (more && cursor.key.mv_size > start.size_bytes &&
	       memcmp(cursor.key.mv_data, start.bytes, start.size_bytes) == 0) {
		bool good =
			store_cursor_value(&cursor, &reader) == PR_OK &&
			user_read(cursor.key.mv_data, cursor.key.mv_size, &reader, &user) == PR_OK;
		if (good && user.last_wall_ns + KEEP_NS > now_wall_ns) {
			holder->rows++;
		} else {
			(void)store_cursor_delete(&cursor);
		}
		more = store_cursor_move(&cursor, MDB_NEXT);
	}
}

/* Is there room for one more? */
static bool room_find(struct store_users *users, struct holder *holder, uint64_t now_wall_ns)
{
	MDB_stat stat;
	MDB_dbi dbi = users->txn->env->dbi[users->user_database];

	if (users->txn->err != PR_OK || mdb_stat(users->txn->txn, dbi, &stat) != MDB_SUCCESS) {
		return false;
	}
	uint64_t pages = stat.ms_branch_pages + stat.ms_leaf_pages + stat.ms_overflow_pages;
	bool full = holder->rows >= STORE_USERS_PER_AGENT_MAX ||
	            pages * stat.ms_psize > users->max_bytes;
	if (full && (now_wall_ns < holder->swept_wall_ns ||
	             now_wall_ns - holder->swept_wall_ns > SWEEP_NS)) {
		holder_sweep(users, holder, now_wall_ns);
	}
	return holder->rows < STORE_USERS_PER_AGENT_MAX &&
	       pages * stat.ms_psize <= users->max_bytes;
}

/* ---- noting ---- */

static struct open_row *open_find(struct store_users *users, const struct store_key *key)
{
	for (size_t i = 0; i < OPEN_MAX_ROWS; i++) {
		struct open_row *row = &users->rows[i];
		if (row->key.size_bytes == key->size_bytes &&
		    memcmp(row->key.bytes, key->bytes, key->size_bytes) == 0) {
			return row;
		}
	}
	return NULL;
}

/* A place for a row: the one not used for longest is written. */
static struct open_row *open_free(struct store_users *users)
{
	struct open_row *oldest = &users->rows[0];

	for (size_t i = 0; i < OPEN_MAX_ROWS; i++) {
		struct open_row *row = &users->rows[i];
		if (row->key.size_bytes == 0) {
			return row;
		}
		oldest = row->used < oldest->used ? row : oldest;
	}
	row_save(users, oldest);
	return oldest;
}

/* NULL: no room for a new one. */
static struct open_row *row_open(struct store_users *users, const struct store_key *key,
                                 uint64_t now_wall_ns)
{
	struct store_reader reader;
	struct store_user user;
	struct pr_uuid agent;
	struct open_row *row = open_find(users, key);

	if (row != NULL) {
		return row;
	}
	int err = value_get(users->txn, users->user_database, key, &reader);
	if (err == PR_ENOENT) {
		memcpy(agent.bytes, key->bytes, sizeof(agent.bytes));
		struct holder *holder = holder_of(users, &agent);
		if (!room_find(users, holder, now_wall_ns)) {
			holder->refused++;
			return NULL;
		}
		holder->rows++;
	}
	/* Before another is written, which may move what was read; what does not check begins anew.
	 */
	if (err != PR_OK || user_read(key->bytes, key->size_bytes, &reader, &user) != PR_OK) {
		user = (struct store_user){ .first_wall_ns = now_wall_ns };
	}
	row = open_free(users);
	row->user = user;
	row->key = *key;
	return row;
}

static void program_note(struct store_user *user, const char *exe, uint64_t time_wall_ns)
{
	struct store_user_program *program = NULL, *oldest = &user->programs[0];

	if (exe[0] == '\0') {
		return;
	}
	for (size_t i = 0; i < user->program_count && program == NULL; i++) {
		struct store_user_program *at = &user->programs[i];
		program = strcmp(at->exe, exe) == 0 ? at : NULL;
		oldest = at->last_wall_ns < oldest->last_wall_ns ? at : oldest;
	}
	if (program == NULL) {
		bool room = user->program_count < STORE_USER_PROGRAMS_MAX;
		program = room ? &user->programs[user->program_count++] : oldest;
		user->programs_gone += !room;
		*program = (struct store_user_program){ 0 };
		(void)snprintf(program->exe, sizeof(program->exe), "%s", exe);
	}
	program->connections++;
	program->last_wall_ns =
		time_wall_ns > program->last_wall_ns ? time_wall_ns : program->last_wall_ns;
}

/* Keys begin with the time: the newest stand in front. */
static void last_note(struct store_user *user, const struct store_key *key)
{
	size_t at = 0;

	while (at < user->last_count &&
	       memcmp(user->last[at].bytes, key->bytes, sizeof(user->last[at].bytes)) > 0) {
		at++;
	}
	if (at == STORE_USER_LAST_MAX) {
		return;
	}
	user->last_count += user->last_count < STORE_USER_LAST_MAX;
	for (size_t i = user->last_count - 1; i > at; i--) {
		user->last[i] = user->last[i - 1];
	}
	memcpy(user->last[at].bytes, key->bytes, sizeof(user->last[at].bytes));
	user->last[at].set = true;
}

void store_users_begin(struct store_users *users, struct store_txn *txn)
{
	users->txn = txn;
	users->holder.loaded = false;
	for (size_t i = 0; i < OPEN_MAX_ROWS; i++) {
		users->rows[i].key.size_bytes = 0;
	}
}

void store_users_note(struct store_users *users, const struct pr_uuid *agent,
                      const struct store_row *row, const struct store_key *key)
{
	const struct codec_event *event = &row->event;

	if (row->user_at == NULL || event->uid == CODEC_NO_UID || users->txn->err != PR_OK) {
		return;
	}
	struct store_key user_key = key_of(agent, row->user_at, event->uid, event->user);
	struct open_row *open = row_open(users, &user_key, event->time_wall_ns);
	if (open == NULL) {
		return;
	}
	struct store_user *user = &open->user;
	open->used = ++users->uses;
	user->connections++;
	user->denied += event->verdict == CODEC_EVENT_VERDICT_DENIED ||
	                event->verdict == CODEC_EVENT_VERDICT_REJECTED;
	if (event->time_wall_ns < user->first_wall_ns) {
		user->first_wall_ns = event->time_wall_ns;
	}
	if (event->time_wall_ns > user->last_wall_ns) {
		user->last_wall_ns = event->time_wall_ns;
	}
	program_note(user, event->exe, event->time_wall_ns);
	last_note(user, key);
}

void store_users_end(struct store_users *users)
{
	for (size_t i = 0; i < OPEN_MAX_ROWS; i++) {
		row_save(users, &users->rows[i]);
	}
	holder_save(users);
}

/* ---- reading ---- */

int store_users_read(struct store_txn *txn, unsigned user_database, struct store_user_place *place,
                     size_t max_rows, bool (*visit)(void *arg, const struct store_user *user),
                     void *arg, bool *ret_more)
{
	_cleanup_(store_cursor_done) struct store_cursor cursor = { 0 };
	struct store_key key = store_key_bytes(place->bytes, place->size_bytes);
	bool go_on = true;

	store_cursor_open(&cursor, txn, user_database);
	bool more = place->size_bytes == 0 ? store_cursor_move(&cursor, MDB_FIRST)
	                                   : store_cursor_seek(&cursor, &key);
	if (more && place->size_bytes != 0 && cursor.key.mv_size == key.size_bytes &&
	    memcmp(cursor.key.mv_data, key.bytes, key.size_bytes) == 0) {
		more = store_cursor_move(&cursor, MDB_NEXT);
	}
	for (size_t n = 0; more && go_on && n < max_rows; n++) {
		struct store_reader reader;
		struct store_user user;
		if (cursor.key.mv_size > sizeof(place->bytes)) {
			return PR_ECORRUPT;
		}
		memcpy(place->bytes, cursor.key.mv_data, cursor.key.mv_size);
		place->size_bytes = cursor.key.mv_size;
		if (store_cursor_value(&cursor, &reader) == PR_OK &&
		    user_read(cursor.key.mv_data, cursor.key.mv_size, &reader, &user) == PR_OK) {
			go_on = visit(arg, &user);
		}
		more = store_cursor_move(&cursor, MDB_NEXT);
	}
	if (txn->err == PR_OK) {
		*ret_more = more;
	}
	return txn->err;
}

uint64_t store_users_refused(struct store_txn *txn, unsigned agent_database)
{
	_cleanup_(store_cursor_done) struct store_cursor cursor = { 0 };
	uint64_t refused = 0;

	store_cursor_open(&cursor, txn, agent_database);
	for (bool more = store_cursor_move(&cursor, MDB_FIRST); more;
	     more = store_cursor_move(&cursor, MDB_NEXT)) {
		struct store_reader reader;
		if (store_cursor_value(&cursor, &reader) == PR_OK) {
			(void)store_read_u64(&reader);
			refused += store_read_u64(&reader);
		}
	}
	return refused;
}
