/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/program.h"
#include "bench/bench.h"
#include "bench/stage.h"

struct bench_conf {
	uint64_t rounds, operations;
};

static const struct pr_conf_row rows[] = {
	{ .name = "rounds",
	  .type = PR_CONF_UINT,
	  .offset = offsetof(struct bench_conf, rounds),
	  .min = 0,
	  .max = BENCH_ROUNDS_MAX,
	  .fallback = "0",
	  .doc = "Adjacent rounds of each figure. 0: as many as its claim needs." },
	{ .name = "operations",
	  .type = PR_CONF_UINT,
	  .offset = offsetof(struct bench_conf, operations),
	  .min = 1000,
	  .max = 1000000000,
	  .fallback = "200000",
	  .doc = "Operations in one round of the suites codec and policy." },
};

static const struct {
	const char *name, *doc;
	int (*run)(const struct bench_config *config);
} suites[] = {
	{ "limits", "what this machine gives at most, with nothing of ours", bench_suite_limits },
	{ "connect", "new connections: none, accept_all, OpenSnitch, Portreeve",
	  bench_suite_connect },
	{ "verdicts", "a worker beside an echo, 10,000 rules, when a commit shows",
	  bench_suite_verdicts },
	{ "agents", "1,000 agents (--full: 10,000) on one controller", bench_suite_agents },
	{ "inventory", "10,000 endpoints: the commands that list them, what a change sends",
	  bench_suite_inventory },
	{ "attribution", "who began it: a storm of short lives, and what knowing costs",
	  bench_suite_attribution },
	{ "codec", "encode and decode hot records, beside copying their bytes", bench_suite_codec },
	{ "policy", "evaluate 10,000 rules, beside 10", bench_suite_policy },
};

static int usage(const char *wrong)
{
	if (wrong != NULL) {
		(void)fprintf(stderr, "portreeve-bench: no suite is called '%s'\n", wrong);
	}
	(void)fputs("usage: portreeve-bench SUITE [--json] [--full] [--config FILE]; suites:\n",
	            stderr);
	for (size_t i = 0; i < PR_ARRAY_LEN(suites); i++) {
		(void)fprintf(stderr, "  %-11s %s\n", suites[i].name, suites[i].doc);
	}
	return 2;
}

static int suite_run(const char *name, const struct bench_config *config)
{
	for (size_t i = 0; i < PR_ARRAY_LEN(suites); i++) {
		if (strcmp(suites[i].name, name) != 0) {
			continue;
		}
		bench_machine_say(config);
		int ret = suites[i].run(config);
		if (stage_interrupted()) {
			(void)fprintf(stderr, "portreeve-bench: interrupted, all is taken down\n");
			return EXIT_FAILURE;
		}
		if (ret != PR_OK) {
			(void)fprintf(stderr, "portreeve-bench: %s: %s%s\n", name, pr_strerror(ret),
			              ret == PR_EPERM   ? ": run as root, it needs namespaces"
			              : ret == PR_EBUSY ? ": another bench runs"
			                                : "");
		}
		return ret == PR_OK ? EXIT_SUCCESS : EXIT_FAILURE;
	}
	return usage(name);
}

int main(int argc, char **argv)
{
	const char *arg_json = NULL, *arg_full = NULL;
	const char *suite = argc > 1 && argv[1][0] != '-' ? argv[1] : NULL;
	const struct pr_program_option options[] = {
		{ "json", NULL, "one object a line", &arg_json },
		{ "full", NULL, "big counts too, which take longer than 5 minutes", &arg_full },
	};
	static const struct pr_man_example examples[] = {
		{ "sudo portreeve-bench connect", "New connections, beside their limits." },
		{ "portreeve-bench policy --json", "Evaluation of rules, one JSON object a line." },
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
		const struct bench_config config = { .rounds = conf.rounds,
			                             .operations = conf.operations,
			                             .json = arg_json != NULL,
			                             .full = arg_full != NULL };
		status = suite != NULL ? suite_run(suite, &config) : usage(NULL);
	} else if (next == PR_PROGRAM_DONE) {
		status = EXIT_SUCCESS;
	} else if (next == PR_PROGRAM_USAGE) {
		status = 2;
	}
	pr_conf_done(rows, PR_ARRAY_LEN(rows), &conf);
	return status;
}
