/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who is told of a near end besides the worker that was asked. */
#include <string.h>

#include "agent/speaker/requests_internal.h"
#include "base/err.h"

/* ---- keys ---- */

static uint64_t key_hash(uint8_t proto, const struct pr_addr *src, const struct pr_addr *dst,
                         uint16_t dst_port)
{
	uint8_t text[1 + 16 + 16 + 2];
	uint64_t hash = 0xcbf29ce484222325ULL;

	text[0] = proto;
	memcpy(text + 1, src->bytes, 16);
	memcpy(text + 17, dst->bytes, 16);
	text[33] = (uint8_t)(dst_port >> 8);
	text[34] = (uint8_t)dst_port;
	for (size_t i = 0; i < sizeof(text); i++) {
		hash = (hash ^ text[i]) * 0x100000001b3ULL;
	}
	return hash;
}

uint64_t requests_flow_key(const struct codec_request *request)
{
	return key_hash(request->proto, &request->wire_src, &request->wire_dst,
	                request->wire_dst_port);
}

uint64_t requests_notice_key(const struct codec_notice *notice)
{
	return key_hash(notice->proto, &notice->wire_src, &notice->wire_dst, notice->wire_dst_port);
}

/* ---- what goes out ---- */

static void batch_send(requests_t *requests, unsigned worker, size_t count,
                       const struct requests_sink *sink)
{
	if (count == 0) {
		return;
	}
	if (sink->notify(sink->context, worker, requests->notice_batch, count) == PR_OK) {
		requests->counters.notices += count;
	} else {
		requests->counters.notices_lost += count;
	}
}

static void outbox_send(requests_t *requests, const struct requests_sink *sink)
{
	for (unsigned to = 0; to < requests->worker_count; to++) {
		size_t count = 0;
		for (size_t i = 0; i < requests->outbox_count; i++) {
			if (requests->outbox[i].to != to) {
				continue;
			}
			requests->notice_batch[count++] = requests->outbox[i].notice;
			if (count == CODEC_BATCH_MAX) {
				batch_send(requests, to, count, sink);
				count = 0;
			}
		}
		batch_send(requests, to, count, sink);
	}
	/* What has no addressee yet stays. */
	size_t kept = 0;
	for (size_t i = 0; i < requests->outbox_count; i++) {
		if (requests->outbox[i].to == RECENT_NOBODY) {
			requests->outbox[kept++] = requests->outbox[i];
		}
	}
	requests->outbox_count = kept;
}

static void outbox_put(requests_t *requests, unsigned to, const struct codec_notice *notice,
                       const struct requests_sink *sink)
{
	if (to == SPEAKER_WORKERS_MAX) {
		return;
	}
	if (requests->outbox_count == REQUESTS_OUTBOX_MAX) {
		outbox_send(requests, sink);
	}
	if (requests->outbox_count == REQUESTS_OUTBOX_MAX) {
		requests->counters.notices_lost++;
		return;
	}
	requests->outbox[requests->outbox_count].to = to;
	requests->outbox[requests->outbox_count++].notice = *notice;
}

static uint64_t since(uint64_t now_ns)
{
	return now_ns > REQUESTS_RECENT_NS ? now_ns - REQUESTS_RECENT_NS : 0;
}

static void keep(requests_t *requests, uint32_t worker, const struct codec_notice *notice,
                 uint64_t now_ns)
{
	requests->orphans = requests->orphans || worker == RECENT_NOBODY;
	requests->counters.forgotten +=
		recent_put(requests->recent, worker, notice, now_ns, since(now_ns));
}

/* Whom a far end asks that has heard nothing at the first of the order. */
static unsigned second_of(const requests_t *requests, const unsigned *order, unsigned first,
                          uint64_t now_ns)
{
	if (now_ns >= requests->steady_ns && order[0] == first) {
		return SPEAKER_WORKERS_MAX;
	}
	unsigned second = requests_choose_of(requests, order, 1ULL << order[0]);
	return second != first ? second : SPEAKER_WORKERS_MAX;
}

/* ---- near ends ---- */

void requests_near_end_put(requests_t *requests, unsigned worker,
                           const struct codec_request *request, uint64_t connection,
                           uint64_t now_ns)
{
	struct codec_notice notice = codec_notice_of(request, connection);

	keep(requests, worker, &notice, now_ns);
}

void requests_near_end_asked(requests_t *requests, struct slot *slot, unsigned worker,
                             const unsigned *order, uint64_t now_ns,
                             const struct requests_sink *sink)
{
	if (slot->request.end != CODEC_END_NEAR || slot->second_told) {
		return;
	}
	unsigned second = second_of(requests, order, worker, now_ns);
	if (second == SPEAKER_WORKERS_MAX || requests->workers[second].silent) {
		return;
	}
	struct codec_notice notice = codec_notice_of(&slot->request, 0);
	slot->second_told = true;
	outbox_put(requests, second, &notice, sink);
}

void requests_notice(requests_t *requests, const struct codec_notice *notice)
{
	if (requests->outbox_count == REQUESTS_OUTBOX_MAX) {
		requests->counters.notices_lost++;
		return;
	}
	requests->outbox[requests->outbox_count].to = RECENT_NOBODY;
	requests->outbox[requests->outbox_count++].notice = *notice;
}

/* The gate's notices have come without an addressee. */
void requests_tell_flush(requests_t *requests, uint64_t now_ns, const struct requests_sink *sink)
{
	unsigned order[SPEAKER_WORKERS_MAX];
	size_t count = requests->outbox_count;

	for (size_t i = 0; i < count; i++) {
		struct codec_notice notice = requests->outbox[i].notice;
		if (requests->outbox[i].to != RECENT_NOBODY) {
			continue;
		}
		bus_rendezvous_order(requests_notice_key(&notice), requests->worker_ids,
		                     requests->worker_count, order);
		unsigned first = requests_choose_of(requests, order, 0);
		requests->outbox[i].to = first;
		if (first == SPEAKER_WORKERS_MAX) {
			keep(requests, RECENT_NOBODY, &notice, now_ns);
			continue;
		}
		keep(requests, first, &notice, now_ns);
		unsigned second = second_of(requests, order, first, now_ns);
		if (second != SPEAKER_WORKERS_MAX && requests->outbox_count < REQUESTS_OUTBOX_MAX) {
			outbox_put(requests, second, &notice, sink);
		}
	}
	outbox_send(requests, sink);
}

bool requests_told(requests_t *requests, uint64_t now_ns, const struct requests_sink *sink)
{
	bool any = requests->outbox_count > 0;

	if (any) {
		requests_tell_flush(requests, now_ns, sink);
	}
	return any;
}

/* ---- when the set of workers changes ---- */

void requests_recent_move(requests_t *requests, const uint32_t *place)
{
	struct recent_entry *entry;
	bool moved = false;
	size_t at = 0;

	for (size_t i = 0; i < requests->worker_count; i++) {
		moved = moved || place[i] != i;
	}
	for (size_t i = 0; moved && i < requests->outbox_count; i++) {
		uint32_t to = requests->outbox[i].to;
		requests->outbox[i].to = to != RECENT_NOBODY ? place[to] : to;
	}
	while (moved && (entry = recent_next(requests->recent, 0, &at)) != NULL) {
		if (entry->worker != RECENT_NOBODY) {
			entry->worker = place[entry->worker];
		}
		requests->orphans = requests->orphans || entry->worker == RECENT_NOBODY;
	}
	requests->shaken = requests->shaken || moved;
}

static void entry_tell(requests_t *requests, struct recent_entry *entry, uint64_t gone,
                       uint64_t come, const struct requests_sink *sink)
{
	unsigned order[SPEAKER_WORKERS_MAX];

	bus_rendezvous_order(requests_notice_key(&entry->notice), requests->worker_ids,
	                     requests->worker_count, order);
	if (entry->worker == RECENT_NOBODY) {
		unsigned to = requests_choose_of(requests, order, 0);
		if (to == SPEAKER_WORKERS_MAX) {
			requests->orphans = true;
			return;
		}
		entry->worker = to;
		outbox_put(requests, to, &entry->notice, sink);
		return;
	}
	if ((gone >> entry->worker & 1) != 0) {
		outbox_put(requests, requests_choose_of(requests, order, 1ULL << entry->worker),
		           &entry->notice, sink);
	}
	if ((come >> order[0] & 1) != 0) {
		outbox_put(requests, order[0], &entry->notice, sink);
	} else if ((come >> entry->worker & 1) != 0) {
		outbox_put(requests, entry->worker, &entry->notice, sink);
	}
}

bool requests_orphans_due(const requests_t *requests)
{
	return requests->orphans && requests_reachable(requests);
}

void requests_tell(requests_t *requests, uint64_t now_ns, const struct requests_sink *sink)
{
	uint64_t gone = 0, come = 0;
	struct recent_entry *entry;
	size_t at = 0;

	if (!requests->shaken && !requests_orphans_due(requests)) {
		return;
	}
	if (requests->shaken) {
		requests->shaken = false;
		requests->steady_ns = now_ns + REQUESTS_UNSTEADY_NS;
	}
	for (unsigned i = 0; i < requests->worker_count; i++) {
		struct worker *worker = &requests->workers[i];
		if ((worker->lost || worker->silent) && !worker->told) {
			worker->told = true;
			gone |= 1ULL << i;
		} else if (worker->reborn) {
			worker->reborn = false;
			come |= 1ULL << i;
		}
	}
	if (gone == 0 && come == 0 && !requests->orphans) {
		return;
	}
	requests->orphans = false;
	while ((entry = recent_next(requests->recent, since(now_ns), &at)) != NULL) {
		entry_tell(requests, entry, gone, come, sink);
	}
}
