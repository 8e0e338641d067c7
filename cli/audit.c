/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who changed what. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "cli/cli.h"

#define LIMIT_DEFAULT 50U

struct entries {
	struct cli *cli;
	cli_table_t *table;
};

static bool entry_json(struct cli *cli, const codec_doc_t *entry)
{
	struct pr_uuid key = codec_doc_uuid(entry, CODEC_AUDIT_KEY);

	return cli_json_print(
		json_pack("{s:I, s:o, s:o, s:s, s:s, s:o, s:o, s:o}", "number",
	                  (json_int_t)codec_doc_u64(entry, CODEC_AUDIT_NUMBER), "time",
	                  cli_json_time(codec_doc_u64(entry, CODEC_AUDIT_TIME)), "key",
	                  cli_json_uuid(&key), "name", codec_doc_text(entry, CODEC_AUDIT_NAME),
	                  "action", codec_doc_text(entry, CODEC_AUDIT_ACTION), "target",
	                  cli_json_text(codec_doc_text(entry, CODEC_AUDIT_TARGET)), "reason",
	                  cli_json_text(codec_doc_text(entry, CODEC_AUDIT_REASON)), "undo",
	                  cli_json_text(codec_doc_text(entry, CODEC_AUDIT_UNDO))),
		cli->out);
}

static bool entry_take(void *arg, codec_doc_t **item_p)
{
	static const unsigned texts[] = { CODEC_AUDIT_NAME, CODEC_AUDIT_ACTION, CODEC_AUDIT_TARGET,
		                          CODEC_AUDIT_REASON, CODEC_AUDIT_UNDO };
	struct entries *entries = arg;
	const codec_doc_t *entry = *item_p;
	char time[CLI_TIME_BYTES];

	if (codec_doc_type(entry) != CODEC_AUDIT) {
		return true;
	}
	if (entries->cli->options.json) {
		return entry_json(entries->cli, entry);
	}
	cli_table_cell(entries->table, CLI_PLAIN, "%" PRIu64,
	               codec_doc_u64(entry, CODEC_AUDIT_NUMBER));
	cli_table_cell(entries->table, CLI_PLAIN, "%s",
	               cli_time_format(&entries->cli->style, codec_doc_u64(entry, CODEC_AUDIT_TIME),
	                               time));
	for (size_t i = 0; i < PR_ARRAY_LEN(texts); i++) {
		cli_table_cell(entries->table, CLI_PLAIN, "%s", codec_doc_text(entry, texts[i]));
	}
	return true;
}

int cli_run_audit(struct cli *cli)
{
	static const struct cli_column columns[] = {
		{ "NUMBER", 0 },  { "TIME", 0 },    { "KEY", 24 },  { "ACTION", 0 },
		{ "TARGET", 40 }, { "REASON", 60 }, { "UNDO", 60 },
	};
	_cleanup_(cli_table_destroy) cli_table_t *table =
		cli_table_new(&cli->style, cli->out, columns, PR_ARRAY_LEN(columns));
	struct entries entries = { .cli = cli, .table = table };
	uint64_t limit = LIMIT_DEFAULT;
	codec_doc_t *request;
	int status = CLI_DONE;

	if (cli->options.limit != NULL) {
		status = cli_limit_read(cli, &limit);
	}
	if (status == CLI_DONE && table == NULL) {
		status = cli_fail(cli, CLI_ERROR, "%s", pr_strerror(PR_ENOMEM));
	}
	if (status != CLI_DONE) {
		return status;
	}
	request = codec_doc_new(CODEC_AUDIT_GET);
	if (request != NULL) {
		codec_doc_set_u64(request, CODEC_AUDIT_GET_LIMIT, limit);
	}
	status = cli_controller_list(cli, request, entry_take, &entries);
	if (status == CLI_DONE && !cli->options.json) {
		cli_table_flush(table);
	}
	return status;
}
