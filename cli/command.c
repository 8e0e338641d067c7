/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <string.h>

#include "cli/cli.h"

#define BIT(NAME) (1U << CLI_OPTION_##NAME)

/* The order is that of the help. */
static const struct cli_command commands[] = {
	{ .name = "status",
	  .topic = CLI_TOPIC_SEE,
	  .arguments = "",
	  .summary = "controller, workers, recorder, agents: what they do, what they lost",
	  .options = BIT(WIDE),
	  .run = cli_run_status },
	{ .name = "hosts",
	  .topic = CLI_TOPIC_SEE,
	  .arguments = "[WORD]",
	  .summary = "hosts and their containers, marked (C)",
	  .options = BIT(WIDE),
	  .words_max = 1,
	  .run = cli_run_hosts,
	  .details = "WORD: a part of a name, host or image, a group, or the beginning of a UUID "
	             "or container ID." },
	{ .name = "show",
	  .topic = CLI_TOPIC_SEE,
	  .arguments = "NAME",
	  .summary = "all that is known of one host or container",
	  .words_min = 1,
	  .words_max = 1,
	  .run = cli_run_show },
	{ .name = "events",
	  .topic = CLI_TOPIC_SEE,
	  .arguments = "[QUERY]",
	  .summary = "recorded connections, newest last",
	  .options = BIT(FOLLOW) | BIT(SINCE) | BIT(UNTIL) | BIT(LIMIT) | BIT(DENIED) | BIT(WIDE) |
	             BIT(JOINED),
	  .words_max = CLI_WORDS_MAX,
	  .query = true,
	  .run = cli_run_events,
	  .details =
	          "Without -n: the newest 50, with --since or --until all of them, with -f the "
	          "newest "
	          "10.\n"
	          "QUERY: terms FIELD:VALUE; a space is AND; OR; NOT or -; (); \"quotes\"; * "
	          "and ?;\n"
	          "lists dst.port:80,443; ranges dst.port:1024-; ip:172.18.0.0/16; "
	          "latency_us>100;\n"
	          "a word alone is a part of a name, process or address.\n"
	          "--joined: a connection is one row, and a query matches it when it matches one "
	          "of its ends.\nIn the place of an end that is not there stands why; --wide and "
	          "--json say it in full. With -f\na row comes when both ends have, or after "
	          "2 s.\n\n"
	          "  portreeve events -f --denied\n"
	          "  portreeve events --since 1h dst.name:db -user:root\n"
	          "  portreeve events --joined --since 10m user:ana\n"
	          "  portreeve events --json --since today 'verdict:denied dst.port:22,3389'" },
	{ .name = "trace",
	  .topic = CLI_TOPIC_SEE,
	  .arguments = "EVENT",
	  .summary = "what led to a connection, and what it led to, as a tree",
	  .words_min = 1,
	  .words_max = CLI_WORDS_MAX,
	  .query = true,
	  .run = cli_run_trace,
	  .details =
	          "EVENT: the id of an event or of a connection (events --wide, --json), or a "
	          "query: the "
	          "newest\nthat matches. Who accepted a connection and opened another within 10 s "
	          "(one "
	          "that passes each\non at once, as docker-proxy: 1 s) links the two: \"same "
	          "process\" by "
	          "its PID and executable;\n\"same program\" by the executable in the same host or "
	          "container alone, as of a server that\naccepts in one process and works in "
	          "another. "
	          "\"one of N\": N accepted connections may have led\nto it, and which one is not "
	          "known.\n\n"
	          "  portreeve trace 91c5a80f3fd1e6b2\n"
	          "  portreeve trace dst.port:3306 src.name:wordpress" },
	{ .name = "users",
	  .topic = CLI_TOPIC_SEE,
	  .arguments = "[NAME]",
	  .summary = "users: where each was seen, how often, when last; who is logged in",
	  .options = BIT(LIMIT) | BIT(WIDE),
	  .words_max = 1,
	  .run = cli_run_users,
	  .details = "With NAME, a user's name or number: also the programs used and the last "
	             "connections.\n"
	             "Counted since the recorder saw the user first, also when old events are "
	             "gone. A host that\nkeeps no record of logins is named." },
	{ .name = "policy",
	  .topic = CLI_TOPIC_POLICY,
	  .sub = "check",
	  .arguments = "FILE",
	  .summary = "read a policy text and say every error",
	  .options = BIT(OFFLINE),
	  .words_min = 1,
	  .words_max = 1,
	  .run = cli_run_policy_check,
	  .details = "FILE may be - for standard input." },
	{ .name = "policy",
	  .topic = CLI_TOPIC_POLICY,
	  .sub = "list",
	  .arguments = "[REVISION|draft]",
	  .summary = "the rules as a table",
	  .words_max = 1,
	  .run = cli_run_policy_list },
	{ .name = "policy",
	  .topic = CLI_TOPIC_POLICY,
	  .sub = "show",
	  .arguments = "[REVISION|draft]",
	  .summary = "the policy in force, or a revision, or your draft",
	  .words_max = 1,
	  .run = cli_run_policy_show },
	{ .name = "policy",
	  .topic = CLI_TOPIC_POLICY,
	  .sub = "edit",
	  .arguments = "",
	  .summary = "change your draft in $EDITOR (nothing changes until commit)",
	  .run = cli_run_policy_edit },
	{ .name = "policy",
	  .topic = CLI_TOPIC_POLICY,
	  .sub = "add",
	  .arguments = "LINE...",
	  .summary = "a rule, group or any other line more in your draft",
	  .words_min = 1,
	  .words_max = CLI_WORDS_MAX,
	  .run = cli_run_policy_add,
	  .details =
	          "A rule may lack its number: it goes behind the last one. Behind `from` and "
	          "`to` the name\nof a host or container becomes its UUID.\n\n"
	          "  portreeve policy add allow from any to web tcp/80,443 comment \"the page\"\n"
	          "  portreeve policy add 15 deny from web to db tcp/22\n"
	          "  portreeve policy add expect deny from web to db tcp/22" },
	{ .name = "policy",
	  .topic = CLI_TOPIC_POLICY,
	  .sub = "rm",
	  .arguments = "NUMBER... | [user]group NAME",
	  .summary = "rules, or a group, less in your draft",
	  .words_min = 1,
	  .words_max = CLI_WORDS_MAX,
	  .run = cli_run_policy_rm },
	{ .name = "policy",
	  .topic = CLI_TOPIC_POLICY,
	  .sub = "mv",
	  .arguments = "NUMBER TO",
	  .summary = "give a rule another number, and so another place",
	  .words_min = 2,
	  .words_max = 2,
	  .run = cli_run_policy_mv },
	{ .name = "policy",
	  .topic = CLI_TOPIC_POLICY,
	  .sub = "enable",
	  .arguments = "NUMBER...",
	  .summary = "let rules of your draft count",
	  .words_min = 1,
	  .words_max = CLI_WORDS_MAX,
	  .run = cli_run_policy_enable },
	{ .name = "policy",
	  .topic = CLI_TOPIC_POLICY,
	  .sub = "disable",
	  .arguments = "NUMBER...",
	  .summary = "let rules of your draft be skipped",
	  .words_min = 1,
	  .words_max = CLI_WORDS_MAX,
	  .run = cli_run_policy_disable },
	{ .name = "policy",
	  .topic = CLI_TOPIC_POLICY,
	  .sub = "stage",
	  .arguments = "NUMBER...",
	  .summary = "let rules of your draft only tell what they would do",
	  .words_min = 1,
	  .words_max = CLI_WORDS_MAX,
	  .run = cli_run_policy_stage },
	{ .name = "policy",
	  .topic = CLI_TOPIC_POLICY,
	  .sub = "diff",
	  .arguments = "[FROM [TO]]",
	  .summary = "what your draft changes; or what changed since a revision",
	  .words_max = 2,
	  .run = cli_run_policy_diff,
	  .details = "FROM and TO: a revision, or draft. Without TO: the policy in force." },
	{ .name = "policy",
	  .topic = CLI_TOPIC_POLICY,
	  .sub = "rebase",
	  .arguments = "",
	  .summary = "merge your draft with what was committed meanwhile",
	  .run = cli_run_policy_rebase },
	{ .name = "policy",
	  .topic = CLI_TOPIC_POLICY,
	  .sub = "discard",
	  .arguments = "",
	  .summary = "forget your draft",
	  .run = cli_run_policy_discard },
	{ .name = "policy",
	  .topic = CLI_TOPIC_POLICY,
	  .sub = "import",
	  .arguments = "FILE",
	  .summary = "make a text your draft (nothing changes until commit)",
	  .options = BIT(BASE),
	  .words_min = 1,
	  .words_max = 1,
	  .run = cli_run_policy_import },
	{ .name = "policy",
	  .topic = CLI_TOPIC_POLICY,
	  .sub = "export",
	  .arguments = "[REVISION|draft]",
	  .summary = "the text alone, byte for byte, for editing and import",
	  .words_max = 1,
	  .run = cli_run_policy_export },
	{ .name = "policy",
	  .topic = CLI_TOPIC_POLICY,
	  .sub = "commit",
	  .arguments = "-m TEXT [FILE]",
	  .summary = "make the draft (or FILE) the policy in force",
	  .options = BIT(MESSAGE) | BIT(FORCE) | BIT(CONFIRM_WITHIN) | BIT(BASE),
	  .words_max = 1,
	  .run = cli_run_policy_commit,
	  .details = "Refused: errors, an `expect` line that fails, a change by somebody else "
	             "meanwhile, and,\nwithout --force, what takes out a lifeline or cuts the SSH "
	             "session that it is given in.\n\n"
	             "  portreeve policy commit -m \"open the shop\" --confirm-within 5m\n"
	             "  portreeve policy confirm" },
	{ .name = "policy",
	  .topic = CLI_TOPIC_POLICY,
	  .sub = "confirm",
	  .arguments = "",
	  .summary = "keep what was committed with --confirm-within",
	  .run = cli_run_policy_confirm },
	{ .name = "policy",
	  .topic = CLI_TOPIC_POLICY,
	  .sub = "log",
	  .arguments = "",
	  .summary = "revisions, newest first",
	  .options = BIT(LIMIT),
	  .run = cli_run_policy_log },
	{ .name = "policy",
	  .topic = CLI_TOPIC_POLICY,
	  .sub = "rollback",
	  .arguments = "REVISION [-m TEXT]",
	  .summary = "commit an old revision again",
	  .options = BIT(MESSAGE) | BIT(FORCE),
	  .words_min = 1,
	  .words_max = 1,
	  .run = cli_run_policy_rollback },
	{ .name = "explain",
	  .topic = CLI_TOPIC_POLICY,
	  .arguments = "SOURCE DESTINATION SERVICE",
	  .summary = "which rule decides, and why none before it",
	  .options = BIT(USER) | BIT(PROCESS) | BIT(TO_USER) | BIT(TO_PROCESS) | BIT(DRAFT),
	  .words_min = 3,
	  .words_max = 3,
	  .run = cli_run_explain,
	  .details = "SOURCE, DESTINATION: a name, UUID, container ID, group, address, or external "
	             "(nobody\nenrolled). What is not named stays open. Exit status 0: allowed "
	             "whoever asks; 10: not.\n\n"
	             "  portreeve explain web_1 db_1 tcp/3306 --process /usr/sbin/apache2\n"
	             "  portreeve explain external web tcp/80 --draft" },
	{ .name = "reach",
	  .topic = CLI_TOPIC_POLICY,
	  .arguments = "--to WHO | --from WHO",
	  .summary = "who may reach it, or whom it may reach, and on what",
	  .options = BIT(FROM) | BIT(TO) | BIT(DRAFT),
	  .run = cli_run_reach,
	  .details = "WHO: as for explain. Both: what one may reach of the other." },
	{ .name = "audit",
	  .topic = CLI_TOPIC_SEE,
	  .arguments = "",
	  .summary = "who changed what, when and why; newest first",
	  .options = BIT(LIMIT),
	  .run = cli_run_audit },
	{ .name = "group",
	  .topic = CLI_TOPIC_POLICY,
	  .sub = "list",
	  .arguments = "",
	  .summary = "the groups of the policy",
	  .options = BIT(DRAFT),
	  .run = cli_run_group_list },
	{ .name = "group",
	  .topic = CLI_TOPIC_POLICY,
	  .sub = "create",
	  .arguments = "NAME select|member ...",
	  .summary = "a group more in your draft",
	  .words_min = 2,
	  .words_max = CLI_WORDS_MAX,
	  .run = cli_run_group_create,
	  .details = "  portreeve group create web select compose.service web label.tier front\n"
	             "  portreeve group create db member 77b20000-0000-4000-8000-000000000001" },
	{ .name = "group",
	  .topic = CLI_TOPIC_POLICY,
	  .sub = "preview",
	  .arguments = "select|member ...",
	  .summary = "who would be in such a group now",
	  .options = BIT(WIDE),
	  .words_min = 2,
	  .words_max = CLI_WORDS_MAX,
	  .run = cli_run_group_preview },
	{ .name = "group",
	  .topic = CLI_TOPIC_POLICY,
	  .sub = "members",
	  .arguments = "GROUP",
	  .summary = "who is in a group now",
	  .options = BIT(WIDE),
	  .words_min = 1,
	  .words_max = 1,
	  .run = cli_run_group_members },
	{ .name = "usergroup",
	  .topic = CLI_TOPIC_POLICY,
	  .sub = "list",
	  .arguments = "",
	  .summary = "the groups of users of the policy",
	  .options = BIT(DRAFT),
	  .run = cli_run_usergroup_list },
	{ .name = "usergroup",
	  .topic = CLI_TOPIC_POLICY,
	  .sub = "create",
	  .arguments = "NAME [member USER, ...]",
	  .summary = "a usergroup more in your draft, or members more",
	  .words_min = 1,
	  .words_max = CLI_WORDS_MAX,
	  .run = cli_run_usergroup_create,
	  .details = "USER: a name or uid. A rule names a usergroup with an @.\n\n"
	             "  portreeve usergroup create ops member ana, ben\n"
	             "  portreeve policy add allow user @ops from any to db tcp/22" },
	{ .name = "usergroup",
	  .topic = CLI_TOPIC_POLICY,
	  .sub = "members",
	  .arguments = "NAME",
	  .summary = "who is in a usergroup, and by which line",
	  .options = BIT(DRAFT),
	  .words_min = 1,
	  .words_max = 1,
	  .run = cli_run_usergroup_members },
	{ .name = "mode",
	  .topic = CLI_TOPIC_ACT,
	  .arguments = "observe|enforce default|GROUP",
	  .summary = "only watch, or deny what no rule allows",
	  .options = BIT(FORCE),
	  .words_min = 2,
	  .words_max = 2,
	  .run = cli_run_mode },
	{ .name = "quarantine",
	  .topic = CLI_TOPIC_ACT,
	  .arguments = "NAME --reason TEXT",
	  .summary = "isolate a host with its containers, or a container, at once",
	  .options = BIT(REASON) | BIT(LIFE) | BIT(FORCE),
	  .words_min = 1,
	  .words_max = 1,
	  .run = cli_run_quarantine,
	  .details =
	          "No new connection from or to it is let through but lifelines, whatever the "
	          "policy "
	          "and its\nmode say; it survives restarts. Connections that stand are not cut.\n\n"
	          "  portreeve quarantine web_1 --reason \"odd outgoing mail\" --for 2h" },
	{ .name = "release",
	  .topic = CLI_TOPIC_ACT,
	  .arguments = "NAME",
	  .summary = "end a quarantine",
	  .options = BIT(REASON),
	  .words_min = 1,
	  .words_max = 1,
	  .run = cli_run_release },
	{ .name = "remove",
	  .topic = CLI_TOPIC_ACT,
	  .arguments = "NAME --reason TEXT",
	  .summary = "forget a host that will not come back, or a stopped container",
	  .options = BIT(REASON) | BIT(FORCE),
	  .words_min = 1,
	  .words_max = 1,
	  .run = cli_run_remove,
	  .details =
	          "A host's key is revoked: it comes back by `agent approve`, or by a new token." },
	{ .name = "enroll",
	  .topic = CLI_TOPIC_PEOPLE,
	  .arguments = "",
	  .summary = "a one-time token for a new host, person or program",
	  .options = BIT(ROLE) | BIT(NAME) | BIT(LIFE) | BIT(PENDING),
	  .run = cli_run_enroll,
	  .details =
	          "For a host: portreeve-agent --enroll TOKEN there. For a person: portreeve join "
	          "TOKEN." },
	{ .name = "join",
	  .topic = CLI_TOPIC_PEOPLE,
	  .arguments = "TOKEN",
	  .summary = "make a key of your own and enrol with a token",
	  .options = BIT(KEY) | BIT(NAME) | BIT(FORCE),
	  .words_min = 1,
	  .words_max = 1,
	  .run = cli_run_join,
	  .details = "Writes ~/.config/portreeve/cli.conf (or --config FILE) and the key beside it "
	             "(or --key FILE)." },
	{ .name = "agent",
	  .topic = CLI_TOPIC_PEOPLE,
	  .sub = "list",
	  .arguments = "",
	  .summary = "enrolled keys: agents, recorders, people",
	  .run = cli_run_agent_list },
	{ .name = "agent",
	  .topic = CLI_TOPIC_PEOPLE,
	  .sub = "approve",
	  .arguments = "NAME",
	  .summary = "let a newcomer in that waits for it",
	  .words_min = 1,
	  .words_max = 1,
	  .run = cli_run_agent_approve },
	{ .name = "agent",
	  .topic = CLI_TOPIC_PEOPLE,
	  .sub = "revoke",
	  .arguments = "NAME",
	  .summary = "cut off a key for ever, within a second",
	  .words_min = 1,
	  .words_max = 1,
	  .run = cli_run_agent_revoke },
	{ .name = "help",
	  .topic = CLI_TOPIC_SELF,
	  .arguments = "[COMMAND]",
	  .summary = "this text, or more of one command",
	  .options = BIT(MAN),
	  .words_max = 2,
	  .run = cli_run_help },
	{ .name = "completion",
	  .topic = CLI_TOPIC_SELF,
	  .sub = "bash",
	  .arguments = "",
	  .summary = "a script that completes commands and options",
	  .run = cli_run_completion,
	  .details = "  source <(portreeve completion bash)" },
	{ .name = "version",
	  .topic = CLI_TOPIC_SELF,
	  .arguments = "",
	  .summary = "the version",
	  .run = cli_run_version },
};

const struct cli_command *cli_commands(size_t *ret_count)
{
	*ret_count = PR_ARRAY_LEN(commands);
	return commands;
}

void cli_usage_format(const struct cli_command *command, char *text, size_t size_bytes)
{
	(void)snprintf(text, size_bytes, "%s%s%s%s%s", command->name,
	               command->sub != NULL ? " " : "", command->sub != NULL ? command->sub : "",
	               command->arguments[0] != '\0' ? " " : "", command->arguments);
}

const char *cli_topic_title(enum cli_topic topic)
{
	static const char *const titles[_CLI_TOPIC_MAX] = {
		[CLI_TOPIC_SEE] = "See what happens",
		[CLI_TOPIC_POLICY] = "Write policy, and ask it",
		[CLI_TOPIC_ACT] = "Act at once",
		[CLI_TOPIC_PEOPLE] = "Let in, and out",
		[CLI_TOPIC_SELF] = "This program",
	};

	return titles[topic];
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
	fprintf(out, "  %-26s %s\n", left, row->doc);
}

static void command_print(FILE *out, const struct cli_command *command)
{
	char usage[96];

	cli_usage_format(command, usage, sizeof(usage));
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
	fputs("usage: portreeve COMMAND [options]\n", out);
	for (int topic = 0; topic < _CLI_TOPIC_MAX; topic++) {
		fprintf(out, "\n%s\n", cli_topic_title((enum cli_topic)topic));
		for (size_t i = 0; i < PR_ARRAY_LEN(commands); i++) {
			char usage[96];
			if ((int)commands[i].topic != topic) {
				continue;
			}
			cli_usage_format(&commands[i], usage, sizeof(usage));
			fprintf(out, "  %-36s %s\n", usage, commands[i].summary);
		}
	}
	fputs("\nAll: --config FILE (else /etc/portreeve/cli.conf or "
	      "~/.config/portreeve/cli.conf), "
	      "--json, --help.\n"
	      "Exit status: 0 done, 1 error, 2 usage, 3 not found, 4 denied, 5 conflict, "
	      "6 unreachable, 10 not allowed (explain).\n",
	      out);
}

int cli_run_help(struct cli *cli)
{
	size_t count;
	const struct cli_command *all = cli_commands(&count);
	const struct cli_options *options = &cli->options;
	bool found = false;

	if (options->man) {
		cli_manual_print(cli->out);
		return CLI_DONE;
	}
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
