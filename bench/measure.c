/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "base/err.h"
#include "bench/bench.h"

#define RUNS_MAX 1000

static volatile uint64_t sink;

static uint64_t cpu_ns(void)
{
	struct timespec now;
	(void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return (uint64_t)now.tv_sec * PR_NS_PER_S + (uint64_t)now.tv_nsec;
}

static double one_run(bench_fn run, void *arg, uint64_t operations)
{
	uint64_t start_ns = cpu_ns();
	sink += run(arg, operations);
	return (double)(cpu_ns() - start_ns) / (double)operations;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return x < y ? -1 : x > y;
}

static void print_row(const struct bench_config *config, const struct bench_pair *pair,
                      double *values, double *limits, double *ratios)
{
	size_t runs = config->runs;

	qsort(values, runs, sizeof(*values), by_value);
	qsort(limits, runs, sizeof(*limits), by_value);
	qsort(ratios, runs, sizeof(*ratios), by_value);
	double value = values[runs / 2], limit = limits[runs / 2], ratio = ratios[runs / 2];
	/* Half of all runs lie within this share of the median. */
	double spread = value > 0 ? (values[runs * 3 / 4] - values[runs / 4]) / value : 0;
	if (config->json) {
		printf("{\"metric\":\"%s\",\"value\":%.2f,\"unit\":\"ns\",\"vs\":{\"%s\":%.2f},"
		       "\"ratio\":{\"%s\":%.3f},\"runs\":%zu,\"spread\":%.3f,\"note\":\"%s\"}\n",
		       pair->metric, value, pair->limit, limit, pair->limit, ratio, runs, spread,
		       pair->note);
	} else {
		printf("%-28s %10.1f ns  %10.1f ns  %7.2f  %6.1f %%  %s: %s\n", pair->metric, value,
		       limit, ratio, 100 * spread, pair->limit, pair->note);
	}
}

int bench_pair_measure(const struct bench_config *config, const struct bench_pair *pair)
{
	double values[RUNS_MAX], limits[RUNS_MAX], ratios[RUNS_MAX];

	if (config->runs == 0 || config->runs > RUNS_MAX || config->operations == 0) {
		return PR_EINVAL;
	}
	(void)one_run(pair->run, pair->arg, config->operations / 10 + 1);
	for (size_t i = 0; i < config->runs; i++) {
		/* Neither always goes first. */
		if (i % 2 == 0) {
			values[i] = one_run(pair->run, pair->arg, config->operations);
			limits[i] = one_run(pair->run_limit, pair->arg, config->operations);
		} else {
			limits[i] = one_run(pair->run_limit, pair->arg, config->operations);
			values[i] = one_run(pair->run, pair->arg, config->operations);
		}
		ratios[i] = limits[i] > 0 ? values[i] / limits[i] : 0;
	}
	print_row(config, pair, values, limits, ratios);
	return PR_OK;
}
