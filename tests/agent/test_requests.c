/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Which worker is asked when, with a clock and workers of our own. */

#include <string.h>

#include "agent/speaker/requests.h"
#include "base/clock.h"
#include "base/err.h"
#include "tests/tap.h"

#define WORKERS  3
#define CAPACITY 1000
#define START_NS (10 * PR_NS_PER_S)

struct fake {
	struct {
		unsigned frames, records;
		uint64_t ids[CAPACITY];
		bool full;
		unsigned notices;
		struct codec_notice told[CAPACITY];
	} workers[WORKERS];
	requests_t *requests;
};

static int fake_send(void *context, unsigned worker, const struct codec_request *requests,
                     size_t count)
{
	struct fake *fake = context;

	if (fake->workers[worker].full) {
		return PR_EAGAIN;
	}
	fake->workers[worker].frames++;
	for (size_t i = 0; i < count; i++) {
		fake->workers[worker].ids[fake->workers[worker].records++] = requests[i].id;
	}
	return PR_OK;
}

static int fake_notify(void *context, unsigned worker, const struct codec_notice *notices,
                       size_t count)
{
	struct fake *fake = context;

	if (fake->workers[worker].full) {
		return PR_EAGAIN;
	}
	for (size_t i = 0; i < count; i++) {
		fake->workers[worker].told[fake->workers[worker].notices++ % CAPACITY] = notices[i];
	}
	return PR_OK;
}

static void fake_open(struct fake *fake)
{
	struct pr_uuid ids[WORKERS];

	memset(fake, 0, sizeof(*fake));
	for (unsigned i = 0; i < WORKERS; i++) {
		ids[i] = pr_uuid_of_bytes("worker", &i, sizeof(i));
	}
	ok(requests_new(CAPACITY, &fake->requests) == PR_OK, "a table");
	requests_workers_set(fake->requests, ids, NULL, WORKERS);
}

static void all_up(struct fake *fake)
{
	for (unsigned i = 0; i < WORKERS; i++) {
		requests_worker_up(fake->requests, i, true);
	}
}

static void turn(struct fake *fake, uint64_t now_ns)
{
	const struct requests_sink sink = { .context = fake,
		                            .send = fake_send,
		                            .notify = fake_notify };
	requests_turn(fake->requests, now_ns, &sink);
}

static struct codec_request request_make(uint64_t id)
{
	/* Far ends: near ends are also told to others at times, see test_near_ends(). */
	struct codec_request request = {
		.id = id, .end = CODEC_END_FAR, .proto = 6, .wire_dst_port = (uint16_t)id
	};

	memcpy(request.wire_src.bytes, &id, sizeof(id));
	return request;
}

static unsigned total(const struct fake *fake)
{
	unsigned records = 0;

	for (unsigned i = 0; i < WORKERS; i++) {
		records += fake->workers[i].records;
	}
	return records;
}

static void add(struct fake *fake, uint64_t first, unsigned count)
{
	unsigned good = 0;

	for (unsigned i = 0; i < count; i++) {
		struct codec_request request = request_make(first + i);
		good += requests_add(fake->requests, &request) == PR_OK;
	}
	ok(good == count, "%u requests", count);
}

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

/* The worker that was asked for an id last. */
static unsigned asked(const struct fake *fake, uint64_t id)
{
	for (unsigned i = 0; i < WORKERS; i++) {
		for (unsigned j = 0; j < fake->workers[i].records; j++) {
			if (fake->workers[i].ids[j] == id) {
				return i;
			}
		}
	}
	return WORKERS;
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

static void add_near(struct fake *fake, uint64_t first, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		struct codec_request request = request_make(first + i);
		request.end = CODEC_END_NEAR;
		(void)!requests_add(fake->requests, &request);
	}
}

static unsigned told(const struct fake *fake, unsigned worker, uint64_t id)
{
	unsigned times = 0;

	for (unsigned j = 0; j < fake->workers[worker].records; j++) {
		times += fake->workers[worker].ids[j] == id;
	}
	return times;
}

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
	test_near_ends();
	test_cut_off();
	test_set_changes();
	test_notices();
	test_silent_near_end();
	test_ask_other();
	test_newborn();
	test_batches();
	test_same_worker();
	test_silent();
	test_lost_one();
	test_link_down();
	test_directory();
	test_groups();
	test_full();
	return tap_done();
}
