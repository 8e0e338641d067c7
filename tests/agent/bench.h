/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/** @file A world with a keeper, a stand-in for the gate and two captures, for tests of enforce. */

#include "tests/agent/world.h"

#define LEFT4  "10.99.0.1"
#define RIGHT4 "10.99.0.2"
#define LEFT6  "fd99::1"
#define RIGHT6 "fd99::2"
#define WAIT   1000
#define SHORT  250

/* What keeper_state_set() reported as live flows. */
struct passed {
	unsigned int all, sockets, tcp, udp, inbound;
};

struct bench {
	struct world world;
	struct keeper_config config;
	keeper_t *keeper;
	struct keeper_error error;
	struct stand_in gate;
	struct capture right, left;
	struct stream out4, in6; /* living through everything */
	struct passed passed;
};

/** Also a result of the test: lifelines out to TCP 7400-7410 and in to TCP 22. */
void bench_open(struct bench *b, bool host);
void bench_close(struct bench *b);
struct keeper_counters bench_counters(struct bench *b);
/** Bind the first queue and answer everything with @p verdict. */
void bench_gate_open(struct bench *b, enum stand_in_verdict verdict);
/** Change the verdict and count packets from 0 again. */
void bench_verdict_set(struct bench *b, enum stand_in_verdict verdict);
/** A result of the test: the state is reached. Passed flows are counted in @p b. */
void bench_set(struct bench *b, enum keeper_state state, const char *name);
/** keeper_flow_fn that counts into the struct passed at @p arg. */
void bench_flow(const struct keeper_flow *flow, void *arg);
/** Connect two namespaces by a stream of numbered words. */
void bench_stream_connect(struct stream *stream, int from, int to, const char *ip, uint16_t port);
