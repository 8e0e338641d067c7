/* SPDX-License-Identifier: GPL-2.0-or-later */

/**
 * @file
 * Any bytes as a policy text: refused with errors that lie in the text, or a model that comes back
 * out byte for byte, whose rules mean the same in canonical form, and that compiles.
 */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "policy/policy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes);

static struct policy_errors errors;

static void check_errors(size_t size_bytes)
{
	if (errors.total == 0 || errors.count == 0 || errors.count > POLICY_ERRORS_MAX) {
		abort();
	}
	for (size_t i = 0; i < errors.count; i++) {
		const struct policy_error *error = &errors.items[i];
		if (error->line < 1 || error->line > size_bytes + 1 || error->column < 1 ||
		    error->message[0] == '\0' || strpbrk(error->message, "\n\033") != NULL) {
			abort();
		}
	}
}

static void check_bytes(const policy_model_t *model, const uint8_t *data, size_t size_bytes)
{
	_cleanup_(pr_free) char *text = NULL;
	size_t text_bytes = 0;
	if (policy_text_format(model, &text, &text_bytes) != PR_OK || text_bytes != size_bytes ||
	    memcmp(text, data, size_bytes) != 0) {
		abort();
	}
}

/* A rule's canonical form put in its own place says the same in the same words. */
static void check_rule(const policy_model_t *model, uint32_t number)
{
	char before[POLICY_LINE_MAX_BYTES * 2], after[POLICY_LINE_MAX_BYTES * 2];
	_cleanup_(policy_model_destroy) policy_model_t *edited = NULL;
	size_t line = 0;
	const struct policy_rule *rule = policy_model_rule_find(model, number, &line);
	int bytes = policy_rule_format(rule, before, sizeof(before));
	if (bytes < 0) {
		abort();
	}
	if ((unsigned)bytes > POLICY_LINE_MAX_BYTES) {
		return;
	}
	struct policy_edit edit = { line, 1, before };
	if (policy_model_edit(model, &edit, &errors, &edited) != PR_OK ||
	    policy_rule_format(policy_model_rule_find(edited, number, NULL), after,
	                       sizeof(after)) != bytes ||
	    strcmp(before, after) != 0) {
		abort();
	}
}

static void check_image(const policy_model_t *model)
{
	static const struct policy_endpoint endpoint = { .id = { { 1 } }, .name = "web" };
	_cleanup_(policy_image_destroy) policy_image_t *image = NULL;
	struct policy_request request = { .proto = 6, .port = 80, .source = { { 1 } } };
	struct policy_verdict verdict;
	if (policy_image_compile(model, &endpoint, 1, 7, &image) != PR_OK) {
		abort();
	}
	memset(request.known, POLICY_KNOWN, sizeof(request.known));
	policy_image_evaluate(image, &request, 1, &verdict);
	if (verdict.revision != 7) {
		abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes)
{
	_cleanup_(policy_model_destroy) policy_model_t *model = NULL;
	if (policy_text_parse((const char *)data, size_bytes, &errors, &model) != PR_OK) {
		check_errors(size_bytes);
		return 0;
	}
	check_bytes(model, data, size_bytes);
	for (size_t i = 0; i < policy_model_rule_count(model) && i < 4; i++) {
		check_rule(model, policy_model_rule(model, i)->number);
	}
	check_image(model);
	return 0;
}
