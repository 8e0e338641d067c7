/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Which worker is asked when, with a clock and workers of our own. */

#include "tests/agent/requests_stage.h"

static void test_batches(void)
{
	struct fake fake;

	fake_open(&fake);
	ok(!requests_reachable(fake.requests) && requests_timeout_ns(fake.requests) == UINT64_MAX,
	   "nobody to ask, nothing to do");
	add(&fake, 1, 10);
	ok(requests_timeout_ns(fake.requests) == 0, "a turn is due at once");
	turn(&fake, START_NS);
	ok(total(&fake) == 0 && requests_open(fake.requests) == 10, "no worker is up: they wait");
	ok(requests_timeout_ns(fake.requests) == UINT64_MAX, "and nothing spins meanwhile");
	all_up(&fake);
	ok(requests_reachable(fake.requests), "workers come up");
	turn(&fake, START_NS + 1);
	ok(total(&fake) == 10, "each is sent once");
	unsigned frames = 0;
	for (unsigned i = 0; i < WORKERS; i++) {
		frames += fake.workers[i].frames;
		ok(fake.workers[i].frames <= 1, "at most one frame to worker %u", i);
	}
	ok(frames >= 2, "by their flow keys, to more than one worker");
	struct codec_request again = request_make(3);
	ok(requests_add(fake.requests, &again) == PR_EEXIST, "an id that is open is refused");
	requests_destroy(&fake.requests);

	fake_open(&fake);
	requests_worker_up(fake.requests, 1, true);
	add(&fake, 1, 200);
	turn(&fake, START_NS);
	ok(fake.workers[1].frames == 4 && fake.workers[1].records == 200,
	   "200 for one worker go in 4 frames");
	requests_destroy(&fake.requests);
}

static void test_same_worker(void)
{
	struct fake a, b;
	unsigned differ = 0;

	fake_open(&a);
	fake_open(&b);
	all_up(&a);
	all_up(&b);
	for (uint64_t id = 1; id <= 300; id++) {
		struct codec_request near = request_make(id), far = request_make(id);
		near.end = CODEC_END_NEAR;
		far.src_port = 999;
		near.src_port = 0;
		(void)!requests_add(a.requests, &near);
		(void)!requests_add(b.requests, &far);
	}
	turn(&a, START_NS);
	turn(&b, START_NS);
	for (unsigned i = 0; i < WORKERS; i++) {
		differ += a.workers[i].records != b.workers[i].records ||
		          memcmp(a.workers[i].ids, b.workers[i].ids,
		                 a.workers[i].records * sizeof(uint64_t)) != 0;
		ok(a.workers[i].records > 60, "worker %u has %u of 300", i, a.workers[i].records);
	}
	ok(differ == 0, "both ends of a flow ask the same worker");
	requests_destroy(&a.requests);
	requests_destroy(&b.requests);
}

static void test_silent(void)
{
	struct fake fake;
	struct requests_counters counters;

	fake_open(&fake);
	all_up(&fake);
	add(&fake, 7, 1);
	turn(&fake, START_NS);
	unsigned first = asked(&fake, 7);
	ok(requests_timeout_ns(fake.requests) == START_NS + REQUESTS_RETRY_NS,
	   "a turn is due after 300 ms");
	turn(&fake, START_NS + REQUESTS_RETRY_NS - 1);
	ok(total(&fake) == 1, "not before");
	turn(&fake, START_NS + REQUESTS_RETRY_NS);
	ok(total(&fake) == 2 && requests_worker_silent(fake.requests, first),
	   "then the next worker is asked under the same id");
	unsigned records = fake.workers[first].records;
	unsigned second = WORKERS;
	for (unsigned i = 0; i < WORKERS; i++) {
		second = i != first && fake.workers[i].records > 0 ? i : second;
	}
	ok(requests_answered(fake.requests, second, 7, 0, START_NS + REQUESTS_RETRY_NS + 1),
	   "its answer counts");
	ok(!requests_answered(fake.requests, second, 7, 0, START_NS + REQUESTS_RETRY_NS + 2),
	   "a second one does not");
	ok(requests_open(fake.requests) == 0, "nothing is open");

	/* Later requests of the silent worker's keys do not wait 300 ms each. */
	uint64_t now_ns = START_NS + REQUESTS_RETRY_NS + PR_NS_PER_MS;
	add(&fake, 100, 60);
	turn(&fake, now_ns);
	ok(fake.workers[first].records == records, "the silent one is passed over at once");
	for (uint64_t id = 100; id < 160; id++) {
		(void)requests_answered(fake.requests, asked(&fake, id), id, 0, now_ns);
	}
	now_ns += REQUESTS_PROBE_NS;
	add(&fake, 200, 30);
	turn(&fake, now_ns);
	ok(fake.workers[first].records == records + 1, "once a second it gets a copy of one");
	uint64_t probe = fake.workers[first].ids[records];
	for (uint64_t id = 200; id < 230; id++) {
		for (unsigned i = 0; i < WORKERS; i++) {
			if (i != first) {
				(void)requests_answered(fake.requests, i, id, 0, now_ns);
			}
		}
	}
	ok(!requests_answered(fake.requests, first, probe, 0, now_ns) &&
	           !requests_worker_silent(fake.requests, first),
	   "its late answer is ignored, but it is back");
	add(&fake, 300, 60);
	turn(&fake, now_ns + 1);
	ok(fake.workers[first].records > records + 1, "and is asked again");
	requests_counters(fake.requests, &counters);
	ok(counters.silent == 1 && counters.repeated == 1 && counters.probed == 1, "all counted");
	requests_destroy(&fake.requests);
}

/* A worker that answers others but lost one request is not silent. */
static void test_lost_one(void)
{
	struct fake fake;

	fake_open(&fake);
	requests_worker_up(fake.requests, 0, true);
	add(&fake, 1, 2);
	turn(&fake, START_NS);
	ok(requests_answered(fake.requests, 0, 1, 0, START_NS + PR_NS_PER_MS), "one answer");
	turn(&fake, START_NS + REQUESTS_RETRY_NS);
	ok(!requests_worker_silent(fake.requests, 0) && fake.workers[0].records == 3,
	   "the other is asked again, of the only worker");
	for (unsigned i = 2; i < 12; i++) {
		turn(&fake, START_NS + i * REQUESTS_RETRY_NS);
	}
	ok(fake.workers[0].records == 13 && requests_worker_silent(fake.requests, 0),
	   "and again, as long as whoever asked wants to know");
	requests_drop(fake.requests, 2);
	ok(requests_open(fake.requests) == 0 && requests_timeout_ns(fake.requests) == UINT64_MAX,
	   "dropped: over");
	requests_drop(fake.requests, 2);
	requests_destroy(&fake.requests);
}

static void test_link_down(void)
{
	struct fake fake;

	fake_open(&fake);
	all_up(&fake);
	add(&fake, 7, 1);
	turn(&fake, START_NS);
	requests_worker_up(fake.requests, asked(&fake, 7), false);
	ok(requests_timeout_ns(fake.requests) == 0, "a link goes: a turn is due at once");
	turn(&fake, START_NS + 1);
	ok(total(&fake) == 2, "the next is asked at once");

	/* A full queue is passed over in the same turn. */
	all_up(&fake);
	unsigned before = total(&fake);
	for (unsigned i = 0; i < WORKERS - 1; i++) {
		fake.workers[i].full = true;
	}
	add(&fake, 100, 50);
	turn(&fake, START_NS + 2);
	ok(total(&fake) == before + 50, "full queues are passed over in the same turn");
	fake.workers[WORKERS - 1].full = true;
	add(&fake, 200, 50);
	turn(&fake, START_NS + 3);
	ok(total(&fake) == before + 50, "all are full: they wait");
	ok(requests_timeout_ns(fake.requests) <= START_NS + 3 + REQUESTS_STUCK_NS,
	   "for 20 ms at most");
	fake.workers[0].full = false;
	turn(&fake, START_NS + 3 + REQUESTS_STUCK_NS);
	ok(total(&fake) == before + 100, "then they are sent");
	requests_destroy(&fake.requests);
}

static void test_directory(void)
{
	struct fake fake;
	struct pr_uuid ids[WORKERS];

	fake_open(&fake);
	all_up(&fake);
	add(&fake, 1, 100);
	turn(&fake, START_NS);
	for (unsigned i = 0; i < WORKERS; i++) {
		unsigned turned = WORKERS - 1 - i;
		ids[i] = pr_uuid_of_bytes("worker", &turned, sizeof(turned));
	}
	requests_workers_set(fake.requests, ids, NULL, WORKERS - 1);
	ok(!requests_reachable(fake.requests), "a new directory: links are made first");
	requests_worker_up(fake.requests, 0, true);
	requests_worker_up(fake.requests, 1, true);
	turn(&fake, START_NS + 1);
	ok(total(&fake) == 200, "what was open is asked again of the new workers");
	requests_workers_set(fake.requests, NULL, NULL, 0);
	turn(&fake, START_NS + 2);
	ok(requests_open(fake.requests) == 100, "without workers they wait");
	requests_destroy(&fake.requests);
}

/* Behind a worker that does not answer, another controller's is asked before its neighbour. */
static void test_groups(void)
{
	static const uint32_t groups[WORKERS] = { 7, 7, 9 };
	struct pr_uuid ids[WORKERS];
	struct fake fake;

	fake_open(&fake);
	for (unsigned i = 0; i < WORKERS; i++) {
		ids[i] = pr_uuid_of_bytes("worker", &i, sizeof(i));
	}
	requests_workers_set(fake.requests, ids, groups, WORKERS);
	all_up(&fake);
	add(&fake, 1, 300);
	turn(&fake, START_NS);
	unsigned first = fake.workers[0].records, neighbour = fake.workers[1].records;
	unsigned other = fake.workers[2].records;
	ok(first > 50 && neighbour > 50 && other > 50, "all are asked: %u %u %u", first, neighbour,
	   other);
	for (unsigned i = 0; i < other; i++) {
		(void)requests_answered(fake.requests, 2, fake.workers[2].ids[i], 0, START_NS + 1);
	}
	turn(&fake, START_NS + 301 * PR_NS_PER_MS);
	ok(fake.workers[2].records >= other + first + neighbour,
	   "what one controller's workers did not answer goes to the other controller's");
	requests_destroy(&fake.requests);
}

static void test_full(void)
{
	struct fake fake;
	struct codec_request request = request_make(CAPACITY + 1);
	unsigned good = 0;

	fake_open(&fake);
	add(&fake, 1, CAPACITY);
	ok(requests_add(fake.requests, &request) == PR_EAGAIN, "full: refused");
	requests_drop(fake.requests, 500);
	ok(requests_add(fake.requests, &request) == PR_OK, "room again");
	for (uint64_t id = 1; id <= CAPACITY + 1; id++) {
		good += requests_answered(fake.requests, 0, id, 0, START_NS);
	}
	ok(good == CAPACITY && requests_open(fake.requests) == 0, "all are found by their ids");
	requests_t *none = NULL;
	ok(requests_new(0, &none) == PR_EINVAL, "a table of nothing");
	requests_destroy(&none);
	requests_destroy(&fake.requests);
}

static void test_ask_other(void)
{
	struct fake fake;

	fake_open(&fake);
	all_up(&fake);
	add(&fake, 7, 1);
	turn(&fake, START_NS);
	unsigned first = asked(&fake, 7);
	ok(requests_ask_again(fake.requests, first, 7, false, START_NS + 1),
	   "the worker has not heard of the near end: another is asked");
	turn(&fake, START_NS + 2);
	unsigned second = WORKERS;
	for (unsigned i = 0; i < WORKERS; i++) {
		second = i != first && told(&fake, i, 7) == 1 ? i : second;
	}
	ok(second != WORKERS && total(&fake) == 2, "at once");
	ok(requests_ask_again(fake.requests, first, 7, false, START_NS + 3) && total(&fake) == 2,
	   "a late answer of the first changes nothing");
	ok(!requests_ask_again(fake.requests, second, 7, false, START_NS + 4),
	   "the second's answer counts, whatever it knows");
	ok(requests_answered(fake.requests, second, 7, 0, START_NS + 4), "and is taken");
	ok(!requests_ask_again(fake.requests, second, 7, false, START_NS + 5),
	   "closed: nobody is asked");
	add_near(&fake, 8, 1);
	turn(&fake, START_NS + 6);
	ok(!requests_ask_again(fake.requests, asked(&fake, 8), 8, false, START_NS + 7),
	   "a near end asks nobody else");
	requests_destroy(&fake.requests);

	fake_open(&fake);
	requests_worker_up(fake.requests, 1, true);
	add(&fake, 7, 1);
	turn(&fake, START_NS);
	ok(!requests_ask_again(fake.requests, 1, 7, false, START_NS + 1),
	   "there is no other: it counts");
	requests_destroy(&fake.requests);
}

/* The source's host has new containers: workers are asked on, for a second. */
static void test_newborn(void)
{
	struct fake fake;
	uint64_t now_ns = START_NS;
	unsigned asked_times = 0;

	fake_open(&fake);
	all_up(&fake);
	add(&fake, 7, 1);
	turn(&fake, now_ns);
	unsigned first = asked(&fake, 7), last = first;
	for (; asked_times < 100; asked_times++) {
		unsigned before[WORKERS];
		for (unsigned i = 0; i < WORKERS; i++) {
			before[i] = told(&fake, i, 7);
		}
		now_ns += 50 * PR_NS_PER_MS;
		if (!requests_ask_again(fake.requests, last, 7, true, now_ns)) {
			break;
		}
		turn(&fake, now_ns);
		for (unsigned i = 0; i < WORKERS; i++) {
			last = told(&fake, i, 7) > before[i] ? i : last;
		}
		if (asked_times == 1) {
			ok(last == first, "after another one, the first of its order again");
		}
	}
	ok(asked_times == 19, "asked again %u times in a second", asked_times);
	ok(requests_answered(fake.requests, last, 7, 0, now_ns), "then the answer counts");
	requests_destroy(&fake.requests);
}

int main(void)
{
	test_batches();
	test_same_worker();
	test_silent();
	test_lost_one();
	test_link_down();
	test_directory();
	test_groups();
	test_full();
	test_ask_other();
	test_newborn();
	return tap_done();
}
