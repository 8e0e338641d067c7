/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The event of a flow that was alive on the way to enforce. Attribution is played here. */
#include <netinet/in.h>
#include <string.h>

#include "agent/passed.h"
#include "tests/tap.h"

static struct part_flow asked;
static uint32_t asked_slot;
static bool asked_initiator, asked_listener;

static void answer(uint32_t slot, const struct part_flow *flow, struct part_owner *ret_owner)
{
	asked = *flow;
	asked_slot = slot;
	*ret_owner = (struct part_owner){
		.uid = 33, .pid = 77, .user = "www-data", .exe = "/usr/sbin/apache2"
	};
}

void owner_initiator(owner_t *owner, uint32_t slot, const struct part_flow *flow, uint32_t uid_hint,
                     struct part_owner *ret_owner)
{
	(void)owner;
	asked_initiator = uid_hint == CODEC_NO_UID;
	answer(slot, flow, ret_owner);
}

void owner_listener(owner_t *owner, uint32_t slot, const struct part_flow *flow,
                    struct part_owner *ret_owner)
{
	(void)owner;
	asked_listener = true;
	answer(slot, flow, ret_owner);
}

int main(void)
{
	struct part_report report = {
		.kind = PART_REPORT_PASSED,
		.slot = 5,
		.mode = CODEC_MODE_ENFORCE,
		.endpoint = { { 9 } },
		.flow = { .proto = IPPROTO_TCP,
		          .outbound = true,
		          .src = pr_addr_from_v4(htonl(0xc0000201)),
		          .dst = pr_addr_from_v4(htonl(0xc0000202)),
		          .src_port = 40000,
		          .dst_port = 80 },
	};
	static const struct pr_uuid nobody;
	struct codec_event event;
	struct part_owner owner;

	passed_event(&report, NULL, 123, &event, &owner);
	passed_endpoint_set(&report, &report.endpoint, &event);
	ok(asked_initiator && !asked_listener && asked_slot == 5, "outbound: who started it?");
	ok(asked.live && !asked.held && asked.src_port == 40000,
	   "asked as a live connection, not as a packet");
	ok(event.reporter == CODEC_REPORTER_INITIATOR && event.src_port == 40000 &&
	           event.dst_port == 80 && event.proto == IPPROTO_TCP && event.time_wall_ns == 123,
	   "the flow is in the event");
	ok(event.uid == 33 && event.pid == 77 && strcmp(event.user, "www-data") == 0 &&
	           strcmp(event.exe, "/usr/sbin/apache2") == 0 &&
	           event.unknown == CODEC_UNKNOWN_NONE,
	   "and so is its owner");
	ok(event.verdict == CODEC_EVENT_VERDICT_ALLOWED &&
	           event.decided_by == CODEC_DECIDED_BY_OBSERVE && event.rule == CODEC_NO_RULE,
	   "allowed, by observe, by no rule");
	ok(pr_uuid_equal(&event.src_endpoint, &report.endpoint) &&
	           pr_uuid_equal(&event.dst_endpoint, &nobody),
	   "the endpoint is its source");
	report.flow.outbound = false;
	passed_event(&report, NULL, 124, &event, &owner);
	passed_endpoint_set(&report, &report.endpoint, &event);
	ok(asked_listener && asked.live, "inbound: who took it?");
	ok(event.reporter == CODEC_REPORTER_TERMINATOR &&
	           pr_uuid_equal(&event.dst_endpoint, &report.endpoint) &&
	           pr_uuid_equal(&event.src_endpoint, &nobody),
	   "the endpoint is its destination");
	ok(owner.pid == 77, "the owner says which endpoint that is");
	passed_event(&report, NULL, 124, &event, &owner);
	passed_endpoint_set(&report, &nobody, &event);
	ok(pr_uuid_equal(&event.dst_endpoint, &nobody) && event.unknown == CODEC_UNKNOWN_ENDPOINT &&
	           event.pid == 77,
	   "whose endpoint cannot be told is nobody's, and says so");
	return tap_done();
}
