/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <linux/netfilter.h>
#include <string.h>

#include "agent/gate/netlink.h"
#include "tests/agent/packets.h"
#include "tests/tap.h"

static struct bytes packet_some(void)
{
	struct packet_spec spec = { .proto = 6, .src_port = 1, .dst_port = 2 };
	struct bytes packet = { 0 };
	(void)!pr_addr_parse("192.0.2.1", &spec.src);
	(void)!pr_addr_parse("192.0.2.2", &spec.dst);
	packet_build(&spec, &packet);
	return packet;
}

static void test_read(void)
{
	struct bytes packet = packet_some();
	struct bytes datagram = { 0 };
	struct gate_message message;
	size_t offset = 0;
	struct message_spec spec = { .id = 9,
		                     .mark = 0x80000001,
		                     .uid = 1000,
		                     .queue = 7400,
		                     .hook = GATE_HOOK_OUTPUT,
		                     .out_device = 3 };

	message_build(&spec, &packet, &datagram);
	spec.copy = true;
	message_build(&spec, &packet, &datagram);
	message_refusal_build(-2, &datagram);
	message_refusal_build(0, &datagram);

	ok(gate_message_next(datagram.data, datagram.size_bytes, &offset, &message) &&
	           message.kind == GATE_MESSAGE_PACKET && message.has_id && message.id == 9 &&
	           message.mark == 0x80000001 && message.uid == 1000 && message.queue == 7400 &&
	           message.hook == GATE_HOOK_OUTPUT && message.out_device == 3 &&
	           message.in_device == 0,
	   "a queue message");
	ok(message.payload_bytes == packet.size_bytes &&
	           memcmp(message.payload, packet.data, packet.size_bytes) == 0 &&
	           message.original_bytes == packet.size_bytes,
	   "its payload");
	ok(gate_message_next(datagram.data, datagram.size_bytes, &offset, &message) &&
	           message.kind == GATE_MESSAGE_COPY && !message.has_id && message.uid == 1000 &&
	           message.payload_bytes == packet.size_bytes,
	   "a log message in the same datagram");
	ok(gate_message_next(datagram.data, datagram.size_bytes, &offset, &message) &&
	           message.kind == GATE_MESSAGE_REFUSED && message.error == -2,
	   "a refusal");
	ok(gate_message_next(datagram.data, datagram.size_bytes, &offset, &message) &&
	           message.kind == GATE_MESSAGE_OTHER,
	   "an acknowledgement is nothing");
	ok(!gate_message_next(datagram.data, datagram.size_bytes, &offset, &message), "the end");
}

static void test_bad(void)
{
	struct bytes packet = packet_some();
	struct bytes datagram = { 0 };
	struct message_spec spec = { .id = 5, .uid = UINT32_MAX, .hook = GATE_HOOK_INPUT };
	bool ended = true;
	bool id_kept = true;

	message_build(&spec, &packet, &datagram);
	for (size_t size = 0; size < datagram.size_bytes; size++) {
		struct gate_message message;
		size_t offset = 0;
		int messages = 0;
		while (messages < 9 && gate_message_next(datagram.data, size, &offset, &message)) {
			messages++;
			ended = ended && message.kind != GATE_MESSAGE_PACKET;
		}
		ended = ended && messages <= 1;
	}
	ok(ended, "a message cut anywhere is bad and ends");

	/* A lying attribute behind the packet's id: the packet must still be answered. */
	for (size_t at = 32; at <= 40; at += 8) {
		struct bytes bad = datagram;
		struct gate_message message;
		size_t offset = 0;
		bad.data[at] = 2;
		bad.data[at + 1] = 0;
		bool got = gate_message_next(bad.data, bad.size_bytes, &offset, &message);
		id_kept = id_kept && got && message.kind == GATE_MESSAGE_BAD && message.has_id &&
		          message.id == 5;
	}
	ok(id_kept, "an attribute that lies leaves the id readable");
}

static void test_write(void)
{
	static struct gate_verdicts verdicts;
	struct verdict_seen seen[128];
	int added = 0;

	ok(gate_verdicts_add(&verdicts, 7400, 1, GATE_ANSWER_ACCEPT, 0x90000000) &&
	           gate_verdicts_add(&verdicts, 7401, 3, GATE_ANSWER_DROP, 5),
	   "two verdicts");
	ok(verdicts_read(verdicts.data, verdicts.size_bytes, seen, 128) == 2 && seen[0].id == 1 &&
	           seen[0].queue == 7400 && seen[0].verdict == NF_ACCEPT &&
	           seen[0].mark == 0x90000000 && seen[1].id == 3 && seen[1].queue == 7401 &&
	           seen[1].verdict == NF_DROP,
	   "read back as the kernel would");
	while (gate_verdicts_add(&verdicts, 1, 2, GATE_ANSWER_DROP, 0)) {
		added++;
	}
	ok(added == 126, "full after 128, %d more", added);
}

int main(void)
{
	test_read();
	test_bad();
	test_write();
	return tap_done();
}
