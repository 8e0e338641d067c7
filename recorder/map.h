/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/** @file UUID -> pointer. Open addressing; nothing is ever taken out. For recorder/ alone. */

#include <stddef.h>

#include "base/defs.h"
#include "base/id.h"

struct recorder_map_slot {
	struct pr_uuid id;
	void *value; /* NULL: free */
};

/** Zero is an empty map. */
struct recorder_map {
	struct recorder_map_slot *slots;
	size_t room; /* a power of two */
	size_t count;
};

/** NULL: not there. */
void *recorder_map_find(const struct recorder_map *map, const struct pr_uuid *id);
/** @p value not NULL. PR_ENOMEM; PR_EEXIST: the id is there. */
int recorder_map_add(struct recorder_map *map, const struct pr_uuid *id, void *value) _must_check_;
/** Frees the slots, not the values. */
void recorder_map_done(struct recorder_map *map);
