/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "codec/codec.h"
#include "tests/cli/chain.h"
#include "tests/cli/fake.h"

#define LIVE_NS (100 * PR_NS_PER_MS) /* a follower gets an event so often */

struct serve {
	const struct fake *fake;
	bus_server_t *server;
	struct bus_route route; /* of the request, and of the follower */
	uint64_t id;
	uint64_t follow_id, seq, next_ns;
};

bool fake_init(struct fake *fake)
{
	fake->client = pr_uuid_new();
	fake->first_seq = 1;
	return bus_key_new(&fake->controller_key) == PR_OK &&
	       bus_key_new(&fake->recorder_key) == PR_OK &&
	       bus_key_new(&fake->client_key) == PR_OK &&
	       bus_sign_key_new(&fake->authority) == PR_OK;
}

/* Takes the document. */
static void answer(struct serve *serve, codec_doc_t *doc)
{
	_cleanup_(codec_doc_destroy) codec_doc_t *owned = doc;
	_cleanup_(pr_free) uint8_t *data = NULL;
	size_t size_bytes;

	codec_doc_set_u64(owned, 0, serve->id);
	if (codec_doc_encode(owned, &data, &size_bytes) < 0 ||
	    bus_server_send(serve->server, &serve->route, data, size_bytes) < 0) {
		serve->follow_id = 0; /* who asked has gone */
	}
}

static void say_ok(struct serve *serve, const char *text, uint64_t number)
{
	codec_doc_t *doc = codec_doc_new(CODEC_OK);

	codec_doc_set_text(doc, CODEC_OK_TEXT, text);
	codec_doc_set_u64(doc, CODEC_OK_NUMBER, number);
	answer(serve, doc);
}

static void say_error(struct serve *serve, const char *code, const char *text)
{
	codec_doc_t *doc = codec_doc_new(CODEC_ERROR);

	codec_doc_set_text(doc, CODEC_ERROR_CODE, code);
	codec_doc_set_text(doc, CODEC_ERROR_TEXT, text);
	codec_doc_add_text(doc, CODEC_ERROR_DETAILS, "a detail\033[2J");
	answer(serve, doc);
}

static void say_end(struct serve *serve, bool complete)
{
	codec_doc_t *doc = codec_doc_new(CODEC_END);

	codec_doc_set_u64(doc, CODEC_END_COMPLETE, complete);
	answer(serve, doc);
}

static void say_directory(struct serve *serve)
{
	const struct fake *fake = serve->fake;
	_cleanup_(codec_doc_destroy) codec_doc_t *services = codec_doc_new(CODEC_SERVICES);
	_cleanup_(pr_free) uint8_t *body = NULL;
	codec_doc_t *doc = codec_doc_new(CODEC_DIRECTORY);
	struct bus_sign_key signer = fake->authority;
	char key[BUS_KEY_TEXT_BYTES], id[PR_UUID_TEXT_BYTES];
	uint8_t signature[BUS_SIGNATURE_BYTES];
	size_t size_bytes;

	if (fake->forged && bus_sign_key_new(&signer) < 0) {
		exit(1);
	}
	codec_doc_set_u64(services, CODEC_SERVICES_NUMBER, 1);
	if (fake->recorder_port != 0) {
		codec_doc_addf(services, CODEC_SERVICES_RECORDERS, "tcp://127.0.0.1:%u %s %s",
		               fake->recorder_port,
		               bus_key_format(fake->recorder_key.public_key, key),
		               pr_uuid_format(&fake->client, id));
	}
	if (codec_doc_encode(services, &body, &size_bytes) < 0 ||
	    bus_sign(&signer, body, size_bytes, signature) < 0) {
		exit(1);
	}
	codec_doc_set_blob(doc, CODEC_DIRECTORY_BODY, body, size_bytes);
	codec_doc_set_blob(doc, CODEC_DIRECTORY_SIGNATURE, signature, sizeof(signature));
	answer(serve, doc);
}

static void say_status(struct serve *serve, const char *service)
{
	codec_doc_t *doc = codec_doc_new(CODEC_STATUS);

	codec_doc_set_text(doc, CODEC_STATUS_SERVICE, service);
	codec_doc_add_text(doc, CODEC_STATUS_FACTS, "revision 42");
	codec_doc_add_text(doc, CODEC_STATUS_FACTS, "rss_bytes 3145728");
	codec_doc_add_text(doc, CODEC_STATUS_FACTS, "state all is well");
	answer(serve, doc);
	say_end(serve, true);
}

static void say_policy(struct serve *serve, uint64_t revision)
{
	codec_doc_t *doc = codec_doc_new(CODEC_POLICY);

	bool draft = revision == CODEC_REVISION_DRAFT;

	codec_doc_set_u64(doc, CODEC_POLICY_REVISION, draft ? 41 : revision != 0 ? revision : 42);
	codec_doc_set_u64(doc, CODEC_POLICY_DRAFT, draft);
	codec_doc_set_text(doc, CODEC_POLICY_TEXT,
	                   draft                             ? FAKE_DRAFT
	                   : revision == FAKE_RULES_REVISION ? FAKE_RULES
	                                                     : "mode observe default\n# \033[2J\n");
	codec_doc_set_text(doc, CODEC_POLICY_AUTHOR, "ana");
	codec_doc_set_text(doc, CODEC_POLICY_MESSAGE, "why");
	codec_doc_set_u64(doc, CODEC_POLICY_TIME, 1795476245123000000ULL);
	answer(serve, doc);
}

static void endpoints_answer(struct serve *serve, const codec_doc_t *request)
{
	const char *name = codec_doc_text(request, CODEC_ENDPOINTS_GET_NAME);

	if (strcmp(name, "nobody") == 0) {
		say_error(serve, "PR_ENOENT", "no endpoint is called 'nobody'");
		return;
	}
	if (strcmp(name, "two") == 0) {
		say_error(serve, "PR_EAMBIG", "'two' may be 2 endpoints");
		return;
	}
	if (strcmp(name, "silence") == 0) {
		return;
	}
	answer(serve, sample_endpoint("apache", "container"));
	if (name[0] == '\0') {
		answer(serve, sample_endpoint("dockersrv", "host"));
	}
	say_end(serve, true);
}

/* Says back what was asked, so that tests see what travels. */
static void edit_answer(struct serve *serve, const codec_doc_t *request)
{
	char text[1024];

	(void)snprintf(text, sizeof(text), "%s|%s|%llu|%llu",
	               codec_doc_text(request, CODEC_POLICY_EDIT_CHANGE),
	               codec_doc_text(request, CODEC_POLICY_EDIT_LINE),
	               (unsigned long long)codec_doc_u64(request, CODEC_POLICY_EDIT_NUMBER),
	               (unsigned long long)codec_doc_u64(request, CODEC_POLICY_EDIT_TO));
	say_ok(serve, text, codec_doc_u64(request, CODEC_POLICY_EDIT_NUMBER));
}

static void explain_answer(struct serve *serve, const codec_doc_t *request)
{
	codec_doc_t *rule = codec_doc_new(CODEC_EXPLAIN_RULE);
	codec_doc_t *explanation = codec_doc_new(CODEC_EXPLANATION);
	const char *process = codec_doc_text(request, CODEC_EXPLAIN_GET_PROCESS);

	codec_doc_set_u64(rule, CODEC_EXPLAIN_RULE_NUMBER, 10);
	codec_doc_set_text(rule, CODEC_EXPLAIN_RULE_TEXT, "rule 10 allow \033[2J");
	codec_doc_set_text(rule, CODEC_EXPLAIN_RULE_OUTCOME, "no");
	codec_doc_add_text(rule, CODEC_EXPLAIN_RULE_FIELDS, "source");
	codec_doc_add_text(rule, CODEC_EXPLAIN_RULE_FIELDS, "port");
	codec_doc_add_text(rule, CODEC_EXPLAIN_RULE_BECAUSE, "user ana is in @ops\033[2J");
	answer(serve, rule);
	codec_doc_set_text(explanation, CODEC_EXPLANATION_VERDICT,
	                   process[0] != '\0' ? process : "denied");
	codec_doc_set_text(explanation, CODEC_EXPLANATION_MODE, "observe");
	answer(serve, explanation);
	say_end(serve, true);
}

static void reach_answer(struct serve *serve)
{
	codec_doc_t *row = codec_doc_new(CODEC_REACH);

	codec_doc_set_text(row, CODEC_REACH_SRC, "=cmd\033[2J");
	codec_doc_set_text(row, CODEC_REACH_DST, "db_1");
	codec_doc_set_text(row, CODEC_REACH_SERVICES, "tcp/3306");
	codec_doc_set_u64(row, CODEC_REACH_RULE, 20);
	codec_doc_set_text(row, CODEC_REACH_CONDITION, "user ana");
	answer(serve, row);
	say_end(serve, true);
}

static void audit_answer(struct serve *serve)
{
	codec_doc_t *entry = codec_doc_new(CODEC_AUDIT);

	codec_doc_set_u64(entry, CODEC_AUDIT_NUMBER, 7);
	codec_doc_set_u64(entry, CODEC_AUDIT_TIME, 1795476245123000000ULL);
	codec_doc_set_text(entry, CODEC_AUDIT_NAME, "ana");
	codec_doc_set_text(entry, CODEC_AUDIT_ACTION, "commit");
	codec_doc_set_text(entry, CODEC_AUDIT_TARGET, "revision 7");
	codec_doc_set_text(entry, CODEC_AUDIT_REASON, "because\033[2J");
	codec_doc_set_text(entry, CODEC_AUDIT_UNDO, "portreeve policy rollback 6");
	answer(serve, entry);
	say_end(serve, true);
}

static void groups_answer(struct serve *serve)
{
	codec_doc_t *group = codec_doc_new(CODEC_GROUP);

	codec_doc_set_text(group, CODEC_GROUP_NAME, "web");
	codec_doc_set_u64(group, CODEC_GROUP_COUNT, 3);
	codec_doc_set_u64(group, CODEC_GROUP_RULES, 2);
	codec_doc_add_text(group, CODEC_GROUP_LINES, "group web select name web*");
	answer(serve, group);
	say_end(serve, true);
}

static void usergroups_answer(struct serve *serve, const codec_doc_t *request)
{
	codec_doc_t *usergroup = codec_doc_new(CODEC_USERGROUP);

	codec_doc_set_text(usergroup, CODEC_USERGROUP_NAME, "ops");
	codec_doc_set_u64(usergroup, CODEC_USERGROUP_RULES, 2);
	if (strcmp(codec_doc_text(request, CODEC_USERGROUPS_GET_NAME), "empty") != 0) {
		codec_doc_add_text(usergroup, CODEC_USERGROUP_MEMBERS, "3 ana\033[2J");
		codec_doc_add_text(usergroup, CODEC_USERGROUP_MEMBERS, "4 1000");
	}
	codec_doc_add_text(usergroup, CODEC_USERGROUP_LINES, "usergroup ops member ana, 1000");
	answer(serve, usergroup);
	say_end(serve, true);
}

static void controller_answer(struct serve *serve, const codec_doc_t *request)
{
	char text[256];

	serve->id = codec_doc_u64(request, 0);
	switch ((unsigned)codec_doc_type(request)) {
	case CODEC_DIRECTORY_GET:
		say_directory(serve);
		return;
	case CODEC_STATUS_GET:
		say_status(serve, "controller");
		return;
	case CODEC_ENDPOINTS_GET:
		endpoints_answer(serve, request);
		return;
	case CODEC_POLICY_GET:
		say_policy(serve, codec_doc_u64(request, CODEC_POLICY_GET_REVISION));
		return;
	case CODEC_POLICY_LOG:
		say_policy(serve, 42);
		say_policy(serve, 41);
		say_end(serve, true);
		return;
	case CODEC_POLICY_IMPORT:
		say_ok(serve, "imported", 1);
		return;
	case CODEC_POLICY_COMMIT:
		if (codec_doc_u64(request, CODEC_POLICY_COMMIT_FORCE) == 0) {
			say_error(serve, "PR_ECONFLICT", "somebody committed meanwhile");
		} else {
			say_ok(serve, "", 43);
		}
		return;
	case CODEC_POLICY_EDIT:
		edit_answer(serve, request);
		return;
	case CODEC_POLICY_DISCARD:
		say_ok(serve, "forgotten", 41);
		return;
	case CODEC_EXPLAIN_GET:
		explain_answer(serve, request);
		return;
	case CODEC_REACH_GET:
		reach_answer(serve);
		return;
	case CODEC_AUDIT_GET:
		audit_answer(serve);
		return;
	case CODEC_GROUPS_GET:
		groups_answer(serve);
		return;
	case CODEC_USERGROUPS_GET:
		usergroups_answer(serve, request);
		return;
	case CODEC_MODE_SET:
		(void)snprintf(text, sizeof(text), "mode %s of %s",
		               codec_doc_text(request, CODEC_MODE_SET_MODE),
		               codec_doc_text(request, CODEC_MODE_SET_GROUP));
		say_ok(serve, text, 43);
		return;
	case CODEC_TOKEN_NEW:
		serve->id = 0; /* as one who does not even read it */
		say_error(serve, "PR_EROLE", "a key of role viewer may not send token_new");
		return;
	default:
		say_error(serve, "PR_EINVAL", "the fake does not know that");
	}
}

/* ---- recorder ---- */

static void say_event(struct serve *serve, uint64_t seq)
{
	struct codec_event event = sample_event(seq);

	event.time_wall_ns = pr_clock_wall_ns();
	answer(serve, sample_row(&event));
}

static void say_lost(struct serve *serve)
{
	codec_doc_t *doc = codec_doc_new(CODEC_EVENTS_LOST);

	codec_doc_set_u64(doc, CODEC_EVENTS_LOST_COUNT, 1204);
	answer(serve, doc);
}

/* The story's connections: those at an endpoint, else what the query names. */
static void joined_answer(struct serve *serve, const codec_doc_t *request)
{
	const char *query = codec_doc_text(request, CODEC_EVENTS_GET_QUERY);
	bool busy = serve->fake->busy;

	if (codec_doc_u64(request, CODEC_EVENTS_GET_FOLLOW) != 0) {
		for (unsigned i = 0; i < 2; i++) { /* the second time as after a restart */
			codec_doc_t *late = chain_row(1, false);
			codec_doc_set_u64(late, CODEC_EVENT_ROW_JOIN, CODEC_JOIN_LATE);
			answer(serve, chain_row_alone(CODEC_JOIN_FAR_UNSEEN));
			answer(serve, late);
		}
		answer(serve, chain_row(2, false));
		return;
	}
	for (unsigned i = 0; i < CHAIN_COUNT; i++) {
		char src[64], dst[64], connection[64], id[PR_UUID_TEXT_BYTES];
		struct pr_uuid left = chain_uuid((uint8_t)(i + 1)),
			       right = chain_uuid((uint8_t)(i + 2));
		(void)snprintf(src, sizeof(src), "uuid:%s", pr_uuid_format(&left, id));
		(void)snprintf(dst, sizeof(dst), "uuid:%s", pr_uuid_format(&right, id));
		(void)snprintf(connection, sizeof(connection), "connection:00000000000000a%u", i);
		bool named = strcmp(query, connection) == 0 || query[0] == '\0';
		if (named || strcmp(query, src) == 0 || strcmp(query, dst) == 0) {
			answer(serve, chain_row(i, false));
			if (busy && !named && i < 2) {
				answer(serve, chain_row(i, true));
			}
		}
	}
	say_end(serve, true);
}

static void events_answer(struct serve *serve, const codec_doc_t *request)
{
	const char *query = codec_doc_text(request, CODEC_EVENTS_GET_QUERY);

	bool traced = strncmp(query, "connection:", 11) == 0;

	if (codec_doc_u64(request, CODEC_EVENTS_GET_JOINED) != 0 || traced) {
		joined_answer(serve, request);
		return;
	}

	if (codec_doc_u64(request, CODEC_EVENTS_GET_FOLLOW) == 0) {
		for (uint64_t seq = 1; seq <= 3; seq++) {
			say_event(serve, seq);
		}
		say_lost(serve);
		say_end(serve, strcmp(query, "(name:web) verdict:denied,rejected,would-deny") == 0);
		return;
	}
	if (serve->follow_id == serve->id) {
		return; /* the same again: it lives */
	}
	serve->follow_id = serve->id;
	serve->seq = serve->fake->first_seq;
	for (unsigned i = 0; i < 3; i++) {
		say_event(serve, serve->seq++);
	}
	serve->next_ns = pr_clock_monotonic_ns() + LIVE_NS;
}

/* In two pieces; one user's, with a connection. */
static void users_answer(struct serve *serve, const codec_doc_t *request)
{
	const char *name = codec_doc_text(request, CODEC_USERS_GET_NAME);
	size_t after_bytes = 0;
	(void)codec_doc_blob(request, CODEC_USERS_GET_AFTER, &after_bytes);
	bool second = after_bytes == 5;
	struct pr_uuid id = sample_uuid(SAMPLE_SRC), host = sample_uuid(SAMPLE_DST);
	codec_doc_t *seen = codec_doc_new(CODEC_USER_SEEN);

	if (strcmp(name, "nobody") == 0) {
		codec_doc_destroy(&seen);
		say_end(serve, true);
		return;
	}
	codec_doc_set_uuid(seen, CODEC_USER_SEEN_AGENT, &host);
	codec_doc_set_uuid(seen, CODEC_USER_SEEN_ENDPOINT, second ? &host : &id);
	codec_doc_set_u64(seen, CODEC_USER_SEEN_UID, second ? 1000 : 33);
	codec_doc_set_text(seen, CODEC_USER_SEEN_NAME, second ? "ana" : "=www\xe2\x80\xae\033[2J");
	codec_doc_set_text(seen, CODEC_USER_SEEN_ENDPOINT_NAME, second ? "dockersrv" : "apache");
	codec_doc_set_text(seen, CODEC_USER_SEEN_KIND, second ? "host" : "container");
	codec_doc_set_text(seen, CODEC_USER_SEEN_HOST_NAME, "dockersrv");
	codec_doc_set_u64(seen, CODEC_USER_SEEN_CONNECTIONS, 7);
	codec_doc_set_u64(seen, CODEC_USER_SEEN_DENIED, 2);
	codec_doc_set_u64(seen, CODEC_USER_SEEN_FIRST, 1795476245000000000ULL);
	codec_doc_set_u64(seen, CODEC_USER_SEEN_LAST, 1795476245123000000ULL + second);
	codec_doc_add_text(seen, CODEC_USER_SEEN_PROGRAMS, "7 1795476245123000000 /usr/bin/cu rl");
	answer(serve, seen);
	if (name[0] != '\0') {
		say_event(serve, 1);
	}
	if (!second) {
		codec_doc_t *more = codec_doc_new(CODEC_USERS_MORE);
		codec_doc_set_blob(more, CODEC_USERS_MORE_AFTER, (const uint8_t *)"after", 5);
		answer(serve, more);
	}
	say_end(serve, second);
}

static void recorder_answer(struct serve *serve, const codec_doc_t *request)
{
	serve->id = codec_doc_u64(request, 0);
	if (codec_doc_type(request) == CODEC_STATUS_GET) {
		say_status(serve, "recorder");
	} else if (codec_doc_type(request) == CODEC_USERS_GET) {
		users_answer(serve, request);
	} else {
		events_answer(serve, request);
	}
}

static void recorder_tick(struct serve *serve)
{
	uint64_t now_ns = pr_clock_monotonic_ns();

	if (serve->follow_id != 0 && now_ns >= serve->next_ns) {
		serve->id = serve->follow_id;
		say_event(serve, serve->seq++);
		serve->next_ns = now_ns + LIVE_NS;
	}
}

/* ---- processes ---- */

static void serve_loop(struct serve *serve, bool recorder)
{
	for (;;) {
		struct pollfd fd = { .fd = bus_server_fd(serve->server), .events = POLLIN };
		struct bus_frame frame;
		while (bus_server_receive(serve->server, &frame) == PR_OK) {
			_cleanup_(codec_doc_destroy) codec_doc_t *request = NULL;
			if (codec_doc_decode(frame.data, frame.size_bytes, &request) < 0) {
				continue;
			}
			serve->route = frame.route;
			if (recorder) {
				recorder_answer(serve, request);
			} else {
				controller_answer(serve, request);
			}
		}
		if (recorder) {
			recorder_tick(serve);
		}
		(void)poll(&fd, 1, 20);
	}
}

static void serve_run(const struct fake *fake, bool recorder, int port_fd)
{
	struct serve serve = { .fake = fake };
	bus_keyring_t *keyring = bus_keyring_new();
	bus_context_t *context = NULL;
	struct bus_peer peer = { .id = fake->client, .role = BUS_ROLE_ADMIN, .name = "test" };
	unsigned wanted = recorder ? fake->recorder_port : fake->controller_port;
	char endpoint[64] = "tcp://127.0.0.1:*";
	struct bus_server_options options = {
		.endpoint = endpoint,
		.key = recorder ? &fake->recorder_key : &fake->controller_key,
		.roles = BUS_ROLE_ADMIN,
		.frame_max_bytes = CODEC_DOC_MAX_BYTES,
	};

	if (wanted != 0) {
		(void)snprintf(endpoint, sizeof(endpoint), "tcp://127.0.0.1:%u", wanted);
	}
	memcpy(peer.public_key, fake->client_key.public_key, BUS_KEY_BYTES);
	if (keyring == NULL || bus_keyring_put(keyring, &peer) < 0 ||
	    bus_context_new(keyring, &context) < 0 ||
	    bus_server_new(context, &options, &serve.server) < 0) {
		_exit(1);
	}
	unsigned port = bus_server_port(serve.server);
	if (write(port_fd, &port, sizeof(port)) != sizeof(port)) {
		_exit(1);
	}
	serve_loop(&serve, recorder);
}

static pid_t fake_start(const struct fake *fake, bool recorder, unsigned *ret_port)
{
	int ends[2];
	pid_t pid;

	if (pipe2(ends, O_CLOEXEC) != 0) {
		return -1;
	}
	pid = fork();
	if (pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(ends[0]);
		serve_run(fake, recorder, ends[1]);
		_exit(1);
	}
	close(ends[1]);
	if (pid > 0 && read(ends[0], ret_port, sizeof(*ret_port)) != sizeof(*ret_port)) {
		pid = -1;
	}
	close(ends[0]);
	return pid;
}

pid_t fake_controller_start(struct fake *fake)
{
	return fake_start(fake, false, &fake->controller_port);
}

pid_t fake_recorder_start(struct fake *fake)
{
	return fake_start(fake, true, &fake->recorder_port);
}
