/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/**
 * @file
 * The rules of one state as libnftnl objects, built without a socket: pure, so that tests can look
 * at them. Threads: any; a rulebook belongs to one thread.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/keeper/keeper.h"
#include "base/defs.h"

struct nftnl_rule;
struct nftnl_expr;

#define RULEBOOK_MAX 768

/* Chains with a hook; never deleted while the table lives. */
#define CHAIN_OUTPUT      "output"
#define CHAIN_INPUT       "input"
#define CHAIN_OUTPUT_SAVE "output_save"
#define CHAIN_INPUT_SAVE  "input_save"
#define CHAIN_ABOUT       "about"
#define SET_SEEN4         "seen4"
#define SET_SEEN6         "seen6"

enum counter_id {
#define X(name, doc) COUNTER_##name,
	KEEPER_COUNTER_LIST(X)
#undef X
		_COUNTER_MAX,
	COUNTER_NONE = _COUNTER_MAX
};

extern const char *const counter_names[_COUNTER_MAX];
extern const char *const counter_docs[_COUNTER_MAX];

/** Kept in a comment of our table, for the agent that adopts it. */
struct about {
	enum keeper_state state;
	int32_t priority, priority_save;
	uint32_t mark_mask, mark_allow, mark_reject;
	uint16_t queue_first;
	bool conntrack_held;   /* observe: tracking stays on until the queue is empty */
	bool late_marked;      /* enforce: what passed the first hook under prepare is marked */
	bool conntrack_before; /* conntrack was on by others when the table was made */
	int loose_before;      /* nf_conntrack_tcp_loose to put back; -1: not changed */
};

int about_format(const struct about *about, char *text, size_t size_bytes);
int about_parse(const char *text, struct about *ret_about) _must_check_;

/** The rules of one state, built but not in the kernel. Sticky error. */
struct rulebook {
	struct nftnl_rule *rules[RULEBOOK_MAX];
	size_t count;
	struct nftnl_rule *rule; /* being built */
	int error;
};

struct rules_input {
	const struct keeper_config *config;
	struct about about; /* .state is the state to build */
	enum keeper_backend backend;
};

/** Build the whole table's rules for a state. Pure. */
int rulebook_build(struct rulebook *book, const struct rules_input *input) _must_check_;
void rulebook_done(struct rulebook *book);
/** Names of the helper chains (no hook), NULL at the end. */
extern const char *const rulebook_chains[];

void rule_begin(struct rulebook *book, const char *chain, enum counter_id counter);
void rule_end(struct rulebook *book);
void rule_comment(struct rulebook *book, const char *text);
void rule_expr_add(struct rulebook *book, struct nftnl_expr *expr);
void rule_counter(struct rulebook *book, enum counter_id counter);
void rule_meta(struct rulebook *book, uint32_t key, uint32_t reg);
void rule_payload(struct rulebook *book, uint32_t base, uint32_t offset, uint32_t size_bytes,
                  uint32_t reg);
void rule_exthdr(struct rulebook *book, uint8_t type, uint32_t offset, uint32_t size_bytes,
                 uint32_t reg);
void rule_mask(struct rulebook *book, uint32_t reg, const void *mask, const void *xor_with,
               uint32_t size_bytes);
void rule_compare(struct rulebook *book, uint32_t reg, uint32_t op, const void *data,
                  uint32_t size_bytes);
void rule_range(struct rulebook *book, uint32_t reg, const void *from, const void *to,
                uint32_t size_bytes);
void rule_ct(struct rulebook *book, uint32_t key, uint32_t reg);
void rule_ct_mark_store(struct rulebook *book, uint32_t reg);
void rule_mark_store(struct rulebook *book, uint32_t reg);
void rule_immediate(struct rulebook *book, uint32_t reg, const void *data, uint32_t size_bytes);
void rule_verdict(struct rulebook *book, int verdict, const char *chain);
void rule_log(struct rulebook *book, uint16_t group, const char *prefix, uint32_t copy_bytes);
void rule_reject(struct rulebook *book, uint32_t type, uint8_t code);
void rule_queue(struct rulebook *book, enum keeper_backend backend, uint16_t first, uint16_t count);
void rule_lookup(struct rulebook *book, const char *set, uint32_t reg);
void rule_set_change(struct rulebook *book, const char *set, uint32_t reg, uint32_t op,
                     uint64_t timeout_ms);
/* Matches and statements made of the above. */
void rule_match_l4(struct rulebook *book, uint8_t protocol);
void rule_match_family(struct rulebook *book, uint8_t family);
void rule_match_byte(struct rulebook *book, uint32_t base, uint32_t offset, uint8_t mask,
                     uint32_t op, uint8_t value);
void rule_match_u16(struct rulebook *book, uint32_t base, uint32_t offset, uint16_t value);
void rule_match_state(struct rulebook *book, uint32_t bits);
void rule_match_ct_mark(struct rulebook *book, uint32_t mask, uint32_t op, uint32_t value);
void rule_match_mark(struct rulebook *book, uint32_t mask, uint32_t op, uint32_t value);
void rule_match_prefix(struct rulebook *book, bool source, const struct pr_prefix *prefix);
void rule_match_loopback(struct rulebook *book, bool output, bool is);
void rule_set_ct_mark(struct rulebook *book, uint32_t mask, uint32_t value);
void rule_clear_mark(struct rulebook *book, uint32_t mask);

#define TCP_FLAGS_OFFSET 13
#define TCP_SYN          0x02
#define TCP_RST          0x04
#define TCP_ACK          0x10

/** tcp flags: SYN without ACK (or anything else, when @p op is NFT_CMP_NEQ). */
void rule_match_syn(struct rulebook *book, uint32_t op);

void rules_observe_build(struct rulebook *book, const struct rules_input *input);
void rules_enforce_build(struct rulebook *book, const struct rules_input *input);
void rules_builtin_build(struct rulebook *book, const struct rules_input *input, bool output);

/** What a rule of somebody else does to marks; exported for the pure test. */
struct mark_use {
	uint32_t packet_bits;    /* bits that it may set on a packet */
	uint32_t conntrack_bits; /* bits that it does not keep in a conntrack mark */
};
struct mark_use conflict_rule_marks(struct nftnl_rule *rule);
