/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <netinet/in.h>
#include <string.h>

#include "agent/gate/key.h"

#define KEY_WORDS 6

_Static_assert(sizeof(struct gate_key) == KEY_WORDS * sizeof(uint64_t), "no padding in a key");

struct gate_key gate_key_make(uint32_t slot, const struct gate_tuple *tuple)
{
	bool icmp = (tuple->family == 4 && tuple->proto == IPPROTO_ICMP) ||
	            (tuple->family == 6 && tuple->proto == IPPROTO_ICMPV6);
	return (struct gate_key){
		.src = tuple->src,
		.dst = tuple->dst,
		.slot = slot,
		.sequence = tuple->tcp_sequence,
		.src_port = tuple->src_port,
		.dst_port = icmp ? (uint16_t)(tuple->icmp_type * 256 + tuple->icmp_code)
		                 : tuple->dst_port,
		.icmp_id = tuple->icmp_id,
		.proto = tuple->proto,
	};
}

bool gate_key_equal(const struct gate_key *a, const struct gate_key *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}

static uint64_t fold(uint64_t a, uint64_t b)
{
	unsigned __int128 product = (unsigned __int128)a * b;
	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

uint64_t gate_key_hash(const struct gate_key *key, const uint64_t secrets[static 2])
{
	uint64_t words[KEY_WORDS];
	uint64_t hash = secrets[0];

	memcpy(words, key, sizeof(words));
	for (int i = 0; i < KEY_WORDS; i += 2) {
		hash = fold(words[i] ^ secrets[1] ^ hash, words[i + 1] ^ secrets[0] ^ (hash >> 1));
	}
	return fold(hash ^ secrets[1], 0x9e3779b97f4a7c15ULL);
}
