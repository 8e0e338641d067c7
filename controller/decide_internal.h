/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/** @file What the files of a decision share; decide.h has its borders. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "controller/decide.h"

#define DECIDE_CANDIDATES_MAX 64 /* endpoints in one namespace that are told apart */

/** One decision on its way. */
struct decision {
	const struct decide_context *context;
	const struct codec_request *request;
	const struct directory_endpoint *reporter;
	struct flow_key key;
	struct pr_uuid source, destination; /* zero: not known */
	struct flow_near near_end;          /* what is known of the initiator */
	uint8_t unknown;                    /* CODEC_UNKNOWN_*, about the other end */
	uint64_t connection;
	/* Near end: who may be the destination, if several have its address. */
	size_t candidate_count;
	struct pr_uuid candidates[DECIDE_CANDIDATES_MAX];
};

/* -------------------------------------------------------------------------- decide_gather.c */

/** What a notice says of its near end. */
struct flow_near decide_near_of_notice(const struct codec_notice *notice,
                                       const struct directory_endpoint *reporter);
/** Who is at both ends, asked by the near one or for both: noted in the flow table. */
void decide_gather_near(struct decision *decision);
/** The same, asked by the far end: read from the flow table. */
enum decide_result decide_gather_far(struct decision *decision, bool may_wait);

/* ----------------------------------------------------------------------------- decide_ask.c */

/** What policy says of what was gathered; where several may be meant, of all of them. */
void decide_ask_policy(const struct decision *decision, struct policy_verdict *ret_said);
