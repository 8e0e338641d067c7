/* SPDX-License-Identifier: GPL-2.0-or-later */

/**
 * @file
 * The evaluator once more, without the compare of field POLICY_MUTATE_FIELD, under names of its
 * own. Compiled once for each field: test_mutants.c shows that the comparison with the naive
 * evaluator catches every one of them.
 */

#define MUTANT_JOIN(name, field)      name##_without_##field
#define MUTANT_NAME(name, field)      MUTANT_JOIN(name, field)
#define policy_tuple_make             MUTANT_NAME(tuple_make, POLICY_MUTATE_FIELD)
#define policy_tuple_evaluate         MUTANT_NAME(tuple_evaluate, POLICY_MUTATE_FIELD)
#define policy_tuple_evaluate_few     MUTANT_NAME(tuple_evaluate_few, POLICY_MUTATE_FIELD)
#define policy_tuple_few_of_all       MUTANT_NAME(tuple_few, POLICY_MUTATE_FIELD)
#define policy_views_make             MUTANT_NAME(views_make, POLICY_MUTATE_FIELD)
#define policy_views_pattern_mismatch MUTANT_NAME(views_mismatch, POLICY_MUTATE_FIELD)
#define policy_views_pending          MUTANT_NAME(views_pending, POLICY_MUTATE_FIELD)
#define policy_image_evaluate         MUTANT_NAME(evaluate, POLICY_MUTATE_FIELD)
#define policy_request_mark_pending   MUTANT_NAME(mark_pending, POLICY_MUTATE_FIELD)

#include "policy/tuple.c" /* NOLINT */
#undef BIT
#include "policy/view.c" /* NOLINT */
#undef BIT
#include "policy/evaluate.c" /* NOLINT */
