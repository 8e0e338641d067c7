/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which two ends are one connection, and above all which are not. */
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "codec/codec.h"
#include "recorder/pairs.h"
#include "tests/store/dir.h"
#include "tests/tap.h"

#define S    PR_NS_PER_S
#define MS   PR_NS_PER_MS
#define T0   (1000 * S)
#define MANY 10000U

static recorder_pairs_t *pairs;
static struct recorder_pair rows[64];
static unsigned row_count;

static struct pr_addr addr_of(unsigned last)
{
	return pr_addr_from_v4(htonl(0x0a000000U + last));
}

/* An end of a connection of host 1 to host 2. */
static struct recorder_end end_of(bool near_end, uint64_t connection, uint64_t time_ns,
                                  uint64_t seq)
{
	return (struct recorder_end){
		.key = { T0 + time_ns, id_of(near_end ? 1 : 2), seq },
		.connection = connection,
		.src = addr_of(1),
		.dst = addr_of(2),
		.wire_dst = addr_of(2),
		.src_endpoint = id_of(1),
		.dst_endpoint = id_of(2),
		.dst_host = id_of(2),
		.pid = near_end ? 100 : 200,
		.src_port = 40000,
		.wire_dst_port = 3306,
		.proto = 6,
		.reporter = near_end ? CODEC_REPORTER_INITIATOR : CODEC_REPORTER_TERMINATOR,
		.verdict = CODEC_EVENT_VERDICT_ALLOWED,
		.own = true,
		.matches = true,
	};
}

static void take(uint64_t clock_ns)
{
	while (row_count < PR_ARRAY_LEN(rows) &&
	       recorder_pairs_next(pairs, clock_ns, &rows[row_count])) {
		row_count++;
	}
}

/* Rows of some ends, in a history that is read forwards; the number of them. */
static unsigned rows_of(const struct recorder_end *ends, size_t count)
{
	recorder_pairs_destroy(&pairs);
	pairs = recorder_pairs_new(7);
	row_count = 0;
	for (size_t i = 0; i < count; i++) {
		if (recorder_pairs_put(pairs, &ends[i], ends[i].key.time_wall_ns) != PR_OK) {
			return 0;
		}
		take(ends[i].key.time_wall_ns);
	}
	take(UINT64_MAX);
	return row_count;
}

static unsigned rows_of_two(const struct recorder_end *a, const struct recorder_end *b)
{
	const struct recorder_end ends[] = { *a, *b };
	return rows_of(ends, 2);
}

static void test_two(void)
{
	struct recorder_end near_end = end_of(true, 5, 0, 1), far_end = end_of(false, 5, MS, 1);

	ok(rows_of_two(&near_end, &far_end) == 1 && rows[0].both &&
	           rows[0].join == CODEC_JOIN_BOTH && recorder_pair_near(&rows[0])->pid == 100 &&
	           recorder_pair_far(&rows[0])->pid == 200,
	   "two ends of one connection are one row");
	far_end.key.time_wall_ns = T0 - MS;
	ok(rows_of_two(&far_end, &near_end) == 1 && rows[0].both &&
	           recorder_pair_near(&rows[0])->pid == 100 &&
	           recorder_pair_key(&rows[0])->time_wall_ns == T0 - MS,
	   "also when the far end's clock is behind; the row's time is the earlier one");
	near_end.wire_dst = addr_of(77);
	far_end.wire_dst = addr_of(77);
	near_end.wire_dst_port = far_end.wire_dst_port = 8000;
	near_end.dst_endpoint = id_of(2);
	far_end.dst_endpoint = id_of(9);
	ok(rows_of_two(&far_end, &near_end) == 1 && rows[0].both,
	   "translated: the same on the wire, a container of the host that it went to");
	near_end.dst_endpoint = near_end.dst_host = (struct pr_uuid){ 0 };
	ok(rows_of_two(&far_end, &near_end) == 1 && rows[0].both,
	   "the near end need not know whose address it is");
	far_end.src = addr_of(50);
	far_end.src_port = 1024;
	ok(rows_of_two(&far_end, &near_end) == 1 && rows[0].both,
	   "a translated source has another port");
}

/* Change one thing of a far end that fits: then nothing is joined. */
static void test_disagree(void)
{
	static const struct {
		const char *what;
		unsigned join;
	} cases[] = {
		{ "protocol", CODEC_JOIN_OTHER_SERVICE },
		{ "port on the wire", CODEC_JOIN_OTHER_SERVICE },
		{ "address on the wire", CODEC_JOIN_OTHER_ADDRESS },
		{ "source port of the same source", CODEC_JOIN_OTHER_ADDRESS },
		{ "who started it", CODEC_JOIN_OTHER_ENDPOINT },
		{ "the host that it went to", CODEC_JOIN_OTHER_ENDPOINT },
		{ "time", CODEC_JOIN_OTHER_TIME },
	};

	for (size_t i = 0; i < PR_ARRAY_LEN(cases); i++) {
		struct recorder_end near_end = end_of(true, 5, 0, 1);
		struct recorder_end far_end = end_of(false, 5, MS, 1);
		far_end.proto = i == 0 ? 17 : 6;
		far_end.wire_dst_port = i == 1 ? 3307 : 3306;
		far_end.wire_dst = addr_of(i == 2 ? 3 : 2);
		far_end.src_port = i == 3 ? 40001 : 40000;
		far_end.src_endpoint = id_of(i == 4 ? 3 : 1);
		if (i == 5) { /* host 3 says that it got what went to host 2 */
			far_end.key.agent = far_end.dst_endpoint = id_of(3);
		}
		if (i == 6) {
			far_end.key.time_wall_ns += RECORDER_PAIR_NS;
		}
		ok(rows_of_two(&near_end, &far_end) == 2 && !rows[0].both && !rows[1].both &&
		           (rows[0].join == cases[i].join || rows[1].join == cases[i].join) &&
		           recorder_pairs_counters(pairs)->disagreed >= 1,
		   "one id, but they disagree on %s: not joined, said, counted (%u %u)",
		   cases[i].what, rows[0].join, rows[1].join);
	}
}

static void test_lone(void)
{
	static const struct pr_uuid nobody;
	struct recorder_end end = end_of(true, 5, 0, 1);

	ok(rows_of(&end, 1) == 1 && rows[0].join == CODEC_JOIN_FAR_UNSEEN, "far end not seen");
	end.dst_endpoint = end.dst_host = nobody;
	ok(rows_of(&end, 1) == 1 && rows[0].join == CODEC_JOIN_FAR_STRANGE, "no agent there");
	end.verdict = CODEC_EVENT_VERDICT_DENIED;
	ok(rows_of(&end, 1) == 1 && rows[0].join == CODEC_JOIN_STOPPED, "stopped before it left");
	end.verdict = CODEC_EVENT_VERDICT_WOULD_DENY;
	ok(rows_of(&end, 1) == 1 && rows[0].join == CODEC_JOIN_FAR_STRANGE,
	   "would-deny stops nothing");
	end.connection = 0;
	ok(rows_of(&end, 1) == 1 && rows[0].join == CODEC_JOIN_NO_ID, "no connection id");
	end = end_of(true, 5, 0, 1);
	end.dst_endpoint = end.src_endpoint;
	ok(rows_of(&end, 1) == 1 && rows[0].join == CODEC_JOIN_LOOPBACK, "within one host");
	end = end_of(false, 5, 0, 1);
	ok(rows_of(&end, 1) == 1 && rows[0].join == CODEC_JOIN_NEAR_UNSEEN, "near end not seen");
	end.src_endpoint = nobody;
	ok(rows_of(&end, 1) == 1 && rows[0].join == CODEC_JOIN_NEAR_STRANGE, "nobody enrolled");
	end.unknown = CODEC_UNKNOWN_NO_NOTICE;
	ok(rows_of(&end, 1) == 1 && rows[0].join == CODEC_JOIN_UNTOLD, "its agent said nothing");
	end.unknown = CODEC_UNKNOWN_PROCESS_GONE;
	ok(rows_of(&end, 1) == 1 && rows[0].join == CODEC_JOIN_NEAR_UNKNOWN,
	   "of whom nothing is known it is not said that he has no agent");
	struct recorder_end ends[] = { end_of(true, 0, 0, 1), end_of(false, 0, MS, 1) };
	ok(rows_of(ends, 2) == 2, "two ends without an id are not one connection");
}

static void test_liar(void)
{
	struct recorder_end near_end = end_of(true, 5, 0, 1), far_end = end_of(false, 5, MS, 1);
	struct recorder_end liar = end_of(false, 5, MS / 2, 1);

	liar.key.agent = id_of(66); /* speaks of host 2's endpoint */
	liar.own = false;
	struct recorder_end ends[] = { near_end, liar, far_end };
	ok(rows_of(ends, 3) == 2 && rows[0].both && recorder_pair_far(&rows[0])->pid == 200 &&
	           recorder_pair_far(&rows[0])->key.agent.bytes[0] == id_of(2).bytes[0] &&
	           rows[1].join == CODEC_JOIN_NOT_OWN &&
	           recorder_pairs_counters(pairs)->disagreed == 1,
	   "who speaks of another's endpoint joins nothing, disturbs nothing, is counted");
	ends[1].own = true; /* speaks of itself */
	ends[1].dst_endpoint = id_of(66);
	ok(rows_of(ends, 3) == 2 && rows[0].both &&
	           pr_uuid_equal(&recorder_pair_far(&rows[0])->dst_endpoint,
	                         &far_end.dst_endpoint) &&
	           rows[1].join == CODEC_JOIN_OTHER_ENDPOINT &&
	           recorder_pairs_counters(pairs)->disagreed == 1,
	   "nor who claims a connection that went elsewhere");
	for (unsigned i = 0; i < 3; i++) {
		ends[i].dst_host = (struct pr_uuid){ 0 };
		if (i == 0) {
			ends[i].dst_endpoint = (struct pr_uuid){ 0 };
		}
	}
	ok(rows_of(ends, 3) == 3 && rows[0].join == CODEC_JOIN_SEVERAL_FAR &&
	           rows[1].join == CODEC_JOIN_SEVERAL_FAR &&
	           rows[2].join == CODEC_JOIN_SEVERAL_FAR &&
	           recorder_pairs_counters(pairs)->several == 3,
	   "two far ends that fit, for a near end that knows neither: none is joined");
	struct recorder_end flood[40];
	for (unsigned i = 0; i < 40; i++) {
		flood[i] = liar;
		flood[i].own = true;
		flood[i].dst_endpoint = id_of(66);
		flood[i].key.seq = i + 1;
		flood[i].src_port = (uint16_t)i;
	}
	ok(rows_of(flood, 40) == 40 && rows[39].join == CODEC_JOIN_CROWDED &&
	           recorder_pairs_counters(pairs)->crowded == 40 - RECORDER_PAIR_SAME_MAX,
	   "at most %u claims of one id are looked at", RECORDER_PAIR_SAME_MAX);
}

static void test_same(void)
{
	struct recorder_end ends[] = { end_of(true, 5, 0, 1), end_of(false, 5, MS, 1),
		                       end_of(true, 6, 2 * MS, 2), end_of(false, 6, 3 * MS, 2) };

	ok(rows_of(ends, 4) == 2 && rows[0].both && rows[1].both &&
	           rows[0].first.connection == rows[0].second.connection &&
	           rows[1].first.connection == rows[1].second.connection,
	   "one tuple twice, two ids: two connections");
	ends[2].connection = ends[3].connection = 5;
	ends[2].wire_dst_port = ends[3].wire_dst_port = 80;
	ok(rows_of(ends, 4) == 2 && rows[0].both && rows[1].both &&
	           rows[0].first.wire_dst_port == rows[0].second.wire_dst_port,
	   "one id for two tuples: two connections");
	ends[2] = end_of(true, 5, 60 * S, 2);
	ends[3] = end_of(false, 5, 60 * S + MS, 2);
	ok(rows_of(ends, 4) == 2 && rows[0].both && rows[1].both && rows[0].second.key.seq == 1 &&
	           rows[1].second.key.seq == 2,
	   "the same id and tuple a minute later: two connections");
	ends[2] = end_of(true, 5, S, 2);
	ok(rows_of(ends, 3) == 1 && rows[0].both && rows[0].first.key.seq == 1 &&
	           recorder_pairs_counters(pairs)->repeated == 1,
	   "a packet sent again is no second near end");
	ends[2].pid = 101;
	ok(rows_of(ends, 3) == 3 && rows[0].join == CODEC_JOIN_SEVERAL_NEAR &&
	           rows[1].join == CODEC_JOIN_SEVERAL_NEAR &&
	           rows[2].join == CODEC_JOIN_SEVERAL_NEAR,
	   "of another process it may be: several near ends fit, none is joined");
}

/* ---- live ---- */

static void live(const struct recorder_end *end, uint64_t clock_ns)
{
	(void)!recorder_pairs_put(pairs, end, clock_ns);
	take(clock_ns);
}

static void test_live(void)
{
	struct recorder_end near_end = end_of(true, 5, 0, 1), far_end = end_of(false, 5, MS, 1);

	(void)rows_of(NULL, 0);
	recorder_pairs_live(pairs, S);
	live(&far_end, S);
	ok(row_count == 0, "live: one end waits");
	live(&near_end, S + MS);
	ok(row_count == 1 && rows[0].both, "both: a row at once, whichever came first");
	near_end.connection = far_end.connection = 6;
	live(&near_end, 3 * S);
	take(3 * S + RECORDER_PAIR_LIVE_NS);
	ok(row_count == 1, "one alone is waited for");
	take(3 * S + RECORDER_PAIR_LIVE_NS + 1);
	ok(row_count == 2 && rows[1].join == CODEC_JOIN_FAR_UNSEEN, "but not for ever");
	live(&far_end, 7 * S);
	ok(row_count == 3 && rows[2].both && rows[2].join == CODEC_JOIN_LATE,
	   "an end that comes late completes it, and the row says so");
	far_end.pid = 201;
	live(&far_end, 8 * S);
	take(8 * S + RECORDER_PAIR_LIVE_NS + 1);
	ok(row_count == 4 && rows[3].join == CODEC_JOIN_TAKEN, "another one comes too late");
	near_end = end_of(true, 7, 0, 1);
	far_end = end_of(false, 7, 0, 1);
	near_end.dst_endpoint = near_end.dst_host = (struct pr_uuid){ 0 };
	live(&near_end, 20 * S);
	live(&far_end, 20 * S);
	ok(row_count == 4,
	   "whose near end does not know where it went waits for what else may fit");
	take(20 * S + RECORDER_PAIR_LIVE_NS + 1);
	ok(row_count == 5 && rows[4].join == CODEC_JOIN_BOTH, "nothing does: joined");
	near_end.connection = far_end.connection = 8;
	live(&near_end, 30 * S);
	live(&far_end, 30 * S);
	far_end.key.agent = far_end.dst_endpoint = id_of(66);
	live(&far_end, 31 * S);
	take(33 * S + 1);
	ok(row_count == 8 && rows[5].join == CODEC_JOIN_SEVERAL_FAR &&
	           rows[6].join == CODEC_JOIN_SEVERAL_FAR && rows[7].join == CODEC_JOIN_SEVERAL_FAR,
	   "another one does: none is joined");
	take(60 * S);
	ok(recorder_pairs_count(pairs) == 0, "nothing is kept for longer than it may matter");
}

/* ---- many ---- */

static uint64_t random_state;

static uint32_t random_next(void)
{
	random_state = random_state * 6364136223846793005ULL + 1442695040888963407ULL;
	return (uint32_t)(random_state >> 33);
}

struct many {
	struct recorder_end *ends;
	bool (*half)[2]; /* which ends of a connection there are */
	size_t count;
	unsigned seen[MANY];
	unsigned joined, singles, wrong;
};

/* Connections of few hosts and ports, so that much is alike; pid says which one it is. */
static void many_make(struct many *many)
{
	many->ends = calloc(2 * (size_t)MANY, sizeof(*many->ends));
	many->half = calloc(MANY, sizeof(*many->half));
	many->count = 0;
	for (unsigned i = 0; i < MANY; i++) {
		unsigned from = 1 + random_next() % 5, to = 11 + random_next() % 5;
		uint64_t time_ns = (uint64_t)random_next() % 60000 * MS;
		/* Every tenth id is that of another connection. */
		uint64_t id = i % 10 == 0 && i > 0 ? i : 1 + i;
		uint16_t port = (uint16_t)(1024 + i);
		for (unsigned far = 0; far < 2; far++) {
			many->half[i][far] = random_next() % 20 != 0;
			if (!many->half[i][far]) {
				continue;
			}
			struct recorder_end end = end_of(far == 0, id, time_ns, 2ULL * i + far + 1);
			end.src = addr_of(from);
			end.dst = end.wire_dst = addr_of(to);
			end.src_endpoint = id_of(from);
			end.dst_endpoint = end.dst_host = id_of(to);
			end.key.agent = id_of(far == 0 ? from : to);
			end.src_port = port;
			end.pid = i + 1;
			end.key.time_wall_ns += far * (random_next() % 3000) * MS;
			many->ends[many->count++] = end;
		}
	}
}

static int by_key(const void *a, const void *b)
{
	const struct recorder_end *left = a, *right = b;
	return store_row_key_compare(&left->key, &right->key);
}

static void many_take(struct many *many, uint64_t clock_ns)
{
	struct recorder_pair pair;

	while (recorder_pairs_next(pairs, clock_ns, &pair)) {
		unsigned index = pair.first.pid - 1;
		many->seen[index] += pair.both ? 2 : 1;
		many->joined += pair.both;
		many->singles += !pair.both;
		many->wrong += pair.both && pair.first.pid != pair.second.pid;
	}
}

static void many_check(struct many *many, const char *how)
{
	unsigned whole = 0, missing = 0;

	for (unsigned i = 0; i < MANY; i++) {
		unsigned ends = many->half[i][0] + many->half[i][1];
		whole += ends == 2;
		missing += many->seen[i] != ends;
	}
	ok(many->wrong == 0 && missing == 0 && many->joined == whole,
	   "%u connections %s: %u joined of %u, %u alone, %u wrong, %u not in one row", MANY, how,
	   many->joined, whole, many->singles, many->wrong, missing);
	memset(many->seen, 0, sizeof(many->seen));
	many->joined = many->singles = many->wrong = 0;
}

static void test_many(void)
{
	static struct many many;

	random_state = 4711;
	many_make(&many);
	for (unsigned backwards = 0; backwards < 2; backwards++) {
		qsort(many.ends, many.count, sizeof(*many.ends), by_key);
		recorder_pairs_destroy(&pairs);
		pairs = recorder_pairs_new(99);
		for (size_t i = 0; i < many.count; i++) {
			const struct recorder_end *end =
				&many.ends[backwards != 0 ? many.count - 1 - i : i];
			uint64_t time_ns = end->key.time_wall_ns;
			uint64_t clock_ns = backwards != 0 ? ~time_ns : time_ns;
			(void)!recorder_pairs_put(pairs, end, clock_ns);
			many_take(&many, clock_ns);
		}
		many_take(&many, UINT64_MAX);
		many_check(&many, backwards != 0 ? "read backwards" : "read in order of time");
	}
	/* Live they come in any order, all within the time that an end is waited for. */
	for (size_t i = many.count - 1; i > 0; i--) {
		size_t with = random_next() % (i + 1);
		struct recorder_end end = many.ends[i];
		many.ends[i] = many.ends[with];
		many.ends[with] = end;
	}
	recorder_pairs_destroy(&pairs);
	pairs = recorder_pairs_new(99);
	recorder_pairs_live(pairs, S);
	for (size_t i = 0; i < many.count; i++) {
		(void)!recorder_pairs_put(pairs, &many.ends[i], S + i * PR_NS_PER_US * 50);
		many_take(&many, S + i * PR_NS_PER_US * 50);
	}
	many_take(&many, UINT64_MAX);
	many_check(&many, "live in random order");
	free(many.ends);
	free(many.half);
}

static void test_bound(void)
{
	unsigned crowded = 0, taken = 0;
	struct recorder_pair pair;

	(void)rows_of(NULL, 0);
	for (uint64_t i = 1; i <= RECORDER_PAIR_COUNT + 1000; i++) {
		struct recorder_end end = end_of(true, i, 0, i);
		(void)!recorder_pairs_put(pairs, &end, T0);
		while (recorder_pairs_next(pairs, T0, &pair)) {
			crowded += pair.join == CODEC_JOIN_CROWDED;
			taken++;
		}
	}
	ok(crowded == 1000 && taken == 1000 && recorder_pairs_count(pairs) == RECORDER_PAIR_COUNT,
	   "more than fit: the oldest are shown before their time, and it is said: %u", crowded);
}

int main(void)
{
	test_two();
	test_disagree();
	test_lone();
	test_liar();
	test_same();
	test_live();
	test_many();
	test_bound();
	recorder_pairs_destroy(&pairs);
	return tap_done();
}
