/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What led to a connection, and what it led to: a tree of joined rows. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "cli/trace.h"
#include "policy/query.h"

#define CAUSES_SHOWN   4
#define NEIGHBOURS_MAX 4096 /* connections looked at for one step */
#define PREFIX_BYTES   (TRACE_DEPTH_MAX * 16)

static void list_done(struct list *list)
{
	for (size_t i = 0; i < list->count; i++) {
		codec_doc_destroy(&list->items[i].row);
	}
	free(list->items);
	*list = (struct list){ 0 };
}

/* ---- asking ---- */

static bool row_take(void *arg, codec_doc_t **item_p)
{
	struct list *list = arg;
	struct cli_joined joined;

	if (codec_doc_type(*item_p) != CODEC_EVENT_ROW || cli_joined_read(*item_p, &joined) < 0) {
		return true;
	}
	if (list->count == list->room) {
		size_t room = list->room == 0 ? 16 : 2 * list->room;
		struct connection *items = realloc(list->items, room * sizeof(*items));
		if (items == NULL) {
			list->failed = true;
			return false;
		}
		list->items = items;
		list->room = room;
	}
	list->items[list->count++] =
		(struct connection){ .row = take_ptr(*item_p), .joined = joined };
	return true;
}

static int fetch(struct trace *trace, const char *query, uint64_t since_wall_ns,
                 uint64_t until_wall_ns, uint64_t limit, bool joined, struct list *list)
{
	_cleanup_(codec_doc_destroy) codec_doc_t *request = codec_doc_new(CODEC_EVENTS_GET);
	_cleanup_(codec_doc_destroy) codec_doc_t *end = NULL;

	if (request == NULL) {
		return cli_fail(trace->cli, CLI_ERROR, "%s", pr_strerror(PR_ENOMEM));
	}
	codec_doc_set_text(request, CODEC_EVENTS_GET_QUERY, query);
	codec_doc_set_u64(request, CODEC_EVENTS_GET_SINCE, since_wall_ns);
	codec_doc_set_u64(request, CODEC_EVENTS_GET_UNTIL, until_wall_ns);
	codec_doc_set_u64(request, CODEC_EVENTS_GET_LIMIT, limit);
	codec_doc_set_u64(request, CODEC_EVENTS_GET_JOINED, joined);
	codec_doc_set_u64(request, CODEC_EVENTS_GET_ENOUGH, limit == 1);
	trace->recorder->patience_ns = CLI_SEARCH_NS;
	int status = cli_ask(trace->cli, trace->recorder, request, row_take, list, &end);
	if (status == CLI_DONE && list->failed) {
		return cli_fail(trace->cli, CLI_ERROR, "%s", pr_strerror(PR_ENOMEM));
	}
	list->complete = end != NULL && codec_doc_type(end) == CODEC_END &&
	                 codec_doc_u64(end, CODEC_END_COMPLETE) != 0;
	return status;
}

/* What goes on at an endpoint around a time. */
static int neighbours(struct trace *trace, const struct pr_uuid *endpoint, uint64_t since_wall_ns,
                      uint64_t until_wall_ns, struct list *list)
{
	char query[64], id[PR_UUID_TEXT_BYTES];

	(void)snprintf(query, sizeof(query), "uuid:%s", pr_uuid_format(endpoint, id));
	int status = fetch(trace, query, since_wall_ns, until_wall_ns, NEIGHBOURS_MAX, true, list);
	if (status == CLI_DONE && !list->complete) {
		cli_note(trace->cli,
		         "more than %d connections at one place within %d s: "
		         "the tree may lack some of them",
		         NEIGHBOURS_MAX, (int)((until_wall_ns - since_wall_ns) / PR_NS_PER_S));
	}
	return status;
}

static bool is_hex16(const char *word)
{
	return strlen(word) == 16 && strspn(word, "0123456789abcdefABCDEF") == 16;
}

static bool is_event_id(const char *word)
{
	char text[PR_UUID_TEXT_BYTES];
	struct pr_uuid id;
	size_t length = sizeof(text) - 1;

	if (strlen(word) < length + 2 || word[length] != '-') {
		return false;
	}
	memcpy(text, word, length);
	text[length] = '\0';
	return pr_uuid_parse(text, &id) == PR_OK &&
	       strspn(word + length + 1, "0123456789") == strlen(word + length + 1);
}

/* Is this the event of that end? */
static bool same_event(const struct cli_event *a, const struct cli_event *b)
{
	return a->event.seq == b->event.seq && pr_uuid_equal(&a->agent, &b->agent);
}

/* Put the wanted one first: the joined one of a connection, the one that holds an event. */
static void best_first(struct list *list, const struct cli_event *event, bool connection)
{
	for (size_t i = 0; i < list->count; i++) {
		const struct cli_joined *joined = &list->items[i].joined;
		bool both = joined->has_near && joined->has_far;
		bool holds = same_event(cli_joined_src(joined), event) ||
		             same_event(cli_joined_dst(joined), event);
		if (connection ? both : holds) {
			struct connection best = list->items[i];
			list->items[i] = list->items[0];
			list->items[0] = best;
			return;
		}
	}
}

/* The event that is meant, by its own id, that of its connection, or a query: the newest. */
static int event_find(struct trace *trace, bool *ret_connection, struct list *list)
{
	struct cli_options *options = &trace->cli->options;
	const char *word = options->words[0];
	char query[POLICY_QUERY_MAX_BYTES], exact[128];
	bool connection = options->word_count == 1 && is_hex16(word);

	if (connection || (options->word_count == 1 && is_event_id(word))) {
		(void)snprintf(exact, sizeof(exact), "%s:%.100s", connection ? "connection" : "id",
		               word);
		options->words[0] = exact;
	}
	int status = cli_query_make(trace->cli, query, sizeof(query));
	options->words[0] = word;
	if (status == CLI_DONE) {
		status = fetch(trace, query, 0, 0, 1, false, list);
	}
	if (status == CLI_DONE && list->count == 0) {
		return cli_fail(trace->cli, CLI_NOT_FOUND, "nothing recorded matches %s", query);
	}
	*ret_connection = connection;
	return status;
}

/* Its connection. Looking for an event is faster, and then it is known when. */
static int target_find(struct trace *trace, struct list *list)
{
	_cleanup_(list_done) struct list found = { 0 };
	char query[128], text[CODEC_EVENT_TEXT_BYTES];
	bool connection = false;

	int status = event_find(trace, &connection, &found);
	if (status != CLI_DONE) {
		return status;
	}
	const struct cli_event *event = cli_joined_src(&found.items[0].joined);
	uint64_t time_wall_ns = event->event.time_wall_ns;
	if (event->event.connection != 0) {
		(void)snprintf(query, sizeof(query), "connection:%s",
		               codec_connection_format(event->event.connection, text));
	} else {
		(void)snprintf(query, sizeof(query), "id:%s",
		               codec_event_id_format(&event->agent, event->event.seq, text));
	}
	status = fetch(trace, query, time_wall_ns - CLI_HOP_NS, time_wall_ns + CLI_HOP_NS, 0, true,
	               list);
	if (status == CLI_DONE && list->count == 0) {
		return cli_fail(trace->cli, CLI_NOT_FOUND, "it is not recorded any more");
	}
	best_first(list, event, connection);
	return status;
}

/* ---- hops ---- */

static struct cli_hop hop_of(const struct connection *connection, bool accepted)
{
	const struct cli_joined *joined = &connection->joined;
	const struct cli_event *event = accepted ? &joined->far_end : &joined->near_end;
	bool denied = event->event.verdict == CODEC_EVENT_VERDICT_DENIED ||
	              event->event.verdict == CODEC_EVENT_VERDICT_REJECTED;

	return (struct cli_hop){
		.endpoint = accepted ? event->event.dst_endpoint : event->event.src_endpoint,
		.agent = event->agent,
		.time_wall_ns = event->event.time_wall_ns,
		.latency_ns = event->event.latency_us * PR_NS_PER_US,
		.pid = event->event.pid,
		.exe = event->event.exe,
		.of = connection,
		.accepted = accepted && joined->has_far && !denied,
		.opened = !accepted && joined->has_near,
	};
}

static int by_time(const void *a, const void *b)
{
	const struct cli_hop *left = a, *right = b;

	return left->time_wall_ns < right->time_wall_ns   ? -1
	       : left->time_wall_ns > right->time_wall_ns ? 1
	                                                  : left->opened - right->opened;
}

/* The hops of a list, in order of time; malloc'd. */
static struct cli_hop *hops_of(const struct list *list, size_t *ret_count)
{
	struct cli_hop *hops = calloc(2 * list->count + 1, sizeof(*hops));
	size_t count = 0;

	for (size_t i = 0; hops != NULL && i < list->count; i++) {
		struct cli_hop accepted = hop_of(&list->items[i], true);
		struct cli_hop opened = hop_of(&list->items[i], false);
		if (accepted.accepted) {
			hops[count++] = accepted;
		}
		if (opened.opened) {
			hops[count++] = opened;
		}
	}
	if (count > 0) {
		qsort(hops, count, sizeof(*hops), by_time);
	}
	*ret_count = count;
	return hops;
}

static bool same_connection(const struct connection *a, const struct connection *b)
{
	return a->joined.has_near == b->joined.has_near &&
	       same_event(cli_joined_src(&a->joined), cli_joined_src(&b->joined));
}

/* ---- down ---- */

static int tree_show(struct trace *trace, const struct connection *connection,
                     const struct link *link, size_t depth, const char *prefix, bool last);

struct effect {
	const struct connection *connection;
	struct link link;
};

/* What an accepted connection may have led to; malloc'd. */
static struct effect *effects_of(const struct list *list, const struct connection *connection,
                                 size_t *ret_count)
{
	size_t hop_count = 0, count = 0;
	_cleanup_(pr_free) struct cli_hop *hops = hops_of(list, &hop_count);
	_cleanup_(pr_free) bool *fits = calloc(hop_count + 1, sizeof(*fits));
	struct effect *effects = calloc(list->count + 1, sizeof(*effects));

	*ret_count = 0;
	if (hops == NULL || fits == NULL || effects == NULL) {
		free(effects);
		return NULL;
	}
	for (size_t i = 0; i < hop_count; i++) {
		size_t of = 0;
		enum cli_hop_kind kind = hops[i].opened
		                                 ? cli_hop_causes(hops, hop_count, i, fits, &of)
		                                 : CLI_HOP_NONE;
		for (size_t k = 0; k < hop_count && kind != CLI_HOP_NONE; k++) {
			if (!fits[k] || !same_connection(hops[k].of, connection)) {
				continue;
			}
			effects[count++] = (struct effect){
				.connection = hops[i].of,
				.link = { .kind = kind,
				          .of = of,
				          .at_least = !list->complete,
				          .delay_ns = hops[i].time_wall_ns - hops[k].time_wall_ns,
				          .cause = connection },
			};
			break;
		}
	}
	*ret_count = count;
	return effects;
}

static int effects_show(struct trace *trace, const struct connection *connection, size_t depth,
                        const char *prefix)
{
	const struct cli_event *far_end = &connection->joined.far_end;
	uint64_t time_wall_ns = far_end->event.time_wall_ns;
	uint64_t wait_ns = far_end->event.latency_us * PR_NS_PER_US;
	_cleanup_(list_done) struct list list = { 0 };
	size_t count = 0;

	int status = neighbours(trace, &far_end->event.dst_endpoint, time_wall_ns - 2 * CLI_HOP_NS,
	                        time_wall_ns + wait_ns + CLI_HOP_NS, &list);
	if (status != CLI_DONE) {
		return status;
	}
	_cleanup_(pr_free) struct effect *effects = effects_of(&list, connection, &count);
	if (effects == NULL) {
		return cli_fail(trace->cli, CLI_ERROR, "%s", pr_strerror(PR_ENOMEM));
	}
	for (size_t i = 0; i < count && status == CLI_DONE; i++) {
		status = tree_show(trace, effects[i].connection, &effects[i].link, depth + 1,
		                   prefix, i + 1 == count);
	}
	return status;
}

/* A connection below its opener, whom it leads to, and what that opens. */
static int tree_show(struct trace *trace, const struct connection *connection,
                     const struct link *link, size_t depth, const char *prefix, bool last)
{
	char text[TRACE_LINE_BYTES], below[PREFIX_BYTES];
	bool known = connection->joined.has_far &&
	             !pr_uuid_is_null(&connection->joined.far_end.event.dst_endpoint);

	if (depth >= TRACE_DEPTH_MAX || trace->shown >= TRACE_SHOWN_MAX) {
		trace->shown++;
		return CLI_DONE;
	}
	trace->shown++;
	(void)snprintf(below, sizeof(below), "%s%s", prefix, last ? "   " : trace->bar);
	if (trace->cli->options.json) {
		if (!trace_connection_json(trace, connection, link, depth)) {
			return CLI_ERROR;
		}
	} else {
		trace_connection_format(trace, connection, link, text);
		trace_line_say(trace, prefix, last ? trace->last : trace->branch, text);
		trace_end_format(trace, connection, false, text);
		trace_line_say(trace, below, "", text);
	}
	return known ? effects_show(trace, connection, depth, below) : CLI_DONE;
}

/* ---- up ---- */

/* The connections that may have led to one; taken out of what was asked for. */
static int causes_find(struct trace *trace, const struct connection *connection,
                       struct list *causes, bool *ret_at_least)
{
	const struct cli_event *near_end = &connection->joined.near_end;
	uint64_t time_wall_ns = near_end->event.time_wall_ns;
	_cleanup_(list_done) struct list list = { 0 };
	size_t hop_count = 0, count = 0;

	int status = neighbours(trace, &near_end->event.src_endpoint, time_wall_ns - 2 * CLI_HOP_NS,
	                        time_wall_ns + PR_NS_PER_S, &list);
	if (status != CLI_DONE) {
		return status;
	}
	_cleanup_(pr_free) struct cli_hop *hops = hops_of(&list, &hop_count);
	_cleanup_(pr_free) bool *fits = calloc(hop_count + 1, sizeof(*fits));
	if (hops == NULL || fits == NULL) {
		return cli_fail(trace->cli, CLI_ERROR, "%s", pr_strerror(PR_ENOMEM));
	}
	for (size_t i = 0; i < hop_count; i++) {
		if (hops[i].opened && same_connection(hops[i].of, connection)) {
			(void)cli_hop_causes(hops, hop_count, i, fits, &count);
			break;
		}
	}
	for (size_t i = 0; i < hop_count && count > 0; i++) {
		if (fits[i]) {
			const struct connection *cause = hops[i].of;
			codec_doc_t **row_p = &list.items[cause - list.items].row;
			(void)row_take(causes, row_p);
		}
	}
	*ret_at_least = !list.complete;
	return CLI_DONE;
}

/* Some of those that may have led to the root, when it cannot be told which did. */
static void causes_say(struct trace *trace, const struct list *causes)
{
	char text[TRACE_LINE_BYTES], src[TRACE_LINE_BYTES];
	const struct link root = { .of = 0 };

	(void)snprintf(text, sizeof(text),
	               "%zu accepted connections may have led to this one:", causes->count);
	trace_line_say(trace, "", "", text);
	for (size_t i = 0; i < causes->count && i < CAUSES_SHOWN; i++) {
		trace_end_format(trace, &causes->items[i], true, src);
		trace_line_say(trace, "  ? ", "", src);
		trace_connection_format(trace, &causes->items[i], &root, text);
		trace_line_say(trace, "      ", "", text);
	}
	if (causes->count > CAUSES_SHOWN) {
		(void)snprintf(text, sizeof(text), "  ? ... and %zu more",
		               causes->count - CAUSES_SHOWN);
		trace_line_say(trace, "", "", text);
	}
}

/* From the target up as long as it is certain; @p root becomes the list with the topmost alone. */
static int root_find(struct trace *trace, struct list *root, struct list *causes)
{
	for (size_t depth = 0; depth < TRACE_DEPTH_MAX; depth++) {
		bool at_least = false;
		list_done(causes);
		if (!root->items[0].joined.has_near) {
			return CLI_DONE;
		}
		int status = causes_find(trace, &root->items[0], causes, &at_least);
		if (status != CLI_DONE || causes->count != 1 || at_least) {
			return status;
		}
		struct list up = *causes;
		*causes = *root;
		*root = up;
	}
	list_done(causes);
	return CLI_DONE;
}

int cli_run_trace(struct cli *cli)
{
	_cleanup_(list_done) struct list root = { 0 }, causes = { 0 };
	bool utf8 = cli->style.utf8;
	struct trace trace = { .cli = cli,
		               .branch = utf8 ? "\u251c\u2500 " : "+- ",
		               .last = utf8 ? "\u2514\u2500 " : "`- ",
		               .bar = utf8 ? "\u2502  " : "|  ",
		               .dot = utf8 ? "\u00b7" : "-" };
	const struct link top = { .of = 0 };
	char text[TRACE_LINE_BYTES];

	int status = cli_recorder_get(cli, &trace.recorder);
	if (status == CLI_DONE) {
		status = target_find(&trace, &root);
	}
	if (status == CLI_DONE) {
		status = root_find(&trace, &root, &causes);
	}
	if (status != CLI_DONE) {
		return status;
	}
	if (!cli->options.json) {
		if (causes.count > 0) {
			causes_say(&trace, &causes);
		}
		trace_end_format(&trace, &root.items[0], true, text);
		trace_line_say(&trace, "", "", text);
	}
	status = tree_show(&trace, &root.items[0], &top, 0, "", true);
	if (trace.shown > TRACE_SHOWN_MAX) {
		cli_note(cli, "the tree has more than %d connections; trace one below to see on",
		         TRACE_SHOWN_MAX);
	}
	return status;
}
