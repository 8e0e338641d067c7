/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy/internal.h"

#define SUGGEST_MAX_BYTES 32U
#define SHOWN_MAX_BYTES   40U

void policy_errors_add(struct policy_errors *errors, uint32_t line, uint32_t column,
                       const char *format, ...)
{
	errors->total++;
	if (errors->count == POLICY_ERRORS_MAX) {
		return;
	}
	struct policy_error *error = &errors->items[errors->count++];
	va_list args;
	va_start(args, format);
	(void)vsnprintf(error->message, sizeof(error->message), format, args);
	va_end(args);
	error->line = line;
	error->column = column;
}

static int compare_errors(const void *left, const void *right)
{
	const struct policy_error *a = left, *b = right;
	if (a->line != b->line) {
		return a->line < b->line ? -1 : 1;
	}
	return a->column == b->column ? 0 : a->column < b->column ? -1 : 1;
}

void policy_errors_sort(struct policy_errors *errors)
{
	qsort(errors->items, errors->count, sizeof(errors->items[0]), compare_errors);
}

static unsigned smallest(unsigned a, unsigned b, unsigned c)
{
	unsigned least = a < b ? a : b;
	return least < c ? least : c;
}

/* Edits (insert, remove, change, swap of neighbours) from one word to the other. */
static unsigned distance(const char *a, size_t a_bytes, const char *b, size_t b_bytes)
{
	unsigned rows[3][SUGGEST_MAX_BYTES + 1];
	unsigned *before = rows[0], *last = rows[1], *row = rows[2];
	for (unsigned j = 0; j <= b_bytes; j++) {
		last[j] = j;
		before[j] = 0;
	}
	for (unsigned i = 1; i <= a_bytes; i++) {
		row[0] = i;
		for (unsigned j = 1; j <= b_bytes; j++) {
			unsigned change = a[i - 1] != b[j - 1];
			row[j] = smallest(last[j] + 1, row[j - 1] + 1, last[j - 1] + change);
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
			    before[j - 2] + 1 < row[j]) {
				row[j] = before[j - 2] + 1;
			}
		}
		unsigned *free_row = before;
		before = last;
		last = row;
		row = free_row;
	}
	return last[b_bytes];
}

const char *policy_suggest(const char *word, const char *const *words, size_t count)
{
	size_t word_bytes = strlen(word);
	if (word_bytes == 0 || word_bytes > SUGGEST_MAX_BYTES) {
		return NULL;
	}
	unsigned best = word_bytes <= 2 ? 1 : word_bytes <= 5 ? 2 : 3;
	const char *nearest = NULL;
	best++;
	for (size_t i = 0; i < count; i++) {
		size_t bytes = strlen(words[i]);
		size_t gap = bytes > word_bytes ? bytes - word_bytes : word_bytes - bytes;
		if (bytes > SUGGEST_MAX_BYTES || gap >= best) {
			continue;
		}
		unsigned edits = distance(word, word_bytes, words[i], bytes);
		if (edits < best && edits < word_bytes) {
			best = edits;
			nearest = words[i];
		}
	}
	return nearest;
}

const char *policy_hint(const char *word, const char *const *words, size_t count, char *buffer,
                        size_t buffer_bytes)
{
	const char *nearest = policy_suggest(word, words, count);
	buffer[0] = '\0';
	if (nearest != NULL) {
		(void)snprintf(buffer, buffer_bytes, ", did you mean \"%s\"?", nearest);
	}
	return buffer;
}

int policy_shown_bytes(const char *text)
{
	size_t bytes = strnlen(text, SHOWN_MAX_BYTES + 1);
	if (bytes > SHOWN_MAX_BYTES) {
		bytes = SHOWN_MAX_BYTES;
		while (bytes > 0 && ((unsigned char)text[bytes] & 0xc0) == 0x80) {
			bytes--;
		}
	}
	return (int)bytes;
}

size_t policy_utf8_next(const char *text, size_t size_bytes, uint32_t *ret_code)
{
	static const uint32_t least[5] = { 0, 0, 0x80, 0x800, 0x10000 };
	unsigned char first = (unsigned char)text[0];
	size_t bytes = first < 0x80             ? 1
	               : (first & 0xe0) == 0xc0 ? 2
	               : (first & 0xf0) == 0xe0 ? 3
	               : (first & 0xf8) == 0xf0 ? 4
	                                        : 0;
	if (bytes == 0 || bytes > size_bytes) {
		return 0;
	}
	uint32_t code = bytes == 1 ? first : first & (0xffU >> (bytes + 1));
	for (size_t i = 1; i < bytes; i++) {
		unsigned char next = (unsigned char)text[i];
		if ((next & 0xc0) != 0x80) {
			return 0;
		}
		code = code << 6 | (next & 0x3f);
	}
	if (code < least[bytes] || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff)) {
		return 0;
	}
	*ret_code = code;
	return bytes;
}

bool policy_code_is_hostile(uint32_t code)
{
	static const struct {
		uint32_t first, last;
	} ranges[] = {
		{ 0x0000, 0x0008 }, { 0x000a, 0x001f },   { 0x007f, 0x009f },   { 0x00ad, 0x00ad },
		{ 0x034f, 0x034f }, { 0x061c, 0x061c },   { 0x115f, 0x1160 },   { 0x17b4, 0x17b5 },
		{ 0x180b, 0x180f }, { 0x200b, 0x200f },   { 0x2028, 0x202e },   { 0x2060, 0x206f },
		{ 0x3164, 0x3164 }, { 0xfe00, 0xfe0f },   { 0xfeff, 0xfeff },   { 0xffa0, 0xffa0 },
		{ 0xfff0, 0xfffb }, { 0x1d173, 0x1d17a }, { 0xe0000, 0xe0fff },
	};
	for (size_t i = 0; i < PR_ARRAY_LEN(ranges); i++) {
		if (code <= ranges[i].last) {
			return code >= ranges[i].first;
		}
	}
	return false;
}
