/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/** @file What the files of agent/inventory/ share. */

#include <jansson.h>
#include <pthread.h>

#include "agent/inventory/guests.h"
#include "agent/inventory/inventory.h"
#include "agent/inventory/listeners.h"
#include "agent/inventory/sessions.h"

#define NETWORK_MAX 256

/* What Podman takes, too, and what it has of its own. */
#define DOCKER_API "/v1.40"
#define PODMAN_API "/v4.0.0/libpod"

/** A network of an engine, as far as addresses need it. */
struct network {
	char id[65];
	char name[129];       /* by which Podman's containers refer to it */
	char bridge[16];      /* interface of the host; empty: none */
	bool global;          /* its addresses mean the same everywhere (macvlan) */
	struct pr_uuid scope; /* of its addresses otherwise */
};

/** What is the same for every endpoint of this host. */
struct host_facts {
	struct pr_uuid id;
	char name[256], version[32], platform[160], processor[128];
	char os[128], os_version[64], manufacturer[128], model[128];
	uint64_t namespace; /* inode */
};

/** What is the same for every container of an engine. */
struct engine_facts {
	const struct host_facts *host;
	enum inventory_engine kind; /* as it says itself, once it has answered */
	struct network networks[NETWORK_MAX];
	size_t network_count;
};

/** What the threads of an inventory share. */
struct shared {
	struct host_facts host;   /* not changed once they run */
	struct changes *changes;  /* the queue, see below */
	guests_t *guests;         /* of all engines */
	int stop_fd;              /* eventfd; readable: leave */
	int look_fd;              /* eventfd; raised: the host is to be looked at again */
	pthread_mutex_t networks; /* an engine's networks change, or are read by another thread */
};

/* changes.c: the queue of changes; any thread may push, one takes */
typedef struct changes changes_t;

int changes_new(changes_t **ret_changes) _must_check_;
void changes_destroy(changes_t **changes_p);
/** Takes the change's parts. Out of memory loses nothing for good: the next list says it. */
void changes_push(changes_t *changes, const struct inventory_change *change);
/** PR_EAGAIN: none waits. */
int changes_next(changes_t *changes, struct inventory_change *ret_change) _must_check_;
/** Readable when one waits. */
int changes_fd(const changes_t *changes);
void eventfd_raise(int fd);
/** Put an eventfd back to not readable. */
void eventfd_clear(int fd);

/* host.c */
void host_facts_read(struct host_facts *facts);
/**
 * ENDPOINT document of the host with its addresses now; NULL: out of memory.
 * @param engines  Whose bridges scope addresses; their networks may not change meanwhile.
 */
codec_doc_t *host_endpoint(const struct host_facts *facts,
                           const struct engine_facts *const *engines, size_t engine_count);
/** Add the addresses of the calling thread's network namespace, all of one scope. */
void host_addresses_add(codec_doc_t *doc, const char *scope);
/** What an endpoint has from its host. */
void host_part_set(codec_doc_t *doc, const struct host_facts *facts);

/* engine.c: one engine, followed by a thread of its own */
typedef struct engine engine_t;

/** @param source  Number of its changes. Borrows @p shared and @p socket_path. */
int engine_new(struct shared *shared, uint8_t source, enum inventory_engine kind,
               const char *socket_path, engine_t **ret_engine) _must_check_;
/** @param others  Engines before it: the same socket is not followed twice. Borrowed. */
int engine_start(engine_t *engine, engine_t *const *others, size_t other_count) _must_check_;
/** Wait for the thread's end, after stop_fd was raised. */
void engine_stop(engine_t *engine);
void engine_destroy(engine_t **engine_p);
/** It has answered once, or been said to be away. */
bool engine_settled(const engine_t *engine);
const struct engine_facts *engine_facts_of(const engine_t *engine);

/* namespace.c: namespaces that the configuration names; all from one thread, the host's */
typedef struct spaces spaces_t;

int spaces_new(struct shared *shared, const char *const *lines, size_t count,
               spaces_t **ret_spaces) _must_check_;
void spaces_destroy(spaces_t **spaces_p);
/** Which are there, and what has changed in them? In a round of looks. */
void spaces_look(spaces_t *spaces, listeners_t *listeners);
/** Polled for POLLPRI: the mounts have changed. -1: none are named. */
int spaces_fd(const spaces_t *spaces);

/* container.c: pure, JSON of the engine in, documents out */
/** Read the list of networks (Docker's form or Podman's); keeps at most NETWORK_MAX. */
void container_networks_read(const json_t *list, struct engine_facts *facts);
/** Read GET /version: which engine is it? */
enum inventory_engine container_engine_read(const json_t *version);
/**
 * Read GET /containers/ID/json.
 * @retval PR_OK      @p ret_change is UP, STOPPED or, if it is going, DOWN; namespace and start
 *                    time are not filled in.
 * @retval PR_EMALF   Not what the engine's API promises.
 */
int container_read(const json_t *inspected, const struct engine_facts *facts,
                   struct inventory_change *ret_change) _must_check_;

/**
 * Read an item of GET /containers/json?all=1, and for each of its networks an object of GET
 * /networks/NAME.
 * @param kind        What one is that does not run: COMING, it may be about to; STOPPED, without
 *                    addresses.
 * @retval PR_OK      @p ret_change is @p kind, or DOWN, if it is going.
 * @retval PR_ENOENT  It runs.
 * @retval PR_EMALF   Not what the engine's API promises.
 */
int container_listed_read(const json_t *listed, const json_t *networks,
                          const struct engine_facts *facts, enum inventory_kind kind,
                          struct inventory_change *ret_change) _must_check_;

/** What an event of the engine asks for. */
enum container_news {
	CONTAINER_NONE,
	CONTAINER_LOOK,     /* at the container */
	CONTAINER_NETWORKS, /* at the networks, then at the container if @p ret_id is not empty */
	CONTAINER_ATTACHED, /* the same, but it may be about to run, */
	CONTAINER_DETACHED, /* or be going */
	CONTAINER_DOWN,     /* it stopped */
	CONTAINER_GONE,     /* it was removed */
};
/**
 * Read an event. Docker inspects a container only when it has started or taken it down: what its
 * events tell of that is told without.
 * @param ret_id  64 hex digits, or empty.
 */
enum container_news container_event_read(const json_t *event, enum inventory_engine kind,
                                         char ret_id[static 65]);

/* refused.c: containers whose page cannot be used, by their ids; more than there is room for are
 * not looked at again before the engine's next word of them */
#define REFUSED_MAX 64

struct refused {
	char ids[REFUSED_MAX][65];
	size_t count;
	uint64_t looked_ns; /* when they were looked at last */
};

/** Put or take out. True: it was there. */
bool refused_set(struct refused *refused, const char *id, bool add);

/* docker.c: HTTP over the unix socket */
typedef struct docker docker_t;

/** @param stop_fd  Readable: whatever is under way ends within a second. Borrowed. */
int docker_open(const char *socket_path, int stop_fd, docker_t **ret_docker) _must_check_;
void docker_destroy(docker_t **docker_p);
/**
 * GET a JSON document, at most 10 s and 16 MiB. @param path  With the version in front.
 * @retval PR_ENOENT  404.
 * @retval PR_EIO     Another status that is no success.
 */
int docker_get(docker_t *docker, const char *path, json_t **ret_json) _must_check_;
/** Open the event stream; returns when the engine has answered. */
int docker_events_open(docker_t *docker) _must_check_;
/**
 * Wait for the next event, for @p wake_fd or for the time.
 * @param ret_event  The caller's; NULL when woken or out of time.
 * @retval PR_EUNREACH  The stream ended.
 */
int docker_events_next(docker_t *docker, int wake_fd, int timeout_ms,
                       json_t **ret_event) _must_check_;

/* coming.c */
/** What container_listed_read() says of a container now, without waiting for the engine. */
int coming_look(docker_t *docker, const struct engine_facts *facts, const char *id,
                enum inventory_kind kind, struct inventory_change *ret_change) _must_check_;
