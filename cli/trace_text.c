/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A connection of a tree, as lines and as JSON. */
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "cli/trace.h"

void trace_line_say(struct trace *trace, const char *prefix, const char *mark, const char *text)
{
	char line[TRACE_LINE_BYTES], shown[10 * TRACE_LINE_BYTES];

	(void)snprintf(line, sizeof(line), "%s%s%s", prefix, mark, text);
	(void)pr_log_escape(line, shown, sizeof(shown));
	if (trace->cli->style.terminal) {
		cli_text_cut(shown, trace->cli->style.columns);
	}
	fprintf(trace->cli->out, "%s\n", shown);
}

void trace_end_format(const struct trace *trace, const struct connection *connection, bool src,
                      char text[static TRACE_LINE_BYTES])
{
	const struct cli_joined *joined = &connection->joined;
	const struct cli_event *event = src ? cli_joined_src(joined) : cli_joined_dst(joined);
	const char *host = codec_doc_text(event->row, src ? CODEC_EVENT_ROW_SRC_HOST
	                                                  : CODEC_EVENT_ROW_DST_HOST);
	const char *kind = codec_doc_text(event->row, src ? CODEC_EVENT_ROW_SRC_KIND
	                                                  : CODEC_EVENT_ROW_DST_KIND);
	char name[CLI_CELL_BYTES], user[CLI_CELL_BYTES], process[CLI_CELL_BYTES], pid[16] = "";
	bool on_host = strcmp(kind, "container") == 0 && host[0] != '\0';
	const char *sentence;

	cli_event_end_format(event, src, name);
	(void)cli_joined_missing(joined, &sentence);
	if (!(src ? joined->has_near : joined->has_far)) {
		(void)snprintf(text, TRACE_LINE_BYTES, "%s%s%s (%s)", name, on_host ? " on " : "",
		               on_host ? host : "", sentence);
		return;
	}
	(void)cli_event_user_format(&event->event, user);
	(void)cli_event_process_format(&event->event, process);
	if (event->event.pid != 0) {
		(void)snprintf(pid, sizeof(pid), "[%u]", event->event.pid);
	}
	(void)snprintf(text, TRACE_LINE_BYTES, "%s%s%s %s %s %s %s%s", name, on_host ? " on " : "",
	               on_host ? host : "", trace->dot, user, trace->dot, process, pid);
}

static const char *kind_text(enum cli_hop_kind kind)
{
	return kind == CLI_HOP_PROCESS ? "same process" : "same program";
}

void trace_connection_format(const struct trace *trace, const struct connection *connection,
                             const struct link *link, char text[static TRACE_LINE_BYTES])
{
	const struct cli_style *style = &trace->cli->style;
	char service[CLI_CELL_BYTES], verdict[CLI_CELL_BYTES], rule[CLI_CELL_BYTES];
	char id[CODEC_EVENT_TEXT_BYTES], time[CLI_TIME_BYTES], how[96] = "";

	cli_joined_service_format(&connection->joined, service);
	(void)cli_joined_verdict_format(&connection->joined, style, false, verdict);
	cli_joined_rule_format(&connection->joined, rule);
	(void)cli_time_format(style, cli_joined_time_wall_ns(&connection->joined), time);
	if (link->of > 0) {
		int used = snprintf(how, sizeof(how), "+%.1f ms, %s",
		                    (double)link->delay_ns / (double)PR_NS_PER_MS,
		                    kind_text(link->kind));
		if (link->of > 1 || link->at_least) {
			(void)snprintf(how + used, sizeof(how) - (size_t)used, ", one of %zu%s",
			               link->of, link->at_least ? " or more" : "");
		}
	}
	(void)snprintf(
		text, TRACE_LINE_BYTES, "%s  %s  %s  %s  %s", service, verdict,
		link->of > 0 ? how : time,
		codec_connection_format(cli_joined_src(&connection->joined)->event.connection, id),
		rule);
}

bool trace_connection_json(struct trace *trace, const struct connection *connection,
                           const struct link *link, size_t depth)
{
	json_t *object = cli_joined_json(&connection->joined);
	char cause[CODEC_EVENT_TEXT_BYTES] = "";

	if (link->cause != NULL) {
		(void)codec_connection_format(
			cli_joined_src(&link->cause->joined)->event.connection, cause);
	}
	json_t *how =
		json_pack("{s:I, s:o, s:o, s:I, s:b, s:o}", "depth", (json_int_t)depth, "cause",
	                  cli_json_text(cause), "link",
	                  link->of > 0 ? json_string(kind_text(link->kind)) : json_null(), "one_of",
	                  (json_int_t)link->of, "or_more", (int)link->at_least, "delay_us",
	                  link->of > 0 ? json_integer((json_int_t)(link->delay_ns / PR_NS_PER_US))
	                               : json_null());
	if (object == NULL || how == NULL || json_object_update(object, how) != 0) {
		json_decref(object);
		json_decref(how);
		return false;
	}
	json_decref(how);
	return cli_json_print(object, trace->cli->out);
}
