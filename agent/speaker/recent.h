/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/**
 * @file
 * The last near ends that were answered, and by which worker: a ring that forgets the oldest. Pure.
 * Threads: one.
 */

#include <stddef.h>
#include <stdint.h>

#include "codec/codec.h"

typedef struct recent recent_t;

recent_t *recent_new(size_t capacity);
void recent_destroy(recent_t **recent_p);
void recent_put(recent_t *recent, unsigned worker, const struct codec_request *request,
                uint64_t now_ns);
void recent_clear(recent_t *recent);
/**
 * Go through what @p worker answered at @p since_ns or later.
 *
 * @param at  0 at first; moved on.
 *
 * @return Borrowed until the next put; NULL: no more.
 */
const struct codec_request *recent_next(const recent_t *recent, unsigned worker, uint64_t since_ns,
                                        size_t *at);
