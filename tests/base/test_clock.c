/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <string.h>

#include "base/clock.h"
#include "base/defs.h"
#include "base/err.h"
#include "tests/tap.h"

struct parse_case {
	const char *text;
	uint64_t wall_ns;
};

static void test_parse(void)
{
	static const struct parse_case cases[] = {
		{ "1970-01-01", 0 },
		{ "2026-11-23", 1795392000000000000ULL },
		{ "2026-11-23T22:14:05Z", 1795472045000000000ULL },
		{ "2026-11-23T22:14:05.123Z", 1795472045123000000ULL },
		{ "2026-11-23T22:14:05.123456789Z", 1795472045123456789ULL },
		{ "2026-11-23T22:14:05.1234567891Z", 1795472045123456789ULL },
		{ "2026-11-23T23:44:05+01:30", 1795472045000000000ULL },
		{ "2026-11-23T20:14:05-02:00", 1795472045000000000ULL },
		{ "2024-02-29", 1709164800000000000ULL },
		{ "1970-01-01T00:00:00.5Z", 500000000ULL },
	};

	for (size_t i = 0; i < PR_ARRAY_LEN(cases); i++) {
		uint64_t wall_ns = 1;
		ok(pr_clock_parse(cases[i].text, &wall_ns) == PR_OK && wall_ns == cases[i].wall_ns,
		   "%s", cases[i].text);
	}
}

static void test_refused(void)
{
	static const char *const texts[] = {
		"",
		"2026",
		"2026-11",
		"2026-1-2",
		"2026-13-01",
		"2026-00-01",
		"2026-04-31",
		"2025-02-29",
		"1969-12-31",
		"9999-01-01",
		"2026-11-23T",
		"2026-11-23 22:14:05Z",
		"2026-11-23T22:14:05",
		"2026-11-23T24:00:00Z",
		"2026-11-23T22:60:00Z",
		"2026-11-23T22:14:60Z",
		"2026-11-23T22:14:05.Z",
		"2026-11-23T22:14:05z",
		"2026-11-23T22:14:05+0100",
		"2026-11-23T22:14:05+24:00",
		"2026-11-23T22:14:05Z ",
		"1970-01-01T00:00:00+00:01",
		"-026-11-23",
		"tomorrow",
	};

	for (size_t i = 0; i < PR_ARRAY_LEN(texts); i++) {
		uint64_t wall_ns = 7;
		ok(pr_clock_parse(texts[i], &wall_ns) == PR_EINVAL && wall_ns == 7,
		   "'%s' is refused, result untouched", texts[i]);
	}
}

static void test_format(void)
{
	char text[PR_CLOCK_TEXT_BYTES];
	uint64_t back_ns = 0;

	ok(strcmp(pr_clock_format(1795472045123456789ULL, text), "2026-11-23T22:14:05.123Z") == 0,
	   "format");
	ok(pr_clock_parse(text, &back_ns) == PR_OK && back_ns == 1795472045123000000ULL,
	   "what is printed can be read");
	ok(strcmp(pr_clock_format(0, text), "1970-01-01T00:00:00.000Z") == 0, "zero");
	ok(strcmp(pr_clock_format(UINT64_MAX, text), "2554-07-21T23:34:33.709Z") == 0, "the last");
}

static void test_clocks_run(void)
{
	uint64_t first_ns = pr_clock_monotonic_ns();
	uint64_t wall_ns = pr_clock_wall_ns();

	ok(first_ns > 0 && pr_clock_monotonic_ns() >= first_ns, "monotonic never goes back");
	ok(pr_clock_boot_ns() >= first_ns, "boot time includes monotonic time");
	ok(wall_ns > 1700000000000000000ULL, "wall clock is after 2023");
}

int main(void)
{
	test_parse();
	test_refused();
	test_format();
	test_clocks_run();
	return tap_done();
}
