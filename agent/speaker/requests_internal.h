/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/** @file What requests.c and requests_tell.c share. requests.h documents the whole. */

#include "agent/speaker/recent.h"
#include "agent/speaker/requests.h"

#define NONE UINT32_MAX

enum list {
	LIST_FREE,
	LIST_READY,
	LIST_ASKED,
	LIST_STUCK,
	_LIST_MAX,
};

struct slot {
	struct codec_request request;
	uint64_t asked_ns;
	uint64_t first_ns; /* when it was asked first; 0: not yet */
	uint64_t tried;    /* workers asked in this round, a bit each */
	uint32_t next, previous;
	uint32_t chain; /* next in the bucket */
	uint8_t list;
	uint8_t worker; /* asked, or chosen for this turn */
	bool repeat;
	bool second_told; /* near end: the second worker has a notice of it */
	bool asked_other; /* far end: the first to answer knew no near end */
};

struct worker {
	struct pr_uuid id;
	uint32_t group; /* workers of one controller fall silent together */
	bool up;
	bool silent;
	bool blocked; /* took nothing this turn */
	bool lost;    /* its link went down */
	bool told;    /* what it answered of late has been told to another */
	bool added;   /* came with a newer set than the first, and was not up yet */
	bool reborn;  /* up, for the first time or perhaps as another process: to be told itself */
	uint64_t answered_ns;
	uint64_t waited_ns; /* asked since then without any answer; 0: not */
	uint64_t probed_ns;
};

struct requests {
	struct slot *slots;
	uint32_t *buckets;
	uint32_t capacity, bucket_mask;
	struct {
		uint32_t first, last;
		size_t count;
	} lists[_LIST_MAX];
	struct worker workers[SPEAKER_WORKERS_MAX];
	struct pr_uuid worker_ids[SPEAKER_WORKERS_MAX];
	size_t worker_count;
	uint64_t stuck_retry_ns;
	bool shaken;  /* a worker came or went since the last turn */
	bool orphans; /* some of @recent are of workers that are gone from the set */
	uint64_t steady_ns;
	recent_t *recent;
	struct {
		uint32_t to; /* RECENT_NOBODY: to be chosen */
		struct codec_notice notice;
	} outbox[REQUESTS_OUTBOX_MAX];
	size_t outbox_count;
	struct codec_notice notice_batch[CODEC_BATCH_MAX];
	struct codec_request batch[CODEC_BATCH_MAX];
	uint32_t batch_slots[CODEC_BATCH_MAX];
	struct requests_counters counters;
};

/* requests.c */
/** The first in a flow key's order that may be asked; SPEAKER_WORKERS_MAX: none. */
unsigned requests_choose_of(const requests_t *requests, const unsigned *order, uint64_t tried);

/* requests_tell.c */
/** A near end was answered. */
void requests_near_end_put(requests_t *requests, unsigned worker,
                           const struct codec_request *request, uint64_t connection,
                           uint64_t now_ns);
/** A near end goes to @p worker now: whom else must be told of it? */
void requests_near_end_asked(requests_t *requests, struct slot *slot, unsigned worker,
                             const unsigned *order, uint64_t now_ns,
                             const struct requests_sink *sink);
/** The set of workers has changed: @p place[i] is the new position of the i-th; NONE: gone. */
void requests_recent_move(requests_t *requests, const uint32_t *place);
/** Do near ends that no worker was told of wait for one that is up now? */
bool requests_orphans_due(const requests_t *requests);
/** Workers came or went: tell who has to know now. */
void requests_tell(requests_t *requests, uint64_t now_ns, const struct requests_sink *sink);
/** Send what is to be told. */
void requests_tell_flush(requests_t *requests, uint64_t now_ns, const struct requests_sink *sink);
