/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A thousand agents on one controller: how they come, ask, weigh, and learn of a policy. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/err.h"
#include "bench/bench.h"
#include "bench/herd.h"

#define AGENTS      1000
#define AGENTS_FULL 10000
#define ROUNDS      5
#define RATE        2000 /* questions a second of all */
#define ASK_NS      (5 * PR_NS_PER_S)
#define WAIT_NS     (240 * PR_NS_PER_S)
#define HERD        "herd"

struct agents_suite {
	const struct bench_config *config;
	stage_t *stage;
	struct deploy deploy;
	struct herd herd;
};

static const char policy[] = "mode enforce default\n"
			     "rule %u allow from any to 10.77.0.0/16 tcp/443\n";

static void doze_ms(long ms)
{
	struct timespec wait = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L };
	(void)nanosleep(&wait, NULL);
}

static int set_up(struct agents_suite *suite, unsigned count)
{
	int ret = herd_set_up(suite->stage, HERD, count, &suite->deploy, &suite->herd);

	return ret == PR_OK ? deploy_run(&suite->deploy) : ret;
}

static void row_print(const struct agents_suite *suite, const char *metric, const char *unit,
                      const struct bench_series *value, const char *note)
{
	struct bench_row row = { .metric = metric, .unit = unit, .value = *value };

	(void)snprintf(row.note, sizeof(row.note), "%u agents, %s", suite->herd.count, note);
	bench_row_print(suite->config, &row);
}

/* ---- the figures ---- */

static int storm_measure(struct agents_suite *suite)
{
	struct bench_series value = { 0 };
	uint64_t start_ns = pr_clock_monotonic_ns();
	char note[128];

	int ret = herd_start(&suite->herd, HERD);
	while (ret == PR_OK && herd_ready(&suite->herd) < suite->herd.count) {
		if (stage_interrupted() || pr_clock_monotonic_ns() - start_ns > WAIT_NS) {
			(void)fprintf(
				stderr, "portreeve-bench: %u of %u agents are there after %llu s\n",
				herd_ready(&suite->herd), suite->herd.count, WAIT_NS / PR_NS_PER_S);
			return PR_ETIMEOUT;
		}
		doze_ms(10);
	}
	bench_series_add(&value, (double)(pr_clock_monotonic_ns() - start_ns) / 1e9);
	(void)snprintf(note, sizeof(note),
	               "%u at a time, until each has its state and is in the directory; a "
	               "heartbeat every %llu s",
	               herd_joining(&suite->herd),
	               (unsigned long long)(herd_beat_ns(&suite->herd) / PR_NS_PER_S));
	if (ret == PR_OK) {
		row_print(suite, "agents.storm", "s", &value, note);
	}
	return ret;
}

static void memory_measure(struct agents_suite *suite)
{
	struct bench_series value = { 0 };
	char output[STAGE_OUTPUT_BYTES];

	/* Pages that the forked workers share are counted once: proportional set size. */
	if (stage_shell(suite->stage, NULL, output,
	                "for p in $(pgrep -g %d); do cat /proc/$p/smaps_rollup; done | "
	                "awk '/^Pss:/ {sum += $2} END {print sum / 1024}'",
	                (int)suite->deploy.controller) == PR_OK) {
		bench_series_add(&value, strtod(output, NULL));
		row_print(suite, "agents.memory", "MiB", &value,
		          "supervisor, admin service and 2 workers");
	}
}

static void verdicts_measure(struct agents_suite *suite)
{
	struct bench_series value = { 0 };
	unsigned processes = (suite->herd.count + HERD_A_PROCESS - 1) / HERD_A_PROCESS;
	struct herd_board *board = suite->herd.board;
	uint64_t asked = 0, answered = 0;
	struct traffic_histogram *latency = calloc(1, sizeof(*latency));
	char note[128];

	if (latency == NULL) {
		return;
	}
	atomic_store(&board->rate, RATE / processes > 0 ? RATE / processes : 1);
	doze_ms((long)(ASK_NS / PR_NS_PER_MS));
	atomic_store(&board->rate, 0);
	doze_ms(500);
	for (unsigned i = 0; i < processes; i++) {
		asked += atomic_load(&board->places[i].asked);
		answered += atomic_load(&board->places[i].answered);
		traffic_histogram_merge(latency, &board->places[i].latency);
	}
	bench_series_add(&value, traffic_histogram_us(latency, 0.99));
	(void)snprintf(note, sizeof(note),
	               "%d questions a second of all; p50 %.0f us, %llu of %llu answered", RATE,
	               traffic_histogram_us(latency, 0.5), (unsigned long long)answered,
	               (unsigned long long)asked);
	row_print(suite, "agents.verdict.p99", "us", &value, note);
	free(latency);
}

/* From the commit's answer until every agent has the new state. */
static int policy_measure(struct agents_suite *suite)
{
	struct bench_series value = { 0 };
	struct herd_board *board = suite->herd.board;
	char text[256];

	for (unsigned round = 0; round < ROUNDS && !stage_interrupted(); round++) {
		for (unsigned i = 0; i < HERD_PROCESSES_MAX; i++) {
			atomic_store(&board->places[i].followed, 0);
		}
		atomic_store(&board->revision, 2 + round);
		doze_ms(200);
		(void)snprintf(text, sizeof(text), policy, 10 + round);
		int ret = deploy_commit_only(&suite->deploy, text);
		if (ret != PR_OK) {
			return ret;
		}
		uint64_t start_ns = pr_clock_monotonic_ns();
		while (herd_followed(&suite->herd) < suite->herd.count) {
			if (stage_interrupted() ||
			    pr_clock_monotonic_ns() - start_ns > 30 * PR_NS_PER_S) {
				(void)fprintf(stderr,
				              "portreeve-bench: %u of %u agents have revision %u\n",
				              herd_followed(&suite->herd), suite->herd.count,
				              2 + round);
				return PR_ETIMEOUT;
			}
			doze_ms(1);
		}
		bench_series_add(&value, (double)(pr_clock_monotonic_ns() - start_ns) / 1e6);
	}
	row_print(suite, "agents.policy", "ms", &value,
	          "from the commit's answer to the last of them");
	return PR_OK;
}

static int suite_run(struct agents_suite *suite)
{
	int ret = set_up(suite, suite->config->full ? AGENTS_FULL : AGENTS);

	if (ret == PR_OK) {
		ret = storm_measure(suite);
	}
	if (ret == PR_OK && !stage_interrupted()) {
		memory_measure(suite);
		verdicts_measure(suite);
		ret = policy_measure(suite);
	}
	return ret;
}

int bench_suite_agents(const struct bench_config *config)
{
	struct agents_suite suite = { .config = config };
	int ret = stage_new(&suite.stage);

	if (ret == PR_OK) {
		ret = suite_run(&suite);
		if (ret != PR_OK) {
			stage_keep(suite.stage);
		}
		stage_destroy(&suite.stage);
	}
	herd_done(&suite.herd);
	return ret == PR_OK && !stage_interrupted() ? bench_suite_inventory(config) : ret;
}
