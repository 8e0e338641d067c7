/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "cli/cli.h"

#define TOKEN_DEFAULT_S 3600

static const struct cli_column columns[] = { { "NAME", 32 },   { "ROLE", 0 }, { "STATUS", 0 },
	                                     { "ADDRESS", 0 }, { "SEEN", 0 }, { "VERSION", 16 },
	                                     { "UUID", 0 } };

struct peers {
	struct cli *cli;
	cli_table_t *table; /* NULL: JSON */
};

static bool json_write(struct cli *cli, const codec_doc_t *peer)
{
	struct pr_uuid id = codec_doc_uuid(peer, CODEC_PEER_UUID);
	char key[BUS_KEY_TEXT_BYTES] = "";
	size_t key_bytes;
	const uint8_t *public_key = codec_doc_blob(peer, CODEC_PEER_PUBLIC_KEY, &key_bytes);

	if (key_bytes == BUS_KEY_BYTES) {
		(void)bus_key_format(public_key, key);
	}
	return cli_json_print(
		json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "uuid", cli_json_uuid(&id),
	                  "name", cli_json_text(codec_doc_text(peer, CODEC_PEER_NAME)), "role",
	                  cli_json_text(codec_doc_text(peer, CODEC_PEER_ROLE)), "status",
	                  cli_json_text(codec_doc_text(peer, CODEC_PEER_STATUS)), "address",
	                  cli_json_text(codec_doc_text(peer, CODEC_PEER_ADDRESS)), "seen",
	                  cli_json_time(codec_doc_u64(peer, CODEC_PEER_SEEN)), "version",
	                  cli_json_text(codec_doc_text(peer, CODEC_PEER_VERSION)), "public_key",
	                  cli_json_text(key)),
		cli->out);
}

static enum cli_tint status_tint(const char *status)
{
	return strcmp(status, "approved") == 0  ? CLI_GOOD
	       : strcmp(status, "pending") == 0 ? CLI_WARN
	                                        : CLI_BAD;
}

static bool peer_take(void *arg, codec_doc_t **item_p)
{
	struct peers *peers = arg;
	const codec_doc_t *peer = *item_p;
	struct pr_uuid id = codec_doc_uuid(peer, CODEC_PEER_UUID);
	char time[CLI_TIME_BYTES], text[PR_UUID_TEXT_BYTES];

	if (codec_doc_type(peer) != CODEC_PEER) {
		return true;
	}
	if (peers->table == NULL) {
		return json_write(peers->cli, peer);
	}
	cli_table_cell(peers->table, CLI_PLAIN, "%s", codec_doc_text(peer, CODEC_PEER_NAME));
	cli_table_cell(peers->table, CLI_PLAIN, "%s", codec_doc_text(peer, CODEC_PEER_ROLE));
	cli_table_cell(peers->table, status_tint(codec_doc_text(peer, CODEC_PEER_STATUS)), "%s",
	               codec_doc_text(peer, CODEC_PEER_STATUS));
	cli_table_cell(peers->table, CLI_PLAIN, "%s", codec_doc_text(peer, CODEC_PEER_ADDRESS));
	cli_table_cell(
		peers->table, CLI_PLAIN, "%s",
		cli_time_format(&peers->cli->style, codec_doc_u64(peer, CODEC_PEER_SEEN), time));
	cli_table_cell(peers->table, CLI_PLAIN, "%s", codec_doc_text(peer, CODEC_PEER_VERSION));
	cli_table_cell(peers->table, CLI_MUTED, "%s", pr_uuid_format(&id, text));
	return true;
}

int cli_run_agent_list(struct cli *cli)
{
	_cleanup_(codec_doc_destroy) codec_doc_t *request = codec_doc_new(CODEC_PEERS_GET);
	_cleanup_(cli_table_destroy) cli_table_t *table =
		cli_table_new(&cli->style, cli->out, columns, PR_ARRAY_LEN(columns));
	struct peers peers = { .cli = cli, .table = cli->options.json ? NULL : table };
	struct cli_peer *controller;
	int status;

	if (request == NULL || table == NULL) {
		return cli_fail(cli, CLI_ERROR, "%s", pr_strerror(PR_ENOMEM));
	}
	status = cli_controller_get(cli, &controller);
	if (status == CLI_DONE) {
		status = cli_ask(cli, controller, request, peer_take, &peers, NULL);
	}
	if (status == CLI_DONE && peers.table != NULL) {
		cli_table_flush(table);
	}
	return status;
}

static int peer_set(struct cli *cli, const char *status_word)
{
	_cleanup_(codec_doc_destroy) codec_doc_t *request = codec_doc_new(CODEC_PEER_SET);
	_cleanup_(codec_doc_destroy) codec_doc_t *answer = NULL;
	const char *name = cli->options.words[0];
	struct cli_peer *controller;
	char shown[1024];
	int status;

	if (request == NULL) {
		return cli_fail(cli, CLI_ERROR, "%s", pr_strerror(PR_ENOMEM));
	}
	codec_doc_set_text(request, CODEC_PEER_SET_NAME, name);
	codec_doc_set_text(request, CODEC_PEER_SET_STATUS, status_word);
	status = cli_controller_get(cli, &controller);
	if (status == CLI_DONE) {
		status = cli_ask(cli, controller, request, NULL, NULL, &answer);
	}
	if (status != CLI_DONE) {
		return status;
	}
	if (codec_doc_type(answer) != CODEC_OK) {
		return cli_fail(cli, CLI_ERROR, "the controller gave an unexpected answer");
	}
	const char *text = codec_doc_text(answer, CODEC_OK_TEXT);
	if (cli->options.json) {
		return cli_json_print(json_pack("{s:b, s:s, s:s, s:o}", "ok", 1, "name", name,
		                                "status", status_word, "text", cli_json_text(text)),
		                      cli->out)
		               ? CLI_DONE
		               : CLI_ERROR;
	}
	if (text[0] != '\0') {
		fprintf(cli->out, "%s\n", pr_log_escape(text, shown, sizeof(shown)));
	} else {
		fprintf(cli->out, "%s is %s\n", pr_log_escape(name, shown, sizeof(shown)),
		        status_word);
	}
	return CLI_DONE;
}

int cli_run_agent_approve(struct cli *cli)
{
	return peer_set(cli, "approved");
}

int cli_run_agent_revoke(struct cli *cli)
{
	return peer_set(cli, "revoked");
}

/* ---- tokens ---- */

static int token_print(struct cli *cli, const char *role, const char *token, uint64_t life_s)
{
	uint64_t expires_wall_ns = pr_clock_wall_ns() + life_s * PR_NS_PER_S;
	const struct cli_options *options = &cli->options;
	char time[CLI_TIME_BYTES];

	if (options->json) {
		return cli_json_print(
			       json_pack("{s:s, s:s, s:o, s:o, s:b}", "token", token, "role", role,
		                         "name",
		                         cli_json_text(options->name != NULL ? options->name : ""),
		                         "expires", cli_json_time(expires_wall_ns), "approved",
		                         !options->pending),
			       cli->out)
		               ? CLI_DONE
		               : CLI_ERROR;
	}
	fprintf(cli->out, "%s\n", token);
	cli_note(cli, "Good for one newcomer of role %s until %s. Whoever has it may use it.", role,
	         cli_time_format(&cli->style, expires_wall_ns, time));
	if (strcmp(role, "agent") == 0 || strcmp(role, "recorder") == 0) {
		cli_note(cli, "There: portreeve-%s --enroll TOKEN", role);
	} else {
		cli_note(cli, "There: portreeve join TOKEN");
	}
	if (options->pending) {
		cli_note(cli, "Afterwards here: portreeve agent approve NAME");
	}
	return CLI_DONE;
}

int cli_run_enroll(struct cli *cli)
{
	_cleanup_(codec_doc_destroy) codec_doc_t *request = codec_doc_new(CODEC_TOKEN_NEW);
	_cleanup_(codec_doc_destroy) codec_doc_t *answer = NULL;
	const struct cli_options *options = &cli->options;
	const char *role = options->role != NULL ? options->role : "agent";
	uint64_t life_s = TOKEN_DEFAULT_S;
	struct cli_peer *controller;
	enum bus_role parsed;
	int status;

	if (bus_role_parse(role, &parsed) < 0 ||
	    (parsed & (BUS_ROLE_AGENT | BUS_ROLE_RECORDER | BUS_ROLE_ADMIN | BUS_ROLE_VIEWER |
	               BUS_ROLE_SUBSCRIBER)) == 0) {
		return cli_fail(cli, CLI_USAGE,
		                "--role %s: say agent, recorder, admin, viewer or subscriber",
		                role);
	}
	if (options->life != NULL &&
	    (cli_duration_parse(options->life, &life_s) < 0 || life_s == 0)) {
		return cli_fail(cli, CLI_USAGE, "--for %s: say 30m, 1h or 2d", options->life);
	}
	if (request == NULL) {
		return cli_fail(cli, CLI_ERROR, "%s", pr_strerror(PR_ENOMEM));
	}
	codec_doc_set_text(request, CODEC_TOKEN_NEW_ROLE, role);
	codec_doc_set_text(request, CODEC_TOKEN_NEW_NAME,
	                   options->name != NULL ? options->name : "");
	codec_doc_set_u64(request, CODEC_TOKEN_NEW_SECONDS, life_s);
	codec_doc_set_u64(request, CODEC_TOKEN_NEW_APPROVED, !options->pending);
	status = cli_controller_get(cli, &controller);
	if (status == CLI_DONE) {
		status = cli_ask(cli, controller, request, NULL, NULL, &answer);
	}
	if (status != CLI_DONE) {
		return status;
	}
	if (codec_doc_type(answer) != CODEC_OK) {
		return cli_fail(cli, CLI_ERROR, "the controller gave an unexpected answer");
	}
	return token_print(cli, role, codec_doc_text(answer, CODEC_OK_TEXT), life_s);
}
