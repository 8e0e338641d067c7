/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/recorder/port.h"
#include "tests/tap.h"

#define S PR_NS_PER_S

static void test_batch(void)
{
	struct port port;
	uint64_t now = 100 * S;

	port_open(&port);
	ok(recorder_ingest_due_ns(port.ingest) == 0, "nothing waits at first");
	ok(port_events(&port, 1, 1, 10, now) == PR_OK && port.acks == 0 &&
	           recorder_ingest_due_ns(port.ingest) == now + RECORDER_COLLECT_NS,
	   "events are collected, not acknowledged");
	ok(port_events(&port, 2, 1, 5, now + 1) == PR_OK &&
	           recorder_ingest_due_ns(port.ingest) == now + RECORDER_COLLECT_NS,
	   "others join without putting it off");
	ok(recorder_ingest_commit(port.ingest, now, now) == PR_OK && port.acks == 2 &&
	           port.rows == 15 && recorder_ingest_due_ns(port.ingest) == 0 &&
	           recorder_ingest_counters(port.ingest)->commits == 1,
	   "one commit, an acknowledgement for each agent");
	ok(port_state(&port, 1).last_seq == 10 && port_state(&port, 2).last_seq == 5,
	   "and they are on disk");
	for (unsigned i = 0; i < 16; i++) {
		(void)!port_events(&port, 1, 11 + i * 64, 64, now + 2);
	}
	ok(recorder_ingest_due_ns(port.ingest) == now + 2, "a thousand are due at once");
	port.acks = 0;
	ok(recorder_ingest_commit(port.ingest, now, now) == PR_OK && port.acks == 1 &&
	           port.acknowledged == 10 + 16 * 64,
	   "many frames of one session get one acknowledgement, with the last number");
	port_close(&port);
}

static void test_again(void)
{
	struct port port;
	uint64_t now = 100 * S;

	port_open(&port);
	(void)!port_events(&port, 1, 1, 10, now);
	(void)!recorder_ingest_commit(port.ingest, now, now);
	port.rows = 0;
	ok(port_events(&port, 1, 5, 10, now) == PR_OK &&
	           recorder_ingest_commit(port.ingest, now, now) == PR_OK && port.rows == 4 &&
	           port.acknowledged == 14 && port_state(&port, 1).duplicate_count == 6,
	   "what is sent again is stored and shown once, and acknowledged");
	port.acks = 0;
	ok(port_events(&port, 1, 5, 10, now) == PR_OK &&
	           recorder_ingest_commit(port.ingest, now, now) == PR_OK && port.acks == 1 &&
	           port.acknowledged == 14,
	   "also when all of it was known");
	port_stores_close(&port);
	port_stores_open(&port, 64 << 20);
	port.rows = 0;
	ok(port_events(&port, 1, 13, 4, now) == PR_OK &&
	           recorder_ingest_commit(port.ingest, now, now) == PR_OK && port.rows == 2 &&
	           port.acknowledged == 16,
	   "a recorder that started anew knows where it was");
	port_close(&port);
}

static void test_ahead(void)
{
	struct port port;
	uint64_t now = 100 * S;

	port_open(&port);
	(void)!port_events(&port, 1, 1, 10, now);
	(void)!recorder_ingest_commit(port.ingest, now, now);
	port.acks = 0;
	ok(port_events(&port, 1, 21, 10, now) == PR_OK && port.acks == 1 &&
	           port.acknowledged == 10 && recorder_ingest_waiting(port.ingest) == 0,
	   "a frame ahead of what was committed is not taken; the agent is told where we are");
	ok(port_events(&port, 1, 31, 10, now + 1) == PR_OK && port.acks == 1,
	   "but not for every frame");
	ok(port_events(&port, 1, 11, 20, now + S) == PR_OK &&
	           recorder_ingest_commit(port.ingest, now + S, now) == PR_OK &&
	           port.acknowledged == 30 && port_state(&port, 1).gap_count == 0,
	   "it goes back, and nothing is missing");
	now += 100 * S;
	(void)!port_events(&port, 1, 41, 1, now);
	(void)!port_events(&port, 1, 41, 1, now + 3 * S);
	ok(recorder_ingest_waiting(port.ingest) == 0, "within the grace it is waited for");
	ok(port_events(&port, 1, 41, 1, now + 6 * S) == PR_OK &&
	           recorder_ingest_commit(port.ingest, now, now) == PR_OK &&
	           port_state(&port, 1).gap_count == 10 && port.acknowledged == 41,
	   "an agent that does not go back has a gap of 10");
	now += 1000 * S;
	(void)!port_events(&port, 1, 51, 1, now);
	(void)!port_events(&port, 1, 51, 1, now + 100 * S);
	ok(recorder_ingest_waiting(port.ingest) == 0, "after a long silence the grace begins anew");
	ok(port_events(&port, 7, 500, 3, now) == PR_OK &&
	           recorder_ingest_commit(port.ingest, now, now) == PR_OK &&
	           port_state(&port, 7).last_seq == 502 && port_state(&port, 7).gap_count == 499,
	   "an agent never heard of may begin anywhere: its earlier numbers are a gap here");
	port_close(&port);
}

static void test_lost(void)
{
	struct port port;
	const struct bus_route route = { .bytes = { 1 }, .size_bytes = 5 };
	struct pr_uuid agent = id_of(1);
	uint64_t now = 100 * S;

	port_open(&port);
	(void)!port_events(&port, 1, 1, 10, now);
	ok(recorder_ingest_lost(port.ingest, &agent, &route, 11, 20, now, now) == PR_OK &&
	           port.acknowledged == 30 && port_state(&port, 1).lost_count == 20 &&
	           port_state(&port, 1).gap_count == 0 && port.rows == 10,
	   "numbers that never come are acknowledged, what came before them first");
	ok(port_events(&port, 1, 31, 1, now) == PR_OK &&
	           recorder_ingest_commit(port.ingest, now, now) == PR_OK &&
	           port.acknowledged == 31,
	   "and the next one fits");
	ok(recorder_ingest_lost(port.ingest, &agent, &route, 40, 1, now, now) == PR_OK &&
	           port.acknowledged == 31 && port_state(&port, 1).lost_count == 20,
	   "those ahead wait as events do");
	ok(recorder_ingest_lost(port.ingest, &agent, &route, 32, 0, now, now) == PR_EINVAL &&
	           recorder_ingest_lost(port.ingest, &agent, &route, 32, UINT64_MAX, now, now) ==
	                   PR_EINVAL,
	   "nonsense is refused");
	port_close(&port);
}

static void test_malformed(void)
{
	static uint8_t frame[CODEC_FRAME_MAX_BYTES];
	struct codec_event events[3] = { row_of(2, 1).event, row_of(2, 1).event,
		                         row_of(3, 1).event };
	const struct bus_route route = { .size_bytes = 5 };
	struct pr_uuid agent = id_of(1);
	struct port port;
	size_t size_bytes;

	port_open(&port);
	ok(recorder_ingest_events(port.ingest, &agent, &route, (const uint8_t *)"junk", 4, 1) ==
	           PR_EMALF,
	   "junk is malformed");
	(void)!codec_records_encode(CODEC_EVENT, events, 3, frame, sizeof(frame), &size_bytes);
	ok(recorder_ingest_events(port.ingest, &agent, &route, frame, size_bytes, 1) == PR_EMALF,
	   "a number twice in a frame, too");
	events[0].seq = 0;
	(void)!codec_records_encode(CODEC_EVENT, events, 3, frame, sizeof(frame), &size_bytes);
	ok(recorder_ingest_events(port.ingest, &agent, &route, frame, size_bytes, 1) == PR_EMALF &&
	           recorder_ingest_counters(port.ingest)->malformed == 3 &&
	           recorder_ingest_waiting(port.ingest) == 0,
	   "and number 0; all are counted, nothing is kept");
	port_close(&port);
}

static codec_doc_t *endpoint_doc(const struct pr_uuid *id, const struct pr_uuid *host,
                                 const char *kind, const char *name, const char *container_id)
{
	codec_doc_t *doc = codec_doc_new(CODEC_ENDPOINT);
	codec_doc_set_uuid(doc, CODEC_ENDPOINT_UUID, id);
	codec_doc_set_uuid(doc, CODEC_ENDPOINT_HOST, host);
	codec_doc_set_text(doc, CODEC_ENDPOINT_KIND, kind);
	codec_doc_set_text(doc, CODEC_ENDPOINT_NAME, name);
	codec_doc_set_text(doc, CODEC_ENDPOINT_CONTAINER_ID, container_id);
	codec_doc_set_text(doc, CODEC_ENDPOINT_HOST_NAME, "dockersrv");
	codec_doc_add_text(doc, CODEC_ENDPOINT_LABELS, "tier=web");
	return doc;
}

static int one_row(struct port *port, uint64_t seq, const struct pr_uuid *src,
                   const struct pr_uuid *dst)
{
	static uint8_t frame[CODEC_FRAME_MAX_BYTES];
	struct codec_event event = row_of(seq, seq).event;
	const struct bus_route route = { .size_bytes = 5 };
	struct pr_uuid agent = id_of(1);
	size_t size_bytes;

	event.src_endpoint = *src;
	event.dst_endpoint = *dst;
	int err = codec_records_encode(CODEC_EVENT, &event, 1, frame, sizeof(frame), &size_bytes);
	err = err != PR_OK ? err
	                   : recorder_ingest_events(port->ingest, &agent, &route, frame, size_bytes,
	                                            seq);
	return err != PR_OK ? err : recorder_ingest_commit(port->ingest, seq, seq);
}

static void test_names(void)
{
	static const char container_id[] =
		"5f0c77b25f0c77b25f0c77b25f0c77b25f0c77b25f0c77b25f0c77b25f0c77b2";
	struct pr_uuid host = id_of(1), other = id_of(2), nobody = { { 0 } };
	struct pr_uuid container = pr_uuid_of_container(container_id);
	struct port port;

	port_open(&port);
	_cleanup_(codec_doc_destroy) codec_doc_t *doc =
		endpoint_doc(&container, &host, "container", "apache", container_id);
	_cleanup_(codec_doc_destroy) codec_doc_t *self =
		endpoint_doc(&host, &host, "host", "dockersrv", "");
	_cleanup_(codec_doc_destroy) codec_doc_t *false_id =
		endpoint_doc(&other, &host, "container", "apache", container_id);
	ok(recorder_names_put(port.names, &other, doc) == PR_EROLE &&
	           recorder_names_put(port.names, &other, self) == PR_EROLE &&
	           recorder_names_put(port.names, &host, false_id) == PR_EROLE,
	   "an agent may not tell of others' endpoints, nor give a container another id");
	ok(recorder_names_put(port.names, &host, doc) == PR_OK &&
	           recorder_names_put(port.names, &host, self) == PR_OK,
	   "it may tell of its own");
	struct pr_uuid space = pr_uuid_of_namespace(&host, "build");
	_cleanup_(codec_doc_destroy) codec_doc_t *named =
		endpoint_doc(&space, &host, "container", "build", "");
	_cleanup_(codec_doc_destroy) codec_doc_t *misnamed =
		endpoint_doc(&space, &host, "container", "built", "");
	ok(recorder_names_put(port.names, &host, named) == PR_OK &&
	           recorder_names_put(port.names, &host, misnamed) == PR_EROLE &&
	           recorder_names_put(port.names, &other, named) == PR_EROLE,
	   "and of a namespace of its own, under its own name");
	ok(one_row(&port, 1, &container, &nobody) == PR_OK &&
	           strcmp(port.last_names, "apache(container) (external) ''") == 0,
	   "rows have the names of their time: %s", port.last_names);
	_cleanup_(codec_doc_destroy) codec_doc_t *renamed =
		endpoint_doc(&container, &host, "container", "httpd", container_id);
	ok(recorder_names_put(port.names, &host, renamed) == PR_OK &&
	           one_row(&port, 2, &host, &container) == PR_OK &&
	           strcmp(port.last_names, "dockersrv(host) httpd(container) ''") == 0,
	   "a new name is for new rows: %s", port.last_names);
	port_stores_close(&port);
	port_stores_open(&port, 64 << 20);
	const codec_doc_t *kept = recorder_names_find(port.names, &container);
	ok(recorder_names_count(port.names) == 3 && kept != NULL &&
	           strcmp(codec_doc_text(kept, CODEC_ENDPOINT_NAME), "httpd") == 0 &&
	           codec_doc_count(kept, CODEC_ENDPOINT_LABELS) == 1,
	   "names outlive a restart");
	port_close(&port);
}

static void test_comments(void)
{
	static char text[] =
		"group db select name db*\n"
		"rule 10 allow from any to any tcp/80\n"
		"rule 20 allow from any to db tcp/3306 comment \"Allow MySQL server\"\n";
	struct store_revision revision = { .revision = 7,
		                           .author = text,
		                           .message = text,
		                           .text = text,
		                           .text_bytes = strlen(text) };
	struct pr_uuid nobody = { { 0 } };
	struct port port;

	port_open(&port);
	ok(one_row(&port, 1, &nobody, &nobody) == PR_OK &&
	           strcmp(port.last_names, "(external) (external) ''") == 0,
	   "a comment that is not known yet is empty");
	ok(recorder_comments_wanted(port.comments, S) == 7 &&
	           recorder_comments_wanted(port.comments, S) == 0,
	   "its revision is wanted, once");
	ok(recorder_comments_wanted(port.comments, 100 * S) == 7, "and after a minute again");
	revision.revision = 8;
	ok(recorder_comments_put(port.comments, &revision) == PR_EINVAL,
	   "one that nobody wanted is not taken");
	revision.revision = 7;
	ok(recorder_comments_put(port.comments, &revision) == PR_OK &&
	           recorder_comments_wanted(port.comments, 900 * S) == 0 &&
	           one_row(&port, 2, &nobody, &nobody) == PR_OK &&
	           strcmp(port.last_names, "(external) (external) 'Allow MySQL server'") == 0,
	   "it comes, and rows have it: %s", port.last_names);
	ok(recorder_comments_find(port.comments, 7, 10, S) == NULL &&
	           recorder_comments_find(port.comments, 7, 999, S) == NULL &&
	           recorder_comments_find(port.comments, 7, CODEC_NO_RULE, S) == NULL &&
	           recorder_comments_find(port.comments, 0, 20, S) == NULL,
	   "no comment, no rule, no revision: none");
	port_stores_close(&port);
	port_stores_open(&port, 64 << 20);
	const char *comment = recorder_comments_find(port.comments, 7, 20, S);
	ok(comment != NULL && strcmp(comment, "Allow MySQL server") == 0,
	   "texts outlive a restart");
	for (uint64_t i = 100; i < 1000; i++) {
		(void)recorder_comments_find(port.comments, i, 1, S);
	}
	unsigned wanted = 0;
	while (recorder_comments_wanted(port.comments, S) != 0) {
		wanted++;
	}
	ok(wanted == 32, "who names revisions that never were wants 32 at most: %u", wanted);
	port_close(&port);
}

int main(void)
{
	test_batch();
	test_again();
	test_ahead();
	test_lost();
	test_malformed();
	test_names();
	test_comments();
	return tap_done();
}
