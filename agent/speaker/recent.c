/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdlib.h>

#include "agent/speaker/recent.h"
#include "base/defs.h"

struct entry {
	struct codec_request request;
	uint64_t answered_ns;
	unsigned worker;
};

struct recent {
	size_t capacity, count, next;
	struct entry entries[];
};

recent_t *recent_new(size_t capacity)
{
	recent_t *recent = calloc(1, sizeof(*recent) + capacity * sizeof(struct entry));
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

void recent_put(recent_t *recent, unsigned worker, const struct codec_request *request,
                uint64_t now_ns)
{
	recent->entries[recent->next] = (struct entry){ *request, now_ns, worker };
	recent->next = (recent->next + 1) % recent->capacity;
	if (recent->count < recent->capacity) {
		recent->count++;
	}
}

void recent_clear(recent_t *recent)
{
	recent->count = recent->next = 0;
}

const struct codec_request *recent_next(const recent_t *recent, unsigned worker, uint64_t since_ns,
                                        size_t *at)
{
	while (*at < recent->count) {
		const struct entry *entry = &recent->entries[(*at)++];
		if (entry->worker == worker && entry->answered_ns >= since_ns) {
			return &entry->request;
		}
	}
	return NULL;
}
