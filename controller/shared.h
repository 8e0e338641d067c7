/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/**
 * @file
 * One page of memory that the supervisor maps before it forks: each process publishes its figures
 * there and the admin service shows them. Numbers only, one writer each, no lock: a process that
 * dies or freezes leaves its last figures and disturbs nobody.
 */

#include <stdatomic.h>
#include <stdint.h>

#include "controller/controller.h"
#include "controller/worker.h"

#define SHARED_COUNTERS_MAX (sizeof(struct worker_counters) / sizeof(uint64_t))

struct shared_worker {
	_Atomic uint64_t pid;
	_Atomic uint64_t starts;                        /* times it was started */
	_Atomic uint64_t alive_ns;                      /* monotonic: last turn of its loop */
	_Atomic uint64_t revision;                      /* policy revision it serves */
	_Atomic uint64_t directory;                     /* directory version it has read */
	_Atomic uint64_t waiting;                       /* far ends that wait now */
	_Atomic uint64_t flows;                         /* near ends remembered now */
	_Atomic uint64_t rss_bytes;                     /* resident memory */
	_Atomic uint64_t refused;                       /* handshakes refused by ZAP */
	_Atomic uint64_t revoked;                       /* messages of revoked keys dropped */
	_Atomic uint64_t failed;                        /* connections without a good handshake */
	_Atomic uint64_t dropped;                       /* too large or of several parts */
	_Atomic uint64_t counters[SHARED_COUNTERS_MAX]; /* struct worker_counters, in its order */
};

struct shared {
	_Atomic uint64_t admin_starts;
	struct shared_worker workers[CONTROLLER_WORKERS_MAX];
};

/** Resident memory of this process, from /proc/self/statm; 0 if it cannot be read. */
uint64_t shared_rss_bytes(void);
