/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <string.h>
#include <sys/stat.h>

#include "base/err.h"
#include "cli/cli.h"

int cli_main(int argc, const char *const *argv, FILE *out, FILE *err)
{
	struct cli cli = { .out = out, .err = err };
	int status = cli_options_parse(argc, argv, err, &cli.options, &cli.command);

	if (status != CLI_DONE) {
		return status;
	}
	(void)umask(077);
	cli.style = cli_style_of(out);
	if (cli.options.version) {
		return cli_run_version(&cli);
	}
	if (cli.options.help) {
		cli_help_print(out, cli.command);
		return CLI_DONE;
	}
	if (cli.command == NULL) {
		cli_help_print(err, NULL);
		return CLI_USAGE;
	}
	status = cli.command->run(&cli);
	cli_session_done(&cli.session);
	/* A reader that has gone had what it wanted. */
	if (fflush(out) != 0 && status == CLI_DONE && errno != EPIPE) {
		return cli_fail(&cli, CLI_ERROR, "standard output: %s", pr_strerror(-errno));
	}
	return status;
}
