/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/err.h"
#include "tests/store/dir.h"
#include "tests/tap.h"

#define SEEN_MAX 64

struct seen {
	unsigned count;
	unsigned stop_after; /* 0: never */
	struct pr_uuid ids[SEEN_MAX];
	bool gone[SEEN_MAX];
	char data[SEEN_MAX][16];
};

static bool on_endpoint(void *arg, const struct store_endpoint *endpoint)
{
	struct seen *seen = arg;
	seen->ids[seen->count] = endpoint->id;
	seen->gone[seen->count] = endpoint->data == NULL;
	(void)snprintf(seen->data[seen->count], 16, "%.*s", (int)endpoint->size_bytes,
	               endpoint->data == NULL ? "" : (const char *)endpoint->data);
	seen->count++;
	return seen->count != seen->stop_after;
}

static struct store_endpoint endpoint(unsigned number, const char *text)
{
	return (struct store_endpoint){ .id = id_of(number),
		                        .data = (const uint8_t *)text,
		                        .size_bytes = strlen(text) };
}

static bool is_id(const struct seen *seen, unsigned at, unsigned number)
{
	struct pr_uuid id = id_of(number);
	return seen->count > at && pr_uuid_equal(&seen->ids[at], &id);
}

static void test_changes(store_t *store)
{
	struct pr_uuid agent = id_of(1);
	struct store_endpoint three[] = { endpoint(10, "a"), endpoint(11, "b"), endpoint(12, "c") };
	struct store_change change;
	struct seen seen = { 0 };
	uint64_t version = 0, version2;

	ok(store_endpoint_changes(store, 0, on_endpoint, &seen, &version) == PR_OK &&
	           seen.count == 0 && version == 0,
	   "a new directory is empty");
	ok(store_endpoint_put(store, &agent, three, 3, 100, &change) == PR_OK &&
	           change.version == 3 && change.changed == 3 && change.refused == 0,
	   "three endpoints take three versions");
	ok(store_endpoint_put(store, &agent, three, 3, 200, &change) == PR_OK &&
	           change.version == 3 && change.changed == 0,
	   "the same again changes nothing");
	three[1] = endpoint(11, "b2");
	ok(store_endpoint_put(store, &agent, three, 3, 300, &change) == PR_OK &&
	           change.version == 4 && change.changed == 1,
	   "only what differs gets a version");
	ok(store_endpoint_changes(store, 3, on_endpoint, &seen, &version) == PR_OK &&
	           seen.count == 1 && is_id(&seen, 0, 11) && strcmp(seen.data[0], "b2") == 0 &&
	           version == 4,
	   "a reader catches up with that alone");
	seen = (struct seen){ 0 };
	ok(store_endpoint_changes(store, 0, on_endpoint, &seen, &version) == PR_OK &&
	           seen.count == 3 && is_id(&seen, 0, 10) && is_id(&seen, 1, 12) &&
	           is_id(&seen, 2, 11),
	   "from 0 all come, in order of their last change");
	ok(store_endpoint_remove(store, &agent, &three[0].id, 400, &change) == PR_OK &&
	           change.removed == 1 && change.version == 5,
	   "one goes");
	ok(store_endpoint_remove(store, &agent, &three[0].id, 400, &change) == PR_OK &&
	           change.removed == 0 && change.version == 5,
	   "only once");
	seen = (struct seen){ 0 };
	ok(store_endpoint_changes(store, 4, on_endpoint, &seen, &version) == PR_OK &&
	           seen.count == 1 && seen.gone[0] && is_id(&seen, 0, 10),
	   "a reader sees the tombstone");
	seen = (struct seen){ 0 };
	ok(store_endpoint_changes(store, 0, on_endpoint, &seen, &version) == PR_OK &&
	           seen.count == 2,
	   "from 0 there are no tombstones");
	ok(store_endpoint_put(store, &agent, three, 1, 500, &change) == PR_OK &&
	           change.changed == 1,
	   "it comes back");
	seen = (struct seen){ .stop_after = 1 };
	ok(store_endpoint_changes(store, 3, on_endpoint, &seen, &version) == PR_OK &&
	           seen.count == 1 && version == 4,
	   "a reader may stop half-way");
	ok(store_endpoint_changes(store, version, on_endpoint, &seen, &version2) == PR_OK &&
	           seen.count == 2 && version2 == 6 && !seen.gone[1],
	   "and go on from there");
	ok(store_endpoint_changes(store, 999, on_endpoint, &seen, &version) == PR_EOLD,
	   "a version of another store is too old to go on from");
}

static void test_agents(store_t *store)
{
	struct pr_uuid agent = id_of(1), other = id_of(2), owner;
	struct store_endpoint given[] = { endpoint(11, "stolen"), endpoint(20, "own") };
	struct store_endpoint full[] = { endpoint(12, "c"), endpoint(13, "d") };
	struct store_change change;
	struct seen seen = { 0 };
	uint8_t *data = NULL;
	size_t size_bytes;
	uint64_t version, before = 0;

	ok(store_endpoint_put(store, &other, given, 2, 1, &change) == PR_OK &&
	           change.refused == 1 && change.changed == 1,
	   "an endpoint that another agent speaks for is refused, the rest goes in");
	ok(store_endpoint_get(store, &given[0].id, &owner, &data, &size_bytes) == PR_OK &&
	           pr_uuid_equal(&owner, &agent) && size_bytes == 2 && memcmp(data, "b2", 2) == 0,
	   "and stays as it was");
	free(data);
	ok(store_endpoint_remove(store, &other, &given[0].id, 1, &change) == PR_OK &&
	           change.removed == 0,
	   "nor can another agent remove it");
	ok(store_endpoint_changes(store, 0, on_endpoint, &seen, &before) == PR_OK, "now");
	ok(store_endpoint_replace(store, &agent, full, 2, 9, &change) == PR_OK &&
	           change.removed == 2 && change.changed == 1,
	   "a full inventory buries what it does not name");
	seen = (struct seen){ 0 };
	ok(store_endpoint_changes(store, before, on_endpoint, &seen, &version) == PR_OK &&
	           seen.count == 3 && seen.gone[0] && seen.gone[1] && !seen.gone[2] &&
	           is_id(&seen, 2, 13),
	   "readers see just that");
	data = NULL;
	ok(store_endpoint_get(store, &given[0].id, &owner, &data, &size_bytes) == PR_ENOENT &&
	           data == NULL,
	   "what is gone cannot be had");
	ok(store_endpoint_put(store, &other, given, 1, 9, &change) == PR_OK && change.refused == 0,
	   "another agent may take over what is gone");
	ok(store_endpoint_replace(store, &other, NULL, 0, 9, &change) == PR_OK &&
	           change.removed == 2,
	   "an empty inventory buries everything of the agent");
	seen = (struct seen){ 0 };
	ok(store_endpoint_changes(store, 0, on_endpoint, &seen, &version) == PR_OK &&
	           seen.count == 2,
	   "and nothing of others");
	given[0].data = NULL;
	ok(store_endpoint_put(store, &other, given, 1, 9, &change) == PR_EINVAL,
	   "an endpoint without a document is refused");
}

static void test_tombstones(store_t *store)
{
	struct pr_uuid agent = id_of(3);
	static struct store_endpoint many[STORE_TOMBSTONES_MAX + 50];
	struct store_change change;
	struct seen seen = { 0 };
	uint64_t version;

	for (unsigned i = 0; i < PR_ARRAY_LEN(many); i++) {
		many[i] = endpoint(1000 + i, "x");
	}
	ok(store_endpoint_put(store, &agent, many, PR_ARRAY_LEN(many), 1, &change) == PR_OK,
	   "many endpoints");
	uint64_t full = change.version;
	ok(store_endpoint_replace(store, &agent, NULL, 0, 1, &change) == PR_OK &&
	           change.removed == PR_ARRAY_LEN(many),
	   "go");
	ok(store_endpoint_changes(store, full, on_endpoint, &seen, &version) == PR_EOLD,
	   "who would miss a tombstone thrown away is told so");
	ok(store_endpoint_changes(store, change.version - 10, on_endpoint, &seen, &version) ==
	                   PR_OK &&
	           seen.count == 10,
	   "who is close enough is not");
}

int main(void)
{
	char base[PATH_MAX];

	dir_make(base);
	store_t *store = store_at(base, 0);
	test_changes(store);
	test_agents(store);
	test_tombstones(store);
	store_destroy(&store);
	dir_remove(base);
	return tap_done();
}
