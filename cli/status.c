/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "cli/cli.h"

static const struct cli_column columns[] = { { "SERVICE", 0 }, { "FACT", 0 }, { "VALUE", 0 } };

struct answers {
	struct cli *cli;
	cli_table_t *table; /* NULL: JSON */
	bool written;
	unsigned hidden; /* facts that are 0 */
};

/* Numbers as numbers, the rest as text. */
static json_t *value_json(const char *text)
{
	json_t *number = NULL;

	if (text[0] != '\0' && strspn(text, "0123456789") == strlen(text) && strlen(text) < 19) {
		number = json_loads(text, JSON_DECODE_ANY, NULL);
	}
	return number != NULL ? number : json_string(text);
}

/* "NAME VALUE" */
static const char *fact_split(const char *fact, char *name, size_t size_bytes)
{
	size_t length = strcspn(fact, " ");
	size_t kept = length < size_bytes ? length : size_bytes - 1;

	memcpy(name, fact, kept);
	name[kept] = '\0';
	return fact[length] == ' ' ? fact + length + 1 : "";
}

/* For people: times, sizes and lengths of time by the ending of their name, which goes. */
static const char *value_show(const struct cli *cli, char *name, const char *value, char *text,
                              size_t size_bytes)
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB" };
	char *ending = strrchr(name, '_');
	char *wall = strstr(name, "_wall_ns");
	uint64_t number;
	size_t unit = 0;

	if (ending == NULL || value[0] == '\0' || strspn(value, "0123456789") != strlen(value)) {
		return value;
	}
	number = strtoull(value, NULL, 10);
	if (wall != NULL && wall[8] == '\0') {
		char time[CLI_TIME_BYTES];
		(void)snprintf(text, size_bytes, "%s", cli_time_format(&cli->style, number, time));
		*wall = '\0';
	} else if (strcmp(ending, "_bytes") == 0) {
		double size = (double)number;
		for (; size >= 1024 && unit + 1 < PR_ARRAY_LEN(units); unit++) {
			size /= 1024;
		}
		(void)snprintf(text, size_bytes, "%.*f %s", unit > 0, size, units[unit]);
		*ending = '\0';
	} else if (strcmp(ending, "_s") == 0) {
		(void)snprintf(text, size_bytes, "%" PRIu64 "d %02u:%02u:%02u", number / 86400,
		               (unsigned)(number / 3600 % 24), (unsigned)(number / 60 % 60),
		               (unsigned)(number % 60));
		*ending = '\0';
	} else {
		return value;
	}
	return text;
}

static bool json_write(struct answers *answers, const codec_doc_t *status)
{
	json_t *facts = json_object();
	char name[128];

	for (size_t i = 0; i < codec_doc_count(status, CODEC_STATUS_FACTS); i++) {
		const char *value = fact_split(codec_doc_item(status, CODEC_STATUS_FACTS, i), name,
		                               sizeof(name));
		(void)json_object_set_new(facts, name, value_json(value));
	}
	return cli_json_print(json_pack("{s:s, s:o}", "service",
	                                codec_doc_text(status, CODEC_STATUS_SERVICE), "facts",
	                                facts),
	                      answers->cli->out);
}

static bool status_take(void *arg, codec_doc_t **item_p)
{
	struct answers *answers = arg;
	const codec_doc_t *status = *item_p;
	char name[128];

	if (codec_doc_type(status) != CODEC_STATUS) {
		return true;
	}
	if (answers->table == NULL) {
		return json_write(answers, status);
	}
	bool named = false;
	for (size_t i = 0; i < codec_doc_count(status, CODEC_STATUS_FACTS); i++) {
		const char *value = fact_split(codec_doc_item(status, CODEC_STATUS_FACTS, i), name,
		                               sizeof(name));
		if (strcmp(value, "0") == 0 && !answers->cli->options.wide) {
			answers->hidden++;
			continue;
		}
		bool repeated = named && answers->cli->style.terminal;
		named = true;
		cli_table_cell(answers->table, CLI_PLAIN, "%s",
		               repeated ? " " : codec_doc_text(status, CODEC_STATUS_SERVICE));
		char text[64];
		value = value_show(answers->cli, name, value, text, sizeof(text));
		cli_table_cell(answers->table, CLI_PLAIN, "%s", name);
		cli_table_cell(answers->table, CLI_PLAIN, "%s", value);
	}
	return true;
}

/* Hosts and containers in one line; the counts are the controller's endpoints. */
struct counts {
	unsigned hosts, active, containers, enforced, failed;
};

static bool endpoint_count(void *arg, codec_doc_t **item_p)
{
	struct counts *counts = arg;
	const codec_doc_t *endpoint = *item_p;

	if (codec_doc_type(endpoint) != CODEC_ENDPOINT) {
		return true;
	}
	if (strcmp(codec_doc_text(endpoint, CODEC_ENDPOINT_KIND), "host") == 0) {
		counts->hosts++;
		counts->active +=
			strcmp(codec_doc_text(endpoint, CODEC_ENDPOINT_STATUS), "active") == 0;
	} else {
		counts->containers++;
	}
	counts->enforced += strcmp(codec_doc_text(endpoint, CODEC_ENDPOINT_MODE), "enforce") == 0;
	counts->failed +=
		strncmp(codec_doc_text(endpoint, CODEC_ENDPOINT_ENFORCED), "failed", 6) == 0;
	return true;
}

static int endpoints_say(struct cli *cli, struct cli_peer *controller)
{
	_cleanup_(codec_doc_destroy) codec_doc_t *request = codec_doc_new(CODEC_ENDPOINTS_GET);
	struct counts counts = { 0 };
	int status;

	if (request == NULL) {
		return cli_fail(cli, CLI_ERROR, "%s", pr_strerror(PR_ENOMEM));
	}
	status = cli_ask(cli, controller, request, endpoint_count, &counts, NULL);
	if (status != CLI_DONE) {
		return status;
	}
	fprintf(cli->out, "%u host%s (%u active), %u container%s, %u in enforce", counts.hosts,
	        counts.hosts == 1 ? "" : "s", counts.active, counts.containers,
	        counts.containers == 1 ? "" : "s", counts.enforced);
	if (counts.failed > 0) {
		fprintf(cli->out, ", %u where the rules FAILED: see `portreeve hosts -w`",
		        counts.failed);
	}
	fputs("\n\n", cli->out);
	return CLI_DONE;
}

static int service_ask(struct cli *cli, struct cli_peer *peer, struct answers *answers)
{
	_cleanup_(codec_doc_destroy) codec_doc_t *request = codec_doc_new(CODEC_STATUS_GET);

	if (request == NULL) {
		return cli_fail(cli, CLI_ERROR, "%s", pr_strerror(PR_ENOMEM));
	}
	return cli_ask(cli, peer, request, status_take, answers, NULL);
}

int cli_run_status(struct cli *cli)
{
	_cleanup_(cli_table_destroy) cli_table_t *table = NULL;
	struct answers answers = { .cli = cli };
	struct cli_peer *controller, *recorder;
	int status = cli_controller_get(cli, &controller);

	if (status == CLI_DONE && !cli->options.json) {
		table = cli_table_new(&cli->style, cli->out, columns, PR_ARRAY_LEN(columns));
		answers.table = table;
		status = endpoints_say(cli, controller);
	}
	if (status == CLI_DONE) {
		status = service_ask(cli, controller, &answers);
	}
	if (status != CLI_DONE) {
		return status;
	}
	/* What the controller said is shown, whatever becomes of the recorder. */
	status = cli_recorder_get(cli, &recorder);
	if (status == CLI_DONE) {
		status = service_ask(cli, recorder, &answers);
	}
	if (table != NULL) {
		cli_table_flush(table);
	}
	if (answers.hidden > 0) {
		cli_note(cli, "%u counters that are 0 are left out; all: portreeve status -w",
		         answers.hidden);
	}
	return status;
}
