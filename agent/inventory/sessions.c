/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utmp.h>

#include "agent/inventory/sessions.h"
#include "base/defs.h"
#include "base/err.h"

#define WORD_BYTES 256 /* of a name, every byte as %XX */
#define LINE_BYTES (3 * WORD_BYTES + 32)

struct sessions {
	codec_doc_t *endpoint;
	size_t count, bytes;
	size_t left_out;
};

/* A field of fixed width as one word of printable characters, from which its bytes can be had back;
 * the bytes of a long one that find no room are left out. */
static const char *word_make(const char *field, size_t width, char word[static WORD_BYTES])
{
	static const char digits[] = "0123456789ABCDEF";
	size_t length = strnlen(field, width), used = 0;
	bool dash = length == 1 && field[0] == '-';

	for (size_t i = 0; i < length && used + 3 < WORD_BYTES; i++) {
		unsigned char byte = (unsigned char)field[i];
		if (byte > ' ' && byte < 0x7f && byte != '%' && !dash) {
			word[used++] = (char)byte;
		} else {
			word[used++] = '%';
			word[used++] = digits[byte >> 4];
			word[used++] = digits[byte & 15];
		}
	}
	if (used == 0) {
		word[used++] = '-';
	}
	word[used] = '\0';
	return word;
}

static void record_take(struct sessions *sessions, const struct utmp *record)
{
	char name[WORD_BYTES], terminal[WORD_BYTES], from[WORD_BYTES], line[LINE_BYTES];

	int length = snprintf(line, sizeof(line), "%u %d %s %s %s", (unsigned)record->ut_tv.tv_sec,
	                      (int)record->ut_pid,
	                      word_make(record->ut_line, sizeof(record->ut_line), terminal),
	                      word_make(record->ut_user, sizeof(record->ut_user), name),
	                      word_make(record->ut_host, sizeof(record->ut_host), from));
	if (length < 0 || sessions->count == SESSIONS_MAX ||
	    sessions->bytes + (size_t)length > SESSIONS_MAX_BYTES) {
		sessions->left_out++;
		return;
	}
	codec_doc_add_text(sessions->endpoint, CODEC_ENDPOINT_SESSIONS, line);
	sessions->count++;
	sessions->bytes += (size_t)length;
}

void sessions_parse(const void *data, size_t size_bytes, bool (*alive)(int32_t pid),
                    codec_doc_t *endpoint)
{
	struct sessions sessions = { .endpoint = endpoint };
	size_t rest = size_bytes % sizeof(struct utmp);
	char lack[160] = "";

	for (size_t at = 0; at + sizeof(struct utmp) <= size_bytes; at += sizeof(struct utmp)) {
		struct utmp record;
		memcpy(&record, (const uint8_t *)data + at, sizeof(record));
		if (record.ut_type == USER_PROCESS && record.ut_user[0] != '\0' &&
		    record.ut_pid > 0 && alive(record.ut_pid)) {
			record_take(&sessions, &record);
		}
	}
	if (sessions.left_out > 0) {
		(void)snprintf(lack, sizeof(lack), "%zu more are left out", sessions.left_out);
	}
	if (rest != 0) {
		size_t used = strlen(lack);
		(void)snprintf(lack + used, sizeof(lack) - used,
		               "%sthe file is cut: its last record has %zu of %zu bytes",
		               used > 0 ? "; " : "", rest, sizeof(struct utmp));
	}
	codec_doc_set_text(endpoint, CODEC_ENDPOINT_SESSIONS_LACK, lack);
}

static bool is_alive(int32_t pid)
{
	return kill(pid, 0) == 0 || errno == EPERM;
}

static void lack_say(codec_doc_t *endpoint, const char *path, const char *why)
{
	char text[512];

	(void)snprintf(text, sizeof(text), "%.400s: %s", path, why);
	codec_doc_set_text(endpoint, CODEC_ENDPOINT_SESSIONS_LACK, text);
}

void sessions_add(const char *path, codec_doc_t *endpoint)
{
	_cleanup_(pr_fd_close) int fd =
		open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
	struct stat info;
	size_t used = 0;

	if (fd < 0) {
		lack_say(endpoint, path, errno == ENOENT ? "there is none" : pr_strerror(-errno));
		return;
	}
	if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
		lack_say(endpoint, path, "not a file");
		return;
	}
	_cleanup_(pr_free) uint8_t *data = malloc(SESSIONS_FILE_MAX_BYTES);
	ssize_t got = data != NULL ? 1 : -1;
	while (got > 0 && used < SESSIONS_FILE_MAX_BYTES) {
		got = read(fd, data + used, SESSIONS_FILE_MAX_BYTES - used);
		used += got > 0 ? (size_t)got : 0;
	}
	if (got < 0) {
		lack_say(endpoint, path, pr_strerror(data != NULL ? -errno : PR_ENOMEM));
		return;
	}
	sessions_parse(data, used, is_alive, endpoint);
	if (used == SESSIONS_FILE_MAX_BYTES) {
		lack_say(endpoint, path, "larger than 1 MiB, the rest was not read");
	}
}
