/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/**
 * @file
 * UUIDs: 16 bytes, network order. A host's is random and kept; a container's is UUIDv5 of its full
 * container ID under a constant namespace, so it outlives restarts and address changes.
 * Threads: any.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/defs.h"

#define PR_UUID_BYTES      16
#define PR_UUID_TEXT_BYTES 37

struct pr_uuid {
	uint8_t bytes[PR_UUID_BYTES]; /* all zero: none */
};

/** New random UUID (version 4). */
struct pr_uuid pr_uuid_new(void);

/** UUIDv5 of a full, 64 hex digit container ID; any other text is hashed as it is. */
struct pr_uuid pr_uuid_of_container(const char *container_id);

/**
 * UUIDv5 of a network namespace that a host's configuration names: the same after a restart, and
 * when the namespace is made anew under that name.
 */
struct pr_uuid pr_uuid_of_namespace(const struct pr_uuid *host, const char *name);

/** UUIDv5 of any bytes under our namespace; @p kind keeps uses apart ("exe", "network"). */
struct pr_uuid pr_uuid_of_bytes(const char *kind, const void *data, size_t size_bytes);

/** Text form, 36 lower-case characters. Returns @p text. */
const char *pr_uuid_format(const struct pr_uuid *id, char text[static PR_UUID_TEXT_BYTES]);

/**
 * Exactly the 36 character form.
 * @retval PR_OK
 * @retval PR_EINVAL
 */
int pr_uuid_parse(const char *text, struct pr_uuid *ret_id) _must_check_;

bool pr_uuid_is_null(const struct pr_uuid *id);
bool pr_uuid_equal(const struct pr_uuid *a, const struct pr_uuid *b);
