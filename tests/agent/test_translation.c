/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <linux/netfilter/nf_conntrack_tcp.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <string.h>

#include "agent/gate/translation.h"
#include "base/err.h"
#include "tests/tap.h"

/* The entry that a connection table would have: both directions, each as a request writes it. */
static size_t entry_write(const struct part_flow *original, const struct part_flow *wire,
                          uint8_t tcp_state, uint8_t *data)
{
	uint8_t second[TRANSLATION_REQUEST_MAX_BYTES];
	const size_t head = NLMSG_HDRLEN + 4;
	size_t size_bytes = translation_request_write(original, true, 5, data);
	size_t second_bytes = translation_request_write(wire, false, 5, second);
	struct nlmsghdr header;

	memcpy(data + size_bytes, second + head, second_bytes - head);
	size_bytes += second_bytes - head;
	const struct nlattr state[] = {
		{ 4 + 4 + 5, CTA_PROTOINFO | NLA_F_NESTED },
		{ 4 + 5, CTA_PROTOINFO_TCP | NLA_F_NESTED },
		{ 5, CTA_PROTOINFO_TCP_STATE },
	};
	memcpy(data + size_bytes, state, sizeof(state));
	data[size_bytes + sizeof(state)] = tcp_state;
	size_bytes += sizeof(state) + 1;
	memcpy(&header, data, sizeof(header));
	header.nlmsg_len = (uint32_t)size_bytes;
	header.nlmsg_type = (uint16_t)((header.nlmsg_type & 0xff00) | IPCTNL_MSG_CT_NEW);
	memcpy(data, &header, sizeof(header));
	return size_bytes;
}

static bool flow_is(const struct part_flow *a, const struct part_flow *b)
{
	return a->proto == b->proto && a->src_port == b->src_port && a->dst_port == b->dst_port &&
	       pr_addr_equal(&a->src, &b->src) && pr_addr_equal(&a->dst, &b->dst);
}

static void test_family(const char *name, const char *src, const char *translated, const char *dst)
{
	uint8_t data[3 * TRANSLATION_REQUEST_MAX_BYTES];
	struct part_flow original = { .proto = IPPROTO_TCP, .src_port = 40000, .dst_port = 80 };
	struct translation_entry entry;

	(void)!pr_addr_parse(src, &original.src);
	(void)!pr_addr_parse(dst, &original.dst);
	struct part_flow wire = original;
	(void)!pr_addr_parse(translated, &wire.src);
	wire.src_port = 51000;
	size_t size_bytes = translation_request_write(&original, false, 5, data);
	ok(size_bytes > 0 && size_bytes <= TRANSLATION_REQUEST_MAX_BYTES &&
	           data[22] == CTA_TUPLE_REPLY,
	   "%s: a request about what was seen", name);
	size_bytes = translation_request_write(&original, true, 5, data);
	ok(size_bytes > 0 && data[22] == CTA_TUPLE_ORIG, "%s: and about what was sent", name);
	size_bytes = entry_write(&original, &wire, TCP_CONNTRACK_SYN_SENT, data);
	ok(translation_answer_read(data, size_bytes, 5, &entry) == PR_OK &&
	           flow_is(&entry.original, &original) && flow_is(&entry.wire, &wire),
	   "%s: an entry, before and behind translation", name);
	ok(!entry.closed, "%s: it begins", name);
	ok(translation_answer_read(data, size_bytes, 6, &entry) == PR_EAGAIN,
	   "%s: another sequence number is not ours", name);
	bool never = true;
	for (size_t cut = 0; cut < size_bytes; cut++) {
		uint8_t copy[sizeof(data)];
		memcpy(copy, data, cut);
		never = never && translation_answer_read(copy, cut, 5, &entry) != PR_OK;
	}
	ok(never, "%s: cut anywhere it is no answer", name);
	static const uint8_t over[] = { TCP_CONNTRACK_FIN_WAIT, TCP_CONNTRACK_TIME_WAIT,
		                        TCP_CONNTRACK_CLOSE };
	for (size_t i = 0; i < PR_ARRAY_LEN(over); i++) {
		size_bytes = entry_write(&original, &wire, over[i], data);
		ok(translation_answer_read(data, size_bytes, 5, &entry) == PR_OK && entry.closed,
		   "%s: state %u is over", name, over[i]);
	}
}

static void test_echo(void)
{
	uint8_t data[3 * TRANSLATION_REQUEST_MAX_BYTES];
	struct part_flow original = { .proto = IPPROTO_ICMP, .src_port = 77, .dst_port = 8 * 256 };
	struct translation_entry entry;

	(void)!pr_addr_parse("172.18.0.2", &original.src);
	(void)!pr_addr_parse("192.0.2.9", &original.dst);
	struct part_flow wire = original;
	(void)!pr_addr_parse("192.0.2.1", &wire.src);
	wire.src_port = 78;
	size_t size_bytes = entry_write(&original, &wire, 0, data);
	ok(translation_answer_read(data, size_bytes, 5, &entry) == PR_OK &&
	           flow_is(&entry.original, &original) && flow_is(&entry.wire, &wire),
	   "an echo, before and behind translation, by its identifier");
	original.dst_port = 3 * 256;
	ok(translation_request_write(&original, true, 1, data) == 0, "other ICMP is not looked up");
}

int main(void)
{
	test_echo();
	test_family("IPv4", "172.18.0.2", "192.0.2.1", "192.0.2.9");
	test_family("IPv6", "fd00::2", "2001:db8::1", "2001:db8::9");

	uint8_t data[TRANSLATION_REQUEST_MAX_BYTES];
	struct part_flow seen = { .proto = IPPROTO_GRE };
	ok(translation_request_write(&seen, false, 1, data) == 0, "no ports: not looked up");
	struct {
		struct nlmsghdr header;
		struct nlmsgerr error;
	} refusal = {
		.header = { .nlmsg_len = sizeof(refusal),
		            .nlmsg_type = NLMSG_ERROR,
		            .nlmsg_seq = 1 },
		.error = { .error = -ENOENT },
	};
	struct translation_entry entry;
	ok(translation_answer_read((const uint8_t *)&refusal, sizeof(refusal), 1, &entry) ==
	           PR_ENOENT,
	   "no entry");
	return tap_done();
}
