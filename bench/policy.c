/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "bench/bench.h"
#include "policy/policy.h"

#define TUPLES    4096
#define ENDPOINTS 1000

struct work {
	policy_image_t *small, *large;
	struct policy_request requests[TUPLES];
};

/* Group i holds endpoint i; a rule for each, the last group's requests meet the last rule. */
static char *text_make(unsigned rules)
{
	char *text = NULL;
	size_t size_bytes;
	FILE *out = open_memstream(&text, &size_bytes);
	if (out == NULL) {
		return NULL;
	}
	(void)fputs("mode enforce default\n", out);
	for (unsigned i = 0; i < 100; i++) {
		(void)fprintf(out, "group g%u select name e%u*\n", i, i);
	}
	for (unsigned i = 0; i < rules; i++) {
		(void)fprintf(out, "rule %u %s from g%u to g%u tcp/%u\n", i + 1,
		              i % 3 == 0 ? "deny" : "allow", i % 100, (i * 7 + i / 100) % 100,
		              1 + i % 60000);
	}
	return fclose(out) == 0 ? text : NULL;
}

static int image_make(unsigned rules, const struct policy_endpoint *endpoints, size_t count,
                      policy_image_t **ret_image)
{
	_cleanup_(pr_free) char *text = text_make(rules);
	_cleanup_(pr_free) struct policy_errors *errors = calloc(1, sizeof(*errors));
	policy_model_t *model = NULL;
	if (text == NULL || errors == NULL) {
		return PR_ENOMEM;
	}
	int ret = policy_text_parse(text, strlen(text), errors, &model);
	if (ret == PR_OK) {
		ret = policy_image_compile(model, endpoints, count, 1, ret_image);
	}
	policy_model_destroy(&model);
	return ret;
}

static uint64_t evaluate(const policy_image_t *image, const struct work *work, uint64_t operations)
{
	uint64_t sum = 0;
	for (uint64_t i = 0; i < operations; i++) {
		struct policy_verdict verdict;
		policy_image_evaluate(image, &work->requests[i % TUPLES], 1, &verdict);
		sum += verdict.rule;
	}
	return sum;
}

static uint64_t run_large(void *arg, uint64_t operations)
{
	const struct work *work = arg;
	return evaluate(work->large, work, operations);
}

static uint64_t run_small(void *arg, uint64_t operations)
{
	const struct work *work = arg;
	return evaluate(work->small, work, operations);
}

static void requests_make(struct work *work, const struct policy_endpoint *endpoints)
{
	uint32_t seed = 1;
	for (size_t i = 0; i < TUPLES; i++) {
		struct policy_request *request = &work->requests[i];
		seed = seed * 1664525 + 1013904223;
		request->asker = POLICY_END_NEAR;
		for (size_t field = 0; field < _POLICY_FIELD_MAX; field++) {
			request->known[field] = POLICY_UNKNOWN;
		}
		request->known[POLICY_FIELD_SOURCE] = POLICY_KNOWN;
		request->known[POLICY_FIELD_DESTINATION] = POLICY_KNOWN;
		request->known[POLICY_FIELD_PORT] = POLICY_KNOWN;
		request->proto = 6;
		request->port = (uint16_t)(1 + (seed >> 8) % 10000);
		request->source = endpoints[(seed >> 4) % ENDPOINTS].id;
		request->destination = endpoints[(seed >> 16) % ENDPOINTS].id;
	}
}

static int measure(const struct bench_config *config, struct work *work)
{
	struct policy_endpoint *endpoints = calloc(ENDPOINTS, sizeof(*endpoints));
	char(*names)[16] = calloc(ENDPOINTS, sizeof(*names));
	int ret = endpoints == NULL || names == NULL ? PR_ENOMEM : PR_OK;

	for (unsigned i = 0; i < ENDPOINTS && ret == PR_OK; i++) {
		(void)snprintf(names[i], sizeof(names[i]), "e%u", i);
		endpoints[i] = (struct policy_endpoint){ .id = pr_uuid_of_bytes("bench", names[i],
			                                                        strlen(names[i])),
			                                 .kind = POLICY_CONTAINER,
			                                 .name = names[i] };
	}
	if (ret == PR_OK) {
		ret = image_make(10, endpoints, ENDPOINTS, &work->small);
	}
	if (ret == PR_OK) {
		ret = image_make(10000, endpoints, ENDPOINTS, &work->large);
	}
	if (ret == PR_OK) {
		requests_make(work, endpoints);
		ret = bench_pair_measure(
			config, &(struct bench_pair){ .metric = "verdicts.rules_10000",
		                                      .limit = "rules_10",
		                                      .note = "a verdict, no cache, 4,096 tuples",
		                                      .run = run_large,
		                                      .run_limit = run_small,
		                                      .arg = work });
	}
	free(endpoints);
	free(names);
	return ret;
}

int bench_suite_policy(const struct bench_config *config)
{
	struct work *work = calloc(1, sizeof(*work));
	if (work == NULL) {
		return PR_ENOMEM;
	}
	int ret = measure(config, work);
	policy_image_destroy(&work->small);
	policy_image_destroy(&work->large);
	free(work);
	return ret;
}
