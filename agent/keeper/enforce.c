/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Enforce. Order matters: lifeline, invalid, marked flows, ICMP errors of marked
 * flows, built-in rules, queue, drop. There is no rule that lets a NEW packet by unseen but the
 * lifeline and the built-in ones, and each of those has a counter and a name.
 */
#include <arpa/inet.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_tables.h>
#include <netinet/in.h>

#include "agent/keeper/internal.h"

#define STATE_INVALID     (1U << 0)
#define STATE_ESTABLISHED NF_CT_STATE_BIT(IP_CT_ESTABLISHED)
#define STATE_RELATED     NF_CT_STATE_BIT(IP_CT_RELATED)
#define STATE_NEW         NF_CT_STATE_BIT(IP_CT_NEW)
#define STATE_UNTRACKED   (1U << 6)

#define CHAIN_OUTPUT_INVALID   "output_invalid"
#define CHAIN_INPUT_INVALID    "input_invalid"
#define CHAIN_REFUSAL          "refusal"
#define CHAIN_NEIGHBOUR_OUTPUT "neighbour_output"
#define CHAIN_MLD              "mld"
#define CHAIN_MLD_OUTPUT       "mld_output"
#define CHAIN_REFUSE           "refuse"

#define ICMP4_UNREACHABLE     3
#define ICMP4_CODE_ADMIN      13
#define ICMP6_UNREACHABLE     1
#define ICMP6_CODE_ADMIN      1
#define ICMP6_NEIGHBOUR_FIRST 133
#define ICMP6_NEIGHBOUR_LAST  137
#define ICMP6_MLD_FIRST       130 /* query, report, done */
#define ICMP6_MLD_LAST        132
#define ICMP6_MLD2_REPORT     143
#define IP6_HOP_LIMIT_OFFSET  7
#define PORT_DHCP_SERVER      67
#define PORT_DHCP_CLIENT      68
#define PORT_DHCP6_CLIENT     546
#define PORT_DHCP6_SERVER     547
#define PORT_DNS              53

#define OFFSET_SOURCE_PORT      0
#define OFFSET_DESTINATION_PORT 2

const char *const rulebook_chains[] = {
	CHAIN_ABOUT,      CHAIN_OUTPUT_INVALID,   CHAIN_INPUT_INVALID,
	CHAIN_REFUSAL,    CHAIN_NEIGHBOUR_OUTPUT, CHAIN_MLD,
	CHAIN_MLD_OUTPUT, CHAIN_REFUSE,           "output4_ports",
	"output4_icmp",   "output4_plain",        "output6_ports",
	"output6_icmp",   "output6_plain",        "input4_ports",
	"input4_icmp",    "input4_plain",         "input6_ports",
	"input6_icmp",    "input6_plain",         NULL,
};

static const struct pr_prefix link_local = {
	.addr = { { 0xfe, 0x80 } },
	.bits = 10,
};
static const struct pr_prefix multicast_link = {
	.addr = { { 0xff, 0x02 } },
	.bits = 16,
};
static const struct pr_prefix multicast = {
	.addr = { { 0xff } },
	.bits = 8,
};
static const struct pr_prefix unspecified = {
	.bits = 128,
};
static const struct pr_prefix dhcp6_servers = {
	.addr = { { 0xff, 0x02, [13] = 1, [15] = 2 } },
	.bits = 128,
};
static const struct pr_prefix broadcast4 = {
	.addr = { { [10] = 0xff, [11] = 0xff, 0xff, 0xff, 0xff, 0xff } },
	.bits = 128,
};
static const struct pr_prefix engine_dns = {
	.addr = { { [10] = 0xff, [11] = 0xff, 127, 0, 0, 11 } },
	.bits = 128,
};

/* Count and accept. */
static void pass(struct rulebook *book, enum counter_id counter)
{
	rule_counter(book, counter);
	rule_verdict(book, NF_ACCEPT, NULL);
	rule_end(book);
}

static void drop(struct rulebook *book, enum counter_id counter)
{
	rule_counter(book, counter);
	rule_verdict(book, NF_DROP, NULL);
	rule_end(book);
}

/* --------------------------------------------------------------------------- built-in rules */

/* Hop limit 255 at INPUT proves a neighbour; what leaves must also stay on the link. */
static void neighbour_build(struct rulebook *book, bool output)
{
	static const uint8_t first = ICMP6_NEIGHBOUR_FIRST;
	static const uint8_t last = ICMP6_NEIGHBOUR_LAST;
	const char *chain = output ? CHAIN_OUTPUT : CHAIN_INPUT;

	rule_begin(book, chain, output ? COUNTER_NONE : COUNTER_builtin_neighbour);
	rule_match_family(book, NFPROTO_IPV6);
	rule_match_l4(book, IPPROTO_ICMPV6);
	rule_match_byte(book, NFT_PAYLOAD_NETWORK_HEADER, IP6_HOP_LIMIT_OFFSET, 0xff, NFT_CMP_EQ,
	                255);
	rule_payload(book, NFT_PAYLOAD_TRANSPORT_HEADER, 0, 1, NFT_REG_1);
	rule_range(book, NFT_REG_1, &first, &last, 1);
	if (!output) {
		pass(book, COUNTER_builtin_neighbour);
		return;
	}
	rule_verdict(book, NFT_JUMP, CHAIN_NEIGHBOUR_OUTPUT);
	rule_end(book);

	const struct pr_prefix *scopes[] = { &link_local, &multicast_link };
	for (size_t i = 0; i < PR_ARRAY_LEN(scopes); i++) {
		rule_begin(book, CHAIN_NEIGHBOUR_OUTPUT, COUNTER_builtin_neighbour);
		rule_match_prefix(book, false, scopes[i]);
		pass(book, COUNTER_builtin_neighbour);
	}
	/* To a global address only from the kernel itself: a raw socket has an owner. */
	rule_begin(book, CHAIN_NEIGHBOUR_OUTPUT, COUNTER_NONE);
	rule_meta(book, NFT_META_SKUID, NFT_REG_1);
	rule_verdict(book, NFT_RETURN, NULL);
	rule_end(book);
	rule_begin(book, CHAIN_NEIGHBOUR_OUTPUT, COUNTER_builtin_neighbour);
	pass(book, COUNTER_builtin_neighbour);
}

/* Type and source of a message that stays on the link. */
static void mld_types_build(struct rulebook *book)
{
	static const uint8_t types[][2] = { { ICMP6_MLD_FIRST, ICMP6_MLD_LAST },
		                            { ICMP6_MLD2_REPORT, ICMP6_MLD2_REPORT } };
	const struct pr_prefix *sources[] = { &link_local, &unspecified };

	for (size_t i = 0; i < PR_ARRAY_LEN(sources); i++) {
		for (size_t j = 0; j < PR_ARRAY_LEN(types); j++) {
			rule_begin(book, CHAIN_MLD, COUNTER_builtin_mld);
			rule_match_prefix(book, true, sources[i]);
			rule_payload(book, NFT_PAYLOAD_TRANSPORT_HEADER, 0, 1, NFT_REG_1);
			rule_range(book, NFT_REG_1, &types[j][0], &types[j][1], 1);
			pass(book, COUNTER_builtin_mld);
		}
	}
	/* Out from the kernel itself only: a raw socket has an owner, who is asked about. */
	rule_begin(book, CHAIN_MLD_OUTPUT, COUNTER_NONE);
	rule_meta(book, NFT_META_SKUID, NFT_REG_1);
	rule_verdict(book, NFT_RETURN, NULL);
	rule_end(book);
	rule_begin(book, CHAIN_MLD_OUTPUT, COUNTER_NONE);
	rule_verdict(book, NFT_GOTO, CHAIN_MLD);
	rule_end(book);
}

/*
 * Multicast listener discovery: a switch that snoops forwards the multicast of neighbour discovery
 * only to those that reported to listen. Hop limit 1: never beyond the link.
 */
static void mld_build(struct rulebook *book, bool output)
{
	rule_begin(book, output ? CHAIN_OUTPUT : CHAIN_INPUT, COUNTER_NONE);
	rule_match_family(book, NFPROTO_IPV6);
	rule_match_l4(book, IPPROTO_ICMPV6);
	rule_match_byte(book, NFT_PAYLOAD_NETWORK_HEADER, IP6_HOP_LIMIT_OFFSET, 0xff, NFT_CMP_EQ,
	                1);
	rule_match_prefix(book, false, &multicast);
	rule_verdict(book, NFT_JUMP, output ? CHAIN_MLD_OUTPUT : CHAIN_MLD);
	rule_end(book);
	if (output) {
		mld_types_build(book);
	}
}

static void dhcp_rule(struct rulebook *book, bool output, uint8_t family, uint16_t client,
                      uint16_t server, const struct pr_prefix *to)
{
	rule_begin(book, output ? CHAIN_OUTPUT : CHAIN_INPUT, COUNTER_builtin_dhcp);
	rule_match_family(book, family);
	rule_match_l4(book, IPPROTO_UDP);
	rule_match_u16(book, NFT_PAYLOAD_TRANSPORT_HEADER, OFFSET_SOURCE_PORT,
	               output ? client : server);
	rule_match_u16(book, NFT_PAYLOAD_TRANSPORT_HEADER, OFFSET_DESTINATION_PORT,
	               output ? server : client);
	if (to != NULL) {
		rule_match_prefix(book, false, to);
	}
	pass(book, COUNTER_builtin_dhcp);
}

/* Inside a container any process may bind port 68: there it reaches the own link only. */
static void dhcp_build(struct rulebook *book, bool output, bool host)
{
	bool bounded = output && !host;

	dhcp_rule(book, output, NFPROTO_IPV4, PORT_DHCP_CLIENT, PORT_DHCP_SERVER,
	          bounded ? &broadcast4 : NULL);
	dhcp_rule(book, output, NFPROTO_IPV6, PORT_DHCP6_CLIENT, PORT_DHCP6_SERVER,
	          bounded ? &dhcp6_servers : NULL);
}

/*
 * The engine's resolver listens at 127.0.0.11 inside the container, on a random port behind the
 * engine's own DNAT. Enforce marks the flow, so its answers pass as those of any marked flow.
 */
static void engine_dns_build(struct rulebook *book, const struct rules_input *input, bool output)
{
	static const uint8_t protocols[] = { IPPROTO_UDP, IPPROTO_TCP };
	static const uint16_t port = PORT_DNS;
	bool enforce = input->about.state == KEEPER_ENFORCE;

	if (!output || input->config->host) {
		return;
	}
	for (size_t i = 0; i < PR_ARRAY_LEN(protocols); i++) {
		uint16_t wire = htons(port);
		rule_begin(book, CHAIN_OUTPUT, COUNTER_builtin_engine_dns);
		rule_match_loopback(book, true, true);
		rule_match_prefix(book, false, &engine_dns);
		rule_match_l4(book, protocols[i]);
		if (enforce) {
			rule_match_state(book, STATE_NEW);
			rule_ct(book, NFT_CT_PROTO_DST, NFT_REG_1);
			rule_compare(book, NFT_REG_1, NFT_CMP_EQ, &wire, sizeof(wire));
			rule_set_ct_mark(book, input->config->mark_mask, input->config->mark_allow);
		}
		pass(book, COUNTER_builtin_engine_dns);
	}
	if (!enforce) {
		rule_begin(book, CHAIN_OUTPUT, COUNTER_NONE);
		rule_match_loopback(book, true, true);
		rule_match_prefix(book, true, &engine_dns);
		rule_verdict(book, NF_ACCEPT, NULL);
		rule_end(book);
	}
}

void rules_builtin_build(struct rulebook *book, const struct rules_input *input, bool output)
{
	neighbour_build(book, output);
	mld_build(book, output);
	dhcp_build(book, output, input->config->host);
	engine_dns_build(book, input, output);
}

/* --------------------------------------------------------------------------------- lifeline */

static void lifeline_match(struct rulebook *book, const struct keeper_lifeline *line,
                           bool peer_is_source)
{
	uint16_t first = htons(line->port_first);
	uint16_t last = htons(line->port_last);
	/* The port is the listener's: the peer's for an outbound line, ours for an inbound one. */
	bool port_is_source = peer_is_source != line->inbound;

	rule_match_prefix(book, peer_is_source, &line->peer);
	if (line->protocol != 0) {
		rule_match_l4(book, line->protocol);
	}
	if (line->port_first != 0) {
		rule_payload(book, NFT_PAYLOAD_TRANSPORT_HEADER,
		             port_is_source ? OFFSET_SOURCE_PORT : OFFSET_DESTINATION_PORT, 2,
		             NFT_REG_1);
		rule_range(book, NFT_REG_1, &first, &last, sizeof(first));
	}
}

/*
 * Both directions stand here by themselves, so that a lost conntrack entry never cuts a lifeline.
 * The answering direction may not begin a connection.
 */
static void lifeline_build(struct rulebook *book, const struct keeper_config *config,
                           const struct keeper_lifeline *line, bool output)
{
	const char *chain = output ? CHAIN_OUTPUT : CHAIN_INPUT;

	if (output != line->inbound) {
		rule_begin(book, chain, COUNTER_lifeline);
		lifeline_match(book, line, !output);
		rule_counter(book, COUNTER_lifeline);
		/* Without a conntrack entry the mark ends the rule: accept stands apart. */
		rule_set_ct_mark(book, config->mark_mask, config->mark_allow);
		rule_end(book);
		rule_begin(book, chain, COUNTER_NONE);
		lifeline_match(book, line, !output);
		rule_verdict(book, NF_ACCEPT, NULL);
		rule_end(book);
		return;
	}
	rule_begin(book, chain, COUNTER_lifeline);
	lifeline_match(book, line, !output);
	if (line->protocol == IPPROTO_TCP) {
		rule_match_syn(book, NFT_CMP_NEQ);
	} else {
		rule_match_state(book, STATE_ESTABLISHED);
	}
	pass(book, COUNTER_lifeline);
}

/* ----------------------------------------------------------------------------- our refusals */

/*
 * A refused packet's conntrack entry is never confirmed, so on some kernels the ICMP error about it
 * is INVALID to conntrack. At OUTPUT the kernel's own (no owner) pass; on loopback they come in
 * again.
 */
static void invalid_build(struct rulebook *book, bool output)
{
	const char *chain = output ? CHAIN_OUTPUT : CHAIN_INPUT;
	const char *invalid = output ? CHAIN_OUTPUT_INVALID : CHAIN_INPUT_INVALID;
	static const struct {
		uint8_t family, protocol, type, code;
	} errors[] = {
		{ NFPROTO_IPV4, IPPROTO_ICMP, ICMP4_UNREACHABLE, ICMP4_CODE_ADMIN },
		{ NFPROTO_IPV6, IPPROTO_ICMPV6, ICMP6_UNREACHABLE, ICMP6_CODE_ADMIN },
	};

	rule_begin(book, chain, COUNTER_NONE);
	rule_match_state(book, STATE_INVALID);
	rule_verdict(book, NFT_GOTO, invalid);
	rule_end(book);

	for (size_t i = 0; i < PR_ARRAY_LEN(errors); i++) {
		rule_begin(book, invalid, COUNTER_NONE);
		if (!output) {
			rule_match_loopback(book, false, true);
		}
		rule_match_family(book, errors[i].family);
		rule_match_l4(book, errors[i].protocol);
		rule_match_byte(book, NFT_PAYLOAD_TRANSPORT_HEADER, 0, 0xff, NFT_CMP_EQ,
		                errors[i].type);
		rule_match_byte(book, NFT_PAYLOAD_TRANSPORT_HEADER, 1, 0xff, NFT_CMP_EQ,
		                errors[i].code);
		rule_verdict(book, output ? NFT_JUMP : NF_ACCEPT, output ? CHAIN_REFUSAL : NULL);
		rule_end(book);
	}
	rule_begin(book, invalid, COUNTER_dropped_invalid);
	drop(book, COUNTER_dropped_invalid);
}

static void refusal_build(struct rulebook *book, const struct keeper_config *config, bool output)
{
	static const uint8_t protocols[] = { IPPROTO_TCP, IPPROTO_ICMP, IPPROTO_ICMPV6 };

	/* RST and (newer kernels) ICMP error are attached to the refused flow's entry. */
	for (size_t i = 0; i < PR_ARRAY_LEN(protocols); i++) {
		rule_begin(book, output ? CHAIN_OUTPUT : CHAIN_INPUT, COUNTER_builtin_refusal);
		rule_match_l4(book, protocols[i]);
		rule_match_state(book, STATE_RELATED);
		rule_match_ct_mark(book, config->mark_mask, NFT_CMP_EQ, config->mark_reject);
		if (protocols[i] == IPPROTO_TCP) {
			rule_match_byte(book, NFT_PAYLOAD_TRANSPORT_HEADER, TCP_FLAGS_OFFSET,
			                TCP_RST, NFT_CMP_EQ, TCP_RST);
		}
		pass(book, COUNTER_builtin_refusal);
	}

	if (output) {
		rule_begin(book, CHAIN_REFUSAL, COUNTER_NONE);
		rule_meta(book, NFT_META_SKUID, NFT_REG_1);
		rule_verdict(book, NFT_RETURN, NULL);
		rule_end(book);
		rule_begin(book, CHAIN_REFUSAL, COUNTER_builtin_refusal);
		pass(book, COUNTER_builtin_refusal);
	}
}

/* -------------------------------------------------------------------------- the main chains */

static void queue(struct rulebook *book, const struct rules_input *input, bool output)
{
	const struct keeper_config *config = input->config;

	rule_counter(book, output ? COUNTER_queued_output : COUNTER_queued_input);
	rule_queue(book, input->backend, config->queue_first, config->queue_count);
	rule_end(book);
}

/* Flows with our mark, and ICMP errors about them. */
static void marked_build(struct rulebook *book, const struct rules_input *input, bool output)
{
	const struct keeper_config *config = input->config;
	const char *chain = output ? CHAIN_OUTPUT : CHAIN_INPUT;
	static const uint8_t icmp[] = { IPPROTO_ICMP, IPPROTO_ICMPV6 };

	/* A SYN on a live entry begins a new connection on an old tuple: decide it anew. */
	rule_begin(book, chain, output ? COUNTER_queued_output : COUNTER_queued_input);
	rule_match_l4(book, IPPROTO_TCP);
	rule_match_syn(book, NFT_CMP_EQ);
	rule_match_state(book, STATE_ESTABLISHED);
	if (!output) {
		rule_match_loopback(book, false, false);
	}
	queue(book, input, output);

	rule_begin(book, chain, COUNTER_NONE);
	rule_match_state(book, STATE_NEW | STATE_ESTABLISHED);
	rule_match_ct_mark(book, config->mark_mask, NFT_CMP_EQ, config->mark_allow);
	rule_verdict(book, NF_ACCEPT, NULL);
	rule_end(book);

	for (size_t i = 0; i < PR_ARRAY_LEN(icmp); i++) {
		rule_begin(book, chain, COUNTER_related_passed);
		rule_match_l4(book, icmp[i]);
		rule_match_state(book, STATE_RELATED);
		rule_match_ct_mark(book, config->mark_mask, NFT_CMP_EQ, config->mark_allow);
		pass(book, COUNTER_related_passed);
	}
}

static void decide_build(struct rulebook *book, const struct rules_input *input, bool output)
{
	const struct keeper_config *config = input->config;
	const char *chain = output ? CHAIN_OUTPUT : CHAIN_INPUT;

	/* Our bits on a packet come from the queue only, whatever SO_MARK says. */
	rule_begin(book, chain, COUNTER_NONE);
	rule_match_mark(book, config->mark_mask, NFT_CMP_NEQ, 0);
	rule_clear_mark(book, config->mark_mask);
	rule_end(book);

	for (size_t i = 0; i < config->lifeline_count; i++) {
		lifeline_build(book, config, &config->lifeline[i], output);
	}
	invalid_build(book, output);
	marked_build(book, input, output);
	refusal_build(book, config, output);
	rules_builtin_build(book, input, output);

	rule_begin(book, chain, COUNTER_dropped_midstream);
	rule_match_l4(book, IPPROTO_TCP);
	rule_match_state(book, STATE_NEW | STATE_RELATED);
	rule_match_syn(book, NFT_CMP_NEQ);
	drop(book, COUNTER_dropped_midstream);

	/* Untracked packets have no flow to mark: each one is decided. */
	rule_begin(book, chain, output ? COUNTER_queued_output : COUNTER_queued_input);
	rule_match_state(book, STATE_NEW | STATE_RELATED | STATE_UNTRACKED);
	queue(book, input, output);

	rule_begin(book, chain, COUNTER_dropped_unmarked);
	drop(book, COUNTER_dropped_unmarked);
}

/*
 * After the queue: an accepted packet goes on here, in the next hook. One without a mark has passed
 * the first hook unasked: by a rule of ours there, or before that hook began to ask (late_marked).
 */
static void save_build(struct rulebook *book, const struct rules_input *input, const char *chain)
{
	const struct keeper_config *config = input->config;

	rule_begin(book, chain, COUNTER_rejected);
	rule_match_mark(book, config->mark_mask, NFT_CMP_EQ, config->mark_reject);
	rule_counter(book, COUNTER_rejected);
	rule_verdict(book, NFT_GOTO, CHAIN_REFUSE);
	rule_end(book);

	rule_begin(book, chain, COUNTER_allowed);
	rule_match_mark(book, config->mark_mask, NFT_CMP_EQ, config->mark_allow);
	rule_counter(book, COUNTER_allowed);
	rule_set_ct_mark(book, config->mark_mask, config->mark_allow);
	rule_end(book);

	rule_begin(book, chain, COUNTER_NONE);
	rule_match_mark(book, config->mark_mask, NFT_CMP_NEQ, 0);
	rule_clear_mark(book, config->mark_mask);
	rule_end(book);

	if (input->about.late_marked) {
		rule_begin(book, chain, COUNTER_NONE);
		rule_match_state(book, STATE_NEW | STATE_ESTABLISHED);
		rule_match_ct_mark(book, config->mark_mask, NFT_CMP_EQ, 0);
		rule_set_ct_mark(book, config->mark_mask, config->mark_allow);
		rule_end(book);
	}
}

static void refuse_build(struct rulebook *book, const struct keeper_config *config)
{
	rule_begin(book, CHAIN_REFUSE, COUNTER_NONE);
	rule_set_ct_mark(book, config->mark_mask, config->mark_reject);
	rule_end(book);
	rule_begin(book, CHAIN_REFUSE, COUNTER_NONE);
	rule_clear_mark(book, config->mark_mask);
	rule_end(book);
	rule_begin(book, CHAIN_REFUSE, COUNTER_NONE);
	rule_match_l4(book, IPPROTO_TCP);
	rule_reject(book, NFT_REJECT_TCP_RST, 0);
	rule_end(book);
	rule_begin(book, CHAIN_REFUSE, COUNTER_NONE);
	rule_reject(book, NFT_REJECT_ICMPX_UNREACH, NFT_REJECT_ICMPX_ADMIN_PROHIBITED);
	rule_end(book);
	rule_begin(book, CHAIN_REFUSE, COUNTER_NONE);
	rule_verdict(book, NF_DROP, NULL);
	rule_end(book);
}

void rules_enforce_build(struct rulebook *book, const struct rules_input *input)
{
	decide_build(book, input, true);
	decide_build(book, input, false);
	save_build(book, input, CHAIN_OUTPUT_SAVE);
	save_build(book, input, CHAIN_INPUT_SAVE);
	refuse_build(book, input->config);
}

int rulebook_build(struct rulebook *book, const struct rules_input *input)
{
	char text[128];

	book->error = about_format(&input->about, text, sizeof(text));
	rule_begin(book, CHAIN_ABOUT, COUNTER_NONE);
	rule_comment(book, text);
	rule_verdict(book, NFT_RETURN, NULL);
	rule_end(book);
	if (input->about.conntrack_held) {
		/* No packet comes here; that the rule exists keeps tracking on. */
		rule_begin(book, CHAIN_ABOUT, COUNTER_NONE);
		rule_match_state(book, STATE_ESTABLISHED);
		rule_end(book);
	}

	if (input->about.state == KEEPER_ENFORCE) {
		rules_enforce_build(book, input);
	} else {
		rules_observe_build(book, input);
	}
	return book->error;
}
