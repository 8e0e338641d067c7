/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <ctype.h>
#include <stdbool.h>
#include <string.h>

#include "base/man.h"

void pr_man_text(FILE *out, const char *text)
{
	bool at_start = true;

	for (; *text != '\0'; text++) {
		if (at_start && (*text == '.' || *text == '\'')) {
			(void)fputs("\\&", out);
		}
		at_start = *text == '\n';
		if (*text == '\\') {
			(void)fputs("\\e", out);
		} else if (*text == '-') {
			(void)fputs("\\-", out);
		} else {
			(void)fputc(*text, out);
		}
	}
}

void pr_man_begin(FILE *out, const char *name, char section, const char *summary)
{
	(void)fputs(".\\\" Made from the program's own tables.\n.TH ", out);
	for (const char *c = name; *c != '\0'; c++) {
		(void)fputc(toupper((unsigned char)*c), out);
	}
	(void)fprintf(out, " %c \"\" \"Portreeve %s\" \"Portreeve\"\n.SH NAME\n", section,
	              PACKAGE_VERSION);
	pr_man_text(out, name);
	(void)fputs(" \\- ", out);
	pr_man_text(out, summary);
	(void)fputc('\n', out);
}

void pr_man_section(FILE *out, const char *title)
{
	(void)fprintf(out, ".SH %s\n", title);
}

void pr_man_synopsis(FILE *out, const char *usage)
{
	pr_man_section(out, "SYNOPSIS");
	(void)fputs(".B ", out);
	pr_man_text(out, usage);
	(void)fputc('\n', out);
}

void pr_man_item(FILE *out, const char *tag, const char *text)
{
	(void)fputs(".TP\n.B ", out);
	pr_man_text(out, tag);
	(void)fputc('\n', out);
	pr_man_text(out, text);
	(void)fputc('\n', out);
}

void pr_man_examples(FILE *out, const struct pr_man_example *examples, size_t count)
{
	if (count > 0) {
		pr_man_section(out, "EXAMPLES");
	}
	for (size_t i = 0; i < count; i++) {
		pr_man_item(out, examples[i].command, examples[i].what);
	}
}

void pr_man_conf(FILE *out, const struct pr_conf_row *rows, size_t count, const char *path)
{
	pr_man_section(out, "CONFIGURATION");
	pr_man_text(out, "Lines \"name = value\" in ");
	pr_man_text(out, path);
	pr_man_text(out, ", or in the file that --config names; # begins a remark. "
	                 "--sample-config prints a file with every name, --dump-config what is in "
	                 "force. A wrong name or value stops the start, with file, line and "
	                 "reason.\n");
	for (size_t i = 0; i < count; i++) {
		const char *fallback = rows[i].fallback;
		pr_man_item(out, rows[i].name, rows[i].doc);
		(void)fputs(".br\n", out);
		pr_man_text(out, fallback == NULL      ? "Required."
		                 : fallback[0] == '\0' ? "Default: none."
		                                       : "Default: ");
		if (fallback != NULL && fallback[0] != '\0') {
			pr_man_text(out, fallback);
		}
		(void)fputc('\n', out);
	}
}
