/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Joined answers of a recorder: what is sent, in which order, and to followers when. */
#include <arpa/inet.h>

#include "recorder/answers.h"
#include "recorder/join.h"
#include "tests/recorder/port.h"
#include "tests/tap.h"

#define S     PR_NS_PER_S
#define MS    PR_NS_PER_MS
#define T0    (1000 * S)
#define ROWS  4096
#define NEAR  1
#define FAR   2
#define COUNT 300 /* connections, a second apart */

/* What came to the one who asked. */
struct shown {
	uint64_t near_seq, far_seq, time_ns, join;
	char src[32], dst[32];
};

static struct shown rows[ROWS];
static size_t row_count, room = SIZE_MAX, ends, complete, lost;
static char end_text[256];
static recorder_answers_t *answers;

static struct codec_event event_read(const codec_doc_t *doc, unsigned field)
{
	struct codec_event events[CODEC_BATCH_MAX] = { { .seq = 0 } };
	size_t size_bytes, count;
	const uint8_t *data = codec_doc_blob(doc, field, &size_bytes);

	if (size_bytes > 0) {
		(void)!codec_records_decode(CODEC_EVENT, data, size_bytes, events, &count);
	}
	return events[0];
}

static void row_take(const codec_doc_t *doc)
{
	struct shown *shown = &rows[row_count++ % ROWS];
	struct codec_event first = event_read(doc, CODEC_EVENT_ROW_EVENT);
	struct codec_event second = event_read(doc, CODEC_EVENT_ROW_FAR_EVENT);
	bool near_end = first.reporter == CODEC_REPORTER_INITIATOR;

	*shown = (struct shown){ .near_seq = near_end ? first.seq : 0,
		                 .far_seq = near_end ? second.seq : first.seq,
		                 .time_ns = first.time_wall_ns,
		                 .join = codec_doc_u64(doc, CODEC_EVENT_ROW_JOIN) };
	(void)snprintf(shown->src, sizeof(shown->src), "%s",
	               codec_doc_text(doc, CODEC_EVENT_ROW_SRC_NAME));
	(void)snprintf(shown->dst, sizeof(shown->dst), "%s",
	               codec_doc_text(doc, CODEC_EVENT_ROW_DST_NAME));
}

static int on_send(void *arg, const struct bus_route *route, const void *data, size_t size_bytes)
{
	_cleanup_(codec_doc_destroy) codec_doc_t *doc = NULL;

	(void)arg;
	(void)route;
	if (room == 0) {
		return PR_EAGAIN;
	}
	room--;
	if (codec_doc_decode(data, size_bytes, &doc) != PR_OK) {
		return PR_OK;
	}
	if (codec_doc_type(doc) == CODEC_EVENT_ROW) {
		row_take(doc);
	} else if (codec_doc_type(doc) == CODEC_END) {
		ends++;
		complete = codec_doc_u64(doc, CODEC_END_COMPLETE);
		(void)snprintf(end_text, sizeof(end_text), "%s",
		               codec_doc_text(doc, CODEC_END_TEXT));
	} else {
		lost++;
	}
	return PR_OK;
}

/* ---- the history ---- */

static struct store_row end_row(unsigned agent, uint64_t seq, uint64_t connection, uint64_t time_ns)
{
	bool near_end = agent == NEAR;
	struct store_row row = row_of(seq, T0 + time_ns);

	row.agent = id_of(agent);
	row.event.reporter = near_end ? CODEC_REPORTER_INITIATOR : CODEC_REPORTER_TERMINATOR;
	row.event.connection = connection;
	row.event.src_endpoint = id_of(NEAR);
	row.event.dst_endpoint = id_of(FAR);
	row.event.src_port = (uint16_t)(1024 + connection);
	(void)snprintf(row.event.user, sizeof(row.event.user), "%s", near_end ? "ana" : "mysql");
	/* Each end knows best what it is itself called. */
	row.src.name = near_end ? "client" : "src-as-far-knows";
	row.dst.name = near_end ? "dst-as-near-knows" : "server";
	return row;
}

static void put(struct port *port, struct store_row row)
{
	struct store_batch batch = { .agent = row.agent, .rows = &row, .count = 1 };

	(void)!store_history_append(port->history, &batch, 1);
}

/* Connection N at second N: both ends, but 7, 17, ... have no far and 9, 19, ... no near one. */
static void open_all(struct port *port)
{
	static struct store_row near_rows[COUNT], far_rows[COUNT];
	size_t near_count = 0, far_count = 0;

	port_open(port);
	room = SIZE_MAX;
	row_count = ends = lost = 0;
	const struct recorder_answers_setup setup = { .history = port->history,
		                                      .names = port->names,
		                                      .comments = port->comments,
		                                      .groups = port->groups,
		                                      .send = on_send };
	answers = recorder_answers_new(&setup);
	for (uint64_t n = 1; n <= COUNT; n++) {
		if (n % 10 != 9) {
			near_rows[near_count++] = end_row(NEAR, n, n, n * S);
		}
		if (n % 10 != 7) {
			far_rows[far_count++] = end_row(FAR, n, n, n * S + 3 * S);
		}
	}
	struct store_batch batches[] = {
		{ .agent = id_of(NEAR), .rows = near_rows, .count = near_count },
		{ .agent = id_of(FAR), .rows = far_rows, .count = far_count },
	};
	(void)!store_history_append(port->history, batches, 2);
}

static void close_all(struct port *port)
{
	recorder_answers_destroy(&answers);
	port_close(port);
}

struct ask {
	const char *query;
	uint64_t since_s, until_s, limit;
	bool follow, enough;
};

static int ask(uint64_t id, const struct ask *what)
{
	_cleanup_(codec_doc_destroy) codec_doc_t *doc = codec_doc_new(CODEC_EVENTS_GET);
	const struct bus_route route = { .bytes = { 1 }, .size_bytes = 5 };
	struct pr_uuid peer = id_of(99);
	char problem[256] = "";

	row_count = ends = 0;
	codec_doc_set_u64(doc, CODEC_EVENTS_GET_ID, id);
	codec_doc_set_text(doc, CODEC_EVENTS_GET_QUERY, what->query != NULL ? what->query : "");
	codec_doc_set_u64(doc, CODEC_EVENTS_GET_SINCE,
	                  what->since_s != 0 ? T0 + what->since_s * S : 0);
	codec_doc_set_u64(doc, CODEC_EVENTS_GET_UNTIL,
	                  what->until_s != 0 ? T0 + what->until_s * S : 0);
	codec_doc_set_u64(doc, CODEC_EVENTS_GET_LIMIT, what->limit);
	codec_doc_set_u64(doc, CODEC_EVENTS_GET_FOLLOW, what->follow);
	codec_doc_set_u64(doc, CODEC_EVENTS_GET_JOINED, true);
	codec_doc_set_u64(doc, CODEC_EVENTS_GET_ENOUGH, what->enough);
	return recorder_answers_ask(answers, &route, &peer, doc, S, problem);
}

static void run(uint64_t now_ns)
{
	for (unsigned i = 0; i < 1000 && recorder_answers_step(answers, now_ns); i++) {
	}
}

#define ASK(id, ...) (ask(id, &(const struct ask){ __VA_ARGS__ }) == PR_OK ? run(S) : (void)0)

/* Rows are those of connections first..last, each as it must be. */
static bool rows_are(uint64_t first, uint64_t last)
{
	if (row_count != last - first + 1) {
		return false;
	}
	for (uint64_t n = first; n <= last; n++) {
		unsigned join = n % 10 == 7   ? CODEC_JOIN_FAR_UNSEEN
		                : n % 10 == 9 ? CODEC_JOIN_NEAR_UNSEEN
		                              : CODEC_JOIN_BOTH;
		/* Not at its place: of those without a near end the far one is 3 s late. */
		bool found = false;
		for (size_t i = 0; i < row_count && !found; i++) {
			const struct shown *row = &rows[i];
			found = row->join == join && row->near_seq == (n % 10 == 9 ? 0 : n) &&
			        row->far_seq == (n % 10 == 7 ? 0 : n);
		}
		if (!found) {
			printf("# connection %llu\n", (unsigned long long)n);
			return false;
		}
	}
	return true;
}

static void test_list(void)
{
	struct port port;

	open_all(&port);
	ASK(1, .limit = 0);
	ok(rows_are(1, COUNT) && ends == 1 && complete == 1, "all: one row a connection, %zu",
	   row_count);
	ok(strcmp(rows[0].src, "client") == 0 && strcmp(rows[0].dst, "server") == 0,
	   "each end is called what its own agent calls it");
	ASK(2, .limit = 1000);
	ok(rows_are(1, COUNT) && complete == 1, "a limit beyond what there is: all, complete");
	ASK(3, .limit = 45);
	ok(row_count == 45 && complete == 0, "the newest 45 connections, and more match");
	ASK(4, .limit = COUNT);
	ok(rows_are(1, COUNT) && complete == 1, "exactly as many as there are: complete");
	ASK(5, .query = "user:ana", .since_s = 101, .until_s = 105);
	ok(row_count == 4 && rows[0].near_seq == 101 && rows[0].far_seq == 101 &&
	           rows[3].near_seq == 104 && rows[3].far_seq == 104,
	   "a row matches when one end does, and has the other one all the same, also beyond the "
	   "time: %zu",
	   row_count);
	ASK(6, .query = "user:mysql reporter:terminator", .since_s = 102, .until_s = 103);
	ok(row_count == 2 && rows[0].near_seq == 102 && rows[0].far_seq == 102 &&
	           rows[1].near_seq == 0 && rows[1].far_seq == 99,
	   "a row is at the time of its earlier end: no late end is shown alone");
	ASK(7, .query = "connection:0000000000000010", .limit = 1, .enough = true);
	ok(row_count == 1 && rows[0].near_seq == 16 && rows[0].far_seq == 16 && ends == 1,
	   "one connection of old");
	ASK(8, .query = "user:nobody", .limit = 5);
	ok(row_count == 0 && ends == 1 && complete == 1, "none");
	close_all(&port);
}

static void test_limits(void)
{
	struct port port;
	bool good = true;

	open_all(&port);
	for (uint64_t limit = 1; limit <= 60 && good; limit++) {
		ASK(limit, .limit = limit);
		good = row_count == limit && ends == 1 && complete == 0;
		uint64_t oldest = 0;
		for (size_t i = 0; i < row_count; i++) {
			good = good && rows[i].time_ns >= oldest;
			oldest = rows[i].time_ns;
		}
		if (!good) {
			printf("# limit %llu: %zu rows\n", (unsigned long long)limit, row_count);
		}
	}
	ok(good, "each limit is met exactly, in order of time");
	ok(ask(100, &(const struct ask){ .limit = RECORDER_JOIN_LIMIT_MAX + 1 }) == PR_EINVAL,
	   "a limit beyond the bound is refused");
	room = 10;
	ASK(101, .limit = 0);
	ok(row_count == 10 && recorder_answers_waiting(answers), "a full peer is waited for");
	room = SIZE_MAX;
	run(2 * S);
	ok(rows_are(1, COUNT) && ends == 1, "then he gets everything, once");
	for (uint64_t i = 0; i < RECORDER_ANSWERS_JOINED; i++) {
		(void)!ask(200 + i, &(const struct ask){ .follow = true });
	}
	ok(ask(300, &(const struct ask){ .follow = true }) == PR_EBUSY,
	   "only so many joined answers at a time");
	close_all(&port);
}

/* Backwards a connection is found when its later end is 10 s away, whatever its earlier end is. */
static void test_counting(void)
{
	const struct store_range all = { 0 };
	recorder_join_t *join = recorder_join_new(&all, 1, false);
	struct port port;
	bool known = false, more = false;

	open_all(&port);
	const struct store_row back[] = {
		end_row(FAR, 1, 1, 109 * S),  end_row(NEAR, 2, 2, 105 * S),
		end_row(NEAR, 3, 1, 100 * S), end_row(NEAR, 4, 4, 98 * S),
		end_row(NEAR, 5, 5, 96 * S),  end_row(NEAR, 6, 6, 94 * S),
	};
	size_t count = 0;
	while (!known && count < PR_ARRAY_LEN(back)) {
		known = recorder_join_put(join, &back[count++], port.names, true, 0) == PR_OK &&
		        recorder_join_counted(join, 1000, &more);
	}
	ok(known && recorder_join_show(join, &more) == PR_OK &&
	           recorder_join_range(join).since_wall_ns == T0 + 95 * S,
	   "the newest one is that of 105 s, though that of 100 and 109 s is found before it");
	recorder_join_destroy(&join);
	close_all(&port);
}

static void come(struct port *port, struct store_row row, uint64_t now_ns)
{
	put(port, row);
	recorder_answers_row(answers, &row, now_ns);
}

static void test_follow(void)
{
	struct port port;

	open_all(&port);
	ASK(1, .limit = 2, .follow = true);
	run(4 * S); /* those that were there wait as those that come */
	ok(row_count == 2 && ends == 0, "a follower gets what there is: %zu", row_count);
	come(&port, end_row(FAR, 1000, 1000, 1000 * S), 5 * S);
	ok(row_count == 2, "one end is waited for");
	come(&port, end_row(NEAR, 1000, 1000, 1000 * S - MS), 5 * S + MS);
	ok(row_count == 3 && rows[2].near_seq == 1000 && rows[2].far_seq == 1000 &&
	           rows[2].join == CODEC_JOIN_BOTH,
	   "when both are there the row comes at once, in whatever order they came");
	come(&port, end_row(NEAR, 1001, 1001, 1001 * S), 6 * S);
	run(6 * S + RECORDER_PAIR_LIVE_NS);
	ok(row_count == 3, "an end alone is waited for");
	run(6 * S + RECORDER_PAIR_LIVE_NS + 1);
	ok(row_count == 4 && rows[3].join == CODEC_JOIN_FAR_UNSEEN, "then it comes, and says so");
	come(&port, end_row(FAR, 1001, 1001, 1001 * S), 10 * S);
	ok(row_count == 5 && rows[4].near_seq == 1001 && rows[4].join == CODEC_JOIN_LATE,
	   "the late one comes with it");
	struct recorder_answers_counters counters;
	recorder_answers_counters(answers, &counters);
	ok(counters.joined >= 2 && counters.singles >= 1 && lost == 0, "counted");
	close_all(&port);
}

/* Rows that are committed while the history is still being read. */
static void test_seam(void)
{
	struct port port;

	open_all(&port);
	room = 100;
	ASK(1, .follow = true);
	come(&port, end_row(NEAR, 1000, 1000, 1000 * S), S);
	come(&port, end_row(FAR, 1000, 1000, 1000 * S), S);
	room = SIZE_MAX;
	run(S);
	come(&port, end_row(NEAR, 1001, 1001, 1001 * S), S);
	come(&port, end_row(FAR, 1001, 1001, 1001 * S), S);
	run(S + RECORDER_PAIR_LIVE_NS + 1);
	unsigned seen[2] = { 0 };
	for (size_t i = 0; i < row_count; i++) {
		for (unsigned k = 0; k < 2; k++) {
			seen[k] += rows[i].near_seq == 1000 + k && rows[i].far_seq == 1000 + k;
		}
	}
	ok(row_count == COUNT + 2 && seen[0] == 1 && seen[1] == 1,
	   "nothing is missed or shown twice where reading ends and following begins: %zu",
	   row_count);
	close_all(&port);
}

static void container_tell(struct port *port, struct pr_uuid *ret_id)
{
	static const char id_text[] =
		"77b25f0c77b25f0c77b25f0c77b25f0c77b25f0c77b25f0c77b25f0c77b25f0c";
	_cleanup_(codec_doc_destroy) codec_doc_t *doc = codec_doc_new(CODEC_ENDPOINT);
	struct pr_uuid host = id_of(FAR);

	*ret_id = pr_uuid_of_container(id_text);
	codec_doc_set_uuid(doc, CODEC_ENDPOINT_UUID, ret_id);
	codec_doc_set_uuid(doc, CODEC_ENDPOINT_HOST, &host);
	codec_doc_set_text(doc, CODEC_ENDPOINT_KIND, "container");
	codec_doc_set_text(doc, CODEC_ENDPOINT_CONTAINER_ID, id_text);
	ok(recorder_names_put(port->names, &host, doc) == PR_OK, "a container of the far host");
}

static void test_liar(void)
{
	struct store_row near_row = end_row(NEAR, 2000, 2000, 2000 * S);
	struct store_row far_row = end_row(FAR, 2000, 2000, 2000 * S + MS);
	struct pr_uuid container;
	struct port port;

	open_all(&port);
	container_tell(&port, &container);
	near_row.event.dst_endpoint = far_row.event.dst_endpoint = container;
	put(&port, near_row);
	struct store_row liar = far_row;
	liar.agent = id_of(66);
	put(&port, liar); /* a container that is not on it */
	ASK(1, .query = "connection:00000000000007d0", .since_s = 1900);
	ok(row_count == 2 && rows[0].join == CODEC_JOIN_FAR_UNSEEN &&
	           rows[1].join == CODEC_JOIN_NOT_OWN &&
	           strstr(end_text, "1 end not joined") != NULL,
	   "an agent that reports at another's container joins nothing; END says it: %s", end_text);
	liar.event.dst_endpoint = id_of(66);
	liar.event.seq = 2001;
	put(&port, liar); /* itself, though it went to another */
	put(&port, far_row);
	ASK(2, .query = "connection:00000000000007d0", .since_s = 1900);
	ok(row_count == 3 && rows[0].join == CODEC_JOIN_BOTH && rows[0].far_seq == 2000 &&
	           rows[1].join != CODEC_JOIN_BOTH && rows[2].join != CODEC_JOIN_BOTH,
	   "the true one is joined beside it");
	struct recorder_answers_counters counters;
	recorder_answers_counters(answers, &counters);
	ok(counters.joins_refused == 3, "and each false one counted: %llu",
	   (unsigned long long)counters.joins_refused);
	close_all(&port);
}

int main(void)
{
	test_list();
	test_limits();
	test_counting();
	test_follow();
	test_seam();
	test_liar();
	return tap_done();
}
