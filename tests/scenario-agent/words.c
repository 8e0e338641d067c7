/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "agent/gate/netlink.h"
#include "agent/gate/packet.h"
#include "base/clock.h"
#include "base/err.h"
#include "tests/scenario-agent/play.h"

static struct pr_uuid endpoint_id(unsigned int number)
{
	return (struct pr_uuid){ .bytes = { (uint8_t)(number + 1) } };
}

/* "192.0.2.1,80" or "2001:db8::1,80" or an address alone. */
static bool end_parse(const char *text, struct pr_addr *ret_addr, uint16_t *ret_port)
{
	char address[PR_ADDR_TEXT_BYTES];
	const char *comma = strchr(text, ',');
	size_t length = comma != NULL ? (size_t)(comma - text) : strlen(text);
	if (length >= sizeof(address)) {
		return false;
	}
	memcpy(address, text, length);
	address[length] = '\0';
	*ret_port = comma != NULL ? (uint16_t)strtoul(comma + 1, NULL, 10) : 0;
	return pr_addr_parse(address, ret_addr) == PR_OK;
}

static unsigned long number(const char *text)
{
	return strtoul(text, NULL, 0);
}

static uint8_t proto_parse(const char *text)
{
	static const struct {
		const char *name;
		uint8_t proto;
	} names[] = { { "tcp", IPPROTO_TCP },
		      { "udp", IPPROTO_UDP },
		      { "icmp", IPPROTO_ICMP },
		      { "icmp6", IPPROTO_ICMPV6 },
		      { "sctp", IPPROTO_SCTP } };
	for (size_t i = 0; i < PR_ARRAY_LEN(names); i++) {
		if (strcmp(text, names[i].name) == 0) {
			return names[i].proto;
		}
	}
	return (uint8_t)number(text);
}

static void option_take(const char *name, const char *value, struct packet_spec *packet,
                        struct message_spec *message)
{
	if (strcmp(name, "seq") == 0) {
		packet->tcp_sequence = (uint32_t)number(value);
	} else if (strcmp(name, "flags") == 0) {
		packet->tcp_flags = (uint8_t)number(value);
	} else if (strcmp(name, "dev") == 0) {
		message->in_device = message->hook == GATE_HOOK_INPUT ? (uint32_t)number(value) : 0;
		message->out_device =
			message->hook == GATE_HOOK_OUTPUT ? (uint32_t)number(value) : 0;
	} else if (strcmp(name, "mark") == 0) {
		message->mark = (uint32_t)number(value);
	} else if (strcmp(name, "echo") == 0) {
		packet->icmp_id = (uint16_t)number(value);
	} else {
		play_fail("unknown option", name);
	}
}

/* packet SLOT ID in|out PROTO SRC DST [OPTION VALUE]... / copy SLOT in|out ... */
static void do_packet(char **words, int count)
{
	bool copy = strcmp(words[0], "copy") == 0;
	int at = copy ? 2 : 3;
	struct packet_spec packet = { .tcp_flags = GATE_TCP_SYN,
		                      .tcp_sequence = 1,
		                      .icmp_type = 8 };
	struct message_spec message = { .uid = UINT32_MAX, .queue = 7400, .copy = copy };
	struct bytes bytes = { 0 };

	if (count < at + 4) {
		play_fail("too few words", words[0]);
		return;
	}
	message.id = copy ? 0 : (uint32_t)number(words[2]);
	message.hook = strcmp(words[at], "out") == 0  ? GATE_HOOK_OUTPUT
	               : strcmp(words[at], "in") == 0 ? GATE_HOOK_INPUT
	                                              : (uint8_t)number(words[at]);
	message.in_device = message.hook == GATE_HOOK_INPUT ? 2 : 0;
	message.out_device = message.hook == GATE_HOOK_OUTPUT ? 2 : 0;
	packet.proto = proto_parse(words[at + 1]);
	if (packet.proto == IPPROTO_ICMPV6) {
		packet.icmp_type = 128;
	}
	if (!end_parse(words[at + 2], &packet.src, &packet.src_port) ||
	    !end_parse(words[at + 3], &packet.dst, &packet.dst_port)) {
		play_fail("bad address", words[at + 2]);
		return;
	}
	for (int i = at + 4; i + 1 < count; i += 2) {
		option_take(words[i], words[i + 1], &packet, &message);
	}
	packet_build(&packet, &bytes);
	fake_kernel_arrive(&play.kernel, (uint32_t)number(words[1]), &message, &bytes);
}

/* raw SLOT ID HEX: a held packet of any bytes; ID 0: a copy. */
static void do_raw(char **words, int count)
{
	struct message_spec message = { .uid = UINT32_MAX, .hook = GATE_HOOK_OUTPUT };
	struct bytes bytes = { 0 };
	const char *hex = count > 3 ? words[3] : "";

	for (size_t i = 0; hex[i] != 0 && hex[i + 1] != 0; i += 2) {
		char pair[3] = { hex[i], hex[i + 1], 0 };
		bytes.data[bytes.size_bytes++] = (uint8_t)strtoul(pair, NULL, 16);
	}
	message.id = (uint32_t)number(words[2]);
	message.copy = message.id == 0;
	fake_kernel_arrive(&play.kernel, (uint32_t)number(words[1]), &message, &bytes);
}

/* flood SLOT COUNT: so many held packets of different flows, without output. */
static void do_flood(char **words)
{
	unsigned long left = number(words[2]);
	struct packet_spec packet = { .proto = IPPROTO_TCP, .tcp_flags = GATE_TCP_SYN };

	(void)!pr_addr_parse("198.51.100.1", &packet.src);
	(void)!pr_addr_parse("198.51.100.2", &packet.dst);
	for (uint16_t port = 1; left > 0; left--, port++) {
		struct message_spec message = { .id = 100000U + port,
			                        .uid = UINT32_MAX,
			                        .hook = GATE_HOOK_INPUT,
			                        .in_device = 2 };
		struct bytes bytes = { 0 };
		packet.src_port = port;
		packet_build(&packet, &bytes);
		fake_kernel_arrive(&play.kernel, (uint32_t)number(words[1]), &message, &bytes);
		if (port % 256 == 0 || left == 1) {
			play.flood_id = 1;
			while (gate_turn(play.gate)) {
			}
			play.flood_id = 0;
		}
	}
}

static void do_slot(char **words, int count)
{
	struct part_namespace space = {
		.slot = (uint32_t)number(words[1]),
		.endpoint = endpoint_id((unsigned int)number(words[1])),
		.mode = strcmp(words[2], "enforce") == 0 ? CODEC_MODE_ENFORCE : CODEC_MODE_OBSERVE,
		.descriptors = { .queue = 1, .log = -1, .diag = -1, .conntrack = -1 },
	};
	for (int i = 3; i < count; i++) {
		if (strcmp(words[i], "host") == 0) {
			space.is_host = true;
		} else if (strcmp(words[i], "guest") == 0) {
			space.guest = true;
		} else if (words[i][0] == 'e') { /* one more endpoint in the same namespace */
			space.endpoint = endpoint_id((unsigned int)number(words[i] + 1));
			space.descriptors.queue = -1;
		}
	}
	if (gate_namespace_add(play.gate, &space) != PR_OK) {
		play_fail("namespace refused", words[1]);
	}
}

/* begun SLOT SRC DST: found in the table of sockets when the namespace came to be watched */
static void do_begun(char **words, int count)
{
	struct part_flow flow = { .proto = IPPROTO_TCP, .outbound = true };

	if (count < 4 || !end_parse(words[2], &flow.src, &flow.src_port) ||
	    !end_parse(words[3], &flow.dst, &flow.dst_port)) {
		play_fail("bad address", words[0]);
		return;
	}
	gate_begun(play.gate, (uint32_t)number(words[1]), &flow);
}

/* initiator EXE UID PID [in ENDPOINT] [peer ADDR,PORT] [nobody] / initiator unknown REASON */
static void do_owner(char **words, int count)
{
	struct part_owner *owner =
		strcmp(words[0], "initiator") == 0 ? &play.initiator : &play.listener;
	unsigned int reason;

	*owner = (struct part_owner){ .uid = CODEC_NO_UID };
	if (strcmp(words[1], "unknown") == 0) {
		owner->unknown = (uint8_t)number(words[2]);
		return;
	}
	reason = count > 3 ? (unsigned int)number(words[3]) : 0;
	(void)snprintf(owner->exe, sizeof(owner->exe), "%s", words[1]);
	(void)snprintf(owner->user, sizeof(owner->user), "u%s", words[2]);
	owner->uid = (uint32_t)number(words[2]);
	owner->pid = reason;
	if (strcmp(words[count - 1], "nobody") == 0) {
		owner->place = PART_PLACE_UNKNOWN;
	}
	for (int i = 4; i + 1 < count; i += 2) {
		if (strcmp(words[i], "in") == 0) {
			owner->place = PART_PLACE_CONTAINER;
			owner->container = endpoint_id((unsigned int)number(words[i + 1] + 1));
		} else if (!end_parse(words[i + 1], &owner->peer, &owner->peer_port)) {
			play_fail("bad peer", words[i + 1]);
		}
	}
}

/* verdict ACTION [question N] [rule N] [revision N] [connection N] [mode observe] */
static void do_verdict(char **words, int count)
{
	unsigned int value;
	struct codec_verdict verdict = { .mode = CODEC_MODE_ENFORCE,
		                         .rule = CODEC_NO_RULE,
		                         .final = 1,
		                         .src_endpoint = endpoint_id(0),
		                         .dst_endpoint = endpoint_id(1) };
	unsigned int question = play.answered;

	verdict.action = codec_enum_parse(CODEC_SET_ACTION, words[1], &value) == PR_OK
	                         ? (uint8_t)value
	                         : (uint8_t)number(words[1]);
	verdict.id = UINT64_MAX;
	for (int i = 2; i + 1 < count; i += 2) {
		if (strcmp(words[i], "question") == 0) {
			question = (unsigned int)number(words[i + 1]) - 1;
		} else if (strcmp(words[i], "rule") == 0) {
			verdict.rule = (uint32_t)number(words[i + 1]);
		} else if (strcmp(words[i], "connection") == 0) {
			verdict.connection = number(words[i + 1]);
		} else if (strcmp(words[i], "revision") == 0) {
			verdict.revision = number(words[i + 1]);
		} else if (strcmp(words[i], "mode") == 0) {
			verdict.mode = strcmp(words[i + 1], "observe") == 0 ? CODEC_MODE_OBSERVE
			                                                    : CODEC_MODE_ENFORCE;
		} else {
			play_fail("unknown option", words[i]);
		}
	}
	if (question < play.questions) {
		verdict.id = play.question_ids[question];
		play.answered = question + 1;
	}
	gate_verdict(play.gate, &verdict);
}

static void do_time(char **words)
{
	char *unit;
	unsigned long amount = strtoul(words[1], &unit, 10);
	play.kernel.now_ns += amount * (*unit == 's' ? PR_NS_PER_S : PR_NS_PER_MS);
}

static void do_lost(char **words)
{
	struct part_lost lost = { .endpoint = endpoint_id((unsigned int)number(words[1])),
		                  .mode = strcmp(words[2], "allow") == 0  ? PART_LOST_ALLOW
		                          : strcmp(words[2], "deny") == 0 ? PART_LOST_DENY
		                                                          : PART_LOST_LAST_KNOWN };
	gate_lost_set(play.gate, &lost);
}

/* lifeline in|out PROTO FIRST LAST PREFIX: replaces the list; lifeline none */
static void do_lifeline(char **words, int count)
{
	struct part_lifeline line = { .inbound = strcmp(words[1], "in") == 0 };

	if (count < 6) {
		gate_lifeline_set(play.gate, &line, 0);
		return;
	}
	line.proto = proto_parse(words[2]);
	line.port = (uint16_t)number(words[3]);
	line.port_last = (uint16_t)number(words[4]);
	if (pr_prefix_parse(words[5], &line.peer) != PR_OK) {
		play_fail("bad prefix", words[5]);
	}
	gate_lifeline_set(play.gate, &line, 1);
}

static void do_original(char **words, int count)
{
	play.kernel.has_original =
		count > 2 &&
		end_parse(words[1], &play.kernel.original.src, &play.kernel.original.src_port) &&
		end_parse(words[2], &play.kernel.original.dst, &play.kernel.original.dst_port);
}

/* translated SRC DST [closed]: the flow on the wire; translated none */
static void do_translated(char **words, int count)
{
	play.kernel.has_wire =
		count > 2 &&
		end_parse(words[1], &play.kernel.wire.src, &play.kernel.wire.src_port) &&
		end_parse(words[2], &play.kernel.wire.dst, &play.kernel.wire.dst_port);
	play.kernel.wire_closed = count > 3 && strcmp(words[3], "closed") == 0;
}

static void do_foreign(char **words, int count)
{
	(void)count;
	if (pr_addr_parse(words[1], &play.kernel.foreign) != PR_OK) {
		play_fail("bad address", words[1]);
	}
}

void play_counter(char **words)
{
	struct gate_counters counters;
	size_t count;
	const struct gate_counter_row *rows = gate_counter_rows(&count);

	gate_counters(play.gate, &counters);
	for (size_t i = 0; i < count; i++) {
		if (strcmp(rows[i].name, words[1]) == 0) {
			uint64_t value;
			char text[64];
			memcpy(&value, (const uint8_t *)&counters + rows[i].offset, sizeof(value));
			(void)snprintf(text, sizeof(text), "%s is %llu", words[1],
			               (unsigned long long)value);
			if (value != number(words[2])) {
				play_fail("counter", text);
			}
			return;
		}
	}
	play_fail("no such counter", words[1]);
}

/* Does @p word stand in @p line by itself? */
static bool has_word(const char *line, const char *word)
{
	size_t length = strlen(word);
	for (const char *at = strstr(line, word); at != NULL; at = strstr(at + 1, word)) {
		if ((at == line || at[-1] == ' ') && (at[length] == ' ' || at[length] == '\0')) {
			return true;
		}
	}
	return false;
}

/* Every word of an expect line must stand in the output line, the first at its beginning. */
void play_expect(char **words, int count)
{
	if (strcmp(words[1], "nothing") == 0) {
		if (play.expected < play.outputs) {
			play_fail("not expected", play.output[play.expected]);
		}
		return;
	}
	if (play.expected == play.outputs) {
		play_fail("expected, did not come", words[1]);
		return;
	}
	const char *line = play.output[play.expected++];
	bool good = strncmp(line, words[1], strlen(words[1])) == 0;
	for (int i = 1; i < count && good; i++) {
		good = has_word(line, words[i]);
	}
	if (!good) {
		play_fail("expected something else than", line);
	}
}

static void do_small(char **words, int count)
{
	const char *word = words[0];
	uint32_t slot = count > 1 ? (uint32_t)number(words[1]) : 0;
	struct bytes rubbish = { .size_bytes = 7, .data = { 0xff, 0xff, 1, 2, 3, 4, 5 } };
	struct pr_uuid id = endpoint_id(slot);

	if (strcmp(word, "controller") == 0) {
		gate_controller_set(play.gate, strcmp(words[1], "up") == 0);
	} else if (strcmp(word, "mode") == 0) {
		gate_mode_set(play.gate, &id,
		              strcmp(words[2], "enforce") == 0 ? CODEC_MODE_ENFORCE
		                                               : CODEC_MODE_OBSERVE);
	} else if (strcmp(word, "remove") == 0) {
		gate_namespace_remove(play.gate, slot);
	} else if (strcmp(word, "leave") == 0) {
		gate_endpoint_remove(play.gate, &id);
	} else if (strcmp(word, "forget") == 0) {
		gate_decided_forget(play.gate);
	} else if (strcmp(word, "rubbish") == 0) {
		rubbish.size_bytes = 20;
		fake_kernel_arrive_raw(&play.kernel, slot, GATE_SOURCE_QUEUE, GATE_DATAGRAM_WHOLE,
		                       &rubbish);
	} else if (strcmp(word, "overrun") == 0) {
		fake_kernel_arrive_raw(&play.kernel, slot, GATE_SOURCE_QUEUE, GATE_DATAGRAM_OVERRUN,
		                       NULL);
	} else if (strcmp(word, "forged") == 0) {
		fake_kernel_arrive_raw(&play.kernel, slot, GATE_SOURCE_QUEUE, GATE_DATAGRAM_FOREIGN,
		                       &rubbish);
	} else if (strcmp(word, "refusal") == 0) {
		struct bytes datagram = { 0 };
		message_refusal_build(-ENOENT, &datagram);
		fake_kernel_arrive_raw(&play.kernel, slot, GATE_SOURCE_QUEUE, GATE_DATAGRAM_WHOLE,
		                       &datagram);
	} else if (strcmp(word, "send") == 0) {
		play.kernel.send_fails = strcmp(words[1], "fails") == 0;
	} else {
		play_fail("unknown word", word);
	}
}

void play_act(char **words, int count)
{
	static const struct {
		const char *word;
		int least;
		void (*run)(char **words, int count);
	} rows[] = {
		{ "packet", 3, do_packet },     { "copy", 3, do_packet },
		{ "raw", 3, do_raw },           { "slot", 3, do_slot },
		{ "begun", 4, do_begun },       { "initiator", 3, do_owner },
		{ "listener", 3, do_owner },    { "verdict", 2, do_verdict },
		{ "original", 2, do_original }, { "lifeline", 2, do_lifeline },
		{ "foreign", 2, do_foreign },   { "translated", 2, do_translated },
	};
	for (size_t i = 0; i < PR_ARRAY_LEN(rows); i++) {
		if (strcmp(words[0], rows[i].word) == 0) {
			if (count < rows[i].least) {
				play_fail("too few words", words[0]);
			} else {
				rows[i].run(words, count);
			}
			return;
		}
	}
	if (strcmp(words[0], "time") == 0) {
		do_time(words);
	} else if (strcmp(words[0], "lost") == 0 && count > 2) {
		do_lost(words);
	} else if (strcmp(words[0], "flood") == 0 && count > 2) {
		do_flood(words);
	} else {
		do_small(words, count);
	}
}
