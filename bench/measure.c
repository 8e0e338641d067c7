/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdio.h>
#include <time.h>

#include "base/clock.h"
#include "base/err.h"
#include "bench/bench.h"

#define ROUNDS 20

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

int bench_pair_run(const struct bench_config *config, const struct bench_pair *pair,
                   struct bench_row *ret_row)
{
	struct bench_row row = { .metric = pair->metric, .unit = "ns" };
	uint64_t rounds = config->rounds != 0 ? config->rounds : ROUNDS;

	if (rounds > BENCH_ROUNDS_MAX || config->operations == 0) {
		return PR_EINVAL;
	}
	(void)snprintf(row.note, sizeof(row.note), "%s", pair->note);
	(void)one_run(pair->run, pair->arg, config->operations / 10 + 1);
	for (uint64_t i = 0; row.value.count < rounds && i < 2 * rounds; i++) {
		struct bench_times start;
		double value, limit;
		bench_times_read(&start);
		/* Neither always goes first. */
		if (i % 2 == 0) {
			value = one_run(pair->run, pair->arg, config->operations);
			limit = one_run(pair->run_limit, pair->arg, config->operations);
		} else {
			limit = one_run(pair->run_limit, pair->arg, config->operations);
			value = one_run(pair->run, pair->arg, config->operations);
		}
		if (bench_times_stolen(&start) <= BENCH_STEAL_MAX) {
			bench_series_add(&row.value, value);
			bench_row_pair(&row, pair->limit, value, limit);
		}
	}
	*ret_row = row;
	return PR_OK;
}

int bench_pair_measure(const struct bench_config *config, const struct bench_pair *pair)
{
	struct bench_row row;
	int ret = bench_pair_run(config, pair, &row);

	if (ret == PR_OK) {
		bench_row_print(config, &row);
	}
	return ret;
}
