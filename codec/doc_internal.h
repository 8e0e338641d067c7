/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/** @file A document's own memory: what doc.c, doc_encode.c and doc_decode.c share. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/codec.h"

struct codec_value {
	uint64_t number; /* U64, BOOL */
	uint8_t *data;   /* TEXT (terminated), BLOB, UUID */
	size_t size_bytes;
	char **items; /* TEXTS */
	size_t count, room;
};

struct codec_doc {
	const struct codec_message *message;
	int error; /* the first of a setter, kept for codec_doc_encode() */
	/* What was decoded lies here in one piece; NULL: nothing was. What is set lies by itself.
	 */
	uint8_t *arena;
	size_t arena_bytes, arena_used_bytes;
	bool decoding;
	struct codec_value values[];
};

/** Keep a copy of a field's bytes; an error is kept in the document. */
void codec_doc_data_set(codec_doc_t *doc, struct codec_value *value, const void *data,
                        size_t size_bytes);
/** The same for one text of a list. */
void codec_doc_item_add(codec_doc_t *doc, unsigned field, const char *text, size_t size_bytes);
