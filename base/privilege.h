/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/**
 * @file
 * What a daemon gives up at its start. Logs each failure, as it belongs to main(); every failure
 * must stop the start.
 */

#include "base/defs.h"

/**
 * Become @p user with his groups, if we are root; NULL or "": stay.
 * @retval PR_ENOENT  No such user.
 * @retval PR_EPERM   Or another errno of the step that failed.
 */
int pr_privilege_switch(const char *user) _must_check_;

/**
 * pr_privilege_switch(), then give up every capability for ever (bounding set, no_new_privs), core
 * files and ptrace by the same user: keys are in this memory. Call before threads exist.
 */
int pr_privilege_drop(const char *user) _must_check_;
