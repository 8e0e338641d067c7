/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What an engine's containers are, and what became of them. */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "agent/inventory/engine.h"
#include "base/cgroup.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/process.h"

#define LOG_COMPONENT "inventory"
#include "base/log.h"

#define REFUSED_RETRY_MS 10000
#define PATH_BYTES       128
#define AGAIN_MS         100
#define SANDBOX          "/proc/%d/ns/net"

void engine_push(engine_t *engine, struct inventory_change change)
{
	change.source = engine->source;
	changes_push(engine->shared->changes, &change);
}

/* ---- running containers ---- */

static void running_remove(engine_t *engine, const char *id)
{
	for (struct running **at = &engine->running; *at != NULL; at = &(*at)->next) {
		if (strcmp((*at)->id, id) == 0) {
			struct running *gone = *at;
			*at = gone->next;
			free(gone);
			return;
		}
	}
}

/* Out of memory: its listeners are not followed until it is listed again. */
static void running_put(engine_t *engine, const char *id, pid_t pid, bool guest, uint64_t listeners)
{
	running_remove(engine, id);
	struct running *running = calloc(1, sizeof(*running));
	if (running != NULL) {
		(void)snprintf(running->id, sizeof(running->id), "%s", id);
		running->pid = pid;
		running->guest = guest;
		running->listeners = listeners;
		running->next = engine->running;
		engine->running = running;
	}
}

void engine_containers_done(engine_t *engine)
{
	while (engine->running != NULL) {
		struct running *gone = engine->running;
		engine->running = gone->next;
		free(gone);
	}
}

/* In groups that do not carry its id others may be: what listens there stays its neighbour's. */
static void guest_tell(engine_t *engine, const char *id, const struct inventory_change *change)
{
	char own[PR_CGROUP_TEXT_BYTES];
	bool guest = change->host_network || change->joined;

	if (change->kind == INVENTORY_UP && guest &&
	    pr_cgroup_own_read(change->pid, id, own, sizeof(own)) && pr_cgroup_named(own, id)) {
		guests_set(engine->shared->guests, id, own);
	} else {
		guests_remove(engine->shared->guests, id);
	}
}

/* The listeners of a container's own namespace, or its own in one that it shares. */
static void container_listeners(engine_t *engine, const char *id,
                                const struct inventory_change *change)
{
	bool guest = change->host_network || change->joined;
	char path[PATH_BYTES];

	guest_tell(engine, id, change);
	if (change->kind != INVENTORY_UP || engine->listeners == NULL) {
		running_remove(engine, id);
		return;
	}
	(void)snprintf(path, sizeof(path), SANDBOX, (int)change->pid);
	running_put(engine, id, change->pid, guest,
	            listeners_add(engine->listeners, path, guest ? id : NULL, change->endpoint));
}

/* Its control group, for people and selectors. */
static void groups_add(struct inventory_change *change)
{
	char own[PR_CGROUP_TEXT_BYTES], path[PR_CGROUP_TEXT_BYTES];

	if (pr_cgroup_own_read(change->pid, change->container_id, own, sizeof(own))) {
		pr_cgroup_shown(own, path, sizeof(path));
		codec_doc_set_text(change->endpoint, CODEC_ENDPOINT_CGROUP, path);
	}
}

/*
 * The inode decides whose the network is, not the engine's word: a pod may be the host's, and the
 * host of an engine's word need not be ours.
 */
static void network_decide(const struct host_facts *host, uint64_t inode,
                           struct inventory_change *change)
{
	bool guest = change->host_network || change->joined;

	change->host_network = inode == host->namespace;
	change->joined = guest && !change->host_network;
}

static void process_facts_add(const struct host_facts *host, struct inventory_change *change)
{
	char path[PATH_BYTES];
	struct stat namespace;

	change->start_ticks = pr_process_start_ticks(change->pid);
	(void)snprintf(path, sizeof(path), SANDBOX, (int)change->pid);
	if (stat(path, &namespace) == 0) {
		codec_doc_set_u64(change->endpoint, CODEC_ENDPOINT_NAMESPACE, namespace.st_ino);
		network_decide(host, namespace.st_ino, change);
	}
	groups_add(change);
}

/* DOWN or GONE. */
void engine_container_end(engine_t *engine, enum inventory_kind kind, const char *id)
{
	running_remove(engine, id);
	guests_remove(engine->shared->guests, id);
	(void)refused_set(&engine->refused, id, false);
	engine_push(engine,
	            (struct inventory_change){ .kind = kind, .id = pr_uuid_of_container(id) });
}

/* Podman fails on one that it is just removing: a moment later it is gone, or well. */
static int container_inspect(docker_t *docker, const char *id, json_t **ret_inspected)
{
	char path[PATH_BYTES];

	(void)snprintf(path, sizeof(path), DOCKER_API "/containers/%s/json", id);
	int ret = docker_get(docker, path, ret_inspected);
	if (ret == PR_EIO) {
		(void)poll(NULL, 0, AGAIN_MS);
		ret = docker_get(docker, path, ret_inspected);
	}
	return ret;
}

/*
 * One whose page cannot be used hides no others. Said once; looked at again now and then, and at
 * the engine's next word of it.
 */
static bool container_refuse(engine_t *engine, const char *id, int error)
{
	if (error != PR_EMALF && error != PR_ETOOBIG && error != PR_EIO) {
		return false; /* the engine's own trouble */
	}
	if (!refused_set(&engine->refused, id, true)) {
		log_warn("container %.12s: what the engine at %s says of it is not usable: %s; it "
		         "stays as it was known, or unknown",
		         id, engine->socket_path, pr_strerror(error));
	}
	return true;
}

int engine_container_refresh(engine_t *engine, docker_t *docker, const char *id)
{
	json_t *inspected = NULL;
	struct inventory_change change;

	if (strlen(id) != 64 || strspn(id, "0123456789abcdef") != 64) {
		return PR_OK;
	}
	int ret = container_inspect(docker, id, &inspected);
	if (ret == PR_ENOENT) { /* gone between event and look */
		engine_container_end(engine, INVENTORY_GONE, id);
		return PR_OK;
	}
	if (ret == PR_OK) {
		ret = container_read(inspected, &engine->facts, &change);
		json_decref(inspected);
	}
	if (ret != PR_OK) {
		return container_refuse(engine, id, ret) ? PR_OK : ret;
	}
	(void)refused_set(&engine->refused, id, false);
	if (change.kind == INVENTORY_UP) {
		process_facts_add(&engine->shared->host, &change);
	}
	container_listeners(engine, id, &change);
	engine_push(engine, change);
	return PR_OK;
}

/* ---- those that do not run ---- */

/* There may be any number of them, with labels of any size: as many as an answer may be long. */
static int stopped_get(docker_t *docker, json_t **ret_list)
{
	char path[256];
	int ret = PR_ETOOBIG;

	for (unsigned most = INVENTORY_STOPPED_MAX + 1; most > 0 && ret == PR_ETOOBIG; most /= 8) {
		(void)snprintf(path, sizeof(path),
		               DOCKER_API "/containers/json?all=1&limit=%u&filters="
		                          "%%7B%%22status%%22%%3A%%5B%%22created%%22%%2C%%22exited"
		                          "%%22%%5D%%7D",
		               most);
		ret = docker_get(docker, path, ret_list);
	}
	return ret;
}

static void stopped_say(engine_t *engine, const char *why)
{
	if (!engine->stopped_said) {
		log_warn("of the containers at %s that do not run %s", engine->socket_path, why);
	}
	engine->stopped_said = true;
}

int engine_stopped_list(engine_t *engine, docker_t *docker)
{
	json_t *list = NULL;
	struct inventory_change change;
	char why[128];

	int ret = stopped_get(docker, &list);
	if (ret == PR_EIO || ret == PR_EMALF || ret == PR_ETOOBIG || ret == PR_ENOENT) {
		(void)snprintf(why, sizeof(why), "nothing is known: %s", pr_strerror(ret));
		stopped_say(engine, why);
		return PR_OK;
	}
	if (ret != PR_OK) {
		return ret;
	}
	size_t count = json_array_size(list);
	if (count > INVENTORY_STOPPED_MAX) {
		(void)snprintf(why, sizeof(why), "the newest %u alone are told",
		               INVENTORY_STOPPED_MAX);
		stopped_say(engine, why);
		count = INVENTORY_STOPPED_MAX;
	}
	for (size_t i = 0; i < count; i++) {
		if (container_listed_read(json_array_get(list, i), NULL, &engine->facts,
		                          INVENTORY_STOPPED, &change) == PR_OK &&
		    change.kind == INVENTORY_STOPPED) {
			engine_push(engine, change);
		}
	}
	json_decref(list);
	return PR_OK;
}

/* ---- what no event tells ---- */

static int containers_look(engine_t *engine, docker_t *docker)
{
	char id[65], path[PATH_BYTES];
	int ret = PR_OK;

	/* A refresh takes the container out of the list and puts it in front: next stays. */
	for (struct running *at = engine->running; at != NULL && ret == PR_OK;) {
		struct running *next = at->next;
		(void)snprintf(path, sizeof(path), SANDBOX, (int)at->pid);
		uint64_t now = listeners_look(engine->listeners, path, at->guest ? at->id : NULL);
		if (now != 0 && now != at->listeners) {
			(void)snprintf(id, sizeof(id), "%s", at->id);
			ret = engine_container_refresh(engine, docker, id);
		}
		at = next;
	}
	return ret;
}

static int refused_look(engine_t *engine, docker_t *docker, uint64_t now_ns)
{
	struct refused *refused = &engine->refused;
	char id[65];
	int ret = PR_OK;

	if (now_ns - refused->looked_ns < REFUSED_RETRY_MS * PR_NS_PER_MS) {
		return PR_OK;
	}
	refused->looked_ns = now_ns;
	/* From behind: one that is taken out makes room for the last one. */
	for (size_t i = refused->count; i > 0 && ret == PR_OK; i--) {
		(void)snprintf(id, sizeof(id), "%s", refused->ids[i - 1]);
		ret = engine_container_refresh(engine, docker, id);
	}
	return ret;
}

int engine_containers_look(engine_t *engine, docker_t *docker, uint64_t now_ns)
{
	int ret = containers_look(engine, docker);

	return ret == PR_OK ? refused_look(engine, docker, now_ns) : ret;
}
