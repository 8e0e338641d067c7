/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/**
 * @file
 * The attribution step alone, without packets and bus: a socket that begins to connect, and how
 * long the agent's own look-up of its process and user takes. For stage_call().
 */

#include <stdbool.h>
#include <stdint.h>

struct attribute_plan {
	char server[46], source[46]; /* IPv4 addresses, as in traffic.h */
	bool fallback;               /* /proc alone, as with eBPF off */
};

struct attribute_result {
	double p50_us;
	uint64_t asked, known;
	bool by_ebpf; /* it was in force */
};

/** stage_fn: struct attribute_plan in, struct attribute_result out. */
void attribute_run(const void *plan, int fd);

struct attribute_batch {
	double lookup_us; /* of CPU, a connection, in batches of 64 */
	bool by_ebpf;
};

/** stage_fn: nothing in, struct attribute_batch out. As at load: many begun, then all looked up. */
void attribute_batch_run(const void *plan, int fd);

struct attribute_listener {
	double batch_us;  /* of CPU, a connection that comes, in batches of 64 */
	double single_us; /* the same, one at a time */
	uint64_t asked, known;
};

/**
 * stage_fn: struct attribute_plan in, struct attribute_listener out. Who takes connections to one
 * listener, in a namespace where 20 more processes are.
 */
void attribute_listener_run(const void *plan, int fd);

struct attribute_connect_plan {
	bool attached; /* the eBPF programs are in the kernel */
	bool watched;  /* and this namespace is one of ours */
};

/** stage_fn: struct attribute_connect_plan in, a double out: us that connect() takes. */
void attribute_connect_run(const void *plan, int fd);
