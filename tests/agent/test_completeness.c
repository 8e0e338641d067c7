/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "agent/gate/completeness.h"
#include "tests/tap.h"

static struct codec_event event_of(uint8_t reporter, uint32_t uid, bool other_known)
{
	struct codec_event event = { .reporter = reporter, .uid = uid };

	if (other_known) {
		event.src_endpoint.bytes[0] = event.dst_endpoint.bytes[0] = 1;
	} else if (reporter == CODEC_REPORTER_INITIATOR) {
		event.src_endpoint.bytes[0] = 1;
	} else {
		event.dst_endpoint.bytes[0] = 1;
	}
	return event;
}

int main(void)
{
	static const struct {
		uint8_t reporter;
		uint32_t uid;
		bool other_known;
		uint8_t owner, other;
	} rows[] = {
		{ CODEC_REPORTER_INITIATOR, 0, true, CODEC_UNKNOWN_NONE, CODEC_UNKNOWN_NONE },
		{ CODEC_REPORTER_INITIATOR, 33, false, CODEC_UNKNOWN_PROCESS_GONE,
		  CODEC_UNKNOWN_NONE },
		{ CODEC_REPORTER_INITIATOR, CODEC_NO_UID, true, CODEC_UNKNOWN_KERNEL, 0 },
		{ CODEC_REPORTER_INITIATOR, CODEC_NO_UID, true, 200, 0 },
		{ CODEC_REPORTER_INITIATOR, 0, true, CODEC_UNKNOWN_MALFORMED, 0 },
		{ CODEC_REPORTER_INITIATOR, 0, true, 0, CODEC_UNKNOWN_MALFORMED },
		{ CODEC_REPORTER_TERMINATOR, 0, false, CODEC_UNKNOWN_NONE,
		  CODEC_UNKNOWN_NO_NOTICE },
		{ CODEC_REPORTER_TERMINATOR, 0, false, CODEC_UNKNOWN_NONE, CODEC_UNKNOWN_NONE },
		{ CODEC_REPORTER_BOUNDARY, 0, true, CODEC_UNKNOWN_NONE, CODEC_UNKNOWN_NONE },
	};
	struct completeness all = { 0 };

	for (size_t i = 0; i < PR_ARRAY_LEN(rows); i++) {
		struct codec_event event =
			event_of(rows[i].reporter, rows[i].uid, rows[i].other_known);
		completeness_add(&all, &event, rows[i].owner, rows[i].other);
	}
	const struct completeness_end *near_end = &all.ends[CODEC_REPORTER_INITIATOR];
	const struct completeness_end *far_end = &all.ends[CODEC_REPORTER_TERMINATOR];
	ok(near_end->seen == 4 && far_end->seen == 2,
	   "connections by end; malformed packets and the boundary are none");
	ok(near_end->user == 2 && near_end->process == 2, "user and process, the kernel's too");
	ok(near_end->process_unknown[CODEC_UNKNOWN_PROCESS_GONE] == 1 &&
	           near_end->process_unknown[COMPLETENESS_REASONS - 1] == 1,
	   "why not, also a reason that we do not know");
	ok(near_end->endpoint == 3 && near_end->stranger == 1, "who is at the other end");
	ok(far_end->endpoint == 0 && far_end->stranger == 1 &&
	           far_end->endpoint_unknown[CODEC_UNKNOWN_NO_NOTICE] == 1,
	   "and why it is not known");
	return tap_done();
}
