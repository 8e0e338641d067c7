/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/**
 * @file
 * Which endpoint does a person mean? By exact name or UUID; else by the beginning of a UUID or
 * container ID (at least 4 characters); else by a part of the name. For the admin service's files.
 */

#include "controller/internal.h"

/** Endpoints that were found, hosts first, each followed by its containers. */
struct names {
	const struct directory_endpoint **found; /* malloc'd array, borrowed endpoints */
	size_t count, max;
	bool failed; /* out of memory */
};

void names_done(struct names *names);
/** As a visitor of directory_each(): takes every endpoint. */
bool names_take(void *arg, const struct directory_endpoint *endpoint);
/** In order of host and name. */
void names_sort(struct names *names);

/**
 * Find all that a name may mean, by the first way that finds any.
 * @retval PR_OK  Also if there is none.
 */
int names_find(struct admin *admin, const char *name, struct names *ret_names) _must_check_;

/**
 * The one that is meant.
 * @param groups  Where a group might be meant, too: its groups are among the suggestions. NULL:
 * not.
 * @retval PR_ENOENT  Said, with what may have been meant.
 * @retval PR_EAMBIG  Said, with the candidates as details.
 */
int names_find_one(struct call *call, const char *name, const policy_model_t *groups,
                   const struct directory_endpoint **ret_endpoint) _must_check_;
/** "" for NULL. */
const char *names_text(const char *text);
/** Answer with an ENDPOINT for each, then END (admin_endpoints.c). */
int admin_endpoints_send(struct call *call, struct names *names);
