/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/** @file Between the files that make processes of the admin service and the workers. */

#include <stdbool.h>
#include <sys/types.h>

#include "controller/controller.h"
#include "controller/shared.h"

#define CONTROLLER_PATH_BYTES     4096
#define CONTROLLER_KEY_FILE       "controller.key"
#define CONTROLLER_AUTHORITY_FILE "authority.key"
#define CONTROLLER_STORE_FOLDER   "store"
#define CONTROLLER_ADMIN_FILE     "admin.conf"

/** state_directory/NAME. */
void controller_path(const struct controller_conf *conf, const char *name,
                     char path[static CONTROLLER_PATH_BYTES]);
/** The same in the folder of the controller whose store is shared, if there is one. */
void controller_shared_path(const struct controller_conf *conf, const char *name,
                            char path[static CONTROLLER_PATH_BYTES]);
/** tcp://ADDRESS:PORT, with brackets for IPv6. */
void controller_endpoint(const char *address, unsigned port, char *text, size_t size_bytes);

/** What a child process starts with, all made by the supervisor before it forks. */
struct process {
	const struct controller_conf *conf;
	const struct controller_keys *keys;
	struct shared *shared;
	int *hint_fds; /* eventfd of each worker: the store has changed */
	int ready_fd;  /* write one byte when serving */
};

/** Child processes: run until SIGTERM. @return exit status. */
int process_admin(const struct process *process);
int process_worker(const struct process *process, unsigned index);

/** Tell the supervisor that this process serves. */
void process_ready(const struct process *process);

/** Read a signal; true: SIGTERM or SIGINT. */
bool process_stop_asked(int signal_fd);
