/* SPDX-License-Identifier: GPL-2.0-or-later */

/** @file The examples of doc/policy.md are policies and queries that parse. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "policy/policy.h"
#include "policy/query.h"
#include "tests/tap.h"

#define DOC_MAX_BYTES (64U * 1024)
#define FENCE         "\n```\n"

static char *read_doc(void)
{
	char path[4096];
	const char *srcdir = getenv("srcdir");
	char *text = calloc(1, DOC_MAX_BYTES);
	(void)snprintf(path, sizeof(path), "%s/doc/policy.md", srcdir != NULL ? srcdir : ".");
	FILE *file = fopen(path, "r");
	if (text != NULL && file != NULL) {
		(void)!fread(text, 1, DOC_MAX_BYTES - 1, file);
	}
	if (file != NULL) {
		(void)fclose(file);
	}
	return text;
}

/* The next block between fences, NUL-terminated in place; @p text_p moves behind it. */
static char *next_block(char **text_p)
{
	char *start = strstr(*text_p, FENCE);
	if (start == NULL) {
		return NULL;
	}
	start += strlen(FENCE);
	char *end = strstr(start, FENCE);
	if (end == NULL) {
		return NULL;
	}
	*text_p = end + strlen(FENCE) - 1;
	end[1] = '\0';
	return start;
}

static void try_policy(const char *text)
{
	static struct policy_errors errors;
	_cleanup_(policy_model_destroy) policy_model_t *model = NULL;
	int err = policy_text_parse(text, strlen(text), &errors, &model);
	if (!ok(err == PR_OK, "an example of %zu bytes parses", strlen(text))) {
		printf("# %u:%u: %s\n", errors.items[0].line, errors.items[0].column,
		       errors.items[0].message);
	}
}

static void try_queries(char *text)
{
	char *rest = NULL;
	for (char *line = strtok_r(text, "\n", &rest); line != NULL;
	     line = strtok_r(NULL, "\n", &rest)) {
		struct policy_query_error error = { 0 };
		_cleanup_(policy_query_destroy) policy_query_t *query = NULL;
		int err = policy_query_parse(line, &error, &query);
		ok(err == PR_OK, "`%s` parses%s%s", line, err == PR_OK ? "" : ": ", error.message);
	}
}

int main(void)
{
	_cleanup_(pr_free) char *doc = read_doc();
	char *at = doc;
	unsigned count = 0;
	for (char *block = doc != NULL ? next_block(&at) : NULL; block != NULL;
	     block = next_block(&at)) {
		count++;
		if (strncmp(block, "rule NUMBER", 11) == 0) {
			continue; /* the form of a rule, not a rule */
		}
		if (strncmp(block, "verdict:", 8) == 0) {
			try_queries(block);
		} else {
			try_policy(block);
		}
	}
	ok(count == 5, "the document has its 5 blocks");
	return tap_done();
}
