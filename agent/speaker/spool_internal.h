/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/** @file What the spool's files share; spool.h has the format on disk. */

#include <stddef.h>
#include <stdint.h>

#include "agent/speaker/spool.h"

#define SPOOL_MAGIC 0x31537250U /* "PrS1" */

struct spool_head {
	uint32_t magic, payload_bytes;
	uint64_t first_seq;
	uint32_t count, crc;
};

_Static_assert(sizeof(struct spool_head) == 24, "written to disk as it is");

struct spool_segment {
	uint64_t first_seq; /* of its name */
	uint64_t end_seq;   /* first number behind it; first_seq: empty */
	uint64_t bytes;
};

struct spool {
	int folder_fd;
	int write_fd; /* the last segment */
	int read_fd;
	uint64_t max_bytes, bytes;
	uint32_t segment_bytes;
	struct spool_segment *segments;
	size_t segment_count, segment_room;
	uint64_t next_seq;     /* of the next event */
	uint64_t written_seq;  /* first number that is in no segment */
	uint64_t acknowledged; /* highest */
	uint64_t read_seq;     /* first number not given out */
	size_t read_segment;   /* where the next frame is looked for */
	uint64_t read_offset;
	struct spool_frame frame; /* peeked; count 0: none */
	uint64_t frame_bytes;     /* on disk; 0: a hole, nothing to skip */
	uint64_t corrupt;
	uint8_t buffer[sizeof(struct spool_head) + SPOOL_FRAME_MAX_BYTES]; /* for writing */
	/* Read ahead: frames are small and many. */
	uint8_t ahead[sizeof(struct spool_head) + SPOOL_FRAME_MAX_BYTES];
	uint64_t ahead_offset;
	size_t ahead_bytes;
};

/* --------------------------------------------------------------------------- spool_segment.c */

/** Over a head and the payload_bytes behind it. */
uint32_t spool_head_crc(const struct spool_head *head, const void *payload);
/** Its file, opened as open() does it: -1 and errno. */
int spool_segment_open(const spool_t *spool, const struct spool_segment *segment,
                       int flags) _must_check_;
/** A new last segment. */
int spool_segment_begin(spool_t *spool) _must_check_;
/** What earlier runs left in the folder. */
int spool_segments_load(spool_t *spool, const char *folder) _must_check_;
/** Delete the first @p count segments. */
void spool_segments_remove(spool_t *spool, size_t count);
/** Read one frame; its payload stays until the next one. PR_EAGAIN: the end of what is written. */
int spool_frame_read(spool_t *spool, int fd, uint64_t offset, struct spool_head *ret_head,
                     const uint8_t **ret_payload) _must_check_;
/** Another file is read next, or the same from anew. */
void spool_reading_close(spool_t *spool);

/* ----------------------------------------------------------------------------------- spool.c */

/** A head alone for numbers that were dropped: small enough for a spool that is full. */
void spool_hole_write(spool_t *spool);
