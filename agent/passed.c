/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdio.h>
#include <string.h>

#include "agent/passed.h"

void passed_event(const struct part_report *report, owner_t *owner, uint64_t wall_ns,
                  struct codec_event *ret_event, struct part_owner *ret_owner)
{
	const struct part_flow *flow = &report->flow;
	struct part_flow live = *flow;
	struct part_owner found;

	live.live = true;
	if (flow->outbound) {
		owner_initiator(owner, report->slot, &live, CODEC_NO_UID, &found);
	} else {
		owner_listener(owner, report->slot, &live, &found);
	}
	*ret_event = (struct codec_event){
		.time_wall_ns = wall_ns,
		.reporter = flow->outbound ? CODEC_REPORTER_INITIATOR : CODEC_REPORTER_TERMINATOR,
		.proto = flow->proto,
		.src = flow->src,
		.src_port = flow->src_port,
		.dst = flow->dst,
		.dst_port = flow->dst_port,
		.uid = found.uid,
		.pid = found.pid,
		.unknown = found.unknown,
		.verdict = CODEC_EVENT_VERDICT_ALLOWED,
		.mode = report->mode,
		.rule = CODEC_NO_RULE,
		.decided_by = CODEC_DECIDED_BY_OBSERVE,
	};
	(void)snprintf(ret_event->user, sizeof(ret_event->user), "%s", found.user);
	(void)snprintf(ret_event->exe, sizeof(ret_event->exe), "%s", found.exe);
	*ret_owner = found;
}

void passed_endpoint_set(const struct part_report *report, const struct pr_uuid *endpoint,
                         struct codec_event *event)
{
	if (report->flow.outbound) {
		event->src_endpoint = *endpoint;
	} else {
		event->dst_endpoint = *endpoint;
	}
	if (pr_uuid_is_null(endpoint) && event->unknown == CODEC_UNKNOWN_NONE) {
		event->unknown = CODEC_UNKNOWN_ENDPOINT;
	}
}
