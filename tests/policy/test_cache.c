/* SPDX-License-Identifier: GPL-2.0-or-later */

/**
 * @file
 * The cache gives no verdict that the evaluator would not give; leave any part out of its key, and
 * it does. Built in here, instead of the library's, so that it is asked for every request.
 */

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "tests/policy/cases.h"
#include "tests/tap.h"

static int left_out; /* part of the key; -1: none */

#define POLICY_KEY_LEFT_OUT(part) ((int)(part) == left_out)
#define POLICY_CACHE_ALWAYS       true
#include "policy/cache.c" /* NOLINT */

#define POLICIES   20U
#define CASES_EACH 2000U
#define DAY_NS     86400000000000ULL

static policy_image_t *image_of(const char *text)
{
	static struct policy_errors errors;
	_cleanup_(policy_model_destroy) policy_model_t *model = NULL;
	policy_image_t *image = NULL;
	if (policy_text_parse(text, strlen(text), &errors, &model) != PR_OK ||
	    policy_image_compile(model, cases_endpoints(), CASES_ENDPOINTS, 7, &image) != PR_OK) {
		(void)printf("# line %u: %s\n", errors.items[0].line, errors.items[0].message);
		abort();
	}
	return image;
}

/* ---- parts of the key ---- */

static unsigned differs(const policy_image_t *image, policy_cache_t *cache,
                        const struct policy_request *request, uint64_t now)
{
	struct policy_verdict verdict, cached;
	struct policy_tuple tuple;
	policy_tuple_make(image, request, &tuple);
	(void)policy_tuple_evaluate(&tuple, now, &verdict);
	policy_image_evaluate_cached(image, cache, request, now, &cached);
	return !cases_identical(&verdict, &cached);
}

/* Ask for a request, then for those that differ from it in one thing. */
static unsigned try_around(struct cases_random *random, const policy_image_t *image,
                           policy_cache_t *cache)
{
	struct policy_request request;
	uint64_t now = 0;
	cases_request(random, &request, &now);
	unsigned differences = differs(image, cache, &request, now);
	for (unsigned field = 0; field <= _POLICY_FIELD_MAX; field++) {
		struct policy_request varied = request;
		uint64_t then = now;
		cases_vary(random, field, &varied, &then);
		differences += differs(image, cache, &varied, then);
	}
	for (unsigned asker = POLICY_END_NEAR; asker <= POLICY_END_BOTH; asker++) {
		struct policy_request varied = request;
		varied.asker = asker;
		differences += differs(image, cache, &varied, now);
	}
	return differences;
}

static unsigned differences_without(int part, uint64_t *ret_hits)
{
	struct cases_random random = { 20270601 };
	_cleanup_(policy_cache_destroy) policy_cache_t *cache =
		policy_cache_new(POLICY_CACHE_DEFAULT_BYTES);
	unsigned differences = 0;
	left_out = part;
	for (unsigned i = 0; i < POLICIES && cache != NULL; i++) {
		_cleanup_(pr_free) char *text = cases_policy(&random, 2 + i * 2);
		_cleanup_(policy_image_destroy) policy_image_t *image = image_of(text);
		for (unsigned j = 0; j < CASES_EACH; j++) {
			differences += try_around(&random, image, cache);
		}
	}
	left_out = -1;
	*ret_hits = cache != NULL ? policy_cache_counters(cache)->hits : 0;
	return differences;
}

static void test_key(void)
{
	static const char *const names[] = {
		"epoch", "asker", "modes", "protocol", "pending", "port", "pattern",
	};
	uint64_t hits = 0;
	unsigned whole = differences_without(-1, &hits);
	ok(whole == 0 && hits > POLICIES * CASES_EACH,
	   "with the whole key no verdict differs, %lu hits", (unsigned long)hits);
	for (int part = 0; part < KEY_CLASSES; part++) {
		unsigned differences = differences_without(part, &hits);
		ok(differences > 100, "without %s in it %u do", names[part], differences);
	}
	for (int i = POLICY_FIELD_DESTINATION; i < (int)POLICY_CLASSES_MAX; i++) {
		const char *name = i < _POLICY_FIELD_MAX ? policy_field_name(i) : "a user's name";
		unsigned differences = differences_without(KEY_CLASSES + i, &hits);
		ok(differences > 100, "without %s in it %u do", name, differences);
	}
}

/* ---- time ---- */

static void ask_port(const policy_image_t *image, policy_cache_t *cache, uint16_t port,
                     uint64_t now, struct policy_verdict *ret_verdict)
{
	struct policy_request request = { .proto = 6, .port = port };
	memset(request.known, POLICY_KNOWN, sizeof(request.known));
	policy_image_evaluate_cached(image, cache, &request, now, ret_verdict);
}

static void test_expiry(void)
{
	static const char text[] = "mode enforce default\n"
				   "rule 10 allow from any to any tcp/80 expires 2027-01-20\n"
				   "rule 20 reject from any to any tcp/80 expires 2027-02-01\n";
	_cleanup_(policy_image_destroy) policy_image_t *image = image_of(text);
	_cleanup_(policy_cache_destroy) policy_cache_t *cache = policy_cache_new(0);
	struct policy_verdict first, again, later, last, back;
	ask_port(image, cache, 80, CASES_NOW_NS, &first);
	uint64_t until = first.valid_until_wall_ns;
	ask_port(image, cache, 80, until - 1, &again);
	ok(first.rule == 10 && until > CASES_NOW_NS && until < CASES_NOW_NS + 10 * DAY_NS,
	   "the rule decides until it expires");
	ok(cases_identical(&first, &again) && policy_cache_counters(cache)->hits == 1,
	   "kept until a nanosecond before");
	ask_port(image, cache, 80, until, &later);
	ok(later.rule == 20 && later.valid_until_wall_ns > until &&
	           policy_cache_counters(cache)->hits == 1,
	   "then it is not: the next rule decides");
	ask_port(image, cache, 80, later.valid_until_wall_ns, &last);
	ok(last.rule == 0 && last.policy_action == POLICY_DENY && last.valid_until_wall_ns == 0,
	   "then the default");
	ask_port(image, cache, 80, CASES_NOW_NS, &back);
	ok(cases_identical(&first, &back) && policy_cache_counters(cache)->hits == 2,
	   "a clock that is set back finds the first again");
	ask_port(image, cache, 80, UINT64_MAX, &again);
	ask_port(image, cache, 80, UINT64_MAX, &later);
	ok(cases_identical(&last, &later), "the end of time is after all of them");
}

/* ---- images ---- */

static void test_images(void)
{
	_cleanup_(policy_cache_destroy) policy_cache_t *cache = policy_cache_new(0);
	struct policy_verdict verdict;
	bool good = true;
	for (unsigned i = 0; i < 100; i++) {
		char text[128];
		(void)snprintf(text, sizeof(text), "rule %u %s from any to any tcp/80\n", i + 1,
		               i % 2 == 0 ? "allow" : "deny");
		_cleanup_(policy_image_destroy) policy_image_t *image = image_of(text);
		ask_port(image, cache, 80, 1, &verdict);
		ask_port(image, cache, 80, 1, &verdict);
		good = good && verdict.rule == i + 1;
	}
	ok(good && policy_cache_counters(cache)->emptied == 99 &&
	           policy_cache_counters(cache)->hits == 100,
	   "another image at the same place, of the same revision, gets verdicts of its own");
}

static void test_bounds(void)
{
	static const char text[] = "rule 1 allow from 10.0.0.0/8 to any tcp/1-1000 user ana\n";
	_cleanup_(policy_image_destroy) policy_image_t *image = image_of(text);
	policy_cache_t *cache = policy_cache_new(100 * 1024);
	struct policy_verdict verdict;
	ok(cache->size_bytes == POLICY_CACHE_MIN_BYTES, "down to a power of two");
	ask_port(image, cache, 80, 1, &verdict);
	ok(cache->entry_words == LARGE_WORDS && cache->class_count == 3, "a large entry");
	policy_cache_destroy(&cache);
	ok(cache == NULL, "destroyed");
	policy_cache_destroy(&cache);
	ask_port(image, NULL, 80, 1, &verdict);
	ok(verdict.revision == 7 && verdict.rule == 0, "a verdict without a cache");
}

int main(void)
{
	left_out = -1;
	test_expiry();
	test_images();
	test_bounds();
	test_key();
	return tap_done();
}
