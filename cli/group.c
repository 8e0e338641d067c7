/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Groups of the policy. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "cli/cli.h"
#include "policy/policy.h"

struct groups {
	struct cli *cli;
	cli_table_t *table;
};

static bool group_json(struct groups *groups, const codec_doc_t *group)
{
	return cli_json_print(json_pack("{s:s, s:I, s:I, s:o, s:o}", "group",
	                                codec_doc_text(group, CODEC_GROUP_NAME), "members",
	                                (json_int_t)codec_doc_u64(group, CODEC_GROUP_COUNT),
	                                "rules",
	                                (json_int_t)codec_doc_u64(group, CODEC_GROUP_RULES), "mode",
	                                cli_json_text(codec_doc_text(group, CODEC_GROUP_MODE)),
	                                "lines", cli_json_texts(group, CODEC_GROUP_LINES)),
	                      groups->cli->out);
}

static bool group_take(void *arg, codec_doc_t **item_p)
{
	struct groups *groups = arg;
	const codec_doc_t *group = *item_p;
	const char *mode;

	if (codec_doc_type(group) != CODEC_GROUP) {
		return true;
	}
	if (groups->cli->options.json) {
		return group_json(groups, group);
	}
	mode = codec_doc_text(group, CODEC_GROUP_MODE);
	cli_table_cell(groups->table, CLI_PLAIN, "%s", codec_doc_text(group, CODEC_GROUP_NAME));
	cli_table_cell(groups->table,
	               codec_doc_u64(group, CODEC_GROUP_COUNT) == 0 ? CLI_WARN : CLI_PLAIN,
	               "%" PRIu64, codec_doc_u64(group, CODEC_GROUP_COUNT));
	cli_table_cell(groups->table, CLI_PLAIN, "%" PRIu64,
	               codec_doc_u64(group, CODEC_GROUP_RULES));
	cli_table_cell(groups->table, CLI_PLAIN, "%s", mode[0] != '\0' ? mode : "default");
	cli_table_cell(groups->table, CLI_MUTED, "%s",
	               codec_doc_count(group, CODEC_GROUP_LINES) > 0
	                       ? codec_doc_item(group, CODEC_GROUP_LINES, 0)
	                       : "");
	return true;
}

int cli_run_group_list(struct cli *cli)
{
	static const struct cli_column columns[] = {
		{ "GROUP", 32 }, { "MEMBERS", 0 }, { "RULES", 0 }, { "MODE", 0 }, { "LINE", 60 }
	};
	codec_doc_t *request = codec_doc_new(CODEC_GROUPS_GET);
	_cleanup_(cli_table_destroy) cli_table_t *table =
		cli_table_new(&cli->style, cli->out, columns, PR_ARRAY_LEN(columns));
	struct groups groups = { .cli = cli, .table = table };

	if (request != NULL) {
		codec_doc_set_u64(request, CODEC_GROUPS_GET_DRAFT, cli->options.draft);
	}
	if (table == NULL) {
		codec_doc_destroy(&request);
		return cli_fail(cli, CLI_ERROR, "%s", pr_strerror(PR_ENOMEM));
	}
	int status = cli_controller_list(cli, request, group_take, &groups);
	if (status == CLI_DONE && !cli->options.json) {
		cli_table_flush(table);
	}
	return status;
}

int cli_run_group_members(struct cli *cli)
{
	codec_doc_t *request = codec_doc_new(CODEC_GROUP_MEMBERS);

	if (request != NULL) {
		codec_doc_set_text(request, CODEC_GROUP_MEMBERS_GROUP, cli->options.words[0]);
	}
	return cli_endpoints_list(cli, request,
	                          "the group has no members now: its rules match nothing");
}

int cli_run_group_preview(struct cli *cli)
{
	codec_doc_t *request = codec_doc_new(CODEC_GROUP_PREVIEW);
	char text[CLI_LINE_BYTES];
	int status = cli_words_join(cli, NULL, cli->options.words, cli->options.word_count, text);

	if (status != CLI_DONE) {
		codec_doc_destroy(&request);
		return status;
	}
	if (request != NULL) {
		codec_doc_set_text(request, CODEC_GROUP_PREVIEW_SELECTORS, text);
	}
	return cli_endpoints_list(cli, request, "nobody matches now");
}
