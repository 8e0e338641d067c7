/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/gate/netlink.h"
#include "agent/gate/translation.h"
#include "base/err.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes);

/* Kernel messages: of queues and logs, and of the connection table. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes)
{
	struct gate_message message;
	struct translation_entry entry;
	size_t offset = 0;
	size_t before = 0;
	volatile uint8_t sink = 0;

	while (gate_message_next(data, size_bytes, &offset, &message)) {
		assert(offset > before && offset <= size_bytes);
		before = offset;
		for (size_t i = 0; i < message.payload_bytes; i++) {
			sink ^= message.payload[i];
		}
		(void)sink;
		assert(message.kind != GATE_MESSAGE_PACKET || message.has_id);
		assert(message.kind == GATE_MESSAGE_BAD ||
		       message.original_bytes >= message.payload_bytes);
	}
	int error = translation_answer_read(data, size_bytes, 1, &entry);
	assert(error == PR_OK || error == PR_ENOENT || error == PR_EAGAIN || error == PR_EMALF);
	return 0;
}
