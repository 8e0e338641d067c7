/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/** @file Configuration of portreeve-agent: one table (config.c) drives all that is said of it. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/inventory/inventory.h"
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
	struct pr_conf_list podman_sockets;
	struct pr_conf_list namespaces; /* "NAME PATH [global]" */
	char *utmp;
	uint64_t queue, log_group;
	uint64_t mark_mask, mark_allow, mark_reject;
	uint64_t deadline_ns;
	uint64_t copy_bytes, receive_buffer_bytes;
	uint64_t spool_bytes;
	uint64_t questions_max;
	bool ebpf, share_cpu;
	int log_level;
};

extern const struct pr_conf_row agent_config_rows[];
extern const size_t agent_config_row_count;

/** What is to be watched on this host; borrows from @p config. Nothing else is set. */
struct inventory_options agent_config_inventory(const struct agent_config *config);

/**
 * What one row alone cannot check.
 * @retval PR_ECONF  See @p ret_error.
 */
int agent_config_check(const struct agent_config *config,
                       struct pr_conf_error *ret_error) _must_check_;
