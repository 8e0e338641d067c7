/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <arpa/inet.h>
#include <linux/netfilter/nf_tables.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <netinet/in.h>
#include <string.h>

#include "agent/keeper/internal.h"

void rule_match_l4(struct rulebook *book, uint8_t protocol)
{
	rule_meta(book, NFT_META_L4PROTO, NFT_REG_1);
	rule_compare(book, NFT_REG_1, NFT_CMP_EQ, &protocol, sizeof(protocol));
}

void rule_match_family(struct rulebook *book, uint8_t family)
{
	rule_meta(book, NFT_META_NFPROTO, NFT_REG_1);
	rule_compare(book, NFT_REG_1, NFT_CMP_EQ, &family, sizeof(family));
}

void rule_match_byte(struct rulebook *book, uint32_t base, uint32_t offset, uint8_t mask,
                     uint32_t op, uint8_t value)
{
	static const uint8_t zero;

	rule_payload(book, base, offset, sizeof(value), NFT_REG_1);
	if (mask != 0xff) {
		rule_mask(book, NFT_REG_1, &mask, &zero, sizeof(mask));
	}
	rule_compare(book, NFT_REG_1, op, &value, sizeof(value));
}

void rule_match_u16(struct rulebook *book, uint32_t base, uint32_t offset, uint16_t value)
{
	uint16_t wire = htons(value);

	rule_payload(book, base, offset, sizeof(wire), NFT_REG_1);
	rule_compare(book, NFT_REG_1, NFT_CMP_EQ, &wire, sizeof(wire));
}

void rule_match_state(struct rulebook *book, uint32_t bits)
{
	static const uint32_t zero;

	rule_ct(book, NFT_CT_STATE, NFT_REG_1);
	rule_mask(book, NFT_REG_1, &bits, &zero, sizeof(bits));
	rule_compare(book, NFT_REG_1, NFT_CMP_NEQ, &zero, sizeof(zero));
}

void rule_match_ct_mark(struct rulebook *book, uint32_t mask, uint32_t op, uint32_t value)
{
	static const uint32_t zero;

	rule_ct(book, NFT_CT_MARK, NFT_REG_1);
	rule_mask(book, NFT_REG_1, &mask, &zero, sizeof(mask));
	rule_compare(book, NFT_REG_1, op, &value, sizeof(value));
}

void rule_match_mark(struct rulebook *book, uint32_t mask, uint32_t op, uint32_t value)
{
	static const uint32_t zero;

	rule_meta(book, NFT_META_MARK, NFT_REG_1);
	rule_mask(book, NFT_REG_1, &mask, &zero, sizeof(mask));
	rule_compare(book, NFT_REG_1, op, &value, sizeof(value));
}

void rule_match_prefix(struct rulebook *book, bool source, const struct pr_prefix *prefix)
{
	static const uint8_t zero[16];
	uint8_t mask[16] = { 0 };

	if (prefix->bits == 0) {
		return;
	}
	for (unsigned int bit = 0; bit < prefix->bits; bit++) {
		mask[bit / 8] |= (uint8_t)(0x80 >> (bit % 8));
	}
	bool v4 = prefix->bits >= 96 && pr_addr_is_v4(&prefix->addr);
	uint32_t skip = v4 ? 12 : 0;
	uint32_t size = v4 ? 4 : 16;
	uint32_t offset = v4 ? (source ? 12 : 16) : (source ? 8 : 24);

	rule_match_family(book, v4 ? NFPROTO_IPV4 : NFPROTO_IPV6);
	rule_payload(book, NFT_PAYLOAD_NETWORK_HEADER, offset, size, NFT_REG_1);
	rule_mask(book, NFT_REG_1, mask + skip, zero, size);
	rule_compare(book, NFT_REG_1, NFT_CMP_EQ, prefix->addr.bytes + skip, size);
}

void rule_match_loopback(struct rulebook *book, bool output, bool is)
{
	uint16_t type = ARPHRD_LOOPBACK;

	rule_meta(book, output ? NFT_META_OIFTYPE : NFT_META_IIFTYPE, NFT_REG_1);
	rule_compare(book, NFT_REG_1, is ? NFT_CMP_EQ : NFT_CMP_NEQ, &type, sizeof(type));
}

void rule_set_ct_mark(struct rulebook *book, uint32_t mask, uint32_t value)
{
	uint32_t keep = ~mask;

	rule_ct(book, NFT_CT_MARK, NFT_REG_1);
	rule_mask(book, NFT_REG_1, &keep, &value, sizeof(keep));
	rule_ct_mark_store(book, NFT_REG_1);
}

void rule_clear_mark(struct rulebook *book, uint32_t mask)
{
	static const uint32_t zero;
	uint32_t keep = ~mask;

	rule_meta(book, NFT_META_MARK, NFT_REG_1);
	rule_mask(book, NFT_REG_1, &keep, &zero, sizeof(keep));
	rule_mark_store(book, NFT_REG_1);
}

void rule_match_syn(struct rulebook *book, uint32_t op)
{
	rule_match_byte(book, NFT_PAYLOAD_TRANSPORT_HEADER, TCP_FLAGS_OFFSET, TCP_SYN | TCP_ACK, op,
	                TCP_SYN);
}
