/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/**
 * @file
 * Two Docker hosts whose containers have the same network and the same addresses, masqueraded
 * towards each other, and connections between them. The judge is the clients' own log: which
 * container opened which source port, when, and what the server saw of it.
 */

#include <stdint.h>

#include "bench/deploy.h"
#include "bench/engine.h"

#define JOIN_HOSTS      2
#define JOIN_CLIENTS    2 /* containers of each host that open connections; the third serves */
#define JOIN_TARGETS    2
#define JOIN_PORT_FIRST 10000
#define JOIN_LINES_MAX  50000 /* connections of one container to one target */

/** What a container connects to, on the other host. */
enum join_target {
	JOIN_TO_HOST,      /* a server of the host itself */
	JOIN_TO_PUBLISHED, /* the container that serves, by a port of its host */
};

/** What the client says of one connection; its number is that of its source port. */
struct join_line {
	uint64_t begin_wall_ns;    /* before connect() */
	uint64_t accepted_wall_ns; /* by the server */
	uint8_t answered;
	uint8_t seen_address[4]; /* by the server */
	uint16_t seen_port;
};

struct join_host {
	char space[8];
	char address[16]; /* towards the other one */
	struct engine_plan engine;
	struct pr_uuid agent;
};

/** One container's way to one target. */
struct join_way {
	unsigned host, client;
	enum join_target target;
	struct join_line *lines;
};

struct join {
	stage_t *stage;
	struct join_host hosts[JOIN_HOSTS];
	struct join_way ways[JOIN_HOSTS * JOIN_CLIENTS * JOIN_TARGETS];
	uint32_t count; /* lines of each way */
};

/** Port on the other host, and the one on which it is served there. */
uint16_t join_port(enum join_target target);
uint16_t join_served_port(enum join_target target);
/** Both hosts with containers, servers and agents; nothing is opened yet. */
int join_new(struct deploy *deploy, uint32_t count, struct join *ret_join) _must_check_;
void join_done(struct join *join);
/** Open all connections, from all containers at once, and wait for the last. */
int join_run(struct join *join) _must_check_;
