/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/**
 * @file
 * Undoing translation: the question to a connection table (ctnetlink) and its answer. Pure.
 *
 * A packet that arrives at a container shows the end of a translated path. The host's entry is
 * found by its answering direction, which is the packet seen, turned around; its original direction
 * is the flow as it was on the wire.
 * Source: linux/netfilter/nfnetlink_conntrack.h.
 */

#include <stddef.h>
#include <stdint.h>

#include "agent/part.h"
#include "base/defs.h"

#define TRANSLATION_REQUEST_MAX_BYTES 160

/**
 * @param seen      As at INPUT behind the translation.
 * @param data      TRANSLATION_REQUEST_MAX_BYTES.
 * @return          Bytes written; 0: this protocol is not looked up (no ports).
 */
size_t translation_request_write(const struct part_flow *seen, uint32_t sequence, uint8_t *data);

/**
 * Read a datagram of answers.
 *
 * @retval PR_OK      @p ret_original has protocol, addresses and ports of the original direction.
 * @retval PR_ENOENT  The table has no such entry (or refused).
 * @retval PR_EAGAIN  Nothing in it was for @p sequence: read on.
 * @retval PR_EMALF
 */
int translation_answer_read(const uint8_t *data, size_t size_bytes, uint32_t sequence,
                            struct part_flow *ret_original) _must_check_;
