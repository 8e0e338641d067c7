/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/**
 * @file
 * Waits before trying again. They double with each failure up to a longest one, and each is drawn
 * by chance from its own upper half, so that thousands who failed together do not come back
 * together. Pure: the caller brings the chance. Threads: any, with a struct of its own.
 */

#include <stdint.h>

struct pr_backoff {
	uint64_t first_ns, longest_ns;
	unsigned failures; /* since the last success */
};

/** After a failure: how long to wait. @p chance is any random number. */
uint64_t pr_backoff_next_ns(struct pr_backoff *backoff, uint64_t chance);
/** It went well: the next failure waits for first_ns again. */
void pr_backoff_reset(struct pr_backoff *backoff);
/** A time between @p wait_ns / 2 and @p wait_ns. */
uint64_t pr_backoff_spread_ns(uint64_t wait_ns, uint64_t chance);
/** A random number, good enough for a wait and for nothing secret. */
uint64_t pr_backoff_chance(void);
