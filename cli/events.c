/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/program.h"
#include "cli/cli.h"
#include "policy/query.h"

#define NEWEST_DEFAULT 50
#define NEWEST_FOLLOW  10
#define FLUSH_ROWS     256
#define REPEAT_NS      (5 * PR_NS_PER_S)
#define SEEN_MAX       4096               /* events remembered against a second showing */
#define SEEN_BOTH      (1ULL << 63)       /* in a number remembered: it had both ends */
#define OVERLAP_NS     (10 * PR_NS_PER_S) /* asked for again after a break */
#define QUERY_DENIED   "verdict:denied,rejected,would-deny"

/* Which events were shown last; a ring. */
struct seen {
	struct {
		struct pr_uuid agent;
		uint64_t seq;
	} items[SEEN_MAX];
	size_t next;
};

struct show {
	struct cli *cli;
	cli_table_t *table; /* NULL: JSON */
	uint64_t shown, pending, malformed;
	uint64_t newest_wall_ns, oldest_wall_ns; /* of those shown */
	bool broken;                             /* standard output is gone */
	struct seen *seen;                       /* NULL: not following */
};

/* ---- what is asked ---- */

int cli_query_make(struct cli *cli, char *text, size_t room)
{
	const struct cli_options *options = &cli->options;
	struct policy_query_error error;
	policy_query_t *query = NULL;
	size_t used = 0;

	text[0] = '\0';
	for (size_t i = 0; i < options->word_count; i++) {
		used += (size_t)snprintf(text + used, room - used, "%s%s", i > 0 ? " " : "",
		                         options->words[i]);
		if (used + sizeof(QUERY_DENIED) + 4 >= room) {
			return cli_fail(cli, CLI_USAGE, "the query is longer than %zu bytes", room);
		}
	}
	if (options->denied && used > 0) { /* an OR in it must not reach outside */
		memmove(text + 1, text, used);
		text[0] = '(';
		(void)snprintf(text + used + 1, room - used - 1, ") %s", QUERY_DENIED);
	} else if (options->denied) {
		(void)snprintf(text, room, "%s", QUERY_DENIED);
	}
	int ret = policy_query_parse(text, &error, &query);
	policy_query_destroy(&query);
	if (ret == PR_EINVAL) {
		return cli_fail(cli, CLI_USAGE, "query: %s, at %zu of: %s", error.message,
		                error.position, text);
	}
	return ret < 0 ? cli_fail(cli, CLI_ERROR, "query: %s", pr_strerror(ret)) : CLI_DONE;
}

static int time_read(struct cli *cli, const char *name, const char *text, uint64_t *ret_wall_ns)
{
	*ret_wall_ns = 0;
	if (text != NULL && cli_time_parse(text, cli->style.now_wall_ns, ret_wall_ns) < 0) {
		return cli_fail(cli, CLI_USAGE,
		                "--%s %s: not a time. Say 90s, 15m, 2h or 3d (ago), today, "
		                "yesterday, 15:40, 2026-11-23 or 2026-11-23T15:40:00Z",
		                name, text);
	}
	return CLI_DONE;
}

static int limit_read(struct cli *cli, uint64_t *ret_limit)
{
	const struct cli_options *options = &cli->options;
	char *end;

	if (options->limit == NULL) {
		bool span = options->since != NULL || options->until != NULL;
		*ret_limit = span ? 0 : options->follow ? NEWEST_FOLLOW : NEWEST_DEFAULT;
		return CLI_DONE;
	}
	errno = 0;
	*ret_limit = strtoull(options->limit, &end, 10);
	if (errno != 0 || *end != '\0' || options->limit[0] < '0' || options->limit[0] > '9') {
		return cli_fail(cli, CLI_USAGE, "-n %s: not a number", options->limit);
	}
	return CLI_DONE;
}

static int request_make(struct cli *cli, codec_doc_t **ret_request)
{
	_cleanup_(codec_doc_destroy) codec_doc_t *request = codec_doc_new(CODEC_EVENTS_GET);
	char query[POLICY_QUERY_MAX_BYTES];
	uint64_t since_wall_ns, until_wall_ns, limit;
	int status = cli_query_make(cli, query, sizeof(query));

	if (status == CLI_DONE) {
		status = time_read(cli, "since", cli->options.since, &since_wall_ns);
	}
	if (status == CLI_DONE) {
		status = time_read(cli, "until", cli->options.until, &until_wall_ns);
	}
	if (status == CLI_DONE) {
		status = limit_read(cli, &limit);
	}
	if (status != CLI_DONE) {
		return status;
	}
	if (cli->options.follow && until_wall_ns != 0) {
		return cli_fail(cli, CLI_USAGE, "-f never ends: leave --until out");
	}
	if (request == NULL) {
		return cli_fail(cli, CLI_ERROR, "%s", pr_strerror(PR_ENOMEM));
	}
	codec_doc_set_text(request, CODEC_EVENTS_GET_QUERY, query);
	codec_doc_set_u64(request, CODEC_EVENTS_GET_SINCE, since_wall_ns);
	codec_doc_set_u64(request, CODEC_EVENTS_GET_UNTIL, until_wall_ns);
	codec_doc_set_u64(request, CODEC_EVENTS_GET_LIMIT, limit);
	codec_doc_set_u64(request, CODEC_EVENTS_GET_FOLLOW, cli->options.follow);
	codec_doc_set_u64(request, CODEC_EVENTS_GET_JOINED, cli->options.joined);
	*ret_request = take_ptr(request);
	return CLI_DONE;
}

/* ---- what comes ---- */

static bool seen_before(struct seen *seen, const struct pr_uuid *agent, uint64_t seq)
{
	for (size_t i = 0; i < SEEN_MAX; i++) {
		if (seen->items[i].seq == seq && pr_uuid_equal(&seen->items[i].agent, agent)) {
			return true;
		}
	}
	seen->items[seen->next].agent = *agent;
	seen->items[seen->next].seq = seq;
	seen->next = (seen->next + 1) % SEEN_MAX;
	return false;
}

/* A connection whose other end came late is shown twice: first with one end, then with both. */
static uint64_t seen_number(const struct cli_joined *joined)
{
	bool both = joined->has_near && joined->has_far;
	uint64_t seq = cli_joined_src(joined)->event.seq;

	return both ? seq | SEEN_BOTH : seq;
}

static bool is_new(struct show *show, const struct cli_joined *joined)
{
	uint64_t time_wall_ns = cli_joined_time_wall_ns(joined);

	if (show->seen != NULL &&
	    seen_before(show->seen, &cli_joined_src(joined)->agent, seen_number(joined))) {
		return false;
	}
	if (time_wall_ns > show->newest_wall_ns) {
		show->newest_wall_ns = time_wall_ns;
	}
	if (show->shown == 0 || time_wall_ns < show->oldest_wall_ns) {
		show->oldest_wall_ns = time_wall_ns;
	}
	return true;
}

static void row_show(struct show *show, const codec_doc_t *row)
{
	const struct cli_options *options = &show->cli->options;
	struct cli_joined joined;

	/* An event alone is a connection of which one end is asked for. */
	if (cli_joined_read(row, &joined) < 0) {
		show->malformed++;
		return;
	}
	const struct cli_event *event = cli_joined_src(&joined);
	if (!is_new(show, &joined)) {
		return;
	}
	show->shown++;
	if (show->table == NULL) {
		json_t *object = options->joined ? cli_joined_json(&joined) : cli_event_json(event);
		show->broken |= !cli_json_print(object, show->cli->out);
		return;
	}
	if (options->joined) {
		cli_joined_cells(&joined, &show->cli->style, options->wide, show->table);
	} else {
		cli_event_cells(event, &show->cli->style, options->wide, show->table);
	}
	if (++show->pending == FLUSH_ROWS) {
		cli_table_flush(show->table);
		show->pending = 0;
	}
}

static void lost_say(struct show *show, const codec_doc_t *lost)
{
	struct pr_uuid agent = codec_doc_uuid(lost, CODEC_EVENTS_LOST_AGENT);
	uint64_t count = codec_doc_u64(lost, CODEC_EVENTS_LOST_COUNT);
	char text[PR_UUID_TEXT_BYTES];

	if (pr_uuid_is_null(&agent)) {
		cli_note(show->cli, "-- %" PRIu64 " events not shown: this reader was too slow --",
		         count);
	} else {
		cli_note(show->cli, "-- agent %s lost %" PRIu64 " events --",
		         pr_uuid_format(&agent, text), count);
	}
}

static bool item_show(void *arg, codec_doc_t **item_p)
{
	struct show *show = arg;

	if (codec_doc_type(*item_p) == CODEC_EVENT_ROW) {
		row_show(show, *item_p);
	} else if (codec_doc_type(*item_p) == CODEC_EVENTS_LOST) {
		lost_say(show, *item_p);
	}
	return true;
}

static void flush(struct show *show)
{
	if (show->table != NULL) {
		cli_table_flush(show->table);
		show->pending = 0;
	}
	show->broken |= fflush(show->cli->out) != 0;
}

static int list_show(struct cli *cli, struct cli_peer *recorder, codec_doc_t *request,
                     struct show *show)
{
	_cleanup_(codec_doc_destroy) codec_doc_t *end = NULL;
	int status;

	recorder->patience_ns = CLI_SEARCH_NS;
	status = cli_ask(cli, recorder, request, item_show, show, &end);
	flush(show);
	if (status != CLI_DONE) {
		return status;
	}
	if (show->malformed > 0) {
		cli_note(cli, "%" PRIu64 " rows were malformed and are not shown", show->malformed);
	}
	if (codec_doc_type(end) == CODEC_END) {
		const char *text = codec_doc_text(end, CODEC_END_TEXT);
		bool complete = codec_doc_u64(end, CODEC_END_COMPLETE) != 0;
		if (!cli->options.json || !complete) {
			cli_note(cli, "%" PRIu64 " %s%s%s%s%s", show->shown,
			         cli->options.joined ? "connection" : "event",
			         show->shown == 1 ? "" : "s",
			         complete ? "" : ", older ones match too: -n N shows more",
			         text[0] != '\0' ? " · " : "", text);
		}
	}
	return CLI_DONE;
}

/* ---- follow ---- */

struct follow {
	struct show *show;
	struct cli_peer *recorder;
	codec_doc_t *request;
	uint64_t id;
	uint64_t sent_ns;
	bool silent; /* said so */
};

static int follow_receive(struct follow *follow)
{
	for (;;) {
		_cleanup_(codec_doc_destroy) codec_doc_t *doc = NULL;
		const uint8_t *data;
		size_t size_bytes;
		int ret = bus_client_receive(follow->recorder->client, &data, &size_bytes);

		if (ret < 0) {
			return CLI_DONE;
		}
		if (codec_doc_decode(data, size_bytes, &doc) < 0) {
			follow->show->malformed++;
			continue;
		}
		if (!cli_answers(doc, follow->id)) {
			continue;
		}
		if (codec_doc_type(doc) == CODEC_ERROR) {
			return cli_refused(follow->show->cli, doc);
		}
		(void)item_show(follow->show, &doc);
	}
}

/* The same request under the same id keeps the subscription; after a restart of the recorder it
 * makes a new one, from shortly before the newest event shown. */
static void follow_repeat(struct follow *follow, uint64_t now_ns)
{
	_cleanup_(pr_free) uint8_t *data = NULL;
	struct cli *cli = follow->show->cli;
	bool up = bus_client_link(follow->recorder->client) == BUS_LINK_UP;
	bool back = up && follow->silent;
	size_t size_bytes;

	if (!up && !follow->silent) {
		cli_note(cli, "-- %s is gone; waiting for it --", follow->recorder->what);
		follow->silent = true;
	}
	if (!up || (!back && now_ns - follow->sent_ns < REPEAT_NS)) {
		return;
	}
	if (follow->show->newest_wall_ns > OVERLAP_NS) {
		uint64_t since_wall_ns = follow->show->newest_wall_ns - OVERLAP_NS;
		uint64_t oldest_wall_ns = follow->show->oldest_wall_ns;
		codec_doc_set_u64(follow->request, CODEC_EVENTS_GET_SINCE,
		                  since_wall_ns > oldest_wall_ns ? since_wall_ns : oldest_wall_ns);
		codec_doc_set_u64(follow->request, CODEC_EVENTS_GET_LIMIT, 0);
	}
	if (codec_doc_encode(follow->request, &data, &size_bytes) == PR_OK &&
	    bus_client_send(follow->recorder->client, data, size_bytes) == PR_OK) {
		follow->sent_ns = now_ns;
		if (back) {
			cli_note(cli, "-- %s is back --", follow->recorder->what);
			follow->silent = false;
		}
	}
}

/* Until a signal, or until nobody reads our output. */
static int follow_loop(struct follow *follow, int signal_fd)
{
	struct cli *cli = follow->show->cli;
	int status = CLI_DONE;

	while (status == CLI_DONE && !follow->show->broken) {
		struct pollfd fds[] = {
			{ .fd = signal_fd, .events = POLLIN },
			{ .fd = bus_client_fd(follow->recorder->client), .events = POLLIN },
			{ .fd = fileno(cli->out), .events = 0 },
		};
		if (poll(fds, PR_ARRAY_LEN(fds), 500) < 0 && errno != EINTR) {
			return cli_fail(cli, CLI_ERROR, "poll: %s", pr_strerror(-errno));
		}
		if (fds[0].revents != 0 || (fds[2].revents & (POLLERR | POLLHUP)) != 0) {
			return CLI_DONE;
		}
		status = follow_receive(follow);
		flush(follow->show);
		follow_repeat(follow, pr_clock_monotonic_ns());
		if (status == CLI_DONE &&
		    bus_client_link(follow->recorder->client) == BUS_LINK_REFUSED) {
			status = cli_fail(cli, CLI_DENIED,
			                  "%s refuses our key now: it was revoked or has expired",
			                  follow->recorder->what);
		}
	}
	return status;
}

static int follow_run(struct cli *cli, struct cli_peer *recorder, codec_doc_t *request,
                      struct show *show, int signal_fd)
{
	struct follow follow = { .show = show, .recorder = recorder, .request = request };
	int status;

	follow.id = cli->session.next_request++;
	codec_doc_set_u64(request, CODEC_EVENTS_GET_ID, follow.id);
	status = cli_send(cli, recorder, request);
	if (status != CLI_DONE) {
		return status;
	}
	follow.sent_ns = pr_clock_monotonic_ns();
	if (show->table != NULL) {
		cli_table_widen(show->table, cli->options.joined ? NULL : cli_event_usual);
		cli_table_flush(show->table); /* the titles, before the first event */
	}
	return follow_loop(&follow, signal_fd);
}

static cli_table_t *table_new(struct cli *cli)
{
	const struct cli_column *columns = cli_event_columns;
	size_t count = cli_event_column_count(cli->options.wide);

	if (cli->options.joined) {
		columns = cli_joined_columns(&cli->style, cli->options.wide, &count);
	}
	return cli_table_new(&cli->style, cli->out, columns, count);
}

int cli_run_events(struct cli *cli)
{
	_cleanup_(codec_doc_destroy) codec_doc_t *request = NULL;
	_cleanup_(cli_table_destroy) cli_table_t *table = NULL;
	_cleanup_(pr_free) struct seen *seen = NULL;
	_cleanup_(pr_fd_close) int signal_fd = -1;
	struct show show = { .cli = cli };
	struct cli_peer *recorder;
	int status = request_make(cli, &request);

	if (status != CLI_DONE) {
		return status;
	}
	if (!cli->options.json) {
		table = table_new(cli);
		show.table = table;
	}
	if (cli->options.follow) {
		signal_fd = pr_program_signals(false);
		seen = calloc(1, sizeof(*seen));
		show.seen = seen;
	}
	if ((table == NULL && !cli->options.json) ||
	    (cli->options.follow && (signal_fd < 0 || seen == NULL))) {
		return cli_fail(cli, CLI_ERROR, "%s", pr_strerror(PR_ENOMEM));
	}
	status = cli_recorder_get(cli, &recorder);
	if (status != CLI_DONE) {
		return status;
	}
	return cli->options.follow ? follow_run(cli, recorder, request, &show, signal_fd)
	                           : list_show(cli, recorder, request, &show);
}
