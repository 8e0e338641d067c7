/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "agent/inventory/sessions.h"
#include "base/err.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes);

static bool alive(int32_t pid)
{
	return pid % 7 != 0;
}

/* A utmp file: bounded lines of five printable words, in a document that others can read. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes)
{
	codec_doc_t *doc = codec_doc_new(CODEC_ENDPOINT), *again = NULL;
	uint8_t *bytes = NULL;
	size_t encoded, all = 0;

	if (doc == NULL) {
		return 0;
	}
	sessions_parse(data, size_bytes, alive, doc);
	size_t count = codec_doc_count(doc, CODEC_ENDPOINT_SESSIONS);
	assert(count <= SESSIONS_MAX);
	for (size_t i = 0; i < count; i++) {
		const char *line = codec_doc_item(doc, CODEC_ENDPOINT_SESSIONS, i);
		unsigned words = 1;
		for (const char *at = line; *at != '\0'; at++) {
			assert(*at >= ' ' && *at < 0x7f);
			words += *at == ' ';
		}
		assert(words == 5);
		all += strlen(line);
	}
	assert(all <= SESSIONS_MAX_BYTES);
	if (codec_doc_encode(doc, &bytes, &encoded) == PR_OK) {
		assert(codec_doc_decode(bytes, encoded, &again) == PR_OK);
	}
	free(bytes);
	codec_doc_destroy(&again);
	codec_doc_destroy(&doc);
	return 0;
}
