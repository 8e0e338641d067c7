/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "agent/gate/pending.h"
#include "agent/part.h"
#include "base/err.h"

/*
 * Request ids: the question's index in the low bits and a number that never comes again above, so
 * that an id finds its question without a table and a late verdict finds nobody.
 */
#define ID_INDEX_BITS 24
#define ID_INDEX_MASK ((1U << ID_INDEX_BITS) - 1)

struct pending {
	uint64_t secrets[2];
	uint64_t ids; /* numbers given */
	uint32_t capacity, packet_capacity;
	uint32_t bucket_mask;
	uint32_t count;
	uint32_t free_question, free_packet;   /* lists by bucket_next and next */
	uint32_t fresh_question, fresh_packet; /* from here on never used: memory still untouched */
	uint32_t oldest, youngest;
	uint32_t count_slot[PART_NAMESPACE_MAX];
	uint32_t *buckets;
	struct pending_question *questions;
	struct pending_packet *packets;
};

static uint32_t bucket_count(uint32_t capacity)
{
	uint32_t count = 1;
	while (count < capacity) {
		count *= 2;
	}
	return count;
}

static uint32_t question_take(pending_t *pending)
{
	uint32_t index = pending->free_question;
	if (index != PENDING_NONE) {
		pending->free_question = pending->questions[index].bucket_next;
		return index;
	}
	return pending->fresh_question < pending->capacity ? pending->fresh_question++
	                                                   : PENDING_NONE;
}

static uint32_t packet_take(pending_t *pending)
{
	uint32_t index = pending->free_packet;
	if (index != PENDING_NONE) {
		pending->free_packet = pending->packets[index].next;
		return index;
	}
	return pending->fresh_packet < pending->packet_capacity ? pending->fresh_packet++
	                                                        : PENDING_NONE;
}

int pending_new(uint32_t capacity, const uint64_t secrets[static 2], pending_t **ret_pending)
{
	if (capacity == 0 || capacity > ID_INDEX_MASK / PENDING_PACKETS_PER) {
		return PR_EINVAL;
	}
	_cleanup_(pending_destroy) pending_t *pending = calloc(1, sizeof(*pending));
	if (pending == NULL) {
		return PR_ENOMEM;
	}
	memcpy(pending->secrets, secrets, sizeof(pending->secrets));
	pending->capacity = capacity;
	pending->packet_capacity = capacity * PENDING_PACKETS_PER;
	pending->bucket_mask = bucket_count(capacity) - 1;
	pending->buckets = calloc((size_t)pending->bucket_mask + 1, sizeof(*pending->buckets));
	pending->questions = calloc(capacity, sizeof(*pending->questions));
	pending->packets = calloc(pending->packet_capacity, sizeof(*pending->packets));
	if (pending->buckets == NULL || pending->questions == NULL || pending->packets == NULL) {
		return PR_ENOMEM;
	}
	memset(pending->buckets, 0xff, ((size_t)pending->bucket_mask + 1) * sizeof(uint32_t));
	pending->free_question = PENDING_NONE;
	pending->free_packet = PENDING_NONE;
	pending->oldest = PENDING_NONE;
	pending->youngest = PENDING_NONE;
	*ret_pending = take_ptr(pending);
	return PR_OK;
}

void pending_destroy(pending_t **pending_p)
{
	pending_t *pending = *pending_p;
	if (pending == NULL) {
		return;
	}
	assert(pending->count == 0);
	free(pending->buckets);
	free(pending->questions);
	free(pending->packets);
	free(pending);
	*pending_p = NULL;
}

uint32_t pending_count(const pending_t *pending)
{
	return pending->count;
}

uint32_t pending_count_slot(const pending_t *pending, uint32_t slot)
{
	return pending->count_slot[slot];
}

static uint32_t *bucket_of(pending_t *pending, const struct gate_key *key)
{
	return &pending->buckets[gate_key_hash(key, pending->secrets) & pending->bucket_mask];
}

struct pending_question *pending_find(pending_t *pending, const struct gate_key *key)
{
	for (uint32_t at = *bucket_of(pending, key); at != PENDING_NONE;
	     at = pending->questions[at].bucket_next) {
		if (gate_key_equal(&pending->questions[at].key, key)) {
			return &pending->questions[at];
		}
	}
	return NULL;
}

struct pending_question *pending_find_id(pending_t *pending, uint64_t id)
{
	uint32_t index = (uint32_t)(id & ID_INDEX_MASK);
	if (index >= pending->capacity || !pending->questions[index].open ||
	    pending->questions[index].request.id != id) {
		return NULL;
	}
	return &pending->questions[index];
}

struct pending_question *pending_oldest(pending_t *pending)
{
	return pending->oldest == PENDING_NONE ? NULL : &pending->questions[pending->oldest];
}

struct pending_question *pending_find_slot(pending_t *pending, uint32_t slot)
{
	for (uint32_t at = pending->oldest; at != PENDING_NONE;
	     at = pending->questions[at].younger) {
		if (pending->questions[at].key.slot == slot) {
			return &pending->questions[at];
		}
	}
	return NULL;
}

struct pending_question *pending_add(pending_t *pending, const struct gate_key *key,
                                     uint64_t now_ns)
{
	uint32_t index = question_take(pending);
	if (index == PENDING_NONE) {
		return NULL;
	}
	struct pending_question *question = &pending->questions[index];
	uint32_t *bucket = bucket_of(pending, key);

	*question = (struct pending_question){
		.key = *key,
		.asked_ns = now_ns,
		.decision = { .action = CODEC_ACTION_DENY,
		              .decided_by = CODEC_DECIDED_BY_DEADLINE },
		.packets = PENDING_NONE,
		.bucket_next = *bucket,
		.older = pending->youngest,
		.younger = PENDING_NONE,
		.open = true,
	};
	question->request.id = (++pending->ids << ID_INDEX_BITS) | index;
	*bucket = index;
	if (pending->youngest != PENDING_NONE) {
		pending->questions[pending->youngest].younger = index;
	} else {
		pending->oldest = index;
	}
	pending->youngest = index;
	pending->count++;
	pending->count_slot[key->slot]++;
	return question;
}

bool pending_hold(pending_t *pending, struct pending_question *question,
                  const struct pending_packet *packet)
{
	uint32_t index = packet_take(pending);
	if (index == PENDING_NONE) {
		return false;
	}
	struct pending_packet *held = &pending->packets[index];
	*held = *packet;
	held->next = PENDING_NONE;

	/* In the order in which they came: a UDP flow's packets must not change places. */
	uint32_t *link = &question->packets;
	while (*link != PENDING_NONE) {
		link = &pending->packets[*link].next;
	}
	*link = index;
	return true;
}

bool pending_holds(const struct pending_question *question)
{
	return question->packets != PENDING_NONE;
}

static void unlink_age(pending_t *pending, struct pending_question *question)
{
	if (question->older != PENDING_NONE) {
		pending->questions[question->older].younger = question->younger;
	} else {
		pending->oldest = question->younger;
	}
	if (question->younger != PENDING_NONE) {
		pending->questions[question->younger].older = question->older;
	} else {
		pending->youngest = question->older;
	}
}

static void unlink_bucket(pending_t *pending, struct pending_question *question)
{
	uint32_t index = (uint32_t)(question - pending->questions);
	uint32_t *link = bucket_of(pending, &question->key);
	while (*link != index) {
		link = &pending->questions[*link].bucket_next;
	}
	*link = question->bucket_next;
}

void pending_release(pending_t *pending, struct pending_question *question,
                     pending_answer_fn answer, void *arg)
{
	assert(question->open);
	while (question->packets != PENDING_NONE) {
		uint32_t index = question->packets;
		struct pending_packet *packet = &pending->packets[index];
		question->packets = packet->next;
		answer(question, packet, arg);
		packet->next = pending->free_packet;
		pending->free_packet = index;
	}
	unlink_age(pending, question);
	unlink_bucket(pending, question);
	pending->count--;
	pending->count_slot[question->key.slot]--;
	question->open = false;
	question->bucket_next = pending->free_question;
	pending->free_question = (uint32_t)(question - pending->questions);
}
