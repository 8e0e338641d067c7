/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/log.h"
#include "base/program.h"
#include "controller/controller.h"

#define LOG_COMPONENT "controller"

static void conf_done(struct controller_conf *conf)
{
	pr_conf_done(controller_conf_rows, controller_conf_row_count, conf);
}

int main(int argc, char **argv)
{
	_cleanup_(conf_done) struct controller_conf conf = { 0 };
	const char *arg_init = NULL;
	const struct pr_program_option options[] = {
		{ "init", NULL, "make keys, store, first policy and first administrator, and exit",
		  &arg_init },
	};
	static const struct pr_man_example examples[] = {
		{ "portreeve-controller --init",
		  "Once: keys, the first policy (observe everything), and a configuration for "
		  "portreeve(1)." },
		{ "portreeve-controller",
		  "Run in the foreground, as a service manager starts it." },
	};
	const struct pr_program program = {
		.name = "portreeve-controller",
		.summary = "Decides the connections that agents ask about.",
		.rows = controller_conf_rows,
		.row_count = controller_conf_row_count,
		.options = options,
		.option_count = PR_ARRAY_LEN(options),
		.examples = examples,
		.example_count = PR_ARRAY_LEN(examples),
	};
	struct pr_conf_error error = { "" };

	switch (pr_program_start(&program, argc, argv, &conf)) {
	case PR_PROGRAM_RUN:
		break;
	case PR_PROGRAM_DONE:
		return EXIT_SUCCESS;
	case PR_PROGRAM_USAGE:
		return 2;
	case PR_PROGRAM_ERROR:
		return EXIT_FAILURE;
	}
	if (controller_conf_check(&conf, &error) != PR_OK) {
		log_error("%s", error.text);
		return EXIT_FAILURE;
	}
	if (arg_init != NULL) {
		return controller_init(&conf) == PR_OK ? EXIT_SUCCESS : EXIT_FAILURE;
	}
	return controller_run(&conf);
}
