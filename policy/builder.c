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
	return policy_class_head_bytes(builder->block_count);
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

static uint32_t scratch_count(const struct policy_builder *builder)
{
	uint32_t count = 0;
	for (uint32_t i = 0; i < builder->word_count; i++) {
		if (builder->scratch[i] != 0) {
			count += policy_popcount(builder->scratch[i]);
		}
	}
	return count;
}

/* Before the class: how many rules, and which if they are few. */
static void class_write_few(const struct policy_builder *builder, uint32_t offset, uint32_t count)
{
	uint32_t *end = (uint32_t *)(builder->bytes + offset);
	end[-1] = count;
	if (count > POLICY_FEW) {
		return;
	}
	for (uint32_t i = 0, nth = 0; nth < count; i++) {
		for (uint64_t bits = builder->scratch[i]; bits != 0; bits &= bits - 1) {
			nth++;
			end[-1 - (int)nth] = i * 64 + (uint32_t)__builtin_ctzll(bits);
		}
	}
}

static uint32_t class_write(struct policy_builder *builder, uint32_t word_count)
{
	uint32_t count = scratch_count(builder);
	size_t few_bytes = ((count <= POLICY_FEW ? count : 0) / 2 + 1) * sizeof(uint64_t);
	size_t head_bytes = class_head_bytes(builder);
	uint32_t offset = policy_builder_alloc(builder, few_bytes + head_bytes +
	                                                        word_count * sizeof(uint64_t));
	if (offset == 0) {
		return 0;
	}
	offset += (uint32_t)few_bytes;
	class_write_few(builder, offset, count);
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

/* Intervals on their way into the image. */
struct ranges {
	struct change *changes;
	size_t change_count;
	uint16_t *holds;         /* by rule */
	struct policy_key *keys; /* starts */
	uint32_t *classes;
	uint32_t count;
};

static void ranges_done(struct ranges *ranges)
{
	free(ranges->changes);
	free(ranges->holds);
	free(ranges->keys);
	free(ranges->classes);
}

/* Failure leaves none, and is in the builder. */
static void ranges_make(struct policy_builder *builder, const struct policy_array *spans,
                        struct ranges *ret_ranges)
{
	size_t most = spans->count * 2;
	struct ranges ranges = {
		.changes = policy_builder_temporary(builder, most, sizeof(struct change)),
		.holds = policy_builder_temporary(builder, builder->rule_count, sizeof(uint16_t)),
		.keys = policy_builder_temporary(builder, most, sizeof(struct policy_key)),
		.classes = policy_builder_temporary(builder, most, sizeof(uint32_t)),
	};
	if (policy_builder_good(builder)) {
		ranges.change_count = make_changes(spans, ranges.changes);
	}
	for (size_t i = 0; i < ranges.change_count && policy_builder_good(builder);) {
		struct policy_key key = ranges.changes[i].key;
		i += apply_changes(builder, ranges.changes + i, ranges.change_count - i,
		                   ranges.holds);
		ranges.keys[ranges.count] = key;
		ranges.classes[ranges.count++] = policy_builder_class_keep(builder);
	}
	memset(builder->scratch, 0, builder->word_count * sizeof(uint64_t));
	*ret_ranges = ranges;
}

void policy_builder_intervals(struct policy_builder *builder, const struct policy_array *spans,
                              struct policy_intervals *ret_intervals)
{
	if (spans->count == 0 || !policy_builder_good(builder)) {
		return;
	}
	_cleanup_(ranges_done) struct ranges ranges = { 0 };
	ranges_make(builder, spans, &ranges);
	size_t keys_bytes = ranges.count * sizeof(struct policy_key);
	size_t classes_bytes = ranges.count * sizeof(uint32_t);
	struct policy_intervals intervals = {
		.count = ranges.count,
		.keys = policy_builder_alloc(builder, keys_bytes),
		.classes = policy_builder_alloc(builder, classes_bytes),
	};
	if (!policy_builder_good(builder)) {
		return;
	}
	memcpy(builder->bytes + intervals.keys, ranges.keys, keys_bytes);
	memcpy(builder->bytes + intervals.classes, ranges.classes, classes_bytes);
	*ret_intervals = intervals;
}

/* ---- ports ---- */

#define PAGE_PORTS 256U
#define PAGE_BYTES (PAGE_PORTS * sizeof(struct policy_port))

/* The page of @p ports: @p before if it is the same, else a new one. */
static uint32_t write_page(struct policy_builder *builder, const struct policy_port *ports,
                           uint32_t before)
{
	if (before != 0 && memcmp(builder->bytes + before, ports, PAGE_BYTES) == 0) {
		return before;
	}
	uint32_t offset = policy_builder_alloc(builder, PAGE_BYTES);
	if (offset != 0) {
		memcpy(builder->bytes + offset, ports, PAGE_BYTES);
	}
	return offset;
}

static struct policy_port port_of(const struct policy_builder *builder, uint32_t class_offset)
{
	const struct policy_image *image = (const struct policy_image *)builder->bytes;
	struct policy_port port = { .class_offset = class_offset };
	if (policy_class_count(image, class_offset) == 1) {
		port.only = policy_class_rule(image, class_offset, 0) + 1;
	}
	return port;
}

uint32_t policy_builder_ports(struct policy_builder *builder, const struct policy_array *spans)
{
	_cleanup_(ranges_done) struct ranges ranges = { 0 };
	struct policy_port ports[PAGE_PORTS], now = { 0 };
	uint32_t page = 0, next = 0;
	if (spans->count == 0 || !policy_builder_good(builder)) {
		return 0;
	}
	ranges_make(builder, spans, &ranges);
	uint32_t pages = policy_builder_alloc(builder, PAGE_PORTS * sizeof(uint32_t));
	for (uint32_t port = 0; port <= UINT16_MAX && policy_builder_good(builder); port++) {
		if (next < ranges.count && ranges.keys[next].low == port) {
			now = port_of(builder, ranges.classes[next++]);
		}
		ports[port % PAGE_PORTS] = now;
		if (port % PAGE_PORTS == PAGE_PORTS - 1) {
			page = write_page(builder, ports, page);
			((uint32_t *)(builder->bytes + pages))[port / PAGE_PORTS] = page;
		}
	}
	return policy_builder_good(builder) ? pages : 0;
}
