/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "bench/bench.h"
#include "codec/codec.h"

#define BATCH 16

struct work {
	enum codec_type type;
	uint8_t records[BATCH * sizeof(struct codec_request)];
	uint8_t decoded[CODEC_BATCH_MAX * sizeof(struct codec_request)];
	uint8_t frame[CODEC_FRAME_MAX_BYTES], copy[CODEC_FRAME_MAX_BYTES];
	size_t frame_bytes;
};

_Static_assert(sizeof(struct codec_request) >= sizeof(struct codec_event) &&
                       sizeof(struct codec_request) >= sizeof(struct codec_verdict),
               "room for a batch of any hot message");

/* One operation is one record; frames hold BATCH of them. */
static uint64_t encode(void *arg, uint64_t operations)
{
	struct work *work = arg;
	uint64_t sum = 0;
	for (uint64_t i = 0; i < operations; i += BATCH) {
		size_t size_bytes = 0;
		if (codec_records_encode(work->type, work->records, BATCH, work->frame,
		                         sizeof(work->frame), &size_bytes) != PR_OK) {
			abort();
		}
		sum += size_bytes + work->frame[size_bytes / 2];
	}
	return sum;
}

static uint64_t decode(void *arg, uint64_t operations)
{
	struct work *work = arg;
	uint64_t sum = 0;
	for (uint64_t i = 0; i < operations; i += BATCH) {
		size_t count = 0;
		if (codec_records_decode(work->type, work->frame, work->frame_bytes, work->decoded,
		                         &count) != PR_OK) {
			abort();
		}
		sum += count + work->decoded[i % 64];
	}
	return sum;
}

/* The limit: the same bytes, copied. */
static uint64_t copy(void *arg, uint64_t operations)
{
	struct work *work = arg;
	uint64_t sum = 0;
	for (uint64_t i = 0; i < operations; i += BATCH) {
		memcpy(work->copy, work->frame, work->frame_bytes);
		__asm__ volatile("" : : "r"(work->copy) : "memory");
		sum += work->copy[work->frame_bytes / 2];
	}
	return sum;
}

static const struct {
	enum codec_type type;
	const char *encode, *decode;
} messages[] = {
	{ CODEC_REQUEST, "codec.request.encode", "codec.request.decode" },
	{ CODEC_VERDICT, "codec.verdict.encode", "codec.verdict.decode" },
	{ CODEC_EVENT, "codec.event.encode", "codec.event.decode" },
};

int bench_suite_codec(const struct bench_config *config)
{
	_cleanup_(pr_free) struct work *work = calloc(1, sizeof(*work));
	int ret = work == NULL ? PR_ENOMEM : PR_OK;

	for (size_t i = 0; i < PR_ARRAY_LEN(messages) && ret == PR_OK; i++) {
		struct bench_pair pair = { .limit = "memcpy",
			                   .note = "a record in frames of 16",
			                   .run_limit = copy,
			                   .arg = work };
		work->type = messages[i].type;
		ret = codec_records_encode(work->type, work->records, BATCH, work->frame,
		                           sizeof(work->frame), &work->frame_bytes);
		if (ret == PR_OK) {
			pair.metric = messages[i].encode;
			pair.run = encode;
			ret = bench_pair_measure(config, &pair);
		}
		if (ret == PR_OK) {
			pair.metric = messages[i].decode;
			pair.run = decode;
			ret = bench_pair_measure(config, &pair);
		}
	}
	return ret;
}
