/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/**
 * @file
 * Joining: which near end and which far end are one connection. Ends are put in as they come and
 * rows are taken out, each end in exactly one row (but for RECORDER_PAIRS' late ones).
 *
 * An id alone joins nothing: two ends must have the same connection id and agree on protocol, port
 * and address on the wire, on who started it and on the host that it went to, lie within
 * RECORDER_PAIR_NS of each other, and be each reported by the agent of the endpoint's own host.
 * Where more than one end fits, none is joined. What is only said again (a SYN sent twice) is
 * left out.
 *
 * The clock is the caller's: the time of events while a history is read (in either direction; then
 * it must never go back), the machine's while ends come live. Pure. One thread.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/clock.h"
#include "base/defs.h"
#include "store/history.h"

#define RECORDER_PAIR_NS       (10 * PR_NS_PER_S) /* between two ends: a wait for verdicts, clocks */
#define RECORDER_PAIR_LIVE_NS  (2 * PR_NS_PER_S)  /* a live end waits so long for the other */
#define RECORDER_PAIR_COUNT    130000 /* ends kept; the oldest goes when there are more */
#define RECORDER_PAIR_SAME_MAX 16     /* ends that claim one id */

/** What joining looks at. */
struct recorder_end {
	struct store_row_key key;
	uint64_t connection;
	struct pr_addr src, dst, wire_dst;
	struct pr_uuid src_endpoint, dst_endpoint;
	struct pr_uuid dst_host; /* on which dst_endpoint lives; zero: not known */
	uint32_t pid, uid;
	uint16_t src_port, wire_dst_port;
	uint8_t proto, reporter, verdict, unknown;
	bool own;     /* the endpoint at which it was seen is its agent's */
	bool matches; /* what was asked for */
};

/** A connection as far as it is known. */
struct recorder_pair {
	struct recorder_end first, second; /* in the order of their clock */
	bool both;
	unsigned join; /* CODEC_JOIN_* */
};

const struct recorder_end *recorder_pair_near(const struct recorder_pair *pair);
/** NULL unless both are there. */
const struct recorder_end *recorder_pair_far(const struct recorder_pair *pair);
/** The key of the one that was seen earlier. */
const struct store_row_key *recorder_pair_key(const struct recorder_pair *pair);

struct recorder_pairs_counters {
	uint64_t joined;    /* rows with both ends */
	uint64_t single;    /* rows with one */
	uint64_t repeated;  /* ends left out: said before */
	uint64_t disagreed; /* singles whose id another end claims that does not fit, or not its own
	                     */
	uint64_t several;   /* singles because more than one fits */
	uint64_t crowded;   /* singles because a bound was reached */
};

typedef struct recorder_pairs recorder_pairs_t;

/** @param secret  Makes places unpredictable to peers. NULL: out of memory. */
recorder_pairs_t *recorder_pairs_new(uint64_t secret);
void recorder_pairs_destroy(recorder_pairs_t **pairs_p);

/**
 * An end comes.
 * @retval PR_ENOMEM  It is not in.
 */
int recorder_pairs_put(recorder_pairs_t *pairs, const struct recorder_end *end,
                       uint64_t clock_ns) _must_check_;

/** The next row that is ready at this time; false: none is. UINT64_MAX: all that are left. */
bool recorder_pairs_next(recorder_pairs_t *pairs, uint64_t clock_ns,
                         struct recorder_pair *ret_pair);

/** From now on the clock is another one, ends come live, and a row is ready when it is whole. */
void recorder_pairs_live(recorder_pairs_t *pairs, uint64_t clock_ns);

size_t recorder_pairs_count(const recorder_pairs_t *pairs);
const struct recorder_pairs_counters *recorder_pairs_counters(const recorder_pairs_t *pairs);
