/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/**
 * @file
 * Undoing translation: the question to a connection table (ctnetlink) and its answer. Pure.
 *
 * A packet that arrives at a container shows the end of a translated path. The host's entry is
 * found by its answering direction, which is the packet seen, turned around; its original direction
 * is the flow as it was on the wire. A packet that leaves a container shows the begin of such a
 * path: its entry is found by its original direction, and the answering one, turned around, is the
 * flow on the wire.
 * Source: linux/netfilter/nfnetlink_conntrack.h.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/part.h"
#include "base/defs.h"

#define TRANSLATION_REQUEST_MAX_BYTES 160

/** An entry of a connection table. */
struct translation_entry {
	struct part_flow original; /* protocol, addresses and ports */
	struct part_flow wire;     /* the answering direction turned around */
	bool closed;               /* TCP: the connection is over or about to be */
};

/** Has this flow ports, or is it an ICMP echo, so that it can be looked up? */
bool translation_fits(const struct part_flow *flow);

/**
 * Ask for the entry of a packet.
 *
 * @param sent  False: as seen behind the translation; true: as sent before it.
 * @param data  TRANSLATION_REQUEST_MAX_BYTES.
 * @return      Bytes written; 0: this flow is not looked up (translation_fits()).
 */
size_t translation_request_write(const struct part_flow *seen, bool sent, uint32_t sequence,
                                 uint8_t *data);

/**
 * Read a datagram of answers.
 *
 * @retval PR_OK
 * @retval PR_ENOENT  The table has no such entry (or refused).
 * @retval PR_EAGAIN  Nothing in it was for @p sequence: read on.
 * @retval PR_EMALF
 */
int translation_answer_read(const uint8_t *data, size_t size_bytes, uint32_t sequence,
                            struct translation_entry *ret_entry) _must_check_;
