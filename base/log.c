/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"

#define LINE_MAX_BYTES 2048
#define LIMIT_NS       PR_NS_PER_S
#define CUT_MARK       "..."

static const struct {
	const char *word;
	int priority; /* of syslog(3), for the service manager */
} levels[] = {
	[PR_LOG_ERROR] = { "error", 3 },
	[PR_LOG_WARN] = { "warn", 4 },
	[PR_LOG_INFO] = { "info", 6 },
	[PR_LOG_DEBUG] = { "debug", 7 },
};

static enum pr_log_level level_in_force = PR_LOG_INFO;

void pr_log_set_level(enum pr_log_level level)
{
	__atomic_store_n(&level_in_force, level, __ATOMIC_RELAXED);
}

static size_t bounded(int printed, size_t size_bytes)
{
	if (printed < 0) {
		return 0;
	}
	return (size_t)printed < size_bytes ? (size_t)printed : size_bytes - 1;
}

static size_t write_head(enum pr_log_level level, const char *component, char *line)
{
	char time_text[PR_CLOCK_TEXT_BYTES];

	if (getenv("JOURNAL_STREAM") != NULL || getenv("NOTIFY_SOCKET") != NULL) {
		return bounded(snprintf(line, LINE_MAX_BYTES, "<%d>%s: ", levels[level].priority,
		                        component),
		               LINE_MAX_BYTES);
	}
	return bounded(snprintf(line, LINE_MAX_BYTES,
	                        "%s %s %s: ", pr_clock_format(pr_clock_wall_ns(), time_text),
	                        levels[level].word, component),
	               LINE_MAX_BYTES);
}

void pr_log_write(enum pr_log_level level, const char *component, const char *format, ...)
{
	if (level > __atomic_load_n(&level_in_force, __ATOMIC_RELAXED)) {
		return;
	}
	int saved_errno = errno;
	char line[LINE_MAX_BYTES + 1];
	size_t head = write_head(level, component, line);
	size_t room = LINE_MAX_BYTES - head;
	va_list args;

	va_start(args, format);
	errno = saved_errno; /* for %m */
	size_t size_bytes = head + bounded(vsnprintf(line + head, room, format, args), room);
	va_end(args);
	/* One message is one line, whatever was put into it. */
	for (size_t i = 0; i < size_bytes; i++) {
		if (line[i] == '\n' || line[i] == '\r') {
			line[i] = ' ';
		}
	}
	line[size_bytes++] = '\n';
	(void)!write(STDERR_FILENO, line, size_bytes); /* whole, so that threads do not mix */
	errno = saved_errno;
}

bool pr_log_limited(struct pr_log_limit *limit, uint64_t *ret_suppressed)
{
	uint64_t now_ns = pr_clock_monotonic_ns();
	uint64_t start_ns = __atomic_load_n(&limit->window_start_ns, __ATOMIC_RELAXED);
	bool open = start_ns == 0 || now_ns - start_ns >= LIMIT_NS;

	if (!open || !__atomic_compare_exchange_n(&limit->window_start_ns, &start_ns, now_ns, false,
	                                          __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
		__atomic_fetch_add(&limit->suppressed, 1, __ATOMIC_RELAXED);
		return false;
	}
	*ret_suppressed = __atomic_exchange_n(&limit->suppressed, 0, __ATOMIC_RELAXED);
	return true;
}

/*
 * One UTF-8 character at @p from; returns its length, or 0 when it is not well formed.
 * Source: The Unicode Standard, table 3-7.
 */
static size_t decode_character(const unsigned char *from, uint32_t *ret_code)
{
	static const uint32_t smallest[] = { 0, 0, 0x80, 0x800, 0x10000 };
	size_t length = from[0] < 0x80             ? 1
	                : (from[0] & 0xe0) == 0xc0 ? 2
	                : (from[0] & 0xf0) == 0xe0 ? 3
	                : (from[0] & 0xf8) == 0xf0 ? 4
	                                           : 0;

	if (length == 0) {
		return 0;
	}
	uint32_t code = length == 1 ? from[0] : from[0] & (0x7fU >> length);
	for (size_t i = 1; i < length; i++) {
		if ((from[i] & 0xc0) != 0x80) { /* also stops at the terminator */
			return 0;
		}
		code = code << 6 | (from[i] & 0x3f);
	}
	if (code < smallest[length] || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff)) {
		return 0;
	}
	*ret_code = code;
	return length;
}

/* Characters that move or hide what a reader sees: bidirectional controls, line ends, no width,
 * tags. */
static bool misleads(uint32_t code)
{
	static const struct {
		uint32_t first, last;
	} ranges[] = {
		{ 0xad, 0xad },     { 0x61c, 0x61c },   { 0x180e, 0x180e },
		{ 0x200b, 0x200f }, { 0x2028, 0x202e }, { 0x2060, 0x206f },
		{ 0xfeff, 0xfeff }, { 0xfff9, 0xfffb }, { 0xe0000, 0xe007f },
	};

	for (size_t i = 0; i < PR_ARRAY_LEN(ranges); i++) {
		if (code >= ranges[i].first && code <= ranges[i].last) {
			return true;
		}
	}
	return false;
}

/* One character of @p from as shown, into @p shown; returns how many bytes of @p from it took. */
static size_t show_character(const unsigned char *from, char shown[static 16])
{
	uint32_t code = 0;
	size_t length = decode_character(from, &code);

	if (length == 0 || code < 0x20 || code == 0x7f) {
		(void)snprintf(shown, 16, "\\x%02x", from[0]);
		return 1;
	}
	if ((code >= 0x80 && code <= 0x9f) || misleads(code)) {
		(void)snprintf(shown, 16, "\\u{%04x}", code);
		return length;
	}
	memcpy(shown, from, length);
	shown[length] = '\0';
	return length;
}

const char *pr_log_escape(const char *from, char *text, size_t size_bytes)
{
	const unsigned char *next = (const unsigned char *)from;
	size_t mark = strlen(CUT_MARK);
	size_t used = 0;
	size_t cut_at = 0; /* the last place that leaves room for the mark */
	char shown[16];

	if (size_bytes == 0) {
		return text;
	}
	while (*next != '\0') {
		next += show_character(next, shown);
		size_t length = strlen(shown);
		if (used + length + 1 > size_bytes) {
			used = cut_at;
			length = size_bytes - 1 - used < mark ? size_bytes - 1 - used : mark;
			memcpy(text + used, CUT_MARK, length);
			used += length;
			break;
		}
		memcpy(text + used, shown, length);
		used += length;
		cut_at = used + mark + 1 <= size_bytes ? used : cut_at;
	}
	text[used] = '\0';
	return text;
}
