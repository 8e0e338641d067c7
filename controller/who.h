/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/**
 * @file
 * Who stands at one end of a question about policy: the endpoints that a person's word means. For
 * the admin service's files.
 */

#include "controller/names.h"
#include "policy/reach.h"

struct who {
	struct policy_reach_end *ends;               /* malloc'd */
	const struct directory_endpoint **endpoints; /* malloc'd; NULL items: not enrolled */
	size_t count;
};

void who_done(struct who *who);

/**
 * A group of the policy (its members), an address (whoever has it, host-network
 * containers of a host included; nobody who is enrolled otherwise), `external` (nobody who is
 * enrolled), or the name of one endpoint. "" is everybody, and who is not enrolled behind them.
 *
 * @retval PR_ENOENT  Said: nobody, or a group without members.
 * @retval PR_EAMBIG  Said.
 */
int who_find(struct call *call, const struct draft_view *view, const char *word,
             struct who *ret_who) _must_check_;

/** "web_1", "192.0.2.7", "external". Returns @p text. */
const char *who_format(const struct who *who, size_t index, char *text, size_t size_bytes);
