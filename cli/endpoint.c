/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "cli/cli.h"

#define SHOWN_BYTES 1024

static bool is_container(const codec_doc_t *endpoint)
{
	return strcmp(codec_doc_text(endpoint, CODEC_ENDPOINT_KIND), "container") == 0;
}

/* ---- JSON ---- */

static json_t *text_json(const codec_doc_t *endpoint, unsigned field)
{
	return cli_json_text(codec_doc_text(endpoint, field));
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
static json_t *quarantine_json(const codec_doc_t *endpoint)
{
	uint64_t until_wall_ns = codec_doc_u64(endpoint, CODEC_ENDPOINT_QUARANTINE_UNTIL);

	if (codec_doc_u64(endpoint, CODEC_ENDPOINT_QUARANTINED) == 0) {
		return json_null();
	}
	return json_pack("{s:o, s:o, s:o}", "by", text_json(endpoint, CODEC_ENDPOINT_QUARANTINE_BY),
	                 "reason", text_json(endpoint, CODEC_ENDPOINT_QUARANTINE_REASON), "until",
	                 until_wall_ns != 0 ? cli_json_time(until_wall_ns) : json_null());
}

static json_t *interfaces_json(const codec_doc_t *endpoint)
{
	json_t *list = json_array();

	for (size_t i = 0; i < codec_doc_count(endpoint, CODEC_ENDPOINT_ADDRESSES); i++) {
		const char *line = codec_doc_item(endpoint, CODEC_ENDPOINT_ADDRESSES, i);
		char scope[64], address[64], mac[64], name[64], ip[64], mask[64];
		address_split(word_of(line, 1, address, sizeof(address)), ip, mask);
		(void)json_array_append_new(
			list,
			json_pack("{s:s, s:s, s:s, s:o, s:o, s:o}", "scope",
		                  word_of(line, 0, scope, sizeof(scope)), "address", address, "ip",
		                  ip, "mask", cli_json_text(mask), "mac",
		                  cli_json_text(word_of(line, 2, mac, sizeof(mac))), "interface",
		                  cli_json_text(word_of(line, 3, name, sizeof(name)))));
	}
	return list;
}

/* Of "tcp/80". */
static json_t *port_json(const char *service)
{
	const char *slash = strchr(service, '/');

	return slash != NULL ? json_integer((json_int_t)strtoul(slash + 1, NULL, 10)) : json_null();
}

static json_t *listeners_json(const codec_doc_t *endpoint)
{
	json_t *list = json_array();

	for (size_t i = 0; i < codec_doc_count(endpoint, CODEC_ENDPOINT_LISTENERS); i++) {
		const char *line = codec_doc_item(endpoint, CODEC_ENDPOINT_LISTENERS, i);
		char service[64], pid[32], process[256];
		(void)word_of(line, 0, service, sizeof(service)); /* used twice below */
		(void)json_array_append_new(
			list,
			json_pack("{s:s, s:o, s:o, s:o}", "service", service, "port",
		                  port_json(service), "pid",
		                  cli_json_text(word_of(line, 1, pid, sizeof(pid))), "process",
		                  cli_json_text(word_of(line, 2, process, sizeof(process)))));
	}
	return list;
}

json_t *cli_endpoint_json(const codec_doc_t *endpoint)
{
	struct pr_uuid id = codec_doc_uuid(endpoint, CODEC_ENDPOINT_UUID);
	struct pr_uuid host = codec_doc_uuid(endpoint, CODEC_ENDPOINT_HOST);
	json_t *object = json_pack(
		"{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "endpoint",
		cli_json_uuid(&id), "kind", text_json(endpoint, CODEC_ENDPOINT_KIND), "name",
		text_json(endpoint, CODEC_ENDPOINT_NAME), "host",
		text_json(endpoint, CODEC_ENDPOINT_HOST_NAME), "host_endpoint",
		cli_json_uuid(&host), "status", text_json(endpoint, CODEC_ENDPOINT_STATUS), "mode",
		text_json(endpoint, CODEC_ENDPOINT_MODE), "enforced",
		text_json(endpoint, CODEC_ENDPOINT_ENFORCED), "groups",
		cli_json_texts(endpoint, CODEC_ENDPOINT_GROUPS), "container_id",
		text_json(endpoint, CODEC_ENDPOINT_CONTAINER_ID), "image",
		text_json(endpoint, CODEC_ENDPOINT_IMAGE), "reported",
		cli_json_time(codec_doc_u64(endpoint, CODEC_ENDPOINT_REPORTED)));
	json_t *more = json_pack(
		"{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "quarantine",
		quarantine_json(endpoint), "labels",
		cli_json_texts(endpoint, CODEC_ENDPOINT_LABELS), "interfaces",
		interfaces_json(endpoint), "listeners", listeners_json(endpoint), "platform",
		text_json(endpoint, CODEC_ENDPOINT_PLATFORM), "version",
		text_json(endpoint, CODEC_ENDPOINT_VERSION), "model",
		text_json(endpoint, CODEC_ENDPOINT_MODEL), "manufacturer",
		text_json(endpoint, CODEC_ENDPOINT_MANUFACTURER), "processor",
		text_json(endpoint, CODEC_ENDPOINT_PROCESSOR), "os_version",
		text_json(endpoint, CODEC_ENDPOINT_OS_VERSION), "cgroup",
		text_json(endpoint, CODEC_ENDPOINT_CGROUP), "sessions", cli_sessions_json(endpoint),
		"sessions_lack", text_json(endpoint, CODEC_ENDPOINT_SESSIONS_LACK));

	(void)json_object_update(object, more);
	json_decref(more);
	return object;
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

static void word_cell(cli_table_t *table, const char *line, unsigned word)
{
	char part[256], ip[64], mask[64];

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
	            (const unsigned[]){ 2, 1, 0 }, 3, style, out);
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
