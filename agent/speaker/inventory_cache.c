/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdlib.h>
#include <string.h>

#include "agent/speaker/internal.h"

static struct entry *entry_find(const struct inventory_cache *cache, const struct pr_uuid *id)
{
	for (size_t i = 0; i < cache->count; i++) {
		if (pr_uuid_equal(&cache->entries[i].id, id)) {
			return &cache->entries[i];
		}
	}
	return NULL;
}

static struct entry *entry_add(struct inventory_cache *cache, const struct pr_uuid *id)
{
	if (cache->count == cache->room) {
		size_t room = cache->room == 0 ? 16 : 2 * cache->room;
		struct entry *more = reallocarray(cache->entries, room, sizeof(*more));
		if (more == NULL) {
			return NULL;
		}
		cache->entries = more;
		cache->room = room;
	}
	struct entry *entry = &cache->entries[cache->count++];
	*entry = (struct entry){ .id = *id };
	return entry;
}

int inventory_cache_put(struct inventory_cache *cache, const codec_doc_t *endpoint)
{
	struct pr_uuid id = codec_doc_uuid(endpoint, CODEC_ENDPOINT_UUID);
	uint8_t *frame = NULL;
	size_t frame_bytes = 0;

	if (pr_uuid_is_null(&id)) {
		return PR_EINVAL;
	}
	int ret = codec_doc_encode(endpoint, &frame, &frame_bytes);
	if (ret != PR_OK) {
		return ret;
	}
	struct entry *entry = entry_find(cache, &id);
	if (entry == NULL) {
		entry = entry_add(cache, &id);
	}
	if (entry == NULL) {
		free(frame);
		return PR_ENOMEM;
	}
	if (entry->frame != NULL && entry->frame_bytes == frame_bytes &&
	    memcmp(entry->frame, frame, frame_bytes) == 0) {
		/* Nothing new. */
		free(frame);
		return PR_OK;
	}
	entry->change = ++cache->change;
	if (entry->frame == NULL) {
		entry->born = cache->born = cache->change;
	}
	free(entry->frame);
	entry->frame = frame;
	entry->frame_bytes = frame_bytes;
	return PR_OK;
}

uint64_t inventory_cache_born(const struct inventory_cache *cache, const struct pr_uuid *id)
{
	const struct entry *entry = entry_find(cache, id);

	return entry != NULL && entry->frame != NULL ? entry->born : 0;
}

void inventory_cache_gone(struct inventory_cache *cache, const struct pr_uuid *id, bool removed)
{
	struct entry *entry = entry_find(cache, id);

	if (entry == NULL && removed) {
		/* It had stopped before, and everybody has heard of that. */
		entry = entry_add(cache, id);
	} else if (entry != NULL && entry->frame == NULL && (entry->removed || !removed)) {
		return;
	}
	if (entry == NULL) {
		return;
	}
	free(entry->frame);
	entry->frame = NULL;
	entry->frame_bytes = 0;
	entry->removed = removed;
	entry->change = ++cache->change;
}

void inventory_cache_compact(struct inventory_cache *cache, uint64_t sent)
{
	size_t kept = 0;

	for (size_t i = 0; i < cache->count; i++) {
		if (cache->entries[i].frame != NULL || cache->entries[i].change > sent) {
			cache->entries[kept++] = cache->entries[i];
		}
	}
	cache->count = kept;
}

void inventory_cache_done(struct inventory_cache *cache)
{
	for (size_t i = 0; i < cache->count; i++) {
		free(cache->entries[i].frame);
	}
	free(cache->entries);
	*cache = (struct inventory_cache){ 0 };
}
