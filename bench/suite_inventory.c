/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Ten thousand endpoints: how long the commands take that list them, what a change of one costs. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/err.h"
#include "bench/bench.h"
#include "bench/herd.h"

#define HOSTS      100
#define CONTAINERS 99 /* and the host: 100 endpoints each */
#define ROUNDS     15
#define CHANGES    10
#define WINDOW_MS  2000
#define WAIT_NS    (60 * PR_NS_PER_S)
#define HERD       "herd"
#define DEVICE     "ctl0" /* of the herd's namespace, see deploy_attach() */

struct inventory_suite {
	const struct bench_config *config;
	stage_t *stage;
	struct deploy deploy;
	struct herd herd;
	uint64_t rounds;
	uint64_t full_bytes; /* of the whole inventory, as it was sent */
};

static const char policy_head[] = "mode observe default\n"
				  "group everybody select kind container\n"
				  "group hosts select kind host\n"
				  "group shop select compose.project shop\n";

static void doze_ms(long ms)
{
	struct timespec wait = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L };
	(void)nanosleep(&wait, NULL);
}

static unsigned endpoints_of(const struct inventory_suite *suite)
{
	return suite->herd.count * (1 + suite->herd.containers);
}

static void row_start(const struct inventory_suite *suite, struct bench_row *row,
                      const char *metric, const char *unit, const char *note)
{
	*row = (struct bench_row){ .metric = metric, .unit = unit };
	(void)snprintf(row->note, sizeof(row->note), "%u endpoints of %u agents; %s",
	               endpoints_of(suite), suite->herd.count, note);
}

/* ---- the deployment ---- */

/* As many groups and rules as a shop of twenty services has. */
static char *policy_text(unsigned variant)
{
	char *text = NULL;
	size_t size_bytes;
	FILE *out = open_memstream(&text, &size_bytes);

	if (out == NULL) {
		return NULL;
	}
	(void)fputs(policy_head, out);
	for (unsigned i = 0; i < 20; i++) {
		(void)fprintf(out, "group service-%u select compose.service service-%u\n", i, i);
	}
	for (unsigned i = 0; i < 200; i++) {
		(void)fprintf(out, "rule %u allow from service-%u to service-%u tcp/%u\n",
		              10 * i + 10, i % 20, i / 20 % 20, 8000 + i);
	}
	(void)fprintf(out, "rule 9000 allow from hosts to everybody tcp/22 comment \"v %u\"\n",
	              variant);
	return fclose(out) == 0 ? text : NULL;
}

static int policy_commit(struct inventory_suite *suite, unsigned variant)
{
	_cleanup_(pr_free) char *text = policy_text(variant);

	return text != NULL ? deploy_commit_only(&suite->deploy, text) : PR_ENOMEM;
}

static int herd_wait(struct inventory_suite *suite)
{
	uint64_t start_ns = pr_clock_monotonic_ns();

	while (herd_ready(&suite->herd) < suite->herd.count) {
		if (stage_interrupted() || pr_clock_monotonic_ns() - start_ns > WAIT_NS) {
			(void)fprintf(stderr, "portreeve-bench: %u of %u agents are there\n",
			              herd_ready(&suite->herd), suite->herd.count);
			return PR_ETIMEOUT;
		}
		doze_ms(20);
	}
	return PR_OK;
}

static int set_up(struct inventory_suite *suite)
{
	int ret = herd_set_up(suite->stage, HERD, HOSTS, &suite->deploy, &suite->herd);

	suite->herd.containers = CONTAINERS;
	if (ret == PR_OK) {
		ret = deploy_run(&suite->deploy);
	}
	if (ret == PR_OK) {
		ret = herd_start(&suite->herd, HERD);
	}
	if (ret == PR_OK) {
		ret = herd_wait(suite);
	}
	suite->full_bytes = herd_bytes(&suite->herd);
	return ret == PR_OK ? policy_commit(suite, 0) : ret;
}

/* ---- commands ---- */

/* Lines that the command printed, and how long it took, its start and end included. */
static int command_time(struct inventory_suite *suite, const char *words, double *ret_ms,
                        unsigned *ret_lines)
{
	char output[STAGE_OUTPUT_BYTES];
	const char *folder = stage_folder(suite->stage);

	uint64_t start_ns = pr_clock_monotonic_ns();
	int ret = stage_shell(suite->stage, DEPLOY_SPACE, NULL,
	                      "exec '%s/portreeve' --config '%s/cli/cli.conf' %s >'%s/said'",
	                      stage_programs(), folder, words, folder);
	*ret_ms = (double)(pr_clock_monotonic_ns() - start_ns) / 1e6;
	if (ret == PR_OK) {
		ret = stage_shell(suite->stage, NULL, output, "wc -l <'%s/said'", folder);
	}
	*ret_lines = ret == PR_OK ? (unsigned)strtoul(output, NULL, 10) : 0;
	return ret;
}

static const struct command {
	const char *metric, *words;
	unsigned heads; /* lines that are no endpoint */
	bool without_hosts;
} commands[] = {
	{ "inventory.hosts", "hosts", 1, false },
	{ "inventory.hosts.json", "hosts --json", 0, false },
	{ "inventory.hosts.word", "hosts herd-7-c-7", 0, false },
	{ "inventory.members", "group members everybody", 1, true },
	{ "inventory.preview", "group preview select image 'registry.example/*'", 1, true },
};

/* Beside each: the page of one endpoint, which is the program's start, a handshake and an answer.
 */
static int command_measure(struct inventory_suite *suite, const struct command *command)
{
	unsigned wanted = endpoints_of(suite) - (command->without_hosts ? suite->herd.count : 0);
	bool one = strcmp(command->metric, "inventory.hosts.word") == 0;
	struct bench_row row;
	char note[128];

	(void)snprintf(note, sizeof(note), "`portreeve %s`", command->words);
	row_start(suite, &row, command->metric, "ms", note);
	for (uint64_t i = 0; i < suite->rounds && !stage_interrupted(); i++) {
		double ms = 0, one_ms = 0;
		unsigned lines = 0, one_lines;
		int ret = command_time(suite, command->words, &ms, &lines);
		if (ret == PR_OK) {
			ret = command_time(suite, "show herd-7-c-7 --json", &one_ms, &one_lines);
		}
		if (ret == PR_OK && !one && lines != wanted + command->heads) {
			(void)fprintf(stderr, "portreeve-bench: %s: %u lines of %u\n",
			              command->words, lines, wanted + command->heads);
			ret = PR_EIO;
		}
		if (ret != PR_OK) {
			return ret;
		}
		bench_series_add(&row.value, ms);
		bench_row_pair(&row, "show", ms, one_ms);
	}
	bench_row_print(suite->config, &row);
	return PR_OK;
}

static int commit_measure(struct inventory_suite *suite)
{
	struct bench_row row;

	row_start(suite, &row, "inventory.commit", "ms",
	          "`portreeve policy commit` of 201 rules and 23 groups");
	for (unsigned i = 0; i < suite->rounds && !stage_interrupted(); i++) {
		uint64_t start_ns = pr_clock_monotonic_ns();
		int ret = policy_commit(suite, i + 1);
		if (ret != PR_OK) {
			return ret;
		}
		bench_series_add(&row.value, (double)(pr_clock_monotonic_ns() - start_ns) / 1e6);
	}
	bench_row_print(suite->config, &row);
	return PR_OK;
}

/* ---- a change ---- */

/* Bytes that all agents and the controller have sent each other, by the kernel's own count. */
static int bytes_read(struct inventory_suite *suite, double *ret_bytes)
{
	char output[STAGE_OUTPUT_BYTES];
	int ret = stage_shell(suite->stage, HERD, output,
	                      "awk -F '[: ]+' '/" DEVICE ":/ {print $3 + $11}' /proc/net/dev");

	*ret_bytes = strtod(output, NULL);
	return ret;
}

static int change_wait(struct inventory_suite *suite, uint32_t number)
{
	struct herd_board *board = suite->herd.board;
	uint64_t start_ns = pr_clock_monotonic_ns();

	atomic_store(&board->change, number);
	while (atomic_load(&board->changed) != number) {
		if (stage_interrupted() || pr_clock_monotonic_ns() - start_ns > 10 * PR_NS_PER_S) {
			return PR_ETIMEOUT;
		}
		doze_ms(1);
	}
	return PR_OK;
}

/* Of a window: bytes on the wire with @p changes in it. */
static int window_run(struct inventory_suite *suite, unsigned changes, uint32_t *number,
                      double *ret_bytes)
{
	double before = 0, after = 0;
	uint64_t start_ns = pr_clock_monotonic_ns();
	int ret = bytes_read(suite, &before);

	for (unsigned i = 0; i < changes && ret == PR_OK; i++) {
		ret = change_wait(suite, ++*number);
	}
	uint64_t end_ns = start_ns + WINDOW_MS * PR_NS_PER_MS;
	uint64_t now_ns = pr_clock_monotonic_ns();
	if (now_ns < end_ns) {
		doze_ms((long)((end_ns - now_ns) / PR_NS_PER_MS));
	}
	double length_s = (double)(pr_clock_monotonic_ns() - start_ns) / 1e9;
	if (ret == PR_OK) {
		ret = bytes_read(suite, &after);
	}
	*ret_bytes = (after - before) / length_s;
	return ret;
}

/*
 * What a change of one container sends, of all agents, beside what the whole inventory was. The
 * kernel's count of the same, with heartbeats, is in the note.
 */
static int change_measure(struct inventory_suite *suite)
{
	uint64_t wanted = suite->rounds < 5 ? suite->rounds : 5;
	struct bench_row row;
	struct bench_series wire = { 0 };
	uint32_t number = 0;

	doze_ms(WINDOW_MS); /* what the last commit sends */
	row_start(suite, &row, "inventory.delta", "bytes", "");
	for (uint64_t i = 0; i < wanted && !stage_interrupted(); i++) {
		double idle = 0, busy = 0;
		int ret = window_run(suite, 0, &number, &idle);
		uint64_t before = herd_bytes(&suite->herd);
		if (ret == PR_OK) {
			ret = window_run(suite, CHANGES, &number, &busy);
		}
		if (ret != PR_OK) {
			return ret;
		}
		double bytes = (double)(herd_bytes(&suite->herd) - before) / CHANGES;
		bench_series_add(&row.value, bytes);
		bench_row_pair(&row, "inventory", bytes, (double)suite->full_bytes);
		bench_series_add(&wire, (busy - idle) * WINDOW_MS / 1000 / CHANGES);
	}
	(void)snprintf(row.note, sizeof(row.note),
	               "a label of one of %u containers changes: documents of all %u agents; on "
	               "the wire, over an idle time, %.0f bytes",
	               endpoints_of(suite) - suite->herd.count, suite->herd.count,
	               bench_series_median(&wire));
	bench_row_print(suite->config, &row);
	return PR_OK;
}

static int suite_run(struct inventory_suite *suite)
{
	int ret = set_up(suite);

	for (size_t i = 0; i < PR_ARRAY_LEN(commands) && ret == PR_OK && !stage_interrupted();
	     i++) {
		ret = command_measure(suite, &commands[i]);
	}
	if (ret == PR_OK && !stage_interrupted()) {
		ret = commit_measure(suite);
	}
	return ret == PR_OK && !stage_interrupted() ? change_measure(suite) : ret;
}

int bench_suite_inventory(const struct bench_config *config)
{
	struct inventory_suite suite = { .config = config,
		                         .rounds = config->rounds != 0 ? config->rounds : ROUNDS };
	int ret = stage_new(&suite.stage);

	if (ret == PR_OK) {
		ret = suite_run(&suite);
		if (ret != PR_OK) {
			stage_keep(suite.stage);
		}
		stage_destroy(&suite.stage);
	}
	herd_done(&suite.herd);
	return ret;
}
