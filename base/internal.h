/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/** @file One value of the configuration, between text and memory. Only for conf*.c. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/conf.h"
#include "base/defs.h"

#define CONF_REASON_BYTES 256

/**
 * Parse @p text into the row's place in @p conf; a list grows by one item.
 *
 * @retval PR_OK
 * @retval PR_ECONF   @p reason says why, without file and line.
 * @retval PR_ENOMEM
 */
int conf_value_parse(const struct pr_conf_row *row, const char *text, void *conf,
                     char reason[static CONF_REASON_BYTES]) _must_check_;

/** Back to none: zero, NULL or an empty list; frees what was there. */
void conf_value_clear(const struct pr_conf_row *row, void *conf);

bool conf_value_is_none(const struct pr_conf_row *row, const void *conf);

/** Print as conf_value_parse() reads it. Not for lists: print their items as strings. */
void conf_value_print(const struct pr_conf_row *row, const void *conf, FILE *out);

/** Print text, in quotes where a file needs them. */
void conf_text_print(const char *text, FILE *out);

/** Print a number in the row's unit: "300ms", "64K", "7400". */
void conf_number_print(enum pr_conf_type type, uint64_t number, FILE *out);

/** Check that a key file is a regular file of ours, 0600 or tighter; reason as above. */
int conf_key_file_check(const char *path, char reason[static CONF_REASON_BYTES]) _must_check_;
