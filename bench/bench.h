/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/**
 * @file
 * Measuring, inside bench/ alone. A figure is always taken beside its limit: the two run in turn,
 * A B A B, and the ratio is that of each pair. Rows go out as a table, or with --json as one object
 * a line: metric, value, unit, vs, ratio, runs, spread, note. Threads: one.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/defs.h"

struct bench_config {
	uint64_t runs;       /* pairs of each figure */
	uint64_t operations; /* in one run of a figure */
	bool json;
};

/** What is measured: do @p operations of it. Must not be optimised away: return what was read. */
typedef uint64_t (*bench_fn)(void *arg, uint64_t operations);

struct bench_pair {
	const char *metric; /* "codec.request.encode" */
	const char *limit;  /* name of what it is held against */
	const char *note;
	bench_fn run, run_limit;
	void *arg;
};

/** Measure a pair in ns of CPU an operation and print it. */
int bench_pair_measure(const struct bench_config *config,
                       const struct bench_pair *pair) _must_check_;

/** Suites. Return PR_OK or a negative error. */
int bench_suite_codec(const struct bench_config *config) _must_check_;
int bench_suite_policy(const struct bench_config *config) _must_check_;
