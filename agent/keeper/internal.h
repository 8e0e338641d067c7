/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/** @file What the files of agent/keeper/ share. Threads: as keeper.h. */

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter.h>
#include <stdbool.h>
#include <stdint.h>

#include "agent/keeper/keeper.h"
#include "agent/keeper/rulebook.h"
#include "base/defs.h"

#define KEEPER_BATCH_BYTES  (1024 * 1024)
#define KEEPER_SOCKET_BYTES (2 * 1024 * 1024)
#define KEEPER_WAIT_MS      5000
#define KEEPER_QUEUES_PATH  "/proc/thread-self/net/netfilter/nfnetlink_queue"

struct keeper {
	struct keeper_config config;
	struct keeper_identity identity;
	struct about about;
	int namespace_fd;
	int queues_fd;                /* the kernel's list of queues there */
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

void keeper_error_clear(struct keeper_error *error);
/** Fill @p ret_error (NULL: nobody asks) and return @p code. */
int keeper_fail(struct keeper_error *ret_error, int code, const char *format, ...) _printf_(3, 4);

/* ----------------------------------------------------------------------- keeper.c, counters.c */

/** What is known of our table while there is none. */
struct about keeper_about_new(const struct keeper_config *config);
/** The queues' part of the counters: packets held now, dropped, and queues that are bound. */
int keeper_queue_counters_read(struct keeper *keeper,
                               struct keeper_counters *counters) _must_check_;

/* ----------------------------------------------------------------------------------- netns.c */

int netns_open(const struct keeper_place *place, int *ret_fd) _must_check_;
int netns_identify(int fd, struct keeper_identity *ret_identity) _must_check_;
/** Run @p fn in a helper thread inside the namespace @p fd; returns what it returns. */
int netns_run(int fd, int (*fn)(void *arg), void *arg) _must_check_;
int netns_socket_open(int fd, int bus, struct mnl_socket **ret_socket) _must_check_;
/** Read or write a small file of /proc inside the namespace. */
int netns_file_read(int fd, const char *path, char *text, size_t size_bytes) _must_check_;
/** Descriptor of such a file, to be read again and again; or an error. */
int netns_file_open(int fd, const char *path) _must_check_;
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
/**
 * Create an entry for a live socket's flow; PR_EEXIST when there is one.
 * @param opening  TCP whose SYN has had no answer yet.
 */
int conntrack_inject(struct keeper *keeper, const struct keeper_flow *flow, uint32_t timeout_s,
                     bool opening) _must_check_;
/**
 * The same for an entry that may be left from a time when tracking was on: established again, its
 * windows not judged. PR_ENOENT when it has ended.
 */
int conntrack_refresh(struct keeper *keeper, const struct keeper_flow *flow,
                      uint32_t timeout_s) _must_check_;
int conntrack_probe(struct keeper *keeper, bool *ret_active) _must_check_;

/* ---------------------------------------------------------------------- sockets.c, conflict.c */

/** A kernel may have queues as a module, which it loads when they are first asked for. */
int sockets_queue_load(struct mnl_socket *socket) _must_check_;
int sockets_queue_configure(struct mnl_socket *socket, const struct keeper_config *config,
                            uint16_t queue, struct keeper_error *ret_error) _must_check_;
int sockets_log_configure(struct mnl_socket *socket, const struct keeper_config *config,
                          struct keeper_error *ret_error) _must_check_;
