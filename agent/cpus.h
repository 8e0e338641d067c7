/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/**
 * @file
 * Puts the main thread and the bus's on one CPU, or lets them go (together.h decides). Source of
 * what a thread had: /proc/PID/task/TID/schedstat, the kernel's
 * Documentation/scheduler/sched-stats; without it they are left alone. CPUs that the threads were
 * given from outside are never exceeded. Threads: the main one. One that it starts while it is on
 * one CPU would stay there: start all of them before the first turn.
 */

#include <stdint.h>

#include "base/defs.h"

typedef struct cpus cpus_t;

/**
 * The bus's threads may begin later: they are looked for in the first seconds.
 * @retval PR_ENOTSUP  One CPU alone, or no figures of threads.
 */
int cpus_new(uint64_t now_ns, cpus_t **ret_cpus) _must_check_;
/** Every thread may run where it might before. Call it while the bus's threads run. */
void cpus_destroy(cpus_t **cpus_p);
/** At each turn; looks ten times a second. */
void cpus_turn(cpus_t *cpus, uint64_t now_ns);
