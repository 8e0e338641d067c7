/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "agent/speaker/spool_internal.h"

#include <fcntl.h>

#include "base/err.h"

/* A hole before @p end_seq, as a frame. */
static bool hole_frame(spool_t *spool, uint64_t end_seq)
{
	if (spool->read_seq >= end_seq) {
		return false;
	}
	uint64_t count = end_seq - spool->read_seq;
	spool->frame = (struct spool_frame){
		.first_seq = spool->read_seq,
		.count = count > UINT32_MAX ? UINT32_MAX : (uint32_t)count,
		.lost = true,
	};
	spool->frame_bytes = 0;
	return true;
}

/* What stands at the reading position; PR_EAGAIN: the end of this segment. */
static int frame_take(spool_t *spool)
{
	struct spool_head head;
	const uint8_t *payload;

	if (spool->read_fd < 0) {
		spool->read_fd =
			spool_segment_open(spool, &spool->segments[spool->read_segment], O_RDONLY);
	}
	if (spool->read_fd < 0) {
		return PR_ECORRUPT;
	}
	if (spool->read_offset >= spool->segments[spool->read_segment].bytes) {
		return PR_EAGAIN;
	}
	int ret = spool_frame_read(spool, spool->read_fd, spool->read_offset, &head, &payload);
	if (ret != PR_OK) {
		return PR_ECORRUPT;
	}
	if (hole_frame(spool, head.first_seq)) {
		return PR_OK;
	}
	spool->frame_bytes = sizeof(head) + head.payload_bytes;
	spool->frame = (struct spool_frame){
		.first_seq = head.first_seq,
		.count = head.count,
		.lost = head.payload_bytes == 0,
		.data = payload,
		.size_bytes = head.payload_bytes,
	};
	return PR_OK;
}

static int frame_find(spool_t *spool)
{
	for (;;) {
		int ret = frame_take(spool);
		if (ret == PR_OK && spool->frame.first_seq + spool->frame.count > spool->read_seq) {
			return PR_OK;
		}
		if (ret == PR_OK) {
			/* Acknowledged before. */
			spool->read_offset += spool->frame_bytes;
			continue;
		}
		spool->corrupt += ret == PR_ECORRUPT;
		/* Nothing behind damage can be found again: write on in a new segment. */
		if (spool->read_segment + 1 >= spool->segment_count &&
		    (ret == PR_EAGAIN || spool_segment_begin(spool) != PR_OK)) {
			return PR_EAGAIN;
		}
		/* What a damaged segment held becomes a hole before the next one. */
		spool->read_segment++;
		spool->read_offset = 0;
		spool_reading_close(spool);
		if (hole_frame(spool, spool->segments[spool->read_segment].first_seq)) {
			return PR_OK;
		}
	}
}

int spool_peek(spool_t *spool, struct spool_frame *ret_frame)
{
	if (spool->frame.count == 0 && spool->read_seq >= spool->written_seq) {
		spool_hole_write(spool);
		if (spool->read_seq >= spool->next_seq) {
			return PR_EAGAIN;
		}
	}
	if (spool->frame.count == 0 && frame_find(spool) != PR_OK) {
		spool->frame.count = 0;
		/* The end of the last segment is damaged, or a hole could not be written. */
		if (!hole_frame(spool, spool->next_seq)) {
			return PR_EAGAIN;
		}
	}
	*ret_frame = spool->frame;
	return PR_OK;
}

void spool_advance(spool_t *spool)
{
	if (spool->frame.count == 0) {
		return;
	}
	spool->read_seq = spool->frame.first_seq + spool->frame.count;
	spool->read_offset += spool->frame_bytes;
	spool->frame.count = 0;
}

void spool_rewind(spool_t *spool)
{
	spool->frame.count = 0;
	spool->read_seq = spool->acknowledged + 1;
	spool->read_segment = 0;
	spool->read_offset = 0;
	spool_reading_close(spool);
	while (spool->read_segment + 1 < spool->segment_count &&
	       spool->segments[spool->read_segment + 1].first_seq <= spool->read_seq) {
		spool->read_segment++;
	}
}

int spool_acknowledge(spool_t *spool, uint64_t seq)
{
	size_t gone = 0;
	int ret = PR_OK;

	if (seq >= UINT64_MAX / 2) {
		return PR_EMALF;
	}
	if (seq >= spool->next_seq) {
		spool->next_seq = spool->written_seq = seq + 1;
		ret = PR_EOLD;
	}
	if (seq <= spool->acknowledged) {
		return ret;
	}
	spool->acknowledged = seq;
	while (gone + 1 < spool->segment_count && spool->segments[gone].end_seq <= seq + 1 &&
	       spool->segments[gone + 1].first_seq <= seq + 1) {
		gone++;
	}
	if (gone > 0) {
		spool_segments_remove(spool, gone);
	}
	if (spool->read_seq <= seq) {
		spool_rewind(spool);
	}
	return ret;
}
