/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/internal.h"
#include "base/log.h"

#define LINE_MAX_BYTES  4096
#define LINES_MAX       100000
#define SUGGEST_CHANGES 2

/* One load: what is being read and how far it is. */
struct load {
	const struct pr_conf_row *rows;
	size_t count;
	const char *path; /* NULL: defaults only */
	void *conf;
	size_t line;      /* 1 is the first; 0: not in a line */
	size_t *given_at; /* by row: line that set it last; 0: default */
	struct pr_conf_error *error;
};

static void explain(struct load *load, size_t line, const char *format, ...) _printf_(3, 4);

static void explain(struct load *load, size_t line, const char *format, ...)
{
	char *text = load->error->text;
	size_t size_bytes = sizeof(load->error->text);
	const char *path = load->path != NULL ? load->path : "defaults";
	va_list args;

	/* The reason matters more than a long path. */
	if (line > 0) {
		(void)snprintf(text, size_bytes, "%.200s:%zu: ", path, line);
	} else {
		(void)snprintf(text, size_bytes, "%.200s: ", path);
	}
	size_t used = strlen(text);
	va_start(args, format);
	(void)vsnprintf(text + used, size_bytes - used, format, args);
	va_end(args);
}

static int load_value(struct load *load, const struct pr_conf_row *row, const char *text)
{
	char reason[CONF_REASON_BYTES] = "";
	int ret = conf_value_parse(row, text, load->conf, reason);

	if (ret != PR_OK) {
		explain(load, load->line, "%s", ret == PR_ENOMEM ? pr_strerror(ret) : reason);
	}
	return ret;
}

/* A list's default is its items with commas between. */
static int load_default_list(struct load *load, const struct pr_conf_row *row)
{
	_cleanup_(pr_free) char *copy = strdup(row->fallback);
	char *rest = copy;
	char *item;

	if (copy == NULL) {
		explain(load, 0, "%s", pr_strerror(PR_ENOMEM));
		return PR_ENOMEM;
	}
	while ((item = strsep(&rest, ",")) != NULL) {
		int ret = load_value(load, row, item + strspn(item, " "));
		if (ret != PR_OK) {
			return ret;
		}
	}
	return PR_OK;
}

static int load_defaults(struct load *load)
{
	for (size_t i = 0; i < load->count; i++) {
		const struct pr_conf_row *row = &load->rows[i];
		int ret = PR_OK;
		if (row->fallback == NULL || row->fallback[0] == '\0') {
			continue;
		}
		if (row->type == PR_CONF_LIST) {
			ret = load_default_list(load, row);
		} else {
			ret = load_value(load, row, row->fallback);
		}
		if (ret != PR_OK) {
			return ret;
		}
	}
	return PR_OK;
}

/* Levenshtein distance of two names, or a large number where one is long. */
static size_t distance(const char *a, const char *b)
{
	size_t row[65];
	size_t b_length = strlen(b);

	if (strlen(a) >= PR_ARRAY_LEN(row) || b_length >= PR_ARRAY_LEN(row)) {
		return SIZE_MAX;
	}
	for (size_t j = 0; j <= b_length; j++) {
		row[j] = j;
	}
	for (size_t i = 1; a[i - 1] != '\0'; i++) {
		size_t diagonal = row[0];
		row[0] = i;
		for (size_t j = 1; j <= b_length; j++) {
			size_t best = diagonal + (a[i - 1] != b[j - 1]);
			diagonal = row[j];
			best = row[j] + 1 < best ? row[j] + 1 : best;
			best = row[j - 1] + 1 < best ? row[j - 1] + 1 : best;
			row[j] = best;
		}
	}
	return row[b_length];
}

static int refuse_name(struct load *load, const char *name)
{
	const char *nearest = NULL;
	size_t fewest = SUGGEST_CHANGES + 1;
	char shown[64];

	for (size_t i = 0; i < load->count; i++) {
		size_t changes = distance(name, load->rows[i].name);
		if (changes < fewest) {
			fewest = changes;
			nearest = load->rows[i].name;
		}
	}
	pr_log_escape(name, shown, sizeof(shown));
	if (nearest != NULL) {
		explain(load, load->line, "unknown name '%s': did you mean '%s'?", shown, nearest);
	} else {
		explain(load, load->line, "unknown name '%s': --sample-config lists the names",
		        shown);
	}
	return PR_ECONF;
}

/* Take the quotes off; nothing but a comment may follow. */
static bool unquote(char *value)
{
	char *to = value;
	char *from = value + 1;

	while (*from != '"') {
		if (*from == '\\' && (from[1] == '"' || from[1] == '\\')) {
			from++;
		}
		if (*from == '\0') {
			return false;
		}
		*to++ = *from++;
	}
	from++;
	from += strspn(from, " \t");
	*to = '\0';
	return *from == '\0' || *from == '#';
}

/* Cut a comment (a '#' after a blank) and blanks off the end. */
static void cut_comment(char *value)
{
	char *end = value;

	for (; *end != '\0'; end++) {
		if (*end == '#' && (end == value || end[-1] == ' ' || end[-1] == '\t')) {
			break;
		}
	}
	while (end > value && (end[-1] == ' ' || end[-1] == '\t')) {
		end--;
	}
	*end = '\0';
}

static int set_row(struct load *load, size_t index, const char *value, bool quoted)
{
	const struct pr_conf_row *row = &load->rows[index];
	bool list = row->type == PR_CONF_LIST;
	size_t before = load->given_at[index];

	if (before != 0 && !list) {
		explain(load, load->line, "%s: given twice, first in line %zu", row->name, before);
		return PR_ECONF;
	}
	if (before == 0) {
		conf_value_clear(row, load->conf); /* the default gives way */
	}
	load->given_at[index] = load->line;
	if (value[0] != '\0' || (quoted && list)) {
		return load_value(load, row, value);
	}
	if (list || (row->fallback != NULL && row->fallback[0] == '\0')) {
		return PR_OK; /* none, said plainly */
	}
	explain(load, load->line, "%s: needs a value", row->name);
	return PR_ECONF;
}

static int load_setting(struct load *load, char *line)
{
	char *name = line + strspn(line, " \t");
	if (*name == '\0' || *name == '#') {
		return PR_OK;
	}
	char *equals = strchr(name, '=');
	if (equals == NULL) {
		explain(load, load->line, "not of the form: name = value");
		return PR_ECONF;
	}
	char *value = equals + 1 + strspn(equals + 1, " \t");
	*equals = '\0';
	name[strcspn(name, " \t")] = '\0';

	bool quoted = *value == '"';
	if (quoted && !unquote(value)) {
		explain(load, load->line, "the quote is not closed, or text follows it");
		return PR_ECONF;
	}
	if (!quoted) {
		cut_comment(value);
	}
	for (size_t i = 0; i < load->count; i++) {
		if (strcmp(load->rows[i].name, name) == 0) {
			return set_row(load, i, value, quoted);
		}
	}
	return refuse_name(load, name);
}

/* A line as getline() gave it: bounded, without its end and without control characters. */
static int load_line(struct load *load, char *line, size_t length)
{
	load->line++;
	if (length > 0 && line[length - 1] == '\n') {
		line[--length] = '\0';
	}
	if (length > LINE_MAX_BYTES || load->line > LINES_MAX) {
		explain(load, load->line, "longer than %d bytes or %d lines", LINE_MAX_BYTES,
		        LINES_MAX);
		return PR_ECONF;
	}
	for (size_t i = 0; i < length; i++) {
		unsigned char byte = (unsigned char)line[i];
		if ((byte < 0x20 && byte != '\t') || byte == 0x7f) {
			explain(load, load->line, "control character \\x%02x in column %zu", byte,
			        i + 1);
			return PR_ECONF;
		}
	}
	return load_setting(load, line);
}

static void file_close(FILE **file_p)
{
	if (*file_p != NULL) {
		(void)fclose(*file_p);
		*file_p = NULL;
	}
}

static int load_file(struct load *load)
{
	_cleanup_(file_close) FILE *file = fopen(load->path, "re");
	_cleanup_(pr_free) char *line = NULL;
	size_t room = 0;
	ssize_t length = 0;
	int ret = PR_OK;

	if (file == NULL) {
		explain(load, 0, "cannot open: %s", pr_strerror(-errno));
		return PR_ECONF;
	}
	while (ret == PR_OK && (length = getline(&line, &room, file)) >= 0) {
		ret = load_line(load, line, (size_t)length);
	}
	if (ret == PR_OK && ferror(file) != 0) {
		explain(load, 0, "cannot read: %s", pr_strerror(-errno));
		ret = PR_ECONF;
	}
	load->line = 0;
	return ret;
}

/* What can only be judged when all lines are read. */
static int check_whole(struct load *load)
{
	for (size_t i = 0; i < load->count; i++) {
		const struct pr_conf_row *row = &load->rows[i];
		if (row->fallback == NULL && load->given_at[i] == 0) {
			explain(load, 0, "%s is required: %s", row->name, row->doc);
			return PR_ECONF;
		}
		if (row->type != PR_CONF_LIST) {
			continue;
		}
		const struct pr_conf_list *list =
			(const void *)((const char *)load->conf + row->offset);
		if (list->count < row->min || (row->max != 0 && list->count > row->max)) {
			explain(load, load->given_at[i],
			        "%s: given %zu times, allowed are %" PRIu64 " to %" PRIu64,
			        row->name, list->count, row->min,
			        row->max != 0 ? row->max : UINT64_MAX);
			return PR_ECONF;
		}
	}
	return PR_OK;
}

static int check_key_files(struct load *load)
{
	for (size_t i = 0; i < load->count; i++) {
		const struct pr_conf_row *row = &load->rows[i];
		char reason[CONF_REASON_BYTES] = "";
		const char *path;
		if (row->type != PR_CONF_KEYFILE) {
			continue;
		}
		memcpy(&path, (const char *)load->conf + row->offset, sizeof(path));
		if (path == NULL) {
			continue;
		}
		int ret = conf_key_file_check(path, reason);
		if (ret != PR_OK) {
			explain(load, load->given_at[i], "%s: %s", row->name, reason);
			return ret;
		}
	}
	return PR_OK;
}

int pr_conf_load(const struct pr_conf_row *rows, size_t count, const char *path, void *conf,
                 struct pr_conf_error *ret_error)
{
	struct load load = {
		.rows = rows, .count = count, .path = path, .conf = conf, .error = ret_error
	};
	_cleanup_(pr_free) size_t *given_at = calloc(count + 1, sizeof(*given_at));

	if (given_at == NULL) {
		explain(&load, 0, "%s", pr_strerror(PR_ENOMEM));
		return PR_ENOMEM;
	}
	load.given_at = given_at;
	int ret = load_defaults(&load);
	if (ret == PR_OK && path != NULL) {
		ret = load_file(&load);
	}
	if (ret == PR_OK) {
		ret = check_whole(&load);
	}
	return ret == PR_OK ? check_key_files(&load) : ret;
}

void pr_conf_done(const struct pr_conf_row *rows, size_t count, void *conf)
{
	for (size_t i = 0; i < count; i++) {
		conf_value_clear(&rows[i], conf);
	}
}
