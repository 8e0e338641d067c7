/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/**
 * @file
 * Far ends that wait for their near end, by flow key and in the order in which they came. All wait
 * equally long, so the oldest is the first whose time is over.
 *
 * Threads: one at a time. Pure.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/defs.h"
#include "bus/bus.h"
#include "codec/codec.h"
#include "controller/flow.h"

struct waiting_entry {
	struct codec_request request;
	struct pr_uuid agent;   /* who asks */
	struct bus_route route; /* where the answer goes */
	uint64_t deadline_ns;
	/* Of the table: */
	struct flow_key key;
	struct waiting_entry *next, *older, *younger;
};

typedef struct waiting waiting_t;

/** NULL: out of memory. */
waiting_t *waiting_new(size_t count_max, uint64_t secret);
void waiting_destroy(waiting_t **waiting_p);

/**
 * Keep a request. The same agent and id again only changes the route: it was asked twice.
 * @return false: full.
 */
bool waiting_put(waiting_t *waiting, const struct waiting_entry *entry);
void waiting_remove(waiting_t *waiting, struct waiting_entry *entry);

/**
 * Entries with this key and source port, one after the other; take the next before removing one.
 * NULL: no more.
 */
struct waiting_entry *waiting_first(const waiting_t *waiting, const struct flow_key *key,
                                    uint16_t src_port);
struct waiting_entry *waiting_next(const struct waiting_entry *entry);

/** NULL: none waits. */
struct waiting_entry *waiting_oldest(const waiting_t *waiting);
size_t waiting_count(const waiting_t *waiting);
