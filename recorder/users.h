/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/**
 * @file
 * Answers to USERS_GET: who was seen where, from the table that the store keeps beside the events.
 * A request gets a piece and, if there is more, what to ask for next; nothing is remembered between
 * two. Pure but for the store. One thread.
 */

#include "base/defs.h"
#include "bus/bus.h"
#include "codec/codec.h"
#include "recorder/comments.h"
#include "recorder/groups.h"
#include "recorder/names.h"
#include "store/history.h"

#define RECORDER_USERS_READ 5000 /* rows looked at for one request */
#define RECORDER_USERS_SENT 100  /* rows sent for one request */
#define RECORDER_USERS_ONE  40   /* the same if each has its last connections */

struct recorder_users_setup {
	store_history_t *history; /* all borrowed */
	const recorder_names_t *names;
	recorder_comments_t *comments;
	recorder_groups_t *groups;
	uint64_t now_ns;
	void *arg;
	int (*send)(void *arg, const struct bus_route *route, const void *data, size_t size_bytes);
};

/**
 * Answer at once.
 * @retval PR_OK      Answered, or the peer does not take it.
 * @retval PR_EINVAL  What it wants to go on from is nothing of ours.
 */
int recorder_users_answer(const struct recorder_users_setup *setup, const struct bus_route *route,
                          const codec_doc_t *request) _must_check_;
