/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One change of the draft, and what becomes of the draft. */
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "policy/policy.h"

#define LINE_BYTES CLI_LINE_BYTES

/* A word as the shell gave it; one with blanks was in quotes, which the shell took. */
static bool word_append(char *line, size_t *used, const char *word)
{
	bool quote = word[0] == '\0' || (strpbrk(word, " \t\"\\") != NULL && word[0] != '"');
	size_t at = *used;

	if (at + 2 * strlen(word) + 4 > LINE_BYTES) {
		return false;
	}
	if (at > 0) {
		line[at++] = ' ';
	}
	if (quote) {
		line[at++] = '"';
	}
	for (; *word != '\0'; word++) {
		if (quote && (*word == '"' || *word == '\\')) {
			line[at++] = '\\';
		}
		line[at++] = *word;
	}
	if (quote) {
		line[at++] = '"';
	}
	line[at] = '\0';
	*used = at;
	return true;
}

/* One word is the line as it is. */
int cli_words_join(struct cli *cli, const char *first, const char *const *words, size_t count,
                   char line[static LINE_BYTES])
{
	size_t used = 0;
	bool fits = true;

	line[0] = '\0';
	if (first != NULL) {
		fits = word_append(line, &used, first);
	}
	if (fits && count == 1) {
		int length = snprintf(line + used, LINE_BYTES - used, "%s%s", used > 0 ? " " : "",
		                      words[0]);
		fits = length >= 0 && (size_t)length < LINE_BYTES - used;
	}
	for (size_t i = 0; fits && count > 1 && i < count; i++) {
		fits = word_append(line, &used, words[i]);
	}
	return fits ? CLI_DONE
	            : cli_fail(cli, CLI_USAGE, "a line has at most %u bytes",
	                       POLICY_LINE_MAX_BYTES);
}

static int change_send(struct cli *cli, const char *change, const char *line, uint64_t number,
                       uint64_t to)
{
	_cleanup_(codec_doc_destroy) codec_doc_t *answer = NULL;
	codec_doc_t *request = codec_doc_new(CODEC_POLICY_EDIT);

	if (request != NULL) {
		codec_doc_set_text(request, CODEC_POLICY_EDIT_CHANGE, change);
		codec_doc_set_text(request, CODEC_POLICY_EDIT_LINE, line);
		codec_doc_set_u64(request, CODEC_POLICY_EDIT_NUMBER, number);
		codec_doc_set_u64(request, CODEC_POLICY_EDIT_TO, to);
	}
	int status = cli_controller_ask(cli, request, &answer);
	return status == CLI_DONE ? cli_done_say(cli, answer, "rule", "done") : status;
}

int cli_run_policy_add(struct cli *cli)
{
	char line[LINE_BYTES];
	int status = cli_words_join(cli, NULL, cli->options.words, cli->options.word_count, line);

	return status == CLI_DONE ? change_send(cli, "add", line, 0, 0) : status;
}

static int group_create(struct cli *cli, const char *kind)
{
	char rest[LINE_BYTES], line[LINE_BYTES + 16];
	int status = cli_words_join(cli, cli->options.words[0], cli->options.words + 1,
	                            cli->options.word_count - 1, rest);

	(void)snprintf(line, sizeof(line), "%s %s", kind, rest);
	return status == CLI_DONE ? change_send(cli, "add", line, 0, 0) : status;
}

int cli_run_group_create(struct cli *cli)
{
	return group_create(cli, "group");
}

int cli_run_usergroup_create(struct cli *cli)
{
	return group_create(cli, "usergroup");
}

/* The same for each rule that is named. */
static int each_rule(struct cli *cli, const char *change)
{
	int status = CLI_DONE;

	for (size_t i = 0; status == CLI_DONE && i < cli->options.word_count; i++) {
		uint64_t number = 0;
		status = cli_rule_number(cli, cli->options.words[i], &number);
		if (status == CLI_DONE) {
			status = change_send(cli, change, "", number, 0);
		}
	}
	return status;
}

int cli_run_policy_rm(struct cli *cli)
{
	const char *kind = cli->options.words[0];
	bool users = strcmp(kind, "usergroup") == 0;

	if (!users && strcmp(kind, "group") != 0) {
		return each_rule(cli, "rm");
	}
	if (cli->options.word_count != 2) {
		return cli_fail(cli, CLI_USAGE, "portreeve policy rm %s NAME", kind);
	}
	return change_send(cli, users ? "rm-usergroup" : "rm-group", cli->options.words[1], 0, 0);
}

int cli_run_policy_enable(struct cli *cli)
{
	return each_rule(cli, "enable");
}

int cli_run_policy_disable(struct cli *cli)
{
	return each_rule(cli, "disable");
}

int cli_run_policy_stage(struct cli *cli)
{
	return each_rule(cli, "stage");
}

int cli_run_policy_mv(struct cli *cli)
{
	uint64_t number = 0, to = 0;
	int status = cli_rule_number(cli, cli->options.words[0], &number);

	if (status == CLI_DONE) {
		status = cli_rule_number(cli, cli->options.words[1], &to);
	}
	return status == CLI_DONE ? change_send(cli, "mv", "", number, to) : status;
}

int cli_run_policy_confirm(struct cli *cli)
{
	_cleanup_(codec_doc_destroy) codec_doc_t *answer = NULL;
	int status = cli_controller_ask(cli, codec_doc_new(CODEC_POLICY_CONFIRM), &answer);

	return status == CLI_DONE ? cli_done_say(cli, answer, "revision", "confirmed") : status;
}

/* ---- discard: a copy is kept, so that it can be undone ---- */

int cli_run_policy_discard(struct cli *cli)
{
	_cleanup_(codec_doc_destroy) codec_doc_t *draft = NULL, *answer = NULL;
	char path[CLI_PATH_BYTES], text[CLI_PATH_BYTES + 256];
	int status = cli_policy_fetch(cli, CODEC_REVISION_DRAFT, &draft);

	if (status == CLI_DONE) {
		status = cli_file_make(cli, codec_doc_text(draft, CODEC_POLICY_TEXT), path);
	}
	if (status == CLI_DONE) {
		status = cli_controller_ask(cli, codec_doc_new(CODEC_POLICY_DISCARD), &answer);
	}
	if (status != CLI_DONE) {
		return status;
	}
	(void)snprintf(text, sizeof(text),
	               "your draft is forgotten; undo: portreeve policy import %s --base %llu",
	               path, (unsigned long long)codec_doc_u64(answer, CODEC_OK_NUMBER));
	codec_doc_set_text(answer, CODEC_OK_TEXT, text);
	return cli_done_say(cli, answer, NULL, text);
}
