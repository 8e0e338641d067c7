/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A connection with both of its ends, as cells and as JSON. */
#include <string.h>

#include "base/err.h"
#include "cli/cli.h"

#define NARROW_COLUMNS 110U

int cli_joined_read(const codec_doc_t *row, struct cli_joined *ret_joined)
{
	struct cli_joined joined = { .join = (unsigned)codec_doc_u64(row, CODEC_EVENT_ROW_JOIN) };
	size_t size_bytes, count;
	const uint8_t *data = codec_doc_blob(row, CODEC_EVENT_ROW_FAR_EVENT, &size_bytes);
	struct cli_event first;

	int ret = cli_event_read(row, &first);
	if (ret < 0) {
		return ret;
	}
	joined.has_near = first.event.reporter == CODEC_REPORTER_INITIATOR || size_bytes > 0;
	joined.has_far = !joined.has_near || size_bytes > 0;
	joined.near_end = joined.far_end = first;
	if (size_bytes > 0) {
		if (size_bytes != codec_frame_bytes(CODEC_EVENT, 1)) {
			return PR_EMALF;
		}
		ret = codec_records_decode(CODEC_EVENT, data, size_bytes, &joined.far_end.event,
		                           &count);
		if (ret < 0) {
			return ret;
		}
		joined.far_end.agent = codec_doc_uuid(row, CODEC_EVENT_ROW_FAR_AGENT);
		joined.far_end.rule_comment = codec_doc_text(row, CODEC_EVENT_ROW_FAR_RULE_COMMENT);
	}
	*ret_joined = joined;
	return PR_OK;
}

const struct cli_event *cli_joined_src(const struct cli_joined *joined)
{
	return joined->has_near ? &joined->near_end : &joined->far_end;
}

const struct cli_event *cli_joined_dst(const struct cli_joined *joined)
{
	return joined->has_far ? &joined->far_end : &joined->near_end;
}

uint64_t cli_joined_time_wall_ns(const struct cli_joined *joined)
{
	uint64_t near_wall_ns = cli_joined_src(joined)->event.time_wall_ns;
	uint64_t far_wall_ns = cli_joined_dst(joined)->event.time_wall_ns;

	return near_wall_ns < far_wall_ns ? near_wall_ns : far_wall_ns;
}

const char *cli_joined_missing(const struct cli_joined *joined, const char **ret_sentence)
{
	static const char *const words[] = {
		[CODEC_JOIN_BOTH] = "",
		[CODEC_JOIN_LATE] = "",
		[CODEC_JOIN_FAR_UNSEEN] = "not seen",
		[CODEC_JOIN_NEAR_UNSEEN] = "not seen",
		[CODEC_JOIN_FAR_STRANGE] = "no agent",
		[CODEC_JOIN_NEAR_STRANGE] = "no agent",
		[CODEC_JOIN_STOPPED] = "not reached",
		[CODEC_JOIN_LOOPBACK] = "same host",
		[CODEC_JOIN_BOUNDARY] = "no report",
		[CODEC_JOIN_NO_ID] = "not asked",
		[CODEC_JOIN_UNTOLD] = "not told",
		[CODEC_JOIN_NEAR_UNKNOWN] = "not known",
		[CODEC_JOIN_SEVERAL_NEAR] = "several fit",
		[CODEC_JOIN_SEVERAL_FAR] = "several fit",
		[CODEC_JOIN_TAKEN] = "disagrees",
		[CODEC_JOIN_OTHER_SERVICE] = "disagrees",
		[CODEC_JOIN_OTHER_ADDRESS] = "disagrees",
		[CODEC_JOIN_OTHER_ENDPOINT] = "disagrees",
		[CODEC_JOIN_OTHER_TIME] = "disagrees",
		[CODEC_JOIN_NOT_OWN] = "not its own",
		[CODEC_JOIN_CROWDED] = "too many",
	};

	*ret_sentence = joined->join == CODEC_JOIN_BOTH
	                        ? ""
	                        : codec_enum_text(CODEC_SET_JOIN, joined->join);
	return joined->join < PR_ARRAY_LEN(words) ? words[joined->join] : "?";
}

void cli_joined_service_format(const struct cli_joined *joined, char text[static CLI_CELL_BYTES])
{
	const struct codec_event *near_end = &cli_joined_src(joined)->event;
	const struct codec_event *far_end = &cli_joined_dst(joined)->event;
	char service[CODEC_EVENT_TEXT_BYTES], behind[8] = "";

	if (near_end->dst_port != far_end->dst_port && cli_event_has_ports(near_end->proto)) {
		(void)snprintf(behind, sizeof(behind), ">%u", far_end->dst_port);
	}
	(void)snprintf(text, CLI_CELL_BYTES, "%s%s",
	               codec_service_format(near_end->proto, near_end->dst_port, service), behind);
}

enum cli_tint cli_joined_verdict_format(const struct cli_joined *joined,
                                        const struct cli_style *style, bool glyphs,
                                        char text[static CLI_CELL_BYTES])
{
	const char *glyph_near, *word_near, *glyph_far, *word_far;
	uint8_t near_verdict = cli_joined_src(joined)->event.verdict;
	uint8_t far_verdict = cli_joined_dst(joined)->event.verdict;
	enum cli_tint near_tint = cli_event_verdict(near_verdict, style, &glyph_near, &word_near);
	enum cli_tint far_tint = cli_event_verdict(far_verdict, style, &glyph_far, &word_far);

	if (glyphs) {
		(void)snprintf(text, CLI_CELL_BYTES, "%s %s", joined->has_near ? glyph_near : "-",
		               joined->has_far ? glyph_far : "-");
	} else if (near_verdict == far_verdict) {
		(void)snprintf(text, CLI_CELL_BYTES, "%s %s", glyph_near, word_near);
	} else {
		(void)snprintf(text, CLI_CELL_BYTES, "%s %s, %s %s", glyph_near, word_near,
		               glyph_far, word_far);
	}
	return near_tint == CLI_BAD || far_tint == CLI_GOOD ? near_tint : far_tint;
}

void cli_joined_rule_format(const struct cli_joined *joined, char text[static CLI_CELL_BYTES])
{
	char far_rule[CLI_CELL_BYTES];

	(void)cli_event_rule_format(cli_joined_src(joined), text);
	(void)cli_event_rule_format(cli_joined_dst(joined), far_rule);
	size_t used = strlen(text);
	if (strcmp(text, far_rule) != 0) {
		(void)snprintf(text + used, CLI_CELL_BYTES - used, ", %s", far_rule);
	}
}

/* ---- JSON ---- */

static json_t *end_json(const struct cli_event *event, bool there)
{
	return there ? cli_event_json(event) : json_null();
}

json_t *cli_joined_json(const struct cli_joined *joined)
{
	const struct cli_event *src = cli_joined_src(joined), *dst = cli_joined_dst(joined);
	char connection[CODEC_EVENT_TEXT_BYTES], service[CODEC_EVENT_TEXT_BYTES];
	bool both = joined->has_near && joined->has_far;
	const char *sentence;

	(void)cli_joined_missing(joined, &sentence);
	return json_pack("{s:o, s:b, s:o, s:b, s:o, s:s, s:o, s:o, s:o, s:o}", "connection",
	                 cli_json_text(codec_connection_format(src->event.connection, connection)),
	                 "joined", both, "missing", cli_json_text(both ? "" : sentence), "late",
	                 joined->join == CODEC_JOIN_LATE, "time",
	                 cli_json_time(cli_joined_time_wall_ns(joined)), "service",
	                 codec_service_format(src->event.proto, src->event.dst_port, service),
	                 "src", cli_event_src_json(src), "dst", cli_event_dst_json(dst),
	                 "initiator", end_json(&joined->near_end, joined->has_near), "terminator",
	                 end_json(&joined->far_end, joined->has_far));
}

/* ---- table ---- */

static const struct cli_column narrow_columns[] = {
	{ "TIME", 0 }, { "SOURCE", 12 },  { "BY", 12 },    { "TARGET", 12 },
	{ "BY", 12 },  { "SERVICE", 11 }, { "STATUS", 0 },
};

/* What stands behind the rule is for a wide table, or for one that no terminal cuts. */
static const struct cli_column all_columns[] = {
	{ "TIME", 0 },      { "SOURCE", 22 },    { "BY", 18 },         { "TARGET", 22 },
	{ "BY", 18 },       { "SERVICE", 14 },   { "STATUS", 0 },      { "RULE", 0 },
	{ "MISSING", 0 },   { "CONNECTION", 0 }, { "SOURCE HOST", 0 }, { "TARGET HOST", 0 },
	{ "SOURCE IP", 0 }, { "TARGET IP", 0 },
};

const struct cli_column *cli_joined_columns(const struct cli_style *style, bool wide,
                                            size_t *ret_count)
{
	bool narrow = style->terminal && style->columns > 0 && style->columns < NARROW_COLUMNS;

	if (narrow && !wide) {
		*ret_count = PR_ARRAY_LEN(narrow_columns);
		return narrow_columns;
	}
	*ret_count = wide ? PR_ARRAY_LEN(all_columns) : style->terminal ? 8 : 10;
	return all_columns;
}

static void end_cells(const struct cli_joined *joined, bool src, cli_table_t *table)
{
	const struct cli_event *event = src ? cli_joined_src(joined) : cli_joined_dst(joined);
	char name[CLI_CELL_BYTES], user[CLI_CELL_BYTES], process[CLI_CELL_BYTES];
	const char *sentence;

	cli_event_end_format(event, src, name);
	cli_table_cell(table, CLI_PLAIN, "%s", name);
	if (src ? joined->has_near : joined->has_far) {
		bool known = cli_event_user_format(&event->event, user);
		known = cli_event_process_format(&event->event, process) || known;
		cli_table_cell(table, known ? CLI_PLAIN : CLI_MUTED, "%s %s", user, process);
	} else {
		cli_table_cell(table, CLI_MUTED, "(%s)", cli_joined_missing(joined, &sentence));
	}
}

static void more_cells(const struct cli_joined *joined, size_t count, cli_table_t *table)
{
	const struct cli_event *src = cli_joined_src(joined), *dst = cli_joined_dst(joined);
	char connection[CODEC_EVENT_TEXT_BYTES];
	const char *sentence;

	(void)cli_joined_missing(joined, &sentence);
	cli_table_cell(table, CLI_MUTED, "%s", sentence);
	cli_table_cell(table, CLI_MUTED, "%s",
	               codec_connection_format(src->event.connection, connection));
	if (count < PR_ARRAY_LEN(all_columns)) {
		return;
	}
	cli_table_cell(table, CLI_PLAIN, "%s", codec_doc_text(src->row, CODEC_EVENT_ROW_SRC_HOST));
	cli_table_cell(table, CLI_PLAIN, "%s", codec_doc_text(dst->row, CODEC_EVENT_ROW_DST_HOST));
	cli_event_addr_cell(&src->event, &src->event.src, src->event.src_port, table);
	cli_event_addr_cell(&dst->event, &dst->event.dst, dst->event.dst_port, table);
}

void cli_joined_cells(const struct cli_joined *joined, const struct cli_style *style, bool wide,
                      cli_table_t *table)
{
	char time[CLI_TIME_BYTES], text[CLI_CELL_BYTES];
	size_t count;
	bool narrow = cli_joined_columns(style, wide, &count) == narrow_columns;

	cli_table_cell(table, CLI_PLAIN, "%s",
	               cli_time_format(style, cli_joined_time_wall_ns(joined), time));
	end_cells(joined, true, table);
	end_cells(joined, false, table);
	cli_joined_service_format(joined, text);
	cli_table_cell(table, CLI_PLAIN, "%s", text);
	enum cli_tint tint = cli_joined_verdict_format(joined, style, narrow, text);
	cli_table_cell(table, tint, "%s", text);
	if (narrow) {
		return;
	}
	cli_joined_rule_format(joined, text);
	cli_table_cell(table, CLI_PLAIN, "%s", text);
	if (count > 8) {
		more_cells(joined, count, table);
	}
}
