/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <assert.h>
#include <langinfo.h>
#include <locale.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "cli/cli.h"

#define COLUMNS_MAX  16
#define ESCAPE_TIMES 10 /* a character of one byte becomes \u{10FFFF} at worst */

struct cell {
	char *text;
	enum cli_tint tint;
};

struct cli_table {
	const struct cli_style *style;
	FILE *out;
	const struct cli_column *columns;
	size_t column_count;
	unsigned widths[COLUMNS_MAX];
	bool titled;
	struct cell *cells;
	size_t cell_count, cell_room;
};

struct cli_style cli_style_of(FILE *out)
{
	const char *term = getenv("TERM");
	const char *no_color = getenv("NO_COLOR");
	struct cli_style style = { .now_wall_ns = pr_clock_wall_ns() };
	struct winsize size;

	(void)setlocale(LC_CTYPE, "");
	style.utf8 = strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
	style.terminal = fileno(out) >= 0 && isatty(fileno(out)) == 1;
	style.color = style.terminal && (no_color == NULL || no_color[0] == '\0') && term != NULL &&
	              term[0] != '\0' && strcmp(term, "dumb") != 0;
	if (style.terminal && ioctl(fileno(out), TIOCGWINSZ, &size) == 0) {
		style.columns = size.ws_col;
	}
	return style;
}

cli_table_t *cli_table_new(const struct cli_style *style, FILE *out,
                           const struct cli_column *columns, size_t count)
{
	cli_table_t *table = calloc(1, sizeof(*table));

	assert(count > 0 && count <= COLUMNS_MAX);
	if (table != NULL) {
		table->style = style;
		table->out = out;
		table->columns = columns;
		table->column_count = count;
	}
	return table;
}

static void cells_free(cli_table_t *table)
{
	for (size_t i = 0; i < table->cell_count; i++) {
		free(table->cells[i].text);
	}
	table->cell_count = 0;
}

void cli_table_destroy(cli_table_t **table_p)
{
	if (*table_p != NULL) {
		cells_free(*table_p);
		free((*table_p)->cells);
		free(*table_p);
		*table_p = NULL;
	}
}

/* Characters, as far as a terminal shows one column for each. */
static size_t characters(const char *text)
{
	size_t count = 0;

	for (; *text != '\0'; text++) {
		count += ((unsigned char)*text & 0xc0) != 0x80;
	}
	return count;
}

void cli_text_cut(char *text, size_t most)
{
	size_t at = 0, count = 0;

	if (most == 0 || characters(text) <= most) {
		return;
	}
	while (count + 1 < most) {
		at++;
		while (((unsigned char)text[at] & 0xc0) == 0x80) {
			at++;
		}
		count++;
	}
	text[at] = '~';
	text[at + 1] = '\0';
}

/* Nothing in it that is escaped: most cells, and a list has tens of thousands. */
static bool is_plain(const char *text)
{
	while (*text >= ' ' && *text <= '~') {
		text++;
	}
	return *text == '\0';
}

char *cli_text_escape(char *text)
{
	_cleanup_(pr_free) char *owned = text;

	if (is_plain(owned)) {
		return take_ptr(owned);
	}
	size_t room = ESCAPE_TIMES * strlen(text) + 1;
	char *shown = malloc(room);

	if (shown != NULL) {
		(void)pr_log_escape(text, shown, room);
	}
	return shown;
}

void cli_table_cell(cli_table_t *table, enum cli_tint tint, const char *format, ...)
{
	char *text = NULL;
	size_t column = table->cell_count % table->column_count;
	struct cell *cell;
	va_list args;

	va_start(args, format);
	if (vasprintf(&text, format, args) < 0) {
		text = NULL;
	}
	va_end(args);
	if (table->cell_count == table->cell_room) {
		size_t room = table->cell_room == 0 ? 64 : 2 * table->cell_room;
		struct cell *cells = realloc(table->cells, room * sizeof(*cells));
		if (cells == NULL) {
			free(text);
			return;
		}
		table->cells = cells;
		table->cell_room = room;
	}
	cell = &table->cells[table->cell_count++];
	*cell = (struct cell){ .tint = tint };
	if (text != NULL && text[0] == '\0') {
		free(text);
		text = strdup("-");
	}
	cell->text = text != NULL ? cli_text_escape(text) : NULL;
	if (cell->text != NULL) {
		if (table->style->terminal) {
			cli_text_cut(cell->text, table->columns[column].most);
		}
		size_t shown = characters(cell->text);
		if (shown > table->widths[column]) {
			table->widths[column] = (unsigned)shown;
		}
	}
}

static const char *tint_code(const struct cli_style *style, enum cli_tint tint)
{
	static const char *const codes[] = { [CLI_PLAIN] = "",
		                             [CLI_GOOD] = "\033[32m",
		                             [CLI_BAD] = "\033[1;31m",
		                             [CLI_WARN] = "\033[33m",
		                             [CLI_MUTED] = "\033[2m" };
	return style->color ? codes[tint] : "";
}

/* One line of cells; the last one is not padded and, on a terminal, cut at its edge. */
static void line_print(const cli_table_t *table, const struct cell *cells)
{
	size_t used = 0;

	for (size_t i = 0; i < table->column_count; i++) {
		bool last = i + 1 == table->column_count;
		char *text = cells[i].text;
		const char *code = tint_code(table->style, cells[i].tint);
		if (text == NULL) {
			continue;
		}
		if (last && table->style->columns > used) {
			cli_text_cut(text, table->style->columns - used);
		}
		(void)fputs(code, table->out);
		(void)fputs(text, table->out);
		(void)fputs(code[0] != '\0' ? "\033[0m" : "", table->out);
		if (!last) {
			fprintf(table->out, "%*s", (int)(table->widths[i] + 2U - characters(text)),
			        "");
		}
		used += table->widths[i] + 2U;
	}
	fputc('\n', table->out);
}

static void titles_print(cli_table_t *table)
{
	struct cell cells[COLUMNS_MAX];
	char texts[COLUMNS_MAX][32];

	for (size_t i = 0; i < table->column_count; i++) {
		(void)snprintf(texts[i], sizeof(texts[i]), "%s", table->columns[i].title);
		cells[i] = (struct cell){ .text = texts[i], .tint = CLI_MUTED };
		if (strlen(texts[i]) > table->widths[i]) {
			table->widths[i] = (unsigned)strlen(texts[i]);
		}
	}
	line_print(table, cells);
	table->titled = true;
}

void cli_table_widen(cli_table_t *table, const unsigned *usual)
{
	char time[CLI_TIME_BYTES];

	(void)cli_time_format(table->style, table->style->now_wall_ns, time);
	for (size_t i = 0; i < table->column_count; i++) {
		size_t wide = i == 0 ? strlen(time) : usual != NULL ? usual[i] : 0;
		if (wide > table->widths[i]) {
			table->widths[i] = (unsigned)wide;
		}
	}
}

void cli_table_flush(cli_table_t *table)
{
	if (!table->titled) {
		titles_print(table);
	}
	for (size_t i = 0; i + table->column_count <= table->cell_count; i += table->column_count) {
		line_print(table, table->cells + i);
	}
	cells_free(table);
	fflush(table->out);
}
