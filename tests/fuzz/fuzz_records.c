/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Any bytes as a frame of each hot message: what decodes must encode to the same bytes. */

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "codec/codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes);

static struct codec_request records[CODEC_BATCH_MAX]; /* the largest of the hot structs */
static uint8_t frame[CODEC_FRAME_MAX_BYTES];

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes)
{
	size_t message_count;
	const struct codec_message *messages = codec_messages(&message_count);

	for (size_t i = 0; i < message_count && messages[i].hot; i++) {
		size_t count = 0, frame_bytes = 0;
		if (codec_records_decode(messages[i].type, data, size_bytes, records, &count) < 0) {
			continue;
		}
		if (codec_records_encode(messages[i].type, records, count, frame, sizeof(frame),
		                         &frame_bytes) < 0 ||
		    frame_bytes != size_bytes) {
			abort();
		}
		frame[6] = data[6]; /* the minor version may be newer than ours */
		if (memcmp(frame, data, size_bytes) != 0) {
			abort();
		}
	}
	return 0;
}
