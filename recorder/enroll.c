/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "codec/codec.h"
#include "recorder/identity.h"

#define ANSWER_MS 15000

static _printf_(3, 4) int fail(struct recorder_problem *problem, int err, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	(void)vsnprintf(problem->text, sizeof(problem->text), format, args);
	va_end(args);
	return err;
}

/* "-" is a line of standard input, so that the token stands in nobody's list of processes. */
static int token_read(const char *text, struct bus_token *ret_token,
                      struct recorder_problem *problem)
{
	char line[BUS_TOKEN_TEXT_BYTES + 2] = "";

	if (strcmp(text, "-") == 0) {
		if (fgets(line, sizeof(line), stdin) == NULL) {
			return fail(problem, PR_EINVAL, "no token came on standard input");
		}
		line[strcspn(line, "\r\n")] = '\0';
		text = line;
	}
	int err = bus_token_parse(text, ret_token);
	bus_key_wipe(line, sizeof(line));
	if (err != PR_OK) {
		return fail(problem, err,
		            "that is no enrolment token; `portreeve enroll` prints one");
	}
	if (ret_token->role != BUS_ROLE_RECORDER) {
		return fail(problem, PR_EROLE, "the token is for role %s, not for a recorder",
		            bus_role_name(ret_token->role));
	}
	if (ret_token->expires_wall_ns != 0 && ret_token->expires_wall_ns < pr_clock_wall_ns()) {
		return fail(problem, PR_EEXPIRED, "the token has expired; make a new one");
	}
	return PR_OK;
}

/* The key is on disk before it is told to anybody. */
static int own_key(const char *path, struct pr_uuid *ret_id, struct bus_key *ret_key,
                   struct recorder_problem *problem)
{
	if (access(path, F_OK) != 0) {
		struct pr_uuid id = pr_uuid_new();
		struct bus_key key;
		int err = bus_key_new(&key);
		if (err == PR_OK) {
			err = bus_key_save(path, &id, &key);
		}
		bus_key_wipe(&key, sizeof(key));
		if (err != PR_OK) {
			return fail(problem, err, "%.300s: %s", path, pr_strerror(err));
		}
	}
	int err = bus_key_load(path, ret_id, ret_key);
	return err == PR_OK ? PR_OK : fail(problem, err, "%.300s: %s", path, pr_strerror(err));
}

/* Send once the link is up, then wait for the answer. */
static int exchange(bus_client_t *client, const uint8_t *request, size_t request_bytes,
                    struct codec_joined *ret_joined, struct recorder_problem *problem)
{
	const uint8_t *data;
	size_t size_bytes;

	int err =
		bus_client_exchange(client, request, request_bytes, ANSWER_MS, &data, &size_bytes);
	if (err == PR_EPERM) {
		return fail(problem, err,
		            "the controller refused the token: used, expired, or of another "
		            "controller; make a new one");
	}
	if (err != PR_OK) {
		return fail(problem, err, "the controller: %s; is it running?", pr_strerror(err));
	}
	err = codec_join_decode(data, size_bytes, ret_joined);
	return err == PR_OK ? PR_OK
	                    : fail(problem, err, "the controller refused: %s", ret_joined->refusal);
}

static int ask(bus_context_t *context, const struct bus_token *token, const struct pr_uuid *id,
               const struct bus_key *key, struct codec_joined *ret_joined,
               struct recorder_problem *problem)
{
	_cleanup_(bus_client_destroy) bus_client_t *client = NULL;
	_cleanup_(pr_free) uint8_t *request = NULL;
	char name[64] = "recorder";
	size_t request_bytes;

	(void)gethostname(name, sizeof(name) - 1);
	int err = codec_join_encode(id, key->public_key, name, &request, &request_bytes);
	if (err == PR_OK) {
		const struct bus_client_options options = { .endpoint = token->endpoint,
			                                    .server_key = token->server_key,
			                                    .key = &token->key,
			                                    .frame_max_bytes =
			                                            CODEC_FRAME_MAX_BYTES };
		err = bus_client_new(context, &options, &client);
	}
	if (err != PR_OK) {
		return fail(problem, err, "%s: %s", token->endpoint, pr_strerror(err));
	}
	return exchange(client, request, request_bytes, ret_joined, problem);
}

static int keep(store_t *store, const struct bus_token *token, const struct codec_joined *joined,
                struct recorder_problem *problem)
{
	char line[sizeof(token->endpoint) + BUS_KEY_TEXT_BYTES + 2], key[BUS_KEY_TEXT_BYTES];

	(void)bus_key_format(joined->authority_key, key);
	int err = store_value_put(store, RECORDER_VALUE_AUTHORITY, key, strlen(key));
	if (err == PR_OK) {
		(void)snprintf(line, sizeof(line), "%s %s", token->endpoint,
		               bus_key_format(token->server_key, key));
		/* The last step: with it we have joined. */
		err = store_value_put(store, RECORDER_VALUE_CONTROLLER, line, strlen(line));
	}
	return err == PR_OK ? PR_OK : fail(problem, err, "state directory: %s", pr_strerror(err));
}

int recorder_enroll(const struct recorder_conf *conf, store_t *store, bus_context_t *context,
                    const char *token_text, struct recorder_problem *problem)
{
	_cleanup_(pr_free) uint8_t *joined_already = NULL;
	struct bus_token token = { 0 };
	struct codec_joined joined = { 0 };
	struct bus_key key = { 0 };
	struct pr_uuid id;
	char path[4096];
	size_t size_bytes;

	if (store_value_get(store, RECORDER_VALUE_CONTROLLER, &joined_already, &size_bytes) ==
	    PR_OK) {
		(void)printf("joined already, the token is not used\n");
		return PR_OK;
	}
	if (!recorder_key_path(conf, path, sizeof(path))) {
		return fail(problem, PR_ECONF, "the path of the key file is too long");
	}
	int err = token_read(token_text, &token, problem);
	if (err == PR_OK) {
		err = own_key(path, &id, &key, problem);
	}
	if (err == PR_OK) {
		err = ask(context, &token, &id, &key, &joined, problem);
	}
	if (err == PR_OK) {
		err = keep(store, &token, &joined, problem);
	}
	bus_key_wipe(&token, sizeof(token));
	bus_key_wipe(&key, sizeof(key));
	if (err == PR_OK) {
		(void)printf("joined%s\n",
		             joined.pending ? "; waits for `portreeve agent approve`" : "");
	}
	return err;
}
