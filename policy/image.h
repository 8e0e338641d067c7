/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/**
 * @file
 * The compiled image: layout and builder. Never included from outside.
 *
 * One allocation that begins with struct policy_image; everything else is found by byte offsets
 * from its start, so it can be copied and stored as it is. Offset 0 means "none".
 *
 * Rules stand in order of evaluation: lifelines, then enabled and staged rules by number. Rule i is
 * bit i of every bitset. A class is the set of rules that one value of a field satisfies; equal
 * sets are stored once, so a class's offset is its identity: cache.c keys verdicts on them. A class
 * is sparse:
 *
 *   uint32_t rules[]                only up to POLICY_FEW: their indexes, the first one last
 *   uint32_t rule_count             (ends where the class begins)
 *   uint64_t summary[block_count]   bit w: word w is not zero
 *   uint32_t rank[block_count]      words stored before this block (padded to 8 bytes)
 *   uint64_t words[]                the words that are not zero
 */

#include <string.h>

#include "policy/internal.h"

enum policy_side { POLICY_SIDE_SOURCE, POLICY_SIDE_DESTINATION, _POLICY_SIDE_MAX };

struct policy_image_rule {
	uint64_t expires_wall_ns;
	uint32_t number;              /* 0: lifeline */
	uint32_t comment, owner;      /* offsets of texts */
	uint32_t process, to_process; /* offsets of patterns; 0: no pattern */
	uint16_t constrained;         /* fields that the rule names, bit (1 << field) */
	uint8_t action, status;
};

struct policy_image_endpoint {
	struct pr_uuid id;
	uint32_t classes[_POLICY_SIDE_MAX];
	uint32_t group_first, group_count; /* in the array at `endpoint_groups` */
	uint32_t last_known_s;
	uint8_t mode, lost_kind;
};

struct policy_image_group {
	uint32_t name;
	uint32_t member_first, member_count; /* in the array at `members` */
};

/** So few rules of a class are listed as well. */
#define POLICY_FEW 8U

/** Bytes of a class from its begin to its words. */
static inline uint32_t policy_class_head_bytes(uint32_t block_count)
{
	return block_count * (uint32_t)sizeof(uint64_t) + (block_count + 1) / 2 * 8;
}

/** A slot of the hash table of endpoints: half a cache line, all that a verdict needs. */
struct policy_endpoint_slot {
	struct pr_uuid id;
	uint32_t classes[_POLICY_SIDE_MAX];
	uint32_t index; /* of the endpoint, + 1; 0: free */
	uint32_t mode;
};

/** What a port satisfies. */
struct policy_port {
	uint32_t class_offset;
	uint32_t only; /* the rule, + 1, if it is the only one: saves a look at the class */
};

/** Sorted starts of disjoint ranges; each has a class. */
struct policy_intervals {
	uint32_t count;
	uint32_t keys;    /* struct policy_key */
	uint32_t classes; /* uint32_t */
};

struct policy_key {
	uint64_t high, low;
};

/** Hash table: slots of entry index + 1. */
struct policy_table {
	uint32_t slots;
	uint32_t slot_mask;
	uint32_t entries;
	uint32_t count;
};

/** Entry of the tables by text or number. */
struct policy_entry {
	uint32_t text; /* offset; 0: by number */
	uint32_t number;
	uint32_t class_offset;
};

enum policy_port_table {
	POLICY_PORTS_TCP,
	POLICY_PORTS_UDP,
	POLICY_PORTS_ICMP,
	POLICY_PORTS_ICMP6,
	_POLICY_PORTS_MAX,
};

/** Users or processes of one end. */
struct policy_values {
	struct policy_table texts;   /* struct policy_entry: user names, paths */
	struct policy_table numbers; /* struct policy_entry: uids */
	uint32_t patterns;           /* class of all rules with a pattern */
};

struct policy_image {
	uint64_t size_bytes;
	uint64_t serial; /* no other image of this process has it; who loads one gives it a new one
	                  */
	uint64_t revision;
	uint32_t rule_count, word_count, block_count;
	uint32_t rules;                  /* struct policy_image_rule */
	uint32_t any[_POLICY_FIELD_MAX]; /* words, then summary: rules that do not name the field */
	uint32_t any_classes[_POLICY_FIELD_MAX]; /* the same rules as a class */
	uint32_t used;                           /* fields that any rule names, bit (1 << field) */
	uint32_t all;                            /* class of every rule */
	uint32_t proto_classes[256];       /* rules that name the protocol, with or without ports */
	uint32_t proto_whole_classes[256]; /* rules that name it without ports */
	uint32_t ports[_POLICY_PORTS_MAX]; /* 256 offsets of pages of 256 struct policy_port */
	struct policy_intervals v4[_POLICY_SIDE_MAX], v6[_POLICY_SIDE_MAX];
	struct policy_values users[_POLICY_SIDE_MAX];
	struct policy_values processes[_POLICY_SIDE_MAX];
	struct policy_table endpoints;     /* struct policy_image_endpoint, _slot */
	struct policy_table groups;        /* struct policy_image_group */
	uint32_t members, endpoint_groups; /* uint32_t indexes */
	uint32_t expiries, expiry_count;   /* uint64_t, the times at which rules expire, sorted */
	uint8_t default_mode;
	bool enforces;     /* the default or a group is in enforce */
	bool modes_differ; /* some group has a mode of its own */
	struct policy_lost default_lost;
};

#define POLICY_AT(image, offset, type) ((const type *)((const char *)(image) + (offset)))

static inline uint32_t policy_uuid_hash(const struct pr_uuid *id)
{
	uint64_t halves[2];
	memcpy(halves, id->bytes, sizeof(halves));
	uint64_t hash = (halves[0] ^ halves[1] >> 32 ^ halves[1] << 32) * 0xd6e8feb86659fd93ULL;
	return (uint32_t)(hash >> 32);
}

/* Inline: a call into another library costs more than the compare. */
static inline bool policy_uuid_equal(const struct pr_uuid *a, const struct pr_uuid *b)
{
	uint64_t x[2], y[2];
	memcpy(x, a->bytes, sizeof(x));
	memcpy(y, b->bytes, sizeof(y));
	return ((x[0] ^ y[0]) | (x[1] ^ y[1])) == 0;
}

/* The base machine has no popcnt instruction, and the library's function uses a table. */
static inline uint32_t policy_popcount(uint64_t word)
{
	word -= word >> 1 & 0x5555555555555555ULL;
	word = (word & 0x3333333333333333ULL) + (word >> 2 & 0x3333333333333333ULL);
	word = (word + (word >> 4)) & 0x0f0f0f0f0f0f0f0fULL;
	return (uint32_t)(word * 0x0101010101010101ULL >> 56);
}

static inline enum policy_port_table policy_port_table_of(uint8_t proto)
{
	switch (proto) {
	case POLICY_PROTO_TCP:
		return POLICY_PORTS_TCP;
	case POLICY_PROTO_UDP:
		return POLICY_PORTS_UDP;
	case POLICY_PROTO_ICMP:
		return POLICY_PORTS_ICMP;
	case POLICY_PROTO_ICMP6:
		return POLICY_PORTS_ICMP6;
	default:
		return _POLICY_PORTS_MAX;
	}
}

static inline uint32_t policy_class_count(const policy_image_t *image, uint32_t class_offset)
{
	return class_offset != 0 ? POLICY_AT(image, class_offset, uint32_t)[-1] : 0;
}

/** Rule @p nth in order of a class of at most POLICY_FEW. */
static inline uint32_t policy_class_rule(const policy_image_t *image, uint32_t class_offset,
                                         uint32_t nth)
{
	return POLICY_AT(image, class_offset - sizeof(uint32_t) * (nth + 2), uint32_t)[0];
}

/** NULL: the image does not know it. The null UUID is never known. */
static inline const struct policy_endpoint_slot *policy_image_slot_find(const policy_image_t *image,
                                                                        const struct pr_uuid *id)
{
	const struct policy_endpoint_slot *slots =
		POLICY_AT(image, image->endpoints.slots, struct policy_endpoint_slot);
	uint32_t slot = policy_uuid_hash(id) & image->endpoints.slot_mask;
	while (slots[slot].index != 0) {
		if (policy_uuid_equal(&slots[slot].id, id)) {
			return &slots[slot];
		}
		slot = (slot + 1) & image->endpoints.slot_mask;
	}
	return NULL;
}

/** How many of the image's expiries have come: between two of them time does not matter. */
uint32_t policy_image_epoch(const policy_image_t *image, uint64_t now_wall_ns);
int policy_key_compare(const struct policy_key *a, const struct policy_key *b);
struct policy_key policy_key_of(const struct pr_addr *addr);
/** NULL: the image does not know it. */
const struct policy_image_endpoint *policy_image_endpoint_find(const policy_image_t *image,
                                                               const struct pr_uuid *id);
/** Class of the range that a key is in; 0: none. */
uint32_t policy_intervals_find(const policy_image_t *image,
                               const struct policy_intervals *intervals, struct policy_key key);
uint32_t policy_table_find_text(const policy_image_t *image, const struct policy_table *table,
                                const char *text);
uint32_t policy_table_find_number(const policy_image_t *image, const struct policy_table *table,
                                  uint32_t number);

void policy_image_rule_info(const policy_image_t *image, uint32_t index,
                            struct policy_rule_info *ret_info);

/* ---- builder ---- */

struct policy_builder {
	struct policy_image image; /* head; goes to the start of bytes at the end */
	char *bytes;               /* the image so far; moves when it grows */
	size_t used_bytes, capacity_bytes;
	bool no_memory, too_big; /* sticky */

	const policy_model_t *model;
	const struct policy_rule **rules; /* by index, lifelines made into rules */
	struct policy_rule lifelines[POLICY_LIFELINES_MAX];
	uint32_t lifeline_count;
	uint32_t rule_count, word_count, block_count;
	uint64_t *scratch;     /* word_count words, zero between uses */
	uint32_t *class_slots; /* pairs of hash and offset; 0: free */
	uint32_t class_slot_mask, class_count;

	const struct policy_endpoint **endpoints; /* by index; NULL: only named by the policy */
	struct pr_uuid *endpoint_ids;
	uint32_t endpoint_count;
	uint32_t *endpoint_slots; /* index + 1 */
	uint32_t endpoint_slot_mask;
	struct policy_array members;    /* uint32_t, group by group */
	uint32_t *member_first;         /* by group, one more at the end */
	uint32_t *endpoint_groups;      /* group indexes, endpoint by endpoint */
	uint32_t *endpoint_group_first; /* by endpoint, one more at the end */
};

static inline bool policy_builder_good(const struct policy_builder *builder)
{
	return !builder->no_memory && !builder->too_big;
}

/** Zeroed room in the image, aligned to 8. @return its offset, 0 on failure (sticky). */
uint32_t policy_builder_alloc(struct policy_builder *builder, size_t size_bytes);
/** A text in the image; NULL gives 0. */
uint32_t policy_builder_text(struct policy_builder *builder, const char *text);
/** Temporary memory, zeroed; NULL sets no_memory. Caller frees. */
void *policy_builder_temporary(struct policy_builder *builder, size_t count, size_t item_bytes);
static inline void policy_scratch_set(struct policy_builder *builder, uint32_t rule)
{
	builder->scratch[rule / 64] |= 1ULL << rule % 64;
}
/** The class of the rules in scratch; clears scratch. 0: none, or failure. */
uint32_t policy_builder_class(struct policy_builder *builder);
/** The same, but leaves scratch. */
uint32_t policy_builder_class_keep(struct policy_builder *builder);
/** Add the rules of a class to scratch. */
void policy_builder_class_or(struct policy_builder *builder, uint32_t class_offset);
/** Hash table over entries of the image that are already there. */
void policy_builder_table(struct policy_builder *builder, struct policy_table *table,
                          uint32_t entries, uint32_t count,
                          uint32_t (*hash)(const void *bytes, uint32_t entries, uint32_t index));

/** A range of keys and a rule that it satisfies. */
struct policy_span {
	struct policy_key first, last;
	uint32_t rule;
};

void policy_builder_intervals(struct policy_builder *builder, const struct policy_array *spans,
                              struct policy_intervals *ret_intervals);
/** The same for spans of ports, as pages. @return their offset, 0: none, or failure. */
uint32_t policy_builder_ports(struct policy_builder *builder, const struct policy_array *spans);

/** A value of a field and a rule, or a class of rules, that it satisfies. */
struct policy_link {
	const char *text; /* NULL: by number */
	uint32_t number;
	uint32_t rule; /* POLICY_NO_INDEX: class_offset */
	uint32_t class_offset;
};

/** Tables from values to classes. Sorts the links. */
void policy_builder_values(struct policy_builder *builder, const struct policy_array *links,
                           struct policy_values *ret_values);

/* Parts of the compiler: each fills its part of the image. */
void policy_compile_services(struct policy_builder *builder);
void policy_compile_addresses(struct policy_builder *builder);
void policy_compile_users(struct policy_builder *builder);
void policy_compile_processes(struct policy_builder *builder);
void policy_compile_members(struct policy_builder *builder, const struct policy_endpoint *endpoints,
                            size_t endpoint_count);
void policy_compile_endpoints(struct policy_builder *builder);
/** Index among the builder's endpoints, POLICY_NO_INDEX if it is not one. */
uint32_t policy_builder_endpoint_find(const struct policy_builder *builder,
                                      const struct pr_uuid *id);
static inline const struct policy_operand *policy_rule_side(const struct policy_rule *rule,
                                                            enum policy_side side)
{
	return side == POLICY_SIDE_SOURCE ? &rule->source : &rule->destination;
}
