/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Questions about policy: which rule decides, and who may reach whom. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/log.h"
#include "cli/cli.h"
#include "policy/policy.h"

struct explained {
	struct cli *cli;
	json_t *rules; /* in JSON */
	codec_doc_t *explanation;
};

static void explained_done(struct explained *explained)
{
	if (explained->rules != NULL) {
		json_decref(explained->rules);
	}
	codec_doc_destroy(&explained->explanation);
}

/* "source, process" */
static const char *fields_join(const codec_doc_t *rule, char *text, size_t room)
{
	size_t used = 0;

	text[0] = '\0';
	for (size_t i = 0; i < codec_doc_count(rule, CODEC_EXPLAIN_RULE_FIELDS); i++) {
		int length = snprintf(text + used, room - used, "%s%s", i > 0 ? ", " : "",
		                      codec_doc_item(rule, CODEC_EXPLAIN_RULE_FIELDS, i));
		used += length > 0 && (size_t)length < room - used ? (size_t)length : 0;
	}
	return text;
}

static void rule_print(struct cli *cli, const codec_doc_t *rule)
{
	static const struct {
		const char *outcome, *mark, *words;
	} outcomes[] = {
		{ "decides", "=>", "decides" },
		{ "perhaps", " ?", "perhaps, by its" },
		{ "staged", " ~", "matches, but is only staged" },
		{ "expired", "  ", "has expired" },
		{ "no", "  ", "no: another" },
	};
	char text[4 * POLICY_LINE_MAX_BYTES], fields[256];
	const char *outcome = codec_doc_text(rule, CODEC_EXPLAIN_RULE_OUTCOME);
	size_t i = 0;

	while (i + 1 < PR_ARRAY_LEN(outcomes) && strcmp(outcomes[i].outcome, outcome) != 0) {
		i++;
	}
	fprintf(cli->out, "%s %s\n     %s %s\n", outcomes[i].mark,
	        pr_log_escape(codec_doc_text(rule, CODEC_EXPLAIN_RULE_TEXT), text, sizeof(text)),
	        outcomes[i].words, fields_join(rule, fields, sizeof(fields)));
	for (i = 0; i < codec_doc_count(rule, CODEC_EXPLAIN_RULE_BECAUSE); i++) {
		fprintf(cli->out, "     %s\n",
		        pr_log_escape(codec_doc_item(rule, CODEC_EXPLAIN_RULE_BECAUSE, i), text,
		                      sizeof(text)));
	}
}

static bool item_take(void *arg, codec_doc_t **item_p)
{
	struct explained *explained = arg;
	const codec_doc_t *item = *item_p;

	if (codec_doc_type(item) == CODEC_EXPLANATION) {
		codec_doc_destroy(&explained->explanation);
		explained->explanation = take_ptr(*item_p);
		return true;
	}
	if (codec_doc_type(item) != CODEC_EXPLAIN_RULE) {
		return true;
	}
	if (explained->rules == NULL) {
		rule_print(explained->cli, item);
		return true;
	}
	return json_array_append_new(
		       explained->rules,
		       json_pack("{s:I, s:s, s:s, s:o, s:o}", "rule",
	                         (json_int_t)codec_doc_u64(item, CODEC_EXPLAIN_RULE_NUMBER), "text",
	                         codec_doc_text(item, CODEC_EXPLAIN_RULE_TEXT), "outcome",
	                         codec_doc_text(item, CODEC_EXPLAIN_RULE_OUTCOME), "fields",
	                         cli_json_texts(item, CODEC_EXPLAIN_RULE_FIELDS), "because",
	                         cli_json_texts(item, CODEC_EXPLAIN_RULE_BECAUSE))) == 0;
}

static int explanation_json(struct cli *cli, struct explained *explained)
{
	const codec_doc_t *got = explained->explanation;
	uint64_t rule = codec_doc_u64(got, CODEC_EXPLANATION_RULE);
	uint64_t revision = codec_doc_u64(got, CODEC_EXPLANATION_REVISION);
	json_t *object = json_pack(
		"{s:s, s:o, s:b, s:b, s:s, s:s, s:s, s:o, s:b, s:I, s:I, s:O}", "verdict",
		codec_doc_text(got, CODEC_EXPLANATION_VERDICT), "rule",
		rule != 0 ? json_integer((json_int_t)rule) : json_null(), "lifeline",
		(int)codec_doc_u64(got, CODEC_EXPLANATION_LIFELINE), "quarantined",
		(int)codec_doc_u64(got, CODEC_EXPLANATION_QUARANTINED), "mode",
		codec_doc_text(got, CODEC_EXPLANATION_MODE), "src",
		codec_doc_text(got, CODEC_EXPLANATION_SRC), "dst",
		codec_doc_text(got, CODEC_EXPLANATION_DST), "revision",
		revision != CODEC_REVISION_DRAFT ? json_integer((json_int_t)revision) : json_null(),
		"draft", revision == CODEC_REVISION_DRAFT, "skipped",
		(json_int_t)codec_doc_u64(got, CODEC_EXPLANATION_SKIPPED), "pairs",
		(json_int_t)codec_doc_u64(got, CODEC_EXPLANATION_PAIRS), "rules", explained->rules);

	return cli_json_print(object, cli->out) ? CLI_DONE : CLI_ERROR;
}

static void explanation_print(struct cli *cli, const codec_doc_t *got)
{
	const char *verdict = codec_doc_text(got, CODEC_EXPLANATION_VERDICT);
	bool allowed = strcmp(verdict, "allowed") == 0;
	bool observe = strcmp(codec_doc_text(got, CODEC_EXPLANATION_MODE), "observe") == 0;
	uint64_t pairs = codec_doc_u64(got, CODEC_EXPLANATION_PAIRS);
	uint64_t rule = codec_doc_u64(got, CODEC_EXPLANATION_RULE);
	uint64_t skipped = codec_doc_u64(got, CODEC_EXPLANATION_SKIPPED);
	char why[96] = "no rule matches, the default denies";

	bool quarantined = codec_doc_u64(got, CODEC_EXPLANATION_QUARANTINED) != 0;

	if (quarantined) {
		(void)snprintf(why, sizeof(why),
		               "one end is in quarantine, whatever the rules say");
		observe = false;
	} else if (codec_doc_u64(got, CODEC_EXPLANATION_LIFELINE) != 0) {
		(void)snprintf(why, sizeof(why), "by a lifeline");
	} else if (strcmp(verdict, "depends") == 0) {
		(void)snprintf(why, sizeof(why),
		               "name --user, --process, --to-user or --to-process to know");
	} else if (rule != 0) {
		(void)snprintf(why, sizeof(why), "by rule %" PRIu64, rule);
	}
	if (skipped > 0) {
		fprintf(cli->out, "   (%" PRIu64 " more rules name others)\n", skipped);
	}
	fprintf(cli->out, "%s%s%s: %s%s\n",
	        cli->style.color ? (allowed ? "\033[32m" : "\033[31m") : "", verdict,
	        cli->style.color ? "\033[0m" : "", why,
	        observe && !allowed ? "; in observe it passes all the same" : "");
	if (pairs > 1) {
		fprintf(cli->out, "so it is for all %" PRIu64 " pairs of members\n", pairs);
	}
}

static codec_doc_t *explain_request(const struct cli_options *options)
{
	const struct {
		unsigned field;
		const char *text;
	} texts[] = {
		{ CODEC_EXPLAIN_GET_SRC, options->words[0] },
		{ CODEC_EXPLAIN_GET_DST, options->words[1] },
		{ CODEC_EXPLAIN_GET_SERVICE, options->words[2] },
		{ CODEC_EXPLAIN_GET_USER, options->user },
		{ CODEC_EXPLAIN_GET_PROCESS, options->process },
		{ CODEC_EXPLAIN_GET_TO_USER, options->to_user },
		{ CODEC_EXPLAIN_GET_TO_PROCESS, options->to_process },
	};
	codec_doc_t *request = codec_doc_new(CODEC_EXPLAIN_GET);

	for (size_t i = 0; request != NULL && i < PR_ARRAY_LEN(texts); i++) {
		codec_doc_set_text(request, texts[i].field,
		                   texts[i].text != NULL ? texts[i].text : "");
	}
	if (request != NULL) {
		codec_doc_set_u64(request, CODEC_EXPLAIN_GET_DRAFT, options->draft);
	}
	return request;
}

int cli_run_explain(struct cli *cli)
{
	_cleanup_(explained_done) struct explained explained = { .cli = cli };

	if (cli->options.json) {
		explained.rules = json_array();
	}
	int status =
		cli_controller_list(cli, explain_request(&cli->options), item_take, &explained);
	if (status == CLI_DONE && explained.explanation == NULL) {
		return cli_fail(cli, CLI_ERROR, "the controller gave an unexpected answer");
	}
	if (status != CLI_DONE) {
		return status;
	}
	if (cli->options.json) {
		status = explanation_json(cli, &explained);
	} else {
		explanation_print(cli, explained.explanation);
	}
	const char *verdict = codec_doc_text(explained.explanation, CODEC_EXPLANATION_VERDICT);
	return status == CLI_DONE && strcmp(verdict, "allowed") != 0 ? (int)CLI_NOT_ALLOWED
	                                                             : status;
}

/* ---- reach ---- */

struct reached {
	struct cli *cli;
	cli_table_t *table;
	size_t count;
};

static bool reach_take(void *arg, codec_doc_t **item_p)
{
	struct reached *reached = arg;
	const codec_doc_t *row = *item_p;

	if (codec_doc_type(row) != CODEC_REACH) {
		return true;
	}
	const char *condition = codec_doc_text(row, CODEC_REACH_CONDITION);
	uint64_t rule = codec_doc_u64(row, CODEC_REACH_RULE);
	reached->count++;
	if (reached->cli->options.json) {
		struct pr_uuid src = codec_doc_uuid(row, CODEC_REACH_SRC_UUID);
		struct pr_uuid dst = codec_doc_uuid(row, CODEC_REACH_DST_UUID);
		return cli_json_print(
			json_pack("{s:s, s:o, s:s, s:o, s:s, s:o, s:o}", "src",
		                  codec_doc_text(row, CODEC_REACH_SRC), "src_uuid",
		                  cli_json_uuid(&src), "dst", codec_doc_text(row, CODEC_REACH_DST),
		                  "dst_uuid", cli_json_uuid(&dst), "services",
		                  codec_doc_text(row, CODEC_REACH_SERVICES), "rule",
		                  rule != 0 ? json_integer((json_int_t)rule) : json_null(),
		                  "condition", cli_json_text(condition)),
			reached->cli->out);
	}
	cli_table_cell(reached->table, CLI_PLAIN, "%s", codec_doc_text(row, CODEC_REACH_SRC));
	cli_table_cell(reached->table, CLI_PLAIN, "%s", codec_doc_text(row, CODEC_REACH_DST));
	cli_table_cell(reached->table, CLI_PLAIN, "%s", codec_doc_text(row, CODEC_REACH_SERVICES));
	if (rule != 0) {
		cli_table_cell(reached->table, CLI_PLAIN, "%" PRIu64, rule);
	} else {
		cli_table_cell(reached->table, CLI_PLAIN, "lifeline");
	}
	cli_table_cell(reached->table, condition[0] != '\0' ? CLI_WARN : CLI_PLAIN, "%s",
	               condition);
	return true;
}

int cli_run_reach(struct cli *cli)
{
	static const struct cli_column columns[] = {
		{ "SOURCE", 32 }, { "DESTINATION", 32 }, { "SERVICE", 48 },
		{ "RULE", 0 },    { "ONLY IF", 60 },
	};
	_cleanup_(cli_table_destroy) cli_table_t *table =
		cli_table_new(&cli->style, cli->out, columns, PR_ARRAY_LEN(columns));
	struct reached reached = { .cli = cli, .table = table };
	const struct cli_options *options = &cli->options;

	if (table == NULL) {
		return cli_fail(cli, CLI_ERROR, "%s", pr_strerror(PR_ENOMEM));
	}
	if (options->from == NULL && options->to == NULL) {
		return cli_fail(cli, CLI_USAGE, "say --to WHO or --from WHO");
	}
	codec_doc_t *request = codec_doc_new(CODEC_REACH_GET);
	if (request != NULL) {
		codec_doc_set_text(request, CODEC_REACH_GET_FROM,
		                   options->from != NULL ? options->from : "");
		codec_doc_set_text(request, CODEC_REACH_GET_TO,
		                   options->to != NULL ? options->to : "");
		codec_doc_set_u64(request, CODEC_REACH_GET_DRAFT, options->draft);
	}
	int status = cli_controller_list(cli, request, reach_take, &reached);
	if (status == CLI_DONE && !options->json) {
		cli_table_flush(table);
	}
	if (status == CLI_DONE && reached.count == 0) {
		cli_note(cli, "nothing: no rule allows it");
	}
	return status;
}
