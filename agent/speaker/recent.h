/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/**
 * @file
 * The last near ends that a worker was told of, as notices, and which worker it was: a ring that
 * forgets the oldest. Pure. Threads: one.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/codec.h"

#define RECENT_NOBODY UINT32_MAX /* its worker is no longer one */

struct recent_entry {
	struct codec_notice notice;
	uint64_t told_ns;
	uint32_t worker;
};

typedef struct recent recent_t;

recent_t *recent_new(size_t capacity);
void recent_destroy(recent_t **recent_p);
/** @return true: full, and what had to go is younger than @p since_ns. */
bool recent_put(recent_t *recent, uint32_t worker, const struct codec_notice *notice,
                uint64_t now_ns, uint64_t since_ns);
size_t recent_count(const recent_t *recent);
/**
 * Go through what was told at @p since_ns or later.
 *
 * @param at  0 at first; moved on.
 *
 * @return Its worker may be changed; borrowed until the next put. NULL: no more.
 */
struct recent_entry *recent_next(recent_t *recent, uint64_t since_ns, size_t *at);
