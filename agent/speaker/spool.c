/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "agent/speaker/spool.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"

#define MAGIC         0x31537250U /* "PrS1" */
#define SEGMENT_BYTES (1U << 20)
#define SEGMENTS_MAX  65536
#define NAME_FORMAT   "%020" PRIu64 ".events"
#define NAME_BYTES    28
#define HOLE_COUNT    1024 /* dropped events that are noted on disk together */

struct head {
	uint32_t magic, payload_bytes;
	uint64_t first_seq;
	uint32_t count, crc;
};

_Static_assert(sizeof(struct head) == 24, "written to disk as it is");

struct segment {
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
	struct segment *segments;
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
	uint8_t buffer[sizeof(struct head) + SPOOL_FRAME_MAX_BYTES]; /* for writing */
	/* Read ahead: frames are small and many. */
	uint8_t ahead[sizeof(struct head) + SPOOL_FRAME_MAX_BYTES];
	uint64_t ahead_offset;
	size_t ahead_bytes;
};

/* ---- heads ---- */

static uint32_t head_crc(const struct head *head, const void *payload)
{
	struct head copy = *head;

	copy.crc = 0;
	return spool_crc(spool_crc(0, &copy, sizeof(copy)), payload, head->payload_bytes);
}

static bool head_plausible(const struct head *head)
{
	return head->magic == MAGIC && head->payload_bytes <= SPOOL_FRAME_MAX_BYTES &&
	       head->count > 0 && head->first_seq > 0 &&
	       head->first_seq + head->count > head->first_seq;
}

/* ---- segments ---- */

static int segment_open(const spool_t *spool, const struct segment *segment, int flags)
{
	char name[NAME_BYTES];

	(void)snprintf(name, sizeof(name), NAME_FORMAT, segment->first_seq);
	return openat(spool->folder_fd, name, flags | O_NOFOLLOW | O_CLOEXEC, 0600);
}

static int segment_add(spool_t *spool, uint64_t first_seq)
{
	if (spool->segment_count == spool->segment_room) {
		size_t room = spool->segment_room == 0 ? 16 : 2 * spool->segment_room;
		struct segment *more =
			reallocarray(spool->segments, room, sizeof(*spool->segments));
		if (more == NULL) {
			return PR_ENOMEM;
		}
		spool->segments = more;
		spool->segment_room = room;
	}
	spool->segments[spool->segment_count++] = (struct segment){
		.first_seq = first_seq,
		.end_seq = first_seq,
	};
	return PR_OK;
}

/* A new last segment. */
static int segment_begin(spool_t *spool)
{
	const struct segment segment = { .first_seq = spool->next_seq };
	_cleanup_(pr_fd_close) int fd = segment_open(spool, &segment, O_WRONLY | O_CREAT | O_EXCL);

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

/* Another file, or the same from anew. */
static void reading_close(spool_t *spool)
{
	pr_fd_close(&spool->read_fd);
	spool->ahead_bytes = 0;
}

/* Delete the first @p count segments. */
static void segments_remove(spool_t *spool, size_t count)
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
		reading_close(spool);
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

/* Read one frame; its payload stays until the next one. PR_EAGAIN: the end of what is written. */
static int frame_read(spool_t *spool, int fd, uint64_t offset, struct head *ret_head,
                      const uint8_t **ret_payload)
{
	struct head head;
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
	if (at == NULL || got < frame_bytes || head_crc(&head, at + sizeof(head)) != head.crc) {
		return PR_ECORRUPT;
	}
	*ret_head = head;
	*ret_payload = at + sizeof(head);
	return PR_OK;
}

/* Find the end of a segment that an earlier run left; what cannot be read there is cut off. */
static int segment_scan(spool_t *spool, struct segment *segment)
{
	struct head head;
	const uint8_t *payload;
	int ret;
	_cleanup_(pr_fd_close) int fd = segment_open(spool, segment, O_RDWR);

	if (fd < 0) {
		return -errno;
	}
	segment->bytes = 0;
	spool->ahead_bytes = 0;
	while ((ret = frame_read(spool, fd, segment->bytes, &head, &payload)) == PR_OK) {
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

static int segments_load(spool_t *spool, const char *folder)
{
	struct dirent **entries = NULL;
	int count = scandir(folder, &entries, is_segment, alphasort);
	int ret = count < 0 ? -errno : PR_OK;

	for (int i = 0; i < count; i++) {
		uint64_t first_seq = strtoull(entries[i]->d_name, NULL, 10);
		const struct segment *last = spool->segment_count > 0
		                                     ? &spool->segments[spool->segment_count - 1]
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
		ret = segments_load(spool, options->folder);
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
	ret = segment_begin(spool);
	if (ret == PR_EEXIST && spool->segment_count > 0 &&
	    spool->segments[spool->segment_count - 1].first_seq == spool->next_seq) {
		/* An empty segment of that name was left: go on in it. */
		spool->write_fd = segment_open(spool, &spool->segments[spool->segment_count - 1],
		                               O_WRONLY | O_APPEND);
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
	reading_close(spool);
	pr_fd_close(&spool->folder_fd);
	free(spool->segments);
	free(spool);
	*spool_p = NULL;
}

/* ---- writing ---- */

static int frame_write(spool_t *spool, const struct head *head, const void *data)
{
	struct segment *last = &spool->segments[spool->segment_count - 1];
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

/* A head alone for numbers that were dropped: small enough for a spool that is full. */
static void hole_write(spool_t *spool)
{
	uint64_t count = spool->next_seq - spool->written_seq;
	struct head head = {
		.magic = MAGIC,
		.first_seq = spool->written_seq,
		.count = count > UINT32_MAX ? UINT32_MAX : (uint32_t)count,
	};

	if (count > 0) {
		head.crc = head_crc(&head, "");
		(void)frame_write(spool, &head, NULL);
	}
}

int spool_append(spool_t *spool, uint32_t count, const void *data, size_t size_bytes)
{
	struct head head = {
		.magic = MAGIC,
		.payload_bytes = (uint32_t)size_bytes,
		.first_seq = spool->next_seq,
		.count = count,
	};

	if (size_bytes == 0 || size_bytes > SPOOL_FRAME_MAX_BYTES || count == 0) {
		return PR_EINVAL;
	}
	bool full = spool->bytes + sizeof(head) + size_bytes > spool->max_bytes;
	if (!full && spool->segments[spool->segment_count - 1].bytes >= spool->segment_bytes) {
		full = segment_begin(spool) != PR_OK;
	}
	head.crc = head_crc(&head, data);
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
		hole_write(spool);
	}
}

/* ---- reading ---- */

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
	struct head head;
	const uint8_t *payload;

	if (spool->read_fd < 0) {
		spool->read_fd =
			segment_open(spool, &spool->segments[spool->read_segment], O_RDONLY);
	}
	if (spool->read_fd < 0) {
		return PR_ECORRUPT;
	}
	if (spool->read_offset >= spool->segments[spool->read_segment].bytes) {
		return PR_EAGAIN;
	}
	int ret = frame_read(spool, spool->read_fd, spool->read_offset, &head, &payload);
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
		    (ret == PR_EAGAIN || segment_begin(spool) != PR_OK)) {
			return PR_EAGAIN;
		}
		/* What a damaged segment held becomes a hole before the next one. */
		spool->read_segment++;
		spool->read_offset = 0;
		reading_close(spool);
		if (hole_frame(spool, spool->segments[spool->read_segment].first_seq)) {
			return PR_OK;
		}
	}
}

int spool_peek(spool_t *spool, struct spool_frame *ret_frame)
{
	if (spool->frame.count == 0 && spool->read_seq >= spool->written_seq) {
		hole_write(spool);
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
	reading_close(spool);
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
		segments_remove(spool, gone);
	}
	if (spool->read_seq <= seq) {
		spool_rewind(spool);
	}
	return ret;
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
