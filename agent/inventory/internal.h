/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <jansson.h>

#include "agent/inventory/inventory.h"
#include "agent/inventory/listeners.h"
#include "agent/inventory/sessions.h"

#define NETWORK_MAX 256

/** A network of the engine, as far as addresses need it. */
struct network {
	char id[65];
	char bridge[16]; /* interface of the host; empty: none */
	bool global;     /* its addresses mean the same everywhere (macvlan) */
};

/** What is the same for every endpoint of this host. */
struct host_facts {
	struct pr_uuid id;
	char name[256], version[32], platform[160], processor[128];
	char os[128], os_version[64], manufacturer[128], model[128];
	struct network networks[NETWORK_MAX];
	size_t network_count;
};

/* host.c */
void host_facts_read(struct host_facts *facts);
/** ENDPOINT document of the host with its addresses now; NULL: out of memory. */
codec_doc_t *host_endpoint(const struct host_facts *facts);

/* container.c: pure, JSON of the engine in, documents out */
/** Read GET /networks; keeps at most NETWORK_MAX. */
void container_networks_read(const json_t *list, struct host_facts *facts);
/**
 * Read GET /containers/ID/json.
 * @retval PR_OK      @p ret_change is UP or DOWN; namespace and start time are not filled in.
 * @retval PR_EMALF   Not what the engine's API promises.
 */
int container_read(const json_t *inspected, const struct host_facts *facts,
                   struct inventory_change *ret_change) _must_check_;

/**
 * Read an item of GET /containers/json?all=1, and for each of its networks an object of GET
 * /networks/NAME.
 * @retval PR_OK      @p ret_change is COMING, if it may be about to run; DOWN, if it is going.
 * @retval PR_ENOENT  It runs.
 * @retval PR_EMALF   Not what the engine's API promises.
 */
int container_coming_read(const json_t *listed, const json_t *networks,
                          const struct host_facts *facts,
                          struct inventory_change *ret_change) _must_check_;

/* docker.c: HTTP over the unix socket */
typedef struct docker docker_t;

int docker_open(const char *socket_path, docker_t **ret_docker) _must_check_;
void docker_destroy(docker_t **docker_p);
/** GET a JSON document, at most 10 s and 16 MiB. PR_ENOENT for 404. */
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
/** What container_coming_read() says of a container now, without waiting for the engine. */
int coming_look(docker_t *docker, const struct host_facts *facts, const char *id,
                struct inventory_change *ret_change) _must_check_;
