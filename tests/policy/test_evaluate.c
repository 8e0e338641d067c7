/* SPDX-License-Identifier: GPL-2.0-or-later */

/**
 * @file
 * The compiled evaluator equals the naive one on 10^6 cases, without a cache and twice with one,
 * and each field matters.
 */

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "tests/policy/cases.h"
#include "tests/policy/naive.h"
#include "tests/tap.h"

#define POLICIES    40U
#define CASES_EACH  25000U
#define CASES_ALL   (POLICIES * CASES_EACH)
#define VARY_EACH   4U  /* one in so many cases is tried with each field drawn anew */
#define DEPEND_EACH 20U /* one in so many is tried for its lease */
#define VARIED      (_POLICY_FIELD_MAX + 1)
#define REVISION    77U

struct tally {
	unsigned long differences;
	unsigned long decides[VARIED]; /* another value of the field gives another verdict */
	unsigned long lease_tries, lease_errors;
	unsigned long near_denials, near_errors;
	unsigned long actions[3], provisional, several, staged, lifeline, would_deny;
	unsigned long explained_wrongly;
	unsigned long cache_errors;
};

static void show(const char *what, const struct policy_verdict *verdict)
{
	printf("# %s: action %d policy %d mode %d provisional %d several %d rule %u staged %u "
	       "depends %x until %llu\n",
	       what, verdict->action, verdict->policy_action, verdict->mode, verdict->provisional,
	       verdict->several, verdict->rule, verdict->staged_rule, verdict->depends,
	       (unsigned long long)verdict->valid_until_wall_ns);
}

static void count(const struct policy_verdict *verdict, struct tally *tally)
{
	tally->actions[verdict->policy_action]++;
	tally->provisional += verdict->provisional;
	tally->several += verdict->several;
	tally->staged += verdict->staged_rule != 0;
	tally->lifeline += verdict->lifeline;
	tally->would_deny += verdict->would_deny;
}

/* Does each field decide? Draw it anew and see whether the verdict is another. */
static void vary(struct cases_random *random, const policy_image_t *image,
                 const struct policy_request *request, uint64_t now,
                 const struct policy_verdict *verdict, struct tally *tally)
{
	for (unsigned field = 0; field < VARIED; field++) {
		struct policy_request varied = *request;
		struct policy_verdict other;
		uint64_t then = now;
		cases_vary(random, field, &varied, &then);
		policy_image_evaluate(image, &varied, then, &other);
		tally->decides[field] += !cases_same(verdict, &other);
	}
}

/* What the lease says not to matter may all change at once. */
static void try_lease(struct cases_random *random, const policy_image_t *image,
                      const struct policy_request *request, uint64_t now,
                      const struct policy_verdict *verdict, struct tally *tally)
{
	struct policy_request varied = *request;
	struct policy_verdict other;
	uint64_t ignored = 0;
	for (unsigned field = 0; field < _POLICY_FIELD_MAX; field++) {
		if (!(verdict->depends & 1U << field)) {
			uint8_t known = request->known[field];
			cases_vary(random, field, &varied, &ignored);
			varied.known[field] = known;
		}
	}
	uint64_t until = verdict->valid_until_wall_ns;
	uint64_t then = until == 0 ? now + 100 * 86400000000000ULL : until - 1;
	policy_image_evaluate(image, &varied, then, &other);
	tally->lease_tries++;
	if (!cases_same(verdict, &other) && tally->lease_errors++ < 5) {
		show("leased", verdict);
		show("later", &other);
	}
}

/* A near end's final denial must hold whatever the pending fields turn out to be. */
static void try_near(struct cases_random *random, const policy_image_t *image,
                     const struct policy_request *request, uint64_t now,
                     const struct policy_verdict *verdict, struct tally *tally)
{
	struct policy_request varied = *request;
	struct policy_verdict other;
	uint64_t ignored = 0;
	bool pending = false;
	for (unsigned field = 0; field < _POLICY_FIELD_MAX; field++) {
		if (request->known[field] == POLICY_PENDING && field != POLICY_FIELD_PROTO) {
			cases_vary(random, field, &varied, &ignored);
			varied.known[field] = POLICY_KNOWN;
			pending = true;
		}
	}
	if (!pending || verdict->policy_action == POLICY_ALLOW) {
		return;
	}
	policy_image_evaluate(image, &varied, now, &other);
	tally->near_denials++;
	tally->near_errors += other.policy_action == POLICY_ALLOW;
}

struct decider {
	uint32_t rule;
	bool found;
};

static bool find_decider(void *arg, const struct policy_explanation *explanation)
{
	struct decider *decider = arg;
	if (explanation->decides) {
		decider->rule = explanation->rule.number;
		decider->found = true;
	}
	return true;
}

static void try_explain(const policy_image_t *image, const struct policy_request *request,
                        uint64_t now, const struct policy_verdict *verdict, struct tally *tally)
{
	struct decider decider = { 0 };
	policy_image_explain(image, request, now, find_decider, &decider);
	if (!verdict->provisional && decider.rule != verdict->rule) {
		tally->explained_wrongly++;
	}
}

/* Twice, so that a verdict that was kept is compared too. */
static void try_cache(const policy_image_t *image, policy_cache_t *cache,
                      const struct policy_request *request, uint64_t now,
                      const struct policy_verdict *verdict, struct tally *tally)
{
	struct policy_verdict cached;
	for (unsigned i = 0; i < 2; i++) {
		policy_image_evaluate_cached(image, cache, request, now, &cached);
		if (!cases_identical(verdict, &cached) && tally->cache_errors++ < 5) {
			show("compiled", verdict);
			show("cached", &cached);
		}
	}
}

static void run_case(struct cases_random *random, const struct naive *naive,
                     const policy_image_t *image, policy_cache_t *cache, unsigned number,
                     struct tally *tally)
{
	struct policy_request request;
	struct policy_verdict verdict, expected;
	uint64_t now = 0;
	cases_request(random, &request, &now);
	policy_image_evaluate(image, &request, now, &verdict);
	naive_evaluate(naive, &request, now, REVISION, &expected);
	if (!cases_same(&verdict, &expected) && tally->differences++ < 5) {
		show("compiled", &verdict);
		show("naive", &expected);
	}
	try_cache(image, cache, &request, now, &verdict, tally);
	count(&verdict, tally);
	if (number % VARY_EACH == 0) {
		vary(random, image, &request, now, &verdict, tally);
	}
	if (number % DEPEND_EACH == 0) {
		try_lease(random, image, &request, now, &verdict, tally);
		try_near(random, image, &request, now, &verdict, tally);
		try_explain(image, &request, now, &verdict, tally);
	}
}

static bool run_policy(struct cases_random *random, unsigned rules, policy_cache_t *cache,
                       struct tally *tally)
{
	_cleanup_(pr_free) char *text = cases_policy(random, rules);
	_cleanup_(pr_free) struct policy_errors *errors = calloc(1, sizeof(*errors));
	_cleanup_(policy_model_destroy) policy_model_t *model = NULL;
	_cleanup_(policy_image_destroy) policy_image_t *image = NULL;
	if (policy_text_parse(text, strlen(text), errors, &model) != PR_OK ||
	    policy_image_compile(model, cases_endpoints(), CASES_ENDPOINTS, REVISION, &image) !=
	            PR_OK) {
		printf("# line %u: %s\n", errors->items[0].line, errors->items[0].message);
		return false;
	}
	struct naive naive;
	naive_init(&naive, model, cases_endpoints(), CASES_ENDPOINTS);
	for (unsigned i = 0; i < CASES_EACH; i++) {
		run_case(random, &naive, image, cache, i, tally);
	}
	naive_done(&naive);
	return true;
}

static void report_cache(const policy_cache_t *cache, const struct tally *tally)
{
	const struct policy_cache_counters *counters = policy_cache_counters(cache);
	ok(tally->cache_errors == 0, "the cache gives the same verdicts, twice, of which %lu kept",
	   (unsigned long)counters->hits);
	ok(counters->hits > CASES_ALL / 4 && counters->misses > CASES_ALL / 4 &&
	           counters->few > CASES_ALL / 10 && counters->unkept > CASES_ALL / 100 &&
	           counters->evicted > CASES_ALL / 100 && counters->emptied == POLICIES - 1,
	   "few %lu, misses %lu, unkept %lu, evicted %lu, emptied %lu",
	   (unsigned long)counters->few, (unsigned long)counters->misses,
	   (unsigned long)counters->unkept, (unsigned long)counters->evicted,
	   (unsigned long)counters->emptied);
}

static void report(const struct tally *tally)
{
	for (unsigned field = 0; field < VARIED; field++) {
		const char *name = field < _POLICY_FIELD_MAX ? policy_field_name(field) : "expiry";
		ok(tally->decides[field] >= CASES_ALL / VARY_EACH / 100,
		   "%s decides %.1f %% of the cases", name,
		   100.0 * VARY_EACH * (double)tally->decides[field] / CASES_ALL);
	}
	ok(tally->lease_errors == 0, "%lu leases hold when all they do not depend on changes",
	   tally->lease_tries);
	ok(tally->near_errors == 0 && tally->near_denials > 100,
	   "%lu final denials of near ends hold whatever the far end tells", tally->near_denials);
	ok(tally->explained_wrongly == 0, "explain names the same rule");
	ok(tally->actions[0] > CASES_ALL / 100 && tally->actions[1] > CASES_ALL / 100 &&
	           tally->actions[2] > CASES_ALL / 100,
	   "allow, deny and reject all come up");
	ok(tally->provisional > CASES_ALL / 100 && tally->several > CASES_ALL / 1000 &&
	           tally->staged > CASES_ALL / 100 && tally->lifeline > CASES_ALL / 10000 &&
	           tally->would_deny > CASES_ALL / 100,
	   "so do provisional, several, staged, lifeline and would-deny");
}

int main(void)
{
	struct cases_random random = { 20261123 };
	struct tally tally = { 0 };
	/* Small, so that verdicts make room for others. */
	_cleanup_(policy_cache_destroy) policy_cache_t *cache = policy_cache_new(0);
	bool good = cache != NULL;
	for (unsigned i = 0; i < POLICIES && good; i++) {
		/* Also none, around the border of a word, and more than one block of words. */
		unsigned rules = i == 0 ? 0 : i < 6 ? 60 + i : 5 + i;
		good = run_policy(&random, rules, cache, &tally);
	}
	ok(good, "%u policies parse and compile", POLICIES);
	ok(tally.differences == 0, "compiled and naive evaluator agree in %u cases", CASES_ALL);
	report(&tally);
	report_cache(cache, &tally);
	return tap_done();
}
