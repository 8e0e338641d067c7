/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "codec/doc_internal.h"
#include "codec/internal.h"

#define FIELDS_MAX 64 /* a bit each, see map_read() of doc_decode.c */

/* ---- life ---- */

codec_doc_t *codec_doc_new(enum codec_type type)
{
	const struct codec_message *message = codec_message_find(type);
	codec_doc_t *doc;

	assert(message != NULL && !message->hot && message->field_count <= FIELDS_MAX);
	doc = calloc(1, sizeof(*doc) + message->field_count * sizeof(doc->values[0]));
	if (doc != NULL) {
		doc->message = message;
	}
	return doc;
}

static void piece_free(const codec_doc_t *doc, void *piece)
{
	uintptr_t first = (uintptr_t)doc->arena;
	bool inside = doc->arena != NULL && (uintptr_t)piece >= first &&
	              (uintptr_t)piece < first + doc->arena_bytes;

	if (!inside) {
		free(piece);
	}
}

void codec_doc_destroy(codec_doc_t **doc_p)
{
	codec_doc_t *doc = *doc_p;

	if (doc == NULL) {
		return;
	}
	for (size_t i = 0; i < doc->message->field_count; i++) {
		for (size_t k = 0; k < doc->values[i].count; k++) {
			piece_free(doc, doc->values[i].items[k]);
		}
		free(doc->values[i].items);
		piece_free(doc, doc->values[i].data);
	}
	free(doc->arena);
	free(doc);
	*doc_p = NULL;
}

enum codec_type codec_doc_type(const codec_doc_t *doc)
{
	return doc->message->type;
}

/* ---- set ---- */

static struct codec_value *value_at(const codec_doc_t *doc, unsigned field, enum codec_kind kind)
{
	assert(field < doc->message->field_count);
	assert(doc->message->fields[field].kind == kind ||
	       (kind == CODEC_KIND_U64 && doc->message->fields[field].kind == CODEC_KIND_BOOL));
	(void)kind;
	return (struct codec_value *)&doc->values[field];
}

static void fail(codec_doc_t *doc, int error)
{
	if (doc->error == PR_OK) {
		doc->error = error;
	}
}

/* Room for a text and its end: each has at least a byte of its own before it in the frame. */
static uint8_t *piece_new(codec_doc_t *doc, size_t size_bytes)
{
	if (!doc->decoding || size_bytes > doc->arena_bytes - doc->arena_used_bytes) {
		return malloc(size_bytes);
	}
	uint8_t *piece = doc->arena + doc->arena_used_bytes;
	doc->arena_used_bytes += size_bytes;
	return piece;
}

/* A terminated copy; NULL with the document's error set. */
static uint8_t *copy_make(codec_doc_t *doc, const void *data, size_t size_bytes)
{
	uint8_t *copy;

	if (size_bytes > CODEC_DOC_MAX_BYTES) {
		fail(doc, PR_ETOOBIG);
		return NULL;
	}
	copy = piece_new(doc, size_bytes + 1);
	if (copy == NULL) {
		fail(doc, PR_ENOMEM);
		return NULL;
	}
	if (size_bytes > 0) {
		memcpy(copy, data, size_bytes);
	}
	copy[size_bytes] = 0;
	return copy;
}

void codec_doc_data_set(codec_doc_t *doc, struct codec_value *value, const void *data,
                        size_t size_bytes)
{
	uint8_t *copy = copy_make(doc, data, size_bytes);

	if (copy != NULL) {
		piece_free(doc, value->data);
		value->data = copy;
		value->size_bytes = size_bytes;
	}
}

void codec_doc_set_u64(codec_doc_t *doc, unsigned field, uint64_t value)
{
	struct codec_value *slot = value_at(doc, field, CODEC_KIND_U64);

	slot->number = doc->message->fields[field].kind == CODEC_KIND_BOOL ? value != 0 : value;
}

void codec_doc_set_text(codec_doc_t *doc, unsigned field, const char *text)
{
	struct codec_value *value = value_at(doc, field, CODEC_KIND_TEXT);

	codec_doc_data_set(doc, value, text, strlen(text));
	if (value->data != NULL) {
		codec_text_clean((char *)value->data, value->size_bytes);
	}
}

void codec_doc_set_uuid(codec_doc_t *doc, unsigned field, const struct pr_uuid *id)
{
	struct codec_value *value = value_at(doc, field, CODEC_KIND_UUID);

	codec_doc_data_set(doc, value, id->bytes, pr_uuid_is_null(id) ? 0 : sizeof(id->bytes));
}

void codec_doc_set_blob(codec_doc_t *doc, unsigned field, const void *data, size_t size_bytes)
{
	codec_doc_data_set(doc, value_at(doc, field, CODEC_KIND_BLOB), data, size_bytes);
}

void codec_doc_item_add(codec_doc_t *doc, unsigned field, const char *text, size_t size_bytes)
{
	struct codec_value *value = value_at(doc, field, CODEC_KIND_TEXTS);
	char *copy;

	if (value->count == CODEC_TEXTS_MAX) {
		fail(doc, PR_ETOOBIG);
		return;
	}
	if (value->count == value->room) {
		size_t room = value->room == 0 ? 8 : 2 * value->room;
		char **items = realloc(value->items, room * sizeof(*items));
		if (items == NULL) {
			fail(doc, PR_ENOMEM);
			return;
		}
		value->items = items;
		value->room = room;
	}
	copy = (char *)copy_make(doc, text, size_bytes);
	if (copy != NULL) {
		if (!doc->decoding) { /* what is decoded was looked at */
			codec_text_clean(copy, size_bytes);
		}
		value->items[value->count++] = copy;
	}
}

void codec_doc_add_text(codec_doc_t *doc, unsigned field, const char *text)
{
	codec_doc_item_add(doc, field, text, strlen(text));
}

void codec_doc_addf(codec_doc_t *doc, unsigned field, const char *format, ...)
{
	_cleanup_(pr_free) char *text = NULL;
	va_list args;
	int size_bytes;

	va_start(args, format);
	size_bytes = vasprintf(&text, format, args);
	va_end(args);
	if (size_bytes < 0) {
		text = NULL;
		fail(doc, PR_ENOMEM);
		return;
	}
	codec_doc_item_add(doc, field, text, (size_t)size_bytes);
}

/* ---- get ---- */

uint64_t codec_doc_u64(const codec_doc_t *doc, unsigned field)
{
	return value_at(doc, field, CODEC_KIND_U64)->number;
}

const char *codec_doc_text(const codec_doc_t *doc, unsigned field)
{
	const struct codec_value *value = value_at(doc, field, CODEC_KIND_TEXT);

	return value->data == NULL ? "" : (const char *)value->data;
}

struct pr_uuid codec_doc_uuid(const codec_doc_t *doc, unsigned field)
{
	const struct codec_value *value = value_at(doc, field, CODEC_KIND_UUID);
	struct pr_uuid id = { 0 };

	if (value->size_bytes == sizeof(id.bytes)) {
		memcpy(id.bytes, value->data, sizeof(id.bytes));
	}
	return id;
}

const uint8_t *codec_doc_blob(const codec_doc_t *doc, unsigned field, size_t *ret_bytes)
{
	const struct codec_value *value = value_at(doc, field, CODEC_KIND_BLOB);

	*ret_bytes = value->size_bytes;
	return value->data == NULL ? (const uint8_t *)"" : value->data;
}

size_t codec_doc_count(const codec_doc_t *doc, unsigned field)
{
	return value_at(doc, field, CODEC_KIND_TEXTS)->count;
}

const char *codec_doc_item(const codec_doc_t *doc, unsigned field, size_t index)
{
	const struct codec_value *value = value_at(doc, field, CODEC_KIND_TEXTS);

	return index < value->count ? value->items[index] : "";
}
