/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Lines of the signed documents and the note of numbers, all parsers over the same text. */

#include <stdlib.h>
#include <string.h>

#include "agent/speaker/numbers.h"
#include "agent/speaker/signed.h"
#include "base/err.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes)
{
	struct speaker_service service;
	struct part_lifeline lifeline;
	struct speaker_mode mode;
	struct numbers numbers;
	char *text = malloc(size_bytes + 1);

	if (text == NULL) {
		return 0;
	}
	if (size_bytes > 0) {
		memcpy(text, data, size_bytes);
	}
	text[size_bytes] = '\0';
	if (signed_service_parse(text, &service) == PR_OK && pr_uuid_is_null(&service.id)) {
		abort();
	}
	if (signed_lifeline_parse(text, &lifeline) == PR_OK && lifeline.proto == 0 &&
	    lifeline.port != 0) {
		abort();
	}
	(void)!signed_mode_parse(text, &mode);
	if (numbers_parse(text, size_bytes, &numbers) == PR_OK &&
	    numbers.next > numbers.reserved + 1) {
		abort();
	}
	free(text);
	return 0;
}
