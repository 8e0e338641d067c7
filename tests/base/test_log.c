/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/defs.h"
#include "base/log.h"
#include "tests/tap.h"

#define LOG_COMPONENT "test"

struct escape_case {
	const char *from;
	const char *shown;
	const char *what;
};

static void test_escape(void)
{
	static const struct escape_case cases[] = {
		{ "nginx", "nginx", "plain text" },
		{ "", "", "nothing" },
		{ "caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x90\xb3",
		  "caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x90\xb3",
		  "well-formed UTF-8 of 2, 3 and 4 bytes" },
		{ "a\nb\tc\x1b[31m", "a\\x0ab\\x09c\\x1b[31m", "control characters" },
		{ "a\x7f", "a\\x7f", "DEL" },
		{ "\xc2\x9b"
		  "31m",
		  "\\u{009b}31m", "C1 control characters" },
		{ "\xff\xfe", "\\xff\\xfe", "bytes that are never UTF-8" },
		{ "\xc0\xaf", "\\xc0\\xaf", "an overlong form" },
		{ "\xe0\x80\xaf", "\\xe0\\x80\\xaf", "an overlong form of 3" },
		{ "\xed\xa0\x80", "\\xed\\xa0\\x80", "a surrogate" },
		{ "\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80", "above U+10FFFF" },
		{ "a\xe2\x82", "a\\xe2\\x82", "a character cut off" },
		{ "\x80z", "\\x80z", "a lone continuation" },
		{ "user\xe2\x80\xae"
		  "txt.exe",
		  "user\\u{202e}txt.exe", "right-to-left override" },
		{ "\xe2\x81\xa6x\xe2\x81\xa9", "\\u{2066}x\\u{2069}", "bidirectional isolates" },
		{ "\xd8\x9c\xe2\x80\x8e", "\\u{061c}\\u{200e}", "bidirectional marks" },
		{ "\xe2\x80\xa8", "\\u{2028}", "line separator" },
	};

	for (size_t i = 0; i < PR_ARRAY_LEN(cases); i++) {
		char text[128];
		ok(strcmp(pr_log_escape(cases[i].from, text, sizeof(text)), cases[i].shown) == 0,
		   "escape: %s", cases[i].what);
	}
}

static bool cut(const char *from, size_t size_bytes, const char *shown)
{
	char text[64];
	memset(text, '#', sizeof(text));
	(void)pr_log_escape(from, text, size_bytes);
	return strcmp(text, shown) == 0 && text[size_bytes] == '#';
}

static void test_escape_cut(void)
{
	ok(cut("abcdefgh", 9, "abcdefgh"), "what fits is not cut");
	ok(cut("abcdefghi", 9, "abcde..."), "what does not fit is cut and marked");
	ok(cut("abc\n\n", 9, "abc..."), "never inside an escape");
	ok(cut("ab\xe2\x82\xac\xe2\x82\xac", 7, "ab..."), "never inside a character");
	ok(cut("abcdef", 4, "..."), "room for the mark alone");
	ok(cut("abcdef", 3, ".."), "not even for that");
	ok(cut("abcdef", 1, ""), "room for the terminator alone");
	char text[1] = { '#' };
	ok(pr_log_escape("abc", text, 0) == text && text[0] == '#', "no room at all");
}

static void test_limited(void)
{
	struct pr_log_limit limit = { 0 };
	struct pr_log_limit other = { 0 };
	uint64_t suppressed = 9;

	ok(pr_log_limited(&limit, &suppressed) && suppressed == 0, "the first may be said");
	ok(!pr_log_limited(&limit, &suppressed) && !pr_log_limited(&limit, &suppressed),
	   "two more within a second may not");
	ok(pr_log_limited(&other, &suppressed), "another message has its own limit");
	limit.window_start_ns -= PR_NS_PER_S;
	ok(pr_log_limited(&limit, &suppressed) && suppressed == 2,
	   "a second later it may, and knows of the two");
	ok(!pr_log_limited(&limit, &suppressed), "and not again");
}

/* What one call writes to stderr. */
static const char *captured(enum pr_log_level level, const char *message)
{
	static char text[8192];
	int ends[2];
	int saved = dup(STDERR_FILENO);

	text[0] = '\0';
	if (saved < 0 || pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) {
		return text;
	}
	(void)dup2(ends[1], STDERR_FILENO);
	errno = ENOENT;
	pr_log_write(level, LOG_COMPONENT, "%s", message);
	bool kept = errno == ENOENT;
	(void)dup2(saved, STDERR_FILENO);
	ssize_t length = read(ends[0], text, sizeof(text) - 1);
	text[length > 0 ? length : 0] = '\0';
	(void)close(saved);
	(void)close(ends[0]);
	(void)close(ends[1]);
	ok(kept, "errno is kept");
	return text;
}

static void test_write(void)
{
	static char large[6000];

	(void)unsetenv("JOURNAL_STREAM");
	(void)unsetenv("NOTIFY_SOCKET");
	const char *line = captured(PR_LOG_WARN, "full, dropping");
	uint64_t wall_ns;
	char stamp[25];
	memcpy(stamp, line, 24);
	stamp[24] = '\0';
	ok(pr_clock_parse(stamp, &wall_ns) == 0 &&
	           strcmp(line + 24, " warn test: full, dropping\n") == 0,
	   "time, level, component, text");
	ok(captured(PR_LOG_DEBUG, "x")[0] == '\0', "debug is off by default");
	pr_log_set_level(PR_LOG_DEBUG);
	ok(captured(PR_LOG_DEBUG, "x")[0] != '\0', "and can be switched on");
	pr_log_set_level(PR_LOG_ERROR);
	ok(captured(PR_LOG_WARN, "x")[0] == '\0', "a warning is off at error level");
	(void)setenv("JOURNAL_STREAM", "8:1", 1);
	ok(strcmp(captured(PR_LOG_ERROR, "a\nb"), "<3>test: a b\n") == 0,
	   "priority for the journal, one line a message");
	memset(large, 'a', sizeof(large) - 1);
	line = captured(PR_LOG_ERROR, large);
	ok(strlen(line) > 1000 && strlen(line) < 3000 && line[strlen(line) - 1] == '\n',
	   "a long message is cut and still a line");
}

int main(void)
{
	test_escape();
	test_escape_cut();
	test_limited();
	test_write();
	return tap_done();
}
