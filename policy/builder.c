/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdlib.h>
#include <string.h>

#include "policy/image.h"

static bool grow(struct policy_builder *builder, size_t wanted_bytes)
{
	size_t capacity = builder->capacity_bytes == 0 ? 64 * 1024 : builder->capacity_bytes;
	while (capacity < wanted_bytes) {
		capacity += capacity / 2;
	}
	if (capacity == builder->capacity_bytes) {
		return true;
	}
	char *bytes = realloc(builder->bytes, capacity);
	if (bytes == NULL) {
		builder->no_memory = true;
		return false;
	}
	memset(bytes + builder->capacity_bytes, 0, capacity - builder->capacity_bytes);
	builder->bytes = bytes;
	builder->capacity_bytes = capacity;
	return true;
}

uint32_t policy_builder_alloc(struct policy_builder *builder, size_t size_bytes)
{
	size_t start = (builder->used_bytes + 7) & ~(size_t)7;
	if (!policy_builder_good(builder)) {
		return 0;
	}
	if (size_bytes > POLICY_IMAGE_MAX_BYTES || start + size_bytes > POLICY_IMAGE_MAX_BYTES) {
		builder->too_big = true;
		return 0;
	}
	if (!grow(builder, start + size_bytes)) {
		return 0;
	}
	builder->used_bytes = start + size_bytes;
	return (uint32_t)start;
}

uint32_t policy_builder_text(struct policy_builder *builder, const char *text)
{
	if (text == NULL) {
		return 0;
	}
	size_t bytes = strlen(text) + 1;
	uint32_t offset = policy_builder_alloc(builder, bytes);
	if (offset != 0) {
		memcpy(builder->bytes + offset, text, bytes);
	}
	return offset;
}

void *policy_builder_temporary(struct policy_builder *builder, size_t count, size_t item_bytes)
{
	void *memory = calloc(count == 0 ? 1 : count, item_bytes);
	if (memory == NULL) {
		builder->no_memory = true;
	}
	return memory;
}

/* ---- classes ---- */

static size_t class_head_bytes(const struct policy_builder *builder)
{
	size_t ranks_bytes = (builder->block_count * sizeof(uint32_t) + 7) & ~(size_t)7;
	return builder->block_count * sizeof(uint64_t) + ranks_bytes;
}

static uint32_t scratch_hash(const struct policy_builder *builder, uint32_t *ret_words)
{
	uint64_t hash = 0x9e3779b97f4a7c15ULL;
	uint32_t words = 0;
	for (uint32_t i = 0; i < builder->word_count; i++) {
		if (builder->scratch[i] != 0) {
			hash = (hash ^ (builder->scratch[i] + i)) * 0xd6e8feb86659fd93ULL;
			hash ^= hash >> 32;
			words++;
		}
	}
	*ret_words = words;
	return (uint32_t)(hash >> 24);
}

static bool class_equals(const struct policy_builder *builder, uint32_t class_offset)
{
	const uint64_t *summary = POLICY_AT(builder->bytes, class_offset, uint64_t);
	const uint64_t *words =
		POLICY_AT(builder->bytes, class_offset + class_head_bytes(builder), uint64_t);
	for (uint32_t i = 0; i < builder->word_count; i++) {
		bool stored = summary[i / 64] >> i % 64 & 1;
		if (builder->scratch[i] != (stored ? *words : 0)) {
			return false;
		}
		words += stored;
	}
	return true;
}

static uint32_t class_write(struct policy_builder *builder, uint32_t word_count)
{
	size_t head_bytes = class_head_bytes(builder);
	uint32_t offset = policy_builder_alloc(builder, head_bytes + word_count * sizeof(uint64_t));
	if (offset == 0) {
		return 0;
	}
	uint64_t *summary = (uint64_t *)(builder->bytes + offset);
	uint32_t *ranks = (uint32_t *)(summary + builder->block_count);
	uint64_t *words = (uint64_t *)(builder->bytes + offset + head_bytes);
	uint32_t stored = 0;
	for (uint32_t i = 0; i < builder->word_count; i++) {
		if (i % 64 == 0) {
			ranks[i / 64] = stored;
		}
		if (builder->scratch[i] != 0) {
			summary[i / 64] |= 1ULL << i % 64;
			words[stored++] = builder->scratch[i];
		}
	}
	return offset;
}

/* Slots hold pairs: hash, offset. */
static void class_place(uint32_t *slots, uint32_t mask, uint32_t hash, uint32_t offset)
{
	uint32_t slot = hash & mask;
	while (slots[slot * 2 + 1] != 0) {
		slot = (slot + 1) & mask;
	}
	slots[slot * 2] = hash;
	slots[slot * 2 + 1] = offset;
}

static bool class_slots_grow(struct policy_builder *builder)
{
	uint32_t old_count = builder->class_slots == NULL ? 0 : builder->class_slot_mask + 1;
	uint32_t count = old_count == 0 ? 1024 : old_count * 2;
	uint32_t *slots = policy_builder_temporary(builder, (size_t)count * 2, sizeof(*slots));
	if (slots == NULL) {
		return false;
	}
	for (uint32_t i = 0; i < old_count; i++) {
		if (builder->class_slots[i * 2 + 1] != 0) {
			class_place(slots, count - 1, builder->class_slots[i * 2],
			            builder->class_slots[i * 2 + 1]);
		}
	}
	free(builder->class_slots);
	builder->class_slots = slots;
	builder->class_slot_mask = count - 1;
	return true;
}

uint32_t policy_builder_class_keep(struct policy_builder *builder)
{
	uint32_t words = 0;
	uint32_t hash = scratch_hash(builder, &words);
	if (words == 0 || !policy_builder_good(builder)) {
		return 0;
	}
	bool full =
		builder->class_slots == NULL || builder->class_count * 2 > builder->class_slot_mask;
	if (full && !class_slots_grow(builder)) {
		return 0;
	}
	uint32_t slot = hash & builder->class_slot_mask;
	while (builder->class_slots[slot * 2 + 1] != 0) {
		uint32_t offset = builder->class_slots[slot * 2 + 1];
		if (builder->class_slots[slot * 2] == hash && class_equals(builder, offset)) {
			return offset;
		}
		slot = (slot + 1) & builder->class_slot_mask;
	}
	uint32_t offset = class_write(builder, words);
	if (offset != 0) {
		builder->class_slots[slot * 2] = hash;
		builder->class_slots[slot * 2 + 1] = offset;
		builder->class_count++;
	}
	return offset;
}

uint32_t policy_builder_class(struct policy_builder *builder)
{
	uint32_t offset = policy_builder_class_keep(builder);
	memset(builder->scratch, 0, builder->word_count * sizeof(uint64_t));
	return offset;
}

void policy_builder_class_or(struct policy_builder *builder, uint32_t class_offset)
{
	if (class_offset == 0) {
		return;
	}
	const uint64_t *summary = POLICY_AT(builder->bytes, class_offset, uint64_t);
	const uint64_t *words =
		POLICY_AT(builder->bytes, class_offset + class_head_bytes(builder), uint64_t);
	for (uint32_t block = 0; block < builder->block_count; block++) {
		for (uint64_t rest = summary[block]; rest != 0; rest &= rest - 1) {
			builder->scratch[block * 64 + (uint32_t)__builtin_ctzll(rest)] |= *words++;
		}
	}
}

/* ---- tables ---- */

void policy_builder_table(struct policy_builder *builder, struct policy_table *table,
                          uint32_t entries, uint32_t count,
                          uint32_t (*hash)(const void *bytes, uint32_t entries, uint32_t index))
{
	uint32_t slot_count = 8;
	while (slot_count < count * 2) {
		slot_count *= 2;
	}
	uint32_t offset = policy_builder_alloc(builder, slot_count * sizeof(uint32_t));
	if (offset == 0) {
		return;
	}
	uint32_t *slots = (uint32_t *)(builder->bytes + offset);
	for (uint32_t i = 0; i < count; i++) {
		uint32_t slot = hash(builder->bytes, entries, i) & (slot_count - 1);
		while (slots[slot] != 0) {
			slot = (slot + 1) & (slot_count - 1);
		}
		slots[slot] = i + 1;
	}
	*table = (struct policy_table){
		.slots = offset, .slot_mask = slot_count - 1, .entries = entries, .count = count
	};
}

/* ---- intervals ---- */

/* A rule begins or ends to hold at a key. */
struct change {
	struct policy_key key;
	uint32_t rule;
	bool begins;
};

int policy_key_compare(const struct policy_key *a, const struct policy_key *b)
{
	if (a->high != b->high) {
		return a->high < b->high ? -1 : 1;
	}
	return a->low == b->low ? 0 : a->low < b->low ? -1 : 1;
}

static int compare_changes(const void *left, const void *right)
{
	const struct change *a = left, *b = right;
	return policy_key_compare(&a->key, &b->key);
}

static size_t make_changes(const struct policy_array *spans, struct change *changes)
{
	const struct policy_span *span = spans->items;
	size_t count = 0;
	for (size_t i = 0; i < spans->count; i++, span++) {
		changes[count++] = (struct change){ span->first, span->rule, true };
		struct policy_key end = span->last;
		end.low++;
		end.high += end.low == 0;
		if (end.low != 0 || end.high != 0) { /* else it holds to the last key of all */
			changes[count++] = (struct change){ end, span->rule, false };
		}
	}
	qsort(changes, count, sizeof(*changes), compare_changes);
	return count;
}

/* Apply all changes at one key. A rule may hold by several spans at once: count them. */
static size_t apply_changes(struct policy_builder *builder, const struct change *changes,
                            size_t count, uint16_t *holds)
{
	size_t i = 0;
	while (i < count && policy_key_compare(&changes[i].key, &changes[0].key) == 0) {
		uint32_t rule = changes[i].rule;
		holds[rule] = (uint16_t)(holds[rule] + (changes[i].begins ? 1 : -1));
		if (holds[rule] > 0) {
			builder->scratch[rule / 64] |= 1ULL << rule % 64;
		} else {
			builder->scratch[rule / 64] &= ~(1ULL << rule % 64);
		}
		i++;
	}
	return i;
}

static uint32_t write_intervals(struct policy_builder *builder, const struct change *changes,
                                size_t count, uint16_t *holds, uint32_t keys, uint32_t classes)
{
	uint32_t intervals = 0;
	size_t i = 0;
	while (i < count && policy_builder_good(builder)) {
		struct policy_key key = changes[i].key;
		i += apply_changes(builder, changes + i, count - i, holds);
		uint32_t class_offset = policy_builder_class_keep(builder);
		((struct policy_key *)(builder->bytes + keys))[intervals] = key;
		((uint32_t *)(builder->bytes + classes))[intervals] = class_offset;
		intervals++;
	}
	memset(builder->scratch, 0, builder->word_count * sizeof(uint64_t));
	return intervals;
}

void policy_builder_intervals(struct policy_builder *builder, const struct policy_array *spans,
                              struct policy_intervals *ret_intervals)
{
	if (spans->count == 0 || !policy_builder_good(builder)) {
		return;
	}
	_cleanup_(pr_free) struct change *changes =
		policy_builder_temporary(builder, spans->count * 2, sizeof(*changes));
	_cleanup_(pr_free) uint16_t *holds =
		policy_builder_temporary(builder, builder->rule_count, sizeof(*holds));
	if (changes == NULL || holds == NULL) {
		return;
	}
	size_t count = make_changes(spans, changes);
	size_t keys = 1;
	for (size_t i = 1; i < count; i++) {
		keys += policy_key_compare(&changes[i].key, &changes[i - 1].key) != 0;
	}
	struct policy_intervals intervals = {
		.keys = policy_builder_alloc(builder, keys * sizeof(struct policy_key)),
		.classes = policy_builder_alloc(builder, keys * sizeof(uint32_t)),
	};
	if (!policy_builder_good(builder)) {
		return;
	}
	intervals.count =
		write_intervals(builder, changes, count, holds, intervals.keys, intervals.classes);
	*ret_intervals = intervals;
}
