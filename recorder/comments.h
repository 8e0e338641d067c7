/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/**
 * @file
 * Comments of rules, by revision and number. Texts of revisions come from the controller, are kept
 * in the store and read by policy/; here only the comments stay in memory. A revision that is not
 * here yet is wanted: the link to the controller fetches it. One thread.
 */

#include <stddef.h>
#include <stdint.h>

#include "base/defs.h"
#include "store/store.h"

typedef struct recorder_comments recorder_comments_t;

/** The store is borrowed. NULL: out of memory. */
recorder_comments_t *recorder_comments_new(store_t *store);
void recorder_comments_destroy(recorder_comments_t **comments_p);

/** What recorder_comments_find() gives from now on stays until this is called again. */
void recorder_comments_hold(recorder_comments_t *comments);

/** NULL: none, not known yet, or of too many revisions since the last hold. */
const char *recorder_comments_find(recorder_comments_t *comments, uint64_t revision, uint32_t rule,
                                   uint64_t now_ns);

/** A revision to fetch from the controller now; 0: none. Asked again after a minute. */
uint64_t recorder_comments_wanted(recorder_comments_t *comments, uint64_t now_ns);

/** It came. Strings are borrowed. A failure only means that it is asked for again. */
int recorder_comments_put(recorder_comments_t *comments,
                          const struct store_revision *revision) _must_check_;
