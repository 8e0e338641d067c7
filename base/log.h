/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/**
 * @file
 * One line a message on stderr: `<priority>component: text` under a service manager (JOURNAL_STREAM
 * or NOTIFY_SOCKET set), else `time level component: text`.
 *
 * A file defines LOG_COMPONENT before it includes this. Libraries (base, codec, bus, store, policy)
 * log at debug only; daemons log once, where the error is handled. A warning ends with what happens
 * next. Peer strings go through pr_log_escape(). What a packet can trigger uses pr_log_limited().
 * Threads: any.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/defs.h"

enum pr_log_level {
	PR_LOG_ERROR,
	PR_LOG_WARN,
	PR_LOG_INFO,
	PR_LOG_DEBUG,
};

void pr_log_set_level(enum pr_log_level level);
void pr_log_write(enum pr_log_level level, const char *component, const char *format, ...)
	_printf_(3, 4);

#define log_error(...) pr_log_write(PR_LOG_ERROR, LOG_COMPONENT, __VA_ARGS__)
#define log_warn(...)  pr_log_write(PR_LOG_WARN, LOG_COMPONENT, __VA_ARGS__)
#define log_info(...)  pr_log_write(PR_LOG_INFO, LOG_COMPONENT, __VA_ARGS__)
#define log_debug(...) pr_log_write(PR_LOG_DEBUG, LOG_COMPONENT, __VA_ARGS__)

/** State of one rate-limited message; zero is ready. */
struct pr_log_limit {
	uint64_t window_start_ns;
	uint64_t suppressed; /* messages left out in this window */
};

/** True at most once a second for each @p limit; sets @p ret_suppressed to those left out. */
bool pr_log_limited(struct pr_log_limit *limit, uint64_t *ret_suppressed);

/**
 * Copy a peer's string for display: control characters, DEL, invalid UTF-8 and bidirectional
 * override characters become \xNN or \u{NNNN}. Always terminated; cut with "..." when too long.
 * Returns @p text.
 */
const char *pr_log_escape(const char *from, char *text, size_t size_bytes);
