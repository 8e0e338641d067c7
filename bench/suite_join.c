/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Both ends of a connection as one: how often, and never wrongly. A part of suite_attribution.c. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "bench/bench.h"
#include "bench/join.h"
#include "bench/suite_join.h"
#include "store/history.h"

#define PORTS 65536

/* Policy by container and host, also at the far end: no verdict there without the near end. */
static const char policy[] = "mode enforce default\n"
			     "group ones  select name j?1 kind container\n"
			     "group twos  select name j?2 kind container\n"
			     "group pubs  select name j?3 kind container\n"
			     "group hosts select name j? kind host\n"
			     "rule 10 allow from ones to hosts tcp/9001,8080\n"
			     "rule 11 allow from twos to hosts tcp/9001,8080\n"
			     "rule 20 allow from ones to pubs tcp/80\n"
			     "rule 21 allow from twos to pubs tcp/80\n";

/* What the two ends of one connection of the log said. */
struct said {
	uint64_t near_connection;
	uint64_t far_connection, far_time_wall_ns; /* of the last of the far end's events */
	struct pr_uuid far_source;
	bool near, far;
	bool wrong;
};

/* Lines of a way by the port that the server saw; the same one may be used again and again. */
struct seen {
	uint32_t heads[PORTS]; /* number of a line and 1; 0: none */
	uint32_t *next;
};

struct judge {
	const struct join *join;
	struct seen *seen[JOIN_HOSTS * JOIN_CLIENTS * JOIN_TARGETS];
	struct said *said[JOIN_HOSTS * JOIN_CLIENTS * JOIN_TARGETS]; /* as join's ways and lines */
	uint64_t (*owners)[2]; /* sorted: connection, and which line's near end has it */
	size_t owner_count;
	bool far_turn; /* second reading */
	char first_wrong[160];
};

struct join_figures {
	uint64_t made, joined, wrong, unknown, missing, failed;
};

/* ---- reading ---- */

static int host_of(const struct join *join, const struct pr_uuid *agent)
{
	for (unsigned i = 0; i < JOIN_HOSTS; i++) {
		if (pr_uuid_equal(&join->hosts[i].agent, agent)) {
			return (int)i;
		}
	}
	return -1;
}

/* A near end: who reports, its own address and port, and the port on the other host say which. */
static void near_take(struct judge *judge, unsigned host, const struct codec_event *event)
{
	for (unsigned w = 0; w < PR_ARRAY_LEN(judge->said); w++) {
		const struct join_way *way = &judge->join->ways[w];
		struct pr_addr own;
		const char *address =
			judge->join->hosts[host].engine.containers[way->client].address;
		if (way->host != host || event->dst_port != join_port(way->target) ||
		    event->src_port < JOIN_PORT_FIRST ||
		    (uint32_t)(event->src_port - JOIN_PORT_FIRST) >= judge->join->count ||
		    pr_addr_parse(address, &own) != PR_OK || !pr_addr_equal(&own, &event->src)) {
			continue;
		}
		struct said *said = &judge->said[w][event->src_port - JOIN_PORT_FIRST];
		said->near = true;
		said->near_connection = event->connection;
	}
}

/*
 * The line of a way whose connection this is: of those with the port that the server saw, begun
 * before the event, the one that the server accepted first after it. (A connection may wait to be
 * let out while another one has its later port.)
 */
static const struct join_line *line_find(const struct judge *judge, unsigned w,
                                         const struct codec_event *event)
{
	const struct join_way *way = &judge->join->ways[w];
	const struct seen *seen = judge->seen[w];
	const struct join_line *found = NULL;

	for (uint32_t at = seen->heads[event->src_port]; at != 0; at = seen->next[at - 1]) {
		const struct join_line *line = &way->lines[at - 1];
		if (event->time_wall_ns >= line->begin_wall_ns &&
		    event->time_wall_ns <= line->accepted_wall_ns &&
		    (found == NULL || line->accepted_wall_ns < found->accepted_wall_ns)) {
			found = line;
		}
	}
	return found;
}

static int owner_compare(const void *a, const void *b)
{
	uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;
	return left < right ? -1 : left > right;
}

/* Whose near end has this connection? UINT64_MAX: nobody's. */
static uint64_t owner_of(const struct judge *judge, uint64_t connection)
{
	const uint64_t(*found)[2] = bsearch(&connection, judge->owners, judge->owner_count,
	                                    sizeof(*judge->owners), owner_compare);
	return found != NULL ? (*found)[1] : UINT64_MAX;
}

static void wrong_note(struct judge *judge, const struct join_way *way, uint32_t number,
                       const struct codec_event *event)
{
	char id[PR_UUID_TEXT_BYTES];

	if (judge->first_wrong[0] == '\0') {
		(void)snprintf(judge->first_wrong, sizeof(judge->first_wrong),
		               "j%c%u port %u to %u: far end says %.13s, connection %016llx",
		               'a' + way->host, way->client + 1, JOIN_PORT_FIRST + number,
		               join_port(way->target), pr_uuid_format(&event->src_endpoint, id),
		               (unsigned long long)event->connection);
	}
}

/* Every event of a far end may be wrong; of several the last one counts for the rest. */
static void far_judge(struct judge *judge, unsigned w, uint32_t number,
                      const struct codec_event *event)
{
	const struct join_way *way = &judge->join->ways[w];
	struct said *said = &judge->said[w][number];
	struct pr_uuid client = pr_uuid_of_container(
		judge->join->hosts[way->host].engine.containers[way->client].id);
	bool named = !pr_uuid_is_null(&event->src_endpoint);
	uint64_t owner = event->connection != 0 ? owner_of(judge, event->connection) : UINT64_MAX;
	bool wrong = (named && !pr_uuid_equal(&event->src_endpoint, &client)) ||
	             (owner != UINT64_MAX && owner != ((uint64_t)w << 32 | number));

	if (wrong) {
		wrong_note(judge, way, number, event);
	}
	said->wrong |= wrong;
	if (!said->far || event->time_wall_ns >= said->far_time_wall_ns) {
		said->far = true;
		said->far_time_wall_ns = event->time_wall_ns;
		said->far_connection = event->connection;
		said->far_source = event->src_endpoint;
	}
}

static void far_take(struct judge *judge, unsigned host, const struct codec_event *event)
{
	const struct join_line *found = NULL;
	unsigned found_way = 0;

	for (unsigned w = 0; w < PR_ARRAY_LEN(judge->said); w++) {
		const struct join_way *way = &judge->join->ways[w];
		struct pr_addr from;
		if (way->host == host || event->dst_port != join_served_port(way->target) ||
		    pr_addr_parse(judge->join->hosts[way->host].address, &from) != PR_OK ||
		    !pr_addr_equal(&from, &event->src)) {
			continue;
		}
		const struct join_line *line = line_find(judge, w, event);
		if (line != NULL &&
		    (found == NULL || line->accepted_wall_ns < found->accepted_wall_ns)) {
			found = line;
			found_way = w;
		}
	}
	if (found != NULL) {
		far_judge(judge, found_way, (uint32_t)(found - judge->join->ways[found_way].lines),
		          event);
	}
}

static bool take(void *arg, const struct store_row *row)
{
	struct judge *judge = arg;
	int host = host_of(judge->join, &row->agent);

	if (host >= 0 && row->event.reporter == CODEC_REPORTER_INITIATOR && !judge->far_turn) {
		near_take(judge, (unsigned)host, &row->event);
	} else if (host >= 0 && row->event.reporter == CODEC_REPORTER_TERMINATOR &&
	           judge->far_turn) {
		far_take(judge, (unsigned)host, &row->event);
	}
	return true;
}

/* ---- judging ---- */

static int judge_new(const struct join *join, struct judge *judge)
{
	*judge = (struct judge){ .join = join };
	judge->owners = calloc(PR_ARRAY_LEN(judge->said) * join->count, sizeof(*judge->owners));
	for (unsigned w = 0; w < PR_ARRAY_LEN(judge->said); w++) {
		judge->said[w] = calloc(join->count, sizeof(*judge->said[w]));
		judge->seen[w] = calloc(1, sizeof(*judge->seen[w]));
		if (judge->said[w] == NULL || judge->seen[w] == NULL || judge->owners == NULL) {
			return PR_ENOMEM;
		}
		struct seen *seen = judge->seen[w];
		seen->next = calloc(join->count, sizeof(*seen->next));
		for (uint32_t i = 0; seen->next != NULL && i < join->count; i++) {
			const struct join_line *line = &join->ways[w].lines[i];
			if (line->answered) {
				seen->next[i] = seen->heads[line->seen_port];
				seen->heads[line->seen_port] = i + 1;
			}
		}
		if (seen->next == NULL) {
			return PR_ENOMEM;
		}
	}
	return PR_OK;
}

static void judge_done(struct judge *judge)
{
	for (unsigned w = 0; w < PR_ARRAY_LEN(judge->said); w++) {
		free(judge->said[w]);
		if (judge->seen[w] != NULL) {
			free(judge->seen[w]->next);
		}
		free(judge->seen[w]);
	}
	free(judge->owners);
}

/* Near ends by connection; two that share one are joined wrongly. */
static uint64_t owners_sort(struct judge *judge)
{
	uint64_t shared = 0;

	for (unsigned w = 0; w < PR_ARRAY_LEN(judge->said); w++) {
		for (uint32_t i = 0; i < judge->join->count; i++) {
			if (judge->said[w][i].near_connection != 0) {
				uint64_t *owner = judge->owners[judge->owner_count++];
				owner[0] = judge->said[w][i].near_connection;
				owner[1] = (uint64_t)w << 32 | i;
			}
		}
	}
	qsort(judge->owners, judge->owner_count, sizeof(*judge->owners), owner_compare);
	for (size_t i = 1; i < judge->owner_count; i++) {
		shared += judge->owners[i][0] == judge->owners[i - 1][0];
	}
	return shared;
}

static void line_count(const struct judge *judge, unsigned w, uint32_t number,
                       struct join_figures *figures)
{
	const struct said *said = &judge->said[w][number];

	if (!judge->join->ways[w].lines[number].answered) {
		figures->failed++;
		return;
	}
	figures->made++;
	if (said->wrong) {
		figures->wrong++;
	} else if (!said->near || !said->far) {
		figures->missing++;
	} else if (pr_uuid_is_null(&said->far_source) || said->far_connection == 0 ||
	           said->far_connection != said->near_connection) {
		figures->unknown++;
	} else {
		figures->joined++;
	}
}

static void figures_print(const struct bench_config *config, const struct judge *judge,
                          const struct join_figures *figures)
{
	struct bench_row rate = { .metric = "join.rate", .unit = "share" };
	struct bench_row wrong = { .metric = "join.wrong", .unit = "count" };
	struct bench_row failed = { .metric = "join.failed", .unit = "count" };

	bench_series_add(&rate.value,
	                 figures->made > 0 ? (double)figures->joined / (double)figures->made : 0);
	(void)snprintf(rate.note, sizeof(rate.note),
	               "of %llu between two hosts with the same networks and addresses; %llu said "
	               "to be unknown, %llu without an event",
	               (unsigned long long)figures->made, (unsigned long long)figures->unknown,
	               (unsigned long long)figures->missing);
	bench_row_print(config, &rate);
	bench_series_add(&wrong.value, (double)figures->wrong);
	(void)snprintf(wrong.note, sizeof(wrong.note), "by the clients' own log; %.120s",
	               judge->first_wrong[0] != '\0' ? judge->first_wrong : "none differs");
	bench_row_print(config, &wrong);
	bench_series_add(&failed.value, (double)figures->failed);
	(void)snprintf(failed.note, sizeof(failed.note), "connections without an answer");
	bench_row_print(config, &failed);
}

static int judged(const struct bench_config *config, struct join *join)
{
	struct join_figures figures = { 0 };
	struct judge judge;
	int ret = judge_new(join, &judge);

	if (ret == PR_OK) {
		ret = deploy_history_each(judge.join->stage, take, &judge);
	}
	if (ret == PR_OK) {
		figures.wrong = owners_sort(&judge);
		judge.far_turn = true;
		ret = deploy_history_each(judge.join->stage, take, &judge);
	}
	for (unsigned w = 0; ret == PR_OK && w < PR_ARRAY_LEN(judge.said); w++) {
		for (uint32_t i = 0; i < join->count; i++) {
			line_count(&judge, w, i, &figures);
		}
	}
	if (ret == PR_OK) {
		figures_print(config, &judge, &figures);
	}
	judge_done(&judge);
	return ret;
}

int suite_join_run(const struct bench_config *config, struct deploy *deploy, uint32_t count)
{
	struct join join;
	uint64_t stored;
	int ret = join_new(deploy, count / (JOIN_HOSTS * JOIN_CLIENTS * JOIN_TARGETS), &join);

	if (ret == PR_OK) {
		ret = deploy_commit(deploy, policy);
	}
	uint64_t start_ns = pr_clock_monotonic_ns();
	if (ret == PR_OK && !stage_interrupted()) {
		ret = join_run(&join);
	}
	double run_s = (double)(pr_clock_monotonic_ns() - start_ns) / 1e9;
	if (ret == PR_OK && !stage_interrupted()) {
		ret = deploy_events_count(deploy, "dst.port:8080 OR dst.port:9001 OR dst.port:80",
		                          &stored);
	}
	if (ret == PR_OK && !stage_interrupted()) {
		ret = judged(config, &join);
		bench_say(config, "joined at %.0f connections a second", count / run_s);
	}
	join_done(&join);
	return ret;
}
