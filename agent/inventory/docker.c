/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <curl/curl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "agent/inventory/internal.h"
#include "base/clock.h"
#include "base/err.h"

#define ANSWER_MAX_BYTES (16U << 20)
#define QUERY_TIMEOUT_S  10L
#define SERVER           "http://docker" /* nobody looks the name up */

struct buffer {
	char *data;
	size_t size_bytes;
};

struct docker {
	char *socket_path;
	int stop_fd;
	CURL *query, *stream;
	CURLM *multi;
	struct buffer events; /* bytes of the stream not yet taken */
	bool stream_added;
};

/* Returning less than was given makes curl end the transfer with an error. */
static size_t buffer_append(char *data, size_t size, size_t count, void *arg)
{
	struct buffer *buffer = arg;
	size_t added = size * count;
	if (added > ANSWER_MAX_BYTES - buffer->size_bytes) {
		return 0;
	}
	char *grown = realloc(buffer->data, buffer->size_bytes + added + 1);
	if (grown == NULL) {
		return 0;
	}
	memcpy(grown + buffer->size_bytes, data, added);
	buffer->data = grown;
	buffer->size_bytes += added;
	grown[buffer->size_bytes] = '\0';
	return added;
}

static void buffer_done(struct buffer *buffer)
{
	free(buffer->data);
	*buffer = (struct buffer){ 0 };
}

/* curl -> ours, once. */
static int err_of_curl(CURLcode code)
{
	switch (code) {
	case CURLE_OK:
		return PR_OK;
	case CURLE_OUT_OF_MEMORY:
		return PR_ENOMEM;
	case CURLE_OPERATION_TIMEDOUT:
		return PR_ETIMEOUT;
	case CURLE_WRITE_ERROR:
		return PR_ETOOBIG;
	case CURLE_PARTIAL_FILE:
		return PR_EMALF;
	default:
		return PR_EUNREACH;
	}
}

static CURL *handle_new(const char *socket_path)
{
	CURL *curl = curl_easy_init();
	if (curl == NULL) {
		return NULL;
	}
	(void)curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, socket_path);
	(void)curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	(void)curl_easy_setopt(curl, CURLOPT_PROXY, "");
	(void)curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http");
	(void)curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, buffer_append);
	return curl;
}

static bool stop_asked(const docker_t *docker)
{
	struct pollfd stop = { .fd = docker->stop_fd, .events = POLLIN };

	return poll(&stop, 1, 0) > 0;
}

/* At least once a second while a transfer is under way; not 0 ends it. */
static int on_progress(void *arg, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
	(void)a, (void)b, (void)c, (void)d;
	return stop_asked(arg) ? 1 : 0;
}

int docker_open(const char *socket_path, int stop_fd, docker_t **ret_docker)
{
	_cleanup_(docker_destroy) docker_t *docker = calloc(1, sizeof(*docker));
	if (docker == NULL) {
		return PR_ENOMEM;
	}
	docker->stop_fd = stop_fd;
	docker->socket_path = strdup(socket_path);
	if (docker->socket_path == NULL) {
		return PR_ENOMEM;
	}
	docker->query = handle_new(socket_path);
	docker->stream = handle_new(socket_path);
	docker->multi = curl_multi_init();
	if (docker->query == NULL || docker->stream == NULL || docker->multi == NULL) {
		return PR_ENOMEM;
	}
	(void)curl_easy_setopt(docker->query, CURLOPT_TIMEOUT, QUERY_TIMEOUT_S);
	(void)curl_easy_setopt(docker->query, CURLOPT_NOPROGRESS, 0L);
	(void)curl_easy_setopt(docker->query, CURLOPT_XFERINFOFUNCTION, on_progress);
	(void)curl_easy_setopt(docker->query, CURLOPT_XFERINFODATA, docker);
	*ret_docker = take_ptr(docker);
	return PR_OK;
}

void docker_destroy(docker_t **docker_p)
{
	docker_t *docker = *docker_p;
	if (docker == NULL) {
		return;
	}
	if (docker->stream_added) {
		(void)curl_multi_remove_handle(docker->multi, docker->stream);
	}
	curl_easy_cleanup(docker->query);
	curl_easy_cleanup(docker->stream);
	(void)curl_multi_cleanup(docker->multi);
	buffer_done(&docker->events);
	free(docker->socket_path);
	free(docker);
	*docker_p = NULL;
}

/*
 * NUL is a character of JSON, but of no text of ours, and the parser would refuse a whole page for
 * one in a label: U+FFFD stands for it. "\\u0000" behind an even number of backslashes is one.
 */
static void nul_replace(char *text, size_t size_bytes)
{
	for (size_t i = 0; i + 1 < size_bytes; i++) {
		if (text[i] != '\\') {
			continue;
		}
		if (i + 6 <= size_bytes && memcmp(text + i, "\\u0000", 6) == 0) {
			memcpy(text + i + 2, "fffd", 4);
		}
		i++; /* what a backslash stands before */
	}
}

int docker_get(docker_t *docker, const char *path, json_t **ret_json)
{
	struct buffer answer = { 0 };
	char url[512];
	long status = 0;

	(void)snprintf(url, sizeof(url), SERVER "%s", path);
	(void)curl_easy_setopt(docker->query, CURLOPT_URL, url);
	(void)curl_easy_setopt(docker->query, CURLOPT_WRITEDATA, &answer);
	int ret = err_of_curl(curl_easy_perform(docker->query));
	if (ret == PR_OK) {
		(void)curl_easy_getinfo(docker->query, CURLINFO_RESPONSE_CODE, &status);
		ret = status == 200 ? PR_OK : status == 404 ? PR_ENOENT : PR_EIO;
	}
	if (ret == PR_OK && answer.data != NULL) {
		nul_replace(answer.data, answer.size_bytes);
	}
	if (ret == PR_OK) {
		json_t *json = answer.data == NULL
		                       ? NULL
		                       : json_loadb(answer.data, answer.size_bytes, 0, NULL);
		if (json != NULL) {
			*ret_json = json;
		} else {
			ret = PR_EMALF;
		}
	}
	buffer_done(&answer);
	return ret;
}

/* The stream's transfer is over, for whatever reason. */
static bool stream_ended(docker_t *docker)
{
	int left;
	CURLMsg *message;
	while ((message = curl_multi_info_read(docker->multi, &left)) != NULL) {
		if (message->msg == CURLMSG_DONE) {
			return true;
		}
	}
	return false;
}

int docker_events_open(docker_t *docker)
{
	char url[256];
	/* A second of overlap: what happens between this and the listing is seen twice, not never.
	 */
	(void)snprintf(url, sizeof(url),
	               SERVER DOCKER_API
	               "/events?since=%lld&filters="
	               "%%7B%%22type%%22%%3A%%5B%%22container%%22%%2C%%22network%%22%%5D%%7D",
	               (long long)(pr_clock_wall_ns() / PR_NS_PER_S) - 1);
	(void)curl_easy_setopt(docker->stream, CURLOPT_URL, url);
	(void)curl_easy_setopt(docker->stream, CURLOPT_WRITEDATA, &docker->events);
	if (curl_multi_add_handle(docker->multi, docker->stream) != CURLM_OK) {
		return PR_ENOMEM;
	}
	docker->stream_added = true;

	uint64_t deadline_ns = pr_clock_monotonic_ns() + QUERY_TIMEOUT_S * PR_NS_PER_S;
	while (pr_clock_monotonic_ns() < deadline_ns && !stop_asked(docker)) {
		int running = 0;
		long status = 0;
		(void)curl_multi_perform(docker->multi, &running);
		(void)curl_easy_getinfo(docker->stream, CURLINFO_RESPONSE_CODE, &status);
		if (running == 0 || stream_ended(docker)) {
			return PR_EUNREACH;
		}
		if (status != 0) {
			return status == 200 ? PR_OK : PR_EIO;
		}
		(void)curl_multi_poll(docker->multi, NULL, 0, 200, NULL);
	}
	return PR_ETIMEOUT;
}

/* One line of the stream is one event. */
static json_t *event_take(struct buffer *events)
{
	char *end = events->size_bytes == 0 ? NULL : memchr(events->data, '\n', events->size_bytes);
	if (end == NULL) {
		return NULL;
	}
	size_t line_bytes = (size_t)(end - events->data) + 1;
	json_t *event = json_loadb(events->data, line_bytes, JSON_DISABLE_EOF_CHECK, NULL);
	events->size_bytes -= line_bytes;
	memmove(events->data, end + 1, events->size_bytes);
	return event != NULL ? event : json_object();
}

int docker_events_next(docker_t *docker, int wake_fd, int timeout_ms, json_t **ret_event)
{
	int running = 0;
	struct curl_waitfd wake = { .fd = wake_fd, .events = CURL_WAIT_POLLIN };

	*ret_event = event_take(&docker->events);
	if (*ret_event != NULL) {
		return PR_OK;
	}
	(void)curl_multi_poll(docker->multi, &wake, 1, timeout_ms, NULL);
	(void)curl_multi_perform(docker->multi, &running);
	*ret_event = event_take(&docker->events);
	if (*ret_event == NULL && (running == 0 || stream_ended(docker))) {
		return PR_EUNREACH;
	}
	return PR_OK;
}
