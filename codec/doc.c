/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <assert.h>
#include <msgpack.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "codec/internal.h"

#define FIELDS_MAX 64 /* a bit each, see map_read() */

struct value {
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
	struct value values[];
};

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

static struct value *value_at(const codec_doc_t *doc, unsigned field, enum codec_kind kind)
{
	assert(field < doc->message->field_count);
	assert(doc->message->fields[field].kind == kind ||
	       (kind == CODEC_KIND_U64 && doc->message->fields[field].kind == CODEC_KIND_BOOL));
	(void)kind;
	return (struct value *)&doc->values[field];
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

static void data_set(codec_doc_t *doc, struct value *value, const void *data, size_t size_bytes)
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
	struct value *slot = value_at(doc, field, CODEC_KIND_U64);

	slot->number = doc->message->fields[field].kind == CODEC_KIND_BOOL ? value != 0 : value;
}

void codec_doc_set_text(codec_doc_t *doc, unsigned field, const char *text)
{
	struct value *value = value_at(doc, field, CODEC_KIND_TEXT);

	data_set(doc, value, text, strlen(text));
	if (value->data != NULL) {
		codec_text_clean((char *)value->data, value->size_bytes);
	}
}

void codec_doc_set_uuid(codec_doc_t *doc, unsigned field, const struct pr_uuid *id)
{
	struct value *value = value_at(doc, field, CODEC_KIND_UUID);

	data_set(doc, value, id->bytes, pr_uuid_is_null(id) ? 0 : sizeof(id->bytes));
}

void codec_doc_set_blob(codec_doc_t *doc, unsigned field, const void *data, size_t size_bytes)
{
	data_set(doc, value_at(doc, field, CODEC_KIND_BLOB), data, size_bytes);
}

static void item_add(codec_doc_t *doc, unsigned field, const char *text, size_t size_bytes)
{
	struct value *value = value_at(doc, field, CODEC_KIND_TEXTS);
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
	item_add(doc, field, text, strlen(text));
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
	item_add(doc, field, text, (size_t)size_bytes);
}

/* ---- get ---- */

uint64_t codec_doc_u64(const codec_doc_t *doc, unsigned field)
{
	return value_at(doc, field, CODEC_KIND_U64)->number;
}

const char *codec_doc_text(const codec_doc_t *doc, unsigned field)
{
	const struct value *value = value_at(doc, field, CODEC_KIND_TEXT);

	return value->data == NULL ? "" : (const char *)value->data;
}

struct pr_uuid codec_doc_uuid(const codec_doc_t *doc, unsigned field)
{
	const struct value *value = value_at(doc, field, CODEC_KIND_UUID);
	struct pr_uuid id = { 0 };

	if (value->size_bytes == sizeof(id.bytes)) {
		memcpy(id.bytes, value->data, sizeof(id.bytes));
	}
	return id;
}

const uint8_t *codec_doc_blob(const codec_doc_t *doc, unsigned field, size_t *ret_bytes)
{
	const struct value *value = value_at(doc, field, CODEC_KIND_BLOB);

	*ret_bytes = value->size_bytes;
	return value->data == NULL ? (const uint8_t *)"" : value->data;
}

size_t codec_doc_count(const codec_doc_t *doc, unsigned field)
{
	return value_at(doc, field, CODEC_KIND_TEXTS)->count;
}

const char *codec_doc_item(const codec_doc_t *doc, unsigned field, size_t index)
{
	const struct value *value = value_at(doc, field, CODEC_KIND_TEXTS);

	return index < value->count ? value->items[index] : "";
}

/* ---- encode ---- */

static bool value_absent(const struct value *value)
{
	return value->number == 0 && value->size_bytes == 0 && value->count == 0;
}

static int text_pack(msgpack_packer *packer, const char *text, size_t size_bytes)
{
	return msgpack_pack_str(packer, size_bytes) |
	       msgpack_pack_str_body(packer, text, size_bytes);
}

static int value_pack(msgpack_packer *packer, enum codec_kind kind, const struct value *value)
{
	int failed = 0;

	switch (kind) {
	case CODEC_KIND_U64:
		return msgpack_pack_uint64(packer, value->number);
	case CODEC_KIND_BOOL:
		return msgpack_pack_true(packer);
	case CODEC_KIND_TEXT:
		return text_pack(packer, (const char *)value->data, value->size_bytes);
	case CODEC_KIND_UUID:
	case CODEC_KIND_BLOB:
		return msgpack_pack_bin(packer, value->size_bytes) |
		       msgpack_pack_bin_body(packer, value->data, value->size_bytes);
	default:
		break;
	}
	failed |= msgpack_pack_array(packer, value->count);
	for (size_t i = 0; i < value->count; i++) {
		failed |= text_pack(packer, value->items[i], strlen(value->items[i]));
	}
	return failed;
}

static int doc_pack(const codec_doc_t *doc, msgpack_packer *packer)
{
	const struct codec_field *fields = doc->message->fields;
	size_t count = 0;
	int failed = 0;

	for (size_t i = 0; i < doc->message->field_count; i++) {
		count += !value_absent(&doc->values[i]);
	}
	failed |= msgpack_pack_array(packer, 3);
	failed |= msgpack_pack_fix_uint16(packer, (uint16_t)doc->message->type);
	failed |= msgpack_pack_fix_uint16(packer, CODEC_VERSION);
	failed |= msgpack_pack_map(packer, count);
	for (size_t i = 0; i < doc->message->field_count; i++) {
		if (!value_absent(&doc->values[i])) {
			failed |= text_pack(packer, fields[i].name, strlen(fields[i].name));
			failed |= value_pack(packer, fields[i].kind, &doc->values[i]);
		}
	}
	return failed;
}

int codec_doc_encode(const codec_doc_t *doc, uint8_t **ret_data, size_t *ret_bytes)
{
	msgpack_sbuffer buffer;
	msgpack_packer packer;
	int ret = doc->error;

	if (ret < 0) {
		return ret;
	}
	msgpack_sbuffer_init(&buffer);
	msgpack_packer_init(&packer, &buffer, msgpack_sbuffer_write);
	if (doc_pack(doc, &packer) != 0) {
		ret = PR_ENOMEM;
	} else if (buffer.size > CODEC_DOC_MAX_BYTES) {
		ret = PR_ETOOBIG;
	} else {
		*ret_bytes = buffer.size;
		*ret_data = (uint8_t *)msgpack_sbuffer_release(&buffer);
	}
	msgpack_sbuffer_destroy(&buffer);
	return ret;
}

#define HEAD_BYTES (1 + 3 + 3) /* array of three, type, version, as doc_pack() makes them */

/* What stands before the fields. */
static int head_take(const uint8_t *data, size_t size_bytes, size_t *ret_head_bytes,
                     uint32_t *ret_fields)
{
	if (size_bytes <= HEAD_BYTES) {
		return PR_EMALF;
	}
	if ((data[HEAD_BYTES] & 0xf0) == 0x80) {
		*ret_fields = data[HEAD_BYTES] & 0x0f;
		*ret_head_bytes = HEAD_BYTES + 1;
	} else if (data[HEAD_BYTES] == 0xde && size_bytes >= HEAD_BYTES + 3) {
		*ret_fields = (uint32_t)data[HEAD_BYTES + 1] << 8 | data[HEAD_BYTES + 2];
		*ret_head_bytes = HEAD_BYTES + 3;
	} else {
		return PR_EMALF;
	}
	return PR_OK;
}

int codec_doc_encode_behind(const codec_doc_t *doc, const uint8_t *before, size_t before_bytes,
                            uint8_t **ret_data, size_t *ret_bytes)
{
	_cleanup_(pr_free) uint8_t *more = NULL;
	size_t more_bytes = 0, head_bytes = 0, more_head_bytes = 0;
	uint32_t fields = 0, more_fields = 0;
	enum codec_type type;

	int ret = codec_frame_type(before, before_bytes, &type);
	if (ret == PR_OK) {
		ret = type == doc->message->type ? codec_doc_encode(doc, &more, &more_bytes)
		                                 : PR_EMALF;
	}
	if (ret == PR_OK) {
		ret = head_take(before, before_bytes, &head_bytes, &fields);
	}
	if (ret == PR_OK) {
		ret = head_take(more, more_bytes, &more_head_bytes, &more_fields);
	}
	if (ret != PR_OK) {
		return ret;
	}
	size_t size_bytes =
		HEAD_BYTES + 3 + (before_bytes - head_bytes) + (more_bytes - more_head_bytes);
	if (size_bytes > CODEC_DOC_MAX_BYTES || fields + more_fields > CODEC_KEYS_MAX) {
		return PR_ETOOBIG;
	}
	uint8_t *data = malloc(size_bytes), *at = data;
	if (data == NULL) {
		return PR_ENOMEM;
	}
	memcpy(at, more, HEAD_BYTES);
	at += HEAD_BYTES;
	*at++ = 0xde;
	*at++ = (uint8_t)((fields + more_fields) >> 8);
	*at++ = (uint8_t)(fields + more_fields);
	memcpy(at, before + head_bytes, before_bytes - head_bytes);
	memcpy(at + before_bytes - head_bytes, more + more_head_bytes,
	       more_bytes - more_head_bytes);
	*ret_data = data;
	*ret_bytes = size_bytes;
	return PR_OK;
}

/* ---- decode ---- */

static bool text_good(const msgpack_object *object)
{
	return object->type == MSGPACK_OBJECT_STR &&
	       codec_text_valid(object->via.str.ptr, object->via.str.size) == object->via.str.size;
}

static bool texts_read(codec_doc_t *doc, unsigned field, const msgpack_object *object)
{
	struct value *value = &doc->values[field];

	if (object->type != MSGPACK_OBJECT_ARRAY || object->via.array.size > CODEC_TEXTS_MAX) {
		return false;
	}
	if (object->via.array.size > 0 && value->items == NULL) {
		value->room = object->via.array.size;
		value->items = malloc(value->room * sizeof(*value->items));
		value->room = value->items != NULL ? value->room : 0;
	}
	for (uint32_t i = 0; i < object->via.array.size; i++) {
		const msgpack_object *item = &object->via.array.ptr[i];
		if (!text_good(item)) {
			return false;
		}
		item_add(doc, field, item->via.str.ptr, item->via.str.size);
	}
	return true;
}

/* False: not of the field's type. Lack of memory is left in the document. */
static bool value_read(codec_doc_t *doc, unsigned field, const msgpack_object *object)
{
	struct value *value = &doc->values[field];

	switch (doc->message->fields[field].kind) {
	case CODEC_KIND_U64:
		if (object->type != MSGPACK_OBJECT_POSITIVE_INTEGER) {
			return false;
		}
		value->number = object->via.u64;
		return true;
	case CODEC_KIND_BOOL:
		if (object->type != MSGPACK_OBJECT_BOOLEAN) {
			return false;
		}
		value->number = object->via.boolean;
		return true;
	case CODEC_KIND_TEXT:
		if (!text_good(object)) {
			return false;
		}
		data_set(doc, value, object->via.str.ptr, object->via.str.size);
		return true;
	case CODEC_KIND_TEXTS:
		return texts_read(doc, field, object);
	case CODEC_KIND_UUID:
		if (object->type != MSGPACK_OBJECT_BIN || object->via.bin.size != PR_UUID_BYTES) {
			return false;
		}
		break;
	default:
		if (object->type != MSGPACK_OBJECT_BIN) {
			return false;
		}
	}
	data_set(doc, value, object->via.bin.ptr, object->via.bin.size);
	return true;
}

static bool key_equal(const msgpack_object *key, const char *name, size_t size_bytes)
{
	return key->via.str.size == size_bytes && memcmp(key->via.str.ptr, name, size_bytes) == 0;
}

static bool key_is_new(const msgpack_object_map *map, uint32_t index)
{
	const msgpack_object *key = &map->ptr[index].key;

	for (uint32_t i = 0; i < index; i++) {
		if (key_equal(key, map->ptr[i].key.via.str.ptr, map->ptr[i].key.via.str.size)) {
			return false;
		}
	}
	return true;
}

/* The field of this name; field_count: none. Encoders keep the table's order: look there first. */
static unsigned field_find(const struct codec_message *message, const msgpack_object *key,
                           unsigned expected)
{
	unsigned field = expected;

	for (unsigned i = 0; i < message->field_count; i++, field++) {
		field = field < message->field_count ? field : 0;
		if (key_equal(key, message->fields[field].name,
		              strlen(message->fields[field].name))) {
			return field;
		}
	}
	return (unsigned)message->field_count;
}

static int map_read(codec_doc_t *doc, const msgpack_object_map *map)
{
	uint64_t seen = 0;
	unsigned field = 0;

	if (map->size > CODEC_KEYS_MAX) {
		return PR_EMALF;
	}
	for (uint32_t i = 0; i < map->size; i++) {
		const msgpack_object *key = &map->ptr[i].key;

		if (key->type != MSGPACK_OBJECT_STR) {
			return PR_EMALF;
		}
		unsigned found = field_find(doc->message, key, field);
		if (found == doc->message->field_count) {
			if (!key_is_new(map, i)) {
				return PR_EMALF;
			}
			continue;
		}
		if ((seen >> found & 1) != 0 || !value_read(doc, found, &map->ptr[i].val)) {
			return PR_EMALF;
		}
		seen |= 1ULL << found;
		field = found + 1;
	}
	return doc->error;
}

static int unpack(const uint8_t *data, size_t size_bytes, msgpack_unpacked *unpacked)
{
	size_t at = 0;

	switch (msgpack_unpack_next(unpacked, (const char *)data, size_bytes, &at)) {
	case MSGPACK_UNPACK_SUCCESS:
		return at == size_bytes ? PR_OK : PR_EMALF;
	case MSGPACK_UNPACK_NOMEM_ERROR:
		return PR_ENOMEM;
	default:
		return PR_EMALF;
	}
}

int codec_doc_decode(const uint8_t *data, size_t size_bytes, codec_doc_t **ret_doc)
{
	_cleanup_(codec_doc_destroy) codec_doc_t *doc = NULL;
	_cleanup_(msgpack_unpacked_destroy) msgpack_unpacked unpacked;
	enum codec_type type;
	int ret = codec_frame_type(data, size_bytes, &type);

	msgpack_unpacked_init(&unpacked);
	if (ret < 0) {
		return ret;
	}
	if (size_bytes > CODEC_DOC_MAX_BYTES || codec_record_bytes(type) != 0 ||
	    codec_prescan(data, size_bytes) < 0) {
		return PR_EMALF;
	}
	ret = unpack(data, size_bytes, &unpacked);
	if (ret < 0) {
		return ret;
	}
	/* codec_frame_type() saw an array of three. */
	if (unpacked.data.via.array.ptr[2].type != MSGPACK_OBJECT_MAP) {
		return PR_EMALF;
	}
	doc = codec_doc_new(type);
	if (doc == NULL) {
		return PR_ENOMEM;
	}
	doc->arena = malloc(size_bytes);
	doc->arena_bytes = doc->arena != NULL ? size_bytes : 0;
	doc->decoding = true;
	ret = map_read(doc, &unpacked.data.via.array.ptr[2].via.map);
	doc->decoding = false;
	if (ret < 0) {
		return ret;
	}
	*ret_doc = take_ptr(doc);
	return PR_OK;
}
