/* SPDX-License-Identifier: GPL-2.0-or-later */

/* A hash table with open addressing behind a mutex. It is read once per message. */

#include <pthread.h>
#include <sodium.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "bus/internal.h"

#define SLOTS_FIRST 64

struct table {
	struct slot {
		bool used;
		struct bus_peer peer;
	} * slots;
	size_t size; /* a power of two */
	size_t count;
};

struct bus_keyring {
	pthread_mutex_t lock;
	struct table table;
	_Atomic uint64_t generation;
	uint8_t hash_key[crypto_shorthash_KEYBYTES];
};

static size_t hash_of(const bus_keyring_t *keyring, const uint8_t *public_key)
{
	uint64_t hash;

	(void)crypto_shorthash((uint8_t *)&hash, public_key, BUS_KEY_BYTES, keyring->hash_key);
	return (size_t)hash;
}

/* The slot of a key, or the free one where it would stand. The table is never full. */
static struct slot *slot_find(const bus_keyring_t *keyring, const struct table *table,
                              const uint8_t *public_key)
{
	size_t at = hash_of(keyring, public_key);

	for (;; at++) {
		struct slot *slot = &table->slots[at & (table->size - 1)];
		if (!slot->used || memcmp(slot->peer.public_key, public_key, BUS_KEY_BYTES) == 0) {
			return slot;
		}
	}
}

static int table_new(size_t room, struct table *ret_table)
{
	struct table table = { .size = SLOTS_FIRST };

	while (table.size < 2 * room) {
		table.size *= 2;
	}
	table.slots = calloc(table.size, sizeof(*table.slots));
	if (table.slots == NULL) {
		return PR_ENOMEM;
	}
	*ret_table = table;
	return PR_OK;
}

static void table_put(const bus_keyring_t *keyring, struct table *table,
                      const struct bus_peer *peer)
{
	struct slot *slot = slot_find(keyring, table, peer->public_key);

	table->count += !slot->used;
	slot->used = true;
	slot->peer = *peer;
	slot->peer.name[sizeof(slot->peer.name) - 1] = '\0';
}

static uint64_t table_next_expiry(const struct table *table, uint64_t after_ns)
{
	uint64_t next_ns = UINT64_MAX;

	for (size_t i = 0; i < table->size; i++) {
		uint64_t expires_ns = table->slots[i].peer.expires_wall_ns;
		if (table->slots[i].used && expires_ns > after_ns && expires_ns < next_ns) {
			next_ns = expires_ns;
		}
	}
	return next_ns;
}

bus_keyring_t *bus_keyring_new(void)
{
	if (sodium_init() < 0) {
		return NULL;
	}
	bus_keyring_t *keyring = calloc(1, sizeof(*keyring));
	if (keyring == NULL) {
		return NULL;
	}
	if (pthread_mutex_init(&keyring->lock, NULL) != 0) {
		free(keyring);
		return NULL;
	}
	randombytes_buf(keyring->hash_key, sizeof(keyring->hash_key));
	if (table_new(0, &keyring->table) != PR_OK) {
		bus_keyring_destroy(&keyring);
	}
	return keyring;
}

void bus_keyring_destroy(bus_keyring_t **keyring_p)
{
	bus_keyring_t *keyring = *keyring_p;
	if (keyring == NULL) {
		return;
	}
	(void)pthread_mutex_destroy(&keyring->lock);
	free(keyring->table.slots);
	free(keyring);
	*keyring_p = NULL;
}

/* A table of twice the room with the same content. */
static int table_grow(const bus_keyring_t *keyring, struct table *table)
{
	struct table bigger;
	int ret = table_new(2 * table->count, &bigger);
	if (ret != PR_OK) {
		return ret;
	}
	for (size_t i = 0; i < table->size; i++) {
		if (table->slots[i].used) {
			table_put(keyring, &bigger, &table->slots[i].peer);
		}
	}
	free(table->slots);
	*table = bigger;
	return PR_OK;
}

int bus_keyring_put(bus_keyring_t *keyring, const struct bus_peer *peer)
{
	int ret = PR_OK;

	(void)pthread_mutex_lock(&keyring->lock);
	if (2 * (keyring->table.count + 1) > keyring->table.size) {
		ret = table_grow(keyring, &keyring->table);
	}
	if (ret == PR_OK) {
		table_put(keyring, &keyring->table, peer);
		atomic_fetch_add(&keyring->generation, 1);
	}
	(void)pthread_mutex_unlock(&keyring->lock);
	return ret;
}

/* Free a slot and move back what would no longer be found. */
static void table_remove(const bus_keyring_t *keyring, struct table *table, struct slot *slot)
{
	size_t mask = table->size - 1;
	size_t hole = (size_t)(slot - table->slots);

	table->slots[hole].used = false;
	table->count--;
	for (size_t at = (hole + 1) & mask; table->slots[at].used; at = (at + 1) & mask) {
		struct bus_peer peer = table->slots[at].peer;
		table->slots[at].used = false;
		table->count--;
		table_put(keyring, table, &peer);
	}
}

void bus_keyring_remove(bus_keyring_t *keyring, const uint8_t public_key[static BUS_KEY_BYTES])
{
	(void)pthread_mutex_lock(&keyring->lock);
	struct slot *slot = slot_find(keyring, &keyring->table, public_key);
	if (slot->used) {
		table_remove(keyring, &keyring->table, slot);
		atomic_fetch_add(&keyring->generation, 1);
	}
	(void)pthread_mutex_unlock(&keyring->lock);
}

int bus_keyring_replace(bus_keyring_t *keyring, const struct bus_peer *peers, size_t count)
{
	struct table table;
	int ret = table_new(count, &table);
	if (ret != PR_OK) {
		return ret;
	}
	for (size_t i = 0; i < count; i++) {
		table_put(keyring, &table, &peers[i]);
	}
	(void)pthread_mutex_lock(&keyring->lock);
	struct slot *old = keyring->table.slots;
	keyring->table = table;
	atomic_fetch_add(&keyring->generation, 1);
	(void)pthread_mutex_unlock(&keyring->lock);
	free(old);
	return PR_OK;
}

int bus_keyring_find(bus_keyring_t *keyring, const uint8_t public_key[static BUS_KEY_BYTES],
                     struct bus_peer *ret_peer)
{
	struct bus_peer peer;

	(void)pthread_mutex_lock(&keyring->lock);
	const struct slot *slot = slot_find(keyring, &keyring->table, public_key);
	bool found = slot->used;
	if (found) {
		peer = slot->peer;
	}
	(void)pthread_mutex_unlock(&keyring->lock);

	if (!found || (peer.expires_wall_ns != 0 && peer.expires_wall_ns <= pr_clock_wall_ns())) {
		return PR_ENOENT;
	}
	*ret_peer = peer;
	return PR_OK;
}

uint64_t bus_keyring_generation(const bus_keyring_t *keyring)
{
	return atomic_load(&keyring->generation);
}

uint64_t bus_keyring_next_expiry_ns(bus_keyring_t *keyring, uint64_t after_ns)
{
	(void)pthread_mutex_lock(&keyring->lock);
	uint64_t next_ns = table_next_expiry(&keyring->table, after_ns);
	(void)pthread_mutex_unlock(&keyring->lock);
	return next_ns;
}
