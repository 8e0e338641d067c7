/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <arpa/inet.h>
#include <linux/netfilter/nf_conntrack_tcp.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <linux/netlink.h>
#include <stdbool.h>
#include <string.h>

#include "agent/gate/translation.h"
#include "base/err.h"

#define TYPE_GET ((NFNL_SUBSYS_CTNETLINK << 8) | IPCTNL_MSG_CT_GET)
#define TYPE_NEW ((NFNL_SUBSYS_CTNETLINK << 8) | IPCTNL_MSG_CT_NEW)

/* --------------------------------------------------------------------------------- writing */

/* Room was reserved by TRANSLATION_REQUEST_MAX_BYTES for the largest request. */
struct writer {
	uint8_t *data;
	size_t used;
};

static void put_attribute(struct writer *writer, uint16_t type, const void *value,
                          size_t value_bytes)
{
	struct nlattr header = { .nla_len = (uint16_t)(NLA_HDRLEN + value_bytes),
		                 .nla_type = type };
	memcpy(writer->data + writer->used, &header, sizeof(header));
	memcpy(writer->data + writer->used + NLA_HDRLEN, value, value_bytes);
	writer->used += NLA_ALIGN(NLA_HDRLEN + value_bytes);
}

static size_t nest_begin(struct writer *writer, uint16_t type)
{
	size_t start = writer->used;
	struct nlattr header = { .nla_type = type | NLA_F_NESTED };
	memcpy(writer->data + start, &header, sizeof(header));
	writer->used += NLA_HDRLEN;
	return start;
}

static void nest_end(struct writer *writer, size_t start)
{
	uint16_t length = (uint16_t)(writer->used - start);
	memcpy(writer->data + start, &length, sizeof(length));
}

static void put_addresses(struct writer *writer, const struct pr_addr *src,
                          const struct pr_addr *dst)
{
	size_t nest = nest_begin(writer, CTA_TUPLE_IP);
	if (pr_addr_is_v4(dst)) {
		uint32_t addresses[] = { pr_addr_to_v4(src), pr_addr_to_v4(dst) };
		put_attribute(writer, CTA_IP_V4_SRC, &addresses[0], sizeof(addresses[0]));
		put_attribute(writer, CTA_IP_V4_DST, &addresses[1], sizeof(addresses[1]));
	} else {
		put_attribute(writer, CTA_IP_V6_SRC, src->bytes, sizeof(src->bytes));
		put_attribute(writer, CTA_IP_V6_DST, dst->bytes, sizeof(dst->bytes));
	}
	nest_end(writer, nest);
}

static bool has_ports(uint8_t proto)
{
	return proto == IPPROTO_TCP || proto == IPPROTO_UDP || proto == IPPROTO_UDPLITE ||
	       proto == IPPROTO_SCTP || proto == IPPROTO_DCCP;
}

/* A family's echo: attributes, and the type of its answer. */
struct echo {
	uint8_t proto, request, reply;
	uint16_t id, type, code;
};

static const struct echo *echo_of(uint8_t proto)
{
	static const struct echo echoes[] = {
		{ IPPROTO_ICMP, 8, 0, CTA_PROTO_ICMP_ID, CTA_PROTO_ICMP_TYPE, CTA_PROTO_ICMP_CODE },
		{ IPPROTO_ICMPV6, 128, 129, CTA_PROTO_ICMPV6_ID, CTA_PROTO_ICMPV6_TYPE,
		  CTA_PROTO_ICMPV6_CODE },
	};
	for (size_t i = 0; i < PR_ARRAY_LEN(echoes); i++) {
		if (echoes[i].proto == proto) {
			return &echoes[i];
		}
	}
	return NULL;
}

bool translation_fits(const struct part_flow *flow)
{
	const struct echo *echo = echo_of(flow->proto);
	bool family = pr_addr_is_v4(&flow->dst) == pr_addr_is_v4(&flow->src);

	if (echo != NULL) {
		return family && flow->dst_port == echo->request * 256;
	}
	return family && has_ports(flow->proto);
}

static void put_proto(struct writer *writer, const struct part_flow *seen, bool sent)
{
	const struct echo *echo = echo_of(seen->proto);
	size_t proto = nest_begin(writer, CTA_TUPLE_PROTO);

	put_attribute(writer, CTA_PROTO_NUM, &seen->proto, sizeof(seen->proto));
	if (echo != NULL) {
		const uint8_t code = 0;
		uint16_t id = htons(seen->src_port);
		put_attribute(writer, echo->id, &id, sizeof(id));
		put_attribute(writer, echo->type, sent ? &echo->request : &echo->reply, 1);
		put_attribute(writer, echo->code, &code, 1);
	} else {
		uint16_t ports[] = { htons(sent ? seen->src_port : seen->dst_port),
			             htons(sent ? seen->dst_port : seen->src_port) };
		put_attribute(writer, CTA_PROTO_SRC_PORT, &ports[0], sizeof(ports[0]));
		put_attribute(writer, CTA_PROTO_DST_PORT, &ports[1], sizeof(ports[1]));
	}
	nest_end(writer, proto);
}

size_t translation_request_write(const struct part_flow *seen, bool sent, uint32_t sequence,
                                 uint8_t *data)
{
	struct writer writer = { .data = data,
		                 .used = NLMSG_HDRLEN + NLMSG_ALIGN(sizeof(struct nfgenmsg)) };
	bool v4 = pr_addr_is_v4(&seen->dst);

	if (!translation_fits(seen)) {
		return 0;
	}
	memset(data, 0, TRANSLATION_REQUEST_MAX_BYTES);
	size_t tuple = nest_begin(&writer, sent ? CTA_TUPLE_ORIG : CTA_TUPLE_REPLY);
	put_addresses(&writer, sent ? &seen->src : &seen->dst, sent ? &seen->dst : &seen->src);
	put_proto(&writer, seen, sent);
	nest_end(&writer, tuple);

	struct nlmsghdr header = { .nlmsg_len = (uint32_t)writer.used,
		                   .nlmsg_type = TYPE_GET,
		                   .nlmsg_flags = NLM_F_REQUEST,
		                   .nlmsg_seq = sequence };
	struct nfgenmsg family = { .nfgen_family = v4 ? AF_INET : AF_INET6,
		                   .version = NFNETLINK_V0 };
	memcpy(data, &header, sizeof(header));
	memcpy(data + NLMSG_HDRLEN, &family, sizeof(family));
	return writer.used;
}

/* --------------------------------------------------------------------------------- reading */

struct reader {
	const uint8_t *data;
	size_t left;
};

/* The next attribute's type, with its value in @p ret_value; -1 at the end or when it lies. */
static int attribute_next(struct reader *reader, struct reader *ret_value)
{
	struct nlattr header;

	if (reader->left < NLA_HDRLEN) {
		return -1;
	}
	memcpy(&header, reader->data, sizeof(header));
	if (header.nla_len < NLA_HDRLEN || header.nla_len > reader->left) {
		return -1;
	}
	*ret_value = (struct reader){ .data = reader->data + NLA_HDRLEN,
		                      .left = (size_t)header.nla_len - NLA_HDRLEN };
	size_t step = NLA_ALIGN(header.nla_len);
	step = step > reader->left ? reader->left : step;
	reader->data += step;
	reader->left -= step;
	return header.nla_type & NLA_TYPE_MASK;
}

static bool address_take(const struct reader *value, struct pr_addr *ret_address)
{
	if (value->left == sizeof(uint32_t)) {
		uint32_t address;
		memcpy(&address, value->data, sizeof(address));
		*ret_address = pr_addr_from_v4(address);
		return true;
	}
	if (value->left == sizeof(ret_address->bytes)) {
		memcpy(ret_address->bytes, value->data, sizeof(ret_address->bytes));
		return true;
	}
	return false;
}

static int addresses_take(struct reader nest, struct part_flow *flow)
{
	struct reader value;
	int found = 0;
	int type;

	while ((type = attribute_next(&nest, &value)) >= 0) {
		if (type == CTA_IP_V4_SRC || type == CTA_IP_V6_SRC) {
			found += address_take(&value, &flow->src);
		} else if (type == CTA_IP_V4_DST || type == CTA_IP_V6_DST) {
			found += address_take(&value, &flow->dst);
		}
	}
	return found;
}

static int ports_take(struct reader nest, struct part_flow *flow)
{
	struct reader value;
	int found = 0;
	int type;

	while ((type = attribute_next(&nest, &value)) >= 0) {
		if (type == CTA_PROTO_NUM && value.left >= 1) {
			flow->proto = value.data[0];
			found++;
		} else if (type == CTA_PROTO_SRC_PORT && value.left >= 2) {
			flow->src_port = (uint16_t)(value.data[0] << 8 | value.data[1]);
			found++;
		} else if (type == CTA_PROTO_DST_PORT && value.left >= 2) {
			flow->dst_port = (uint16_t)(value.data[0] << 8 | value.data[1]);
			found++;
		} else if ((type == CTA_PROTO_ICMP_ID || type == CTA_PROTO_ICMPV6_ID) &&
		           value.left >= 2) {
			flow->src_port = (uint16_t)(value.data[0] << 8 | value.data[1]);
			found++;
		} else if ((type == CTA_PROTO_ICMP_TYPE || type == CTA_PROTO_ICMPV6_TYPE) &&
		           value.left >= 1) {
			flow->dst_port = (uint16_t)(value.data[0] << 8);
			found++;
		}
	}
	return found;
}

/* True: it has everything. */
static bool tuple_take(struct reader nest, struct part_flow *ret_flow)
{
	struct reader value;
	int found = 0;
	int type;

	while ((type = attribute_next(&nest, &value)) >= 0) {
		if (type == CTA_TUPLE_IP) {
			found += addresses_take(value, ret_flow);
		} else if (type == CTA_TUPLE_PROTO) {
			found += ports_take(value, ret_flow);
		}
	}
	return found == 5;
}

static void state_take(struct reader nest, bool *ret_closed)
{
	struct reader tcp;
	struct reader value;
	int type;

	while ((type = attribute_next(&nest, &tcp)) >= 0) {
		if (type != CTA_PROTOINFO_TCP) {
			continue;
		}
		while ((type = attribute_next(&tcp, &value)) >= 0) {
			if (type == CTA_PROTOINFO_TCP_STATE && value.left >= 1) {
				*ret_closed = value.data[0] >= TCP_CONNTRACK_FIN_WAIT &&
				              value.data[0] <= TCP_CONNTRACK_CLOSE;
			}
		}
	}
}

/* The flow whose answer this is. */
static struct part_flow turned(const struct part_flow *reply)
{
	const struct echo *echo = echo_of(reply->proto);

	return (struct part_flow){
		.proto = reply->proto,
		.src = reply->dst,
		.dst = reply->src,
		.src_port = echo != NULL ? reply->src_port : reply->dst_port,
		.dst_port = echo != NULL ? (uint16_t)(echo->request * 256) : reply->src_port,
	};
}

static int entry_read(struct reader body, struct translation_entry *ret_entry)
{
	struct translation_entry entry = { 0 };
	struct part_flow reply = { 0 };
	struct reader nest;
	int found = 0;
	int type;

	if (body.left < sizeof(struct nfgenmsg)) {
		return PR_EMALF;
	}
	body.data += NLMSG_ALIGN(sizeof(struct nfgenmsg));
	body.left -= NLMSG_ALIGN(sizeof(struct nfgenmsg));
	while ((type = attribute_next(&body, &nest)) >= 0) {
		if (type == CTA_TUPLE_ORIG) {
			found += tuple_take(nest, &entry.original);
		} else if (type == CTA_TUPLE_REPLY) {
			found += tuple_take(nest, &reply);
		} else if (type == CTA_PROTOINFO) {
			state_take(nest, &entry.closed);
		}
	}
	if (found != 2) {
		return PR_EMALF;
	}
	entry.wire = turned(&reply);
	*ret_entry = entry;
	return PR_OK;
}

int translation_answer_read(const uint8_t *data, size_t size_bytes, uint32_t sequence,
                            struct translation_entry *ret_entry)
{
	size_t at = 0;

	while (size_bytes - at >= NLMSG_HDRLEN) {
		struct nlmsghdr header;
		memcpy(&header, data + at, sizeof(header));
		if (header.nlmsg_len < NLMSG_HDRLEN || header.nlmsg_len > size_bytes - at) {
			return PR_EMALF;
		}
		if (header.nlmsg_seq == sequence && header.nlmsg_type == NLMSG_ERROR) {
			return PR_ENOENT;
		}
		if (header.nlmsg_seq == sequence && header.nlmsg_type == TYPE_NEW) {
			struct reader body = { .data = data + at + NLMSG_HDRLEN,
				               .left = header.nlmsg_len - NLMSG_HDRLEN };
			return entry_read(body, ret_entry);
		}
		size_t step = NLMSG_ALIGN((size_t)header.nlmsg_len);
		if (step >= size_bytes - at) {
			break;
		}
		at += step;
	}
	return PR_EAGAIN;
}
