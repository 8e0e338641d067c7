/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/**
 * @file
 * Containers that live in a namespace which is not their own: the host's, another container's, one
 * that the configuration names. Sockets that their processes hold there, by control group, are
 * theirs.
 *
 * One for all engines of a host: any of them may have guests in any namespace. Threads: any.
 */

#include <stdint.h>

#include "base/cgroup.h"
#include "base/defs.h"

typedef struct guests guests_t;

int guests_new(guests_t **ret_guests) _must_check_;
void guests_destroy(guests_t **guests_p);

/** Known until it is removed. @param own  Its control groups, by pr_cgroup_own(). */
void guests_set(guests_t *guests, const char *container_id, const char *own);
/** One that is not there is fine. */
void guests_remove(guests_t *guests, const char *container_id);

/** Whose is the process with this text of /proc/PID/cgroup? Empty: no guest's. */
void guests_find(guests_t *guests, const char *cgroups, char ret_id[static PR_CGROUP_ID_BYTES]);
/** Another number: what guests_find() said before may be different now. */
uint64_t guests_generation(guests_t *guests);
