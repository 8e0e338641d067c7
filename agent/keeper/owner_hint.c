/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Recent owners. A hint saves a search; it is verified like everything else. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent/keeper/owner_internal.h"

#define HINTS_TRIED   8 /* of a user's, newest first */
#define NUMBERS_BELOW 4 /* descriptor numbers tried around the last one */
#define NUMBERS_ABOVE 6

/* A number that is very likely right. */
static bool number_take(struct owner_find *find, struct owner_hint *hint, int number)
{
	if (number < 0 || !owner_holder_add_hinted(find, hint, number)) {
		return false;
	}
	hint->used_ns = find->owner->now_ns;
	return true;
}

static bool number_try(struct owner_find *find, struct owner_hint *hint, int number)
{
	char name[32];
	if (number < 0) {
		return false;
	}
	(void)snprintf(name, sizeof(name), "fd/%d", number);
	return owner_link_match(find, hint->proc, name) && number_take(find, hint, number);
}

/* A listener's socket is the same at each question. */
static bool same_socket_try(struct owner_find *find)
{
	for (size_t i = 0; i < OWNER_HINTS_MAX; i++) {
		struct owner_hint *hint = &find->owner->hints[i];
		if (hint->used && hint->slot == find->slot && hint->socket_inode == find->inode &&
		    number_take(find, hint, hint->socket_fd)) {
			return true;
		}
	}
	return false;
}

static struct owner_hint *newest(struct owner_find *find, uint64_t before_ns)
{
	struct owner_hint *found = NULL;
	for (size_t i = 0; i < OWNER_HINTS_MAX; i++) {
		struct owner_hint *hint = &find->owner->hints[i];
		if (hint->used && hint->slot == find->slot && hint->uid == find->uid &&
		    hint->used_ns < before_ns &&
		    (found == NULL || hint->used_ns > found->used_ns)) {
			found = hint;
		}
	}
	return found;
}

static bool near_try(struct owner_find *find, struct owner_hint *hint)
{
	/* The number just freed, used again: one look instead of two. */
	if (!hint->crowded && number_take(find, hint, hint->socket_fd)) {
		return true;
	}
	if (!owner_read_allowed(find->owner) || faccessat(hint->proc, "fd", F_OK, 0) != 0) {
		(void)close(hint->proc); /* it ended */
		*hint = (struct owner_hint){ .proc = -1 };
		return false;
	}
	if (hint->crowded) {
		return number_try(find, hint, owner_crowd_read(find, hint));
	}
	for (int step = 1; step <= NUMBERS_BELOW + NUMBERS_ABOVE; step++) {
		int number = step <= NUMBERS_ABOVE ? hint->socket_fd + step
		                                   : hint->socket_fd - (step - NUMBERS_ABOVE);
		if (number_try(find, hint, number)) {
			return true;
		}
	}
	return false;
}

/* A client with many connections: still far less to read than all processes. */
static bool whole_try(struct owner_find *find, struct owner_hint *hint)
{
	return hint != NULL && !hint->crowded &&
	       number_take(find, hint, owner_crowd_read(find, hint));
}

static bool crowd_try(struct owner_find *find)
{
	int number = -1;
	struct owner_hint *hint = owner_crowd_find(find, &number);

	return hint != NULL && number_take(find, hint, number);
}

bool owner_hints_try(struct owner_find *find)
{
	uint64_t before_ns = UINT64_MAX;

	if (same_socket_try(find) || crowd_try(find)) {
		return true;
	}
	for (int tried = 0; tried < HINTS_TRIED; tried++) {
		struct owner_hint *hint = newest(find, before_ns);
		if (hint == NULL) {
			break;
		}
		before_ns = hint->used_ns;
		if (near_try(find, hint)) {
			return true;
		}
	}
	return whole_try(find, newest(find, UINT64_MAX));
}

/* A process has one place; else a free one, else the one used longest ago. */
static struct owner_hint *place_of(owner_t *owner, uint32_t slot, const struct owner_holder *holder)
{
	struct owner_hint *place = &owner->hints[0];
	for (size_t i = 0; i < OWNER_HINTS_MAX; i++) {
		struct owner_hint *hint = &owner->hints[i];
		if (hint->used && hint->slot == slot && hint->pid == holder->pid &&
		    hint->start_ticks == holder->start_ticks) {
			return hint;
		}
		if (place->used && (!hint->used || hint->used_ns < place->used_ns)) {
			place = hint;
		}
	}
	return place;
}

void owner_hint_keep(owner_t *owner, uint32_t slot, uint32_t uid, struct owner_holder *holder)
{
	struct owner_hint *place = place_of(owner, slot, holder);
	bool same = place->used && place->pid == holder->pid &&
	            place->start_ticks == holder->start_ticks && place->slot == slot;

	if (holder->borrowed && !same) {
		return; /* it cannot be: the hint that it was found by is its place */
	}
	if (place->used && !holder->borrowed) {
		(void)close(place->proc);
	}
	struct owner_hint kept = {
		.used = true,
		.slot = slot,
		.uid = uid,
		.socket_inode = holder->socket_inode,
		.socket_fd = holder->socket_fd,
		.proc = holder->borrowed ? place->proc : take_fd(holder->proc),
		.pid = holder->pid,
		.start_ticks = holder->start_ticks,
		.used_ns = owner->now_ns,
		.crowded = same && place->crowded,
		.exe_batch =
			owner->batch, /* it was read for this question, or for one of the batch */
		.facts = holder->facts,
	};
	memcpy(kept.exe, holder->exe, sizeof(kept.exe));
	*place = kept;
}

void owner_hints_drop(owner_t *owner, uint32_t slot)
{
	for (size_t i = 0; i < OWNER_HINTS_MAX; i++) {
		struct owner_hint *hint = &owner->hints[i];
		if (hint->used && (hint->slot == slot || slot == UINT32_MAX)) {
			(void)close(hint->proc);
			*hint = (struct owner_hint){ .proc = -1 };
		}
	}
}
