/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How questions end: answers to the kernel, events, what is remembered. */
#include <string.h>

#include "agent/gate/internal.h"
#include "base/clock.h"
#include "base/err.h"

#define SEND_TRIES 3

/* ------------------------------------------------------------------- answers to the kernel */

static bool send_space(gate_t *gate, uint32_t slot)
{
	struct gate_verdicts *verdicts = &gate->spaces[slot]->verdicts;

	for (int tries = 0; tries < SEND_TRIES && verdicts->size_bytes > 0; tries++) {
		if (gate->kernel.send(gate->kernel.context, slot, verdicts->data,
		                      verdicts->size_bytes) == PR_OK) {
			verdicts->size_bytes = 0;
		}
	}
	return verdicts->size_bytes == 0;
}

void gate_flush(gate_t *gate)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < gate->dirty_count; i++) {
		uint32_t slot = gate->dirty[i];
		if (gate->spaces[slot] != NULL && !send_space(gate, slot)) {
			gate->dirty[kept++] = slot; /* tried again at the next turn */
		}
	}
	gate->dirty_count = kept;
	gate_sources_look(gate);
}

static void count_answer(gate_t *gate, uint8_t action)
{
	switch (action) {
	case CODEC_ACTION_ALLOW:
		gate->counters.verdicts_accept++;
		break;
	case CODEC_ACTION_REJECT:
		gate->counters.verdicts_reject++;
		break;
	default:
		gate->counters.verdicts_drop++;
		break;
	}
}

void gate_answer(gate_t *gate, const struct pending_packet *packet, uint8_t action)
{
	struct gate_space *space = gate->spaces[packet->slot];
	const struct gate_config *config = &gate->config;
	uint32_t mark = packet->mark & ~config->mark_mask;
	enum gate_answer answer = GATE_ANSWER_DROP;

	if (action == CODEC_ACTION_ALLOW || action == CODEC_ACTION_REJECT) {
		answer = GATE_ANSWER_ACCEPT;
		mark |= action == CODEC_ACTION_ALLOW ? config->mark_allow : config->mark_reject;
	}
	count_answer(gate, action);
	if (space->verdicts.size_bytes == 0) {
		gate->dirty[gate->dirty_count++] = packet->slot;
	}
	if (gate_verdicts_add(&space->verdicts, packet->queue, packet->id, answer, mark)) {
		return;
	}
	if (!send_space(gate, packet->slot)) {
		/* The kernel takes nothing: these packets stay held, which denies them. */
		gate->counters.verdicts_unsent += space->verdicts.size_bytes / GATE_VERDICT_BYTES;
		space->verdicts.size_bytes = 0;
	}
	(void)gate_verdicts_add(&space->verdicts, packet->queue, packet->id, answer, mark);
}

/* -------------------------------------------------------------------------------- events */

static uint8_t event_verdict(const struct gate_outcome *outcome)
{
	if (outcome->action == CODEC_ACTION_ALLOW) {
		return CODEC_EVENT_VERDICT_ALLOWED;
	}
	if (outcome->mode == CODEC_MODE_OBSERVE) {
		return CODEC_EVENT_VERDICT_WOULD_DENY;
	}
	return outcome->action == CODEC_ACTION_REJECT ? CODEC_EVENT_VERDICT_REJECTED
	                                              : CODEC_EVENT_VERDICT_DENIED;
}

static uint32_t latency_us(const gate_t *gate, const struct pending_question *question)
{
	if (!question->request.held || gate->now_ns < question->asked_ns) {
		return 0;
	}
	uint64_t us = (gate->now_ns - question->asked_ns) / PR_NS_PER_US;
	return us > UINT32_MAX ? UINT32_MAX : (uint32_t)us;
}

static void event_record_end(gate_t *gate, const struct pending_question *question,
                             const struct gate_outcome *outcome, bool near)
{
	const struct codec_request *request = &question->request;
	bool taker = request->end == CODEC_END_BOTH && !near;
	uint8_t owner_unknown = taker ? question->to_unknown : question->owner_unknown;
	struct codec_event event = {
		.time_wall_ns = question->seen_wall_ns,
		.latency_us = latency_us(gate, question),
		.reporter = near ? CODEC_REPORTER_INITIATOR : CODEC_REPORTER_TERMINATOR,
		.proto = request->proto,
		.src = request->src,
		.src_port = question->key.icmp_id != 0 ? 0 : request->src_port,
		.dst = request->dst,
		.dst_port = request->dst_port,
		.src_endpoint = outcome->src_endpoint,
		.dst_endpoint = outcome->dst_endpoint,
		.uid = near ? request->from_uid : request->to_uid,
		.pid = taker ? question->to_pid : question->pid,
		.unknown = outcome->unknown,
		.verdict = event_verdict(outcome),
		.mode = outcome->mode,
		.rule = outcome->rule,
		.revision = outcome->revision,
		.decided_by = outcome->decided_by,
		.connection = outcome->connection,
	};

	if (question->translated) {
		event.translated = request->wire_dst;
		event.translated_port = request->wire_dst_port;
	}
	memcpy(event.user, near ? request->from_user : request->to_user, sizeof(event.user));
	memcpy(event.exe, near ? request->from_exe : request->to_exe, sizeof(event.exe));
	if (owner_unknown != CODEC_UNKNOWN_NONE) {
		event.unknown = owner_unknown;
	}
	gate->counters.events++;
	completeness_add(&gate->completeness, &event, owner_unknown, outcome->unknown);
	gate->outlet.event(gate->outlet.context, &event);
}

void gate_event_record(gate_t *gate, const struct pending_question *question,
                       const struct gate_outcome *outcome)
{
	const struct codec_request *request = &question->request;

	event_record_end(gate, question, outcome, request->end != CODEC_END_FAR);
	/* Between two endpoints of one namespace each end has its own. */
	if (request->end == CODEC_END_BOTH && !question->nobody &&
	    !pr_uuid_is_null(&request->to_endpoint) &&
	    !pr_uuid_equal(&request->reporter, &request->to_endpoint)) {
		event_record_end(gate, question, outcome, false);
	}
}

struct gate_outcome gate_outcome_own(const gate_t *gate, const struct codec_request *request,
                                     uint8_t action, uint8_t decided_by)
{
	struct gate_outcome outcome = {
		.action = action,
		.mode = request->held ? CODEC_MODE_ENFORCE : CODEC_MODE_OBSERVE,
		.decided_by = decided_by,
		.rule = CODEC_NO_RULE,
		.revision = gate->revision,
	};
	if (request->end != CODEC_END_FAR) {
		outcome.src_endpoint = request->reporter;
	}
	if (request->end != CODEC_END_NEAR) {
		outcome.dst_endpoint =
			request->end == CODEC_END_BOTH ? request->to_endpoint : request->reporter;
	}
	return outcome;
}

/* -------------------------------------------------------------------------------- endings */

static void answer_waiting(const struct pending_question *question,
                           const struct pending_packet *packet, void *arg)
{
	gate_answer(arg, packet, question->decision.action);
}

/*
 * A denial for want of an answer, of the near end's word or of who it is, is asked again at the
 * next repeat.
 */
static bool reusable(const struct gate_outcome *outcome, uint8_t done)
{
	if (done != CODEC_ACTION_ALLOW && (outcome->unknown == CODEC_UNKNOWN_NO_NOTICE ||
	                                   outcome->unknown == CODEC_UNKNOWN_ENDPOINT)) {
		return false;
	}
	return done == CODEC_ACTION_ALLOW || outcome->decided_by == CODEC_DECIDED_BY_WORKER ||
	       outcome->decided_by == CODEC_DECIDED_BY_QUARANTINE ||
	       outcome->decided_by == CODEC_DECIDED_BY_BUILT_IN;
}

void gate_settle(gate_t *gate, struct pending_question *question,
                 const struct gate_outcome *outcome)
{
	uint8_t done = outcome->mode == CODEC_MODE_ENFORCE ? outcome->action : CODEC_ACTION_ALLOW;
	bool refused = question->closed && done == CODEC_ACTION_ALLOW && pending_holds(question) &&
	               gate_space_enforced(gate, question->key.slot);
	done = refused ? CODEC_ACTION_REJECT : done;
	struct decided_outcome remembered = {
		.action = done,
		.verdict = event_verdict(outcome),
		.rule = outcome->rule,
		.revision = outcome->revision,
	};

	if (decided_recorded(gate->decided, &question->key, &remembered, gate->now_ns)) {
		gate->counters.events_repeated++;
	} else {
		gate_event_record(gate, question, outcome);
	}
	decided_put(gate->decided, &question->key, &remembered, gate->now_ns,
	            !refused && reusable(outcome, done) ? gate->now_ns + gate->config.decided_ns
	                                                : DECIDED_NEVER_REUSE);
	question->decision.action = done;
	question->decision.decided_by = outcome->decided_by;
	pending_release(gate->pending, question, answer_waiting, gate);
}

/* What an endpoint's lost mode comes to. One that has gone meanwhile denies. */
struct lost {
	bool bites, denies;
};

static void lost_add(const gate_t *gate, uint32_t index, const struct pr_uuid *id,
                     struct lost *lost)
{
	const struct gate_endpoint *endpoint = &gate->endpoints[index];
	bool there = endpoint->used && pr_uuid_equal(&endpoint->id, id);

	if (!there || endpoint->mode == CODEC_MODE_ENFORCE) {
		lost->bites = true;
		lost->denies |= !there || endpoint->lost != PART_LOST_ALLOW;
	}
}

void gate_settle_lost(gate_t *gate, struct pending_question *question)
{
	const struct codec_request *request = &question->request;
	struct lost lost = { 0 };
	struct gate_outcome outcome = gate_outcome_own(
		gate, &question->request, CODEC_ACTION_DENY,
		gate->reachable ? CODEC_DECIDED_BY_DEADLINE : CODEC_DECIDED_BY_LOST_CONTROLLER);

	/* LAST_KNOWN answers from leases; without one it denies. */
	lost_add(gate, question->endpoint, &request->reporter, &lost);
	if (request->end == CODEC_END_BOTH) {
		lost_add(gate, question->to_endpoint, &request->to_endpoint, &lost);
	}
	if (!pending_holds(question) || !lost.bites) {
		outcome.action = CODEC_ACTION_ALLOW;
		outcome.mode = CODEC_MODE_OBSERVE;
		outcome.decided_by = CODEC_DECIDED_BY_OBSERVE;
	} else if (!lost.denies) {
		outcome.action = CODEC_ACTION_ALLOW;
	}
	gate_settle(gate, question, &outcome);
}

static void revision_take(gate_t *gate, uint64_t revision)
{
	if (revision > gate->revision) {
		gate->revision = revision;
		decided_expire(gate->decided);
	}
}

void gate_verdict(gate_t *gate, const struct codec_verdict *verdict)
{
	struct pending_question *question = pending_find_id(gate->pending, verdict->id);

	if (question == NULL) {
		gate->counters.verdicts_unknown++;
		return;
	}
	gate->now_ns = gate->kernel.now_ns(gate->kernel.context);
	revision_take(gate, verdict->revision);
	struct gate_outcome outcome = {
		.action = verdict->action,
		.mode = pending_holds(question) ? verdict->mode : CODEC_MODE_OBSERVE,
		.decided_by = verdict->decided_by,
		.unknown = verdict->unknown,
		.rule = verdict->rule,
		.revision = verdict->revision,
		.connection = verdict->connection,
		.src_endpoint = verdict->src_endpoint,
		.dst_endpoint = verdict->dst_endpoint,
	};
	if (verdict->action > CODEC_ACTION_REJECT || verdict->mode > CODEC_MODE_ENFORCE) {
		gate->counters.verdicts_invalid++;
		outcome.action = CODEC_ACTION_DENY;
		outcome.mode = pending_holds(question) ? CODEC_MODE_ENFORCE : CODEC_MODE_OBSERVE;
	}
	gate->counters.questions_answered++;
	if (outcome.action == CODEC_ACTION_ALLOW || outcome.mode == CODEC_MODE_OBSERVE) {
		gate_sources_add(gate, question, &outcome);
	}
	gate_settle(gate, question, &outcome);
}
