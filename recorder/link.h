/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/**
 * @file
 * The link to a controller: who is enrolled (asked every second, kept in the store for when the
 * controller is away) and the texts of revisions. Another controller is tried when one does not
 * answer. One thread; never blocks.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/defs.h"
#include "bus/bus.h"
#include "recorder/comments.h"
#include "recorder/identity.h"
#include "store/store.h"

#define RECORDER_PEERS_NS  PR_NS_PER_S       /* between two requests for the keys */
#define RECORDER_ANSWER_NS (5 * PR_NS_PER_S) /* until another controller is tried */
#define RECORDER_PEERS_MAX 100000

struct recorder_link_setup {
	const struct recorder_identity *identity; /* all borrowed */
	bus_context_t *context;
	bus_keyring_t *keyring;
	store_t *store;
	recorder_comments_t *comments;
};

typedef struct recorder_link recorder_link_t;

/** Fills the keyring from the store, and starts to connect. */
int recorder_link_new(const struct recorder_link_setup *setup,
                      recorder_link_t **ret_link) _must_check_;
void recorder_link_destroy(recorder_link_t **link_p);

/** For poll; changes when another controller is tried. -1: none now. */
int recorder_link_fd(const recorder_link_t *link);

/**
 * Take what came and send what is due. Call when readable and at least each second; true: call
 * again before you poll.
 */
bool recorder_link_run(recorder_link_t *link, uint64_t now_ns);

struct recorder_link_state {
	bool up;
	uint64_t answered_ns; /* last complete list of keys; 0: never in this run */
	size_t peers;         /* in the keyring */
	const char *endpoint;
};
void recorder_link_state(recorder_link_t *link, struct recorder_link_state *ret_state);
