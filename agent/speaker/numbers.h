/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/**
 * @file
 * The note that keeps event numbers from being given twice. A block is reserved on disk (synced)
 * before its numbers are used. After a clean end, or a kill while the machine went on, the spool
 * knows the next number; after a crash of the machine the end of the spool may be missing, so
 * numbers go on behind the block, and those left out are reported as lost. Pure.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/defs.h"
#include "base/id.h"

#define NUMBERS_BLOCK      32768 /* reserved at once */
#define NUMBERS_MARGIN     16384 /* left when the next block is reserved */
#define NUMBERS_TEXT_BYTES 256

struct numbers {
	uint64_t reserved; /* numbers up to this one may have been given out */
	uint64_t next;     /* the next number at a clean end */
	bool clean;
	struct pr_uuid boot; /* of the machine's run that wrote it */
};

/** Returns the length. */
size_t numbers_format(const struct numbers *numbers, char text[static NUMBERS_TEXT_BYTES]);
/** PR_EMALF. */
int numbers_parse(const char *text, size_t size_bytes, struct numbers *ret_numbers) _must_check_;
/** Where to go on, as spool_open() wants it. */
void numbers_resume(const struct numbers *numbers, const struct pr_uuid *boot,
                    uint64_t *ret_first_seq, uint64_t *ret_empty_seq);
/** This run of the machine: /proc/sys/kernel/random/boot_id; zero if not readable. */
struct pr_uuid numbers_boot(void);
