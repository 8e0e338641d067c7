/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "recorder/ingest.h"
#include "recorder/map.h"

#define ROWS_MAX   (RECORDER_COLLECT_EVENTS + CODEC_BATCH_MAX)
#define FRAMES_MAX ROWS_MAX

/* What we know of an agent's numbers. */
struct agent {
	struct pr_uuid id;
	uint64_t committed;  /* last number on disk */
	uint64_t next;       /* the one behind what is collected */
	uint64_t waiting_ns; /* since when frames ahead of next are dropped; 0: none is */
	uint64_t dropped_ns; /* the last of them */
	uint64_t hinted_ns;  /* when it was told to go back */
	bool known;          /* it has sent before: its numbers mean something */
};

/* Collected rows of one frame. */
struct frame {
	struct agent *agent;
	struct bus_route route;
	size_t first, count;
	uint64_t before; /* agent's last number on disk before this commit */
};

struct recorder_ingest {
	struct recorder_ingest_setup setup;
	struct recorder_ingest_counters counters;
	struct recorder_map agents;
	uint64_t due_ns; /* 0: nothing is collected */
	bool blocked;
	size_t row_count, frame_count;
	struct frame frames[FRAMES_MAX];
	struct store_batch batches[FRAMES_MAX];
	struct store_row rows[ROWS_MAX];
	struct codec_event events[CODEC_BATCH_MAX]; /* of the frame being read */
};

recorder_ingest_t *recorder_ingest_new(const struct recorder_ingest_setup *setup)
{
	recorder_ingest_t *ingest = calloc(1, sizeof(*ingest));
	if (ingest != NULL) {
		ingest->setup = *setup;
	}
	return ingest;
}

void recorder_ingest_destroy(recorder_ingest_t **ingest_p)
{
	recorder_ingest_t *ingest = *ingest_p;
	if (ingest == NULL) {
		return;
	}
	for (size_t i = 0; i < ingest->agents.room; i++) {
		free(ingest->agents.slots[i].value);
	}
	recorder_map_done(&ingest->agents);
	free(ingest);
	*ingest_p = NULL;
}

static int agent_find(recorder_ingest_t *ingest, const struct pr_uuid *id, struct agent **ret_agent)
{
	struct agent *found = recorder_map_find(&ingest->agents, id);
	struct store_agent stored = { 0 };

	if (found != NULL) {
		*ret_agent = found;
		return PR_OK;
	}
	int err = store_history_agent(ingest->setup.history, id, &stored);
	if (err != PR_OK && err != PR_ENOENT) {
		return err;
	}
	_cleanup_(pr_free) struct agent *agent = calloc(1, sizeof(*agent));
	if (agent == NULL) {
		return PR_ENOMEM;
	}
	agent->id = *id;
	agent->known = err == PR_OK;
	agent->committed = stored.last_seq;
	agent->next = stored.last_seq + 1;
	err = recorder_map_add(&ingest->agents, id, agent);
	if (err == PR_OK) {
		*ret_agent = take_ptr(agent);
	}
	return err;
}

/* Numbers of a frame rise, from 1 on. */
static bool numbers_rise(const struct codec_event *events, size_t count)
{
	uint64_t last = 0;
	for (size_t i = 0; i < count; i++) {
		if (events[i].seq <= last) {
			return false;
		}
		last = events[i].seq;
	}
	return true;
}

/* Leave a frame to its agent: it has all that is not acknowledged. */
static void frame_drop(recorder_ingest_t *ingest, struct agent *agent,
                       const struct bus_route *route, uint64_t now_ns)
{
	agent->known = true;
	if (ingest->blocked) {
		agent->waiting_ns = 0;
		return;
	}
	if (agent->waiting_ns == 0 || now_ns - agent->dropped_ns > RECORDER_SILENCE_NS) {
		agent->waiting_ns = now_ns;
	}
	agent->dropped_ns = now_ns;
	if (now_ns - agent->hinted_ns >= RECORDER_HINT_NS) {
		agent->hinted_ns = now_ns;
		ingest->setup.acknowledge(ingest->setup.arg, route, agent->committed);
	}
}

/* Is a frame that begins with this number to be taken? */
static bool frame_wanted(const struct agent *agent, uint64_t first_seq, uint64_t now_ns)
{
	if (first_seq <= agent->next || !agent->known) {
		return true;
	}
	return agent->waiting_ns != 0 && now_ns - agent->waiting_ns >= RECORDER_GAP_GRACE_NS &&
	       now_ns - agent->dropped_ns <= RECORDER_SILENCE_NS;
}

static void frame_collect(recorder_ingest_t *ingest, struct agent *agent,
                          const struct bus_route *route, size_t count, uint64_t now_ns)
{
	for (size_t i = 0; i < count; i++) {
		ingest->rows[ingest->row_count + i] =
			(struct store_row){ .agent = agent->id, .event = ingest->events[i] };
	}
	ingest->frames[ingest->frame_count++] = (struct frame){
		.agent = agent, .route = *route, .first = ingest->row_count, .count = count
	};
	ingest->row_count += count;
	agent->known = true;
	agent->waiting_ns = 0;
	uint64_t behind = ingest->events[count - 1].seq + 1;
	agent->next = behind > agent->next ? behind : agent->next;
	if (ingest->due_ns == 0) {
		ingest->due_ns = now_ns + RECORDER_COLLECT_NS;
	}
	if (ingest->row_count >= RECORDER_COLLECT_EVENTS) {
		ingest->due_ns = now_ns;
	}
}

int recorder_ingest_events(recorder_ingest_t *ingest, const struct pr_uuid *id,
                           const struct bus_route *route, const uint8_t *data, size_t size_bytes,
                           uint64_t now_ns)
{
	struct agent *agent;
	size_t count;

	int err = codec_records_decode(CODEC_EVENT, data, size_bytes, ingest->events, &count);
	if (err == PR_OK && !numbers_rise(ingest->events, count)) {
		err = PR_EMALF;
	}
	if (err != PR_OK) {
		ingest->counters.malformed++;
		return err;
	}
	err = agent_find(ingest, id, &agent);
	if (err != PR_OK) {
		return err;
	}
	ingest->counters.frames++;
	ingest->counters.events += count;
	/* Full when the caller did not commit in time: as good as a store that refuses. */
	if (ingest->blocked || ingest->row_count + count > ROWS_MAX) {
		ingest->counters.dropped_full += count;
		frame_drop(ingest, agent, route, now_ns);
		return PR_OK;
	}
	if (!frame_wanted(agent, ingest->events[0].seq, now_ns)) {
		ingest->counters.dropped_ahead += count;
		frame_drop(ingest, agent, route, now_ns);
		return PR_OK;
	}
	frame_collect(ingest, agent, route, count, now_ns);
	return PR_OK;
}

uint64_t recorder_ingest_due_ns(const recorder_ingest_t *ingest)
{
	return ingest->due_ns;
}

/* Where the event's user was: at the reporting end, which must not be another agent's. NULL: he
 * does not count. */
static const struct pr_uuid *user_place(const recorder_ingest_t *ingest,
                                        const struct store_row *row)
{
	const struct codec_event *event = &row->event;
	const struct pr_uuid *at =
		event->reporter == CODEC_REPORTER_INITIATOR    ? &event->src_endpoint
		: event->reporter == CODEC_REPORTER_TERMINATOR ? &event->dst_endpoint
							       : NULL;

	if (at == NULL || pr_uuid_is_null(at)) {
		return at;
	}
	const struct pr_uuid *owner = recorder_names_owner(ingest->setup.names, at);
	return owner == NULL || pr_uuid_equal(owner, &row->agent) ? at : NULL;
}

/* Names and comments as they are now; they stay borrowed until the commit is over. */
static void rows_resolve(recorder_ingest_t *ingest, uint64_t now_ns)
{
	recorder_comments_hold(ingest->setup.comments);
	for (size_t i = 0; i < ingest->row_count; i++) {
		struct store_row *row = &ingest->rows[i];
		recorder_names_fill(ingest->setup.names, &row->event.src_endpoint, &row->src);
		recorder_names_fill(ingest->setup.names, &row->event.dst_endpoint, &row->dst);
		row->user_at = user_place(ingest, row);
		row->rule_comment = recorder_comments_find(
			ingest->setup.comments, row->event.revision, row->event.rule, now_ns);
	}
}

static bool same_route(const struct bus_route *a, const struct bus_route *b)
{
	return a->size_bytes == b->size_bytes && memcmp(a->bytes, b->bytes, a->size_bytes) == 0;
}

/* One acknowledgement a session, with the last number. */
static void frames_acknowledge(recorder_ingest_t *ingest, size_t first, size_t count)
{
	for (size_t i = first; i < first + count; i++) {
		const struct frame *frame = &ingest->frames[i];
		bool is_last = true;
		for (size_t j = i + 1; j < first + count && is_last; j++) {
			is_last = !same_route(&frame->route, &ingest->frames[j].route);
		}
		if (is_last) {
			ingest->setup.acknowledge(ingest->setup.arg, &frame->route,
			                          frame->agent->committed);
		}
	}
}

/* They are on disk. */
static void frames_done(recorder_ingest_t *ingest, size_t first, size_t count)
{
	for (size_t i = first; i < first + count; i++) {
		ingest->frames[i].before = ingest->frames[i].agent->committed;
	}
	for (size_t i = first; i < first + count; i++) {
		struct agent *agent = ingest->frames[i].agent;
		uint64_t last = ingest->batches[i].state.last_seq;
		agent->committed = last > agent->committed ? last : agent->committed;
		agent->next = last >= agent->next ? last + 1 : agent->next;
		ingest->counters.committed += ingest->batches[i].stored;
	}
	frames_acknowledge(ingest, first, count);
	for (size_t i = first; i < first + count; i++) {
		const struct frame *frame = &ingest->frames[i];
		for (size_t j = frame->first; j < frame->first + frame->count; j++) {
			if (ingest->rows[j].event.seq > frame->before) {
				ingest->counters.users_foreign += ingest->rows[j].user_at == NULL;
				ingest->setup.committed(ingest->setup.arg, &ingest->rows[j]);
			}
		}
	}
}

static int frames_append(recorder_ingest_t *ingest, size_t first, size_t count)
{
	for (size_t i = first; i < first + count; i++) {
		const struct frame *frame = &ingest->frames[i];
		ingest->batches[i] = (struct store_batch){ .agent = frame->agent->id,
			                                   .rows = &ingest->rows[frame->first],
			                                   .count = frame->count };
	}
	ingest->counters.commits++;
	return store_history_append(ingest->setup.history, &ingest->batches[first], count);
}

/* Errors after which the same may succeed. */
static bool is_passing(int err)
{
	return err == PR_ENOSPC || err == PR_EIO || err == PR_ENOMEM;
}

/* Something else than space is wrong with one of the frames: take the others. */
static int frames_append_each(recorder_ingest_t *ingest)
{
	for (size_t i = 0; i < ingest->frame_count; i++) {
		int err = frames_append(ingest, i, 1);
		if (err == PR_OK) {
			frames_done(ingest, i, 1);
		} else if (is_passing(err)) {
			/* What was taken is a duplicate the next time. */
			return err;
		} else {
			ingest->counters.dropped_refused += ingest->frames[i].count;
		}
	}
	return PR_OK;
}

int recorder_ingest_commit(recorder_ingest_t *ingest, uint64_t now_ns, uint64_t now_wall_ns)
{
	/* Names first: an event must not outlive a crash without its names. */
	int err = recorder_names_flush(ingest->setup.names, now_wall_ns);
	if (ingest->frame_count == 0) {
		ingest->due_ns = 0;
		return err;
	}
	if (err == PR_OK) {
		rows_resolve(ingest, now_ns);
		err = frames_append(ingest, 0, ingest->frame_count);
		if (err == PR_OK) {
			frames_done(ingest, 0, ingest->frame_count);
		} else if (!is_passing(err)) {
			err = frames_append_each(ingest);
		}
	}
	ingest->blocked = err != PR_OK;
	if (err != PR_OK) {
		ingest->counters.commits_failed++;
		ingest->due_ns = now_ns + RECORDER_RETRY_NS;
		return err;
	}
	ingest->due_ns = 0;
	ingest->row_count = 0;
	ingest->frame_count = 0;
	return PR_OK;
}

int recorder_ingest_lost(recorder_ingest_t *ingest, const struct pr_uuid *id,
                         const struct bus_route *route, uint64_t first_seq, uint64_t count,
                         uint64_t now_ns, uint64_t now_wall_ns)
{
	struct store_agent state;
	struct agent *agent;

	int err = agent_find(ingest, id, &agent);
	if (err == PR_OK) {
		/* What came before it counts before it. */
		err = recorder_ingest_commit(ingest, now_ns, now_wall_ns);
	}
	if (err != PR_OK) {
		return err;
	}
	if (agent->known && first_seq > agent->next) {
		frame_drop(ingest, agent, route, now_ns);
		return PR_OK;
	}
	err = store_history_lost(ingest->setup.history, id, first_seq, count, &state);
	if (err == PR_OK) {
		agent->known = true;
		agent->waiting_ns = 0;
		agent->committed = state.last_seq;
		agent->next = state.last_seq + 1;
		ingest->setup.acknowledge(ingest->setup.arg, route, agent->committed);
	}
	return err;
}

bool recorder_ingest_blocked(const recorder_ingest_t *ingest)
{
	return ingest->blocked;
}

size_t recorder_ingest_waiting(const recorder_ingest_t *ingest)
{
	return ingest->row_count;
}

const struct recorder_ingest_counters *recorder_ingest_counters(const recorder_ingest_t *ingest)
{
	return &ingest->counters;
}
