/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/**
 * @file
 * Who this recorder is and whom it trusts: its key, the controllers, the authority. From the
 * configuration, or as --enroll left it in the state directory. For recorder/ alone.
 */

#include "base/defs.h"
#include "bus/bus.h"
#include "recorder/conf.h"
#include "store/store.h"

#define RECORDER_CONTROLLERS_MAX 8

struct recorder_controller {
	char endpoint[128];
	uint8_t server_key[BUS_KEY_BYTES];
};

struct recorder_identity {
	struct pr_uuid id;
	struct bus_key key;
	struct recorder_controller controllers[RECORDER_CONTROLLERS_MAX];
	size_t controller_count;
	uint8_t authority_key[BUS_KEY_BYTES];
};

struct recorder_problem {
	char text[512]; /* what, where, what to do */
};

/**
 * @retval PR_EKEYFILE  No key, or one that others may read.
 * @retval PR_ECONF     No controller, or one that cannot be read.
 */
int recorder_identity_load(const struct recorder_conf *conf, store_t *store,
                           struct recorder_identity *ret_identity,
                           struct recorder_problem *problem) _must_check_;

/** "tcp://ADDRESS:PORT KEY". PR_EINVAL. */
int recorder_controller_parse(const char *text,
                              struct recorder_controller *ret_controller) _must_check_;

/**
 * Join with a one-time token: make a key (or take the one that an earlier try left), ask the
 * controller, keep what it answers. Waits up to 15 s. A recorder that has joined already is left
 * as it is.
 *
 * @param token_text  "-": a line of standard input.
 */
int recorder_enroll(const struct recorder_conf *conf, store_t *store, bus_context_t *context,
                    const char *token_text, struct recorder_problem *problem) _must_check_;

/** Path of the key file. False: too long. */
bool recorder_key_path(const struct recorder_conf *conf, char *path, size_t size_bytes);

/* Names of values in the store. */
#define RECORDER_VALUE_CONTROLLER "join.controller" /* as in the configuration */
#define RECORDER_VALUE_AUTHORITY  "join.authority"  /* Z85 */
