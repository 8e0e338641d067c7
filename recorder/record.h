/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/**
 * @file
 * A stored row as others see it: as a record that a query asks, and as an EVENT_ROW document. What
 * was not known when the event came (a name, a comment) is looked up again. One thread.
 */

#include <stddef.h>
#include <stdint.h>

#include "base/defs.h"
#include "policy/query.h"
#include "recorder/comments.h"
#include "recorder/groups.h"
#include "recorder/names.h"
#include "store/history.h"

struct recorder_record {
	struct store_row row; /* completed */
	const recorder_names_t *names;
	recorder_groups_t *groups;
	char *scratch; /* of RECORDER_SCRATCH_BYTES, for values that are made */
};

#define RECORDER_SCRATCH_BYTES 64

/** Everything is borrowed. */
void recorder_record_fill(struct recorder_record *record, const struct store_row *row,
                          const recorder_names_t *names, recorder_comments_t *comments,
                          recorder_groups_t *groups, char scratch[static RECORDER_SCRATCH_BYTES],
                          uint64_t now_ns);

/** policy_query_accessor_fn of a struct recorder_record. */
bool recorder_record_value(const void *record, enum policy_query_field field, const char *key,
                           unsigned index, struct policy_query_value *ret_value);

/** EVENT_ROW with a request's id. Caller destroys. NULL: out of memory. */
codec_doc_t *recorder_record_doc(const struct recorder_record *record, uint64_t request_id);

/** Add the far end of a connection to the row of its near end. */
int recorder_record_far(const struct recorder_record *record, codec_doc_t *doc) _must_check_;

/** EVENT_ROW with a request's id, encoded. @p ret_data is malloc'd. */
int recorder_record_encode(const struct recorder_record *record, uint64_t request_id,
                           uint8_t **ret_data, size_t *ret_bytes) _must_check_;
