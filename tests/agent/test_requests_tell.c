/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Which workers are told of a near end, with a clock and workers of our own. */

#include "tests/agent/requests_stage.h"

/* How often a worker heard of a near end by notice. */
static unsigned noticed(const struct fake *fake, unsigned worker, uint64_t id)
{
	unsigned times = 0;

	for (unsigned j = 0; j < fake->workers[worker].notices; j++) {
		times += fake->workers[worker].told[j].id == id;
	}
	return times;
}

static unsigned notices(const struct fake *fake)
{
	unsigned sum = 0;

	for (unsigned i = 0; i < WORKERS; i++) {
		sum += fake->workers[i].notices;
	}
	return sum;
}

/* Whom a far end asks when the worker of this flow key is gone. */
static unsigned next_of(unsigned gone, uint64_t id)
{
	static struct fake fake;

	fake_open(&fake);
	all_up(&fake);
	requests_worker_up(fake.requests, gone, false);
	struct codec_request request = request_make(id);
	(void)!requests_add(fake.requests, &request);
	turn(&fake, START_NS);
	unsigned next = asked(&fake, id);
	requests_destroy(&fake.requests);
	return next;
}

static void answer_all(struct fake *fake, uint64_t first, unsigned count, uint64_t now_ns)
{
	for (uint64_t id = first; id < first + count; id++) {
		(void)requests_answered(fake->requests, asked(fake, id), id, 1000 + id, now_ns);
	}
}

static void test_near_ends(void)
{
	static struct fake fake;
	struct requests_counters counters;
	uint64_t now_ns = START_NS;

	fake_open(&fake);
	all_up(&fake);
	add_near(&fake, 1, 100);
	turn(&fake, now_ns);
	ok(total(&fake) == 100 && notices(&fake) == 0,
	   "near ends are told to one worker each while all is well");
	answer_all(&fake, 1, 100, now_ns);
	now_ns += REQUESTS_RECENT_NS + 1;
	add_near(&fake, 101, 1);
	turn(&fake, now_ns);
	unsigned gone = asked(&fake, 101);
	answer_all(&fake, 101, 1, now_ns);
	requests_worker_up(fake.requests, gone, false);
	ok(requests_timeout_ns(fake.requests) == 0, "a worker goes: a turn is due");
	turn(&fake, ++now_ns);
	unsigned next = next_of(gone, 101);
	ok(noticed(&fake, next, 101) == 1,
	   "what it answered of late is told to the worker that the far end will ask");
	const struct codec_notice *notice = &fake.workers[next].told[0];
	struct codec_request request = request_make(101);
	ok(notice->connection == 1101 && notice->wire_dst_port == 101 &&
	           requests_notice_key(notice) == requests_flow_key(&request),
	   "with its connection and flow key");
	ok(notices(&fake) == 1, "what is older than 5 s is not");
	turn(&fake, ++now_ns);
	ok(notices(&fake) == 1, "once");
	requests_worker_up(fake.requests, gone, true);
	turn(&fake, ++now_ns);
	ok(noticed(&fake, gone, 101) == 1 && notices(&fake) == 2,
	   "it comes back, perhaps as another process: it is told itself");
	add_near(&fake, 200, 1);
	turn(&fake, ++now_ns);
	unsigned first = asked(&fake, 200);
	ok(notices(&fake) == 3 && noticed(&fake, next_of(first, 200), 200) == 1,
	   "for a while the second worker is told of near ends, too");
	ok(requests_answered(fake.requests, first, 200, 0, ++now_ns), "the first one answers");
	now_ns += REQUESTS_UNSTEADY_NS;
	add_near(&fake, 201, 1);
	turn(&fake, now_ns);
	ok(notices(&fake) == 3 && told(&fake, asked(&fake, 201), 201) == 1, "then one again");
	requests_counters(fake.requests, &counters);
	ok(counters.notices == 3 && counters.notices_lost == 0, "notices are counted");
	requests_destroy(&fake.requests);
}

/* Cut off from one worker for long: far ends that are not ask their second, which must know. */
static void test_cut_off(void)
{
	static struct fake fake;
	static const uint32_t groups[WORKERS] = { 7, 7, 9 };
	struct pr_uuid ids[WORKERS];
	unsigned good = 0, seen = 0;

	fake_open(&fake);
	for (unsigned i = 0; i < WORKERS; i++) {
		ids[i] = pr_uuid_of_bytes("worker", &i, sizeof(i));
	}
	requests_workers_set(fake.requests, ids, groups, WORKERS);
	all_up(&fake);
	turn(&fake, START_NS);
	requests_worker_up(fake.requests, 0, false);
	turn(&fake, START_NS + 1);
	add_near(&fake, 1, 100);
	turn(&fake, START_NS + 2 * REQUESTS_UNSTEADY_NS);
	for (uint64_t id = 1; id <= 100; id++) {
		unsigned order[WORKERS];
		struct codec_request request = request_make(id);
		bus_rendezvous_order(requests_flow_key(&request), ids, WORKERS, order);
		if (order[0] == 0) {
			/* Behind worker 0 a far end asks the other controller's. */
			seen++;
			good += told(&fake, 2, id) == 1 || noticed(&fake, 2, id) == 1;
		}
	}
	ok(seen > 10 && good == seen,
	   "keys of the lost worker are known to whom others ask second: %u of %u", good, seen);
	requests_destroy(&fake.requests);
}

/* Another set of workers: each near end of late is told to whom its key belongs now. */
static void test_set_changes(void)
{
	static struct fake fake;
	struct pr_uuid ids[WORKERS];
	unsigned moved = 0, good = 0;

	fake_open(&fake);
	for (unsigned i = 0; i < WORKERS; i++) {
		ids[i] = pr_uuid_of_bytes("worker", &i, sizeof(i));
	}
	requests_workers_set(fake.requests, ids, NULL, 2);
	requests_worker_up(fake.requests, 0, true);
	requests_worker_up(fake.requests, 1, true);
	turn(&fake, START_NS);
	add_near(&fake, 1, 100);
	turn(&fake, START_NS);
	answer_all(&fake, 1, 100, START_NS);
	unsigned before = notices(&fake);
	requests_workers_set(fake.requests, ids, NULL, WORKERS);
	all_up(&fake);
	turn(&fake, START_NS + 1);
	for (uint64_t id = 1; id <= 100; id++) {
		unsigned order[WORKERS];
		struct codec_request request = request_make(id);
		bus_rendezvous_order(requests_flow_key(&request), ids, WORKERS, order);
		moved += order[0] == 2;
		good += order[0] == 2 && noticed(&fake, 2, id) == 1;
	}
	ok(moved > 10 && good == moved && notices(&fake) == before + moved,
	   "a worker more: it is told what would have been asked of it (%u)", moved);

	/* The other way: one leaves the set, the rest changes places. */
	struct pr_uuid left[2] = { ids[2], ids[1] };
	uint64_t now_ns = START_NS + 2 * REQUESTS_RECENT_NS;
	add_near(&fake, 200, 100);
	turn(&fake, now_ns);
	unsigned of_first = 0;
	for (uint64_t id = 200; id < 300; id++) {
		of_first += asked(&fake, id) == 0;
	}
	answer_all(&fake, 200, 100, now_ns);
	before = notices(&fake);
	requests_workers_set(fake.requests, left, NULL, 2);
	turn(&fake, now_ns + 1);
	ok(notices(&fake) == before, "nobody can be told yet");
	requests_worker_up(fake.requests, 0, true);
	requests_worker_up(fake.requests, 1, true);
	now_ns += 2;
	turn(&fake, now_ns);
	ok(of_first > 10 && notices(&fake) == before + of_first,
	   "a worker less: its near ends go to whom their keys belong now (%u of %u)",
	   notices(&fake) - before, of_first);
	requests_destroy(&fake.requests);
}

/* What the gate tells of translated flows. */
static void test_notices(void)
{
	static struct fake fake;
	struct requests_counters counters;
	struct codec_notice notice = { .proto = 6, .wire_dst_port = 80 };

	fake_open(&fake);
	all_up(&fake);
	for (uint16_t i = 0; i < 130; i++) {
		notice.id = 500U + i;
		requests_notice(fake.requests, &notice);
	}
	ok(requests_timeout_ns(fake.requests) == 0, "a notice: a turn is due");
	turn(&fake, START_NS);
	struct codec_request far_end = {
		.id = 9, .end = CODEC_END_FAR, .proto = 6, .wire_dst_port = 80
	};
	(void)!requests_add(fake.requests, &far_end);
	turn(&fake, START_NS);
	unsigned home = asked(&fake, 9);
	ok(fake.workers[home].notices == 130 && notices(&fake) == 130,
	   "all go to the worker that the far end asks, and to no other");
	requests_worker_up(fake.requests, home, false);
	turn(&fake, START_NS + REQUESTS_RECENT_NS);
	ok(notices(&fake) == 260 && fake.workers[home].notices == 130,
	   "it goes within 5 s: they are told to the next");
	requests_destroy(&fake.requests);

	fake_open(&fake);
	requests_notice(fake.requests, &notice);
	turn(&fake, START_NS);
	ok(notices(&fake) == 0 && requests_timeout_ns(fake.requests) == UINT64_MAX,
	   "no worker is up: nothing spins");
	all_up(&fake);
	turn(&fake, START_NS + 1);
	ok(notices(&fake) == 1, "one comes: it is told");
	for (unsigned i = 0; i < REQUESTS_OUTBOX_MAX + 5; i++) {
		requests_notice(fake.requests, &notice);
	}
	requests_counters(fake.requests, &counters);
	ok(counters.notices_lost == 5, "too many in one turn are lost and counted");
	for (unsigned i = 0; i < WORKERS; i++) {
		fake.workers[i].full = true;
	}
	turn(&fake, START_NS + 2);
	requests_counters(fake.requests, &counters);
	ok(counters.notices_lost == 5 + REQUESTS_OUTBOX_MAX, "so is what a worker does not take");
	for (unsigned i = 0; i <= REQUESTS_RECENT_MAX / REQUESTS_OUTBOX_MAX; i++) {
		for (unsigned j = 0; j < REQUESTS_OUTBOX_MAX; j++) {
			requests_notice(fake.requests, &notice);
		}
		turn(&fake, START_NS + 3);
	}
	requests_counters(fake.requests, &counters);
	ok(counters.forgotten > REQUESTS_OUTBOX_MAX && counters.forgotten < 3 * REQUESTS_OUTBOX_MAX,
	   "only so many are kept; what is forgotten before its time is counted: %llu",
	   (unsigned long long)counters.forgotten);
	requests_destroy(&fake.requests);
}

/* A frozen worker is found out though far ends went elsewhere. */
static void test_silent_near_end(void)
{
	static struct fake fake;

	fake_open(&fake);
	all_up(&fake);
	add_near(&fake, 1, 1);
	turn(&fake, START_NS);
	unsigned first = asked(&fake, 1);
	answer_all(&fake, 1, 1, START_NS);
	struct codec_request request = request_make(1);
	request.id = 2; /* the same flow key */
	request.end = CODEC_END_NEAR;
	(void)!requests_add(fake.requests, &request);
	turn(&fake, START_NS + 2);
	unsigned second = next_of(first, 1);
	turn(&fake, START_NS + 1 + REQUESTS_RETRY_NS);
	ok(!requests_worker_silent(fake.requests, first), "the first has 300 ms");
	turn(&fake, START_NS + 2 + REQUESTS_RETRY_NS);
	ok(requests_worker_silent(fake.requests, first) &&
	           !requests_worker_silent(fake.requests, second),
	   "then it is silent");
	ok(told(&fake, second, 2) == 1 && noticed(&fake, second, 1) == 1,
	   "the second is asked, and told what the first had answered");
	requests_destroy(&fake.requests);
}

int main(void)
{
	test_near_ends();
	test_cut_off();
	test_set_changes();
	test_notices();
	test_silent_near_end();
	return tap_done();
}
