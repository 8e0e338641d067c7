/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bench/bench.h"

void bench_series_add(struct bench_series *series, double value)
{
	if (series->count < BENCH_ROUNDS_MAX) {
		series->values[series->count++] = value;
	}
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return x < y ? -1 : x > y;
}

static void sorted(const struct bench_series *series, double values[BENCH_ROUNDS_MAX])
{
	memcpy(values, series->values, series->count * sizeof(*values));
	qsort(values, series->count, sizeof(*values), by_value);
}

double bench_series_median(const struct bench_series *series)
{
	double values[BENCH_ROUNDS_MAX];

	if (series->count == 0) {
		return 0;
	}
	sorted(series, values);
	size_t middle = series->count / 2;
	return series->count % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

void bench_series_interval(const struct bench_series *series, double *ret_low, double *ret_high)
{
	double values[BENCH_ROUNDS_MAX];
	size_t count = series->count;

	*ret_low = *ret_high = 0;
	if (count == 0) {
		return;
	}
	sorted(series, values);
	double below = (double)count / 2 - 1.96 * sqrt((double)count) / 2;
	size_t rank = below > 1 ? (size_t)below : 1; /* from 1 */
	*ret_low = values[rank - 1];
	*ret_high = values[count - rank];
}
