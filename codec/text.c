/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "codec/internal.h"

#define HIGH_BITS 0x8080808080808080ULL
#define ONES      0x0101010101010101ULL

/* Length of the character at @p at, 0 if it is not UTF-8. Source: Unicode 15, table 3-7. */
static size_t character_read(const uint8_t *at, size_t left_bytes, uint32_t *ret_code)
{
	uint8_t first = at[0];
	size_t size_bytes = first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
	uint32_t smallest[] = { 0, 0, 0x80, 0x800, 0x10000 };
	uint32_t code;

	if (first < 0x80) {
		*ret_code = first;
		return 1;
	}
	if (first < 0xc2 || first > 0xf4 || size_bytes > left_bytes) {
		return 0;
	}
	code = first & (0x7fU >> size_bytes);
	for (size_t i = 1; i < size_bytes; i++) {
		if ((at[i] & 0xc0) != 0x80) {
			return 0;
		}
		code = code << 6 | (at[i] & 0x3fU);
	}
	if (code < smallest[size_bytes] || (code >= 0xd800 && code < 0xe000) || code > 0x10ffff) {
		return 0;
	}
	*ret_code = code;
	return size_bytes;
}

/* Bytes at the beginning, taken eight at a time, that are ASCII and not NUL. */
static size_t plain_bytes(const char *text, size_t size_bytes)
{
	size_t at = 0;

	while (size_bytes - at >= sizeof(uint64_t)) {
		uint64_t word;
		memcpy(&word, text + at, sizeof(word));
		/* A high bit appears in a byte that is too large, or by borrow in one that is 0. */
		if (((word | (word - ONES)) & HIGH_BITS) != 0) {
			break;
		}
		at += sizeof(word);
	}
	return at;
}

size_t codec_text_valid(const char *text, size_t size_bytes)
{
	size_t at = plain_bytes(text, size_bytes);

	while (at < size_bytes) {
		uint32_t code;
		size_t taken = character_read((const uint8_t *)text + at, size_bytes - at, &code);
		if (taken == 0 || code == 0) {
			break;
		}
		at += taken;
		at += plain_bytes(text + at, size_bytes - at);
	}
	return at;
}

void codec_text_clean(char *text, size_t size_bytes)
{
	size_t at = codec_text_valid(text, size_bytes);

	while (at < size_bytes) {
		text[at++] = '?';
		at += codec_text_valid(text + at, size_bytes - at);
	}
}
