/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/** @file The parts of the running daemon. For recorder/ alone. */

#include <stdbool.h>
#include <stdint.h>

#include "base/defs.h"
#include "bus/bus.h"
#include "codec/codec.h"
#include "recorder/answers.h"
#include "recorder/comments.h"
#include "recorder/conf.h"
#include "recorder/groups.h"
#include "recorder/identity.h"
#include "recorder/ingest.h"
#include "recorder/link.h"
#include "recorder/names.h"
#include "recorder/users.h"
#include "store/history.h"
#include "store/store.h"

/* Frames that were refused, by reason. */
struct daemon_counters {
	uint64_t role;      /* this role may not send that */
	uint64_t malformed; /* documents that do not decode, or have no business here */
	uint64_t names_refused;
};

struct daemon {
	struct recorder_conf conf;
	const char *enroll_token; /* NULL: none */
	struct recorder_identity identity;
	int signal_fd;
	store_t *store;
	store_history_t *history;
	bus_keyring_t *keyring;
	bus_context_t *context;
	bus_server_t *server;
	recorder_names_t *names;
	recorder_comments_t *comments;
	recorder_groups_t *groups;
	recorder_ingest_t *ingest;
	recorder_answers_t *answers;
	recorder_link_t *link;
	struct daemon_counters counters;
	uint64_t now_ns; /* of this turn of the loop */
	uint64_t started_ns;
	uint64_t ticked_ns;  /* last once-a-second work */
	uint64_t readers_ns; /* last look for dead readers */
	int commit_err;      /* of the last try; for logging changes only */
	bool stop;
};

/** For answers: PR_OK, PR_EAGAIN, or the peer has gone. */
int daemon_send(void *daemon, const struct bus_route *route, const void *data, size_t size_bytes);

/** Act on a frame. */
void daemon_frame(struct daemon *daemon, const struct bus_frame *frame);

/** STATUS, then END. */
void daemon_status_send(struct daemon *daemon, const struct bus_frame *frame, uint64_t id);

/** Encode and send; what the peer cannot take now is left out. */
void daemon_doc_send(struct daemon *daemon, const struct bus_route *route, const codec_doc_t *doc);

/** ERROR. */
void daemon_error_send(struct daemon *daemon, const struct bus_route *route, uint64_t id, int err,
                       const char *text);

/** Commit what is due and log when the store begins or ends to refuse. */
void daemon_commit(struct daemon *daemon);
