/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/**
 * @file
 * IP packet -> tuple. Pure; reads nothing outside the bytes it is given, whatever they claim.
 * Source: RFC 791, 792, 768, 8200, 4443, 9293, 4302; kernel's ipv6_ext_hdr() for which extension
 * headers stand before the transport header.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"

#define GATE_TCP_FIN 0x01
#define GATE_TCP_SYN 0x02
#define GATE_TCP_RST 0x04
#define GATE_TCP_ACK 0x10

/* clang-format off */
#define GATE_PACKET_LIST(X)                                                                        \
	X(GATE_PACKET_OK,           "well formed")                                                 \
	X(GATE_PACKET_SHORT,        "shorter than its headers")                                    \
	X(GATE_PACKET_VERSION,      "neither IPv4 nor IPv6")                                       \
	X(GATE_PACKET_ADDRESS,      "an IPv4 address inside an IPv6 header")                       \
	X(GATE_PACKET_LENGTH,       "a length field lies")                                         \
	X(GATE_PACKET_CHAIN,        "too many or too long IPv6 extension headers")                 \
	X(GATE_PACKET_FRAGMENT,     "a fragment without its beginning, or one that overlaps it")   \
	X(GATE_PACKET_SOURCE_ROUTE, "source routed")                                               \
	X(GATE_PACKET_FLAGS,        "TCP flags that no connection has")
/* clang-format on */

enum gate_packet_state {
#define X(name, text) name,
	GATE_PACKET_LIST(X)
#undef X
		_GATE_PACKET_MAX
};

/** What identifies a flow, and what tells its beginning. Host byte order. */
struct gate_tuple {
	struct pr_addr src, dst;
	uint32_t tcp_sequence;       /* TCP only */
	uint16_t src_port, dst_port; /* TCP, UDP, UDP-Lite, SCTP, DCCP; 0 otherwise */
	uint16_t icmp_id;            /* echo request and reply; 0 otherwise */
	uint8_t family;              /* 4 or 6; 0: not even that could be read */
	uint8_t proto;               /* IP protocol number of the transport header */
	uint8_t icmp_type, icmp_code;
	uint8_t tcp_flags; /* GATE_TCP_... and the others as on the wire */
	bool fragment;     /* the first fragment of several */
};

/**
 * Parse one packet from its IP header on.
 *
 * @param data            The captured bytes, borrowed.
 * @param size_bytes      How many there are.
 * @param original_bytes  Length of the whole packet, at least @p size_bytes.
 * @param ret_tuple       Always written; after an error it holds what was read before it.
 */
enum gate_packet_state gate_packet_parse(const uint8_t *data, size_t size_bytes,
                                         size_t original_bytes, struct gate_tuple *ret_tuple);

/** What a state means, for people. Static. */
const char *gate_packet_text(enum gate_packet_state state);

/** Does this packet begin a connection? True for everything but TCP without a lone SYN. */
bool gate_packet_begins(const struct gate_tuple *tuple);
