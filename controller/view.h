/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/**
 * @file
 * What one process knows now: identity directory, policy model, compiled image. It follows store
 * and authority: view_refresh() reads what has changed, compiles beside the image in use, and swaps
 * the pointer. What cannot be read or compiled leaves the last good image in use, and is counted.
 * A revision never goes back.
 *
 * Threads: one at a time.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/defs.h"
#include "controller/authority.h"
#include "controller/directory.h"
#include "controller/quarantine.h"
#include "policy/policy.h"
#include "store/store.h"

struct view_counters {
	uint64_t refreshes, compiles, failures, bad_endpoints;
};

/** Read-only for users; valid until the next refresh. */
struct view {
	store_t *store; /* borrowed; NULL: directory and policy are put in by hand (tests) */
	struct authority authority;
	directory_t *directory;
	uint64_t directory_version;
	policy_model_t *model; /* NULL until the first policy was read */
	policy_image_t *image; /* NULL until the first policy was compiled */
	uint64_t revision;     /* of the model */
	uint64_t fingerprint;  /* of the directory that the image was compiled for */
	uint64_t rule_count;
	struct quarantine_set quarantine;
	struct view_counters counters;
};

int view_init(struct view *view, store_t *store, struct authority authority) _must_check_;
void view_done(struct view *view);

/**
 * Read what has changed. Cheap when nothing has.
 * @param ret_changed  May be NULL. True: directory or image is another one.
 * @return The first error; what could be read was taken all the same.
 */
int view_refresh(struct view *view, bool *ret_changed);

/**
 * The directory alone, which costs what has changed and not what is there: the image may be of an
 * older one until view_refresh().
 * @param ret_changed  May be NULL. Set if so, else left.
 */
int view_refresh_directory(struct view *view, bool *ret_changed);
