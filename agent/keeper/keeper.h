/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/**
 * @file
 * The keeper: what needs much privilege, one handle for one network namespace. It builds and swaps
 * the rules of our table `inet portreeve` there, opens the sockets that the gate reads, moves a
 * namespace between observe and enforce, and reads counters. It never sees a packet.
 *
 * All data that crosses this header has a fixed size. Errors come with a text that says what, where
 * and what to do (struct keeper_error); the caller logs it once.
 *
 * Order for a namespace: keeper_open(); keeper_socket_open() for log (observe) and queues
 * (enforce) and hand them to the gate; keeper_state_set(). Rules outlive the handle on purpose: a
 * killed agent leaves enforce closed, and the next keeper_open() adopts what it finds.
 *
 * Threads: a handle belongs to one thread at a time. Each call that must be inside the namespace
 * runs a short helper thread of its own, so the caller's namespace never changes.
 * Needs: CAP_NET_ADMIN, and CAP_SYS_ADMIN (setns) for another namespace than the caller's.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/defs.h"

#define KEEPER_TABLE          "portreeve"
#define KEEPER_LIFELINE_MAX   64
#define KEEPER_QUEUE_MAX      4
#define KEEPER_ERROR_BYTES    256
#define KEEPER_LOG_PREFIX_OUT "portreeve output"
#define KEEPER_LOG_PREFIX_IN  "portreeve input"

/** What our rules do in a namespace. */
enum keeper_state {
	KEEPER_NONE,    /* no table of ours */
	KEEPER_OBSERVE, /* NEW packets are copied, nothing is held, dropped or marked */
	KEEPER_PREPARE, /* observe, and every flow that passes gets the allow mark (conntrack on) */
	KEEPER_ENFORCE, /* NEW packets are held in the queue, marked flows pass, the rest drops */
	_KEEPER_STATE_MAX
};

/** How packets get from a rule to the queue. */
enum keeper_backend {
	KEEPER_BACKEND_NONE,   /* this kernel offers neither: enforce is refused */
	KEEPER_BACKEND_NATIVE, /* nft `queue` */
	KEEPER_BACKEND_COMPAT, /* xt NFQUEUE inside an nft rule */
};

/** A flow that is never cut: the bus, and the administrator's own rule. */
struct keeper_lifeline {
	struct pr_prefix peer; /* the other side; bits 0: anybody, both families */
	uint16_t port_first;   /* of the listening side; 0: any port, any protocol without ports */
	uint16_t port_last;
	uint8_t protocol; /* IPPROTO_TCP, IPPROTO_UDP; 0: any, without a port */
	bool inbound;     /* true: the peer connects to us; false: we connect to the peer */
};

/** Everything the rules depend on. keeper_config_default() first, then change what differs. */
struct keeper_config {
	uint32_t mark_mask;    /* our bits of packet and conntrack marks, 0x30000000 */
	uint32_t mark_allow;   /* within the mask, 0x10000000: the gate's ACCEPT carries it */
	uint32_t mark_reject;  /* within the mask, 0x20000000: ACCEPT with this one is refused later
	                        */
	uint16_t queue_first;  /* 7400 */
	uint16_t queue_count;  /* 1..KEEPER_QUEUE_MAX; above 1: spread by CPU */
	uint16_t log_group;    /* 7400 */
	int32_t priority;      /* of the deciding hooks, -90: after DNAT and before filters */
	int32_t priority_save; /* of the hooks that save marks and refuse, -85 */
	uint32_t seen_max;     /* tuples remembered per family in observe, 32768 */
	uint32_t queue_length_packets; /* packets held at most, 16384 */
	uint32_t copy_bytes;           /* of each packet copied to us, 256 */
	uint32_t receive_buffer_bytes; /* of the queue and log sockets, 16 MiB */
	bool host;                     /* the host's own namespace, not a container's */
	uint16_t lifeline_count;
	struct keeper_lifeline lifeline[KEEPER_LIFELINE_MAX];
};

/** Where a namespace is. Exactly one of the two is set. */
struct keeper_place {
	int pid;          /* > 0: the namespace of this process */
	const char *path; /* "/run/netns/x", "/proc/1/ns/net"; borrowed for the call */
};

/** Identity of a namespace as long as anything keeps it alive. */
struct keeper_identity {
	uint64_t device;
	uint64_t inode;
};

/** What was wrong, ready to print. Empty after success. */
struct keeper_error {
	char text[KEEPER_ERROR_BYTES];
};

/* clang-format off */
/* X(name, doc): packets counted by our rules in one namespace since the table was created. */
#define KEEPER_COUNTER_LIST(X)                                                                     \
	X(copied_output,        "new flows copied at OUTPUT (observe)")                            \
	X(copied_input,         "new flows copied at INPUT (observe)")                             \
	X(seen_full,            "flows not copied in observe: too many tuples at once")            \
	X(lifeline,             "packets of the lifeline")                                         \
	X(builtin_neighbour,    "built-in rule: IPv6 neighbour discovery")                         \
	X(builtin_mld,          "built-in rule: IPv6 multicast listener discovery on the link")    \
	X(builtin_dhcp,         "built-in rule: DHCP and DHCPv6 client")                           \
	X(builtin_engine_dns,   "built-in rule: flows from a container to its engine's DNS")       \
	X(builtin_refusal,      "our own refusals (RST, ICMP) on their way out")                   \
	X(related_passed,       "ICMP errors that belong to an allowed flow")                      \
	X(queued_output,        "packets held for a decision at OUTPUT")                           \
	X(queued_input,         "packets held for a decision at INPUT")                            \
	X(allowed,              "packets that the gate allowed, mark saved")                       \
	X(rejected,             "packets that the gate refused with RST or ICMP")                  \
	X(dropped_invalid,      "packets dropped as invalid to connection tracking")               \
	X(dropped_midstream,    "TCP packets dropped: no SYN and no known connection")             \
	X(dropped_unmarked,     "packets dropped at the end: of no allowed flow")
/* clang-format on */

struct keeper_counters {
#define X(name, doc) uint64_t name;
	KEEPER_COUNTER_LIST(X)
#undef X
	uint64_t queue_held;         /* packets waiting for a verdict now */
	uint64_t queue_full_dropped; /* kernel: queue longer than its maximum */
	uint64_t queue_send_dropped; /* kernel: socket buffer full */
	uint32_t queues_bound;       /* of ours, with a listener */
};

/** A flow that was alive when its namespace went to enforce; it passes and must be recorded. */
struct keeper_flow {
	struct pr_addr source;      /* initiator, as this namespace sees it */
	struct pr_addr destination; /* terminator; after DNAT */
	uint16_t source_port;       /* 0 when the protocol has none */
	uint16_t destination_port;
	uint8_t protocol;
	bool outbound;    /* this namespace initiated it; loopback: true */
	bool from_socket; /* known from the socket table only, conntrack had no entry */
	uint8_t reserved[1];
};

/** Called for each flow; must not call back into the keeper. */
typedef void (*keeper_flow_fn)(const struct keeper_flow *flow, void *arg);

enum keeper_socket {
	KEEPER_SOCKET_QUEUE,     /* NFQUEUE, bound to queue_first + index */
	KEEPER_SOCKET_LOG,       /* NFLOG, bound to log_group */
	KEEPER_SOCKET_DIAG,      /* NETLINK_SOCK_DIAG inside the namespace, for attribution */
	KEEPER_SOCKET_CONNTRACK, /* NETLINK_NETFILTER for ctnetlink requests inside the namespace */
};

/** How long ENFORCE waits in PREPARE when it does not start there. */
#define KEEPER_SETTLE_MS 100

/** How long OBSERVE from ENFORCE waits at most for verdicts on packets that are still held. */
#define KEEPER_DRAIN_MS 1000

typedef struct keeper keeper_t;

void keeper_config_default(struct keeper_config *config);

/**
 * Check a configuration: bits within the mask and apart, bounds, lifelines.
 * @retval PR_OK
 * @retval PR_EINVAL  See @p ret_error.
 */
int keeper_config_check(const struct keeper_config *config,
                        struct keeper_error *ret_error) _must_check_;

/**
 * Open a namespace: enter it in a helper thread, open the rule sockets there, find a table of an
 * earlier run (adoption: nothing is changed) and probe the queue back end.
 *
 * @param ret_keeper  New handle; untouched on failure. Caller owns it.
 *
 * @retval PR_OK
 * @retval PR_EINVAL  Bad configuration.
 * @retval PR_ENOENT  No such process or path (a container that has gone).
 * @retval PR_EPERM   Capabilities are missing.
 * @retval PR_EBUSY   A table of our name exists whose hooks do not fit this configuration.
 */
int keeper_open(const struct keeper_config *config, const struct keeper_place *place,
                keeper_t **ret_keeper, struct keeper_error *ret_error) _must_check_;

/** Close the sockets and free. Rules stay. NULL and half-built handles are fine. */
void keeper_destroy(keeper_t **keeper_p);

struct keeper_identity keeper_identity(const keeper_t *keeper);
/** Identity of a place without opening it, to tell host-network containers from others. */
int keeper_place_identify(const struct keeper_place *place,
                          struct keeper_identity *ret_identity) _must_check_;
enum keeper_state keeper_state(const keeper_t *keeper);
enum keeper_backend keeper_backend(const keeper_t *keeper);
/** True: the table was there at keeper_open(), left by an earlier agent. */
bool keeper_adopted(const keeper_t *keeper);

/**
 * Bring the namespace to @p state, each change of rules in one transaction. Observe to enforce goes
 * through prepare: conntrack on and everything that passes marked; then live flows of the conntrack
 * and socket tables are marked or injected and given to @p on_flow; then the rules close. It waits
 * KEEPER_SETTLE_MS in between; set PREPARE first and ENFORCE later to do that wait elsewhere. From
 * enforce to observe takes our marks off again; conntrack is let go only once the queue is empty
 * (KEEPER_DRAIN_MS at most, else at the next call): when a hook goes, the kernel drops held
 * packets. The same state again renews the rules (adoption does that). ENFORCE must be renewed
 * once, KEEPER_SETTLE_MS later or any time after: until then packets that were between our two
 * hooks when the rules closed are marked by the second as those before them. NONE deletes the
 * table: only from OBSERVE, and once the gate has answered what its queue still holds.
 *
 * @param on_flow  NULL: nobody wants to know.
 *
 * @retval PR_OK
 * @retval PR_ENOTSUP    No queue back end (enforce) or no log (observe): see @p ret_error.
 * @retval PR_EBUSY      NONE from PREPARE or ENFORCE; or mark bits are used by another program.
 * @retval PR_ECONFLICT  Somebody changed our table meanwhile; try again.
 * On failure the rules are those of the last completed step; keeper_state() says which.
 */
int keeper_state_set(keeper_t *keeper, enum keeper_state state, keeper_flow_fn on_flow, void *arg,
                     struct keeper_error *ret_error) _must_check_;

/**
 * Change lifelines, queue count or limits: swaps the rules of the present state at once. The mark
 * bits, priorities and queue_first must stay as they were.
 */
int keeper_config_set(keeper_t *keeper, const struct keeper_config *config,
                      struct keeper_error *ret_error) _must_check_;

/**
 * Open a configured, non-blocking, close-on-exec socket inside the namespace. QUEUE: uid and gid
 * asked for, GSO packets taken whole when the kernel can, never fail-open, ENOBUFS visible. LOG:
 * every copy sent at once. Closing a QUEUE or LOG socket unbinds it.
 *
 * @param index   Of the queue, 0..queue_count-1; 0 for the others.
 * @param ret_fd  Caller owns it.
 *
 * @retval PR_OK
 * @retval PR_EBUSY  The queue number or log group is bound by another program: see @p ret_error.
 */
int keeper_socket_open(keeper_t *keeper, enum keeper_socket kind, unsigned int index, int *ret_fd,
                       struct keeper_error *ret_error) _must_check_;

/**
 * Read the counters.
 * @retval PR_ENOENT  Our table is gone: another program flushed all rules. keeper_state() is NONE
 *                    then; set the state again (live flows pass, as from observe).
 */
int keeper_counters_read(keeper_t *keeper, struct keeper_counters *ret_counters,
                         struct keeper_error *ret_error) _must_check_;

/**
 * Look for rules of others that use our mark bits: packet marks that set a bit of our mask,
 * conntrack marks that do not keep our bits. Sees nft and iptables-nft rules; iptables-legacy not.
 * @retval PR_OK     None.
 * @retval PR_EBUSY  @p ret_error names table, chain and bits.
 */
int keeper_conflict_check(keeper_t *keeper, struct keeper_error *ret_error) _must_check_;

/** Is connection tracking already on, for both families, by rules other than ours? */
int keeper_conntrack_active(keeper_t *keeper, bool *ret_active) _must_check_;

/* ------------------------------------------------------------------ the operations as a table */

/** What the rest of the agent calls, so that a fake twin can stand here in tests. */
struct keeper_ops {
	int (*open)(const struct keeper_config *config, const struct keeper_place *place,
	            keeper_t **ret_keeper, struct keeper_error *ret_error);
	void (*destroy)(keeper_t **keeper_p);
	struct keeper_identity (*identity)(const keeper_t *keeper);
	enum keeper_state (*state)(const keeper_t *keeper);
	int (*state_set)(keeper_t *keeper, enum keeper_state state, keeper_flow_fn on_flow,
	                 void *arg, struct keeper_error *ret_error);
	int (*config_set)(keeper_t *keeper, const struct keeper_config *config,
	                  struct keeper_error *ret_error);
	int (*socket_open)(keeper_t *keeper, enum keeper_socket kind, unsigned int index,
	                   int *ret_fd, struct keeper_error *ret_error);
	int (*counters_read)(keeper_t *keeper, struct keeper_counters *ret_counters,
	                     struct keeper_error *ret_error);
	int (*conflict_check)(keeper_t *keeper, struct keeper_error *ret_error);
};

extern const struct keeper_ops keeper_kernel_ops;
