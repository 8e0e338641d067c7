/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <arpa/inet.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_log.h>
#include <linux/netfilter/nfnetlink_queue.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <string.h>

#include "tests/agent/packets.h"

static void put(struct bytes *to, const void *data, size_t size_bytes)
{
	memcpy(to->data + to->size_bytes, data, size_bytes);
	to->size_bytes += size_bytes;
}

static void put16(struct bytes *to, uint16_t value)
{
	uint16_t wire = htons(value);
	put(to, &wire, sizeof(wire));
}

static void put32(struct bytes *to, uint32_t value)
{
	uint32_t wire = htonl(value);
	put(to, &wire, sizeof(wire));
}

static void transport_build(const struct packet_spec *spec, struct bytes *to)
{
	static const uint8_t zero[16];

	switch (spec->proto) {
	case IPPROTO_TCP:
		put16(to, spec->src_port);
		put16(to, spec->dst_port);
		put32(to, spec->tcp_sequence);
		put32(to, 0);
		put16(to, (uint16_t)(0x5000 | spec->tcp_flags));
		put(to, zero, 6);
		break;
	case IPPROTO_UDP:
		put16(to, spec->src_port);
		put16(to, spec->dst_port);
		put16(to, 8);
		put16(to, 0);
		break;
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		put(to, &spec->icmp_type, 1);
		put(to, &spec->icmp_code, 1);
		put16(to, 0);
		put16(to, spec->icmp_id);
		put16(to, 1);
		break;
	default:
		put16(to, spec->src_port);
		put16(to, spec->dst_port);
		put(to, zero, 8);
		break;
	}
}

void packet_build(const struct packet_spec *spec, struct bytes *ret_packet)
{
	struct bytes transport = { 0 };

	ret_packet->size_bytes = 0;
	transport_build(spec, &transport);
	if (pr_addr_is_v4(&spec->dst)) {
		uint32_t src = pr_addr_to_v4(&spec->src);
		uint32_t dst = pr_addr_to_v4(&spec->dst);
		put16(ret_packet, 0x4500);
		put16(ret_packet, (uint16_t)(20 + transport.size_bytes));
		put32(ret_packet, 0x00014000);
		put16(ret_packet, (uint16_t)(0x4000 | spec->proto));
		put16(ret_packet, 0);
		put(ret_packet, &src, 4);
		put(ret_packet, &dst, 4);
	} else {
		put32(ret_packet, 0x60000000);
		put16(ret_packet, (uint16_t)transport.size_bytes);
		put16(ret_packet, (uint16_t)(spec->proto << 8 | 64));
		put(ret_packet, spec->src.bytes, 16);
		put(ret_packet, spec->dst.bytes, 16);
	}
	put(ret_packet, transport.data, transport.size_bytes);
}

static void put_attribute(struct bytes *to, uint16_t type, const void *value, size_t value_bytes)
{
	static const uint8_t zero[4];
	struct nlattr header = { .nla_len = (uint16_t)(NLA_HDRLEN + value_bytes),
		                 .nla_type = type };
	put(to, &header, sizeof(header));
	put(to, value, value_bytes);
	put(to, zero, NLA_ALIGN(value_bytes) - value_bytes);
}

static void put_number(struct bytes *to, uint16_t type, uint32_t value)
{
	uint32_t wire = htonl(value);
	put_attribute(to, type, &wire, sizeof(wire));
}

static void queue_attributes(const struct message_spec *spec, const struct bytes *packet,
                             struct bytes *to)
{
	struct nfqnl_msg_packet_hdr header = { .packet_id = htonl(spec->id), .hook = spec->hook };
	put_attribute(to, NFQA_PACKET_HDR, &header, sizeof(header));
	put_number(to, NFQA_MARK, spec->mark);
	put_number(to, NFQA_IFINDEX_INDEV, spec->in_device);
	put_number(to, NFQA_IFINDEX_OUTDEV, spec->out_device);
	if (spec->uid != UINT32_MAX) {
		put_number(to, NFQA_UID, spec->uid);
	}
	put_number(to, NFQA_CAP_LEN, (uint32_t)packet->size_bytes);
	put_attribute(to, NFQA_PAYLOAD, packet->data, packet->size_bytes);
}

static void log_attributes(const struct message_spec *spec, const struct bytes *packet,
                           struct bytes *to)
{
	struct nfulnl_msg_packet_hdr header = { .hook = spec->hook };
	put_attribute(to, NFULA_PACKET_HDR, &header, sizeof(header));
	put_number(to, NFULA_MARK, spec->mark);
	put_number(to, NFULA_IFINDEX_INDEV, spec->in_device);
	put_number(to, NFULA_IFINDEX_OUTDEV, spec->out_device);
	put_attribute(to, NFULA_PAYLOAD, packet->data, packet->size_bytes);
	if (spec->uid != UINT32_MAX) {
		put_number(to, NFULA_UID, spec->uid);
	}
}

void message_build(const struct message_spec *spec, const struct bytes *packet,
                   struct bytes *datagram)
{
	size_t start = datagram->size_bytes;
	uint16_t type = spec->copy ? (NFNL_SUBSYS_ULOG << 8) | NFULNL_MSG_PACKET
	                           : (NFNL_SUBSYS_QUEUE << 8) | NFQNL_MSG_PACKET;
	struct nlmsghdr header = { .nlmsg_type = type };
	struct nfgenmsg family = { .nfgen_family = AF_INET, .res_id = htons(spec->queue) };

	put(datagram, &header, sizeof(header));
	put(datagram, &family, sizeof(family));
	if (spec->copy) {
		log_attributes(spec, packet, datagram);
	} else {
		queue_attributes(spec, packet, datagram);
	}
	header.nlmsg_len = (uint32_t)(datagram->size_bytes - start);
	memcpy(datagram->data + start, &header, sizeof(header));
}

void message_refusal_build(int error, struct bytes *datagram)
{
	struct {
		struct nlmsghdr header;
		struct nlmsgerr error;
	} message = {
		.header = { .nlmsg_len = sizeof(message), .nlmsg_type = NLMSG_ERROR },
		.error = { .error = error },
	};
	put(datagram, &message, sizeof(message));
}

int verdicts_read(const uint8_t *data, size_t size_bytes, struct verdict_seen *ret_seen,
                  size_t capacity)
{
	size_t at = 0;
	int count = 0;

	while (at < size_bytes) {
		struct nlmsghdr header;
		struct nfgenmsg family;
		struct nfqnl_msg_verdict_hdr verdict;
		uint32_t mark;
		if (size_bytes - at < 40 || (size_t)count == capacity) {
			return -1;
		}
		memcpy(&header, data + at, sizeof(header));
		memcpy(&family, data + at + 16, sizeof(family));
		memcpy(&verdict, data + at + 24, sizeof(verdict));
		memcpy(&mark, data + at + 36, sizeof(mark));
		if (header.nlmsg_len != 40 || header.nlmsg_flags != NLM_F_REQUEST ||
		    header.nlmsg_type != ((NFNL_SUBSYS_QUEUE << 8) | NFQNL_MSG_VERDICT)) {
			return -1;
		}
		ret_seen[count++] = (struct verdict_seen){ .id = ntohl(verdict.id),
			                                   .verdict = ntohl(verdict.verdict),
			                                   .mark = ntohl(mark),
			                                   .queue = ntohs(family.res_id) };
		at += header.nlmsg_len;
	}
	return count;
}
