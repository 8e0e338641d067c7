/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Policy texts from files: check, import, commit. */
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/log.h"
#include "cli/cli.h"
#include "policy/policy.h"

int cli_policy_text_check(struct cli *cli, const char *path, const char *text, size_t size_bytes,
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
	int status = cli_file_read(cli, path, ret_text, &size_bytes);

	return status != CLI_DONE
	               ? status
	               : cli_policy_text_check(cli, path, *ret_text, size_bytes, ret_rules);
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
		status = cli_controller_ask(cli, request, &answer);
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

int cli_policy_import(struct cli *cli, const char *text, uint64_t base, codec_doc_t **ret_answer)
{
	codec_doc_t *request = codec_doc_new(CODEC_POLICY_IMPORT);

	if (request != NULL) {
		codec_doc_set_text(request, CODEC_POLICY_IMPORT_TEXT, text);
		codec_doc_set_u64(request, CODEC_POLICY_IMPORT_BASE, base);
	}
	return cli_controller_ask(cli, request, ret_answer);
}

/* --base; without it 0: the revision in force. */
static int base_read(struct cli *cli, uint64_t *ret_base)
{
	const char *text = cli->options.base;

	*ret_base = 0;
	if (text == NULL) {
		return CLI_DONE;
	}
	if (text[0] == '\0' || strlen(text) > 18 || text[strspn(text, "0123456789")] != '\0') {
		return cli_fail(cli, CLI_USAGE, "--base %s: not a number of `portreeve policy log`",
		                text);
	}
	*ret_base = strtoull(text, NULL, 10);
	return CLI_DONE;
}

static int import(struct cli *cli, const char *path, codec_doc_t **ret_answer)
{
	_cleanup_(pr_free) char *text = NULL;
	uint64_t base = 0;
	size_t rules;
	int status = base_read(cli, &base);

	if (status == CLI_DONE) {
		status = checked_read(cli, path, &text, &rules);
	}
	return status == CLI_DONE ? cli_policy_import(cli, text, base, ret_answer) : status;
}

int cli_run_policy_import(struct cli *cli)
{
	_cleanup_(codec_doc_destroy) codec_doc_t *answer = NULL;
	int status = import(cli, cli->options.words[0], &answer);

	if (status != CLI_DONE) {
		return status;
	}
	return cli_done_say(
		cli, answer, NULL,
		"your draft is replaced; put it in force: portreeve policy commit -m \"why\"");
}

int cli_run_policy_commit(struct cli *cli)
{
	_cleanup_(codec_doc_destroy) codec_doc_t *answer = NULL;
	const char *message = cli->options.message;
	codec_doc_t *request;
	uint64_t confirm_s = 0;
	int status = CLI_DONE;

	if (cli->options.confirm_within != NULL &&
	    cli_duration_parse(cli->options.confirm_within, &confirm_s) != PR_OK) {
		return cli_fail(cli, CLI_USAGE, "--confirm-within %s: a time like 5m or 90s",
		                cli->options.confirm_within);
	}
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
		codec_doc_set_u64(request, CODEC_POLICY_COMMIT_CONFIRM, confirm_s);
		cli_connections_add(request, CODEC_POLICY_COMMIT_CONNECTIONS);
	}
	status = cli_controller_ask(cli, request, &answer);
	if (status == CLI_CONFLICT) {
		(void)cli_policy_conflict_show(cli);
	}
	return status != CLI_DONE ? status : cli_done_say(cli, answer, "revision", "committed");
}
