/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/**
 * @file
 * What lives on this host: the host itself and the containers of its Docker engine, as ENDPOINT
 * documents ready to send.
 *
 * A thread of its own talks to the engine's API over its unix socket: it opens the event stream,
 * then lists, then follows; an engine that is absent, stopped or silent is tried again every
 * INVENTORY_RETRY_MS. After each reconnect everything is listed again and ends with
 * INVENTORY_SYNCED, so that a container that went meanwhile is noticed. The engine's answers are
 * bounded (16 MiB each, 256 labels a container, 4 KiB a label).
 *
 * Threads: inventory_start() and the other functions belong to one thread; the network namespace of
 * the caller of inventory_start() is the host's.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/defs.h"
#include "base/id.h"
#include "codec/codec.h"

#define INVENTORY_RETRY_MS 2000

typedef struct inventory inventory_t;

enum inventory_kind {
	INVENTORY_HOST,   /* the host itself, at start and when its addresses or name change */
	INVENTORY_COMING, /* a container is about to run: it has its name and addresses already */
	INVENTORY_UP,     /* a container runs, or something about it changed */
	INVENTORY_DOWN,   /* it stopped; may come back */
	INVENTORY_GONE,   /* it was removed */
	INVENTORY_SYNCED, /* listing complete: running containers not named since are gone */
	INVENTORY_ENGINE, /* the engine's state changed; see text */
};

struct inventory_change {
	enum inventory_kind kind;
	struct pr_uuid id;     /* of the endpoint */
	int32_t pid;           /* UP: a process in its network namespace */
	uint64_t start_ticks;  /* UP: of pid, field 22 of /proc/PID/stat */
	bool host_network;     /* COMING, UP: it lives in the host's namespace */
	bool joined;           /* COMING, UP: it lives in another container's */
	char container_id[65]; /* COMING, UP: as the engine has it */
	bool engine_up;        /* ENGINE */
	codec_doc_t *endpoint; /* HOST, COMING, UP: an ENDPOINT document, the receiver's */
	char text[160];        /* ENGINE: why it is not reachable */
};

struct inventory_options {
	const char *docker_socket; /* path; "" or NULL: no engine, the host alone */
	struct pr_uuid host;
	const char *host_name; /* "" or NULL: the system's */
	const char *agent_version;
	const char *utmp; /* login sessions; "" or NULL: not read */
};

/**
 * Start the thread. Call with signals blocked.
 * @param ret_inventory  Untouched on failure. Caller destroys.
 */
int inventory_start(const struct inventory_options *options,
                    inventory_t **ret_inventory) _must_check_;
/** Stop the thread (within a second) and free. */
void inventory_destroy(inventory_t **inventory_p);

/** Readable when inventory_next() has something. */
int inventory_fd(const inventory_t *inventory);

/**
 * Take the next change.
 * @retval PR_OK
 * @retval PR_EAGAIN  None waits.
 */
int inventory_next(inventory_t *inventory, struct inventory_change *ret_change) _must_check_;

/** Free what a change holds. */
void inventory_change_done(struct inventory_change *change);
