/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/**
 * @file
 * The gate: takes packets from the kernel, asks whether their connections may go on, and answers
 * the kernel. One loop, no threads, no allocation and no logging once it runs.
 *
 * A packet that the kernel holds is born denied. Every way out of the gate answers for it exactly
 * once: a verdict, the deadline, a full table, a malformed header, the end of its namespace. What
 * says nothing denies. Copies (observe) become the same questions with held = 0 and never bite.
 *
 * Repeats of a packet (a SYN sent again, loopback's second hook) while its question is open join
 * that question; for a short time after they get the same answer without a new event.
 *
 * Threads: one. Needs CAP_NET_ADMIN to answer the kernel. Leases: gate_lease_find() is the place;
 * until they are built every new connection is asked.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/gate/completeness.h"
#include "agent/gate/kernel.h"
#include "agent/part.h"
#include "base/defs.h"
#include "codec/codec.h"

typedef struct gate gate_t;

struct gate_config {
	uint32_t mark_mask;   /* our bits of the packet mark; others are kept as they came */
	uint32_t mark_allow;  /* within the mask: ACCEPT with it passes and marks the flow */
	uint32_t mark_reject; /* within the mask: ACCEPT with it is refused with RST or ICMP */
	uint64_t deadline_ns; /* a question unanswered so long falls to the endpoint's lost mode */
	uint32_t pending_max; /* questions open at once */
	uint32_t pending_namespace_max; /* of them in one namespace, so that none starves the rest
	                                 */
	uint32_t decided_max;           /* decided flows remembered */
	uint64_t decided_ns;            /* a repeat within this time gets the same answer */
};

/** Who holds the socket of a flow? Called once a question; the keeper's side answers. */
struct gate_attribution {
	void *context;
	/* Packets have just been received: what is read from now on is newer. May be NULL. */
	void (*begin)(void *context);
	/* @uid_hint: the kernel's word at OUTPUT; CODEC_NO_UID: none. Fill @ret_owner always. */
	void (*initiator)(void *context, uint32_t slot, const struct part_flow *flow,
	                  uint32_t uid_hint, struct part_owner *ret_owner);
	void (*listener)(void *context, uint32_t slot, const struct part_flow *flow,
	                 struct part_owner *ret_owner);
};

/** Where questions and events go. Neither may call back into the gate. */
struct gate_outlet {
	void *context;
	/* request.directory is left 0: the speaker fills it. */
	void (*ask)(void *context, const struct codec_request *request);
	/* A flow left the host under another source. notice.directory is left 0. */
	void (*notice)(void *context, const struct codec_notice *notice);
	/* The question was settled without an answer: stop asking. */
	void (*drop)(void *context, uint64_t request_id);
	/* event.seq is left 0: the speaker numbers it. */
	void (*event)(void *context, const struct codec_event *event);
};

/* clang-format off */
/* X(name, unit, doc) */
#define GATE_COUNTER_LIST(X)                                                                       \
	X(packets_held,        "packets", "taken from queues, to be answered")                     \
	X(packets_copied,      "packets", "copies taken from logs (observe)")                      \
	X(verdicts_accept,     "packets", "answered with accept and the allow mark")               \
	X(verdicts_drop,       "packets", "answered with drop")                                    \
	X(verdicts_reject,     "packets", "answered with accept and the reject mark")              \
	X(verdicts_refused,    "packets", "answers the kernel did not take: packet gone meanwhile")\
	X(verdicts_unsent,     "packets", "answers that could not be sent; the kernel still holds them") \
	X(begun,               "flows", "begun before their namespace was watched: asked about all the same") \
	X(questions_asked,     "questions", "requests handed to the speaker")                      \
	X(questions_answered,  "questions", "settled by a verdict")                                \
	X(questions_built_in,  "questions", "of the lifeline: allowed without asking")             \
	X(questions_nobody,    "questions", "whose process cannot be told to an endpoint of its namespace: denied") \
	X(questions_late,      "questions", "settled by the deadline")                             \
	X(questions_lost,      "questions", "settled at once: no controller for longer than the deadline") \
	X(questions_ended,     "questions", "settled because their namespace or the agent ended")  \
	X(verdicts_unknown,    "verdicts", "verdicts for no open question, ignored")               \
	X(verdicts_invalid,    "verdicts", "verdicts with an action we do not know: denied")       \
	X(repeats_joined,      "packets", "repeats that joined an open question")                  \
	X(repeats_answered,    "packets", "repeats answered from the table of decided flows")      \
	X(queue_full_denied,   "packets", "denied because too many questions were open")           \
	X(copies_not_asked,    "packets", "copies recorded without asking: too many questions open") \
	X(malformed,           "packets", "packets that are not what they claim: denied")          \
	X(midstream,           "packets", "TCP packets that begin no connection: denied")          \
	X(messages_malformed,  "messages", "kernel messages we could not read")                    \
	X(messages_cut,        "messages", "kernel messages longer than our buffer")               \
	X(messages_foreign,    "messages", "not from the kernel: a process tried to forge packets") \
	X(overruns,            "times", "the kernel dropped messages: a socket buffer was full")   \
	X(receive_errors,      "times", "reading a queue or log failed")                           \
	X(translations_asked,  "flows", "look-ups in the host's connection table")                 \
	X(translations_found,  "flows", "flows that were translated on their way in")              \
	X(sources_asked,       "look-ups", "under which source a flow left for another host's endpoint") \
	X(sources_translated,  "flows", "left under another source: the far end's worker is told") \
	X(sources_unknown,     "flows", "not seen to leave in time: the far end does not know who started them") \
	X(sources_full,        "flows", "not looked up: too many at once")                         \
	X(events,              "events", "handed to the speaker")                                  \
	X(events_repeated,     "events", "not recorded again: a repeat of the same attempt")       \
	X(events_malformed_suppressed, "events", "malformed packets beyond 100 a second: counted only")
/* clang-format on */

struct gate_counters {
#define X(name, unit, doc) uint64_t name;
	GATE_COUNTER_LIST(X)
#undef X
};

/** One line of the table above, for printers: offset in struct gate_counters. */
struct gate_counter_row {
	const char *name, *unit, *doc;
	size_t offset;
};
const struct gate_counter_row *gate_counter_rows(size_t *ret_count);

void gate_config_default(struct gate_config *config);

/**
 * @param kernel, attribution, outlet  Copied; what they point to must outlive the gate.
 * @param ret_gate  Untouched on failure. Caller owns it.
 * @retval PR_OK
 * @retval PR_EINVAL  Marks outside the mask or equal, a limit of 0.
 * @retval PR_ENOMEM
 */
int gate_new(const struct gate_config *config, const struct gate_kernel *kernel,
             const struct gate_attribution *attribution, const struct gate_outlet *outlet,
             gate_t **ret_gate) _must_check_;
/** Every packet still held is denied first. */
void gate_destroy(gate_t **gate_p);

/**
 * Watch a namespace, or say that one more endpoint lives in it (slot already known: descriptors are
 * then -1, or new ones that replace the old). The gate closes the descriptors it was given.
 * @retval PR_OK
 * @retval PR_EINVAL  No such slot number.
 */
int gate_namespace_add(gate_t *gate, const struct part_namespace *space) _must_check_;
/** An endpoint's mode changed. Unknown endpoints are ignored. */
void gate_mode_set(gate_t *gate, const struct pr_uuid *endpoint, uint8_t mode);
/**
 * To which endpoint of its namespace does a process belong? Zero: that cannot be told. Such a
 * packet is nobody's: denied if any endpoint of the namespace is in enforce.
 */
struct pr_uuid gate_endpoint_of(const gate_t *gate, uint32_t slot, const struct part_owner *owner);
/** An endpoint is gone; its namespace stays watched for others. */
void gate_endpoint_remove(gate_t *gate, const struct pr_uuid *endpoint);
/** A namespace is gone: its open questions are settled as denied, its descriptors closed. */
void gate_namespace_remove(gate_t *gate, uint32_t slot);
/** What to do for an endpoint when nobody answers; until told: last-known. */
void gate_lost_set(gate_t *gate, const struct part_lost *lost);
/** Is there a worker to ask? */
void gate_controller_set(gate_t *gate, bool reachable);
/**
 * The lifeline as the keeper was told it. In the host's namespace a flow of it is not asked about:
 * the keeper's rules pass it in enforce, so it is recorded as allowed by a built-in rule in observe
 * too.
 * @param count  At most PART_LIFELINE_MAX; copied.
 */
void gate_lifeline_set(gate_t *gate, const struct part_lifeline *lines, uint32_t count);
/** Is this flow, as its namespace sees it, of the lifeline? */
bool gate_lifeline_fits(const gate_t *gate, uint32_t slot, const struct part_flow *flow);
/**
 * A TCP connection whose first packet may have left before its namespace was watched, and which
 * nobody has answered: asked about like a copy of that packet, so that the far end's worker hears
 * who began it.
 */
void gate_begun(gate_t *gate, uint32_t slot, const struct part_flow *flow);
/** Forget decided flows: policy or modes changed. */
void gate_decided_forget(gate_t *gate);

/** Readable when the kernel has packets (an epoll descriptor in the real kernel). */
int gate_fd(const gate_t *gate);
/** When gate_turn() must run at the latest, on the kernel's clock; UINT64_MAX: no need. */
uint64_t gate_timeout_ns(const gate_t *gate);

/**
 * One turn: take what waits (bounded), settle what is late, send the answers of this turn and of
 * the gate_verdict() calls before it.
 * @return true: more waits, call again soon.
 */
bool gate_turn(gate_t *gate);
/** The answer to a question. Unknown ids are counted and ignored. Answers leave at gate_turn(). */
void gate_verdict(gate_t *gate, const struct codec_verdict *verdict);
/** Send the answers now, then ask under which source flows leave. */
void gate_flush(gate_t *gate);

uint32_t gate_pending(const gate_t *gate);
void gate_counters(const gate_t *gate, struct gate_counters *ret_counters);
/** How much is known of the connections reported so far. Borrowed. */
const struct completeness *gate_completeness(const gate_t *gate);
