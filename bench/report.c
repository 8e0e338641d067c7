/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "bench/bench.h"

static bool head_said;

void bench_row_pair(struct bench_row *row, const char *limit_name, double value, double limit)
{
	struct bench_vs *vs = NULL;

	for (size_t i = 0; i < row->vs_count && vs == NULL; i++) {
		vs = strcmp(row->vs[i].name, limit_name) == 0 ? &row->vs[i] : NULL;
	}
	if (vs == NULL && row->vs_count < BENCH_VS_MAX) {
		vs = &row->vs[row->vs_count++];
		vs->name = limit_name;
	}
	if (vs != NULL && limit > 0) {
		bench_series_add(&vs->value, limit);
		bench_series_add(&vs->ratio, value / limit);
	}
}

/* Half the width of the interval as a share of the median. */
static double spread(const struct bench_series *series, double *ret_low, double *ret_high)
{
	double median = bench_series_median(series);

	bench_series_interval(series, ret_low, ret_high);
	return median != 0 ? (*ret_high - *ret_low) / 2 / fabs(median) : 0;
}

static void note_print(const struct bench_row *row)
{
	const char *mark = bench_machine_mark();
	printf("%s%s%s", row->note, row->note[0] != '\0' && mark[0] != '\0' ? "; " : "", mark);
}

static void row_json(const struct bench_row *row)
{
	double low, high;
	double share = spread(&row->value, &low, &high);

	printf("{\"metric\":\"%s\",\"value\":%.6g,\"unit\":\"%s\",\"vs\":{", row->metric,
	       bench_series_median(&row->value), row->unit);
	for (size_t i = 0; i < row->vs_count; i++) {
		printf("%s\"%s\":%.6g", i > 0 ? "," : "", row->vs[i].name,
		       bench_series_median(&row->vs[i].value));
	}
	printf("},\"ratio\":{");
	for (size_t i = 0; i < row->vs_count; i++) {
		printf("%s\"%s\":%.4g", i > 0 ? "," : "", row->vs[i].name,
		       bench_series_median(&row->vs[i].ratio));
	}
	printf("},\"runs\":%zu,\"spread\":%.4f,\"low\":%.6g,\"high\":%.6g,\"note\":\"",
	       row->value.count, share, low, high);
	note_print(row);
	printf("\"}\n");
}

/* Three or four digits, whatever the size. */
static void number_print(double value, int width)
{
	int digits = fabs(value) >= 1000 ? 0 : fabs(value) >= 100 ? 1 : fabs(value) >= 1 ? 2 : 4;
	printf("%*.*f", width, value == 0 || value == floor(value) ? 0 : digits, value);
}

static void vs_print(const struct bench_vs *vs)
{
	double low, high;

	bench_series_interval(&vs->ratio, &low, &high);
	printf("%-38s", "");
	number_print(bench_series_median(&vs->value), 10);
	printf("  %-5s  %.2f x %s (%.2f to %.2f)\n", "", bench_series_median(&vs->ratio), vs->name,
	       low, high);
}

static void row_table(const struct bench_row *row)
{
	double low, high;

	(void)spread(&row->value, &low, &high);
	if (!head_said) {
		printf("%-38s%10s  %-5s  %s\n", "METRIC", "MEDIAN", "UNIT",
		       "95 % INTERVAL, ROUNDS; BELOW: LIMITS OF THE SAME ROUNDS");
		head_said = true;
	}
	printf("%-38s", row->metric);
	number_print(bench_series_median(&row->value), 10);
	printf("  %-5s  ", row->unit);
	number_print(low, 0);
	printf(" to ");
	number_print(high, 0);
	printf(", %zu rounds", row->value.count);
	if (row->note[0] != '\0' || bench_machine_mark()[0] != '\0') {
		printf("; ");
		note_print(row);
	}
	printf("\n");
	for (size_t i = 0; i < row->vs_count; i++) {
		vs_print(&row->vs[i]);
	}
}

void bench_row_print(const struct bench_config *config, const struct bench_row *row)
{
	if (row->value.count == 0) {
		/* A median of nothing would be taken for a figure. */
		bench_say(config, "%s: no figure, every round was thrown away", row->metric);
		return;
	}
	if (config->json) {
		row_json(row);
	} else {
		row_table(row);
	}
	(void)fflush(stdout);
}

void bench_say(const struct bench_config *config, const char *format, ...)
{
	FILE *out = config->json ? stderr : stdout;
	va_list args;

	va_start(args, format);
	(void)fputs("# ", out);
	(void)vfprintf(out, format, args);
	(void)fputc('\n', out);
	(void)fflush(out);
	va_end(args);
}

void bench_thrown_say(const struct bench_config *config, size_t thrown)
{
	if (thrown > 0) {
		bench_say(config, "%zu rounds thrown away: over %.0f %% steal", thrown,
		          100 * BENCH_STEAL_MAX);
	}
}
