/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/**
 * @file
 * Small files of the state folder, replaced whole: written beside, synced, renamed, folder synced,
 * all in a thread of its own, so that a slow disk holds nobody. Of several versions put while it
 * writes, only the last is written. What cannot be written is tried again every second.
 *
 * Threads: one caller; the writer is internal.
 */

#include <stddef.h>
#include <stdint.h>

#include "base/defs.h"

#define KEEP_MAX_BYTES (8 << 20)

enum keep_file {
	KEEP_STATE,
	KEEP_DIRECTORY,
	KEEP_NUMBERS,
	_KEEP_MAX,
};

typedef struct keep keep_t;

/**
 * @param folder  Exists and is open to its owner alone; kept by reference.
 * @retval PR_EACCES  It is not.
 */
int keep_open(const char *folder, keep_t **ret_keep) _must_check_;
/** Writes what waits (for 2 s at most), then ends. */
void keep_destroy(keep_t **keep_p);

/** Put a new content. @p ret_ticket: see keep_written(). Copies. */
int keep_put(keep_t *keep, enum keep_file file, const void *data, size_t size_bytes,
             uint64_t *ret_ticket) _must_check_;
/** Tickets up to this one are on disk. */
uint64_t keep_written(keep_t *keep, enum keep_file file);
/** Wait for a ticket; for the start, before there is anything to hold up. PR_ETIMEOUT. */
int keep_wait(keep_t *keep, enum keep_file file, uint64_t ticket, int timeout_ms) _must_check_;
uint64_t keep_errors(keep_t *keep);

/**
 * Read a file whole. @p ret_data is malloc'd.
 * @retval PR_ENOENT
 * @retval PR_EACCES  Not a regular file of ours that is closed to others.
 */
int keep_load(const keep_t *keep, enum keep_file file, uint8_t **ret_data,
              size_t *ret_bytes) _must_check_;
