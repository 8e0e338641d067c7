/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/**
 * @file
 * Open requests and their timers. Pure: takes a clock value, sends through a function.
 *
 * A request waits in one of three lists: ready (to be sent this turn), asked (oldest first, so that
 * the timer looks at its head alone) and stuck (no worker takes it). Threads: one.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/speaker/speaker.h"

#define REQUESTS_RETRY_NS (300 * 1000000ULL)  /* unanswered: the next worker */
#define REQUESTS_STUCK_NS (20 * 1000000ULL)   /* nobody took it: try again */
#define REQUESTS_PROBE_NS (1000 * 1000000ULL) /* between questions to a silent worker */
#define REQUESTS_NEWBORN_NS \
	(1000 * 1000000ULL) /* a far end is asked again until its near end is told */

/*
 * A far end's worker knows the initiator by the near end's request, or by a notice of it. So that
 * both meet although a worker has gone or come between the two, near ends of the last seconds are
 * told again to whom the far end will ask: to the next when their worker goes, falls silent or
 * leaves the set; to a worker that comes. For a while after that (agents learn of it at different
 * times), and as long as the first worker of a key cannot be asked, the one that a far end would
 * ask second is told as well.
 */
#define REQUESTS_RECENT_MAX  8192
#define REQUESTS_RECENT_NS   (5000 * 1000000ULL)
#define REQUESTS_UNSTEADY_NS (10000 * 1000000ULL)
#define REQUESTS_OUTBOX_MAX  1024 /* notices to be sent in a turn */

typedef struct requests requests_t;

struct requests_counters {
	uint64_t sent, repeated, probed, full, silent, answered, unasked;
	uint64_t notices, notices_lost, forgotten;
};

struct requests_sink {
	void *context;
	/* One frame to a worker; anything but PR_OK: not sent, choose another. */
	int (*send)(void *context, unsigned worker, const struct codec_request *requests,
	            size_t count);
	/* The same for notices; what is not sent is lost. */
	int (*notify)(void *context, unsigned worker, const struct codec_notice *notices,
	              size_t count);
};

int requests_new(uint32_t capacity, requests_t **ret_requests) _must_check_;
void requests_destroy(requests_t **requests_p);

/** The workers from now on, all down; what is known of those that stay (by id) is kept. */
void requests_workers_set(requests_t *requests, const struct pr_uuid *ids, const uint32_t *groups,
                          size_t count);
/** A link came or went. What was asked of one that went is asked of the next at once. */
void requests_worker_up(requests_t *requests, unsigned worker, bool up);
/** Is any worker up? */
bool requests_reachable(const requests_t *requests);
/** Up, but it let a request wait for too long and has said nothing since. */
bool requests_worker_silent(const requests_t *requests, unsigned worker);

/** PR_EAGAIN: too many are open. PR_EEXIST: this id is. */
int requests_add(requests_t *requests, const struct codec_request *request) _must_check_;
void requests_drop(requests_t *requests, uint64_t id);
/**
 * An answer came. True: to an open request, which is closed now.
 * @param connection  As the verdict names it.
 */
bool requests_answered(requests_t *requests, unsigned worker, uint64_t id, uint64_t connection,
                       uint64_t now_ns);
/** Tell the worker of this flow key at the next turn. Too many: lost and counted. */
void requests_notice(requests_t *requests, const struct codec_notice *notice);
/**
 * An answer came of a worker that has not heard of the near end: is there another that may have?
 * True: it is asked, once; the answer at hand is not to be used.
 * @param newborn  The source's host has new containers: for REQUESTS_NEWBORN_NS workers are asked
 * on.
 */
bool requests_ask_again(requests_t *requests, unsigned worker, uint64_t id, bool newborn,
                        uint64_t now_ns);
/** Send the notices at hand. True: there were some. */
bool requests_told(requests_t *requests, uint64_t now_ns, const struct requests_sink *sink);
/** Send what is ready, pass on what waited for too long. */
void requests_turn(requests_t *requests, uint64_t now_ns, const struct requests_sink *sink);
/** When the next turn is due; 0: now; UINT64_MAX: never. */
uint64_t requests_timeout_ns(const requests_t *requests);
size_t requests_open(const requests_t *requests);
/** The worker that the one open request was asked of; SPEAKER_WORKERS_MAX: none or several are. */
unsigned requests_only_worker(const requests_t *requests);
void requests_counters(const requests_t *requests, struct requests_counters *ret_counters);

/** Hash of a flow key: protocol, wire source, wire destination and its port. FNV-1a, 64 bits. */
uint64_t requests_flow_key(const struct codec_request *request);
uint64_t requests_notice_key(const struct codec_notice *notice);
