/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reading and following with a peer that takes nothing for a while; and what a query sees. */
#include "recorder/answers.h"
#include "recorder/record.h"
#include "tests/recorder/port.h"
#include "tests/tap.h"

#define S PR_NS_PER_S

/* A peer with room for so many messages. */
struct peer {
	size_t room;
	int gone; /* error of the link; 0: none */
	uint64_t rows, lost, ends, complete, first_seq, last_seq;
	bool in_order;
};

static int on_send(void *arg, const struct bus_route *route, const void *data, size_t size_bytes)
{
	_cleanup_(codec_doc_destroy) codec_doc_t *doc = NULL;
	struct codec_event events[CODEC_BATCH_MAX];
	struct peer *peer = arg;
	size_t event_bytes, count;

	(void)route;
	if (peer->gone != 0) {
		return peer->gone;
	}
	if (peer->room == 0) {
		return PR_EAGAIN;
	}
	peer->room--;
	if (codec_doc_decode(data, size_bytes, &doc) != PR_OK) {
		return PR_OK;
	}
	switch ((int)codec_doc_type(doc)) {
	case CODEC_EVENT_ROW: {
		const uint8_t *event = codec_doc_blob(doc, CODEC_EVENT_ROW_EVENT, &event_bytes);
		(void)!codec_records_decode(CODEC_EVENT, event, event_bytes, events, &count);
		peer->in_order =
			peer->rows == 0 || (peer->in_order && events[0].seq > peer->last_seq);
		peer->first_seq = peer->rows == 0 ? events[0].seq : peer->first_seq;
		peer->last_seq = events[0].seq;
		peer->rows++;
		break;
	}
	case CODEC_EVENTS_LOST:
		peer->lost += codec_doc_u64(doc, CODEC_EVENTS_LOST_COUNT);
		break;
	case CODEC_END:
		peer->ends++;
		peer->complete = codec_doc_u64(doc, CODEC_END_COMPLETE);
		break;
	default:
		break;
	}
	return PR_OK;
}

static recorder_answers_t *answers;

static int ask(uint64_t id, const char *query, uint64_t limit, bool follow, uint64_t now_ns)
{
	_cleanup_(codec_doc_destroy) codec_doc_t *doc = codec_doc_new(CODEC_EVENTS_GET);
	const struct bus_route route = { .bytes = { 1 }, .size_bytes = 5 };
	struct pr_uuid peer = id_of(99);
	char problem[256] = "";

	codec_doc_set_u64(doc, CODEC_EVENTS_GET_ID, id);
	codec_doc_set_text(doc, CODEC_EVENTS_GET_QUERY, query);
	codec_doc_set_u64(doc, CODEC_EVENTS_GET_LIMIT, limit);
	codec_doc_set_u64(doc, CODEC_EVENTS_GET_FOLLOW, follow);
	return recorder_answers_ask(answers, &route, &peer, doc, now_ns, problem);
}

static void open_all(struct port *port, struct peer *peer)
{
	port_open(port);
	*peer = (struct peer){ .room = SIZE_MAX };
	const struct recorder_answers_setup setup = { .history = port->history,
		                                      .names = port->names,
		                                      .comments = port->comments,
		                                      .groups = port->groups,
		                                      .arg = peer,
		                                      .send = on_send };
	answers = recorder_answers_new(&setup);
	(void)!append(port->history, 1, 1, 3000, NULL);
}

static void close_all(struct port *port)
{
	recorder_answers_destroy(&answers);
	port_close(port);
}

static void run(uint64_t now_ns)
{
	for (unsigned i = 0; i < 1000 && recorder_answers_step(answers, now_ns); i++) {
	}
}

static void test_slow_reader(void)
{
	struct port port;
	struct peer peer;

	open_all(&port, &peer);
	peer.room = 10;
	ok(ask(1, "", 0, false, S) == PR_OK, "a request");
	run(S);
	ok(peer.rows == 10 && recorder_answers_waiting(answers), "a full peer is waited for");
	run(S);
	ok(peer.rows == 10, "nothing is lost meanwhile");
	peer.room = SIZE_MAX;
	run(2 * S);
	ok(peer.rows == 3000 && peer.in_order && peer.ends == 1 && peer.complete == 1,
	   "then he gets everything, once, in order");
	peer = (struct peer){ .room = 5 };
	(void)!ask(2, "", 0, false, S);
	run(S);
	run(S + RECORDER_STALL_NS + 1);
	struct recorder_answers_counters counters;
	recorder_answers_counters(answers, &counters);
	ok(counters.open == 0 && counters.ended_slow == 1,
	   "who takes nothing for a minute is given up");
	peer = (struct peer){ .gone = PR_EUNREACH };
	(void)!ask(3, "", 0, false, S);
	run(S);
	recorder_answers_counters(answers, &counters);
	ok(counters.open == 0, "who has gone, too");
	close_all(&port);
}

static void test_limits(void)
{
	struct port port;
	struct peer peer;

	open_all(&port, &peer);
	(void)!ask(1, "", 2000, false, S);
	run(S);
	ok(peer.rows == 2000 && peer.first_seq == 1001 && peer.last_seq == 3000 && peer.in_order &&
	           peer.complete == 0,
	   "the newest 2000 of 3000, over several pieces, oldest first");
	peer = (struct peer){ .room = SIZE_MAX };
	(void)!ask(2, "seq<101", 100, false, S);
	run(S);
	ok(peer.rows == 100 && peer.first_seq == 1 && peer.complete == 1,
	   "exactly as many as were asked for: complete");
	for (uint64_t i = 0; i < RECORDER_ANSWERS_PER_PEER; i++) {
		(void)!ask(10 + i, "", 0, true, S);
	}
	ok(ask(100, "", 0, true, S) == PR_EBUSY, "a peer may have %u requests open",
	   RECORDER_ANSWERS_PER_PEER);
	ok(ask(10, "", 0, true, S) == PR_OK, "the same one again is not another one");
	ok(ask(11, "x:y", 0, false, S) == PR_OK && ask(200, "x:y", 0, false, S) < 0,
	   "nor is it parsed again; a wrong query is an error");
	close_all(&port);
}

static void follow(struct port *port, uint64_t seq)
{
	struct store_row row = row_of(seq, seq * 1000 + 1);
	row.agent = id_of(1);
	(void)!append(port->history, 1, seq, 1, NULL);
	recorder_answers_row(answers, &row, S);
}

static void test_follower(void)
{
	struct port port;
	struct peer peer;

	open_all(&port, &peer);
	(void)!ask(1, "", 10, true, S);
	run(S);
	ok(peer.rows == 10 && peer.ends == 0, "a follower gets what there is, and no end");
	for (uint64_t seq = 3001; seq <= 3010; seq++) {
		follow(&port, seq);
	}
	ok(peer.rows == 20 && peer.in_order && peer.last_seq == 3010, "and what comes");
	peer.room = 3;
	for (uint64_t seq = 3011; seq <= 3020; seq++) {
		follow(&port, seq);
	}
	ok(peer.rows == 23 && peer.last_seq == 3013, "a slow one loses rows");
	peer.room = SIZE_MAX;
	run(S);
	ok(peer.lost == 7, "and is told how many: %llu", (unsigned long long)peer.lost);
	follow(&port, 3021);
	ok(peer.rows == 24 && peer.last_seq == 3021 && peer.lost == 7, "and goes on");
	run(S + RECORDER_FOLLOW_NS - 1);
	(void)!ask(1, "", 10, true, S + RECORDER_FOLLOW_NS - 1);
	run(S + RECORDER_FOLLOW_NS + 5);
	struct recorder_answers_counters counters;
	recorder_answers_counters(answers, &counters);
	ok(counters.following == 1, "asking again prolongs");
	run(S + 2 * RECORDER_FOLLOW_NS + 5);
	recorder_answers_counters(answers, &counters);
	ok(counters.following == 0, "silence ends it");
	close_all(&port);
}

/* Rows that are committed while the history is still being read. */
static void test_join(void)
{
	struct port port;
	struct peer peer;

	open_all(&port, &peer);
	peer.room = 100;
	(void)!ask(1, "", 0, true, S);
	run(S);
	follow(&port, 3001);
	follow(&port, 3002);
	peer.room = SIZE_MAX;
	run(S);
	follow(&port, 3003);
	ok(peer.rows == 3003 && peer.in_order && peer.last_seq == 3003,
	   "nothing is missed or shown twice where reading ends and following begins");
	close_all(&port);
}

static unsigned matches(struct port *port, const struct store_row *row, const char *query)
{
	char scratch[RECORDER_SCRATCH_BYTES];
	policy_query_t *parsed = NULL;
	struct recorder_record record;

	if (policy_query_parse(query, NULL, &parsed) != PR_OK) {
		return 2;
	}
	recorder_record_fill(&record, row, port->names, port->comments, port->groups, scratch, S);
	bool match = policy_query_match(parsed, recorder_record_value, &record);
	policy_query_destroy(&parsed);
	return match;
}

static void test_record(void)
{
	static const struct {
		const char *query;
		bool match;
	} cases[] = {
		{ "src.name:apache", true },
		{ "src.name:mysql", false },
		{ "dst.name:mysql", true },
		{ "name:mysql", true },
		{ "src.ip:172.18.0.3", true },
		{ "dst.ip:172.18.0.0/16", true },
		{ "dst.ip:10.0.0.0/8", false },
		{ "src.port:40000", true },
		{ "dst.port:3306", true },
		{ "port:1024-", true },
		{ "port:80", false },
		{ "dst.ip:192.0.2.9", true }, /* translated */
		{ "dst.port:33060", true },
		{ "src.port:33060", false },
		{ "src.image:httpd*", true },
		{ "kind:container", true },
		{ "src.host:dockersrv", true },
		{ "src.container:77b25f0c", true },
		{ "src.container:5f0c77b2", false },
		{ "user:www-data", true },
		{ "user:33", true },
		{ "user:root", false },
		{ "process:apache2", true },
		{ "process:/usr/sbin/apache2", true },
		{ "process:nginx", false },
		{ "pid:4242", true },
		{ "service:tcp/3306", true },
		{ "proto:tcp", true },
		{ "proto:6", true },
		{ "proto:udp", false },
		{ "verdict:allowed", true },
		{ "verdict:denied", false },
		{ "rule:20", true },
		{ "rule:21", false },
		{ "comment:\"Allow MySQL server\"", true },
		{ "mode:enforce", true },
		{ "seq:9", true },
		{ "id:11000000-0000-0000-0000-000000000001-9", true },
		{ "id:11000000-0000-0000-0000-000000000001-8", false },
		{ "seq>9", false },
		{ "decided_by:worker", true },
		{ "reporter:initiator", true },
		{ "revision:7", true },
		{ "latency_us>300", true },
		{ "latency_us>400", false },
		{ "is:container", true },
		{ "is:external", false },
		{ "is:unknown", false },
		{ "connection:0000000000000117", true },
		{ "-user:root verdict:allowed", true },
		{ "mysql", true },
	};
	struct store_row row = row_of(9, 9000);
	struct port port;
	struct peer peer;

	open_all(&port, &peer);
	row.agent = id_of(1);
	row.event.translated = pr_addr_from_v4(0x090200c0);
	row.event.translated_port = 33060;
	for (size_t i = 0; i < PR_ARRAY_LEN(cases); i++) {
		ok(matches(&port, &row, cases[i].query) == cases[i].match, "%s%s",
		   cases[i].match ? "" : "not ", cases[i].query);
	}
	row.event.rule = CODEC_NO_RULE;
	row.event.uid = CODEC_NO_UID;
	row.event.user[0] = '\0';
	row.event.pid = 0;
	ok(matches(&port, &row, "rule:none") == 1 && matches(&port, &row, "user:none") == 1 &&
	           matches(&port, &row, "pid:none") == 1 && matches(&port, &row, "rule:20") == 0,
	   "what a row does not have is none");
	close_all(&port);
}

static void tell(struct port *port, const struct pr_uuid *id, const char *kind, const char *name)
{
	_cleanup_(codec_doc_destroy) codec_doc_t *doc = codec_doc_new(CODEC_ENDPOINT);

	codec_doc_set_uuid(doc, CODEC_ENDPOINT_UUID, id);
	codec_doc_set_uuid(doc, CODEC_ENDPOINT_HOST, id);
	codec_doc_set_text(doc, CODEC_ENDPOINT_KIND, kind);
	codec_doc_set_text(doc, CODEC_ENDPOINT_NAME, name);
	codec_doc_add_text(doc, CODEC_ENDPOINT_LABELS, "com.docker.compose.service=web");
	(void)!recorder_names_put(port->names, id, doc);
}

static void test_groups(void)
{
	static char text[] = "group servers select host srv*\n"
			     "group web select compose.service web\n"
			     "group named member 11000000-0000-0000-0000-000000000005\n"
			     "group empty select name nothing\n";
	struct store_revision revision = { .revision = 7,
		                           .author = text,
		                           .message = text,
		                           .text = text,
		                           .text_bytes = strlen(text) };
	struct store_row row = row_of(1, 1);
	struct port port;
	struct peer peer;

	open_all(&port, &peer);
	row.event.src_endpoint = id_of(5);
	row.event.dst_endpoint = id_of(6);
	row.src.name = row.dst.name = ""; /* not known when it was stored */
	tell(&port, &row.event.src_endpoint, "host", "srv1");
	ok(matches(&port, &row, "src.group:servers") == 0,
	   "groups of a revision that is not here are not known");
	recorder_groups_look(port.groups);
	ok(store_policy_cache(port.store, &revision) == PR_OK &&
	           matches(&port, &row, "src.group:servers") == 1 &&
	           matches(&port, &row, "src.group:web") == 1 &&
	           matches(&port, &row, "src.group:named") == 1 &&
	           matches(&port, &row, "src.group:empty") == 0,
	   "then an endpoint is in all the groups that choose it");
	ok(matches(&port, &row, "src.compose.service:web") == 1 &&
	           matches(&port, &row, "compose.service:we*") == 1 &&
	           matches(&port, &row, "dst.compose.service:web") == 0 &&
	           matches(&port, &row, "compose.project:web") == 0,
	   "what Compose made it for is asked like a label");
	ok(matches(&port, &row, "dst.group:servers") == 0 &&
	           matches(&port, &row, "group:servers") == 1,
	   "and an unknown one in none");
	tell(&port, &row.event.src_endpoint, "host", "db1");
	ok(matches(&port, &row, "src.group:servers") == 0 &&
	           matches(&port, &row, "src.group:web") == 1,
	   "a new name, other groups");
	row.src.name = "srv1";
	ok(matches(&port, &row, "src.group:servers") == 1 &&
	           matches(&port, &row, "src.group:web") == 1,
	   "but those of the name that it had then, where the event has one");
	row.src.name = "db1";
	ok(matches(&port, &row, "src.group:servers") == 0, "of that name, not of another");
	row.event.revision = 8;
	ok(matches(&port, &row, "src.group:web") == 0, "another revision, other groups");
	close_all(&port);
}

int main(void)
{
	test_slow_reader();
	test_limits();
	test_follower();
	test_join();
	test_record();
	test_groups();
	return tap_done();
}
