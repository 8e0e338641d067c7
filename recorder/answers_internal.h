/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/** @file One answer and its table. For answers.c and answers_joined.c alone. */

#include "policy/query.h"
#include "recorder/answers.h"
#include "recorder/join.h"
#include "recorder/record.h"

enum phase {
	PHASE_FREE,
	PHASE_COUNT,  /* back from the newest, to find where the wanted number begins */
	PHASE_STREAM, /* forward, sending */
	PHASE_FOLLOW,
};

struct answer {
	enum phase phase;
	struct bus_route route;
	struct pr_uuid peer;
	uint64_t id;
	policy_query_t *query;
	struct store_range range;
	struct store_position position;
	struct store_row_key first; /* to be sent; all zero: no bound */
	struct store_row_key last;  /* read last while streaming */
	uint64_t limit;             /* 0: none */
	uint64_t matched;
	uint64_t sent;
	uint64_t lost; /* rows that a follower did not take and has not been told of */
	bool follow;
	bool enough;       /* nobody asks whether more match than the limit */
	bool counted;      /* the limit is reached and that is enough */
	bool more_matched; /* than the limit */
	bool waits;        /* for room in the peer's queue */
	uint64_t expires_ns;
	uint8_t *unsent; /* a row that found no room */
	size_t unsent_bytes;
	recorder_join_t *join; /* NULL: rows are events */
	bool read;             /* joined: the whole range */
	bool ready;            /* joined: there is more to be taken before reading on */
};

struct recorder_answers {
	struct recorder_answers_setup setup;
	struct recorder_answers_counters counters;
	struct answer answers[RECORDER_ANSWERS_MAX];
	struct answer *current; /* being stepped */
	uint64_t now_ns;        /* of the step */
	char scratch[RECORDER_SCRATCH_BYTES];
};

/* answers.c */

/** A complete record if the row is wanted. */
bool answers_row_matches(recorder_answers_t *answers, const struct answer *answer,
                         const struct store_row *row, struct recorder_record *record);
/** False: the answer is over, the peer has gone. What finds no room is kept: the answer waits. */
bool answers_send_or_keep(recorder_answers_t *answers, struct answer *answer, uint8_t **data_p,
                          size_t size_bytes);
/** To a follower, who loses it when he has no room. */
void answers_follower_send(recorder_answers_t *answers, struct answer *answer, const uint8_t *data,
                           size_t size_bytes);
/** END, or from reading to following. */
void answers_stream_end(recorder_answers_t *answers, struct answer *answer);
void answers_end(recorder_answers_t *answers, struct answer *answer);

/* answers_joined.c */

/** Make an answer a joined one. PR_EBUSY, PR_EINVAL with @p problem, PR_ENOMEM. */
int answers_joined_start(recorder_answers_t *answers, struct answer *answer, bool more,
                         char problem[static 256]) _must_check_;
/** A piece of the history. */
void answers_joined_read(recorder_answers_t *answers, struct answer *answer);
/** What is ready for a follower. */
void answers_joined_follow(recorder_answers_t *answers, struct answer *answer);
/** A row was committed. */
void answers_joined_row(recorder_answers_t *answers, struct answer *answer,
                        const struct store_row *row);
/** For END. */
void answers_joined_say(const struct answer *answer, char text[static 256]);
/** Add what a joined answer has counted. */
void answers_joined_count(struct recorder_answers_counters *counters, const struct answer *answer);
