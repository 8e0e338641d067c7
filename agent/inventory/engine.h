/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/** @file What engine.c and engine_container.c share. internal.h documents the engine. */

#include <pthread.h>
#include <stdatomic.h>

#include "agent/inventory/internal.h"

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
	bool stopped_said; /* that those that do not run are not all told */
	uint64_t refreshed_ns;
	uint64_t followed_wall_ns; /* events since then are news */
};

/* engine_container.c: the containers of one engine; all from its thread */
/** Takes the change's parts. */
void engine_push(engine_t *engine, struct inventory_change change);
/** DOWN or GONE. */
void engine_container_end(engine_t *engine, enum inventory_kind kind, const char *id);
/** Ask for one and tell of it; one that cannot be told is left out. */
int engine_container_refresh(engine_t *engine, docker_t *docker, const char *id);
/** Tell of those that do not run: the newest INVENTORY_STOPPED_MAX. */
int engine_stopped_list(engine_t *engine, docker_t *docker);
/** What no event tells: listeners, and those that could not be told. In a round of looks. */
int engine_containers_look(engine_t *engine, docker_t *docker, uint64_t now_ns);
void engine_containers_done(engine_t *engine);
