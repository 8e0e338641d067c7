/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <ctype.h>
#include <string.h>

#include "base/log.h"
#include "cli/cli.h"
#include "policy/policy.h"

#define FIELD(member) offsetof(struct cli_options, member)

const struct cli_option cli_option_rows[_CLI_OPTION_MAX] = {
	[CLI_OPTION_CONFIG] = { "config", 0, "FILE", "read the configuration from FILE",
	                        FIELD(config) },
	[CLI_OPTION_JSON] = { "json", 0, NULL, "one JSON object a line", FIELD(json) },
	[CLI_OPTION_HELP] = { "help", 'h', NULL, "print this text and exit", FIELD(help) },
	[CLI_OPTION_VERSION] = { "version", 0, NULL, "print the version and exit", FIELD(version) },
	[CLI_OPTION_WIDE] = { "wide", 'w', NULL, "all columns", FIELD(wide) },
	[CLI_OPTION_FOLLOW] = { "follow", 'f', NULL, "go on with what comes", FIELD(follow) },
	[CLI_OPTION_SINCE] = { "since", 0, "TIME",
	                       "from TIME on: 90s 15m 2h 3d ago, today, yesterday, 15:40, "
	                       "2026-11-23, RFC 3339",
	                       FIELD(since) },
	[CLI_OPTION_UNTIL] = { "until", 0, "TIME", "before TIME", FIELD(until) },
	[CLI_OPTION_LIMIT] = { "limit", 'n', "N", "the newest N; 0: all", FIELD(limit) },
	[CLI_OPTION_DENIED] = { "denied", 0, NULL, "only denied, rejected and would-deny",
	                        FIELD(denied) },
	[CLI_OPTION_JOINED] = { "joined", 0, NULL, "one row a connection, with both of its ends",
	                        FIELD(joined) },
	[CLI_OPTION_MESSAGE] = { "message", 'm', "TEXT", "why, for the log", FIELD(message) },
	[CLI_OPTION_FORCE] = { "force", 0, NULL, "do it though it is refused otherwise",
	                       FIELD(force) },
	[CLI_OPTION_OFFLINE] = { "offline", 0, NULL, "do not ask the controller", FIELD(offline) },
	[CLI_OPTION_ROLE] = { "role", 0, "ROLE",
	                      "agent (default), recorder, admin, viewer or subscriber",
	                      FIELD(role) },
	[CLI_OPTION_NAME] = { "name", 0, "NAME", "whom it is for", FIELD(name) },
	[CLI_OPTION_LIFE] = { "for", 0, "TIME", "how long, like 90s 15m 2h 3d; a token: else 1h",
	                      FIELD(life) },
	[CLI_OPTION_PENDING] = { "pending", 0, NULL, "needs `agent approve` afterwards",
	                         FIELD(pending) },
	[CLI_OPTION_KEY] = { "key", 0, "FILE", "write the new key to FILE", FIELD(key) },
	[CLI_OPTION_REASON] = { "reason", 0, "TEXT", "why, for the audit log", FIELD(reason) },
	[CLI_OPTION_CONFIRM_WITHIN] = { "confirm-within", 0, "TIME",
	                                "goes back by itself unless `policy confirm` comes within",
	                                FIELD(confirm_within) },
	[CLI_OPTION_BASE] = { "base", 0, "REVISION",
	                      "what the text was made from; else the one in force", FIELD(base) },
	[CLI_OPTION_USER] = { "user", 0, "USER", "user of the initiator", FIELD(user) },
	[CLI_OPTION_PROCESS] = { "process", 0, "PATH", "executable of the initiator",
	                         FIELD(process) },
	[CLI_OPTION_TO_USER] = { "to-user", 0, "USER", "user of the terminator", FIELD(to_user) },
	[CLI_OPTION_TO_PROCESS] = { "to-process", 0, "PATH", "executable of the terminator",
	                            FIELD(to_process) },
	[CLI_OPTION_FROM] = { "from", 0, "WHO", "whom may it reach?", FIELD(from) },
	[CLI_OPTION_TO] = { "to", 0, "WHO", "who may reach it?", FIELD(to) },
	[CLI_OPTION_DRAFT] = { "draft", 0, NULL, "by your draft, not by the policy in force",
	                       FIELD(draft) },
	[CLI_OPTION_MAN] = { "man", 0, NULL, "the manual page, for man(1)", FIELD(man) },
};

#define COMMON (1U << CLI_OPTION_CONFIG | 1U << CLI_OPTION_JSON | 1U << CLI_OPTION_HELP)

/* ---- which command ---- */

static bool name_is_known(const char *name)
{
	size_t count;
	const struct cli_command *commands = cli_commands(&count);

	for (size_t i = 0; i < count; i++) {
		if (strcmp(commands[i].name, name) == 0) {
			return true;
		}
	}
	return false;
}

static const struct cli_command *command_find(const char *name, const char *sub)
{
	size_t count;
	const struct cli_command *commands = cli_commands(&count);

	for (size_t i = 0; i < count; i++) {
		if (strcmp(commands[i].name, name) == 0 &&
		    (commands[i].sub == NULL ||
		     (sub != NULL && strcmp(commands[i].sub, sub) == 0))) {
			return &commands[i];
		}
	}
	return NULL;
}

static int say_unknown(FILE *err, const char *name, const char *sub)
{
	const char *words[64];
	const char *wrong = name_is_known(name) ? sub : name;
	size_t count, used = 0;
	const struct cli_command *commands = cli_commands(&count);
	const char *nearest;
	char shown[128];

	for (size_t i = 0; i < count && used < PR_ARRAY_LEN(words); i++) {
		if (wrong == name) {
			words[used++] = commands[i].name;
		} else if (strcmp(commands[i].name, name) == 0) {
			words[used++] = commands[i].sub;
		}
	}
	if (wrong == NULL) {
		fprintf(err, "portreeve: %s needs a word behind it, one of:", name);
		for (size_t i = 0; i < used; i++) {
			fprintf(err, " %s", words[i]);
		}
		fputc('\n', err);
		return CLI_USAGE;
	}
	nearest = policy_suggest(wrong, words, used);
	fprintf(err, "portreeve: unknown command '%s%s%s'", wrong == name ? "" : name,
	        wrong == name ? "" : " ", pr_log_escape(wrong, shown, sizeof(shown)));
	if (nearest != NULL) {
		fprintf(err, ", did you mean '%s'?", nearest);
	}
	fputs(" See `portreeve help`.\n", err);
	return CLI_USAGE;
}

/* ---- options ---- */

struct parser {
	int argc, at;
	const char *const *argv;
	FILE *err;
	const struct cli_command *command;
	struct cli_options *options;
};

static bool allowed(const struct parser *parser, enum cli_option_id id)
{
	uint32_t bits = COMMON | 1U << CLI_OPTION_VERSION;

	if (parser->command != NULL) {
		bits = COMMON | parser->command->options;
	}
	return (bits >> id & 1U) != 0;
}

static int say_option(const struct parser *parser, const char *what, const char *word)
{
	char shown[128];

	fprintf(parser->err, "portreeve: %s '%s'. See `portreeve help%s%s`.\n", what,
	        pr_log_escape(word, shown, sizeof(shown)), parser->command != NULL ? " " : "",
	        parser->command != NULL ? parser->command->name : "");
	return CLI_USAGE;
}

/* @p value: what stood behind "=" or the letter; NULL: nothing. */
static int option_take(struct parser *parser, enum cli_option_id id, const char *value)
{
	const struct cli_option *row = &cli_option_rows[id];
	char *slot = (char *)parser->options + row->offset;
	bool yes = true;

	if (row->argument == NULL) {
		if (value != NULL) {
			return say_option(parser, "this option takes no value:", row->name);
		}
		memcpy(slot, &yes, sizeof(yes));
		return CLI_DONE;
	}
	if (value == NULL) {
		if (parser->at + 1 >= parser->argc) {
			return say_option(parser, "a value is missing behind", row->name);
		}
		value = parser->argv[++parser->at];
	}
	memcpy(slot, &value, sizeof(value));
	return CLI_DONE;
}

static int long_option(struct parser *parser, const char *word)
{
	const char *name = word + 2;
	size_t length = strcspn(name, "=");

	for (int id = 0; id < _CLI_OPTION_MAX; id++) {
		const char *known = cli_option_rows[id].name;
		if (allowed(parser, (enum cli_option_id)id) && strlen(known) == length &&
		    memcmp(known, name, length) == 0) {
			return option_take(parser, (enum cli_option_id)id,
			                   name[length] == '=' ? name + length + 1 : NULL);
		}
	}
	return say_option(parser, "unknown option", word);
}

/* "-f", "-n 50", "-n50"; @p ret_is_word: a term of a query. */
static int short_option(struct parser *parser, const char *word, bool *ret_is_word)
{
	bool query = parser->command != NULL && parser->command->query;

	for (int id = 0; id < _CLI_OPTION_MAX; id++) {
		const struct cli_option *row = &cli_option_rows[id];
		if (row->letter != word[1] || !allowed(parser, (enum cli_option_id)id)) {
			continue;
		}
		if (word[2] == '\0') {
			return option_take(parser, (enum cli_option_id)id, NULL);
		}
		if (row->argument != NULL && (!query || isdigit((unsigned char)word[2]) != 0)) {
			return option_take(parser, (enum cli_option_id)id, word + 2);
		}
	}
	if (query && word[2] != '\0') {
		*ret_is_word = true;
		return CLI_DONE;
	}
	return say_option(parser, "unknown option", word);
}

static int word_take(struct parser *parser, const char *word)
{
	if (parser->options->word_count == CLI_WORDS_MAX) {
		fprintf(parser->err, "portreeve: more than %d words; put the query in quotes\n",
		        CLI_WORDS_MAX);
		return CLI_USAGE;
	}
	parser->options->words[parser->options->word_count++] = word;
	return CLI_DONE;
}

static int words_read(struct parser *parser)
{
	bool ended = false;
	int status = CLI_DONE;

	for (; status == CLI_DONE && parser->at < parser->argc; parser->at++) {
		const char *word = parser->argv[parser->at];
		bool is_word = ended || word[0] != '-' || word[1] == '\0';
		if (!is_word && strcmp(word, "--") == 0) {
			ended = true;
			continue;
		}
		if (!is_word) {
			status = word[1] == '-' ? long_option(parser, word)
			                        : short_option(parser, word, &is_word);
		}
		if (is_word && status == CLI_DONE) {
			status = word_take(parser, word);
		}
	}
	return status;
}

static int words_check(const struct parser *parser)
{
	const struct cli_command *command = parser->command;
	size_t count = parser->options->word_count;

	if (parser->options->help || (count >= command->words_min && count <= command->words_max)) {
		return CLI_DONE;
	}
	fprintf(parser->err, "portreeve: usage: portreeve %s%s%s %s\n", command->name,
	        command->sub != NULL ? " " : "", command->sub != NULL ? command->sub : "",
	        command->arguments);
	return CLI_USAGE;
}

int cli_options_parse(int argc, const char *const *argv, FILE *err, struct cli_options *ret_options,
                      const struct cli_command **ret_command)
{
	struct cli_options options = { 0 };
	struct parser parser = {
		.argc = argc, .at = 1, .argv = argv, .err = err, .options = &options
	};
	int status = CLI_DONE;

	/* Options of all commands may stand in front. */
	while (status == CLI_DONE && parser.at < argc && argv[parser.at][0] == '-') {
		bool is_word = false;
		const char *word = argv[parser.at];
		status = word[1] == '-' ? long_option(&parser, word)
		                        : short_option(&parser, word, &is_word);
		parser.at++;
	}
	if (status == CLI_DONE && parser.at < argc) {
		const char *name = argv[parser.at++];
		const char *sub =
			parser.at < argc && argv[parser.at][0] != '-' ? argv[parser.at] : NULL;
		parser.command = command_find(name, sub);
		if (parser.command == NULL && name_is_known(name) && sub == NULL &&
		    parser.at < argc &&
		    (strcmp(argv[parser.at], "--help") == 0 ||
		     strcmp(argv[parser.at], "-h") == 0)) {
			parser.command = command_find("help", NULL);
			options.words[options.word_count++] = name;
			parser.at++;
		}
		if (parser.command == NULL) {
			return say_unknown(err, name, sub);
		}
		parser.at += parser.command->sub != NULL;
		status = words_read(&parser);
		if (status == CLI_DONE) {
			status = words_check(&parser);
		}
	}
	*ret_options = options;
	*ret_command = parser.command;
	return status;
}
