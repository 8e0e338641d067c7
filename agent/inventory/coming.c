/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A container that is being started: Docker has given it its networks a tenth of a second
 * before its first process runs. Told then, it is in its groups when that begins to talk. An
 * inspection would wait for the end of the start; the list and the networks answer meanwhile.
 */
#include <stdio.h>
#include <string.h>

#include "agent/inventory/internal.h"
#include "base/err.h"

#define NETWORK_NAME_MAX_BYTES 255
#define NETWORK_NAME_LETTERS   "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"

/* The engine's objects of a container's networks; each without an answer is left out. */
static json_t *networks_get(docker_t *docker, const json_t *listed)
{
	json_t *names = json_object_get(json_object_get(listed, "NetworkSettings"), "Networks");
	json_t *networks = json_array(), *network, *value;
	const char *name;
	char path[NETWORK_NAME_MAX_BYTES + sizeof(DOCKER_API "/networks/")];

	json_object_foreach(names, name, value)
	{
		/* A name that would need escapes: its address is told when the container runs. */
		if (strlen(name) > NETWORK_NAME_MAX_BYTES ||
		    strspn(name, NETWORK_NAME_LETTERS) != strlen(name)) {
			continue;
		}
		(void)snprintf(path, sizeof(path), DOCKER_API "/networks/%s", name);
		network = NULL;
		if (docker_get(docker, path, &network) == PR_OK) {
			(void)json_array_append_new(networks, network);
		}
	}
	return networks;
}

int coming_look(docker_t *docker, const struct engine_facts *facts, const char *id,
                enum inventory_kind kind, struct inventory_change *ret_change)
{
	json_t *list = NULL;
	char path[256];

	if (strlen(id) != 64 || strspn(id, "0123456789abcdef") != 64) {
		return PR_EMALF;
	}
	(void)snprintf(path, sizeof(path),
	               DOCKER_API "/containers/json?all=1&filters="
	                          "%%7B%%22id%%22%%3A%%5B%%22%s%%22%%5D%%7D",
	               id);
	int ret = docker_get(docker, path, &list);
	if (ret != PR_OK) {
		return ret;
	}
	const json_t *listed = json_array_get(list, 0);
	json_t *networks = kind == INVENTORY_COMING ? networks_get(docker, listed) : NULL;
	ret = container_listed_read(listed, networks, facts, kind, ret_change);
	json_decref(networks);
	json_decref(list);
	return ret;
}
