/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <netinet/in.h>
#include <string.h>

#include "base/addr.h"
#include "base/err.h"
#include "cli/cli.h"

int cli_event_read(const codec_doc_t *row, struct cli_event *ret_event)
{
	size_t size_bytes, count;
	const uint8_t *data = codec_doc_blob(row, CODEC_EVENT_ROW_EVENT, &size_bytes);
	struct cli_event event = {
		.row = row,
		.agent = codec_doc_uuid(row, CODEC_EVENT_ROW_AGENT),
		.rule_comment = codec_doc_text(row, CODEC_EVENT_ROW_RULE_COMMENT),
	};
	int ret;

	if (size_bytes != codec_frame_bytes(CODEC_EVENT, 1)) {
		return PR_EMALF;
	}
	ret = codec_records_decode(CODEC_EVENT, data, size_bytes, &event.event, &count);
	if (ret < 0) {
		return ret;
	}
	*ret_event = event;
	return PR_OK;
}

/* ---- JSON ---- */

bool cli_event_has_ports(uint8_t proto)
{
	return proto == IPPROTO_TCP || proto == IPPROTO_UDP || proto == IPPROTO_SCTP ||
	       proto == IPPROTO_DCCP || proto == IPPROTO_UDPLITE;
}

static json_t *port_json(const struct codec_event *event, uint16_t port)
{
	return cli_event_has_ports(event->proto) ? json_integer(port) : json_null();
}

static json_t *addr_json(const struct pr_addr *addr)
{
	char text[PR_ADDR_TEXT_BYTES];

	return json_string(pr_addr_format(addr, text));
}

static json_t *text_json(const struct cli_event *event, unsigned field)
{
	return cli_json_text(codec_doc_text(event->row, field));
}

json_t *cli_event_src_json(const struct cli_event *event)
{
	const struct codec_event *e = &event->event;

	return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", /* */
	                 "ip", addr_json(&e->src),                   /* */
	                 "port", port_json(e, e->src_port),          /* */
	                 "endpoint", cli_json_uuid(&e->src_endpoint), "name",
	                 text_json(event, CODEC_EVENT_ROW_SRC_NAME), "kind",
	                 text_json(event, CODEC_EVENT_ROW_SRC_KIND), "host",
	                 text_json(event, CODEC_EVENT_ROW_SRC_HOST), "container_id",
	                 text_json(event, CODEC_EVENT_ROW_SRC_CONTAINER_ID), "image",
	                 text_json(event, CODEC_EVENT_ROW_SRC_IMAGE));
}

json_t *cli_event_dst_json(const struct cli_event *event)
{
	const struct codec_event *e = &event->event;

	return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", /* */
	                 "ip", addr_json(&e->dst),                   /* */
	                 "port", port_json(e, e->dst_port),          /* */
	                 "endpoint", cli_json_uuid(&e->dst_endpoint), "name",
	                 text_json(event, CODEC_EVENT_ROW_DST_NAME), "kind",
	                 text_json(event, CODEC_EVENT_ROW_DST_KIND), "host",
	                 text_json(event, CODEC_EVENT_ROW_DST_HOST), "container_id",
	                 text_json(event, CODEC_EVENT_ROW_DST_CONTAINER_ID), "image",
	                 text_json(event, CODEC_EVENT_ROW_DST_IMAGE));
}

static bool is_translated(const struct codec_event *event)
{
	static const struct pr_addr none;

	return !pr_addr_equal(&event->translated, &none);
}

static json_t *translated_json(const struct codec_event *event)
{
	if (!is_translated(event)) {
		return json_null();
	}
	return json_pack("{s:o, s:o}", "ip", addr_json(&event->translated), "port",
	                 port_json(event, event->translated_port));
}

/* The last part of a path; "" for one that only its UUID is known of. */
static const char *exe_name(const char *exe)
{
	const char *slash = strrchr(exe, '/');

	return exe[0] == '#' ? "" : slash != NULL ? slash + 1 : exe;
}

const char *cli_event_process(const struct codec_event *event)
{
	return event->unknown == CODEC_UNKNOWN_KERNEL ? "kernel" : exe_name(event->exe);
}

static json_t *user_json(const struct codec_event *event)
{
	return json_pack("{s:o, s:o}", "uid",
	                 event->uid == CODEC_NO_UID ? json_null() : json_integer(event->uid),
	                 "name", cli_json_text(event->user));
}

static json_t *process_json(const struct codec_event *event)
{
	return json_pack("{s:o, s:o, s:o}", "pid",
	                 event->pid == 0 ? json_null() : json_integer(event->pid), "name",
	                 cli_json_text(cli_event_process(event)), "exe", cli_json_text(event->exe));
}

json_t *cli_event_json(const struct cli_event *event)
{
	const struct codec_event *e = &event->event;
	char id[CODEC_EVENT_TEXT_BYTES], proto[CODEC_EVENT_TEXT_BYTES];
	char service[CODEC_EVENT_TEXT_BYTES], connection[CODEC_EVENT_TEXT_BYTES];

	return json_pack(
		"{s:s, s:o, s:I, s:o, s:s, s:s, s:o, s:o, s:o, s:s, s:o, s:o, s:o, s:s, s:s, s:o, "
		"s:o,"
		" s:I, s:s, s:I, s:o}",
		"id", codec_event_id_format(&event->agent, e->seq, id), /* */
		"agent", cli_json_uuid(&event->agent),                  /* */
		"seq", (json_int_t)e->seq,                              /* */
		"time", cli_json_time(e->time_wall_ns),                 /* */
		"reporter", codec_enum_text(CODEC_SET_REPORTER, e->reporter), "proto",
		codec_proto_format(e->proto, proto),                             /* */
		"src", cli_event_src_json(event),                                /* */
		"dst", cli_event_dst_json(event),                                /* */
		"translated", translated_json(e),                                /* */
		"service", codec_service_format(e->proto, e->dst_port, service), /* */
		"user", user_json(e),                                            /* */
		"process", process_json(e),                                      /* */
		"unknown", cli_json_text(codec_enum_text(CODEC_SET_UNKNOWN, e->unknown)), "verdict",
		codec_enum_text(CODEC_SET_EVENT_VERDICT, e->verdict),                   /* */
		"mode", codec_enum_text(CODEC_SET_MODE, e->mode),                       /* */
		"rule", e->rule == CODEC_NO_RULE ? json_null() : json_integer(e->rule), /* */
		"rule_comment", cli_json_text(event->rule_comment),                     /* */
		"revision", (json_int_t)e->revision,                                    /* */
		"decided_by", codec_enum_text(CODEC_SET_DECIDED_BY, e->decided_by),     /* */
		"latency_us", (json_int_t)e->latency_us,                                /* */
		"connection", cli_json_text(codec_connection_format(e->connection, connection)));
}

/* ---- table ---- */

/* The wide ones stand behind. */
const struct cli_column cli_event_columns[] = {
	{ "TIME", 0 },     { "SOURCE", 28 },   { "TARGET", 28 },   { "SERVICE", 14 },
	{ "USER", 12 },    { "PROCESS", 18 },  { "STATUS", 0 },    { "RULE", 0 },
	{ "REPORTER", 0 }, { "SOURCE IP", 0 }, { "TARGET IP", 0 }, { "TRANSLATED", 0 },
	{ "HOST", 20 },    { "BY", 0 },        { "ID", 0 },
};

const unsigned cli_event_usual[] = { 0, 18, 18, 8, 8, 10, 12, 8, 9, 15, 15, 10, 12, 8, 0 };

_Static_assert(PR_ARRAY_LEN(cli_event_usual) == PR_ARRAY_LEN(cli_event_columns), "one for each");

size_t cli_event_column_count(bool wide)
{
	return wide ? PR_ARRAY_LEN(cli_event_columns) : 8;
}

void cli_event_end_format(const struct cli_event *event, bool src, char text[static CLI_CELL_BYTES])
{
	const char *name = codec_doc_text(event->row, src ? CODEC_EVENT_ROW_SRC_NAME
	                                                  : CODEC_EVENT_ROW_DST_NAME);
	const char *kind = codec_doc_text(event->row, src ? CODEC_EVENT_ROW_SRC_KIND
	                                                  : CODEC_EVENT_ROW_DST_KIND);
	const char *mark = strcmp(kind, "container") == 0 ? "(C)" : "";
	char addr[PR_ADDR_TEXT_BYTES];

	if (name[0] == '\0') {
		name = pr_addr_format(src ? &event->event.src : &event->event.dst, addr);
	}
	(void)snprintf(text, CLI_CELL_BYTES, "%s%s", name, mark);
}

bool cli_event_user_format(const struct codec_event *event, char text[static CLI_CELL_BYTES])
{
	bool known = event->user[0] != '\0' || event->uid != CODEC_NO_UID;

	if (event->user[0] != '\0') {
		(void)snprintf(text, CLI_CELL_BYTES, "%s", event->user);
	} else if (known) {
		(void)snprintf(text, CLI_CELL_BYTES, "%u", event->uid);
	} else {
		(void)snprintf(text, CLI_CELL_BYTES, "?");
	}
	return known;
}

bool cli_event_process_format(const struct codec_event *event, char text[static CLI_CELL_BYTES])
{
	const char *name = cli_event_process(event);

	if (name[0] == '\0' && event->exe[0] != '\0') {
		name = event->exe;
	}
	(void)snprintf(text, CLI_CELL_BYTES, "%s", name[0] != '\0' ? name : "?");
	return name[0] != '\0';
}

enum cli_tint cli_event_verdict(uint8_t verdict, const struct cli_style *style,
                                const char **ret_glyph, const char **ret_word)
{
	static const struct {
		enum cli_tint tint;
		const char *glyph, *ascii, *word;
	} shown[] = {
		[CODEC_EVENT_VERDICT_DENIED] = { CLI_BAD, "\xe2\x9c\x97", "x", "DENIED" },
		[CODEC_EVENT_VERDICT_ALLOWED] = { CLI_GOOD, "\xe2\x9c\x93", "+", "ALLOWED" },
		[CODEC_EVENT_VERDICT_REJECTED] = { CLI_BAD, "\xe2\x9c\x97", "x", "REJECTED" },
		[CODEC_EVENT_VERDICT_WOULD_DENY] = { CLI_WARN, "!", "!", "WOULD-DENY" },
	};

	*ret_glyph = style->utf8 ? shown[verdict].glyph : shown[verdict].ascii;
	*ret_word = shown[verdict].word;
	return shown[verdict].tint;
}

bool cli_event_rule_format(const struct cli_event *event, char text[static CLI_CELL_BYTES])
{
	const struct codec_event *e = &event->event;
	const char *comment = event->rule_comment;

	if (e->rule != CODEC_NO_RULE) {
		(void)snprintf(text, CLI_CELL_BYTES, "#%u%s%s", e->rule,
		               comment[0] != '\0' ? " " : "", comment);
		return true;
	}
	bool policy =
		e->decided_by == CODEC_DECIDED_BY_WORKER || e->decided_by == CODEC_DECIDED_BY_LEASE;
	(void)snprintf(text, CLI_CELL_BYTES, "%s",
	               policy ? "default" : codec_enum_text(CODEC_SET_DECIDED_BY, e->decided_by));
	return false;
}

void cli_event_addr_cell(const struct codec_event *event, const struct pr_addr *addr, uint16_t port,
                         cli_table_t *table)
{
	char text[PR_ADDR_TEXT_BYTES];

	pr_addr_format(addr, text);
	if (!cli_event_has_ports(event->proto)) {
		cli_table_cell(table, CLI_PLAIN, "%s", text);
	} else {
		bool v4 = pr_addr_is_v4(addr);
		cli_table_cell(table, CLI_PLAIN, "%s%s%s:%u", v4 ? "" : "[", text, v4 ? "" : "]",
		               port);
	}
}

static void wide_cells(const struct cli_event *event, cli_table_t *table)
{
	const struct codec_event *e = &event->event;
	char id[CODEC_EVENT_TEXT_BYTES];

	cli_table_cell(table, CLI_PLAIN, "%s", codec_enum_text(CODEC_SET_REPORTER, e->reporter));
	cli_event_addr_cell(e, &e->src, e->src_port, table);
	cli_event_addr_cell(e, &e->dst, e->dst_port, table);
	if (is_translated(e)) {
		cli_event_addr_cell(e, &e->translated, e->translated_port, table);
	} else {
		cli_table_cell(table, CLI_MUTED, "-");
	}
	cli_table_cell(table, CLI_PLAIN, "%s",
	               codec_doc_text(event->row, e->reporter == CODEC_REPORTER_TERMINATOR
	                                                  ? CODEC_EVENT_ROW_DST_HOST
	                                                  : CODEC_EVENT_ROW_SRC_HOST));
	cli_table_cell(table, CLI_PLAIN, "%s",
	               codec_enum_text(CODEC_SET_DECIDED_BY, e->decided_by));
	cli_table_cell(table, CLI_MUTED, "%s", codec_event_id_format(&event->agent, e->seq, id));
}

void cli_event_cells(const struct cli_event *event, const struct cli_style *style, bool wide,
                     cli_table_t *table)
{
	const struct codec_event *e = &event->event;
	char time[CLI_TIME_BYTES], service[CODEC_EVENT_TEXT_BYTES], text[CLI_CELL_BYTES];
	const char *glyph, *word;

	cli_table_cell(table, CLI_PLAIN, "%s", cli_time_format(style, e->time_wall_ns, time));
	cli_event_end_format(event, true, text);
	cli_table_cell(table, CLI_PLAIN, "%s", text);
	cli_event_end_format(event, false, text);
	cli_table_cell(table, CLI_PLAIN, "%s", text);
	cli_table_cell(table, CLI_PLAIN, "%s",
	               codec_service_format(e->proto, e->dst_port, service));
	bool known = cli_event_user_format(e, text);
	cli_table_cell(table, known ? CLI_PLAIN : CLI_MUTED, "%s", text);
	known = cli_event_process_format(e, text);
	cli_table_cell(table, known ? CLI_PLAIN : CLI_MUTED, "%s", text);
	enum cli_tint tint = cli_event_verdict(e->verdict, style, &glyph, &word);
	cli_table_cell(table, tint, "%s %s", glyph, word);
	bool rule = cli_event_rule_format(event, text);
	cli_table_cell(table, rule ? CLI_PLAIN : CLI_MUTED, "%s", text);
	if (wide) {
		wide_cells(event, table);
	}
}
