/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zmq.h>

#include "base/err.h"
#include "bus/internal.h"

#define LINES_MAX       8
#define VALUE_MAX_BYTES 128

/* The value of one line, a copy of text[0..size_bytes). */
static int value_parse(const char *text, size_t size_bytes, const struct key_line *line)
{
	char value[VALUE_MAX_BYTES];
	int ret = PR_EKEYFILE;

	if (size_bytes >= sizeof(value)) {
		return PR_EKEYFILE;
	}
	memcpy(value, text, size_bytes);
	value[size_bytes] = '\0';
	if (line->size_bytes == PR_UUID_BYTES) {
		struct pr_uuid id;
		if (pr_uuid_parse(value, &id) == PR_OK) {
			memcpy(line->value, id.bytes, PR_UUID_BYTES);
			ret = PR_OK;
		}
	} else if (strlen(value) == line->size_bytes / 4 * 5 &&
	           zmq_z85_decode(line->value, value) != NULL) {
		ret = PR_OK;
	}
	sodium_memzero(value, sizeof(value));
	return ret;
}

static int line_parse(const char *text, size_t size_bytes, const struct key_line *lines,
                      size_t count, bool *seen)
{
	const char *blank = memchr(text, ' ', size_bytes);
	if (blank == NULL) {
		return PR_EKEYFILE;
	}
	size_t name_bytes = (size_t)(blank - text);
	for (size_t i = 0; i < count; i++) {
		if (strlen(lines[i].name) != name_bytes ||
		    memcmp(lines[i].name, text, name_bytes) != 0) {
			continue;
		}
		if (seen[i]) {
			return PR_EKEYFILE;
		}
		seen[i] = true;
		return value_parse(blank + 1, size_bytes - name_bytes - 1, &lines[i]);
	}
	return PR_EKEYFILE;
}

int key_lines_parse(const char *text, size_t size_bytes, const struct key_line *lines, size_t count)
{
	bool seen[LINES_MAX] = { false };

	while (size_bytes > 0) {
		const char *end = memchr(text, '\n', size_bytes);
		if (end == NULL) {
			return PR_EKEYFILE;
		}
		size_t line_bytes = (size_t)(end - text);
		if (text[0] != '#' && line_parse(text, line_bytes, lines, count, seen) != PR_OK) {
			return PR_EKEYFILE;
		}
		text = end + 1;
		size_bytes -= line_bytes + 1;
	}
	for (size_t i = 0; i < count; i++) {
		if (!seen[i]) {
			return PR_EKEYFILE;
		}
	}
	return PR_OK;
}

static int write_all(int fd, const char *text, size_t size_bytes)
{
	while (size_bytes > 0) {
		ssize_t written = write(fd, text, size_bytes);
		if (written < 0 && errno == EINTR) {
			continue;
		}
		if (written <= 0) {
			return written < 0 ? -errno : PR_EIO;
		}
		text += written;
		size_bytes -= (size_t)written;
	}
	return fsync(fd) == 0 ? PR_OK : -errno;
}

/* A new name is only durable once its folder is. */
static int folder_sync(const char *path)
{
	char copy[PATH_MAX];
	if (snprintf(copy, sizeof(copy), "%s", path) >= (int)sizeof(copy)) {
		return -ENAMETOOLONG;
	}
	_cleanup_(pr_fd_close) int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fsync(fd) != 0) {
		return -errno;
	}
	return PR_OK;
}

static int lines_format(const struct key_line *lines, size_t count,
                        char text[static KEY_FILE_MAX_BYTES])
{
	size_t used = (size_t)snprintf(text, KEY_FILE_MAX_BYTES,
	                               "# Portreeve key. Whoever reads this file can pose as its "
	                               "owner.\n");

	for (size_t i = 0; i < count; i++) {
		char value[VALUE_MAX_BYTES];
		if (lines[i].size_bytes == PR_UUID_BYTES) {
			struct pr_uuid id;
			memcpy(id.bytes, lines[i].value, PR_UUID_BYTES);
			(void)pr_uuid_format(&id, value);
		} else if (zmq_z85_encode(value, lines[i].value, lines[i].size_bytes) == NULL) {
			return PR_EINVAL;
		}
		int wrote = snprintf(text + used, KEY_FILE_MAX_BYTES - used, "%s %s\n",
		                     lines[i].name, value);
		sodium_memzero(value, sizeof(value));
		if (wrote < 0 || (size_t)wrote >= KEY_FILE_MAX_BYTES - used) {
			return PR_ETOOBIG;
		}
		used += (size_t)wrote;
	}
	return PR_OK;
}

int key_lines_save(const char *path, const struct key_line *lines, size_t count)
{
	char text[KEY_FILE_MAX_BYTES];
	int ret = lines_format(lines, count, text);
	if (ret != PR_OK) {
		return ret;
	}
	_cleanup_(pr_fd_close) int fd =
		open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0) {
		ret = -errno;
		sodium_memzero(text, sizeof(text));
		return ret;
	}
	ret = write_all(fd, text, strlen(text));
	sodium_memzero(text, sizeof(text));
	if (ret == PR_OK) {
		ret = folder_sync(path);
	}
	if (ret != PR_OK) {
		(void)unlink(path);
	}
	return ret;
}

static bool file_trusted(int fd)
{
	struct stat info;

	return fstat(fd, &info) == 0 && S_ISREG(info.st_mode) && (info.st_mode & 077) == 0 &&
	       (info.st_uid == geteuid() || info.st_uid == 0) && info.st_size > 0 &&
	       info.st_size < KEY_FILE_MAX_BYTES;
}

int key_file_read(const char *path, char text[static KEY_FILE_MAX_BYTES], size_t *ret_bytes)
{
	/* O_NONBLOCK: a FIFO of that name must not hold us. */
	_cleanup_(pr_fd_close) int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	size_t used = 0;

	if (fd < 0 || !file_trusted(fd)) {
		return PR_EKEYFILE;
	}
	while (used < KEY_FILE_MAX_BYTES) {
		ssize_t got = read(fd, text + used, KEY_FILE_MAX_BYTES - used);
		if (got < 0 && errno == EINTR) {
			continue;
		}
		if (got < 0) {
			return PR_EKEYFILE;
		}
		if (got == 0) {
			*ret_bytes = used;
			return PR_OK;
		}
		used += (size_t)got;
	}
	return PR_EKEYFILE;
}
