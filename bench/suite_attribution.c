/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who began a connection: how often that is wrong or unknown in a storm, and what it costs. */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/clock.h"
#include "base/err.h"
#include "bench/arm.h"
#include "bench/attribute.h"
#include "bench/bench.h"
#include "bench/storm.h"
#include "bench/suite_join.h"
#include "store/history.h"

#define CONNECTIONS      100000
#define CONNECTIONS_FULL 1000000
#define JOINED           100000
#define FALLBACK_SHARE   20 /* a twentieth of them with eBPF off */
#define ROUNDS           20
#define SETTLE_TRIES     60

static const char policy[] = "mode enforce default\n"
			     "rule 10 allow from any to 10.77.0.0/16 tcp/9000 comment \"storm\"\n";

struct suite {
	const struct bench_config *config;
	stage_t *stage;
	struct deploy deploy;
	struct arm arm;      /* as shipped */
	struct arm fallback; /* eBPF off */
	struct arm outside;  /* nobody watches it */
};

/* ------------------------------------------------------------------------------------ the storm */

struct verdicts {
	const struct storm_plan *plan;
	unsigned long refused; /* SYNs, by a table of flows that was full */
	const struct storm_line *log;
	uint8_t *seen; /* by connection */
	uint64_t events, wrong, unknown;
	uint64_t wrong_of[STORM_KINDS], unknown_of[STORM_KINDS];
	char first_wrong[160];
};

/* The number of the connection whose event this is; false: of another one. */
static bool number_of(const struct verdicts *verdicts, const struct codec_event *event,
                      uint32_t *ret_number)
{
	struct in_addr source = { .s_addr = pr_addr_to_v4(&event->src) };
	const uint8_t *bytes = (const uint8_t *)&source;
	const uint8_t *first = verdicts->plan->source;

	if (!pr_addr_is_v4(&event->src) || memcmp(bytes, first, 3) != 0 || bytes[3] < first[3] ||
	    event->dst_port != TRAFFIC_PORT || event->src_port < STORM_PORT_FIRST ||
	    event->src_port >= STORM_PORT_FIRST + STORM_PORTS ||
	    event->reporter != CODEC_REPORTER_INITIATOR) {
		return false;
	}
	*ret_number =
		(uint32_t)(bytes[3] - first[3]) * STORM_PORTS + event->src_port - STORM_PORT_FIRST;
	return *ret_number < verdicts->plan->count;
}

static void wrong_note(struct verdicts *verdicts, const struct codec_event *event, uint32_t number,
                       const char *exe)
{
	const struct storm_line *line = &verdicts->log[number];

	verdicts->wrong++;
	verdicts->wrong_of[line->kind]++;
	if (verdicts->first_wrong[0] == '\0') {
		(void)snprintf(verdicts->first_wrong, sizeof(verdicts->first_wrong),
		               "%s: pid %u uid %u %.40s, event says %u %u %.40s",
		               storm_kind_name(line->kind), line->pid, line->uid, strrchr(exe, '/'),
		               event->pid, event->uid, event->exe);
	}
}

/* Unknown is not wrong; anything else that differs from the storm's log is. */
static bool judge(void *arg, const struct store_row *row)
{
	struct verdicts *verdicts = arg;
	const struct codec_event *event = &row->event;
	char exe[STORM_PATH_BYTES], exe_short[129];
	uint32_t number;

	if (!number_of(verdicts, event, &number)) {
		return true;
	}
	const struct storm_line *line = &verdicts->log[number];
	verdicts->events++;
	verdicts->seen[number] = 1;
	storm_program(verdicts->plan->folder, line->program, exe);
	codec_path_set(exe_short, sizeof(exe_short), exe);
	if (event->unknown != CODEC_UNKNOWN_NONE || event->pid == 0) {
		verdicts->unknown++;
		verdicts->unknown_of[line->kind]++;
		if (event->uid != CODEC_NO_UID && event->uid != line->uid) {
			wrong_note(verdicts, event, number, exe);
		}
	} else if (event->pid != line->pid || event->uid != line->uid ||
	           strcmp(event->exe, exe_short) != 0) {
		wrong_note(verdicts, event, number, exe);
	}
	return true;
}

static void count_print(struct suite *suite, const char *metric, const char *unit, double value,
                        const char *note)
{
	struct bench_row row = { .metric = metric, .unit = unit };

	bench_series_add(&row.value, value);
	(void)snprintf(row.note, sizeof(row.note), "%s", note);
	bench_row_print(suite->config, &row);
}

/* Which kinds of lives the figures are of. */
static const char *kinds_say(const uint64_t counts[STORM_KINDS], char text[static 160])
{
	size_t used = 0;

	text[0] = '\0';
	for (unsigned i = 0; i < STORM_KINDS && used < 100; i++) {
		if (counts[i] > 0) {
			used += (size_t)snprintf(text + used, 160 - used, "%s%llu %s",
			                         used > 0 ? ", " : "",
			                         (unsigned long long)counts[i], storm_kind_name(i));
		}
	}
	return text;
}

static void verdicts_print(struct suite *suite, const struct verdicts *verdicts, bool fallback,
                           const struct storm_result *storm)
{
	uint64_t missing = 0;
	char note[160], kinds[160];

	for (uint32_t i = 0; i < verdicts->plan->count; i++) {
		missing += verdicts->log[i].made && !verdicts->seen[i];
	}
	(void)snprintf(note, sizeof(note), "of %llu connections, %.0f a second; %.90s",
	               (unsigned long long)storm->made,
	               (double)storm->made * 1e9 / (double)storm->elapsed_ns,
	               verdicts->first_wrong[0] != '\0' ? verdicts->first_wrong
	                                                : "none differs from the storm's log");
	count_print(suite, fallback ? "attribution.fallback.wrong" : "attribution.wrong", "count",
	            (double)verdicts->wrong, note);
	(void)snprintf(note, sizeof(note), "%llu of %llu; %.110s",
	               (unsigned long long)verdicts->unknown, (unsigned long long)verdicts->events,
	               kinds_say(verdicts->unknown_of, kinds));
	count_print(suite, fallback ? "attribution.fallback.unknown" : "attribution.unknown",
	            "share",
	            verdicts->events > 0 ? (double)verdicts->unknown / (double)verdicts->events : 1,
	            note);
	(void)snprintf(
		note, sizeof(note),
		"connections without an event; SYNs that a full table of flows kept from the "
		"queue: %lu",
		verdicts->refused);
	count_print(suite, fallback ? "attribution.fallback.missing" : "attribution.missing",
	            "count", (double)missing, note);
}

/*
 * A quarter of a million flows fit the kernel's table, whose size a namespace cannot change, and
 * each stays for two minutes after its end: a storm of a million fills it, and then the kernel
 * drops SYNs before any queue, with nobody left to send them again.
 */
static void flows_end_soon(struct suite *suite, const char *space)
{
	stage_try(suite->stage, space,
	          "for state in fin_wait close_wait last_ack time_wait close; do "
	          "echo 5 >/proc/sys/net/netfilter/nf_conntrack_tcp_timeout_$state; done");
}

static int flows_refused(struct suite *suite, const char *space, unsigned long *ret_count)
{
	char output[STAGE_OUTPUT_BYTES] = "";
	int ret = stage_shell(suite->stage, space, output, "conntrack -S");

	*ret_count = 0;
	for (const char *at = output; (at = strstr(at, " drop=")) != NULL; at++) {
		*ret_count += strtoul(at + strlen(" drop="), NULL, 10);
	}
	return ret;
}

static int storm_judge(struct suite *suite, const struct arm *arm, uint32_t count)
{
	struct storm_plan plan = { .source = { 10, 77, (uint8_t)arm->number, 2 },
		                   .port = TRAFFIC_PORT,
		                   .count = count };
	struct storm_result storm = { 0 };
	struct verdicts verdicts = { .plan = &plan };
	uint64_t stored;

	(void)snprintf(plan.client, sizeof(plan.client), "%.200s/storm-client", stage_programs());
	(void)snprintf(plan.folder, sizeof(plan.folder), "%s", stage_folder(suite->stage));
	(void)snprintf(plan.server, sizeof(plan.server), "10.77.%u.1", arm->number);
	flows_end_soon(suite, arm->client);
	int ret = stage_call(suite->stage, arm->client, storm_run, &plan, &storm, sizeof(storm));
	if (ret == PR_OK && storm.made == 0) {
		ret = PR_EIO;
	}
	if (ret == PR_OK) {
		ret = flows_refused(suite, arm->client, &verdicts.refused);
	}
	if (ret == PR_OK) {
		ret = deploy_events_count(&suite->deploy, "dst.port:9000", &stored);
	}
	verdicts.log = storm_log_open(plan.folder, count);
	verdicts.seen = calloc(count, 1);
	if (ret == PR_OK && (verdicts.log == NULL || verdicts.seen == NULL)) {
		ret = PR_ENOMEM;
	}
	if (ret == PR_OK) {
		ret = deploy_history_each(suite->stage, judge, &verdicts);
	}
	if (ret == PR_OK) {
		verdicts_print(suite, &verdicts, arm == &suite->fallback, &storm);
	}
	free(verdicts.seen);
	return ret;
}

/* ------------------------------------------------------------------------------------ what it
 * costs */

enum { OFF, ELSEWHERE, WATCHED, WAYS };

/* What connect() takes with the programs away, for somebody else's connections, and for ours. */
static int costs_round(struct suite *suite, unsigned round, double connect_us[WAYS],
                       struct attribute_batch *ret_batch)
{
	int ret = PR_OK;

	for (unsigned i = 0; i < WAYS && ret == PR_OK && !stage_interrupted(); i++) {
		unsigned way = round % 2 == 0 ? i : WAYS - 1 - i;
		const struct attribute_connect_plan plan = { .attached = way != OFF,
			                                     .watched = way == WATCHED };
		ret = stage_call(suite->stage, suite->outside.client, attribute_connect_run, &plan,
		                 &connect_us[way], sizeof(connect_us[way]));
	}
	return ret == PR_OK ? stage_call(suite->stage, suite->outside.client, attribute_batch_run,
	                                 NULL, ret_batch, sizeof(*ret_batch))
	                    : ret;
}

static int listener_measure(struct suite *suite, bool fallback, struct attribute_listener *ret_took)
{
	const struct attribute_plan plan = { .fallback = fallback };

	*ret_took = (struct attribute_listener){ 0 };
	int ret = stage_call(suite->stage, suite->outside.client, attribute_listener_run, &plan,
	                     ret_took, sizeof(*ret_took));
	return ret == PR_OK && ret_took->known != ret_took->asked ? PR_EIO : ret;
}

static int fallback_measure(struct suite *suite, double *ret_us)
{
	struct attribute_plan plan = { .fallback = true };
	struct attribute_result result = { 0 };

	(void)snprintf(plan.server, sizeof(plan.server), "10.77.%u.1", suite->outside.number);
	(void)snprintf(plan.source, sizeof(plan.source), "10.77.%u.2", suite->outside.number);
	int ret = stage_call(suite->stage, suite->outside.client, attribute_run, &plan, &result,
	                     sizeof(result));
	*ret_us = result.p50_us;
	return ret;
}

enum cost {
	COST_CPU,
	COST_LOOKUP,
	COST_CONNECT,
	COST_CONNECT_WATCHED,
	COST_FALLBACK,
	COST_LISTENER,
	COST_LISTENER_SINGLE,
	COSTS,
};

/* Metric, what its ratio is to (NULL: it has none), note; all in us. */
static const struct {
	const char *metric, *beside, *note;
} cost_table[COSTS] = {
	[COST_CPU] = { "attribution.cpu", NULL,
	               "a connection: noted, and looked up in batches of 64" },
	[COST_LOOKUP] = { "attribution.lookup", NULL, "of it in the agent" },
	[COST_CONNECT] = { "attribution.connect", "off",
	                   "connect() in a namespace that nobody watches" },
	[COST_CONNECT_WATCHED] = { "attribution.connect.watched", "off",
	                           "connect() in a namespace of ours" },
	[COST_FALLBACK] = { "attribution.fallback", NULL,
	                    "/proc alone, warm, p50 of one after the other" },
	[COST_LISTENER] = { "attribution.listener", "/proc",
	                    "who takes a connection, in batches of 64" },
	[COST_LISTENER_SINGLE] = { "attribution.listener.single", "/proc",
	                           "the same, one at a time" },
};

/* A figure, and its limit in the same round. */
struct cost_taken {
	double us, beside_us;
};

static int costs_take(struct suite *suite, unsigned round, struct cost_taken taken[COSTS])
{
	struct attribute_batch batch = { 0 };
	struct attribute_listener noted = { 0 }, searched = { 0 };
	double connect_us[WAYS] = { 0 };

	int ret = costs_round(suite, round, connect_us, &batch);
	if (ret == PR_OK) {
		ret = fallback_measure(suite, &taken[COST_FALLBACK].us);
	}
	if (ret == PR_OK) {
		ret = listener_measure(suite, false, &noted);
	}
	if (ret == PR_OK) {
		ret = listener_measure(suite, true, &searched);
	}
	double watched_us = connect_us[WATCHED], elsewhere_us = connect_us[ELSEWHERE];
	taken[COST_CPU].us = batch.lookup_us + (watched_us - elsewhere_us);
	taken[COST_LOOKUP].us = batch.lookup_us;
	taken[COST_CONNECT] = (struct cost_taken){ elsewhere_us, connect_us[OFF] };
	taken[COST_CONNECT_WATCHED] = (struct cost_taken){ watched_us, connect_us[OFF] };
	taken[COST_LISTENER] = (struct cost_taken){ noted.batch_us, searched.batch_us };
	taken[COST_LISTENER_SINGLE] = (struct cost_taken){ noted.single_us, searched.single_us };
	return ret;
}

/* Before there are agents: theirs would be attached, too. */
static int costs_measure(struct suite *suite)
{
	uint64_t wanted = suite->config->rounds != 0 ? suite->config->rounds : ROUNDS;
	struct bench_row rows[COSTS] = { 0 };
	size_t rounds = 0, thrown = 0;

	for (unsigned i = 0; rounds < wanted && i < wanted + wanted / 2; i++) {
		struct cost_taken taken[COSTS] = { 0 };
		struct bench_times start;
		bench_times_read(&start);
		int ret = costs_take(suite, i, taken);
		if (ret != PR_OK || stage_interrupted()) {
			return ret;
		}
		if (bench_times_stolen(&start) > BENCH_STEAL_MAX) {
			thrown++;
			continue;
		}
		rounds++;
		for (unsigned c = 0; c < COSTS; c++) {
			bench_series_add(&rows[c].value, taken[c].us);
			if (cost_table[c].beside != NULL) {
				bench_row_pair(&rows[c], cost_table[c].beside, taken[c].us,
				               taken[c].beside_us);
			}
		}
	}
	for (unsigned c = 0; c < COSTS; c++) {
		rows[c].metric = cost_table[c].metric;
		rows[c].unit = "us";
		(void)snprintf(rows[c].note, sizeof(rows[c].note), "%s", cost_table[c].note);
		bench_row_print(suite->config, &rows[c]);
	}
	bench_thrown_say(suite->config, thrown);
	return PR_OK;
}

/* ---------------------------------------------------------------------------------------- the
 * suite */

static int suite_run(struct suite *suite)
{
	uint32_t count = suite->config->full ? CONNECTIONS_FULL : CONNECTIONS;

	if (suite->config->rounds == 1) {
		count /= 10; /* to see that it runs */
	}
	int ret = arm_open(suite->stage, NULL, &suite->outside);
	if (ret == PR_OK) {
		ret = costs_measure(suite);
	}
	if (ret == PR_OK && !stage_interrupted()) {
		ret = deploy_start(suite->stage, &suite->deploy);
	}
	if (ret == PR_OK) {
		ret = arm_open(suite->stage, &suite->deploy, &suite->arm);
	}
	if (ret == PR_OK) {
		ret = arm_open(suite->stage, &suite->deploy, &suite->fallback);
	}
	if (ret == PR_OK) {
		ret = deploy_commit(&suite->deploy, policy);
	}
	if (ret == PR_OK && !stage_interrupted()) {
		ret = storm_judge(suite, &suite->arm, count);
	}
	if (ret == PR_OK && !stage_interrupted()) {
		ret = storm_judge(suite, &suite->fallback, count / FALLBACK_SHARE);
	}
	if (ret == PR_OK && !stage_interrupted()) {
		ret = suite_join_run(suite->config, &suite->deploy,
		                     JOINED / (count < CONNECTIONS ? 10 : 1));
	}
	return ret;
}

int bench_suite_attribution(const struct bench_config *config)
{
	struct suite suite = {
		.config = config,
		.arm = { .name = "portreeve", .kind = ARM_PORTREEVE, .number = 1 },
		.fallback = { .name = "without eBPF",
		              .kind = ARM_PORTREEVE,
		              .number = 2,
		              .settings = "ebpf = no\n" },
		.outside = { .name = "none", .kind = ARM_NONE, .number = 3 },
	};
	int ret = stage_new(&suite.stage);

	if (ret == PR_OK) {
		ret = suite_run(&suite);
	}
	if (ret != PR_OK && suite.stage != NULL) {
		stage_keep(suite.stage);
	}
	stage_destroy(&suite.stage);
	return ret;
}
