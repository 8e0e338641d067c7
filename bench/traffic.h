/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/**
 * @file
 * New TCP connections, as fast as they are answered, and how long connect() took. A client ends
 * each with a reset, so that no port waits. Functions for stage_fork(): they run in processes of
 * their own, one thread each.
 */

#include <stdint.h>

#define TRAFFIC_PORT        9000
#define TRAFFIC_SOURCES_MAX 200
#define TRAFFIC_SLOTS       64   /* per power of two: 1.6 % wide */
#define TRAFFIC_BUCKETS     2304 /* 64 ns << 30: 68 s */
#define TRAFFIC_STEP_NS     900000000ULL

/** Latencies in logarithmic buckets; they can be added up. */
struct traffic_histogram {
	uint64_t count;
	uint32_t buckets[TRAFFIC_BUCKETS];
};

void traffic_histogram_add(struct traffic_histogram *histogram, uint64_t value_ns);
void traffic_histogram_merge(struct traffic_histogram *into, const struct traffic_histogram *from);
/** @param share  0.5: the median. In us; 0 when it is empty. */
double traffic_histogram_us(const struct traffic_histogram *histogram, double share);

struct traffic_plan {
	char server[46];  /* IPv4 address */
	char source[46];  /* first source address; the next ones follow it */
	unsigned sources; /* addresses that take turns */
	unsigned in_flight;
	uint64_t duration_ns; /* then what is open is waited for, 8 s at most */
};

struct traffic_result {
	uint64_t made, failed;
	uint64_t steps; /* took TRAFFIC_STEP_NS or more: a SYN was lost and sent again */
	uint64_t made_in_time, elapsed_ns; /* of the time in which connections were begun */
	struct traffic_histogram latency;
};

/** stage_fn: struct traffic_plan in, struct traffic_result out. */
void traffic_client(const void *plan, int fd);
/** stage_fn for stage_serve(): accepts and closes, on every address, until it is ended. */
void traffic_server(const void *plan, int fd);
