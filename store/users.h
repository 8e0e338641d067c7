/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/**
 * @file
 * The users that events tell of, counted in the transaction that stores the events, so that neither
 * a crash nor an event that is sent again can make them differ. For store/ alone.
 */

#include "store/history.h"
#include "store/internal.h"

struct store_users;

/**
 * @param user_database   agent, endpoint, uid, name -> counts
 * @param agent_database  agent -> how many it has
 * @param max_bytes       of the first; beyond it there are no new ones
 * @return NULL: out of memory.
 */
struct store_users *store_users_new(unsigned user_database, unsigned agent_database,
                                    uint64_t max_bytes);
void store_users_destroy(struct store_users **users_p);

/** A write begins; what another left unwritten is forgotten. */
void store_users_begin(struct store_users *users, struct store_txn *txn);
/** An event is stored for the first time, under @p key. */
void store_users_note(struct store_users *users, const struct pr_uuid *agent,
                      const struct store_row *row, const struct store_key *key);
/** Write what was noted. Errors stick to the transaction. */
void store_users_end(struct store_users *users);

/** As store_history_users(). */
int store_users_read(struct store_txn *txn, unsigned user_database, struct store_user_place *place,
                     size_t max_rows, bool (*visit)(void *arg, const struct store_user *user),
                     void *arg, bool *ret_more);
/** Events whose user found no room. */
uint64_t store_users_refused(struct store_txn *txn, unsigned agent_database);
