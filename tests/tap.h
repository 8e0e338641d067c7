/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/**
 * @file
 * Test Anything Protocol in three words. A test file is a main() that calls ok() and ends with
 * `return tap_done();`. Not for the product.
 */

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>

/* One count a program, whatever number of files it has. */
__attribute__((weak)) int tap_count;
__attribute__((weak)) int tap_failed;

/** One result; @p what says what holds when it is good. Evaluates to the condition. */
#define ok(condition, ...) tap_ok((condition), __FILE__, __LINE__, #condition, __VA_ARGS__)

/** One result that could not be had; @p why is shown. */
#define skip(...) tap_skip(__VA_ARGS__)

__attribute__((format(printf, 5, 6), unused)) static inline bool
tap_ok(bool good, const char *file, int line, const char *condition, const char *format, ...)
{
	va_list args;
	tap_count++;
	tap_failed += !good;
	printf("%sok %d - ", good ? "" : "not ", tap_count);
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	printf("\n");
	if (!good) {
		printf("# %s:%d: %s\n", file, line, condition);
	}
	fflush(stdout);
	return good;
}

__attribute__((format(printf, 1, 2), unused)) static inline void tap_skip(const char *format, ...)
{
	va_list args;
	printf("ok %d # SKIP ", ++tap_count);
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	printf("\n");
}

/** Print the plan; returns main()'s exit status. A test without a result has failed. */
static inline int tap_done(void)
{
	printf("1..%d\n", tap_count);
	return tap_failed != 0 || tap_count == 0;
}
