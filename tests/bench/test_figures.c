/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Medians, intervals, ratios of adjacent pairs, and latencies in logarithmic buckets. */
#include <math.h>
#include <string.h>

#include "bench/bench.h"
#include "bench/traffic.h"
#include "tests/tap.h"

static void test_series(void)
{
	struct bench_series series = { 0 };
	double low, high;

	bench_series_interval(&series, &low, &high);
	ok(bench_series_median(&series) == 0 && low == 0 && high == 0, "of nothing: 0");
	for (int i = 20; i > 0; i--) {
		bench_series_add(&series, i);
	}
	bench_series_interval(&series, &low, &high);
	ok(bench_series_median(&series) == 10.5, "median of 1 to 20");
	/* Conover, table A3: ranks 6 and 15 cover 95 % for 20 values; ours is not narrower. */
	ok(low <= 6 && high >= 15 && low >= 4 && high <= 17, "interval %.0f to %.0f", low, high);
	struct bench_series few = { .values = { 3, 1, 2 }, .count = 3 };
	bench_series_interval(&few, &low, &high);
	ok(bench_series_median(&few) == 2 && low == 1 && high == 3, "three values: their range");
	for (int i = 0; i < 2 * BENCH_ROUNDS_MAX; i++) {
		bench_series_add(&series, 1);
	}
	ok(series.count == BENCH_ROUNDS_MAX, "no more than there is room for");
}

static void test_pairs(void)
{
	static struct bench_row row = { .metric = "m", .unit = "us" };

	/* The machine is twice as slow in the second round: the ratio does not care. */
	bench_row_pair(&row, "limit", 10, 5);
	bench_row_pair(&row, "limit", 20, 10);
	bench_row_pair(&row, "other", 20, 40);
	bench_row_pair(&row, "limit", 20, 0);
	ok(row.vs_count == 2 && row.vs[0].ratio.count == 2, "two limits, a limit of 0 left out");
	ok(bench_series_median(&row.vs[0].ratio) == 2 &&
	           bench_series_median(&row.vs[1].ratio) == 0.5,
	   "ratio of each round");
}

static void test_histogram(void)
{
	static struct traffic_histogram one, two;
	double worst = 0;

	ok(traffic_histogram_us(&one, 0.5) == 0, "of nothing: 0");
	for (uint64_t ns = 100; ns < 60ULL * 1000 * 1000 * 1000; ns += ns / 7) {
		memset(&two, 0, sizeof(two));
		traffic_histogram_add(&two, ns);
		double off = fabs(traffic_histogram_us(&two, 0.5) * 1e3 / (double)ns - 1);
		worst = off > worst ? off : worst;
	}
	ok(worst < 0.016, "100 ns to a minute: %.2f %% off at most", 100 * worst);
	for (uint64_t i = 1; i <= 1000; i++) {
		traffic_histogram_add(&one, i * 1000);
	}
	memset(&two, 0, sizeof(two));
	traffic_histogram_merge(&two, &one);
	traffic_histogram_merge(&two, &one);
	ok(two.count == 2000 && fabs(traffic_histogram_us(&two, 0.99) - 990) < 16,
	   "two added up: p99 is %.0f us", traffic_histogram_us(&two, 0.99));
	traffic_histogram_add(&one, UINT64_MAX);
	ok(one.count == 1001, "longer than any bucket: in the last");
}

int main(void)
{
	test_series();
	test_pairs();
	test_histogram();
	return tap_done();
}
