/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the machine gives at most: interception, asking, storing, memory. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "bench/arm.h"
#include "bench/bench.h"
#include "bench/echo.h"
#include "bench/storage.h"

#define ROUNDS  10
#define RUN_NS  (300 * PR_NS_PER_MS)
#define ECHO_NS (300 * PR_NS_PER_MS)

enum { NONE, SINGLE, AGAIN, BATCHED, PAIR, PAIR_BATCHED, ARMS };

static const struct {
	const char *name, *metric, *note;
	enum arm_kind kind;
	bool pair;
} arm_table[ARMS] = {
	[NONE] = { "none", "limits.none", "no firewall", ARM_NONE, false },
	[SINGLE] = { "accept_all", "limits.accept_all", "OUTPUT, one and one", ARM_ACCEPT_ALL,
	             false },
	[AGAIN] = { "accept_all again", "limits.control", "A/A: accept_all twice", ARM_ACCEPT_ALL,
	            false },
	[BATCHED] = { "accept_all_batched", "limits.accept_all_batched",
	              "OUTPUT, recvmmsg, two queues by CPU", ARM_BATCHED, false },
	[PAIR] = { "accept_all.pair", "limits.accept_all.pair", "OUTPUT and INPUT, one and one",
	           ARM_ACCEPT_ALL, true },
	[PAIR_BATCHED] = { "accept_all_batched.pair", "limits.accept_all_batched.pair",
	                   "OUTPUT and INPUT, recvmmsg, two queues each", ARM_BATCHED, true },
};

static const unsigned a_frame[] = { 1, 16, 64 };

struct limits {
	const struct bench_config *config;
	stage_t *stage;
	struct arm arms[ARMS];
	struct echo echo;
	size_t thrown;
	struct bench_row rate_1[ARMS], rate_64[ARMS], added[ARMS];
	struct bench_row echo_rate[PR_ARRAY_LEN(a_frame)], echo_rtt;
};

static struct bench_row row_of(const char *metric, const char *suffix, const char *unit,
                               const char *note)
{
	static char names[64][48];
	static size_t used;
	struct bench_row row = { .unit = unit };

	char *name = names[used++ % PR_ARRAY_LEN(names)];
	(void)snprintf(name, sizeof(names[0]), "%s%s", metric, suffix);
	row.metric = name;
	(void)snprintf(row.note, sizeof(row.note), "%s", note);
	return row;
}

static int set_up(struct limits *limits)
{
	for (unsigned i = 0; i < ARMS; i++) {
		limits->arms[i] = (struct arm){ .name = arm_table[i].name,
			                        .kind = arm_table[i].kind,
			                        .pair = arm_table[i].pair,
			                        .number = i + 1 };
		int ret = arm_open(limits->stage, NULL, &limits->arms[i]);
		if (ret != PR_OK) {
			return ret;
		}
		const char *metric = arm_table[i].metric, *note = arm_table[i].note;
		limits->rate_1[i] = row_of(metric, ".rate.1", "1/s", note);
		limits->rate_64[i] = row_of(metric, ".rate.64", "1/s", note);
		limits->added[i] = row_of(metric, ".added.p50", "us", note);
	}
	for (size_t i = 0; i < PR_ARRAY_LEN(a_frame); i++) {
		char suffix[8];
		(void)snprintf(suffix, sizeof(suffix), "%u", a_frame[i]);
		limits->echo_rate[i] =
			row_of("limits.echo.", suffix, "1/s",
		               "requests a CPU-second of the server, in such frames");
	}
	limits->echo_rtt = row_of("limits.echo.rtt", "", "us", "one request, back to back");
	return echo_start(limits->stage, limits->arms[NONE].server, "10.77.1.1", &limits->echo);
}

static int echo_round(struct limits *limits, struct ask_figures *ret_figures)
{
	for (size_t i = 0; i <= PR_ARRAY_LEN(a_frame); i++) {
		bool rtt = i == PR_ARRAY_LEN(a_frame);
		struct ask_plan plan = ask_plan_echo(&limits->echo, rtt ? 1 : a_frame[i],
		                                     rtt ? 1 : ECHO_IN_FLIGHT);
		plan.duration_ns = ECHO_NS;
		int ret = ask_measure(limits->stage, limits->arms[NONE].client, &plan,
		                      limits->echo.process, &ret_figures[i]);
		if (ret != PR_OK) {
			return ret;
		}
	}
	return PR_OK;
}

static int arms_round(struct limits *limits, unsigned round, struct arm_figures at[ARMS][2])
{
	for (unsigned i = 0; i < ARMS && !stage_interrupted(); i++) {
		unsigned which = round % 2 == 0 ? i : ARMS - 1 - i;
		for (unsigned load = 0; load < 2; load++) {
			int ret = arm_run(limits->stage, &limits->arms[which], load == 0 ? 1 : 64,
			                  RUN_NS, &at[which][load], NULL);
			if (ret != PR_OK) {
				return ret;
			}
		}
	}
	return PR_OK;
}

static void round_add(struct limits *limits, struct arm_figures at[ARMS][2],
                      const struct ask_figures *asked)
{
	for (unsigned i = 0; i < ARMS; i++) {
		unsigned limit = i == AGAIN ? SINGLE : NONE;
		bench_series_add(&limits->rate_1[i].value, at[i][0].rate);
		bench_series_add(&limits->rate_64[i].value, at[i][1].rate);
		bench_series_add(&limits->added[i].value, at[i][0].p50_us - at[NONE][0].p50_us);
		if (i != NONE) {
			const char *name = arm_table[limit].name;
			bench_row_pair(&limits->rate_1[i], name, at[i][0].rate, at[limit][0].rate);
			bench_row_pair(&limits->rate_64[i], name, at[i][1].rate, at[limit][1].rate);
		}
	}
	for (size_t i = 0; i < PR_ARRAY_LEN(a_frame); i++) {
		bench_series_add(&limits->echo_rate[i].value, asked[i].per_cpu_second);
	}
	bench_series_add(&limits->echo_rtt.value, asked[PR_ARRAY_LEN(a_frame)].p50_us);
}

static int rounds_run(struct limits *limits)
{
	uint64_t wanted = limits->config->rounds != 0 ? limits->config->rounds : ROUNDS;
	struct arm_figures at[ARMS][2];
	struct ask_figures asked[PR_ARRAY_LEN(a_frame) + 1];

	for (unsigned i = 0; limits->echo_rtt.value.count < wanted && i < wanted + wanted / 2;
	     i++) {
		struct bench_times start;
		bench_times_read(&start);
		int ret = arms_round(limits, i, at);
		if (ret == PR_OK) {
			ret = echo_round(limits, asked);
		}
		if (ret != PR_OK || stage_interrupted()) {
			return ret;
		}
		if (bench_times_stolen(&start) > BENCH_STEAL_MAX) {
			limits->thrown++;
		} else {
			round_add(limits, at, asked);
		}
	}
	return PR_OK;
}

static int suite_run(struct limits *limits)
{
	int ret = set_up(limits);

	if (ret == PR_OK) {
		ret = rounds_run(limits);
	}
	if (ret != PR_OK || stage_interrupted()) {
		return ret;
	}
	for (unsigned i = 0; i < ARMS; i++) {
		bench_row_print(limits->config, &limits->rate_1[i]);
		bench_row_print(limits->config, &limits->rate_64[i]);
		if (i != NONE) {
			bench_row_print(limits->config, &limits->added[i]);
		}
	}
	for (size_t i = 0; i < PR_ARRAY_LEN(a_frame); i++) {
		bench_row_print(limits->config, &limits->echo_rate[i]);
	}
	bench_row_print(limits->config, &limits->echo_rtt);
	bench_thrown_say(limits->config, limits->thrown);
	return storage_measure(limits->config, stage_folder(limits->stage));
}

int bench_suite_limits(const struct bench_config *config)
{
	struct limits *limits = calloc(1, sizeof(*limits));
	int ret = limits == NULL ? PR_ENOMEM : stage_new(&limits->stage);

	if (ret == PR_OK) {
		limits->config = config;
		ret = suite_run(limits);
		stage_destroy(&limits->stage);
	}
	free(limits);
	return ret;
}
