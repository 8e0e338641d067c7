/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Options, commands, help, times. */

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/err.h"
#include "cli/cli.h"
#include "tests/tap.h"

static struct cli_options options;
static const struct cli_command *command;
static char said[4096];

/* Words up to NULL behind "portreeve". */
static int parse(const char *first, ...)
{
	const char *argv[80] = { "portreeve", first };
	FILE *err = fmemopen(said, sizeof(said), "w");
	int argc = 2, status;
	va_list args;

	va_start(args, first);
	while (argc < 80 && (argv[argc] = va_arg(args, const char *)) != NULL) {
		argc++;
	}
	va_end(args);
	memset(said, 0, sizeof(said));
	status = cli_options_parse(first == NULL ? 1 : argc, argv, err, &options, &command);
	fclose(err);
	return status;
}

static void test_commands(void)
{
	ok(parse("events", NULL) == CLI_DONE && strcmp(command->name, "events") == 0, "a command");
	ok(parse("policy", "log", NULL) == CLI_DONE && strcmp(command->sub, "log") == 0,
	   "a command of two words");
	ok(parse("policy", "lgo", NULL) == CLI_USAGE && strstr(said, "'policy lgo'") != NULL &&
	           strstr(said, "did you mean 'log'") != NULL,
	   "a wrong second word has a suggestion");
	ok(parse("event", NULL) == CLI_USAGE && strstr(said, "did you mean 'events'") != NULL,
	   "a wrong first word too");
	ok(parse("policy", NULL) == CLI_USAGE &&
	           strstr(said, "check list show edit add rm") != NULL,
	   "a missing second word lists them");
	ok(parse("\033[2J", NULL) == CLI_USAGE && strchr(said, '\033') == NULL,
	   "an unknown word is escaped");
	ok(parse(NULL, NULL) == CLI_DONE && command == NULL, "no command at all");
	ok(parse("--version", NULL) == CLI_DONE && options.version, "--version in front");
	ok(parse("show", NULL) == CLI_USAGE && strstr(said, "usage: portreeve show NAME") != NULL,
	   "a missing word shows the usage");
	ok(parse("status", "now", NULL) == CLI_USAGE, "a word too many");
	ok(parse("policy", "--help", NULL) == CLI_DONE && strcmp(command->name, "help") == 0 &&
	           strcmp(options.words[0], "policy") == 0,
	   "policy --help is the help of policy");
}

static void test_options(void)
{
	ok(parse("events", "-f", "--since", "1h", "-n", "7", "--json", NULL) == CLI_DONE &&
	           options.follow && options.json && strcmp(options.since, "1h") == 0 &&
	           strcmp(options.limit, "7") == 0 && options.word_count == 0,
	   "options and their values");
	ok(parse("events", "-n7", "--until=2h", "src.name:web", NULL) == CLI_DONE &&
	           strcmp(options.limit, "7") == 0 && strcmp(options.until, "2h") == 0 &&
	           options.word_count == 1,
	   "a value may stand at its option");
	ok(parse("events", "-user:root", "-nobody", "-f", NULL) == CLI_DONE && options.follow &&
	           options.word_count == 2 && strcmp(options.words[0], "-user:root") == 0 &&
	           strcmp(options.words[1], "-nobody") == 0 && options.limit == NULL,
	   "in a query a dash in front of a term is NOT");
	ok(parse("hosts", "-user:root", NULL) == CLI_USAGE, "elsewhere it is an unknown option");
	ok(parse("events", "--", "-f", NULL) == CLI_DONE && !options.follow &&
	           strcmp(options.words[0], "-f") == 0,
	   "behind -- all are words");
	ok(parse("status", "-f", NULL) == CLI_USAGE && strstr(said, "unknown option '-f'") != NULL,
	   "an option of another command is refused");
	ok(parse("events", "--since", NULL) == CLI_USAGE &&
	           strstr(said, "a value is missing behind 'since'") != NULL,
	   "a missing value");
	ok(parse("events", "--json=yes", NULL) == CLI_USAGE, "a flag takes no value");
	ok(parse("--config", "/x", "--json", "status", NULL) == CLI_DONE && options.json &&
	           strcmp(options.config, "/x") == 0,
	   "options of all commands may stand in front");
	ok(parse("policy", "commit", "-m", "why not", "file", "--force", NULL) == CLI_DONE &&
	           strcmp(options.message, "why not") == 0 && options.force &&
	           strcmp(options.words[0], "file") == 0,
	   "a commit with its message and file");
	ok(parse("policy", "import", "-", NULL) == CLI_DONE && strcmp(options.words[0], "-") == 0,
	   "a dash alone is a word: standard input");
}

static void test_help(void)
{
	size_t count = 0, size_bytes = 0;
	const struct cli_command *all = cli_commands(&count);
	char *text = NULL;
	FILE *out = open_memstream(&text, &size_bytes);
	bool named = true, ran = true;

	cli_help_print(out, NULL);
	for (size_t i = 0; i < count; i++) {
		cli_help_print(out, &all[i]);
	}
	fclose(out);
	for (size_t i = 0; i < count; i++) {
		named &= strstr(text, all[i].summary) != NULL;
		ran &= all[i].run != NULL && all[i].arguments != NULL;
	}
	ok(named && ran, "all %zu commands run and stand in the help", count);
	ok(strstr(text, "--since TIME") != NULL && strstr(text, "-n, --limit N") != NULL,
	   "the help of a command names its options");
	for (const char *line = text; *line != '\0'; line += strcspn(line, "\n") + 1) {
		named &= strcspn(line, "\n") <= 120;
	}
	ok(named, "no line of the help is longer than 120 columns");
	free(text);
}

#define NOW (1795476245ULL * PR_NS_PER_S) /* 2026-11-23T23:24:05Z */

static bool time_is(const char *text, const char *wanted)
{
	uint64_t wall_ns = 0;
	char shown[PR_CLOCK_TEXT_BYTES];

	if (cli_time_parse(text, NOW, &wall_ns) < 0) {
		return wanted == NULL;
	}
	return wanted != NULL && strcmp(pr_clock_format(wall_ns, shown), wanted) == 0;
}

static void test_times(void)
{
	uint64_t s = 0;

	ok(time_is("90s", "2026-11-23T23:22:35.000Z") &&
	           time_is("15m", "2026-11-23T23:09:05.000Z") &&
	           time_is("2h", "2026-11-23T21:24:05.000Z") &&
	           time_is("3d", "2026-11-20T23:24:05.000Z") &&
	           time_is("1w", "2026-11-16T23:24:05.000Z"),
	   "so long ago");
	ok(time_is("now", "2026-11-23T23:24:05.000Z") &&
	           time_is("today", "2026-11-23T00:00:00.000Z") &&
	           time_is("yesterday", "2026-11-22T00:00:00.000Z") &&
	           time_is("15:40", "2026-11-23T15:40:00.000Z") &&
	           time_is("5:40", "2026-11-23T05:40:00.000Z"),
	   "words and clock times");
	ok(time_is("2026-11-20", "2026-11-20T00:00:00.000Z") &&
	           time_is("2026-11-20T10:00:00+02:00", "2026-11-20T08:00:00.000Z"),
	   "dates and RFC 3339");
	setenv("TZ", "CET-1", 1);
	tzset();
	ok(time_is("15:40", "2026-11-23T14:40:00.000Z") &&
	           time_is("0:20", "2026-11-23T23:20:00.000Z") &&
	           time_is("today", "2026-11-23T23:00:00.000Z"),
	   "words and clock times are local, and clock times before now");
	setenv("TZ", "UTC", 1);
	tzset();
	ok(time_is("", NULL) && time_is("5", NULL) && time_is("5x", NULL) && time_is("-5m", NULL) &&
	           time_is("25:00", NULL) && time_is("15:4", NULL) && time_is("15:60", NULL) &&
	           time_is("tomorrow", NULL) && time_is("99999999999d", NULL) &&
	           time_is("999999999w", NULL) && time_is("1h30m", NULL),
	   "anything else is no time");
	ok(cli_duration_parse("1h", &s) == PR_OK && s == 3600 &&
	           cli_duration_parse("2d", &s) == PR_OK && s == 172800,
	   "lengths of time");
	ok(cli_duration_parse("h", &s) == PR_EINVAL && cli_duration_parse("", &s) == PR_EINVAL &&
	           cli_duration_parse("1 h", &s) == PR_EINVAL && s == 172800,
	   "anything else is none");
}

int main(void)
{
	setenv("TZ", "UTC", 1);
	test_commands();
	test_options();
	test_help();
	test_times();
	return tap_done();
}
