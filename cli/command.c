/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <string.h>

#include "cli/cli.h"

#define BIT(NAME) (1U << CLI_OPTION_##NAME)

/* The order is that of the help. */
static const struct cli_command commands[] = {
	{ .name = "status",
	  .arguments = "",
	  .summary = "controller, workers, recorder, agents: what they do, what they lost",
	  .options = BIT(WIDE),
	  .run = cli_run_status },
	{ .name = "hosts",
	  .arguments = "[WORD]",
	  .summary = "hosts and their containers, marked (C)",
	  .options = BIT(WIDE),
	  .words_max = 1,
	  .run = cli_run_hosts,
	  .details = "WORD: a part of a name, host or image, a group, or the beginning of a UUID "
	             "or container ID." },
	{ .name = "show",
	  .arguments = "NAME",
	  .summary = "all that is known of one host or container",
	  .words_min = 1,
	  .words_max = 1,
	  .run = cli_run_show },
	{ .name = "events",
	  .arguments = "[QUERY]",
	  .summary = "recorded connections, newest last",
	  .options = BIT(FOLLOW) | BIT(SINCE) | BIT(UNTIL) | BIT(LIMIT) | BIT(DENIED) | BIT(WIDE),
	  .words_max = CLI_WORDS_MAX,
	  .query = true,
	  .run = cli_run_events,
	  .details = "Without -n: the newest 50, with --since or --until all of them, with -f the "
	             "newest "
	             "10.\n"
	             "QUERY: terms FIELD:VALUE; a space is AND; OR; NOT or -; (); \"quotes\"; * "
	             "and ?;\n"
	             "lists dst.port:80,443; ranges dst.port:1024-; ip:172.18.0.0/16; "
	             "latency_us>100;\n"
	             "a word alone is a part of a name, process or address.\n\n"
	             "  portreeve events -f --denied\n"
	             "  portreeve events --since 1h dst.name:db -user:root\n"
	             "  portreeve events --json --since today 'verdict:denied dst.port:22,3389'" },
	{ .name = "policy",
	  .sub = "check",
	  .arguments = "FILE",
	  .summary = "read a policy text and say every error",
	  .options = BIT(OFFLINE),
	  .words_min = 1,
	  .words_max = 1,
	  .run = cli_run_policy_check,
	  .details = "FILE may be - for standard input." },
	{ .name = "policy",
	  .sub = "list",
	  .arguments = "[REVISION|draft]",
	  .summary = "the rules as a table",
	  .words_max = 1,
	  .run = cli_run_policy_list },
	{ .name = "policy",
	  .sub = "show",
	  .arguments = "[REVISION|draft]",
	  .summary = "the policy in force, or a revision, or your draft",
	  .words_max = 1,
	  .run = cli_run_policy_show },
	{ .name = "policy",
	  .sub = "import",
	  .arguments = "FILE",
	  .summary = "make a text your draft (nothing changes until commit)",
	  .words_min = 1,
	  .words_max = 1,
	  .run = cli_run_policy_import },
	{ .name = "policy",
	  .sub = "export",
	  .arguments = "[REVISION|draft]",
	  .summary = "the text alone, byte for byte, for editing and import",
	  .words_max = 1,
	  .run = cli_run_policy_export },
	{ .name = "policy",
	  .sub = "commit",
	  .arguments = "-m TEXT [FILE]",
	  .summary = "make the draft (or FILE) the policy in force",
	  .options = BIT(MESSAGE) | BIT(FORCE),
	  .words_max = 1,
	  .run = cli_run_policy_commit },
	{ .name = "policy",
	  .sub = "log",
	  .arguments = "",
	  .summary = "revisions, newest first",
	  .options = BIT(LIMIT),
	  .run = cli_run_policy_log },
	{ .name = "policy",
	  .sub = "rollback",
	  .arguments = "REVISION [-m TEXT]",
	  .summary = "commit an old revision again",
	  .options = BIT(MESSAGE),
	  .words_min = 1,
	  .words_max = 1,
	  .run = cli_run_policy_rollback },
	{ .name = "group",
	  .sub = "members",
	  .arguments = "GROUP",
	  .summary = "who is in a group now",
	  .options = BIT(WIDE),
	  .words_min = 1,
	  .words_max = 1,
	  .run = cli_run_group_members },
	{ .name = "mode",
	  .arguments = "observe|enforce default|GROUP",
	  .summary = "only watch, or deny what no rule allows",
	  .words_min = 2,
	  .words_max = 2,
	  .run = cli_run_mode },
	{ .name = "enroll",
	  .arguments = "",
	  .summary = "a one-time token for a new host, person or program",
	  .options = BIT(ROLE) | BIT(NAME) | BIT(LIFE) | BIT(PENDING),
	  .run = cli_run_enroll,
	  .details =
	          "For a host: portreeve-agent --enroll TOKEN there. For a person: portreeve join "
	          "TOKEN." },
	{ .name = "join",
	  .arguments = "TOKEN",
	  .summary = "make a key of your own and enrol with a token",
	  .options = BIT(KEY) | BIT(NAME) | BIT(FORCE),
	  .words_min = 1,
	  .words_max = 1,
	  .run = cli_run_join,
	  .details = "Writes ~/.config/portreeve/cli.conf (or --config FILE) and the key beside it "
	             "(or --key FILE)." },
	{ .name = "agent",
	  .sub = "list",
	  .arguments = "",
	  .summary = "enrolled keys: agents, recorders, people",
	  .run = cli_run_agent_list },
	{ .name = "agent",
	  .sub = "approve",
	  .arguments = "NAME",
	  .summary = "let a newcomer in that waits for it",
	  .words_min = 1,
	  .words_max = 1,
	  .run = cli_run_agent_approve },
	{ .name = "agent",
	  .sub = "revoke",
	  .arguments = "NAME",
	  .summary = "cut off a key for ever, within a second",
	  .words_min = 1,
	  .words_max = 1,
	  .run = cli_run_agent_revoke },
	{ .name = "help",
	  .arguments = "[COMMAND]",
	  .summary = "this text, or more of one command",
	  .words_max = 2,
	  .run = cli_run_help },
	{ .name = "version", .arguments = "", .summary = "the version", .run = cli_run_version },
};

const struct cli_command *cli_commands(size_t *ret_count)
{
	*ret_count = PR_ARRAY_LEN(commands);
	return commands;
}

static void usage_format(const struct cli_command *command, char *text, size_t size_bytes)
{
	(void)snprintf(text, size_bytes, "%s%s%s%s%s", command->name,
	               command->sub != NULL ? " " : "", command->sub != NULL ? command->sub : "",
	               command->arguments[0] != '\0' ? " " : "", command->arguments);
}

static void option_print(FILE *out, const struct cli_option *row)
{
	char left[40], letter[8] = "    ";

	if (row->letter != 0) {
		(void)snprintf(letter, sizeof(letter), "-%c, ", row->letter);
	}
	(void)snprintf(left, sizeof(left), "%s--%s%s%s", letter, row->name,
	               row->argument != NULL ? " " : "",
	               row->argument != NULL ? row->argument : "");
	fprintf(out, "  %-22s %s\n", left, row->doc);
}

static void command_print(FILE *out, const struct cli_command *command)
{
	char usage[96];

	usage_format(command, usage, sizeof(usage));
	fprintf(out, "usage: portreeve %s\n  %s\n", usage, command->summary);
	if (command->details != NULL) {
		fprintf(out, "\n%s\n", command->details);
	}
	fputs("\noptions:\n", out);
	for (int id = 0; id < _CLI_OPTION_MAX; id++) {
		uint32_t common = BIT(CONFIG) | BIT(JSON) | BIT(HELP);
		if (((command->options | common) >> id & 1U) != 0) {
			option_print(out, &cli_option_rows[id]);
		}
	}
}

void cli_help_print(FILE *out, const struct cli_command *command)
{
	if (command != NULL) {
		command_print(out, command);
		return;
	}
	fputs("usage: portreeve COMMAND [options]\n\n", out);
	for (size_t i = 0; i < PR_ARRAY_LEN(commands); i++) {
		char usage[96];
		usage_format(&commands[i], usage, sizeof(usage));
		fprintf(out, "  %-36s %s\n", usage, commands[i].summary);
	}
	fputs("\nAll: --config FILE (else /etc/portreeve/cli.conf or "
	      "~/.config/portreeve/cli.conf), "
	      "--json, --help.\n"
	      "Exit status: 0 done, 1 error, 2 usage, 3 not found, 4 denied, 5 conflict, "
	      "6 unreachable.\n",
	      out);
}

int cli_run_help(struct cli *cli)
{
	size_t count;
	const struct cli_command *all = cli_commands(&count);
	const struct cli_options *options = &cli->options;
	bool found = false;

	if (options->word_count == 0) {
		cli_help_print(cli->out, NULL);
		return CLI_DONE;
	}
	for (size_t i = 0; i < count; i++) {
		if (strcmp(all[i].name, options->words[0]) == 0 &&
		    (options->word_count < 2 || all[i].sub == NULL ||
		     strcmp(all[i].sub, options->words[1]) == 0)) {
			fputs(found ? "\n" : "", cli->out);
			cli_help_print(cli->out, &all[i]);
			found = true;
		}
	}
	return found ? CLI_DONE : cli_fail(cli, CLI_USAGE, "no such command. See `portreeve help`");
}

int cli_run_version(struct cli *cli)
{
	if (!cli->options.json) {
		fprintf(cli->out, "portreeve %s\n", PACKAGE_VERSION);
		return CLI_DONE;
	}
	return cli_json_print(json_pack("{s:s, s:i}", "version", PACKAGE_VERSION, "protocol",
	                                CODEC_VERSION_MAJOR),
	                      cli->out)
	               ? CLI_DONE
	               : CLI_ERROR;
}
