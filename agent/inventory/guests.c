/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/inventory/guests.h"
#include "base/err.h"

struct guest {
	char id[PR_CGROUP_ID_BYTES];
	char *own; /* its control groups */
};

struct guests {
	pthread_mutex_t lock;
	struct guest *items;
	size_t count;
	uint64_t generation;
};

int guests_new(guests_t **ret_guests)
{
	guests_t *guests = calloc(1, sizeof(*guests));
	if (guests == NULL) {
		return PR_ENOMEM;
	}
	(void)pthread_mutex_init(&guests->lock, NULL);
	*ret_guests = guests;
	return PR_OK;
}

void guests_destroy(guests_t **guests_p)
{
	guests_t *guests = *guests_p;
	if (guests == NULL) {
		return;
	}
	for (size_t i = 0; i < guests->count; i++) {
		free(guests->items[i].own);
	}
	(void)pthread_mutex_destroy(&guests->lock);
	free(guests->items);
	free(guests);
	*guests_p = NULL;
}

static struct guest *guest_find(const guests_t *guests, const char *container_id)
{
	for (size_t i = 0; i < guests->count; i++) {
		if (strcmp(guests->items[i].id, container_id) == 0) {
			return &guests->items[i];
		}
	}
	return NULL;
}

static void guest_drop(guests_t *guests, const char *container_id)
{
	struct guest *guest = guest_find(guests, container_id);

	if (guest != NULL) {
		free(guest->own);
		*guest = guests->items[--guests->count];
		guests->generation++;
	}
}

/* Out of memory: its listeners show as its neighbour's. */
static void guest_add(guests_t *guests, const char *container_id, const char *own)
{
	char *copy = strdup(own);
	struct guest *grown = realloc(guests->items, (guests->count + 1) * sizeof(*grown));

	guests->items = grown != NULL ? grown : guests->items;
	if (copy == NULL || grown == NULL) {
		free(copy);
		return;
	}
	struct guest *guest = &guests->items[guests->count++];
	*guest = (struct guest){ .own = copy };
	(void)snprintf(guest->id, sizeof(guest->id), "%s", container_id);
	guests->generation++;
}

void guests_set(guests_t *guests, const char *container_id, const char *own)
{
	(void)pthread_mutex_lock(&guests->lock);
	const struct guest *known = guest_find(guests, container_id);
	if (known == NULL || strcmp(known->own, own) != 0) {
		guest_drop(guests, container_id);
		guest_add(guests, container_id, own);
	}
	(void)pthread_mutex_unlock(&guests->lock);
}

void guests_remove(guests_t *guests, const char *container_id)
{
	(void)pthread_mutex_lock(&guests->lock);
	guest_drop(guests, container_id);
	(void)pthread_mutex_unlock(&guests->lock);
}

void guests_find(guests_t *guests, const char *cgroups, char ret_id[static PR_CGROUP_ID_BYTES])
{
	ret_id[0] = '\0';
	(void)pthread_mutex_lock(&guests->lock);
	for (size_t i = 0; i < guests->count; i++) {
		if (pr_cgroup_compare(guests->items[i].own, cgroups) == PR_CGROUP_INSIDE) {
			memcpy(ret_id, guests->items[i].id, PR_CGROUP_ID_BYTES);
			break;
		}
	}
	(void)pthread_mutex_unlock(&guests->lock);
}

uint64_t guests_generation(guests_t *guests)
{
	(void)pthread_mutex_lock(&guests->lock);
	uint64_t generation = guests->generation;
	(void)pthread_mutex_unlock(&guests->lock);
	return generation;
}
