/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An agent without a host: sends numbered events to a recorder, goes back when they are not
 * acknowledged, and says on stdout what was. For tests of the recorder.
 *
 *	event-load join TOKEN KEY_FILE
 *	event-load ENDPOINT SERVER_KEY KEY_FILE LAST [RATE [FIRST]]
 *
 * The first makes a key and enrols it as an agent's (`portreeve enroll` prints the token). The
 * second:
 * Sends numbers FIRST (1) to LAST, RATE a second (0: as fast as they are acknowledged), prints
 * "ack N" at each acknowledgement and ends when LAST is acknowledged. LAST 0: until SIGTERM.
 */
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/program.h"
#include "bus/bus.h"
#include "codec/codec.h"

#define WINDOW         4096
#define GO_BACK_NS     PR_NS_PER_S
#define EVENTS_A_FRAME 64

struct load {
	bus_client_t *client;
	int signal_fd;
	struct pr_uuid id;
	uint64_t first, last, rate;
	uint64_t acknowledged, sent;
	uint64_t started_ns, progress_ns;
	struct codec_event events[EVENTS_A_FRAME];
	uint8_t frame[CODEC_FRAME_MAX_BYTES];
};

static struct codec_event event_of(const struct load *load, uint64_t seq, uint64_t now_wall_ns)
{
	return (struct codec_event){
		.seq = seq,
		.time_wall_ns = now_wall_ns,
		.latency_us = 100,
		.proto = 6,
		.src = pr_addr_from_v4(0x0100000a),
		.src_port = (uint16_t)(1024 + seq % 60000),
		.dst = pr_addr_from_v4(0x0200000a),
		.dst_port = 80,
		.src_endpoint = load->id,
		.uid = 1000,
		.user = "load",
		.pid = 4242,
		.exe = "/usr/bin/event-load",
		.verdict = CODEC_EVENT_VERDICT_ALLOWED,
		.rule = CODEC_NO_RULE,
		.connection = seq,
	};
}

/* How far the rate lets us go now. */
static uint64_t allowed(const struct load *load, uint64_t now_ns)
{
	uint64_t end = load->acknowledged + WINDOW;

	if (load->last != 0 && end > load->last) {
		end = load->last;
	}
	if (load->rate != 0) {
		uint64_t due = load->first + (now_ns - load->started_ns) * load->rate / PR_NS_PER_S;
		end = due < end ? due : end;
	}
	return end;
}

static void send_due(struct load *load, uint64_t now_ns)
{
	uint64_t end = allowed(load, now_ns);

	while (load->sent < end) {
		uint64_t count = end - load->sent;
		size_t size_bytes;
		count = count < EVENTS_A_FRAME ? count : EVENTS_A_FRAME;
		while (codec_frame_bytes(CODEC_EVENT, count) > sizeof(load->frame)) {
			count--;
		}
		for (uint64_t i = 0; i < count; i++) {
			/* The time follows from the number: an event sent again is the same. */
			load->events[i] =
				event_of(load, load->sent + 1 + i,
			                 1800000000 * PR_NS_PER_S + (load->sent + 1 + i) * 1000);
		}
		if (codec_records_encode(CODEC_EVENT, load->events, count, load->frame,
		                         sizeof(load->frame), &size_bytes) != PR_OK ||
		    bus_client_send(load->client, load->frame, size_bytes) != PR_OK) {
			return;
		}
		load->sent += count;
	}
}

static void receive(struct load *load, uint64_t now_ns)
{
	const uint8_t *data;
	size_t size_bytes, count;

	while (bus_client_receive(load->client, &data, &size_bytes) == PR_OK) {
		struct codec_event_ack acks[CODEC_BATCH_MAX];
		if (codec_records_decode(CODEC_EVENT_ACK, data, size_bytes, acks, &count) !=
		    PR_OK) {
			continue;
		}
		uint64_t seq = acks[count - 1].seq;
		if (seq > load->acknowledged) {
			load->acknowledged = seq;
			load->progress_ns = now_ns;
			load->sent = seq > load->sent ? seq : load->sent;
			printf("ack %" PRIu64 "\n", seq);
			fflush(stdout);
		}
	}
}

static bool turn(struct load *load)
{
	struct pollfd fds[] = { { .fd = load->signal_fd, .events = POLLIN },
		                { .fd = bus_client_fd(load->client), .events = POLLIN } };
	enum bus_link before = bus_client_link(load->client);

	(void)poll(fds, PR_ARRAY_LEN(fds), 2);
	uint64_t now_ns = pr_clock_monotonic_ns();
	receive(load, now_ns);
	bool again = bus_client_link(load->client) == BUS_LINK_UP && before != BUS_LINK_UP;
	if (load->sent == load->acknowledged) {
		load->progress_ns = now_ns;
	}
	if (again || now_ns - load->progress_ns > GO_BACK_NS) {
		load->sent = load->acknowledged;
		load->progress_ns = now_ns;
	}
	send_due(load, now_ns);
	receive(load, now_ns);
	return fds[0].revents == 0 && (load->last == 0 || load->acknowledged < load->last);
}

static int joined(bus_client_t *client, const struct pr_uuid *id, const struct bus_key *key)
{
	_cleanup_(pr_free) uint8_t *request = NULL;
	struct codec_joined answer = { 0 };
	const uint8_t *data;
	size_t size_bytes;

	int err = codec_join_encode(id, key->public_key, "load", &request, &size_bytes);
	for (unsigned i = 0; i < 500 && err == PR_OK; i++) {
		err = bus_client_send(client, request, size_bytes);
		if (err != PR_EAGAIN) {
			break;
		}
		err = PR_OK;
		(void)poll(NULL, 0, 10);
	}
	err = err == PR_OK ? bus_client_wait(client, 5000) : err;
	err = err == PR_OK ? bus_client_receive(client, &data, &size_bytes) : err;
	return err == PR_OK ? codec_join_decode(data, size_bytes, &answer) : err;
}

static int join(const char *token_text, const char *key_path)
{
	_cleanup_(bus_context_destroy) bus_context_t *context = NULL;
	_cleanup_(bus_client_destroy) bus_client_t *client = NULL;
	struct pr_uuid id = pr_uuid_new();
	struct bus_token token;
	struct bus_key key;

	int err = bus_token_parse(token_text, &token);
	err = err == PR_OK ? bus_key_new(&key) : err;
	err = err == PR_OK ? bus_key_save(key_path, &id, &key) : err;
	err = err == PR_OK ? bus_context_new(NULL, &context) : err;
	if (err == PR_OK) {
		const struct bus_client_options options = { .endpoint = token.endpoint,
			                                    .server_key = token.server_key,
			                                    .key = &token.key,
			                                    .frame_max_bytes =
			                                            CODEC_FRAME_MAX_BYTES };
		err = bus_client_new(context, &options, &client);
	}
	err = err == PR_OK ? joined(client, &id, &key) : err;
	if (err != PR_OK) {
		fprintf(stderr, "event-load: %s\n", pr_strerror(err));
	}
	return err == PR_OK ? 0 : 1;
}

int main(int argc, char **argv)
{
	static struct load load;
	_cleanup_(bus_context_destroy) bus_context_t *context = NULL;
	uint8_t server_key[BUS_KEY_BYTES];
	struct bus_key key;

	if (argc == 4 && strcmp(argv[1], "join") == 0) {
		return join(argv[2], argv[3]);
	}
	if (argc < 5 || bus_key_parse(argv[2], server_key) != PR_OK) {
		fprintf(stderr,
		        "usage: event-load join TOKEN KEY_FILE\n"
		        "       event-load ENDPOINT SERVER_KEY KEY_FILE LAST [RATE [FIRST]]\n");
		return 2;
	}
	load.signal_fd = pr_program_signals(false);
	load.last = strtoull(argv[4], NULL, 10);
	load.rate = argc > 5 ? strtoull(argv[5], NULL, 10) : 0;
	load.first = argc > 6 ? strtoull(argv[6], NULL, 10) : 1;
	load.acknowledged = load.sent = load.first - 1;
	load.started_ns = load.progress_ns = pr_clock_monotonic_ns();
	const struct bus_client_options options = { .endpoint = argv[1],
		                                    .server_key = server_key,
		                                    .key = &key,
		                                    .frame_max_bytes = CODEC_FRAME_MAX_BYTES };
	int err = bus_key_load(argv[3], &load.id, &key);
	if (err == PR_OK) {
		err = bus_context_new(NULL, &context);
	}
	if (err == PR_OK) {
		err = bus_client_new(context, &options, &load.client);
	}
	if (err != PR_OK) {
		fprintf(stderr, "event-load: %s\n", pr_strerror(err));
		return 1;
	}
	while (turn(&load)) {
	}
	printf("last %" PRIu64 " sent %" PRIu64 "\n", load.acknowledged, load.sent);
	bus_client_destroy(&load.client);
	return 0;
}
