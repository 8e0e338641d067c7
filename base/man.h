/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/**
 * @file
 * Manual pages from the tables that drive the programs themselves.
 * Source: man(7).
 */

#include <stddef.h>
#include <stdio.h>

#include "base/conf.h"
#include "base/defs.h"

/** A command and what it is for: the first thing on a page. */
struct pr_man_example {
	const char *command, *what;
};

/** Title and NAME. @param section  '1' or '8'. */
void pr_man_begin(FILE *out, const char *name, char section, const char *summary);
/** SYNOPSIS. */
void pr_man_synopsis(FILE *out, const char *usage);
void pr_man_section(FILE *out, const char *title);
/** Text, with all that troff would take for its own made plain; newlines stay. */
void pr_man_text(FILE *out, const char *text);
/** A tagged paragraph: the tag in bold. */
void pr_man_item(FILE *out, const char *tag, const char *text);
/** EXAMPLES, where there are any. */
void pr_man_examples(FILE *out, const struct pr_man_example *examples, size_t count);
/** CONFIGURATION: every name of a file. */
void pr_man_conf(FILE *out, const struct pr_conf_row *rows, size_t count, const char *path);
