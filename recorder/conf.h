/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/** @file The recorder's configuration. For recorder/ alone. */

#include "base/conf.h"

struct recorder_conf {
	char *state_directory;
	char *listen;
	char *key_file; /* "": `key` in the state directory */
	struct pr_conf_list controllers;
	char *authority_key;
	uint64_t map_bytes;
	uint64_t keep_bytes;
	uint64_t keep_events;
	char *user; /* NULL or "": stay */
	int log_level;
};

extern const struct pr_conf_row recorder_conf_rows[];
extern const size_t recorder_conf_row_count;
