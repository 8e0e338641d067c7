/* SPDX-License-Identifier: GPL-2.0-or-later */

/* A connection with both ends as people and programs read it. */

#include <stdlib.h>

#include "base/err.h"
#include "cli/cli.h"
#include "tests/cli/chain.h"
#include "tests/tap.h"

static const struct cli_style pipe_style = { .now_wall_ns = CHAIN_TIME };

static char *table_of(const struct cli_style *style, bool wide, codec_doc_t **rows, size_t count)
{
	_cleanup_(cli_table_destroy) cli_table_t *table = NULL;
	size_t column_count, size_bytes = 0;
	const struct cli_column *columns = cli_joined_columns(style, wide, &column_count);
	char *text = NULL;
	FILE *out = open_memstream(&text, &size_bytes);

	table = cli_table_new(style, out, columns, column_count);
	for (size_t i = 0; i < count; i++) {
		struct cli_joined joined;
		if (cli_joined_read(rows[i], &joined) == PR_OK) {
			cli_joined_cells(&joined, style, wide, table);
		}
	}
	cli_table_flush(table);
	fclose(out);
	return text;
}

static bool text_is(const char *text, const char *wanted)
{
	if (strcmp(text, wanted) != 0) {
		printf("# got\n%s# wanted\n%s", text, wanted);
		return false;
	}
	return true;
}

static size_t widest(const char *text)
{
	size_t most = 0, at = 0;

	for (; *text != '\0'; text++) {
		at = *text == '\n' ? 0 : at + (((unsigned char)*text & 0xc0) != 0x80);
		most = at > most ? at : most;
	}
	return most;
}

static void test_table(codec_doc_t **rows)
{
	struct cli_style terminal = {
		.terminal = true, .utf8 = true, .columns = 80, .now_wall_ns = CHAIN_TIME
	};
	_cleanup_(pr_free) char *narrow = table_of(&terminal, false, rows, 4);
	ok(text_is(narrow, "TIME      SOURCE        BY            TARGET        BY            SERV"
	                   "ICE   STA~\n"
	                   "23:24:05  mymacbook     macuser curl  dockersrv     root docker~  tcp/"
	                   "8000  \u2713 \u2713\n"
	                   "23:24:05  dockersrv     root docker~  wordpress_a~  root apache2  tcp/"
	                   "80    \u2713 \u2713\n"
	                   "23:24:05  wordpress_a~  www-data ap~  wordpress_d~  mysql maria~  tcp/"
	                   "3306  \u2713 \u2713\n"
	                   "23:24:05  dockersrv     root docker~  wordpress_a~  (not seen)    tcp/"
	                   "80    \u2713 -\n"),
	   "80 columns");
	ok(widest(narrow) <= 80, "which no line passes: %zu", widest(narrow));
	terminal.columns = 120;
	_cleanup_(pr_free) char *normal = table_of(&terminal, false, rows, 4);
	ok(text_is(normal, "TIME      SOURCE                 BY                 TARGET            "
	                   "     BY                 SERVICE   STATUS     RULE\n"
	                   "23:24:05  mymacbook              macuser curl       dockersrv         "
	                   "     root docker-proxy  tcp/8000  \u2713 ALLOWED  #10\n"
	                   "23:24:05  dockersrv              root docker-proxy  wordpress_apache_1"
	                   "(C)  root apache2       tcp/80    \u2713 ALLOWED  #20\n"
	                   "23:24:05  wordpress_apache_1(C)  www-data apache2   wordpress_db_1(C) "
	                   "     mysql mariadbd     tcp/3306  \u2713 ALLOWED  #30 ~\n"
	                   "23:24:05  dockersrv              root docker-proxy  wordpress_apache_1"
	                   "(C)  (not seen)         tcp/80    \u2713 ALLOWED  #20\n"),
	   "120 columns");
	ok(widest(normal) <= 120, "which no line passes: %zu", widest(normal));
	_cleanup_(pr_free) char *plain = table_of(&pipe_style, false, rows, 4);
	ok(text_is(plain, "TIME                      SOURCE                 BY                 TA"
	                  "RGET                 BY                 SERVICE   STATUS     RULE     "
	                  "               MISSING           CONNECTION\n"
	                  "2026-11-23T23:24:05.123Z  mymacbook              macuser curl       do"
	                  "ckersrv              root docker-proxy  tcp/8000  + ALLOWED  #10      "
	                  "               -                 00000000000000a0\n"
	                  "2026-11-23T23:24:05.124Z  dockersrv              root docker-proxy  wo"
	                  "rdpress_apache_1(C)  root apache2       tcp/80    + ALLOWED  #20      "
	                  "               -                 00000000000000a1\n"
	                  "2026-11-23T23:24:05.126Z  wordpress_apache_1(C)  www-data apache2   wo"
	                  "rdpress_db_1(C)      mysql mariadbd     tcp/3306  + ALLOWED  #30 Allow"
	                  " MySQL server  -                 00000000000000a2\n"
	                  "2026-11-23T23:24:05.124Z  dockersrv              root docker-proxy  wo"
	                  "rdpress_apache_1(C)  (not seen)         tcp/80    + ALLOWED  #20      "
	                  "               far end not seen  00000000000000a1\n"),
	   "a pipe gets it uncut, with what is missing and the id");
	_cleanup_(pr_free) char *wide = table_of(&pipe_style, true, rows, 4);
	ok(strstr(wide, "TARGET IP") != NULL && strstr(wide, "192.0.2.2:3306") != NULL, "wide");
}

static void test_json(codec_doc_t **rows)
{
	struct cli_joined joined;

	ok(cli_joined_read(rows[2], &joined) == PR_OK, "a row with both ends is read");
	json_t *object = cli_joined_json(&joined);
	json_t *near_end = json_object_get(object, "initiator");
	json_t *far_end = json_object_get(object, "terminator");
	const char *near_user = NULL, *far_user = NULL, *near_host = NULL, *far_agent = NULL;
	ok(json_unpack(near_end, "{s:{s:s}}", "user", "name", &near_user) == 0 &&
	           json_unpack(far_end, "{s:{s:s}, s:s}", "user", "name", &far_user, "agent",
	                       &far_agent) == 0 &&
	           json_unpack(object, "{s:{s:s}}", "src", "host", &near_host) == 0 &&
	           strcmp(near_user, "www-data") == 0 && strcmp(far_user, "mysql") == 0 &&
	           strcmp(near_host, "dockersrv") == 0 && far_agent[1] == '2' &&
	           json_is_true(json_object_get(object, "joined")) &&
	           json_is_null(json_object_get(object, "missing")),
	   "both ends are whole events, each with its own agent, user and rule");
	json_decref(object);
	ok(cli_joined_read(rows[3], &joined) == PR_OK, "a row with one end is read");
	object = cli_joined_json(&joined);
	ok(json_is_false(json_object_get(object, "joined")) &&
	           json_is_null(json_object_get(object, "terminator")) &&
	           strcmp(json_string_value(json_object_get(object, "missing")),
	                  "far end not seen") == 0,
	   "what is missing is null, and said");
	json_decref(object);
	codec_doc_set_blob(rows[0], CODEC_EVENT_ROW_FAR_EVENT, "short", 5);
	ok(cli_joined_read(rows[0], &joined) == PR_EMALF,
	   "a far end that is no event is malformed");
}

static void test_hostile(void)
{
	codec_doc_t *row = chain_row(1, true);
	_cleanup_(pr_free) char *text = table_of(&pipe_style, true, &row, 1);

	ok(strchr(text, '\033') == NULL && strstr(text, "evil\\x1b[2J") != NULL &&
	           widest(text) > 0 && strchr(strchr(text, '\n') + 1, '\n')[1] == '\0',
	   "control characters of a name are escaped: one line stays one line");
	codec_doc_destroy(&row);
}

/* Every reason has its word and its sentence. */
static void test_reasons(void)
{
	bool good = true;

	for (unsigned join = 0; join <= CODEC_JOIN_CROWDED; join++) {
		_cleanup_(codec_doc_destroy) codec_doc_t *row = chain_row_alone(join);
		struct cli_joined joined;
		const char *sentence;
		good = good && cli_joined_read(row, &joined) == PR_OK;
		const char *word = cli_joined_missing(&joined, &sentence);
		good = good && word != NULL && strcmp(word, "?") != 0 &&
		       strcmp(sentence, "?") != 0 && (join <= CODEC_JOIN_LATE || word[0] != '\0');
	}
	ok(good, "each reason has a word and a sentence");
	_cleanup_(codec_doc_destroy) codec_doc_t *row = chain_row_alone(1000);
	struct cli_joined joined;
	const char *sentence;
	ok(cli_joined_read(row, &joined) == PR_OK &&
	           strcmp(cli_joined_missing(&joined, &sentence), "?") == 0,
	   "one of a newer recorder is not guessed");
}

int main(void)
{
	setenv("TZ", "UTC", 1);
	codec_doc_t *rows[] = { chain_row(0, false), chain_row(1, false), chain_row(2, false),
		                chain_row_alone(CODEC_JOIN_FAR_UNSEEN) };

	test_table(rows);
	test_json(rows);
	test_hostile();
	test_reasons();
	for (size_t i = 0; i < PR_ARRAY_LEN(rows); i++) {
		codec_doc_destroy(&rows[i]);
	}
	return tap_done();
}
