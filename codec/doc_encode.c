/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <msgpack.h>
#include <stdlib.h>

#include "base/err.h"
#include "codec/doc_internal.h"
#include "codec/internal.h"

static bool value_absent(const struct codec_value *value)
{
	return value->number == 0 && value->size_bytes == 0 && value->count == 0;
}

static int text_pack(msgpack_packer *packer, const char *text, size_t size_bytes)
{
	return msgpack_pack_str(packer, size_bytes) |
	       msgpack_pack_str_body(packer, text, size_bytes);
}

static int value_pack(msgpack_packer *packer, enum codec_kind kind, const struct codec_value *value)
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
