/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/** @file Configuration of portreeve-agent: one table (config.c) drives all that is said of it. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/conf.h"
#include "base/defs.h"

/** Text that is not set is NULL. */
struct agent_config {
	char *state_directory;
	char *name;
	struct pr_conf_list controllers; /* "tcp://ADDRESS:PORT KEY" */
	char *authority_key;
	char *source;
	char *docker_socket;
	char *utmp;
	uint64_t queue, log_group;
	uint64_t mark_mask, mark_allow, mark_reject;
	uint64_t deadline_ns;
	uint64_t copy_bytes, receive_buffer_bytes;
	uint64_t spool_bytes;
	uint64_t questions_max;
	bool ebpf;
	int log_level;
};

extern const struct pr_conf_row agent_config_rows[];
extern const size_t agent_config_row_count;

/** The engine's socket; "" when there is none. */
const char *agent_config_docker_socket(const struct agent_config *config);

/** Where login sessions are read; "": they are not. */
const char *agent_config_utmp(const struct agent_config *config);

/**
 * What one row alone cannot check.
 * @retval PR_ECONF  See @p ret_error.
 */
int agent_config_check(const struct agent_config *config,
                       struct pr_conf_error *ret_error) _must_check_;
