/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/**
 * @file
 * What lives on this host: the host itself, the containers of its engines (Docker, Podman) and the
 * network namespaces that the configuration names, as ENDPOINT documents ready to send.
 *
 * A thread for each engine talks to its API over its unix socket: it opens the event stream, then
 * lists, then follows; an engine that is absent, stopped or silent is tried again every
 * INVENTORY_RETRY_MS, one that was there and takes no connection every INVENTORY_RETURN_MS. After
 * each reconnect everything is listed again and ends with INVENTORY_SYNCED, so that a container
 * that went meanwhile is noticed. The engine's answers are bounded (16 MiB each, labels of 128 KiB,
 * 512 KiB of them a container). Host and named namespaces are looked at by one more thread.
 *
 * Every change has a source: 0 for the host and the named namespaces, from 1 the engines.
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

#define INVENTORY_RETRY_MS      2000
#define INVENTORY_RETURN_MS     200 /* for an engine that was there: it may be starting again */
#define INVENTORY_PODMAN_MAX    8   /* sockets */
#define INVENTORY_NAMESPACE_MAX 64  /* named ones */
#define INVENTORY_STOPPED_MAX   500 /* containers of an engine that do not run, the newest */
#define INVENTORY_SOURCE_MAX    (2 + INVENTORY_PODMAN_MAX)
#define INVENTORY_NAME_BYTES    64  /* of a named namespace */
#define INVENTORY_PATH_BYTES    200 /* of its file */

typedef struct inventory inventory_t;

enum inventory_engine { INVENTORY_DOCKER, INVENTORY_PODMAN };

enum inventory_kind {
	INVENTORY_HOST,    /* the host itself, at start and when its addresses or name change */
	INVENTORY_COMING,  /* a container is about to run: it has its name and addresses already */
	INVENTORY_UP,      /* a container runs, or something about it changed */
	INVENTORY_STOPPED, /* a container does not run, and is there */
	INVENTORY_DOWN,    /* it stopped; may come back, or be removed at once */
	INVENTORY_GONE,    /* it was removed */
	INVENTORY_SYNCED,  /* listing complete: what the source has not named since is gone */
	INVENTORY_ENGINE,  /* an engine's state changed; see text */
};

struct inventory_change {
	enum inventory_kind kind;
	uint8_t source;
	struct pr_uuid id;    /* of the endpoint */
	int32_t pid;          /* UP: a process in its network namespace; 0: path names that */
	uint64_t start_ticks; /* UP: of pid, field 22 of /proc/PID/stat */
	uint64_t inode;       /* UP with a path: of the namespace that was seen there */
	bool host_network;    /* COMING, UP, STOPPED: it lives in the host's namespace */
	bool joined; /* COMING, UP, STOPPED: it lives in another's that is not the host's */
	char container_id[65]; /* COMING, UP, STOPPED: as the engine has it; empty: a named
	                          namespace */
	bool engine_up;        /* ENGINE */
	bool expected;         /* ENGINE: nobody need be warned */
	codec_doc_t *endpoint; /* HOST, COMING, UP, STOPPED: an ENDPOINT document, the receiver's */
	char *path;            /* UP: file of the namespace; the receiver frees it; NULL: by pid */
	char text[192];        /* ENGINE: what is to be said */
};

struct inventory_options {
	const char *docker_socket; /* path; "" or NULL: no such engine */
	const char *const *podman_sockets;
	size_t podman_count;
	const char *const *namespaces; /* "NAME PATH [global]", see inventory_namespace_read() */
	size_t namespace_count;
	struct pr_uuid host;
	const char *host_name; /* "" or NULL: the system's */
	const char *agent_version;
	const char *utmp; /* login sessions; "" or NULL: not read */
};

/** A namespace as the configuration names it. */
struct inventory_namespace {
	char name[INVENTORY_NAME_BYTES];
	char path[INVENTORY_PATH_BYTES];
	bool global; /* its addresses mean the same on every host */
};

/**
 * Read "NAME PATH [global]".
 * @param ret_why  What is wrong with it; a constant.
 * @retval PR_OK
 * @retval PR_EINVAL
 */
int inventory_namespace_read(const char *line, struct inventory_namespace *ret_namespace,
                             const char **ret_why) _must_check_;

/** Engines that these options name. */
size_t inventory_engines(const struct inventory_options *options);

/** Sources that an inventory with these options has. */
size_t inventory_sources(const struct inventory_options *options);

/**
 * Start the threads. Call with signals blocked. Copies @p options.
 * @param ret_inventory  Untouched on failure. Caller destroys.
 */
int inventory_start(const struct inventory_options *options,
                    inventory_t **ret_inventory) _must_check_;
/** Stop the threads (within a second or two) and free. */
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
