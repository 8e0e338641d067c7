/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "codec/codec.h"
#include "controller/flow.h"

#define NO_ENTRY UINT32_MAX

struct entry {
	struct flow_key key;
	struct flow_near near_end;
	uint64_t put_ns;
	uint32_t next;           /* in the chain of the key's hash */
	uint32_t older, younger; /* in the order of time; free entries use younger */
	bool used;               /* a far end has asked for it */
	uint32_t used_attempt;   /* its sequence number; 0: not known */
};

struct flow_table {
	struct entry *entries;
	uint32_t *buckets;
	uint32_t count_max, bucket_mask;
	uint32_t count;
	uint32_t touched; /* entries from here on were never used: their memory is not there yet */
	uint32_t free_first;
	uint32_t oldest, youngest;
	uint64_t secret;
	struct flow_counters counters;
};

/* Mixer of splitmix64. Source: Steele, Lea and Flood, "Fast splittable pseudorandom number
 * generators", OOPSLA 2014, section 4. */
static uint64_t mix(uint64_t value)
{
	value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9ULL;
	value = (value ^ (value >> 27)) * 0x94d049bb133111ebULL;
	return value ^ (value >> 31);
}

static uint64_t mix_in(uint64_t hash, uint64_t value)
{
	return mix((hash + 0x9e3779b97f4a7c15ULL) ^ value);
}

static uint64_t mix_bytes16(uint64_t hash, const uint8_t bytes[16])
{
	uint64_t words[2];

	memcpy(words, bytes, sizeof(words));
	return mix_in(mix_in(hash, words[0]), words[1]);
}

uint64_t flow_key_hash(const struct flow_key *key, uint64_t secret)
{
	uint64_t hash = mix_in(secret, ((uint64_t)key->proto << 16) | key->wire_dst_port);

	hash = mix_bytes16(hash, key->wire_src.bytes);
	return mix_bytes16(hash, key->wire_dst.bytes);
}

bool flow_key_equal(const struct flow_key *a, const struct flow_key *b)
{
	return a->proto == b->proto && a->wire_dst_port == b->wire_dst_port &&
	       pr_addr_equal(&a->wire_src, &b->wire_src) &&
	       pr_addr_equal(&a->wire_dst, &b->wire_dst);
}

uint64_t flow_connection_id(const struct flow_key *key, uint16_t src_port,
                            const struct pr_uuid *reporter, uint64_t request_id)
{
	uint64_t hash = mix_in(flow_key_hash(key, 0), src_port);

	hash = mix_in(mix_bytes16(hash, reporter->bytes), request_id);
	return hash != 0 ? hash : 1;
}

flow_table_t *flow_table_new(size_t count_max, uint64_t secret)
{
	_cleanup_(flow_table_destroy) flow_table_t *table = calloc(1, sizeof(*table));
	uint32_t buckets = 64;

	if (table == NULL || count_max == 0 || count_max >= NO_ENTRY / 2) {
		return NULL;
	}
	while (buckets < count_max) {
		buckets *= 2;
	}
	table->entries = calloc(count_max, sizeof(*table->entries));
	table->buckets = malloc(buckets * sizeof(*table->buckets));
	if (table->entries == NULL || table->buckets == NULL) {
		return NULL;
	}
	memset(table->buckets, 0xff, buckets * sizeof(*table->buckets));
	table->count_max = (uint32_t)count_max;
	table->bucket_mask = buckets - 1;
	table->free_first = table->oldest = table->youngest = NO_ENTRY;
	table->secret = secret;
	return take_ptr(table);
}

void flow_table_destroy(flow_table_t **table_p)
{
	if (*table_p == NULL) {
		return;
	}
	free((*table_p)->entries);
	free((*table_p)->buckets);
	free(*table_p);
	*table_p = NULL;
}

/* By source port too: one busy pair of hosts has thousands of connections under one flow key. */
static uint32_t *chain_of(flow_table_t *table, const struct flow_key *key, uint16_t src_port)
{
	uint64_t hash = mix_in(flow_key_hash(key, table->secret), src_port);

	return &table->buckets[hash & table->bucket_mask];
}

static void time_unlink(flow_table_t *table, uint32_t index)
{
	struct entry *entry = &table->entries[index];

	if (entry->older != NO_ENTRY) {
		table->entries[entry->older].younger = entry->younger;
	} else {
		table->oldest = entry->younger;
	}
	if (entry->younger != NO_ENTRY) {
		table->entries[entry->younger].older = entry->older;
	} else {
		table->youngest = entry->older;
	}
}

static void time_append(flow_table_t *table, uint32_t index)
{
	struct entry *entry = &table->entries[index];

	entry->older = table->youngest;
	entry->younger = NO_ENTRY;
	if (table->youngest != NO_ENTRY) {
		table->entries[table->youngest].younger = index;
	} else {
		table->oldest = index;
	}
	table->youngest = index;
}

static void entry_remove(flow_table_t *table, uint32_t index)
{
	struct entry *entry = &table->entries[index];
	uint32_t *at = chain_of(table, &entry->key, entry->near_end.src_port);

	while (*at != index) {
		at = &table->entries[*at].next;
	}
	*at = entry->next;
	time_unlink(table, index);
	entry->younger = table->free_first;
	table->free_first = index;
	table->count--;
}

static uint32_t entry_take(flow_table_t *table)
{
	if (table->free_first == NO_ENTRY && table->touched == table->count_max) {
		entry_remove(table, table->oldest);
		table->counters.evicted++;
	}
	uint32_t index = table->free_first;
	if (index != NO_ENTRY) {
		table->free_first = table->entries[index].younger;
	} else {
		index = table->touched++;
	}
	table->count++;
	return index;
}

void flow_table_expire(flow_table_t *table, uint64_t now_ns)
{
	while (table->oldest != NO_ENTRY &&
	       now_ns - table->entries[table->oldest].put_ns > FLOW_LIFE_NS) {
		entry_remove(table, table->oldest);
		table->counters.expired++;
	}
}

/* The entry of the same initiator and source port, if any; counts those of the same key and port
 * and finds the oldest of them on the way. */
static uint32_t same_near(flow_table_t *table, const struct flow_key *key,
                          const struct flow_near *near_end, uint32_t *ret_count,
                          uint32_t *ret_oldest)
{
	uint32_t found = NO_ENTRY, oldest = NO_ENTRY, count = 0;

	for (uint32_t at = *chain_of(table, key, near_end->src_port); at != NO_ENTRY;
	     at = table->entries[at].next) {
		const struct entry *entry = &table->entries[at];
		if (!flow_key_equal(&entry->key, key) ||
		    entry->near_end.src_port != near_end->src_port) {
			continue;
		}
		count++;
		oldest = at; /* chains are newest first */
		if (pr_uuid_equal(&entry->near_end.initiator, &near_end->initiator)) {
			found = at;
		}
	}
	*ret_count = count;
	*ret_oldest = oldest;
	return found;
}

uint64_t flow_table_put(flow_table_t *table, const struct flow_key *key,
                        const struct flow_near *near_end, uint64_t now_ns)
{
	uint32_t same_key = 0, key_oldest = NO_ENTRY;
	uint64_t connection = near_end->connection;
	uint32_t used_attempt = 0;
	bool used = false;

	if (connection == 0) {
		connection = flow_connection_id(key, near_end->src_port, &near_end->initiator,
		                                near_end->request_id);
	}

	flow_table_expire(table, now_ns);
	uint32_t index = same_near(table, key, near_end, &same_key, &key_oldest);
	if (index != NO_ENTRY) {
		const struct entry *entry = &table->entries[index];
		bool same_request = entry->near_end.request_id == near_end->request_id;
		/* Without a port two connections look alike: only the request tells them apart. */
		if (same_request || (!entry->used && near_end->src_port != 0)) {
			connection =
				near_end->connection != 0 ? connection : entry->near_end.connection;
			used = entry->used;
			used_attempt = entry->used_attempt;
		}
		entry_remove(table, index);
		table->counters.replaced++;
	} else if (same_key >= FLOW_SAME_PORT_MAX) {
		entry_remove(table, key_oldest);
		table->counters.evicted++;
	}
	index = entry_take(table);
	struct entry *entry = &table->entries[index];
	*entry = (struct entry){ .key = *key,
		                 .near_end = *near_end,
		                 .put_ns = now_ns,
		                 .used = used,
		                 .used_attempt = used_attempt };
	entry->near_end.connection = connection;
	uint32_t *chain = chain_of(table, key, near_end->src_port);
	entry->next = *chain;
	*chain = index;
	time_append(table, index);
	table->counters.put++;
	return connection;
}

static bool fits(const struct entry *entry, const struct flow_key *key, uint16_t src_port,
                 const struct flow_query *query)
{
	const struct flow_near *near_end = &entry->near_end;
	bool same_host = pr_uuid_equal(&near_end->host, &query->host);

	if (near_end->src_port != src_port || !flow_key_equal(&entry->key, key)) {
		return false;
	}
	if (query->loopback) {
		return same_host && near_end->namespace_inode == query->namespace_inode;
	}
	return !query->local || same_host;
}

static bool same_who(const struct flow_near *a, const struct flow_near *b)
{
	return pr_uuid_equal(&a->initiator, &b->initiator) && a->from_state == b->from_state &&
	       a->uid == b->uid && strcmp(a->user, b->user) == 0 && strcmp(a->exe, b->exe) == 0;
}

/* How well an entry fits that lies under the query's key and port. */
enum fit {
	FIT_NONE,   /* a far end of another attempt has used it */
	FIT_OTHER,  /* its sequence number is another: of an earlier attempt, or changed on the way
	             */
	FIT_LIKELY, /* one of the sequence numbers is not known */
	FIT_EXACT,  /* or this very far end has used it */
};

static enum fit fit_of(const struct entry *entry, const struct flow_query *query)
{
	uint32_t near_attempt = entry->near_end.attempt;

	if (entry->used && entry->used_attempt != 0 && query->attempt != 0) {
		return entry->used_attempt == query->attempt ? FIT_EXACT : FIT_NONE;
	}
	if (near_attempt == 0 || query->attempt == 0) {
		return FIT_LIKELY;
	}
	return near_attempt == query->attempt ? FIT_EXACT : FIT_OTHER;
}

struct finding {
	struct entry *entry; /* of several that say the same, the youngest */
	enum fit fit;
	bool differ; /* several fit as well, and differ in who they are */
};

/* Among near ends with this source port, beside what an earlier call has found. */
static void find_port(flow_table_t *table, const struct flow_key *key, uint16_t src_port,
                      const struct flow_query *query, struct finding *finding)
{
	for (uint32_t at = *chain_of(table, key, src_port); at != NO_ENTRY;
	     at = table->entries[at].next) {
		struct entry *entry = &table->entries[at];
		enum fit fit = fits(entry, key, src_port, query) ? fit_of(entry, query) : FIT_NONE;
		if (fit == FIT_NONE || fit < finding->fit || (fit == FIT_OTHER && !query->last)) {
			continue;
		}
		if (fit > finding->fit) {
			*finding = (struct finding){ .entry = entry, .fit = fit };
		} else if (!same_who(&finding->entry->near_end, &entry->near_end)) {
			finding->differ = true;
		}
	}
}

enum flow_match flow_table_find(flow_table_t *table, const struct flow_key *key,
                                const struct flow_query *query, uint64_t now_ns,
                                const struct flow_near **ret_near)
{
	struct finding finding = { .fit = FIT_NONE };

	flow_table_expire(table, now_ns);
	if (query->src_port != 0) {
		find_port(table, key, query->src_port, query, &finding);
	}
	find_port(table, key, 0, query, &finding);
	if (finding.entry == NULL) {
		return FLOW_NONE;
	}
	if (finding.differ) {
		return FLOW_AMBIGUOUS;
	}
	finding.entry->used = true;
	finding.entry->used_attempt = query->attempt;
	*ret_near = &finding.entry->near_end;
	return FLOW_FOUND;
}

size_t flow_table_count(const flow_table_t *table)
{
	return table->count;
}

const struct flow_counters *flow_table_counters(const flow_table_t *table)
{
	return &table->counters;
}
