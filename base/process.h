/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/** @file Facts about other processes. Threads: any. */

#include <stdint.h>

/**
 * Start time of a process in clock ticks since boot: with its number it names one process, though
 * numbers are used again. 0: it has gone. Source: proc(5), /proc/PID/stat field 22.
 */
uint64_t pr_process_start_ticks(int32_t pid);
