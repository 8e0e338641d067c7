/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/** @file Shared inside codec/. Bytes, text checks, the pre-scan and the limits of documents. */

#include <endian.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/defs.h"
#include "codec/codec.h"

#define CODEC_DEPTH_MAX     4U      /* frame, map, list, and one for what we do not know */
#define CODEC_OBJECTS_MAX   131072U /* in one document; msgpack-c takes 24 bytes for each */
#define CODEC_KEYS_MAX      64U     /* fields of one document, known or not */
#define CODEC_TEXTS_MAX     65536U  /* items of one TEXTS field */
#define CODEC_VERSION       (CODEC_VERSION_MAJOR << 8 | CODEC_VERSION_MINOR)
#define CODEC_PATH_ID_BYTES 38U /* "#", a UUID in text form and the terminator */
#define CODEC_BYTES_MARK    ':' /* in front of bytes that are no text */

static inline uint16_t codec_load_be16(const uint8_t *from)
{
	uint16_t value;
	memcpy(&value, from, sizeof(value));
	return be16toh(value);
}

static inline uint32_t codec_load_be32(const uint8_t *from)
{
	uint32_t value;
	memcpy(&value, from, sizeof(value));
	return be32toh(value);
}

static inline uint64_t codec_load_be64(const uint8_t *from)
{
	uint64_t value;
	memcpy(&value, from, sizeof(value));
	return be64toh(value);
}

static inline void codec_store_be16(uint8_t *to, uint16_t value)
{
	value = htobe16(value);
	memcpy(to, &value, sizeof(value));
}

static inline void codec_store_be32(uint8_t *to, uint32_t value)
{
	value = htobe32(value);
	memcpy(to, &value, sizeof(value));
}

static inline void codec_store_be64(uint8_t *to, uint64_t value)
{
	value = htobe64(value);
	memcpy(to, &value, sizeof(value));
}

/**
 * What a text may hold: valid UTF-8 without NUL. Length of its longest beginning that is so;
 * size_bytes when all of it is.
 */
size_t codec_text_valid(const char *text, size_t size_bytes);

/** Put '?' in the place of each byte that no text may hold. */
void codec_text_clean(char *text, size_t size_bytes);

/**
 * Walk a frame without allocation and refuse what could make a MessagePack library reserve more
 * than the frame is worth: counts over the bytes left, depth, object count, bytes behind the end.
 * Source: MessagePack specification, "Formats".
 */
int codec_prescan(const uint8_t *data, size_t size_bytes) _must_check_;
