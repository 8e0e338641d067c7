/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "recorder/answers_internal.h"

recorder_answers_t *recorder_answers_new(const struct recorder_answers_setup *setup)
{
	recorder_answers_t *answers = calloc(1, sizeof(*answers));
	if (answers != NULL) {
		answers->setup = *setup;
	}
	return answers;
}

void answers_end(recorder_answers_t *answers, struct answer *answer)
{
	answers_joined_count(&answers->counters, answer);
	policy_query_destroy(&answer->query);
	recorder_join_destroy(&answer->join);
	free(answer->unsent);
	*answer = (struct answer){ 0 };
}

void recorder_answers_destroy(recorder_answers_t **answers_p)
{
	if (*answers_p == NULL) {
		return;
	}
	for (size_t i = 0; i < RECORDER_ANSWERS_MAX; i++) {
		answers_end(*answers_p, &(*answers_p)->answers[i]);
	}
	free(*answers_p);
	*answers_p = NULL;
}

/* ---- asking ---- */

static bool same_route(const struct bus_route *a, const struct bus_route *b)
{
	return a->size_bytes == b->size_bytes && memcmp(a->bytes, b->bytes, a->size_bytes) == 0;
}

/* A free place, unless the peer has too many. */
static struct answer *place_find(recorder_answers_t *answers, const struct pr_uuid *peer)
{
	struct answer *place = NULL;
	size_t of_peer = 0;

	for (size_t i = 0; i < RECORDER_ANSWERS_MAX; i++) {
		struct answer *answer = &answers->answers[i];
		if (answer->phase == PHASE_FREE) {
			place = answer;
		} else {
			of_peer += pr_uuid_equal(&answer->peer, peer);
		}
	}
	return of_peer < RECORDER_ANSWERS_PER_PEER ? place : NULL;
}

static bool prolong(recorder_answers_t *answers, const struct bus_route *route, uint64_t id,
                    uint64_t now_ns)
{
	for (size_t i = 0; i < RECORDER_ANSWERS_MAX; i++) {
		struct answer *answer = &answers->answers[i];
		if (answer->phase != PHASE_FREE && answer->id == id &&
		    same_route(&answer->route, route)) {
			answer->expires_ns = now_ns + RECORDER_FOLLOW_NS;
			return true;
		}
	}
	return false;
}

int recorder_answers_ask(recorder_answers_t *answers, const struct bus_route *route,
                         const struct pr_uuid *peer, const codec_doc_t *request, uint64_t now_ns,
                         char problem[static 256])
{
	uint64_t id = codec_doc_u64(request, CODEC_EVENTS_GET_ID);
	struct policy_query_error error = { 0 };
	policy_query_t *query = NULL;

	if (prolong(answers, route, id, now_ns)) {
		return PR_OK;
	}
	answers->counters.asked++;
	struct answer *answer = place_find(answers, peer);
	if (answer == NULL) {
		answers->counters.refused++;
		(void)snprintf(problem, 256, "too many requests are open; end one of them first");
		return PR_EBUSY;
	}
	int err =
		policy_query_parse(codec_doc_text(request, CODEC_EVENTS_GET_QUERY), &error, &query);
	if (err != PR_OK) {
		answers->counters.refused++;
		(void)snprintf(problem, 256, "query, column %zu: %s", error.position,
		               error.message);
		return err;
	}
	*answer = (struct answer){
		.route = *route,
		.peer = *peer,
		.id = id,
		.query = query,
		.range = { .since_wall_ns = codec_doc_u64(request, CODEC_EVENTS_GET_SINCE),
		           .until_wall_ns = codec_doc_u64(request, CODEC_EVENTS_GET_UNTIL) },
		.limit = codec_doc_u64(request, CODEC_EVENTS_GET_LIMIT),
		.follow = codec_doc_u64(request, CODEC_EVENTS_GET_FOLLOW) != 0,
		.enough = codec_doc_u64(request, CODEC_EVENTS_GET_ENOUGH) != 0,
		.expires_ns = now_ns + RECORDER_FOLLOW_NS,
	};
	answer->phase = answer->limit != 0 ? PHASE_COUNT : PHASE_STREAM;
	answer->range.newest_first = answer->phase == PHASE_COUNT;
	if (codec_doc_u64(request, CODEC_EVENTS_GET_JOINED) == 0) {
		return PR_OK;
	}
	err = answers_joined_start(answers, answer, !answer->enough, problem);
	if (err != PR_OK) {
		answers->counters.refused++;
		answers_end(answers, answer);
	}
	return err;
}

/* ---- sending ---- */

/* False: the answer is over, the peer has gone. */
bool answers_send_or_keep(recorder_answers_t *answers, struct answer *answer, uint8_t **data_p,
                          size_t size_bytes)
{
	int err = answers->setup.send(answers->setup.arg, &answer->route, *data_p, size_bytes);
	answer->waits = err == PR_EAGAIN;
	if (err == PR_EAGAIN) {
		answer->unsent = take_ptr(*data_p);
		answer->unsent_bytes = size_bytes;
		return true;
	}
	if (err != PR_OK) {
		return false;
	}
	answer->expires_ns = answers->now_ns + RECORDER_STALL_NS;
	return true;
}

static int doc_send(recorder_answers_t *answers, const struct answer *answer,
                    const codec_doc_t *doc)
{
	_cleanup_(pr_free) uint8_t *data = NULL;
	size_t size_bytes;

	int err = codec_doc_encode(doc, &data, &size_bytes);
	return err != PR_OK
	               ? err
	               : answers->setup.send(answers->setup.arg, &answer->route, data, size_bytes);
}

static int end_send(recorder_answers_t *answers, const struct answer *answer)
{
	_cleanup_(codec_doc_destroy) codec_doc_t *doc = codec_doc_new(CODEC_END);
	char text[256];

	if (doc == NULL) {
		return PR_ENOMEM;
	}
	codec_doc_set_u64(doc, CODEC_END_ID, answer->id);
	codec_doc_set_u64(doc, CODEC_END_COUNT, answer->sent);
	codec_doc_set_u64(doc, CODEC_END_COMPLETE, !answer->more_matched);
	answers_joined_say(answer, text);
	codec_doc_set_text(doc, CODEC_END_TEXT, text);
	return doc_send(answers, answer, doc);
}

static int lost_send(recorder_answers_t *answers, const struct answer *answer)
{
	_cleanup_(codec_doc_destroy) codec_doc_t *doc = codec_doc_new(CODEC_EVENTS_LOST);
	if (doc == NULL) {
		return PR_ENOMEM;
	}
	codec_doc_set_u64(doc, CODEC_EVENTS_LOST_ID, answer->id);
	codec_doc_set_u64(doc, CODEC_EVENTS_LOST_COUNT, answer->lost);
	return doc_send(answers, answer, doc);
}

/* ---- reading ---- */

/* A complete record if the row is wanted. */
bool answers_row_matches(recorder_answers_t *answers, const struct answer *answer,
                         const struct store_row *row, struct recorder_record *record)
{
	recorder_record_fill(record, row, answers->setup.names, answers->setup.comments,
	                     answers->setup.groups, answers->scratch, answers->now_ns);
	return policy_query_match(answer->query, recorder_record_value, record);
}

static bool on_count(void *arg, const struct store_row *row)
{
	recorder_answers_t *answers = arg;
	struct answer *answer = answers->current;
	struct recorder_record record;

	if (!answers_row_matches(answers, answer, row, &record)) {
		return true;
	}
	if (answer->matched == answer->limit) {
		answer->more_matched = true;
		return false;
	}
	answer->matched++;
	answer->first = store_row_key_of(row);
	answer->counted = answer->enough && answer->matched == answer->limit;
	return !answer->counted;
}

static bool on_stream(void *arg, const struct store_row *row)
{
	recorder_answers_t *answers = arg;
	struct answer *answer = answers->current;
	_cleanup_(pr_free) uint8_t *data = NULL;
	struct recorder_record record;
	size_t size_bytes;

	answer->last = store_row_key_of(row);
	if (store_row_key_compare(&answer->last, &answer->first) < 0 ||
	    !answers_row_matches(answers, answer, row, &record)) {
		return true;
	}
	if (recorder_record_encode(&record, answer->id, &data, &size_bytes) != PR_OK) {
		answer->lost++;
		return true;
	}
	if (!answers_send_or_keep(answers, answer, &data, size_bytes)) {
		answers_end(answers, answer);
		return false;
	}
	answer->sent++;
	answers->counters.rows_sent++;
	return !answer->waits &&
	       (answer->follow || answer->limit == 0 || answer->sent < answer->limit);
}

/* From counting to streaming: from the first row that is wanted. */
static void stream_start(struct answer *answer)
{
	answer->phase = PHASE_STREAM;
	answer->range.newest_first = false;
	answer->position = (struct store_position){ 0 };
	if (answer->matched > 0) {
		answer->range.since_wall_ns = answer->first.time_wall_ns;
	}
}

void answers_stream_end(recorder_answers_t *answers, struct answer *answer)
{
	if (answer->follow) {
		answer->phase = PHASE_FOLLOW;
		answer->expires_ns = answers->now_ns + RECORDER_FOLLOW_NS;
		return;
	}
	int err = end_send(answers, answer);
	answer->waits = err == PR_EAGAIN;
	if (err != PR_EAGAIN) {
		answers_end(answers, answer);
	}
}

static void answer_read(recorder_answers_t *answers, struct answer *answer)
{
	bool counting = answer->phase == PHASE_COUNT;
	bool more = false;

	answer->expires_ns = answers->now_ns + RECORDER_STALL_NS;
	int err = store_history_read(answers->setup.history, &answer->range, RECORDER_ANSWER_ROWS,
	                             &answer->position, counting ? on_count : on_stream, answers,
	                             &more);
	if (answer->phase == PHASE_FREE) {
		return;
	}
	if (err != PR_OK) {
		answer->more_matched = true;
		more = false;
	}
	if (counting) {
		if (!more || answer->more_matched || answer->counted) {
			stream_start(answer);
		}
		if (answer->phase == PHASE_COUNT || answer->matched > 0 || answer->follow) {
			return;
		}
		more = false;
	}
	bool enough = !answer->follow && answer->limit != 0 && answer->sent >= answer->limit;
	if (!answer->waits && (!more || enough)) {
		answers_stream_end(answers, answer);
	}
}

/* True: there is more to do for it now. */
static bool answer_step(recorder_answers_t *answers, struct answer *answer)
{
	if (answers->now_ns > answer->expires_ns) {
		answers->counters.ended_slow += answer->phase != PHASE_FOLLOW;
		answers_end(answers, answer);
		return false;
	}
	if (answer->unsent != NULL) {
		_cleanup_(pr_free) uint8_t *data = take_ptr(answer->unsent);
		if (!answers_send_or_keep(answers, answer, &data, answer->unsent_bytes)) {
			answers_end(answers, answer);
			return false;
		}
		if (answer->waits) {
			return false;
		}
	}
	if (answer->phase == PHASE_FOLLOW) {
		if (answer->lost > 0 && lost_send(answers, answer) == PR_OK) {
			answer->lost = 0;
		}
		if (answer->join != NULL) {
			answers_joined_follow(answers, answer);
		}
		return false;
	}
	answers->current = answer;
	if (answer->join != NULL) {
		answers_joined_read(answers, answer);
	} else {
		answer_read(answers, answer);
	}
	return answer->phase != PHASE_FREE && answer->phase != PHASE_FOLLOW && !answer->waits;
}

bool recorder_answers_step(recorder_answers_t *answers, uint64_t now_ns)
{
	bool more = false;

	answers->now_ns = now_ns;
	recorder_comments_hold(answers->setup.comments);
	recorder_groups_look(answers->setup.groups);
	for (size_t i = 0; i < RECORDER_ANSWERS_MAX; i++) {
		if (answers->answers[i].phase != PHASE_FREE) {
			more = answer_step(answers, &answers->answers[i]) || more;
		}
	}
	return more;
}

bool recorder_answers_waiting(const recorder_answers_t *answers)
{
	for (size_t i = 0; i < RECORDER_ANSWERS_MAX; i++) {
		if (answers->answers[i].waits || answers->answers[i].lost > 0) {
			return true;
		}
	}
	return false;
}

/* ---- following ---- */

/* Will the reading still come to it? */
static bool row_comes_later(const struct answer *answer, const struct store_row_key *key)
{
	return answer->phase == PHASE_COUNT ||
	       (answer->phase == PHASE_STREAM && store_row_key_compare(key, &answer->last) > 0);
}

void answers_follower_send(recorder_answers_t *answers, struct answer *answer, const uint8_t *data,
                           size_t size_bytes)
{
	if (data == NULL || answer->unsent != NULL ||
	    (answer->lost > 0 && lost_send(answers, answer) != PR_OK)) {
		answer->lost++;
		answers->counters.rows_lost++;
		return;
	}
	answer->lost = 0;
	int err = answers->setup.send(answers->setup.arg, &answer->route, data, size_bytes);
	if (err == PR_EAGAIN) {
		answer->lost++;
		answers->counters.rows_lost++;
	} else if (err != PR_OK) {
		answers_end(answers, answer);
	} else {
		answer->sent++;
		answers->counters.rows_sent++;
	}
}

static void row_follow(recorder_answers_t *answers, struct answer *answer,
                       const struct store_row *row)
{
	_cleanup_(pr_free) uint8_t *data = NULL;
	struct recorder_record record;
	size_t size_bytes = 0;

	if (answers_row_matches(answers, answer, row, &record)) {
		if (recorder_record_encode(&record, answer->id, &data, &size_bytes) != PR_OK) {
			data = NULL;
		}
		answers_follower_send(answers, answer, data, size_bytes);
	}
}

void recorder_answers_row(recorder_answers_t *answers, const struct store_row *row, uint64_t now_ns)
{
	struct store_row_key key = store_row_key_of(row);

	answers->now_ns = now_ns;
	for (size_t i = 0; i < RECORDER_ANSWERS_MAX; i++) {
		struct answer *answer = &answers->answers[i];
		bool until = answer->range.until_wall_ns != 0 &&
		             key.time_wall_ns >= answer->range.until_wall_ns;
		if (answer->phase == PHASE_FREE || !answer->follow || until ||
		    row_comes_later(answer, &key)) {
			continue;
		}
		if (answer->join != NULL) {
			answers_joined_row(answers, answer, row);
		} else {
			row_follow(answers, answer, row);
		}
	}
}

void recorder_answers_counters(const recorder_answers_t *answers,
                               struct recorder_answers_counters *ret_counters)
{
	*ret_counters = answers->counters;
	for (size_t i = 0; i < RECORDER_ANSWERS_MAX; i++) {
		ret_counters->open += answers->answers[i].phase != PHASE_FREE;
		ret_counters->following += answers->answers[i].phase == PHASE_FOLLOW;
		answers_joined_count(ret_counters, &answers->answers[i]);
	}
}
