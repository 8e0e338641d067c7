/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/**
 * @file
 * Open questions and the packets that wait for them. Fixed memory, no allocation after
 * pending_new().
 *
 * A held packet belongs to exactly one question from pending_hold() on; the only way to free a
 * question is pending_release(), which hands every packet to @p answer once. A question is born
 * denied. All questions have the same deadline, so the oldest is always the first to be late.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/gate/key.h"
#include "base/defs.h"
#include "codec/codec.h"

#define PENDING_NONE        UINT32_MAX
#define PENDING_PACKETS_PER 2 /* packets that may wait, for each question that may be open */

/** A packet in the kernel's queue. */
struct pending_packet {
	uint32_t id;
	uint32_t mark; /* as it came */
	uint32_t slot;
	uint32_t next; /* in this table */
	uint16_t queue;
};

/** What will happen to a question's packets. */
struct pending_decision {
	uint8_t action;     /* enum CODEC_ACTION_*; anything else denies */
	uint8_t decided_by; /* enum CODEC_DECIDED_BY_* */
};

struct pending_question {
	struct codec_request request; /* id, tuple, owners: also what the event is made of */
	struct gate_key key;
	uint64_t asked_ns;     /* monotonic */
	uint64_t seen_wall_ns; /* for the event */
	uint32_t endpoint;     /* index of the reporter in the gate's table of endpoints */
	uint32_t to_endpoint;  /* both ends: of who takes it */
	uint32_t pid;          /* at the reporting end */
	uint8_t owner_unknown; /* enum CODEC_UNKNOWN_* */
	uint32_t to_pid;       /* both ends: the same of who takes it */
	uint8_t to_unknown;
	bool nobody;     /* no endpoint of its namespace can be told */
	bool closed;     /* nobody listens, and whoever did so next might be another */
	bool translated; /* the request's wire destination is what was translated */
	struct pending_decision decision;

	/* the table's own */
	uint32_t packets;        /* first of the list */
	uint32_t bucket_next;    /* questions with the same hash */
	uint32_t older, younger; /* by age */
	bool open;
};

typedef struct pending pending_t;

/** Hands over one packet of a question that is being released. */
typedef void (*pending_answer_fn)(const struct pending_question *question,
                                  const struct pending_packet *packet, void *arg);

/** @param capacity  Questions; packets: PENDING_PACKETS_PER times as many. */
int pending_new(uint32_t capacity, const uint64_t secrets[static 2],
                pending_t **ret_pending) _must_check_;
/** Release everything first: what is still open here is a programming error. */
void pending_destroy(pending_t **pending_p);

uint32_t pending_count(const pending_t *pending);
uint32_t pending_count_slot(const pending_t *pending, uint32_t slot);

/** The open question of this key, or NULL. */
struct pending_question *pending_find(pending_t *pending, const struct gate_key *key);
/** The open question with this request id, or NULL. */
struct pending_question *pending_find_id(pending_t *pending, uint64_t id);
/** The oldest open question, or NULL. */
struct pending_question *pending_oldest(pending_t *pending);
/** Any open question of a namespace, or NULL. Slow: walks the table. */
struct pending_question *pending_find_slot(pending_t *pending, uint32_t slot);

/** A new question with its request.id set, everything else zero and denied; NULL: full. */
struct pending_question *pending_add(pending_t *pending, const struct gate_key *key,
                                     uint64_t now_ns);
/** Let a packet wait for a question. False: full, the caller must answer the packet itself. */
bool pending_hold(pending_t *pending, struct pending_question *question,
                  const struct pending_packet *packet) _must_check_;
bool pending_holds(const struct pending_question *question);
/** Answer all its packets and close the question; @p question is invalid after. */
void pending_release(pending_t *pending, struct pending_question *question,
                     pending_answer_fn answer, void *arg);
