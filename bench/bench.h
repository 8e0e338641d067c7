/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/**
 * @file
 * Measuring, inside bench/ alone. A figure is always taken beside its limit, in adjacent rounds of
 * the same run (A B, B A, ...); the ratio of a row is the median of the rounds' own ratios. Rounds
 * in which the hypervisor stole more than BENCH_STEAL_MAX of the CPU time are thrown away and taken
 * again. Rows go out as a table, or with --json as one object a line.
 *
 * Threads: one; whatever measures or serves runs in processes of its own (stage.h).
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/defs.h"

#define BENCH_ROUNDS_MAX 200
#define BENCH_VS_MAX     6
#define BENCH_STEAL_MAX  0.03

struct bench_config {
	uint64_t rounds;     /* 0: as many as the suite needs */
	uint64_t operations; /* in one round of codec and policy */
	bool json, full;
};

/* ---- series.c: figures of the rounds ---- */

struct bench_series {
	double values[BENCH_ROUNDS_MAX];
	size_t count;
};

/** Beyond BENCH_ROUNDS_MAX nothing is added. */
void bench_series_add(struct bench_series *series, double value);
/** 0 for an empty series. */
double bench_series_median(const struct bench_series *series);
/**
 * Distribution-free 95 % interval of the median, by order statistics of the binomial; of fewer than
 * six values it is their range. Source: Conover, "Practical Nonparametric Statistics", 3.2.
 */
void bench_series_interval(const struct bench_series *series, double *ret_low, double *ret_high);

/* ---- report.c: a row ---- */

struct bench_vs {
	const char *name;
	struct bench_series value;
	struct bench_series ratio; /* round by round */
};

struct bench_row {
	const char *metric, *unit;
	char note[160];
	struct bench_series value;
	struct bench_vs vs[BENCH_VS_MAX];
	size_t vs_count;
};

/** Add what one adjacent pair gave: value / limit is its ratio. Names are compared by text. */
void bench_row_pair(struct bench_row *row, const char *limit_name, double value, double limit);
/** Print the row; a table's head goes before the first one. */
void bench_row_print(const struct bench_config *config, const struct bench_row *row);
/** A remark for people: on the table's own line, or with --json to stderr. */
void bench_say(const struct bench_config *config, const char *format, ...) _printf_(2, 3);

/** How many rounds were thrown away, if any were. */
void bench_thrown_say(const struct bench_config *config, size_t thrown);

/* ---- machine.c: what it ran on ---- */

struct bench_times {
	uint64_t busy, idle, steal; /* clock ticks of all CPUs, /proc/stat */
	uint64_t wall_ns;
};

void bench_times_read(struct bench_times *ret_times);
/** Share of CPU time stolen since @p start. */
double bench_times_stolen(const struct bench_times *start);
/** us of CPU time of the whole machine since @p start. */
double bench_times_busy_us(const struct bench_times *start);
/**
 * Print cores, kernel and CPU; warn when there is one core or somebody else is at work (looks for
 * 300 ms). Marks every row after it.
 */
void bench_machine_say(const struct bench_config *config);
/** "" or what the last warning was, for the notes of rows. */
const char *bench_machine_mark(void);

/* ---- measure.c: two functions in this process, beside each other ---- */

/** What is measured: do @p operations of it. Must not be optimised away: return what was read. */
typedef uint64_t (*bench_fn)(void *arg, uint64_t operations);

struct bench_pair {
	const char *metric; /* "codec.request.encode" */
	const char *limit;  /* name of what it is held against */
	const char *note;
	bench_fn run, run_limit;
	void *arg;
};

/** Measure a pair in ns of CPU an operation. */
int bench_pair_run(const struct bench_config *config, const struct bench_pair *pair,
                   struct bench_row *ret_row) _must_check_;
/** The same, and print it. */
int bench_pair_measure(const struct bench_config *config,
                       const struct bench_pair *pair) _must_check_;

/* ---- suites: PR_OK or a negative error, said ---- */

int bench_suite_codec(const struct bench_config *config) _must_check_;
int bench_suite_policy(const struct bench_config *config) _must_check_;
int bench_suite_limits(const struct bench_config *config) _must_check_;
int bench_suite_connect(const struct bench_config *config) _must_check_;
int bench_suite_verdicts(const struct bench_config *config) _must_check_;
int bench_suite_attribution(const struct bench_config *config) _must_check_;
/** Also the last part of the suite agents. */
int bench_suite_inventory(const struct bench_config *config) _must_check_;
int bench_suite_agents(const struct bench_config *config) _must_check_;
