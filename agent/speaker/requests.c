/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "agent/speaker/requests_internal.h"
#include "base/err.h"

/* ---- lists and ids ---- */

static void unlink_slot(requests_t *requests, uint32_t index)
{
	struct slot *slot = &requests->slots[index];

	if (slot->previous != NONE) {
		requests->slots[slot->previous].next = slot->next;
	} else {
		requests->lists[slot->list].first = slot->next;
	}
	if (slot->next != NONE) {
		requests->slots[slot->next].previous = slot->previous;
	} else {
		requests->lists[slot->list].last = slot->previous;
	}
	requests->lists[slot->list].count--;
}

static void append_slot(requests_t *requests, uint32_t index, enum list list)
{
	struct slot *slot = &requests->slots[index];

	slot->list = (uint8_t)list;
	slot->next = NONE;
	slot->previous = requests->lists[list].last;
	if (slot->previous != NONE) {
		requests->slots[slot->previous].next = index;
	} else {
		requests->lists[list].first = index;
	}
	requests->lists[list].last = index;
	requests->lists[list].count++;
}

static void move_slot(requests_t *requests, uint32_t index, enum list list)
{
	unlink_slot(requests, index);
	append_slot(requests, index, list);
}

static uint32_t *bucket_of(const requests_t *requests, uint64_t id)
{
	return &requests->buckets[(id * 0x9e3779b97f4a7c15ULL >> 32) & requests->bucket_mask];
}

static uint32_t find(const requests_t *requests, uint64_t id)
{
	uint32_t index = *bucket_of(requests, id);

	while (index != NONE && requests->slots[index].request.id != id) {
		index = requests->slots[index].chain;
	}
	return index;
}

static void release(requests_t *requests, uint32_t index)
{
	uint32_t *at = bucket_of(requests, requests->slots[index].request.id);

	while (*at != index) {
		at = &requests->slots[*at].chain;
	}
	*at = requests->slots[index].chain;
	move_slot(requests, index, LIST_FREE);
}

int requests_new(uint32_t capacity, requests_t **ret_requests)
{
	uint32_t buckets = 64;

	if (capacity == 0 || capacity > 1U << 24) {
		return PR_EINVAL;
	}
	_cleanup_(requests_destroy) requests_t *requests = calloc(1, sizeof(*requests));
	if (requests == NULL) {
		return PR_ENOMEM;
	}
	while (buckets < capacity) {
		buckets *= 2;
	}
	requests->capacity = capacity;
	requests->bucket_mask = buckets - 1;
	requests->slots = calloc(capacity, sizeof(*requests->slots));
	requests->buckets = malloc(buckets * sizeof(*requests->buckets));
	requests->recent = recent_new(REQUESTS_RECENT_MAX);
	if (requests->slots == NULL || requests->buckets == NULL || requests->recent == NULL) {
		return PR_ENOMEM;
	}
	memset(requests->buckets, 0xff, buckets * sizeof(*requests->buckets));
	for (size_t i = 0; i < _LIST_MAX; i++) {
		requests->lists[i].first = requests->lists[i].last = NONE;
	}
	for (uint32_t i = 0; i < capacity; i++) {
		append_slot(requests, i, LIST_FREE);
	}
	*ret_requests = take_ptr(requests);
	return PR_OK;
}

void requests_destroy(requests_t **requests_p)
{
	if (*requests_p == NULL) {
		return;
	}
	free((*requests_p)->slots);
	free((*requests_p)->buckets);
	recent_destroy(&(*requests_p)->recent);
	free(*requests_p);
	*requests_p = NULL;
}

/* ---- workers ---- */

/* Every open request is free to choose anew. */
static void ask_again(requests_t *requests, bool (*which)(const struct slot *slot, unsigned worker),
                      unsigned worker)
{
	uint32_t next;

	for (uint32_t index = requests->lists[LIST_ASKED].first; index != NONE; index = next) {
		struct slot *slot = &requests->slots[index];
		next = slot->next;
		if (which(slot, worker)) {
			slot->repeat = true;
			move_slot(requests, index, LIST_READY);
		}
	}
}

static bool any_slot(const struct slot *slot, unsigned worker)
{
	(void)slot;
	(void)worker;
	return true;
}

static bool slot_of_worker(const struct slot *slot, unsigned worker)
{
	return slot->worker == worker;
}

void requests_workers_set(requests_t *requests, const struct pr_uuid *ids, const uint32_t *groups,
                          size_t count)
{
	struct worker workers[SPEAKER_WORKERS_MAX] = { 0 };
	uint32_t place[SPEAKER_WORKERS_MAX];
	bool first = requests->worker_count == 0;

	assert(count <= SPEAKER_WORKERS_MAX);
	memset(place, 0xff, sizeof(place));
	for (size_t i = 0; i < count; i++) {
		workers[i].added = !first;
		for (size_t j = 0; j < requests->worker_count; j++) {
			if (pr_uuid_equal(&ids[i], &requests->workers[j].id)) {
				workers[i] = requests->workers[j];
				place[j] = (uint32_t)i;
			}
		}
		workers[i].id = ids[i];
		workers[i].group = groups != NULL ? groups[i] : (uint32_t)i;
		workers[i].up = false;
		requests->worker_ids[i] = ids[i];
	}
	requests_recent_move(requests, place);
	memcpy(requests->workers, workers, sizeof(workers));
	requests->worker_count = count;
	/* Positions have moved. */
	for (uint32_t i = 0; i < requests->capacity; i++) {
		requests->slots[i].tried = 0;
	}
	ask_again(requests, any_slot, 0);
	requests->stuck_retry_ns = 0;
}

void requests_worker_up(requests_t *requests, unsigned worker, bool up)
{
	struct worker *entry = &requests->workers[worker];

	if (worker >= requests->worker_count || entry->up == up) {
		return;
	}
	entry->up = up;
	entry->silent = false;
	entry->waited_ns = 0;
	requests->stuck_retry_ns = 0;
	requests->shaken = requests->shaken || entry->lost || entry->added || !up;
	entry->reborn = up && (entry->lost || entry->added);
	entry->added = entry->added && !up;
	entry->lost = !up;
	entry->told = up;
	if (!up) {
		ask_again(requests, slot_of_worker, worker);
	}
}

bool requests_reachable(const requests_t *requests)
{
	for (size_t i = 0; i < requests->worker_count; i++) {
		if (requests->workers[i].up) {
			return true;
		}
	}
	return false;
}

bool requests_worker_silent(const requests_t *requests, unsigned worker)
{
	return worker < requests->worker_count && requests->workers[worker].silent;
}

/* ---- requests ---- */

int requests_add(requests_t *requests, const struct codec_request *request)
{
	uint32_t index = requests->lists[LIST_FREE].first;

	if (find(requests, request->id) != NONE) {
		return PR_EEXIST;
	}
	if (index == NONE) {
		requests->counters.full++;
		return PR_EAGAIN;
	}
	struct slot *slot = &requests->slots[index];
	uint32_t *bucket = bucket_of(requests, request->id);
	slot->request = *request;
	slot->tried = 0;
	slot->first_ns = 0;
	slot->repeat = slot->second_told = slot->asked_other = false;
	slot->chain = *bucket;
	*bucket = index;
	move_slot(requests, index, LIST_READY);
	return PR_OK;
}

void requests_drop(requests_t *requests, uint64_t id)
{
	uint32_t index = find(requests, id);
	if (index != NONE) {
		release(requests, index);
	}
}

static void worker_heard(requests_t *requests, unsigned worker, uint64_t now_ns)
{
	if (worker < requests->worker_count) {
		struct worker *entry = &requests->workers[worker];
		requests->shaken = requests->shaken || entry->silent;
		entry->silent = false;
		entry->told = true;
		entry->answered_ns = now_ns;
		entry->waited_ns = 0;
	}
}

static unsigned other_of(const requests_t *requests, const struct codec_request *request,
                         uint64_t tried)
{
	unsigned order[SPEAKER_WORKERS_MAX];

	bus_rendezvous_order(requests_flow_key(request), requests->worker_ids,
	                     requests->worker_count, order);
	return requests_choose_of(requests, order, tried);
}

static void ask_next(requests_t *requests, uint32_t index, uint64_t tried)
{
	struct slot *slot = &requests->slots[index];

	slot->tried = tried;
	slot->asked_other = slot->repeat = true;
	move_slot(requests, index, LIST_READY);
}

bool requests_ask_again(requests_t *requests, unsigned worker, uint64_t id, bool newborn,
                        uint64_t now_ns)
{
	uint32_t index = find(requests, id);

	worker_heard(requests, worker, now_ns);
	if (index == NONE || worker >= requests->worker_count) {
		return false;
	}
	struct slot *slot = &requests->slots[index];
	if (slot->list == LIST_ASKED && slot->worker != worker) {
		return true; /* a late answer: another is being asked already */
	}
	if (slot->request.end != CODEC_END_FAR) {
		return false;
	}
	uint64_t tried = slot->tried | 1ULL << worker;
	if (!slot->asked_other &&
	    other_of(requests, &slot->request, tried) != SPEAKER_WORKERS_MAX) {
		ask_next(requests, index, tried);
		return true;
	}
	if (newborn && now_ns - slot->first_ns < REQUESTS_NEWBORN_NS) {
		ask_next(requests, index, 0); /* near ends are told to the first of its order */
		return true;
	}
	return false;
}

bool requests_answered(requests_t *requests, unsigned worker, uint64_t id, uint64_t connection,
                       uint64_t now_ns)
{
	worker_heard(requests, worker, now_ns);
	uint32_t index = find(requests, id);
	if (index == NONE) {
		requests->counters.unasked++;
		return false;
	}
	requests->counters.answered++;
	if (requests->slots[index].request.end == CODEC_END_NEAR) {
		requests_near_end_put(requests, worker, &requests->slots[index].request, connection,
		                      now_ns);
	}
	release(requests, index);
	return true;
}

/* Is a worker of the same controller among those that were asked? */
static bool group_was_tried(const requests_t *requests, unsigned worker, uint64_t tried)
{
	for (size_t i = 0; tried != 0 && i < requests->worker_count; i++) {
		if ((tried >> i & 1) != 0 &&
		    requests->workers[i].group == requests->workers[worker].group) {
			return true;
		}
	}
	return false;
}

/*
 * The first in the flow key's order that may be asked: one that answers before one that does not,
 * and behind one that did not answer, one of another controller: its neighbours may be frozen too.
 */
unsigned requests_choose_of(const requests_t *requests, const unsigned *order, uint64_t tried)
{
	unsigned neighbour = SPEAKER_WORKERS_MAX, silent = SPEAKER_WORKERS_MAX;

	for (size_t i = 0; i < requests->worker_count; i++) {
		const struct worker *worker = &requests->workers[order[i]];
		if (!worker->up || worker->blocked || (tried >> order[i] & 1) != 0) {
			continue;
		}
		if (worker->silent) {
			silent = silent == SPEAKER_WORKERS_MAX ? order[i] : silent;
		} else if (!group_was_tried(requests, order[i], tried)) {
			return order[i];
		} else {
			neighbour = neighbour == SPEAKER_WORKERS_MAX ? order[i] : neighbour;
		}
	}
	return neighbour != SPEAKER_WORKERS_MAX ? neighbour : silent;
}

static unsigned choose(const requests_t *requests, struct slot *slot,
                       unsigned order[static SPEAKER_WORKERS_MAX])
{
	bus_rendezvous_order(requests_flow_key(&slot->request), requests->worker_ids,
	                     requests->worker_count, order);
	unsigned worker = requests_choose_of(requests, order, slot->tried);
	if (worker == SPEAKER_WORKERS_MAX && slot->tried != 0) {
		/* All were asked: a new round. */
		worker = requests_choose_of(requests, order, 0);
		if (worker != SPEAKER_WORKERS_MAX) {
			slot->tried = 0;
		}
	}
	return worker;
}

static void silent_mark(requests_t *requests, struct worker *worker, uint64_t now_ns)
{
	worker->silent = true;
	worker->told = false;
	worker->waited_ns = 0;
	worker->probed_ns = now_ns;
	requests->shaken = true;
	requests->counters.silent++;
}

/* Also a worker whose questions a second one answers: nobody waits for it then. */
static void workers_watch(requests_t *requests, uint64_t now_ns)
{
	for (size_t i = 0; i < requests->worker_count; i++) {
		struct worker *worker = &requests->workers[i];
		if (worker->up && !worker->silent && worker->waited_ns != 0 &&
		    now_ns - worker->waited_ns >= REQUESTS_RETRY_NS) {
			silent_mark(requests, worker, now_ns);
		}
	}
}

/* What waited for too long: its worker is silent if it has answered nothing since. */
static void timers_run(requests_t *requests, uint64_t now_ns)
{
	uint32_t index;

	while ((index = requests->lists[LIST_ASKED].first) != NONE) {
		struct slot *slot = &requests->slots[index];
		struct worker *worker = &requests->workers[slot->worker];
		if (now_ns - slot->asked_ns < REQUESTS_RETRY_NS) {
			return;
		}
		if (worker->answered_ns <= slot->asked_ns && !worker->silent) {
			silent_mark(requests, worker, now_ns);
		}
		slot->repeat = true;
		move_slot(requests, index, LIST_READY);
	}
}

/* Is a silent worker back? A copy of a request that goes elsewhere asks it; its answer tells. */
static void silent_probe(requests_t *requests, uint64_t now_ns, const struct requests_sink *sink)
{
	uint32_t index = requests->lists[LIST_READY].first;
	unsigned order[SPEAKER_WORKERS_MAX];

	for (unsigned i = 0; index != NONE && i < requests->worker_count; i++) {
		struct worker *worker = &requests->workers[i];
		if (worker->up && worker->silent &&
		    now_ns - worker->probed_ns >= REQUESTS_PROBE_NS &&
		    choose(requests, &requests->slots[index], order) != i) {
			worker->probed_ns = now_ns;
			if (sink->send(sink->context, i, &requests->slots[index].request, 1) ==
			    PR_OK) {
				requests->counters.probed++;
			}
		}
	}
}

static void batch_send(requests_t *requests, unsigned worker, size_t count, uint64_t now_ns,
                       const struct requests_sink *sink)
{
	if (sink->send(sink->context, worker, requests->batch, count) != PR_OK) {
		requests->workers[worker].blocked = true;
		return;
	}
	if (requests->workers[worker].waited_ns == 0 && !requests->workers[worker].silent) {
		requests->workers[worker].waited_ns = now_ns;
	}
	for (size_t i = 0; i < count; i++) {
		uint32_t index = requests->batch_slots[i];
		struct slot *slot = &requests->slots[index];
		slot->asked_ns = now_ns;
		slot->first_ns = slot->first_ns != 0 ? slot->first_ns : now_ns;
		slot->tried |= 1ULL << worker;
		requests->counters.repeated += slot->repeat;
		move_slot(requests, index, LIST_ASKED);
	}
	requests->counters.sent += count;
}

/* All that is ready and goes to one worker. */
static void worker_send(requests_t *requests, unsigned worker, uint64_t now_ns,
                        const struct requests_sink *sink)
{
	size_t count = 0;
	uint32_t next;

	for (uint32_t index = requests->lists[LIST_READY].first;
	     index != NONE && !requests->workers[worker].blocked; index = next) {
		next = requests->slots[index].next;
		if (requests->slots[index].worker != worker) {
			continue;
		}
		requests->batch[count] = requests->slots[index].request;
		requests->batch_slots[count++] = index;
		if (count == CODEC_BATCH_MAX) {
			batch_send(requests, worker, count, now_ns, sink);
			count = 0;
		}
	}
	if (count > 0) {
		batch_send(requests, worker, count, now_ns, sink);
	}
}

/* Choose a worker for all that is ready; a set bit in the result: this worker has some. */
static uint64_t ready_assign(requests_t *requests, uint64_t now_ns,
                             const struct requests_sink *sink)
{
	unsigned order[SPEAKER_WORKERS_MAX];
	uint64_t used = 0;
	uint32_t next;

	for (uint32_t index = requests->lists[LIST_READY].first; index != NONE; index = next) {
		struct slot *slot = &requests->slots[index];
		next = slot->next;
		unsigned worker = choose(requests, slot, order);
		if (worker == SPEAKER_WORKERS_MAX) {
			move_slot(requests, index, LIST_STUCK);
			continue;
		}
		slot->worker = (uint8_t)worker;
		requests_near_end_asked(requests, slot, worker, order, now_ns, sink);
		used |= 1ULL << worker;
	}
	return used;
}

void requests_turn(requests_t *requests, uint64_t now_ns, const struct requests_sink *sink)
{
	timers_run(requests, now_ns);
	workers_watch(requests, now_ns);
	if (requests->lists[LIST_STUCK].first != NONE && now_ns >= requests->stuck_retry_ns) {
		requests->stuck_retry_ns = now_ns + REQUESTS_STUCK_NS;
		while (requests->lists[LIST_STUCK].first != NONE) {
			move_slot(requests, requests->lists[LIST_STUCK].first, LIST_READY);
		}
	}
	for (size_t i = 0; i < requests->worker_count; i++) {
		requests->workers[i].blocked = false;
	}
	requests_tell(requests, now_ns, sink);
	silent_probe(requests, now_ns, sink);
	/* Each round with something left over has blocked a worker more. */
	while (requests->lists[LIST_READY].first != NONE) {
		uint64_t used = ready_assign(requests, now_ns, sink);
		for (unsigned i = 0; i < requests->worker_count; i++) {
			if ((used >> i & 1) != 0) {
				worker_send(requests, i, now_ns, sink);
			}
		}
	}
	requests_tell_flush(requests, now_ns, sink);
}

uint64_t requests_timeout_ns(const requests_t *requests)
{
	uint64_t due_ns = UINT64_MAX;
	uint32_t index = requests->lists[LIST_ASKED].first;

	if (requests->lists[LIST_READY].first != NONE || requests->shaken ||
	    requests->outbox_count > 0 || requests_orphans_due(requests)) {
		return 0;
	}
	if (index != NONE) {
		due_ns = requests->slots[index].asked_ns + REQUESTS_RETRY_NS;
	}
	if (requests->lists[LIST_STUCK].first != NONE && requests_reachable(requests) &&
	    requests->stuck_retry_ns < due_ns) {
		due_ns = requests->stuck_retry_ns;
	}
	return due_ns;
}

size_t requests_open(const requests_t *requests)
{
	return requests->capacity - requests->lists[LIST_FREE].count;
}

unsigned requests_only_worker(const requests_t *requests)
{
	uint32_t index = requests->lists[LIST_ASKED].first;

	return index != NONE && requests_open(requests) == 1 ? requests->slots[index].worker
	                                                     : SPEAKER_WORKERS_MAX;
}

void requests_counters(const requests_t *requests, struct requests_counters *ret_counters)
{
	*ret_counters = requests->counters;
}
