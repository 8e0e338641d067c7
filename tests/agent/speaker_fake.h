/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/**
 * @file
 * A controller, workers and a recorder of a few lines each, on real sockets in the speaker's own
 * thread, and a speaker beside them.
 */

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/speaker/speaker.h"
#include "base/clock.h"
#include "base/err.h"
#include "tests/tap.h"

#define FAKE_WORKERS    2
#define FAKE_EVENTS_MAX 100000

struct fake_worker {
	bus_server_t *server;
	struct pr_uuid id;
	bool frozen; /* keeps its connection, says nothing */
	unsigned requests, frames, notices;
	uint64_t directory;         /* of the last request */
	struct codec_notice notice; /* the last one */
};

struct fake {
	char folder[64];
	bus_keyring_t *keyring;
	bus_context_t *context;
	struct bus_key server_key, agent_key;
	struct bus_sign_key authority;
	struct pr_uuid agent;

	bus_server_t *controller;
	unsigned hellos, inventories, deltas, endpoints, gone, state_gets, directory_gets;
	uint64_t directory_version, state_number, services_number;
	bool state_pending; /* push a state at the next STATE_GET */
	unsigned state_modes;
	const struct bus_sign_key *signer;
	bool mute_inventory;
	char counters[4096];

	struct fake_worker workers[FAKE_WORKERS];

	bus_server_t *recorder;
	bool recorder_mute; /* takes events, acknowledges nothing */
	uint8_t stored[FAKE_EVENTS_MAX];
	uint64_t last_seq, duplicates, gaps, lost, names, event_frames;

	speaker_t *speaker;
	unsigned verdicts, states, services;
	uint64_t last_verdict_ns;
	struct speaker_state state; /* without modes */
	bool reachable;
};

/* ---- servers ---- */

static inline bus_server_t *fake_server(struct fake *fake, unsigned port)
{
	char endpoint[64];
	bus_server_t *server = NULL;
	(void)snprintf(endpoint, sizeof(endpoint), "tcp://127.0.0.1:%u", port);
	const struct bus_server_options options = {
		.endpoint = port != 0 ? endpoint : "tcp://127.0.0.1:*",
		.key = &fake->server_key,
		.roles = BUS_ROLE_AGENT,
		.frame_max_bytes = 1 << 20,
		.high_water_mark = 20000,
	};
	int ret = bus_server_new(fake->context, &options, &server);
	if (ret != PR_OK) {
		ok(false, "a fake service starts: %s", pr_strerror(ret));
		exit(tap_done());
	}
	return server;
}

static inline void fake_answer(bus_server_t *server, const struct bus_route *route,
                               codec_doc_t *document)
{
	uint8_t *data = NULL;
	size_t size_bytes = 0;

	if (codec_doc_encode(document, &data, &size_bytes) == PR_OK) {
		(void)!bus_server_send(server, route, data, size_bytes);
	}
	free(data);
	codec_doc_destroy(&document);
}

static inline codec_doc_t *fake_sign(const struct fake *fake, codec_doc_t *body,
                                     enum codec_type type, unsigned body_field,
                                     unsigned signature_field)
{
	uint8_t *data = NULL, signature[BUS_SIGNATURE_BYTES];
	size_t size_bytes = 0;
	codec_doc_t *document = codec_doc_new(type);

	if (codec_doc_encode(body, &data, &size_bytes) == PR_OK &&
	    bus_sign(fake->signer, data, size_bytes, signature) == PR_OK) {
		codec_doc_set_blob(document, body_field, data, size_bytes);
		codec_doc_set_blob(document, signature_field, signature, sizeof(signature));
	}
	free(data);
	codec_doc_destroy(&body);
	return document;
}

static inline codec_doc_t *fake_state(const struct fake *fake)
{
	codec_doc_t *body = codec_doc_new(CODEC_AGENT_STATE);
	char text[PR_UUID_TEXT_BYTES];

	codec_doc_set_u64(body, CODEC_AGENT_STATE_NUMBER, fake->state_number);
	codec_doc_set_u64(body, CODEC_AGENT_STATE_REVISION, 3);
	codec_doc_set_uuid(body, CODEC_AGENT_STATE_AGENT, &fake->agent);
	codec_doc_set_text(body, CODEC_AGENT_STATE_DEFAULT_MODE, "enforce");
	for (unsigned i = 0; i < fake->state_modes; i++) {
		codec_doc_addf(body, CODEC_AGENT_STATE_MODES, "%s enforce deny 0",
		               pr_uuid_format(&fake->agent, text));
	}
	codec_doc_add_text(body, CODEC_AGENT_STATE_LIFELINE, "IN 192.0.2.0/24 tcp/22");
	return fake_sign(fake, body, CODEC_STATE, CODEC_STATE_BODY, CODEC_STATE_SIGNATURE);
}

static inline codec_doc_t *fake_directory(const struct fake *fake)
{
	codec_doc_t *body = codec_doc_new(CODEC_SERVICES);
	char key[BUS_KEY_TEXT_BYTES], id[PR_UUID_TEXT_BYTES];

	codec_doc_set_u64(body, CODEC_SERVICES_NUMBER, fake->services_number);
	(void)bus_key_format(fake->server_key.public_key, key);
	/* The same controller under another address: it must not get a second session. */
	codec_doc_addf(body, CODEC_SERVICES_CONTROLLERS, "tcp://127.0.0.2:%u %s %s",
	               bus_server_port(fake->controller), key, pr_uuid_format(&fake->agent, id));
	for (unsigned i = 0; i < FAKE_WORKERS; i++) {
		codec_doc_addf(body, CODEC_SERVICES_WORKERS, "tcp://127.0.0.1:%u %s %s",
		               bus_server_port(fake->workers[i].server), key,
		               pr_uuid_format(&fake->workers[i].id, id));
	}
	if (fake->recorder != NULL) {
		codec_doc_addf(body, CODEC_SERVICES_RECORDERS, "tcp://127.0.0.1:%u %s %s",
		               bus_server_port(fake->recorder), key,
		               pr_uuid_format(&fake->agent, id));
	}
	return fake_sign(fake, body, CODEC_DIRECTORY, CODEC_DIRECTORY_BODY,
	                 CODEC_DIRECTORY_SIGNATURE);
}

static inline void fake_inventory_end(struct fake *fake, const struct bus_route *route,
                                      const codec_doc_t *document)
{
	bool full = codec_doc_u64(document, CODEC_INVENTORY_END_FULL) != 0;
	fake->inventories += full;
	fake->deltas += !full;
	fake->directory_version++;
	if (!fake->mute_inventory) {
		codec_doc_t *ack = codec_doc_new(CODEC_INVENTORY_ACK);
		codec_doc_set_u64(ack, CODEC_INVENTORY_ACK_ID,
		                  codec_doc_u64(document, CODEC_INVENTORY_END_ID));
		codec_doc_set_u64(ack, CODEC_INVENTORY_ACK_DIRECTORY, fake->directory_version);
		fake_answer(fake->controller, route, ack);
	}
}

static inline void fake_controller_document(struct fake *fake, const struct bus_route *route,
                                            const codec_doc_t *document)
{
	switch (codec_doc_type(document)) {
	case CODEC_HELLO:
		fake->hellos++;
		break;
	case CODEC_ENDPOINT:
		fake->endpoints++;
		break;
	case CODEC_ENDPOINT_GONE:
		fake->gone++;
		break;
	case CODEC_INVENTORY_END:
		fake_inventory_end(fake, route, document);
		break;
	case CODEC_DIRECTORY_GET:
		fake->directory_gets++;
		fake_answer(fake->controller, route, fake_directory(fake));
		break;
	case CODEC_STATE_GET:
		fake->state_gets++;
		fake->counters[0] = '\0';
		for (size_t i = 0; i < codec_doc_count(document, CODEC_STATE_GET_COUNTERS); i++) {
			size_t used = strlen(fake->counters);
			(void)snprintf(fake->counters + used, sizeof(fake->counters) - used, "%s\n",
			               codec_doc_item(document, CODEC_STATE_GET_COUNTERS, i));
		}
		if (fake->state_pending) {
			fake->state_pending = false;
			fake_answer(fake->controller, route, fake_state(fake));
		}
		break;
	default:
		ok(false, "the controller understands");
		break;
	}
}

static inline void fake_controller_turn(struct fake *fake)
{
	struct bus_frame frame;

	while (fake->controller != NULL && bus_server_receive(fake->controller, &frame) == PR_OK) {
		codec_doc_t *document = NULL;
		if (codec_doc_decode(frame.data, frame.size_bytes, &document) != PR_OK) {
			ok(false, "a frame for the controller decodes");
			continue;
		}
		fake_controller_document(fake, &frame.route, document);
		codec_doc_destroy(&document);
	}
}

static inline bool fake_notices_take(struct fake_worker *worker, const struct bus_frame *frame)
{
	static struct codec_notice notices[CODEC_BATCH_MAX];
	size_t count = 0;

	if (codec_records_decode(CODEC_NOTICE, frame->data, frame->size_bytes, notices, &count) !=
	    PR_OK) {
		return false;
	}
	worker->notices += (unsigned)count;
	worker->notice = notices[count - 1];
	return true;
}

static inline void fake_worker_turn(struct fake *fake, struct fake_worker *worker)
{
	static struct codec_request requests[CODEC_BATCH_MAX];
	static uint8_t data[CODEC_FRAME_MAX_BYTES];
	struct codec_verdict verdicts[CODEC_BATCH_MAX];
	struct bus_frame frame;
	size_t count = 0, size_bytes = 0;

	(void)fake;
	while (worker->server != NULL && !worker->frozen &&
	       bus_server_receive(worker->server, &frame) == PR_OK) {
		if (fake_notices_take(worker, &frame)) {
			continue;
		}
		if (codec_records_decode(CODEC_REQUEST, frame.data, frame.size_bytes, requests,
		                         &count) != PR_OK) {
			ok(false, "a frame of requests decodes");
			continue;
		}
		worker->frames++;
		for (size_t i = 0; i < count; i++) {
			verdicts[i] = (struct codec_verdict){ .id = requests[i].id,
				                              .action = CODEC_ACTION_ALLOW };
			worker->directory = requests[i].directory;
			worker->requests++;
		}
		if (codec_records_encode(CODEC_VERDICT, verdicts, count, data, sizeof(data),
		                         &size_bytes) == PR_OK) {
			(void)!bus_server_send(worker->server, &frame.route, data, size_bytes);
		}
	}
}

static inline void fake_events_store(struct fake *fake, const struct codec_event *events,
                                     size_t count)
{
	for (size_t i = 0; i < count; i++) {
		uint64_t seq = events[i].seq;
		if (seq >= FAKE_EVENTS_MAX || fake->stored[seq] != 0) {
			fake->duplicates++;
			continue;
		}
		fake->stored[seq] = 1;
		fake->gaps += seq > fake->last_seq + 1 ? seq - fake->last_seq - 1 : 0;
		fake->last_seq = seq > fake->last_seq ? seq : fake->last_seq;
	}
}

static inline void fake_recorder_frame(struct fake *fake, const struct bus_frame *frame)
{
	static struct codec_event events[CODEC_BATCH_MAX];
	static uint8_t data[CODEC_FRAME_MAX_BYTES];
	enum codec_type type;
	codec_doc_t *document = NULL;
	size_t count = 0, size_bytes = 0;

	if (codec_frame_type(frame->data, frame->size_bytes, &type) == PR_OK &&
	    type == CODEC_EVENT &&
	    codec_records_decode(CODEC_EVENT, frame->data, frame->size_bytes, events, &count) ==
	            PR_OK) {
		fake->event_frames++;
		fake_events_store(fake, events, count);
	} else if (codec_doc_decode(frame->data, frame->size_bytes, &document) == PR_OK) {
		if (codec_doc_type(document) == CODEC_SPOOL_LOST) {
			fake->lost += codec_doc_u64(document, CODEC_SPOOL_LOST_COUNT);
			fake->last_seq = codec_doc_u64(document, CODEC_SPOOL_LOST_FIRST) +
			                 codec_doc_u64(document, CODEC_SPOOL_LOST_COUNT) - 1;
		} else if (codec_doc_type(document) == CODEC_ENDPOINT) {
			fake->names++;
		}
		codec_doc_destroy(&document);
	} else {
		ok(false, "the recorder understands");
	}
	struct codec_event_ack ack = { .seq = fake->last_seq };
	if (!fake->recorder_mute && codec_records_encode(CODEC_EVENT_ACK, &ack, 1, data,
	                                                 sizeof(data), &size_bytes) == PR_OK) {
		(void)!bus_server_send(fake->recorder, &frame->route, data, size_bytes);
	}
}

static inline void fake_recorder_turn(struct fake *fake)
{
	struct bus_frame frame;

	while (fake->recorder != NULL && bus_server_receive(fake->recorder, &frame) == PR_OK) {
		fake_recorder_frame(fake, &frame);
	}
}

/* ---- the speaker ---- */

static inline void fake_on_verdict(void *context, const struct codec_verdict *verdict)
{
	struct fake *fake = context;
	(void)verdict;
	fake->verdicts++;
	fake->last_verdict_ns = pr_clock_monotonic_ns();
}

static inline void fake_on_state(void *context, const struct speaker_state *state)
{
	struct fake *fake = context;
	fake->states++;
	fake->state = *state;
	fake->state.modes = NULL;
}

static inline void fake_on_services(void *context)
{
	((struct fake *)context)->services++;
}

static inline void fake_on_reachable(void *context, bool reachable)
{
	((struct fake *)context)->reachable = reachable;
}

static inline void fake_on_counters(void *context, codec_doc_t *state_get)
{
	(void)context;
	codec_doc_add_text(state_get, CODEC_STATE_GET_COUNTERS, "gate_counter 1");
}

/* @p spool_max_bytes: 0: 16 MiB. */
static inline int fake_speaker(struct fake *fake, uint64_t spool_max_bytes, bool configured)
{
	struct speaker_service service = { 0 };
	if (configured) {
		(void)snprintf(service.endpoint, sizeof(service.endpoint), "tcp://127.0.0.1:%u",
		               bus_server_port(fake->controller));
		memcpy(service.key, fake->server_key.public_key, BUS_KEY_BYTES);
	}
	const struct speaker_options options = {
		.state_folder = fake->folder,
		.id = fake->agent,
		.key = &fake->agent_key,
		.authority_key = fake->authority.public_key,
		.controllers = &service,
		.controller_count = configured,
		.version = "test",
		.spool_max_bytes = spool_max_bytes > 0 ? spool_max_bytes : 16 << 20,
		.requests_max = 4096,
	};
	const struct speaker_outlet outlet = {
		.context = fake,
		.verdict = fake_on_verdict,
		.state = fake_on_state,
		.services = fake_on_services,
		.reachable = fake_on_reachable,
		.counters = fake_on_counters,
	};
	return speaker_new(fake->context, &options, &outlet, &fake->speaker);
}

static inline void fake_open(struct fake *fake)
{
	*fake = (struct fake){ .folder = "/tmp/prt-speaker-XXXXXX",
		               .agent = pr_uuid_new(),
		               .state_number = 1,
		               .services_number = 1,
		               .state_pending = true,
		               .state_modes = 1 };
	ok(mkdtemp(fake->folder) != NULL, "a state folder");
	fake->keyring = bus_keyring_new();
	ok(bus_key_new(&fake->server_key) == PR_OK && bus_key_new(&fake->agent_key) == PR_OK &&
	           bus_sign_key_new(&fake->authority) == PR_OK &&
	           bus_context_new(fake->keyring, &fake->context) == PR_OK,
	   "keys and a context");
	fake->signer = &fake->authority;
	struct bus_peer peer = { .id = fake->agent, .role = BUS_ROLE_AGENT };
	memcpy(peer.public_key, fake->agent_key.public_key, BUS_KEY_BYTES);
	ok(bus_keyring_put(fake->keyring, &peer) == PR_OK, "the agent is enrolled");
	fake->controller = fake_server(fake, 0);
	fake->recorder = fake_server(fake, 0);
	for (unsigned i = 0; i < FAKE_WORKERS; i++) {
		fake->workers[i].id = pr_uuid_of_bytes("worker", &i, sizeof(i));
		fake->workers[i].server = fake_server(fake, 0);
	}
}

static inline void fake_close(struct fake *fake)
{
	speaker_destroy(&fake->speaker);
	bus_server_destroy(&fake->controller);
	bus_server_destroy(&fake->recorder);
	for (unsigned i = 0; i < FAKE_WORKERS; i++) {
		bus_server_destroy(&fake->workers[i].server);
	}
	bus_context_destroy(&fake->context);
	bus_keyring_destroy(&fake->keyring);
}

static inline void fake_folder_clear(const char *folder)
{
	DIR *dir = opendir(folder);
	struct dirent *entry;

	while (dir != NULL && (entry = readdir(dir)) != NULL) {
		(void)unlinkat(dirfd(dir), entry->d_name, 0);
	}
	if (dir != NULL) {
		(void)closedir(dir);
	}
}

/* After the speaker has gone. */
static inline void fake_folder_remove(const struct fake *fake)
{
	char events[128];

	(void)snprintf(events, sizeof(events), "%s/events", fake->folder);
	fake_folder_clear(events);
	(void)rmdir(events);
	fake_folder_clear(fake->folder);
	(void)rmdir(fake->folder);
}

/* A turn of everybody. */
static inline void fake_turn(struct fake *fake)
{
	if (fake->speaker != NULL) {
		speaker_turn(fake->speaker, pr_clock_monotonic_ns(), true);
	}
	fake_controller_turn(fake);
	fake_recorder_turn(fake);
	for (unsigned i = 0; i < FAKE_WORKERS; i++) {
		fake_worker_turn(fake, &fake->workers[i]);
	}
	(void)poll(NULL, 0, 1);
}

/* Turns until a condition holds. */
#define fake_until(fake, timeout_ms, condition)                                         \
	({                                                                              \
		uint64_t _end_ns = pr_clock_monotonic_ns() + (timeout_ms)*PR_NS_PER_MS; \
		while (!(condition) && pr_clock_monotonic_ns() < _end_ns) {             \
			fake_turn(fake);                                                \
		}                                                                       \
		(condition);                                                            \
	})
