/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/**
 * @file
 * What the agent's three parts say to each other: fixed-size structs and nothing else, so that they
 * can become three processes without a rewrite. Beside these, gate and speaker exchange the codec's
 * own structs (request, verdict, event).
 *
 *   agent  -> keeper  struct part_order    watch this namespace, set this mode, lifeline
 *   keeper -> agent   struct part_report   opened (with descriptors), mode in force, passed flows
 *   agent  -> gate    struct part_namespace, codec_verdict, struct part_lost
 *   gate   -> agent   codec_request, codec_event
 *   gate  <-> keeper  struct part_flow -> struct part_owner (who holds this flow's socket?)
 *
 * The keeper runs in a thread of its own (it enters other namespaces) behind a SOCK_SEQPACKET pair;
 * gate and speaker share the main thread's epoll loop. Descriptors travel as SCM_RIGHTS.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/id.h"
#include "codec/codec.h"

#define PART_NAMESPACE_MAX 1024 /* network namespaces of one agent */
#define PART_LIFELINE_MAX  64
#define PART_TEXT_BYTES    192
#define PART_PATH_BYTES    200

/** One exempt service: packets to (out) or from (in) these are passed and marked without asking. */
struct part_lifeline {
	bool inbound;          /* true: INPUT to our own port; false: OUTPUT to peer's port */
	uint8_t proto;         /* 0: any (then port is 0) */
	uint16_t port;         /* destination port; 0: any */
	uint16_t port_last;    /* end of a range that begins with port; 0: port alone */
	struct pr_prefix peer; /* the other side */
};

/** Tuple of a flow as its namespace sees it. */
struct part_flow {
	uint8_t proto;
	bool outbound; /* this end started it, as far as can be told */
	bool held;     /* its first packet waits: the connection table does not know it yet */
	bool live;     /* no packet is at hand: it was found in a table, and may be long open */
	struct pr_addr src, dst;
	uint16_t src_port,
		dst_port;   /* ICMP: src_port is an echo's id, dst_port type * 256 + code */
	uint32_t interface; /* index in its namespace; 0: not known */
};

enum part_order_kind {
	PART_ORDER_WATCH,    /* open the namespace of @pid or @path, install rules for @mode */
	PART_ORDER_MODE,     /* change the mode of an endpoint's namespace */
	PART_ORDER_FORGET,   /* the endpoint stopped: close descriptors */
	PART_ORDER_LIFELINE, /* replace the lifeline of the host's namespace */
	PART_ORDER_STOP,     /* leave; @remove: also remove rules of namespaces in observe */
};

struct part_order {
	enum part_order_kind kind;
	struct pr_uuid endpoint;
	uint64_t start_ticks; /* WATCH: start time of pid (field 22 of /proc/PID/stat); 0: any */
	int32_t pid;          /* WATCH: a process in the namespace; 0: by path */
	uint64_t inode;       /* WATCH by path: of the namespace that is meant; 0: any */
	bool is_host;         /* WATCH: it is the host's namespace */
	bool guest;           /* WATCH: it lives in another endpoint's namespace */
	bool remove;          /* STOP */
	uint8_t mode;         /* WATCH, MODE: enum CODEC_MODE_* */
	char path[PART_PATH_BYTES]; /* WATCH: file of the namespace; "": our own (the host's) */
	uint32_t lifeline_count;
	struct part_lifeline lifeline[PART_LIFELINE_MAX];
};

enum part_report_kind {
	PART_REPORT_OPENED, /* a namespace is watched; descriptors come with it */
	PART_REPORT_MODE,   /* @mode is in force in @slot now */
	PART_REPORT_PASSED, /* a live flow was marked as passed on the way to enforce */
	PART_REPORT_LEFT,   /* the endpoint went, others live on in @slot */
	PART_REPORT_CLOSED, /* @slot is free again: drop its descriptors */
	PART_REPORT_FAILED, /* an order failed; @text says what, where, what to do */
	PART_REPORT_COUNTERS,
	PART_REPORT_STOPPED,
};

/** Descriptors of one namespace, all opened inside it, non-blocking. -1: none. */
struct part_descriptors {
	int queue;     /* NFQUEUE, bound and configured; -1 in observe */
	int log;       /* NFLOG, bound and configured; -1 in enforce */
	int diag;      /* NETLINK_SOCK_DIAG, to find a socket's owner */
	int conntrack; /* NETLINK_NETFILTER, to undo translation */
};

#define PART_DESCRIPTORS 4

/** Kernel-side counts of one namespace since its rules were made. */
struct part_counters {
	uint64_t dropped_no_verdict; /* final drop of the chain */
	uint64_t dropped_invalid;
	uint64_t dropped_queue_full; /* by the kernel, queue or socket buffer full */
	uint64_t copies_lost;        /* observe: seen-set full or copies not delivered */
	uint64_t built_in;           /* packets passed by visible built-in rules */
	uint64_t lifeline;
};

struct part_report {
	enum part_report_kind kind;
	struct pr_uuid endpoint;
	uint32_t slot;
	uint64_t inode; /* of the namespace; endpoints that share it share the slot */
	bool is_host;   /* of the namespace */
	bool guest;     /* of the endpoint */
	uint8_t mode;   /* of the endpoint, as far as it is in force */
	bool adopted;   /* OPENED: enforce rules of an earlier agent stood there */
	int error;      /* FAILED: PR_... */
	struct part_flow flow;
	struct part_counters counters;
	struct part_descriptors descriptors; /* numbers valid in the receiver after SCM_RIGHTS */
	char text[PART_TEXT_BYTES];
};

/** What the gate needs to know of a namespace. */
struct part_namespace {
	uint32_t slot;
	uint64_t inode;
	struct pr_uuid endpoint;
	bool is_host;
	bool guest;   /* never the namespace's main endpoint while there is another */
	uint8_t mode; /* of the endpoint */
	struct part_descriptors descriptors; /* owned by the gate from here on */
};

/** What to do for an endpoint when no controller answers. */
enum part_lost_mode {
	PART_LOST_LAST_KNOWN,
	PART_LOST_DENY,
	PART_LOST_ALLOW,
};

struct part_lost {
	struct pr_uuid endpoint;
	enum part_lost_mode mode;
	uint64_t last_known_ns;
};

/** To which endpoint of a namespace a process belongs. */
enum part_place {
	PART_PLACE_MAIN,      /* to the one whose namespace it is */
	PART_PLACE_CONTAINER, /* to the one that part_owner.container names */
	PART_PLACE_UNKNOWN,   /* cannot be told: to none */
};

/** Owner of a socket, found at decision time. */
struct part_owner {
	uint8_t unknown;      /* enum CODEC_UNKNOWN_*; NONE: pid and exe are right */
	uint32_t uid;         /* CODEC_NO_UID: unknown */
	uint32_t pid;         /* 0: unknown */
	uint64_t start_ticks; /* of pid, checked before and after */
	uint64_t socket_inode;
	char user[33];
	char exe[129]; /* by codec_path_set() */
	uint8_t place; /* enum part_place */
	/* The container in whose control groups the process is, if that is an endpoint here. */
	struct pr_uuid container;
	/* The socket's own idea of its peer when the packet's differs (translated here); port 0:
	 * same.
	 */
	struct pr_addr peer;
	uint16_t peer_port;
};
