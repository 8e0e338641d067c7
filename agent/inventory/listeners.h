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

#include "agent/inventory/guests.h"
#include "base/defs.h"
#include "codec/codec.h"

#define LISTENERS_MAX 512 /* of one namespace; more are left out */

typedef struct listeners listeners_t;

/**
 * Call in the host's network namespace. NULL: out of memory, or no such namespace.
 * @param guests  Whose sockets are told apart from their neighbours'. Borrowed.
 */
listeners_t *listeners_new(guests_t *guests);
void listeners_destroy(listeners_t **listeners_p);

/** Before and after a round of looks: sockets that no look of the round saw are forgotten. */
void listeners_round_begin(listeners_t *listeners);
void listeners_round_end(listeners_t *listeners);

/**
 * Add the lines "PROTO/PORT PID PROCESS" of a namespace to an ENDPOINT document, sorted, each once.
 *
 * @param path   Its file, of a process or mounted; NULL: the host's.
 * @param guest  Only sockets of this guest; NULL: those that are no guest's.
 * @return Fingerprint of the lines.
 *
 * @retval 0  They cannot be read now; nothing was added.
 */
uint64_t listeners_add(listeners_t *listeners, const char *path, const char *guest,
                       codec_doc_t *endpoint);

/** The fingerprint alone. */
uint64_t listeners_look(listeners_t *listeners, const char *path, const char *guest);

/**
 * Run @p fn in a namespace and come back.
 * @return What @p fn returns, or why it could not be run.
 */
int listeners_visit(listeners_t *listeners, const char *path, int (*fn)(void *arg),
                    void *arg) _must_check_;

/** The thread is in another namespace and cannot leave it: what it sees is not the host's. */
bool listeners_lost(const listeners_t *listeners);
