/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/**
 * @file
 * Small changes of a policy text, as people and the web console make them: a rule more, a rule
 * less, another number, another status. Every line that is not named keeps its bytes.
 *
 * Each function makes a new model and leaves the old one as it is. A result with errors is no
 * model: PR_EPOLICY, and @p errors has lines of the new text.
 */

#include "policy/policy.h"

/** Room that the next number leaves for rules in between. */
#define POLICY_CHANGE_STEP 10U

/**
 * Add a line. `allow from ...` (also deny, reject, staged) gets the last rule's number and
 * POLICY_CHANGE_STEP; `40 allow ...` and `rule 40 allow ...` their own; any other line of the
 * grammar (group, expect, mode, ...) is added as it is. A rule goes behind the one with the next
 * lower number, everything else behind the last line of its kind.
 *
 * @param line        One line without newline.
 * @param ret_number  Of the rule; 0: no rule. May be NULL.
 * @param ret_line    Index of the new line; set also with PR_EPOLICY. May be NULL.
 *
 * @retval PR_OK
 * @retval PR_EPOLICY
 * @retval PR_ETOOBIG  Longer than POLICY_LINE_MAX_BYTES, or no number is left.
 * @retval PR_EINVAL   Not one line.
 * @retval PR_ENOMEM
 */
int policy_change_add(const policy_model_t *model, const char *line, struct policy_errors *errors,
                      policy_model_t **ret_model, uint32_t *ret_number,
                      size_t *ret_line) _must_check_;

/** Take a rule out. PR_ENOENT: no such number. */
int policy_change_remove(const policy_model_t *model, uint32_t number, struct policy_errors *errors,
                         policy_model_t **ret_model) _must_check_;

/** Take all lines of a group out. PR_ENOENT: no such group. PR_EPOLICY: something names it. */
int policy_change_group_remove(const policy_model_t *model, const char *group,
                               struct policy_errors *errors,
                               policy_model_t **ret_model) _must_check_;

/** The same of a usergroup. */
int policy_change_usergroup_remove(const policy_model_t *model, const char *usergroup,
                                   struct policy_errors *errors,
                                   policy_model_t **ret_model) _must_check_;

/** Give a rule another number, and its place. PR_ENOENT: no such rule; PR_EEXIST: taken. */
int policy_change_move(const policy_model_t *model, uint32_t number, uint32_t to,
                       struct policy_errors *errors, policy_model_t **ret_model) _must_check_;

/** Enable, disable or stage a rule. PR_ENOENT: no such rule; PR_EEXIST: it is so already. */
int policy_change_status(const policy_model_t *model, uint32_t number, enum policy_status status,
                         struct policy_errors *errors, policy_model_t **ret_model) _must_check_;
