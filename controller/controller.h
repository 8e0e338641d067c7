/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/**
 * @file
 * The controller daemon: configuration, files, and what main() runs.
 *
 * Processes: a supervisor that never has a zmq context or an LMDB environment; its children are the
 * admin service and the workers, each with its own of both. A child that ends is started again.
 *
 * Files in state_directory (0700), all made by `portreeve-controller --init`:
 *   controller.key  Curve key of admin service and workers, with the controller's UUID (0600)
 *   authority.key   Ed25519 key that signs directory and states (0600)
 *   store/          LMDB: policy, identity directory, enrolled keys
 *   admin.key       Curve key of the first administrator (0600), with admin.conf for the CLI;
 *                   may be moved elsewhere
 *
 * A second controller of the same machine names the first one's folder as `share`: it has a
 * controller.key of its own, and uses that folder's authority.key and store/. Both serve the same
 * policy and the same endpoints, each with its own workers; the signed directory names both.
 */

#include <stddef.h>
#include <stdint.h>

#include "base/conf.h"
#include "base/defs.h"
#include "base/id.h"
#include "bus/bus.h"

#define CONTROLLER_WORKERS_MAX 64

struct controller_conf {
	char *state_directory;
	char *share; /* state_directory of the controller whose store this one uses; NULL: own */
	char *listen;
	char *advertise;
	uint64_t port;
	uint64_t worker_port;
	uint64_t workers;
	char *recorder;
	uint64_t map_bytes;
	char *user;         /* NULL: stay */
	char *admin_config; /* NULL: in state_directory */
};

extern const struct pr_conf_row controller_conf_rows[];
extern const size_t controller_conf_row_count;

/** What the table cannot check: addresses. @p ret_error as pr_conf_load(). PR_ECONF. */
int controller_conf_check(const struct controller_conf *conf,
                          struct pr_conf_error *ret_error) _must_check_;

/** Keys of a running controller. */
struct controller_keys {
	struct pr_uuid id; /* of the controller */
	struct bus_key curve;
	struct bus_sign_key authority;
};

/**
 * Read the keys. Logs what is wrong, with the path.
 * @retval PR_EKEYFILE
 */
int controller_keys_load(const struct controller_conf *conf,
                         struct controller_keys *ret_keys) _must_check_;
void controller_keys_wipe(struct controller_keys *keys);

/** UUID of worker @p index: made of the controller's, so that it outlives restarts. */
struct pr_uuid controller_worker_id(const struct pr_uuid *controller, unsigned index);

/**
 * First start: keys, store with an empty policy (revision 1, everything in observe), the first
 * administrator's key and CLI configuration. What is already there stays as it is; says on stdout
 * what it made.
 * @return PR_OK, or an error that was logged.
 */
int controller_init(const struct controller_conf *conf) _must_check_;

/** Run until SIGTERM or SIGINT. @return exit status. */
int controller_run(const struct controller_conf *conf);
