/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/** @file Prints doc/protocol.md from the message table. For its program and its test only. */

#include <stdio.h>

#include "base/defs.h"

/**
 * Print the preamble as it is and the tables behind it.
 * @retval PR_OK
 * @retval PR_EIO  The preamble cannot be read or @p out not be written.
 */
int codec_protocol_print(FILE *out, const char *preamble_path) _must_check_;
