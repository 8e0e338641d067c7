/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A real worker over CurveZMQ beside an echo of the same bytes; and how soon a commit shows. */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "bench/bench.h"
#include "bench/echo.h"
#include "bench/herd.h"
#include "bench/policy.h"
#include "bench/sample.h"

#define ROUNDS     20
#define COMMITS    5
#define RUN_NS     (250 * PR_NS_PER_MS)
#define LOAD_NS    (1000 * PR_NS_PER_MS)
#define ASK        "ask"
#define RULES      10000
#define ENDPOINTS  10000
#define VISIBLE_MS 10000

#define CEDAR_REQUESTS 200 /* some 20 ms each for it */

enum { PER_1, PER_16, LOAD, CONTROL, ROWS };

struct verdicts_suite {
	const struct bench_config *config;
	stage_t *stage;
	struct deploy deploy;
	struct herd herd; /* one agent: who asks */
	struct echo echo;
	struct bench_row rows[ROWS];
	size_t thrown;
};

/* ---- set-up ---- */

static int set_up(struct verdicts_suite *suite)
{
	int ret = herd_set_up(suite->stage, ASK, 1, &suite->deploy, &suite->herd);

	if (ret == PR_OK) {
		ret = sample_endpoints_store(&suite->deploy, &suite->herd.agents[0].id, ENDPOINTS);
	}
	if (ret == PR_OK) {
		ret = deploy_run(&suite->deploy);
	}
	return ret == PR_OK ? echo_start(suite->stage, DEPLOY_SPACE, DEPLOY_ADDRESS, &suite->echo)
	                    : ret;
}

static int rules_commit(struct verdicts_suite *suite, unsigned rules, unsigned variant)
{
	_cleanup_(pr_free) char *text = sample_policy_text(rules, variant);

	return text == NULL ? PR_ENOMEM : deploy_commit_only(&suite->deploy, text);
}

static struct ask_plan plan_of(const struct verdicts_suite *suite, bool echo, unsigned worker,
                               unsigned a_frame)
{
	const struct herd_agent *agent = &suite->herd.agents[0];
	struct ask_plan plan = ask_plan_echo(&suite->echo, a_frame, ECHO_IN_FLIGHT);

	plan.duration_ns = RUN_NS;
	plan.request = (struct codec_request){ .end = CODEC_END_NEAR,
		                               .held = 1,
		                               .proto = 6,
		                               .reporter = agent->id,
		                               .src = pr_addr_from_v4(htonl(0x0a4e0002)),
		                               .dst = pr_addr_from_v4(htonl(0x0a4d0001)),
		                               .dst_port = 443,
		                               .wire_dst_port = 443,
		                               .from_state = CODEC_KNOWN_KNOWN,
		                               .from_uid = 1000,
		                               .from_user = "user",
		                               .from_exe = "/usr/bin/program",
		                               .to_uid = CODEC_NO_UID };
	plan.request.wire_src = plan.request.src;
	if (!echo) {
		plan.key = agent->key;
		(void)snprintf(plan.endpoint, sizeof(plan.endpoint), "tcp://" DEPLOY_ADDRESS ":%u",
		               DEPLOY_WORKER_PORT + worker);
		memcpy(plan.server_key, suite->herd.server_key, sizeof(plan.server_key));
	}
	return plan;
}

static int measure(struct verdicts_suite *suite, bool echo, const struct ask_plan *plan,
                   struct ask_figures *ret_figures)
{
	int ret = ask_measure(suite->stage, ASK, plan,
	                      echo ? suite->echo.process : suite->deploy.controller, ret_figures);

	/* The rule that allows is the last one: anything else is not the decision that we mean. */
	if (ret == PR_OK && !echo && ret_figures->allowed != ret_figures->asked) {
		(void)fprintf(stderr, "portreeve-bench: %llu of %llu questions were allowed\n",
		              (unsigned long long)ret_figures->allowed,
		              (unsigned long long)ret_figures->asked);
		return PR_EIO;
	}
	return ret;
}

/* ---- worker beside echo ---- */

static int pair_run(struct verdicts_suite *suite, unsigned a_frame, bool echo_first,
                    struct ask_figures *ret_worker, struct ask_figures *ret_echo)
{
	for (unsigned i = 0; i < 2; i++) {
		bool echo = (i == 0) == echo_first;
		struct ask_plan plan = plan_of(suite, echo, 0, a_frame);
		int ret = measure(suite, echo, &plan, echo ? ret_echo : ret_worker);
		if (ret != PR_OK) {
			return ret;
		}
	}
	return PR_OK;
}

/* Half of what the worker can, question by question in its own time; the echo gets as many. */
static int load_run(struct verdicts_suite *suite, double rate, bool echo_first)
{
	struct ask_figures figures[2];

	for (unsigned i = 0; i < 2; i++) {
		bool echo = (i == 0) == echo_first;
		struct ask_plan plan = plan_of(suite, echo, 0, 1);
		plan.duration_ns = LOAD_NS;
		plan.rate = (uint64_t)rate;
		int ret = measure(suite, echo, &plan, &figures[echo]);
		if (ret != PR_OK) {
			return ret;
		}
	}
	bench_series_add(&suite->rows[LOAD].value, figures[0].p99_us);
	bench_row_pair(&suite->rows[LOAD], "echo", figures[0].p99_us, figures[1].p99_us);
	(void)snprintf(suite->rows[LOAD].note, sizeof(suite->rows[LOAD].note),
	               "open loop at about %.0f questions a second, one a frame; p50 %.0f us", rate,
	               figures[0].p50_us);
	return PR_OK;
}

/* The echo once more, beside itself. */
static int control_run(struct verdicts_suite *suite, const struct ask_figures *before)
{
	struct ask_plan plan = plan_of(suite, true, 0, 16);
	struct ask_figures again;
	int ret = measure(suite, true, &plan, &again);

	if (ret == PR_OK) {
		bench_series_add(&suite->rows[CONTROL].value, again.per_cpu_second);
		bench_row_pair(&suite->rows[CONTROL], "echo", again.per_cpu_second,
		               before->per_cpu_second);
	}
	return ret;
}

static int round_run(struct verdicts_suite *suite, unsigned round)
{
	static const unsigned a_frame[] = { [PER_1] = 1, [PER_16] = 16 };
	struct ask_figures worker = { 0 }, echo = { 0 };
	double half = 0;
	struct bench_times start;

	bench_times_read(&start);
	for (unsigned i = 0; i < PR_ARRAY_LEN(a_frame); i++) {
		int ret = pair_run(suite, a_frame[i], round % 2 == 0, &worker, &echo);
		if (ret != PR_OK) {
			return ret;
		}
		half = i == PER_1 ? worker.per_second / 2 : half;
		if (bench_times_stolen(&start) <= BENCH_STEAL_MAX) {
			bench_series_add(&suite->rows[i].value, worker.per_cpu_second);
			bench_row_pair(&suite->rows[i], "echo", worker.per_cpu_second,
			               echo.per_cpu_second);
		}
	}
	int ret = control_run(suite, &echo);
	if (ret != PR_OK) {
		return ret;
	}
	if (bench_times_stolen(&start) > BENCH_STEAL_MAX) {
		suite->thrown++;
		return PR_OK;
	}
	return load_run(suite, half, round % 2 == 0);
}

static int rounds_run(struct verdicts_suite *suite)
{
	uint64_t wanted = suite->config->rounds != 0 ? suite->config->rounds : ROUNDS;

	suite->rows[PER_1] = (struct bench_row){ .metric = "verdicts.1", .unit = "1/s" };
	suite->rows[PER_16] = (struct bench_row){ .metric = "verdicts.16", .unit = "1/s" };
	suite->rows[LOAD] = (struct bench_row){ .metric = "verdicts.half_load.p99", .unit = "us" };
	(void)snprintf(suite->rows[PER_1].note, sizeof(suite->rows[PER_1].note),
	               "a CPU-second of all server processes, 1 a frame, 10 rules");
	(void)snprintf(suite->rows[PER_16].note, sizeof(suite->rows[PER_16].note),
	               "a CPU-second of all server processes, 16 a frame, 10 rules");
	suite->rows[CONTROL] = (struct bench_row){ .metric = "verdicts.control", .unit = "1/s" };
	(void)snprintf(suite->rows[CONTROL].note, sizeof(suite->rows[CONTROL].note),
	               "A/A: the echo twice, 16 a frame");
	int ret = rules_commit(suite, 10, 0);
	for (unsigned i = 0;
	     ret == PR_OK && suite->rows[LOAD].value.count < wanted && i < wanted * 3 / 2; i++) {
		if (stage_interrupted()) {
			return PR_OK;
		}
		ret = round_run(suite, i);
	}
	for (unsigned i = 0; ret == PR_OK && i < ROWS; i++) {
		bench_row_print(suite->config, &suite->rows[i]);
	}
	bench_thrown_say(suite->config, suite->thrown);
	return ret;
}

/* ---- many rules ---- */

static int many_rules(struct verdicts_suite *suite)
{
	struct bench_row row = { .metric = "verdicts.1.rules_10000", .unit = "1/s" };
	int ret = rules_commit(suite, RULES, 0);

	(void)snprintf(row.note, sizeof(row.note), "as verdicts.1, %d rules for %d endpoints",
	               RULES, ENDPOINTS);
	uint64_t rounds = suite->config->rounds != 0 ? suite->config->rounds : ROUNDS / 2;
	for (unsigned i = 0; row.value.count < rounds && i < rounds * 3 / 2 && ret == PR_OK; i++) {
		struct ask_figures worker = { 0 }, echo = { 0 };
		struct bench_times start;
		bench_times_read(&start);
		ret = pair_run(suite, 1, i % 2 == 0, &worker, &echo);
		if (stage_interrupted()) {
			return ret;
		}
		if (ret == PR_OK && bench_times_stolen(&start) <= BENCH_STEAL_MAX) {
			bench_series_add(&row.value, worker.per_cpu_second);
			bench_row_pair(&row, "echo", worker.per_cpu_second, echo.per_cpu_second);
		}
	}
	if (ret == PR_OK) {
		bench_row_print(suite->config, &row);
	}
	return ret;
}

/* ---- a commit shows ---- */

/* When each worker first answered under the revision, or 0. */
static int visible_wait(struct verdicts_suite *suite, uint64_t revision, pid_t watchers[2],
                        int fds[2])
{
	for (unsigned worker = 0; worker < DEPLOY_WORKERS; worker++) {
		struct watch_plan plan = { .ask = plan_of(suite, false, worker, 1),
			                   .revision = revision,
			                   .timeout_ms = VISIBLE_MS };
		watchers[worker] =
			stage_fork(suite->stage, ASK, watch_revision, &plan, &fds[worker]);
		if (watchers[worker] < 0) {
			return (int)watchers[worker];
		}
	}
	return PR_OK;
}

static int visible_measure(struct verdicts_suite *suite)
{
	struct bench_row row = { .metric = "commit.visible", .unit = "ms" };
	struct timespec settle = { .tv_nsec = 300 * PR_NS_PER_MS };
	uint64_t revision = 3; /* --init made 1, 10 rules 2, 10,000 rules 3 */
	double whole_ms = 0;

	for (unsigned i = 0; i < COMMITS && !stage_interrupted(); i++) {
		pid_t watchers[DEPLOY_WORKERS];
		int fds[DEPLOY_WORKERS];
		uint64_t last_ns = 0;
		int ret = visible_wait(suite, ++revision, watchers, fds);
		if (ret != PR_OK) {
			return ret;
		}
		(void)nanosleep(&settle, NULL);
		uint64_t begin_ns = pr_clock_monotonic_ns();
		ret = rules_commit(suite, RULES, i + 1);
		uint64_t end_ns = pr_clock_monotonic_ns();
		for (unsigned worker = 0; worker < DEPLOY_WORKERS; worker++) {
			uint64_t seen_ns = 0;
			bool got = read(fds[worker], &seen_ns, sizeof(seen_ns)) == sizeof(seen_ns);
			pr_fd_close(&fds[worker]);
			stage_stop(suite->stage, watchers[worker]);
			ret = ret == PR_OK && !got ? PR_ETIMEOUT : ret;
			last_ns = seen_ns > last_ns ? seen_ns : last_ns;
		}
		if (ret != PR_OK) {
			return ret;
		}
		bench_series_add(&row.value,
		                 last_ns > end_ns ? (double)(last_ns - end_ns) / 1e6 : 0);
		whole_ms = (double)(last_ns - begin_ns) / 1e6;
	}
	(void)snprintf(row.note, sizeof(row.note),
	               "%d rules, %d endpoints, both workers; %.0f ms with the command itself",
	               RULES, ENDPOINTS, whole_ms);
	bench_row_print(suite->config, &row);
	return PR_OK;
}

/* ---- Cedar on an equal policy ---- */

static int cedar_measure(struct verdicts_suite *suite)
{
	struct bench_row row = { .metric = "verdicts.cedar.rules_10000", .unit = "ns" };
	char path[2 * STAGE_PATH_BYTES], output[STAGE_OUTPUT_BYTES];
	const char *folder = stage_folder(suite->stage);
	double ours_ns = 0;

	(void)snprintf(path, sizeof(path), "%s/cedar.json", folder);
	if (stage_shell(suite->stage, NULL, NULL, "test -d '%s/peers/cedar/node_modules'",
	                stage_programs()) != PR_OK) {
		bench_say(suite->config, "cedar is not there: ./check --deps fetches it");
		return PR_OK;
	}
	int ret = bench_policy_dump(path, RULES, CEDAR_REQUESTS, &ours_ns);
	if (ret == PR_OK) {
		ret = stage_shell(suite->stage, NULL, output,
		                  "cd '%s/peers/cedar' && node ./cedar.mjs '%s' 5",
		                  stage_programs(), path);
	}
	const char *found = ret == PR_OK ? strstr(output, "\"ns\":") : NULL;
	if (found == NULL) {
		bench_say(suite->config, "cedar gave no figure, or another decision than ours");
		return PR_OK;
	}
	bench_series_add(&row.value, ours_ns);
	bench_row_pair(&row, "cedar", ours_ns, strtod(found + 5, NULL));
	(void)snprintf(row.note, sizeof(row.note),
	               "ours on cedar's policy: allow rules alone, %d requests, decisions equal",
	               CEDAR_REQUESTS);
	bench_row_print(suite->config, &row);
	return PR_OK;
}

static int suite_run(struct verdicts_suite *suite)
{
	int ret = set_up(suite);

	if (ret == PR_OK) {
		ret = rounds_run(suite);
	}
	if (ret == PR_OK && !stage_interrupted()) {
		ret = many_rules(suite);
	}
	if (ret == PR_OK && !stage_interrupted()) {
		ret = visible_measure(suite);
	}
	if (ret == PR_OK && !stage_interrupted()) {
		ret = bench_suite_policy(suite->config);
	}
	return ret == PR_OK && !stage_interrupted() ? cedar_measure(suite) : ret;
}

int bench_suite_verdicts(const struct bench_config *config)
{
	struct verdicts_suite *suite = calloc(1, sizeof(*suite));
	int ret = suite == NULL ? PR_ENOMEM : stage_new(&suite->stage);

	if (ret == PR_OK) {
		suite->config = config;
		ret = suite_run(suite);
		if (ret != PR_OK) {
			stage_keep(suite->stage);
		}
		stage_destroy(&suite->stage);
		herd_done(&suite->herd);
	}
	free(suite);
	return ret;
}
