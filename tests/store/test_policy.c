/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <fcntl.h>
#include <lmdb.h>
#include <sys/stat.h>

#include "base/err.h"
#include "tests/store/dir.h"
#include "tests/tap.h"

static int commit(store_t *store, uint64_t base, const char *text, const struct pr_uuid *draft_of,
                  uint64_t *ret_revision)
{
	struct store_revision revision = { .time_wall_ns = 1000 + base,
		                           .author = (char *)"ana",
		                           .message = (char *)"because",
		                           .text = (char *)(uintptr_t)text,
		                           .text_bytes = strlen(text) };
	return store_policy_commit(store, base, &revision, draft_of, ret_revision);
}

struct listed {
	unsigned count;
	uint64_t revisions[8];
	size_t text_bytes[8];
	bool clean;
};

static bool on_revision(void *arg, const struct store_revision *revision)
{
	struct listed *listed = arg;
	listed->revisions[listed->count] = revision->revision;
	listed->text_bytes[listed->count] = revision->text_bytes;
	listed->clean = revision->text == NULL && strcmp(revision->author, "ana") == 0;
	return ++listed->count < 8;
}

static void test_revisions(const char *path)
{
	store_t *store = store_at(path, 0);
	struct store_revision got = { 0 };
	struct listed listed = { 0 };
	uint64_t revision = 99;

	ok(store_policy_head(store, &revision) == PR_OK && revision == 0, "a new store has none");
	ok(store_policy_get(store, 0, &got) == PR_ENOENT, "and none can be had");
	ok(commit(store, 0, "one\n", NULL, &revision) == PR_OK && revision == 1, "first is 1");
	ok(commit(store, 1, "two two\n", NULL, &revision) == PR_OK && revision == 2, "then 2");
	revision = 77;
	ok(commit(store, 1, "late\n", NULL, &revision) == PR_ECONFLICT,
	   "a moved head is a conflict");
	ok(revision == 77, "a failure leaves the result alone");
	ok(store_policy_head(store, &revision) == PR_OK && revision == 2, "and changes nothing");
	ok(store_policy_get(store, 1, &got) == PR_OK && got.revision == 1 &&
	           strcmp(got.text, "one\n") == 0 && got.text_bytes == 4 &&
	           strcmp(got.author, "ana") == 0 && strcmp(got.message, "because") == 0 &&
	           got.time_wall_ns == 1000,
	   "an old revision is as it was");
	store_revision_done(&got);
	ok(store_policy_get(store, 0, &got) == PR_OK && got.revision == 2, "0 is the last one");
	store_revision_done(&got);
	ok(store_policy_list(store, 0, on_revision, &listed) == PR_OK && listed.count == 2 &&
	           listed.revisions[0] == 2 && listed.text_bytes[0] == 8 && listed.clean,
	   "the list is newest first, without texts");
	listed = (struct listed){ 0 };
	ok(store_policy_list(store, 1, on_revision, &listed) == PR_OK && listed.count == 1,
	   "the list keeps to its limit");
	store_destroy(&store);
	ok(store == NULL, "destroy clears the pointer");
	store_destroy(&store);
	store = store_at(path, 0);
	ok(store_policy_get(store, 2, &got) == PR_OK && strcmp(got.text, "two two\n") == 0,
	   "a reopened store has everything");
	store_revision_done(&got);
	store_destroy(&store);
}

static void test_large_text(const char *path)
{
	size_t size_bytes = 8U << 20;
	char *text = malloc(size_bytes + 1);
	store_t *store = store_at(path, 0);
	struct store_revision got = { 0 };
	uint64_t head = 0, revision = 0;

	memset(text, 'x', size_bytes);
	text[size_bytes] = '\0';
	ok(store_policy_head(store, &head) == PR_OK &&
	           commit(store, head, text, NULL, &revision) == PR_OK,
	   "8 MiB of policy is stored");
	ok(store_policy_get(store, revision, &got) == PR_OK && got.text_bytes == size_bytes &&
	           memcmp(got.text, text, size_bytes) == 0,
	   "and comes back");
	store_revision_done(&got);
	store_destroy(&store);
	free(text);
}

static void test_cache(const char *path)
{
	store_t *store = store_at(path, 0);
	struct store_revision revision = { .revision = 900,
		                           .author = (char *)"",
		                           .message = (char *)"",
		                           .text = (char *)"kept\n",
		                           .text_bytes = 5 };
	struct store_revision got = { 0 };

	ok(store_policy_cache(store, &revision) == PR_OK, "a copy keeps its number");
	ok(store_policy_cache(store, &revision) == PR_OK, "the same again is fine");
	ok(store_policy_get(store, 900, &got) == PR_OK && strcmp(got.text, "kept\n") == 0,
	   "and can be had");
	store_revision_done(&got);
	revision.text = (char *)"else\n";
	ok(store_policy_cache(store, &revision) == PR_ECONFLICT, "another text is a conflict");
	revision.revision = 0;
	ok(store_policy_cache(store, &revision) == PR_EINVAL, "0 is no number");
	store_destroy(&store);
}

static void test_drafts(const char *path)
{
	store_t *store = store_at(path, 0);
	struct pr_uuid ana = id_of(1), ben = id_of(2);
	struct store_draft draft = {
		.base = 3, .time_wall_ns = 5, .text = (char *)"rule 1 deny", .text_bytes = 11
	};
	struct store_draft got = { 0 };
	uint64_t head = 0, revision = 0;

	ok(store_draft_get(store, &ana, &got) == PR_ENOENT, "no draft at first");
	ok(store_draft_put(store, &ana, &draft) == PR_OK, "a draft is stored");
	ok(store_draft_get(store, &ana, &got) == PR_OK && got.base == 3 && got.time_wall_ns == 5 &&
	           strcmp(got.text, "rule 1 deny") == 0,
	   "and comes back");
	store_draft_done(&got);
	ok(store_draft_get(store, &ben, &got) == PR_ENOENT, "another author has none");
	draft.base = 4;
	ok(store_draft_put(store, &ana, &draft) == PR_OK &&
	           store_draft_get(store, &ana, &got) == PR_OK && got.base == 4,
	   "a draft is replaced");
	store_draft_done(&got);
	ok(store_policy_head(store, &head) == PR_OK &&
	           commit(store, head + 1, "x", &ana, &revision) == PR_ECONFLICT &&
	           store_draft_get(store, &ana, &got) == PR_OK,
	   "a refused commit keeps the draft");
	store_draft_done(&got);
	ok(commit(store, head, "x", &ana, &revision) == PR_OK &&
	           store_draft_get(store, &ana, &got) == PR_ENOENT,
	   "a commit ends it");
	ok(store_draft_put(store, &ben, &draft) == PR_OK &&
	           store_draft_delete(store, &ben) == PR_OK &&
	           store_draft_delete(store, &ben) == PR_OK &&
	           store_draft_get(store, &ben, &got) == PR_ENOENT,
	   "a draft is deleted, twice is fine");
	store_destroy(&store);
}

static bool on_value(void *arg, const char *name, const uint8_t *data, size_t size_bytes)
{
	char *text = arg;
	(void)snprintf(text + strlen(text), 64, "%s=%.*s;", name, (int)size_bytes,
	               (const char *)data);
	return true;
}

static void test_values(const char *path)
{
	store_t *store = store_at(path, 0);
	char long_name[STORE_NAME_MAX_BYTES + 2];
	char text[256] = "";
	uint8_t *data = NULL;
	size_t size_bytes;
	uint64_t number = 9;

	ok(store_value_get(store, "a.b", &data, &size_bytes) == PR_ENOENT, "no value at first");
	ok(store_value_put(store, "a.b", "hello", 5) == PR_OK &&
	           store_value_put(store, "a.c", "", 0) == PR_OK &&
	           store_value_put(store, "b.a", "zz", 2) == PR_OK,
	   "values are stored");
	ok(store_value_get(store, "a.b", &data, &size_bytes) == PR_OK && size_bytes == 5 &&
	           memcmp(data, "hello", 6) == 0,
	   "and come back with a NUL behind");
	free(data);
	ok(store_value_list(store, "a.", on_value, text) == PR_OK &&
	           strcmp(text, "a.b=hello;a.c=;") == 0,
	   "a prefix lists its own: %s", text);
	ok(store_value_delete(store, "a.b") == PR_OK && store_value_delete(store, "a.b") == PR_OK &&
	           store_value_get(store, "a.b", &data, &size_bytes) == PR_ENOENT,
	   "a value is deleted");
	memset(long_name, 'n', sizeof(long_name) - 1);
	long_name[sizeof(long_name) - 1] = '\0';
	ok(store_value_put(store, long_name, "x", 1) == PR_EINVAL &&
	           store_value_put(store, "", "x", 1) == PR_EINVAL,
	   "a name too long or empty is refused");
	ok(store_number_get(store, "n", &number) == PR_OK && number == 0, "a number starts at 0");
	ok(store_number_next(store, "n", &number) == PR_OK && number == 1 &&
	           store_number_next(store, "n", &number) == PR_OK && number == 2 &&
	           store_number_get(store, "n", &number) == PR_OK && number == 2,
	   "and counts");
	store_destroy(&store);
}

static mode_t mode_of(const char *directory, const char *file)
{
	char path[PATH_MAX + 32];
	struct stat status = { 0 };
	(void)snprintf(path, sizeof(path), "%s/%s", directory, file);
	return stat(path, &status) == 0 ? status.st_mode & 0777 : 0;
}

static void test_open(const char *base)
{
	char path[PATH_MAX + 16];
	store_t *store = NULL;
	struct store_options options = { .path = path };

	(void)snprintf(path, sizeof(path), "%s/fresh", base);
	options.read_only = true;
	ok(store_open(&options, &store) == PR_ENOENT && store == NULL,
	   "a reader does not make a store");
	options.read_only = false;
	umask(0);
	ok(store_open(&options, &store) == PR_OK, "a writer does");
	ok(mode_of(path, ".") == 0700 && mode_of(path, "data.mdb") == 0600 &&
	           mode_of(path, "lock.mdb") == 0600,
	   "directory 0700, files 0600, whatever the umask");
	store_destroy(&store);
	options.read_only = true;
	ok(store_open(&options, &store) == PR_OK, "then a reader opens it");
	ok(store_value_put(store, "a", "b", 1) == PR_EPERM, "and may not write");
	store_destroy(&store);
	ok(chmod(path, 0750) == 0 && store_open(&options, &store) == PR_EACCES,
	   "a directory open to others is refused");
	(void)chmod(path, 0700);
	options.map_bytes = 4096;
	ok(store_open(&options, &store) == PR_EINVAL, "a map that holds nothing is refused");
	(void)snprintf(path, sizeof(path), "%s/no/where", base);
	options = (struct store_options){ .path = path };
	ok(store_open(&options, &store) == PR_ENOENT, "an absent parent is an error");
}

/* Write the schema number as a newer version of us would. */
static int schema_set(const char *path, const void *value, size_t size_bytes)
{
	MDB_env *env;
	MDB_txn *txn;
	MDB_dbi dbi;
	MDB_val key = { 6, (void *)"schema" }, data = { size_bytes, (void *)(uintptr_t)value };

	if (mdb_env_create(&env) != 0 || mdb_env_set_maxdbs(env, 16) != 0 ||
	    mdb_env_open(env, path, 0, 0600) != 0 || mdb_txn_begin(env, NULL, 0, &txn) != 0) {
		return -1;
	}
	int ret = mdb_dbi_open(txn, "meta", MDB_CREATE, &dbi);
	ret = ret != 0 ? ret : mdb_put(txn, dbi, &key, &data, 0);
	ret = ret != 0 ? ret : mdb_txn_commit(txn);
	mdb_env_close(env);
	return ret;
}

static uint32_t checksum(const uint8_t *data, size_t size_bytes)
{
	uint64_t hash = 0xcbf29ce484222325ULL;
	for (size_t i = 0; i < size_bytes; i++) {
		hash = (hash ^ data[i]) * 0x100000001b3ULL;
	}
	return (uint32_t)(hash ^ hash >> 32);
}

static void test_schema(const char *base)
{
	char path[PATH_MAX + 16];
	uint8_t value[13] = { 1, 0, 0, 0, 0, 0, 0, 0, STORE_SCHEMA + 1 };
	struct store_options options = { .path = path };
	store_t *store = NULL;

	(void)snprintf(path, sizeof(path), "%s/schema", base);
	ok(store_open(&options, &store) == PR_OK, "a store of today");
	store_destroy(&store);
	uint32_t sum = checksum(value, 9);
	value[9] = (uint8_t)(sum >> 24);
	value[10] = (uint8_t)(sum >> 16);
	value[11] = (uint8_t)(sum >> 8);
	value[12] = (uint8_t)sum;
	ok(schema_set(path, value, sizeof(value)) == 0, "written by a newer version");
	ok(store_open(&options, &store) == PR_EVERS, "is refused with a clear error");
	options.read_only = true;
	ok(store_open(&options, &store) == PR_EVERS, "by a reader, too");
	value[12] ^= 1;
	ok(schema_set(path, value, sizeof(value)) == 0 &&
	           store_open(&options, &store) == PR_ECORRUPT,
	   "a schema number that does not check is corrupt");
}

static void test_corrupt(const char *base)
{
	char path[PATH_MAX + 16], file[PATH_MAX + 32];
	struct store_options options = { .path = path };
	static const char marker[] = "MARKER-OF-A-VALUE";
	static char image[1 << 20];
	store_t *store = NULL;
	uint8_t *data = NULL;
	size_t size_bytes;

	(void)snprintf(path, sizeof(path), "%s/corrupt", base);
	(void)snprintf(file, sizeof(file), "%s/data.mdb", path);
	ok(store_open(&options, &store) == PR_OK &&
	           store_value_put(store, "v", marker, sizeof(marker)) == PR_OK,
	   "a value is stored");
	store_destroy(&store);
	int fd = open(file, O_RDWR | O_CLOEXEC);
	ssize_t length = read(fd, image, sizeof(image));
	unsigned hits = 0;
	for (ssize_t at = 0; at + (ssize_t)sizeof(marker) < length; at++) {
		if (memcmp(image + at, marker, sizeof(marker)) == 0) {
			hits += pwrite(fd, "m", 1, at) == 1;
		}
	}
	close(fd);
	ok(hits > 0 && store_open(&options, &store) == PR_OK &&
	           store_value_get(store, "v", &data, &size_bytes) == PR_ECORRUPT && data == NULL,
	   "a flipped byte on disk is found when the value is read");
	store_destroy(&store);
	fd = open(file, O_RDWR | O_TRUNC | O_CLOEXEC);
	ok(write(fd, image + 100, 9000) == 9000 && store_open(&options, &store) == PR_ECORRUPT,
	   "a file that is no store is refused");
	close(fd);
}

static void test_versions(const char *path)
{
	store_t *store = store_at(path, 0);
	struct store_versions before, after;
	struct store_stats stats;
	struct store_peer peer = { .id = id_of(70), .role = "agent", .public_key = { 7 } };
	uint64_t revision;

	ok(store_versions(store, &before) == PR_OK, "versions are read");
	ok(commit(store, before.policy_revision, "v", NULL, &revision) == PR_OK &&
	           store_peer_put(store, &peer) == PR_OK &&
	           store_versions(store, &after) == PR_OK &&
	           after.policy_revision == before.policy_revision + 1 &&
	           after.peers_counter == before.peers_counter + 1 &&
	           after.directory_version == before.directory_version,
	   "and tell what changed");
	ok(store_stats(store, &stats) == PR_OK && stats.map_bytes == 1ULL << 30 &&
	           stats.used_bytes > 4096 && stats.readers_max > 100,
	   "statistics");
	store_destroy(&store);
}

struct audited {
	uint64_t numbers[8];
	char last_action[16];
	unsigned count;
};

static bool on_audit(void *arg, const struct store_audit *entry)
{
	struct audited *audited = arg;

	audited->numbers[audited->count++] = entry->number;
	if (audited->count == 1) {
		(void)snprintf(audited->last_action, sizeof(audited->last_action), "%s",
		               entry->action);
	}
	return audited->count < 8;
}

static void test_audit(const char *path)
{
	store_t *store = store_at(path, 0);
	struct store_audit entry = { .time_wall_ns = 5, .name = "ana", .action = "commit" };
	struct audited all = { 0 }, two = { 0 };

	ok(store_audit_list(store, 0, on_audit, &all) == PR_OK && all.count == 0, "nothing yet");
	ok(store_audit_add(store, &entry) == PR_OK && store_audit_add(store, &entry) == PR_OK,
	   "two entries, texts that are not there");
	store_destroy(&store);
	store = store_at(path, 0);
	entry.action = "mode";
	ok(store_audit_add(store, &entry) == PR_OK, "one more after a restart");
	ok(store_audit_list(store, 0, on_audit, &all) == PR_OK && all.count == 3 &&
	           all.numbers[0] == 3 && all.numbers[2] == 1 &&
	           strcmp(all.last_action, "mode") == 0,
	   "newest first, without holes");
	ok(store_audit_list(store, 2, on_audit, &two) == PR_OK && two.count == 2, "two of them");
	store_destroy(&store);
}

int main(void)
{
	char base[PATH_MAX], path[PATH_MAX + 16];

	dir_make(base);
	(void)snprintf(path, sizeof(path), "%s/store", base);
	test_revisions(path);
	test_large_text(path);
	test_cache(path);
	(void)snprintf(path, sizeof(path), "%s/store2", base);
	test_drafts(path);
	test_values(path);
	test_versions(path);
	test_audit(path);
	test_open(base);
	test_schema(base);
	test_corrupt(base);
	dir_remove(base);
	return tap_done();
}
