/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The policy as a text: edit, diff, rebase. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "cli/cli.h"
#include "policy/merge.h"
#include "policy/policy.h"

#define LABEL_BYTES 64

/* ---- diff ---- */

static void diff_line_print(struct cli *cli, const char *line, size_t bytes)
{
	char text[POLICY_LINE_MAX_BYTES + 2], shown[4 * POLICY_LINE_MAX_BYTES];
	const char *tint = line[0] == '+' ? "\033[32m" : line[0] == '-' ? "\033[31m" : "";
	bool color = cli->style.color && tint[0] != '\0';

	(void)snprintf(text, sizeof(text), "%.*s", (int)bytes, line);
	fprintf(cli->out, "%s%s%s\n", color ? tint : "", pr_log_escape(text, shown, sizeof(shown)),
	        color ? "\033[0m" : "");
}

static int diff_show(struct cli *cli, const char *old_label, const char *new_label,
                     const char *diff)
{
	if (cli->options.json) {
		return cli_json_print(json_pack("{s:s, s:s, s:s}", "from", old_label, "to",
		                                new_label, "diff", diff),
		                      cli->out)
		               ? CLI_DONE
		               : CLI_ERROR;
	}
	while (*diff != '\0') {
		size_t bytes = strcspn(diff, "\n");
		diff_line_print(cli, diff, bytes);
		diff += bytes + (diff[bytes] == '\n');
	}
	fflush(cli->out);
	return CLI_DONE;
}

static void path_of(int fd, char path[static LABEL_BYTES])
{
	(void)snprintf(path, LABEL_BYTES, "/proc/self/fd/%d", fd);
}

int cli_diff_print(struct cli *cli, const char *old_label, const char *old_text,
                   const char *new_label, const char *new_text, bool *ret_differ)
{
	_cleanup_(pr_fd_close) int old_fd = cli_text_fd(old_text);
	_cleanup_(pr_fd_close) int new_fd = cli_text_fd(new_text);
	_cleanup_(pr_free) char *diff = NULL;
	char old_path[LABEL_BYTES], new_path[LABEL_BYTES];
	const char *argv[] = { "diff",    "-u",     "--label", old_label, "--label",
		               new_label, old_path, new_path,  NULL };
	int ended = 0;

	if (old_fd < 0 || new_fd < 0) {
		return cli_fail(cli, CLI_ERROR, "%s", pr_strerror(old_fd < 0 ? old_fd : new_fd));
	}
	path_of(old_fd, old_path);
	path_of(new_fd, new_path);
	int status = cli_program_run(cli, argv, &ended, &diff);
	if (status == CLI_DONE && ended > 1) {
		return cli_fail(cli, CLI_ERROR, "diff ended with status %d", ended);
	}
	if (ret_differ != NULL) {
		*ret_differ = ended == 1;
	}
	return status == CLI_DONE ? diff_show(cli, old_label, new_label, diff) : status;
}

static void label_of(const codec_doc_t *policy, char label[static LABEL_BYTES])
{
	if (codec_doc_u64(policy, CODEC_POLICY_DRAFT) != 0) {
		(void)snprintf(label, LABEL_BYTES, "draft");
	} else {
		(void)snprintf(label, LABEL_BYTES, "revision %" PRIu64,
		               codec_doc_u64(policy, CODEC_POLICY_REVISION));
	}
}

static int policies_diff(struct cli *cli, const codec_doc_t *old, const codec_doc_t *new)
{
	char old_label[LABEL_BYTES], new_label[LABEL_BYTES];

	label_of(old, old_label);
	label_of(new, new_label);
	return cli_diff_print(cli, old_label, codec_doc_text(old, CODEC_POLICY_TEXT), new_label,
	                      codec_doc_text(new, CODEC_POLICY_TEXT), NULL);
}

/* Without words: what the draft changes. One: from that to the one in force. Two: from, to. */
int cli_run_policy_diff(struct cli *cli)
{
	_cleanup_(codec_doc_destroy) codec_doc_t *old = NULL, *new = NULL;
	const char *const *words = cli->options.words;
	size_t count = cli->options.word_count;
	uint64_t from = 0, to = CODEC_REVISION_DRAFT;
	int status = CLI_DONE;

	if (count > 0) {
		status = cli_revision_read(cli, words[0], &from);
		to = 0;
	}
	if (status == CLI_DONE && count > 1) {
		status = cli_revision_read(cli, words[1], &to);
	}
	if (status == CLI_DONE) {
		status = cli_policy_fetch(cli, to, &new);
	}
	if (status == CLI_DONE && count == 0) {
		from = codec_doc_u64(new, CODEC_POLICY_REVISION); /* what the draft was made from */
	}
	if (status == CLI_DONE) {
		status = cli_policy_fetch(cli, from, &old);
	}
	return status == CLI_DONE ? policies_diff(cli, old, new) : status;
}

/* ---- somebody else was quicker ---- */

struct three {
	codec_doc_t *base, *mine, *theirs;
};

static void three_done(struct three *three)
{
	codec_doc_destroy(&three->base);
	codec_doc_destroy(&three->mine);
	codec_doc_destroy(&three->theirs);
}

static int three_fetch(struct cli *cli, struct three *three)
{
	int status = cli_policy_fetch(cli, CODEC_REVISION_DRAFT, &three->mine);

	if (status == CLI_DONE) {
		status = cli_policy_fetch(cli, 0, &three->theirs);
	}
	if (status == CLI_DONE) {
		status = cli_policy_fetch(cli, codec_doc_u64(three->mine, CODEC_POLICY_REVISION),
		                          &three->base);
	}
	return status;
}

int cli_policy_conflict_show(struct cli *cli)
{
	_cleanup_(three_done) struct three three = { 0 };
	int status = three_fetch(cli, &three);

	if (status != CLI_DONE) {
		return status;
	}
	cli_note(cli, "what was committed meanwhile:");
	status = policies_diff(cli, three.base, three.theirs);
	if (status == CLI_DONE) {
		cli_note(cli, "your draft, which is kept:");
		status = policies_diff(cli, three.base, three.mine);
	}
	return status;
}

static int merge_run(struct cli *cli, const struct three *three, int *ret_exit, char **ret_text)
{
	_cleanup_(pr_fd_close) int mine =
		cli_text_fd(codec_doc_text(three->mine, CODEC_POLICY_TEXT));
	_cleanup_(pr_fd_close) int base =
		cli_text_fd(codec_doc_text(three->base, CODEC_POLICY_TEXT));
	_cleanup_(pr_fd_close) int theirs =
		cli_text_fd(codec_doc_text(three->theirs, CODEC_POLICY_TEXT));
	char mine_path[LABEL_BYTES], base_path[LABEL_BYTES], theirs_path[LABEL_BYTES];
	char base_label[LABEL_BYTES], theirs_label[LABEL_BYTES];
	const char *argv[] = { "diff3",   "-m",       "-L",        "your draft",
		               "-L",      base_label, "-L",        theirs_label,
		               mine_path, base_path,  theirs_path, NULL };

	if (mine < 0 || base < 0 || theirs < 0) {
		return cli_fail(cli, CLI_ERROR, "%s", pr_strerror(PR_ENOMEM));
	}
	path_of(mine, mine_path);
	path_of(base, base_path);
	path_of(theirs, theirs_path);
	label_of(three->base, base_label);
	label_of(three->theirs, theirs_label);
	return cli_program_run(cli, argv, ret_exit, ret_text);
}

static policy_model_t *model_of(const codec_doc_t *policy, struct policy_errors *errors)
{
	const char *text = codec_doc_text(policy, CODEC_POLICY_TEXT);
	policy_model_t *model = NULL;

	return policy_text_parse(text, strlen(text), errors, &model) == PR_OK ? model : NULL;
}

/* By meaning, where the texts clash. NULL: a person has to. */
static char *merge_by_meaning(const struct three *three)
{
	_cleanup_(pr_free) struct policy_errors *errors = calloc(1, sizeof(*errors));
	_cleanup_(policy_model_destroy) policy_model_t *merged = NULL;
	char *text = NULL;
	size_t size_bytes;

	if (errors == NULL) {
		return NULL;
	}
	_cleanup_(policy_model_destroy) policy_model_t *base = model_of(three->base, errors);
	_cleanup_(policy_model_destroy) policy_model_t *mine = model_of(three->mine, errors);
	_cleanup_(policy_model_destroy) policy_model_t *theirs = model_of(three->theirs, errors);
	if (base == NULL || mine == NULL || theirs == NULL ||
	    policy_merge(base, mine, theirs, errors, &merged) != PR_OK ||
	    policy_text_format(merged, &text, &size_bytes) != PR_OK) {
		return NULL;
	}
	return text;
}

int cli_run_policy_rebase(struct cli *cli)
{
	_cleanup_(three_done) struct three three = { 0 };
	_cleanup_(codec_doc_destroy) codec_doc_t *answer = NULL;
	_cleanup_(pr_free) char *text = NULL;
	char path[CLI_PATH_BYTES];
	int ended = 0, status = three_fetch(cli, &three);
	size_t rules;

	if (status == CLI_DONE) {
		status = merge_run(cli, &three, &ended, &text);
	}
	if (status != CLI_DONE) {
		return status;
	}
	uint64_t base = codec_doc_u64(three.theirs, CODEC_POLICY_REVISION);
	char *merged = ended != 0 ? merge_by_meaning(&three) : NULL;
	if (merged != NULL) {
		free(text);
		text = merged;
		ended = 0;
	}
	if (ended == 0) {
		status = cli_policy_text_check(cli, "the merged draft", text, strlen(text), &rules);
		if (status == CLI_DONE) {
			status = cli_policy_import(cli, text, base, &answer);
		}
		return status == CLI_DONE ? cli_done_say(cli, answer, NULL, "merged") : status;
	}
	status = cli_file_make(cli, text, path);
	return status == CLI_DONE
	               ? cli_fail(cli, CLI_CONFLICT,
	                          "both changed the same lines: end the merge in %s, then "
	                          "`portreeve policy import %s --base %" PRIu64 "`",
	                          path, path, base)
	               : status;
}

/* ---- edit ---- */

static int editor_run(struct cli *cli, const char *path)
{
	const char *editor = getenv("VISUAL");
	const char *argv[] = { "/bin/sh", "-c", NULL, "portreeve", path, NULL };
	char command[1024];
	int ended = 0;

	editor = editor != NULL && editor[0] != '\0' ? editor : getenv("EDITOR");
	editor = editor != NULL && editor[0] != '\0' ? editor : "editor";
	(void)snprintf(command, sizeof(command), "%.1000s \"$1\"", editor);
	argv[2] = command;
	int status = cli_program_run(cli, argv, &ended, NULL);
	if (status == CLI_DONE && ended != 0) {
		return cli_fail(cli, CLI_ERROR,
		                "the editor '%s' ended with status %d: nothing was changed; your "
		                "text is in %s",
		                editor, ended, path);
	}
	return status;
}

static bool again_wanted(struct cli *cli)
{
	char answer[8] = "";

	if (isatty(STDIN_FILENO) == 0) {
		return false;
	}
	fputs("edit again? [Y/n] ", cli->err);
	fflush(cli->err);
	return fgets(answer, sizeof(answer), stdin) != NULL && answer[0] != 'n' && answer[0] != 'N';
}

/* Until it has no error, or the user gives up. */
static int edit_loop(struct cli *cli, const char *path, char **ret_text)
{
	size_t rules;
	int status;

	do {
		free(*ret_text);
		*ret_text = NULL;
		status = editor_run(cli, path);
		if (status == CLI_DONE) {
			status = cli_file_read(cli, path, ret_text, NULL);
		}
		if (status != CLI_DONE) {
			return status;
		}
		status = cli_policy_text_check(cli, path, *ret_text, strlen(*ret_text), &rules);
	} while (status != CLI_DONE && again_wanted(cli));
	if (status != CLI_DONE) {
		cli_note(cli, "your text is kept: %s", path);
	}
	return status;
}

/* The draft, or the policy in force if there is none. */
static int start_fetch(struct cli *cli, codec_doc_t **ret_policy)
{
	cli->absent_is_fine = true;
	int status = cli_policy_fetch(cli, CODEC_REVISION_DRAFT, ret_policy);
	cli->absent_is_fine = false;
	return status == CLI_NOT_FOUND ? cli_policy_fetch(cli, 0, ret_policy) : status;
}

int cli_run_policy_edit(struct cli *cli)
{
	_cleanup_(codec_doc_destroy) codec_doc_t *start = NULL, *answer = NULL;
	_cleanup_(pr_free) char *text = NULL;
	char path[CLI_PATH_BYTES], label[LABEL_BYTES];
	bool differ = false;
	int status = start_fetch(cli, &start);

	if (status == CLI_DONE) {
		status = cli_file_make(cli, codec_doc_text(start, CODEC_POLICY_TEXT), path);
	}
	if (status == CLI_DONE) {
		status = edit_loop(cli, path, &text);
	}
	if (status != CLI_DONE) {
		return status;
	}
	label_of(start, label);
	status = cli_diff_print(cli, label, codec_doc_text(start, CODEC_POLICY_TEXT), "draft", text,
	                        &differ);
	if (status == CLI_DONE && !differ) {
		cli_note(cli, "nothing was changed");
		(void)unlink(path);
		return CLI_DONE;
	}
	if (status == CLI_DONE) {
		status = cli_policy_import(cli, text, codec_doc_u64(start, CODEC_POLICY_REVISION),
		                           &answer);
	}
	if (status != CLI_DONE) {
		cli_note(cli, "your text is kept: %s", path);
		return status;
	}
	(void)unlink(path);
	return cli_done_say(cli, answer, NULL, "your draft");
}
