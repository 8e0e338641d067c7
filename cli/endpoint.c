/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "cli/cli.h"

#define SHOWN_BYTES 1024

static bool is_container(const codec_doc_t *endpoint)
{
	return strcmp(codec_doc_text(endpoint, CODEC_ENDPOINT_KIND), "container") == 0;
}

/* ---- JSON ---- */

static bool text_json(const codec_doc_t *endpoint, unsigned field, FILE *out)
{
	return cli_json_text_print(codec_doc_text(endpoint, field), out);
}

/* The @p index-th word of a line, cut to the buffer; "" when there are fewer. */
static const char *word_of(const char *line, unsigned index, char *text, size_t size_bytes)
{
	size_t length;

	while (index-- > 0) {
		line += strcspn(line, " ");
		line += strspn(line, " ");
	}
	length = strcspn(line, " ");
	length = length < size_bytes ? length : size_bytes - 1;
	memcpy(text, line, length);
	text[length] = '\0';
	return text;
}

/* "172.18.0.3/16" in its parts: the address and, of IPv4, the mask with dots. */
static void address_split(const char *text, char ip[static 64], char mask[static 64])
{
	size_t bytes = strcspn(text, "/");
	unsigned long bits = text[bytes] == '/' ? strtoul(text + bytes + 1, NULL, 10) : 0;

	(void)snprintf(ip, 64, "%.*s", (int)(bytes < 63 ? bytes : 63), text);
	mask[0] = '\0';
	if (text[bytes] == '/' && strchr(text, ':') != NULL) {
		(void)snprintf(mask, 64, "/%lu", bits);
	} else if (text[bytes] == '/' && bits <= 32) {
		uint32_t ones = bits == 0 ? 0 : UINT32_MAX << (32 - bits);
		(void)snprintf(mask, 64, "%u.%u.%u.%u", ones >> 24, ones >> 16 & 255,
		               ones >> 8 & 255, ones & 255);
	}
}

/* null: not in quarantine */
static bool quarantine_json(const codec_doc_t *endpoint, unsigned field, FILE *out)
{
	uint64_t until_wall_ns = codec_doc_u64(endpoint, CODEC_ENDPOINT_QUARANTINE_UNTIL);
	json_t *object = json_null();

	if (codec_doc_u64(endpoint, field) != 0) {
		object = json_pack(
			"{s:o, s:o, s:o}", "by",
			cli_json_text(codec_doc_text(endpoint, CODEC_ENDPOINT_QUARANTINE_BY)),
			"reason",
			cli_json_text(codec_doc_text(endpoint, CODEC_ENDPOINT_QUARANTINE_REASON)),
			"until", cli_json_time(until_wall_ns));
	}
	return cli_json_value_print(object, out);
}

static bool texts_json(const codec_doc_t *endpoint, unsigned field, FILE *out)
{
	size_t count = codec_doc_count(endpoint, field);
	bool good = count > 0 || fputs("[", out) != EOF;

	for (size_t i = 0; i < count; i++) {
		/* An empty item is a text, too. */
		const char *item = codec_doc_item(endpoint, field, i);
		good &= item[0] != '\0' ? cli_json_member_print(i == 0 ? "[" : ",", item, out)
		                        : fputs(i == 0 ? "[\"\"" : ",\"\"", out) != EOF;
	}
	return fputs("]", out) != EOF && good;
}

static bool interface_json(const char *line, const char *before, FILE *out)
{
	char word[64], ip[64], mask[64];
	bool good = fputs(before, out) != EOF;

	good &= cli_json_member_print("{\"scope\":", word_of(line, 0, word, sizeof(word)), out);
	address_split(word_of(line, 1, word, sizeof(word)), ip, mask);
	good &= cli_json_member_print(",\"address\":", word, out);
	good &= cli_json_member_print(",\"ip\":", ip, out);
	good &= cli_json_member_print(",\"mask\":", mask, out);
	good &= cli_json_member_print(",\"mac\":", word_of(line, 2, word, sizeof(word)), out);
	good &= cli_json_member_print(",\"interface\":", word_of(line, 3, word, sizeof(word)), out);
	return fputs("}", out) != EOF && good;
}

/* Of a listener's line, behind its service and its number: exactly, with blanks if it has any. */
static const char *process_of(const char *line)
{
	for (unsigned words = 0; words < 2; words++) {
		line += strcspn(line, " ");
		line += *line == ' ';
	}
	return line;
}

static bool listener_json(const char *line, const char *before, FILE *out)
{
	char word[256];
	const char *service = word_of(line, 0, word, sizeof(word));
	const char *slash = strchr(service, '/');
	bool good = fputs(before, out) != EOF;

	good &= cli_json_member_print("{\"service\":", service, out);
	if (slash != NULL) {
		good &= fprintf(out, ",\"port\":%lu", strtoul(slash + 1, NULL, 10)) > 0;
	} else {
		good &= fputs(",\"port\":null", out) != EOF;
	}
	good &= cli_json_member_print(",\"pid\":", word_of(line, 1, word, sizeof(word)), out);
	good &= cli_json_member_print(",\"process\":", process_of(line), out);
	return fputs("}", out) != EOF && good;
}

static bool lines_json(const codec_doc_t *endpoint, unsigned field, FILE *out)
{
	size_t count = codec_doc_count(endpoint, field);
	bool good = fputs("[", out) != EOF;

	for (size_t i = 0; i < count; i++) {
		const char *line = codec_doc_item(endpoint, field, i);
		const char *before = i == 0 ? "" : ",";
		good &= field == CODEC_ENDPOINT_ADDRESSES ? interface_json(line, before, out)
		                                          : listener_json(line, before, out);
	}
	return fputs("]", out) != EOF && good;
}

static bool uuid_json(const codec_doc_t *endpoint, unsigned field, FILE *out)
{
	struct pr_uuid id = codec_doc_uuid(endpoint, field);
	char text[PR_UUID_TEXT_BYTES];

	return cli_json_text_print(pr_uuid_is_null(&id) ? "" : pr_uuid_format(&id, text), out);
}

static bool time_json(const codec_doc_t *endpoint, unsigned field, FILE *out)
{
	uint64_t wall_ns = codec_doc_u64(endpoint, field);
	char text[PR_CLOCK_TEXT_BYTES];

	return cli_json_text_print(wall_ns == 0 ? "" : pr_clock_format(wall_ns, text), out);
}

static bool sessions_json(const codec_doc_t *endpoint, unsigned field, FILE *out)
{
	return codec_doc_count(endpoint, field) == 0
	               ? fputs("[]", out) != EOF
	               : cli_json_value_print(cli_sessions_json(endpoint), out);
}

static const struct {
	const char *key;
	unsigned field;
	bool (*print)(const codec_doc_t *endpoint, unsigned field, FILE *out);
} json_rows[] = {
	{ "endpoint", CODEC_ENDPOINT_UUID, uuid_json },
	{ "kind", CODEC_ENDPOINT_KIND, text_json },
	{ "name", CODEC_ENDPOINT_NAME, text_json },
	{ "host", CODEC_ENDPOINT_HOST_NAME, text_json },
	{ "host_endpoint", CODEC_ENDPOINT_HOST, uuid_json },
	{ "status", CODEC_ENDPOINT_STATUS, text_json },
	{ "mode", CODEC_ENDPOINT_MODE, text_json },
	{ "enforced", CODEC_ENDPOINT_ENFORCED, text_json },
	{ "groups", CODEC_ENDPOINT_GROUPS, texts_json },
	{ "container_id", CODEC_ENDPOINT_CONTAINER_ID, text_json },
	{ "image", CODEC_ENDPOINT_IMAGE, text_json },
	{ "reported", CODEC_ENDPOINT_REPORTED, time_json },
	{ "quarantine", CODEC_ENDPOINT_QUARANTINED, quarantine_json },
	{ "labels", CODEC_ENDPOINT_LABELS, texts_json },
	{ "interfaces", CODEC_ENDPOINT_ADDRESSES, lines_json },
	{ "listeners", CODEC_ENDPOINT_LISTENERS, lines_json },
	{ "platform", CODEC_ENDPOINT_PLATFORM, text_json },
	{ "version", CODEC_ENDPOINT_VERSION, text_json },
	{ "model", CODEC_ENDPOINT_MODEL, text_json },
	{ "manufacturer", CODEC_ENDPOINT_MANUFACTURER, text_json },
	{ "processor", CODEC_ENDPOINT_PROCESSOR, text_json },
	{ "os_version", CODEC_ENDPOINT_OS_VERSION, text_json },
	{ "cgroup", CODEC_ENDPOINT_CGROUP, text_json },
	{ "sessions", CODEC_ENDPOINT_SESSIONS, sessions_json },
	{ "sessions_lack", CODEC_ENDPOINT_SESSIONS_LACK, text_json },
};

bool cli_endpoint_json_print(const codec_doc_t *endpoint, FILE *out)
{
	bool good = true;

	for (size_t i = 0; i < PR_ARRAY_LEN(json_rows); i++) {
		good &= fputs_unlocked(i == 0 ? "{\"" : ",\"", out) != EOF;
		good &= fputs_unlocked(json_rows[i].key, out) != EOF;
		good &= fputs_unlocked("\":", out) != EOF;
		good &= json_rows[i].print(endpoint, json_rows[i].field, out);
	}
	return fputs("}\n", out) != EOF && good;
}

/* ---- table ---- */

const struct cli_column cli_endpoint_columns[] = {
	{ "NAME", 32 },     { "STATUS", 0 },   { "MODE", 0 },     { "ADDRESS", 0 },
	{ "HOST", 20 },     { "IMAGE", 28 },   { "GROUPS", 28 },  { "REPORTED", 0 },
	{ "ENFORCED", 24 }, { "PLATFORM", 0 }, { "ENDPOINT", 0 }, { "CONTAINER", 0 },
};

size_t cli_endpoint_column_count(bool wide)
{
	return wide ? PR_ARRAY_LEN(cli_endpoint_columns) : 8;
}

/* Addresses or groups in one cell. @p word: which word of each item; UINT_MAX: all of it. */
static const char *list_text(const codec_doc_t *endpoint, unsigned field, unsigned word, char *text,
                             size_t size_bytes)
{
	size_t used = 0;

	text[0] = '\0';
	for (size_t i = 0; i < codec_doc_count(endpoint, field); i++) {
		char part[256];
		const char *item = codec_doc_item(endpoint, field, i);
		if (word != UINT32_MAX) {
			item = word_of(item, word, part, sizeof(part));
			part[strcspn(part, "/")] = '\0';
			if (strcmp(part, "127.0.0.1") == 0 || strcmp(part, "::1") == 0) {
				continue;
			}
		}
		if (used + strlen(item) + 2 > size_bytes) {
			break;
		}
		used += (size_t)snprintf(text + used, size_bytes - used, "%s%s",
		                         used > 0 ? "," : "", item);
	}
	return text;
}

static enum cli_tint status_tint(const char *status)
{
	return strcmp(status, "active") == 0    ? CLI_GOOD
	       : strcmp(status, "revoked") == 0 ? CLI_BAD
	       : strcmp(status, "silent") == 0  ? CLI_WARN
	                                        : CLI_MUTED;
}

static enum cli_tint enforced_tint(const char *enforced)
{
	return strncmp(enforced, "failed", 6) == 0 ? CLI_BAD : CLI_PLAIN;
}

void cli_endpoint_cells(const codec_doc_t *endpoint, const struct cli_style *style, bool wide,
                        cli_table_t *table)
{
	struct pr_uuid id = codec_doc_uuid(endpoint, CODEC_ENDPOINT_UUID);
	const char *status = codec_doc_text(endpoint, CODEC_ENDPOINT_STATUS);
	const char *enforced = codec_doc_text(endpoint, CODEC_ENDPOINT_ENFORCED);
	char text[SHOWN_BYTES], time[CLI_TIME_BYTES], id_text[PR_UUID_TEXT_BYTES];

	cli_table_cell(table, CLI_PLAIN, "%s%s", codec_doc_text(endpoint, CODEC_ENDPOINT_NAME),
	               is_container(endpoint) ? "(C)" : "");
	if (codec_doc_u64(endpoint, CODEC_ENDPOINT_QUARANTINED) != 0) {
		cli_table_cell(table, CLI_BAD, "%s, quarantined", status);
	} else {
		cli_table_cell(table, status_tint(status), "%s", status);
	}
	cli_table_cell(table, CLI_PLAIN, "%s%s", codec_doc_text(endpoint, CODEC_ENDPOINT_MODE),
	               strncmp(enforced, "failed", 6) == 0 ? " (failed)" : "");
	cli_table_cell(table, CLI_PLAIN, "%s",
	               list_text(endpoint, CODEC_ENDPOINT_ADDRESSES, 1, text, sizeof(text)));
	cli_table_cell(table, CLI_PLAIN, "%s", codec_doc_text(endpoint, CODEC_ENDPOINT_HOST_NAME));
	cli_table_cell(table, CLI_PLAIN, "%s", codec_doc_text(endpoint, CODEC_ENDPOINT_IMAGE));
	cli_table_cell(table, CLI_PLAIN, "%s",
	               list_text(endpoint, CODEC_ENDPOINT_GROUPS, UINT32_MAX, text, sizeof(text)));
	cli_table_cell(
		table, CLI_PLAIN, "%s",
		cli_time_format(style, codec_doc_u64(endpoint, CODEC_ENDPOINT_REPORTED), time));
	if (wide) {
		cli_table_cell(table, enforced_tint(enforced), "%s", enforced);
		cli_table_cell(table, CLI_PLAIN, "%s",
		               codec_doc_text(endpoint, CODEC_ENDPOINT_PLATFORM));
		cli_table_cell(table, CLI_PLAIN, "%s", pr_uuid_format(&id, id_text));
		cli_table_cell(table, CLI_PLAIN, "%.12s",
		               codec_doc_text(endpoint, CODEC_ENDPOINT_CONTAINER_ID));
	}
}

/* ---- the page of one endpoint ---- */

static void line_print(FILE *out, const char *title, const char *text)
{
	char shown[SHOWN_BYTES];

	if (text[0] != '\0') {
		fprintf(out, "%-14s %s\n", title, pr_log_escape(text, shown, sizeof(shown)));
	}
}

static void quarantine_print(const codec_doc_t *endpoint, const struct cli_style *style, FILE *out)
{
	const char *by = codec_doc_text(endpoint, CODEC_ENDPOINT_QUARANTINE_BY);
	uint64_t until_wall_ns = codec_doc_u64(endpoint, CODEC_ENDPOINT_QUARANTINE_UNTIL);
	char text[SHOWN_BYTES], time[CLI_TIME_BYTES];

	if (codec_doc_u64(endpoint, CODEC_ENDPOINT_QUARANTINED) == 0) {
		return;
	}
	if (by[0] == '\0') {
		line_print(out, "Quarantine", "its host's");
		return;
	}
	(void)snprintf(text, sizeof(text), "by %s, until %s: %s", by,
	               until_wall_ns != 0 ? cli_time_format(style, until_wall_ns, time)
	                                  : "it is released",
	               codec_doc_text(endpoint, CODEC_ENDPOINT_QUARANTINE_REASON));
	line_print(out, "Quarantine", text);
}

static void facts_print(const codec_doc_t *endpoint, const struct cli_style *style, FILE *out)
{
	static const struct {
		const char *host_title, *container_title;
		unsigned field;
	} rows[] = {
		{ "Version", "Version", CODEC_ENDPOINT_VERSION },
		{ "Platform", "Platform", CODEC_ENDPOINT_PLATFORM },
		{ "Status", "Status", CODEC_ENDPOINT_STATUS },
		{ "Mode", "Mode", CODEC_ENDPOINT_MODE },
		{ "Kernel does", "Kernel does", CODEC_ENDPOINT_ENFORCED },
		{ "Manufacturer", "Manufacturer", CODEC_ENDPOINT_MANUFACTURER },
		{ "Model", "Model", CODEC_ENDPOINT_MODEL },
		{ "OS", "Image", CODEC_ENDPOINT_IMAGE },
		{ "OS Version", "Image ID", CODEC_ENDPOINT_OS_VERSION },
		{ "Processor", "Processor", CODEC_ENDPOINT_PROCESSOR },
		{ "Container ID", "Container ID", CODEC_ENDPOINT_CONTAINER_ID },
		{ "Control group", "Control group", CODEC_ENDPOINT_CGROUP },
	};
	char text[SHOWN_BYTES], time[CLI_TIME_BYTES], id_text[PR_UUID_TEXT_BYTES];
	struct pr_uuid id = codec_doc_uuid(endpoint, CODEC_ENDPOINT_UUID);
	bool container = is_container(endpoint);

	(void)snprintf(text, sizeof(text), "%s%s", codec_doc_text(endpoint, CODEC_ENDPOINT_NAME),
	               container ? "(C)" : "");
	line_print(out, container ? "Name" : "Host Name", text);
	line_print(out, "Endpoint", pr_uuid_format(&id, id_text));
	if (container) {
		line_print(out, "Host", codec_doc_text(endpoint, CODEC_ENDPOINT_HOST_NAME));
	}
	for (size_t i = 0; i < PR_ARRAY_LEN(rows); i++) {
		line_print(out, container ? rows[i].container_title : rows[i].host_title,
		           codec_doc_text(endpoint, rows[i].field));
	}
	line_print(out, "Groups",
	           list_text(endpoint, CODEC_ENDPOINT_GROUPS, UINT32_MAX, text, sizeof(text)));
	quarantine_print(endpoint, style, out);
	line_print(out, "Report Time",
	           cli_time_format(style, codec_doc_u64(endpoint, CODEC_ENDPOINT_REPORTED), time));
}

#define WORD_ADDRESS 1U
#define WORD_MASK    100U /* what stands behind the slash of the address */
#define WORD_PROCESS 101U /* the rest of a listener's line */

static void word_cell(cli_table_t *table, const char *line, unsigned word)
{
	char part[256], ip[64], mask[64];

	if (word == WORD_PROCESS) {
		cli_table_cell(table, CLI_PLAIN, "%s", process_of(line));
		return;
	}
	(void)word_of(line, word == WORD_MASK ? WORD_ADDRESS : word, part, sizeof(part));
	if (word == WORD_MASK) {
		address_split(part, ip, mask);
		cli_table_cell(table, CLI_PLAIN, "%s", mask);
	} else {
		cli_table_cell(table, CLI_PLAIN, "%s", part);
	}
}

/* A list of lines as a table of their words, in the columns' order of @p words. */
static void words_print(const codec_doc_t *endpoint, unsigned field, const char *title,
                        const struct cli_column *columns, const unsigned *words, size_t count,
                        const struct cli_style *style, FILE *out)
{
	_cleanup_(cli_table_destroy) cli_table_t *table = cli_table_new(style, out, columns, count);

	if (table == NULL || codec_doc_count(endpoint, field) == 0) {
		return;
	}
	fprintf(out, "\n%s\n", title);
	for (size_t i = 0; i < codec_doc_count(endpoint, field); i++) {
		for (size_t k = 0; k < count; k++) {
			word_cell(table, codec_doc_item(endpoint, field, i), words[k]);
		}
	}
	cli_table_flush(table);
}

static void sessions_print(const codec_doc_t *endpoint, const struct cli_style *style, FILE *out)
{
	static const struct cli_column columns[] = {
		{ "USER", 0 }, { "LINE", 0 }, { "FROM", 0 }, { "SINCE", 0 }
	};
	_cleanup_(cli_table_destroy) cli_table_t *table =
		cli_table_new(style, out, columns, PR_ARRAY_LEN(columns));
	char time[CLI_TIME_BYTES];

	if (table == NULL || codec_doc_count(endpoint, CODEC_ENDPOINT_SESSIONS) == 0) {
		line_print(out, "Sessions", codec_doc_text(endpoint, CODEC_ENDPOINT_SESSIONS_LACK));
		return;
	}
	fputs("\nSessions\n", out);
	for (size_t i = 0; i < codec_doc_count(endpoint, CODEC_ENDPOINT_SESSIONS); i++) {
		struct cli_session_line session;
		cli_session_read(codec_doc_item(endpoint, CODEC_ENDPOINT_SESSIONS, i), &session);
		cli_table_cell(table, CLI_PLAIN, "%s", session.user);
		cli_table_cell(table, CLI_PLAIN, "%s", session.line);
		cli_table_cell(table, CLI_PLAIN, "%s", session.from);
		cli_table_cell(table, CLI_PLAIN, "%s",
		               cli_time_format(style, session.since_wall_ns, time));
	}
	cli_table_flush(table);
}

void cli_endpoint_print(const codec_doc_t *endpoint, const struct cli_style *style, FILE *out)
{
	static const struct cli_column interfaces[] = {
		{ "INTERFACE", 0 }, { "MAC", 0 }, { "IP", 0 }, { "NET MASK", 0 }, { "SCOPE", 0 }
	};
	static const struct cli_column listeners[] = { { "PROCESS", 0 },
		                                       { "PID", 0 },
		                                       { "PORT", 0 } };
	static const struct cli_column labels[] = { { "LABEL", 0 } };

	facts_print(endpoint, style, out);
	words_print(endpoint, CODEC_ENDPOINT_ADDRESSES, "Interfaces", interfaces,
	            (const unsigned[]){ 3, 2, 1, WORD_MASK, 0 }, 5, style, out);
	words_print(endpoint, CODEC_ENDPOINT_LISTENERS, "Listeners", listeners,
	            (const unsigned[]){ WORD_PROCESS, 1, 0 }, 3, style, out);
	sessions_print(endpoint, style, out);
	if (codec_doc_count(endpoint, CODEC_ENDPOINT_LABELS) > 0) {
		cli_table_t *table = cli_table_new(style, out, labels, 1);
		fputs("\nLabels\n", out);
		for (size_t i = 0;
		     table != NULL && i < codec_doc_count(endpoint, CODEC_ENDPOINT_LABELS); i++) {
			cli_table_cell(table, CLI_PLAIN, "%s",
			               codec_doc_item(endpoint, CODEC_ENDPOINT_LABELS, i));
		}
		if (table != NULL) {
			cli_table_flush(table);
		}
		cli_table_destroy(&table);
	}
}
