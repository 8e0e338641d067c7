/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "agent/speaker/spool_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"

#define SEGMENT_BYTES (1U << 20)
#define HOLE_COUNT    1024 /* dropped events that are noted on disk together */

/* ---- open and close ---- */

static int folder_open(const char *folder, int *ret_fd)
{
	if (mkdir(folder, 0700) != 0 && errno != EEXIST) {
		return -errno;
	}
	int fd = open(folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0) {
		return -errno;
	}
	*ret_fd = fd;
	return PR_OK;
}

int spool_open(const struct spool_options *options, spool_t **ret_spool)
{
	_cleanup_(spool_destroy) spool_t *spool = calloc(1, sizeof(*spool));
	if (spool == NULL) {
		return PR_ENOMEM;
	}
	spool->folder_fd = spool->write_fd = spool->read_fd = -1;
	spool->max_bytes = options->max_bytes;
	spool->segment_bytes = options->segment_bytes > 0 ? options->segment_bytes : SEGMENT_BYTES;
	int ret = folder_open(options->folder, &spool->folder_fd);
	if (ret == PR_OK) {
		ret = spool_segments_load(spool, options->folder);
	}
	if (ret != PR_OK) {
		return ret;
	}
	spool->next_seq = options->empty_seq > 0 ? options->empty_seq : 1;
	spool->written_seq = spool->read_seq = spool->next_seq;
	if (spool->segment_count > 0) {
		spool->read_seq = spool->segments[0].first_seq;
		spool->written_seq = spool->segments[spool->segment_count - 1].end_seq;
		spool->next_seq = spool->written_seq;
	}
	if (spool->next_seq < options->first_seq) {
		spool->next_seq = options->first_seq;
		if (spool->segment_count == 0) {
			spool->written_seq = spool->read_seq = spool->next_seq;
		}
	}
	spool->acknowledged = spool->read_seq - 1;
	ret = spool_segment_begin(spool);
	if (ret == PR_EEXIST && spool->segment_count > 0 &&
	    spool->segments[spool->segment_count - 1].first_seq == spool->next_seq) {
		/* An empty segment of that name was left: go on in it. */
		spool->write_fd = spool_segment_open(
			spool, &spool->segments[spool->segment_count - 1], O_WRONLY | O_APPEND);
		ret = spool->write_fd < 0 ? -errno : PR_OK;
	}
	if (ret == PR_OK) {
		*ret_spool = take_ptr(spool);
	}
	return ret;
}

void spool_destroy(spool_t **spool_p)
{
	spool_t *spool = *spool_p;
	if (spool == NULL) {
		return;
	}
	pr_fd_close(&spool->write_fd);
	spool_reading_close(spool);
	pr_fd_close(&spool->folder_fd);
	free(spool->segments);
	free(spool);
	*spool_p = NULL;
}

/* ---- writing ---- */

static int frame_write(spool_t *spool, const struct spool_head *head, const void *data)
{
	struct spool_segment *last = &spool->segments[spool->segment_count - 1];
	size_t size_bytes = sizeof(*head) + head->payload_bytes;

	memcpy(spool->buffer, head, sizeof(*head));
	if (head->payload_bytes > 0) {
		memcpy(spool->buffer + sizeof(*head), data, head->payload_bytes);
	}
	ssize_t wrote = pwrite(spool->write_fd, spool->buffer, size_bytes, (off_t)last->bytes);
	if (wrote != (ssize_t)size_bytes) {
		/* Half a frame is overwritten by the next, or cut off at the next start. */
		if (ftruncate(spool->write_fd, (off_t)last->bytes) != 0) {
			spool->corrupt++;
		}
		return PR_ENOSPC;
	}
	last->bytes += size_bytes;
	last->end_seq = head->first_seq + head->count;
	spool->bytes += size_bytes;
	spool->written_seq = last->end_seq;
	/* A peeked frame stood in this buffer. */
	spool->frame.count = 0;
	return PR_OK;
}

void spool_hole_write(spool_t *spool)
{
	uint64_t count = spool->next_seq - spool->written_seq;
	struct spool_head head = {
		.magic = SPOOL_MAGIC,
		.first_seq = spool->written_seq,
		.count = count > UINT32_MAX ? UINT32_MAX : (uint32_t)count,
	};

	if (count > 0) {
		head.crc = spool_head_crc(&head, "");
		(void)frame_write(spool, &head, NULL);
	}
}

int spool_append(spool_t *spool, uint32_t count, const void *data, size_t size_bytes)
{
	struct spool_head head = {
		.magic = SPOOL_MAGIC,
		.payload_bytes = (uint32_t)size_bytes,
		.first_seq = spool->next_seq,
		.count = count,
	};

	if (size_bytes == 0 || size_bytes > SPOOL_FRAME_MAX_BYTES || count == 0) {
		return PR_EINVAL;
	}
	bool full = spool->bytes + sizeof(head) + size_bytes > spool->max_bytes;
	if (!full && spool->segments[spool->segment_count - 1].bytes >= spool->segment_bytes) {
		full = spool_segment_begin(spool) != PR_OK;
	}
	head.crc = spool_head_crc(&head, data);
	int ret = full ? PR_ENOSPC : frame_write(spool, &head, data);
	if (ret == PR_OK) {
		spool->next_seq += count;
	} else {
		spool_lose(spool, count);
	}
	return ret;
}

void spool_lose(spool_t *spool, uint32_t count)
{
	spool->next_seq += count;
	if (spool->next_seq - spool->written_seq >= HOLE_COUNT) {
		spool_hole_write(spool);
	}
}

/* ---- figures ---- */

uint64_t spool_next_seq(const spool_t *spool)
{
	return spool->next_seq;
}

uint64_t spool_acknowledged_seq(const spool_t *spool)
{
	return spool->acknowledged;
}

uint64_t spool_sent_seq(const spool_t *spool)
{
	return spool->read_seq - 1;
}

uint64_t spool_bytes(const spool_t *spool)
{
	return spool->bytes;
}

uint64_t spool_corrupt(const spool_t *spool)
{
	return spool->corrupt;
}
