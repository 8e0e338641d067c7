/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "agent/speaker/spool_internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"

#define SEGMENTS_MAX 65536
#define NAME_FORMAT  "%020" PRIu64 ".events"
#define NAME_BYTES   28

/* ---- heads ---- */

uint32_t spool_head_crc(const struct spool_head *head, const void *payload)
{
	struct spool_head copy = *head;

	copy.crc = 0;
	return spool_crc(spool_crc(0, &copy, sizeof(copy)), payload, head->payload_bytes);
}

static bool head_plausible(const struct spool_head *head)
{
	return head->magic == SPOOL_MAGIC && head->payload_bytes <= SPOOL_FRAME_MAX_BYTES &&
	       head->count > 0 && head->first_seq > 0 &&
	       head->first_seq + head->count > head->first_seq;
}

/* ---- segments ---- */

int spool_segment_open(const spool_t *spool, const struct spool_segment *segment, int flags)
{
	char name[NAME_BYTES];

	(void)snprintf(name, sizeof(name), NAME_FORMAT, segment->first_seq);
	return openat(spool->folder_fd, name, flags | O_NOFOLLOW | O_CLOEXEC, 0600);
}

static int segment_add(spool_t *spool, uint64_t first_seq)
{
	if (spool->segment_count == spool->segment_room) {
		size_t room = spool->segment_room == 0 ? 16 : 2 * spool->segment_room;
		struct spool_segment *more =
			reallocarray(spool->segments, room, sizeof(*spool->segments));
		if (more == NULL) {
			return PR_ENOMEM;
		}
		spool->segments = more;
		spool->segment_room = room;
	}
	spool->segments[spool->segment_count++] = (struct spool_segment){
		.first_seq = first_seq,
		.end_seq = first_seq,
	};
	return PR_OK;
}

int spool_segment_begin(spool_t *spool)
{
	const struct spool_segment segment = { .first_seq = spool->next_seq };
	_cleanup_(pr_fd_close) int fd =
		spool_segment_open(spool, &segment, O_WRONLY | O_CREAT | O_EXCL);

	if (fd < 0) {
		return -errno;
	}
	int ret = segment_add(spool, spool->next_seq);
	if (ret == PR_OK) {
		pr_fd_close(&spool->write_fd);
		spool->write_fd = take_fd(fd);
		/* What was dropped before shows between the names. */
		spool->written_seq = spool->next_seq;
	}
	return ret;
}

void spool_reading_close(spool_t *spool)
{
	pr_fd_close(&spool->read_fd);
	spool->ahead_bytes = 0;
}

void spool_segments_remove(spool_t *spool, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		char name[NAME_BYTES];
		(void)snprintf(name, sizeof(name), NAME_FORMAT, spool->segments[i].first_seq);
		(void)unlinkat(spool->folder_fd, name, 0);
		spool->bytes -= spool->segments[i].bytes;
	}
	spool->segment_count -= count;
	memmove(spool->segments, spool->segments + count,
	        spool->segment_count * sizeof(*spool->segments));
	if (spool->read_segment >= count) {
		spool->read_segment -= count;
	} else {
		spool->read_segment = 0;
		spool->read_offset = 0;
		spool_reading_close(spool);
	}
}

/* So many bytes of the file, or as many as there are; NULL: it cannot be read. */
static const uint8_t *bytes_read(spool_t *spool, int fd, uint64_t offset, size_t wanted_bytes,
                                 size_t *ret_bytes)
{
	uint64_t skip_bytes = offset - spool->ahead_offset;

	if (offset < spool->ahead_offset || skip_bytes + wanted_bytes > spool->ahead_bytes) {
		ssize_t got = pread(fd, spool->ahead, sizeof(spool->ahead), (off_t)offset);
		spool->ahead_bytes = got > 0 ? (size_t)got : 0;
		spool->ahead_offset = offset;
		skip_bytes = 0;
		if (got < 0) {
			return NULL;
		}
	}
	*ret_bytes = spool->ahead_bytes - skip_bytes;
	return spool->ahead + skip_bytes;
}

int spool_frame_read(spool_t *spool, int fd, uint64_t offset, struct spool_head *ret_head,
                     const uint8_t **ret_payload)
{
	struct spool_head head;
	size_t got = 0;
	const uint8_t *at = bytes_read(spool, fd, offset, sizeof(head), &got);

	if (at != NULL && got == 0) {
		return PR_EAGAIN;
	}
	if (at == NULL || got < sizeof(head)) {
		return PR_ECORRUPT;
	}
	memcpy(&head, at, sizeof(head));
	if (!head_plausible(&head)) {
		return PR_ECORRUPT;
	}
	size_t frame_bytes = sizeof(head) + head.payload_bytes;
	at = bytes_read(spool, fd, offset, frame_bytes, &got);
	if (at == NULL || got < frame_bytes ||
	    spool_head_crc(&head, at + sizeof(head)) != head.crc) {
		return PR_ECORRUPT;
	}
	*ret_head = head;
	*ret_payload = at + sizeof(head);
	return PR_OK;
}

/* Find the end of a segment that an earlier run left; what cannot be read there is cut off. */
static int segment_scan(spool_t *spool, struct spool_segment *segment)
{
	struct spool_head head;
	const uint8_t *payload;
	int ret;
	_cleanup_(pr_fd_close) int fd = spool_segment_open(spool, segment, O_RDWR);

	if (fd < 0) {
		return -errno;
	}
	segment->bytes = 0;
	spool->ahead_bytes = 0;
	while ((ret = spool_frame_read(spool, fd, segment->bytes, &head, &payload)) == PR_OK) {
		if (head.first_seq < segment->end_seq) {
			ret = PR_ECORRUPT;
			break;
		}
		segment->end_seq = head.first_seq + head.count;
		segment->bytes += sizeof(head) + head.payload_bytes;
	}
	if (ret != PR_EAGAIN) {
		spool->corrupt++;
		if (ftruncate(fd, (off_t)segment->bytes) != 0) {
			return -errno;
		}
	}
	spool->bytes += segment->bytes;
	return PR_OK;
}

static int is_segment(const struct dirent *entry)
{
	return strlen(entry->d_name) == NAME_BYTES - 1 &&
	       strspn(entry->d_name, "0123456789") == 20 &&
	       strcmp(entry->d_name + 20, ".events") == 0;
}

int spool_segments_load(spool_t *spool, const char *folder)
{
	struct dirent **entries = NULL;
	int count = scandir(folder, &entries, is_segment, alphasort);
	int ret = count < 0 ? -errno : PR_OK;

	for (int i = 0; i < count; i++) {
		uint64_t first_seq = strtoull(entries[i]->d_name, NULL, 10);
		const struct spool_segment *last =
			spool->segment_count > 0 ? &spool->segments[spool->segment_count - 1]
						 : NULL;
		/* Numbers that overlap are not ours: leave such a file alone. */
		if (ret == PR_OK && (last == NULL || first_seq >= last->end_seq) && first_seq > 0 &&
		    first_seq < UINT64_MAX / 2 && spool->segment_count < SEGMENTS_MAX) {
			ret = segment_add(spool, first_seq);
			if (ret == PR_OK) {
				ret = segment_scan(spool,
				                   &spool->segments[spool->segment_count - 1]);
			}
		} else {
			spool->corrupt++;
		}
		free(entries[i]);
	}
	free(entries);
	return ret;
}
