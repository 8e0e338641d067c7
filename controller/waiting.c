/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdlib.h>

#include "controller/decide.h"
#include "controller/waiting.h"

struct waiting {
	struct waiting_entry *entries; /* memory is used as they come */
	struct waiting_entry **buckets;
	struct waiting_entry *free_first, *oldest, *youngest;
	size_t count, count_max, touched, bucket_mask;
	uint64_t secret;
};

waiting_t *waiting_new(size_t count_max, uint64_t secret)
{
	_cleanup_(waiting_destroy) waiting_t *waiting = calloc(1, sizeof(*waiting));
	size_t buckets = 16;

	if (waiting == NULL) {
		return NULL;
	}
	while (buckets < count_max) {
		buckets *= 2;
	}
	waiting->entries = calloc(count_max, sizeof(*waiting->entries));
	waiting->buckets = calloc(buckets, sizeof(struct waiting_entry *));
	if (waiting->entries == NULL || waiting->buckets == NULL) {
		return NULL;
	}
	waiting->count_max = count_max;
	waiting->bucket_mask = buckets - 1;
	waiting->secret = secret;
	return take_ptr(waiting);
}

void waiting_destroy(waiting_t **waiting_p)
{
	if (*waiting_p == NULL) {
		return;
	}
	free((*waiting_p)->entries);
	free((*waiting_p)->buckets);
	free(*waiting_p);
	*waiting_p = NULL;
}

/* By source port too: one busy pair of hosts has many connections under one flow key. */
static struct waiting_entry **bucket_of(const waiting_t *waiting, const struct flow_key *key,
                                        uint16_t src_port)
{
	uint64_t hash = flow_key_hash(key, waiting->secret + src_port);

	return &waiting->buckets[hash & waiting->bucket_mask];
}

static struct waiting_entry *entry_take(waiting_t *waiting)
{
	struct waiting_entry *entry = waiting->free_first;

	if (entry != NULL) {
		waiting->free_first = entry->next;
	} else if (waiting->touched < waiting->count_max) {
		entry = &waiting->entries[waiting->touched++];
	}
	return entry;
}

bool waiting_put(waiting_t *waiting, const struct waiting_entry *from)
{
	struct flow_key key = decide_flow_key(&from->request);

	for (struct waiting_entry *entry = waiting_first(waiting, &key, from->request.src_port);
	     entry != NULL; entry = waiting_next(entry)) {
		if (entry->request.id == from->request.id &&
		    pr_uuid_equal(&entry->agent, &from->agent)) {
			entry->route = from->route;
			return true;
		}
	}
	struct waiting_entry *entry = entry_take(waiting);
	if (entry == NULL) {
		return false;
	}
	struct waiting_entry **bucket = bucket_of(waiting, &key, from->request.src_port);
	*entry = *from;
	entry->key = key;
	entry->next = *bucket;
	*bucket = entry;
	entry->younger = NULL;
	entry->older = waiting->youngest;
	if (waiting->youngest != NULL) {
		waiting->youngest->younger = entry;
	} else {
		waiting->oldest = entry;
	}
	waiting->youngest = entry;
	waiting->count++;
	return true;
}

void waiting_remove(waiting_t *waiting, struct waiting_entry *entry)
{
	struct waiting_entry **at = bucket_of(waiting, &entry->key, entry->request.src_port);

	while (*at != entry) {
		at = &(*at)->next;
	}
	*at = entry->next;
	if (entry->older != NULL) {
		entry->older->younger = entry->younger;
	} else {
		waiting->oldest = entry->younger;
	}
	if (entry->younger != NULL) {
		entry->younger->older = entry->older;
	} else {
		waiting->youngest = entry->older;
	}
	entry->next = waiting->free_first;
	waiting->free_first = entry;
	waiting->count--;
}

static struct waiting_entry *skip_to(struct waiting_entry *entry, const struct flow_key *key,
                                     uint16_t src_port)
{
	while (entry != NULL &&
	       (entry->request.src_port != src_port || !flow_key_equal(&entry->key, key))) {
		entry = entry->next;
	}
	return entry;
}

struct waiting_entry *waiting_first(const waiting_t *waiting, const struct flow_key *key,
                                    uint16_t src_port)
{
	return skip_to(*bucket_of(waiting, key, src_port), key, src_port);
}

struct waiting_entry *waiting_next(const struct waiting_entry *entry)
{
	return skip_to(entry->next, &entry->key, entry->request.src_port);
}

struct waiting_entry *waiting_oldest(const waiting_t *waiting)
{
	return waiting->oldest;
}

size_t waiting_count(const waiting_t *waiting)
{
	return waiting->count;
}
