/* SPDX-License-Identifier: GPL-2.0-or-later */
/* New connections: nothing in between, the limits, a peer, and Portreeve as it is shipped. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "bench/arm.h"
#include "bench/attribute.h"
#include "bench/bench.h"
#include "bench/echo.h"

#define ROUNDS      20
#define PEER_ROUNDS 6 /* far from 1: few rounds tell */
#define RUN_NS      (400 * PR_NS_PER_MS)
#define ECHO_NS     (200 * PR_NS_PER_MS)
/* us of the attribution step that the budget counts: by eBPF, by /proc */
#define ATTRIBUTE_EBPF_MAX 1.0
#define ATTRIBUTE_PROC_MAX 20.0

enum { NONE, LIMIT, AGAIN, BATCHED, PEER, OURS, PAIR_NONE, PAIR_LIMIT, PAIR_OURS, ARMS };

enum { ONE, MANY, LOADS };

static const unsigned in_flight[LOADS] = { 1, 64 };

struct connect_suite {
	const struct bench_config *config;
	stage_t *stage;
	struct deploy deploy;
	struct echo echo;
	struct arm arms[ARMS];
	bool there[ARMS];
	struct arm_figures figures[ARMS][LOADS]; /* of this round */
	double echo_us, attribute_us, attribute_max_us;
	struct traffic_result *total; /* of OURS */
	struct traffic_result *pair_total;
	size_t rounds, thrown;
};

static const struct {
	const char *name;
	enum arm_kind kind;
	bool pair;
} arm_table[ARMS] = {
	[NONE] = { "none", ARM_NONE, false },
	[LIMIT] = { "accept_all", ARM_ACCEPT_ALL, false },
	[AGAIN] = { "accept_all again", ARM_ACCEPT_ALL, false },
	[BATCHED] = { "accept_all_batched", ARM_BATCHED, false },
	[PEER] = { "opensnitch", ARM_OPENSNITCH, false },
	[OURS] = { "portreeve", ARM_PORTREEVE, false },
	[PAIR_NONE] = { "none", ARM_NONE, true },
	[PAIR_LIMIT] = { "accept_all", ARM_ACCEPT_ALL, true },
	[PAIR_OURS] = { "portreeve", ARM_PORTREEVE, true },
};

static const char policy[] =
	"mode enforce default\n"
	"rule 10 allow from any to 10.77.0.0/16 tcp/9000 comment \"bench\"\n"
	"rule 20 allow from any to any tcp/9000 comment \"bench, both ends\"\n"
	"rule 30 allow from any to " DEPLOY_ADDRESS " tcp/7999 comment \"echo\"\n";

/* ---- set-up ---- */

static int ctl_open(struct connect_suite *suite)
{
	int ret = deploy_start(suite->stage, &suite->deploy);

	return ret == PR_OK ? echo_start(suite->stage, DEPLOY_SPACE, DEPLOY_ADDRESS, &suite->echo)
	                    : ret;
}

static int arms_open(struct connect_suite *suite)
{
	for (unsigned i = 0; i < ARMS && !stage_interrupted(); i++) {
		struct arm *arm = &suite->arms[i];
		*arm = (struct arm){ .name = arm_table[i].name,
			             .kind = arm_table[i].kind,
			             .pair = arm_table[i].pair,
			             .number = i + 1 };
		int ret = arm_open(suite->stage, &suite->deploy, arm);
		if (ret == PR_ENOENT && arm->kind == ARM_OPENSNITCH) {
			bench_say(suite->config,
			          "opensnitch is not there: ./check --deps unpacks it");
			continue;
		}
		if (ret != PR_OK) {
			(void)fprintf(stderr, "portreeve-bench: %s cannot be set up: %s\n",
			              arm->name, pr_strerror(ret));
			return ret;
		}
		suite->there[i] = true;
	}
	return deploy_commit(&suite->deploy, policy);
}

/* ---- a round ---- */

/* Over the same link, back to back. */
static int echo_measure(struct connect_suite *suite)
{
	struct ask_plan plan = ask_plan_echo(&suite->echo, 1, 1);
	struct ask_figures figures = { 0 };

	plan.duration_ns = ECHO_NS;
	int ret = ask_measure(suite->stage, suite->arms[OURS].client, &plan, suite->echo.process,
	                      &figures);
	suite->echo_us = figures.p50_us;
	return ret;
}

/* Where nothing else is at work on connections. */
static int attribute_measure(struct connect_suite *suite)
{
	struct attribute_plan plan;
	struct attribute_result result = { 0 };
	unsigned number = suite->arms[NONE].number;

	(void)snprintf(plan.server, sizeof(plan.server), "10.77.%u.1", number);
	(void)snprintf(plan.source, sizeof(plan.source), "10.77.%u.2", number);
	int ret = stage_call(suite->stage, suite->arms[NONE].client, attribute_run, &plan, &result,
	                     sizeof(result));
	if (ret == PR_OK && result.known != result.asked) {
		bench_say(suite->config, "attribution alone: %llu of %llu known",
		          (unsigned long long)result.known, (unsigned long long)result.asked);
	}
	suite->attribute_us = result.p50_us;
	suite->attribute_max_us = result.by_ebpf ? ATTRIBUTE_EBPF_MAX : ATTRIBUTE_PROC_MAX;
	return ret;
}

static int round_run(struct connect_suite *suite, unsigned round)
{
	int ret = echo_measure(suite);

	if (ret == PR_OK) {
		ret = attribute_measure(suite);
	}
	for (unsigned i = 0; i < ARMS && ret == PR_OK && !stage_interrupted(); i++) {
		/* Forwards, then backwards: nobody always comes after the same one. */
		unsigned which = round % 2 == 0 ? i : ARMS - 1 - i;
		if (!suite->there[which] || (which == PEER && round >= PEER_ROUNDS)) {
			continue;
		}
		struct traffic_result *total = which == OURS        ? suite->total
		                               : which == PAIR_OURS ? suite->pair_total
		                                                    : NULL;
		for (unsigned load = 0; load < LOADS && ret == PR_OK; load++) {
			ret = arm_run(suite->stage, &suite->arms[which], in_flight[load], RUN_NS,
			              &suite->figures[which][load], total);
		}
	}
	return ret;
}

/* ---- rows ---- */

enum figure {
	RATE_1,
	RATE_64,
	ADDED_P50,
	ADDED_P99,
	CPU,
	ECHO,
	ATTRIBUTE,
	AA,
	P_RATE_1,
	P_RATE_64,
	P_ADDED,
	P_CPU,
	ROWS
};

static void rows_make(struct bench_row *rows)
{
	static const struct {
		const char *metric, *unit, *note;
	} table[ROWS] = {
		[RATE_1] = { "connect.rate.1", "1/s", "one in flight" },
		[RATE_64] = { "connect.rate.64", "1/s", "64 in flight" },
		[ADDED_P50] = { "connect.added.p50", "us", "one in flight, over none" },
		[ADDED_P99] = { "connect.added.p99", "us", "one in flight, over none" },
		[CPU] = { "connect.cpu", "us", "whole machine, a connection, 64 in flight" },
		[ECHO] = { "connect.echo.rtt", "us", "CurveZMQ echo, back to back" },
		[ATTRIBUTE] = { "connect.attribution", "us", "the step alone, p50" },
		[AA] = { "connect.control", "1/s", "A/A: the same twice, 64 in flight" },
		[P_RATE_1] = { "connect.pair.rate.1", "1/s", "both ends held, two agents" },
		[P_RATE_64] = { "connect.pair.rate.64", "1/s", "both ends held, two agents" },
		[P_ADDED] = { "connect.pair.added.p50", "us", "both ends held, over none" },
		[P_CPU] = { "connect.pair.cpu", "us", "both ends held, 64 in flight" },
	};
	for (unsigned i = 0; i < ROWS; i++) {
		rows[i] = (struct bench_row){ .metric = table[i].metric, .unit = table[i].unit };
		(void)snprintf(rows[i].note, sizeof(rows[i].note), "%s", table[i].note);
	}
}

static void added_add(struct bench_row *row, const char *name, double ours_us, double limit_us,
                      double none_us)
{
	bench_row_pair(row, name, ours_us - none_us, limit_us - none_us);
}

/* What one adjacent round gave. */
static void rows_add(struct connect_suite *suite, struct bench_row *rows, bool peer)
{
	const struct arm_figures(*at)[LOADS] = suite->figures;
	static const unsigned beside[] = { NONE, LIMIT, BATCHED, PEER };
	double none_us = at[NONE][ONE].p50_us, none99_us = at[NONE][ONE].p99_us;
	double attribute_us = suite->attribute_us < suite->attribute_max_us
	                              ? suite->attribute_us
	                              : suite->attribute_max_us;
	double budget_us = at[LIMIT][ONE].p50_us - none_us + 1.2 * suite->echo_us + attribute_us;

	bench_series_add(&rows[RATE_1].value, at[OURS][ONE].rate);
	bench_series_add(&rows[RATE_64].value, at[OURS][MANY].rate);
	bench_series_add(&rows[ADDED_P50].value, at[OURS][ONE].p50_us - none_us);
	bench_series_add(&rows[ADDED_P99].value, at[OURS][ONE].p99_us - none99_us);
	bench_series_add(&rows[CPU].value, at[OURS][MANY].cpu_us);
	for (size_t i = 0; i < PR_ARRAY_LEN(beside); i++) {
		unsigned arm = beside[i];
		if (arm == PEER && !peer) {
			continue;
		}
		const char *name = arm_table[arm].name;
		bench_row_pair(&rows[RATE_1], name, at[OURS][ONE].rate, at[arm][ONE].rate);
		bench_row_pair(&rows[RATE_64], name, at[OURS][MANY].rate, at[arm][MANY].rate);
		bench_row_pair(&rows[CPU], name, at[OURS][MANY].cpu_us, at[arm][MANY].cpu_us);
		if (arm != NONE) {
			added_add(&rows[ADDED_P50], name, at[OURS][ONE].p50_us, at[arm][ONE].p50_us,
			          none_us);
			added_add(&rows[ADDED_P99], name, at[OURS][ONE].p99_us, at[arm][ONE].p99_us,
			          none99_us);
		}
	}
	bench_row_pair(&rows[ADDED_P50], "echo_budget", at[OURS][ONE].p50_us - none_us, budget_us);
	bench_series_add(&rows[ECHO].value, suite->echo_us);
	bench_series_add(&rows[ATTRIBUTE].value, suite->attribute_us);
	bench_series_add(&rows[AA].value, at[AGAIN][MANY].rate);
	bench_row_pair(&rows[AA], "accept_all", at[AGAIN][MANY].rate, at[LIMIT][MANY].rate);
}

static void pair_rows_add(struct connect_suite *suite, struct bench_row *rows)
{
	const struct arm_figures(*at)[LOADS] = suite->figures;
	double none_us = at[PAIR_NONE][ONE].p50_us;
	static const unsigned beside[] = { PAIR_NONE, PAIR_LIMIT };

	bench_series_add(&rows[P_RATE_1].value, at[PAIR_OURS][ONE].rate);
	bench_series_add(&rows[P_RATE_64].value, at[PAIR_OURS][MANY].rate);
	bench_series_add(&rows[P_ADDED].value, at[PAIR_OURS][ONE].p50_us - none_us);
	bench_series_add(&rows[P_CPU].value, at[PAIR_OURS][MANY].cpu_us);
	for (size_t i = 0; i < PR_ARRAY_LEN(beside); i++) {
		unsigned arm = beside[i];
		const char *name = arm_table[arm].name;
		bench_row_pair(&rows[P_RATE_1], name, at[PAIR_OURS][ONE].rate, at[arm][ONE].rate);
		bench_row_pair(&rows[P_RATE_64], name, at[PAIR_OURS][MANY].rate,
		               at[arm][MANY].rate);
		bench_row_pair(&rows[P_CPU], name, at[PAIR_OURS][MANY].cpu_us,
		               at[arm][MANY].cpu_us);
	}
	added_add(&rows[P_ADDED], "accept_all", at[PAIR_OURS][ONE].p50_us,
	          at[PAIR_LIMIT][ONE].p50_us, none_us);
}

/* Whole numbers over all rounds: one that failed is one too many. */
static void count_print(const struct bench_config *config, const char *metric, double value,
                        const char *note)
{
	struct bench_row row = { .metric = metric, .unit = "count" };

	bench_series_add(&row.value, value);
	(void)snprintf(row.note, sizeof(row.note), "%s", note);
	bench_row_print(config, &row);
}

static void totals_print(struct connect_suite *suite, const struct traffic_result *total,
                         const char *failed, const char *steps)
{
	char note[128];

	(void)snprintf(note, sizeof(note),
	               "of %llu connections; whole p50 %.0f, p99 %.0f, p99.9 %.0f us",
	               (unsigned long long)(total->made + total->failed),
	               traffic_histogram_us(&total->latency, 0.5),
	               traffic_histogram_us(&total->latency, 0.99),
	               traffic_histogram_us(&total->latency, 0.999));
	count_print(suite->config, failed, (double)total->failed, note);
	(void)snprintf(note, sizeof(note), "took 0.9 s or more: a lost SYN");
	count_print(suite->config, steps, (double)total->steps, note);
}

/* Every connection of ours has its event: one at the near end, in the pair one at each. */
static int events_check(struct connect_suite *suite)
{
	char note[128];
	uint64_t stored = 0;
	uint64_t made = suite->total->made + 2 * suite->pair_total->made;
	struct bench_row row = { .metric = "connect.events.missing", .unit = "count" };
	int ret = deploy_events_count(&suite->deploy, "dst.port:9000", &stored);

	if (ret == PR_OK) {
		(void)snprintf(note, sizeof(note), "%llu stored of %llu, at every end that asks",
		               (unsigned long long)stored, (unsigned long long)made);
		bench_series_add(&row.value, (double)made - (double)stored);
		(void)snprintf(row.note, sizeof(row.note), "%s", note);
		bench_row_print(suite->config, &row);
	}
	return ret;
}

static int rounds_run(struct connect_suite *suite, struct bench_row *rows)
{
	uint64_t wanted = suite->config->rounds != 0 ? suite->config->rounds : ROUNDS;
	int ret = PR_OK;

	for (unsigned i = 0; suite->rounds < wanted && i < wanted + wanted / 2; i++) {
		struct bench_times start;
		bench_times_read(&start);
		ret = round_run(suite, i);
		if (ret != PR_OK || stage_interrupted()) {
			return ret;
		}
		if (bench_times_stolen(&start) > BENCH_STEAL_MAX) {
			suite->thrown++;
			continue;
		}
		suite->rounds++;
		rows_add(suite, rows, suite->there[PEER] && i < PEER_ROUNDS);
		pair_rows_add(suite, rows);
	}
	return ret;
}

static int suite_run(struct connect_suite *suite)
{
	_cleanup_(pr_free) struct bench_row *rows = calloc(ROWS, sizeof(*rows));
	int ret = rows == NULL ? PR_ENOMEM : ctl_open(suite);

	if (ret == PR_OK) {
		ret = arms_open(suite);
	}
	if (ret == PR_OK) {
		rows_make(rows);
		ret = rounds_run(suite, rows);
	}
	if (ret != PR_OK || stage_interrupted()) {
		return ret;
	}
	for (unsigned i = 0; i < ROWS; i++) {
		bench_row_print(suite->config, &rows[i]);
	}
	totals_print(suite, suite->total, "connect.failed", "connect.steps");
	totals_print(suite, suite->pair_total, "connect.pair.failed", "connect.pair.steps");
	bench_thrown_say(suite->config, suite->thrown);
	return events_check(suite);
}

int bench_suite_connect(const struct bench_config *config)
{
	struct connect_suite suite = { .config = config };

	suite.total = calloc(1, sizeof(*suite.total));
	suite.pair_total = calloc(1, sizeof(*suite.pair_total));
	int ret = suite.total == NULL || suite.pair_total == NULL ? PR_ENOMEM
	                                                          : stage_new(&suite.stage);
	if (ret == PR_OK) {
		ret = suite_run(&suite);
	}
	if (ret != PR_OK && suite.stage != NULL) {
		stage_keep(suite.stage);
	}
	stage_destroy(&suite.stage);
	free(suite.total);
	free(suite.pair_total);
	return ret;
}
