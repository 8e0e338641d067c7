/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/**
 * @file
 * Two changes of one policy brought together by meaning: rules by their numbers, all other lines by
 * what they say, wherever they stand. Merging texts line by line stumbles when two people add a
 * rule behind the same one; this does not.
 */

#include "policy/policy.h"

/** Lines of mine that differ from the base: more are merged as text. */
#define POLICY_MERGE_CHANGES_MAX 1000U

/**
 * Do to @p theirs what @p mine did to @p base.
 *
 * @retval PR_OK
 * @retval PR_ECONFLICT  Both changed one rule or one line, or both gave a number to different
 * rules; or mine changed remarks, whose place only a person knows; or too much differs.
 * @retval PR_EPOLICY    Each is good, together they are not: see @p errors.
 * @retval PR_ENOMEM
 */
int policy_merge(const policy_model_t *base, const policy_model_t *mine,
                 const policy_model_t *theirs, struct policy_errors *errors,
                 policy_model_t **ret_model) _must_check_;
