/* SPDX-License-Identifier: GPL-2.0-or-later */
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

bool cli_json_print(json_t *object, FILE *out)
{
	bool good = object != NULL && json_dumpf(object, out, JSON_COMPACT) == 0 &&
	            fputc('\n', out) != EOF;

	json_decref(object);
	return good;
}
