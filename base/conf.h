/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/**
 * @file
 * Configuration by table. One row (name, type, bounds, default, unit, doc) drives the parser,
 * --dump-config, the sample file and the manual page. The file is `name = value` lines with `#`
 * comments, also behind a value after a blank; a value may stand in double quotes, with \" and \\
 * inside; a list repeats its name, and `name =` alone empties it. An unknown name, a bad value, a
 * missing or too open key file is an error that names file, line and reason.
 *
 * Threads: load before threads start; the loaded struct is read-only after.
 */

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/defs.h"

enum pr_conf_type {
	PR_CONF_BOOL,     /* bool: yes or no */
	PR_CONF_UINT,     /* uint64_t, plain number; accepts 0x */
	PR_CONF_DURATION, /* uint64_t in ns: "300ms", "5s", "10m", "24h" */
	PR_CONF_SIZE,     /* uint64_t in bytes: "64K", "16M", "64G" */
	PR_CONF_STRING,   /* char * */
	PR_CONF_PATH,     /* char *, must be absolute */
	PR_CONF_KEYFILE,  /* char *, absolute; must be a regular file of ours, mode 0600 or tighter
	                   */
	PR_CONF_ENUM,     /* int: index into choices */
	PR_CONF_UUID,     /* struct pr_uuid */
	PR_CONF_LIST,     /* struct pr_conf_list of strings */
};

struct pr_conf_list {
	char **items;
	size_t count;
};

struct pr_conf_row {
	const char *name;
	enum pr_conf_type type;
	size_t offset; /* of the value in the program's struct */
	/* Numbers: bounds in the unit of the value (ns, bytes); list: of the count; max 0: none. */
	uint64_t min, max;
	/* As text in a file, a list's items with commas between. NULL: the name is required;
	   "": none, that is NULL, zero or an empty list. */
	const char *fallback;
	const char *const *choices; /* ENUM: NULL-terminated */
	const char *unit;           /* for people: "ns" is never shown, "ms" is; NULL: none */
	const char *doc;            /* one or two sentences */
};

/** What was wrong, ready to print: "file:line: reason". */
struct pr_conf_error {
	char text[512];
};

/**
 * Fill @p conf from defaults and then from @p path.
 *
 * @param path       File to read, or NULL for defaults only.
 * @param conf       The program's struct, zeroed by the caller.
 * @param ret_error  Filled on failure.
 *
 * @retval PR_OK
 * @retval PR_ECONF     Unknown name, bad value, required name missing; see @p ret_error.
 * @retval PR_EKEYFILE  A key file is missing or too open; see @p ret_error.
 *
 * Owns: strings in @p conf; free with pr_conf_done(), also after a failure.
 */
int pr_conf_load(const struct pr_conf_row *rows, size_t count, const char *path, void *conf,
                 struct pr_conf_error *ret_error) _must_check_;
void pr_conf_done(const struct pr_conf_row *rows, size_t count, void *conf);

/** Every value in force, as a file that loads again. */
void pr_conf_dump(const struct pr_conf_row *rows, size_t count, const void *conf, FILE *out);

/** The sample file: each row with doc, type, bounds, unit and default, commented out. */
void pr_conf_sample(const struct pr_conf_row *rows, size_t count, const char *program, FILE *out);
