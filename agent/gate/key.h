/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/**
 * @file
 * What makes two packets the same attempt: namespace, tuple, and for TCP the first sequence number,
 * so that a SYN sent again is a repeat and a new connection from the same port is not. Hashed with
 * secrets, since whoever sends packets chooses tuples. Pure.
 * Source of the hash: folded 128-bit multiplication, as in D. Lemire and O. Kaser, "Faster 64-bit
 * universal hashing using carry-less multiplications", section 6 (with plain multiplication).
 */

#include <stdbool.h>
#include <stdint.h>

#include "agent/gate/packet.h"

/** Without padding: compared and hashed as bytes. */
struct gate_key {
	struct pr_addr src, dst;
	uint32_t slot;
	uint32_t sequence; /* TCP; 0 otherwise */
	uint16_t src_port;
	uint16_t dst_port; /* ICMP: type * 256 + code */
	uint16_t icmp_id;
	uint8_t proto;
	uint8_t unused;
};

struct gate_key gate_key_make(uint32_t slot, const struct gate_tuple *tuple);
bool gate_key_equal(const struct gate_key *a, const struct gate_key *b);
uint64_t gate_key_hash(const struct gate_key *key, const uint64_t secrets[static 2]);
