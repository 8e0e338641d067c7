/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Observe: copies only. No rule here holds, drops or marks, and none switches connection tracking
 * on: a rule that reads ct state stands here only where others had it on already.
 */
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_tables.h>
#include <netinet/in.h>
#include <stddef.h>

#include "agent/keeper/internal.h"

#define SEEN_NEW_MS     30000  /* one packet seen, as conntrack gives UDP without an answer */
#define SEEN_REFRESH_MS 120000 /* more packets seen */

enum kind {
	KIND_PORTS, /* the first four bytes are ports */
	KIND_ICMP,
	KIND_PLAIN, /* addresses and protocol only */
	_KIND_MAX
};

struct direction {
	bool output;
	const char *chain;
	const char *prefix;
	enum counter_id copied;
	const char *chains[2][_KIND_MAX]; /* [IPv6][kind] */
};

static const struct direction directions[2] = {
	{ true,
	  CHAIN_OUTPUT,
	  KEEPER_LOG_PREFIX_OUT,
	  COUNTER_copied_output,
	  { { "output4_ports", "output4_icmp", "output4_plain" },
	    { "output6_ports", "output6_icmp", "output6_plain" } } },
	{ false,
	  CHAIN_INPUT,
	  KEEPER_LOG_PREFIX_IN,
	  COUNTER_copied_input,
	  { { "input4_ports", "input4_icmp", "input4_plain" },
	    { "input6_ports", "input6_icmp", "input6_plain" } } },
};

/* Registers of a key: local address, remote address, local port, remote port, protocol. */
struct key_layout {
	uint32_t address_bytes;
	uint32_t source_offset, destination_offset;
	uint32_t local, remote, port_local, port_remote, protocol;
	const char *set;
};

static const struct key_layout layouts[2] = {
	{ 4, 12, 16, NFT_REG32_00, NFT_REG32_01, NFT_REG32_02, NFT_REG32_03, NFT_REG32_04,
	  SET_SEEN4 },
	{ 16, 8, 24, NFT_REG32_00, NFT_REG32_04, NFT_REG32_08, NFT_REG32_09, NFT_REG32_10,
	  SET_SEEN6 },
};

/* Request and answer fall together: v4 echo 8/0, timestamp 13/14, mask 17/18; v6 echo 128/129. */
static const uint8_t icmp_class_mask[2] = { 0xf4, 0xfe };

static void key_load(struct rulebook *book, const struct key_layout *key, enum kind kind,
                     bool local_is_source, uint8_t icmp_mask, bool malformed)
{
	static const uint32_t zero;
	uint32_t local = local_is_source ? key->source_offset : key->destination_offset;
	uint32_t remote = local_is_source ? key->destination_offset : key->source_offset;

	rule_payload(book, NFT_PAYLOAD_NETWORK_HEADER, local, key->address_bytes, key->local);
	rule_payload(book, NFT_PAYLOAD_NETWORK_HEADER, remote, key->address_bytes, key->remote);
	if (kind == KIND_PORTS) {
		rule_payload(book, NFT_PAYLOAD_TRANSPORT_HEADER, local_is_source ? 0 : 2, 2,
		             key->port_local);
		rule_payload(book, NFT_PAYLOAD_TRANSPORT_HEADER, local_is_source ? 2 : 0, 2,
		             key->port_remote);
	} else if (kind == KIND_ICMP) {
		rule_payload(book, NFT_PAYLOAD_TRANSPORT_HEADER, 4, 2, key->port_local);
		rule_payload(book, NFT_PAYLOAD_TRANSPORT_HEADER, 0, 1, key->port_remote);
		rule_mask(book, key->port_remote, &icmp_mask, &zero, 1);
	} else {
		rule_immediate(book, key->port_local, &zero, sizeof(zero));
		rule_immediate(book, key->port_remote, &zero, sizeof(zero));
	}
	if (malformed) {
		rule_immediate(book, key->protocol, &zero, sizeof(zero));
	} else {
		rule_meta(book, NFT_META_L4PROTO, key->protocol);
	}
}

static void copy(struct rulebook *book, const struct rules_input *input,
                 const struct direction *direction)
{
	rule_counter(book, direction->copied);
	rule_log(book, input->config->log_group, direction->prefix, input->config->copy_bytes);
	rule_verdict(book, NF_ACCEPT, NULL);
	rule_end(book);
}

/* Known: refresh. New: remember and copy. No room: count. */
static void seen_build(struct rulebook *book, const struct rules_input *input,
                       const struct direction *direction, bool v6, enum kind kind, bool malformed)
{
	const struct key_layout *key = &layouts[v6];
	const char *chain = direction->chains[v6][kind];
	uint8_t icmp_mask = icmp_class_mask[v6];

	if (direction->output) {
		/* The answer to a loopback flow leaves here too, with the ends swapped. */
		rule_begin(book, chain, COUNTER_NONE);
		rule_match_loopback(book, true, true);
		key_load(book, key, kind, false, icmp_mask, malformed);
		rule_lookup(book, key->set, key->local);
		rule_set_change(book, key->set, key->local, NFT_DYNSET_OP_UPDATE, SEEN_REFRESH_MS);
		rule_verdict(book, NF_ACCEPT, NULL);
		rule_end(book);
	}
	rule_begin(book, chain, COUNTER_NONE);
	key_load(book, key, kind, direction->output, icmp_mask, malformed);
	rule_lookup(book, key->set, key->local);
	rule_set_change(book, key->set, key->local, NFT_DYNSET_OP_UPDATE, SEEN_REFRESH_MS);
	rule_verdict(book, NF_ACCEPT, NULL);
	rule_end(book);

	rule_begin(book, chain, direction->copied);
	key_load(book, key, kind, direction->output, icmp_mask, malformed);
	rule_set_change(book, key->set, key->local, NFT_DYNSET_OP_ADD, SEEN_NEW_MS);
	copy(book, input, direction);

	/* The loads stand here again: a header too short for them must not count as "no room". */
	rule_begin(book, chain, COUNTER_seen_full);
	key_load(book, key, kind, direction->output, icmp_mask, malformed);
	rule_counter(book, COUNTER_seen_full);
	rule_verdict(book, NF_ACCEPT, NULL);
	rule_end(book);

	if (kind != KIND_PLAIN) {
		rule_begin(book, chain, COUNTER_NONE);
		rule_verdict(book, NFT_GOTO, direction->chains[v6][KIND_PLAIN]);
		rule_end(book);
	}
}

/* Errors belong to the flow that they are about. */
static void icmp_errors_build(struct rulebook *book, const char *chain, bool v6)
{
	static const uint8_t types[] = { 3, 4, 5, 11, 12 };

	if (v6) {
		rule_begin(book, chain, COUNTER_NONE);
		rule_match_byte(book, NFT_PAYLOAD_TRANSPORT_HEADER, 0, 0x80, NFT_CMP_EQ, 0);
		rule_verdict(book, NF_ACCEPT, NULL);
		rule_end(book);
		return;
	}
	for (size_t i = 0; i < PR_ARRAY_LEN(types); i++) {
		rule_begin(book, chain, COUNTER_NONE);
		rule_match_byte(book, NFT_PAYLOAD_TRANSPORT_HEADER, 0, 0xff, NFT_CMP_EQ, types[i]);
		rule_verdict(book, NF_ACCEPT, NULL);
		rule_end(book);
	}
}

static void family_build(struct rulebook *book, const struct rules_input *input,
                         const struct direction *direction, bool v6)
{
	static const uint8_t with_ports[] = { IPPROTO_UDP, IPPROTO_UDPLITE, IPPROTO_SCTP,
		                              IPPROTO_DCCP };
	const char *const *chains = direction->chains[v6];
	uint8_t family = v6 ? NFPROTO_IPV6 : NFPROTO_IPV4;

	icmp_errors_build(book, chains[KIND_ICMP], v6);
	for (int kind = 0; kind < _KIND_MAX; kind++) {
		seen_build(book, input, direction, v6, (enum kind)kind, false);
	}
	if (v6) {
		/* A broken chain of extension headers has no layer 4 protocol. */
		seen_build(book, input, direction, v6, KIND_PLAIN, true);
	}

	for (size_t i = 0; i < PR_ARRAY_LEN(with_ports); i++) {
		rule_begin(book, direction->chain, COUNTER_NONE);
		rule_match_family(book, family);
		rule_match_l4(book, with_ports[i]);
		rule_verdict(book, NFT_GOTO, chains[KIND_PORTS]);
		rule_end(book);
	}
	rule_begin(book, direction->chain, COUNTER_NONE);
	rule_match_family(book, family);
	rule_match_l4(book, v6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP);
	rule_verdict(book, NFT_GOTO, chains[KIND_ICMP]);
	rule_end(book);

	rule_begin(book, direction->chain, COUNTER_NONE);
	rule_match_family(book, family);
	rule_verdict(book, NFT_GOTO, chains[KIND_PLAIN]);
	rule_end(book);
}

/* All but the first fragment: no header to tell a flow by, and the first was seen. */
static void fragments_build(struct rulebook *book, const char *chain)
{
	static const uint8_t offset4[2] = { 0x1f, 0xff };
	static const uint8_t offset6[2] = { 0xff, 0xf8 };
	static const uint8_t zero[2];

	rule_begin(book, chain, COUNTER_NONE);
	rule_match_family(book, NFPROTO_IPV4);
	rule_payload(book, NFT_PAYLOAD_NETWORK_HEADER, 6, 2, NFT_REG_1);
	rule_mask(book, NFT_REG_1, offset4, zero, 2);
	rule_compare(book, NFT_REG_1, NFT_CMP_NEQ, zero, 2);
	rule_verdict(book, NF_ACCEPT, NULL);
	rule_end(book);

	rule_begin(book, chain, COUNTER_NONE);
	rule_match_family(book, NFPROTO_IPV6);
	rule_exthdr(book, IPPROTO_FRAGMENT, 2, 2, NFT_REG_1);
	rule_mask(book, NFT_REG_1, offset6, zero, 2);
	rule_compare(book, NFT_REG_1, NFT_CMP_NEQ, zero, 2);
	rule_verdict(book, NF_ACCEPT, NULL);
	rule_end(book);
}

static void direction_build(struct rulebook *book, const struct rules_input *input,
                            const struct direction *direction)
{
	if (!direction->output) {
		/* Loopback once: seen at OUTPUT. */
		rule_begin(book, direction->chain, COUNTER_NONE);
		rule_match_loopback(book, false, true);
		rule_verdict(book, NF_ACCEPT, NULL);
		rule_end(book);
	}
	rules_builtin_build(book, input, direction->output);
	fragments_build(book, direction->chain);

	rule_begin(book, direction->chain, direction->copied);
	rule_match_l4(book, IPPROTO_TCP);
	rule_match_syn(book, NFT_CMP_EQ);
	copy(book, input, direction);

	rule_begin(book, direction->chain, COUNTER_NONE);
	rule_match_l4(book, IPPROTO_TCP);
	rule_verdict(book, NF_ACCEPT, NULL);
	rule_end(book);

	if (input->about.conntrack_before) {
		rule_begin(book, direction->chain, COUNTER_NONE);
		rule_match_state(book, NF_CT_STATE_BIT(IP_CT_ESTABLISHED));
		rule_verdict(book, NF_ACCEPT, NULL);
		rule_end(book);
	}
	family_build(book, input, direction, false);
	family_build(book, input, direction, true);
}

/* Prepare: what passes gets the allow mark in its conntrack entry. */
static void prepare_build(struct rulebook *book, const struct rules_input *input, const char *chain)
{
	const struct keeper_config *config = input->config;

	rule_begin(book, chain, COUNTER_NONE);
	rule_match_ct_mark(book, config->mark_mask, NFT_CMP_NEQ, config->mark_allow);
	rule_set_ct_mark(book, config->mark_mask, config->mark_allow);
	rule_end(book);
}

void rules_observe_build(struct rulebook *book, const struct rules_input *input)
{
	direction_build(book, input, &directions[0]);
	direction_build(book, input, &directions[1]);
	if (input->about.state == KEEPER_PREPARE) {
		prepare_build(book, input, CHAIN_OUTPUT_SAVE);
		prepare_build(book, input, CHAIN_INPUT_SAVE);
	}
}
