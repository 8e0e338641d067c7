/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <string.h>

#include "agent/gate/translation.h"
#include "base/err.h"
#include "tests/tap.h"

/* A request about the answering direction becomes an entry's original direction: one byte each. */
static void to_answer(uint8_t *data)
{
	struct nlmsghdr header;
	memcpy(&header, data, sizeof(header));
	header.nlmsg_type = (uint16_t)((header.nlmsg_type & 0xff00) | IPCTNL_MSG_CT_NEW);
	memcpy(data, &header, sizeof(header));
	data[22] = CTA_TUPLE_ORIG;
}

static void test_family(const char *name, const char *src, const char *dst)
{
	uint8_t data[TRANSLATION_REQUEST_MAX_BYTES];
	struct part_flow seen = { .proto = IPPROTO_TCP, .src_port = 40000, .dst_port = 80 };
	struct part_flow original = { 0 };

	(void)!pr_addr_parse(src, &seen.src);
	(void)!pr_addr_parse(dst, &seen.dst);
	size_t size_bytes = translation_request_write(&seen, 5, data);
	ok(size_bytes > 0 && size_bytes <= sizeof(data), "%s: a request", name);
	to_answer(data);
	ok(translation_answer_read(data, size_bytes, 5, &original) == PR_OK &&
	           original.proto == IPPROTO_TCP && original.src_port == 80 &&
	           original.dst_port == 40000 && pr_addr_equal(&original.src, &seen.dst) &&
	           pr_addr_equal(&original.dst, &seen.src),
	   "%s: read back, turned around", name);
	ok(translation_answer_read(data, size_bytes, 6, &original) == PR_EAGAIN,
	   "%s: another sequence number is not ours", name);
	bool never = true;
	for (size_t cut = 0; cut < size_bytes; cut++) {
		uint8_t copy[TRANSLATION_REQUEST_MAX_BYTES];
		memcpy(copy, data, cut);
		never = never && translation_answer_read(copy, cut, 5, &original) != PR_OK;
	}
	ok(never, "%s: cut anywhere it is no answer", name);
}

int main(void)
{
	test_family("IPv4", "192.0.2.1", "172.18.0.2");
	test_family("IPv6", "2001:db8::1", "fd00::2");

	uint8_t data[TRANSLATION_REQUEST_MAX_BYTES];
	struct part_flow seen = { .proto = IPPROTO_GRE };
	ok(translation_request_write(&seen, 1, data) == 0, "no ports: not looked up");
	struct {
		struct nlmsghdr header;
		struct nlmsgerr error;
	} refusal = {
		.header = { .nlmsg_len = sizeof(refusal),
		            .nlmsg_type = NLMSG_ERROR,
		            .nlmsg_seq = 1 },
		.error = { .error = -ENOENT },
	};
	struct part_flow original;
	ok(translation_answer_read((const uint8_t *)&refusal, sizeof(refusal), 1, &original) ==
	           PR_ENOENT,
	   "no entry");
	return tap_done();
}
