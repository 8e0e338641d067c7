/* SPDX-License-Identifier: GPL-2.0-or-later */
/* From datagrams to questions. */
#include <netinet/in.h>

#include "agent/gate/internal.h"
#include "base/clock.h"

#define LOOPBACK_INDEX            1 /* of every network namespace's lo */
#define MALFORMED_EVENTS_A_SECOND 100
#define BEGUN_NS                  (5 * PR_NS_PER_S) /* a SYN that nobody answers is sent again */

static struct pending_packet packet_of(const struct gate_arrival *arrival)
{
	return (struct pending_packet){
		.id = arrival->message->id,
		.mark = arrival->message->mark,
		.slot = arrival->slot,
		.next = PENDING_NONE,
		.queue = arrival->message->queue,
	};
}

static void answer_now(gate_t *gate, const struct gate_arrival *arrival, uint8_t action)
{
	if (arrival->held) {
		struct pending_packet packet = packet_of(arrival);
		gate_answer(gate, &packet, action);
	}
}

/* An event for a packet about which nothing is asked. Held: it was denied. */
static void record_now(gate_t *gate, const struct gate_arrival *arrival, uint8_t decided_by,
                       uint8_t unknown, uint8_t copy_action)
{
	struct pending_question question = { .asked_ns = gate->now_ns, .owner_unknown = unknown };
	gate_question_seen(gate, &question, arrival);
	uint8_t action = arrival->held ? CODEC_ACTION_DENY : copy_action;
	struct gate_outcome outcome = gate_outcome_own(gate, &question.request, action, decided_by);
	gate_event_record(gate, &question, &outcome);
}

/* Anybody may send rubbish: events of it are bounded, counts are not. */
static void malformed_take(gate_t *gate, const struct gate_arrival *arrival)
{
	gate->counters.malformed++;
	answer_now(gate, arrival, CODEC_ACTION_DENY);
	if (gate->now_ns - gate->malformed_window_ns >= PR_NS_PER_S) {
		gate->malformed_window_ns = gate->now_ns;
		gate->malformed_events = 0;
	}
	if (gate->malformed_events >= MALFORMED_EVENTS_A_SECOND) {
		gate->counters.events_malformed_suppressed++;
		return;
	}
	gate->malformed_events++;
	record_now(gate, arrival, CODEC_DECIDED_BY_BUILT_IN, CODEC_UNKNOWN_MALFORMED,
	           CODEC_ACTION_DENY);
}

static void full_take(gate_t *gate, const struct gate_arrival *arrival)
{
	if (arrival->held) {
		gate->counters.queue_full_denied++;
		answer_now(gate, arrival, CODEC_ACTION_DENY);
		record_now(gate, arrival, CODEC_DECIDED_BY_QUEUE_FULL, CODEC_UNKNOWN_NOT_TRIED,
		           CODEC_ACTION_DENY);
	} else {
		gate->counters.copies_not_asked++;
		record_now(gate, arrival, CODEC_DECIDED_BY_OBSERVE, CODEC_UNKNOWN_NOT_TRIED,
		           CODEC_ACTION_ALLOW);
	}
}

/* Nobody could be asked for longer than a packet may wait: waiting again helps nobody. */
static bool lost_for_long(const gate_t *gate)
{
	return !gate->reachable && gate->now_ns - gate->lost_since_ns >= gate->config.deadline_ns;
}

static void built_in_settle(gate_t *gate, struct pending_question *question)
{
	struct gate_outcome outcome = gate_outcome_own(gate, &question->request, CODEC_ACTION_ALLOW,
	                                               CODEC_DECIDED_BY_BUILT_IN);

	gate->counters.questions_built_in++;
	gate_settle(gate, question, &outcome);
}

/*
 * Its process is of a container that is not known (yet), of one only in part, or cannot be found
 * where several endpoints live: no policy is asked for it, and none of them gets its benefit.
 */
static void nobody_settle(gate_t *gate, struct pending_question *question)
{
	struct gate_outcome outcome = gate_outcome_own(gate, &question->request, CODEC_ACTION_DENY,
	                                               CODEC_DECIDED_BY_BUILT_IN);

	gate->counters.questions_nobody++;
	outcome.unknown = CODEC_UNKNOWN_ENDPOINT;
	if (!gate_space_enforced(gate, question->key.slot)) {
		outcome.mode = CODEC_MODE_OBSERVE;
	}
	gate_settle(gate, question, &outcome);
}

static void question_open(gate_t *gate, const struct gate_arrival *arrival)
{
	struct pending_question *question = NULL;

	if (pending_count_slot(gate->pending, arrival->slot) < gate->config.pending_namespace_max) {
		question = pending_add(gate->pending, &arrival->key, gate->now_ns);
	}
	if (question == NULL) {
		full_take(gate, arrival);
		return;
	}
	if (arrival->held) {
		struct pending_packet packet = packet_of(arrival);
		if (!pending_hold(gate->pending, question, &packet)) {
			pending_release(gate->pending, question, NULL, NULL);
			full_take(gate, arrival);
			return;
		}
	}
	gate_question_fill(gate, question, arrival);

	struct codec_verdict verdict;
	struct part_flow flow = gate_flow_of(arrival);
	if (gate_lifeline_fits(gate, arrival->slot, &flow)) {
		built_in_settle(gate, question);
	} else if (question->nobody) {
		nobody_settle(gate, question);
	} else if (gate_lease_find(gate, &question->request, &verdict)) {
		gate_verdict(gate, &verdict);
	} else if (lost_for_long(gate)) {
		gate->counters.questions_lost++;
		gate_settle_lost(gate, question);
	} else {
		gate->counters.questions_asked++;
		gate->outlet.ask(gate->outlet.context, &question->request);
	}
}

static void question_join(gate_t *gate, struct pending_question *question,
                          const struct gate_arrival *arrival)
{
	gate->counters.repeats_joined++;
	if (!arrival->held) {
		return;
	}
	struct pending_packet packet = packet_of(arrival);
	if (!pending_hold(gate->pending, question, &packet)) {
		gate->counters.queue_full_denied++;
		gate_answer(gate, &packet, CODEC_ACTION_DENY);
	}
}

/*
 * Both ends are here. Not so where the host sent to an address of its own and its rules translated
 * that to another's, as for a published port: such a packet still names lo as the way out.
 */
static bool is_loopback(const gate_t *gate, const struct gate_arrival *arrival)
{
	const struct gate_message *message = arrival->message;
	const struct gate_key *key = &arrival->key;

	if ((arrival->output ? message->out_device : message->in_device) != LOOPBACK_INDEX) {
		return false;
	}
	if (!arrival->output || !gate->spaces[arrival->slot]->is_host ||
	    pr_addr_equal(&key->src, &key->dst)) {
		return true;
	}
	return gate->kernel.is_local(gate->kernel.context, &key->dst);
}

/* The first packet of a flow that was found begun came too late to be missed, or came again. */
static bool begun_take(gate_t *gate, const struct gate_arrival *arrival)
{
	struct gate_key key = arrival->key;
	struct decided_outcome before;

	if (gate->now_ns >= gate->begun_until_ns || key.proto != IPPROTO_TCP || !arrival->output) {
		return false;
	}
	key.sequence = 0; /* no table of sockets tells it */
	struct pending_question *question = pending_find(gate->pending, &key);
	if (question != NULL) {
		question_join(gate, question, arrival);
		return true;
	}
	if (arrival->held || !decided_reuse(gate->decided, &key, gate->now_ns, &before)) {
		return false; /* nothing bit then: what is held now is asked about */
	}
	gate->counters.repeats_answered++;
	return true;
}

static void question_take(gate_t *gate, const struct gate_arrival *arrival)
{
	struct pending_question *question = pending_find(gate->pending, &arrival->key);

	if (question != NULL) {
		question_join(gate, question, arrival);
	} else if (!begun_take(gate, arrival)) {
		question_open(gate, arrival);
	}
}

void gate_begun(gate_t *gate, uint32_t slot, const struct part_flow *flow)
{
	const struct gate_message message = { .kind = GATE_MESSAGE_COPY,
		                              .hook = GATE_HOOK_OUTPUT,
		                              .uid = GATE_NO_UID };
	struct gate_arrival arrival = {
		.slot = slot,
		.output = true,
		.message = &message,
		.tuple = { .src = flow->src,
		           .dst = flow->dst,
		           .src_port = flow->src_port,
		           .dst_port = flow->dst_port,
		           .proto = flow->proto,
		           .tcp_flags = GATE_TCP_SYN },
	};

	if (slot >= PART_NAMESPACE_MAX || gate->spaces[slot] == NULL) {
		return;
	}
	gate->now_ns = gate->kernel.now_ns(gate->kernel.context);
	gate->wall_ns = gate->kernel.wall_ns(gate->kernel.context);
	gate->begun_until_ns = gate->now_ns + BEGUN_NS;
	gate->counters.begun++;
	arrival.key = gate_key_make(slot, &arrival.tuple);
	question_take(gate, &arrival);
}

static void arrival_take(gate_t *gate, struct gate_arrival *arrival)
{
	const struct gate_message *message = arrival->message;
	enum gate_packet_state state = gate_packet_parse(message->payload, message->payload_bytes,
	                                                 message->original_bytes, &arrival->tuple);

	arrival->output = message->hook == GATE_HOOK_OUTPUT;
	arrival->key = gate_key_make(arrival->slot, &arrival->tuple);
	arrival->loopback = is_loopback(gate, arrival);
	if (state != GATE_PACKET_OK || (!arrival->output && message->hook != GATE_HOOK_INPUT)) {
		malformed_take(gate, arrival);
		return;
	}
	if (!gate_packet_begins(&arrival->tuple)) {
		gate->counters.midstream++;
		answer_now(gate, arrival, CODEC_ACTION_DENY);
		return;
	}
	struct decided_outcome before;
	if (decided_reuse(gate->decided, &arrival->key, gate->now_ns, &before)) {
		gate->counters.repeats_answered++;
		answer_now(gate, arrival, before.action);
		return;
	}
	question_take(gate, arrival);
}

static void message_take(gate_t *gate, uint32_t slot, const struct gate_message *message)
{
	struct gate_arrival arrival = { .slot = slot, .message = message };

	switch (message->kind) {
	case GATE_MESSAGE_PACKET:
		gate->counters.packets_held++;
		arrival.held = true;
		arrival_take(gate, &arrival);
		break;
	case GATE_MESSAGE_COPY:
		gate->counters.packets_copied++;
		arrival_take(gate, &arrival);
		break;
	case GATE_MESSAGE_REFUSED:
		gate->counters.verdicts_refused++;
		break;
	case GATE_MESSAGE_BAD:
		gate->counters.messages_malformed++;
		arrival.held = message->has_id;
		answer_now(gate, &arrival, CODEC_ACTION_DENY);
		break;
	case GATE_MESSAGE_OTHER:
		break;
	}
}

void gate_datagram_take(gate_t *gate, const struct gate_datagram *datagram)
{
	struct gate_message message;
	size_t offset = 0;

	if (datagram->slot >= PART_NAMESPACE_MAX || gate->spaces[datagram->slot] == NULL) {
		return;
	}
	switch (datagram->state) {
	case GATE_DATAGRAM_OVERRUN:
		gate->counters.overruns++;
		return;
	case GATE_DATAGRAM_FAILED:
		gate->counters.receive_errors++;
		return;
	case GATE_DATAGRAM_FOREIGN:
		gate->counters.messages_foreign++;
		return;
	case GATE_DATAGRAM_CUT:
		gate->counters.messages_cut++;
		break;
	case GATE_DATAGRAM_WHOLE:
		break;
	}
	while (gate_message_next(datagram->data, datagram->size_bytes, &offset, &message)) {
		message_take(gate, datagram->slot, &message);
	}
}
