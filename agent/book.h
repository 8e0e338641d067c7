/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/**
 * @file
 * The agent's book of its endpoints: what the inventory says there is, what the authority says must
 * hold for it, and what the keeper says does hold. Turns the first two into orders for the keeper
 * and news for the controller. Pure: everything leaves through struct book_outlet.
 *
 * A container in the host's namespace, or in another container's, is watched there as a guest.
 * While the engine has not named all containers, the host does not leave an earlier agent's
 * enforce: one of its guests may need it.
 *
 * An endpoint's mode, until the authority has said one, is observe; rules of an earlier agent that
 * stand in enforce are the keeper's to adopt, and stay until then. Threads: one.
 */

#include <stdbool.h>

#include "agent/inventory/inventory.h"
#include "agent/part.h"
#include "agent/speaker/speaker.h"
#include "base/defs.h"

typedef struct book book_t;

struct book_outlet {
	void *context;
	void (*order)(void *context, const struct part_order *order);
	/* New or changed; borrowed for the call. */
	void (*endpoint)(void *context, const codec_doc_t *endpoint);
	void (*gone)(void *context, const struct pr_uuid *id, bool removed);
	/* Every endpoint of this host has been named once. */
	void (*complete)(void *context);
	void (*lost)(void *context, const struct part_lost *lost);
};

/**
 * @param host     The host's own endpoint; it is watched from the start.
 * @param sources  Of the inventory: all must have listed once, or be away, to be complete.
 */
int book_new(const struct pr_uuid *host, size_t sources, const struct book_outlet *outlet,
             book_t **ret_book) _must_check_;
void book_destroy(book_t **book_p);

/** Watch the host's own namespace. Once, after the first lifeline order. */
void book_start(book_t *book);
/** A change of the inventory; takes its document. */
void book_inventory(book_t *book, struct inventory_change *change);
/** What the authority says now. */
void book_state(book_t *book, const struct speaker_state *state);
/**
 * What the keeper reports: kept as the endpoint's `enforced`. A failure is ordered again later.
 * @retval false  The same failure of the same endpoint again: it has been said.
 */
bool book_report(book_t *book, const struct part_report *report);
/** Order again what failed two seconds ago: what stood in the way may have gone. Every turn. */
void book_turn(book_t *book, uint64_t now_ns);
/** A container's first process, as the inventory named it. */
struct book_container {
	const char *container_id; /* borrowed until the next change; empty: a named namespace */
	int32_t pid;
	uint64_t start_ticks;
};
/** False: it is the host, or nobody that is known. */
bool book_container(const book_t *book, const struct pr_uuid *id,
                    struct book_container *ret_container);
/** Endpoints in the book that run, or are about to. */
size_t book_count(const book_t *book);
