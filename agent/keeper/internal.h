/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/** @file What the files of agent/keeper/ share. Threads: as keeper.h. */

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter.h>
#include <stdbool.h>
#include <stdint.h>

#include "agent/keeper/keeper.h"
#include "base/defs.h"

struct nftnl_rule;
struct nftnl_expr;

#define RULEBOOK_MAX       768
#define KEEPER_BATCH_BYTES (1024 * 1024)
#define KEEPER_SOCKET_BYTES (2 * 1024 * 1024)
#define KEEPER_WAIT_MS     5000

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
	bool conntrack_before; /* conntrack was on by others when the table was made */
	int loose_before;      /* nf_conntrack_tcp_loose to put back; -1: not changed */
};

int about_format(const struct about *about, char *text, size_t size_bytes);
int about_parse(const char *text, struct about *ret_about) _must_check_;

struct keeper {
	struct keeper_config config;
	struct keeper_identity identity;
	struct about about;
	int namespace_fd;
	struct mnl_socket *rules;     /* nf_tables transactions and dumps */
	struct mnl_socket *conntrack; /* ctnetlink dumps */
	struct mnl_socket *change;    /* ctnetlink changes while a dump runs */
	struct mnl_socket *diag;
	struct mnl_socket *route;
	enum keeper_backend backend;
	bool adopted;
	uint32_t sequence;
};

/* ------------------------------------------------------------------------------- error texts */

/** Fill @p ret_error (NULL: nobody asks) and return @p code. */
int keeper_fail(struct keeper_error *ret_error, int code, const char *format, ...)
	_printf_(3, 4);

/* ----------------------------------------------------------------------------------- netns.c */

int netns_open(const struct keeper_place *place, int *ret_fd) _must_check_;
int netns_identify(int fd, struct keeper_identity *ret_identity) _must_check_;
/** Run @p fn in a helper thread inside the namespace @p fd; returns what it returns. */
int netns_run(int fd, int (*fn)(void *arg), void *arg) _must_check_;
int netns_socket_open(int fd, int bus, struct mnl_socket **ret_socket) _must_check_;
/** Read or write a small file of /proc inside the namespace. */
int netns_file_read(int fd, const char *path, char *text, size_t size_bytes) _must_check_;
int netns_file_write(int fd, const char *path, const char *text) _must_check_;

/* --------------------------------------------------------------------------------- netlink.c */

typedef int (*netlink_message_fn)(const struct nlmsghdr *message, void *arg);

#define PR_EINTR (-EINTR)

/**
 * Send one request and give every answer to @p fn until DONE, an error or the ack. PR_EINTR: what
 * was dumped changed meanwhile, ask again.
 */
int netlink_ask(struct mnl_socket *socket, const struct nlmsghdr *request, netlink_message_fn fn,
		void *arg) _must_check_;

/** A datagram of many requests; the last one has NLM_F_ACK, sequences count up by one. */
struct netlink_batch {
	uint32_t sequence_first;
	uint32_t count;
	void (*on_error)(uint32_t index, int error, void *arg); /* may be NULL */
	void *arg;
	int first_error;
	uint32_t first_error_index;
};

/** Send the requests and read until the last one's ack. Returns the first error. */
int netlink_transact(struct mnl_socket *socket, const void *data, size_t size_bytes,
		     struct netlink_batch *batch) _must_check_;

/** Header of a nfnetlink message (not nf_tables). */
struct nlmsghdr *netlink_header(void *buffer, uint8_t subsystem, uint8_t type, uint16_t flags,
				uint8_t family, uint16_t resource, uint32_t sequence);

/* ---------------------------------------------------------------------------------- rulebook */

/** The rules of one state, built but not in the kernel. Sticky error. */
struct rulebook {
	struct nftnl_rule *rules[RULEBOOK_MAX];
	size_t count;
	struct nftnl_rule *rule; /* being built */
	uint64_t seed[_COUNTER_MAX]; /* first value of each counter; taken by the first rule */
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
void rule_queue(struct rulebook *book, enum keeper_backend backend, uint16_t first,
		uint16_t count);
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

/* --------------------------------------------------------------------------------- ruleset.c */

/** Swap the whole content of the table in one transaction, creating what is missing. */
int ruleset_apply(struct keeper *keeper, const struct about *about,
		  struct keeper_error *ret_error) _must_check_;
int ruleset_delete(struct keeper *keeper, struct keeper_error *ret_error) _must_check_;
/** Find our table: PR_OK and the about text, or PR_ENOENT. */
int ruleset_find(struct keeper *keeper, struct about *ret_about,
		 struct keeper_error *ret_error) _must_check_;
/** Every rule of a table of ours, or of all tables (@p table NULL). May return PR_EINTR. */
int ruleset_walk(struct keeper *keeper, const char *table,
		 int (*fn)(struct nftnl_rule *rule, void *arg), void *arg) _must_check_;
/** Comment of a rule, or NULL; borrowed from the rule. */
const char *ruleset_comment(struct nftnl_rule *rule);
int ruleset_backend_probe(struct keeper *keeper, enum keeper_backend *ret_backend) _must_check_;
int ruleset_counters_read(struct keeper *keeper, uint64_t values[_COUNTER_MAX]) _must_check_;

/* ----------------------------------------------------------------------- flows.c, conntrack.c */

/** Mark and inject what is alive; see keeper_state_set(). */
int flows_pass(struct keeper *keeper, keeper_flow_fn on_flow, void *arg,
	       struct keeper_error *ret_error) _must_check_;

/** Local addresses and listening TCP ports of the namespace, to tell directions. */
struct flow_context {
	struct pr_addr *addresses;
	size_t address_count, address_room;
	uint8_t listening[65536 / 8];
};

int flows_context_load(struct keeper *keeper, struct flow_context *context) _must_check_;
void flows_context_done(struct flow_context *context);
bool flows_address_local(const struct flow_context *context, const struct pr_addr *addr);
bool flows_port_listening(const struct flow_context *context, uint16_t port);

/** Set our bits of each entry's mark to @p value; gives the changed ones to @p on_flow. */
int conntrack_mark_all(struct keeper *keeper, uint32_t value, const struct flow_context *context,
		       keeper_flow_fn on_flow, void *arg) _must_check_;
/** Create an entry for a live socket's flow; PR_EEXIST when there is one. */
int conntrack_inject(struct keeper *keeper, const struct keeper_flow *flow,
		     uint32_t timeout_s) _must_check_;
int conntrack_probe(struct keeper *keeper, bool *ret_active) _must_check_;

/* ---------------------------------------------------------------------- sockets.c, conflict.c */

int sockets_queue_configure(struct mnl_socket *socket, const struct keeper_config *config,
			    uint16_t queue, struct keeper_error *ret_error) _must_check_;
int sockets_log_configure(struct mnl_socket *socket, const struct keeper_config *config,
			  struct keeper_error *ret_error) _must_check_;

/** What a rule of somebody else does to marks; exported for the pure test. */
struct mark_use {
	uint32_t packet_bits;    /* bits that it may set on a packet */
	uint32_t conntrack_bits; /* bits that it does not keep in a conntrack mark */
};
struct mark_use conflict_rule_marks(struct nftnl_rule *rule);
