/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Enrolment tokens; what parses can be made again and is the same text. */

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "bus/bus.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes)
{
	struct bus_token token;
	char again[BUS_TOKEN_TEXT_BYTES];
	char *text = malloc(size_bytes + 1);

	if (text == NULL) {
		return 0;
	}
	if (size_bytes > 0) {
		memcpy(text, data, size_bytes);
	}
	text[size_bytes] = '\0';
	if (bus_token_parse(text, &token) == PR_OK &&
	    (bus_token_format(&token, again) != PR_OK || strcmp(again, text) != 0)) {
		abort();
	}
	free(text);
	return 0;
}
