/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/**
 * @file
 * How often work may be done that costs what is there and not what has changed (an image of all
 * endpoints, a state for each agent). After it took a time it rests for three times as long: where
 * thousands of agents join at once each of them would have it done anew, and nothing else would
 * get done. On a small site the rest is too short to be seen. Pure.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"

#define PACE_REST        3
#define PACE_REST_MAX_NS (500 * PR_NS_PER_MS)

struct pace {
	uint64_t due_ns; /* not before */
};

static inline bool pace_due(const struct pace *pace, uint64_t now_ns)
{
	return now_ns >= pace->due_ns;
}

static inline uint64_t pace_left_ns(const struct pace *pace, uint64_t now_ns)
{
	return now_ns < pace->due_ns ? pace->due_ns - now_ns : 0;
}

/** It was done now and has cost this. */
static inline void pace_done(struct pace *pace, uint64_t now_ns, uint64_t cost_ns)
{
	uint64_t rest_ns =
		cost_ns < PACE_REST_MAX_NS / PACE_REST ? PACE_REST * cost_ns : PACE_REST_MAX_NS;

	pace->due_ns = now_ns + rest_ns;
}
