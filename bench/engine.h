/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/**
 * @file
 * A Docker engine as far as an agent asks one: networks, containers, a page of each, a stream of
 * events in which nothing happens. Its containers are processes in namespaces of the stage. For
 * stage_serve().
 */

#include <sys/types.h>

#define ENGINE_CONTAINERS 3
#define ENGINE_BRIDGE     "br-app"

struct engine_container {
	char id[65], name[32], address[16];
	pid_t pid;
};

struct engine_plan {
	char socket[108];
	char network[65]; /* id */
	struct engine_container containers[ENGINE_CONTAINERS];
};

/** stage_fn: struct engine_plan in; says that it is ready and serves until it is ended. */
void engine_serve(const void *plan, int fd);
