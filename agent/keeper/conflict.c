/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Who else uses our mark bits? A packet mark is ours only between our two hooks, so a foreign rule
 * hurts when it sets one of our bits. A conntrack mark is ours for the flow's life, so a foreign
 * rule hurts when it does not keep our bits, whatever it writes.
 */
#include <stdio.h>

#include <libnftnl/chain.h>
#include <libnftnl/common.h>
#include <libnftnl/expr.h>
#include <libnftnl/rule.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/xt_CONNMARK.h>
#include <linux/netfilter/xt_mark.h>
#include <string.h>

#include "agent/keeper/internal.h"
#include "base/err.h"

#define REGISTERS   16
#define FORWARD_MAX 64
#define DUMP_TRIES  10

enum origin {
	ORIGIN_OTHER,
	ORIGIN_PACKET,
	ORIGIN_CONNTRACK,
};

/* Value of a register: (mark of the origin & keep) | set, as far as we can tell. */
struct value {
	enum origin origin;
	uint32_t keep, set;
};

static struct value *register_at(struct value *values, uint32_t reg)
{
	static struct value other;
	if (reg >= NFT_REG_1 && reg <= NFT_REG_4) {
		return &values[(reg - NFT_REG_1) * 4];
	}
	if (reg >= NFT_REG32_00 && reg <= NFT_REG32_15) {
		return &values[reg - NFT_REG32_00];
	}
	other = (struct value){ .origin = ORIGIN_OTHER };
	return &other;
}

static uint32_t expr_word(const struct nftnl_expr *expr, uint16_t attr)
{
	uint32_t size = 0;
	uint32_t word = 0;
	const void *data = nftnl_expr_get(expr, attr, &size);
	if (data != NULL && size == sizeof(word)) {
		memcpy(&word, data, sizeof(word));
	}
	return word;
}

static void bitwise_take(const struct nftnl_expr *expr, struct value *values)
{
	struct value from = *register_at(values, nftnl_expr_get_u32(expr, NFTNL_EXPR_BITWISE_SREG));
	struct value *to = register_at(values, nftnl_expr_get_u32(expr, NFTNL_EXPR_BITWISE_DREG));

	if (nftnl_expr_is_set(expr, NFTNL_EXPR_BITWISE_OP) &&
	    nftnl_expr_get_u32(expr, NFTNL_EXPR_BITWISE_OP) != NFT_BITWISE_BOOL) {
		*to = (struct value){ .origin = ORIGIN_OTHER }; /* a shift keeps no bit in place */
		return;
	}
	uint32_t mask = expr_word(expr, NFTNL_EXPR_BITWISE_MASK);
	uint32_t xor_with = expr_word(expr, NFTNL_EXPR_BITWISE_XOR);
	*to = (struct value){ .origin = from.origin,
		              .keep = from.keep & mask & ~xor_with,
		              .set = (from.set & mask) | xor_with };
}

static void mark_load(struct value *values, uint32_t reg, enum origin origin)
{
	*register_at(values, reg) = (struct value){ .origin = origin, .keep = UINT32_MAX };
}

static void meta_take(const struct nftnl_expr *expr, struct value *values, struct mark_use *use)
{
	bool mark = nftnl_expr_get_u32(expr, NFTNL_EXPR_META_KEY) == NFT_META_MARK;

	if (nftnl_expr_is_set(expr, NFTNL_EXPR_META_SREG)) {
		struct value *from =
			register_at(values, nftnl_expr_get_u32(expr, NFTNL_EXPR_META_SREG));
		use->packet_bits |= mark ? from->set : 0;
		return;
	}
	mark_load(values, nftnl_expr_get_u32(expr, NFTNL_EXPR_META_DREG),
	          mark ? ORIGIN_PACKET : ORIGIN_OTHER);
}

static void ct_take(const struct nftnl_expr *expr, struct value *values, struct mark_use *use)
{
	bool mark = nftnl_expr_get_u32(expr, NFTNL_EXPR_CT_KEY) == NFT_CT_MARK;

	if (nftnl_expr_is_set(expr, NFTNL_EXPR_CT_SREG)) {
		struct value *from =
			register_at(values, nftnl_expr_get_u32(expr, NFTNL_EXPR_CT_SREG));
		if (mark) {
			use->conntrack_bits |= from->origin == ORIGIN_CONNTRACK
			                               ? ~from->keep | from->set
			                               : UINT32_MAX;
		}
		return;
	}
	mark_load(values, nftnl_expr_get_u32(expr, NFTNL_EXPR_CT_DREG),
	          mark ? ORIGIN_CONNTRACK : ORIGIN_OTHER);
}

static void target_take(const struct nftnl_expr *expr, struct mark_use *use)
{
	const char *name = nftnl_expr_get_str(expr, NFTNL_EXPR_TG_NAME);
	uint32_t size = 0;
	const void *info = nftnl_expr_get(expr, NFTNL_EXPR_TG_INFO, &size);

	if (name == NULL || info == NULL) {
		return;
	}
	if (strcmp(name, "MARK") == 0 && size >= sizeof(struct xt_mark_tginfo2)) {
		struct xt_mark_tginfo2 mark;
		memcpy(&mark, info, sizeof(mark));
		use->packet_bits |= mark.mark;
	} else if (strcmp(name, "CONNMARK") == 0 && size >= sizeof(struct xt_connmark_tginfo1)) {
		struct xt_connmark_tginfo1 mark;
		memcpy(&mark, info, sizeof(mark));
		if (mark.mode == XT_CONNMARK_SET) {
			use->conntrack_bits |= mark.ctmark | mark.ctmask;
		} else if (mark.mode == XT_CONNMARK_SAVE) {
			use->conntrack_bits |= mark.ctmask;
		}
	}
}

struct mark_use conflict_rule_marks(struct nftnl_rule *rule)
{
	struct value values[REGISTERS] = { 0 };
	struct mark_use use = { 0 };
	struct nftnl_expr_iter *iter = nftnl_expr_iter_create(rule);

	if (iter == NULL) {
		return use;
	}
	for (struct nftnl_expr *expr; (expr = nftnl_expr_iter_next(iter)) != NULL;) {
		const char *name = nftnl_expr_get_str(expr, NFTNL_EXPR_NAME);
		if (strcmp(name, "immediate") == 0) {
			uint32_t reg = nftnl_expr_get_u32(expr, NFTNL_EXPR_IMM_DREG);
			*register_at(values, reg) = (struct value){
				.set = reg == NFT_REG_VERDICT ? 0
				                              : expr_word(expr, NFTNL_EXPR_IMM_DATA)
			};
		} else if (strcmp(name, "bitwise") == 0) {
			bitwise_take(expr, values);
		} else if (strcmp(name, "meta") == 0) {
			meta_take(expr, values, &use);
		} else if (strcmp(name, "ct") == 0) {
			ct_take(expr, values, &use);
		} else if (strcmp(name, "target") == 0) {
			target_take(expr, &use);
		}
	}
	nftnl_expr_iter_destroy(iter);
	return use;
}

/* --------------------------------------------------------------------------------- the search */

struct chain_name {
	uint32_t family;
	char table[64];
	char chain[64];
};

struct search {
	uint32_t mask;
	struct chain_name forward[FORWARD_MAX]; /* base chains that our packets never meet */
	size_t forward_count;
	struct chain_name found;
	struct mark_use use;
	bool conflict;
};

static int chain_take(const struct nlmsghdr *message, void *arg)
{
	struct search *search = arg;
	struct nftnl_chain *chain = nftnl_chain_alloc();

	if (chain == NULL) {
		return PR_ENOMEM;
	}
	if (nftnl_chain_nlmsg_parse(message, chain) == 0 &&
	    nftnl_chain_is_set(chain, NFTNL_CHAIN_HOOKNUM) &&
	    nftnl_chain_get_u32(chain, NFTNL_CHAIN_HOOKNUM) == NF_INET_FORWARD &&
	    search->forward_count < FORWARD_MAX) {
		struct chain_name *name = &search->forward[search->forward_count++];
		name->family = nftnl_chain_get_u32(chain, NFTNL_CHAIN_FAMILY);
		(void)snprintf(name->table, sizeof(name->table), "%s",
		               nftnl_chain_get_str(chain, NFTNL_CHAIN_TABLE));
		(void)snprintf(name->chain, sizeof(name->chain), "%s",
		               nftnl_chain_get_str(chain, NFTNL_CHAIN_NAME));
	}
	nftnl_chain_free(chain);
	return PR_OK;
}

static bool rule_concerns(const struct search *search, const struct chain_name *name)
{
	if (name->family != NFPROTO_INET && name->family != NFPROTO_IPV4 &&
	    name->family != NFPROTO_IPV6) {
		return false;
	}
	if (name->family == NFPROTO_INET && strcmp(name->table, KEEPER_TABLE) == 0) {
		return false;
	}
	for (size_t i = 0; i < search->forward_count; i++) {
		if (search->forward[i].family == name->family &&
		    strcmp(search->forward[i].table, name->table) == 0 &&
		    strcmp(search->forward[i].chain, name->chain) == 0) {
			return false;
		}
	}
	return true;
}

static int rule_take(struct nftnl_rule *rule, void *arg)
{
	struct search *search = arg;
	struct chain_name name = { .family = nftnl_rule_get_u32(rule, NFTNL_RULE_FAMILY) };

	(void)snprintf(name.table, sizeof(name.table), "%s",
	               nftnl_rule_get_str(rule, NFTNL_RULE_TABLE));
	(void)snprintf(name.chain, sizeof(name.chain), "%s",
	               nftnl_rule_get_str(rule, NFTNL_RULE_CHAIN));
	if (search->conflict || !rule_concerns(search, &name)) {
		return PR_OK;
	}
	struct mark_use use = conflict_rule_marks(rule);
	if (((use.packet_bits | use.conntrack_bits) & search->mask) != 0) {
		search->conflict = true;
		search->found = name;
		search->use = use;
	}
	return PR_OK;
}

static const char *family_name(uint32_t family)
{
	return family == NFPROTO_INET ? "inet" : family == NFPROTO_IPV6 ? "ip6" : "ip";
}

static int search_run(struct keeper *keeper, struct search *search)
{
	char buffer[256] __attribute__((aligned(8)));

	*search = (struct search){ .mask = keeper->config.mark_mask };
	struct nlmsghdr *message = nftnl_nlmsg_build_hdr(buffer, NFT_MSG_GETCHAIN, NFPROTO_UNSPEC,
	                                                 NLM_F_DUMP, ++keeper->sequence);
	int error = netlink_ask(keeper->rules, message, chain_take, search);
	return error != PR_OK ? error : ruleset_walk(keeper, NULL, rule_take, search);
}

int keeper_conflict_check(keeper_t *keeper, struct keeper_error *ret_error)
{
	struct search search;
	int error = PR_EINTR;

	keeper_error_clear(ret_error);
	for (int i = 0; i < DUMP_TRIES && error == PR_EINTR; i++) {
		error = search_run(keeper, &search);
	}
	if (error != PR_OK) {
		return keeper_fail(ret_error, error == PR_EINTR ? PR_EAGAIN : error,
		                   "rules of others cannot be listed: %s", pr_strerror(error));
	}
	if (!search.conflict) {
		return PR_OK;
	}
	bool packet = (search.use.packet_bits & search.mask) != 0;
	uint32_t bits = (packet ? search.use.packet_bits : search.use.conntrack_bits) & search.mask;
	return keeper_fail(ret_error, PR_EBUSY,
	                   "mark bits 0x%x are used by another program: table %s %s, chain %s %s; "
	                   "set another mark mask",
	                   bits, family_name(search.found.family), search.found.table,
	                   search.found.chain,
	                   packet ? "sets them on packets" : "overwrites them in conntrack marks");
}
