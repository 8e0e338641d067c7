/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/** @file What the gate's own files share. gate.h documents the whole. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/gate/completeness.h"
#include "agent/gate/decided.h"
#include "agent/gate/gate.h"
#include "agent/gate/key.h"
#include "agent/gate/netlink.h"
#include "agent/gate/packet.h"
#include "agent/gate/pending.h"

#define ENDPOINT_NONE    UINT32_MAX
#define GATE_SOURCES_MAX 1024 /* flows whose source on the wire is not known yet */

/** Somebody whose packets we judge. Several may live in one namespace. */
struct gate_endpoint {
	struct pr_uuid id;
	uint32_t slot;
	uint8_t mode; /* enum CODEC_MODE_* */
	enum part_lost_mode lost;
	bool guest; /* in another's namespace */
	bool used;
};

/** A namespace that we watch. */
struct gate_space {
	bool is_host;
	uint32_t primary; /* the main endpoint: whose the namespace is */
	uint32_t endpoints;
	struct gate_verdicts verdicts; /* answers of this turn */
};

/** A flow that has left, perhaps under another source. */
struct gate_leaving {
	struct codec_notice notice; /* all but the wire */
	struct part_flow sent;
	uint64_t due_ns;
	uint8_t tries;
	bool held; /* its first packet waited for the verdict */
};

struct gate {
	struct gate_config config;
	struct gate_kernel kernel;
	struct gate_attribution attribution;
	struct gate_outlet outlet;
	struct gate_counters counters;
	struct completeness completeness;
	pending_t *pending;
	decided_t *decided;
	uint64_t now_ns, wall_ns; /* of the present batch */
	uint64_t revision;        /* newest seen in a verdict */
	uint64_t begun_until_ns;  /* until then packets may be of a flow found begun */
	bool reachable;
	uint64_t lost_since_ns;       /* while not reachable */
	uint64_t malformed_window_ns; /* start of the present second */
	uint32_t malformed_events;    /* recorded in it */
	uint32_t dirty_count;
	uint32_t dirty[PART_NAMESPACE_MAX]; /* slots with unsent answers */
	uint32_t source_count;
	uint64_t sources_due_ns;
	struct gate_leaving *sources;
	uint32_t lifeline_count;
	struct part_lifeline lifeline[PART_LIFELINE_MAX];
	struct gate_space *spaces[PART_NAMESPACE_MAX];
	struct gate_endpoint endpoints[PART_NAMESPACE_MAX];
};

/** A packet on its way through take.c. */
struct gate_arrival {
	uint32_t slot;
	bool held;
	bool output;   /* hook */
	bool loopback; /* both ends are here */
	const struct gate_message *message;
	struct gate_tuple tuple;
	struct gate_key key;
};

/** How a question ended. */
struct gate_outcome {
	uint8_t action; /* of policy: enum CODEC_ACTION_* */
	uint8_t mode;   /* enum CODEC_MODE_*: in observe the action does not bite */
	uint8_t decided_by;
	uint8_t unknown;
	uint32_t rule;
	uint64_t revision, connection;
	struct pr_uuid src_endpoint, dst_endpoint;
};

/* gate.c */
/** Whose is a process of this namespace? ENDPOINT_NONE: it cannot be told. */
uint32_t gate_endpoint_index(const gate_t *gate, uint32_t slot, const struct part_owner *owner);
/** Are packets of this namespace held because of one of its endpoints? */
bool gate_space_enforced(const gate_t *gate, uint32_t slot);
/** Do we speak for this endpoint? */
bool gate_endpoint_is_ours(const gate_t *gate, const struct pr_uuid *id);

/* take.c */
void gate_datagram_take(gate_t *gate, const struct gate_datagram *datagram);

/* question.c */
/** Fill a new question's request: reporter, ends, owners, wire. */
void gate_question_fill(gate_t *gate, struct pending_question *question,
                        const struct gate_arrival *arrival);
/** The fields that the packet alone gives. */
void gate_question_seen(gate_t *gate, struct pending_question *question,
                        const struct gate_arrival *arrival);
struct part_flow gate_flow_of(const struct gate_arrival *arrival);

/* settle.c */
/** Answer a packet now. */
void gate_answer(gate_t *gate, const struct pending_packet *packet, uint8_t action);
/** End a question: answer its packets, remember, record. */
void gate_settle(gate_t *gate, struct pending_question *question,
                 const struct gate_outcome *outcome);
/** End a question that got no answer, by its endpoint's lost mode. */
void gate_settle_lost(gate_t *gate, struct pending_question *question);
/** An outcome of the gate's own making: no rule, no connection, the reporter at its own end. */
struct gate_outcome gate_outcome_own(const gate_t *gate, const struct codec_request *request,
                                     uint8_t action, uint8_t decided_by);
/** Record a question that was never opened. */
void gate_event_record(gate_t *gate, const struct pending_question *question,
                       const struct gate_outcome *outcome);

/* sources.c */
/** A near end was let go: find out under which source it leaves the host, if that may be another.
 */
void gate_sources_add(gate_t *gate, const struct pending_question *question,
                      const struct gate_outcome *outcome);
/** Ask about those that are due; after the packets were let go. */
void gate_sources_look(gate_t *gate);
/** When the next is due; UINT64_MAX: none is. */
uint64_t gate_sources_due_ns(const gate_t *gate);

/* lease.c */
/** May this question be answered without asking? Until leases are built: never. */
bool gate_lease_find(const gate_t *gate, const struct codec_request *request,
                     struct codec_verdict *ret_verdict);
