/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/**
 * @file
 * What endpoints are called: the part of agents' ENDPOINT documents that events are shown with,
 * kept in memory and, a moment later, in the store. A name outlives its container, so that old
 * events can be read. One thread.
 */

#include <stddef.h>
#include <stdint.h>

#include "base/defs.h"
#include "base/id.h"
#include "codec/codec.h"
#include "store/history.h"
#include "store/store.h"

#define RECORDER_NAMES_MAX 200000

typedef struct recorder_names recorder_names_t;

/** With all that the store knows. The store is borrowed. */
int recorder_names_new(store_t *store, recorder_names_t **ret_names) _must_check_;
void recorder_names_destroy(recorder_names_t **names_p);

/**
 * An agent tells of an endpoint: itself, or a container on it.
 *
 * @param agent  By its key.
 * @param doc    ENDPOINT.
 *
 * @retval PR_EROLE   Not this agent's to tell, or not a container's UUID.
 * @retval PR_ENOSPC  More than RECORDER_NAMES_MAX.
 */
int recorder_names_put(recorder_names_t *names, const struct pr_uuid *agent,
                       const codec_doc_t *doc) _must_check_;

/** Write what is new to the store; what cannot be written now is kept for the next time. */
int recorder_names_flush(recorder_names_t *names, uint64_t now_wall_ns) _must_check_;

/** ENDPOINT with uuid, host, kind, name, host_name, container_id, image, cgroup, labels;
 * NULL: not known.
 */
const codec_doc_t *recorder_names_find(const recorder_names_t *names, const struct pr_uuid *id);

/** The agent that told of it; NULL: nobody did. */
const struct pr_uuid *recorder_names_owner(const recorder_names_t *names, const struct pr_uuid *id);

/** What to call an end. Borrowed until the next put. A null id: external. */
void recorder_names_fill(const recorder_names_t *names, const struct pr_uuid *id,
                         struct store_end_names *ret_end);

/** Rises with every change of a name. */
uint64_t recorder_names_changes(const recorder_names_t *names);
size_t recorder_names_count(const recorder_names_t *names);
