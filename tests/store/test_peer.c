/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/err.h"
#include "tests/store/dir.h"
#include "tests/tap.h"

static struct store_peer peer(unsigned number, const char *role)
{
	struct store_peer made = { .id = id_of(number),
		                   .public_key = { (uint8_t)number, 1, 2 },
		                   .status = STORE_PEER_APPROVED,
		                   .created_wall_ns = 5 };
	(void)snprintf(made.role, sizeof(made.role), "%s", role);
	(void)snprintf(made.name, sizeof(made.name), "host%u", number);
	return made;
}

static uint64_t counter(store_t *store)
{
	struct store_versions versions = { 0 };
	(void)!store_versions(store, &versions);
	return versions.peers_counter;
}

static bool on_peer(void *arg, const struct store_peer *found)
{
	(void)found;
	(*(unsigned *)arg)++;
	return true;
}

static void test_put(store_t *store)
{
	struct store_peer one = peer(1, "agent"), thief = peer(2, "admin"), got;
	struct store_seen seen[] = { { .id = id_of(1), .seen_wall_ns = 77, .address = "192.0.2.7" },
		                     { .id = id_of(99), .seen_wall_ns = 78 } };
	unsigned count = 0;

	ok(counter(store) == 0, "nobody at first");
	ok(store_peer_get(store, &one.id, &got) == PR_ENOENT, "and nobody is found");
	ok(store_peer_put(store, &one) == PR_OK && counter(store) == 1, "one enrols");
	ok(store_peer_get(store, &one.id, &got) == PR_OK && memcmp(&got, &one, sizeof(got)) == 0,
	   "and is found by id, the same in every field");
	ok(store_peer_find(store, one.public_key, &got) == PR_OK && pr_uuid_equal(&got.id, &one.id),
	   "and by key");
	memcpy(thief.public_key, one.public_key, sizeof(thief.public_key));
	ok(store_peer_put(store, &thief) == PR_EEXIST && counter(store) == 1,
	   "a key belongs to one peer");
	ok(store_peer_seen(store, seen, 2) == PR_OK && counter(store) == 1 &&
	           store_peer_get(store, &one.id, &got) == PR_OK && got.seen_wall_ns == 77 &&
	           strcmp(got.address, "192.0.2.7") == 0,
	   "having been heard is noted, does not raise the counter; unknown ones are skipped");
	uint8_t old_key[STORE_KEY_BYTES];
	memcpy(old_key, one.public_key, sizeof(old_key));
	one.public_key[0] = 200;
	one.status = STORE_PEER_REVOKED;
	ok(store_peer_put(store, &one) == PR_OK && counter(store) == 2 &&
	           store_peer_find(store, old_key, &got) == PR_ENOENT &&
	           store_peer_find(store, one.public_key, &got) == PR_OK &&
	           got.status == STORE_PEER_REVOKED,
	   "a new key replaces the old one, a change raises the counter");
	memset(one.name, 'x', sizeof(one.name));
	ok(store_peer_put(store, &one) == PR_EINVAL, "a name without an end is refused");
	ok(store_peer_list(store, on_peer, &count) == PR_OK && count == 1, "list");
	ok(store_peer_delete(store, &one.id) == PR_OK && counter(store) == 3 &&
	           store_peer_delete(store, &one.id) == PR_ENOENT &&
	           store_peer_find(store, one.public_key, &got) == PR_ENOENT,
	   "deleted with its key");
}

static void test_many(store_t *store)
{
	struct store_peer peers[3], found;
	uint64_t before = counter(store);

	for (unsigned i = 0; i < 3; i++) {
		peers[i] = (struct store_peer){ .id = pr_uuid_new(),
			                        .role = "agent",
			                        .status = STORE_PEER_APPROVED };
		memset(peers[i].public_key, 0xa0 + (int)i, sizeof(peers[i].public_key));
	}
	ok(store_peers_put(store, peers, 3) == PR_OK && counter(store) == before + 1 &&
	           store_peer_get(store, &peers[0].id, &found) == PR_OK &&
	           store_peer_get(store, &peers[2].id, &found) == PR_OK,
	   "three in one write, which counts once");
	for (unsigned i = 0; i < 3; i++) {
		ok(store_peer_delete(store, &peers[i].id) == PR_OK, "gone again");
	}
	memcpy(peers[2].public_key, peers[0].public_key, sizeof(peers[2].public_key));
	ok(store_peers_put(store, peers, 3) == PR_EEXIST &&
	           store_peer_get(store, &peers[0].id, &found) == PR_ENOENT,
	   "two of them with one key: none is written");
}

static void test_tokens(store_t *store)
{
	struct store_peer token = peer(10, "enrolling"), second = peer(11, "enrolling");
	struct store_peer newcomer = peer(12, "agent"), got;
	size_t expired = 9;
	unsigned count = 0;

	(void)snprintf(token.grants, sizeof(token.grants), "agent");
	(void)snprintf(second.grants, sizeof(second.grants), "agent");
	token.grants_approved = true;
	token.expires_wall_ns = 1000;
	second.expires_wall_ns = 2000;
	ok(store_peer_put(store, &token) == PR_OK && store_peer_put(store, &second) == PR_OK,
	   "two tokens");
	ok(store_peer_get(store, &token.id, &got) == PR_OK && got.grants_approved &&
	           strcmp(got.grants, "agent") == 0 && got.expires_wall_ns == 1000,
	   "keep what they grant");
	ok(store_peer_enroll(store, &token.id, &newcomer) == PR_OK &&
	           store_peer_get(store, &newcomer.id, &got) == PR_OK &&
	           store_peer_get(store, &token.id, &got) == PR_ENOENT,
	   "a token is used up by its newcomer");
	newcomer.id = id_of(13);
	newcomer.public_key[0] = 13;
	ok(store_peer_enroll(store, &token.id, &newcomer) == PR_ENOENT, "and works once");
	newcomer.public_key[0] = 12;
	ok(store_peer_enroll(store, &second.id, &newcomer) == PR_EEXIST &&
	           store_peer_get(store, &second.id, &got) == PR_OK,
	   "a key that is taken leaves the token unused");
	struct pr_uuid agent = id_of(12);
	newcomer.public_key[0] = 13;
	ok(store_peer_enroll(store, &agent, &newcomer) == PR_ENOENT, "an agent is no token");
	ok(store_peer_expire(store, 1999, &expired) == PR_OK && expired == 0, "not yet");
	uint64_t before = counter(store);
	ok(store_peer_expire(store, 2001, &expired) == PR_OK && expired == 1 &&
	           counter(store) == before + 1 &&
	           store_peer_find(store, second.public_key, &got) == PR_ENOENT,
	   "an expired token goes");
	ok(store_peer_list(store, on_peer, &count) == PR_OK && count == 1, "the agent stays");
}

int main(void)
{
	char base[PATH_MAX];

	dir_make(base);
	store_t *store = store_at(base, 0);
	test_put(store);
	test_many(store);
	test_tokens(store);
	store_destroy(&store);
	dir_remove(base);
	return tap_done();
}
