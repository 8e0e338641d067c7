/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/**
 * @file
 * Attribution: which process and user began a flow, or would take it.
 *
 * The beginner of a TCP connection is whoever called connect(), as eBPF noted it (origin.h). Where
 * there is no note, it is who holds the socket at the moment of the question, as for all else. Then
 * the socket is found with sock_diag inside the flow's namespace (ICMP and raw sockets: /proc), the
 * process by the links in /proc/PID/fd. /proc/PID is held open while it is read, so that a number
 * used again for another process cannot answer in its place, and the start time is read before and
 * after. The name of a program is the link /proc/PID/exe, never comm or argv. What cannot be known
 * is "unknown" with a reason; nothing is guessed.
 *
 * Recent owners of a (namespace, user) are tried first; a hint is always verified. Work is bounded
 * for each call and for each second; beyond it the answer is NOT_TRIED, counted.
 *
 * Weak without a note (eBPF off; UDP): a process that connects without waiting and then executes
 * another program is seen as that program; a descriptor passed over a unix socket is noticed only
 * when the whole namespace is searched.
 *
 * Threads: one thread a handle. Needs CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH.
 * Source: sock_diag(7), proc(5), openat2(2).
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/keeper/origin.h"
#include "agent/part.h"
#include "base/defs.h"

typedef struct owner owner_t;

struct owner_config {
	origin_t *origin;          /* what eBPF notes; borrowed, NULL: it is off */
	uint32_t reads_max;        /* links and files read for one question, 20000 */
	uint64_t second_budget_ns; /* CPU time for all questions of a second, 400 ms */
	uint64_t name_keep_ns;     /* a user's name is read again after this, 5 s */
	bool engine; /* containers are endpoints: a process of an unknown one is nobody's here */
	uint64_t table_keep_ns; /* the table of processes is read again after this, 100 ms */
};

/* clang-format off */
/* X(name, unit, doc) */
#define OWNER_COUNTER_LIST(X)                                                                      \
	X(owner_asked,         "questions", "sockets to be attributed")                            \
	X(owner_known,         "questions", "process and user found")                              \
	X(owner_by_origin,     "questions", "noted by eBPF when it was begun")                     \
	X(owner_by_table,      "questions", "a listener held as before, by the kernel's tables")   \
	X(owner_by_hint,       "questions", "found in a process seen shortly before")              \
	X(owner_by_search,     "questions", "found by searching the namespace's processes")        \
	X(owner_no_socket,     "questions", "no socket belongs to the packet")                     \
	X(owner_no_listener,   "questions", "nobody listens there")                                \
	X(owner_gone,          "questions", "the process ended before it was read")                \
	X(owner_ambiguous,     "questions", "several programs hold the socket")                    \
	X(owner_kernel,        "questions", "the kernel itself holds the socket")                  \
	X(owner_not_tried,     "questions", "left out: too busy")                                  \
	X(owner_searches,      "times", "searches through the processes of a namespace")           \
	X(owner_reads,         "times", "links and files of /proc read")                           \
	X(owner_diag_errors,   "times", "socket look-ups that failed")                             \
	X(owner_names_read,    "times", "user names read from a password file")
/* clang-format on */

struct owner_counters {
#define X(name, unit, doc) uint64_t name;
	OWNER_COUNTER_LIST(X)
#undef X
};

/** One line of the table above; offset in struct owner_counters. */
struct owner_counter_row {
	const char *name, *unit, *doc;
	size_t offset;
};
const struct owner_counter_row *owner_counter_rows(size_t *ret_count);

void owner_config_default(struct owner_config *config);

/** @param ret_owner  Untouched on failure. Caller owns it. */
int owner_new(const struct owner_config *config, owner_t **ret_owner) _must_check_;
void owner_destroy(owner_t **owner_p);
/** Let eBPF answer first from now on. Borrowed; it must outlive the owner. */
void owner_origin_set(owner_t *owner, origin_t *origin);

/**
 * A namespace to answer for.
 *
 * @param diag  NETLINK_SOCK_DIAG socket inside it, borrowed: it must stay open until
 *              owner_namespace_remove(). Nobody else may read from it.
 * @param pid   A process in it, for its /proc/PID/net; 0: our own, it is the host's. Another is
 *              found when it ends.
 *              Its password file names users whose process cannot be told.
 */
int owner_namespace_add(owner_t *owner, uint32_t slot, uint64_t inode, int diag,
                        int32_t pid) _must_check_;
void owner_namespace_remove(owner_t *owner, uint32_t slot);

/** A container that lives in a namespace, alone or beside others; or the namespace itself, named.
 */
struct owner_member_options {
	uint32_t slot;
	struct pr_uuid endpoint;
	const char *container_id; /* by which the engine names its control groups; empty: it is no
	                             container, and has what is of none */
	int32_t pid;              /* its first process, as the engine says it */
	uint64_t start_ticks;     /* of pid; 0: any */
};
/**
 * A process is the container's if its control groups are, or are below, those of the container's
 * first process (base/cgroup.h), which are read now, once. In a namespace of several endpoints who
 * cannot be told is nobody's (PART_PLACE_UNKNOWN).
 * @retval PR_EINVAL  No such slot.
 */
int owner_member_add(owner_t *owner, const struct owner_member_options *options) _must_check_;
/** It went; not there is fine. Its namespace's end takes all away, too. */
void owner_member_remove(owner_t *owner, const struct pr_uuid *endpoint);

/**
 * The packets that are asked about next have been received before this call. A program's name read
 * after it holds for all of them: whoever executes another one later had sent them before. Without
 * the call every question reads it anew.
 */
void owner_begin(owner_t *owner);
/**
 * Who started this flow (OUTPUT)? Always fills @p ret_owner; unknown says why.
 * @param uid_hint  The kernel's word for the packet; CODEC_NO_UID: none.
 */
void owner_initiator(owner_t *owner, uint32_t slot, const struct part_flow *flow, uint32_t uid_hint,
                     struct part_owner *ret_owner);
/** Who would take this flow (INPUT)? */
void owner_listener(owner_t *owner, uint32_t slot, const struct part_flow *flow,
                    struct part_owner *ret_owner);

/**
 * The TCP connections of a namespace that nobody has answered yet: their first packet may have left
 * before anybody watched. Not those within the namespace.
 */
void owner_begun(owner_t *owner, uint32_t slot,
                 void (*begun)(const struct part_flow *flow, void *arg), void *arg);

void owner_counters(const owner_t *owner, struct owner_counters *ret_counters);
