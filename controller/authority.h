/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/**
 * @file
 * Who holds the truth about policy: commit, read at a revision, watch. One interface; embedded LMDB
 * behind it now, a fake in tests, a cluster later, without a change in workers.
 *
 * A revision is never lower than one that was seen before. Threads: one at a time.
 */

#include <stddef.h>
#include <stdint.h>

#include "base/defs.h"
#include "store/store.h"

struct authority {
	void *self;
	/**
	 * Make the next revision.
	 * @param base      Revision that the text was made from.
	 * @param draft_of  Author whose draft this ends; NULL: none.
	 * @retval PR_ECONFLICT  The last revision is another than @p base.
	 */
	int (*commit)(void *self, uint64_t base, const struct store_revision *revision,
	              const struct pr_uuid *draft_of, uint64_t *ret_revision);
	/**
	 * @param revision  0: the last one.
	 * @retval PR_ENOENT
	 * Owns: store_revision_done().
	 */
	int (*read)(void *self, uint64_t revision, struct store_revision *ret_revision);
	/** Newest first, without texts; as store_policy_list(). */
	int (*list)(void *self, size_t limit,
	            bool (*visit)(void *arg, const struct store_revision *revision), void *arg);
	/** Number of the last revision: cheap, asked often. 0: none. */
	int (*watch)(void *self, uint64_t *ret_revision);
};

/** The authority that is this controller's own store. Valid as long as the store. */
struct authority authority_of_store(store_t *store);
