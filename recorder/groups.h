/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/**
 * @file
 * Which groups an endpoint is in, for queries: by the policy of the event's revision, the name of
 * the endpoint then and what else is known of it now. Two policies and a few hundred answers are
 * kept. One thread.
 */

#include <stdint.h>

#include "base/defs.h"
#include "base/id.h"
#include "recorder/names.h"
#include "store/store.h"

typedef struct recorder_groups recorder_groups_t;

/** Both are borrowed. NULL: out of memory. */
recorder_groups_t *recorder_groups_new(store_t *store, const recorder_names_t *names);
void recorder_groups_destroy(recorder_groups_t **groups_p);

/** A revision whose text was not here may have come: look again. */
void recorder_groups_look(recorder_groups_t *groups);

/**
 * Name of the @p nth group (from 0) of an endpoint. NULL: no more; the endpoint, or the text of the
 * revision, is not known. Borrowed until the next call.
 * @param called  Its name then; "": the one of now.
 */
const char *recorder_groups_name(recorder_groups_t *groups, uint64_t revision,
                                 const struct pr_uuid *endpoint, const char *called, unsigned nth);
