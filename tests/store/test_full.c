/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Full map and full disk: refused, nothing changed, nothing broken, and it goes on afterwards. */
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "base/err.h"
#include "tests/store/events.h"
#include "tests/tap.h"

static void test_full_map(const char *base)
{
	char path[PATH_MAX + 16], name[32];
	uint8_t *blob = calloc(1, 64 << 10);
	uint8_t *data = NULL;
	size_t size_bytes = 0;
	int err = PR_OK;
	unsigned count = 0;

	(void)snprintf(path, sizeof(path), "%s/map", base);
	store_t *store = store_at(path, 2 << 20);
	for (; err == PR_OK && count < 100; count++) {
		(void)snprintf(name, sizeof(name), "blob.%u", count);
		err = store_value_put(store, name, blob, 64 << 10);
	}
	ok(err == PR_ENOSPC && count > 10, "a full map is PR_ENOSPC, after %u values", count);
	ok(store_value_get(store, name, &data, &size_bytes) == PR_ENOENT &&
	           store_value_get(store, "blob.0", &data, &size_bytes) == PR_OK &&
	           size_bytes == 64 << 10,
	   "what did not fit is not there, the rest is");
	free(data);
	ok(store_value_delete(store, "blob.0") == PR_OK, "one is deleted");
	err = PR_ENOSPC;
	for (unsigned i = 0; i < 3 && err != PR_OK; i++) {
		err = store_value_put(store, "small", "x", 1);
	}
	ok(err == PR_OK, "and writes go on");
	store_destroy(&store);
	free(blob);
}

static void test_full_history(const char *base)
{
	char path[PATH_MAX + 16];
	struct store_history_stats stats = { 0 };
	struct store_batch batch = { 0 };
	int err = PR_OK;

	(void)snprintf(path, sizeof(path), "%s/history", base);
	store_history_t *history =
		history_at(&(struct store_history_options){ .path = path, .map_bytes = 2 << 20 });
	for (unsigned i = 0; i < 200 && err == PR_OK; i++) {
		err = append(history, 1, 1 + i * 500, 500, &batch);
	}
	ok(err == PR_OK && batch.state.last_seq == 100000,
	   "100000 events into a map of 2 MiB are all taken: %s", pr_strerror(err));
	ok(store_history_stats(history, &stats) == PR_OK && stats.events > 500 &&
	           stats.deleted == 100000 - stats.events && stats.newest_wall_ns == 100000001,
	   "%llu newest kept, the oldest counted as deleted", (unsigned long long)stats.events);
	store_history_destroy(&history);
}

/* Take all that is left on a file system; returns the open file. */
static int disk_fill(const char *path)
{
	static const char zeros[4096];
	int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	while (write(fd, zeros, sizeof(zeros)) > 0) {
	}
	return fd;
}

static void test_full_disk(const char *mount_path)
{
	char path[PATH_MAX + 64], history_path[PATH_MAX + 64], filler[PATH_MAX + 64];
	struct store_batch batch = { 0 };
	uint8_t *data = NULL;
	size_t size_bytes;
	uint64_t seq = 0;
	int err = PR_OK;

	(void)snprintf(path, sizeof(path), "%s/store", mount_path);
	(void)snprintf(history_path, sizeof(history_path), "%s/history", mount_path);
	(void)snprintf(filler, sizeof(filler), "%s/filler", mount_path);
	store_t *store = store_at(path, 1ULL << 30);
	store_history_t *history = history_at(
		&(struct store_history_options){ .path = history_path, .map_bytes = 1ULL << 30 });
	ok(store_value_put(store, "before", "x", 1) == PR_OK &&
	           append(history, 1, 1, 100, &batch) == PR_OK,
	   "there is room at first");
	seq = batch.state.last_seq;
	int fd = disk_fill(filler);
	for (unsigned i = 0; i < 100 && err == PR_OK; i++) {
		err = append(history, 1, seq + 1, 100, &batch);
		seq = err == PR_OK ? batch.state.last_seq : seq;
	}
	ok(err == PR_ENOSPC, "a full disk is PR_ENOSPC to the history: %s", pr_strerror(err));
	struct pr_uuid agent = id_of(1);
	struct store_agent state = { 0 };
	ok(store_history_agent(history, &agent, &state) == PR_OK && state.last_seq == seq,
	   "and nothing of it was committed");
	uint8_t *blob = calloc(1, 256 << 10);
	ok(store_value_put(store, "during", blob, 256 << 10) == PR_ENOSPC &&
	           store_value_get(store, "during", &data, &size_bytes) == PR_ENOENT &&
	           store_value_get(store, "before", &data, &size_bytes) == PR_OK,
	   "nor to the store, which can still be read");
	free(data);
	ok(ftruncate(fd, 0) == 0 && append(history, 1, seq + 1, 100, &batch) == PR_OK &&
	           batch.state.last_seq == seq + 100 && batch.state.gap_count == 0 &&
	           store_value_put(store, "after", blob, 256 << 10) == PR_OK,
	   "space is freed: it goes on without being reopened");
	store_history_destroy(&history);
	store_destroy(&store);
	history = history_at(
		&(struct store_history_options){ .path = history_path, .map_bytes = 1ULL << 30 });
	ok(store_history_agent(history, &agent, &state) == PR_OK && state.last_seq == seq + 100,
	   "and all of it is there after reopening");
	store_history_destroy(&history);
	(void)snprintf(path, sizeof(path), "%s/third", mount_path);
	close(fd);
	fd = disk_fill(filler);
	store = NULL;
	ok(store_open(&(struct store_options){ .path = path }, &store) == PR_ENOSPC,
	   "a new store on a full disk is refused, without a signal");
	close(fd);
	free(blob);
}

int main(void)
{
	char base[PATH_MAX], path[PATH_MAX + 16];

	dir_make(base);
	test_full_map(base);
	test_full_history(base);
	(void)snprintf(path, sizeof(path), "%s/tmpfs", base);
	(void)mkdir(path, 0700);
	/* In a mount namespace of our own, so that nothing stays behind. */
	if (geteuid() != 0) {
		skip("full disk: mounting a small tmpfs needs root");
	} else if (unshare(CLONE_NEWNS) != 0 ||
	           mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
	           mount("none", path, "tmpfs", 0, "size=2m,mode=0700") != 0) {
		skip("full disk: cannot mount a tmpfs here: %s", strerror(errno));
	} else {
		test_full_disk(path);
		(void)umount(path);
	}
	dir_remove(base);
	return tap_done();
}
