/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <arpa/inet.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "bench/echo.h"

#define FRAMES_MAX 4096 /* on the way */
#define HIGH_WATER 65536
#define ANSWER_NS  (5 * PR_NS_PER_S)

/* ---- server ---- */

struct serving {
	bus_server_t *server;
	uint8_t answer[CODEC_FRAME_MAX_BYTES];
	size_t request_bytes, request_head_bytes;
	size_t answer_bytes, answer_head_bytes;
	size_t owed; /* answers to the peer, in this turn */
	struct bus_route route;
};

/* The frames' sizes say how many there are, and how long the answer is: a head, and so many. */
static void echo_prepare(struct serving *serving)
{
	struct codec_verdict verdicts[CODEC_BATCH_MAX];
	size_t bytes = 0;

	memset(verdicts, 0, sizeof(verdicts));
	(void)!codec_records_encode(CODEC_VERDICT, verdicts, CODEC_BATCH_MAX, serving->answer,
	                            sizeof(serving->answer), &bytes);
	serving->request_bytes = codec_record_bytes(CODEC_REQUEST);
	serving->request_head_bytes = codec_frame_bytes(CODEC_REQUEST, 1) - serving->request_bytes;
	serving->answer_bytes = codec_record_bytes(CODEC_VERDICT);
	serving->answer_head_bytes = codec_frame_bytes(CODEC_VERDICT, 1) - serving->answer_bytes;
}

/* The number of records is the last thing of the head: an array 16. */
static void echo_answer(struct serving *serving)
{
	while (serving->owed > 0) {
		size_t count = serving->owed < CODEC_BATCH_MAX ? serving->owed : CODEC_BATCH_MAX;
		uint16_t wire = htons((uint16_t)count);
		memcpy(serving->answer + serving->answer_head_bytes - sizeof(wire), &wire,
		       sizeof(wire));
		(void)!bus_server_send(serving->server, &serving->route, serving->answer,
		                       serving->answer_head_bytes + count * serving->answer_bytes);
		serving->owed -= count;
	}
}

static void echo_loop(struct serving *serving)
{
	struct pollfd wait = { .fd = bus_server_fd(serving->server), .events = POLLIN };
	struct bus_frame frame;

	for (;;) {
		size_t taken, most = 1;
		(void)poll(&wait, 1, 1000);
		do {
			taken = 0;
			while (taken < most &&
			       bus_server_receive(serving->server, &frame) == PR_OK) {
				serving->route = frame.route;
				serving->owed += (frame.size_bytes - serving->request_head_bytes) /
				                 serving->request_bytes;
				taken++;
			}
			echo_answer(serving);
			most = CODEC_BATCH_MAX;
		} while (taken > 0);
	}
}

static void echo_server(const void *plan_data, int fd)
{
	const struct echo *plan = plan_data;
	struct bus_peer peer = { .id = plan->keys.client_id, .role = BUS_ROLE_AGENT };
	struct bus_server_options options = { .endpoint = plan->endpoint,
		                              .key = &plan->keys.server,
		                              .roles = BUS_ROLE_AGENT,
		                              .frame_max_bytes = CODEC_FRAME_MAX_BYTES,
		                              .high_water_mark = HIGH_WATER };
	bus_keyring_t *keyring = bus_keyring_new();
	bus_context_t *context = NULL;
	struct serving *serving = calloc(1, sizeof(*serving));

	if (keyring == NULL || serving == NULL) {
		return;
	}
	memcpy(peer.public_key, plan->keys.client.public_key, sizeof(peer.public_key));
	if (bus_keyring_put(keyring, &peer) != PR_OK ||
	    bus_context_new(keyring, &context) != PR_OK ||
	    bus_server_new(context, &options, &serving->server) != PR_OK ||
	    write(fd, "r", 1) != 1) {
		return;
	}
	echo_prepare(serving);
	echo_loop(serving);
}

int echo_start(stage_t *stage, const char *space, const char *address, struct echo *ret_echo)
{
	struct echo echo = { .keys = { .client_id = pr_uuid_new() } };
	int ret = bus_key_new(&echo.keys.server);

	if (ret == PR_OK) {
		ret = bus_key_new(&echo.keys.client);
	}
	if (ret != PR_OK) {
		return ret;
	}
	(void)snprintf(echo.endpoint, sizeof(echo.endpoint), "tcp://%s:%d", address, ECHO_PORT);
	echo.process = stage_serve(stage, space, echo_server, &echo);
	*ret_echo = echo;
	return echo.process > 0 ? PR_OK : (int)echo.process;
}

struct ask_plan ask_plan_echo(const struct echo *echo, unsigned a_frame, unsigned in_flight)
{
	struct ask_plan plan = {
		.key = echo->keys.client, .a_frame = a_frame, .in_flight = in_flight, .tuples = 1000
	};

	memcpy(plan.endpoint, echo->endpoint, sizeof(plan.endpoint));
	memcpy(plan.server_key, echo->keys.server.public_key, sizeof(plan.server_key));
	return plan;
}

/* ---- client ---- */

struct on_way {
	uint64_t start_ns;
	unsigned left; /* requests not answered */
};

struct ask {
	const struct ask_plan *plan;
	struct ask_result *result;
	bus_client_t *client;
	struct codec_request requests[CODEC_BATCH_MAX];
	uint8_t frame[CODEC_FRAME_MAX_BYTES];
	struct on_way ring[FRAMES_MAX];
	uint64_t first, next; /* frames: answered up to, sent up to */
	uint64_t id;
	uint64_t start_ns;
	uint64_t revision; /* of the last verdict */
};

static int frame_send(struct ask *ask, uint64_t due_ns)
{
	const struct ask_plan *plan = ask->plan;
	size_t bytes = 0;

	for (unsigned i = 0; i < plan->a_frame; i++) {
		uint64_t number = (ask->id + i) % plan->tuples;
		ask->requests[i] = plan->request;
		ask->requests[i].id = ask->id + i + 1;
		/* Multiplied by a number without common factors: neighbours are not neighbours. */
		ask->requests[i].src_port = (uint16_t)(1024 + number * 7919 % 60000);
		ask->requests[i].dst.bytes[14] = (uint8_t)(number / 60000 % 256);
		ask->requests[i].wire_dst = ask->requests[i].dst;
	}
	int ret = codec_records_encode(CODEC_REQUEST, ask->requests, plan->a_frame, ask->frame,
	                               sizeof(ask->frame), &bytes);
	if (ret == PR_OK) {
		ret = bus_client_send(ask->client, ask->frame, bytes);
	}
	if (ret == PR_OK) {
		ask->ring[ask->next++ % FRAMES_MAX] =
			(struct on_way){ due_ns != 0 ? due_ns : pr_clock_monotonic_ns(),
			                 plan->a_frame };
		ask->id += plan->a_frame;
		ask->result->asked += plan->a_frame;
	}
	return ret;
}

static void answers_take(struct ask *ask)
{
	struct codec_verdict verdicts[CODEC_BATCH_MAX];
	const uint8_t *data;
	size_t bytes, count;

	while (bus_client_receive(ask->client, &data, &bytes) == PR_OK) {
		uint64_t now_ns = pr_clock_monotonic_ns();
		if (codec_records_decode(CODEC_VERDICT, data, bytes, verdicts, &count) != PR_OK) {
			continue;
		}
		ask->result->answered += count;
		for (size_t i = 0; i < count && ask->first < ask->next; i++) {
			ask->revision = verdicts[i].revision;
			struct on_way *front = &ask->ring[ask->first % FRAMES_MAX];
			ask->result->allowed += verdicts[i].action == CODEC_ACTION_ALLOW;
			if (--front->left == 0) {
				traffic_histogram_add(&ask->result->latency,
				                      now_ns - front->start_ns);
				ask->first++;
			}
		}
	}
}

/* How many frames may go now, and since when the next one has been due. */
static bool may_send(const struct ask *ask, uint64_t now_ns, uint64_t *ret_due_ns)
{
	const struct ask_plan *plan = ask->plan;
	uint64_t on_way = ask->next - ask->first;

	*ret_due_ns = 0;
	if (plan->rate == 0) {
		return on_way < plan->in_flight;
	}
	*ret_due_ns = ask->start_ns + ask->result->asked * PR_NS_PER_S / plan->rate;
	return now_ns >= *ret_due_ns && on_way < FRAMES_MAX;
}

static int wait_us(const struct ask *ask, uint64_t now_ns)
{
	uint64_t due_ns;

	if (ask->plan->rate == 0) {
		return 100000;
	}
	(void)may_send(ask, now_ns, &due_ns);
	return due_ns > now_ns ? (int)((due_ns - now_ns) / 1000) : 0;
}

static void ask_loop(struct ask *ask)
{
	struct pollfd wait = { .fd = bus_client_fd(ask->client), .events = POLLIN };
	uint64_t now_ns = pr_clock_monotonic_ns(), due_ns;
	uint64_t end_ns = now_ns + ask->plan->duration_ns;

	ask->start_ns = now_ns;
	while (now_ns < end_ns || (ask->first < ask->next && now_ns < end_ns + ANSWER_NS)) {
		while (now_ns < end_ns && may_send(ask, now_ns, &due_ns) &&
		       frame_send(ask, due_ns) == PR_OK) {
		}
		answers_take(ask);
		now_ns = pr_clock_monotonic_ns();
		if (now_ns < end_ns && may_send(ask, now_ns, &due_ns)) {
			continue;
		}
		int us = wait_us(ask, now_ns);
		struct timespec timeout = { .tv_sec = us / 1000000,
			                    .tv_nsec = us % 1000000 * 1000L };
		(void)ppoll(&wait, 1, &timeout, NULL);
		answers_take(ask);
		now_ns = pr_clock_monotonic_ns();
	}
	ask->result->elapsed_ns = now_ns - ask->start_ns;
}

/* One question before the clock starts: the link stands, everything is warm. */
static bool ask_warm(struct ask *ask)
{
	for (int i = 0; i < 500; i++) {
		if (ask->next == ask->first && bus_client_link(ask->client) == BUS_LINK_UP) {
			(void)frame_send(ask, 0);
		}
		(void)poll(&(struct pollfd){ .fd = bus_client_fd(ask->client), .events = POLLIN },
		           1, 10);
		answers_take(ask);
		if (ask->result->answered > 0 && ask->next == ask->first) {
			*ask->result = (struct ask_result){ 0 };
			return true;
		}
	}
	return false;
}

/* Connected and warm, or NULL. */
static struct ask *ask_open(const struct ask_plan *plan)
{
	struct bus_client_options options = { .endpoint = plan->endpoint,
		                              .server_key = plan->server_key,
		                              .key = &plan->key,
		                              .frame_max_bytes = CODEC_FRAME_MAX_BYTES,
		                              .high_water_mark = HIGH_WATER };
	struct ask *ask = calloc(1, sizeof(*ask));
	struct ask_result *result = calloc(1, sizeof(*result));
	bus_context_t *context = NULL;

	if (ask == NULL || result == NULL || plan->a_frame == 0 ||
	    plan->a_frame > CODEC_BATCH_MAX || plan->in_flight > FRAMES_MAX || plan->tuples == 0) {
		return NULL;
	}
	ask->plan = plan;
	ask->result = result;
	return bus_context_new(NULL, &context) == PR_OK &&
	                       bus_client_new(context, &options, &ask->client) == PR_OK &&
	                       ask_warm(ask)
	               ? ask
	               : NULL;
}

void ask_client(const void *plan, int fd)
{
	struct ask *ask = ask_open(plan);

	if (ask != NULL) {
		ask_loop(ask);
		(void)!write(fd, ask->result, sizeof(*ask->result));
	}
}

void watch_revision(const void *plan_data, int fd)
{
	const struct watch_plan *plan = plan_data;
	struct ask *ask = ask_open(&plan->ask);
	uint64_t start_ns = pr_clock_monotonic_ns(), now_ns = start_ns;

	if (ask == NULL) {
		return;
	}
	struct pollfd wait = { .fd = bus_client_fd(ask->client), .events = POLLIN };
	while (now_ns - start_ns < plan->timeout_ms * PR_NS_PER_MS) {
		if (ask->first == ask->next) {
			(void)!frame_send(ask, 0);
		}
		(void)poll(&wait, 1, 10);
		answers_take(ask);
		now_ns = pr_clock_monotonic_ns();
		if (ask->revision >= plan->revision) {
			(void)!write(fd, &now_ns, sizeof(now_ns));
			return;
		}
	}
}

int ask_measure(stage_t *stage, const char *space, const struct ask_plan *plan, pid_t server,
                struct ask_figures *ret_figures)
{
	_cleanup_(pr_free) struct ask_result *result = calloc(1, sizeof(*result));

	if (result == NULL) {
		return PR_ENOMEM;
	}
	double before_us = stage_cpu_us(server);
	int ret = stage_call(stage, space, ask_client, plan, result, sizeof(*result));
	if (ret != PR_OK) {
		return ret;
	}
	double used_us = stage_cpu_us(server) - before_us;
	*ret_figures = (struct ask_figures){
		.per_second = (double)result->answered * 1e9 / (double)result->elapsed_ns,
		.per_cpu_second = used_us > 0 ? (double)result->answered * 1e6 / used_us : 0,
		.p50_us = traffic_histogram_us(&result->latency, 0.50),
		.p99_us = traffic_histogram_us(&result->latency, 0.99),
		.asked = result->asked,
		.answered = result->answered,
		.allowed = result->allowed,
	};
	return PR_OK;
}
