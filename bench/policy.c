/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/err.h"
#include "bench/bench.h"
#include "bench/policy.h"
#include "bench/sample.h"
#include "bench/storage.h"
#include "policy/policy.h"

#define TUPLES       100000
#define ENDPOINTS    1000
#define PORTS        10000
#define PORTS_SHARED 20
#define DRAWN_MASK   0x3ffffU /* slots of the set of tuples drawn: more than twice TUPLES */
#define DUMP_RULES   60000U
#define DUMP_ROUNDS  21
#define LOADS        9

struct image {
	policy_image_t *image;
	policy_cache_t *cache; /* NULL: evaluated without one */
	size_t next;           /* request, so that a round goes on where the last one ended */
};

struct work {
	struct image image, limit;
	size_t request_count;
	struct policy_request requests[TUPLES];
	uint64_t drawn[DRAWN_MASK + 1]; /* tuple + 1 */
	struct policy_endpoint endpoints[ENDPOINTS];
	char names[ENDPOINTS][16];
};

static char *text_make(unsigned rules, unsigned ports, bool denies)
{
	char *text = NULL;
	size_t size_bytes;
	FILE *out = open_memstream(&text, &size_bytes);
	if (out == NULL) {
		return NULL;
	}
	sample_policy_write(out, rules, ports, denies);
	return fclose(out) == 0 ? text : NULL;
}

static int image_make(const struct work *work, char *text, policy_image_t **ret_image)
{
	_cleanup_(pr_free) char *owned = text;
	_cleanup_(pr_free) struct policy_errors *errors = calloc(1, sizeof(*errors));
	policy_model_t *model = NULL;
	if (owned == NULL || errors == NULL) {
		return PR_ENOMEM;
	}
	int ret = policy_text_parse(owned, strlen(owned), errors, &model);
	if (ret == PR_OK) {
		ret = policy_image_compile(model, work->endpoints, ENDPOINTS, 1, ret_image);
	}
	policy_model_destroy(&model);
	return ret;
}

static void image_done(struct image *image)
{
	policy_image_destroy(&image->image);
	policy_cache_destroy(&image->cache);
}

static struct work *work_new(void)
{
	struct work *work = calloc(1, sizeof(*work));
	for (unsigned i = 0; work != NULL && i < ENDPOINTS; i++) {
		char *name = work->names[i];
		(void)snprintf(name, sizeof(work->names[i]), "e%u", i);
		work->endpoints[i] = (struct policy_endpoint){
			.id = pr_uuid_of_bytes("bench", name, strlen(name)),
			.kind = POLICY_CONTAINER,
			.name = name,
		};
	}
	return work;
}

static void work_destroy(struct work **work_p)
{
	if (*work_p != NULL) {
		image_done(&(*work_p)->image);
		image_done(&(*work_p)->limit);
		free(*work_p);
		*work_p = NULL;
	}
}

/* ---- requests ---- */

/* splitmix64 */
static uint64_t draw(uint64_t *state)
{
	uint64_t value = *state += 0x9e3779b97f4a7c15ULL;
	value = (value ^ value >> 30) * 0xbf58476d1ce4e5b9ULL;
	value = (value ^ value >> 27) * 0x94d049bb133111ebULL;
	return value ^ value >> 31;
}

/* A tuple that was not drawn before: source, destination and port in one number. */
static uint64_t draw_tuple(struct work *work, unsigned ports, uint64_t *state)
{
	for (;;) {
		uint64_t tuple = draw(state) % ((uint64_t)ENDPOINTS * ENDPOINTS * ports);
		size_t slot = (size_t)(tuple * 0x9e3779b97f4a7c15ULL >> 40) & DRAWN_MASK;
		while (work->drawn[slot] != 0 && work->drawn[slot] != tuple + 1) {
			slot = (slot + 1) & DRAWN_MASK;
		}
		if (work->drawn[slot] == 0) {
			work->drawn[slot] = tuple + 1;
			return tuple;
		}
	}
}

static void request_add(struct work *work, size_t source, size_t destination, unsigned port)
{
	struct policy_request *request = &work->requests[work->request_count++];
	*request = (struct policy_request){ .asker = POLICY_END_NEAR,
		                            .proto = 6,
		                            .port = (uint16_t)port,
		                            .source = work->endpoints[source].id,
		                            .destination = work->endpoints[destination].id };
	request->known[POLICY_FIELD_SOURCE] = POLICY_KNOWN;
	request->known[POLICY_FIELD_DESTINATION] = POLICY_KNOWN;
	request->known[POLICY_FIELD_PORT] = POLICY_KNOWN;
}

static void requests_draw(struct work *work, unsigned ports)
{
	uint64_t state = 1;
	work->request_count = 0;
	memset(work->drawn, 0, sizeof(work->drawn));
	while (work->request_count < TUPLES) {
		uint64_t tuple = draw_tuple(work, ports, &state);
		request_add(work, tuple / ports % ENDPOINTS, tuple / ports / ENDPOINTS,
		            1 + (unsigned)(tuple % ports));
	}
}

/* ---- measuring ---- */

static uint64_t evaluate(const struct work *work, struct image *image, uint64_t operations)
{
	uint64_t sum = 0;
	for (uint64_t i = 0; i < operations; i++) {
		struct policy_verdict verdict;
		policy_image_evaluate_cached(image->image, image->cache,
		                             &work->requests[image->next], 1, &verdict);
		image->next = image->next + 1 < work->request_count ? image->next + 1 : 0;
		sum += verdict.rule;
	}
	return sum;
}

static uint64_t run(void *arg, uint64_t operations)
{
	struct work *work = arg;
	return evaluate(work, &work->image, operations);
}

static uint64_t run_limit(void *arg, uint64_t operations)
{
	struct work *work = arg;
	return evaluate(work, &work->limit, operations);
}

/* What the cache did with all tuples once more, after they were asked for twice. */
static void cache_note(struct work *work, char *note, size_t note_bytes)
{
	const struct policy_cache_counters *counters = policy_cache_counters(work->image.cache);
	(void)evaluate(work, &work->image, 2 * TUPLES);
	struct policy_cache_counters before = *counters;
	(void)evaluate(work, &work->image, TUPLES);
	double asked = (double)(counters->hits + counters->misses - before.hits - before.misses);
	double hits = (double)(counters->hits - before.hits);
	int used = snprintf(note, note_bytes,
	                    "a verdict, 100,000 distinct tuples, %.1f %% on few rules",
	                    100.0 * (double)(counters->few - before.few) / TUPLES);
	if (asked > 0 && used > 0 && (size_t)used < note_bytes) {
		(void)snprintf(note + used, note_bytes - (size_t)used,
		               ", else cache of %u MiB, hit share %.1f %%",
		               POLICY_CACHE_DEFAULT_BYTES / 1024 / 1024, 100.0 * hits / asked);
	} else if (used > 0 && (size_t)used < note_bytes) {
		(void)snprintf(note + used, note_bytes - (size_t)used, ", cache not asked");
	}
}

/* Every rule has a port of its own; beside a tenth of a percent of the rules. */
static int measure_rules(const struct bench_config *config, struct work *work)
{
	char note[144];
	int ret = image_make(work, text_make(PORTS, PORTS, true), &work->image.image);
	if (ret == PR_OK) {
		ret = image_make(work, text_make(10, PORTS, true), &work->limit.image);
	}
	work->image.cache = policy_cache_new(POLICY_CACHE_DEFAULT_BYTES);
	work->limit.cache = policy_cache_new(POLICY_CACHE_DEFAULT_BYTES);
	if (ret != PR_OK || work->image.cache == NULL || work->limit.cache == NULL) {
		return ret != PR_OK ? ret : PR_ENOMEM;
	}
	requests_draw(work, PORTS);
	cache_note(work, note, sizeof(note));
	struct bench_row row;
	ret = bench_pair_run(config,
	                     &(struct bench_pair){ .metric = "verdicts.rules_10000",
	                                           .limit = "rules_10",
	                                           .note = note,
	                                           .run = run,
	                                           .run_limit = run_limit,
	                                           .arg = work },
	                     &row);
	for (size_t i = 0; i < row.value.count && i < LOADS && ret == PR_OK; i++) {
		bench_row_pair(&row, "random_load", row.value.values[i], storage_random_load_ns());
	}
	if (ret == PR_OK) {
		bench_row_print(config, &row);
	}
	return ret;
}

/* Many rules have each port, so that no field leaves few; beside the same without a cache. */
static int measure_shared(const struct bench_config *config, struct work *work)
{
	char note[144];
	int ret = image_make(work, text_make(PORTS, PORTS_SHARED, true), &work->image.image);
	if (ret == PR_OK) {
		ret = image_make(work, text_make(PORTS, PORTS_SHARED, true), &work->limit.image);
	}
	work->image.cache = policy_cache_new(POLICY_CACHE_DEFAULT_BYTES);
	if (ret != PR_OK || work->image.cache == NULL) {
		return ret != PR_OK ? ret : PR_ENOMEM;
	}
	requests_draw(work, PORTS_SHARED);
	cache_note(work, note, sizeof(note));
	return bench_pair_measure(config,
	                          &(struct bench_pair){ .metric = "verdicts.rules_10000_ports_20",
	                                                .limit = "uncached",
	                                                .note = note,
	                                                .run = run,
	                                                .run_limit = run_limit,
	                                                .arg = work });
}

int bench_suite_policy(const struct bench_config *config)
{
	static int (*const parts[])(const struct bench_config *, struct work *) = {
		measure_rules,
		measure_shared,
	};
	int ret = PR_OK;
	for (size_t i = 0; i < PR_ARRAY_LEN(parts) && ret == PR_OK; i++) {
		_cleanup_(work_destroy) struct work *work = work_new();
		ret = work != NULL ? parts[i](config, work) : PR_ENOMEM;
	}
	return ret;
}

/* ---- export ---- */

/* An endpoint of group @p group. */
static size_t member_of(unsigned group, uint64_t *state)
{
	return group == 0 ? 0 : group * 10 + draw(state) % 10;
}

static void requests_dumped(struct work *work, unsigned rules, size_t requests)
{
	uint64_t state = 2;
	while (work->request_count < requests) {
		struct sample_rule rule = sample_rule_of((unsigned)(draw(&state) % rules), rules);
		if (work->request_count % 2 == 0) {
			request_add(work, member_of(rule.from, &state), member_of(rule.to, &state),
			            rule.port);
		} else {
			request_add(work, draw(&state) % ENDPOINTS, draw(&state) % ENDPOINTS,
			            rule.port);
		}
	}
}

static double ours_ns(struct work *work)
{
	struct bench_series series = { 0 };
	uint64_t operations = 200000;
	for (size_t i = 0; i < DUMP_ROUNDS; i++) {
		struct timespec start, end;
		(void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &start);
		(void)evaluate(work, &work->image, operations);
		(void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &end);
		bench_series_add(&series, ((double)(end.tv_sec - start.tv_sec) * PR_NS_PER_S +
		                           (double)(end.tv_nsec - start.tv_nsec)) /
		                                  (double)operations);
	}
	return bench_series_median(&series);
}

static size_t endpoint_index(const struct work *work, const struct pr_uuid *id)
{
	size_t i = 0;
	while (i < ENDPOINTS && !pr_uuid_equal(&work->endpoints[i].id, id)) {
		i++;
	}
	return i;
}

static void write_policies(FILE *out, unsigned rules)
{
	(void)fputs("{\"policies\":\"", out);
	for (unsigned i = 0; i < rules; i++) {
		struct sample_rule rule = sample_rule_of(i, rules);
		(void)fprintf(out,
		              "permit(principal in Group::\\\"g%u\\\", action == "
		              "Action::\\\"connect\\\", resource in Group::\\\"g%u\\\") when { "
		              "context.proto == 6 && context.port == %u };\\n",
		              rule.from, rule.to, rule.port);
	}
	(void)fputs("\"", out);
}

/* As `select name eN*`: all groups whose number is how the endpoint's begins. */
static void write_endpoints(FILE *out)
{
	(void)fputs(",\n\"endpoints\":[", out);
	for (unsigned i = 0; i < ENDPOINTS; i++) {
		unsigned group = i;
		const char *comma = "";
		(void)fprintf(out, "%s{\"name\":\"e%u\",\"groups\":[", i == 0 ? "" : ",\n", i);
		do {
			if (group < SAMPLE_GROUPS) {
				(void)fprintf(out, "%s\"g%u\"", comma, group);
				comma = ",";
			}
			group /= 10;
		} while (group > 0);
		(void)fputs("]}", out);
	}
	(void)fputs("]", out);
}

/* Each: source, destination (indexes), port, are they allowed. */
static void write_requests(FILE *out, const struct work *work)
{
	(void)fputs(",\n\"requests\":[", out);
	for (size_t i = 0; i < work->request_count; i++) {
		const struct policy_request *request = &work->requests[i];
		struct policy_verdict verdict;
		policy_image_evaluate(work->image.image, request, 1, &verdict);
		(void)fprintf(out, "%s[%zu,%zu,%u,%s]", i == 0 ? "" : ",\n",
		              endpoint_index(work, &request->source),
		              endpoint_index(work, &request->destination), request->port,
		              verdict.action == POLICY_ALLOW ? "true" : "false");
	}
	(void)fputs("]", out);
}

int bench_policy_dump(const char *path, unsigned rules, size_t requests, double *ret_ours_ns)
{
	if (rules == 0 || rules > DUMP_RULES || requests == 0 || requests > TUPLES) {
		return PR_EINVAL;
	}
	_cleanup_(work_destroy) struct work *work = work_new();
	if (work == NULL) {
		return PR_ENOMEM;
	}
	work->image.cache = policy_cache_new(POLICY_CACHE_DEFAULT_BYTES);
	int ret = image_make(work, text_make(rules, rules, false), &work->image.image);
	if (ret != PR_OK || work->image.cache == NULL) {
		return ret != PR_OK ? ret : PR_ENOMEM;
	}
	requests_dumped(work, rules, requests);
	FILE *out = fopen(path, "w");
	if (out == NULL) {
		return PR_EIO;
	}
	write_policies(out, rules);
	write_endpoints(out);
	write_requests(out, work);
	*ret_ours_ns = ours_ns(work);
	(void)fprintf(out, ",\n\"rules\":%u,\"ours_ns\":%.2f}\n", rules, *ret_ours_ns);
	bool failed = ferror(out) != 0;
	return fclose(out) != 0 || failed ? PR_EIO : PR_OK;
}
