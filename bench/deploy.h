/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/**
 * @file
 * Portreeve as it is shipped, on a stage: a controller with two workers and a recorder in one
 * namespace, agents in others, real keys, real enrolment, everything by our own command line.
 */

#include <stdint.h>
#include <sys/types.h>

#include "bench/stage.h"
#include "bus/bus.h"
#include "store/history.h"

#define DEPLOY_SPACE       "ctl" /* namespace of controller and recorder */
#define DEPLOY_ADDRESS     "10.78.0.1"
#define DEPLOY_ADMIN_PORT  7400
#define DEPLOY_WORKER_PORT 7410 /* and the next */
#define DEPLOY_WORKERS     2

struct deploy {
	stage_t *stage;
	pid_t controller, recorder;
};

/**
 * The namespace, keys and store of a controller, without starting it. Errors are said on stderr.
 */
int deploy_init(stage_t *stage, struct deploy *ret_deploy) _must_check_;
/** Start it; it answers when this returns. */
int deploy_run(struct deploy *deploy) _must_check_;
/** Both, and a recorder. */
int deploy_start(stage_t *stage, struct deploy *ret_deploy) _must_check_;
/** A link from another namespace to the controller's, with address 10.78.0.@p host. */
int deploy_attach(struct deploy *deploy, const char *space, unsigned host) _must_check_;
/** The controller's public key, which its workers have as well. */
int deploy_server_key(const struct deploy *deploy,
                      uint8_t ret_key[static BUS_KEY_BYTES]) _must_check_;
/** The store's folder, for filling it before the start. */
void deploy_store_path(const struct deploy *deploy, char path[static 2 * STAGE_PATH_BYTES]);
/**
 * Enrol and start an agent; it is active when this returns. Its process, or a negative error.
 * @param settings  More lines for its configuration; NULL: as shipped.
 */
pid_t deploy_agent(struct deploy *deploy, const char *space, const char *name,
                   const char *settings);
/** Commit a policy; it is in the store when this returns. */
int deploy_commit_only(struct deploy *deploy, const char *policy) _must_check_;
/** Commit a policy, and wait until every worker serves it and every kernel enforces it. */
int deploy_commit(struct deploy *deploy, const char *policy) _must_check_;
/** Events in the recorder's store that fit a query, once the number rests for a second. */
int deploy_events_count(struct deploy *deploy, const char *query, uint64_t *ret_count) _must_check_;
/** All events in the recorder's store, read beside it. */
int deploy_history_each(const stage_t *stage, bool (*visit)(void *arg, const struct store_row *row),
                        void *arg) _must_check_;
