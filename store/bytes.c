/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "store/internal.h"

#define FORMAT         1
#define CHECKSUM_BYTES 4

/* FNV-1a, 64 bits folded to 32: against torn and rotten values, not against an enemy. */
static uint32_t checksum(const uint8_t *data, size_t size_bytes)
{
	uint64_t hash = 0xcbf29ce484222325ULL;
	for (size_t i = 0; i < size_bytes; i++) {
		hash = (hash ^ data[i]) * 0x100000001b3ULL;
	}
	return (uint32_t)(hash ^ hash >> 32);
}

uint64_t store_u64_load(const uint8_t *bytes)
{
	uint64_t number = 0;
	for (size_t i = 0; i < sizeof(number); i++) {
		number = number << 8 | bytes[i];
	}
	return number;
}

void store_u64_save(uint8_t *bytes, uint64_t number)
{
	for (size_t i = 0; i < sizeof(number); i++) {
		bytes[i] = (uint8_t)(number >> (56 - 8 * i));
	}
}

/* Room for more bytes, or NULL. */
static uint8_t *grow(struct store_writer *writer, size_t more_bytes)
{
	if (writer->err != PR_OK) {
		return NULL;
	}
	if (more_bytes > SIZE_MAX / 4 - writer->size_bytes) {
		writer->err = PR_ETOOBIG;
		return NULL;
	}
	size_t need = writer->size_bytes + more_bytes;
	if (need > writer->room_bytes) {
		size_t room = need + need / 2 + 256;
		uint8_t *data = realloc(writer->data, room);
		if (data == NULL) {
			writer->err = PR_ENOMEM;
			return NULL;
		}
		writer->data = data;
		writer->room_bytes = room;
	}
	uint8_t *at = writer->data + writer->size_bytes;
	writer->size_bytes = need;
	return at;
}

void store_writer_start(struct store_writer *writer)
{
	writer->size_bytes = 0;
	writer->err = PR_OK;
	store_write_u8(writer, FORMAT);
}

void store_writer_done(struct store_writer *writer)
{
	free(writer->data);
	*writer = (struct store_writer){ 0 };
}

void store_write_bytes(struct store_writer *writer, const void *data, size_t size_bytes)
{
	uint8_t *at = grow(writer, size_bytes);
	if (at != NULL && size_bytes > 0) {
		memcpy(at, data, size_bytes);
	}
}

void store_write_u8(struct store_writer *writer, uint8_t number)
{
	store_write_bytes(writer, &number, 1);
}

void store_write_u16(struct store_writer *writer, uint16_t number)
{
	store_write_bytes(writer, (uint8_t[]){ number >> 8, number & 0xff }, 2);
}

void store_write_u32(struct store_writer *writer, uint32_t number)
{
	store_write_u16(writer, number >> 16);
	store_write_u16(writer, number & 0xffff);
}

void store_write_u64(struct store_writer *writer, uint64_t number)
{
	uint8_t bytes[8];
	store_u64_save(bytes, number);
	store_write_bytes(writer, bytes, sizeof(bytes));
}

void store_write_uuid(struct store_writer *writer, const struct pr_uuid *id)
{
	store_write_bytes(writer, id->bytes, sizeof(id->bytes));
}

void store_write_blob(struct store_writer *writer, const void *data, size_t size_bytes)
{
	size_t left = size_bytes;
	while (left >= 0x80) {
		store_write_u8(writer, (left & 0x7f) | 0x80);
		left >>= 7;
	}
	store_write_u8(writer, (uint8_t)left);
	store_write_bytes(writer, data, size_bytes);
	store_write_u8(writer, 0);
}

void store_write_text(struct store_writer *writer, const char *text)
{
	const char *given = text != NULL ? text : "";
	store_write_blob(writer, given, strlen(given));
}

void store_writer_seal(struct store_writer *writer)
{
	store_write_u32(writer, checksum(writer->data, writer->size_bytes));
}

int store_reader_start(struct store_reader *reader, const void *data, size_t size_bytes)
{
	const uint8_t *bytes = data;

	*reader = (struct store_reader){ .err = PR_ECORRUPT };
	if (size_bytes < 1 + CHECKSUM_BYTES || bytes[0] != FORMAT) {
		return PR_ECORRUPT;
	}
	size_t content = size_bytes - CHECKSUM_BYTES;
	struct store_reader tail = { .at = bytes + content, .left_bytes = CHECKSUM_BYTES };
	if (store_read_u32(&tail) != checksum(bytes, content)) {
		return PR_ECORRUPT;
	}
	*reader = (struct store_reader){ .at = bytes + 1, .left_bytes = content - 1 };
	return PR_OK;
}

static const uint8_t *take(struct store_reader *reader, size_t size_bytes)
{
	if (reader->err != PR_OK || size_bytes > reader->left_bytes) {
		reader->err = PR_ECORRUPT;
		return NULL;
	}
	const uint8_t *at = reader->at;
	reader->at += size_bytes;
	reader->left_bytes -= size_bytes;
	return at;
}

void store_read_bytes(struct store_reader *reader, void *data, size_t size_bytes)
{
	const uint8_t *at = take(reader, size_bytes);
	if (at != NULL) {
		memcpy(data, at, size_bytes);
	} else {
		memset(data, 0, size_bytes);
	}
}

uint8_t store_read_u8(struct store_reader *reader)
{
	const uint8_t *at = take(reader, 1);
	return at != NULL ? at[0] : 0;
}

uint16_t store_read_u16(struct store_reader *reader)
{
	const uint8_t *at = take(reader, 2);
	return at != NULL ? (uint16_t)(at[0] << 8 | at[1]) : 0;
}

uint32_t store_read_u32(struct store_reader *reader)
{
	uint32_t high = store_read_u16(reader);
	return high << 16 | store_read_u16(reader);
}

uint64_t store_read_u64(struct store_reader *reader)
{
	const uint8_t *at = take(reader, 8);
	return at != NULL ? store_u64_load(at) : 0;
}

struct pr_uuid store_read_uuid(struct store_reader *reader)
{
	struct pr_uuid id;
	store_read_bytes(reader, id.bytes, sizeof(id.bytes));
	return id;
}

const uint8_t *store_read_blob(struct store_reader *reader, size_t *ret_bytes)
{
	size_t size_bytes = 0;
	unsigned shift = 0;
	uint8_t byte;

	*ret_bytes = 0;
	do {
		byte = store_read_u8(reader);
		if (shift > 28) {
			reader->err = PR_ECORRUPT;
		}
		if (reader->err != PR_OK) {
			return (const uint8_t *)"";
		}
		size_bytes |= (size_t)(byte & 0x7f) << shift;
		shift += 7;
	} while ((byte & 0x80) != 0);
	const uint8_t *at = take(reader, size_bytes + 1);
	if (at == NULL || at[size_bytes] != 0) {
		reader->err = PR_ECORRUPT;
		return (const uint8_t *)"";
	}
	*ret_bytes = size_bytes;
	return at;
}

const char *store_read_text(struct store_reader *reader)
{
	size_t size_bytes;
	const char *text = (const char *)store_read_blob(reader, &size_bytes);
	if (memchr(text, 0, size_bytes) != NULL) {
		reader->err = PR_ECORRUPT;
		return "";
	}
	return text;
}

void store_read_array(struct store_reader *reader, char *text, size_t size_bytes)
{
	const char *from = store_read_text(reader);
	size_t length = strlen(from);
	if (length >= size_bytes) {
		reader->err = PR_ECORRUPT;
		length = 0;
	}
	memcpy(text, from, length);
	memset(text + length, 0, size_bytes - length);
}

int store_reader_end(const struct store_reader *reader)
{
	return reader->err != PR_OK || reader->left_bytes != 0 ? PR_ECORRUPT : PR_OK;
}
