/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <fcntl.h>
#include <lmdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "bench/storage.h"

#define ROUNDS       9
#define RECORD_BYTES 120
#define RECORDS      100000
#define MAP_BYTES    (1UL << 30)
#define CHASE_BYTES  (64UL << 20)
#define CHASE_LOADS  2000000
#define FSYNCS       50

static double since_ns(uint64_t start_ns)
{
	return (double)(pr_clock_monotonic_ns() - start_ns);
}

/* ---- LMDB ---- */

static int append(MDB_env *env, MDB_dbi db, uint64_t *next, unsigned count)
{
	char record[RECORD_BYTES] = { 0 };
	MDB_txn *txn = NULL;
	int ret = mdb_txn_begin(env, NULL, 0, &txn);

	for (unsigned i = 0; i < count && ret == 0; i++) {
		uint64_t key = __builtin_bswap64(++*next);
		MDB_val name = { sizeof(key), &key }, value = { sizeof(record), record };
		ret = mdb_put(txn, db, &name, &value, MDB_APPEND);
	}
	if (ret != 0) {
		mdb_txn_abort(txn);
		return PR_EIO;
	}
	return mdb_txn_commit(txn) == 0 ? PR_OK : PR_EIO;
}

static int database_open(const char *folder, MDB_env **ret_env, MDB_dbi *ret_db)
{
	char path[256];
	MDB_txn *txn = NULL;

	(void)snprintf(path, sizeof(path), "%s/limits.mdb", folder);
	if (mdb_env_create(ret_env) != 0) {
		return PR_ENOMEM;
	}
	if (mdb_env_set_mapsize(*ret_env, MAP_BYTES) != 0 ||
	    mdb_env_open(*ret_env, path, MDB_NOSUBDIR, 0600) != 0 ||
	    mdb_txn_begin(*ret_env, NULL, 0, &txn) != 0 ||
	    mdb_dbi_open(txn, NULL, 0, ret_db) != 0 || mdb_txn_commit(txn) != 0) {
		mdb_env_close(*ret_env);
		return PR_EIO;
	}
	return PR_OK;
}

static int append_measure(const struct bench_config *config, const char *folder)
{
	static const unsigned per_commit[] = { 1000, 10000 };
	static const char *const metrics[] = { "limits.lmdb.append.1000",
		                               "limits.lmdb.append.10000" };
	MDB_env *env = NULL;
	MDB_dbi db = 0;
	uint64_t next = 0;
	int ret = database_open(folder, &env, &db);

	for (size_t i = 0; i < PR_ARRAY_LEN(per_commit) && ret == PR_OK; i++) {
		struct bench_row row = { .metric = metrics[i], .unit = "1/s" };
		(void)snprintf(row.note, sizeof(row.note),
		               "records of %d bytes, %u a commit, each commit on disk",
		               RECORD_BYTES, per_commit[i]);
		for (unsigned round = 0; round < ROUNDS && ret == PR_OK; round++) {
			uint64_t start_ns = pr_clock_monotonic_ns();
			for (unsigned done = 0; done < RECORDS && ret == PR_OK;
			     done += per_commit[i]) {
				ret = append(env, db, &next, per_commit[i]);
			}
			bench_series_add(&row.value, RECORDS * 1e9 / since_ns(start_ns));
		}
		if (ret == PR_OK) {
			bench_row_print(config, &row);
		}
	}
	if (env != NULL) {
		mdb_env_close(env);
	}
	return ret;
}

/* ---- disk ---- */

static int fsync_measure(const struct bench_config *config, const char *folder)
{
	struct bench_row row = { .metric = "limits.fsync", .unit = "us" };
	char path[256], block[4096] = { 0 };

	(void)snprintf(row.note, sizeof(row.note), "after 4 KiB appended");
	(void)snprintf(path, sizeof(path), "%s/limits.sync", folder);
	_cleanup_(pr_fd_close) int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	for (unsigned i = 0; i < FSYNCS && fd >= 0; i++) {
		if (write(fd, block, sizeof(block)) != (ssize_t)sizeof(block)) {
			return -errno;
		}
		uint64_t start_ns = pr_clock_monotonic_ns();
		if (fsync(fd) != 0) {
			return -errno;
		}
		bench_series_add(&row.value, since_ns(start_ns) / 1e3);
	}
	bench_row_print(config, &row);
	return PR_OK;
}

/* ---- memory ---- */

/* One cycle through all lines, in an order that no prefetcher follows. Source: Sattolo 1986. */
double storage_random_load_ns(void)
{
	struct line {
		struct line *next;
		char rest[56];
	};
	size_t count = CHASE_BYTES / sizeof(struct line);
	struct line *lines = calloc(count, sizeof(*lines));
	size_t *order = calloc(count, sizeof(*order));
	double ns = 0;

	if (lines != NULL && order != NULL) {
		uint64_t seed = 88172645463325252ULL;
		for (size_t i = 0; i < count; i++) {
			order[i] = i;
		}
		for (size_t i = count - 1; i > 0; i--) {
			seed ^= seed << 13;
			seed ^= seed >> 7;
			seed ^= seed << 17;
			size_t other = seed % i, kept = order[i];
			order[i] = order[other];
			order[other] = kept;
		}
		for (size_t i = 0; i < count; i++) {
			lines[order[i]].next = &lines[order[(i + 1) % count]];
		}
		const struct line *at = lines;
		uint64_t start_ns = pr_clock_monotonic_ns();
		for (size_t i = 0; i < CHASE_LOADS; i++) {
			at = at->next;
		}
		ns = since_ns(start_ns) / CHASE_LOADS;
		__asm__ volatile("" : : "r"(at));
	}
	free(lines);
	free(order);
	return ns;
}

static void load_measure(const struct bench_config *config)
{
	struct bench_row row = { .metric = "limits.random_load", .unit = "ns" };

	(void)snprintf(row.note, sizeof(row.note), "each depends on the one before, in 64 MiB");
	for (unsigned i = 0; i < ROUNDS; i++) {
		bench_series_add(&row.value, storage_random_load_ns());
	}
	bench_row_print(config, &row);
}

int storage_measure(const struct bench_config *config, const char *folder)
{
	int ret = append_measure(config, folder);

	if (ret == PR_OK) {
		ret = fsync_measure(config, folder);
	}
	load_measure(config);
	return ret;
}
