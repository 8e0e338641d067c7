/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * libzmq keeps what it encrypts and decrypts in a handshake in memory of sodium_malloc(): locked,
 * between pages that nobody may touch. To map, protect, lock and unmap it costs ten system calls
 * and a flush of both processors' address caches, ten times a handshake: two thirds of a server's
 * time when thousands connect at once. So that function is ours in every program that uses the
 * bus: it takes the same memory from libsodium, and when it is freed wipes it and keeps it, locked
 * and guarded as it is, for the next handshake.
 *
 * Bounded: SPARES blocks of SIZES sizes; everything else goes to libsodium as before.
 */

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "bus/internal.h"

#define SIZES  16
#define SPARES 32
#define MARK   0x5ec2e7b10c4b10c4ULL
#define SPARE  0x5ba2e5ba2e5ba2e5ULL

/* In front of the caller's bytes, whose end stays at the guarding page; so it may be unaligned. */
struct head {
	uint64_t mark;
	size_t size_bytes;
};

struct shelf {
	size_t size_bytes;
	size_t count;
	uint8_t *spares[SPARES];
};

static struct {
	pthread_mutex_t lock;
	struct shelf shelves[SIZES];
	void *(*make)(size_t size_bytes);
	void (*destroy)(void *data);
	struct bus_secret_counters counters;
} secret = { .lock = PTHREAD_MUTEX_INITIALIZER };

/* Without libsodium's own functions there is no handshake to be had. */
static void functions_find(void)
{
	void *make = dlsym(RTLD_NEXT, "sodium_malloc");
	void *destroy = dlsym(RTLD_NEXT, "sodium_free");

	if (make == NULL || destroy == NULL) {
		abort();
	}
	memcpy(&secret.make, &make, sizeof(make));
	memcpy(&secret.destroy, &destroy, sizeof(destroy));
}

static struct head head_read(const uint8_t *data)
{
	struct head head;

	memcpy(&head, data - sizeof(head), sizeof(head));
	return head;
}

static void head_write(uint8_t *data, uint64_t mark, size_t size_bytes)
{
	const struct head head = { .mark = mark, .size_bytes = size_bytes };

	memcpy(data - sizeof(head), &head, sizeof(head));
}

/* The shelf of a size, or an empty one. NULL: all are in use for other sizes. */
static struct shelf *shelf_find(size_t size_bytes)
{
	struct shelf *empty = NULL;

	for (size_t i = 0; i < SIZES; i++) {
		struct shelf *shelf = &secret.shelves[i];
		if (shelf->size_bytes == size_bytes) {
			return shelf;
		}
		if (shelf->count == 0 && empty == NULL) {
			empty = shelf;
		}
	}
	return empty;
}

static uint8_t *spare_take(size_t size_bytes)
{
	uint8_t *data = NULL;

	(void)pthread_mutex_lock(&secret.lock);
	if (secret.make == NULL) {
		functions_find(); /* somebody was earlier than bus_secret_use() */
	}
	struct shelf *shelf = shelf_find(size_bytes);
	if (shelf != NULL && shelf->size_bytes == size_bytes && shelf->count > 0) {
		data = shelf->spares[--shelf->count];
		secret.counters.spares--;
		secret.counters.reused++;
	} else {
		secret.counters.made++;
	}
	(void)pthread_mutex_unlock(&secret.lock);
	return data;
}

static bool spare_put(uint8_t *data, size_t size_bytes)
{
	bool kept = false;

	(void)pthread_mutex_lock(&secret.lock);
	struct shelf *shelf = shelf_find(size_bytes);
	if (shelf != NULL && shelf->count < SPARES) {
		shelf->size_bytes = size_bytes;
		shelf->spares[shelf->count++] = data;
		secret.counters.spares++;
		kept = true;
	}
	(void)pthread_mutex_unlock(&secret.lock);
	return kept;
}

void *sodium_malloc(size_t size_bytes)
{
	if (size_bytes == 0 || size_bytes > SIZE_MAX / 2) {
		errno = ENOMEM;
		return NULL;
	}
	uint8_t *data = spare_take(size_bytes);
	if (data == NULL) {
		data = secret.make(sizeof(struct head) + size_bytes);
		if (data == NULL) {
			return NULL;
		}
		data += sizeof(struct head);
	}
	head_write(data, MARK, size_bytes);
	return data;
}

void sodium_free(void *freed)
{
	uint8_t *data = freed;

	if (data == NULL) {
		return;
	}
	struct head head = head_read(data);
	if (head.mark != MARK) {
		abort(); /* written over, or freed before: as libsodium does it */
	}
	sodium_memzero(data, head.size_bytes);
	head_write(data, SPARE, head.size_bytes);
	if (!spare_put(data, head.size_bytes)) {
		secret.destroy(data - sizeof(head));
	}
}

void bus_secret_use(void)
{
	(void)pthread_mutex_lock(&secret.lock);
	if (secret.make == NULL) {
		functions_find();
	}
	(void)pthread_mutex_unlock(&secret.lock);
}

void bus_secret_counters(struct bus_secret_counters *ret_counters)
{
	(void)pthread_mutex_lock(&secret.lock);
	*ret_counters = secret.counters;
	(void)pthread_mutex_unlock(&secret.lock);
}
