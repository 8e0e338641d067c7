/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/**
 * @file
 * The event history: events of agents with the names of their ends as they were then. One process
 * writes and reads; other processes may read. How rows lie on disk is nobody's business outside
 * (blocks by column come later).
 *
 * Errors and threads as in store/store.h. A full disk or map changes nothing and is PR_ENOSPC.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/defs.h"
#include "base/id.h"
#include "codec/codec.h"

typedef struct store_history store_history_t;

struct store_history_options {
	const char *path;     /* directory of its own; a writer creates it 0700 */
	uint64_t map_bytes;   /* upper bound of the file; 0: 16 GiB */
	uint64_t keep_bytes;  /* the oldest events go beyond it; 0: three quarters of map_bytes */
	uint64_t keep_events; /* the oldest go beyond it; 0: no bound */
	bool read_only;
};

int store_history_open(const struct store_history_options *options,
                       store_history_t **ret_history) _must_check_;
void store_history_destroy(store_history_t **history_p);
/** As store_readers_check(). */
int store_history_readers_check(store_history_t *history);

/** What was known of an end when the event came; empty or NULL: nothing. */
struct store_end_names {
	const char *name;
	const char *kind; /* host, container, external */
	const char *container_id;
	const char *image;
	const char *host; /* name of the host it lives on */
};

struct store_row {
	struct pr_uuid agent; /* who reported */
	struct codec_event event;
	struct store_end_names src, dst;
	const char *rule_comment; /* of the rule under that revision; empty or NULL: none */
	/** Endpoint of this agent at which its user was, for store_history_users(); null UUID: not
	 * told; NULL: it does not count. Not stored. */
	const struct pr_uuid *user_at;
};

/** Where a row lies: rows are in this order, and no two have the same. */
struct store_row_key {
	uint64_t time_wall_ns;
	struct pr_uuid agent;
	uint64_t seq;
};

struct store_row_key store_row_key_of(const struct store_row *row);
/** Below, at or above 0, as memcmp(). */
int store_row_key_compare(const struct store_row_key *a, const struct store_row_key *b);

/** What an agent's numbers tell. */
struct store_agent {
	struct pr_uuid id;
	uint64_t last_seq;        /* highest committed; acknowledged */
	uint64_t stored;          /* events committed since ever, whatever was thrown away since */
	uint64_t gap_count;       /* numbers skipped without a word */
	uint64_t lost_count;      /* numbers that the agent said never come (its spool was full) */
	uint64_t duplicate_count; /* sent again though committed; ignored */
	uint64_t late_count;      /* below last_seq, yet not stored before; stored */
	uint64_t last_wall_ns;    /* time of its newest event */
};

/** Events of one agent, in the order of their numbers. */
struct store_batch {
	struct pr_uuid agent;
	const struct store_row *rows; /* agent is taken from the batch */
	size_t count;
	/* filled: */
	struct store_agent state; /* after the commit */
	size_t stored;            /* of count, the rest were duplicates */
};

/**
 * Commit batches, all in one transaction. An event that is stored already is ignored; numbers left
 * out are counted as a gap. Beyond the bounds the oldest events are deleted in the same
 * transaction.
 *
 * @param batches  An agent may appear more than once. Filled only on success.
 *
 * @retval PR_OK      Everything is on disk: acknowledge state.last_seq.
 * @retval PR_ENOSPC  Nothing was stored; keep the events and try again.
 */
int store_history_append(store_history_t *history, struct store_batch *batches,
                         size_t count) _must_check_;

/**
 * An agent says that numbers never come. They count as lost; those beyond its last number move it.
 */
int store_history_lost(store_history_t *history, const struct pr_uuid *agent, uint64_t first_seq,
                       uint64_t count, struct store_agent *ret_state) _must_check_;

/** PR_ENOENT: never heard of it. */
int store_history_agent(store_history_t *history, const struct pr_uuid *agent,
                        struct store_agent *ret_state) _must_check_;
/** All agents, in order of id; false stops. */
int store_history_agents(store_history_t *history,
                         bool (*visit)(void *arg, const struct store_agent *state),
                         void *arg) _must_check_;

/** Where reading stands; zero: at the start. */
struct store_position {
	uint8_t bytes[32];
	bool set;
};

struct store_range {
	uint64_t since_wall_ns; /* events at this time or later; 0: no bound */
	uint64_t until_wall_ns; /* events before this time; 0: no bound */
	bool newest_first;
};

/**
 * Read on in a range, in order of time, and stop after @p max_rows at most: a reader that lingers
 * keeps the file from reusing pages, so read a piece, send it, come back.
 *
 * @param position   In and out; zeroed before the first call.
 * @param visit      The row is borrowed for the call; false stops (the row counts as read).
 * @param ret_more   True: the end was not reached.
 *
 * Rows that do not check (PR_ECORRUPT) are skipped and counted in store_history_stats.
 */
int store_history_read(store_history_t *history, const struct store_range *range, size_t max_rows,
                       struct store_position *position,
                       bool (*visit)(void *arg, const struct store_row *row), void *arg,
                       bool *ret_more) _must_check_;

/** The row at a place, as store_history_get(). */
int store_history_row(store_history_t *history, const struct store_position *position,
                      bool (*visit)(void *arg, const struct store_row *row),
                      void *arg) _must_check_;

/* ---- users: who was seen where, counted as events are committed ---- */

#define STORE_USERS_PER_AGENT_MAX 4096
#define STORE_USER_PROGRAMS_MAX   8
#define STORE_USER_LAST_MAX       8
#define STORE_USER_EXE_BYTES      129

struct store_user_program {
	char exe[STORE_USER_EXE_BYTES];
	uint64_t connections;
	uint64_t last_wall_ns;
};

/** A user (number and name) at one endpoint. */
struct store_user {
	struct pr_uuid agent, endpoint;
	uint32_t uid;
	char name[33];        /* empty: none */
	uint64_t connections; /* events with it, since the first */
	uint64_t denied;      /* of these, denied or rejected */
	uint64_t first_wall_ns, last_wall_ns;
	struct store_user_program programs[STORE_USER_PROGRAMS_MAX]; /* used last */
	size_t program_count;
	uint64_t programs_gone;                          /* times that one made room for another */
	struct store_position last[STORE_USER_LAST_MAX]; /* newest events, newest first */
	size_t last_count;
};

/** Where reading of users stands; zero: at the start. */
struct store_user_place {
	uint8_t bytes[72];
	size_t size_bytes;
};

/**
 * Read on among the users, in no order that means something, and stop after @p max_rows.
 *
 * An agent has at most STORE_USERS_PER_AGENT_MAX of them and all together take no more than a
 * fraction of the file. Beyond it those that were not seen for 30 days make room, then new ones are
 * refused, and counted.
 *
 * @param ret_more  True: the end was not reached.
 */
int store_history_users(store_history_t *history, struct store_user_place *place, size_t max_rows,
                        bool (*visit)(void *arg, const struct store_user *user), void *arg,
                        bool *ret_more) _must_check_;

/**
 * One row. It is borrowed for the call of @p visit, whose result is not looked at.
 * @retval PR_ENOENT  It is not there, or not any more.
 */
int store_history_get(store_history_t *history, const struct store_row_key *key,
                      bool (*visit)(void *arg, const struct store_row *row),
                      void *arg) _must_check_;

struct store_history_stats {
	uint64_t events;         /* stored now */
	uint64_t bytes;          /* that they take */
	uint64_t file_bytes;     /* of the file; never shrinks */
	uint64_t map_bytes;      /* upper bound */
	uint64_t deleted;        /* thrown away by the bounds, since ever */
	uint64_t corrupt;        /* rows skipped by this handle */
	uint64_t oldest_wall_ns; /* 0: none */
	uint64_t newest_wall_ns;
	uint64_t users;         /* rows of store_history_users() */
	uint64_t users_refused; /* events whose user found no room there, since ever */
};
int store_history_stats(store_history_t *history,
                        struct store_history_stats *ret_stats) _must_check_;
