/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <netinet/in.h>
#include <string.h>

#include "agent/gate/packet.h"
#include "tests/agent/packets.h"
#include "tests/tap.h"

static struct pr_addr address(const char *text)
{
	struct pr_addr addr = { 0 };
	(void)!pr_addr_parse(text, &addr);
	return addr;
}

static struct bytes build(const char *src, const char *dst, uint8_t proto)
{
	struct bytes packet = { 0 };
	struct packet_spec spec = { .src = address(src),
		                    .dst = address(dst),
		                    .src_port = 40000,
		                    .dst_port = 80,
		                    .proto = proto,
		                    .tcp_flags = GATE_TCP_SYN,
		                    .tcp_sequence = 77,
		                    .icmp_type = proto == IPPROTO_ICMPV6 ? 128 : 8,
		                    .icmp_id = 4711 };
	packet_build(&spec, &packet);
	return packet;
}

static enum gate_packet_state parse(const struct bytes *packet, struct gate_tuple *ret_tuple)
{
	return gate_packet_parse(packet->data, packet->size_bytes, packet->size_bytes, ret_tuple);
}

static void test_good(void)
{
	static const struct {
		const char *name, *src, *dst;
		uint8_t proto;
		bool ports;
	} rows[] = {
		{ "TCP over IPv4", "192.0.2.1", "192.0.2.2", IPPROTO_TCP, true },
		{ "TCP over IPv6", "2001:db8::1", "2001:db8::2", IPPROTO_TCP, true },
		{ "UDP over IPv4", "192.0.2.1", "192.0.2.2", IPPROTO_UDP, true },
		{ "UDP over IPv6", "2001:db8::1", "2001:db8::2", IPPROTO_UDP, true },
		{ "SCTP", "192.0.2.1", "192.0.2.2", IPPROTO_SCTP, true },
		{ "GRE has no ports", "192.0.2.1", "192.0.2.2", IPPROTO_GRE, false },
		{ "protocol 253", "2001:db8::1", "2001:db8::2", 253, false },
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct gate_tuple tuple;
		struct pr_addr src = address(rows[i].src);
		struct pr_addr dst = address(rows[i].dst);
		struct bytes packet = build(rows[i].src, rows[i].dst, rows[i].proto);
		ok(parse(&packet, &tuple) == GATE_PACKET_OK && tuple.proto == rows[i].proto &&
		           pr_addr_equal(&tuple.src, &src) && pr_addr_equal(&tuple.dst, &dst) &&
		           tuple.src_port == (rows[i].ports ? 40000 : 0) &&
		           tuple.dst_port == (rows[i].ports ? 80 : 0),
		   "%s", rows[i].name);
	}
	struct gate_tuple tuple;
	struct bytes packet = build("192.0.2.1", "192.0.2.2", IPPROTO_TCP);
	ok(parse(&packet, &tuple) == GATE_PACKET_OK && tuple.tcp_sequence == 77 &&
	           tuple.tcp_flags == GATE_TCP_SYN && gate_packet_begins(&tuple),
	   "a SYN begins a connection");
	packet.data[33] = GATE_TCP_SYN | GATE_TCP_ACK;
	ok(parse(&packet, &tuple) == GATE_PACKET_OK && !gate_packet_begins(&tuple),
	   "a SYN with ACK does not");
	packet = build("192.0.2.1", "192.0.2.2", IPPROTO_ICMP);
	ok(parse(&packet, &tuple) == GATE_PACKET_OK && tuple.icmp_type == 8 &&
	           tuple.icmp_id == 4711,
	   "ICMP echo");
	packet = build("2001:db8::1", "2001:db8::2", IPPROTO_ICMPV6);
	ok(parse(&packet, &tuple) == GATE_PACKET_OK && tuple.icmp_type == 128 &&
	           tuple.icmp_id == 4711,
	   "ICMPv6 echo");
}

/* Every prefix of every good packet: never OK, never outside the bytes (sanitizer, guard). */
static void test_cut(void)
{
	static const uint8_t protos[] = { IPPROTO_TCP, IPPROTO_UDP, IPPROTO_ICMP };
	bool never = true;

	for (size_t p = 0; p < sizeof(protos); p++) {
		struct bytes packet = build("192.0.2.1", "192.0.2.2", protos[p]);
		for (size_t size = 0; size < packet.size_bytes; size++) {
			struct gate_tuple tuple;
			never = never && gate_packet_parse(packet.data, size, size, &tuple) !=
			                         GATE_PACKET_OK;
		}
	}
	ok(never, "a packet cut anywhere is malformed");

	struct gate_tuple tuple;
	struct bytes packet = build("192.0.2.1", "192.0.2.2", IPPROTO_TCP);
	packet.data[2] = 0x10; /* total length 4136 */
	ok(parse(&packet, &tuple) == GATE_PACKET_LENGTH, "longer than it is");
	ok(gate_packet_parse(packet.data, packet.size_bytes, 0x1028, &tuple) == GATE_PACKET_OK,
	   "a long packet whose copy was cut is good");
	packet.data[2] = 0;
	packet.data[3] = 30;
	ok(parse(&packet, &tuple) == GATE_PACKET_SHORT, "total length inside the TCP header");
	packet.data[3] = 19;
	ok(parse(&packet, &tuple) == GATE_PACKET_LENGTH, "total length inside the IP header");
	packet = build("192.0.2.1", "192.0.2.2", IPPROTO_TCP);
	packet.data[0] = 0x44;
	ok(parse(&packet, &tuple) == GATE_PACKET_LENGTH, "header of 16 bytes");
	packet.data[0] = 0x4f;
	ok(parse(&packet, &tuple) == GATE_PACKET_LENGTH, "header longer than the packet");
	packet.data[0] = 0x55;
	ok(parse(&packet, &tuple) == GATE_PACKET_VERSION, "version 5");
	ok(gate_packet_parse(packet.data, 0, 0, &tuple) == GATE_PACKET_SHORT, "empty");
}

static void test_lies(void)
{
	struct gate_tuple tuple;
	struct bytes packet = build("192.0.2.1", "192.0.2.2", IPPROTO_TCP);

	packet.data[32] = 0x40;
	ok(parse(&packet, &tuple) == GATE_PACKET_LENGTH, "TCP header of 16 bytes");
	packet.data[32] = 0xf0;
	ok(parse(&packet, &tuple) == GATE_PACKET_LENGTH, "TCP header longer than the packet");
	packet.data[32] = 0x50;
	packet.data[33] = GATE_TCP_SYN | GATE_TCP_FIN;
	ok(parse(&packet, &tuple) == GATE_PACKET_FLAGS, "SYN and FIN");
	packet.data[33] = GATE_TCP_SYN | GATE_TCP_RST;
	ok(parse(&packet, &tuple) == GATE_PACKET_FLAGS, "SYN and RST");

	packet = build("192.0.2.1", "192.0.2.2", IPPROTO_UDP);
	packet.data[25] = 7;
	ok(parse(&packet, &tuple) == GATE_PACKET_LENGTH, "UDP length below its header");
	packet.data[25] = 9;
	ok(parse(&packet, &tuple) == GATE_PACKET_LENGTH, "UDP length above the packet");
	packet = build("::ffff:192.0.2.1", "2001:db8::2", IPPROTO_TCP);
	ok(parse(&packet, &tuple) == GATE_PACKET_ADDRESS, "a mapped address in an IPv6 header");
}

static void test_fragments(void)
{
	struct gate_tuple tuple;
	struct bytes packet = build("192.0.2.1", "192.0.2.2", IPPROTO_TCP);

	packet.data[6] = 0x20;
	ok(parse(&packet, &tuple) == GATE_PACKET_OK && tuple.fragment && tuple.dst_port == 80,
	   "a first fragment with its header is judged");
	packet.data[3] = 28; /* 8 bytes of TCP: the classic tiny fragment */
	ok(parse(&packet, &tuple) == GATE_PACKET_SHORT, "a tiny first fragment is malformed");
	packet.data[3] = 40;
	packet.data[7] = 1; /* offset 8: overlaps the header */
	ok(parse(&packet, &tuple) == GATE_PACKET_FRAGMENT, "a fragment over the header");
	packet.data[6] = 0x00;
	packet.data[7] = 100;
	ok(parse(&packet, &tuple) == GATE_PACKET_FRAGMENT, "a later fragment");
}

/* Put a header of 8 bytes (or more) between the IPv6 header and what follows. */
static void ip6_insert(struct bytes *packet, uint8_t kind, const uint8_t *header, size_t bytes)
{
	uint8_t next = packet->data[6];
	memmove(packet->data + 40 + bytes, packet->data + 40, packet->size_bytes - 40);
	memcpy(packet->data + 40, header, bytes);
	packet->data[40] = next;
	packet->data[6] = kind;
	packet->size_bytes += bytes;
	packet->data[4] = (uint8_t)((packet->size_bytes - 40) >> 8);
	packet->data[5] = (uint8_t)(packet->size_bytes - 40);
}

static void test_extensions(void)
{
	struct gate_tuple tuple;
	uint8_t header[264] = { 0 };
	struct bytes packet = build("2001:db8::1", "2001:db8::2", IPPROTO_TCP);

	ip6_insert(&packet, IPPROTO_DSTOPTS, header, 8);
	ip6_insert(&packet, IPPROTO_HOPOPTS, header, 8);
	ok(parse(&packet, &tuple) == GATE_PACKET_OK && tuple.proto == IPPROTO_TCP &&
	           tuple.dst_port == 80,
	   "hop-by-hop and destination options are skipped");
	ok(gate_packet_parse(packet.data, 50, packet.size_bytes, &tuple) == GATE_PACKET_CHAIN,
	   "a chain beyond the copy cannot be judged");

	packet = build("2001:db8::1", "2001:db8::2", IPPROTO_TCP);
	for (int i = 0; i < 13; i++) {
		ip6_insert(&packet, IPPROTO_DSTOPTS, header, 8);
	}
	ok(parse(&packet, &tuple) == GATE_PACKET_CHAIN, "13 headers are too many");

	packet = build("2001:db8::1", "2001:db8::2", IPPROTO_TCP);
	header[1] = 200;
	ip6_insert(&packet, IPPROTO_DSTOPTS, header, 8);
	ok(parse(&packet, &tuple) == GATE_PACKET_LENGTH, "an option header longer than the packet");

	packet = build("2001:db8::1", "2001:db8::2", IPPROTO_TCP);
	uint8_t routing[8] = { 0, 0, 0, 1 };
	ip6_insert(&packet, IPPROTO_ROUTING, routing, 8);
	ok(parse(&packet, &tuple) == GATE_PACKET_SOURCE_ROUTE, "segments left");
	packet.data[43] = 0;
	ok(parse(&packet, &tuple) == GATE_PACKET_OK, "a routing header that is used up");

	packet = build("2001:db8::1", "2001:db8::2", IPPROTO_TCP);
	uint8_t fragment[8] = { 0, 0, 0, 1 };
	ip6_insert(&packet, IPPROTO_FRAGMENT, fragment, 8);
	ok(parse(&packet, &tuple) == GATE_PACKET_OK && tuple.fragment, "an IPv6 first fragment");
	packet.data[42] = 1;
	ok(parse(&packet, &tuple) == GATE_PACKET_FRAGMENT, "an IPv6 later fragment");
	packet.data[42] = 0;
	ip6_insert(&packet, IPPROTO_FRAGMENT, fragment, 8);
	ok(parse(&packet, &tuple) == GATE_PACKET_FRAGMENT, "two fragment headers");

	packet = build("192.0.2.1", "192.0.2.2", IPPROTO_TCP);
	memmove(packet.data + 24, packet.data + 20, 20);
	packet.data[0] = 0x46;
	packet.data[3] = 44;
	packet.size_bytes = 44;
	memcpy(packet.data + 20, "\x83\x04\x04\x00", 4);
	ok(parse(&packet, &tuple) == GATE_PACKET_SOURCE_ROUTE, "IPv4 loose source route");
	memcpy(packet.data + 20, "\x44\x00\x00\x00", 4);
	ok(parse(&packet, &tuple) == GATE_PACKET_LENGTH, "an IPv4 option of length 0");
	memcpy(packet.data + 20, "\x01\x01\x01\x00", 4);
	ok(parse(&packet, &tuple) == GATE_PACKET_OK && tuple.dst_port == 80, "IPv4 no-operations");
}

int main(void)
{
	test_good();
	test_cut();
	test_lies();
	test_fragments();
	test_extensions();
	return tap_done();
}
