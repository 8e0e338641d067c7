/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/**
 * @file
 * Loads the eBPF programs beside the agent's start: the kernel takes half a second to check them,
 * and a host in enforce lets nothing new pass while its agent is not there. Until they are in force
 * attribution goes by /proc.
 *
 * Threads: one of its own, which ends by itself; everything else belongs to the caller's.
 */

#include "agent/keeper/origin.h"
#include "base/defs.h"

typedef struct opener opener_t;

int opener_start(opener_t **ret_opener) _must_check_;
/** Waits for the thread; what it opened and nobody took is closed. */
void opener_destroy(opener_t **opener_p);

/** Readable once the thread is through. */
int opener_fd(const opener_t *opener);
/**
 * Once opener_fd() is readable. @p ret_origin is the caller's.
 * @param ret_why  On failure: as origin_new().
 */
int opener_take(opener_t *opener, origin_t **ret_origin,
                char ret_why[static ORIGIN_WHY_BYTES]) _must_check_;
