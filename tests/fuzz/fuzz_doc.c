/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Any bytes as a document: what decodes must encode, and decode to what encodes the same. */

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "codec/codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes)
{
	_cleanup_(codec_doc_destroy) codec_doc_t *first = NULL;
	_cleanup_(codec_doc_destroy) codec_doc_t *second = NULL;
	_cleanup_(pr_free) uint8_t *once = NULL;
	_cleanup_(pr_free) uint8_t *twice = NULL;
	size_t once_bytes, twice_bytes;

	if (codec_doc_decode(data, size_bytes, &first) < 0) {
		return 0;
	}
	if (codec_doc_encode(first, &once, &once_bytes) < 0 ||
	    codec_doc_decode(once, once_bytes, &second) < 0 ||
	    codec_doc_encode(second, &twice, &twice_bytes) < 0 || once_bytes != twice_bytes ||
	    memcmp(once, twice, once_bytes) != 0) {
		abort();
	}
	return 0;
}
