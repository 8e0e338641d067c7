/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdlib.h>
#include <string.h>

#include "policy/view.h"

/*
 * Sets of WAYS entries. An entry is a key, then an outcome of two words. The key's first word, the
 * head, has all small parts and the port's class; it is never 0, which marks a free entry. Then two
 * classes a word, those of the fields that the image's rules name. No chains: who makes many tuples
 * fall into one set gets misses, nothing worse.
 */

#define WAYS          4U
#define CLASSES_MAX   (POLICY_CLASSES_MAX - 2U) /* all but protocol's and port's */
#define KEY_WORDS     (1U + CLASSES_MAX / 2)
#define OUTCOME_WORDS 2U
#define SMALL_WORDS   4U /* an entry with up to two classes */
#define LARGE_WORDS   8U
#define PAGE_BYTES    4096U

/* What the head is made of, and how many bits each has. */
#define EPOCH_BITS   17
#define PROTO_BITS   8
#define PENDING_BITS 10
#define PORT_BITS    25

/*
 * For tests only: build a cache that leaves a part out of its key, to prove that they notice; and
 * one that is asked for every request.
 */
#ifndef POLICY_KEY_LEFT_OUT
#define POLICY_KEY_LEFT_OUT(part) false
#define POLICY_CACHE_ALWAYS       false
#endif

enum key_part {
	KEY_EPOCH,
	KEY_ASKER,
	KEY_MODES,
	KEY_PROTO,
	KEY_PENDING,
	KEY_PORT,
	KEY_PATTERN, /* that a path was compared with one */
	KEY_CLASSES, /* and on, one for each class */
};

_Static_assert(KEY_WORDS + OUTCOME_WORDS == LARGE_WORDS, "an entry is a cache line");
_Static_assert(POLICY_RULES_MAX < 1U << EPOCH_BITS, "a rule has one expiry");
_Static_assert(_POLICY_FIELD_MAX <= PENDING_BITS, "a bit for each field");
_Static_assert(POLICY_IMAGE_MAX_BYTES / 8 <= 1U << PORT_BITS, "classes are aligned to 8 bytes");
_Static_assert(POLICY_RULE_NUMBER_MAX < 1U << 30, "a rule's number and an action in 32 bits");
_Static_assert(EPOCH_BITS + PROTO_BITS + PENDING_BITS + PORT_BITS + 4 == 64, "the head is full");

struct policy_cache {
	/* Of the image that it is bound to. */
	uint64_t serial; /* 0: none */
	uint32_t epoch;
	uint64_t from_wall_ns, until_wall_ns; /* of the epoch; from until on it is another one */
	uint32_t key_words, entry_words;
	uint32_t set_shift;
	uint8_t classes[CLASSES_MAX]; /* that are in the key, in order; indexes into the tuple's */
	uint32_t class_count;

	struct policy_cache_counters counters;
	uint64_t *entries;
	size_t size_bytes;
	uint64_t touched[]; /* pages of entries that are not all zero, by bit */
};

struct key {
	uint64_t words[KEY_WORDS];
	uint64_t hash;
};

policy_cache_t *policy_cache_new(size_t max_bytes)
{
	size_t size_bytes = POLICY_CACHE_MIN_BYTES;
	while (size_bytes * 2 <= max_bytes && size_bytes < POLICY_CACHE_MAX_BYTES) {
		size_bytes *= 2;
	}
	policy_cache_t *cache = calloc(1, sizeof(*cache) + size_bytes / PAGE_BYTES / 8 + 8);
	if (cache == NULL) {
		return NULL;
	}
	cache->size_bytes = size_bytes;
	cache->entries = calloc(1, size_bytes);
	if (cache->entries == NULL) {
		policy_cache_destroy(&cache);
	}
	return cache;
}

void policy_cache_destroy(policy_cache_t **cache_p)
{
	if (*cache_p != NULL) {
		free((*cache_p)->entries);
		free(*cache_p);
		*cache_p = NULL;
	}
}

const struct policy_cache_counters *policy_cache_counters(const policy_cache_t *cache)
{
	return &cache->counters;
}

/* ---- another image ---- */

/* Only pages that were touched: the others would become memory by being written. */
static void empty(policy_cache_t *cache)
{
	for (size_t page = 0; page < cache->size_bytes / PAGE_BYTES; page++) {
		uint64_t bit = 1ULL << page % 64;
		if (cache->touched[page / 64] & bit) {
			memset((char *)cache->entries + page * PAGE_BYTES, 0, PAGE_BYTES);
			cache->touched[page / 64] &= ~bit;
		}
	}
}

static void choose_classes(policy_cache_t *cache, uint32_t used)
{
	cache->class_count = 0;
	for (uint32_t i = 0; i < POLICY_CLASSES_MAX; i++) {
		uint32_t field = i;
		if (i >= _POLICY_FIELD_MAX) {
			bool near = i == _POLICY_FIELD_MAX + POLICY_SIDE_SOURCE;
			field = near ? POLICY_FIELD_USER : POLICY_FIELD_TO_USER;
		}
		bool in_head = field == POLICY_FIELD_PROTO || field == POLICY_FIELD_PORT;
		if (used & 1U << field && !in_head) {
			cache->classes[cache->class_count++] = (uint8_t)i;
		}
	}
}

static void find_epoch(policy_cache_t *cache, const policy_image_t *image, uint64_t now_wall_ns)
{
	const uint64_t *expiries = POLICY_AT(image, image->expiries, uint64_t);
	uint32_t epoch = policy_image_epoch(image, now_wall_ns);
	cache->epoch = epoch;
	cache->from_wall_ns = epoch > 0 ? expiries[epoch - 1] : 0;
	cache->until_wall_ns = epoch < image->expiry_count ? expiries[epoch] : UINT64_MAX;
}

static void bind(policy_cache_t *cache, const policy_image_t *image, uint64_t now_wall_ns)
{
	cache->counters.emptied += cache->serial != 0;
	empty(cache);
	cache->serial = image->serial;
	choose_classes(cache, image->used);
	find_epoch(cache, image, now_wall_ns);
	bool small = cache->class_count <= 2;
	cache->key_words = small ? SMALL_WORDS - OUTCOME_WORDS : KEY_WORDS;
	cache->entry_words = small ? SMALL_WORDS : LARGE_WORDS;
	size_t sets = cache->size_bytes / (sizeof(uint64_t) * cache->entry_words * WAYS);
	cache->set_shift = 64 - (uint32_t)__builtin_ctzll(sets);
}

/* ---- keys ---- */

static inline uint64_t part(enum key_part which, uint64_t value)
{
	(void)which;
	return POLICY_KEY_LEFT_OUT(which) ? 0 : value;
}

/* As asker_mode() in evaluate.c: what is neither near nor far is both. Never 0. */
static inline uint64_t asker_bits(const struct policy_tuple *tuple)
{
	enum policy_end asker = tuple->request->asker;
	return asker == POLICY_END_NEAR ? 1 : asker == POLICY_END_FAR ? 2 : 3;
}

static inline uint64_t head_of(const policy_cache_t *cache, const struct policy_tuple *tuple)
{
	uint64_t modes = tuple->modes[0] | (uint64_t)tuple->modes[1] << 1;
	uint64_t head = part(KEY_ASKER, asker_bits(tuple) - 1) + 1;
	head = head << 2 | part(KEY_MODES, modes);
	head = head << EPOCH_BITS | part(KEY_EPOCH, cache->epoch);
	head = head << PROTO_BITS | part(KEY_PROTO, tuple->proto);
	head = head << PENDING_BITS | part(KEY_PENDING, tuple->pending);
	return head << PORT_BITS | part(KEY_PORT, tuple->classes[POLICY_FIELD_PORT] / 8);
}

static inline uint64_t class_of(const policy_cache_t *cache, const struct policy_tuple *tuple,
                                uint32_t nth)
{
	if (nth >= cache->class_count) {
		return 0;
	}
	uint32_t index = cache->classes[nth];
	return part(KEY_CLASSES + index, tuple->classes[index]);
}

static inline void make_key(const policy_cache_t *cache, const struct policy_tuple *tuple,
                            struct key *ret_key)
{
	uint64_t hash = ret_key->words[0] = head_of(cache, tuple);
	for (uint32_t i = 1; i < cache->key_words; i++) {
		uint64_t word =
			class_of(cache, tuple, i * 2 - 2) | class_of(cache, tuple, i * 2 - 1) << 32;
		ret_key->words[i] = word;
		hash = (hash * 0x9e3779b97f4a7c15ULL) ^ (hash >> 29) ^ word;
	}
	hash ^= hash >> 32;
	hash *= 0xd6e8feb86659fd93ULL;
	ret_key->hash = hash;
}

static inline uint64_t *set_of(policy_cache_t *cache, const struct key *key)
{
	return cache->entries + (key->hash >> cache->set_shift) * cache->entry_words * WAYS;
}

/* Each key has a way where it is looked for first, so that mostly one cache line is read. */
static inline uint64_t *way_of(const policy_cache_t *cache, uint64_t *set, const struct key *key,
                               uint32_t nth)
{
	return set + ((key->hash + nth) % WAYS) * cache->entry_words;
}

static inline bool key_equals(const policy_cache_t *cache, const uint64_t *entry,
                              const struct key *key)
{
	uint64_t differ = (entry[0] ^ key->words[0]) | (entry[1] ^ key->words[1]);
	for (uint32_t i = 2; i < cache->key_words; i++) {
		differ |= entry[i] ^ key->words[i];
	}
	return differ == 0;
}

/* ---- outcomes ---- */

/*
 * First word: rule, policy action, staged rule, staged action. Second, from its lowest bit: the
 * flags, `depends`, and the index + 1 among the expiries of the one until which it holds.
 */
enum outcome_flag {
	FLAG_ASKED = 1 << 0, /* since the set was last full */
	FLAG_ENFORCE = 1 << 1,
	FLAG_PROVISIONAL = 1 << 2,
	FLAG_SEVERAL = 1 << 3,
	FLAG_WOULD_DENY = 1 << 4,
	FLAG_LIFELINE = 1 << 5,
};
#define DEPENDS_SHIFT 8
#define UNTIL_SHIFT   32

static void pack(const policy_image_t *image, const struct policy_verdict *verdict,
                 uint64_t outcome[OUTCOME_WORDS])
{
	uint64_t until = verdict->valid_until_wall_ns;
	uint64_t index = until != 0 ? policy_image_epoch(image, until) : 0;
	outcome[0] = (uint64_t)verdict->rule << 2 | verdict->policy_action |
	             (uint64_t)verdict->staged_rule << 34 | (uint64_t)verdict->staged_action << 32;
	outcome[1] = index << UNTIL_SHIFT | (uint64_t)verdict->depends << DEPENDS_SHIFT |
	             (verdict->mode == POLICY_ENFORCE ? FLAG_ENFORCE : 0U) |
	             (verdict->provisional ? FLAG_PROVISIONAL : 0U) |
	             (verdict->several ? FLAG_SEVERAL : 0U) |
	             (verdict->would_deny ? FLAG_WOULD_DENY : 0U) |
	             (verdict->lifeline ? FLAG_LIFELINE : 0U);
}

static inline void unpack(const policy_image_t *image, const uint64_t outcome[OUTCOME_WORDS],
                          struct policy_verdict *ret_verdict)
{
	uint64_t rules = outcome[0], rest = outcome[1];
	uint32_t index = (uint32_t)(rest >> UNTIL_SHIFT);
	struct policy_verdict verdict = {
		.policy_action = rules & 3,
		.mode = rest & FLAG_ENFORCE ? POLICY_ENFORCE : POLICY_OBSERVE,
		.provisional = rest & FLAG_PROVISIONAL,
		.several = rest & FLAG_SEVERAL,
		.would_deny = rest & FLAG_WOULD_DENY,
		.lifeline = rest & FLAG_LIFELINE,
		.rule = (uint32_t)rules >> 2,
		.staged_rule = (uint32_t)(rules >> 34),
		.staged_action = rules >> 32 & 3,
		.depends = (uint32_t)rest >> DEPENDS_SHIFT,
		.revision = image->revision,
	};
	verdict.action = verdict.mode == POLICY_ENFORCE ? verdict.policy_action : POLICY_ALLOW;
	if (index != 0) {
		verdict.valid_until_wall_ns =
			POLICY_AT(image, image->expiries, uint64_t)[index - 1];
	}
	*ret_verdict = verdict;
}

/* ---- entries ---- */

/* NULL: all were asked for since the set was last full. They are let go next time, unless asked. */
static uint64_t *find_room(policy_cache_t *cache, const struct key *key)
{
	uint64_t *set = set_of(cache, key), *victim = NULL;
	uint32_t flags = cache->entry_words - 1;
	for (uint32_t i = WAYS; i-- > 0;) {
		uint64_t *entry = way_of(cache, set, key, i);
		bool better = victim == NULL || victim[0] != 0;
		if (entry[0] == 0 || (better && !(entry[flags] & FLAG_ASKED))) {
			victim = entry;
		}
	}
	for (uint32_t i = 0; i < WAYS && victim == NULL; i++) {
		way_of(cache, set, key, i)[flags] &= ~(uint64_t)FLAG_ASKED;
	}
	return victim;
}

static void keep(policy_cache_t *cache, const policy_image_t *image, const struct key *key,
                 const struct policy_verdict *verdict)
{
	uint64_t *entry = find_room(cache, key);
	if (entry == NULL) {
		return;
	}
	size_t page = (size_t)(entry - cache->entries) * sizeof(uint64_t) / PAGE_BYTES;
	cache->touched[page / 64] |= 1ULL << page % 64;
	cache->counters.evicted += entry[0] != 0;
	memcpy(entry, key->words, cache->key_words * sizeof(uint64_t));
	pack(image, verdict, entry + cache->entry_words - OUTCOME_WORDS);
}

/* NULL: it is not there. */
static inline uint64_t *find(policy_cache_t *cache, const struct key *key)
{
	uint64_t *set = set_of(cache, key);
	for (uint32_t i = 0; i < WAYS; i++) {
		uint64_t *entry = way_of(cache, set, key, i);
		if (key_equals(cache, entry, key)) {
			return entry;
		}
	}
	return NULL;
}

static void ask(policy_cache_t *cache, const struct policy_tuple *tuple, uint64_t now_wall_ns,
                struct policy_verdict *ret_verdict)
{
	struct key key;
	make_key(cache, tuple, &key);
	uint64_t *entry = find(cache, &key);
	if (entry != NULL) {
		uint64_t *outcome = entry + cache->entry_words - OUTCOME_WORDS;
		cache->counters.hits++;
		outcome[1] |= FLAG_ASKED;
		unpack(tuple->image, outcome, ret_verdict);
		return;
	}
	cache->counters.misses++;
	bool exact = policy_tuple_evaluate(tuple, now_wall_ns, ret_verdict);
	if (exact || POLICY_KEY_LEFT_OUT(KEY_PATTERN)) {
		keep(cache, tuple->image, &key, ret_verdict);
	} else {
		cache->counters.unkept++;
	}
}

void policy_image_evaluate_cached(const policy_image_t *image, policy_cache_t *cache,
                                  const struct policy_request *request, uint64_t now_wall_ns,
                                  struct policy_verdict *ret_verdict)
{
	struct policy_tuple tuple;
	struct policy_few few;
	if (cache == NULL) {
		policy_image_evaluate(image, request, now_wall_ns, ret_verdict);
		return;
	}
	if (cache->serial != image->serial) {
		bind(cache, image, now_wall_ns);
	} else if (now_wall_ns < cache->from_wall_ns || now_wall_ns >= cache->until_wall_ns) {
		find_epoch(cache, image, now_wall_ns);
	}
	policy_tuple_make(image, request, &tuple);
	if (!POLICY_CACHE_ALWAYS && policy_tuple_few(&tuple, &few)) {
		cache->counters.few++;
		policy_tuple_evaluate_few(&tuple, &few, now_wall_ns, ret_verdict);
		return;
	}
	ask(cache, &tuple, now_wall_ns, ret_verdict);
}
