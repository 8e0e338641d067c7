/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/err.h"

#define LAST_YEAR 2553 /* the last whole year that 64 bits of ns since 1970 hold */

static uint64_t clock_ns(clockid_t id)
{
	struct timespec now = { 0 };
	(void)clock_gettime(id, &now);
	return (uint64_t)now.tv_sec * PR_NS_PER_S + (uint64_t)now.tv_nsec;
}

uint64_t pr_clock_monotonic_ns(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

uint64_t pr_clock_boot_ns(void)
{
	return clock_ns(CLOCK_BOOTTIME);
}

uint64_t pr_clock_wall_ns(void)
{
	return clock_ns(CLOCK_REALTIME);
}

const char *pr_clock_format(uint64_t wall_ns, char text[static PR_CLOCK_TEXT_BYTES])
{
	time_t seconds = (time_t)(wall_ns / PR_NS_PER_S);
	unsigned int milliseconds = (unsigned int)(wall_ns % PR_NS_PER_S / PR_NS_PER_MS);
	struct tm when;
	char date[24] = "";

	(void)gmtime_r(&seconds, &when); /* cannot fail: 64 bits of ns end in 2554 */
	(void)strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S", &when);
	(void)snprintf(text, PR_CLOCK_TEXT_BYTES, "%s.%03uZ", date, milliseconds);
	return text;
}

/* Exactly @p digits digits at *text_p, moving it on. */
static bool take_number(const char **text_p, int digits, int *ret_number)
{
	int number = 0;

	for (int i = 0; i < digits; i++, (*text_p)++) {
		if (**text_p < '0' || **text_p > '9') {
			return false;
		}
		number = number * 10 + (**text_p - '0');
	}
	*ret_number = number;
	return true;
}

static bool take_char(const char **text_p, char wanted)
{
	if (**text_p != wanted) {
		return false;
	}
	(*text_p)++;
	return true;
}

static bool take_date(const char **text_p, struct tm *when)
{
	static const uint8_t days[] = { 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
	int year, month, day;

	if (!take_number(text_p, 4, &year) || !take_char(text_p, '-') ||
	    !take_number(text_p, 2, &month) || !take_char(text_p, '-') ||
	    !take_number(text_p, 2, &day)) {
		return false;
	}
	if (year < 1970 || year > LAST_YEAR || month < 1 || month > 12 || day < 1 ||
	    day > days[month - 1]) {
		return false;
	}
	bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
	if (month == 2 && day == 29 && !leap) {
		return false;
	}
	when->tm_year = year - 1900;
	when->tm_mon = month - 1;
	when->tm_mday = day;
	return true;
}

static bool take_time(const char **text_p, struct tm *when, uint64_t *ret_fraction_ns)
{
	if (!take_number(text_p, 2, &when->tm_hour) || !take_char(text_p, ':') ||
	    !take_number(text_p, 2, &when->tm_min) || !take_char(text_p, ':') ||
	    !take_number(text_p, 2, &when->tm_sec)) {
		return false;
	}
	if (when->tm_hour > 23 || when->tm_min > 59 || when->tm_sec > 59) {
		return false;
	}
	*ret_fraction_ns = 0;
	if (!take_char(text_p, '.')) {
		return true;
	}
	uint64_t unit_ns = PR_NS_PER_S / 10;
	int digit;
	if (!take_number(text_p, 1, &digit)) {
		return false;
	}
	do {
		*ret_fraction_ns += (uint64_t)digit * unit_ns;
		unit_ns /= 10;
	} while (take_number(text_p, 1, &digit));
	return true;
}

/* "Z" or "+hh:mm"; seconds to subtract for UTC. */
static bool take_zone(const char **text_p, int64_t *ret_offset_s)
{
	int hours, minutes;

	*ret_offset_s = 0;
	if (take_char(text_p, 'Z')) {
		return true;
	}
	bool east = take_char(text_p, '+');
	if ((!east && !take_char(text_p, '-')) || !take_number(text_p, 2, &hours) ||
	    !take_char(text_p, ':') || !take_number(text_p, 2, &minutes) || hours > 23 ||
	    minutes > 59) {
		return false;
	}
	*ret_offset_s = (hours * 60 + minutes) * 60 * (east ? 1 : -1);
	return true;
}

int pr_clock_parse(const char *text, uint64_t *ret_wall_ns)
{
	struct tm when = { 0 };
	uint64_t fraction_ns = 0;
	int64_t offset_s = 0;

	if (!take_date(&text, &when)) {
		return PR_EINVAL;
	}
	if (*text != '\0') {
		if (!take_char(&text, 'T') || !take_time(&text, &when, &fraction_ns) ||
		    !take_zone(&text, &offset_s) || *text != '\0') {
			return PR_EINVAL;
		}
	}
	int64_t seconds = (int64_t)timegm(&when) - offset_s;
	if (seconds < 0) {
		return PR_EINVAL;
	}
	*ret_wall_ns = (uint64_t)seconds * PR_NS_PER_S + fraction_ns;
	return PR_OK;
}
