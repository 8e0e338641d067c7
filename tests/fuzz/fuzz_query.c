/* SPDX-License-Identifier: GPL-2.0-or-later */

/** @file Any text as a query: refused with a position in it, or asked of a record. */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/defs.h"
#include "base/err.h"
#include "policy/query.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes);

/* One or two values of some type for every field. */
static bool access_value(const void *record, enum policy_query_field field, const char *key,
                         unsigned index, struct policy_query_value *ret_value)
{
	(void)record;
	if (index > 1 || (key != NULL && key[0] == '\0')) {
		return false;
	}
	*ret_value = (struct policy_query_value){ .type = (field + index) % 3,
		                                  .text = "wordpress_db_1",
		                                  .number = 80 };
	return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes)
{
	_cleanup_(policy_query_destroy) policy_query_t *query = NULL;
	_cleanup_(pr_free) char *text = calloc(1, size_bytes + 1);
	struct policy_query_error error = { 0 };
	if (text == NULL) {
		return 0;
	}
	if (size_bytes > 0) {
		memcpy(text, data, size_bytes);
	}
	if (policy_query_parse(text, &error, &query) == PR_OK) {
		(void)policy_query_match(query, access_value, NULL);
		return 0;
	}
	if (error.position < 1 || error.position > strlen(text) + 1 || error.message[0] == '\0') {
		abort();
	}
	return 0;
}
