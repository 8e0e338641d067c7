/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <msgpack.h>
#include <stdlib.h>

#include "base/err.h"
#include "codec/doc_internal.h"
#include "codec/internal.h"

static bool text_good(const msgpack_object *object)
{
	return object->type == MSGPACK_OBJECT_STR &&
	       codec_text_valid(object->via.str.ptr, object->via.str.size) == object->via.str.size;
}

static bool texts_read(codec_doc_t *doc, unsigned field, const msgpack_object *object)
{
	struct codec_value *value = &doc->values[field];

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
		codec_doc_item_add(doc, field, item->via.str.ptr, item->via.str.size);
	}
	return true;
}

/* False: not of the field's type. Lack of memory is left in the document. */
static bool value_read(codec_doc_t *doc, unsigned field, const msgpack_object *object)
{
	struct codec_value *value = &doc->values[field];

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
		codec_doc_data_set(doc, value, object->via.str.ptr, object->via.str.size);
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
	codec_doc_data_set(doc, value, object->via.bin.ptr, object->via.bin.size);
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
