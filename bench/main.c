/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/program.h"
#include "bench/bench.h"

struct bench_conf {
	uint64_t runs, operations;
};

static const struct pr_conf_row rows[] = {
	{ .name = "runs",
	  .type = PR_CONF_UINT,
	  .offset = offsetof(struct bench_conf, runs),
	  .min = 3,
	  .max = 1000,
	  .fallback = "20",
	  .doc = "Pairs of runs of each figure." },
	{ .name = "operations",
	  .type = PR_CONF_UINT,
	  .offset = offsetof(struct bench_conf, operations),
	  .min = 1000,
	  .max = 1000000000,
	  .fallback = "200000",
	  .doc = "Operations in one run." },
};

static const struct {
	const char *name, *doc;
	int (*run)(const struct bench_config *config);
} suites[] = {
	{ "codec", "encode and decode hot records, beside copying their bytes", bench_suite_codec },
	{ "policy", "evaluate 10,000 rules, beside 10", bench_suite_policy },
};

static int usage(const char *wrong)
{
	if (wrong != NULL) {
		(void)fprintf(stderr, "portreeve-bench: no suite is called '%s'\n", wrong);
	}
	(void)fputs("usage: portreeve-bench SUITE [--json] [--config FILE]; suites:\n", stderr);
	for (size_t i = 0; i < PR_ARRAY_LEN(suites); i++) {
		(void)fprintf(stderr, "  %-8s %s\n", suites[i].name, suites[i].doc);
	}
	return 2;
}

static int suite_run(const char *name, const struct bench_config *config)
{
	for (size_t i = 0; i < PR_ARRAY_LEN(suites); i++) {
		if (strcmp(suites[i].name, name) != 0) {
			continue;
		}
		if (!config->json) {
			(void)printf("%-28s %13s  %13s  %7s  %8s  %s\n", "METRIC", "MEDIAN",
			             "LIMIT", "RATIO", "SPREAD", "LIMIT IS");
		}
		int ret = suites[i].run(config);
		if (ret != PR_OK) {
			(void)fprintf(stderr, "portreeve-bench: %s: %s\n", name, pr_strerror(ret));
		}
		return ret == PR_OK ? EXIT_SUCCESS : EXIT_FAILURE;
	}
	return usage(name);
}

int main(int argc, char **argv)
{
	const char *arg_json = NULL;
	const char *suite = argc > 1 && argv[1][0] != '-' ? argv[1] : NULL;
	const struct pr_program_option options[] = {
		{ "json", NULL, "one object a line", &arg_json },
	};
	static const struct pr_man_example examples[] = {
		{ "portreeve-bench policy", "Measure the evaluation of rules." },
		{ "portreeve-bench policy --json", "The same, one JSON object a line." },
	};
	const struct pr_program program = {
		.name = "portreeve-bench",
		.summary = "Measures Portreeve's parts beside their limits: portreeve-bench SUITE.",
		.rows = rows,
		.row_count = PR_ARRAY_LEN(rows),
		.options = options,
		.option_count = PR_ARRAY_LEN(options),
		.examples = examples,
		.example_count = PR_ARRAY_LEN(examples),
	};
	struct bench_conf conf = { 0 };

	if (suite != NULL) {
		argv[1] = argv[0];
		argc--;
		argv++;
	}
	enum pr_program_next next = pr_program_start(&program, argc, argv, &conf);
	int status = EXIT_FAILURE;
	if (next == PR_PROGRAM_RUN) {
		const struct bench_config config = { conf.runs, conf.operations, arg_json != NULL };
		status = suite != NULL ? suite_run(suite, &config) : usage(NULL);
	} else if (next == PR_PROGRAM_DONE) {
		status = EXIT_SUCCESS;
	} else if (next == PR_PROGRAM_USAGE) {
		status = 2;
	}
	pr_conf_done(rows, PR_ARRAY_LEN(rows), &conf);
	return status;
}
