/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdlib.h>

#include "base/err.h"
#include "base/log.h"
#include "recorder/daemon.h"

#define LOG_COMPONENT "recorder"
#define READERS       (BUS_ROLE_ADMIN | BUS_ROLE_VIEWER | BUS_ROLE_SUBSCRIBER)

void daemon_doc_send(struct daemon *daemon, const struct bus_route *route, const codec_doc_t *doc)
{
	_cleanup_(pr_free) uint8_t *data = NULL;
	size_t size_bytes;

	if (codec_doc_encode(doc, &data, &size_bytes) == PR_OK) {
		(void)!bus_server_send(daemon->server, route, data, size_bytes);
	}
}

void daemon_error_send(struct daemon *daemon, const struct bus_route *route, uint64_t id, int err,
                       const char *text)
{
	_cleanup_(codec_doc_destroy) codec_doc_t *doc = codec_doc_new(CODEC_ERROR);

	if (doc == NULL) {
		return;
	}
	codec_doc_set_u64(doc, CODEC_ERROR_ID, id);
	codec_doc_set_text(doc, CODEC_ERROR_CODE, pr_err_name(err));
	codec_doc_set_text(doc, CODEC_ERROR_TEXT, text);
	daemon_doc_send(daemon, route, doc);
}

static void on_endpoint(struct daemon *daemon, const struct bus_frame *frame,
                        const codec_doc_t *doc)
{
	int err = recorder_names_put(daemon->names, &frame->peer.id, doc);
	if (err != PR_OK) {
		daemon->counters.names_refused++;
		log_debug("endpoint from '%s' refused: %s", frame->address, pr_strerror(err));
	}
}

static void on_spool_lost(struct daemon *daemon, const struct bus_frame *frame,
                          const codec_doc_t *doc)
{
	uint64_t first = codec_doc_u64(doc, CODEC_SPOOL_LOST_FIRST);
	uint64_t count = codec_doc_u64(doc, CODEC_SPOOL_LOST_COUNT);

	int err = recorder_ingest_lost(daemon->ingest, &frame->peer.id, &frame->route, first, count,
	                               daemon->now_ns, pr_clock_wall_ns());
	if (err == PR_EINVAL) {
		daemon->counters.malformed++;
	}
	/* Other errors: not acknowledged, so that the agent says it again. */
}

static void on_events_get(struct daemon *daemon, const struct bus_frame *frame,
                          const codec_doc_t *doc)
{
	char problem[256] = "";

	int err = recorder_answers_ask(daemon->answers, &frame->route, &frame->peer.id, doc,
	                               daemon->now_ns, problem);
	if (err != PR_OK) {
		daemon_error_send(daemon, &frame->route, codec_doc_u64(doc, CODEC_EVENTS_GET_ID),
		                  err, problem[0] != '\0' ? problem : pr_strerror(err));
	}
}

static void on_users_get(struct daemon *daemon, const struct bus_frame *frame,
                         const codec_doc_t *doc)
{
	const struct recorder_users_setup setup = { .history = daemon->history,
		                                    .names = daemon->names,
		                                    .comments = daemon->comments,
		                                    .groups = daemon->groups,
		                                    .now_ns = daemon->now_ns,
		                                    .arg = daemon,
		                                    .send = daemon_send };

	int err = recorder_users_answer(&setup, &frame->route, doc);
	if (err != PR_OK) {
		daemon_error_send(daemon, &frame->route, codec_doc_u64(doc, CODEC_USERS_GET_ID),
		                  err, pr_strerror(err));
	}
}

static void on_status_get(struct daemon *daemon, const struct bus_frame *frame,
                          const codec_doc_t *doc)
{
	daemon_status_send(daemon, frame, codec_doc_u64(doc, CODEC_STATUS_GET_ID));
}

/* What an agent may also send, as to a controller, and we have no use for. */
static void on_nothing(struct daemon *daemon, const struct bus_frame *frame, const codec_doc_t *doc)
{
	(void)daemon;
	(void)frame;
	(void)doc;
}

static const struct {
	enum codec_type type;
	unsigned roles;
	void (*act)(struct daemon *daemon, const struct bus_frame *frame, const codec_doc_t *doc);
} actions[] = {
	{ CODEC_ENDPOINT, BUS_ROLE_AGENT, on_endpoint },
	{ CODEC_ENDPOINT_GONE, BUS_ROLE_AGENT, on_nothing },
	{ CODEC_INVENTORY_END, BUS_ROLE_AGENT, on_nothing },
	{ CODEC_SPOOL_LOST, BUS_ROLE_AGENT, on_spool_lost },
	{ CODEC_EVENTS_GET, READERS, on_events_get },
	{ CODEC_STATUS_GET, READERS, on_status_get },
	{ CODEC_USERS_GET, READERS, on_users_get },
};

static void doc_take(struct daemon *daemon, const struct bus_frame *frame)
{
	_cleanup_(codec_doc_destroy) codec_doc_t *doc = NULL;

	if (codec_doc_decode(frame->data, frame->size_bytes, &doc) != PR_OK) {
		daemon->counters.malformed++;
		return;
	}
	for (size_t i = 0; i < PR_ARRAY_LEN(actions); i++) {
		if (actions[i].type != codec_doc_type(doc)) {
			continue;
		}
		if ((actions[i].roles & frame->peer.role) != 0) {
			actions[i].act(daemon, frame, doc);
			return;
		}
		daemon->counters.role++;
		daemon_error_send(daemon, &frame->route, 0, PR_EROLE, pr_strerror(PR_EROLE));
		return;
	}
	daemon->counters.malformed++;
	daemon_error_send(daemon, &frame->route, 0, PR_EINVAL,
	                  "a recorder does not answer that; ask the controller");
}

void daemon_frame(struct daemon *daemon, const struct bus_frame *frame)
{
	enum codec_type type;

	if (codec_frame_type(frame->data, frame->size_bytes, &type) != PR_OK) {
		daemon->counters.malformed++;
		return;
	}
	if (type != CODEC_EVENT) {
		doc_take(daemon, frame);
		return;
	}
	if (frame->peer.role != BUS_ROLE_AGENT) {
		daemon->counters.role++;
		daemon_error_send(daemon, &frame->route, 0, PR_EROLE, pr_strerror(PR_EROLE));
		return;
	}
	int err = recorder_ingest_events(daemon->ingest, &frame->peer.id, &frame->route,
	                                 frame->data, frame->size_bytes, daemon->now_ns);
	if (err != PR_OK) {
		log_debug("events from '%s': %s", frame->address, pr_strerror(err));
	}
	uint64_t due_ns = recorder_ingest_due_ns(daemon->ingest);
	if (due_ns != 0 && due_ns <= daemon->now_ns) {
		daemon_commit(daemon);
	}
}
