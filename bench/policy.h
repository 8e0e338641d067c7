/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/** @file The policy suite's own export, inside bench/ alone. Threads: one. */

#include <stddef.h>

#include "base/defs.h"

/**
 * Write a policy of @p rules rules, all of them allow so that their order does not matter, as text
 * of Cedar, with @p requests requests (every second one made to match a rule), our verdicts on them
 * and our median ns a verdict, as one JSON object for bench/cedar/cedar.mjs.
 *
 * @param path      The file is made anew.
 * @param rules     1 to 60000.
 * @param requests  1 to 100000.
 * @param ret_ours_ns  Our median, as in the file.
 *
 * @retval PR_OK
 * @retval PR_EINVAL  Out of range.
 * @retval PR_EIO     The file could not be written.
 * @retval PR_ENOMEM
 */
int bench_policy_dump(const char *path, unsigned rules, size_t requests,
                      double *ret_ours_ns) _must_check_;
