/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The manual page and the completion of a shell, from the tables of commands and options. */
#include <string.h>

#include "base/man.h"
#include "cli/cli.h"

#define TAG_BYTES 128

/* ---- portreeve(1) ---- */

static const struct pr_man_example examples[] = {
	{ "portreeve events -f --denied", "Follow what is denied, or would be." },
	{ "portreeve events --joined --since 10m", "One row a connection, with both of its ends." },
	{ "portreeve trace dst.port:3306", "What led to the newest such connection." },
	{ "portreeve hosts", "Hosts and containers, and whether they are only observed." },
	{ "portreeve policy add allow from web to db tcp/3306 process /usr/sbin/apache2",
	  "A rule more in your draft; nothing is in force yet." },
	{ "portreeve policy diff && portreeve policy commit -m \"the shop\" --confirm-within 5m",
	  "Look at the draft, put it in force; without `portreeve policy confirm` it goes back." },
	{ "portreeve explain web_1 db_1 tcp/22", "Which rule decides, and why none before it." },
	{ "portreeve quarantine web_1 --reason \"odd outgoing mail\" --for 2h",
	  "Isolate a container at once." },
};

static void option_tag(const struct cli_option *row, char tag[static TAG_BYTES])
{
	char letter[8] = "";

	if (row->letter != 0) {
		(void)snprintf(letter, sizeof(letter), "-%c, ", row->letter);
	}
	(void)snprintf(tag, TAG_BYTES, "%s--%s%s%s", letter, row->name,
	               row->argument != NULL ? " " : "",
	               row->argument != NULL ? row->argument : "");
}

static void commands_print(FILE *out, enum cli_topic topic)
{
	size_t count;
	const struct cli_command *commands = cli_commands(&count);

	(void)fprintf(out, ".SS %s\n", cli_topic_title(topic));
	for (size_t i = 0; i < count; i++) {
		char usage[TAG_BYTES];
		if (commands[i].topic != topic) {
			continue;
		}
		cli_usage_format(&commands[i], usage, sizeof(usage));
		pr_man_item(out, usage, commands[i].summary);
		if (commands[i].details != NULL) {
			(void)fputs(".RS\n.nf\n", out);
			pr_man_text(out, commands[i].details);
			(void)fputs("\n.fi\n.RE\n", out);
		}
	}
}

void cli_manual_print(FILE *out)
{
	pr_man_begin(out, "portreeve", '1', "see and decide what containers and hosts connect to");
	pr_man_synopsis(out, "portreeve COMMAND [options]");
	pr_man_examples(out, examples, PR_ARRAY_LEN(examples));
	pr_man_section(out, "COMMANDS");
	for (int topic = 0; topic < _CLI_TOPIC_MAX; topic++) {
		commands_print(out, (enum cli_topic)topic);
	}
	pr_man_section(out, "OPTIONS");
	for (int id = 0; id < _CLI_OPTION_MAX; id++) {
		char tag[TAG_BYTES];
		option_tag(&cli_option_rows[id], tag);
		pr_man_item(out, tag, cli_option_rows[id].doc);
	}
	pr_man_conf(out, cli_config_rows, cli_config_row_count, "/etc/portreeve/cli.conf");
	pr_man_section(out, "EXIT STATUS");
	pr_man_text(out,
	            "0 done, 1 error, 2 usage, 3 not found, 4 denied, 5 conflict, 6 unreachable, "
	            "10 the policy does not allow it (explain).\n");
	pr_man_section(out, "SEE ALSO");
	(void)fputs(".BR portreeve-agent (8),\n.BR portreeve-controller (8),\n"
	            ".BR portreeve-recorder (8),\n.BR portreeve-bench (1)\n",
	            out);
}

/* ---- completion ---- */

/* Each first word once. */
static bool is_first(const struct cli_command *commands, size_t index)
{
	return index == 0 || strcmp(commands[index - 1].name, commands[index].name) != 0;
}

static void subs_print(FILE *out, const struct cli_command *commands, size_t count, size_t first)
{
	bool any = false;

	for (size_t i = first; i < count && strcmp(commands[i].name, commands[first].name) == 0;
	     i++) {
		if (commands[i].sub != NULL) {
			(void)fprintf(out, "%s%s", any ? " " : "", commands[i].sub);
			any = true;
		}
	}
}

static void options_print(FILE *out, const struct cli_command *command)
{
	uint32_t common = 1U << CLI_OPTION_CONFIG | 1U << CLI_OPTION_JSON | 1U << CLI_OPTION_HELP;

	for (int id = 0; id < _CLI_OPTION_MAX; id++) {
		if (((command->options | common) >> id & 1U) != 0) {
			(void)fprintf(out, " --%s", cli_option_rows[id].name);
		}
	}
}

static void words_case_print(FILE *out)
{
	size_t count;
	const struct cli_command *commands = cli_commands(&count);

	(void)fputs("\tcase $command in\n\t'') words='", out);
	for (size_t i = 0; i < count; i++) {
		if (is_first(commands, i)) {
			(void)fprintf(out, "%s%s", i > 0 ? " " : "", commands[i].name);
		}
	}
	(void)fputs("' ;;\n", out);
	for (size_t i = 0; i < count; i++) {
		if (is_first(commands, i) && commands[i].sub != NULL) {
			(void)fprintf(out, "\t%s) words='", commands[i].name);
			subs_print(out, commands, count, i);
			(void)fputs("' ;;\n", out);
		}
	}
	for (size_t i = 0; i < count; i++) {
		(void)fprintf(out, "\t'%s%s%s') words='", commands[i].name,
		              commands[i].sub != NULL ? " " : "",
		              commands[i].sub != NULL ? commands[i].sub : "");
		options_print(out, &commands[i]);
		(void)fputs("' ;;\n", out);
	}
	(void)fputs("\tesac\n", out);
}

/* The command is the first one or two words that are no options and no values of --config. */
int cli_run_completion(struct cli *cli)
{
	fputs("# bash completion of portreeve, made by `portreeve completion bash`\n"
	      "_portreeve() {\n"
	      "\tlocal command='' words='' word i current=${COMP_WORDS[COMP_CWORD]}\n"
	      "\tCOMPREPLY=()\n"
	      "\tcase ${COMP_WORDS[COMP_CWORD - 1]} in\n"
	      "\t--config | --key) COMPREPLY=($(compgen -f -- \"$current\")); return ;;\n"
	      "\tesac\n"
	      "\tfor ((i = 1; i < COMP_CWORD; i++)); do\n"
	      "\t\tword=${COMP_WORDS[i]}\n"
	      "\t\tcase $word in\n"
	      "\t\t--config) i=$((i + 1)); continue ;;\n"
	      "\t\t-*) continue ;;\n"
	      "\t\tesac\n"
	      "\t\tcase $command in\n"
	      "\t\t'') command=$word ;;\n"
	      "\t\tpolicy | group | agent | completion) command=\"$command $word\" ;;\n"
	      "\t\tesac\n"
	      "\tdone\n",
	      cli->out);
	words_case_print(cli->out);
	fputs("\t[[ $current == -* || $words != ' --'* ]] || words=''\n"
	      "\tCOMPREPLY=($(compgen -W \"$words\" -- \"$current\"))\n"
	      "\t[ ${#COMPREPLY[@]} -gt 0 ] || COMPREPLY=($(compgen -f -- \"$current\"))\n"
	      "}\n"
	      "complete -F _portreeve portreeve\n",
	      cli->out);
	return CLI_DONE;
}
