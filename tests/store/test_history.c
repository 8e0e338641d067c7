/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/err.h"
#include "tests/store/events.h"
#include "tests/tap.h"

struct seen {
	unsigned count, stop_after;
	uint64_t seqs[64];
	struct store_row last;
	char text[64];
};

static bool on_row(void *arg, const struct store_row *row)
{
	struct seen *seen = arg;
	seen->seqs[seen->count % 64] = row->event.seq;
	seen->last = *row;
	(void)snprintf(seen->text, sizeof(seen->text), "%s>%s %s", row->src.name, row->dst.name,
	               row->rule_comment);
	seen->count++;
	return seen->count != seen->stop_after;
}

static struct seen read_all(store_history_t *history, const struct store_range *range, size_t step)
{
	struct store_position position = { 0 };
	struct seen seen = { 0 };
	bool more = true;

	while (more) {
		if (store_history_read(history, range, step, &position, on_row, &seen, &more) !=
		    PR_OK) {
			seen.count = UINT32_MAX;
			break;
		}
	}
	return seen;
}

static void test_append(store_history_t *history)
{
	struct store_batch batch;
	struct store_range all = { 0 };
	struct pr_uuid agent = id_of(1);
	struct store_agent state;

	ok(store_history_agent(history, &agent, &state) == PR_ENOENT, "no agent at first");
	ok(append(history, 1, 1, 10, &batch) == PR_OK && batch.stored == 10 &&
	           batch.state.last_seq == 10 && batch.state.gap_count == 0,
	   "ten events, no gap");
	struct seen seen = read_all(history, &all, 100);
	struct store_row expected = row_of(10, 10001);
	ok(seen.count == 10 && seen.seqs[0] == 1 && seen.seqs[9] == 10, "read oldest first");
	ok(memcmp(&seen.last.event, &expected.event, sizeof(expected.event)) == 0 &&
	           pr_uuid_equal(&seen.last.agent, &agent) &&
	           strcmp(seen.text, "apache>mysql Allow MySQL server") == 0,
	   "a row comes back the same in every field: %s", seen.text);
	ok(append(history, 1, 6, 10, &batch) == PR_OK && batch.stored == 5 &&
	           batch.state.last_seq == 15 && batch.state.duplicate_count == 5 &&
	           batch.state.gap_count == 0,
	   "what was committed is not stored again");
	ok(append(history, 1, 20, 1, &batch) == PR_OK && batch.state.last_seq == 20 &&
	           batch.state.gap_count == 4,
	   "numbers left out are a gap of 4");
	ok(append(history, 1, 17, 1, &batch) == PR_OK && batch.stored == 1 &&
	           batch.state.last_seq == 20 && batch.state.late_count == 1 &&
	           read_all(history, &all, 100).count == 17,
	   "one that comes late is kept, not taken for a duplicate");
	struct store_row zero = row_of(0, 5);
	struct store_batch bad = { .agent = agent, .rows = &zero, .count = 1 };
	ok(store_history_append(history, &bad, 1) == PR_EINVAL, "number 0 is refused");
}

static void test_lost(store_history_t *history)
{
	struct pr_uuid agent = id_of(2);
	struct store_agent state;
	struct store_batch batch;

	ok(store_history_lost(history, &agent, 1, 5, &state) == PR_OK && state.last_seq == 5 &&
	           state.lost_count == 5 && state.gap_count == 0,
	   "numbers that never come are counted, and move the last one");
	ok(append(history, 2, 6, 2, &batch) == PR_OK && batch.state.last_seq == 7 &&
	           batch.state.gap_count == 0,
	   "so that they are no gap");
	ok(append(history, 2, 11, 1, &batch) == PR_OK && batch.state.gap_count == 3 &&
	           store_history_lost(history, &agent, 8, 3, &state) == PR_OK &&
	           state.gap_count == 0 && state.lost_count == 8 && state.last_seq == 11,
	   "a gap explained later is no gap any more");
	ok(store_history_lost(history, &agent, 14, 2, &state) == PR_OK && state.gap_count == 2 &&
	           state.lost_count == 10 && state.last_seq == 15,
	   "a gap before them is one");
	ok(store_history_lost(history, &agent, 2, UINT64_MAX, &state) == PR_EINVAL &&
	           store_history_lost(history, &agent, 0, 1, &state) == PR_EINVAL &&
	           store_history_lost(history, &agent, 1, 0, &state) == PR_EINVAL,
	   "nonsense is refused");
}

static void test_range(store_history_t *history)
{
	struct store_range range = { .newest_first = true };
	struct seen seen = read_all(history, &range, 3);

	ok(seen.count == 20 && seen.seqs[0] == 20 && seen.seqs[19] == 1,
	   "newest first, in pieces of 3, misses and repeats nothing");
	range = (struct store_range){ .since_wall_ns = 5001, .until_wall_ns = 9001 };
	seen = read_all(history, &range, 2);
	ok(seen.count == 6 && seen.seqs[0] == 5, "since is included, until is not: %u", seen.count);
	range.newest_first = true;
	seen = read_all(history, &range, 2);
	ok(seen.count == 6 && seen.seqs[5] == 5, "the same backwards");
	range = (struct store_range){ .since_wall_ns = 999999999 };
	ok(read_all(history, &range, 5).count == 0, "nothing in the future");
	range.newest_first = true;
	ok(read_all(history, &range, 5).count == 0, "nor backwards");
	struct store_position position = { 0 };
	struct seen one = { .stop_after = 1 };
	bool more = false;
	range = (struct store_range){ 0 };
	ok(store_history_read(history, &range, 100, &position, on_row, &one, &more) == PR_OK &&
	           one.count == 1 && more,
	   "a reader may stop");
	one.stop_after = 0;
	ok(store_history_read(history, &range, 100, &position, on_row, &one, &more) == PR_OK &&
	           one.count == 20 && !more,
	   "and go on where it stood");
}

static bool on_agent(void *arg, const struct store_agent *state)
{
	*(uint64_t *)arg += state->stored;
	return true;
}

static void test_get(store_history_t *history)
{
	struct store_row_key key = { 0 }, other;
	struct seen seen = { 0 };

	struct seen newest = read_all(history, &(const struct store_range){ 0 }, 1000);
	key = (struct store_row_key){ newest.last.event.time_wall_ns, newest.last.agent,
		                      newest.last.event.seq };
	ok(store_history_get(history, &key, on_row, &seen) == PR_OK && seen.count == 1 &&
	           seen.last.event.seq == key.seq,
	   "one row by its key");
	other = key;
	other.seq++;
	ok(store_history_get(history, &other, on_row, &seen) == PR_ENOENT, "none behind the last");
	other = key;
	other.time_wall_ns--;
	ok(store_history_get(history, &other, on_row, &seen) == PR_ENOENT && seen.count == 1,
	   "nor the next one for a key that is not there");
	ok(store_row_key_compare(&other, &key) < 0 && store_row_key_compare(&key, &key) == 0,
	   "keys are in order of time");
}

static void test_groups_of_batches(const char *path)
{
	store_history_t *history =
		history_at(&(struct store_history_options){ .path = path, .map_bytes = 16 << 20 });
	struct store_row rows[] = { row_of(1, 50), row_of(2, 40), row_of(1, 45), row_of(3, 60) };
	struct store_batch batches[] = {
		{ .agent = id_of(1), .rows = &rows[0], .count = 2 },
		{ .agent = id_of(2), .rows = &rows[2], .count = 1 },
		{ .agent = id_of(1), .rows = &rows[3], .count = 1 },
	};
	struct store_range all = { 0 };
	uint64_t stored = 0;

	ok(store_history_append(history, batches, 3) == PR_OK && batches[0].state.last_seq == 2 &&
	           batches[1].state.last_seq == 1 && batches[2].state.last_seq == 3 &&
	           batches[2].state.gap_count == 0,
	   "batches of two agents, one of them twice, in one commit");
	struct seen seen = read_all(history, &all, 10);
	ok(seen.count == 4 && seen.seqs[0] == 2 && seen.seqs[1] == 1 && seen.seqs[3] == 3,
	   "are read in order of time");
	ok(store_history_agents(history, on_agent, &stored) == PR_OK && stored == 4,
	   "both agents are listed");
	rows[1].event.seq = 0;
	rows[0].event.seq = 9;
	ok(store_history_append(history, batches, 1) == PR_EINVAL &&
	           read_all(history, &all, 10).count == 4,
	   "a batch that fails half-way leaves nothing behind");
	store_history_destroy(&history);
}

static void test_bounds(const char *path)
{
	store_history_t *history = history_at(&(struct store_history_options){
		.path = path, .map_bytes = 64 << 20, .keep_events = 1000 });
	struct store_history_stats stats = { 0 };
	struct store_range all = { 0 };
	struct store_batch batch;
	bool good = true;

	for (unsigned i = 0; i < 50 && good; i++) {
		good = append(history, 1, 1 + i * 100, 100, &batch) == PR_OK;
	}
	ok(good && batch.state.last_seq == 5000 && batch.state.stored == 5000, "5000 events");
	ok(store_history_stats(history, &stats) == PR_OK && stats.events == 1000 &&
	           stats.deleted == 4000 && stats.oldest_wall_ns == 4001001 &&
	           stats.newest_wall_ns == 5000001,
	   "the newest 1000 are kept, the rest is counted as deleted");
	struct seen seen = read_all(history, &all, 100);
	ok(seen.count == 1000 && seen.last.event.seq == 5000, "and read");
	store_history_destroy(&history);
}

int main(void)
{
	char base[PATH_MAX], path[PATH_MAX + 16];

	dir_make(base);
	(void)snprintf(path, sizeof(path), "%s/history", base);
	struct store_history_options options = { .path = path, .map_bytes = 16 << 20 };
	store_history_t *history = history_at(&options);
	test_append(history);
	test_lost(history);
	store_history_destroy(&history);
	history = history_at(&options);
	test_range(history);
	test_get(history);
	store_history_destroy(&history);
	(void)snprintf(path, sizeof(path), "%s/batches", base);
	test_groups_of_batches(path);
	(void)snprintf(path, sizeof(path), "%s/bounds", base);
	test_bounds(path);
	dir_remove(base);
	return tap_done();
}
