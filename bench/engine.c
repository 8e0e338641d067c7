/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/defs.h"
#include "bench/engine.h"

#define CLIENTS    8
#define BODY_BYTES 4096

static void body_of_container(const struct engine_plan *plan,
                              const struct engine_container *container, char *body)
{
	(void)snprintf(
		body, BODY_BYTES,
		"{\"Id\":\"%s\",\"Name\":\"/%s\",\"Image\":\"sha256:%s\","
		"\"State\":{\"Running\":true,\"Pid\":%d},\"HostConfig\":{\"NetworkMode\":\"app\"},"
		"\"Config\":{\"Image\":\"bench:latest\",\"Labels\":{}},\"NetworkSettings\":{"
		"\"Networks\":{\"app\":{\"NetworkID\":\"%s\",\"IPAddress\":\"%s\","
		"\"IPPrefixLen\":16,\"MacAddress\":\"\",\"GlobalIPv6Address\":\"\"}}}}",
		container->id, container->name, container->id, (int)container->pid, plan->network,
		container->address);
}

/* False: there is no such thing. */
static bool body_of(const struct engine_plan *plan, const char *path, char *body)
{
	if (strcmp(path, "/version") == 0 || strncmp(path, "/version ", 9) == 0) {
		(void)snprintf(body, BODY_BYTES,
		               "{\"Components\":[{\"Name\":\"Engine\",\"Version\":\"20.10\"}]}");
		return true;
	}
	if (strncmp(path, "/networks", 9) == 0) {
		(void)snprintf(body, BODY_BYTES,
		               "[{\"Id\":\"%s\",\"Driver\":\"bridge\",\"Options\":{"
		               "\"com.docker.network.bridge.name\":\"" ENGINE_BRIDGE "\"}}]",
		               plan->network);
		return true;
	}
	if (strncmp(path, "/containers/json", 16) == 0) {
		size_t used = (size_t)snprintf(body, BODY_BYTES, "[");
		for (unsigned i = 0; i < ENGINE_CONTAINERS; i++) {
			used += (size_t)snprintf(body + used, BODY_BYTES - used,
			                         "%s{\"Id\":\"%s\"}", i > 0 ? "," : "",
			                         plan->containers[i].id);
		}
		(void)snprintf(body + used, BODY_BYTES - used, "]");
		return true;
	}
	for (unsigned i = 0; i < ENGINE_CONTAINERS; i++) {
		if (strstr(path, plan->containers[i].id) != NULL) {
			body_of_container(plan, &plan->containers[i], body);
			return true;
		}
	}
	return false;
}

/* One request a read: the agent waits for each answer. False: the connection is over. */
static bool answer(const struct engine_plan *plan, int fd)
{
	char request[2048], body[BODY_BYTES] = "", text[BODY_BYTES + 256];
	ssize_t got = read(fd, request, sizeof(request) - 1);

	if (got <= 0) {
		return false;
	}
	request[got] = '\0';
	char *path = strstr(request, "/v1.40/");
	if (path == NULL) {
		return false;
	}
	path += strlen("/v1.40");
	if (strncmp(path, "/events", 7) == 0) {
		(void)snprintf(text, sizeof(text),
		               "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
	} else {
		bool there = body_of(plan, path, body);
		(void)snprintf(text, sizeof(text), "HTTP/1.1 %s\r\nContent-Length: %zu\r\n\r\n%s",
		               there ? "200 OK" : "404 Not Found", strlen(body), body);
	}
	return write(fd, text, strlen(text)) == (ssize_t)strlen(text);
}

static int listener_open(const char *path)
{
	struct sockaddr_un name = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)snprintf(name.sun_path, sizeof(name.sun_path), "%s", path);
	(void)unlink(path);
	if (fd < 0 || bind(fd, (const struct sockaddr *)&name, sizeof(name)) != 0 ||
	    listen(fd, CLIENTS) != 0) {
		return -1;
	}
	return fd;
}

void engine_serve(const void *plan, int fd)
{
	const struct engine_plan *engine = plan;
	struct pollfd fds[1 + CLIENTS];

	for (unsigned i = 0; i < PR_ARRAY_LEN(fds); i++) {
		fds[i] = (struct pollfd){ .fd = -1, .events = POLLIN };
	}
	fds[0].fd = listener_open(engine->socket);
	if (fds[0].fd < 0 || write(fd, "r", 1) != 1) {
		return;
	}
	while (poll(fds, PR_ARRAY_LEN(fds), -1) > 0) {
		int fresh = (fds[0].revents & POLLIN) != 0 ? accept(fds[0].fd, NULL, NULL) : -1;
		for (unsigned i = 1; i < PR_ARRAY_LEN(fds); i++) {
			if (fds[i].fd >= 0 && fds[i].revents != 0 && !answer(engine, fds[i].fd)) {
				pr_fd_close(&fds[i].fd);
			}
			if (fds[i].fd < 0 && fresh >= 0) {
				fds[i].fd = fresh;
				fds[i].revents = 0;
				fresh = -1;
			}
		}
		pr_fd_close(&fresh);
	}
}
