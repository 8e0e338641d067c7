/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <ctype.h>
#include <string.h>

#include "base/internal.h"

#define SAMPLE_COLUMNS 78

static const char *const type_words[] = {
	[PR_CONF_BOOL] = "yes or no",
	[PR_CONF_UINT] = "number",
	[PR_CONF_DURATION] = "duration (ns, us, ms, s, m, h, d)",
	[PR_CONF_SIZE] = "size (bytes, K, M, G, T)",
	[PR_CONF_STRING] = "text",
	[PR_CONF_PATH] = "absolute path",
	[PR_CONF_KEYFILE] = "absolute path of a key file, mode 0600",
	[PR_CONF_ENUM] = "one of",
	[PR_CONF_UUID] = "UUID",
	[PR_CONF_LIST] = "list: one line an item",
};

static void dump_list(const struct pr_conf_row *row, const struct pr_conf_list *list, FILE *out)
{
	for (size_t i = 0; i < list->count; i++) {
		(void)fprintf(out, "%s = ", row->name);
		conf_text_print(list->items[i], out);
		(void)fputc('\n', out);
	}
	if (list->count == 0) {
		(void)fprintf(out, "%s =\n", row->name);
	}
}

void pr_conf_dump(const struct pr_conf_row *rows, size_t count, const void *conf, FILE *out)
{
	for (size_t i = 0; i < count; i++) {
		const struct pr_conf_row *row = &rows[i];
		bool optional = row->fallback != NULL && row->fallback[0] == '\0';
		if (row->type == PR_CONF_LIST) {
			dump_list(row, (const void *)((const char *)conf + row->offset), out);
			continue;
		}
		if (optional && conf_value_is_none(row, conf)) {
			(void)fprintf(out, "%s =\n", row->name);
			continue;
		}
		(void)fprintf(out, "%s = ", row->name);
		conf_value_print(row, conf, out);
		(void)fputc('\n', out);
	}
}

/* Text as comment lines, broken at blanks. */
static void print_wrapped(const char *text, FILE *out)
{
	size_t column = 0;

	while (*text != '\0') {
		size_t length = strcspn(text, " ");
		if (column > 0 && column + 1 + length > SAMPLE_COLUMNS) {
			(void)fputc('\n', out);
			column = 0;
		}
		(void)fprintf(out, "%s%.*s", column == 0 ? "# " : " ", (int)length, text);
		column += length + (column == 0 ? 2 : 1);
		text += length;
		text += strspn(text, " ");
	}
	(void)fputc('\n', out);
}

static void print_kind(const struct pr_conf_row *row, FILE *out)
{
	bool number = row->type == PR_CONF_UINT || row->type == PR_CONF_DURATION ||
	              row->type == PR_CONF_SIZE;

	(void)fprintf(out, "# %s", type_words[row->type]);
	for (int i = 0; row->type == PR_CONF_ENUM && row->choices[i] != NULL; i++) {
		(void)fprintf(out, "%s %s", i > 0 ? "," : "", row->choices[i]);
	}
	if (row->unit != NULL) {
		(void)fprintf(out, ", in %s", row->unit);
	}
	if (number && (row->min != 0 || row->max != 0)) {
		(void)fputs(", ", out);
		conf_number_print(row->type, row->min, out);
		if (row->max != 0) {
			(void)fputs(" to ", out);
			conf_number_print(row->type, row->max, out);
		} else {
			(void)fputs(" or more", out);
		}
	}
	if (row->fallback == NULL) {
		(void)fputs("; required", out);
	} else if (row->fallback[0] == '\0') {
		(void)fputs("; default: none", out);
	}
	(void)fputc('\n', out);
}

void pr_conf_sample(const struct pr_conf_row *rows, size_t count, const char *program, FILE *out)
{
	(void)fprintf(
		out,
		"# Configuration of %s. Lines are: name = value. What is commented out is\n"
		"# the default. A value with a '#' or a blank at an end goes in \"quotes\".\n",
		program);
	for (size_t i = 0; i < count; i++) {
		const struct pr_conf_row *row = &rows[i];
		const char *fallback = row->fallback != NULL ? row->fallback : "";
		(void)fputc('\n', out);
		print_wrapped(row->doc, out);
		print_kind(row, out);
		while (row->type == PR_CONF_LIST && strchr(fallback, ',') != NULL) {
			size_t length = strcspn(fallback, ",");
			(void)fprintf(out, "#%s = %.*s\n", row->name, (int)length, fallback);
			fallback += length + 1;
			fallback += strspn(fallback, " ");
		}
		(void)fprintf(out, "#%s =%s%s\n", row->name, fallback[0] != '\0' ? " " : "",
		              fallback);
	}
}
