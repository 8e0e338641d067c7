/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What may not stand in a policy or a query itself stands there in quotes, as tables show it. */
#include <stdio.h>
#include <string.h>

#include "policy/internal.h"

static bool digits_read(const char *text, size_t count, uint32_t *ret_code)
{
	uint32_t code = 0;

	if (count < 1 || count > 6) {
		return false;
	}
	for (size_t i = 0; i < count; i++) {
		char c = text[i];
		unsigned digit = c >= '0' && c <= '9'   ? (unsigned)(c - '0')
		                 : c >= 'a' && c <= 'f' ? (unsigned)(c - 'a' + 10)
		                 : c >= 'A' && c <= 'F' ? (unsigned)(c - 'A' + 10)
		                                        : 16;
		if (digit == 16) {
			return false;
		}
		code = code * 16 + digit;
	}
	*ret_code = code;
	return code != 0 && code <= 0x10ffff && (code < 0xd800 || code > 0xdfff);
}

static size_t utf8_put(uint32_t code, char *to)
{
	size_t size_bytes = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
	static const uint8_t heads[] = { 0, 0, 0xc0, 0xe0, 0xf0 };

	for (size_t i = size_bytes; i > 1; i--, code >>= 6) {
		to[i - 1] = (char)(0x80 | (code & 0x3f));
	}
	to[0] = (char)(heads[size_bytes] | code);
	return size_bytes;
}

size_t policy_escape_read(const char *text, size_t size_bytes, char *to, size_t *bytes)
{
	uint32_t code = 0;
	size_t taken = 0;

	if (size_bytes >= 2 && (text[1] == '"' || text[1] == '\\')) {
		code = (uint32_t)text[1];
		taken = 2;
	} else if (size_bytes >= 4 && text[1] == 'x' && digits_read(text + 2, 2, &code) &&
	           code < 0x80) {
		taken = 4;
	} else if (size_bytes >= 4 && text[1] == 'u' && text[2] == '{') {
		const char *end = memchr(text, '}', size_bytes);
		if (end != NULL && digits_read(text + 3, (size_t)(end - text) - 3, &code)) {
			taken = (size_t)(end - text) + 1;
		}
	}
	*bytes += taken > 0 ? utf8_put(code, to + *bytes) : 0;
	return taken;
}

size_t policy_escape_format(const char *text, char shown[static POLICY_ESCAPE_BYTES])
{
	uint32_t code = 0;
	size_t taken = policy_utf8_next(text, strlen(text), &code);

	if (taken == 0) { /* no text of ours */
		taken = 1;
		(void)snprintf(shown, POLICY_ESCAPE_BYTES, "?");
	} else if (code == '"' || code == '\\') {
		(void)snprintf(shown, POLICY_ESCAPE_BYTES, "\\%c", text[0]);
	} else if (policy_code_is_hostile(code)) {
		(void)snprintf(shown, POLICY_ESCAPE_BYTES, code < 0x80 ? "\\x%02x" : "\\u{%x}",
		               (unsigned)code);
	} else {
		(void)snprintf(shown, POLICY_ESCAPE_BYTES, "%.*s", (int)taken, text);
	}
	return taken;
}

bool policy_text_is_hostile(const char *text)
{
	size_t left_bytes = strlen(text);
	uint32_t code = 0;

	while (left_bytes > 0) {
		size_t taken = policy_utf8_next(text, left_bytes, &code);
		if (taken == 0 || policy_code_is_hostile(code)) {
			return true;
		}
		text += taken;
		left_bytes -= taken;
	}
	return false;
}
