/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "recorder/map.h"

/* All bytes count: version 5 UUIDs are hashes, but a peer may choose others. */
static size_t hash(const struct pr_uuid *id)
{
	uint64_t words[2];
	memcpy(words, id->bytes, sizeof(words));
	uint64_t mixed = (words[0] ^ words[1] * 0x9e3779b97f4a7c15ULL) * 0xff51afd7ed558ccdULL;
	return (size_t)(mixed ^ mixed >> 32);
}

static struct recorder_map_slot *slot_of(const struct recorder_map *map, const struct pr_uuid *id)
{
	size_t at = hash(id) & (map->room - 1);
	while (map->slots[at].value != NULL && !pr_uuid_equal(&map->slots[at].id, id)) {
		at = (at + 1) & (map->room - 1);
	}
	return &map->slots[at];
}

void *recorder_map_find(const struct recorder_map *map, const struct pr_uuid *id)
{
	return map->room == 0 ? NULL : slot_of(map, id)->value;
}

static int grow(struct recorder_map *map)
{
	struct recorder_map larger = { .room = map->room == 0 ? 64 : 2 * map->room };

	larger.slots = calloc(larger.room, sizeof(*larger.slots));
	if (larger.slots == NULL) {
		return PR_ENOMEM;
	}
	for (size_t i = 0; i < map->room; i++) {
		if (map->slots[i].value != NULL) {
			*slot_of(&larger, &map->slots[i].id) = map->slots[i];
		}
	}
	larger.count = map->count;
	free(map->slots);
	*map = larger;
	return PR_OK;
}

int recorder_map_add(struct recorder_map *map, const struct pr_uuid *id, void *value)
{
	if (2 * (map->count + 1) > map->room) {
		int err = grow(map);
		if (err != PR_OK) {
			return err;
		}
	}
	struct recorder_map_slot *slot = slot_of(map, id);
	if (slot->value != NULL) {
		return PR_EEXIST;
	}
	*slot = (struct recorder_map_slot){ .id = *id, .value = value };
	map->count++;
	return PR_OK;
}

void recorder_map_done(struct recorder_map *map)
{
	free(map->slots);
	*map = (struct recorder_map){ 0 };
}
