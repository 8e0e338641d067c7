/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/** @file Random values for any message of the table, the same at each run. For codec's tests. */

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "codec/codec.h"

/* xorshift64*: Vigna, "An experimental exploration of Marsaglia's xorshift generators". */
static inline uint64_t sample_random(void)
{
	static uint64_t state = 0x2545f4914f6cdd1dULL;
	state ^= state >> 12;
	state ^= state << 25;
	state ^= state >> 27;
	return state * 0x2545f4914f6cdd1dULL;
}

/** Greatest value that a field may have, by its unit; 255 for a plain number. */
static inline unsigned sample_limit(const char *unit)
{
	static const char *const sets[] = { "enum end",        "enum known",
		                            "enum action",     "enum mode",
		                            "enum reporter",   "enum event_verdict",
		                            "enum decided_by", "enum unknown" };

	if (strcmp(unit, "bool") == 0) {
		return 1;
	}
	for (unsigned set = 0; set < sizeof(sets) / sizeof(sets[0]); set++) {
		if (strcmp(sets[set], unit) == 0) {
			unsigned value = 0;
			while (strcmp(codec_enum_text((enum codec_enum_set)set, value + 1), "?") !=
			       0) {
				value++;
			}
			return value;
		}
	}
	return 255;
}

/** A text that is valid in any field, of 0..limit bytes. */
static inline void sample_text(char *text, size_t limit_bytes)
{
	static const char *const pieces[] = {
		"a", "/usr/bin/", "\xc3\xa9",  "\xe2\x82\xac", "\xf0\x9f\x90\xb3",
		" ", "~",         "0123456789"
	};
	size_t wanted = sample_random() % (limit_bytes + 1);
	size_t at = 0;

	for (;;) {
		const char *piece = pieces[sample_random() % 8];
		if (at + strlen(piece) > wanted) {
			break;
		}
		memcpy(text + at, piece, strlen(piece));
		at += strlen(piece);
	}
	while (at < wanted) {
		text[at++] = 'x';
	}
	text[at] = '\0';
}

static inline size_t sample_text_bytes(enum codec_kind kind)
{
	return kind == CODEC_KIND_TEXT32 ? 32 : 128;
}

static inline void sample_field(const struct codec_field *field, void *record)
{
	uint8_t *at = (uint8_t *)record + field->offset;
	uint64_t value = sample_random();
	uint64_t more = sample_random();

	switch (field->kind) {
	case CODEC_KIND_U8:
		*at = (uint8_t)(value % (sample_limit(field->unit) + 1U));
		return;
	case CODEC_KIND_U16:
		memcpy(at, &value, 2);
		return;
	case CODEC_KIND_U32:
		memcpy(at, &value, 4);
		return;
	case CODEC_KIND_U64:
		memcpy(at, &value, 8);
		return;
	case CODEC_KIND_UUID:
	case CODEC_KIND_ADDR:
		memcpy(at, &value, 8);
		memcpy(at + 8, &more, 8);
		return;
	default:
		sample_text((char *)at, sample_text_bytes(field->kind));
	}
}

/** A whole record of a hot message. */
static inline void sample_record(const struct codec_message *message, void *record)
{
	memset(record, 0, message->struct_bytes);
	for (size_t i = 0; i < message->field_count; i++) {
		sample_field(&message->fields[i], record);
	}
}

/** A document with every field set (a blob only where the table gives it a size, or of 1..64). */
static inline codec_doc_t *sample_doc(const struct codec_message *message)
{
	codec_doc_t *doc = codec_doc_new(message->type);

	for (unsigned i = 0; doc != NULL && i < message->field_count; i++) {
		struct pr_uuid id = pr_uuid_of_bytes("test", &i, sizeof(i));
		char text[129];
		sample_text(text, 128);
		switch (message->fields[i].kind) {
		case CODEC_KIND_BOOL:
			codec_doc_set_u64(doc, i, 1);
			break;
		case CODEC_KIND_U64:
			codec_doc_set_u64(doc, i, sample_random() >> (sample_random() % 64));
			break;
		case CODEC_KIND_TEXT:
			codec_doc_set_text(doc, i, text);
			break;
		case CODEC_KIND_UUID:
			codec_doc_set_uuid(doc, i, &id);
			break;
		case CODEC_KIND_BLOB:
			codec_doc_set_blob(doc, i, text, 1 + sample_random() % 64);
			break;
		default:
			for (uint64_t left = sample_random() % 40; left > 0; left--) {
				sample_text(text, 64);
				codec_doc_addf(doc, i, "%s", text);
			}
		}
	}
	return doc;
}
