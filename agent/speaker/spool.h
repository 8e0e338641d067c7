/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/**
 * @file
 * Events on disk until the recorder has them. Segment files in a folder of their own, appended to
 * and deleted whole; each holds frames as they go on the wire, behind a head with a checksum.
 *
 * File name: the first number in it, 20 digits, ".events". A frame's head, little endian: magic
 * "PrS1", payload bytes, first number (64 bits), count, CRC-32C of head (with this field 0) and
 * payload. A head without payload says that these numbers were dropped. A number that no frame has
 * was lost too: the reader gives it out as such.
 *
 * Nothing is synced here: what was written survives the end of this process, not that of the
 * machine; numbers reserved ahead (numbers.h) see to it that none is given twice.
 * Threads: one. Limits: the caller's bytes on disk, one frame in memory.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/defs.h"

#define SPOOL_FRAME_MAX_BYTES 65536

typedef struct spool spool_t;

struct spool_options {
	const char *folder; /* created if missing, 0700; copied */
	uint64_t max_bytes;
	uint32_t segment_bytes; /* 0: 1 MiB */
	uint64_t first_seq;     /* numbers below were perhaps given out: never give them again */
	uint64_t empty_seq;     /* first number when the folder holds no segment; 0: 1 */
};

/** What is to be sent next. */
struct spool_frame {
	uint64_t first_seq;
	uint32_t count;
	bool lost; /* no data: these numbers never come */
	const uint8_t *data;
	size_t size_bytes; /* borrowed until the next call */
};

int spool_open(const struct spool_options *options, spool_t **ret_spool) _must_check_;
void spool_destroy(spool_t **spool_p);

/** Number that the next event gets. */
uint64_t spool_next_seq(const spool_t *spool);
/**
 * Append a frame whose @p count events have the numbers from spool_next_seq() on.
 * @retval PR_ENOSPC  Full, or the disk is: the numbers are lost and will be reported as such.
 */
int spool_append(spool_t *spool, uint32_t count, const void *data, size_t size_bytes) _must_check_;
/** @p count events get numbers and are lost at once. */
void spool_lose(spool_t *spool, uint32_t count);

/** The frame to send now. PR_EAGAIN: everything has been given out. */
int spool_peek(spool_t *spool, struct spool_frame *ret_frame) _must_check_;
/** It was sent: go on to the next. */
void spool_advance(spool_t *spool);
/** Begin again with the first that is not acknowledged. */
void spool_rewind(spool_t *spool);
/**
 * Everything up to @p seq is on the recorder's disk. One that is further than we are, because our
 * folder was lost, moves us on: PR_EOLD.
 */
int spool_acknowledge(spool_t *spool, uint64_t seq) _must_check_;

uint64_t spool_acknowledged_seq(const spool_t *spool);
/** Highest number given out by spool_advance() since the last rewind. */
uint64_t spool_sent_seq(const spool_t *spool);
uint64_t spool_bytes(const spool_t *spool);
/** Segments or parts of them that could not be read. */
uint64_t spool_corrupt(const spool_t *spool);

/** CRC-32C (Castagnoli), iSCSI's: RFC 3720 appendix B.4. */
uint32_t spool_crc(uint32_t crc, const void *data, size_t size_bytes);
