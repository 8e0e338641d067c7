/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/**
 * @file
 * What to say about workers that answer or do not. After a start the first answer takes a moment:
 * that is worth no warning. Pure; times are the monotonic clock's.
 */

#include <stdbool.h>
#include <stdint.h>

#define REACH_PATIENCE_NS 3000000000ULL /* after the start, before the first answer */

struct reach {
	uint64_t start_ns;
	bool reachable;
	bool ever; /* since the start */
	bool said; /* that nobody answers */
};

enum reach_news {
	REACH_NOTHING,
	REACH_ANSWERS,
	REACH_LOST,
};

void reach_begin(struct reach *reach, uint64_t now_ns);
/** A change, or the same again. @return What to log. */
enum reach_news reach_set(struct reach *reach, bool reachable, uint64_t now_ns);
/** Time has passed. @return What to log. */
enum reach_news reach_look(struct reach *reach, uint64_t now_ns);
