/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "tests/controller/scenario.h"

static const char *value_of(char **words, size_t count, const char *key)
{
	size_t length = strlen(key);

	for (size_t i = 0; i < count; i++) {
		if (strncmp(words[i], key, length) == 0 && words[i][length] == '=') {
			return words[i] + length + 1;
		}
	}
	return NULL;
}

/* "192.0.2.1:80", "[2001:db8::1]:80" or an address alone. */
static void socket_parse(const char *text, struct pr_addr *ret_addr, uint16_t *ret_port)
{
	char address[64];
	const char *colon = strrchr(text, ':');
	bool bracket = text[0] == '[';
	bool has_port = colon != NULL && (bracket || strchr(text, ':') == colon);
	size_t length = has_port ? (size_t)(colon - text) : strlen(text);

	if (length >= sizeof(address)) {
		play_fatal("address");
	}
	memcpy(address, text + (bracket ? 1 : 0), length - (bracket ? 2 : 0));
	address[length - (bracket ? 2 : 0)] = '\0';
	*ret_port = has_port ? (uint16_t)strtoul(colon + 1, NULL, 10) : 0;
	if (pr_addr_parse(address, ret_addr) != PR_OK) {
		play_fatal("address");
	}
}

static uint8_t proto_of(const char *text)
{
	if (text == NULL || strcmp(text, "tcp") == 0) {
		return 6;
	}
	if (strcmp(text, "udp") == 0) {
		return 17;
	}
	return strcmp(text, "icmp") == 0 ? 1 : (uint8_t)strtoul(text, NULL, 10);
}

static uint32_t attempt_parse(char **words, size_t count)
{
	const char *attempt = value_of(words, count, "attempt");

	return attempt != NULL ? (uint32_t)strtoul(attempt, NULL, 10) : 0;
}

static void who_parse(char **words, size_t count, const char *prefix, uint8_t *ret_state,
                      uint32_t *ret_uid, char user[33], char exe[129])
{
	char key[32];
	(void)snprintf(key, sizeof(key), "%s-uid", prefix);
	const char *uid = value_of(words, count, key);
	(void)snprintf(key, sizeof(key), "%s-user", prefix);
	const char *name = value_of(words, count, key);
	(void)snprintf(key, sizeof(key), "%s-exe", prefix);
	const char *path = value_of(words, count, key);

	*ret_uid = uid != NULL ? (uint32_t)strtoul(uid, NULL, 10) : CODEC_NO_UID;
	(void)snprintf(user, 33, "%s", name != NULL ? name : "");
	(void)snprintf(exe, 129, "%s", path != NULL ? path : "");
	*ret_state = uid != NULL || path != NULL ? CODEC_KNOWN_KNOWN : CODEC_KNOWN_UNKNOWN;
}

static struct codec_request request_parse(char **words, size_t count)
{
	struct codec_request request = { .held = 1,
		                         .proto = proto_of(value_of(words, count, "proto")) };
	const char *src = value_of(words, count, "src"), *dst = value_of(words, count, "dst");
	const char *wire_src = value_of(words, count, "wire-src");
	const char *wire_dst = value_of(words, count, "wire-dst");
	uint16_t ignored = 0;
	unsigned end = 0;

	if (codec_enum_parse(CODEC_SET_END, words[2], &end) != PR_OK || src == NULL ||
	    dst == NULL) {
		play_fatal("ask NAME near|far|both REPORTER src=A:P dst=A:P");
	}
	request.end = (uint8_t)end;
	request.reporter = play_id_of(words[3]);
	socket_parse(src, &request.src, &request.src_port);
	socket_parse(dst, &request.dst, &request.dst_port);
	socket_parse(wire_src != NULL ? wire_src : src, &request.wire_src, &ignored);
	socket_parse(wire_dst != NULL ? wire_dst : dst, &request.wire_dst, &request.wire_dst_port);
	request.attempt = attempt_parse(words, count);
	who_parse(words, count, "from", &request.from_state, &request.from_uid, request.from_user,
	          request.from_exe);
	who_parse(words, count, "to", &request.to_state, &request.to_uid, request.to_user,
	          request.to_exe);
	if (value_of(words, count, "taker") != NULL) {
		request.to_endpoint = play_id_of(value_of(words, count, "taker"));
	}
	if (end == CODEC_END_NEAR) {
		request.to_state = CODEC_KNOWN_ABSENT;
	} else if (end == CODEC_END_FAR) {
		request.from_state = CODEC_KNOWN_ABSENT;
	}
	return request;
}

struct asked *play_asked_of(const char *name)
{
	for (size_t i = 0; i < play.asked_count; i++) {
		if (strcmp(play.asked[i].name, name) == 0) {
			return &play.asked[i];
		}
	}
	return NULL;
}

static void frame_give(enum codec_type type, const void *record, struct pr_uuid agent)
{
	static uint8_t data[CODEC_FRAME_MAX_BYTES];
	size_t size_bytes = 0;

	if (codec_records_encode(type, record, 1, data, sizeof(data), &size_bytes) != PR_OK) {
		play_fatal("encode");
	}
	struct bus_frame frame = { .peer = { .id = agent, .role = BUS_ROLE_AGENT },
		                   .data = data,
		                   .size_bytes = size_bytes };
	frame.route.size_bytes = 1;
	worker_frame(play.worker, &frame, play.now_ns, START_WALL_NS + play.now_ns);
	worker_turn_end(play.worker, play.now_ns, START_WALL_NS + play.now_ns);
}

static struct pr_uuid agent_parse(char **words, size_t count, const char *reporter)
{
	const char *agent = value_of(words, count, "agent");

	return play_id_of(agent != NULL ? agent : play_place_of(reporter)->host);
}

void play_ask(char **words, size_t count)
{
	struct asked *asked = play_asked_of(words[1]);
	struct codec_request request = request_parse(words, count);

	if (asked == NULL) {
		asked = &play.asked[play.asked_count++];
		*asked = (struct asked){ .id = play.asked_count };
		(void)snprintf(asked->name, sizeof(asked->name), "%s", words[1]);
	}
	asked->answered = false; /* the same name again is the same request again */
	request.id = asked->id;
	frame_give(CODEC_REQUEST, &request, agent_parse(words, count, words[3]));
}

void play_notice(char **words, size_t count)
{
	const struct asked *asked = play_asked_of(words[1]);
	const char *src = value_of(words, count, "src"), *dst = value_of(words, count, "dst");
	struct codec_notice notice = {
		.id = asked != NULL ? asked->id : 1000,
		.connection = asked != NULL ? asked->verdict.connection : 0,
		.proto = proto_of(value_of(words, count, "proto")),
		.reporter = play_id_of(words[2]),
	};

	if (src == NULL || dst == NULL) {
		play_fatal("notice ID REPORTER src=A:P dst=A:P");
	}
	socket_parse(src, &notice.wire_src, &notice.wire_src_port);
	socket_parse(dst, &notice.wire_dst, &notice.wire_dst_port);
	notice.attempt = attempt_parse(words, count);
	who_parse(words, count, "from", &notice.from_state, &notice.from_uid, notice.from_user,
	          notice.from_exe);
	frame_give(CODEC_NOTICE, &notice, agent_parse(words, count, words[2]));
}
