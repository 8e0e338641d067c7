/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/**
 * @file
 * One joined answer: which connections are among the newest so many that match, and each of them
 * in order. Rows of the history are put in, first backwards to count (only with a limit), then
 * forwards, then as they come; connections are taken out. It asks for rows RECORDER_PAIR_NS beyond
 * the wanted time on both sides, for an end that lies there, and reads each of them once a way.
 * Pure. One thread.
 */

#include "recorder/names.h"
#include "recorder/pairs.h"

#define RECORDER_JOIN_LIMIT_MAX 100000U

typedef struct recorder_join recorder_join_t;

/**
 * @param range  The wanted time of connections.
 * @param limit  The newest so many, up to RECORDER_JOIN_LIMIT_MAX; 0: all.
 * @param more   Is it wanted to be known whether there are more than the limit?
 * @return NULL: out of memory.
 */
recorder_join_t *recorder_join_new(const struct store_range *range, uint64_t limit, bool more);
void recorder_join_destroy(recorder_join_t **join_p);

/** What is to be read now. */
struct store_range recorder_join_range(const recorder_join_t *join);

/** A row read, or one that has just been committed. PR_ENOMEM. */
int recorder_join_put(recorder_join_t *join, const struct store_row *row,
                      const recorder_names_t *names, bool matches, uint64_t now_ns) _must_check_;
/** All of the range has been put in. */
void recorder_join_end(recorder_join_t *join);

/**
 * While counting: is it known where the wanted ones begin? Call after each piece.
 * @param most      Connections to take now.
 * @param ret_more  There are more to take: call again before the next piece.
 */
bool recorder_join_counted(recorder_join_t *join, size_t most, bool *ret_more);
/** From counting to showing: the range is another one, to be read from its start. */
int recorder_join_show(recorder_join_t *join, bool *ret_more) _must_check_;
/** From the history to what comes. */
void recorder_join_live(recorder_join_t *join, uint64_t now_ns);

/** The next connection; false: none now. @p ret_wanted: it is to be shown. */
bool recorder_join_next(recorder_join_t *join, uint64_t now_ns, struct recorder_pair *ret_pair,
                        bool *ret_wanted);

const struct recorder_pairs_counters *recorder_join_counters(const recorder_join_t *join);
