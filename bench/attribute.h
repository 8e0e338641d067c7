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
