/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/log.h"
#include "controller/waiting.h"
#include "controller/worker.h"

#define LOG_COMPONENT "worker"
#define OUTBOX_SLOTS  32

/* Verdicts for one agent, until the turn ends or the frame is full. */
struct outbox_slot {
	struct bus_route route;
	size_t count;
	struct codec_verdict verdicts[CODEC_BATCH_MAX];
};

struct worker {
	struct worker_ops ops;
	struct worker_counters counters;
	flow_table_t *flows;
	waiting_t *waiting;
	policy_cache_t *cache; /* what the policy said of late */
	struct pr_log_limit malformed_limit;
	size_t slot_count;
	struct outbox_slot slots[OUTBOX_SLOTS];
	union { /* of the frame at hand */
		struct codec_request requests[CODEC_BATCH_MAX];
		struct codec_notice notices[CODEC_BATCH_MAX];
	};
	uint8_t frame[CODEC_FRAME_MAX_BYTES];
};

worker_t *worker_new(const struct worker_ops *ops, uint64_t secret)
{
	_cleanup_(worker_destroy) worker_t *worker = calloc(1, sizeof(*worker));

	if (worker == NULL) {
		return NULL;
	}
	worker->ops = *ops;
	worker->flows = flow_table_new(FLOW_COUNT_MAX, secret);
	worker->waiting = waiting_new(WORKER_WAITING_MAX, secret);
	worker->cache = policy_cache_new(POLICY_CACHE_DEFAULT_BYTES);
	if (worker->flows == NULL || worker->waiting == NULL || worker->cache == NULL) {
		return NULL;
	}
	return take_ptr(worker);
}

void worker_destroy(worker_t **worker_p)
{
	if (*worker_p == NULL) {
		return;
	}
	flow_table_destroy(&(*worker_p)->flows);
	waiting_destroy(&(*worker_p)->waiting);
	policy_cache_destroy(&(*worker_p)->cache);
	free(*worker_p);
	*worker_p = NULL;
}

/* ---- outbox ---- */

static void slot_flush(worker_t *worker, struct outbox_slot *slot)
{
	size_t size_bytes = 0;

	if (slot->count == 0) {
		return;
	}
	int ret = codec_records_encode(CODEC_VERDICT, slot->verdicts, slot->count, worker->frame,
	                               sizeof(worker->frame), &size_bytes);
	if (ret == PR_OK) {
		ret = worker->ops.send(worker->ops.arg, &slot->route, worker->frame, size_bytes);
	}
	if (ret == PR_OK) {
		worker->counters.frames_sent++;
	} else {
		worker->counters.send_failed++;
	}
	slot->count = 0;
}

static void outbox_flush(worker_t *worker)
{
	for (size_t i = 0; i < worker->slot_count; i++) {
		slot_flush(worker, &worker->slots[i]);
	}
	worker->slot_count = 0;
}

static bool route_equal(const struct bus_route *a, const struct bus_route *b)
{
	return a->size_bytes == b->size_bytes && memcmp(a->bytes, b->bytes, a->size_bytes) == 0;
}

static void outbox_put(worker_t *worker, const struct bus_route *route,
                       const struct codec_verdict *verdict)
{
	struct outbox_slot *slot = NULL;

	for (size_t i = 0; i < worker->slot_count && slot == NULL; i++) {
		if (route_equal(&worker->slots[i].route, route)) {
			slot = &worker->slots[i];
		}
	}
	if (slot == NULL) {
		if (worker->slot_count == OUTBOX_SLOTS) {
			outbox_flush(worker);
		}
		slot = &worker->slots[worker->slot_count++];
		slot->route = *route;
		slot->count = 0;
	}
	slot->verdicts[slot->count++] = *verdict;
	if (slot->count == CODEC_BATCH_MAX) {
		slot_flush(worker, slot);
	}
}

/* ---- deciding ---- */

static struct decide_context context_of(worker_t *worker, uint64_t directory_wanted,
                                        uint64_t now_ns, uint64_t now_wall_ns)
{
	struct worker_sight sight = worker->ops.look(worker->ops.arg, directory_wanted);

	return (struct decide_context){ .directory = sight.directory,
		                        .flows = worker->flows,
		                        .image = sight.image,
		                        .cache = worker->cache,
		                        .quarantine = sight.quarantine,
		                        .counters = &worker->counters.decide,
		                        .now_ns = now_ns,
		                        .now_wall_ns = now_wall_ns };
}

/* Decide what waited; it leaves the table. */
static void decide_waiting(worker_t *worker, const struct decide_context *context,
                           struct waiting_entry *entry, bool may_wait)
{
	struct codec_verdict verdict;

	if (decide_request(context, &entry->request, &entry->agent, may_wait, &verdict) ==
	    DECIDE_DONE) {
		outbox_put(worker, &entry->route, &verdict);
		waiting_remove(worker->waiting, entry);
	}
}

/* A near end has come: who waits for it goes on. One that does not know its source port wakes only
 * those without a port; the others find it when their time is over. */
static void wake(worker_t *worker, const struct decide_context *context, const struct flow_key *key,
                 uint16_t src_port)
{
	struct waiting_entry *next = NULL;

	for (struct waiting_entry *entry = waiting_first(worker->waiting, key, src_port);
	     entry != NULL; entry = next) {
		next = waiting_next(entry);
		decide_waiting(worker, context, entry, true);
	}
}

static void take_request(worker_t *worker, const struct decide_context *context,
                         const struct bus_frame *frame, const struct codec_request *request)
{
	struct codec_verdict verdict;
	enum decide_result result =
		decide_request(context, request, &frame->peer.id, true, &verdict);

	if (result == DECIDE_WAIT) {
		struct waiting_entry waits = {
			.request = *request,
			.agent = frame->peer.id,
			.route = frame->route,
			.deadline_ns = context->now_ns + FLOW_WAIT_NS,
		};
		if (waiting_put(worker->waiting, &waits)) {
			worker->counters.decide.waited++;
			return;
		}
		worker->counters.waiting_full++;
		(void)decide_request(context, request, &frame->peer.id, false, &verdict);
	}
	outbox_put(worker, &frame->route, &verdict);
	if (request->end == CODEC_END_NEAR && waiting_count(worker->waiting) > 0) {
		struct flow_key key = decide_flow_key(request);
		wake(worker, context, &key, request->src_port);
	}
}

/* A newer version is named to its sender; anything else malformed is only counted. */
static void refuse_frame(worker_t *worker, const struct bus_frame *frame, int err)
{
	_cleanup_(codec_doc_destroy) codec_doc_t *error = NULL;
	_cleanup_(pr_free) uint8_t *data = NULL;
	size_t size_bytes = 0;
	uint64_t suppressed = 0;

	worker->counters.frames_malformed++;
	if (pr_log_limited(&worker->malformed_limit, &suppressed)) {
		char text[PR_UUID_TEXT_BYTES];
		log_warn("agent %s sent a frame that is no request or notice: %s, dropped (%llu "
		         "more before)",
		         pr_uuid_format(&frame->peer.id, text), pr_strerror(err),
		         (unsigned long long)suppressed);
	}
	if (err != PR_EVERS) {
		return;
	}
	error = codec_doc_new(CODEC_ERROR);
	if (error == NULL) {
		return;
	}
	codec_doc_set_text(error, CODEC_ERROR_CODE, pr_err_name(err));
	codec_doc_set_text(error, CODEC_ERROR_TEXT,
	                   "this worker is older than the agent: update the controller first");
	if (codec_doc_encode(error, &data, &size_bytes) == PR_OK) {
		(void)worker->ops.send(worker->ops.arg, &frame->route, data, size_bytes);
	}
}

static int requests_take(worker_t *worker, const struct bus_frame *frame, uint64_t now_ns,
                         uint64_t now_wall_ns)
{
	uint64_t directory_wanted = 0;
	size_t count = 0;

	int ret = codec_records_decode(CODEC_REQUEST, frame->data, frame->size_bytes,
	                               worker->requests, &count);
	if (ret != PR_OK) {
		return ret;
	}
	for (size_t i = 0; i < count; i++) {
		if (worker->requests[i].directory > directory_wanted) {
			directory_wanted = worker->requests[i].directory;
		}
	}
	struct decide_context context = context_of(worker, directory_wanted, now_ns, now_wall_ns);
	for (size_t i = 0; i < count; i++) {
		take_request(worker, &context, frame, &worker->requests[i]);
	}
	return PR_OK;
}

static int notices_take(worker_t *worker, const struct bus_frame *frame, uint64_t now_ns,
                        uint64_t now_wall_ns)
{
	uint64_t directory_wanted = 0;
	size_t count = 0;

	int ret = codec_records_decode(CODEC_NOTICE, frame->data, frame->size_bytes,
	                               worker->notices, &count);
	if (ret != PR_OK) {
		return ret;
	}
	for (size_t i = 0; i < count; i++) {
		if (worker->notices[i].directory > directory_wanted) {
			directory_wanted = worker->notices[i].directory;
		}
	}
	struct decide_context context = context_of(worker, directory_wanted, now_ns, now_wall_ns);
	for (size_t i = 0; i < count; i++) {
		const struct codec_notice *notice = &worker->notices[i];
		if (decide_notice(&context, notice, &frame->peer.id) &&
		    waiting_count(worker->waiting) > 0) {
			struct flow_key key = decide_notice_key(notice);
			wake(worker, &context, &key, notice->wire_src_port);
		}
	}
	return PR_OK;
}

void worker_frame(worker_t *worker, const struct bus_frame *frame, uint64_t now_ns,
                  uint64_t now_wall_ns)
{
	enum codec_type type = CODEC_REQUEST;
	int ret = codec_frame_type(frame->data, frame->size_bytes, &type);

	if (ret == PR_OK) {
		ret = type == CODEC_NOTICE ? notices_take(worker, frame, now_ns, now_wall_ns)
		                           : requests_take(worker, frame, now_ns, now_wall_ns);
	}
	if (ret != PR_OK) {
		refuse_frame(worker, frame, ret);
		return;
	}
	worker->counters.frames++;
}

void worker_turn_end(worker_t *worker, uint64_t now_ns, uint64_t now_wall_ns)
{
	struct waiting_entry *entry = waiting_oldest(worker->waiting);

	if (entry != NULL && entry->deadline_ns <= now_ns) {
		struct decide_context context = context_of(worker, 0, now_ns, now_wall_ns);
		while (entry != NULL && entry->deadline_ns <= now_ns) {
			decide_waiting(worker, &context, entry, false);
			entry = waiting_oldest(worker->waiting);
		}
	}
	outbox_flush(worker);
	flow_table_expire(worker->flows, now_ns);
	worker->counters.policy = *policy_cache_counters(worker->cache);
}

uint64_t worker_deadline_ns(const worker_t *worker)
{
	const struct waiting_entry *entry = waiting_oldest(worker->waiting);

	return entry != NULL ? entry->deadline_ns : UINT64_MAX;
}

const struct worker_counters *worker_counters(const worker_t *worker)
{
	return &worker->counters;
}

size_t worker_waiting_count(const worker_t *worker)
{
	return waiting_count(worker->waiting);
}

size_t worker_flow_count(const worker_t *worker)
{
	return flow_table_count(worker->flows);
}
