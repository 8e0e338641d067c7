/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/** @file Packets and kernel messages for the agent's tests, built byte by byte. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"

#define PACKET_MAX_BYTES  2048
#define MESSAGE_MAX_BYTES 4096

struct packet_spec {
	struct pr_addr src, dst; /* both of one family */
	uint16_t src_port, dst_port;
	uint8_t proto;
	uint8_t tcp_flags;
	uint32_t tcp_sequence;
	uint8_t icmp_type, icmp_code;
	uint16_t icmp_id;
};

struct bytes {
	size_t size_bytes;
	uint8_t data[MESSAGE_MAX_BYTES];
};

/** A well-formed packet without payload. */
void packet_build(const struct packet_spec *spec, struct bytes *ret_packet);

struct message_spec {
	uint32_t id; /* of the held packet */
	uint32_t mark, uid;
	uint16_t queue;
	uint8_t hook;
	uint32_t in_device, out_device;
	bool copy; /* NFLOG instead of NFQUEUE */
};

/** Append the kernel's message about a packet to @p datagram. */
void message_build(const struct message_spec *spec, const struct bytes *packet,
                   struct bytes *datagram);
/** Append the kernel's refusal of a verdict. */
void message_refusal_build(int error, struct bytes *datagram);

struct verdict_seen {
	uint32_t id, verdict, mark;
	uint16_t queue;
};

/** Read verdict messages as the kernel would. Returns how many; -1: not such messages. */
int verdicts_read(const uint8_t *data, size_t size_bytes, struct verdict_seen *ret_seen,
                  size_t capacity);
