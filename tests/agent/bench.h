/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/**
 * @file
 * A world with a keeper, a stand-in for the gate and two captures, for tests of enforce. The
 * functions stand in the header because tap.h counts in the file that includes it.
 */

#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "tests/agent/world.h"
#include "tests/tap.h"

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

/** keeper_flow_fn that counts into the struct passed at @p arg. */
_unused_ static void bench_flow(const struct keeper_flow *flow, void *arg)
{
	struct passed *passed = arg;
	passed->all++;
	passed->sockets += flow->from_socket;
	passed->tcp += flow->protocol == IPPROTO_TCP;
	passed->udp += flow->protocol == IPPROTO_UDP;
	passed->inbound += !flow->outbound;
	if (passed->all > 8) {
		return;
	}
	char source[PR_ADDR_TEXT_BYTES];
	char destination[PR_ADDR_TEXT_BYTES];
	printf("# passed: %u %s:%u > %s:%u%s%s\n", flow->protocol,
	       pr_addr_format(&flow->source, source), flow->source_port,
	       pr_addr_format(&flow->destination, destination), flow->destination_port,
	       flow->outbound ? " out" : " in", flow->from_socket ? " (socket)" : "");
}

_unused_ static struct keeper_counters bench_counters(struct bench *b)
{
	struct keeper_counters counters = { 0 };
	if (keeper_counters_read(b->keeper, &counters, &b->error) != PR_OK) {
		printf("# %s\n", b->error.text);
	}
	return counters;
}

/** Bind the first queue and answer everything with @p verdict. */
_unused_ static void bench_gate_open(struct bench *b, enum stand_in_verdict verdict)
{
	int fd = -1;
	int error = keeper_socket_open(b->keeper, KEEPER_SOCKET_QUEUE, 0, &fd, &b->error);
	ok(error == PR_OK, "queue socket: %s", b->error.text);
	stand_in_start(&b->gate, fd, &b->config, verdict);
}

/** A result of the test: the state is reached. Passed flows are counted in @p b. */
_unused_ static void bench_set(struct bench *b, enum keeper_state state, const char *name)
{
	uint64_t start_ns = world_now_ns();
	int error = keeper_state_set(b->keeper, state, bench_flow, &b->passed, &b->error);
	if (error == PR_OK && state == KEEPER_ENFORCE) {
		/* As the watch does a second later. */
		error = keeper_state_set(b->keeper, state, bench_flow, &b->passed, &b->error);
	}
	ok(error == PR_OK && keeper_state(b->keeper) == state, "%s: %s %s", name,
	   pr_strerror(error), b->error.text);
	printf("# took %.2f ms\n", (double)(world_now_ns() - start_ns) / 1e6);
}

/** Connect two namespaces by a stream of numbered words. */
_unused_ static void bench_stream_connect(struct stream *stream, int from, int to, const char *ip,
                                          uint16_t port)
{
	int listener = end_listen(to, SOCK_STREAM, ip, port);
	int client = end_connect(from, SOCK_STREAM, ip, port, WAIT);
	int server = end_accept(listener, WAIT);
	ok(client >= 0 && server >= 0, "a stream to %s", ip);
	if (ip[0] == LEFT6[0]) {
		/* Towards the listener's side the stream of data runs the other way. */
		stream_start(stream, server, client);
	} else {
		stream_start(stream, client, server);
	}
	/* The listener stays: it tells who began. */
}

/** Also a result of the test: lifelines out to TCP 7400-7410 and in to TCP 22. */
_unused_ static void bench_open(struct bench *b, bool host)
{
	static const struct keeper_lifeline lifelines[] = {
		{ .port_first = 7400, .port_last = 7410, .protocol = IPPROTO_TCP },
		{ .port_first = 22, .port_last = 22, .protocol = IPPROTO_TCP, .inbound = true },
	};

	memset(b, 0, sizeof(*b));
	ok(world_open(&b->world) == 0, "two namespaces and a veth pair");
	keeper_config_default(&b->config);
	b->config.host = host;
	b->config.queue_length_packets = 64;
	b->config.lifeline_count = PR_ARRAY_LEN(lifelines);
	memcpy(b->config.lifeline, lifelines, sizeof(lifelines));
	ok(pr_prefix_parse("10.99.0.0/24", &b->config.lifeline[0].peer) == PR_OK, "lifeline peer");
	struct keeper_place place = { .path = b->world.left_path };
	int error = keeper_open(&b->config, &place, &b->keeper, &b->error);
	ok(error == PR_OK, "keeper_open: %s %s", pr_strerror(error), b->error.text);
	capture_open(&b->right, b->world.right, "prt-r");
	capture_open(&b->left, b->world.left, "prt-l");
}

/** Change the verdict and count packets from 0 again. */
_unused_ static void bench_verdict_set(struct bench *b, enum stand_in_verdict verdict)
{
	atomic_store(&b->gate.verdict, verdict);
	atomic_store(&b->gate.packets, 0);
}

_unused_ static void bench_close(struct bench *b)
{
	capture_close(&b->right);
	capture_close(&b->left);
	keeper_destroy(&b->keeper);
	world_close(&b->world);
}
