/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/**
 * @file
 * The keeper's thread: takes orders, enters namespaces, sets rules, and reports, all by the
 * fixed-size structs of agent/part.h over a SOCK_SEQPACKET pair. Descriptors travel as SCM_RIGHTS,
 * so that this can become a process of its own.
 *
 * A namespace that several endpoints share has one slot; its mode is the strictest of theirs. Rules
 * of an earlier agent that stand in enforce are adopted and stay in enforce until a mode order says
 * otherwise. Every second each namespace's rules are looked at; rules that another program removed
 * are set again and that is reported. In observe only the log is bound; the queue is bound on the
 * way to enforce, so that observe can never hold a packet.
 *
 * Threads: the functions here belong to one thread, which must read reports promptly.
 */

#include <stddef.h>

#include "agent/keeper/keeper.h"
#include "agent/part.h"
#include "base/defs.h"

typedef struct keeper_thread keeper_thread_t;

/**
 * @param config  For every namespace; `host` and the lifeline are set by orders.
 * @param ops     keeper_kernel_ops, or a fake. Borrowed for good.
 * @param ret_thread  Untouched on failure. Caller destroys.
 */
int keeper_thread_start(const struct keeper_config *config, const struct keeper_ops *ops,
                        keeper_thread_t **ret_thread) _must_check_;

/** Ends the thread without removing a rule, if a STOP order has not. Reports left are lost. */
void keeper_thread_destroy(keeper_thread_t **thread_p);

/** Readable when a report waits. */
int keeper_thread_fd(const keeper_thread_t *thread);

/** PR_EAGAIN: the keeper is busy and its queue of orders is full; try again soon. */
int keeper_thread_order(keeper_thread_t *thread, const struct part_order *order) _must_check_;

/**
 * Take a report; the caller owns its descriptors.
 * @retval PR_EAGAIN  None waits.
 * @retval PR_EIO     The thread has gone.
 */
int keeper_thread_report(keeper_thread_t *thread, struct part_report *ret_report) _must_check_;
