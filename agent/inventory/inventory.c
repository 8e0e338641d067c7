/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#include "agent/inventory/internal.h"
#include "base/clock.h"
#include "base/err.h"

#define REFRESH_MS 2000
#define MOUNTS_MS  100

#define HOST_SOURCE 0

struct inventory {
	struct shared shared;
	engine_t *engines[INVENTORY_SOURCE_MAX];
	size_t engine_count;
	char *paths[INVENTORY_SOURCE_MAX]; /* their sockets */
	pthread_t thread;
	bool started;

	/* the host's thread's own from here on */
	char *utmp_path;
	uint8_t *host_bytes; /* last host document sent, to see a change */
	size_t host_size_bytes;
	listeners_t *listeners;
	spaces_t *spaces;
};

/* ---- the host's thread ---- */

static codec_doc_t *host_document(inventory_t *inventory)
{
	const struct engine_facts *facts[INVENTORY_SOURCE_MAX];

	for (size_t i = 0; i < inventory->engine_count; i++) {
		facts[i] = engine_facts_of(inventory->engines[i]);
	}
	(void)pthread_mutex_lock(&inventory->shared.networks);
	codec_doc_t *doc = host_endpoint(&inventory->shared.host, facts, inventory->engine_count);
	(void)pthread_mutex_unlock(&inventory->shared.networks);
	return doc;
}

/* Sends the host's document when it differs from the last one. */
static void host_refresh(inventory_t *inventory)
{
	uint8_t *bytes = NULL;
	size_t size_bytes = 0;
	if (inventory->listeners != NULL && listeners_lost(inventory->listeners)) {
		return;
	}
	codec_doc_t *doc = host_document(inventory);
	if (doc != NULL && inventory->listeners != NULL) {
		(void)listeners_add(inventory->listeners, NULL, NULL, doc);
	}
	if (doc != NULL && inventory->utmp_path[0] != '\0') {
		sessions_add(inventory->utmp_path, doc);
	} else if (doc != NULL) {
		codec_doc_set_text(doc, CODEC_ENDPOINT_SESSIONS_LACK,
		                   "not read: the agent's configuration says utmp = none");
	}
	if (doc == NULL || codec_doc_encode(doc, &bytes, &size_bytes) != PR_OK) {
		codec_doc_destroy(&doc);
		return;
	}
	if (size_bytes == inventory->host_size_bytes &&
	    memcmp(bytes, inventory->host_bytes, size_bytes) == 0) {
		free(bytes);
		codec_doc_destroy(&doc);
		return;
	}
	free(inventory->host_bytes);
	inventory->host_bytes = bytes;
	inventory->host_size_bytes = size_bytes;
	changes_push(inventory->shared.changes,
	             &(struct inventory_change){ .kind = INVENTORY_HOST,
	                                         .source = HOST_SOURCE,
	                                         .id = inventory->shared.host.id,
	                                         .endpoint = doc });
}

/* What no event tells: addresses, listeners, sessions, namespaces that come and go. */
static void look(inventory_t *inventory)
{
	if (inventory->listeners != NULL) {
		listeners_round_begin(inventory->listeners);
	}
	host_refresh(inventory);
	spaces_look(inventory->spaces, inventory->listeners);
	if (inventory->listeners != NULL) {
		listeners_round_end(inventory->listeners);
	}
}

/* Wait for the next look at everything. True: leave. */
static bool wait_long(inventory_t *inventory)
{
	uint64_t end_ns = pr_clock_monotonic_ns() + REFRESH_MS * PR_NS_PER_MS, now_ns;
	struct pollfd fds[] = {
		{ .fd = inventory->shared.stop_fd, .events = POLLIN },
		{ .fd = inventory->shared.look_fd, .events = POLLIN },
		{ .fd = spaces_fd(inventory->spaces), .events = POLLPRI },
	};

	while ((now_ns = pr_clock_monotonic_ns()) < end_ns) {
		(void)poll(fds, PR_ARRAY_LEN(fds), (int)((end_ns - now_ns) / PR_NS_PER_MS) + 1);
		if (fds[0].revents != 0) {
			return true;
		}
		if (fds[1].revents != 0) {
			eventfd_clear(inventory->shared.look_fd);
			return false;
		}
		if (fds[2].revents != 0) {
			/* Mounts come in crowds: a namespace is made by two of them. */
			(void)poll(fds, 1, MOUNTS_MS);
			spaces_look(inventory->spaces, inventory->listeners);
		}
	}
	return false;
}

static bool engines_settled(const inventory_t *inventory)
{
	for (size_t i = 0; i < inventory->engine_count; i++) {
		if (!engine_settled(inventory->engines[i])) {
			return false;
		}
	}
	return true;
}

static void *host_run(void *arg)
{
	inventory_t *inventory = arg;
	bool leave = false;

	inventory->listeners = listeners_new(inventory->shared.guests);
	/* The host's document waits for each engine's first answer, or for its silence: before
	 * that, addresses of container bridges would pass for addresses of the world. */
	while (!leave && !engines_settled(inventory)) {
		leave = wait_long(inventory);
	}
	for (bool first = true; !leave; first = false) {
		look(inventory);
		if (first) {
			changes_push(inventory->shared.changes,
			             &(struct inventory_change){ .kind = INVENTORY_SYNCED,
			                                         .source = HOST_SOURCE });
		}
		leave = wait_long(inventory);
	}
	listeners_destroy(&inventory->listeners);
	return NULL;
}

/* ---- life ---- */

size_t inventory_engines(const struct inventory_options *options)
{
	bool docker = options->docker_socket != NULL && options->docker_socket[0] != '\0';

	return (docker ? 1 : 0) + options->podman_count;
}

size_t inventory_sources(const struct inventory_options *options)
{
	return 1 + inventory_engines(options);
}

static int engine_add(inventory_t *inventory, enum inventory_engine kind, const char *socket_path)
{
	size_t at = inventory->engine_count;

	if (at + 1 >= INVENTORY_SOURCE_MAX) {
		return PR_ENOSPC;
	}
	inventory->paths[at] = strdup(socket_path);
	if (inventory->paths[at] == NULL) {
		return PR_ENOMEM;
	}
	int ret = engine_new(&inventory->shared, (uint8_t)(at + 1), kind, inventory->paths[at],
	                     &inventory->engines[at]);
	inventory->engine_count += ret == PR_OK ? 1 : 0;
	return ret;
}

static int engines_add(inventory_t *inventory, const struct inventory_options *options)
{
	const char *docker = options->docker_socket;
	int ret = PR_OK;

	if (docker != NULL && docker[0] != '\0') {
		ret = engine_add(inventory, INVENTORY_DOCKER, docker);
	}
	for (size_t i = 0; ret == PR_OK && i < options->podman_count; i++) {
		ret = engine_add(inventory, INVENTORY_PODMAN, options->podman_sockets[i]);
	}
	return ret;
}

static int threads_start(inventory_t *inventory)
{
	for (size_t i = 0; i < inventory->engine_count; i++) {
		int ret = engine_start(inventory->engines[i], inventory->engines, i);
		if (ret != PR_OK) {
			return ret;
		}
	}
	int ret = pthread_create(&inventory->thread, NULL, host_run, inventory);
	inventory->started = ret == 0;
	return -ret;
}

static int shared_open(struct shared *shared, const struct inventory_options *options)
{
	struct host_facts *host = &shared->host;

	host->id = options->host;
	(void)snprintf(host->version, sizeof(host->version), "%s", options->agent_version);
	(void)snprintf(host->name, sizeof(host->name), "%s",
	               options->host_name != NULL ? options->host_name : "");
	host_facts_read(host);
	shared->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	shared->look_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (shared->stop_fd < 0 || shared->look_fd < 0) {
		return PR_ENOMEM;
	}
	int ret = guests_new(&shared->guests);
	return ret == PR_OK ? changes_new(&shared->changes) : ret;
}

int inventory_start(const struct inventory_options *options, inventory_t **ret_inventory)
{
	_cleanup_(inventory_destroy) inventory_t *inventory = calloc(1, sizeof(*inventory));
	if (inventory == NULL) {
		return PR_ENOMEM;
	}
	(void)pthread_mutex_init(&inventory->shared.networks, NULL);
	inventory->utmp_path = strdup(options->utmp != NULL ? options->utmp : "");
	inventory->shared.stop_fd = -1;
	inventory->shared.look_fd = -1;
	int ret =
		inventory->utmp_path != NULL ? shared_open(&inventory->shared, options) : PR_ENOMEM;
	if (ret == PR_OK) {
		ret = spaces_new(&inventory->shared, options->namespaces, options->namespace_count,
		                 &inventory->spaces);
	}
	if (ret == PR_OK) {
		ret = engines_add(inventory, options);
	}
	if (ret == PR_OK) {
		ret = threads_start(inventory);
	}
	if (ret == PR_OK) {
		*ret_inventory = take_ptr(inventory);
	}
	return ret;
}

void inventory_destroy(inventory_t **inventory_p)
{
	inventory_t *inventory = *inventory_p;
	if (inventory == NULL) {
		return;
	}
	if (inventory->shared.stop_fd >= 0) {
		eventfd_raise(inventory->shared.stop_fd);
	}
	if (inventory->started) {
		(void)pthread_join(inventory->thread, NULL);
	}
	/* All threads end before any engine goes: they look at each other. */
	for (size_t i = 0; i < inventory->engine_count; i++) {
		engine_stop(inventory->engines[i]);
	}
	for (size_t i = 0; i < INVENTORY_SOURCE_MAX; i++) {
		engine_destroy(&inventory->engines[i]);
		free(inventory->paths[i]);
	}
	spaces_destroy(&inventory->spaces);
	changes_destroy(&inventory->shared.changes);
	guests_destroy(&inventory->shared.guests);
	pr_fd_close(&inventory->shared.stop_fd);
	pr_fd_close(&inventory->shared.look_fd);
	(void)pthread_mutex_destroy(&inventory->shared.networks);
	free(inventory->host_bytes);
	free(inventory->utmp_path);
	free(inventory);
	*inventory_p = NULL;
}

int inventory_fd(const inventory_t *inventory)
{
	return changes_fd(inventory->shared.changes);
}

int inventory_next(inventory_t *inventory, struct inventory_change *ret_change)
{
	return changes_next(inventory->shared.changes, ret_change);
}
