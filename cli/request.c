/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One question to the controller and its answer. */
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/log.h"
#include "cli/cli.h"
#include "policy/policy.h"

int cli_controller_ask(struct cli *cli, codec_doc_t *request, codec_doc_t **ret_answer)
{
	_cleanup_(codec_doc_destroy) codec_doc_t *owned = request;
	struct cli_peer *controller;
	int status;

	if (owned == NULL) {
		return cli_fail(cli, CLI_ERROR, "%s", pr_strerror(PR_ENOMEM));
	}
	status = cli_controller_get(cli, &controller);
	return status != CLI_DONE ? status
	                          : cli_ask(cli, controller, owned, NULL, NULL, ret_answer);
}

int cli_done_say(struct cli *cli, const codec_doc_t *answer, const char *number_name,
                 const char *fallback)
{
	const char *text = codec_doc_text(answer, CODEC_OK_TEXT);
	char shown[4 * POLICY_LINE_MAX_BYTES];

	if (codec_doc_type(answer) != CODEC_OK) {
		return cli_fail(cli, CLI_ERROR, "the controller gave an unexpected answer");
	}
	if (cli->options.json) {
		json_t *object = json_pack("{s:b, s:o}", "ok", 1, "text", cli_json_text(text));
		if (number_name != NULL) {
			(void)json_object_set_new(
				object, number_name,
				json_integer((json_int_t)codec_doc_u64(answer, CODEC_OK_NUMBER)));
		}
		return cli_json_print(object, cli->out) ? CLI_DONE : CLI_ERROR;
	}
	fprintf(cli->out, "%s\n",
	        pr_log_escape(text[0] != '\0' ? text : fallback, shown, sizeof(shown)));
	return CLI_DONE;
}

int cli_controller_list(struct cli *cli, codec_doc_t *request, cli_visit_fn visit, void *arg)
{
	_cleanup_(codec_doc_destroy) codec_doc_t *owned = request;
	struct cli_peer *controller;
	int status;

	if (owned == NULL) {
		return cli_fail(cli, CLI_ERROR, "%s", pr_strerror(PR_ENOMEM));
	}
	status = cli_controller_get(cli, &controller);
	return status != CLI_DONE ? status : cli_ask(cli, controller, owned, visit, arg, NULL);
}

int cli_limit_read(struct cli *cli, uint64_t *ret_limit)
{
	const char *limit = cli->options.limit;

	if (strspn(limit, "0123456789") != strlen(limit) || limit[0] == '\0' || strlen(limit) > 9) {
		return cli_fail(cli, CLI_USAGE, "-n %s: not a number", limit);
	}
	*ret_limit = strtoull(limit, NULL, 10);
	return CLI_DONE;
}

int cli_rule_number(struct cli *cli, const char *text, uint64_t *ret_number)
{
	size_t digits = strspn(text, "0123456789");

	if (digits == 0 || digits > 9 || text[digits] != '\0') {
		return cli_fail(cli, CLI_USAGE, "'%s' is not the number of a rule", text);
	}
	*ret_number = strtoull(text, NULL, 10);
	return CLI_DONE;
}

/* The SSH session that this command is given in, if it is. */
void cli_connections_add(codec_doc_t *request, unsigned field)
{
	const char *ssh = getenv("SSH_CONNECTION");
	char client[64], server[64];
	unsigned client_port, server_port;

	if (request != NULL && ssh != NULL &&
	    sscanf(ssh, "%63s %u %63s %u", client, &client_port, server, &server_port) == 4) {
		codec_doc_addf(request, field, "tcp %s %u %s %u", client, client_port, server,
		               server_port);
	}
}
