/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/** @file A policy and endpoints of a given size, for suites that need a large deployment. */

#include "bench/deploy.h"

#define SAMPLE_GROUPS 100

/**
 * So many rules between SAMPLE_GROUPS groups, selected by names of endpoints; an enforced default
 * and, last, what the suites themselves ask for. Variants differ in their last rule. Caller frees;
 * NULL: out of memory.
 */
char *sample_policy_text(unsigned rules, unsigned variant);
/** Put endpoints into a controller's store before it starts: all of one agent. */
int sample_endpoints_store(struct deploy *deploy, const struct pr_uuid *agent,
                           unsigned count) _must_check_;
