/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/**
 * @file
 * Who listens where: TCP sockets that accept, UDP sockets bound to a port that is not ephemeral, of
 * one network namespace at a time, with the process that holds each.
 *
 * The kernel names the sockets (sock_diag, filtered there); processes are looked for in /proc only
 * when a socket is new, at most once a look. Threads: the inventory's own, whose network namespace
 * changes during a look and is back afterwards.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/defs.h"
#include "codec/codec.h"

#define LISTENERS_MAX 512 /* of one namespace; more are left out */

typedef struct listeners listeners_t;

/** Call in the host's network namespace. NULL: out of memory, or no such namespace. */
listeners_t *listeners_new(void);
void listeners_destroy(listeners_t **listeners_p);

/** Before and after a round of looks: sockets that no look of the round saw are forgotten. */
void listeners_round_begin(listeners_t *listeners);
void listeners_round_end(listeners_t *listeners);

/**
 * A container that lives in another's namespace, or the host's: sockets held by its processes, by
 * control group, are its own and not theirs. Known until it is removed.
 *
 * @param pid  Its first process.
 */
void listeners_guest_set(listeners_t *listeners, const char *container_id, pid_t pid);
void listeners_guest_remove(listeners_t *listeners, const char *container_id);

/**
 * Add the lines "PROTO/PORT PID PROCESS" of a namespace to an ENDPOINT document, sorted, each once.
 *
 * @param pid    A process in it; 0: the host's.
 * @param guest  Only sockets of this guest; NULL: those that are no guest's.
 * @return Fingerprint of the lines.
 *
 * @retval 0  They cannot be read now; nothing was added.
 */
uint64_t listeners_add(listeners_t *listeners, pid_t pid, const char *guest, codec_doc_t *endpoint);

/** The fingerprint alone. */
uint64_t listeners_look(listeners_t *listeners, pid_t pid, const char *guest);

/** The thread is in another namespace and cannot leave it: what it sees is not the host's. */
bool listeners_lost(const listeners_t *listeners);
