/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/**
 * @file
 * Endpoints in quarantine: nothing but lifelines may reach them or leave them, whatever the policy
 * says. A host's quarantine holds for its containers, too. Kept in the store by UUID, so that it
 * outlives names, addresses, restarts and removal from the directory.
 *
 * Threads: one at a time.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/defs.h"
#include "base/id.h"
#include "controller/directory.h"
#include "store/store.h"

#define QUARANTINE_REASON_BYTES 512
#define QUARANTINE_BY_BYTES     64
#define QUARANTINE_MAX          100000U

struct quarantine {
	struct pr_uuid id;
	uint64_t since_wall_ns;
	uint64_t until_wall_ns; /* 0: until it is released */
	char by[QUARANTINE_BY_BYTES];
	char reason[QUARANTINE_REASON_BYTES];
};

/** Who is in quarantine, as this process knows it. Zeroed is empty. */
struct quarantine_set {
	struct quarantine *items; /* in order of id */
	size_t count;
	uint64_t number; /* of the store's last change */
};

void quarantine_set_done(struct quarantine_set *set);

/** Read what has changed: one short transaction when nothing has. */
int quarantine_set_refresh(struct quarantine_set *set, store_t *store, bool *ret_changed);

/** NULL: not in quarantine by itself. Also what is over is found. */
const struct quarantine *quarantine_find(const struct quarantine_set *set,
                                         const struct pr_uuid *id);

/** Is an endpoint, or its host, in quarantine at that time? */
bool quarantine_holds(const struct quarantine_set *set, const struct directory_endpoint *endpoint,
                      uint64_t now_wall_ns);

/** Write: the admin service alone. */
int quarantine_put(store_t *store, const struct quarantine *quarantine) _must_check_;
/** PR_OK also if there was none. */
int quarantine_delete(store_t *store, const struct pr_uuid *id) _must_check_;
