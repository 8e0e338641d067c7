/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/err.h"
#include "cli/cli.h"

struct list {
	codec_doc_t **items;
	size_t count, room;
	const char *wanted; /* keep only what this word fits; NULL: all */
};

/* A part of the name, host, image or a group, or the beginning of a UUID or container ID. */
static bool fits(const codec_doc_t *endpoint, const char *word)
{
	static const unsigned fields[] = { CODEC_ENDPOINT_NAME, CODEC_ENDPOINT_HOST_NAME,
		                           CODEC_ENDPOINT_IMAGE };
	struct pr_uuid id = codec_doc_uuid(endpoint, CODEC_ENDPOINT_UUID);
	const char *container = codec_doc_text(endpoint, CODEC_ENDPOINT_CONTAINER_ID);
	char text[PR_UUID_TEXT_BYTES];

	for (size_t i = 0; i < PR_ARRAY_LEN(fields); i++) {
		if (strcasestr(codec_doc_text(endpoint, fields[i]), word) != NULL) {
			return true;
		}
	}
	for (size_t i = 0; i < codec_doc_count(endpoint, CODEC_ENDPOINT_GROUPS); i++) {
		if (strcmp(codec_doc_item(endpoint, CODEC_ENDPOINT_GROUPS, i), word) == 0) {
			return true;
		}
	}
	return strncasecmp(pr_uuid_format(&id, text), word, strlen(word)) == 0 ||
	       strncasecmp(container, word, strlen(word)) == 0;
}

static void list_done(struct list *list)
{
	for (size_t i = 0; i < list->count; i++) {
		codec_doc_destroy(&list->items[i]);
	}
	free(list->items);
}

static bool endpoint_keep(void *arg, codec_doc_t **item_p)
{
	struct list *list = arg;

	if (codec_doc_type(*item_p) != CODEC_ENDPOINT ||
	    (list->wanted != NULL && !fits(*item_p, list->wanted))) {
		return true;
	}
	if (list->count == list->room) {
		size_t room = list->room == 0 ? 64 : 2 * list->room;
		codec_doc_t **items = realloc(list->items, room * sizeof(codec_doc_t *));
		if (items == NULL) {
			return false;
		}
		list->items = items;
		list->room = room;
	}
	list->items[list->count++] = take_ptr(*item_p);
	return true;
}

/* By host, the host itself in front of its containers, then by name. */
static int by_host(const void *a_p, const void *b_p)
{
	const codec_doc_t *a = *(codec_doc_t *const *)a_p;
	const codec_doc_t *b = *(codec_doc_t *const *)b_p;
	struct pr_uuid host_a = codec_doc_uuid(a, CODEC_ENDPOINT_HOST);
	struct pr_uuid host_b = codec_doc_uuid(b, CODEC_ENDPOINT_HOST);
	int order = strcmp(codec_doc_text(a, CODEC_ENDPOINT_HOST_NAME),
	                   codec_doc_text(b, CODEC_ENDPOINT_HOST_NAME));

	if (order == 0) {
		order = memcmp(host_a.bytes, host_b.bytes, sizeof(host_a.bytes));
	}
	if (order == 0) { /* "host" behind "container" */
		order = strcmp(codec_doc_text(b, CODEC_ENDPOINT_KIND),
		               codec_doc_text(a, CODEC_ENDPOINT_KIND));
	}
	return order != 0 ? order
	                  : strcmp(codec_doc_text(a, CODEC_ENDPOINT_NAME),
	                           codec_doc_text(b, CODEC_ENDPOINT_NAME));
}

static int ask(struct cli *cli, codec_doc_t *request, struct list *list)
{
	struct cli_peer *controller;
	int status;

	if (request == NULL) {
		return cli_fail(cli, CLI_ERROR, "%s", pr_strerror(PR_ENOMEM));
	}
	status = cli_controller_get(cli, &controller);
	if (status == CLI_DONE) {
		status = cli_ask(cli, controller, request, endpoint_keep, list, NULL);
	}
	if (status == CLI_DONE && list->count > 1) {
		qsort(list->items, list->count, sizeof(codec_doc_t *), by_host);
	}
	return status;
}

static int list_print(struct cli *cli, const struct list *list)
{
	_cleanup_(cli_table_destroy) cli_table_t *table = NULL;
	bool wide = cli->options.wide;

	if (cli->options.json) {
		for (size_t i = 0; i < list->count; i++) {
			if (!cli_endpoint_json_print(list->items[i], cli->out)) {
				return CLI_ERROR;
			}
		}
		return CLI_DONE;
	}
	table = cli_table_new(&cli->style, cli->out, cli_endpoint_columns,
	                      cli_endpoint_column_count(wide));
	if (table == NULL) {
		return cli_fail(cli, CLI_ERROR, "%s", pr_strerror(PR_ENOMEM));
	}
	for (size_t i = 0; i < list->count; i++) {
		cli_endpoint_cells(list->items[i], &cli->style, wide, table);
	}
	cli_table_flush(table);
	return CLI_DONE;
}

int cli_run_hosts(struct cli *cli)
{
	_cleanup_(codec_doc_destroy) codec_doc_t *request = codec_doc_new(CODEC_ENDPOINTS_GET);
	_cleanup_(list_done) struct list list = { 0 };
	int status;

	if (cli->options.word_count > 0) {
		list.wanted = cli->options.words[0];
	}
	status = ask(cli, request, &list);
	if (status == CLI_DONE && list.count == 0 && list.wanted != NULL) {
		return cli_fail(cli, CLI_NOT_FOUND,
		                "no host or container fits '%s'. See `portreeve hosts`",
		                list.wanted);
	}
	return status == CLI_DONE ? list_print(cli, &list) : status;
}

int cli_run_show(struct cli *cli)
{
	_cleanup_(codec_doc_destroy) codec_doc_t *request = codec_doc_new(CODEC_ENDPOINTS_GET);
	_cleanup_(list_done) struct list list = { 0 };
	const char *name = cli->options.words[0];
	int status;

	if (request != NULL) {
		codec_doc_set_text(request, CODEC_ENDPOINTS_GET_NAME, name);
	}
	status = ask(cli, request, &list);
	if (status != CLI_DONE) {
		return status;
	}
	if (list.count == 0) {
		return cli_fail(cli, CLI_NOT_FOUND,
		                "no host or container '%s'. See `portreeve hosts`", name);
	}
	if (list.count > 1) {
		status =
			cli_fail(cli, CLI_USAGE,
		                 "'%s' names %zu of them; say more of the name, or its UUID:", name,
		                 list.count);
		for (size_t i = 0; i < list.count; i++) {
			struct pr_uuid id = codec_doc_uuid(list.items[i], CODEC_ENDPOINT_UUID);
			char text[PR_UUID_TEXT_BYTES];
			cli_note(cli, "  %s  %s", pr_uuid_format(&id, text),
			         codec_doc_text(list.items[i], CODEC_ENDPOINT_NAME));
		}
		return status;
	}
	if (cli->options.json) {
		return cli_endpoint_json_print(list.items[0], cli->out) ? CLI_DONE : CLI_ERROR;
	}
	cli_endpoint_print(list.items[0], &cli->style, cli->out);
	return CLI_DONE;
}

int cli_endpoints_list(struct cli *cli, codec_doc_t *request, const char *nobody)
{
	_cleanup_(codec_doc_destroy) codec_doc_t *owned = request;
	_cleanup_(list_done) struct list list = { 0 };
	int status = ask(cli, owned, &list);

	if (status == CLI_DONE && list.count == 0) {
		cli_note(cli, "%s", nobody);
	}
	return status == CLI_DONE ? list_print(cli, &list) : status;
}
