/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The rules of each state as data: what may and may not stand in them. */
#include <netinet/in.h>
#include <stdio.h>

#include <libnftnl/expr.h>
#include <libnftnl/rule.h>
#include <libnftnl/udata.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/xt_NFQUEUE.h>
#include <stdlib.h>
#include <string.h>

#include "agent/keeper/rulebook.h"
#include "base/err.h"
#include "tests/tap.h"

struct census {
	unsigned int rules, counters, uncommented;
	unsigned int drops, rejects, queues, bypass, logs;
	unsigned int ct_reads, ct_writes, mark_writes;
	unsigned int ct_outside_save; /* ct expressions in the deciding chains */
	unsigned int lifelines;
};

static void expr_count(struct nftnl_expr *expr, bool save, struct census *c)
{
	const char *name = nftnl_expr_get_str(expr, NFTNL_EXPR_NAME);
	uint32_t size = 0;

	if (strcmp(name, "objref") == 0) {
		c->counters++;
	} else if (strcmp(name, "log") == 0) {
		c->logs++;
	} else if (strcmp(name, "reject") == 0) {
		c->rejects++;
	} else if (strcmp(name, "queue") == 0) {
		c->queues++;
		c->bypass += (nftnl_expr_get_u16(expr, NFTNL_EXPR_QUEUE_FLAGS) &
		              NFT_QUEUE_FLAG_BYPASS) != 0;
	} else if (strcmp(name, "target") == 0) {
		struct xt_NFQ_info_v3 info;
		memcpy(&info, nftnl_expr_get(expr, NFTNL_EXPR_TG_INFO, &size), sizeof(info));
		c->queues++;
		c->bypass += (info.flags & NFQ_FLAG_BYPASS) != 0;
	} else if (strcmp(name, "ct") == 0) {
		bool writes = nftnl_expr_is_set(expr, NFTNL_EXPR_CT_SREG);
		c->ct_writes += writes;
		c->ct_reads += !writes;
		c->ct_outside_save += !save;
	} else if (strcmp(name, "meta") == 0) {
		c->mark_writes += nftnl_expr_is_set(expr, NFTNL_EXPR_META_SREG);
	} else if (strcmp(name, "immediate") == 0 &&
	           nftnl_expr_is_set(expr, NFTNL_EXPR_IMM_VERDICT)) {
		c->drops += nftnl_expr_get_u32(expr, NFTNL_EXPR_IMM_VERDICT) == NF_DROP;
	}
}

static struct census census_of(const struct rulebook *book)
{
	struct census c = { .rules = (unsigned int)book->count };

	for (size_t i = 0; i < book->count; i++) {
		const char *chain = nftnl_rule_get_str(book->rules[i], NFTNL_RULE_CHAIN);
		bool save = strcmp(chain, CHAIN_OUTPUT_SAVE) == 0 ||
		            strcmp(chain, CHAIN_INPUT_SAVE) == 0;
		uint32_t size = 0;
		const char *comment =
			nftnl_rule_get_data(book->rules[i], NFTNL_RULE_USERDATA, &size);
		unsigned int counters = c.counters;
		struct nftnl_expr_iter *iter = nftnl_expr_iter_create(book->rules[i]);
		for (struct nftnl_expr *expr; (expr = nftnl_expr_iter_next(iter)) != NULL;) {
			expr_count(expr, save, &c);
		}
		nftnl_expr_iter_destroy(iter);
		c.uncommented += c.counters > counters && comment == NULL;
		/* The first two bytes of a comment are its type and length. */
		c.lifelines +=
			comment != NULL && size > 10 && strncmp(comment + 2, "lifeline:", 9) == 0;
	}
	return c;
}

static struct rulebook *build(const struct keeper_config *config, enum keeper_state state,
                              enum keeper_backend backend, bool conntrack_before)
{
	struct rules_input input = { .config = config,
		                     .about = { .state = state,
		                                .priority = config->priority,
		                                .priority_save = config->priority_save,
		                                .conntrack_before = conntrack_before,
		                                .loose_before = -1 },
		                     .backend = backend };
	struct rulebook *book = calloc(1, sizeof(*book));
	int error = rulebook_build(book, &input);
	ok(error == PR_OK && book->count > 0, "state %d builds %zu rules", (int)state, book->count);
	return book;
}

static void finish(struct rulebook **book_p)
{
	rulebook_done(*book_p);
	free(*book_p);
	*book_p = NULL;
}

static void test_observe(void)
{
	struct keeper_config config;
	keeper_config_default(&config);

	struct rulebook *book = build(&config, KEEPER_OBSERVE, KEEPER_BACKEND_COMPAT, false);
	struct census c = census_of(book);
	ok(c.drops == 0 && c.rejects == 0 && c.queues == 0, "observe never drops or holds");
	ok(c.ct_reads + c.ct_writes == 0, "observe does not touch conntrack where it is off");
	ok(c.mark_writes == 0, "observe marks nothing");
	ok(c.logs == 16, "a copy for TCP and for each kind, family and direction: %u", c.logs);
	ok(c.uncommented == 0, "every counter has a name");
	finish(&book);

	book = build(&config, KEEPER_OBSERVE, KEEPER_BACKEND_COMPAT, true);
	c = census_of(book);
	ok(c.ct_reads == 2 && c.ct_writes == 0, "observe reads state where others track: %u",
	   c.ct_reads);
	finish(&book);

	book = build(&config, KEEPER_PREPARE, KEEPER_BACKEND_COMPAT, false);
	c = census_of(book);
	ok(c.drops == 0 && c.rejects == 0 && c.queues == 0 && c.mark_writes == 0,
	   "prepare never drops or holds");
	ok(c.ct_writes == 2 && c.ct_outside_save == 0, "prepare marks flows in the save chains");
	finish(&book);
}

static bool is_last_drop(const struct rulebook *book, const char *chain)
{
	const struct nftnl_rule *last = NULL;
	uint32_t verdict = NF_ACCEPT;

	for (size_t i = 0; i < book->count; i++) {
		if (strcmp(nftnl_rule_get_str(book->rules[i], NFTNL_RULE_CHAIN), chain) == 0) {
			last = book->rules[i];
		}
	}
	unsigned int count = 0;
	struct nftnl_expr_iter *iter = nftnl_expr_iter_create(last);
	for (struct nftnl_expr *expr; (expr = nftnl_expr_iter_next(iter)) != NULL;) {
		count++;
		if (strcmp(nftnl_expr_get_str(expr, NFTNL_EXPR_NAME), "immediate") == 0) {
			verdict = nftnl_expr_get_u32(expr, NFTNL_EXPR_IMM_VERDICT);
		}
	}
	nftnl_expr_iter_destroy(iter);
	return count == 2 && verdict == NF_DROP; /* a counter and nothing to match */
}

static void test_enforce(void)
{
	static const enum keeper_backend backends[] = { KEEPER_BACKEND_NATIVE,
		                                        KEEPER_BACKEND_COMPAT };
	struct keeper_config config;
	keeper_config_default(&config);

	for (int i = 0; i < 4; i++) {
		config.queue_count = i < 2 ? 1 : 2;
		struct rulebook *book = build(&config, KEEPER_ENFORCE, backends[i % 2], false);
		struct census c = census_of(book);
		ok(c.queues == 4 && c.bypass == 0, "four queue rules, none with bypass: %u",
		   c.queues);
		ok(c.logs == 0, "no copies");
		ok(c.uncommented == 0, "every counter has a name");
		ok(is_last_drop(book, CHAIN_OUTPUT) && is_last_drop(book, CHAIN_INPUT),
		   "both chains end in a drop of everything");
		finish(&book);
	}
	config.lifeline_count = KEEPER_LIFELINE_MAX;
	for (int i = 0; i < KEEPER_LIFELINE_MAX; i++) {
		config.lifeline[i] = (struct keeper_lifeline){ .port_first = 22,
			                                       .port_last = 22,
			                                       .protocol = IPPROTO_TCP,
			                                       .inbound = i % 2 == 0 };
	}
	struct keeper_error error;
	ok(keeper_config_check(&config, &error) == PR_OK, "the most lifelines are a good config");
	struct rulebook *book = build(&config, KEEPER_ENFORCE, KEEPER_BACKEND_COMPAT, false);
	ok(census_of(book).lifelines == 2 * KEEPER_LIFELINE_MAX, "each in both chains");
	finish(&book);
}

static void test_about(void)
{
	struct about about = { .state = KEEPER_ENFORCE,
		               .priority = -90,
		               .priority_save = -85,
		               .mark_mask = 0xf0000000,
		               .mark_allow = 0x80000000,
		               .mark_reject = 0x40000000,
		               .queue_first = 65535,
		               .conntrack_before = true,
		               .loose_before = -1 };
	struct about back = { 0 };
	char text[NFTNL_UDATA_COMMENT_MAXLEN];
	static const char *const bad[] = {
		"",
		"v1",
		"v2 state=enforce priority=-90,-85 mark=1,2,3 queue=1 conntrack=0 loose=0",
		"v1 state=closed priority=-90,-85 mark=1,2,3 queue=1 conntrack=0 loose=0",
		"v1 state=enforce priority=-90,-85 mark=1,2,3 queue=70000 conntrack=0 loose=0",
		"v1 state=enforce priority=-90,-85 mark=1,2,3 queue=1 conntrack=0 loose=0 more",
		"v1 state=none priority=-90,-85 mark=1,2,3 queue=1 conntrack=0 loose=0",
	};

	ok(about_format(&about, text, sizeof(text)) == PR_OK && strlen(text) < 127, "about: %s",
	   text);
	ok(about_parse(text, &back) == PR_OK && back.state == about.state &&
	           back.priority == about.priority && back.priority_save == about.priority_save &&
	           back.mark_mask == about.mark_mask && back.mark_allow == about.mark_allow &&
	           back.mark_reject == about.mark_reject && back.queue_first == about.queue_first &&
	           back.conntrack_before && back.loose_before == -1,
	   "and back");
	for (size_t i = 0; i < PR_ARRAY_LEN(bad); i++) {
		ok(about_parse(bad[i], &back) == PR_EMALF, "refused: '%s'", bad[i]);
	}
}

static void test_config(void)
{
	struct keeper_config good;
	struct keeper_config config;
	struct keeper_error error;
	keeper_config_default(&good);

	ok(keeper_config_check(&good, &error) == PR_OK, "the defaults are good");
#define BAD(change, what)                                                                       \
	do {                                                                                    \
		config = good;                                                                  \
		change;                                                                         \
		ok(keeper_config_check(&config, &error) == PR_EINVAL, what ": %s", error.text); \
	} while (0)
	BAD(config.mark_allow = 0, "no allow mark");
	BAD(config.mark_reject = config.mark_allow, "one mark for both");
	BAD(config.mark_mask = 0x10000000, "a mark outside of the mask");
	BAD(config.priority = -100, "before DNAT");
	BAD(config.priority_save = -90, "save hook not after");
	BAD(config.priority_save = 0, "save hook among the filters");
	BAD(config.queue_count = 0, "no queue");
	BAD(config.queue_count = KEEPER_QUEUE_MAX + 1, "too many queues");
	BAD(config.seen_max = 1, "no room for seen tuples");
	BAD(config.lifeline_count = KEEPER_LIFELINE_MAX + 1, "too many lifelines");
	BAD(config.lifeline_count = 1; config.lifeline[0].port_first = 1;
	    config.lifeline[0].port_last = 2, "ports of no protocol");
	BAD(config.lifeline_count = 1;
	    config.lifeline[0] = ((struct keeper_lifeline){
		    .protocol = IPPROTO_TCP, .port_first = 9, .port_last = 8 }),
	    "a port range upside down");
}

typedef void (*rule_fn)(struct rulebook *book);

static void marks_or(struct rulebook *book)
{
	static const uint32_t keep = 0xffffff00;
	static const uint32_t value = 3;
	rule_ct(book, NFT_CT_MARK, NFT_REG_1);
	rule_mask(book, NFT_REG_1, &keep, &value, 4);
	rule_ct_mark_store(book, NFT_REG_1);
}

static void marks_overwrite(struct rulebook *book)
{
	static const uint32_t value = 1;
	rule_immediate(book, NFT_REG_1, &value, 4);
	rule_ct_mark_store(book, NFT_REG_1);
}

static void marks_packet(struct rulebook *book)
{
	static const uint32_t value = 0x10000001;
	rule_immediate(book, NFT_REG32_00, &value, 4);
	rule_mark_store(book, NFT_REG_1); /* the same register by its old name */
}

static void marks_copy(struct rulebook *book)
{
	rule_meta(book, NFT_META_MARK, NFT_REG_1);
	rule_ct_mark_store(book, NFT_REG_1);
}

static void marks_ours(struct rulebook *book)
{
	rule_set_ct_mark(book, 0x30000000, 0x10000000);
}

static void test_conflicts(void)
{
	static const struct {
		const char *what;
		rule_fn fill;
		uint32_t packet, conntrack;
	} cases[] = {
		{ "set some bits, keep the rest", marks_or, 0, 0xff },
		{ "overwrite a conntrack mark", marks_overwrite, 0, 0xffffffff },
		{ "set a packet mark", marks_packet, 0x10000001, 0 },
		{ "copy the packet's mark over all", marks_copy, 0, 0xffffffff },
		{ "what we do ourselves", marks_ours, 0, 0x30000000 },
	};

	for (size_t i = 0; i < PR_ARRAY_LEN(cases); i++) {
		struct rulebook *book = calloc(1, sizeof(*book));
		rule_begin(book, "x", COUNTER_NONE);
		cases[i].fill(book);
		rule_end(book);
		struct mark_use use = conflict_rule_marks(book->rules[0]);
		ok(use.packet_bits == cases[i].packet && use.conntrack_bits == cases[i].conntrack,
		   "%s: 0x%x 0x%x", cases[i].what, use.packet_bits, use.conntrack_bits);
		finish(&book);
	}
}

int main(void)
{
	test_observe();
	test_enforce();
	test_about();
	test_config();
	test_conflicts();
	return tap_done();
}
