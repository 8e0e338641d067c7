/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdlib.h>

#include "agent/speaker/recent.h"
#include "base/defs.h"

struct recent {
	size_t capacity, count, next;
	struct recent_entry entries[];
};

recent_t *recent_new(size_t capacity)
{
	recent_t *recent = calloc(1, sizeof(*recent) + capacity * sizeof(struct recent_entry));
	if (recent != NULL) {
		recent->capacity = capacity;
	}
	return recent;
}

void recent_destroy(recent_t **recent_p)
{
	free(*recent_p);
	*recent_p = NULL;
}

bool recent_put(recent_t *recent, uint32_t worker, const struct codec_notice *notice,
                uint64_t now_ns, uint64_t since_ns)
{
	struct recent_entry *entry = &recent->entries[recent->next];
	bool forgets = recent->count == recent->capacity && entry->told_ns >= since_ns;

	*entry = (struct recent_entry){ *notice, now_ns, worker };
	recent->next = (recent->next + 1) % recent->capacity;
	if (recent->count < recent->capacity) {
		recent->count++;
	}
	return forgets;
}

size_t recent_count(const recent_t *recent)
{
	return recent->count;
}

struct recent_entry *recent_next(recent_t *recent, uint64_t since_ns, size_t *at)
{
	while (*at < recent->count) {
		struct recent_entry *entry = &recent->entries[(*at)++];
		if (entry->told_ns >= since_ns) {
			return entry;
		}
	}
	return NULL;
}
