/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/** @file A policy and endpoints of a given size, for suites that need a large deployment. */

#include <stdio.h>

#include "bench/deploy.h"

#define SAMPLE_GROUPS 100

/** What rule @p i of a sample says: between which groups, on which of @p ports ports. */
struct sample_rule {
	unsigned from, to, port;
};
struct sample_rule sample_rule_of(unsigned i, unsigned ports);
/**
 * Enforced default, SAMPLE_GROUPS groups and so many rules between them. Group N holds the
 * endpoints whose name begins with e and N. @p denies: every third rule denies, else all allow.
 */
void sample_policy_write(FILE *out, unsigned rules, unsigned ports, bool denies);
/**
 * The same, its last rule what the suites themselves ask for; variants differ in that rule. Caller
 * frees; NULL: out of memory.
 */
char *sample_policy_text(unsigned rules, unsigned variant);
/** Put endpoints into a controller's store before it starts: all of one agent. */
int sample_endpoints_store(struct deploy *deploy, const struct pr_uuid *agent,
                           unsigned count) _must_check_;
