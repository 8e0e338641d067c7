/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who was seen where, and who is logged in. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "cli/cli.h"

#define CONNECTIONS_DEFAULT 10U

/* Documents that are kept until all have come. */
struct kept {
	codec_doc_t **items;
	size_t count, room;
};

struct users {
	struct cli *cli;
	const char *name; /* NULL: everybody */
	uint64_t limit;   /* connections shown; 0: all that came */
	struct kept seen, events, hosts;
	uint8_t after[128]; /* where to go on */
	size_t after_bytes; /* 0: all was read */
};

static void kept_done(struct kept *kept)
{
	for (size_t i = 0; i < kept->count; i++) {
		codec_doc_destroy(&kept->items[i]);
	}
	free(kept->items);
}

static void users_done(struct users *users)
{
	kept_done(&users->seen);
	kept_done(&users->events);
	kept_done(&users->hosts);
}

static bool keep(struct kept *kept, codec_doc_t **item_p)
{
	if (kept->count == kept->room) {
		size_t room = kept->room == 0 ? 64 : 2 * kept->room;
		codec_doc_t **items = realloc(kept->items, room * sizeof(codec_doc_t *));
		if (items == NULL) {
			return false;
		}
		kept->items = items;
		kept->room = room;
	}
	kept->items[kept->count++] = take_ptr(*item_p);
	return true;
}

/* ---- asking ---- */

static bool seen_take(void *arg, codec_doc_t **item_p)
{
	struct users *users = arg;

	switch ((unsigned)codec_doc_type(*item_p)) {
	case CODEC_USER_SEEN:
		return keep(&users->seen, item_p);
	case CODEC_EVENT_ROW:
		return keep(&users->events, item_p);
	case CODEC_USERS_MORE: {
		size_t bytes = 0;
		const uint8_t *after = codec_doc_blob(*item_p, CODEC_USERS_MORE_AFTER, &bytes);
		if (bytes <= sizeof(users->after)) {
			memcpy(users->after, after, bytes);
			users->after_bytes = bytes;
		}
		return true;
	}
	default:
		return true;
	}
}

static bool host_take(void *arg, codec_doc_t **item_p)
{
	struct users *users = arg;

	return strcmp(codec_doc_text(*item_p, CODEC_ENDPOINT_KIND), "host") != 0 ||
	       keep(&users->hosts, item_p);
}

/* The recorder's answer comes in pieces. */
static int seen_ask(struct users *users)
{
	struct cli *cli = users->cli;
	struct cli_peer *recorder;
	int status = cli_recorder_get(cli, &recorder);
	bool more = true;

	while (status == CLI_DONE && more) {
		_cleanup_(codec_doc_destroy) codec_doc_t *request = codec_doc_new(CODEC_USERS_GET);
		if (request == NULL) {
			return cli_fail(cli, CLI_ERROR, "%s", pr_strerror(PR_ENOMEM));
		}
		codec_doc_set_text(request, CODEC_USERS_GET_NAME,
		                   users->name != NULL ? users->name : "");
		codec_doc_set_blob(request, CODEC_USERS_GET_AFTER, users->after,
		                   users->after_bytes);
		users->after_bytes = 0;
		status = cli_ask(cli, recorder, request, seen_take, users, NULL);
		more = users->after_bytes > 0;
	}
	return status;
}

/* ---- who was seen ---- */

static int by_last(const void *a_p, const void *b_p)
{
	uint64_t a = codec_doc_u64(*(codec_doc_t *const *)a_p, CODEC_USER_SEEN_LAST);
	uint64_t b = codec_doc_u64(*(codec_doc_t *const *)b_p, CODEC_USER_SEEN_LAST);

	return (a < b) - (a > b);
}

/* "COUNT LAST PATH" */
static const char *program_split(const char *program, uint64_t *ret_count, uint64_t *ret_wall_ns)
{
	char *rest = NULL;

	*ret_count = strtoull(program, &rest, 10);
	*ret_wall_ns = strtoull(rest, &rest, 10);
	return *rest == ' ' ? rest + 1 : rest;
}

static json_t *programs_json(const codec_doc_t *seen)
{
	json_t *list = json_array();

	for (size_t i = 0; i < codec_doc_count(seen, CODEC_USER_SEEN_PROGRAMS); i++) {
		uint64_t count = 0, last_wall_ns = 0;
		const char *exe = program_split(codec_doc_item(seen, CODEC_USER_SEEN_PROGRAMS, i),
		                                &count, &last_wall_ns);
		(void)json_array_append_new(list, json_pack("{s:s, s:I, s:o}", "exe", exe,
		                                            "connections", (json_int_t)count,
		                                            "last", cli_json_time(last_wall_ns)));
	}
	return list;
}

static bool seen_json(struct cli *cli, const codec_doc_t *seen)
{
	struct pr_uuid endpoint = codec_doc_uuid(seen, CODEC_USER_SEEN_ENDPOINT);
	struct pr_uuid agent = codec_doc_uuid(seen, CODEC_USER_SEEN_AGENT);

	return cli_json_print(
		json_pack("{s:s, s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:I, s:I, s:o, s:o, s:o, s:I}",
	                  "type", "seen", "uid",
	                  (json_int_t)codec_doc_u64(seen, CODEC_USER_SEEN_UID), "user",
	                  cli_json_text(codec_doc_text(seen, CODEC_USER_SEEN_NAME)), "endpoint",
	                  cli_json_uuid(&endpoint), "name",
	                  cli_json_text(codec_doc_text(seen, CODEC_USER_SEEN_ENDPOINT_NAME)),
	                  "kind", cli_json_text(codec_doc_text(seen, CODEC_USER_SEEN_KIND)), "host",
	                  cli_json_text(codec_doc_text(seen, CODEC_USER_SEEN_HOST_NAME)),
	                  "host_endpoint", cli_json_uuid(&agent), "connections",
	                  (json_int_t)codec_doc_u64(seen, CODEC_USER_SEEN_CONNECTIONS), "denied",
	                  (json_int_t)codec_doc_u64(seen, CODEC_USER_SEEN_DENIED), "first",
	                  cli_json_time(codec_doc_u64(seen, CODEC_USER_SEEN_FIRST)), "last",
	                  cli_json_time(codec_doc_u64(seen, CODEC_USER_SEEN_LAST)), "programs",
	                  programs_json(seen), "programs_gone",
	                  (json_int_t)codec_doc_u64(seen, CODEC_USER_SEEN_PROGRAMS_GONE)),
		cli->out);
}

static void place_cell(cli_table_t *table, const codec_doc_t *seen)
{
	bool container = strcmp(codec_doc_text(seen, CODEC_USER_SEEN_KIND), "container") == 0;

	cli_table_cell(table, CLI_PLAIN, "%s%s",
	               codec_doc_text(seen, CODEC_USER_SEEN_ENDPOINT_NAME), container ? "(C)" : "");
}

static void seen_print(struct users *users)
{
	static const struct cli_column columns[] = {
		{ "USER", 32 },       { "UID", 0 },    { "ENDPOINT", 32 }, { "HOST", 20 },
		{ "CONNECTIONS", 0 }, { "DENIED", 0 }, { "LAST SEEN", 0 },
	};
	struct cli *cli = users->cli;
	_cleanup_(cli_table_destroy) cli_table_t *table =
		cli_table_new(&cli->style, cli->out, columns, PR_ARRAY_LEN(columns));
	char time[CLI_TIME_BYTES];

	for (size_t i = 0; table != NULL && i < users->seen.count; i++) {
		const codec_doc_t *seen = users->seen.items[i];
		uint64_t denied = codec_doc_u64(seen, CODEC_USER_SEEN_DENIED);
		cli_table_cell(table, CLI_PLAIN, "%s", codec_doc_text(seen, CODEC_USER_SEEN_NAME));
		cli_table_cell(table, CLI_PLAIN, "%" PRIu64,
		               codec_doc_u64(seen, CODEC_USER_SEEN_UID));
		place_cell(table, seen);
		cli_table_cell(table, CLI_PLAIN, "%s",
		               codec_doc_text(seen, CODEC_USER_SEEN_HOST_NAME));
		cli_table_cell(table, CLI_PLAIN, "%" PRIu64,
		               codec_doc_u64(seen, CODEC_USER_SEEN_CONNECTIONS));
		cli_table_cell(table, denied > 0 ? CLI_BAD : CLI_PLAIN, "%" PRIu64, denied);
		cli_table_cell(table, CLI_PLAIN, "%s",
		               cli_time_format(&cli->style,
		                               codec_doc_u64(seen, CODEC_USER_SEEN_LAST), time));
	}
	if (table != NULL) {
		cli_table_flush(table);
	}
}

/* ---- one user: programs, connections ---- */

static void programs_print(struct users *users)
{
	static const struct cli_column columns[] = {
		{ "PROGRAM", 60 }, { "ENDPOINT", 32 }, { "CONNECTIONS", 0 }, { "LAST USED", 0 }
	};
	struct cli *cli = users->cli;
	_cleanup_(cli_table_destroy) cli_table_t *table =
		cli_table_new(&cli->style, cli->out, columns, PR_ARRAY_LEN(columns));
	char time[CLI_TIME_BYTES];

	if (table == NULL) {
		return;
	}
	fputs("\nPrograms\n", cli->out);
	for (size_t i = 0; i < users->seen.count; i++) {
		const codec_doc_t *seen = users->seen.items[i];
		for (size_t k = 0; k < codec_doc_count(seen, CODEC_USER_SEEN_PROGRAMS); k++) {
			uint64_t count = 0, last_wall_ns = 0;
			const char *exe =
				program_split(codec_doc_item(seen, CODEC_USER_SEEN_PROGRAMS, k),
			                      &count, &last_wall_ns);
			cli_table_cell(table, CLI_PLAIN, "%s", exe);
			place_cell(table, seen);
			cli_table_cell(table, CLI_PLAIN, "%" PRIu64, count);
			cli_table_cell(table, CLI_PLAIN, "%s",
			               cli_time_format(&cli->style, last_wall_ns, time));
		}
	}
	cli_table_flush(table);
}

static uint64_t event_time(const codec_doc_t *row)
{
	struct cli_event event;

	return cli_event_read(row, &event) == PR_OK ? event.event.time_wall_ns : 0;
}

static int by_time(const void *a_p, const void *b_p)
{
	uint64_t a = event_time(*(codec_doc_t *const *)a_p);
	uint64_t b = event_time(*(codec_doc_t *const *)b_p);

	return (a > b) - (a < b);
}

/* The newest ones, newest last. False: not written. */
static bool events_print(struct users *users)
{
	struct cli *cli = users->cli;
	_cleanup_(cli_table_destroy) cli_table_t *table =
		cli_table_new(&cli->style, cli->out, cli_event_columns,
	                      cli_event_column_count(cli->options.wide));
	size_t first = users->limit != 0 && users->events.count > users->limit
	                       ? users->events.count - users->limit
	                       : 0;

	if (table == NULL) {
		return false;
	}
	if (!cli->options.json) {
		fputs("\nLast connections\n", cli->out);
	}
	for (size_t i = first; i < users->events.count; i++) {
		struct cli_event event;
		if (cli_event_read(users->events.items[i], &event) != PR_OK) {
			continue;
		}
		if (!cli->options.json) {
			cli_event_cells(&event, &cli->style, cli->options.wide, table);
			continue;
		}
		json_t *object = cli_event_json(&event);
		(void)json_object_set_new(object, "type", json_string("connection"));
		if (!cli_json_print(object, cli->out)) {
			return false;
		}
	}
	if (!cli->options.json) {
		cli_table_flush(table);
	}
	return true;
}

/* ---- the command ---- */

static int users_print(struct users *users)
{
	struct cli *cli = users->cli;
	bool good = true;

	if (users->seen.count > 1) {
		qsort(users->seen.items, users->seen.count, sizeof(codec_doc_t *), by_last);
	}
	if (users->events.count > 1) {
		qsort(users->events.items, users->events.count, sizeof(codec_doc_t *), by_time);
	}
	for (size_t i = 0; good && cli->options.json && i < users->seen.count; i++) {
		good = seen_json(cli, users->seen.items[i]);
	}
	if (!cli->options.json) {
		seen_print(users);
	}
	if (users->name != NULL && !cli->options.json && users->seen.count > 0) {
		programs_print(users);
	}
	if (good && users->events.count > 0) {
		good = events_print(users);
	}
	size_t sessions = 0;
	good = good && cli_sessions_show(cli, users->hosts.items, users->hosts.count, users->name,
	                                 &sessions);
	fflush(cli->out);
	if (good && users->name != NULL && users->seen.count == 0 && sessions == 0) {
		return cli_fail(cli, CLI_NOT_FOUND, "no user '%s' was seen. See `portreeve users`",
		                users->name);
	}
	return good ? CLI_DONE : CLI_ERROR;
}

int cli_run_users(struct cli *cli)
{
	_cleanup_(users_done) struct users users = { .cli = cli, .limit = CONNECTIONS_DEFAULT };
	int status = CLI_DONE;

	if (cli->options.word_count > 0) {
		users.name = cli->options.words[0];
	}
	if (cli->options.limit != NULL) {
		status = cli_limit_read(cli, &users.limit);
	}
	if (status == CLI_DONE) {
		status = seen_ask(&users);
	}
	if (status == CLI_DONE) {
		status = cli_controller_list(cli, codec_doc_new(CODEC_ENDPOINTS_GET), host_take,
		                             &users);
	}
	return status == CLI_DONE ? users_print(&users) : status;
}
