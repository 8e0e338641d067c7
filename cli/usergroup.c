/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Groups of users of the policy. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "cli/cli.h"

struct usergroups {
	struct cli *cli;
	cli_table_t *table;
	bool members; /* a row for each */
	size_t rows;
};

/* "12 ana" */
static const char *member_split(const char *member, unsigned long *ret_line)
{
	char *user = NULL;

	*ret_line = strtoul(member, &user, 10);
	return *user == ' ' ? user + 1 : user;
}

static json_t *members_json(const codec_doc_t *usergroup)
{
	json_t *list = json_array();

	for (size_t i = 0; i < codec_doc_count(usergroup, CODEC_USERGROUP_MEMBERS); i++) {
		unsigned long line = 0;
		const char *user =
			member_split(codec_doc_item(usergroup, CODEC_USERGROUP_MEMBERS, i), &line);
		(void)json_array_append_new(
			list, json_pack("{s:s, s:I}", "user", user, "line", (json_int_t)line));
	}
	return list;
}

static bool usergroup_json(const struct usergroups *usergroups, const codec_doc_t *usergroup)
{
	return cli_json_print(json_pack("{s:s, s:o, s:I, s:o}", "usergroup",
	                                codec_doc_text(usergroup, CODEC_USERGROUP_NAME), "members",
	                                members_json(usergroup), "rules",
	                                (json_int_t)codec_doc_u64(usergroup, CODEC_USERGROUP_RULES),
	                                "lines", cli_json_texts(usergroup, CODEC_USERGROUP_LINES)),
	                      usergroups->cli->out);
}

static void members_cells(struct usergroups *usergroups, const codec_doc_t *usergroup)
{
	for (size_t i = 0; i < codec_doc_count(usergroup, CODEC_USERGROUP_MEMBERS); i++) {
		unsigned long line = 0;
		const char *user =
			member_split(codec_doc_item(usergroup, CODEC_USERGROUP_MEMBERS, i), &line);
		cli_table_cell(usergroups->table, CLI_PLAIN, "%s", user);
		cli_table_cell(usergroups->table, CLI_MUTED, "%lu", line);
		usergroups->rows++;
	}
}

static void usergroup_cells(struct usergroups *usergroups, const codec_doc_t *usergroup)
{
	size_t members = codec_doc_count(usergroup, CODEC_USERGROUP_MEMBERS);

	cli_table_cell(usergroups->table, CLI_PLAIN, "@%s",
	               codec_doc_text(usergroup, CODEC_USERGROUP_NAME));
	cli_table_cell(usergroups->table, members == 0 ? CLI_WARN : CLI_PLAIN, "%zu", members);
	cli_table_cell(usergroups->table, CLI_PLAIN, "%" PRIu64,
	               codec_doc_u64(usergroup, CODEC_USERGROUP_RULES));
	cli_table_cell(usergroups->table, CLI_MUTED, "%s",
	               codec_doc_count(usergroup, CODEC_USERGROUP_LINES) > 0
	                       ? codec_doc_item(usergroup, CODEC_USERGROUP_LINES, 0)
	                       : "");
}

static bool usergroup_take(void *arg, codec_doc_t **item_p)
{
	struct usergroups *usergroups = arg;
	const codec_doc_t *usergroup = *item_p;

	if (codec_doc_type(usergroup) != CODEC_USERGROUP) {
		return true;
	}
	if (usergroups->cli->options.json) {
		return usergroup_json(usergroups, usergroup);
	}
	if (usergroups->members) {
		members_cells(usergroups, usergroup);
	} else {
		usergroup_cells(usergroups, usergroup);
	}
	return true;
}

static int usergroups_run(struct cli *cli, const char *name, const struct cli_column *columns,
                          size_t column_count, struct usergroups *usergroups)
{
	codec_doc_t *request = codec_doc_new(CODEC_USERGROUPS_GET);
	_cleanup_(cli_table_destroy) cli_table_t *table =
		cli_table_new(&cli->style, cli->out, columns, column_count);

	if (request == NULL || table == NULL) {
		codec_doc_destroy(&request);
		return cli_fail(cli, CLI_ERROR, "%s", pr_strerror(PR_ENOMEM));
	}
	codec_doc_set_text(request, CODEC_USERGROUPS_GET_NAME, name);
	codec_doc_set_u64(request, CODEC_USERGROUPS_GET_DRAFT, cli->options.draft);
	usergroups->cli = cli;
	usergroups->table = table;
	int status = cli_controller_list(cli, request, usergroup_take, usergroups);
	if (status == CLI_DONE && !cli->options.json) {
		cli_table_flush(table);
	}
	return status;
}

int cli_run_usergroup_list(struct cli *cli)
{
	static const struct cli_column columns[] = {
		{ "USERGROUP", 32 }, { "MEMBERS", 0 }, { "RULES", 0 }, { "LINE", 60 }
	};
	struct usergroups usergroups = { 0 };

	return usergroups_run(cli, "", columns, PR_ARRAY_LEN(columns), &usergroups);
}

int cli_run_usergroup_members(struct cli *cli)
{
	static const struct cli_column columns[] = { { "USER", 64 }, { "LINE", 0 } };
	struct usergroups usergroups = { .members = true };
	int status = usergroups_run(cli, cli->options.words[0], columns, PR_ARRAY_LEN(columns),
	                            &usergroups);

	if (status == CLI_DONE && !cli->options.json && usergroups.rows == 0) {
		cli_note(cli, "the usergroup has no members: its rules match nobody");
	}
	return status;
}
