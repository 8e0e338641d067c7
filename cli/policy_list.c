/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The rules as a table. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "cli/cli.h"
#include "policy/policy.h"

static const struct cli_column columns[] = {
	{ "RULE", 0 },     { "ACTION", 0 },       { "USER", 24 },
	{ "SOURCE", 32 },  { "DESTINATION", 32 }, { "SERVICE", 32 },
	{ "PROCESS", 40 }, { "STATUS", 0 },       { "COMMENT", 60 },
};

/* Names of endpoints, for operands that are UUIDs. */
struct known {
	struct pr_uuid *ids;
	char (*names)[POLICY_NAME_MAX_BYTES + 1];
	size_t count, max;
};

static void known_done(struct known *known)
{
	free(known->ids);
	free(known->names);
}

static bool known_take(void *arg, codec_doc_t **item_p)
{
	struct known *known = arg;
	const codec_doc_t *item = *item_p;

	if (codec_doc_type(item) != CODEC_ENDPOINT) {
		return true;
	}
	if (known->count == known->max) {
		size_t max = known->max != 0 ? 2 * known->max : 64;
		struct pr_uuid *ids = realloc(known->ids, max * sizeof(*ids));
		known->ids = ids != NULL ? ids : known->ids;
		char(*names)[POLICY_NAME_MAX_BYTES + 1] =
			realloc(known->names, max * sizeof(*names));
		known->names = names != NULL ? names : known->names;
		if (ids == NULL || names == NULL) {
			return false;
		}
		known->max = max;
	}
	known->ids[known->count] = codec_doc_uuid(item, CODEC_ENDPOINT_UUID);
	(void)snprintf(known->names[known->count++], sizeof(*known->names), "%s",
	               codec_doc_text(item, CODEC_ENDPOINT_NAME));
	return true;
}

static bool has_uuid(const policy_model_t *model)
{
	for (size_t i = 0; i < policy_model_rule_count(model); i++) {
		const struct policy_rule *rule = policy_model_rule(model, i);
		if (rule->source.kind == POLICY_OPERAND_ENDPOINT ||
		    rule->destination.kind == POLICY_OPERAND_ENDPOINT) {
			return true;
		}
	}
	return false;
}

static const char *known_name(const struct known *known, const struct policy_operand *operand)
{
	for (size_t i = 0; operand->kind == POLICY_OPERAND_ENDPOINT && i < known->count; i++) {
		if (pr_uuid_equal(&known->ids[i], &operand->endpoint)) {
			return known->names[i];
		}
	}
	return "";
}

/* One rule as text; services may be long, all else is bounded by the grammar. */
struct shown {
	char user[POLICY_NAME_MAX_BYTES + 8], to_user[POLICY_NAME_MAX_BYTES + 8];
	char source[POLICY_NAME_MAX_BYTES + 16], destination[POLICY_NAME_MAX_BYTES + 16];
	char services[POLICY_LINE_MAX_BYTES + 1];
	const char *source_name, *destination_name; /* of a UUID; "": none, or not known */
	const char *process, *to_process;           /* NULL: any */
	const char *status;
};

static void rule_show(const struct policy_rule *rule, const struct known *known,
                      uint64_t now_wall_ns, struct shown *shown)
{
	bool expired = rule->expires_wall_ns != 0 && rule->expires_wall_ns <= now_wall_ns;

	(void)policy_user_format(&rule->user, shown->user, sizeof(shown->user));
	(void)policy_user_format(&rule->to_user, shown->to_user, sizeof(shown->to_user));
	(void)policy_operand_format(&rule->source, shown->source, sizeof(shown->source));
	(void)policy_operand_format(&rule->destination, shown->destination,
	                            sizeof(shown->destination));
	(void)policy_services_format(rule->services, rule->service_count, shown->services,
	                             sizeof(shown->services));
	shown->source_name = known_name(known, &rule->source);
	shown->destination_name = known_name(known, &rule->destination);
	shown->process = rule->process.path;
	shown->to_process = rule->to_process.path;
	shown->status = expired ? "expired" : policy_status_name(rule->status);
}

static int rule_json(struct cli *cli, const struct policy_rule *rule, const struct shown *shown)
{
	json_t *object = json_pack(
		"{s:I, s:s, s:o, s:o, s:s, s:o, s:s, s:o, s:s, s:o, s:o, s:s, s:o, s:o, s:o}",
		"rule", (json_int_t)rule->number, "action", policy_action_name(rule->action),
		"user", cli_json_text(shown->user), "to_user", cli_json_text(shown->to_user),
		"source", shown->source, "source_name", cli_json_text(shown->source_name),
		"destination", shown->destination, "destination_name",
		cli_json_text(shown->destination_name), "service", shown->services, "process",
		cli_json_text(shown->process != NULL ? shown->process : ""), "to_process",
		cli_json_text(shown->to_process != NULL ? shown->to_process : ""), "status",
		shown->status, "expires",
		rule->expires_wall_ns != 0 ? cli_json_time(rule->expires_wall_ns) : json_null(),
		"owner", cli_json_text(rule->owner != NULL ? rule->owner : ""), "comment",
		cli_json_text(rule->comment != NULL ? rule->comment : ""));

	return cli_json_print(object, cli->out) ? CLI_DONE : CLI_ERROR;
}

/* What the near end names, and behind an arrow what the far end names. */
static void ends_cell(cli_table_t *table, const char *near, const char *far)
{
	bool has_far = far != NULL && far[0] != '\0';
	bool has_near = near != NULL && near[0] != '\0';

	cli_table_cell(table, CLI_PLAIN, "%s%s%s",
	               has_near  ? near
	               : has_far ? "any"
	                         : "",
	               has_far ? " > " : "", has_far ? far : "");
}

static void rule_cells(cli_table_t *table, const struct policy_rule *rule,
                       const struct shown *shown)
{
	bool enabled = strcmp(shown->status, "enabled") == 0;
	enum cli_tint tint = rule->action == POLICY_ALLOW ? CLI_GOOD : CLI_BAD;

	cli_table_cell(table, CLI_PLAIN, "%" PRIu32, rule->number);
	cli_table_cell(table, enabled ? tint : CLI_MUTED, "%s", policy_action_name(rule->action));
	ends_cell(table, shown->user, shown->to_user);
	cli_table_cell(table, CLI_PLAIN, "%s",
	               shown->source_name[0] != '\0' ? shown->source_name : shown->source);
	cli_table_cell(table, CLI_PLAIN, "%s",
	               shown->destination_name[0] != '\0' ? shown->destination_name
	                                                  : shown->destination);
	cli_table_cell(table, CLI_PLAIN, "%s", shown->services);
	ends_cell(table, shown->process, shown->to_process);
	cli_table_cell(table, enabled ? CLI_PLAIN : CLI_WARN, "%s", shown->status);
	cli_table_cell(table, CLI_MUTED, "%s", rule->comment != NULL ? rule->comment : "");
}

static int rules_print(struct cli *cli, const policy_model_t *model)
{
	uint64_t now_wall_ns = pr_clock_wall_ns();
	_cleanup_(known_done) struct known known = { 0 };
	int status = CLI_DONE;
	_cleanup_(cli_table_destroy) cli_table_t *table =
		cli_table_new(&cli->style, cli->out, columns, PR_ARRAY_LEN(columns));

	if (table == NULL) {
		return cli_fail(cli, CLI_ERROR, "%s", pr_strerror(PR_ENOMEM));
	}
	if (has_uuid(model)) {
		status = cli_controller_list(cli, codec_doc_new(CODEC_ENDPOINTS_GET), known_take,
		                             &known);
	}
	for (size_t i = 0; status == CLI_DONE && i < policy_model_rule_count(model); i++) {
		const struct policy_rule *rule = policy_model_rule(model, i);
		struct shown shown;
		rule_show(rule, &known, now_wall_ns, &shown);
		if (cli->options.json) {
			status = rule_json(cli, rule, &shown);
		} else {
			rule_cells(table, rule, &shown);
		}
	}
	if (!cli->options.json) {
		cli_table_flush(table);
	}
	return status;
}

int cli_run_policy_list(struct cli *cli)
{
	_cleanup_(codec_doc_destroy) codec_doc_t *policy = NULL;
	_cleanup_(policy_model_destroy) policy_model_t *model = NULL;
	_cleanup_(pr_free) struct policy_errors *errors = calloc(1, sizeof(*errors));
	int status = cli_policy_get(cli, &policy);

	if (status != CLI_DONE) {
		return status;
	}
	const char *text = codec_doc_text(policy, CODEC_POLICY_TEXT);
	if (errors == NULL || policy_text_parse(text, strlen(text), errors, &model) != PR_OK) {
		return cli_fail(cli, CLI_ERROR,
		                "this policy is not one that this version can read: see `portreeve "
		                "policy export`");
	}
	if (!cli->options.json) {
		cli_policy_say(cli, policy);
	}
	return rules_print(cli, model);
}
