/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/**
 * @file
 * A worker without its sockets: frames in, frames out, time as an argument. Answers of one agent in
 * one turn share a frame. Far ends that need their near end wait here, FLOW_WAIT_NS at most.
 *
 * A turn is: worker_frame() for each frame that waits, then worker_turn_end().
 *
 * Threads: one at a time. Limits: WORKER_WAITING_MAX requests wait; more are decided without.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/defs.h"
#include "bus/bus.h"
#include "controller/decide.h"
#include "controller/directory.h"
#include "policy/policy.h"

#define WORKER_WAITING_MAX 4096

/* clang-format off */
/* X(name, doc) */
#define WORKER_COUNTER_LIST(X)                                                                 \
	X(frames,           "frames of requests or notices")                                   \
	X(frames_malformed, "frames that were neither, or of another version: dropped")        \
	X(frames_sent,      "frames of verdicts")                                              \
	X(send_failed,      "frames of verdicts that could not be sent: the agent asks the next worker") \
	X(waiting_full,     "far ends that could not wait: too many at once")
/* clang-format on */

struct worker_counters {
#define X(name, doc) uint64_t name;
	WORKER_COUNTER_LIST(X)
#undef X
	struct decide_counters decide;
	struct policy_cache_counters policy;
};

/** What a worker decides with now. */
struct worker_sight {
	const directory_t *directory;
	const policy_image_t *image;             /* NULL: none yet */
	const struct quarantine_set *quarantine; /* NULL: nobody */
};

/** What a worker needs of the world. */
struct worker_ops {
	void *arg;
	/** Send a frame. An error is counted, nothing else. */
	int (*send)(void *arg, const struct bus_route *route, const void *data, size_t size_bytes);
	/**
	 * What holds now. When the directory is older than @p directory_wanted, read the store
	 * first.
	 */
	struct worker_sight (*look)(void *arg, uint64_t directory_wanted);
};

typedef struct worker worker_t;

/** @param secret  For hashes; random. NULL: out of memory. */
worker_t *worker_new(const struct worker_ops *ops, uint64_t secret);
void worker_destroy(worker_t **worker_p);

/** Take one frame from an agent. Whatever is wrong with it is counted. */
void worker_frame(worker_t *worker, const struct bus_frame *frame, uint64_t now_ns,
                  uint64_t now_wall_ns);

/** Decide what has waited long enough, and send the answers. */
void worker_turn_end(worker_t *worker, uint64_t now_ns, uint64_t now_wall_ns);

/** When the next waiting request has waited long enough; UINT64_MAX: none waits. */
uint64_t worker_deadline_ns(const worker_t *worker);

const struct worker_counters *worker_counters(const worker_t *worker);
size_t worker_waiting_count(const worker_t *worker);
size_t worker_flow_count(const worker_t *worker);
