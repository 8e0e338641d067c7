/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <assert.h>

#include "codec/internal.h"

static int hex_digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Behind the mark: text as it is, all other bytes and '%' as %XX. */
static bool marked_format(const char *bytes, size_t count, char *text, size_t size_bytes)
{
	static const char digits[] = "0123456789ABCDEF";
	size_t valid_until = codec_text_valid(bytes, count);
	size_t used = 0;

	text[used++] = CODEC_BYTES_MARK;
	for (size_t at = 0; at < count; at++) {
		uint8_t byte = (uint8_t)bytes[at];
		bool plain = at < valid_until && byte != '%';
		if (used + (plain ? 1 : 3) >= size_bytes) {
			return false;
		}
		if (plain) {
			text[used++] = (char)byte;
			continue;
		}
		text[used++] = '%';
		text[used++] = digits[byte >> 4];
		text[used++] = digits[byte & 15];
		if (at == valid_until) {
			valid_until = at + 1 + codec_text_valid(bytes + at + 1, count - at - 1);
		}
	}
	text[used] = '\0';
	return true;
}

bool codec_bytes_format(const void *bytes, size_t count, char *text, size_t size_bytes)
{
	bool marked = count > 0 && *(const char *)bytes == CODEC_BYTES_MARK;
	bool good;

	if (marked || codec_text_valid(bytes, count) < count) {
		good = marked_format(bytes, count, text, size_bytes);
	} else {
		good = count < size_bytes;
		memcpy(text, bytes, good ? count : 0);
		text[good ? count : 0] = '\0';
	}
	text[0] = good ? text[0] : '\0';
	return good;
}

bool codec_bytes_parse(const char *text, char *bytes, size_t size_bytes, size_t *ret_count)
{
	bool marked = text[0] == CODEC_BYTES_MARK;
	size_t count = 0;

	for (text += marked; *text != '\0'; text++) {
		char byte = *text;
		if (marked && byte == '%') {
			int high = hex_digit(text[1]);
			int low = high < 0 ? -1 : hex_digit(text[2]);
			if (low < 0) {
				return false;
			}
			byte = (char)(high << 4 | low);
			text += 2;
		}
		if (count == size_bytes) {
			return false;
		}
		bytes[count++] = byte;
	}
	*ret_count = count;
	return true;
}

void codec_path_set(char *text, size_t size_bytes, const char *path)
{
	size_t path_bytes = strlen(path);
	struct pr_uuid id;

	assert(size_bytes >= CODEC_PATH_ID_BYTES);
	/* What is no path may not look like one of the other forms. */
	if (path[0] == '/' ? codec_bytes_format(path, path_bytes, text, size_bytes)
	                   : marked_format(path, path_bytes, text, size_bytes)) {
		return;
	}
	id = pr_uuid_of_bytes("exe", path, path_bytes);
	text[0] = '#';
	(void)pr_uuid_format(&id, text + 1);
}
