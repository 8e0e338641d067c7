/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/**
 * @file
 * What was decided a moment ago. A repeat of the same attempt (a SYN sent again, the INPUT side of
 * loopback, the next datagram of a refused flow) gets the same answer for a short time without a
 * question; after that it is asked again, but a same outcome is not recorded as a new event.
 *
 * Fixed memory: sets of a few places; the place that was used longest ago goes. Losing an entry
 * costs a question, never a wrong answer.
 */

#include <stdbool.h>
#include <stdint.h>

#include "agent/gate/key.h"
#include "base/defs.h"

#define DECIDED_SET_PLACES     8
#define DECIDED_FORGET_TCP_S   130 /* the last SYN of one connect() comes within 127 s */
#define DECIDED_FORGET_OTHER_S 30  /* idle so long, it is a new flow to conntrack as well */
#define DECIDED_NEVER_REUSE    0

struct decided_outcome {
	uint8_t action;  /* enum CODEC_ACTION_*, what was done to the packet */
	uint8_t verdict; /* enum CODEC_EVENT_VERDICT_* of the event */
	uint32_t rule;
	uint64_t revision;
};

typedef struct decided decided_t;

int decided_new(uint32_t capacity, const uint64_t secrets[static 2],
                decided_t **ret_decided) _must_check_;
void decided_destroy(decided_t **decided_p);

/** Remember an outcome that may be reused until @p reuse_until_ns. */
void decided_put(decided_t *decided, const struct gate_key *key,
                 const struct decided_outcome *outcome, uint64_t now_ns, uint64_t reuse_until_ns);
/** May this attempt be answered as before? */
bool decided_reuse(decided_t *decided, const struct gate_key *key, uint64_t now_ns,
                   struct decided_outcome *ret_outcome);
/** Was exactly this outcome recorded for this attempt already? */
bool decided_recorded(decided_t *decided, const struct gate_key *key,
                      const struct decided_outcome *outcome, uint64_t now_ns);
/** Nothing may be reused any more; what was recorded stays recorded. */
void decided_expire(decided_t *decided);
