/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/inventory/internal.h"
#include "base/cgroup.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/process.h"

#define LOG_COMPONENT "inventory"
#include "base/log.h"

#define REFRESH_MS       2000
#define REFUSED_RETRY_MS 10000
#define PATH_BYTES       128
#define AGAIN_MS         100
#define SANDBOX          "/proc/%d/ns/net"

/* A running container. */
struct running {
	struct running *next;
	char id[65];
	bool guest; /* it has no network of its own */
	pid_t pid;
	uint64_t listeners; /* fingerprint of what was sent */
};

struct engine {
	struct shared *shared;
	const char *socket_path;
	enum inventory_engine kind; /* as configured */
	uint8_t source;
	engine_t *const *others; /* before this one */
	size_t other_count;
	atomic_bool settled;
	pthread_t thread;
	bool started;

	/* the thread's own from here on */
	struct engine_facts facts; /* networks: also read by others, under the lock */
	bool up, said, ever_up;
	listeners_t *listeners;
	struct running *running;
	struct refused refused;
	uint64_t refreshed_ns;
	uint64_t followed_wall_ns; /* events since then are news */
};

static const char *kind_name(enum inventory_engine kind)
{
	return kind == INVENTORY_PODMAN ? "Podman" : "Docker";
}

static void push(engine_t *engine, struct inventory_change change)
{
	change.source = engine->source;
	changes_push(engine->shared->changes, &change);
}

static void settle(engine_t *engine)
{
	atomic_store(&engine->settled, true);
	eventfd_raise(engine->shared->look_fd);
}

static void say_up(engine_t *engine)
{
	struct inventory_change change = { .kind = INVENTORY_ENGINE, .engine_up = true };

	if (engine->said && engine->up) {
		return;
	}
	(void)snprintf(change.text, sizeof(change.text), "the %s engine answers at %.120s",
	               kind_name(engine->facts.kind), engine->socket_path);
	engine->said = true;
	engine->up = true;
	engine->ever_up = true;
	push(engine, change);
}

/* @expected: many hosts have no such engine, and want none. */
static void say_down(engine_t *engine, const char *why, bool expected)
{
	struct inventory_change change = { .kind = INVENTORY_ENGINE,
		                           .expected = expected && !engine->ever_up };

	settle(engine);
	if (engine->said && !engine->up) {
		return;
	}
	(void)snprintf(change.text, sizeof(change.text), "no %s engine, trying on: %.100s: %.50s",
	               kind_name(engine->kind), engine->socket_path, why);
	engine->said = true;
	engine->up = false;
	push(engine, change);
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

static void running_done(engine_t *engine)
{
	while (engine->running != NULL) {
		struct running *gone = engine->running;
		engine->running = gone->next;
		free(gone);
	}
}

/* The listeners of a container's own namespace, or its own in one that it shares. */
static void container_listeners(engine_t *engine, const char *id,
                                const struct inventory_change *change)
{
	bool guest = change->host_network || change->joined;
	char path[PATH_BYTES];

	if (change->kind != INVENTORY_UP || !guest) {
		guests_remove(engine->shared->guests, id);
	} else {
		guests_set(engine->shared->guests, id, change->pid);
	}
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
static void container_end(engine_t *engine, enum inventory_kind kind, const char *id)
{
	running_remove(engine, id);
	guests_remove(engine->shared->guests, id);
	(void)refused_set(&engine->refused, id, false);
	push(engine, (struct inventory_change){ .kind = kind, .id = pr_uuid_of_container(id) });
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

static int container_refresh(engine_t *engine, docker_t *docker, const char *id)
{
	json_t *inspected = NULL;
	struct inventory_change change;

	if (strlen(id) != 64 || strspn(id, "0123456789abcdef") != 64) {
		return PR_OK;
	}
	int ret = container_inspect(docker, id, &inspected);
	if (ret == PR_ENOENT) { /* gone between event and look */
		container_end(engine, INVENTORY_GONE, id);
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
	push(engine, change);
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
			ret = container_refresh(engine, docker, id);
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
		ret = container_refresh(engine, docker, id);
	}
	return ret;
}

static int refresh(engine_t *engine, docker_t *docker)
{
	uint64_t now_ns = pr_clock_monotonic_ns();

	if (engine->listeners == NULL ||
	    now_ns - engine->refreshed_ns < REFRESH_MS * PR_NS_PER_MS) {
		return PR_OK;
	}
	engine->refreshed_ns = now_ns;
	listeners_round_begin(engine->listeners);
	int ret = containers_look(engine, docker);
	if (ret == PR_OK) {
		ret = refused_look(engine, docker, now_ns);
	}
	listeners_round_end(engine->listeners);
	return ret;
}

/* ---- one connection to the engine ---- */

/* Docker's form of the list does not name the bridges of Podman's networks. */
static int networks_refresh(engine_t *engine, docker_t *docker)
{
	json_t *networks = NULL;
	int ret = docker_get(docker,
	                     engine->facts.kind == INVENTORY_PODMAN ? PODMAN_API "/networks/json"
	                                                            : DOCKER_API "/networks",
	                     &networks);
	if (ret != PR_OK) {
		return ret;
	}
	(void)pthread_mutex_lock(&engine->shared->networks);
	container_networks_read(networks, &engine->facts);
	(void)pthread_mutex_unlock(&engine->shared->networks);
	json_decref(networks);
	settle(engine);
	return PR_OK;
}

static int kind_find(engine_t *engine, docker_t *docker)
{
	json_t *version = NULL;
	int ret = docker_get(docker, DOCKER_API "/version", &version);
	if (ret == PR_OK) {
		engine->facts.kind = container_engine_read(version);
		json_decref(version);
	}
	return ret;
}

static int list_all(engine_t *engine, docker_t *docker)
{
	size_t index;
	json_t *item, *list = NULL;

	int ret = networks_refresh(engine, docker);
	if (ret == PR_OK) {
		ret = docker_get(docker, DOCKER_API "/containers/json", &list);
	}
	if (ret == PR_OK && !json_is_array(list)) {
		json_decref(list);
		ret = PR_EMALF;
	}
	if (ret != PR_OK) {
		return ret;
	}
	json_array_foreach(list, index, item)
	{
		const char *id = json_string_value(json_object_get(item, "Id"));
		ret = id != NULL ? container_refresh(engine, docker, id) : PR_OK;
		if (ret != PR_OK) {
			break;
		}
	}
	json_decref(list);
	if (ret == PR_OK) {
		push(engine, (struct inventory_change){ .kind = INVENTORY_SYNCED });
	}
	return ret;
}

/* A container's networks are there before its first process and go after its last. */
static int attached_handle(engine_t *engine, docker_t *docker, bool attached, const char *id)
{
	struct inventory_change change;

	int listed = coming_look(docker, &engine->facts, id, &change);
	if (listed == PR_OK && attached && change.kind == INVENTORY_COMING) {
		push(engine, change);
	} else if (listed == PR_OK) {
		inventory_change_done(&change);
		container_end(engine, INVENTORY_DOWN, id);
	}
	int ret = networks_refresh(engine, docker);
	return ret == PR_OK && listed != PR_OK ? container_refresh(engine, docker, id) : ret;
}

/* What the list has told already is no news. */
static bool is_fresh(const engine_t *engine, const json_t *event)
{
	json_int_t time_ns = json_integer_value(json_object_get(event, "timeNano"));

	return time_ns > 0 && (uint64_t)time_ns >= engine->followed_wall_ns;
}

static int event_handle(engine_t *engine, docker_t *docker, const json_t *event)
{
	char id[65];
	int ret = PR_OK;
	enum container_news news = container_event_read(event, engine->facts.kind, id);

	if (news == CONTAINER_DOWN && !is_fresh(engine, event)) {
		news = CONTAINER_LOOK;
	}
	switch (news) {
	case CONTAINER_NONE:
		break;
	case CONTAINER_DOWN:
	case CONTAINER_GONE:
		container_end(engine, news == CONTAINER_DOWN ? INVENTORY_DOWN : INVENTORY_GONE, id);
		break;
	case CONTAINER_ATTACHED:
	case CONTAINER_DETACHED:
		ret = attached_handle(engine, docker, news == CONTAINER_ATTACHED, id);
		break;
	case CONTAINER_NETWORKS:
		ret = networks_refresh(engine, docker);
		if (ret == PR_OK && id[0] != '\0') {
			ret = container_refresh(engine, docker, id);
		}
		break;
	case CONTAINER_LOOK:
		ret = container_refresh(engine, docker, id);
		break;
	}
	return ret;
}

static bool stop_asked(const engine_t *engine, int timeout_ms)
{
	struct pollfd stop = { .fd = engine->shared->stop_fd, .events = POLLIN };
	return poll(&stop, 1, timeout_ms) > 0;
}

/* From the stream's opening to its end. */
static int engine_follow(engine_t *engine)
{
	_cleanup_(docker_destroy) docker_t *docker = NULL;
	int ret = docker_open(engine->socket_path, engine->shared->stop_fd, &docker);
	engine->followed_wall_ns = pr_clock_wall_ns();
	if (ret == PR_OK) {
		ret = kind_find(engine, docker);
	}
	if (ret == PR_OK) {
		ret = docker_events_open(docker);
	}
	if (ret == PR_OK) {
		ret = list_all(engine, docker);
	}
	if (ret == PR_OK) {
		say_up(engine);
	}
	while (ret == PR_OK && !stop_asked(engine, 0)) {
		json_t *event = NULL;
		ret = docker_events_next(docker, engine->shared->stop_fd, REFRESH_MS, &event);
		if (ret == PR_OK && event != NULL) {
			ret = event_handle(engine, docker, event);
		}
		json_decref(event);
		if (ret == PR_OK) {
			ret = refresh(engine, docker);
		}
	}
	return ret;
}

/* Debian's podman-docker makes one a link to the other: one of them is enough. */
static const engine_t *same_socket(const engine_t *engine, const struct stat *own)
{
	struct stat other;

	for (size_t i = 0; i < engine->other_count; i++) {
		if (stat(engine->others[i]->socket_path, &other) == 0 &&
		    other.st_dev == own->st_dev && other.st_ino == own->st_ino) {
			return engine->others[i];
		}
	}
	return NULL;
}

static void engine_try(engine_t *engine)
{
	char why[PATH_BYTES];
	struct stat info;

	if (stat(engine->socket_path, &info) != 0) {
		say_down(engine, errno == ENOENT ? "it is not there" : pr_strerror(-errno),
		         errno == ENOENT && engine->kind == INVENTORY_PODMAN);
		return;
	}
	const engine_t *same = same_socket(engine, &info);
	if (same != NULL) {
		(void)snprintf(why, sizeof(why), "the same as %.100s", same->socket_path);
		say_down(engine, why, /* expected= */ true);
		return;
	}
	int ret = engine_follow(engine);
	if (ret != PR_OK) {
		say_down(engine, pr_strerror(ret), /* expected= */ false);
		log_debug("engine at %s: %s, trying again", engine->socket_path, pr_strerror(ret));
	}
}

static void *engine_run(void *arg)
{
	engine_t *engine = arg;

	engine->listeners = listeners_new(engine->shared->guests);
	do {
		engine_try(engine);
		engine->refreshed_ns = 0;
	} while (!stop_asked(engine, INVENTORY_RETRY_MS));
	running_done(engine);
	listeners_destroy(&engine->listeners);
	return NULL;
}

/* ---- life ---- */

int engine_new(struct shared *shared, uint8_t source, enum inventory_engine kind,
               const char *socket_path, engine_t **ret_engine)
{
	engine_t *engine = calloc(1, sizeof(*engine));
	if (engine == NULL) {
		return PR_ENOMEM;
	}
	engine->shared = shared;
	engine->source = source;
	engine->kind = kind;
	engine->socket_path = socket_path;
	engine->facts.host = &shared->host;
	engine->facts.kind = kind;
	*ret_engine = engine;
	return PR_OK;
}

int engine_start(engine_t *engine, engine_t *const *others, size_t other_count)
{
	engine->others = others;
	engine->other_count = other_count;
	int ret = pthread_create(&engine->thread, NULL, engine_run, engine);
	engine->started = ret == 0;
	return -ret;
}

void engine_stop(engine_t *engine)
{
	if (engine->started) {
		(void)pthread_join(engine->thread, NULL);
		engine->started = false;
	}
}

void engine_destroy(engine_t **engine_p)
{
	free(*engine_p);
	*engine_p = NULL;
}

bool engine_settled(const engine_t *engine)
{
	return atomic_load(&engine->settled);
}

const struct engine_facts *engine_facts_of(const engine_t *engine)
{
	return &engine->facts;
}
