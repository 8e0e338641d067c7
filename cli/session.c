/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "cli/cli.h"

#define TURN_MS 2 /* between looks at a connection that is not up yet */

/* One line, whatever was put into it: words of a command line, of a peer, of a file. */
_printf_(3, 0) static void line_say(struct cli *cli, const char *before, const char *format,
                                    va_list args)
{
	_cleanup_(pr_free) char *text = NULL;

	if (vasprintf(&text, format, args) < 0) {
		text = NULL;
	}
	text = text != NULL ? cli_text_escape(text) : NULL;
	fprintf(cli->err, "%s%s\n", before, text != NULL ? text : pr_strerror(PR_ENOMEM));
}

int cli_fail(struct cli *cli, enum cli_exit status, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	line_say(cli, "portreeve: ", format, args);
	va_end(args);
	return (int)status;
}

void cli_note(struct cli *cli, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	line_say(cli, "", format, args);
	va_end(args);
}

enum cli_exit cli_exit_of(int error)
{
	switch (error) {
	case PR_OK:
		return CLI_DONE;
	case PR_ENOENT:
		return CLI_NOT_FOUND;
	case PR_EAMBIG:
	case PR_EINVAL:
		return CLI_USAGE;
	case PR_EPERM:
	case PR_EACCES:
	case PR_EROLE:
	case PR_ESIGN:
	case PR_EEXPIRED:
		return CLI_DENIED;
	case PR_EEXIST:
	case PR_EOLD:
	case PR_ECONFLICT:
		return CLI_CONFLICT;
	case PR_EUNREACH:
	case PR_ETIMEOUT:
		return CLI_UNREACHABLE;
	default:
		return CLI_ERROR;
	}
}

/* ---- set-up ---- */

/* zmq's threads must not take this process's signals. */
static int context_make(struct cli_session *session)
{
	sigset_t all, before;
	int ret;

	sigfillset(&all);
	if (pthread_sigmask(SIG_BLOCK, &all, &before) != 0) {
		return PR_EINVAL;
	}
	ret = bus_context_new(NULL, &session->context);
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	return ret;
}

int cli_session_open(struct cli *cli)
{
	struct cli_session *session = &cli->session;
	struct pr_conf_error error;
	int status, ret;

	if (session->context != NULL) {
		return CLI_DONE;
	}
	session->next_request = 1;
	status = cli_config_find(cli, session->config_path);
	if (status != CLI_DONE) {
		return status;
	}
	session->configured = true;
	ret = pr_conf_load(cli_config_rows, cli_config_row_count, session->config_path,
	                   &session->config, &error);
	if (ret < 0) {
		return cli_fail(cli, CLI_ERROR, "%s", error.text);
	}
	ret = bus_key_load(session->config.key, &session->id, &session->key);
	if (ret < 0) {
		return cli_fail(cli, CLI_ERROR,
		                "%s: %s; `portreeve join` writes a new one, mode 0600",
		                session->config.key, pr_strerror(ret));
	}
	ret = context_make(session);
	if (ret < 0) {
		return cli_fail(cli, CLI_ERROR, "cannot start the bus: %s", pr_strerror(ret));
	}
	return CLI_DONE;
}

void cli_session_done(struct cli_session *session)
{
	bus_client_destroy(&session->controller.client);
	bus_client_destroy(&session->recorder.client);
	bus_context_destroy(&session->context);
	bus_key_wipe(&session->key, sizeof(session->key));
	if (session->configured) {
		pr_conf_done(cli_config_rows, cli_config_row_count, &session->config);
	}
}

int cli_peer_open(struct cli *cli, const char *endpoint, const uint8_t *server_key,
                  const struct bus_key *key, size_t frame_max_bytes, struct cli_peer *peer)
{
	struct bus_client_options options = {
		.endpoint = endpoint,
		.server_key = server_key,
		.key = key,
		.frame_max_bytes = frame_max_bytes,
	};
	int ret;

	if (cli->session.context == NULL) {
		ret = context_make(&cli->session);
		if (ret < 0) {
			return cli_fail(cli, CLI_ERROR, "cannot start the bus: %s",
			                pr_strerror(ret));
		}
		cli->session.next_request = 1;
	}
	ret = bus_client_new(cli->session.context, &options, &peer->client);
	if (ret < 0) {
		return cli_fail(cli, CLI_ERROR, "%s: cannot connect: %s", peer->what,
		                pr_strerror(ret));
	}
	return CLI_DONE;
}

/* ---- requests ---- */

static uint64_t timeout_ns(const struct cli *cli)
{
	return cli->session.config.timeout_ns > 0 ? cli->session.config.timeout_ns
	                                          : 5 * PR_NS_PER_S;
}

/* The caller looks at what came and at the clock, whichever ended the wait. */
static void wait_for(struct cli_peer *peer, uint64_t time_ms)
{
	int ret = bus_client_wait(peer->client, (int)time_ms);

	(void)ret;
}

static int say_silent(struct cli *cli, const struct cli_peer *peer)
{
	return cli_fail(cli, CLI_UNREACHABLE,
	                "%s does not answer within %" PRIu64
	                " ms: is it running, and does a firewall between pass this port?",
	                peer->what, (uint64_t)(timeout_ns(cli) / PR_NS_PER_MS));
}

/* It has the request: nobody knows what became of it. */
static int say_late(struct cli *cli, const struct cli_peer *peer)
{
	return cli_fail(
		cli, CLI_UNREACHABLE,
		"%s has the request and has not answered within %" PRIu64
		" ms: a change may still come into force, look (portreeve policy log, audit) "
		"before you repeat it",
		peer->what, (uint64_t)(timeout_ns(cli) / PR_NS_PER_MS));
}

static int say_refused(struct cli *cli, const struct cli_peer *peer)
{
	return cli_fail(cli, CLI_DENIED,
	                "%s refuses the key %s: it is not approved yet, revoked or expired, or the "
	                "server's key in the configuration is not its own",
	                peer->what,
	                cli->session.config.key != NULL ? cli->session.config.key
	                                                : "of this token");
}

int cli_send(struct cli *cli, struct cli_peer *peer, const codec_doc_t *request)
{
	_cleanup_(pr_free) uint8_t *data = NULL;
	uint64_t end_ns = pr_clock_monotonic_ns() + timeout_ns(cli);
	size_t size_bytes;
	int ret = codec_doc_encode(request, &data, &size_bytes);

	if (ret < 0) {
		return cli_fail(cli, CLI_ERROR, "cannot make the request: %s", pr_strerror(ret));
	}
	for (;;) {
		ret = bus_client_send(peer->client, data, size_bytes);
		if (ret != PR_EAGAIN) {
			break;
		}
		if (bus_client_link(peer->client) == BUS_LINK_REFUSED) {
			return say_refused(cli, peer);
		}
		if (pr_clock_monotonic_ns() >= end_ns) {
			return say_silent(cli, peer);
		}
		wait_for(peer, TURN_MS);
	}
	if (ret < 0) {
		return cli_fail(cli, CLI_ERROR, "%s: cannot send: %s", peer->what,
		                pr_strerror(ret));
	}
	return CLI_DONE;
}

bool cli_answers(const codec_doc_t *doc, uint64_t id)
{
	const struct codec_message *message = codec_message_find(codec_doc_type(doc));

	if (strcmp(message->fields[0].name, "id") != 0) {
		return false;
	}
	/* An error without an id: the peer would not even read our request, the only one. */
	return codec_doc_u64(doc, 0) == id ||
	       (message->type == CODEC_ERROR && codec_doc_u64(doc, 0) == 0);
}

/* The next frame before the end, decoded; others' answers are passed over. */
static int answer_receive(struct cli *cli, struct cli_peer *peer, uint64_t id,
                          codec_doc_t **ret_doc)
{
	uint64_t end_ns = pr_clock_monotonic_ns() + timeout_ns(cli);

	for (;;) {
		_cleanup_(codec_doc_destroy) codec_doc_t *doc = NULL;
		const uint8_t *data;
		size_t size_bytes;
		int ret = bus_client_receive(peer->client, &data, &size_bytes);

		if (ret == PR_EAGAIN) {
			uint64_t now_ns = pr_clock_monotonic_ns();
			bool works = bus_client_link(peer->client) == BUS_LINK_UP &&
			             now_ns < end_ns + peer->patience_ns;
			if (now_ns >= end_ns && !works) {
				return say_late(cli, peer);
			}
			/* Only here: an answer may lie there though the key is no more good. */
			if (bus_client_link(peer->client) == BUS_LINK_REFUSED) {
				return say_refused(cli, peer);
			}
			uint64_t left_ms =
				now_ns < end_ns ? (end_ns - now_ns) / PR_NS_PER_MS + 1 : 200;
			wait_for(peer, left_ms < 200 ? left_ms : 200);
			continue;
		}
		if (ret == PR_OK) {
			ret = codec_doc_decode(data, size_bytes, &doc);
		}
		if (ret == PR_EVERS) {
			return cli_fail(cli, CLI_ERROR,
			                "%s speaks a newer protocol: install the same version of "
			                "portreeve here",
			                peer->what);
		}
		if (ret < 0) {
			return cli_fail(cli, CLI_ERROR, "%s: %s", peer->what, pr_strerror(ret));
		}
		if (cli_answers(doc, id)) {
			*ret_doc = take_ptr(doc);
			return CLI_DONE;
		}
	}
}

static int error_of(const char *code)
{
	static const int errors[] = {
#define X(name, value, text) value,
		PR_ERR_LIST(X)
#undef X
	};

	for (size_t i = 0; i < PR_ARRAY_LEN(errors); i++) {
		if (strcmp(pr_err_name(errors[i]), code) == 0) {
			return errors[i];
		}
	}
	return PR_EIO;
}

int cli_refused(struct cli *cli, const codec_doc_t *error)
{
	const char *code = codec_doc_text(error, CODEC_ERROR_CODE);
	const char *text = codec_doc_text(error, CODEC_ERROR_TEXT);
	enum cli_exit status = cli_exit_of(error_of(code));
	char shown[2048];

	(void)cli_fail(cli, status, "%s",
	               pr_log_escape(text[0] != '\0' ? text : pr_strerror(error_of(code)), shown,
	                             sizeof(shown)));
	for (size_t i = 0; i < codec_doc_count(error, CODEC_ERROR_DETAILS); i++) {
		cli_note(cli, "  %s",
		         pr_log_escape(codec_doc_item(error, CODEC_ERROR_DETAILS, i), shown,
		                       sizeof(shown)));
	}
	return (int)status;
}

int cli_ask(struct cli *cli, struct cli_peer *peer, codec_doc_t *request, cli_visit_fn visit,
            void *arg, codec_doc_t **ret_answer)
{
	uint64_t id = cli->session.next_request++;
	int status;

	codec_doc_set_u64(request, 0, id);
	status = cli_send(cli, peer, request);
	while (status == CLI_DONE) {
		_cleanup_(codec_doc_destroy) codec_doc_t *doc = NULL;
		status = answer_receive(cli, peer, id, &doc);
		if (status != CLI_DONE) {
			break;
		}
		enum codec_type type = codec_doc_type(doc);
		if (type == CODEC_ERROR) {
			bool absent =
				strcmp(codec_doc_text(doc, CODEC_ERROR_CODE), "PR_ENOENT") == 0;
			return absent && cli->absent_is_fine ? (int)CLI_NOT_FOUND
			                                     : cli_refused(cli, doc);
		}
		if (visit == NULL || type == CODEC_OK || type == CODEC_END) {
			if (ret_answer != NULL) {
				*ret_answer = take_ptr(doc);
			}
			return CLI_DONE;
		}
		if (!visit(arg, &doc)) {
			return cli_fail(cli, CLI_ERROR, "%s", pr_strerror(PR_ENOMEM));
		}
	}
	return status;
}

/* ---- who is where ---- */

static int key_read(struct cli *cli, const char *name, const char *text,
                    uint8_t ret_key[static BUS_KEY_BYTES])
{
	if (bus_key_parse(text, ret_key) < 0) {
		return cli_fail(cli, CLI_ERROR, "%s: %s is not a key of 40 characters of Z85",
		                cli->session.config_path, name);
	}
	return CLI_DONE;
}

/* "ADDRESS" or "ADDRESS KEY": each controller may have a key of its own. */
static int controller_open(struct cli *cli, const char *line, struct cli_peer *peer)
{
	struct cli_session *session = &cli->session;
	uint8_t server_key[BUS_KEY_BYTES];
	char endpoint[160];
	size_t bytes = strcspn(line, " \t");
	const char *own_key = line + bytes + strspn(line + bytes, " \t");

	(void)snprintf(endpoint, sizeof(endpoint), "%.*s", (int)bytes, line);
	(void)snprintf(peer->what, sizeof(peer->what), "controller %s", endpoint);
	int status = own_key[0] != '\0'
	                     ? key_read(cli, "the key behind controller", own_key, server_key)
	                     : key_read(cli, "controller_key", session->config.controller_key,
	                                server_key);
	return status == CLI_DONE ? cli_peer_open(cli, endpoint, server_key, &session->key,
	                                          CODEC_DOC_MAX_BYTES, peer)
	                          : status;
}

/* Several controllers: the first whose connection stands; the last one's silence is said later. */
int cli_controller_get(struct cli *cli, struct cli_peer **ret_peer)
{
	struct cli_session *session = &cli->session;
	struct cli_peer *peer = &session->controller;
	int status = cli_session_open(cli);

	for (size_t i = 0; status == CLI_DONE && peer->client == NULL; i++) {
		bool last = i + 1 >= session->config.controllers.count;
		uint64_t end_ns = pr_clock_monotonic_ns() + timeout_ns(cli) / 2;

		status = controller_open(cli, session->config.controllers.items[i], peer);
		while (status == CLI_DONE && !last && pr_clock_monotonic_ns() < end_ns &&
		       bus_client_link(peer->client) == BUS_LINK_CONNECTING) {
			wait_for(peer, TURN_MS);
		}
		if (status == CLI_DONE && !last && bus_client_link(peer->client) != BUS_LINK_UP) {
			cli_note(cli, "portreeve: %s is not reachable, trying the next",
			         peer->what);
			bus_client_destroy(&peer->client);
		}
	}
	*ret_peer = peer;
	return status;
}

/* The services of a signed directory. */
static int directory_open(struct cli *cli, const codec_doc_t *directory, codec_doc_t **ret_services)
{
	uint8_t authority[BUS_KEY_BYTES];
	size_t body_bytes, signature_bytes;
	const uint8_t *body, *signature;
	int status = key_read(cli, "authority_key", cli->session.config.authority_key, authority);

	if (status != CLI_DONE) {
		return status;
	}
	if (codec_doc_type(directory) != CODEC_DIRECTORY) {
		return cli_fail(cli, CLI_ERROR, "%s: unexpected answer to the directory request",
		                cli->session.controller.what);
	}
	body = codec_doc_blob(directory, CODEC_DIRECTORY_BODY, &body_bytes);
	signature = codec_doc_blob(directory, CODEC_DIRECTORY_SIGNATURE, &signature_bytes);
	if (bus_sign_verify(authority, body, body_bytes, signature, signature_bytes) < 0) {
		return cli_fail(cli, CLI_DENIED,
		                "the directory of services is not signed by authority_key of %s: "
		                "not used. Was the authority's key changed? Then enrol again",
		                cli->session.config_path);
	}
	if (codec_doc_decode(body, body_bytes, ret_services) < 0 ||
	    codec_doc_type(*ret_services) != CODEC_SERVICES) {
		return cli_fail(cli, CLI_ERROR, "the directory of services is malformed");
	}
	return CLI_DONE;
}

/* "tcp://ADDRESS:PORT KEY UUID" */
static int service_connect(struct cli *cli, const char *line, const char *name,
                           struct cli_peer *peer)
{
	char endpoint[160], key_text[BUS_KEY_TEXT_BYTES + 1];
	uint8_t key[BUS_KEY_BYTES];

	if (sscanf(line, "%159s %41s", endpoint, key_text) != 2 ||
	    bus_key_parse(key_text, key) < 0) {
		return cli_fail(cli, CLI_ERROR, "the directory's line of the %s is malformed",
		                name);
	}
	(void)snprintf(peer->what, sizeof(peer->what), "%s %s", name, endpoint);
	return cli_peer_open(cli, endpoint, key, &cli->session.key, CODEC_DOC_MAX_BYTES, peer);
}

int cli_recorder_get(struct cli *cli, struct cli_peer **ret_peer)
{
	_cleanup_(codec_doc_destroy) codec_doc_t *request = codec_doc_new(CODEC_DIRECTORY_GET);
	_cleanup_(codec_doc_destroy) codec_doc_t *directory = NULL;
	_cleanup_(codec_doc_destroy) codec_doc_t *services = NULL;
	struct cli_peer *controller;
	int status;

	*ret_peer = &cli->session.recorder;
	if (cli->session.recorder.client != NULL) {
		return CLI_DONE;
	}
	if (request == NULL) {
		return cli_fail(cli, CLI_ERROR, "%s", pr_strerror(PR_ENOMEM));
	}
	status = cli_controller_get(cli, &controller);
	if (status == CLI_DONE) {
		status = cli_ask(cli, controller, request, NULL, NULL, &directory);
	}
	if (status == CLI_DONE) {
		status = directory_open(cli, directory, &services);
	}
	if (status != CLI_DONE) {
		return status;
	}
	if (codec_doc_count(services, CODEC_SERVICES_RECORDERS) == 0) {
		return cli_fail(cli, CLI_UNREACHABLE,
		                "the directory names no recorder: enrol one and start "
		                "portreeve-recorder");
	}
	return service_connect(cli, codec_doc_item(services, CODEC_SERVICES_RECORDERS, 0),
	                       "recorder", &cli->session.recorder);
}
