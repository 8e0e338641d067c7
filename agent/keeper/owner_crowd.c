/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Processes with many sockets: one look at all of them answers for a whole batch of packets. */
#include <string.h>

#include "agent/keeper/owner_internal.h"

#define CROWDED 12 /* sockets; with fewer the last one's neighbours are few enough to try */

static bool is_of(const struct owner_crowd *crowd, const struct owner_hint *hint)
{
	return hint->used && crowd->pid == hint->pid && crowd->slot == hint->slot &&
	       crowd->start_ticks == hint->start_ticks;
}

static struct owner_hint *hint_of(owner_t *owner, const struct owner_crowd *crowd)
{
	for (size_t i = 0; i < OWNER_HINTS_MAX; i++) {
		if (is_of(crowd, &owner->hints[i])) {
			return &owner->hints[i];
		}
	}
	return NULL;
}

struct owner_hint *owner_crowd_find(struct owner_find *find, int *ret_fd)
{
	for (size_t i = 0; i < OWNER_CROWDS_MAX; i++) {
		const struct owner_crowd *crowd = &find->owner->crowds[i];
		if (crowd->pid == 0 || crowd->slot != find->slot) {
			continue;
		}
		for (size_t j = crowd->count; j > 0; j--) {
			if (crowd->inodes[j - 1] == find->inode) {
				*ret_fd = crowd->fds[j - 1];
				return hint_of(find->owner, crowd);
			}
		}
	}
	return NULL;
}

/* The one of this process; else the one read longest ago. */
static struct owner_crowd *place_of(owner_t *owner, const struct owner_hint *hint)
{
	struct owner_crowd *place = &owner->crowds[0];

	for (size_t i = 0; i < OWNER_CROWDS_MAX; i++) {
		if (is_of(&owner->crowds[i], hint)) {
			return &owner->crowds[i];
		}
		if (owner->crowds[i].read_ns < place->read_ns) {
			place = &owner->crowds[i];
		}
	}
	return place;
}

static bool crowd_add(void *arg, int fd, uint64_t inode)
{
	struct owner_crowd *crowd = arg;

	crowd->inodes[crowd->count] = inode;
	crowd->fds[crowd->count] = fd;
	return ++crowd->count == OWNER_CROWD_MAX;
}

int owner_crowd_read(struct owner_find *find, struct owner_hint *hint)
{
	struct owner_crowd *crowd = place_of(find->owner, hint);

	crowd->slot = hint->slot;
	crowd->pid = hint->pid;
	crowd->start_ticks = hint->start_ticks;
	crowd->read_ns = find->owner->now_ns;
	crowd->count = 0;
	(void)owner_process_sockets(find, hint->proc, OWNER_CROWD_MAX, crowd_add, crowd);
	hint->crowded = crowd->count >= CROWDED;
	for (size_t i = 0; i < crowd->count; i++) {
		if (crowd->inodes[i] == find->inode) {
			return crowd->fds[i];
		}
	}
	return -1;
}
