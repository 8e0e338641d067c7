/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/** @file Limits of storing and of memory: LMDB appends, fsync, loads that wait for each other. */

#include "bench/bench.h"

/** Print their rows. @p folder  On the disk that is measured. */
int storage_measure(const struct bench_config *config, const char *folder) _must_check_;

/** ns of one load that depends on the one before, in 64 MiB: what a cache miss costs. */
double storage_random_load_ns(void);
