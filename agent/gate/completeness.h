/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/**
 * @file
 * How much is known of the connections that this agent reports, as numbers: at the initiator's end
 * and at the terminator's, the user, the process, and who is at the other end; and why not. Pure.
 */

#include <stdint.h>

#include "codec/codec.h"

#define COMPLETENESS_REASONS 16 /* enum CODEC_UNKNOWN_*; a larger one counts as the last */

struct completeness_end {
	uint64_t seen;     /* connections reported at this end */
	uint64_t user;     /* of them, with a user (number) */
	uint64_t process;  /* with a process; the kernel's own sockets are known as such */
	uint64_t endpoint; /* whose other end is an enrolled endpoint that is known, */
	uint64_t stranger; /* or is nobody's of ours */
	uint64_t process_unknown[COMPLETENESS_REASONS];
	uint64_t endpoint_unknown[COMPLETENESS_REASONS];
};

/** By reporter: CODEC_REPORTER_INITIATOR, CODEC_REPORTER_TERMINATOR. */
struct completeness {
	struct completeness_end ends[2];
};

/**
 * Count an event. Malformed packets are no connections.
 * @param owner_unknown  Why this end's process is not known: enum CODEC_UNKNOWN_*, NONE: it is.
 * @param other_unknown  The same of the other end's endpoint.
 */
void completeness_add(struct completeness *completeness, const struct codec_event *event,
                      uint8_t owner_unknown, uint8_t other_unknown);
