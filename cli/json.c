/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdlib.h>

#include "base/clock.h"
#include "cli/cli.h"

json_t *cli_json_text(const char *text)
{
	return text[0] == '\0' ? json_null() : json_string(text);
}

json_t *cli_json_uuid(const struct pr_uuid *id)
{
	char text[PR_UUID_TEXT_BYTES];

	return pr_uuid_is_null(id) ? json_null() : json_string(pr_uuid_format(id, text));
}

json_t *cli_json_time(uint64_t wall_ns)
{
	char text[PR_CLOCK_TEXT_BYTES];

	return wall_ns == 0 ? json_null() : json_string(pr_clock_format(wall_ns, text));
}

json_t *cli_json_texts(const codec_doc_t *doc, unsigned field)
{
	json_t *list = json_array();

	for (size_t i = 0; list != NULL && i < codec_doc_count(doc, field); i++) {
		(void)json_array_append_new(list, json_string(codec_doc_item(doc, field, i)));
	}
	return list;
}

/* In one piece: jansson writes to a file in pieces of a few bytes. */
static bool value_print(const json_t *value, FILE *out)
{
	static char *text;
	static size_t room;
	size_t flags = JSON_COMPACT | JSON_ENCODE_ANY;
	size_t bytes = value != NULL ? json_dumpb(value, text, room, flags) : 0;

	if (bytes > room) {
		char *grown = realloc(text, 2 * bytes);
		if (grown == NULL) {
			return false;
		}
		text = grown;
		room = 2 * bytes;
		bytes = json_dumpb(value, text, room, flags);
	}
	return bytes > 0 && fwrite(text, 1, bytes, out) == bytes;
}

bool cli_json_print(json_t *object, FILE *out)
{
	bool good = value_print(object, out) && fputc('\n', out) != EOF;

	json_decref(object);
	return good;
}

bool cli_json_value_print(json_t *value, FILE *out)
{
	bool good = value_print(value, out);

	json_decref(value);
	return good;
}

/* Nothing in it that JSON escapes: most texts, and a list has a hundred thousand of them. */
static size_t plain_bytes(const char *text)
{
	const char *at = text;

	while (*at >= ' ' && *at <= '~' && *at != '"' && *at != '\\') {
		at++;
	}
	return *at == '\0' ? (size_t)(at - text) : 0;
}

bool cli_json_text_print(const char *text, FILE *out)
{
	size_t bytes = plain_bytes(text);

	if (bytes == 0) {
		return cli_json_value_print(cli_json_text(text), out);
	}
	return putc_unlocked('"', out) != EOF && fwrite_unlocked(text, 1, bytes, out) == bytes &&
	       putc_unlocked('"', out) != EOF;
}

bool cli_json_member_print(const char *before, const char *text, FILE *out)
{
	return fputs_unlocked(before, out) != EOF && cli_json_text_print(text, out);
}
