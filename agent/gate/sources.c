/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Flows that the host may give another source on their way to another host's endpoint: its
 * connection table is asked which, and a notice says so. Only flows of containers, only where the
 * verdict named a destination that is not ours: no other flow costs anything here.
 */
#include "agent/gate/internal.h"
#include "agent/gate/translation.h"
#include "base/clock.h"
#include "base/err.h"

#define LOOKS_A_TURN 128

/* The packet passes the host just after its verdict; a far end waits for 50 ms. */
static const uint64_t waits_ns[] = {
	1 * PR_NS_PER_MS,
	3 * PR_NS_PER_MS,
	10 * PR_NS_PER_MS,
	25 * PR_NS_PER_MS,
};

static bool may_be_translated(const gate_t *gate, const struct pending_question *question,
                              const struct gate_outcome *outcome)
{
	return question->request.end == CODEC_END_NEAR &&
	       !gate->spaces[question->key.slot]->is_host && question->request.src_port != 0 &&
	       (outcome->unknown == CODEC_UNKNOWN_ENDPOINT || /* of several that share it */
	        (!pr_uuid_is_null(&outcome->dst_endpoint) &&
	         !gate_endpoint_is_ours(gate, &outcome->dst_endpoint)));
}

void gate_sources_add(gate_t *gate, const struct pending_question *question,
                      const struct gate_outcome *outcome)
{
	const struct codec_request *request = &question->request;
	const struct part_flow sent = { .proto = request->proto,
		                        .src = request->src,
		                        .dst = request->dst,
		                        .src_port = request->src_port,
		                        .dst_port = request->dst_port };

	if (!may_be_translated(gate, question, outcome) || !translation_fits(&sent)) {
		return;
	}
	if (gate->source_count == GATE_SOURCES_MAX) {
		gate->counters.sources_full++;
		return;
	}
	gate->sources[gate->source_count++] = (struct gate_leaving){
		.notice = codec_notice_of(request, outcome->connection),
		.sent = sent,
		.due_ns = gate->now_ns,
		.held = pending_holds(question),
	};
	gate->sources_due_ns = 0;
}

static void source_say(gate_t *gate, struct gate_leaving *source, const struct part_flow *wire)
{
	struct codec_notice *notice = &source->notice;

	if (wire->src_port == source->sent.src_port &&
	    pr_addr_equal(&wire->src, &source->sent.src)) {
		return; /* the request has told all */
	}
	notice->wire_src = wire->src;
	notice->wire_src_port = wire->src_port;
	notice->wire_dst = wire->dst;
	notice->wire_dst_port = wire->dst_port;
	gate->counters.sources_translated++;
	gate->outlet.notice(gate->outlet.context, notice);
}

/* False: to be asked again later. */
static bool source_look(gate_t *gate, struct gate_leaving *source)
{
	struct part_flow wire;
	bool closed = false;

	gate->counters.sources_asked++;
	int error = gate->kernel.translated(gate->kernel.context, &source->sent, &wire, &closed);
	/* What is over just after its first packet was let go is an earlier flow of this tuple. */
	if (error == PR_OK && !(closed && source->held)) {
		source_say(gate, source, &wire);
		return true;
	}
	if (source->tries == PR_ARRAY_LEN(waits_ns)) {
		gate->counters.sources_unknown++;
		return true;
	}
	source->due_ns = gate->now_ns + waits_ns[source->tries++];
	return false;
}

void gate_sources_look(gate_t *gate)
{
	uint32_t kept = 0;
	uint32_t looks = 0;
	uint64_t due_ns = UINT64_MAX;

	if (gate->source_count == 0) {
		return;
	}
	gate->now_ns = gate->kernel.now_ns(gate->kernel.context);
	if (gate->now_ns < gate->sources_due_ns) {
		return;
	}
	for (uint32_t i = 0; i < gate->source_count; i++) {
		struct gate_leaving *source = &gate->sources[i];
		if (source->due_ns <= gate->now_ns && looks < LOOKS_A_TURN) {
			looks++;
			if (source_look(gate, source)) {
				continue;
			}
		}
		due_ns = source->due_ns < due_ns ? source->due_ns : due_ns;
		if (kept != i) {
			gate->sources[kept] = *source;
		}
		kept++;
	}
	gate->source_count = kept;
	gate->sources_due_ns = due_ns;
}

uint64_t gate_sources_due_ns(const gate_t *gate)
{
	return gate->source_count == 0 ? UINT64_MAX : gate->sources_due_ns;
}
