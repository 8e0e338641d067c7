/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/**
 * @file
 * The limit of asking: frames of our sizes over our CurveZMQ sockets, answered by nobody who
 * thinks. And the client that measures both it and real workers: it keeps so many frames on the way
 * and notes how long each took. Functions for stage_fork().
 */

#include <stdint.h>

#include "bench/stage.h"
#include "bench/traffic.h"
#include "bus/bus.h"
#include "codec/codec.h"

struct echo_keys {
	struct bus_key server, client;
	struct pr_uuid client_id;
};

/** A server that answers each frame of N requests by one of N verdicts. */
struct echo {
	struct echo_keys keys;
	char endpoint[128];
	pid_t process;
};

/** Start it at an address of a namespace. */
int echo_start(stage_t *stage, const char *space, const char *address,
               struct echo *ret_echo) _must_check_;

struct ask_plan {
	char endpoint[128];
	struct bus_key key;
	uint8_t server_key[BUS_KEY_BYTES];
	unsigned a_frame;   /* requests a frame, 1 .. CODEC_BATCH_MAX */
	unsigned in_flight; /* frames on the way */
	uint64_t duration_ns;
	uint64_t rate; /* requests a second, open loop: latency is from when it was due; 0: closed
	                  loop */
	/* What is asked: addresses and ports vary so that there are so many tuples. */
	struct codec_request request;
	unsigned tuples;
};

struct ask_result {
	uint64_t asked, answered; /* requests */
	uint64_t allowed;
	uint64_t elapsed_ns;
	struct traffic_histogram latency; /* frames */
};

/** stage_fn: struct ask_plan in, struct ask_result out. */
void ask_client(const void *plan, int fd);
/** For asking an echo: its key and place filled in. */
struct ask_plan ask_plan_echo(const struct echo *echo, unsigned a_frame, unsigned in_flight);

struct watch_plan {
	struct ask_plan ask;
	uint64_t revision;
	unsigned timeout_ms;
};

/** stage_fn: ask without a pause until a verdict is of that revision or a later one; then when it
 * came, uint64_t, monotonic. */
void watch_revision(const void *plan, int fd);

#define ECHO_PORT      7999
#define ECHO_IN_FLIGHT 32 /* frames: the server always has something to do */

struct ask_figures {
	double per_second, per_cpu_second; /* requests, of the server's processes */
	double p50_us, p99_us;             /* frames */
	uint64_t asked, answered, allowed;
};

/** Ask from a namespace, and take what the processes of the server's group used meanwhile. */
int ask_measure(stage_t *stage, const char *space, const struct ask_plan *plan, pid_t server,
                struct ask_figures *ret_figures) _must_check_;
