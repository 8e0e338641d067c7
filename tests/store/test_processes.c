/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Several processes on one store: readers beside a writer, readers and writers that are killed. */
#include <lmdb.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>

#include "base/err.h"
#include "tests/store/events.h"
#include "tests/tap.h"

#define KILLS 20

static void sleep_ms(unsigned ms)
{
	nanosleep(&(struct timespec){ .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L }, NULL);
}

/* A reader in its own process: writes one byte when it stands, then sleeps in its transaction. */
static pid_t reader_start(const char *path, int *ret_fd)
{
	int ends[2];
	if (pipe(ends) != 0) {
		return -1;
	}
	pid_t pid = fork();
	if (pid == 0) {
		MDB_env *env;
		MDB_txn *txn;
		int bad = mdb_env_create(&env) != 0 ||
		          mdb_env_open(env, path, MDB_RDONLY | MDB_NOTLS, 0600) != 0 ||
		          mdb_txn_begin(env, NULL, MDB_RDONLY, &txn) != 0;
		(void)!write(ends[1], bad ? "n" : "y", 1);
		pause();
		_exit(0);
	}
	close(ends[1]);
	*ret_fd = ends[0];
	return pid;
}

static void test_stale_reader(const char *base)
{
	char path[PATH_MAX + 16], answer = 'n';
	uint8_t *blob = calloc(1, 200 << 10);
	int fd, err = PR_OK;
	unsigned rounds = 0;

	(void)snprintf(path, sizeof(path), "%s/stale", base);
	store_t *store = store_at(path, 2 << 20);
	(void)!store_value_put(store, "blob", blob, 200 << 10);
	pid_t reader = reader_start(path, &fd);
	ok(read(fd, &answer, 1) == 1 && answer == 'y', "a reader stands in a transaction");
	for (; rounds < 50 && err == PR_OK; rounds++) {
		blob[0] = (uint8_t)rounds;
		err = store_value_put(store, "blob", blob, 200 << 10);
	}
	ok(err == PR_ENOSPC, "while it stands the map fills, after %u writes", rounds);
	kill(reader, SIGKILL);
	waitpid(reader, NULL, 0);
	err = PR_OK;
	for (rounds = 0; rounds < 50 && err == PR_OK; rounds++) {
		err = store_value_put(store, "blob", blob, 200 << 10);
	}
	ok(err == PR_OK, "killed, its place is freed by the next write that finds the map full: %s",
	   pr_strerror(err));
	close(fd);
	reader = reader_start(path, &fd);
	ok(read(fd, &answer, 1) == 1 && store_readers_check(store) == 0,
	   "a living reader is left alone");
	kill(reader, SIGKILL);
	waitpid(reader, NULL, 0);
	ok(store_readers_check(store) == 1, "a dead one is found");
	close(fd);
	store_destroy(&store);
	free(blob);
}

/* Two values are always written together; a reader must never see them differ. */
static int pair_reader(const char *path)
{
	store_t *store = NULL;
	struct store_options options = { .path = path, .read_only = true };
	struct store_versions versions = { 0 };
	uint64_t last = 0, changes = 0;

	if (store_open(&options, &store) != PR_OK) {
		return 2;
	}
	while (versions.policy_revision < 300) {
		struct store_revision revision = { 0 };
		if (store_versions(store, &versions) != PR_OK || versions.policy_revision < last) {
			return 3;
		}
		changes += versions.policy_revision != last;
		last = versions.policy_revision;
		if (last == 0) {
			continue;
		}
		if (store_policy_get(store, last, &revision) != PR_OK) {
			return 4;
		}
		bool same = strtoull(revision.text, NULL, 10) == revision.revision &&
		            revision.time_wall_ns == revision.revision;
		store_revision_done(&revision);
		if (!same) {
			return 5;
		}
	}
	store_destroy(&store);
	return changes > 2 ? 0 : 6;
}

static void test_reader_beside_writer(const char *base)
{
	char path[PATH_MAX + 16];
	int status = 0;
	bool good = true;

	(void)snprintf(path, sizeof(path), "%s/beside", base);
	store_t *store = store_at(path, 0);
	pid_t reader = fork();
	if (reader == 0) {
		_exit(pair_reader(path));
	}
	for (uint64_t i = 1; i <= 300 && good; i++) {
		char text[32];
		uint64_t number;
		int length = snprintf(text, sizeof(text), "%llu", (unsigned long long)i);
		struct store_revision revision = { .time_wall_ns = i,
			                           .author = text,
			                           .message = text,
			                           .text = text,
			                           .text_bytes = (size_t)length };
		good = store_policy_commit(store, i - 1, &revision, NULL, &number) == PR_OK;
	}
	ok(good, "300 revisions were committed");
	waitpid(reader, &status, 0);
	ok(WIFEXITED(status) && WEXITSTATUS(status) == 0,
	   "a reader in another process saw whole revisions, in order (%d)", status);
	store_destroy(&store);
}

/* Append and tell every acknowledged number, until killed. */
static void appender(const char *path, int fd)
{
	struct store_history_options options = { .path = path, .map_bytes = 256 << 20 };
	store_history_t *history = history_at(&options);
	struct pr_uuid agent = id_of(1);
	struct store_agent state = { 0 };
	struct store_batch batch;

	(void)!store_history_agent(history, &agent, &state);
	for (uint64_t next = state.last_seq + 1;; next = batch.state.last_seq + 1) {
		if (append(history, 1, next, 50, &batch) != PR_OK) {
			_exit(1);
		}
		if (write(fd, &batch.state.last_seq, sizeof(uint64_t)) != sizeof(uint64_t)) {
			_exit(1);
		}
	}
}

static bool on_row(void *arg, const struct store_row *row)
{
	uint64_t *next = arg;
	*next = row->event.seq == *next ? *next + 1 : UINT64_MAX;
	return *next != UINT64_MAX;
}

/* Every number from 1 to the last, each once, in order. */
static uint64_t history_last(const char *path)
{
	struct store_history_options options = { .path = path, .map_bytes = 256 << 20 };
	store_history_t *history = history_at(&options);
	struct store_position position = { 0 };
	struct store_range all = { 0 };
	uint64_t next = 1;
	bool more = true;

	while (more) {
		if (store_history_read(history, &all, 10000, &position, on_row, &next, &more) !=
		    PR_OK) {
			next = 0;
			break;
		}
	}
	store_history_destroy(&history);
	return next - 1;
}

static void test_kills(const char *base)
{
	char path[PATH_MAX + 16];
	uint64_t acknowledged = 0, lost = 0, hole = 0;

	(void)snprintf(path, sizeof(path), "%s/kills", base);
	for (unsigned i = 0; i < KILLS; i++) {
		int ends[2];
		uint64_t seq;
		if (pipe(ends) != 0) {
			break;
		}
		pid_t pid = fork();
		if (pid == 0) {
			close(ends[0]);
			appender(path, ends[1]);
		}
		close(ends[1]);
		sleep_ms(20 + i * 7 % 40);
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		while (read(ends[0], &seq, sizeof(seq)) == sizeof(seq)) {
			acknowledged = seq > acknowledged ? seq : acknowledged;
		}
		close(ends[0]);
		uint64_t last = history_last(path);
		hole += last == UINT64_MAX - 1;
		lost += last < acknowledged;
	}
	ok(acknowledged > 1000, "%llu events were acknowledged over %d kills",
	   (unsigned long long)acknowledged, KILLS);
	ok(lost == 0, "none of them was lost");
	ok(hole == 0, "and there is no hole and none twice");
}

int main(void)
{
	char base[PATH_MAX];

	signal(SIGPIPE, SIG_IGN);
	dir_make(base);
	test_stale_reader(base);
	test_reader_beside_writer(base);
	test_kills(base);
	dir_remove(base);
	return tap_done();
}
