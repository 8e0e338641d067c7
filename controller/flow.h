/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/**
 * @file
 * The flow table of a worker: what near ends said a few seconds ago, so that the far end of the
 * same flow knows who started it. Bounded in count and time; what is full throws its oldest away
 * and counts it: a far end then finds nothing, and unknown is never an allow by itself.
 *
 * Threads: one at a time. Pure: no socket, the time is an argument.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/clock.h"
#include "base/defs.h"
#include "base/id.h"

#define FLOW_LIFE_NS       (5 * PR_NS_PER_S)
#define FLOW_WAIT_NS       (50 * PR_NS_PER_MS)
#define FLOW_COUNT_MAX     65536
#define FLOW_SAME_PORT_MAX 16 /* kept under one key and source port; the oldest goes */

/** As it is on the wire between two hosts. */
struct flow_key {
	uint8_t proto;
	uint16_t wire_dst_port;
	struct pr_addr wire_src, wire_dst;
};

/** What a near end told. */
struct flow_near {
	struct pr_uuid initiator; /* endpoint that started it */
	struct pr_uuid host;      /* on which it lives */
	uint64_t namespace_inode; /* where; 0 unknown */
	uint64_t request_id;      /* the same again is the same connection */
	uint16_t src_port;        /* on the wire; 0: not known or the protocol has none */
	uint32_t attempt;         /* TCP: sequence number of its SYN; 0: not known */
	uint8_t from_state;       /* enum codec_enum_value CODEC_KNOWN_* */
	uint8_t unknown;          /* CODEC_UNKNOWN_*: why something about it is not known */
	uint32_t uid;             /* CODEC_NO_UID: not known */
	char user[33];            /* empty: not known */
	char exe[129];            /* empty: not known */
	uint64_t connection;      /* 0: flow_table_put() gives it one */
};

/** Who asks at the far end. */
struct flow_query {
	struct pr_uuid host;      /* of the reporter */
	uint64_t namespace_inode; /* of the reporter; 0 unknown */
	uint16_t src_port;        /* 0: not known, or none: finds only near ends without one */
	uint32_t attempt;         /* TCP: sequence number of its SYN; 0: not known */
	bool last;     /* it has waited: a near end of another sequence number is taken, too, for
	                  something between the hosts may have changed it */
	bool local;    /* the wire source belongs to a container network of this host: only a near
	                  end of this host can have started it */
	bool loopback; /* the wire source is a loopback address: only one of this namespace can */
};

enum flow_match {
	FLOW_NONE,
	FLOW_FOUND,
	FLOW_AMBIGUOUS, /* several near ends fit, and they differ in who they are */
};

struct flow_counters {
	uint64_t put, replaced, expired, evicted;
};

typedef struct flow_table flow_table_t;

/**
 * @param count_max  Entries; memory is used as they come.
 * @param secret     Makes the hash unpredictable to peers.
 * @return NULL: out of memory.
 */
flow_table_t *flow_table_new(size_t count_max, uint64_t secret);
void flow_table_destroy(flow_table_t **table_p);

/**
 * Note a near end. The same initiator again with the same source port, while no far end has asked,
 * is the same connection (a retransmission); later it is another one (a port used again). What the
 * near end was told already (a notice brings it) stands.
 *
 * @return The connection's id, never 0.
 */
uint64_t flow_table_put(flow_table_t *table, const struct flow_key *key,
                        const struct flow_near *near_end, uint64_t now_ns);

/**
 * Who started this flow? Near ends with the query's source port and those without one fit; those of
 * the same attempt before others. A match is noted as used, and is of no other attempt any more: a
 * port that is used again, also by somebody else behind the same address, waits for its own near
 * end.
 * @param ret_near  Only for FLOW_FOUND; valid until the next put or expire.
 */
enum flow_match flow_table_find(flow_table_t *table, const struct flow_key *key,
                                const struct flow_query *query, uint64_t now_ns,
                                const struct flow_near **ret_near);

/** Forget what is older than FLOW_LIFE_NS. */
void flow_table_expire(flow_table_t *table, uint64_t now_ns);

size_t flow_table_count(const flow_table_t *table);
const struct flow_counters *flow_table_counters(const flow_table_t *table);

/** Id of a connection of which only this request is known. Never 0. */
uint64_t flow_connection_id(const struct flow_key *key, uint16_t src_port,
                            const struct pr_uuid *reporter, uint64_t request_id);

/** Hash of a flow key under a secret, for other tables over the same key. */
uint64_t flow_key_hash(const struct flow_key *key, uint64_t secret);
bool flow_key_equal(const struct flow_key *a, const struct flow_key *b);
