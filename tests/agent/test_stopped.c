/* SPDX-License-Identifier: GPL-2.0-or-later */

/** @file Containers that do not run, of an engine that has any number of them: what is told. */

#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "agent/inventory/inventory.h"
#include "base/clock.h"
#include "base/err.h"
#include "tests/tap.h"

#define WAIT_NS     (10 * PR_NS_PER_S)
#define LABEL_BYTES 100000

/* An engine: as many stopped containers as it is told to have. */
static struct {
	int listener, events;
	size_t stopped;     /* how many there are */
	size_t label_bytes; /* of each */
	int status;         /* of the answer that lists them */
	unsigned asked;     /* how often for them */
} engine;

static void answer(int peer, int status, const char *body, size_t body_bytes)
{
	(void)dprintf(peer,
	              "HTTP/1.1 %d X\r\nConnection: close\r\nContent-Type: application/json\r\n"
	              "Content-Length: %zu\r\n\r\n",
	              status, body_bytes);
	for (size_t at = 0; at < body_bytes;) {
		ssize_t sent = send(peer, body + at, body_bytes - at, MSG_NOSIGNAL);
		if (sent <= 0) {
			return;
		}
		at += (size_t)sent;
	}
}

static void stopped_answer(int peer, const char *path)
{
	const char *limit = strstr(path, "limit=");
	size_t most = limit != NULL ? strtoul(limit + 6, NULL, 10) : SIZE_MAX;
	char *body = NULL, *label = calloc(1, engine.label_bytes + 1);
	size_t body_bytes = 0;
	FILE *out = open_memstream(&body, &body_bytes);

	engine.asked++;
	memset(label, 'x', engine.label_bytes);
	fputs("[", out);
	for (size_t i = 0; i < engine.stopped && i < most; i++) {
		fprintf(out,
		        "%s{\"Id\":\"%064zx\",\"Names\":[\"/old-%zu\"],\"Image\":\"nginx:1\","
		        "\"State\":\"%s\",\"Labels\":{\"a\":\"%s\"},"
		        "\"HostConfig\":{\"NetworkMode\":\"default\"}}",
		        i == 0 ? "" : ",", i + 1, i, i % 2 == 0 ? "exited" : "created", label);
	}
	fputs("]", out);
	(void)fclose(out);
	answer(peer, engine.status, body, body_bytes);
	free(body);
	free(label);
}

/* One request. False: the connection stays open. */
static bool request_serve(int peer)
{
	char request[2048];
	ssize_t got = recv(peer, request, sizeof(request) - 1, 0);

	request[got > 0 ? got : 0] = '\0';
	if (strstr(request, "/events") != NULL) {
		(void)dprintf(peer, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
		engine.events = peer;
		return false;
	}
	if (strstr(request, "/version") != NULL) {
		answer(peer, 200, "{}", 2);
	} else if (strstr(request, "all=1") != NULL) {
		stopped_answer(peer, request);
	} else {
		answer(peer, 200, "[]", 2);
	}
	return true;
}

static void *engine_run(void *arg)
{
	(void)arg;
	for (;;) {
		int peer = accept(engine.listener, NULL, NULL);
		if (peer < 0) {
			return NULL;
		}
		if (request_serve(peer)) {
			close(peer);
		}
	}
}

/* What a start tells of them until the list is complete; SIZE_MAX: it never was. */
static size_t told(const char *socket_path)
{
	const struct inventory_options options = { .docker_socket = socket_path,
		                                   .agent_version = "1",
		                                   .host = { { 1 } } };
	_cleanup_(inventory_destroy) inventory_t *inventory = NULL;
	uint64_t end_ns = pr_clock_monotonic_ns() + WAIT_NS;
	size_t count = 0;
	bool synced = false;

	engine.asked = 0;
	if (inventory_start(&options, &inventory) != PR_OK) {
		return SIZE_MAX;
	}
	while (!synced && pr_clock_monotonic_ns() < end_ns) {
		struct inventory_change change;
		while (inventory_next(inventory, &change) == PR_OK) {
			synced |= change.kind == INVENTORY_SYNCED && change.source == 1;
			count += change.kind == INVENTORY_STOPPED && change.source == 1 &&
			         strcmp(codec_doc_text(change.endpoint, CODEC_ENDPOINT_STATUS),
			                "stopped") == 0;
			inventory_change_done(&change);
		}
		(void)poll(NULL, 0, 1);
	}
	inventory_destroy(&inventory);
	close(engine.events);
	return synced ? count : SIZE_MAX;
}

static bool engine_open(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	engine.listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	return engine.listener >= 0 &&
	       bind(engine.listener, (struct sockaddr *)&address, sizeof(address)) == 0 &&
	       listen(engine.listener, 16) == 0;
}

int main(void)
{
	char folder[] = "/tmp/portreeve-stopped-XXXXXX", path[64];
	pthread_t thread;

	if (mkdtemp(folder) == NULL) {
		return 1;
	}
	(void)snprintf(path, sizeof(path), "%s/docker", folder);
	if (!ok(engine_open(path) && pthread_create(&thread, NULL, engine_run, NULL) == 0,
	        "an engine")) {
		return tap_done();
	}
	engine.status = 200;
	ok(told(path) == 0, "none");
	engine.stopped = 4;
	ok(told(path) == 4, "those that ended and those that never ran");
	engine.stopped = 20000;
	ok(told(path) == INVENTORY_STOPPED_MAX && engine.asked == 1,
	   "of 20,000 as many as are told, asked once");
	engine.label_bytes = LABEL_BYTES;
	size_t count = told(path);
	ok(count > 10 && count < INVENTORY_STOPPED_MAX && engine.asked == 2,
	   "with long labels fewer: %zu, asked %u times", count, engine.asked);
	engine.status = 500;
	ok(told(path) == 0, "an engine that cannot say them has listed all the same");
	(void)shutdown(engine.listener, SHUT_RDWR);
	(void)pthread_join(thread, NULL);
	close(engine.listener);
	(void)unlink(path);
	(void)rmdir(folder);
	return tap_done();
}
