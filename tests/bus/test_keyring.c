/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "bus/internal.h"
#include "tests/tap.h"

#define MANY 5000

static struct bus_peer peer_make(unsigned number)
{
	struct bus_peer peer = { .role = BUS_ROLE_AGENT };

	memcpy(peer.public_key, &number, sizeof(number));
	memcpy(peer.id.bytes, &number, sizeof(number));
	(void)snprintf(peer.name, sizeof(peer.name), "peer %u", number);
	return peer;
}

static bool found(bus_keyring_t *keyring, unsigned number)
{
	struct bus_peer want = peer_make(number), got;
	return bus_keyring_find(keyring, want.public_key, &got) == PR_OK &&
	       memcmp(&want.id, &got.id, sizeof(want.id)) == 0;
}

static void test_basic(void)
{
	_cleanup_(bus_keyring_destroy) bus_keyring_t *keyring = bus_keyring_new();
	struct bus_peer peer = peer_make(1), got;

	ok(!found(keyring, 1), "empty: nobody");
	ok(bus_keyring_put(keyring, &peer) == PR_OK && found(keyring, 1), "put and found");
	peer.role = BUS_ROLE_ADMIN;
	uint64_t before = bus_keyring_generation(keyring);
	ok(bus_keyring_put(keyring, &peer) == PR_OK &&
	           bus_keyring_find(keyring, peer.public_key, &got) == PR_OK &&
	           got.role == BUS_ROLE_ADMIN,
	   "replaced by public key");
	ok(bus_keyring_generation(keyring) != before, "a change is seen");
	bus_keyring_remove(keyring, peer.public_key);
	ok(!found(keyring, 1), "removed");
	before = bus_keyring_generation(keyring);
	bus_keyring_remove(keyring, peer.public_key);
	ok(bus_keyring_generation(keyring) == before, "removing nothing changes nothing");
	memset(peer.name, 'x', sizeof(peer.name));
	ok(bus_keyring_put(keyring, &peer) == PR_OK &&
	           bus_keyring_find(keyring, peer.public_key, &got) == PR_OK &&
	           strlen(got.name) == sizeof(got.name) - 1,
	   "a name always ends");

	peer = peer_make(2);
	peer.expires_wall_ns = pr_clock_wall_ns() + 3600 * PR_NS_PER_S;
	ok(bus_keyring_put(keyring, &peer) == PR_OK && found(keyring, 2), "not expired yet");
	ok(bus_keyring_next_expiry_ns(keyring, 0) == peer.expires_wall_ns &&
	           bus_keyring_next_expiry_ns(keyring, peer.expires_wall_ns) == UINT64_MAX,
	   "the next expiry is known");
	peer.expires_wall_ns = pr_clock_wall_ns() - 1;
	ok(bus_keyring_put(keyring, &peer) == PR_OK && !found(keyring, 2), "expired: nobody");
}

static void test_many(void)
{
	_cleanup_(bus_keyring_destroy) bus_keyring_t *keyring = bus_keyring_new();
	struct bus_peer *peers = calloc(MANY, sizeof(*peers));
	unsigned good = 0;

	for (unsigned i = 0; i < MANY; i++) {
		peers[i] = peer_make(i);
		good += bus_keyring_put(keyring, &peers[i]) == PR_OK;
	}
	ok(good == MANY, "%d keys", MANY);
	for (unsigned i = 0; i < MANY; i += 2) {
		bus_keyring_remove(keyring, peers[i].public_key);
	}
	good = 0;
	for (unsigned i = 0; i < MANY; i++) {
		good += found(keyring, i) == (i % 2 == 1);
	}
	ok(good == MANY, "every second one removed, the others are there");
	ok(bus_keyring_replace(keyring, peers, 10) == PR_OK && found(keyring, 8) &&
	           !found(keyring, 11),
	   "the whole content replaced");
	ok(bus_keyring_replace(keyring, NULL, 0) == PR_OK && !found(keyring, 8), "by nothing");
	free(peers);
}

static _Atomic bool stop;

static void *reader(void *arg)
{
	bus_keyring_t *keyring = arg;
	uintptr_t bad = 0;

	while (!atomic_load(&stop)) {
		bad += !found(keyring, 7);
	}
	return (void *)bad;
}

static void test_threads(void)
{
	_cleanup_(bus_keyring_destroy) bus_keyring_t *keyring = bus_keyring_new();
	struct bus_peer stays = peer_make(7);
	pthread_t thread;
	void *bad = NULL;

	ok(bus_keyring_put(keyring, &stays) == PR_OK, "a key that stays");
	ok(pthread_create(&thread, NULL, reader, keyring) == 0, "a reader");
	for (unsigned round = 0; round < 20; round++) {
		for (unsigned i = 100; i < 200; i++) {
			struct bus_peer peer = peer_make(i);
			(void)!bus_keyring_put(keyring, &peer);
		}
		(void)!bus_keyring_replace(keyring, &stays, 1);
	}
	atomic_store(&stop, true);
	(void)pthread_join(thread, &bad);
	ok(bad == NULL, "it was there all the time");
}

int main(void)
{
	test_basic();
	test_many();
	test_threads();
	return tap_done();
}
