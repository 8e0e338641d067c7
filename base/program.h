/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/**
 * @file
 * What every daemon's main() does the same way: options, configuration, signals, readiness.
 * Options of all: --config FILE, --version, --help, --man, --dump-config, --sample-config.
 */

#include <stdbool.h>
#include <stddef.h>

#include "base/conf.h"
#include "base/defs.h"
#include "base/man.h"

/** An option of one program beside the common ones. Long form only. */
struct pr_program_option {
	const char *name;     /* without the dashes */
	const char *argument; /* name shown in --help; NULL: a flag */
	const char *doc;
	const char **value; /* set to the argument, or to "" for a flag */
};

struct pr_program {
	const char *name;    /* "portreeve-agent" */
	const char *summary; /* one line for --help */
	const struct pr_conf_row *rows;
	size_t row_count;
	const struct pr_program_option *options;
	size_t option_count;
	const struct pr_man_example *examples; /* of the manual page */
	size_t example_count;
};

/** What main() does next. */
enum pr_program_next {
	PR_PROGRAM_RUN,   /* configuration loaded */
	PR_PROGRAM_DONE,  /* --help and such were answered: exit 0 */
	PR_PROGRAM_USAGE, /* bad usage, said on stderr: exit 2 */
	PR_PROGRAM_ERROR, /* bad configuration, said on stderr: exit 1 */
};

/**
 * Parse options and load the configuration into @p conf (zeroed by the caller; pr_conf_done() it).
 * Also sets umask 077 and line-buffers stdout.
 */
enum pr_program_next pr_program_start(const struct pr_program *program, int argc, char **argv,
                                      void *conf);

/**
 * Block SIGINT, SIGTERM, SIGHUP (and SIGCHLD when @p children) in this thread and return a
 * signalfd for them. Call before any thread or zmq context exists. SIGPIPE is ignored.
 * Returns the descriptor or -errno.
 */
int pr_program_signals(bool children) _must_check_;

/**
 * Tell the service manager, if NOTIFY_SOCKET is set: "READY=1", "STOPPING=1", "STATUS=...".
 * Source: sd_notify(3), protocol section. Failures are ignored.
 */
void pr_program_notify(const char *state);
