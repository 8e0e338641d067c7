/* SPDX-License-Identifier: GPL-2.0-or-later */

/** @file Take one compare out of the evaluator, and the comparison with the naive one fails. */

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "tests/policy/cases.h"
#include "tests/policy/naive.h"
#include "tests/tap.h"

#define POLICIES   20U
#define CASES_EACH 2000U
#define MUTANTS    (_POLICY_FIELD_MAX + 1)

typedef void (*evaluate_fn)(const policy_image_t *image, const struct policy_request *request,
                            uint64_t now_wall_ns, struct policy_verdict *ret_verdict);

/* In order of enum policy_field; the last overlooks that rules expire. */
#define EVALUATE(field)                                                                           \
	void evaluate_without_##field(const policy_image_t *image,                                \
	                              const struct policy_request *request, uint64_t now_wall_ns, \
	                              struct policy_verdict *ret_verdict)
EVALUATE(0);
EVALUATE(1);
EVALUATE(2);
EVALUATE(3);
EVALUATE(4);
EVALUATE(5);
EVALUATE(6);
EVALUATE(7);
EVALUATE(8);
EVALUATE(9);
EVALUATE(10);

static const evaluate_fn mutants[MUTANTS] = {
	evaluate_without_0, evaluate_without_1, evaluate_without_2,  evaluate_without_3,
	evaluate_without_4, evaluate_without_5, evaluate_without_6,  evaluate_without_7,
	evaluate_without_8, evaluate_without_9, evaluate_without_10,
};

/* One member of a usergroup lost or too many: what a wrong compiler would make of it. */
static const struct {
	const char *from, *to, *what;
} usergroup_mutants[] = {
	{ "usergroup staff member bob\n", "", "a second line" },
	{ "usergroup staff member ana, 1001\n", "usergroup staff member ana\n", "a number" },
	{ "usergroup staff member ana, 1001\n", "usergroup staff member 1001\n", "a name" },
	{ "usergroup both member ana, carl, 33\n", "usergroup both member carl, 33\n",
	  "a name that another has, too" },
	{ "usergroup daemons member 33,999\n", "usergroup daemons member 999\n",
	  "a number that another has, too" },
	{ "usergroup noone\n", "usergroup noone member ana\n", "nobody" },
};

#define USERGROUP_MUTANTS PR_ARRAY_LEN(usergroup_mutants)

struct tally {
	unsigned whole;            /* differences of the evaluator as it is */
	unsigned mutated[MUTANTS]; /* of those without a compare */
	unsigned usergroups[USERGROUP_MUTANTS];
};

static policy_image_t *mutant_compile(const char *text, size_t index)
{
	static struct policy_errors errors;
	_cleanup_(policy_model_destroy) policy_model_t *model = NULL;
	const char *from = usergroup_mutants[index].from, *to = usergroup_mutants[index].to;
	const char *at = strstr(text, from);
	_cleanup_(pr_free) char *changed = calloc(1, strlen(text) + strlen(to) + 1);
	policy_image_t *image = NULL;

	if (at == NULL || changed == NULL) {
		abort();
	}
	memcpy(changed, text, (size_t)(at - text));
	(void)snprintf(changed + (at - text), strlen(text) + strlen(to) + 1 - (size_t)(at - text),
	               "%s%s", to, at + strlen(from));
	if (policy_text_parse(changed, strlen(changed), &errors, &model) != PR_OK ||
	    policy_image_compile(model, cases_endpoints(), CASES_ENDPOINTS, 0, &image) != PR_OK) {
		abort();
	}
	return image;
}

static void images_destroy(policy_image_t *(*images)[USERGROUP_MUTANTS])
{
	for (size_t i = 0; i < USERGROUP_MUTANTS; i++) {
		policy_image_destroy(&(*images)[i]);
	}
}

static void run_policy(struct cases_random *random, const char *text, const policy_model_t *model,
                       const policy_image_t *image, struct tally *tally)
{
	_cleanup_(images_destroy) policy_image_t *wrong[USERGROUP_MUTANTS];
	struct naive naive;
	for (size_t i = 0; i < USERGROUP_MUTANTS; i++) {
		wrong[i] = mutant_compile(text, i);
	}
	naive_init(&naive, model, cases_endpoints(), CASES_ENDPOINTS);
	for (unsigned i = 0; i < CASES_EACH; i++) {
		struct policy_request request;
		struct policy_verdict verdict, expected;
		uint64_t now = 0;
		cases_request(random, &request, &now);
		naive_evaluate(&naive, &request, now, 0, &expected);
		policy_image_evaluate(image, &request, now, &verdict);
		tally->whole += !cases_same(&verdict, &expected);
		for (unsigned j = 0; j < MUTANTS; j++) {
			mutants[j](image, &request, now, &verdict);
			tally->mutated[j] += !cases_same(&verdict, &expected);
		}
		for (unsigned j = 0; j < USERGROUP_MUTANTS; j++) {
			policy_image_evaluate(wrong[j], &request, now, &verdict);
			tally->usergroups[j] += !cases_same(&verdict, &expected);
		}
	}
	naive_done(&naive);
}

int main(void)
{
	struct cases_random random = { 20270131 };
	struct tally tally = { 0 };
	static struct policy_errors errors;
	bool good = true;
	for (unsigned i = 0; i < POLICIES; i++) {
		_cleanup_(pr_free) char *text = cases_policy(&random, 5 + i * 2);
		_cleanup_(policy_model_destroy) policy_model_t *model = NULL;
		_cleanup_(policy_image_destroy) policy_image_t *image = NULL;
		good = good && policy_text_parse(text, strlen(text), &errors, &model) == PR_OK &&
		       policy_image_compile(model, cases_endpoints(), CASES_ENDPOINTS, 0, &image) ==
		               PR_OK;
		if (good) {
			run_policy(&random, text, model, image, &tally);
		}
	}
	ok(good, "policies parse and compile");
	ok(tally.whole == 0, "the evaluator as it is agrees in %u cases", POLICIES * CASES_EACH);
	for (unsigned i = 0; i < MUTANTS; i++) {
		const char *name = i < _POLICY_FIELD_MAX ? policy_field_name(i) : "expiry";
		ok(tally.mutated[i] > POLICIES * CASES_EACH / 200,
		   "without the compare of %s it is caught, in %u of %u cases", name,
		   tally.mutated[i], POLICIES * CASES_EACH);
	}
	for (unsigned i = 0; i < USERGROUP_MUTANTS; i++) {
		ok(tally.usergroups[i] > POLICIES * CASES_EACH / 2000,
		   "a usergroup with %s wrong is caught, in %u of %u cases",
		   usergroup_mutants[i].what, tally.usergroups[i], POLICIES * CASES_EACH);
	}
	return tap_done();
}
