/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/** @file Workers of our own for a table of requests: test_requests.c, test_requests_tell.c. */

#include <string.h>

#include "agent/speaker/requests.h"
#include "base/clock.h"
#include "base/err.h"
#include "tests/tap.h"

#define WORKERS  3
#define CAPACITY 1000
#define START_NS (10 * PR_NS_PER_S)

struct fake {
	struct {
		unsigned frames, records;
		uint64_t ids[CAPACITY];
		bool full;
		unsigned notices;
		struct codec_notice told[CAPACITY];
	} workers[WORKERS];
	requests_t *requests;
};

static inline int fake_send(void *context, unsigned worker, const struct codec_request *requests,
                            size_t count)
{
	struct fake *fake = context;

	if (fake->workers[worker].full) {
		return PR_EAGAIN;
	}
	fake->workers[worker].frames++;
	for (size_t i = 0; i < count; i++) {
		fake->workers[worker].ids[fake->workers[worker].records++] = requests[i].id;
	}
	return PR_OK;
}

static inline int fake_notify(void *context, unsigned worker, const struct codec_notice *notices,
                              size_t count)
{
	struct fake *fake = context;

	if (fake->workers[worker].full) {
		return PR_EAGAIN;
	}
	for (size_t i = 0; i < count; i++) {
		fake->workers[worker].told[fake->workers[worker].notices++ % CAPACITY] = notices[i];
	}
	return PR_OK;
}

static inline void fake_open(struct fake *fake)
{
	struct pr_uuid ids[WORKERS];

	memset(fake, 0, sizeof(*fake));
	for (unsigned i = 0; i < WORKERS; i++) {
		ids[i] = pr_uuid_of_bytes("worker", &i, sizeof(i));
	}
	ok(requests_new(CAPACITY, &fake->requests) == PR_OK, "a table");
	requests_workers_set(fake->requests, ids, NULL, WORKERS);
}

static inline void all_up(struct fake *fake)
{
	for (unsigned i = 0; i < WORKERS; i++) {
		requests_worker_up(fake->requests, i, true);
	}
}

static inline void turn(struct fake *fake, uint64_t now_ns)
{
	const struct requests_sink sink = { .context = fake,
		                            .send = fake_send,
		                            .notify = fake_notify };
	requests_turn(fake->requests, now_ns, &sink);
}

static inline struct codec_request request_make(uint64_t id)
{
	/* Far ends: near ends are also told to others at times, see test_requests_tell.c. */
	struct codec_request request = {
		.id = id, .end = CODEC_END_FAR, .proto = 6, .wire_dst_port = (uint16_t)id
	};

	memcpy(request.wire_src.bytes, &id, sizeof(id));
	return request;
}

static inline unsigned total(const struct fake *fake)
{
	unsigned records = 0;

	for (unsigned i = 0; i < WORKERS; i++) {
		records += fake->workers[i].records;
	}
	return records;
}

static inline void add(struct fake *fake, uint64_t first, unsigned count)
{
	unsigned good = 0;

	for (unsigned i = 0; i < count; i++) {
		struct codec_request request = request_make(first + i);
		good += requests_add(fake->requests, &request) == PR_OK;
	}
	ok(good == count, "%u requests", count);
}

/* The worker that was asked for an id last. */
static inline unsigned asked(const struct fake *fake, uint64_t id)
{
	for (unsigned i = 0; i < WORKERS; i++) {
		for (unsigned j = 0; j < fake->workers[i].records; j++) {
			if (fake->workers[i].ids[j] == id) {
				return i;
			}
		}
	}
	return WORKERS;
}

static inline void add_near(struct fake *fake, uint64_t first, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		struct codec_request request = request_make(first + i);
		request.end = CODEC_END_NEAR;
		(void)!requests_add(fake->requests, &request);
	}
}

static inline unsigned told(const struct fake *fake, unsigned worker, uint64_t id)
{
	unsigned times = 0;

	for (unsigned j = 0; j < fake->workers[worker].records; j++) {
		times += fake->workers[worker].ids[j] == id;
	}
	return times;
}
