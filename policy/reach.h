/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/**
 * @file
 * Who may reach whom, on what: an image asked for every pair of endpoints and every service that
 * its rules tell apart. Users and processes stay open: a row whose rule names them is conditional.
 * Modes play no part: it is about what rules and default say.
 */

#include "policy/policy.h"

/** Evaluations in one run: some seconds' worth. */
#define POLICY_REACH_TRIES_MAX (4U << 20)

/** Somebody at one end. */
struct policy_reach_end {
	struct pr_uuid id; /* all zero: nobody who is enrolled */
	bool has_address;
	struct pr_addr address; /* without one no rule on addresses matches */
};

/** A run of ports on which one rule allows one source to reach one destination. */
struct policy_reach_row {
	size_t source, destination; /* indexes of the ends given */
	bool other_protocols;       /* every protocol that no rule names */
	bool whole;                 /* the whole protocol */
	uint8_t proto;
	uint16_t first, last;
	uint32_t rule;    /* that allows; 0: a lifeline; conditional: the first that may */
	bool conditional; /* it depends on a user or process */
};

/**
 * @param visit  Rows in order of the ends given, protocol and port. False stops, which is no error.
 *
 * @retval PR_OK
 * @retval PR_ETOOBIG  More than POLICY_REACH_TRIES_MAX combinations: name fewer ends.
 * @retval PR_ENOMEM
 */
int policy_reach_run(const policy_model_t *model, const policy_image_t *image,
                     const struct policy_reach_end *sources, size_t source_count,
                     const struct policy_reach_end *destinations, size_t destination_count,
                     uint64_t now_wall_ns,
                     bool (*visit)(void *arg, const struct policy_reach_row *row),
                     void *arg) _must_check_;
