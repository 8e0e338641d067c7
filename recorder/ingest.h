/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/**
 * @file
 * Events on their way into the history. Frames are collected for RECORDER_COLLECT_NS or until there
 * are RECORDER_COLLECT_EVENTS, then committed together; only then are they acknowledged.
 *
 * Nothing that an agent still holds may be acknowledged by accident: a frame that begins beyond
 * the next number of its agent is dropped and the last committed number is sent again, so that the
 * agent goes back; only when it does not within RECORDER_GAP_GRACE_NS, the hole is a gap for good.
 * While the store refuses (full disk), what is collected is kept and tried again, and what comes is
 * dropped.
 *
 * Pure but for the store: time is an argument, the bus stands behind functions. One thread.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/defs.h"
#include "bus/bus.h"
#include "recorder/comments.h"
#include "recorder/names.h"
#include "store/history.h"

#define RECORDER_COLLECT_NS     (20 * PR_NS_PER_MS)
#define RECORDER_COLLECT_EVENTS 1000
#define RECORDER_GAP_GRACE_NS   (5 * PR_NS_PER_S)
#define RECORDER_SILENCE_NS     (60 * PR_NS_PER_S)   /* after it the grace begins anew */
#define RECORDER_HINT_NS        (200 * PR_NS_PER_MS) /* between two hints to go back */
#define RECORDER_RETRY_NS       (500 * PR_NS_PER_MS) /* while the store refuses */

struct recorder_ingest_setup {
	store_history_t *history; /* all borrowed */
	recorder_names_t *names;
	recorder_comments_t *comments;
	void *arg;
	/** Everything of this agent up to @p seq is on disk. */
	void (*acknowledge)(void *arg, const struct bus_route *route, uint64_t seq);
	/** A row is on disk for the first time. Borrowed for the call. */
	void (*committed)(void *arg, const struct store_row *row);
};

struct recorder_ingest_counters {
	uint64_t frames, events;  /* came in, of good form */
	uint64_t malformed;       /* frames */
	uint64_t commits;         /* transactions */
	uint64_t committed;       /* events in them */
	uint64_t commits_failed;  /* tries */
	uint64_t dropped_full;    /* events dropped while the store refused; the agent has them */
	uint64_t dropped_ahead;   /* events dropped because earlier ones had not come */
	uint64_t dropped_refused; /* events that the store can never take */
	uint64_t users_foreign;   /* events whose user was at an endpoint of another agent */
};

typedef struct recorder_ingest recorder_ingest_t;

/** NULL: out of memory. */
recorder_ingest_t *recorder_ingest_new(const struct recorder_ingest_setup *setup);
void recorder_ingest_destroy(recorder_ingest_t **ingest_p);

/**
 * A frame of events.
 * @param agent  By its key.
 * @retval PR_OK      Collected, or left to the agent to send again.
 * @retval PR_EMALF, PR_EVERS
 * @retval PR_ENOMEM
 */
int recorder_ingest_events(recorder_ingest_t *ingest, const struct pr_uuid *agent,
                           const struct bus_route *route, const uint8_t *data, size_t size_bytes,
                           uint64_t now_ns) _must_check_;

/** Numbers that never come. Acknowledged as events are. Errors as store_history_lost(). */
int recorder_ingest_lost(recorder_ingest_t *ingest, const struct pr_uuid *agent,
                         const struct bus_route *route, uint64_t first_seq, uint64_t count,
                         uint64_t now_ns, uint64_t now_wall_ns) _must_check_;

/** When recorder_ingest_commit() is to be called; 0: nothing waits. */
uint64_t recorder_ingest_due_ns(const recorder_ingest_t *ingest);

/**
 * Commit what is collected.
 * @retval PR_OK      Also when there was nothing.
 * @retval PR_ENOSPC  Or another error of the store: kept, due again after RECORDER_RETRY_NS.
 */
int recorder_ingest_commit(recorder_ingest_t *ingest, uint64_t now_ns,
                           uint64_t now_wall_ns) _must_check_;

/** Does the store refuse now? */
bool recorder_ingest_blocked(const recorder_ingest_t *ingest);
size_t recorder_ingest_waiting(const recorder_ingest_t *ingest);
const struct recorder_ingest_counters *recorder_ingest_counters(const recorder_ingest_t *ingest);
