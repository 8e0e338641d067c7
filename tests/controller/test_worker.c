/* SPDX-License-Identifier: GPL-2.0-or-later */

/** @file A worker's frames: batches, bounds, waiting, malformed input. Decisions: scenarios. */

#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "controller/worker.h"
#include "tests/tap.h"

static directory_t *directory;
static policy_image_t *image;
static worker_t *worker;
static struct pr_uuid alpha, beta;

/* What was sent: frames, verdicts, and to whom the last frame went. */
static struct {
	size_t frames, verdicts, errors;
	uint8_t last_route;
	char error_code[32];
	struct codec_verdict last[CODEC_BATCH_MAX];
	uint64_t wanted; /* the newest directory that was asked for */
	int result;
} sent;

static void must(bool good, const char *what)
{
	if (!good) {
		(void)printf("Bail out! %s\n", what);
		exit(1);
	}
}

static int take(void *arg, const struct bus_route *route, const void *data, size_t size_bytes)
{
	enum codec_type type = 0;
	size_t count = 0;

	(void)arg;
	if (sent.result != PR_OK) {
		return sent.result;
	}
	must(codec_frame_type(data, size_bytes, &type) == PR_OK, "frame");
	sent.last_route = route->bytes[1];
	if (type == CODEC_VERDICT) {
		must(codec_records_decode(type, data, size_bytes, sent.last, &count) == PR_OK,
		     "verdicts");
		sent.frames++;
		sent.verdicts += count;
		return PR_OK;
	}
	codec_doc_t *document = NULL;
	must(codec_doc_decode(data, size_bytes, &document) == PR_OK, "document");
	(void)snprintf(sent.error_code, sizeof(sent.error_code), "%s",
	               codec_doc_text(document, CODEC_ERROR_CODE));
	sent.errors++;
	codec_doc_destroy(&document);
	return PR_OK;
}

static struct worker_sight look(void *arg, uint64_t directory_wanted)
{
	(void)arg;
	sent.wanted = directory_wanted > sent.wanted ? directory_wanted : sent.wanted;
	return (struct worker_sight){ .directory = directory, .image = image };
}

static void put_host(struct pr_uuid id, const char *name, const char *address)
{
	struct directory_address parsed = { .global = true, .bits = 120 };
	struct directory_endpoint endpoint = {
		.policy = { .id = id, .host_id = id, .kind = POLICY_HOST, .name = name },
		.agent = id,
		.addresses = &parsed,
		.address_count = 1,
	};

	must(pr_addr_parse(address, &parsed.addr) == PR_OK &&
	             directory_put(directory, &endpoint) == PR_OK,
	     "host");
}

static void start(void)
{
	static const char text[] = "mode enforce default\nrule 10 allow from any to any any\n";
	static struct policy_errors errors;
	struct worker_ops ops = { .send = take, .look = look };
	policy_model_t *model = NULL;

	alpha = pr_uuid_of_bytes("test", "alpha", 5);
	beta = pr_uuid_of_bytes("test", "beta", 4);
	directory = directory_new();
	worker = worker_new(&ops, 7);
	must(directory != NULL && worker != NULL, "memory");
	put_host(alpha, "alpha", "192.0.2.1");
	put_host(beta, "beta", "192.0.2.2");
	must(policy_text_parse(text, strlen(text), &errors, &model) == PR_OK &&
	             policy_image_compile(model, NULL, 0, 1, &image) == PR_OK,
	     "policy");
	policy_model_destroy(&model);
}

static struct codec_request request_of(uint64_t id, enum codec_enum_value end, uint16_t src_port)
{
	struct codec_request request = { .id = id,
		                         .end = (uint8_t)end,
		                         .proto = 6,
		                         .src_port = src_port,
		                         .dst_port = 80,
		                         .wire_dst_port = 80,
		                         .directory = id };

	request.reporter = end == CODEC_END_FAR ? beta : alpha;
	must(pr_addr_parse("192.0.2.1", &request.src) == PR_OK &&
	             pr_addr_parse("192.0.2.2", &request.dst) == PR_OK,
	     "address");
	request.wire_src = request.src;
	request.wire_dst = request.dst;
	return request;
}

static void frame_of(const struct codec_request *requests, size_t count, uint8_t route,
                     uint64_t now_ns)
{
	static uint8_t data[CODEC_FRAME_MAX_BYTES];
	size_t size_bytes = 0;

	must(codec_records_encode(CODEC_REQUEST, requests, count, data, sizeof(data),
	                          &size_bytes) == PR_OK,
	     "encode");
	struct bus_frame frame = { .peer = { .id = requests[0].reporter, .role = BUS_ROLE_AGENT },
		                   .route = { .bytes = { 0, route }, .size_bytes = 5 },
		                   .data = data,
		                   .size_bytes = size_bytes };
	worker_frame(worker, &frame, now_ns, now_ns);
}

static void test_batches(void)
{
	struct codec_request requests[CODEC_BATCH_MAX];

	for (uint16_t i = 0; i < 3; i++) {
		requests[0] = request_of(i + 1U, CODEC_END_NEAR, (uint16_t)(1000 + i));
		frame_of(requests, 1, 1, 0);
	}
	ok(sent.frames == 0, "nothing is sent within a turn");
	worker_turn_end(worker, 0, 0);
	ok(sent.frames == 1 && sent.verdicts == 3, "three frames of one agent: one answer");
	ok(sent.wanted == 3, "the newest directory that they name is looked for");
	for (uint16_t i = 0; i < CODEC_BATCH_MAX; i++) {
		requests[i] = request_of(100U + i, CODEC_END_NEAR, (uint16_t)(2000 + i));
	}
	sent.frames = sent.verdicts = 0;
	frame_of(requests, CODEC_BATCH_MAX, 1, 0);
	frame_of(requests, 1, 1, 0);
	frame_of(requests, 1, 2, 0);
	worker_turn_end(worker, 0, 0);
	ok(sent.frames == 3 && sent.verdicts == CODEC_BATCH_MAX + 2,
	   "a full batch goes at once, each agent has its own");
	sent.frames = sent.verdicts = 0;
	for (uint8_t route = 0; route < 100; route++) {
		frame_of(requests, 1, route, 0);
	}
	worker_turn_end(worker, 0, 0);
	ok(sent.frames == 100 && sent.verdicts == 100, "a hundred agents in a turn");
}

static void test_waiting(void)
{
	struct codec_request far_end = request_of(500, CODEC_END_FAR, 5000);
	struct codec_request near_end = request_of(501, CODEC_END_NEAR, 5000);
	uint64_t now_ns = 10 * PR_NS_PER_S;

	ok(worker_deadline_ns(worker) == UINT64_MAX, "nobody waits");
	sent.frames = sent.verdicts = 0;
	frame_of(&far_end, 1, 3, now_ns);
	worker_turn_end(worker, now_ns, 0);
	ok(sent.verdicts == 0 && worker_waiting_count(worker) == 1 &&
	           worker_deadline_ns(worker) == now_ns + FLOW_WAIT_NS,
	   "a far end waits, at most 50 ms");
	frame_of(&far_end, 1, 4, now_ns + 1);
	ok(worker_waiting_count(worker) == 1, "the same question again does not wait twice");
	frame_of(&near_end, 1, 1, now_ns + 2);
	worker_turn_end(worker, now_ns + 2, 0);
	ok(sent.verdicts == 2 && worker_waiting_count(worker) == 0,
	   "its near end comes: both are answered");
	ok(sent.last_route == 4 && sent.last[0].id == 500 &&
	           pr_uuid_equal(&sent.last[0].src_endpoint, &alpha),
	   "the far end where it asked last");
	sent.verdicts = 0;
	far_end = request_of(502, CODEC_END_FAR, 5001);
	frame_of(&far_end, 1, 3, now_ns);
	worker_turn_end(worker, now_ns + FLOW_WAIT_NS - 1, 0);
	ok(sent.verdicts == 0, "not before its time");
	worker_turn_end(worker, now_ns + FLOW_WAIT_NS, 0);
	ok(sent.verdicts == 1 && sent.last[0].unknown == CODEC_UNKNOWN_NO_NOTICE,
	   "then it goes on without");
}

/* One frame of notices lets go all that wait for one of them; nothing is said in return. */
static void test_notices(void)
{
	static uint8_t data[CODEC_FRAME_MAX_BYTES];
	struct codec_notice notices[CODEC_BATCH_MAX];
	uint64_t now_ns = 15 * PR_NS_PER_S;
	size_t size_bytes = 0;

	sent.frames = sent.verdicts = sent.wanted = 0;
	for (uint16_t i = 0; i < CODEC_BATCH_MAX; i++) {
		struct codec_request far_end =
			request_of(600U + i, CODEC_END_FAR, (uint16_t)(6000 + i));
		frame_of(&far_end, 1, 3, now_ns);
		notices[i] = (struct codec_notice){ .id = 700U + i,
			                            .directory = 4000U + i,
			                            .proto = far_end.proto,
			                            .reporter = alpha,
			                            .wire_src = far_end.wire_src,
			                            .wire_src_port = far_end.src_port,
			                            .wire_dst = far_end.wire_dst,
			                            .wire_dst_port = far_end.wire_dst_port,
			                            .connection = 9000U + i };
	}
	worker_turn_end(worker, now_ns, 0);
	ok(worker_waiting_count(worker) == CODEC_BATCH_MAX, "%d far ends wait", CODEC_BATCH_MAX);
	must(codec_records_encode(CODEC_NOTICE, notices, CODEC_BATCH_MAX, data, sizeof(data),
	                          &size_bytes) == PR_OK,
	     "encode");
	struct bus_frame frame = { .peer = { .id = alpha, .role = BUS_ROLE_AGENT },
		                   .route = { .bytes = { 0, 1 }, .size_bytes = 5 },
		                   .data = data,
		                   .size_bytes = size_bytes };
	worker_frame(worker, &frame, now_ns, 0);
	worker_turn_end(worker, now_ns, 0);
	ok(worker_waiting_count(worker) == 0 && sent.verdicts == CODEC_BATCH_MAX &&
	           sent.last_route == 3,
	   "a frame of notices releases all of them, and only they are answered");
	ok(pr_uuid_equal(&sent.last[0].src_endpoint, &alpha) && sent.last[0].connection >= 9000,
	   "with the near end and the connection that it was told");
	ok(sent.wanted == 4000U + CODEC_BATCH_MAX - 1, "the newest directory is looked for first");
	uint64_t before = worker_counters(worker)->frames_malformed;
	frame.size_bytes--;
	worker_frame(worker, &frame, now_ns, 0);
	ok(worker_counters(worker)->frames_malformed == before + 1, "a cut one is malformed");
}

static void test_waiting_full(void)
{
	uint64_t now_ns = 20 * PR_NS_PER_S;

	sent.frames = sent.verdicts = 0;
	for (uint16_t i = 0; i < WORKER_WAITING_MAX + 10; i++) {
		struct codec_request far_end =
			request_of(1000U + i, CODEC_END_FAR, (uint16_t)(10000 + i));
		frame_of(&far_end, 1, 3, now_ns);
	}
	worker_turn_end(worker, now_ns, 0);
	ok(worker_waiting_count(worker) == WORKER_WAITING_MAX && sent.verdicts == 10 &&
	           worker_counters(worker)->waiting_full == 10,
	   "what cannot wait is decided at once, and counted");
	worker_turn_end(worker, now_ns + FLOW_WAIT_NS, 0);
	ok(sent.verdicts == WORKER_WAITING_MAX + 10 && worker_waiting_count(worker) == 0,
	   "none is forgotten");
}

static void raw_frame(const uint8_t *data, size_t size_bytes)
{
	struct bus_frame frame = { .peer = { .id = alpha, .role = BUS_ROLE_AGENT },
		                   .route = { .bytes = { 0, 9 }, .size_bytes = 5 },
		                   .data = data,
		                   .size_bytes = size_bytes };
	worker_frame(worker, &frame, 0, 0);
	worker_turn_end(worker, 0, 0);
}

static void test_malformed(void)
{
	static const uint8_t garbage[] = { 0x93, 0xcd, 0x00 };
	static const uint8_t newer[] = {
		0x93, 0xcd, 0x00, 0x01, 0xcd, 0x7f, 0x00, 0xdc, 0x00, 0x00
	};
	uint64_t before = worker_counters(worker)->frames_malformed;

	sent.frames = sent.errors = 0;
	raw_frame(NULL, 0);
	raw_frame(garbage, sizeof(garbage));
	ok(worker_counters(worker)->frames_malformed == before + 2 && sent.frames == 0 &&
	           sent.errors == 0,
	   "garbage is counted, nothing else");
	raw_frame(newer, sizeof(newer));
	ok(sent.errors == 1 && strcmp(sent.error_code, "PR_EVERS") == 0,
	   "a newer version is told so");
}

static void test_send_failed(void)
{
	struct codec_request request = request_of(9000, CODEC_END_NEAR, 7000);

	sent.result = PR_EUNREACH;
	frame_of(&request, 1, 1, 0);
	worker_turn_end(worker, 0, 0);
	ok(worker_counters(worker)->send_failed == 1, "an agent that has gone is counted");
	sent.result = PR_OK;
	frame_of(&request, 1, 1, 0);
	sent.verdicts = 0;
	worker_turn_end(worker, 0, 0);
	ok(sent.verdicts == 1, "and may ask again");
}

/* ---- locks: ours stands before the C library's ---- */

static size_t locks_taken;

#define LOCK(name, type)                                             \
	int name(type *lock)                                         \
	{                                                            \
		static int (*real)(type *);                          \
		if (real == NULL) {                                  \
			*(void **)(&real) = dlsym(RTLD_NEXT, #name); \
		}                                                    \
		locks_taken++;                                       \
		return real(lock);                                   \
	}
LOCK(pthread_mutex_lock, pthread_mutex_t)
LOCK(pthread_rwlock_rdlock, pthread_rwlock_t)
LOCK(pthread_rwlock_wrlock, pthread_rwlock_t)

/* Ten thousand endpoints, each asked for at both ends: no lock from the frame to the answer. */
static void test_locks(void)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	uint64_t now_ns = 40 * PR_NS_PER_S;
	size_t found = 0;

	locks_taken = 0;
	(void)pthread_mutex_lock(&lock);
	(void)pthread_mutex_unlock(&lock);
	ok(locks_taken == 1, "a lock that is taken is counted");
	for (unsigned i = 0; i < 10000; i++) {
		char name[32], address[32];
		(void)snprintf(name, sizeof(name), "h%u", i);
		(void)snprintf(address, sizeof(address), "10.1.%u.%u", i / 250, i % 250 + 1);
		put_host(pr_uuid_of_bytes("test", name, strlen(name)), name, address);
	}
	locks_taken = sent.verdicts = 0;
	for (unsigned i = 0; i < 10000; i++) {
		struct codec_request near_end =
			request_of(20000U + i, CODEC_END_NEAR, (uint16_t)(20000 + i));
		char address[32];
		(void)snprintf(address, sizeof(address), "10.1.%u.%u", i / 250, i % 250 + 1);
		must(pr_addr_parse(address, &near_end.dst) == PR_OK, "address");
		near_end.wire_dst = near_end.dst;
		frame_of(&near_end, 1, 1, now_ns);
		struct codec_request far_end = near_end;
		char name[32];
		(void)snprintf(name, sizeof(name), "h%u", i);
		far_end.id += 100000;
		far_end.end = CODEC_END_FAR;
		far_end.reporter = pr_uuid_of_bytes("test", name, strlen(name));
		frame_of(&far_end, 1, 2, now_ns);
		worker_turn_end(worker, now_ns, 0);
		found += pr_uuid_equal(&sent.last[0].dst_endpoint, &far_end.reporter);
	}
	ok(sent.verdicts == 20000 && found == 10000, "20,000 verdicts, each destination is known");
	ok(locks_taken == 0, "and no lock is taken for them: %zu", locks_taken);
}

int main(void)
{
	pr_log_set_level(PR_LOG_ERROR);
	start();
	test_batches();
	test_waiting();
	test_notices();
	test_waiting_full();
	test_malformed();
	test_send_failed();
	test_locks();
	worker_destroy(&worker);
	policy_image_destroy(&image);
	directory_destroy(&directory);
	return tap_done();
}
