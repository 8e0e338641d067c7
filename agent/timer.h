/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/**
 * @file
 * When the loop wakes at the latest. A sleep with a timeout of its own programs the clock before it
 * and after it, 1.4 us of each decision where the timeout is shorter than a tick. This descriptor
 * is set only when something is due before it rings, which is a hundred times a second at most; it
 * may ring early, never late. Source: timerfd_create(2). Times are the monotonic clock's. Threads:
 * one.
 */

#include <stdint.h>

#include "base/defs.h"

struct loop_timer {
	int fd;
	uint64_t rings_ns; /* 0: not set */
};

int loop_timer_open(struct loop_timer *timer) _must_check_;
void loop_timer_close(struct loop_timer *timer);

/** Ring at @p due_ns, which is not 0, or before. */
int loop_timer_set(struct loop_timer *timer, uint64_t due_ns) _must_check_;
/** Its descriptor is readable: quiet until it is set again. */
void loop_timer_rang(struct loop_timer *timer);
