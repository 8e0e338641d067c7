/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/gate/key.h"
#include "agent/gate/packet.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes);

/* The first byte says how much of the packet the copy lacks. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes)
{
	static const uint64_t secrets[2] = { 1, 2 };
	struct gate_tuple tuple;
	struct gate_tuple again;

	if (size_bytes < 1) {
		return 0;
	}
	size_t original_bytes = size_bytes - 1 + (data[0] & 0x80 ? data[0] * 300U : 0);
	enum gate_packet_state state =
		gate_packet_parse(data + 1, size_bytes - 1, original_bytes, &tuple);
	assert(state < _GATE_PACKET_MAX);
	assert(state != GATE_PACKET_OK || tuple.family == 4 || tuple.family == 6);
	assert(state != GATE_PACKET_OK || size_bytes - 1 >= 20);
	assert(gate_packet_parse(data + 1, size_bytes - 1, original_bytes, &again) == state);
	struct gate_key key = gate_key_make(1, &tuple);
	struct gate_key key_again = gate_key_make(1, &again);
	assert(gate_key_hash(&key, secrets) == gate_key_hash(&key_again, secrets));
	(void)gate_packet_begins(&tuple);
	return 0;
}
