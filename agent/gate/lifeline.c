/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the keeper's lifeline rules pass unasked in enforce: the same list, matched on a flow. */
#include <string.h>

#include "agent/gate/internal.h"

static bool line_fits(const struct part_lifeline *line, const struct part_flow *flow)
{
	const struct pr_addr *peer = flow->outbound ? &flow->dst : &flow->src;
	uint16_t last = line->port_last != 0 ? line->port_last : line->port;

	return line->inbound != flow->outbound &&
	       (line->proto == 0 || line->proto == flow->proto) &&
	       (line->port == 0 || (flow->dst_port >= line->port && flow->dst_port <= last)) &&
	       pr_prefix_contains(&line->peer, peer);
}

void gate_lifeline_set(gate_t *gate, const struct part_lifeline *lines, uint32_t count)
{
	gate->lifeline_count = count < PART_LIFELINE_MAX ? count : PART_LIFELINE_MAX;
	memcpy(gate->lifeline, lines, gate->lifeline_count * sizeof(*lines));
}

bool gate_lifeline_fits(const gate_t *gate, uint32_t slot, const struct part_flow *flow)
{
	if (slot >= PART_NAMESPACE_MAX || gate->spaces[slot] == NULL ||
	    !gate->spaces[slot]->is_host) {
		return false; /* a container's rules have no lifeline */
	}
	for (uint32_t i = 0; i < gate->lifeline_count; i++) {
		if (line_fits(&gate->lifeline[i], flow)) {
			return true;
		}
	}
	return false;
}
