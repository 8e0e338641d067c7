/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/**
 * @file
 * A controller that knows only what a recorder asks of it, the recorder's program as a child, and
 * clients of it. All in one thread: fake_turn() serves the controller. For tests.
 */

#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/err.h"
#include "bus/bus.h"
#include "codec/codec.h"
#include "tests/store/dir.h"
#include "tests/tap.h"

#define FAKE_PEERS_MAX 16

struct fake {
	char base[PATH_MAX];
	bus_keyring_t *keyring;
	bus_context_t *context;
	bus_server_t *server;
	struct bus_key key; /* the controller's */
	struct bus_token token;
	char controller[96]; /* endpoint */
	char recorder[96];
	unsigned recorder_port;
	struct bus_route recorder_route;
	struct pr_uuid recorder_id; /* of the recorder, once it has joined */
	uint8_t recorder_key[BUS_KEY_BYTES];
	struct bus_peer peers[FAKE_PEERS_MAX];
	size_t peer_count;
	uint64_t list_number; /* state of the list */
	const char *policy;   /* text of revision 7 */
	unsigned peers_asked, peers_listed, policies_asked;
	pid_t pid;
};

static inline void fake_doc_send(struct fake *fake, const struct bus_route *route, codec_doc_t *doc)
{
	_cleanup_(pr_free) uint8_t *data = NULL;
	size_t size_bytes;

	if (codec_doc_encode(doc, &data, &size_bytes) == PR_OK) {
		(void)!bus_server_send(fake->server, route, data, size_bytes);
	}
	codec_doc_destroy(&doc);
}

static inline void fake_enroll(struct fake *fake, const struct bus_frame *frame,
                               const codec_doc_t *doc)
{
	size_t key_bytes;
	const uint8_t *key = codec_doc_blob(doc, CODEC_ENROLL_PUBLIC_KEY, &key_bytes);
	struct bus_peer peer = { .id = codec_doc_uuid(doc, CODEC_ENROLL_UUID),
		                 .role = BUS_ROLE_RECORDER };
	codec_doc_t *answer = codec_doc_new(CODEC_ENROLLED);

	memcpy(peer.public_key, key, BUS_KEY_BYTES);
	memcpy(fake->recorder_key, key, BUS_KEY_BYTES);
	fake->recorder_id = peer.id;
	(void)!bus_keyring_put(fake->keyring, &peer);
	codec_doc_set_text(answer, CODEC_ENROLLED_ROLE, "recorder");
	codec_doc_set_blob(answer, CODEC_ENROLLED_AUTHORITY_KEY, fake->key.public_key, 32);
	fake_doc_send(fake, &frame->route, answer);
}

static inline void fake_peers(struct fake *fake, const struct bus_frame *frame,
                              const codec_doc_t *doc)
{
	uint64_t id = codec_doc_u64(doc, CODEC_PEERS_GET_ID);
	bool known = codec_doc_u64(doc, CODEC_PEERS_GET_KNOWN) == fake->list_number;

	fake->peers_asked++;
	fake->recorder_route = frame->route;
	for (size_t i = 0; i < fake->peer_count && !known; i++) {
		const struct bus_peer *peer = &fake->peers[i];
		codec_doc_t *answer = codec_doc_new(CODEC_PEER);
		codec_doc_set_u64(answer, CODEC_PEER_ID, id);
		codec_doc_set_uuid(answer, CODEC_PEER_UUID, &peer->id);
		codec_doc_set_text(answer, CODEC_PEER_ROLE, bus_role_name(peer->role));
		codec_doc_set_text(answer, CODEC_PEER_NAME, peer->name);
		codec_doc_set_blob(answer, CODEC_PEER_PUBLIC_KEY, peer->public_key, BUS_KEY_BYTES);
		codec_doc_set_text(answer, CODEC_PEER_STATUS,
		                   peer->expires_wall_ns == 0 ? "approved" : "revoked");
		fake_doc_send(fake, &frame->route, answer);
	}
	codec_doc_t *end = codec_doc_new(CODEC_END);
	codec_doc_set_u64(end, CODEC_END_ID, id);
	codec_doc_set_u64(end, CODEC_END_NUMBER, fake->list_number);
	fake_doc_send(fake, &frame->route, end);
	fake->peers_listed += !known;
}

static inline void fake_policy(struct fake *fake, const struct bus_frame *frame,
                               const codec_doc_t *doc)
{
	bool known = codec_doc_u64(doc, CODEC_POLICY_GET_REVISION) == 7;
	codec_doc_t *answer = codec_doc_new(known ? CODEC_POLICY : CODEC_ERROR);

	fake->policies_asked++;
	if (known) {
		codec_doc_set_u64(answer, CODEC_POLICY_REVISION, 7);
		codec_doc_set_text(answer, CODEC_POLICY_TEXT, fake->policy);
	}
	fake_doc_send(fake, &frame->route, answer);
}

/** Serve the controller once. */
static inline void fake_turn(struct fake *fake)
{
	struct bus_frame frame;

	while (fake->server != NULL && bus_server_receive(fake->server, &frame) == PR_OK) {
		_cleanup_(codec_doc_destroy) codec_doc_t *doc = NULL;
		if (codec_doc_decode(frame.data, frame.size_bytes, &doc) != PR_OK) {
			continue;
		}
		switch ((int)codec_doc_type(doc)) {
		case CODEC_ENROLL:
			fake_enroll(fake, &frame, doc);
			break;
		case CODEC_PEERS_GET:
			fake_peers(fake, &frame, doc);
			break;
		case CODEC_POLICY_GET:
			fake_policy(fake, &frame, doc);
			break;
		default:
			break;
		}
	}
}

static inline void fake_serve(struct fake *fake)
{
	const struct bus_server_options options = { .endpoint = fake->controller[0] == '\0'
		                                                        ? "tcp://127.0.0.1:*"
		                                                        : fake->controller,
		                                    .key = &fake->key,
		                                    .roles = BUS_ROLE_ENROLLING | BUS_ROLE_RECORDER,
		                                    .frame_max_bytes = CODEC_FRAME_MAX_BYTES };
	int err = bus_server_new(fake->context, &options, &fake->server);
	ok(err == PR_OK, "a controller serves: %s", pr_strerror(err));
	(void)snprintf(fake->controller, sizeof(fake->controller), "tcp://127.0.0.1:%u",
	               bus_server_port(fake->server));
}

/* A port that is free now. */
static inline unsigned fake_port(void)
{
	struct sockaddr_in address = { .sin_family = AF_INET,
		                       .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t length = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)!bind(fd, (struct sockaddr *)&address, sizeof(address));
	(void)!getsockname(fd, (struct sockaddr *)&address, &length);
	close(fd);
	return ntohs(address.sin_port);
}

static inline void fake_open(struct fake *fake)
{
	sigset_t set;

	*fake = (struct fake){ .list_number = 1, .policy = "" };
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	dir_make(fake->base);
	fake->keyring = bus_keyring_new();
	if (bus_key_new(&fake->key) != PR_OK ||
	    bus_context_new(fake->keyring, &fake->context) != PR_OK ||
	    bus_key_new(&fake->token.key) != PR_OK) {
		exit(99);
	}
	fake_serve(fake);
	struct bus_peer peer = { .id = pr_uuid_new(), .role = BUS_ROLE_ENROLLING };
	memcpy(peer.public_key, fake->token.key.public_key, BUS_KEY_BYTES);
	(void)!bus_keyring_put(fake->keyring, &peer);
	(void)snprintf(fake->token.endpoint, sizeof(fake->token.endpoint), "%s", fake->controller);
	memcpy(fake->token.server_key, fake->key.public_key, BUS_KEY_BYTES);
	fake->token.role = BUS_ROLE_RECORDER;
	fake->token.expires_wall_ns = pr_clock_wall_ns() + 600 * PR_NS_PER_S;
	fake->recorder_port = fake_port();
	(void)snprintf(fake->recorder, sizeof(fake->recorder), "tcp://127.0.0.1:%u",
	               fake->recorder_port);
}

/** A key that the controller knows; fake_peers() gives it to the recorder. */
static inline struct bus_peer *fake_peer(struct fake *fake, enum bus_role role, struct bus_key *key)
{
	struct bus_peer *peer = &fake->peers[fake->peer_count++];

	(void)!bus_key_new(key);
	*peer = (struct bus_peer){ .id = pr_uuid_new(), .role = role };
	(void)snprintf(peer->name, sizeof(peer->name), "%s%zu", bus_role_name(role),
	               fake->peer_count);
	memcpy(peer->public_key, key->public_key, BUS_KEY_BYTES);
	fake->list_number++;
	return peer;
}

static inline const char *fake_program(const char *name)
{
	static char path[PATH_MAX];
	const char *builddir = getenv("builddir");
	(void)snprintf(path, sizeof(path), "%s/%s", builddir != NULL ? builddir : ".", name);
	return path;
}

/* Configuration; the state directory is `state` below the test's. */
static inline void fake_configure(struct fake *fake, char path[static PATH_MAX + 16],
                                  const char *more)
{
	(void)snprintf(path, PATH_MAX + 16, "%s/conf", fake->base);
	FILE *file = fopen(path, "we");
	fprintf(file, "state_directory = %s/state\nlisten = %s\n%s", fake->base, fake->recorder,
	        more);
	fclose(file);
}

/** Start the program; @p token NULL: without --enroll. */
static inline void fake_start(struct fake *fake, const char *token, const char *more)
{
	char conf[PATH_MAX + 16], log[PATH_MAX + 16];

	fake_configure(fake, conf, more);
	(void)snprintf(log, sizeof(log), "%s/log", fake->base);
	fake->pid = fork();
	if (fake->pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		int fd = open(log, O_CREAT | O_WRONLY | O_APPEND, 0600);
		(void)dup2(fd, 1);
		(void)dup2(fd, 2);
		execl(fake_program("portreeve-recorder"), "portreeve-recorder", "--config", conf,
		      token != NULL ? "--enroll" : NULL, token, (char *)NULL);
		_exit(127);
	}
}

/** Until the program has ended by itself, or twenty seconds; its status. */
static inline int fake_wait(struct fake *fake)
{
	int status = -1;

	for (unsigned i = 0; i < 20000 && waitpid(fake->pid, &status, WNOHANG) == 0; i++) {
		fake_turn(fake);
		(void)poll(NULL, 0, 1);
	}
	fake->pid = 0;
	return status;
}

/** Join, then run; true once it has asked for the keys of peers. */
static inline bool fake_run(struct fake *fake)
{
	char token[BUS_TOKEN_TEXT_BYTES];

	(void)!bus_token_format(&fake->token, token);
	fake_start(fake, token, "");
	int status = fake_wait(fake);
	ok(WIFEXITED(status) && WEXITSTATUS(status) == 0 && !pr_uuid_is_null(&fake->recorder_id),
	   "a recorder joins with a token");
	fake_start(fake, NULL, "");
	for (unsigned i = 0; i < 10000 && fake->peers_listed == 0; i++) {
		fake_turn(fake);
		(void)poll(NULL, 0, 1);
	}
	return fake->peers_listed > 0;
}

static inline int fake_stop(struct fake *fake, int signal_number)
{
	int status = -1;

	kill(fake->pid, signal_number);
	for (unsigned i = 0; i < 5000 && waitpid(fake->pid, &status, WNOHANG) == 0; i++) {
		fake_turn(fake);
		(void)poll(NULL, 0, 1);
	}
	fake->pid = 0;
	return status;
}

static inline void fake_log_print(const struct fake *fake)
{
	char path[PATH_MAX + 16], line[512];
	(void)snprintf(path, sizeof(path), "%s/log", fake->base);
	FILE *file = fopen(path, "re");
	while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
		printf("# %s", line);
	}
	if (file != NULL) {
		fclose(file);
	}
}

static inline bool fake_log_has(const struct fake *fake, const char *text)
{
	static char log[1 << 16];
	char path[PATH_MAX + 16];
	(void)snprintf(path, sizeof(path), "%s/log", fake->base);
	FILE *file = fopen(path, "re");
	size_t length = file != NULL ? fread(log, 1, sizeof(log) - 1, file) : 0;
	log[length] = '\0';
	if (file != NULL) {
		fclose(file);
	}
	return strstr(log, text) != NULL;
}

static inline void fake_close(struct fake *fake)
{
	if (fake->pid != 0) {
		(void)fake_stop(fake, SIGKILL);
	}
	bus_server_destroy(&fake->server);
	bus_context_destroy(&fake->context);
	bus_keyring_destroy(&fake->keyring);
	dir_remove(fake->base);
}

/* ---- clients of the recorder ---- */

static inline bus_client_t *fake_client(struct fake *fake, const struct bus_key *key)
{
	const struct bus_client_options options = { .endpoint = fake->recorder,
		                                    .server_key = fake->recorder_key,
		                                    .key = key,
		                                    .frame_max_bytes = CODEC_FRAME_MAX_BYTES };
	bus_client_t *client = NULL;
	(void)!bus_client_new(fake->context, &options, &client);
	return client;
}

/** Until the client's link is up, or ten seconds have gone. */
static inline bool fake_up(struct fake *fake, bus_client_t *client)
{
	for (unsigned i = 0; i < 10000 && bus_client_link(client) != BUS_LINK_UP; i++) {
		fake_turn(fake);
		(void)poll(NULL, 0, 1);
	}
	return bus_client_link(client) == BUS_LINK_UP;
}

static inline void fake_send(struct fake *fake, bus_client_t *client, codec_doc_t *doc)
{
	_cleanup_(pr_free) uint8_t *data = NULL;
	size_t size_bytes = 0;

	(void)!codec_doc_encode(doc, &data, &size_bytes);
	codec_doc_destroy(&doc);
	for (unsigned i = 0; i < 1000 && bus_client_send(client, data, size_bytes) == PR_EAGAIN;
	     i++) {
		fake_turn(fake);
		(void)poll(NULL, 0, 1);
	}
}

/** The next frame within a time; borrowed until the next. */
static inline bool fake_receive(struct fake *fake, bus_client_t *client, unsigned timeout_ms,
                                const uint8_t **ret_data, size_t *ret_bytes)
{
	uint64_t end_ns = pr_clock_monotonic_ns() + timeout_ms * PR_NS_PER_MS;

	do {
		fake_turn(fake);
		if (bus_client_receive(client, ret_data, ret_bytes) == PR_OK) {
			return true;
		}
		(void)poll(NULL, 0, 1);
	} while (pr_clock_monotonic_ns() < end_ns);
	return false;
}

/** The next document; NULL: none came. Caller destroys. */
static inline codec_doc_t *fake_doc(struct fake *fake, bus_client_t *client, unsigned timeout_ms)
{
	codec_doc_t *doc = NULL;
	const uint8_t *data;
	size_t size_bytes;

	if (fake_receive(fake, client, timeout_ms, &data, &size_bytes)) {
		(void)!codec_doc_decode(data, size_bytes, &doc);
	}
	return doc;
}

static inline codec_doc_t *fake_events_get(uint64_t id, const char *query, uint64_t limit,
                                           bool follow)
{
	codec_doc_t *doc = codec_doc_new(CODEC_EVENTS_GET);
	codec_doc_set_u64(doc, CODEC_EVENTS_GET_ID, id);
	codec_doc_set_text(doc, CODEC_EVENTS_GET_QUERY, query);
	codec_doc_set_u64(doc, CODEC_EVENTS_GET_LIMIT, limit);
	codec_doc_set_u64(doc, CODEC_EVENTS_GET_FOLLOW, follow);
	return doc;
}

/** Event of an EVENT_ROW. */
static inline struct codec_event fake_row_event(const codec_doc_t *row)
{
	struct codec_event events[CODEC_BATCH_MAX] = { { .seq = 0 } };
	size_t size_bytes, count;
	const uint8_t *data = codec_doc_blob(row, CODEC_EVENT_ROW_EVENT, &size_bytes);
	(void)!codec_records_decode(CODEC_EVENT, data, size_bytes, events, &count);
	return events[0];
}
