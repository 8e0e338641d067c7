/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "store/history.h"
#include "store/row.h"
#include "store/store.h"
#include "store/users.h"

#define MAP_DEFAULT_BYTES (16ULL << 30)
#define HISTORY_SCHEMA    1
#define PRUNE_EXTRA       256 /* events deleted beyond those that came, so that a bound is reached */
#define PRUNE_WHEN_FULL   4096
#define META_DELETED      "deleted"
#define USERS_SHARE       32 /* of the file, for users when they are new; they may grow fivefold */

enum history_database {
	HISTORY_DB_META,
	HISTORY_DB_EVENT, /* time, agent, seq -> row */
	HISTORY_DB_AGENT, /* id -> struct store_agent */
	HISTORY_DB_USER,  /* agent, endpoint, uid, name -> struct store_user */
	HISTORY_DB_USERS, /* id -> how many users an agent has */
	_HISTORY_DB_MAX,
};

static const char *const database_names[_HISTORY_DB_MAX] = {
	[HISTORY_DB_META] = "meta", [HISTORY_DB_EVENT] = "event", [HISTORY_DB_AGENT] = "agent",
	[HISTORY_DB_USER] = "user", [HISTORY_DB_USERS] = "users",
};

struct store_history {
	struct store_env env;
	struct store_users *users; /* of the write that runs; NULL: read only */
	uint64_t keep_bytes, keep_events;
	uint64_t corrupt;
};

int store_history_open(const struct store_history_options *options, store_history_t **ret_history)
{
	_cleanup_(store_history_destroy) store_history_t *history = calloc(1, sizeof(*history));
	if (history == NULL) {
		return PR_ENOMEM;
	}
	uint64_t map_bytes = options->map_bytes;
	if (map_bytes == 0 && !options->read_only) {
		map_bytes = MAP_DEFAULT_BYTES;
	}
	if (map_bytes != 0 && map_bytes < STORE_MAP_MIN_BYTES) {
		return PR_EINVAL;
	}
	history->keep_events = options->keep_events;
	history->keep_bytes = options->keep_bytes;
	if (history->keep_bytes == 0 || history->keep_bytes > map_bytes / 4 * 3) {
		history->keep_bytes = map_bytes / 4 * 3;
	}
	if (!options->read_only) {
		history->users =
			store_users_new(HISTORY_DB_USER, HISTORY_DB_USERS, map_bytes / USERS_SHARE);
		if (history->users == NULL) {
			return PR_ENOMEM;
		}
	}
	struct store_env_options env_options = {
		.path = options->path,
		.map_bytes = map_bytes,
		.schema = HISTORY_SCHEMA,
		.read_only = options->read_only,
		.databases = database_names,
		.database_count = _HISTORY_DB_MAX,
	};
	int err = store_env_open(&history->env, &env_options);
	if (err == PR_OK) {
		*ret_history = take_ptr(history);
	}
	return err;
}

void store_history_destroy(store_history_t **history_p)
{
	if (*history_p == NULL) {
		return;
	}
	store_env_done(&(*history_p)->env);
	store_users_destroy(&(*history_p)->users);
	free(*history_p);
	*history_p = NULL;
}

int store_history_readers_check(store_history_t *history)
{
	return store_env_readers_check(&history->env);
}

/* ---- agents ---- */

static int agent_read(struct store_reader *reader, const struct pr_uuid *id,
                      struct store_agent *agent)
{
	*agent = (struct store_agent){
		.id = *id,
		.last_seq = store_read_u64(reader),
		.stored = store_read_u64(reader),
		.gap_count = store_read_u64(reader),
		.lost_count = store_read_u64(reader),
		.duplicate_count = store_read_u64(reader),
		.late_count = store_read_u64(reader),
		.last_wall_ns = store_read_u64(reader),
	};
	return store_reader_end(reader);
}

/* PR_ENOENT, too, leaves a usable, empty agent. */
static int agent_load(struct store_txn *txn, const struct pr_uuid *id, struct store_agent *agent)
{
	struct store_key key = store_key_uuid(id);
	struct store_reader reader;

	*agent = (struct store_agent){ .id = *id };
	int err = store_txn_get(txn, HISTORY_DB_AGENT, &key, &reader);
	return err == PR_OK ? agent_read(&reader, id, agent) : err;
}

static void agent_save(struct store_txn *txn, const struct store_agent *agent)
{
	_cleanup_(store_writer_done) struct store_writer writer = { 0 };
	struct store_key key = store_key_uuid(&agent->id);

	store_writer_start(&writer);
	store_write_u64(&writer, agent->last_seq);
	store_write_u64(&writer, agent->stored);
	store_write_u64(&writer, agent->gap_count);
	store_write_u64(&writer, agent->lost_count);
	store_write_u64(&writer, agent->duplicate_count);
	store_write_u64(&writer, agent->late_count);
	store_write_u64(&writer, agent->last_wall_ns);
	store_txn_put(txn, HISTORY_DB_AGENT, &key, &writer);
}

int store_history_agent(store_history_t *history, const struct pr_uuid *agent,
                        struct store_agent *ret_state)
{
	_cleanup_(store_txn_done) struct store_txn txn = { 0 };
	struct store_agent state;

	int err = store_txn_read(&txn, &history->env);
	if (err == PR_OK) {
		err = agent_load(&txn, agent, &state);
	}
	if (err == PR_OK) {
		*ret_state = state;
	}
	return err;
}

int store_history_agents(store_history_t *history,
                         bool (*visit)(void *arg, const struct store_agent *state), void *arg)
{
	_cleanup_(store_txn_done) struct store_txn txn = { 0 };
	int err = store_txn_read(&txn, &history->env);
	if (err != PR_OK) {
		return err;
	}
	_cleanup_(store_cursor_done) struct store_cursor cursor = { 0 };
	store_cursor_open(&cursor, &txn, HISTORY_DB_AGENT);
	bool more = store_cursor_move(&cursor, MDB_FIRST);
	while (more) {
		struct store_agent agent;
		struct store_reader reader;
		struct pr_uuid id;
		if (cursor.key.mv_size != sizeof(id.bytes) ||
		    store_cursor_value(&cursor, &reader) != PR_OK) {
			return PR_ECORRUPT;
		}
		memcpy(id.bytes, cursor.key.mv_data, sizeof(id.bytes));
		if (agent_read(&reader, &id, &agent) != PR_OK) {
			return PR_ECORRUPT;
		}
		more = visit(arg, &agent) && store_cursor_move(&cursor, MDB_NEXT);
	}
	return txn.err;
}

/* ---- append ---- */

static struct store_key event_key(const struct pr_uuid *agent, uint64_t time_wall_ns,
                                  uint64_t seq_number)
{
	struct store_key key = store_key_u64(time_wall_ns);
	struct store_key seq = store_key_u64(seq_number);
	store_key_add(&key, agent->bytes, sizeof(agent->bytes));
	store_key_add(&key, seq.bytes, seq.size_bytes);
	return key;
}

static bool over_bounds(const store_history_t *history, struct store_txn *txn)
{
	MDB_stat stat;
	if (txn->err != PR_OK ||
	    mdb_stat(txn->txn, history->env.dbi[HISTORY_DB_EVENT], &stat) != MDB_SUCCESS) {
		return false;
	}
	uint64_t pages = stat.ms_branch_pages + stat.ms_leaf_pages + stat.ms_overflow_pages;
	return pages * stat.ms_psize > history->keep_bytes ||
	       (history->keep_events != 0 && stat.ms_entries > history->keep_events);
}

/* Delete the oldest, at most @p max, while over the bounds or @p always. */
static void prune(store_history_t *history, struct store_txn *txn, size_t max, bool always)
{
	_cleanup_(store_cursor_done) struct store_cursor cursor = { 0 };
	uint64_t deleted = 0;

	if (!always && !over_bounds(history, txn)) {
		return;
	}
	store_cursor_open(&cursor, txn, HISTORY_DB_EVENT);
	while (deleted < max && store_cursor_move(&cursor, MDB_FIRST) &&
	       store_cursor_delete(&cursor)) {
		deleted++;
		if (!always && !over_bounds(history, txn)) {
			break;
		}
	}
	deleted += store_txn_number(txn, HISTORY_DB_META, META_DELETED);
	store_txn_number_set(txn, HISTORY_DB_META, META_DELETED, deleted);
}

struct append_args {
	store_history_t *history;
	struct store_batch *batches;
	size_t count;
};

/* One event: new, a duplicate, or late. Returns whether it is to be stored. */
static bool event_count(struct store_txn *txn, struct store_agent *state,
                        const struct codec_event *event, const struct store_key *key)
{
	if (event->seq <= state->last_seq) {
		if (store_txn_has(txn, HISTORY_DB_EVENT, key)) {
			state->duplicate_count++;
			return false;
		}
		state->late_count++;
	} else {
		state->gap_count += event->seq - state->last_seq - 1;
		state->last_seq = event->seq;
	}
	if (event->time_wall_ns > state->last_wall_ns) {
		state->last_wall_ns = event->time_wall_ns;
	}
	state->stored++;
	return true;
}

static int batch_append(struct store_txn *txn, struct store_users *users, struct store_batch *batch,
                        struct store_writer *writer)
{
	struct store_agent state;

	int err = agent_load(txn, &batch->agent, &state);
	if (err != PR_OK && err != PR_ENOENT) {
		return err;
	}
	batch->stored = 0;
	for (size_t i = 0; i < batch->count; i++) {
		const struct store_row *row = &batch->rows[i];
		struct store_key key =
			event_key(&batch->agent, row->event.time_wall_ns, row->event.seq);
		if (row->event.seq == 0) {
			return PR_EINVAL;
		}
		if (!event_count(txn, &state, &row->event, &key)) {
			continue;
		}
		store_writer_start(writer);
		store_row_write(writer, row);
		store_txn_put(txn, HISTORY_DB_EVENT, &key, writer);
		store_users_note(users, &batch->agent, row, &key);
		batch->stored++;
	}
	agent_save(txn, &state);
	batch->state = state;
	return txn->err;
}

static int append_body(struct store_txn *txn, void *arg)
{
	_cleanup_(store_writer_done) struct store_writer writer = { 0 };
	struct append_args *args = arg;
	struct store_users *users = args->history->users;
	size_t stored = 0;

	store_users_begin(users, txn);
	for (size_t i = 0; i < args->count; i++) {
		int err = batch_append(txn, users, &args->batches[i], &writer);
		if (err != PR_OK) {
			return err;
		}
		stored += args->batches[i].stored;
	}
	store_users_end(users);
	prune(args->history, txn, 2 * stored + PRUNE_EXTRA, /* always= */ false);
	return txn->err;
}

static int prune_body(struct store_txn *txn, void *arg)
{
	prune(arg, txn, PRUNE_WHEN_FULL, /* always= */ true);
	return txn->err;
}

int store_history_append(store_history_t *history, struct store_batch *batches, size_t count)
{
	struct append_args args = { .history = history, .batches = batches, .count = count };
	bool map_full = false;

	int err = store_env_write(&history->env, append_body, &args, &map_full);
	/* Pages of one prune are free two transactions later: readers may still look at them. */
	for (int round = 0; round < 3 && err == PR_ENOSPC && map_full; round++) {
		int prune_err = store_env_write(&history->env, prune_body, history,
		                                /* ret_map_full= */ NULL);
		if (prune_err != PR_OK) {
			return prune_err;
		}
		err = store_env_write(&history->env, append_body, &args, &map_full);
	}
	return err;
}

struct lost_args {
	const struct pr_uuid *agent;
	uint64_t first_seq, count;
	struct store_agent state;
};

static int lost_body(struct store_txn *txn, void *arg)
{
	struct lost_args *args = arg;
	struct store_agent *state = &args->state;

	int err = agent_load(txn, args->agent, state);
	if (err != PR_OK && err != PR_ENOENT) {
		return err;
	}
	uint64_t last = args->first_seq + args->count - 1;
	uint64_t known_end = last < state->last_seq ? last : state->last_seq;
	if (args->first_seq <= known_end) {
		/* Already skipped: no longer without a word. */
		uint64_t told = known_end - args->first_seq + 1;
		told = told < state->gap_count ? told : state->gap_count;
		state->gap_count -= told;
		state->lost_count += told;
	}
	if (last > state->last_seq) {
		uint64_t first =
			args->first_seq > state->last_seq ? args->first_seq : state->last_seq + 1;
		state->gap_count += first - state->last_seq - 1;
		state->lost_count += last - first + 1;
		state->last_seq = last;
	}
	agent_save(txn, state);
	return txn->err;
}

int store_history_lost(store_history_t *history, const struct pr_uuid *agent, uint64_t first_seq,
                       uint64_t count, struct store_agent *ret_state)
{
	struct lost_args args = { .agent = agent, .first_seq = first_seq, .count = count };
	if (first_seq == 0 || count == 0 || count - 1 > UINT64_MAX - first_seq) {
		return PR_EINVAL;
	}
	int err = store_env_write(&history->env, lost_body, &args, /* ret_map_full= */ NULL);
	if (err == PR_OK) {
		*ret_state = args.state;
	}
	return err;
}

/* ---- read ---- */

/* To the first row of the range in the wanted direction, or the one after @p position. */
static bool range_start(struct store_cursor *cursor, const struct store_range *range,
                        const struct store_position *position)
{
	struct store_key key =
		store_key_u64(range->newest_first ? range->until_wall_ns : range->since_wall_ns);

	if (position->set) {
		key = store_key_bytes(position->bytes, sizeof(position->bytes));
	}
	if (!range->newest_first) {
		bool found = store_cursor_seek(cursor, &key);
		bool same = found && position->set && cursor->key.mv_size == key.size_bytes &&
		            memcmp(cursor->key.mv_data, key.bytes, key.size_bytes) == 0;
		return same ? store_cursor_move(cursor, MDB_NEXT) : found;
	}
	if (!position->set && range->until_wall_ns == 0) {
		return store_cursor_move(cursor, MDB_LAST);
	}
	/* The first at or behind the key is not ours any more: one back. */
	return store_cursor_seek(cursor, &key) ? store_cursor_move(cursor, MDB_PREV)
	                                       : store_cursor_move(cursor, MDB_LAST);
}

static bool in_range(const struct store_cursor *cursor, const struct store_range *range)
{
	uint64_t time_wall_ns = store_u64_load(cursor->key.mv_data);
	return range->newest_first
	               ? time_wall_ns >= range->since_wall_ns
	               : range->until_wall_ns == 0 || time_wall_ns < range->until_wall_ns;
}

int store_history_read(store_history_t *history, const struct store_range *range, size_t max_rows,
                       struct store_position *position,
                       bool (*visit)(void *arg, const struct store_row *row), void *arg,
                       bool *ret_more)
{
	_cleanup_(store_txn_done) struct store_txn txn = { 0 };
	int err = store_txn_read(&txn, &history->env);
	if (err != PR_OK) {
		return err;
	}
	_cleanup_(store_cursor_done) struct store_cursor cursor = { 0 };
	MDB_cursor_op onward = range->newest_first ? MDB_PREV : MDB_NEXT;
	bool go_on = true;
	store_cursor_open(&cursor, &txn, HISTORY_DB_EVENT);
	bool more = range_start(&cursor, range, position);
	for (size_t n = 0; more && go_on && n < max_rows; n++) {
		struct store_row row;
		if (cursor.key.mv_size != sizeof(position->bytes)) {
			return PR_ECORRUPT;
		}
		if (!in_range(&cursor, range)) {
			more = false;
			break;
		}
		memcpy(position->bytes, cursor.key.mv_data, sizeof(position->bytes));
		position->set = true;
		if (store_row_read(&cursor, &row) == PR_OK) {
			go_on = visit(arg, &row);
		} else {
			history->corrupt++;
		}
		more = store_cursor_move(&cursor, onward);
	}
	more = more && in_range(&cursor, range);
	if (txn.err == PR_OK) {
		*ret_more = more;
	}
	return txn.err;
}

/* The row under a key. */
static int row_at(store_history_t *history, const struct store_key *key,
                  bool (*visit)(void *arg, const struct store_row *row), void *arg)
{
	_cleanup_(store_txn_done) struct store_txn txn = { 0 };
	struct store_row row;

	int err = store_txn_read(&txn, &history->env);
	if (err != PR_OK) {
		return err;
	}
	_cleanup_(store_cursor_done) struct store_cursor cursor = { 0 };
	store_cursor_open(&cursor, &txn, HISTORY_DB_EVENT);
	bool found = store_cursor_seek(&cursor, key) && cursor.key.mv_size == key->size_bytes &&
	             memcmp(cursor.key.mv_data, key->bytes, key->size_bytes) == 0;
	if (txn.err != PR_OK || !found) {
		return txn.err != PR_OK ? txn.err : PR_ENOENT;
	}
	err = store_row_read(&cursor, &row);
	if (err == PR_OK) {
		(void)visit(arg, &row);
	} else {
		history->corrupt++;
	}
	return err;
}

int store_history_row(store_history_t *history, const struct store_position *position,
                      bool (*visit)(void *arg, const struct store_row *row), void *arg)
{
	struct store_key key = store_key_bytes(position->bytes, sizeof(position->bytes));

	return row_at(history, &key, visit, arg);
}

int store_history_get(store_history_t *history, const struct store_row_key *where,
                      bool (*visit)(void *arg, const struct store_row *row), void *arg)
{
	struct store_key key = event_key(&where->agent, where->time_wall_ns, where->seq);

	return row_at(history, &key, visit, arg);
}

int store_history_users(store_history_t *history, struct store_user_place *place, size_t max_rows,
                        bool (*visit)(void *arg, const struct store_user *user), void *arg,
                        bool *ret_more)
{
	_cleanup_(store_txn_done) struct store_txn txn = { 0 };
	int err = store_txn_read(&txn, &history->env);

	return err == PR_OK ? store_users_read(&txn, HISTORY_DB_USER, place, max_rows, visit, arg,
	                                       ret_more)
	                    : err;
}

/* Time of the event at one end of the history; 0: none. */
static uint64_t time_at(struct store_txn *txn, MDB_cursor_op op)
{
	_cleanup_(store_cursor_done) struct store_cursor cursor = { 0 };
	store_cursor_open(&cursor, txn, HISTORY_DB_EVENT);
	return store_cursor_move(&cursor, op) && cursor.key.mv_size >= 8
	               ? store_u64_load(cursor.key.mv_data)
	               : 0;
}

int store_history_stats(store_history_t *history, struct store_history_stats *ret_stats)
{
	_cleanup_(store_txn_done) struct store_txn txn = { 0 };
	MDB_envinfo info;
	MDB_stat stat;

	int err = store_txn_read(&txn, &history->env);
	if (err != PR_OK) {
		return err;
	}
	int ret = mdb_stat(txn.txn, history->env.dbi[HISTORY_DB_EVENT], &stat);
	if (ret == MDB_SUCCESS) {
		ret = mdb_env_info(history->env.env, &info);
	}
	if (ret != MDB_SUCCESS) {
		return store_err(ret);
	}
	uint64_t pages = stat.ms_branch_pages + stat.ms_leaf_pages + stat.ms_overflow_pages;
	struct store_history_stats stats = {
		.events = stat.ms_entries,
		.bytes = pages * stat.ms_psize,
		.file_bytes = (info.me_last_pgno + 1) * (uint64_t)stat.ms_psize,
		.map_bytes = info.me_mapsize,
		.deleted = store_txn_number(&txn, HISTORY_DB_META, META_DELETED),
		.corrupt = history->corrupt,
		.oldest_wall_ns = time_at(&txn, MDB_FIRST),
		.newest_wall_ns = time_at(&txn, MDB_LAST),
		.users = store_txn_count(&txn, HISTORY_DB_USER),
		.users_refused = store_users_refused(&txn, HISTORY_DB_USERS),
	};
	if (txn.err == PR_OK) {
		*ret_stats = stats;
	}
	return txn.err;
}
