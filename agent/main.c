/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdio.h>
#include <stdlib.h>

#include "agent/agent.h"
#include "agent/internal.h"
#include "base/err.h"
#include "base/log.h"
#include "base/program.h"

#define LOG_COMPONENT "agent"

static const char *arg_enroll, *arg_remove_rules;

static const struct pr_program_option options[] = {
	{ "enroll", "TOKEN",
	  "join with a token of `portreeve enroll` (-: from standard input), and exit",
	  &arg_enroll },
	{ "remove-rules", NULL,
	  "take our rules out of this network namespace and those of the engine's containers, and "
	  "exit",
	  &arg_remove_rules },
};

static const struct pr_man_example examples[] = {
	{ "portreeve enroll --name web1 | portreeve-agent --enroll -",
	  "Enrol this host: the first command, on an administrator's machine, prints a token." },
	{ "portreeve-agent", "Run in the foreground, as a service manager starts it." },
	{ "portreeve-agent --remove-rules",
	  "Take out every rule that an agent that is gone has left." },
};

static const struct pr_program program = {
	.name = "portreeve-agent",
	.summary = "Holds or copies the new connections of this host and its containers.",
	.rows = agent_config_rows,
	.options = options,
	.option_count = PR_ARRAY_LEN(options),
	.examples = examples,
	.example_count = PR_ARRAY_LEN(examples),
};

static int failed(const struct agent_problem *problem)
{
	log_error("%s", problem->text);
	return EXIT_FAILURE;
}

static int enroll(const struct agent_config *config)
{
	struct agent_problem problem = { "" };
	bool pending = false;

	if (agent_enroll(config, arg_enroll, &pending, &problem) != PR_OK) {
		return failed(&problem);
	}
	(void)printf("joined%s\n", pending ? "; waits for `portreeve agent approve`" : "");
	return EXIT_SUCCESS;
}

static int run(const struct agent_config *config)
{
	_cleanup_(agent_destroy) agent_t *agent = NULL;
	_cleanup_(pr_fd_close) int signal_fd = pr_program_signals(false);
	struct agent_identity identity;
	struct agent_problem problem = { "" };

	if (signal_fd < 0) {
		log_error("signals: %s", pr_strerror(signal_fd));
		return EXIT_FAILURE;
	}
	int ret = agent_state_directory(config, &problem);
	if (ret == PR_OK) {
		ret = agent_identity_load(config, &identity, &problem);
	}
	if (ret == PR_OK) {
		ret = agent_privilege_drop(&problem);
	}
	if (ret == PR_OK) {
		ret = agent_new(config, &identity, signal_fd, &agent, &problem);
		agent_identity_wipe(&identity);
	}
	if (ret != PR_OK) {
		return failed(&problem);
	}
	ret = agent_run(agent);
	if (ret != PR_OK) {
		log_error("%s", pr_strerror(ret));
	}
	return ret == PR_OK ? EXIT_SUCCESS : EXIT_FAILURE;
}

int main(int argc, char **argv)
{
	struct agent_config config = { 0 };
	struct pr_conf_error error = { "" };
	struct agent_problem problem = { "" };
	struct pr_program this_program = program;
	int status = EXIT_FAILURE;

	this_program.row_count = agent_config_row_count;
	enum pr_program_next next = pr_program_start(&this_program, argc, argv, &config);
	if (next != PR_PROGRAM_RUN) {
		pr_conf_done(agent_config_rows, agent_config_row_count, &config);
		return next == PR_PROGRAM_DONE ? EXIT_SUCCESS : next == PR_PROGRAM_USAGE ? 2 : 1;
	}
	pr_log_set_level((enum pr_log_level)config.log_level);
	if (agent_config_check(&config, &error) != PR_OK) {
		log_error("configuration: %s", error.text);
	} else if (arg_enroll != NULL) {
		status = enroll(&config);
	} else if (arg_remove_rules != NULL) {
		status = agent_rules_remove(&config, &problem) == PR_OK ? EXIT_SUCCESS
		                                                        : failed(&problem);
	} else {
		status = run(&config);
	}
	pr_conf_done(agent_config_rows, agent_config_row_count, &config);
	return status;
}
