/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is asked: the request of a new question. */
#include <netinet/in.h>
#include <string.h>

#include "agent/gate/internal.h"
#include "base/err.h"

struct part_flow gate_flow_of(const struct gate_arrival *arrival)
{
	const struct gate_key *key = &arrival->key;
	const struct gate_message *message = arrival->message;

	return (struct part_flow){
		.proto = key->proto,
		.outbound = arrival->output,
		.held = arrival->held,
		.src = key->src,
		.dst = key->dst,
		.src_port = key->icmp_id != 0 ? key->icmp_id : key->src_port,
		.dst_port = key->dst_port,
		.interface = arrival->output ? message->out_device : message->in_device,
	};
}

void gate_question_seen(gate_t *gate, struct pending_question *question,
                        const struct gate_arrival *arrival)
{
	const struct gate_space *space = gate->spaces[arrival->slot];
	const struct gate_key *key = &arrival->key;
	struct codec_request *request = &question->request;

	question->key = *key;
	question->seen_wall_ns = gate->wall_ns;
	question->endpoint = space->primary;
	request->end = arrival->loopback ? CODEC_END_BOTH
	               : arrival->output ? CODEC_END_NEAR
	                                 : CODEC_END_FAR;
	request->held = arrival->held;
	request->proto = key->proto;
	if (space->endpoints < 2) {
		request->reporter = gate->endpoints[space->primary].id;
	}
	request->src = key->src;
	/* Pings of several processes or containers of a host differ by nothing else. */
	request->src_port = key->icmp_id != 0 ? key->icmp_id : key->src_port;
	request->dst = key->dst;
	request->dst_port = key->dst_port;
	request->wire_src = key->src;
	request->wire_dst = key->dst;
	request->wire_dst_port = key->dst_port;
	request->attempt = key->sequence;
	request->from_uid = CODEC_NO_UID;
	request->to_uid = CODEC_NO_UID;
}

/* Known: the process is. The kernel's own sockets count, under the name "kernel". */
static uint8_t state_of(const struct part_owner *owner)
{
	return owner->unknown == CODEC_UNKNOWN_NONE || owner->unknown == CODEC_UNKNOWN_KERNEL
	               ? CODEC_KNOWN_KNOWN
	               : CODEC_KNOWN_UNKNOWN;
}

static void from_fill(struct codec_request *request, const struct part_owner *owner)
{
	request->from_state = state_of(owner);
	request->from_uid = owner->uid;
	memcpy(request->from_user, owner->user, sizeof(request->from_user));
	memcpy(request->from_exe, owner->exe, sizeof(request->from_exe));
}

static void to_fill(struct codec_request *request, const struct part_owner *owner)
{
	request->to_state = state_of(owner);
	request->to_uid = owner->uid;
	memcpy(request->to_user, owner->user, sizeof(request->to_user));
	memcpy(request->to_exe, owner->exe, sizeof(request->to_exe));
}

/* Whose packet is it? The namespace's main endpoint's only if that is known. */
static void reporter_set(gate_t *gate, struct pending_question *question,
                         const struct part_owner *owner)
{
	uint32_t index = gate_endpoint_index(gate, question->key.slot, owner);

	question->nobody = index == ENDPOINT_NONE;
	if (question->nobody) {
		question->request.reporter = (struct pr_uuid){ { 0 } };
		return;
	}
	question->endpoint = index;
	question->request.reporter = gate->endpoints[index].id;
}

/* Both ends are here, but perhaps of two endpoints. */
static void taker_set(gate_t *gate, struct pending_question *question,
                      const struct part_owner *owner)
{
	uint32_t index = gate_endpoint_index(gate, question->key.slot, owner);

	question->nobody = question->nobody || index == ENDPOINT_NONE;
	question->to_pid = owner->pid;
	question->to_unknown = owner->unknown;
	if (index != ENDPOINT_NONE) {
		question->to_endpoint = index;
		question->request.to_endpoint = gate->endpoints[index].id;
	}
}

/*
 * Nobody listens: the main endpoint's policy answers. Until the packet is let in somebody else of a
 * shared namespace may listen there, so what is allowed is refused as the kernel would have done.
 */
static bool is_closed(const gate_t *gate, const struct pending_question *question,
                      const struct part_owner *listener)
{
	uint8_t proto = question->request.proto;

	return gate->spaces[question->key.slot]->endpoints > 1 &&
	       listener->unknown == CODEC_UNKNOWN_NO_LISTENER &&
	       (proto == IPPROTO_TCP || proto == IPPROTO_UDP || proto == IPPROTO_UDPLITE);
}

/*
 * The flow's key on the wire, before the host translated the destination. At a container's INPUT
 * its host's table knows. So it does at the host's own OUTPUT once the packet has left, that is for
 * a copy; @p flow is then given its original destination, which is what its socket knows.
 */
static void wire_fill(gate_t *gate, struct pending_question *question,
                      const struct gate_arrival *arrival, struct part_flow *flow)
{
	const struct gate_space *space = gate->spaces[arrival->slot];
	struct codec_request *request = &question->request;
	struct part_flow original;

	if (arrival->loopback ||
	    (arrival->output ? !space->is_host || arrival->held : space->is_host)) {
		return;
	}
	gate->counters.translations_asked++;
	if (gate->kernel.original(gate->kernel.context, flow, &original) != PR_OK) {
		return;
	}
	bool translated =
		original.dst_port != flow->dst_port || !pr_addr_equal(&original.dst, &flow->dst);
	if (!arrival->output) {
		/* Our host gave it another source (a container to its own published port): the
		 * true one is on both sides of the question, and both ends meet by its port. */
		request->src = request->wire_src = original.src;
		request->src_port = original.src_port;
	}
	if (translated) {
		gate->counters.translations_found++;
		question->translated = true;
		request->wire_dst = original.dst;
		request->wire_dst_port = original.dst_port;
		flow->dst = arrival->output ? original.dst : flow->dst;
		flow->dst_port = arrival->output ? original.dst_port : flow->dst_port;
	}
}

/* The near end's socket still knows where it wanted to go. */
static void peer_fill(struct pending_question *question, const struct part_owner *owner)
{
	if (owner->peer_port != 0) {
		question->translated = true;
		question->request.wire_dst = owner->peer;
		question->request.wire_dst_port = owner->peer_port;
	}
}

static void owner_keep(struct pending_question *question, const struct part_owner *owner)
{
	question->pid = owner->pid;
	question->owner_unknown = owner->unknown;
}

void gate_question_fill(gate_t *gate, struct pending_question *question,
                        const struct gate_arrival *arrival)
{
	struct codec_request *request = &question->request;
	const struct gate_attribution *attribution = &gate->attribution;
	struct part_flow flow = gate_flow_of(arrival);
	struct part_owner owner;

	gate_question_seen(gate, question, arrival);
	wire_fill(gate, question, arrival, &flow);
	if (request->end != CODEC_END_FAR) {
		owner = (struct part_owner){ .uid = CODEC_NO_UID,
			                     .unknown = CODEC_UNKNOWN_NOT_TRIED };
		/* On loopback's way in the kernel has no word about the sender any more. */
		attribution->initiator(attribution->context, arrival->slot, &flow,
		                       arrival->output ? arrival->message->uid : CODEC_NO_UID,
		                       &owner);
		from_fill(request, &owner);
		peer_fill(question, &owner);
		owner_keep(question, &owner);
		reporter_set(gate, question, &owner);
	}
	if (request->end != CODEC_END_NEAR) {
		owner = (struct part_owner){ .uid = CODEC_NO_UID,
			                     .unknown = CODEC_UNKNOWN_NOT_TRIED };
		attribution->listener(attribution->context, arrival->slot, &flow, &owner);
		to_fill(request, &owner);
		question->closed = is_closed(gate, question, &owner);
		if (request->end == CODEC_END_FAR) {
			owner_keep(question, &owner);
			reporter_set(gate, question, &owner);
		} else {
			taker_set(gate, question, &owner);
		}
	}
}
