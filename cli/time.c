/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/err.h"
#include "cli/cli.h"

int cli_duration_parse(const char *text, uint64_t *ret_s)
{
	static const struct {
		char unit;
		uint64_t s;
	} units[] = { { 's', 1 }, { 'm', 60 }, { 'h', 3600 }, { 'd', 86400 }, { 'w', 604800 } };
	uint64_t number = 0;
	size_t digits = strspn(text, "0123456789");

	if (digits == 0 || digits > 9 || strlen(text) != digits + 1) {
		return PR_EINVAL;
	}
	for (size_t i = 0; i < digits; i++) {
		number = number * 10 + (uint64_t)(text[i] - '0');
	}
	for (size_t i = 0; i < PR_ARRAY_LEN(units); i++) {
		if (units[i].unit == text[digits]) {
			*ret_s = number * units[i].s;
			return PR_OK;
		}
	}
	return PR_EINVAL;
}

/* A clock time of the day of @p now, in local time; days may be negative. */
static int day_time(uint64_t now_wall_ns, int days, int hour, int minute, uint64_t *ret_wall_ns)
{
	time_t now_s = (time_t)(now_wall_ns / PR_NS_PER_S);
	struct tm local;
	time_t moment;

	if (localtime_r(&now_s, &local) == NULL) {
		return PR_EINVAL;
	}
	local.tm_mday += days;
	local.tm_hour = hour;
	local.tm_min = minute;
	local.tm_sec = 0;
	local.tm_isdst = -1;
	moment = mktime(&local);
	if (moment < 0) {
		return PR_EINVAL;
	}
	*ret_wall_ns = (uint64_t)moment * PR_NS_PER_S;
	return PR_OK;
}

/* "15:40" or "5:40" */
static bool clock_read(const char *text, int *ret_hour, int *ret_minute)
{
	size_t digits = strspn(text, "0123456789");
	int hour = 0;

	if (digits < 1 || digits > 2 || text[digits] != ':' ||
	    strspn(text + digits + 1, "0123456789") != 2 || strlen(text) != digits + 3) {
		return false;
	}
	for (size_t i = 0; i < digits; i++) {
		hour = hour * 10 + (text[i] - '0');
	}
	*ret_hour = hour;
	*ret_minute = (text[digits + 1] - '0') * 10 + (text[digits + 2] - '0');
	return *ret_hour < 24 && *ret_minute < 60;
}

int cli_time_parse(const char *text, uint64_t now_wall_ns, uint64_t *ret_wall_ns)
{
	uint64_t ago_s;
	int hour, minute;

	if (cli_duration_parse(text, &ago_s) == PR_OK) {
		if (ago_s > now_wall_ns / PR_NS_PER_S) {
			return PR_EINVAL;
		}
		*ret_wall_ns = now_wall_ns - ago_s * PR_NS_PER_S;
		return PR_OK;
	}
	if (strcmp(text, "now") == 0) {
		*ret_wall_ns = now_wall_ns;
		return PR_OK;
	}
	if (strcmp(text, "today") == 0) {
		return day_time(now_wall_ns, 0, 0, 0, ret_wall_ns);
	}
	if (strcmp(text, "yesterday") == 0) {
		return day_time(now_wall_ns, -1, 0, 0, ret_wall_ns);
	}
	if (clock_read(text, &hour, &minute)) {
		uint64_t wall_ns;
		int ret = day_time(now_wall_ns, 0, hour, minute, &wall_ns);
		if (ret == PR_OK && wall_ns > now_wall_ns) { /* the last time it was so late */
			ret = day_time(now_wall_ns, -1, hour, minute, &wall_ns);
		}
		if (ret == PR_OK) {
			*ret_wall_ns = wall_ns;
		}
		return ret;
	}
	return pr_clock_parse(text, ret_wall_ns);
}

const char *cli_time_format(const struct cli_style *style, uint64_t wall_ns,
                            char text[static CLI_TIME_BYTES])
{
	time_t moment_s = (time_t)(wall_ns / PR_NS_PER_S);
	time_t now_s = (time_t)(style->now_wall_ns / PR_NS_PER_S);
	struct tm moment, now;
	bool today;

	if (wall_ns == 0) {
		text[0] = '-';
		text[1] = '\0';
		return text;
	}
	if (!style->terminal || localtime_r(&moment_s, &moment) == NULL ||
	    localtime_r(&now_s, &now) == NULL) {
		return pr_clock_format(wall_ns, text);
	}
	today = moment.tm_year == now.tm_year && moment.tm_yday == now.tm_yday;
	if (strftime(text, CLI_TIME_BYTES, today ? "%H:%M:%S" : "%Y-%m-%d %H:%M:%S", &moment) ==
	    0) {
		return pr_clock_format(wall_ns, text);
	}
	return text;
}
