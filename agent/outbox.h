/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/** @file Orders on their way to the keeper, in order, while its socket is full. Threads: one. */

#include <stdbool.h>

#include "agent/keeper/thread.h"
#include "agent/part.h"
#include "base/defs.h"

typedef struct outbox outbox_t;

int outbox_new(outbox_t **ret_outbox) _must_check_;
void outbox_destroy(outbox_t **outbox_p);
/** Copies the order. */
int outbox_put(outbox_t *outbox, const struct part_order *order) _must_check_;
bool outbox_empty(const outbox_t *outbox);
/** Send what the keeper takes now. */
void outbox_send(outbox_t *outbox, keeper_thread_t *keeper);
