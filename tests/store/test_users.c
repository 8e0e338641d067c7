/* SPDX-License-Identifier: GPL-2.0-or-later */

/** @file Who was seen where: counted once for each event, over restarts, within bounds. */

#include "base/clock.h"
#include "base/err.h"
#include "tests/store/events.h"
#include "tests/tap.h"

#define DAY_NS (24 * 3600 * PR_NS_PER_S)

struct found {
	unsigned rows;
	uint64_t connections; /* of all */
	struct store_user last;
	const char *wanted; /* name of the one to keep */
};

static struct pr_uuid place;
static char base[PATH_MAX], path[PATH_MAX + 16];

static bool on_user(void *arg, const struct store_user *user)
{
	struct found *found = arg;

	found->rows++;
	found->connections += user->connections;
	if (strcmp(user->name, found->wanted) == 0) {
		found->last = *user;
	}
	return true;
}

/* All users, in pieces of @p step; the one called @p name is kept. */
static struct found users_of(store_history_t *history, const char *name, size_t step)
{
	struct store_user_place at = { .size_bytes = 0 };
	struct found found = { .wanted = name };
	bool more = true;

	while (more) {
		if (store_history_users(history, &at, step, on_user, &found, &more) != PR_OK) {
			return (struct found){ .rows = UINT32_MAX };
		}
	}
	return found;
}

static struct store_row user_row(uint64_t seq, uint64_t time_wall_ns, uint32_t uid,
                                 const char *name, const char *exe)
{
	struct store_row row = row_of(seq, time_wall_ns);

	row.event.uid = uid;
	(void)snprintf(row.event.user, sizeof(row.event.user), "%s", name);
	(void)snprintf(row.event.exe, sizeof(row.event.exe), "%s", exe);
	row.user_at = &place;
	return row;
}

static int put(store_history_t *history, unsigned agent, const struct store_row *rows, size_t count)
{
	struct store_batch batch = { .agent = id_of(agent), .rows = rows, .count = count };

	return store_history_append(history, &batch, 1);
}

static store_history_t *reopen(store_history_t **history_p)
{
	struct store_history_options options = { .path = path, .map_bytes = 64 << 20 };

	store_history_destroy(history_p);
	*history_p = history_at(&options);
	return *history_p;
}

static void test_counts(store_history_t **history_p)
{
	struct store_row rows[] = {
		user_row(1, 5000, 1000, "ana", "/usr/bin/curl"),
		user_row(2, 6000, 1000, "ana", "/usr/bin/curl"),
		user_row(3, 7000, 1001, "ben", "/usr/bin/curl"),
		user_row(4, 4000, 1000, "ana", "/bin/nc"),
		user_row(5, 8000, CODEC_NO_UID, "", ""),
		user_row(6, 9000, 1000, "ana", "/usr/bin/curl"),
	};

	rows[1].event.verdict = CODEC_EVENT_VERDICT_DENIED;
	rows[5].user_at = NULL;
	ok(put(*history_p, 1, rows, 6) == PR_OK, "events of two users, a stranger, an unknown one");
	struct found found = users_of(*history_p, "ana", 100);
	ok(found.rows == 2 && found.connections == 4, "two users: %u", found.rows);
	ok(found.last.uid == 1000 && found.last.connections == 3 && found.last.denied == 1 &&
	           found.last.first_wall_ns == 4000 && found.last.last_wall_ns == 6000 &&
	           pr_uuid_equal(&found.last.endpoint, &place),
	   "with number, place, counts, first and last time");
	ok(found.last.program_count == 2 &&
	           strcmp(found.last.programs[0].exe, "/usr/bin/curl") == 0 &&
	           found.last.programs[0].connections == 2 &&
	           found.last.programs[1].last_wall_ns == 4000,
	   "and the programs used");
	ok(put(*history_p, 1, rows, 6) == PR_OK && users_of(*history_p, "ana", 1).connections == 4,
	   "what is sent again does not count again");
	(void)reopen(history_p);
	rows[0] = user_row(7, 10000, 1000, "ana", "/usr/bin/curl");
	ok(put(*history_p, 1, rows, 1) == PR_OK, "after a restart");
	found = users_of(*history_p, "ana", 1);
	ok(found.rows == 2 && found.last.connections == 4 && found.last.last_wall_ns == 10000,
	   "it goes on counting");
	ok(put(*history_p, 2, rows, 1) == PR_OK && users_of(*history_p, "ana", 1).rows == 3,
	   "another agent's word is another row");
	rows[0] = user_row(8, 11000, 33, "ana", "/usr/bin/curl");
	rows[1] = user_row(9, 11000, 1000, "", "/usr/bin/curl");
	ok(put(*history_p, 1, rows, 2) == PR_OK && users_of(*history_p, "", 2).rows == 5,
	   "so is another number, or the number without a name");
}

/* A write that fails counts nobody, and leaves nothing to the next one. */
static void test_failed(store_history_t *history)
{
	struct store_row rows[] = { user_row(1, 5000, 8, "dan", "/bin/x"),
		                    user_row(0, 5000, 8, "dan", "/bin/x") };

	ok(put(history, 6, rows, 2) == PR_EINVAL &&
	           users_of(history, "dan", 100).last.connections == 0,
	   "what was not stored does not count");
	rows[0] = user_row(1, 5000, 9, "eli", "/bin/x");
	ok(put(history, 6, rows, 1) == PR_OK &&
	           users_of(history, "eli", 100).last.connections == 1 &&
	           users_of(history, "dan", 100).last.connections == 0,
	   "nor with the next write");
}

static bool on_row(void *arg, const struct store_row *row)
{
	*(uint64_t *)arg = row->event.seq;
	return true;
}

static void test_last(store_history_t *history)
{
	struct store_row rows[20];
	uint64_t seq = 0;

	for (unsigned i = 0; i < 20; i++) {
		rows[i] = user_row(i + 1, (i + 1) * 1000ULL, 7, "cal", i < 10 ? "/a" : "/b");
		(void)snprintf(rows[i].event.exe, sizeof(rows[i].event.exe), "/bin/%u", i);
	}
	ok(put(history, 3, rows, 20) == PR_OK, "twenty events with a program each");
	struct store_user user = users_of(history, "cal", 100).last;
	ok(user.program_count == STORE_USER_PROGRAMS_MAX && user.programs_gone == 12,
	   "the programs used last are kept, the others counted");
	ok(user.last_count == STORE_USER_LAST_MAX &&
	           store_history_row(history, &user.last[0], on_row, &seq) == PR_OK && seq == 20 &&
	           store_history_row(history, &user.last[7], on_row, &seq) == PR_OK && seq == 13,
	   "the newest events are found, newest first");
	struct store_position none = { .bytes = { 1 } };
	ok(store_history_row(history, &none, on_row, &seq) == PR_ENOENT, "one that is not there");
	rows[0] = user_row(21, 500, 7, "cal", "/bin/x");
	ok(put(history, 3, rows, 1) == PR_OK, "one more");
	struct store_user after = users_of(history, "cal", 9).last;
	ok(after.connections == 21 && memcmp(after.last, user.last, sizeof(user.last)) == 0,
	   "an old one that comes late is not among them");
}

/* Users without end, as an agent could make up. */
static void make_up(store_history_t *history, unsigned agent, unsigned first, unsigned count,
                    uint64_t time_wall_ns)
{
	struct store_row *rows = calloc(count, sizeof(*rows));
	char name[16];

	for (unsigned i = 0; rows != NULL && i < count; i++) {
		(void)snprintf(name, sizeof(name), "u%u", first + i);
		rows[i] = user_row(first + i, time_wall_ns, 5000 + first + i, name, "/bin/x");
	}
	ok(rows != NULL && put(history, agent, rows, count) == PR_OK, "%u users of agent %u", count,
	   agent);
	free(rows);
}

static uint64_t refused_of(store_history_t *history)
{
	struct store_history_stats stats = { 0 };

	(void)!store_history_stats(history, &stats);
	return stats.users_refused;
}

static void test_bounds(store_history_t *history)
{
	const uint64_t now = 100 * DAY_NS;
	struct store_row row;

	make_up(history, 4, 1, STORE_USERS_PER_AGENT_MAX, now);
	ok(refused_of(history) == 0, "so many fit");
	make_up(history, 4, STORE_USERS_PER_AGENT_MAX + 1, 50, now + 1);
	struct found found = users_of(history, "u4097", 1000);
	ok(refused_of(history) == 50 && found.last.connections == 0,
	   "more are refused, and counted: %llu", (unsigned long long)refused_of(history));
	row = user_row(100000, now + 2, 5001, "u1", "/bin/x");
	ok(put(history, 4, &row, 1) == PR_OK && refused_of(history) == 50 &&
	           users_of(history, "u1", 1000).last.connections == 2,
	   "those that are known go on being counted");
	row = user_row(1, now, 1, "eve", "/bin/x");
	ok(put(history, 5, &row, 1) == PR_OK && users_of(history, "eve", 1000).last.uid == 1,
	   "another agent has room of its own");
	row = user_row(100001, now + 31 * DAY_NS, 9, "new", "/bin/x");
	ok(put(history, 4, &row, 1) == PR_OK && users_of(history, "new", 1000).last.uid == 9 &&
	           users_of(history, "u1", 1000).last.connections == 0,
	   "those that were not seen for a month make room");
	struct store_history_stats stats = { 0 };
	ok(store_history_stats(history, &stats) == PR_OK &&
	           stats.users == users_of(history, "", 77).rows,
	   "the table says how many there are");
}

int main(void)
{
	store_history_t *history = NULL;

	place.bytes[0] = 0x77;
	dir_make(base);
	(void)snprintf(path, sizeof(path), "%s/history", base);
	(void)reopen(&history);
	test_counts(&history);
	test_failed(history);
	test_last(history);
	test_bounds(history);
	store_history_destroy(&history);
	dir_remove(base);
	return tap_done();
}
