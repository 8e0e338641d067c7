/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdalign.h>
#include <stdlib.h>
#include <string.h>

#include "policy/internal.h"

#define CHUNK_BYTES (64U * 1024)

struct policy_chunk {
	struct policy_chunk *next;
	size_t used_bytes;
	size_t size_bytes;
	alignas(max_align_t) char bytes[];
};

static struct policy_chunk *chunk_for(struct policy_arena *arena, size_t size_bytes)
{
	struct policy_chunk *chunk = arena->chunks;
	if (chunk != NULL && chunk->size_bytes - chunk->used_bytes >= size_bytes) {
		return chunk;
	}
	size_t wanted_bytes = size_bytes > CHUNK_BYTES ? size_bytes : CHUNK_BYTES;
	chunk = calloc(1, sizeof(*chunk) + wanted_bytes);
	if (chunk == NULL) {
		arena->failed = true;
		return NULL;
	}
	chunk->size_bytes = wanted_bytes;
	chunk->next = arena->chunks;
	arena->chunks = chunk;
	return chunk;
}

static void *alloc_aligned(struct policy_arena *arena, size_t size_bytes, size_t align_bytes)
{
	struct policy_chunk *chunk = chunk_for(arena, size_bytes + align_bytes);
	if (chunk == NULL) {
		return NULL;
	}
	size_t start = (chunk->used_bytes + align_bytes - 1) & ~(align_bytes - 1);
	chunk->used_bytes = start + size_bytes;
	return chunk->bytes + start;
}

void *policy_arena_alloc(struct policy_arena *arena, size_t size_bytes)
{
	return alloc_aligned(arena, size_bytes, sizeof(void *));
}

void *policy_arena_copy(struct policy_arena *arena, const void *data, size_t size_bytes)
{
	void *copy = policy_arena_alloc(arena, size_bytes);
	if (copy != NULL && size_bytes > 0) {
		memcpy(copy, data, size_bytes);
	}
	return copy;
}

const char *policy_arena_text(struct policy_arena *arena, const char *text, size_t size_bytes)
{
	char *copy = alloc_aligned(arena, size_bytes + 1, 1);
	if (copy != NULL) {
		memcpy(copy, text, size_bytes);
		copy[size_bytes] = '\0';
	}
	return copy;
}

void policy_arena_done(struct policy_arena *arena)
{
	while (arena->chunks != NULL) {
		struct policy_chunk *chunk = arena->chunks;
		arena->chunks = chunk->next;
		free(chunk);
	}
}

void *policy_array_add(struct policy_array *array, size_t item_bytes)
{
	if (array->count == array->capacity) {
		size_t capacity = array->capacity == 0 ? 8 : array->capacity * 2;
		void *items = reallocarray(array->items, capacity, item_bytes);
		if (items == NULL) {
			return NULL;
		}
		array->items = items;
		array->capacity = capacity;
	}
	void *item = (char *)array->items + array->count * item_bytes;
	array->count++;
	return memset(item, 0, item_bytes);
}

void policy_array_done(struct policy_array *array)
{
	free(array->items);
	*array = (struct policy_array){ 0 };
}

/* FNV-1a with a final mix: short keys, and not open to the network without a commit first. */
uint32_t policy_hash(const void *data, size_t size_bytes)
{
	const unsigned char *bytes = data;
	uint64_t hash = 0xcbf29ce484222325ULL;
	for (size_t i = 0; i < size_bytes; i++) {
		hash = (hash ^ bytes[i]) * 0x100000001b3ULL;
	}
	hash ^= hash >> 32;
	hash *= 0xd6e8feb86659fd93ULL;
	return (uint32_t)(hash >> 32);
}

uint32_t policy_names_find(const struct policy_names *names, const char *name)
{
	if (names->slots == NULL) {
		return POLICY_NO_INDEX;
	}
	uint32_t slot = policy_hash(name, strlen(name)) & names->slot_mask;
	while (names->slots[slot] != 0) {
		uint32_t index = names->slots[slot] - 1;
		if (strcmp(names->names[index], name) == 0) {
			return index;
		}
		slot = (slot + 1) & names->slot_mask;
	}
	return POLICY_NO_INDEX;
}

static void names_place(struct policy_names *names, uint32_t index)
{
	const char *name = names->names[index];
	uint32_t slot = policy_hash(name, strlen(name)) & names->slot_mask;
	while (names->slots[slot] != 0) {
		slot = (slot + 1) & names->slot_mask;
	}
	names->slots[slot] = index + 1;
}

static bool names_grow(struct policy_names *names)
{
	uint32_t capacity = names->capacity == 0 ? 16 : names->capacity * 2;
	const char **by_index = reallocarray(names->names, capacity, sizeof(*by_index));
	if (by_index == NULL) {
		return false;
	}
	names->names = by_index;
	uint32_t *slots = calloc(capacity * 2, sizeof(*slots));
	if (slots == NULL) {
		return false;
	}
	free(names->slots);
	names->slots = slots;
	names->slot_mask = capacity * 2 - 1;
	names->capacity = capacity;
	for (uint32_t i = 0; i < names->count; i++) {
		names_place(names, i);
	}
	return true;
}

uint32_t policy_names_add(struct policy_names *names, const char *name)
{
	if (names->count == names->capacity && !names_grow(names)) {
		return POLICY_NO_INDEX;
	}
	names->names[names->count] = name;
	names_place(names, names->count);
	return names->count++;
}

void policy_names_done(struct policy_names *names)
{
	free(names->names);
	free(names->slots);
	*names = (struct policy_names){ 0 };
}
