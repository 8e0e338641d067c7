/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The policy in force and its revisions. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/log.h"
#include "cli/cli.h"
#include "policy/policy.h"

int cli_revision_read(struct cli *cli, const char *text, uint64_t *ret_revision)
{
	text = text != NULL ? text : "0";
	size_t digits = strspn(text, "0123456789");

	if (strcmp(text, "draft") == 0) {
		*ret_revision = CODEC_REVISION_DRAFT;
		return CLI_DONE;
	}
	if (digits == 0 || digits > 18 || text[digits] != '\0') {
		return cli_fail(
			cli, CLI_USAGE,
			"'%s' is not a revision: a number of `portreeve policy log`, or draft",
			text);
	}
	*ret_revision = strtoull(text, NULL, 10);
	return CLI_DONE;
}

int cli_policy_fetch(struct cli *cli, uint64_t revision, codec_doc_t **ret_policy)
{
	codec_doc_t *request = codec_doc_new(CODEC_POLICY_GET);
	int status;

	if (request != NULL) {
		codec_doc_set_u64(request, CODEC_POLICY_GET_REVISION, revision);
	}
	status = cli_controller_ask(cli, request, ret_policy);
	if (status == CLI_DONE && codec_doc_type(*ret_policy) != CODEC_POLICY) {
		return cli_fail(cli, CLI_ERROR, "the controller gave an unexpected answer");
	}
	return status;
}

int cli_policy_get(struct cli *cli, codec_doc_t **ret_policy)
{
	uint64_t revision;
	int status = cli_revision_read(
		cli, cli->options.word_count > 0 ? cli->options.words[0] : NULL, &revision);

	return status == CLI_DONE ? cli_policy_fetch(cli, revision, ret_policy) : status;
}

static json_t *policy_json(const codec_doc_t *policy, bool with_text)
{
	bool draft = codec_doc_u64(policy, CODEC_POLICY_DRAFT) != 0;
	json_t *object = json_pack(
		"{s:o, s:b, s:o, s:o, s:o, s:I}", "revision",
		draft ? json_null()
		      : json_integer((json_int_t)codec_doc_u64(policy, CODEC_POLICY_REVISION)),
		"draft", draft, "time", cli_json_time(codec_doc_u64(policy, CODEC_POLICY_TIME)),
		"author", cli_json_text(codec_doc_text(policy, CODEC_POLICY_AUTHOR)), "message",
		cli_json_text(codec_doc_text(policy, CODEC_POLICY_MESSAGE)), "rules",
		(json_int_t)codec_doc_u64(policy, CODEC_POLICY_RULES));

	if (with_text) {
		(void)json_object_set_new(object, "text",
		                          json_string(codec_doc_text(policy, CODEC_POLICY_TEXT)));
	}
	return object;
}

void cli_policy_say(struct cli *cli, const codec_doc_t *policy)
{
	char time[CLI_TIME_BYTES], author[256], message[1024];

	if (codec_doc_u64(policy, CODEC_POLICY_DRAFT) != 0) {
		cli_note(cli, "your draft, %" PRIu64 " rules",
		         codec_doc_u64(policy, CODEC_POLICY_RULES));
		return;
	}
	cli_note(cli, "revision %" PRIu64 ", %s by %s: %s",
	         codec_doc_u64(policy, CODEC_POLICY_REVISION),
	         cli_time_format(&cli->style, codec_doc_u64(policy, CODEC_POLICY_TIME), time),
	         pr_log_escape(codec_doc_text(policy, CODEC_POLICY_AUTHOR), author, sizeof(author)),
	         pr_log_escape(codec_doc_text(policy, CODEC_POLICY_MESSAGE), message,
	                       sizeof(message)));
}

/* On a terminal line by line and escaped; else exact, so that it can be imported again. */
static int text_print(struct cli *cli, const char *text)
{
	if (!cli->style.terminal) {
		return fputs(text, cli->out) == EOF ? CLI_ERROR : CLI_DONE;
	}
	while (*text != '\0') {
		char line[POLICY_LINE_MAX_BYTES + 1], shown[4 * POLICY_LINE_MAX_BYTES];
		size_t length = strcspn(text, "\n");
		(void)snprintf(line, sizeof(line), "%.*s",
		               (int)(length < sizeof(line) ? length : sizeof(line) - 1), text);
		fprintf(cli->out, "%s\n", pr_log_escape(line, shown, sizeof(shown)));
		text += length + (text[length] == '\n');
	}
	return CLI_DONE;
}

int cli_run_policy_show(struct cli *cli)
{
	_cleanup_(codec_doc_destroy) codec_doc_t *policy = NULL;
	int status = cli_policy_get(cli, &policy);

	if (status != CLI_DONE) {
		return status;
	}
	if (cli->options.json) {
		return cli_json_print(policy_json(policy, true), cli->out) ? CLI_DONE : CLI_ERROR;
	}
	cli_policy_say(cli, policy);
	return text_print(cli, codec_doc_text(policy, CODEC_POLICY_TEXT));
}

int cli_run_policy_export(struct cli *cli)
{
	_cleanup_(codec_doc_destroy) codec_doc_t *policy = NULL;
	int status = cli_policy_get(cli, &policy);

	if (status != CLI_DONE) {
		return status;
	}
	if (cli->options.json) {
		return cli_json_print(policy_json(policy, true), cli->out) ? CLI_DONE : CLI_ERROR;
	}
	return text_print(cli, codec_doc_text(policy, CODEC_POLICY_TEXT));
}

/* ---- log and rollback ---- */

struct log {
	struct cli *cli;
	cli_table_t *table;
};

static bool log_take(void *arg, codec_doc_t **item_p)
{
	struct log *log = arg;
	const codec_doc_t *policy = *item_p;
	char time[CLI_TIME_BYTES];

	if (codec_doc_type(policy) != CODEC_POLICY) {
		return true;
	}
	if (log->table == NULL) {
		return cli_json_print(policy_json(policy, false), log->cli->out);
	}
	cli_table_cell(log->table, CLI_PLAIN, "%" PRIu64,
	               codec_doc_u64(policy, CODEC_POLICY_REVISION));
	cli_table_cell(
		log->table, CLI_PLAIN, "%s",
		cli_time_format(&log->cli->style, codec_doc_u64(policy, CODEC_POLICY_TIME), time));
	cli_table_cell(log->table, CLI_PLAIN, "%s", codec_doc_text(policy, CODEC_POLICY_AUTHOR));
	cli_table_cell(log->table, CLI_PLAIN, "%" PRIu64,
	               codec_doc_u64(policy, CODEC_POLICY_RULES));
	cli_table_cell(log->table, CLI_PLAIN, "%s", codec_doc_text(policy, CODEC_POLICY_MESSAGE));
	return true;
}

int cli_run_policy_log(struct cli *cli)
{
	static const struct cli_column columns[] = {
		{ "REVISION", 0 }, { "TIME", 0 }, { "AUTHOR", 24 }, { "RULES", 0 }, { "MESSAGE", 0 }
	};
	_cleanup_(codec_doc_destroy) codec_doc_t *request = codec_doc_new(CODEC_POLICY_LOG);
	_cleanup_(cli_table_destroy) cli_table_t *table =
		cli_table_new(&cli->style, cli->out, columns, PR_ARRAY_LEN(columns));
	struct log log = { .cli = cli, .table = cli->options.json ? NULL : table };
	struct cli_peer *controller;
	uint64_t limit = 0;
	int status;

	if (request == NULL || table == NULL) {
		return cli_fail(cli, CLI_ERROR, "%s", pr_strerror(PR_ENOMEM));
	}
	if (cli->options.limit != NULL) {
		status = cli_limit_read(cli, &limit);
		if (status != CLI_DONE) {
			return status;
		}
		codec_doc_set_u64(request, CODEC_POLICY_LOG_LIMIT, limit);
	}
	status = cli_controller_get(cli, &controller);
	if (status == CLI_DONE) {
		status = cli_ask(cli, controller, request, log_take, &log, NULL);
	}
	if (status == CLI_DONE && log.table != NULL) {
		cli_table_flush(table);
	}
	return status;
}

int cli_run_policy_rollback(struct cli *cli)
{
	_cleanup_(codec_doc_destroy) codec_doc_t *answer = NULL;
	codec_doc_t *request;
	uint64_t revision;
	int status = cli_revision_read(cli, cli->options.words[0], &revision);

	if (status == CLI_DONE && (revision == 0 || revision == CODEC_REVISION_DRAFT)) {
		return cli_fail(cli, CLI_USAGE,
		                "say which revision: a number of `portreeve policy log`");
	}
	if (status != CLI_DONE) {
		return status;
	}
	request = codec_doc_new(CODEC_POLICY_ROLLBACK);
	if (request != NULL) {
		codec_doc_set_u64(request, CODEC_POLICY_ROLLBACK_REVISION, revision);
		codec_doc_set_text(request, CODEC_POLICY_ROLLBACK_MESSAGE,
		                   cli->options.message != NULL ? cli->options.message : "");
		codec_doc_set_u64(request, CODEC_POLICY_ROLLBACK_FORCE, cli->options.force);
		cli_connections_add(request, CODEC_POLICY_ROLLBACK_CONNECTIONS);
	}
	status = cli_controller_ask(cli, request, &answer);
	return status != CLI_DONE ? status : cli_done_say(cli, answer, "revision", "rolled back");
}

/* ---- mode ---- */

static bool is_mode(const char *word)
{
	return strcmp(word, "observe") == 0 || strcmp(word, "enforce") == 0;
}

/* `mode enforce GROUP` and `mode GROUP enforce`. */
int cli_run_mode(struct cli *cli)
{
	_cleanup_(codec_doc_destroy) codec_doc_t *answer = NULL;
	const char *mode = cli->options.words[0], *group = cli->options.words[1];
	codec_doc_t *request;
	int status;

	if (!is_mode(mode)) {
		mode = cli->options.words[1];
		group = cli->options.words[0];
	}
	if (!is_mode(mode)) {
		return cli_fail(
			cli, CLI_USAGE,
			"neither word is a mode: portreeve mode observe|enforce default|GROUP");
	}
	request = codec_doc_new(CODEC_MODE_SET);
	if (request != NULL) {
		codec_doc_set_text(request, CODEC_MODE_SET_MODE, mode);
		codec_doc_set_text(request, CODEC_MODE_SET_GROUP, group);
		codec_doc_set_u64(request, CODEC_MODE_SET_FORCE, cli->options.force);
		cli_connections_add(request, CODEC_MODE_SET_CONNECTIONS);
	}
	status = cli_controller_ask(cli, request, &answer);
	return status != CLI_DONE ? status
	                          : cli_done_say(cli, answer, "revision", "the mode is set");
}
