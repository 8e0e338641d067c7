/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Isolate an endpoint, let it go, forget it. */
#include <string.h>

#include "base/err.h"
#include "cli/cli.h"

static int reason_need(struct cli *cli)
{
	if (cli->options.reason == NULL || cli->options.reason[0] == '\0') {
		return cli_fail(cli, CLI_USAGE,
		                "say why with --reason: it stands in `portreeve audit` for ever");
	}
	return CLI_DONE;
}

static int answer_say(struct cli *cli, codec_doc_t *request)
{
	_cleanup_(codec_doc_destroy) codec_doc_t *answer = NULL;
	int status = cli_controller_ask(cli, request, &answer);

	return status == CLI_DONE ? cli_done_say(cli, answer, NULL, "done") : status;
}

int cli_run_quarantine(struct cli *cli)
{
	uint64_t seconds = 0;
	int status = reason_need(cli);

	if (status == CLI_DONE && cli->options.life != NULL &&
	    cli_duration_parse(cli->options.life, &seconds) != PR_OK) {
		status = cli_fail(cli, CLI_USAGE, "--for %s: a time like 2h or 3d",
		                  cli->options.life);
	}
	if (status != CLI_DONE) {
		return status;
	}
	codec_doc_t *request = codec_doc_new(CODEC_QUARANTINE_SET);
	if (request != NULL) {
		codec_doc_set_text(request, CODEC_QUARANTINE_SET_NAME, cli->options.words[0]);
		codec_doc_set_text(request, CODEC_QUARANTINE_SET_REASON, cli->options.reason);
		codec_doc_set_u64(request, CODEC_QUARANTINE_SET_SECONDS, seconds);
		codec_doc_set_u64(request, CODEC_QUARANTINE_SET_FORCE, cli->options.force);
		cli_connections_add(request, CODEC_QUARANTINE_SET_CONNECTIONS);
	}
	return answer_say(cli, request);
}

int cli_run_release(struct cli *cli)
{
	codec_doc_t *request = codec_doc_new(CODEC_QUARANTINE_RELEASE);

	if (request != NULL) {
		codec_doc_set_text(request, CODEC_QUARANTINE_RELEASE_NAME, cli->options.words[0]);
		codec_doc_set_text(request, CODEC_QUARANTINE_RELEASE_REASON,
		                   cli->options.reason != NULL ? cli->options.reason : "");
	}
	return answer_say(cli, request);
}

int cli_run_remove(struct cli *cli)
{
	int status = reason_need(cli);

	if (status != CLI_DONE) {
		return status;
	}
	codec_doc_t *request = codec_doc_new(CODEC_ENDPOINT_REMOVE);
	if (request != NULL) {
		codec_doc_set_text(request, CODEC_ENDPOINT_REMOVE_NAME, cli->options.words[0]);
		codec_doc_set_text(request, CODEC_ENDPOINT_REMOVE_REASON, cli->options.reason);
		codec_doc_set_u64(request, CODEC_ENDPOINT_REMOVE_FORCE, cli->options.force);
	}
	return answer_say(cli, request);
}
