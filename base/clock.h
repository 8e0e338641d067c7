/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/**
 * @file
 * Time. Timers and deadlines use the monotonic clock; wall time only labels stored events.
 * Pure logic takes a time as an argument (`now_ns`) and never calls these.
 * Threads: any.
 */

#include <stddef.h>
#include <stdint.h>

#define PR_NS_PER_S  1000000000ULL
#define PR_NS_PER_MS 1000000ULL
#define PR_NS_PER_US 1000ULL

/** CLOCK_MONOTONIC in ns. */
uint64_t pr_clock_monotonic_ns(void);

/** CLOCK_BOOTTIME in ns: survives suspend, used for expiries kept over a restart. */
uint64_t pr_clock_boot_ns(void);

/** CLOCK_REALTIME in ns since 1970. */
uint64_t pr_clock_wall_ns(void);

#define PR_CLOCK_TEXT_BYTES 32

/** RFC 3339 UTC with milliseconds, "2026-11-23T22:14:05.123Z". Returns @p text. */
const char *pr_clock_format(uint64_t wall_ns, char text[static PR_CLOCK_TEXT_BYTES]);

/**
 * Parse RFC 3339 ("2026-11-23T22:14:05Z", fraction and offset allowed) or a date ("2026-11-23",
 * midnight UTC).
 * @retval PR_OK
 * @retval PR_EINVAL  Any other form.
 */
int pr_clock_parse(const char *text, uint64_t *ret_wall_ns);
