/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/internal.h"
#include "base/clock.h"
#include "base/err.h"

#define ANSWER_MS 15000

static int token_read(const char *text, struct bus_token *ret_token,
                      struct agent_problem *ret_problem)
{
	char line[BUS_TOKEN_TEXT_BYTES + 2] = "";

	if (strcmp(text, "-") == 0) {
		if (fgets(line, sizeof(line), stdin) == NULL) {
			return agent_fail(ret_problem, PR_EINVAL,
			                  "no token came on standard input");
		}
		line[strcspn(line, "\r\n")] = '\0';
		text = line;
	}
	int ret = bus_token_parse(text, ret_token);
	bus_key_wipe(line, sizeof(line));
	if (ret != PR_OK) {
		return agent_fail(ret_problem, ret,
		                  "this is not a whole token: copy all of what `portreeve enroll` "
		                  "printed");
	}
	if (ret_token->role != BUS_ROLE_AGENT) {
		return agent_fail(ret_problem, PR_EROLE,
		                  "the token is for role %s, not for an agent",
		                  bus_role_name(ret_token->role));
	}
	if (ret_token->expires_wall_ns != 0 && ret_token->expires_wall_ns <= pr_clock_wall_ns()) {
		return agent_fail(ret_problem, PR_EEXPIRED,
		                  "this token has expired: ask for a new one (portreeve enroll)");
	}
	return PR_OK;
}

/* The key is on disk before it is told to anybody. */
static int key_take(const char *path, struct pr_uuid *ret_id, struct bus_key *ret_key,
                    struct agent_problem *ret_problem)
{
	int ret = PR_OK;

	if (access(path, F_OK) != 0) {
		struct pr_uuid id = pr_uuid_new();
		struct bus_key key;
		ret = bus_key_new(&key);
		if (ret == PR_OK) {
			ret = bus_key_save(path, &id, &key);
		}
		bus_key_wipe(&key, sizeof(key));
	}
	if (ret == PR_OK) {
		ret = bus_key_load(path, ret_id, ret_key);
	}
	return ret == PR_OK ? PR_OK
	                    : agent_fail(ret_problem, ret, "%s: %s", path, pr_strerror(ret));
}

static int joined_save(const char *path, const struct bus_token *token,
                       const struct codec_joined *joined, struct agent_problem *ret_problem)
{
	char controller[BUS_KEY_TEXT_BYTES], authority[BUS_KEY_TEXT_BYTES];
	char part[AGENT_PATH_BYTES + 8];

	/* Whole or not at all: what stands there says that the token is spent. */
	(void)snprintf(part, sizeof(part), "%s.part", path);
	int fd = open(part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	FILE *file = fd >= 0 ? fdopen(fd, "w") : NULL;

	if (file == NULL) {
		int ret = -errno;
		pr_fd_close(&fd);
		return agent_fail(ret_problem, ret, "%s: %s", path, pr_strerror(ret));
	}
	(void)fprintf(file,
	              "# Written by portreeve-agent --enroll: whom this agent trusts.\n"
	              "controller = \"%s %s\"\nauthority_key = \"%s\"\n",
	              token->endpoint, bus_key_format(token->server_key, controller),
	              bus_key_format(joined->authority_key, authority));
	bool good = fflush(file) == 0 && fsync(fd) == 0;
	good = fclose(file) == 0 && good && rename(part, path) == 0;
	return good ? PR_OK : agent_fail(ret_problem, PR_EIO, "%s: cannot be written", path);
}

static int ask(const struct bus_token *token, const struct pr_uuid *id, const struct bus_key *key,
               const char *name, struct codec_joined *ret_joined, struct agent_problem *ret_problem)
{
	_cleanup_(bus_context_destroy) bus_context_t *context = NULL;
	_cleanup_(bus_client_destroy) bus_client_t *client = NULL;
	_cleanup_(pr_free) uint8_t *request = NULL;
	const uint8_t *answer;
	size_t request_bytes, answer_bytes;
	const struct bus_client_options options = { .endpoint = token->endpoint,
		                                    .server_key = token->server_key,
		                                    .key = &token->key,
		                                    .frame_max_bytes = CODEC_FRAME_MAX_BYTES };

	int ret = codec_join_encode(id, key->public_key, name, &request, &request_bytes);
	if (ret == PR_OK) {
		ret = bus_context_new(NULL, &context);
	}
	if (ret == PR_OK) {
		ret = bus_client_new(context, &options, &client);
	}
	if (ret == PR_OK) {
		ret = bus_client_exchange(client, request, request_bytes, ANSWER_MS, &answer,
		                          &answer_bytes);
	}
	if (ret == PR_EPERM) {
		return agent_fail(ret_problem, ret,
		                  "the controller at %s refused the token: used, expired, or of "
		                  "another controller; ask for a new one (portreeve enroll)",
		                  token->endpoint);
	}
	if (ret != PR_OK) {
		return agent_fail(ret_problem, ret, "the controller at %s: %s", token->endpoint,
		                  pr_strerror(ret));
	}
	ret = codec_join_decode(answer, answer_bytes, ret_joined);
	return ret == PR_OK ? PR_OK
	                    : agent_fail(ret_problem, ret, "the controller refused: %s",
	                                 ret_joined->refusal);
}

int agent_enroll(const struct agent_config *config, const char *token_text, bool *ret_pending,
                 struct agent_problem *ret_problem)
{
	char key_path[AGENT_PATH_BYTES], joined_path[AGENT_PATH_BYTES], name[256];
	struct bus_token token = { .expires_wall_ns = 0 };
	struct codec_joined joined = { .pending = false };
	struct bus_key key;
	struct pr_uuid id;

	int ret = agent_state_directory(config, ret_problem);
	if (ret != PR_OK) {
		return ret;
	}
	agent_path(config, AGENT_KEY_FILE, key_path);
	agent_path(config, AGENT_JOINED_FILE, joined_path);
	if (access(joined_path, F_OK) == 0) {
		*ret_pending = false;
		return PR_OK;
	}
	ret = token_read(token_text, &token, ret_problem);
	if (ret == PR_OK) {
		ret = key_take(key_path, &id, &key, ret_problem);
	}
	if (ret == PR_OK) {
		agent_name(config, name, sizeof(name));
		ret = ask(&token, &id, &key, name, &joined, ret_problem);
		bus_key_wipe(&key, sizeof(key));
	}
	if (ret == PR_OK) {
		ret = joined_save(joined_path, &token, &joined, ret_problem);
	}
	bus_key_wipe(&token, sizeof(token));
	if (ret == PR_OK) {
		*ret_pending = joined.pending;
	}
	return ret;
}
