/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/** @file A part of the suite attribution: both ends of a connection as one. */

#include <stdint.h>

#include "bench/bench.h"
#include "bench/deploy.h"

/** Make @p count connections between two new hosts of the deployment; print join.*. */
int suite_join_run(const struct bench_config *config, struct deploy *deploy,
                   uint32_t count) _must_check_;
