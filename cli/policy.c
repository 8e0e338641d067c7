/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "cli/cli.h"
#include "policy/policy.h"

/* ---- text from a file, checked here before it travels ---- */

/* All of it, terminated. */
static int file_read(struct cli *cli, const char *path, char **ret_text, size_t *ret_bytes)
{
	_cleanup_(pr_fd_close) int fd = -1;
	_cleanup_(pr_free) char *text = NULL;
	size_t used = 0, room = 0;
	ssize_t got;

	fd = strcmp(path, "-") == 0 ? dup(STDIN_FILENO) : open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		return cli_fail(cli, CLI_ERROR, "%s: %s", path, pr_strerror(-errno));
	}
	do {
		if (room - used < 2) {
			room = room == 0 ? 64 * 1024 : 2 * room;
			char *larger = room > 2 * (size_t)POLICY_TEXT_MAX_BYTES
			                       ? NULL
			                       : realloc(text, room);
			if (larger == NULL) {
				return cli_fail(cli, CLI_ERROR, "%s: larger than %u MiB", path,
				                POLICY_TEXT_MAX_BYTES >> 20);
			}
			text = larger;
		}
		got = read(fd, text + used, room - used - 1);
		used += got > 0 ? (size_t)got : 0;
	} while (got > 0 || (got < 0 && errno == EINTR));
	if (got < 0) {
		return cli_fail(cli, CLI_ERROR, "%s: %s", path, pr_strerror(-errno));
	}
	text[used] = '\0';
	if (strlen(text) != used) {
		return cli_fail(cli, CLI_ERROR, "%s: holds a NUL byte: not a policy text", path);
	}
	*ret_text = take_ptr(text);
	*ret_bytes = used;
	return CLI_DONE;
}

static int text_check(struct cli *cli, const char *path, const char *text, size_t size_bytes,
                      size_t *ret_rules)
{
	_cleanup_(policy_model_destroy) policy_model_t *model = NULL;
	_cleanup_(pr_free) struct policy_errors *errors = calloc(1, sizeof(*errors));
	char shown[2 * POLICY_MESSAGE_BYTES];
	int ret;

	if (errors == NULL) {
		return cli_fail(cli, CLI_ERROR, "%s", pr_strerror(PR_ENOMEM));
	}
	ret = policy_text_parse(text, size_bytes, errors, &model);
	for (size_t i = 0; ret == PR_EPOLICY && i < errors->count; i++) {
		const struct policy_error *error = &errors->items[i];
		cli_note(cli, "%s:%u:%u: %s", path, error->line, error->column,
		         pr_log_escape(error->message, shown, sizeof(shown)));
	}
	if (ret == PR_EPOLICY) {
		return cli_fail(cli, CLI_ERROR, "%s: %zu error%s, nothing was changed", path,
		                errors->total, errors->total == 1 ? "" : "s");
	}
	if (ret < 0) {
		return cli_fail(cli, CLI_ERROR, "%s: %s", path, pr_strerror(ret));
	}
	*ret_rules = policy_model_rule_count(model);
	return CLI_DONE;
}

static int checked_read(struct cli *cli, const char *path, char **ret_text, size_t *ret_rules)
{
	size_t size_bytes;
	int status = file_read(cli, path, ret_text, &size_bytes);

	return status != CLI_DONE ? status
	                          : text_check(cli, path, *ret_text, size_bytes, ret_rules);
}

/* ---- requests ---- */

/* Ask the controller and get one answer. Takes @p request, which may be NULL. */
static int ask(struct cli *cli, codec_doc_t *request, codec_doc_t **ret_answer)
{
	_cleanup_(codec_doc_destroy) codec_doc_t *owned = request;
	struct cli_peer *controller;
	int status;

	if (owned == NULL) {
		return cli_fail(cli, CLI_ERROR, "%s", pr_strerror(PR_ENOMEM));
	}
	status = cli_controller_get(cli, &controller);
	return status != CLI_DONE ? status
	                          : cli_ask(cli, controller, owned, NULL, NULL, ret_answer);
}

/* The controller's OK: what was done and how to undo it. */
static int done_say(struct cli *cli, const codec_doc_t *answer, const char *number_name,
                    const char *fallback)
{
	const char *text = codec_doc_text(answer, CODEC_OK_TEXT);
	char shown[2048];

	if (codec_doc_type(answer) != CODEC_OK) {
		return cli_fail(cli, CLI_ERROR, "the controller gave an unexpected answer");
	}
	if (cli->options.json) {
		json_t *object = json_pack("{s:b, s:o}", "ok", 1, "text", cli_json_text(text));
		if (number_name != NULL) {
			(void)json_object_set_new(
				object, number_name,
				json_integer((json_int_t)codec_doc_u64(answer, CODEC_OK_NUMBER)));
		}
		return cli_json_print(object, cli->out) ? CLI_DONE : CLI_ERROR;
	}
	fprintf(cli->out, "%s\n",
	        pr_log_escape(text[0] != '\0' ? text : fallback, shown, sizeof(shown)));
	return CLI_DONE;
}

int cli_run_policy_check(struct cli *cli)
{
	_cleanup_(pr_free) char *text = NULL;
	_cleanup_(codec_doc_destroy) codec_doc_t *answer = NULL;
	const char *path = cli->options.words[0];
	size_t rules;
	int status = checked_read(cli, path, &text, &rules);

	if (status == CLI_DONE && !cli->options.offline) {
		codec_doc_t *request = codec_doc_new(CODEC_POLICY_CHECK);
		if (request != NULL) {
			codec_doc_set_text(request, CODEC_POLICY_CHECK_TEXT, text);
		}
		status = ask(cli, request, &answer);
	}
	if (status != CLI_DONE) {
		return status;
	}
	if (cli->options.json) {
		return cli_json_print(json_pack("{s:b, s:I}", "ok", 1, "rules", (json_int_t)rules),
		                      cli->out)
		               ? CLI_DONE
		               : CLI_ERROR;
	}
	if (answer != NULL && codec_doc_type(answer) == CODEC_OK) {
		char shown[1024];
		fprintf(cli->out, "%s: %s\n", path,
		        pr_log_escape(codec_doc_text(answer, CODEC_OK_TEXT), shown, sizeof(shown)));
	} else {
		fprintf(cli->out, "%s: good: %zu rule%s; the controller was not asked\n", path,
		        rules, rules == 1 ? "" : "s");
	}
	return CLI_DONE;
}

static int import(struct cli *cli, const char *path, codec_doc_t **ret_answer)
{
	_cleanup_(pr_free) char *text = NULL;
	codec_doc_t *request;
	size_t rules;
	int status = checked_read(cli, path, &text, &rules);

	if (status != CLI_DONE) {
		return status;
	}
	request = codec_doc_new(CODEC_POLICY_IMPORT);
	if (request != NULL) {
		codec_doc_set_text(request, CODEC_POLICY_IMPORT_TEXT, text);
	}
	return ask(cli, request, ret_answer);
}

int cli_run_policy_import(struct cli *cli)
{
	_cleanup_(codec_doc_destroy) codec_doc_t *answer = NULL;
	int status = import(cli, cli->options.words[0], &answer);

	if (status != CLI_DONE) {
		return status;
	}
	return done_say(
		cli, answer, NULL,
		"your draft is replaced; put it in force: portreeve policy commit -m \"why\"");
}

int cli_run_policy_commit(struct cli *cli)
{
	_cleanup_(codec_doc_destroy) codec_doc_t *answer = NULL;
	const char *message = cli->options.message;
	codec_doc_t *request;
	int status = CLI_DONE;

	if (message == NULL || message[0] == '\0') {
		return cli_fail(cli, CLI_USAGE,
		                "say why with -m: it stands in `policy log` for ever");
	}
	if (cli->options.word_count > 0) {
		_cleanup_(codec_doc_destroy) codec_doc_t *imported = NULL;
		status = import(cli, cli->options.words[0], &imported);
	}
	if (status != CLI_DONE) {
		return status;
	}
	request = codec_doc_new(CODEC_POLICY_COMMIT);
	if (request != NULL) {
		codec_doc_set_text(request, CODEC_POLICY_COMMIT_MESSAGE, message);
		codec_doc_set_u64(request, CODEC_POLICY_COMMIT_FORCE, cli->options.force);
	}
	status = ask(cli, request, &answer);
	return status != CLI_DONE ? status : done_say(cli, answer, "revision", "committed");
}

/* "draft", a number, or nothing: the one in force. */
static int revision_read(struct cli *cli, uint64_t *ret_revision)
{
	const char *text = cli->options.word_count > 0 ? cli->options.words[0] : "0";
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

int cli_policy_get(struct cli *cli, codec_doc_t **ret_policy)
{
	codec_doc_t *request;
	uint64_t revision;
	int status = revision_read(cli, &revision);

	if (status != CLI_DONE) {
		return status;
	}
	request = codec_doc_new(CODEC_POLICY_GET);
	if (request != NULL) {
		codec_doc_set_u64(request, CODEC_POLICY_GET_REVISION, revision);
	}
	status = ask(cli, request, ret_policy);
	if (status == CLI_DONE && codec_doc_type(*ret_policy) != CODEC_POLICY) {
		return cli_fail(cli, CLI_ERROR, "the controller gave an unexpected answer");
	}
	return status;
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
	const char *limit = cli->options.limit;
	int status;

	if (request == NULL || table == NULL) {
		return cli_fail(cli, CLI_ERROR, "%s", pr_strerror(PR_ENOMEM));
	}
	if (limit != NULL && (strspn(limit, "0123456789") != strlen(limit) || limit[0] == '\0' ||
	                      strlen(limit) > 9)) {
		return cli_fail(cli, CLI_USAGE, "-n %s: not a number", limit);
	}
	if (limit != NULL) {
		codec_doc_set_u64(request, CODEC_POLICY_LOG_LIMIT, strtoull(limit, NULL, 10));
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
	int status = revision_read(cli, &revision);

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
	}
	status = ask(cli, request, &answer);
	return status != CLI_DONE ? status : done_say(cli, answer, "revision", "rolled back");
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
	}
	status = ask(cli, request, &answer);
	return status != CLI_DONE ? status : done_say(cli, answer, "revision", "the mode is set");
}
