/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "agent/gate/completeness.h"

static uint64_t *reason_of(uint64_t reasons[COMPLETENESS_REASONS], uint8_t reason)
{
	return &reasons[reason < COMPLETENESS_REASONS ? reason : COMPLETENESS_REASONS - 1];
}

void completeness_add(struct completeness *completeness, const struct codec_event *event,
                      uint8_t owner_unknown, uint8_t other_unknown)
{
	if (event->reporter > CODEC_REPORTER_TERMINATOR ||
	    owner_unknown == CODEC_UNKNOWN_MALFORMED || other_unknown == CODEC_UNKNOWN_MALFORMED) {
		return;
	}
	struct completeness_end *end = &completeness->ends[event->reporter];
	const struct pr_uuid *other = event->reporter == CODEC_REPORTER_INITIATOR
	                                      ? &event->dst_endpoint
	                                      : &event->src_endpoint;
	end->seen++;
	end->user += event->uid != CODEC_NO_UID;
	if (owner_unknown == CODEC_UNKNOWN_NONE || owner_unknown == CODEC_UNKNOWN_KERNEL) {
		end->process++;
	} else {
		(*reason_of(end->process_unknown, owner_unknown))++;
	}
	if (!pr_uuid_is_null(other)) {
		end->endpoint++;
	} else if (other_unknown == CODEC_UNKNOWN_NONE) {
		end->stranger++;
	} else {
		(*reason_of(end->endpoint_unknown, other_unknown))++;
	}
}
