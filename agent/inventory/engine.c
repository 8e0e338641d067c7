/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/inventory/engine.h"
#include "base/clock.h"
#include "base/err.h"

#define LOG_COMPONENT "inventory"
#include "base/log.h"

#define REFRESH_MS 2000
#define WHY_BYTES  128

static const char *kind_name(enum inventory_engine kind)
{
	return kind == INVENTORY_PODMAN ? "Podman" : "Docker";
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
	engine_push(engine, change);
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
	engine_push(engine, change);
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
	int ret = engine_containers_look(engine, docker, now_ns);
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
	} else if (ret == PR_ENOENT || ret == PR_EMALF || ret == PR_ETOOBIG) {
		return PR_OK; /* it does not say: what the configuration calls it */
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
		ret = id != NULL ? engine_container_refresh(engine, docker, id) : PR_OK;
		if (ret != PR_OK) {
			break;
		}
	}
	json_decref(list);
	if (ret == PR_OK) {
		ret = engine_stopped_list(engine, docker);
	}
	if (ret == PR_OK) {
		engine_push(engine, (struct inventory_change){ .kind = INVENTORY_SYNCED });
	}
	return ret;
}

/* A container's networks are there before its first process and go after its last. */
static int attached_handle(engine_t *engine, docker_t *docker, bool attached, const char *id)
{
	struct inventory_change change;

	int listed = coming_look(docker, &engine->facts, id,
	                         attached ? INVENTORY_COMING : INVENTORY_STOPPED, &change);
	if (listed == PR_OK && (!attached || change.kind == INVENTORY_DOWN)) {
		engine_container_end(engine, INVENTORY_DOWN, id);
	}
	if (listed == PR_OK && change.kind != INVENTORY_DOWN) {
		engine_push(engine, change);
	}
	int ret = networks_refresh(engine, docker);
	return ret == PR_OK && listed != PR_OK ? engine_container_refresh(engine, docker, id) : ret;
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
		engine_container_end(engine,
		                     news == CONTAINER_DOWN ? INVENTORY_DOWN : INVENTORY_GONE, id);
		break;
	case CONTAINER_ATTACHED:
	case CONTAINER_DETACHED:
		ret = attached_handle(engine, docker, news == CONTAINER_ATTACHED, id);
		break;
	case CONTAINER_NETWORKS:
		ret = networks_refresh(engine, docker);
		if (ret == PR_OK && id[0] != '\0') {
			ret = engine_container_refresh(engine, docker, id);
		}
		break;
	case CONTAINER_LOOK:
		ret = engine_container_refresh(engine, docker, id);
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

/* Milliseconds to the next try: an engine that starts again starts containers, too. */
static int engine_try(engine_t *engine)
{
	char why[WHY_BYTES];
	struct stat info;

	if (stat(engine->socket_path, &info) != 0) {
		bool missing = errno == ENOENT;
		say_down(engine, missing ? "it is not there" : pr_strerror(-errno),
		         missing && engine->kind == INVENTORY_PODMAN);
		return missing && engine->ever_up ? INVENTORY_RETURN_MS : INVENTORY_RETRY_MS;
	}
	const engine_t *same = same_socket(engine, &info);
	if (same != NULL) {
		(void)snprintf(why, sizeof(why), "the same as %.100s", same->socket_path);
		say_down(engine, why, /* expected= */ true);
		return INVENTORY_RETRY_MS;
	}
	int ret = engine_follow(engine);
	if (ret != PR_OK) {
		say_down(engine, pr_strerror(ret), /* expected= */ false);
		log_debug("engine at %s: %s, trying again", engine->socket_path, pr_strerror(ret));
	}
	return ret == PR_EUNREACH && engine->ever_up ? INVENTORY_RETURN_MS : INVENTORY_RETRY_MS;
}

static void *engine_run(void *arg)
{
	engine_t *engine = arg;
	int wait_ms;

	engine->listeners = listeners_new(engine->shared->guests);
	do {
		wait_ms = engine_try(engine);
		engine->refreshed_ns = 0;
	} while (!stop_asked(engine, wait_ms));
	engine_containers_done(engine);
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
