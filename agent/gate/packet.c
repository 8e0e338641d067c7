/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <netinet/in.h>
#include <string.h>

#include "agent/gate/packet.h"

#define IP4_HEADER_BYTES   20
#define IP6_HEADER_BYTES   40
#define IP4_MORE_FRAGMENTS 0x2000
#define IP4_OFFSET_MASK    0x1fff
#define IP4_OPTION_END     0
#define IP4_OPTION_NOP     1
#define IP4_OPTION_LSRR    131
#define IP4_OPTION_SSRR    137
#define IP6_OFFSET_MASK    0xfff8
#define IP6_MORE_FRAGMENTS 0x0001
#define IP6_HEADERS_MAX    12
#define TCP_HEADER_BYTES   20
#define UDP_HEADER_BYTES   8
#define ICMP_HEADER_BYTES  4
#define ECHO_HEADER_BYTES  8
#define ICMP4_ECHO_REPLY   0
#define ICMP4_ECHO         8
#define ICMP6_ECHO         128
#define ICMP6_ECHO_REPLY   129
#define LARGEST_BYTES      65535 /* above: the length fields cannot say it (big GSO packets) */

/* What is left to read: captured bytes, and bytes that exist by the checked length fields. */
struct rest {
	const uint8_t *data;
	size_t captured_bytes;
	size_t total_bytes;
};

static uint16_t load16(const uint8_t *data)
{
	return (uint16_t)((data[0] << 8) | data[1]);
}

static uint32_t load32(const uint8_t *data)
{
	return ((uint32_t)load16(data) << 16) | load16(data + 2);
}

static bool rest_has(const struct rest *rest, size_t bytes)
{
	return rest->captured_bytes >= bytes && rest->total_bytes >= bytes;
}

static void rest_skip(struct rest *rest, size_t bytes)
{
	rest->data += bytes;
	rest->captured_bytes -= bytes;
	rest->total_bytes -= bytes;
}

/* Cut what is left to the length that a header claims. */
static void rest_cut(struct rest *rest, size_t total_bytes)
{
	rest->total_bytes = total_bytes;
	if (rest->captured_bytes > total_bytes) {
		rest->captured_bytes = total_bytes;
	}
}

/* --------------------------------------------------------------------------- transport */

static enum gate_packet_state tcp_parse(const struct rest *rest, struct gate_tuple *tuple)
{
	const uint8_t *data = rest->data;

	if (!rest_has(rest, TCP_HEADER_BYTES)) {
		return GATE_PACKET_SHORT;
	}
	tuple->src_port = load16(data);
	tuple->dst_port = load16(data + 2);
	tuple->tcp_sequence = load32(data + 4);
	tuple->tcp_flags = data[13];

	size_t header_bytes = (size_t)(data[12] >> 4) * 4;
	if (header_bytes < TCP_HEADER_BYTES || header_bytes > rest->total_bytes) {
		return GATE_PACKET_LENGTH;
	}
	if ((tuple->tcp_flags & GATE_TCP_SYN) != 0 &&
	    (tuple->tcp_flags & (GATE_TCP_FIN | GATE_TCP_RST)) != 0) {
		return GATE_PACKET_FLAGS;
	}
	return GATE_PACKET_OK;
}

static enum gate_packet_state udp_parse(const struct rest *rest, struct gate_tuple *tuple)
{
	if (!rest_has(rest, UDP_HEADER_BYTES)) {
		return GATE_PACKET_SHORT;
	}
	tuple->src_port = load16(rest->data);
	tuple->dst_port = load16(rest->data + 2);

	size_t length = load16(rest->data + 4);
	bool lite = tuple->proto == IPPROTO_UDPLITE; /* there it is the checksum's coverage */
	bool whole = length == 0 && (lite || rest->total_bytes > LARGEST_BYTES);
	if (!whole &&
	    (length < UDP_HEADER_BYTES || (length > rest->total_bytes && !tuple->fragment))) {
		return GATE_PACKET_LENGTH;
	}
	return GATE_PACKET_OK;
}

/* SCTP and DCCP: the ports stand where TCP has them. */
static enum gate_packet_state ports_parse(const struct rest *rest, struct gate_tuple *tuple)
{
	if (!rest_has(rest, 12)) {
		return GATE_PACKET_SHORT;
	}
	tuple->src_port = load16(rest->data);
	tuple->dst_port = load16(rest->data + 2);
	return GATE_PACKET_OK;
}

static enum gate_packet_state icmp_parse(const struct rest *rest, struct gate_tuple *tuple)
{
	bool v6 = tuple->proto == IPPROTO_ICMPV6;

	if (!rest_has(rest, ICMP_HEADER_BYTES)) {
		return GATE_PACKET_SHORT;
	}
	tuple->icmp_type = rest->data[0];
	tuple->icmp_code = rest->data[1];
	bool echo = v6 ? tuple->icmp_type == ICMP6_ECHO || tuple->icmp_type == ICMP6_ECHO_REPLY
	               : tuple->icmp_type == ICMP4_ECHO || tuple->icmp_type == ICMP4_ECHO_REPLY;
	if (!echo) {
		return GATE_PACKET_OK;
	}
	if (!rest_has(rest, ECHO_HEADER_BYTES)) {
		return GATE_PACKET_SHORT;
	}
	tuple->icmp_id = load16(rest->data + 4);
	return GATE_PACKET_OK;
}

static enum gate_packet_state transport_parse(const struct rest *rest, struct gate_tuple *tuple)
{
	switch (tuple->proto) {
	case IPPROTO_TCP:
		return tcp_parse(rest, tuple);
	case IPPROTO_UDP:
	case IPPROTO_UDPLITE:
		return udp_parse(rest, tuple);
	case IPPROTO_SCTP:
	case IPPROTO_DCCP:
		return ports_parse(rest, tuple);
	case IPPROTO_ICMP:
		return tuple->family == 4 ? icmp_parse(rest, tuple) : GATE_PACKET_OK;
	case IPPROTO_ICMPV6:
		return tuple->family == 6 ? icmp_parse(rest, tuple) : GATE_PACKET_OK;
	default:
		return GATE_PACKET_OK;
	}
}

/* -------------------------------------------------------------------------------- IPv4 */

static enum gate_packet_state ip4_options_check(const uint8_t *options, size_t size_bytes)
{
	size_t at = 0;

	while (at < size_bytes && options[at] != IP4_OPTION_END) {
		if (options[at] == IP4_OPTION_NOP) {
			at++;
			continue;
		}
		if (options[at] == IP4_OPTION_LSRR || options[at] == IP4_OPTION_SSRR) {
			return GATE_PACKET_SOURCE_ROUTE;
		}
		if (at + 1 >= size_bytes || options[at + 1] < 2 ||
		    options[at + 1] > size_bytes - at) {
			return GATE_PACKET_LENGTH;
		}
		at += options[at + 1];
	}
	return GATE_PACKET_OK;
}

static enum gate_packet_state ip4_parse(struct rest *rest, struct gate_tuple *tuple)
{
	const uint8_t *data = rest->data;
	uint32_t address;

	if (!rest_has(rest, IP4_HEADER_BYTES)) {
		return GATE_PACKET_SHORT;
	}
	tuple->family = 4;
	tuple->proto = data[9];
	memcpy(&address, data + 12, sizeof(address));
	tuple->src = pr_addr_from_v4(address);
	memcpy(&address, data + 16, sizeof(address));
	tuple->dst = pr_addr_from_v4(address);

	size_t header_bytes = (size_t)(data[0] & 0x0f) * 4;
	size_t length = load16(data + 2);
	if (length == 0 && rest->total_bytes > LARGEST_BYTES) {
		length = rest->total_bytes;
	}
	if (header_bytes < IP4_HEADER_BYTES || length < header_bytes ||
	    length > rest->total_bytes) {
		return GATE_PACKET_LENGTH;
	}
	if (header_bytes > rest->captured_bytes) {
		return GATE_PACKET_SHORT;
	}
	uint16_t offset = load16(data + 6);
	if ((offset & IP4_OFFSET_MASK) != 0) {
		return GATE_PACKET_FRAGMENT;
	}
	tuple->fragment = (offset & IP4_MORE_FRAGMENTS) != 0;

	enum gate_packet_state state =
		ip4_options_check(data + IP4_HEADER_BYTES, header_bytes - IP4_HEADER_BYTES);
	if (state != GATE_PACKET_OK) {
		return state;
	}
	rest_cut(rest, length);
	rest_skip(rest, header_bytes);
	return transport_parse(rest, tuple);
}

/* -------------------------------------------------------------------------------- IPv6 */

/* Skip one extension header; sets tuple->proto to what follows it. */
static enum gate_packet_state ip6_extension_skip(struct rest *rest, struct gate_tuple *tuple)
{
	const uint8_t *data = rest->data;
	uint8_t kind = tuple->proto;

	if (!rest_has(rest, 8)) {
		return rest->total_bytes < 8 ? GATE_PACKET_SHORT : GATE_PACKET_CHAIN;
	}
	size_t header_bytes = ((size_t)data[1] + 1) * 8;
	if (kind == IPPROTO_FRAGMENT) {
		header_bytes = 8;
		uint16_t offset = load16(data + 2);
		/* A second fragment header, or any but the first fragment: nothing to judge by. */
		if ((offset & IP6_OFFSET_MASK) != 0 || tuple->fragment) {
			return GATE_PACKET_FRAGMENT;
		}
		tuple->fragment = (offset & IP6_MORE_FRAGMENTS) != 0;
	} else if (kind == IPPROTO_AH) {
		header_bytes = ((size_t)data[1] + 2) * 4;
	} else if (kind == IPPROTO_ROUTING && data[3] != 0) {
		return GATE_PACKET_SOURCE_ROUTE; /* segments left: the address is not the end */
	}
	if (header_bytes > rest->total_bytes) {
		return GATE_PACKET_LENGTH;
	}
	if (header_bytes > rest->captured_bytes) {
		return GATE_PACKET_CHAIN;
	}
	tuple->proto = data[0];
	rest_skip(rest, header_bytes);
	return GATE_PACKET_OK;
}

static bool ip6_is_extension(uint8_t next_header)
{
	return next_header == IPPROTO_HOPOPTS || next_header == IPPROTO_ROUTING ||
	       next_header == IPPROTO_FRAGMENT || next_header == IPPROTO_AH ||
	       next_header == IPPROTO_DSTOPTS;
}

static enum gate_packet_state ip6_parse(struct rest *rest, struct gate_tuple *tuple)
{
	const uint8_t *data = rest->data;

	if (!rest_has(rest, IP6_HEADER_BYTES)) {
		return GATE_PACKET_SHORT;
	}
	tuple->family = 6;
	tuple->proto = data[6];
	memcpy(tuple->src.bytes, data + 8, sizeof(tuple->src.bytes));
	memcpy(tuple->dst.bytes, data + 24, sizeof(tuple->dst.bytes));

	size_t length = load16(data + 4);
	bool jumbo = length == 0 && rest->total_bytes > LARGEST_BYTES;
	rest_skip(rest, IP6_HEADER_BYTES);
	if (!jumbo) {
		if (length > rest->total_bytes) {
			return GATE_PACKET_LENGTH;
		}
		rest_cut(rest, length);
	}
	/* A mapped address on the wire would be taken for an IPv4 one. */
	if (pr_addr_is_v4(&tuple->src) || pr_addr_is_v4(&tuple->dst)) {
		return GATE_PACKET_ADDRESS;
	}
	for (int headers = 0; ip6_is_extension(tuple->proto); headers++) {
		enum gate_packet_state state = headers < IP6_HEADERS_MAX
		                                       ? ip6_extension_skip(rest, tuple)
		                                       : GATE_PACKET_CHAIN;
		if (state != GATE_PACKET_OK) {
			return state;
		}
	}
	return transport_parse(rest, tuple);
}

/* ------------------------------------------------------------------------------- public */

enum gate_packet_state gate_packet_parse(const uint8_t *data, size_t size_bytes,
                                         size_t original_bytes, struct gate_tuple *ret_tuple)
{
	struct rest rest = { .data = data,
		             .captured_bytes = size_bytes,
		             .total_bytes = original_bytes };

	*ret_tuple = (struct gate_tuple){ 0 };
	if (size_bytes == 0 || original_bytes < size_bytes) {
		return GATE_PACKET_SHORT;
	}
	switch (data[0] >> 4) {
	case 4:
		return ip4_parse(&rest, ret_tuple);
	case 6:
		return ip6_parse(&rest, ret_tuple);
	default:
		return GATE_PACKET_VERSION;
	}
}

const char *gate_packet_text(enum gate_packet_state state)
{
	static const char *const texts[] = {
#define X(name, text) [name] = (text),
		GATE_PACKET_LIST(X)
#undef X
	};
	return state < _GATE_PACKET_MAX ? texts[state] : "?";
}

bool gate_packet_begins(const struct gate_tuple *tuple)
{
	const uint8_t mask = GATE_TCP_SYN | GATE_TCP_ACK | GATE_TCP_RST | GATE_TCP_FIN;
	return tuple->proto != IPPROTO_TCP || (tuple->tcp_flags & mask) == GATE_TCP_SYN;
}
