/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <netinet/in.h>
#include <string.h>

#include "base/err.h"
#include "tests/scenario-agent/play.h"

void play_fail(const char *why, const char *what)
{
	printf("# %s:%d: %s: %s\n", play.name, play.line, why, what);
	play.failed = true;
}

void play_say(const char *format, ...)
{
	va_list args;
	if (play.outputs == OUTPUT_MAX) {
		play_fail("too much output", "");
		return;
	}
	va_start(args, format);
	(void)vsnprintf(play.output[play.outputs++], LINE_BYTES, format, args);
	va_end(args);
}

static const char *flow_text(uint8_t proto, const struct pr_addr *src, uint16_t src_port,
                             const struct pr_addr *dst, uint16_t dst_port, char *text)
{
	char a[PR_ADDR_TEXT_BYTES];
	char b[PR_ADDR_TEXT_BYTES];
	(void)snprintf(text, LINE_BYTES / 2, "proto=%u %s,%u>%s,%u", proto, pr_addr_format(src, a),
	               src_port, pr_addr_format(dst, b), dst_port);
	return text;
}

static const char *endpoint_text(const struct pr_uuid *id)
{
	static char text[4][16];
	static unsigned int turn;
	char *to = text[turn++ % 4];
	(void)snprintf(to, 16, id->bytes[0] == 0 ? "-" : "e%u", id->bytes[0] - 1U);
	return to;
}

static void on_ask(void *context, const struct codec_request *request)
{
	char flow[LINE_BYTES / 2];
	char wire[PR_ADDR_TEXT_BYTES];
	(void)context;
	if (play.questions < QUESTION_MAX) {
		play.question_ids[play.questions++] = request->id;
	}
	if (play.flood_id != 0) {
		return;
	}
	play_say("ask %u %s %s %s reporter=%s taker=%s from=%s,%s uid=%d to=%s,%s wire=%s,%u",
	         play.questions, codec_enum_text(CODEC_SET_END, request->end),
	         request->held ? "held" : "copy",
	         flow_text(request->proto, &request->src, request->src_port, &request->dst,
	                   request->dst_port, flow),
	         endpoint_text(&request->reporter), endpoint_text(&request->to_endpoint),
	         codec_enum_text(CODEC_SET_KNOWN, request->from_state),
	         request->from_exe[0] != 0 ? request->from_exe : "-", (int)request->from_uid,
	         codec_enum_text(CODEC_SET_KNOWN, request->to_state),
	         request->to_exe[0] != 0 ? request->to_exe : "-",
	         pr_addr_format(&request->wire_dst, wire), request->wire_dst_port);
}

static void on_notice(void *context, const struct codec_notice *notice)
{
	char flow[LINE_BYTES / 2];
	(void)context;
	for (unsigned int i = 0; i < play.questions; i++) {
		if (play.question_ids[i] == notice->id) {
			play_say("notice %u %s reporter=%s from=%s,%s uid=%d connection=%d", i + 1,
			         flow_text(notice->proto, &notice->wire_src, notice->wire_src_port,
			                   &notice->wire_dst, notice->wire_dst_port, flow),
			         endpoint_text(&notice->reporter),
			         codec_enum_text(CODEC_SET_KNOWN, notice->from_state),
			         notice->from_exe[0] != 0 ? notice->from_exe : "-",
			         (int)notice->from_uid, (int)notice->connection);
			return;
		}
	}
	play_say("notice of no question");
}

static void on_drop(void *context, uint64_t id)
{
	(void)context;
	for (unsigned int i = 0; i < play.questions; i++) {
		if (play.question_ids[i] == id) {
			play_say("forget %u", i + 1);
			return;
		}
	}
	play_say("forget unknown");
}

static void on_event(void *context, const struct codec_event *event)
{
	char flow[LINE_BYTES / 2];
	char translated[PR_ADDR_TEXT_BYTES];
	(void)context;
	if (play.flood_id != 0) {
		return;
	}
	play_say("event %s %s by=%s rule=%d revision=%d reporter=%s src=%s dst=%s pid=%u exe=%s "
	         "latency=%ums translated=%s,%u unknown=%u %s",
	         codec_enum_text(CODEC_SET_EVENT_VERDICT, event->verdict),
	         codec_enum_text(CODEC_SET_MODE, event->mode),
	         codec_enum_text(CODEC_SET_DECIDED_BY, event->decided_by), (int)event->rule,
	         (int)event->revision, codec_enum_text(CODEC_SET_REPORTER, event->reporter),
	         endpoint_text(&event->src_endpoint), endpoint_text(&event->dst_endpoint),
	         event->pid, event->exe[0] != 0 ? event->exe : "-", event->latency_us / 1000,
	         event->translated_port == 0 ? "-" : pr_addr_format(&event->translated, translated),
	         event->translated_port, event->unknown,
	         flow_text(event->proto, &event->src, event->src_port, &event->dst, event->dst_port,
	                   flow));
}

static void on_initiator(void *context, uint32_t slot, const struct part_flow *flow,
                         uint32_t uid_hint, struct part_owner *ret_owner)
{
	(void)context;
	(void)slot;
	(void)flow;
	(void)uid_hint;
	*ret_owner = play.initiator;
}

static void on_listener(void *context, uint32_t slot, const struct part_flow *flow,
                        struct part_owner *ret_owner)
{
	(void)context;
	(void)slot;
	(void)flow;
	*ret_owner = play.listener;
}

const struct gate_attribution play_attribution = { .initiator = on_initiator,
	                                           .listener = on_listener };
const struct gate_outlet play_outlet = {
	.ask = on_ask, .notice = on_notice, .drop = on_drop, .event = on_event
};
