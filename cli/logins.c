/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who is logged in, as agents tell of their hosts. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "cli/cli.h"

static unsigned hex_of(char c)
{
	return c >= '0' && c <= '9'   ? (unsigned)(c - '0')
	       : c >= 'A' && c <= 'F' ? (unsigned)(c - 'A') + 10
	                              : 16;
}

/* A word back to its bytes; "-" is empty. Returns what follows it. */
static const char *word_read(const char *line, char word[static CLI_SESSION_BYTES])
{
	size_t used = 0;

	if (line[0] == '-' && (line[1] == ' ' || line[1] == '\0')) {
		line++;
	}
	while (*line != '\0' && *line != ' ' && used < CLI_SESSION_BYTES - 1) {
		unsigned high = *line == '%' ? hex_of(line[1]) : 16;
		unsigned low = high < 16 ? hex_of(line[2]) : 16;
		bool coded = low < 16 && (high != 0 || low != 0);
		word[used++] = coded ? (char)(high << 4 | low) : *line;
		line += coded ? 3 : 1;
	}
	word[used] = '\0';
	line += strcspn(line, " ");
	return line + strspn(line, " ");
}

void cli_session_read(const char *line, struct cli_session_line *ret_session)
{
	char *rest = NULL;

	ret_session->since_wall_ns = strtoull(line, &rest, 10) * PR_NS_PER_S;
	ret_session->pid = strtoull(rest, &rest, 10);
	rest += strspn(rest, " ");
	line = word_read(rest, ret_session->line);
	line = word_read(line, ret_session->user);
	(void)word_read(line, ret_session->from);
}

/* What is no UTF-8 cannot stand in JSON: then as the agent wrote it. */
static json_t *bytes_json(const char *text)
{
	json_t *exact = text[0] == '\0' ? json_null() : json_string(text);
	char coded[3 * CLI_SESSION_BYTES];
	size_t used = 0;

	if (exact != NULL) {
		return exact;
	}
	for (; *text != '\0'; text++) {
		used += (size_t)snprintf(coded + used, sizeof(coded) - used,
		                         (unsigned char)*text < 0x80 ? "%c" : "%%%02X",
		                         (unsigned char)*text);
	}
	return json_string(coded);
}

static json_t *session_json(const struct cli_session_line *session)
{
	return json_pack("{s:o, s:o, s:o, s:I, s:o}", "user", bytes_json(session->user), "line",
	                 bytes_json(session->line), "from", bytes_json(session->from), "pid",
	                 (json_int_t)session->pid, "since", cli_json_time(session->since_wall_ns));
}

json_t *cli_sessions_json(const codec_doc_t *endpoint)
{
	json_t *list = json_array();

	for (size_t i = 0; i < codec_doc_count(endpoint, CODEC_ENDPOINT_SESSIONS); i++) {
		struct cli_session_line session;
		cli_session_read(codec_doc_item(endpoint, CODEC_ENDPOINT_SESSIONS, i), &session);
		(void)json_array_append_new(list, session_json(&session));
	}
	return list;
}

static bool session_json_print(struct cli *cli, const codec_doc_t *host,
                               const struct cli_session_line *session)
{
	struct pr_uuid id = codec_doc_uuid(host, CODEC_ENDPOINT_UUID);
	json_t *object = json_pack("{s:s, s:o, s:o}", "type", "session", "host",
	                           cli_json_text(codec_doc_text(host, CODEC_ENDPOINT_NAME)),
	                           "host_endpoint", cli_json_uuid(&id));
	json_t *more = session_json(session);

	(void)json_object_update(object, more);
	json_decref(more);
	return cli_json_print(object, cli->out);
}

static void session_cells(struct cli *cli, cli_table_t *table, const codec_doc_t *host,
                          const struct cli_session_line *session)
{
	char time[CLI_TIME_BYTES];

	cli_table_cell(table, CLI_PLAIN, "%s", session->user);
	cli_table_cell(table, CLI_PLAIN, "%s", codec_doc_text(host, CODEC_ENDPOINT_NAME));
	cli_table_cell(table, CLI_PLAIN, "%s", session->line);
	cli_table_cell(table, CLI_PLAIN, "%s", session->from);
	cli_table_cell(table, CLI_PLAIN, "%" PRIu64, session->pid);
	cli_table_cell(table, CLI_PLAIN, "%s",
	               cli_time_format(&cli->style, session->since_wall_ns, time));
}

/* What a host does not tell. */
static bool lack_say(struct cli *cli, const codec_doc_t *host)
{
	const char *lack = codec_doc_text(host, CODEC_ENDPOINT_SESSIONS_LACK);
	const char *name = codec_doc_text(host, CODEC_ENDPOINT_NAME);
	char text[512];

	if (lack[0] == '\0') {
		return true;
	}
	if (cli->options.json) {
		return cli_json_print(json_pack("{s:s, s:o, s:s}", "type", "sessions_lack", "host",
		                                cli_json_text(name), "lack", lack),
		                      cli->out);
	}
	cli_note(cli, "sessions on %s: %s", pr_log_escape(name, text, sizeof(text) / 2),
	         pr_log_escape(lack, text + sizeof(text) / 2, sizeof(text) / 2));
	return true;
}

struct logins {
	struct cli *cli;
	const char *name; /* NULL: everybody's */
	cli_table_t *table;
	size_t shown;
};

static bool host_show(struct logins *logins, const codec_doc_t *host)
{
	bool good = true;

	for (size_t i = 0; good && i < codec_doc_count(host, CODEC_ENDPOINT_SESSIONS); i++) {
		struct cli_session_line session;
		cli_session_read(codec_doc_item(host, CODEC_ENDPOINT_SESSIONS, i), &session);
		if (logins->name != NULL && strcmp(logins->name, session.user) != 0) {
			continue;
		}
		logins->shown++;
		if (logins->cli->options.json) {
			good = session_json_print(logins->cli, host, &session);
		} else {
			session_cells(logins->cli, logins->table, host, &session);
		}
	}
	return good;
}

bool cli_sessions_show(struct cli *cli, codec_doc_t *const *hosts, size_t count, const char *name,
                       size_t *ret_shown)
{
	static const struct cli_column columns[] = {
		{ "USER", 32 }, { "HOST", 32 }, { "LINE", 16 },
		{ "FROM", 40 }, { "PID", 0 },   { "SINCE", 0 },
	};
	_cleanup_(cli_table_destroy) cli_table_t *table =
		cli_table_new(&cli->style, cli->out, columns, PR_ARRAY_LEN(columns));
	struct logins logins = { .cli = cli, .name = name, .table = table };
	bool good = table != NULL;

	for (size_t i = 0; good && i < count; i++) {
		good = host_show(&logins, hosts[i]);
	}
	if (good && !cli->options.json && logins.shown > 0) {
		fputs("\nSessions\n", cli->out);
		cli_table_flush(table);
	}
	for (size_t i = 0; good && i < count; i++) {
		good = lack_say(cli, hosts[i]);
	}
	*ret_shown = logins.shown;
	return good;
}
