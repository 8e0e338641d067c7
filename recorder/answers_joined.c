/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Answers whose rows are connections: the reading of answers.c with join.c in between. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "recorder/answers_internal.h"

#define DRAIN_MOST (2 * (size_t)RECORDER_ANSWER_ROWS) /* connections taken in one step */

int answers_joined_start(recorder_answers_t *answers, struct answer *answer, bool more,
                         char problem[static 256])
{
	size_t joined = 0;

	for (size_t i = 0; i < RECORDER_ANSWERS_MAX; i++) {
		joined += answers->answers[i].join != NULL;
	}
	if (joined >= RECORDER_ANSWERS_JOINED) {
		(void)snprintf(problem, 256, "%u joined requests are open; end one of them first",
		               RECORDER_ANSWERS_JOINED);
		return PR_EBUSY;
	}
	if (answer->limit > RECORDER_JOIN_LIMIT_MAX) {
		(void)snprintf(problem, 256,
		               "joined, a limit is at most %u; say a time span instead",
		               RECORDER_JOIN_LIMIT_MAX);
		return PR_EINVAL;
	}
	answer->join = recorder_join_new(&answer->range, answer->limit, more);
	return answer->join != NULL ? PR_OK : PR_ENOMEM;
}

static bool on_row(void *arg, const struct store_row *row)
{
	recorder_answers_t *answers = arg;
	struct answer *answer = answers->current;
	struct recorder_record record;
	bool matches = answers_row_matches(answers, answer, row, &record);

	answer->last = store_row_key_of(row);
	if (recorder_join_put(answer->join, row, answers->setup.names, matches, answers->now_ns) !=
	    PR_OK) {
		answer->lost++;
		answers->counters.rows_lost++;
	}
	return true;
}

/* ---- a connection as a document ---- */

struct gather {
	recorder_answers_t *answers;
	const struct answer *answer;
	codec_doc_t *doc;
	int err;
};

static bool on_end(void *arg, const struct store_row *row)
{
	struct gather *gather = arg;
	recorder_answers_t *answers = gather->answers;
	struct recorder_record record;

	recorder_record_fill(&record, row, answers->setup.names, answers->setup.comments,
	                     answers->setup.groups, answers->scratch, answers->now_ns);
	if (gather->doc == NULL) {
		gather->doc = recorder_record_doc(&record, gather->answer->id);
		gather->err = gather->doc != NULL ? PR_OK : PR_ENOMEM;
	} else {
		gather->err = recorder_record_far(&record, gather->doc);
	}
	return true;
}

/* Its rows may have been thrown away meanwhile: PR_ENOENT. */
static int pair_encode(recorder_answers_t *answers, const struct answer *answer,
                       const struct recorder_pair *pair, uint8_t **ret_data, size_t *ret_bytes)
{
	const struct recorder_end *far_end = recorder_pair_far(pair);
	struct gather gather = { .answers = answers, .answer = answer };

	int err = store_history_get(answers->setup.history, &recorder_pair_near(pair)->key, on_end,
	                            &gather);
	if (err == PR_OK && gather.err == PR_OK && far_end != NULL) {
		err = store_history_get(answers->setup.history, &far_end->key, on_end, &gather);
	}
	_cleanup_(codec_doc_destroy) codec_doc_t *doc = gather.doc;
	if (err != PR_OK || gather.err != PR_OK) {
		return err != PR_OK ? err : gather.err;
	}
	codec_doc_set_u64(doc, CODEC_EVENT_ROW_JOIN, pair->join);
	return codec_doc_encode(doc, ret_data, ret_bytes);
}

/* ---- the history ---- */

/* Send what is ready, as far as there is room, and not too much in one step: others wait. */
static void drain(recorder_answers_t *answers, struct answer *answer)
{
	struct recorder_pair pair;
	bool wanted;

	answer->ready = false;
	for (size_t n = 0; !answer->waits; n++) {
		_cleanup_(pr_free) uint8_t *data = NULL;
		size_t size_bytes;
		if (n == DRAIN_MOST) {
			answer->ready = true;
			return;
		}
		if (!recorder_join_next(answer->join, answers->now_ns, &pair, &wanted)) {
			return;
		}
		if (!wanted) {
			continue;
		}
		if (pair_encode(answers, answer, &pair, &data, &size_bytes) != PR_OK) {
			answer->lost++;
			continue;
		}
		if (!answers_send_or_keep(answers, answer, &data, size_bytes)) {
			answers_end(answers, answer);
			return;
		}
		answer->sent++;
		answers->counters.rows_sent++;
	}
	answer->ready = true;
}

static void show_start(recorder_answers_t *answers, struct answer *answer)
{
	if (recorder_join_show(answer->join, &answer->more_matched) != PR_OK) {
		answers_end(answers, answer);
		return;
	}
	answer->phase = PHASE_STREAM;
	answer->position = (struct store_position){ 0 };
	answer->read = false;
	answer->ready = false;
}

static void piece_read(recorder_answers_t *answers, struct answer *answer)
{
	struct store_range range = recorder_join_range(answer->join);
	bool more = false;

	int err = store_history_read(answers->setup.history, &range, RECORDER_ANSWER_ROWS,
	                             &answer->position, on_row, answers, &more);
	if (err != PR_OK) {
		answer->more_matched = true;
		more = false;
	}
	answer->read = !more;
	if (!more && (answer->phase == PHASE_COUNT || !answer->follow)) {
		recorder_join_end(answer->join);
	}
}

void answers_joined_read(recorder_answers_t *answers, struct answer *answer)
{
	answer->expires_ns = answers->now_ns + RECORDER_STALL_NS;
	/* A follower reads on to the very end: what is committed meanwhile is not told to him. */
	if (!answer->ready && (!answer->read || answer->follow)) {
		piece_read(answers, answer);
	}
	if (answer->phase == PHASE_COUNT) {
		bool known = recorder_join_counted(answer->join, DRAIN_MOST, &answer->ready);
		if (known || (answer->read && !answer->ready)) {
			show_start(answers, answer);
		}
		return;
	}
	drain(answers, answer);
	if (answer->phase == PHASE_FREE || answer->ready) {
		return;
	}
	bool enough = !answer->follow && answer->limit != 0 && answer->sent >= answer->limit;
	if (answer->read && answer->follow) {
		recorder_join_live(answer->join, answers->now_ns);
	}
	if (answer->read || enough) {
		answers_stream_end(answers, answer);
	}
}

/* ---- what comes ---- */

void answers_joined_follow(recorder_answers_t *answers, struct answer *answer)
{
	struct recorder_pair pair;
	bool wanted;

	while (answer->phase == PHASE_FOLLOW &&
	       recorder_join_next(answer->join, answers->now_ns, &pair, &wanted)) {
		_cleanup_(pr_free) uint8_t *data = NULL;
		size_t size_bytes = 0;
		if (!wanted) {
			continue;
		}
		if (pair_encode(answers, answer, &pair, &data, &size_bytes) != PR_OK) {
			data = NULL;
		}
		answers_follower_send(answers, answer, data, size_bytes);
	}
}

void answers_joined_row(recorder_answers_t *answers, struct answer *answer,
                        const struct store_row *row)
{
	struct store_row_key last = answer->last;

	answers->current = answer;
	(void)on_row(answers, row);
	answer->last = last;
	answers_joined_follow(answers, answer);
}

/* ---- told ---- */

void answers_joined_say(const struct answer *answer, char text[static 256])
{
	text[0] = '\0';
	if (answer->join == NULL) {
		return;
	}
	const struct recorder_pairs_counters *counters = recorder_join_counters(answer->join);
	if (counters->disagreed > 0) {
		(void)snprintf(text, 256,
		               "%" PRIu64 " end%s not joined: other ends of the same connection "
		               "disagree, or it is not the agent's own",
		               counters->disagreed, counters->disagreed == 1 ? "" : "s");
	}
}

void answers_joined_count(struct recorder_answers_counters *counters, const struct answer *answer)
{
	if (answer->join != NULL) {
		const struct recorder_pairs_counters *of_join =
			recorder_join_counters(answer->join);
		counters->joined += of_join->joined;
		counters->singles += of_join->single;
		counters->joins_refused += of_join->disagreed + of_join->several;
	}
}
