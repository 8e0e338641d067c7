/* SPDX-License-Identifier: GPL-2.0-or-later */

/** @file USERS_GET: who is sent, in which pieces, with which connections; whose word counts. */

#include "recorder/users.h"
#include "tests/recorder/port.h"
#include "tests/tap.h"

#define CONTAINER "5f0c77b25f0c77b25f0c77b25f0c77b25f0c77b25f0c77b25f0c77b25f0c77b2"

static struct port port;
static codec_doc_t *sent[1024];
static size_t sent_count, sent_max;

static int on_send(void *arg, const struct bus_route *route, const void *data, size_t size_bytes)
{
	(void)arg;
	(void)route;
	if (sent_count == sent_max) {
		return PR_EAGAIN;
	}
	return codec_doc_decode(data, size_bytes, &sent[sent_count]) == PR_OK
	               ? (sent_count++, PR_OK)
	               : PR_EMALF;
}

static void sent_clear(void)
{
	while (sent_count > 0) {
		codec_doc_destroy(&sent[--sent_count]);
	}
}

static unsigned sent_of(enum codec_type type)
{
	unsigned count = 0;

	for (size_t i = 0; i < sent_count; i++) {
		count += codec_doc_type(sent[i]) == type;
	}
	return count;
}

static int ask(const char *name, const void *after, size_t after_bytes)
{
	const struct recorder_users_setup setup = { .history = port.history,
		                                    .names = port.names,
		                                    .comments = port.comments,
		                                    .groups = port.groups,
		                                    .now_ns = PR_NS_PER_S,
		                                    .send = on_send };
	const struct bus_route route = { .size_bytes = 5 };
	_cleanup_(codec_doc_destroy) codec_doc_t *request = codec_doc_new(CODEC_USERS_GET);

	sent_clear();
	codec_doc_set_u64(request, CODEC_USERS_GET_ID, 9);
	codec_doc_set_text(request, CODEC_USERS_GET_NAME, name);
	codec_doc_set_blob(request, CODEC_USERS_GET_AFTER, after, after_bytes);
	return recorder_users_answer(&setup, &route, request);
}

static const char *text_at(size_t index, unsigned field)
{
	return index < sent_count ? codec_doc_text(sent[index], field) : "";
}

static bool ends(bool complete)
{
	return sent_count > 0 && codec_doc_type(sent[sent_count - 1]) == CODEC_END &&
	       codec_doc_u64(sent[sent_count - 1], CODEC_END_ID) == 9 &&
	       codec_doc_u64(sent[sent_count - 1], CODEC_END_COMPLETE) == complete;
}

/* An event of agent 1 at an endpoint, as its initiator or its terminator. */
static void event_put(uint64_t seq, const struct pr_uuid *at, bool terminator, uint32_t uid,
                      const char *name)
{
	static uint8_t frame[CODEC_FRAME_MAX_BYTES];
	struct codec_event event = row_of(seq, seq * PR_NS_PER_S).event;
	const struct bus_route route = { .size_bytes = 5 };
	struct pr_uuid agent = id_of(1);
	size_t size_bytes;

	event.reporter = terminator ? CODEC_REPORTER_TERMINATOR : CODEC_REPORTER_INITIATOR;
	*(terminator ? &event.dst_endpoint : &event.src_endpoint) = *at;
	event.uid = uid;
	(void)snprintf(event.user, sizeof(event.user), "%s", name);
	if (codec_records_encode(CODEC_EVENT, &event, 1, frame, sizeof(frame), &size_bytes) !=
	            PR_OK ||
	    recorder_ingest_events(port.ingest, &agent, &route, frame, size_bytes, seq) != PR_OK ||
	    recorder_ingest_commit(port.ingest, seq, seq) != PR_OK) {
		exit(99);
	}
}

static void endpoint_put(unsigned agent, const struct pr_uuid *id, const char *kind,
                         const char *name, const char *container_id)
{
	_cleanup_(codec_doc_destroy) codec_doc_t *doc = codec_doc_new(CODEC_ENDPOINT);
	struct pr_uuid host = id_of(agent);

	codec_doc_set_uuid(doc, CODEC_ENDPOINT_UUID, id);
	codec_doc_set_uuid(doc, CODEC_ENDPOINT_HOST, &host);
	codec_doc_set_text(doc, CODEC_ENDPOINT_KIND, kind);
	codec_doc_set_text(doc, CODEC_ENDPOINT_NAME, name);
	codec_doc_set_text(doc, CODEC_ENDPOINT_CONTAINER_ID, container_id);
	if (recorder_names_put(port.names, &host, doc) != PR_OK) {
		exit(99);
	}
}

static void test_who(void)
{
	struct pr_uuid host = id_of(1), other = id_of(2), stranger = id_of(77);
	struct pr_uuid container = pr_uuid_of_container(CONTAINER);

	endpoint_put(1, &host, "host", "alpha", "");
	endpoint_put(2, &other, "host", "beta", "");
	endpoint_put(1, &container, "container", "web", CONTAINER);
	event_put(1, &host, false, 1000, "ana");
	event_put(2, &container, true, 33, "www-data");
	event_put(3, &other, false, 0, "root");
	event_put(4, &stranger, false, 1000, "ana");
	event_put(5, &host, true, 1000, "ana");
	ok(ask("", NULL, 0) == PR_OK && sent_of(CODEC_USER_SEEN) == 3 &&
	           sent_of(CODEC_EVENT_ROW) == 0 && ends(true),
	   "everybody, at both ends, without connections: %u", sent_of(CODEC_USER_SEEN));
	ok(recorder_ingest_counters(port.ingest)->users_foreign == 1,
	   "nobody at an endpoint that another agent told of");
	ok(ask("www-data", NULL, 0) == PR_OK && sent_of(CODEC_USER_SEEN) == 1 &&
	           strcmp(text_at(0, CODEC_USER_SEEN_ENDPOINT_NAME), "web") == 0 &&
	           strcmp(text_at(0, CODEC_USER_SEEN_KIND), "container") == 0 &&
	           strcmp(text_at(0, CODEC_USER_SEEN_HOST_NAME), "alpha") == 0 &&
	           codec_doc_u64(sent[0], CODEC_USER_SEEN_UID) == 33 &&
	           sent_of(CODEC_EVENT_ROW) == 1 && ends(true),
	   "one user: where, with name and number, and the connection");
	ok(strcmp(codec_doc_item(sent[0], CODEC_USER_SEEN_PROGRAMS, 0),
	          "1 2000000000 /usr/sbin/apache2") == 0,
	   "and the program: %s", codec_doc_item(sent[0], CODEC_USER_SEEN_PROGRAMS, 0));
	ok(ask("1000", NULL, 0) == PR_OK && sent_of(CODEC_USER_SEEN) == 2 &&
	           sent_of(CODEC_EVENT_ROW) == 3,
	   "by number");
	ok(ask("ANA", NULL, 0) == PR_OK && sent_count == 1 && ends(true), "nobody of that name");
	ok(ask("4294967295", NULL, 0) == PR_OK && sent_count == 1,
	   "nor of the number of the unknown");
}

static void test_pieces(void)
{
	struct pr_uuid host = id_of(1);
	unsigned rows = 0, pieces = 0;
	uint8_t after[128];
	size_t after_bytes = 0;
	char name[16];
	bool complete = false;

	for (unsigned i = 0; i < 250; i++) {
		(void)snprintf(name, sizeof(name), "u%u", i);
		event_put(6 + i, &host, false, 2000 + i, name);
	}
	while (!complete && pieces < 10 && ask("", after, after_bytes) == PR_OK) {
		rows += sent_of(CODEC_USER_SEEN);
		pieces++;
		complete = ends(true);
		if (!complete && sent_count > 1) {
			const codec_doc_t *more = sent[sent_count - 2];
			const uint8_t *next =
				codec_doc_blob(more, CODEC_USERS_MORE_AFTER, &after_bytes);
			memcpy(after, next, after_bytes);
		}
	}
	ok(rows == 253 && pieces == 3, "in pieces, each once: %u in %u", rows, pieces);
	memset(after, 0xff, sizeof(after));
	ok(ask("", after, 128) == PR_EINVAL, "a place that is none of ours");
	ok(ask("", after, 20) == PR_OK && ends(true) && sent_count == 1, "or behind all");
	sent_max = 2;
	ok(ask("", NULL, 0) == PR_OK && sent_count == 2, "a peer that takes no more gets no more");
	sent_max = PR_ARRAY_LEN(sent);
}

int main(void)
{
	sent_max = PR_ARRAY_LEN(sent);
	port_open(&port);
	test_who();
	test_pieces();
	sent_clear();
	port_close(&port);
	return tap_done();
}
