/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "cli/cli.h"

/* What is written where. */
struct join {
	char config_path[CLI_PATH_BYTES], key_path[CLI_PATH_BYTES];
	struct bus_token token;
	struct bus_key key;
	struct pr_uuid id;
	uint8_t authority_key[BUS_KEY_BYTES];
	char name[64];
	bool pending;
};

static void join_wipe(struct join *join)
{
	bus_key_wipe(join, sizeof(*join));
}

/* Make the folders above a path; those that exist stay as they are. */
static int folders_make(const char *path)
{
	char part[CLI_PATH_BYTES];

	(void)snprintf(part, sizeof(part), "%s", path);
	for (char *slash = strchr(part + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		if (mkdir(part, 0700) != 0 && errno != EEXIST) {
			return -errno;
		}
		*slash = '/';
	}
	return PR_OK;
}

static bool absolute(const char *path, char ret_path[static CLI_PATH_BYTES])
{
	_cleanup_(pr_free) char *folder = path[0] == '/' ? NULL : getcwd(NULL, 0);

	return snprintf(ret_path, CLI_PATH_BYTES, "%s%s%s", folder != NULL ? folder : "",
	                folder != NULL ? "/" : "", path) < CLI_PATH_BYTES &&
	       ret_path[0] == '/';
}

static int paths_choose(struct cli *cli, struct join *join)
{
	const struct cli_options *options = &cli->options;
	bool good;

	if (options->config != NULL) {
		good = absolute(options->config, join->config_path);
	} else {
		good = cli_config_home("cli.conf", join->config_path) == PR_OK;
	}
	if (good && options->key != NULL) {
		good = absolute(options->key, join->key_path);
	} else if (good) {
		char *slash = strrchr(join->config_path, '/');
		good = snprintf(join->key_path, CLI_PATH_BYTES, "%.*s/cli.key",
		                (int)(slash - join->config_path),
		                join->config_path) < CLI_PATH_BYTES;
	}
	if (!good) {
		return cli_fail(cli, CLI_ERROR,
		                "nowhere to write to: HOME is not set; say --config FILE");
	}
	if (options->force) {
		(void)unlink(join->key_path);
	}
	if (!options->force && access(join->config_path, F_OK) == 0) {
		return cli_fail(cli, CLI_CONFLICT,
		                "%s exists: this user is enrolled already. Say --config FILE for "
		                "another one, or --force to replace it",
		                join->config_path);
	}
	int ret = folders_make(join->config_path);
	ret = ret == PR_OK ? folders_make(join->key_path) : ret;
	return ret == PR_OK ? CLI_DONE
	                    : cli_fail(cli, CLI_ERROR, "%s: cannot make its folder: %s",
	                               join->config_path, pr_strerror(ret));
}

static int token_read(struct cli *cli, struct join *join)
{
	if (bus_token_parse(cli->options.words[0], &join->token) < 0) {
		return cli_fail(cli, CLI_USAGE,
		                "this is not a whole token: copy all of what `portreeve enroll` "
		                "printed, portreeve-1-...");
	}
	if (join->token.expires_wall_ns != 0 && join->token.expires_wall_ns <= pr_clock_wall_ns()) {
		return cli_fail(cli, CLI_DENIED,
		                "this token has expired: ask for a new one (portreeve enroll)");
	}
	if ((join->token.role & (BUS_ROLE_ADMIN | BUS_ROLE_VIEWER | BUS_ROLE_SUBSCRIBER)) == 0) {
		return cli_fail(
			cli, CLI_USAGE,
			"this token is for role %s, not for a person: portreeve-%s --enroll "
			"TOKEN",
			bus_role_name(join->token.role), bus_role_name(join->token.role));
	}
	return CLI_DONE;
}

static void name_choose(struct cli *cli, struct join *join)
{
	const char *user = getenv("USER");
	char host[64] = "";

	if (cli->options.name != NULL) {
		(void)snprintf(join->name, sizeof(join->name), "%s", cli->options.name);
		return;
	}
	(void)gethostname(host, sizeof(host) - 1);
	(void)snprintf(join->name, sizeof(join->name), "%.28s@%.32s", user != NULL ? user : "root",
	               host);
}

static int enroll(struct cli *cli, struct join *join)
{
	_cleanup_(codec_doc_destroy) codec_doc_t *request = codec_doc_new(CODEC_ENROLL);
	_cleanup_(codec_doc_destroy) codec_doc_t *answer = NULL;
	struct cli_peer *peer = &cli->session.controller;
	const uint8_t *authority;
	size_t authority_bytes;
	int status;

	if (request == NULL) {
		return cli_fail(cli, CLI_ERROR, "%s", pr_strerror(PR_ENOMEM));
	}
	codec_doc_set_uuid(request, CODEC_ENROLL_UUID, &join->id);
	codec_doc_set_blob(request, CODEC_ENROLL_PUBLIC_KEY, join->key.public_key, BUS_KEY_BYTES);
	codec_doc_set_text(request, CODEC_ENROLL_NAME, join->name);
	(void)snprintf(peer->what, sizeof(peer->what), "controller %s", join->token.endpoint);
	status = cli_peer_open(cli, join->token.endpoint, join->token.server_key, &join->token.key,
	                       CODEC_FRAME_MAX_BYTES, peer);
	if (status == CLI_DONE) {
		status = cli_ask(cli, peer, request, NULL, NULL, &answer);
	}
	if (status != CLI_DONE) {
		return status;
	}
	if (codec_doc_type(answer) != CODEC_ENROLLED) {
		return cli_fail(cli, CLI_ERROR, "the controller gave an unexpected answer");
	}
	authority = codec_doc_blob(answer, CODEC_ENROLLED_AUTHORITY_KEY, &authority_bytes);
	if (authority_bytes != BUS_KEY_BYTES) {
		return cli_fail(cli, CLI_ERROR, "the controller sent no authority key");
	}
	memcpy(join->authority_key, authority, BUS_KEY_BYTES);
	join->pending = codec_doc_u64(answer, CODEC_ENROLLED_PENDING) != 0;
	return CLI_DONE;
}

static int config_write(struct cli *cli, const struct join *join)
{
	char server[BUS_KEY_TEXT_BYTES], authority[BUS_KEY_TEXT_BYTES];
	int flags = O_WRONLY | O_CREAT | O_CLOEXEC | (cli->options.force ? O_TRUNC : O_EXCL);
	_cleanup_(pr_fd_close) int fd = open(join->config_path, flags, 0600);
	int written;

	if (fd < 0) {
		return cli_fail(cli, CLI_ERROR, "%s: %s", join->config_path, pr_strerror(-errno));
	}
	written = dprintf(fd,
	                  "# Written by portreeve join.\n"
	                  "key = \"%s\"\ncontroller = \"%s\"\ncontroller_key = \"%s\"\n"
	                  "authority_key = \"%s\"\n",
	                  join->key_path, join->token.endpoint,
	                  bus_key_format(join->token.server_key, server),
	                  bus_key_format(join->authority_key, authority));
	if (written < 0 || fsync(fd) != 0) {
		return cli_fail(cli, CLI_ERROR, "%s: %s", join->config_path, pr_strerror(-errno));
	}
	return CLI_DONE;
}

static int joined_say(struct cli *cli, const struct join *join)
{
	const char *role = bus_role_name(join->token.role);

	if (cli->options.json) {
		return cli_json_print(json_pack("{s:o, s:s, s:s, s:s, s:s, s:b}", "uuid",
		                                cli_json_uuid(&join->id), "name", join->name,
		                                "role", role, "config", join->config_path, "key",
		                                join->key_path, "pending", join->pending),
		                      cli->out)
		               ? CLI_DONE
		               : CLI_ERROR;
	}
	fprintf(cli->out, "enrolled with role %s; configuration %s, key %s\n", role,
	        join->config_path, join->key_path);
	if (join->pending) {
		char id[PR_UUID_TEXT_BYTES];
		cli_note(cli, "An administrator must let you in: portreeve agent approve %s",
		         pr_uuid_format(&join->id, id));
	}
	return CLI_DONE;
}

/* The key is on disk before the one-time token is spent. */
int cli_run_join(struct cli *cli)
{
	_cleanup_(join_wipe) struct join join = { 0 };
	int status = token_read(cli, &join);
	int ret;

	if (status == CLI_DONE) {
		status = paths_choose(cli, &join);
	}
	if (status != CLI_DONE) {
		return status;
	}
	name_choose(cli, &join);
	join.id = pr_uuid_new();
	ret = bus_key_new(&join.key);
	ret = ret == PR_OK ? bus_key_save(join.key_path, &join.id, &join.key) : ret;
	if (ret < 0) {
		return cli_fail(cli, CLI_ERROR, "%s: cannot write the new key: %s", join.key_path,
		                pr_strerror(ret));
	}
	status = enroll(cli, &join);
	if (status != CLI_DONE) {
		(void)unlink(join.key_path);
		return status;
	}
	status = config_write(cli, &join);
	return status == CLI_DONE ? joined_say(cli, &join) : status;
}
