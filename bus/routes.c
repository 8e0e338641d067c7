/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Which key stands behind a routing id, and on which connection. zmq tells nobody when a ROUTER's
 * peer goes and has no call to cut one; so entries of the dead are swept out when the table would
 * grow, and cutting is a shutdown(2) of the connection's descriptor after a check that it still is
 * that connection. A descriptor taken by another connection in between fails the check.
 */

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/err.h"
#include "bus/internal.h"

#define SLOTS_FIRST 64

struct routes {
	struct route_entry *slots;
	size_t size; /* a power of two */
	size_t count;
	size_t max;
};

routes_t *routes_new(size_t max)
{
	routes_t *routes = calloc(1, sizeof(*routes));
	if (routes == NULL) {
		return NULL;
	}
	routes->max = max;
	routes->size = SLOTS_FIRST;
	routes->slots = calloc(routes->size, sizeof(*routes->slots));
	if (routes->slots == NULL) {
		routes_destroy(&routes);
	}
	return routes;
}

void routes_destroy(routes_t **routes_p)
{
	if (*routes_p == NULL) {
		return;
	}
	free((*routes_p)->slots);
	free(*routes_p);
	*routes_p = NULL;
}

/* zmq counts routing ids up from a random number: they spread by themselves. */
static struct route_entry *slot_find(const routes_t *routes, uint32_t number)
{
	for (size_t at = number;; at++) {
		struct route_entry *slot = &routes->slots[at & (routes->size - 1)];
		if (!slot->used || slot->number == number) {
			return slot;
		}
	}
}

static void peer_ask(int fd, struct route_entry *entry)
{
	struct sockaddr_storage peer;
	socklen_t size_bytes = sizeof(peer);

	entry->peer_bytes = 0;
	if (getpeername(fd, (struct sockaddr *)&peer, &size_bytes) == 0 &&
	    size_bytes <= sizeof(entry->peer)) {
		memcpy(entry->peer, &peer, size_bytes);
		entry->peer_bytes = (uint8_t)size_bytes;
	}
}

static bool entry_alive(const struct route_entry *entry)
{
	struct route_entry now;

	peer_ask(entry->fd, &now);
	return now.peer_bytes > 0 && now.peer_bytes == entry->peer_bytes &&
	       memcmp(now.peer, entry->peer, now.peer_bytes) == 0;
}

static bool alive_stays(const struct route_entry *entry, void *arg)
{
	(void)arg;
	return entry_alive(entry);
}

static int grow(routes_t *routes)
{
	routes_t bigger = { .size = 2 * routes->size };

	bigger.slots = calloc(bigger.size, sizeof(*bigger.slots));
	if (bigger.slots == NULL) {
		return PR_ENOMEM;
	}
	for (size_t i = 0; i < routes->size; i++) {
		if (routes->slots[i].used) {
			*slot_find(&bigger, routes->slots[i].number) = routes->slots[i];
		}
	}
	free(routes->slots);
	routes->slots = bigger.slots;
	routes->size = bigger.size;
	return PR_OK;
}

int routes_put(routes_t *routes, uint32_t number, int fd,
               const uint8_t public_key[static BUS_KEY_BYTES])
{
	if (2 * (routes->count + 1) > routes->size || routes->count == routes->max) {
		(void)routes_sweep(routes, alive_stays, NULL);
	}
	if (routes->count == routes->max) {
		return PR_ENOSPC;
	}
	if (2 * (routes->count + 1) > routes->size) {
		int ret = grow(routes);
		if (ret != PR_OK) {
			return ret;
		}
	}
	struct route_entry *slot = slot_find(routes, number);
	routes->count += !slot->used;
	*slot = (struct route_entry){ .number = number, .fd = fd, .used = true };
	memcpy(slot->public_key, public_key, BUS_KEY_BYTES);
	peer_ask(fd, slot);
	return PR_OK;
}

struct route_entry *routes_find(routes_t *routes, uint32_t number)
{
	struct route_entry *slot = slot_find(routes, number);
	return slot->used ? slot : NULL;
}

void routes_remove(routes_t *routes, uint32_t number)
{
	struct route_entry *slot = slot_find(routes, number);
	if (!slot->used) {
		return;
	}
	slot->used = false;
	routes->count--;
	/* Move back what would no longer be found behind the hole. */
	size_t mask = routes->size - 1;
	for (size_t at = (size_t)(slot - routes->slots + 1) & mask; routes->slots[at].used;
	     at = (at + 1) & mask) {
		struct route_entry entry = routes->slots[at];
		routes->slots[at].used = false;
		*slot_find(routes, entry.number) = entry;
	}
}

void routes_cut(routes_t *routes, uint32_t number)
{
	const struct route_entry *entry = routes_find(routes, number);
	if (entry == NULL) {
		return;
	}
	if (entry_alive(entry)) {
		(void)shutdown(entry->fd, SHUT_RDWR);
	}
	routes_remove(routes, number);
}

size_t routes_sweep(routes_t *routes, bool (*stays)(const struct route_entry *entry, void *arg),
                    void *arg)
{
	size_t cut = 0;

	for (size_t i = 0; i < routes->size; i++) {
		/* A removal may move the next entry into this place: look again. */
		while (routes->slots[i].used && !stays(&routes->slots[i], arg)) {
			routes_cut(routes, routes->slots[i].number);
			cut++;
		}
	}
	return cut;
}

size_t routes_count(const routes_t *routes)
{
	return routes->count;
}
