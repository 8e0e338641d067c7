/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/**
 * @file
 * Who began a connection, as the kernel saw it: eBPF programs (origin.bpf.c) run inside connect()
 * and close() of every TCP and UDP socket of a watched network namespace, and inside sendto() of
 * UDP sockets. They write process, start time, executable, user, control group and root directory
 * into memory that is mapped here. So a process that has ended, has executed another program or has
 * passed its socket on is still told, and telling takes no system call, but one for each batch of
 * packets: a TCP socket has no port yet when it is noted, see origin_settle().
 *
 * A note of a flow answers for one packet, soon after it was written. Later packets with the same
 * addresses (sent again, or made by somebody else with a raw socket) are believed only if the
 * kernel names the very socket that was noted: that is the caller's to ask, by the socket's cookie.
 * UDP sockets are noted by their cookie alone, and once more by their addresses when they close.
 *
 * Threads: one a handle. origin_new() needs CAP_SYS_ADMIN (or CAP_BPF, CAP_PERFMON, CAP_NET_ADMIN
 * and the right to mount); origin_settle() and origin_listener() need CAP_BPF or CAP_SYS_ADMIN, the
 * rest nothing. Limits: ORIGIN_ENTRIES notes at a time; a path of ORIGIN_PATH_BYTES; TCP and UDP.
 * What is beyond is not found, and asked of /proc. Source: bpf-helpers(7).
 */

#include <stdbool.h>
#include <stdint.h>

#include "agent/keeper/origin_layout.h"
#include "agent/part.h"
#include "base/defs.h"

#define ORIGIN_WHY_BYTES 192

typedef struct origin origin_t;

/** What is shared with the kernel. Whoever owns it keeps it longer than the handle. */
struct origin_memory {
	const struct origin_entry *entries;         /* ORIGIN_ENTRIES, named by buckets */
	const struct origin_entry *sockets;         /* ORIGIN_SOCKETS, by cookie */
	const struct origin_bucket *buckets;        /* ORIGIN_BUCKETS, by flow */
	const struct origin_bucket *socket_buckets; /* ORIGIN_SOCKET_BUCKETS */
	const struct origin_program *programs;      /* ORIGIN_PROGRAMS */
	const struct origin_counts *counts;
	uint64_t *watched; /* ORIGIN_WATCHED */
};

struct origin_found {
	bool fresh;     /* it answers for this packet; else only for the socket with this cookie */
	bool same_peer; /* the packet goes where the socket wanted; else it was translated */
	uint32_t pid;
	uint32_t uid; /* of the socket */
	uint64_t start_ticks;
	uint64_t socket_cookie;
	struct pr_addr peer; /* where the socket wanted to go */
	uint16_t peer_port;
	const char *exe;          /* by codec_path_set(); valid until the next origin_find() */
	uint64_t program_id;      /* executable and control group, with the place of the note: */
	uint32_t program_at;      /* equal numbers are the same ones */
	uint32_t mount_namespace; /* inode; with the root directory: which user names hold */
	uint32_t root_device;     /* as the kernel numbers it */
	uint64_t root_inode;
};

/**
 * Load the program and let it run for all processes of the machine. Takes about 0.4 s.
 * @param ret_why  On failure: what the kernel refused, for people.
 */
int origin_new(origin_t **ret_origin, char ret_why[static ORIGIN_WHY_BYTES]) _must_check_;
/** The same over memory that somebody else fills (tests). */
int origin_new_in(const struct origin_memory *memory, origin_t **ret_origin) _must_check_;
void origin_destroy(origin_t **origin_p);

/**
 * Note connections of the namespace that @p socket was opened in, from now on.
 * @param ret_cookie  Names the namespace in the other calls.
 */
int origin_watch(origin_t *origin, int socket, uint64_t *ret_cookie) _must_check_;
/** The same for a namespace whose cookie is known. */
int origin_watch_cookie(origin_t *origin, uint64_t cookie) _must_check_;
void origin_unwatch(origin_t *origin, uint64_t cookie);

/**
 * Let the kernel give notes of connections that were begun until now the addresses that it has
 * chosen since. Once for all packets that have been received before; a system call at most.
 */
void origin_settle(origin_t *origin);

/**
 * Who began @p flow in namespace @p cookie? False: nobody is noted.
 * @param now_ns      CLOCK_MONOTONIC.
 * @param max_age_ns  A note older than this is not fresh.
 */
bool origin_find(origin_t *origin, uint64_t cookie, const struct part_flow *flow, uint64_t now_ns,
                 uint64_t max_age_ns, struct origin_found *ret_found);

/**
 * Who sends by the datagram socket @p socket_cookie of namespace @p cookie? False: nobody is noted,
 * or several processes do. User, addresses and freshness are not filled in.
 */
bool origin_socket_find(origin_t *origin, uint64_t cookie, uint64_t socket_cookie,
                        struct origin_found *ret_found);

#define ORIGIN_GROUPS_TEXT_BYTES (ORIGIN_GROUPS * (ORIGIN_GROUP_BYTES + ORIGIN_NAME_BYTES + 16))

/**
 * The control groups that the process was in, as /proc/PID/cgroup would say it: of the controller
 * pids, and the unified one. False: they were not noted whole, or the note has been overwritten.
 */
bool origin_groups(const origin_t *origin, const struct origin_found *found,
                   char ret_text[static ORIGIN_GROUPS_TEXT_BYTES]);

/**
 * Ask the kernel's own tables which socket would take a flow, and which of some processes hold it.
 * One system call. False: this kernel cannot tell, or it is not certain.
 */
bool origin_listener(origin_t *origin, const struct origin_question *question,
                     struct origin_answer *ret_answer);

void origin_counts(const origin_t *origin, struct origin_counts *ret_counts);
