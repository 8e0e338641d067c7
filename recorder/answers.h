/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/**
 * @file
 * Answers to EVENTS_GET: rows from the history, a piece at a time, and then, for who follows, every
 * new row that matches as it is committed. A slow follower loses rows and is told how many; a
 * reader of the history is waited for. Pure but for the store: time is an argument, the bus stands
 * behind a function. One thread.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/defs.h"
#include "bus/bus.h"
#include "codec/codec.h"
#include "recorder/comments.h"
#include "recorder/groups.h"
#include "recorder/names.h"
#include "store/history.h"

#define RECORDER_ANSWERS_MAX      64
#define RECORDER_ANSWERS_PER_PEER 8
#define RECORDER_ANSWERS_JOINED   4                  /* of the open ones: each keeps 10 s of ends */
#define RECORDER_ANSWER_ROWS      500                /* read in one step */
#define RECORDER_FOLLOW_NS        (30 * PR_NS_PER_S) /* after the last request */
#define RECORDER_STALL_NS         (60 * PR_NS_PER_S) /* a reader that takes nothing is dropped */

struct recorder_answers_setup {
	store_history_t *history; /* all borrowed */
	recorder_names_t *names;
	recorder_comments_t *comments;
	recorder_groups_t *groups;
	void *arg;
	/** PR_OK, PR_EAGAIN (later, please), or the peer has gone. */
	int (*send)(void *arg, const struct bus_route *route, const void *data, size_t size_bytes);
};

typedef struct recorder_answers recorder_answers_t;

/** NULL: out of memory. */
recorder_answers_t *recorder_answers_new(const struct recorder_answers_setup *setup);
void recorder_answers_destroy(recorder_answers_t **answers_p);

/**
 * EVENTS_GET of a peer; the same id again only prolongs following.
 * @retval PR_OK      It will be answered.
 * @retval PR_EINVAL  @p problem says what is wrong with the query.
 * @retval PR_EBUSY   Too many requests are open.
 */
int recorder_answers_ask(recorder_answers_t *answers, const struct bus_route *route,
                         const struct pr_uuid *peer, const codec_doc_t *request, uint64_t now_ns,
                         char problem[static 256]) _must_check_;

/** Read and send a piece for everybody. True: there is more to do now; else when somebody takes. */
bool recorder_answers_step(recorder_answers_t *answers, uint64_t now_ns);

/** Somebody's rows are waiting for room in his queue: step again soon. */
bool recorder_answers_waiting(const recorder_answers_t *answers);

/** A row was committed: to followers. */
void recorder_answers_row(recorder_answers_t *answers, const struct store_row *row,
                          uint64_t now_ns);

struct recorder_answers_counters {
	uint64_t asked, refused, rows_sent, rows_lost, ended_slow;
	size_t open, following;
	/* of joined answers */
	uint64_t joined, singles, joins_refused;
};
void recorder_answers_counters(const recorder_answers_t *answers,
                               struct recorder_answers_counters *ret_counters);
