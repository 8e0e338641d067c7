/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdio.h>

#include <libnftnl/expr.h>
#include <libnftnl/rule.h>
#include <libnftnl/udata.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/xt_NFQUEUE.h>
#include <stdlib.h>
#include <string.h>

#include "agent/keeper/internal.h"
#include "base/err.h"

/* xt structures are padded to 8 bytes by the kernel's XT_ALIGN. */
struct queue_target {
	struct xt_NFQ_info_v3 info;
	uint16_t padding;
};

static struct nftnl_expr *expr_new(struct rulebook *book, const char *name)
{
	struct nftnl_expr *expr = book->rule == NULL ? NULL : nftnl_expr_alloc(name);
	if (expr == NULL) {
		book->error = PR_ENOMEM;
		return NULL;
	}
	nftnl_rule_add_expr(book->rule, expr);
	return expr;
}

void rule_comment(struct rulebook *book, const char *text)
{
	if (book->rule == NULL) {
		return;
	}
	struct nftnl_udata_buf *data = nftnl_udata_buf_alloc(NFTNL_UDATA_COMMENT_MAXLEN * 2);
	if (data == NULL || !nftnl_udata_put_strz(data, NFTNL_UDATA_RULE_COMMENT, text) ||
	    nftnl_rule_set_data(book->rule, NFTNL_RULE_USERDATA, nftnl_udata_buf_data(data),
	                        nftnl_udata_buf_len(data)) != 0) {
		book->error = PR_ENOMEM;
	}
	nftnl_udata_buf_free(data);
}

void rule_begin(struct rulebook *book, const char *chain, enum counter_id counter)
{
	char text[NFTNL_UDATA_COMMENT_MAXLEN];

	book->rule = nftnl_rule_alloc();
	if (book->rule == NULL) {
		book->error = PR_ENOMEM;
		return;
	}
	nftnl_rule_set_u32(book->rule, NFTNL_RULE_FAMILY, NFPROTO_INET);
	if (nftnl_rule_set_str(book->rule, NFTNL_RULE_TABLE, KEEPER_TABLE) != 0 ||
	    nftnl_rule_set_str(book->rule, NFTNL_RULE_CHAIN, chain) != 0) {
		book->error = PR_ENOMEM;
	}
	if (counter != COUNTER_NONE) {
		(void)snprintf(text, sizeof(text), "%s: %s", counter_names[counter],
		               counter_docs[counter]);
		rule_comment(book, text);
	}
}

void rule_end(struct rulebook *book)
{
	if (book->rule == NULL) {
		return;
	}
	if (book->count == RULEBOOK_MAX) {
		book->error = PR_ETOOBIG;
		nftnl_rule_free(book->rule);
	} else {
		book->rules[book->count++] = book->rule;
	}
	book->rule = NULL;
}

void rulebook_done(struct rulebook *book)
{
	rule_end(book);
	for (size_t i = 0; i < book->count; i++) {
		nftnl_rule_free(book->rules[i]);
	}
	book->count = 0;
}

void rule_counter(struct rulebook *book, enum counter_id counter)
{
	struct nftnl_expr *expr = expr_new(book, "objref");
	if (expr == NULL) {
		return;
	}
	nftnl_expr_set_u32(expr, NFTNL_EXPR_OBJREF_IMM_TYPE, NFT_OBJECT_COUNTER);
	if (nftnl_expr_set_str(expr, NFTNL_EXPR_OBJREF_IMM_NAME, counter_names[counter]) != 0) {
		book->error = PR_ENOMEM;
	}
}

void rule_meta(struct rulebook *book, uint32_t key, uint32_t reg)
{
	struct nftnl_expr *expr = expr_new(book, "meta");
	if (expr != NULL) {
		nftnl_expr_set_u32(expr, NFTNL_EXPR_META_KEY, key);
		nftnl_expr_set_u32(expr, NFTNL_EXPR_META_DREG, reg);
	}
}

void rule_payload(struct rulebook *book, uint32_t base, uint32_t offset, uint32_t size_bytes,
                  uint32_t reg)
{
	struct nftnl_expr *expr = expr_new(book, "payload");
	if (expr != NULL) {
		nftnl_expr_set_u32(expr, NFTNL_EXPR_PAYLOAD_BASE, base);
		nftnl_expr_set_u32(expr, NFTNL_EXPR_PAYLOAD_OFFSET, offset);
		nftnl_expr_set_u32(expr, NFTNL_EXPR_PAYLOAD_LEN, size_bytes);
		nftnl_expr_set_u32(expr, NFTNL_EXPR_PAYLOAD_DREG, reg);
	}
}

void rule_exthdr(struct rulebook *book, uint8_t type, uint32_t offset, uint32_t size_bytes,
                 uint32_t reg)
{
	struct nftnl_expr *expr = expr_new(book, "exthdr");
	if (expr != NULL) {
		nftnl_expr_set_u8(expr, NFTNL_EXPR_EXTHDR_TYPE, type);
		nftnl_expr_set_u32(expr, NFTNL_EXPR_EXTHDR_OFFSET, offset);
		nftnl_expr_set_u32(expr, NFTNL_EXPR_EXTHDR_LEN, size_bytes);
		nftnl_expr_set_u32(expr, NFTNL_EXPR_EXTHDR_DREG, reg);
	}
}

void rule_mask(struct rulebook *book, uint32_t reg, const void *mask, const void *xor_with,
               uint32_t size_bytes)
{
	struct nftnl_expr *expr = expr_new(book, "bitwise");
	if (expr != NULL) {
		nftnl_expr_set_u32(expr, NFTNL_EXPR_BITWISE_SREG, reg);
		nftnl_expr_set_u32(expr, NFTNL_EXPR_BITWISE_DREG, reg);
		nftnl_expr_set_u32(expr, NFTNL_EXPR_BITWISE_LEN, size_bytes);
		nftnl_expr_set(expr, NFTNL_EXPR_BITWISE_MASK, mask, size_bytes);
		nftnl_expr_set(expr, NFTNL_EXPR_BITWISE_XOR, xor_with, size_bytes);
	}
}

void rule_compare(struct rulebook *book, uint32_t reg, uint32_t op, const void *data,
                  uint32_t size_bytes)
{
	struct nftnl_expr *expr = expr_new(book, "cmp");
	if (expr != NULL) {
		nftnl_expr_set_u32(expr, NFTNL_EXPR_CMP_SREG, reg);
		nftnl_expr_set_u32(expr, NFTNL_EXPR_CMP_OP, op);
		nftnl_expr_set(expr, NFTNL_EXPR_CMP_DATA, data, size_bytes);
	}
}

void rule_range(struct rulebook *book, uint32_t reg, const void *from, const void *to,
                uint32_t size_bytes)
{
	rule_compare(book, reg, NFT_CMP_GTE, from, size_bytes);
	rule_compare(book, reg, NFT_CMP_LTE, to, size_bytes);
}

void rule_ct(struct rulebook *book, uint32_t key, uint32_t reg)
{
	struct nftnl_expr *expr = expr_new(book, "ct");
	if (expr != NULL) {
		nftnl_expr_set_u32(expr, NFTNL_EXPR_CT_KEY, key);
		nftnl_expr_set_u32(expr, NFTNL_EXPR_CT_DREG, reg);
		if (key == NFT_CT_PROTO_DST) {
			nftnl_expr_set_u8(expr, NFTNL_EXPR_CT_DIR, 0);
		}
	}
}

void rule_ct_mark_store(struct rulebook *book, uint32_t reg)
{
	struct nftnl_expr *expr = expr_new(book, "ct");
	if (expr != NULL) {
		nftnl_expr_set_u32(expr, NFTNL_EXPR_CT_KEY, NFT_CT_MARK);
		nftnl_expr_set_u32(expr, NFTNL_EXPR_CT_SREG, reg);
	}
}

void rule_mark_store(struct rulebook *book, uint32_t reg)
{
	struct nftnl_expr *expr = expr_new(book, "meta");
	if (expr != NULL) {
		nftnl_expr_set_u32(expr, NFTNL_EXPR_META_KEY, NFT_META_MARK);
		nftnl_expr_set_u32(expr, NFTNL_EXPR_META_SREG, reg);
	}
}

void rule_immediate(struct rulebook *book, uint32_t reg, const void *data, uint32_t size_bytes)
{
	struct nftnl_expr *expr = expr_new(book, "immediate");
	if (expr != NULL) {
		nftnl_expr_set_u32(expr, NFTNL_EXPR_IMM_DREG, reg);
		nftnl_expr_set(expr, NFTNL_EXPR_IMM_DATA, data, size_bytes);
	}
}

void rule_verdict(struct rulebook *book, int verdict, const char *chain)
{
	struct nftnl_expr *expr = expr_new(book, "immediate");
	if (expr == NULL) {
		return;
	}
	nftnl_expr_set_u32(expr, NFTNL_EXPR_IMM_DREG, NFT_REG_VERDICT);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_IMM_VERDICT, (uint32_t)verdict);
	if (chain != NULL && nftnl_expr_set_str(expr, NFTNL_EXPR_IMM_CHAIN, chain) != 0) {
		book->error = PR_ENOMEM;
	}
}

void rule_log(struct rulebook *book, uint16_t group, const char *prefix, uint32_t copy_bytes)
{
	struct nftnl_expr *expr = expr_new(book, "log");
	if (expr == NULL) {
		return;
	}
	nftnl_expr_set_u16(expr, NFTNL_EXPR_LOG_GROUP, group);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_LOG_SNAPLEN, copy_bytes);
	nftnl_expr_set_u16(expr, NFTNL_EXPR_LOG_QTHRESHOLD, 1);
	if (nftnl_expr_set_str(expr, NFTNL_EXPR_LOG_PREFIX, prefix) != 0) {
		book->error = PR_ENOMEM;
	}
}

void rule_reject(struct rulebook *book, uint32_t type, uint8_t code)
{
	struct nftnl_expr *expr = expr_new(book, "reject");
	if (expr != NULL) {
		nftnl_expr_set_u32(expr, NFTNL_EXPR_REJECT_TYPE, type);
		nftnl_expr_set_u8(expr, NFTNL_EXPR_REJECT_CODE, code);
	}
}

void rule_queue(struct rulebook *book, enum keeper_backend backend, uint16_t first, uint16_t count)
{
	/* No bypass flag in either form: without a listener the packet drops. */
	if (backend == KEEPER_BACKEND_NATIVE) {
		struct nftnl_expr *expr = expr_new(book, "queue");
		if (expr != NULL) {
			nftnl_expr_set_u16(expr, NFTNL_EXPR_QUEUE_NUM, first);
			nftnl_expr_set_u16(expr, NFTNL_EXPR_QUEUE_TOTAL, count);
			nftnl_expr_set_u16(expr, NFTNL_EXPR_QUEUE_FLAGS,
			                   count > 1 ? NFT_QUEUE_FLAG_CPU_FANOUT : 0);
		}
		return;
	}
	struct nftnl_expr *expr = expr_new(book, "target");
	struct queue_target *target = calloc(1, sizeof(*target));
	if (expr == NULL || target == NULL) {
		free(target);
		book->error = PR_ENOMEM;
		return;
	}
	target->info.queuenum = first;
	target->info.queues_total = count;
	target->info.flags = count > 1 ? NFQ_FLAG_CPU_FANOUT : 0;
	nftnl_expr_set_u32(expr, NFTNL_EXPR_TG_REV, 3);
	/* libnftnl keeps the pointer and frees it with the expression. */
	nftnl_expr_set(expr, NFTNL_EXPR_TG_INFO, target, sizeof(*target));
	if (nftnl_expr_set_str(expr, NFTNL_EXPR_TG_NAME, "NFQUEUE") != 0) {
		book->error = PR_ENOMEM;
	}
}

void rule_lookup(struct rulebook *book, const char *set, uint32_t reg)
{
	struct nftnl_expr *expr = expr_new(book, "lookup");
	if (expr == NULL) {
		return;
	}
	nftnl_expr_set_u32(expr, NFTNL_EXPR_LOOKUP_SREG, reg);
	if (nftnl_expr_set_str(expr, NFTNL_EXPR_LOOKUP_SET, set) != 0) {
		book->error = PR_ENOMEM;
	}
}

void rule_set_change(struct rulebook *book, const char *set, uint32_t reg, uint32_t op,
                     uint64_t timeout_ms)
{
	struct nftnl_expr *expr = expr_new(book, "dynset");
	if (expr == NULL) {
		return;
	}
	nftnl_expr_set_u32(expr, NFTNL_EXPR_DYNSET_SREG_KEY, reg);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_DYNSET_OP, op);
	nftnl_expr_set_u64(expr, NFTNL_EXPR_DYNSET_TIMEOUT, timeout_ms);
	if (nftnl_expr_set_str(expr, NFTNL_EXPR_DYNSET_SET_NAME, set) != 0) {
		book->error = PR_ENOMEM;
	}
}
