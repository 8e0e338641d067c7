/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "agent/speaker/signed.h"

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"

#define WORDS_MAX  4
#define WORD_BYTES 160

/* ---- words and numbers ---- */

/* Exactly @p count words with one blank between. */
static bool words_split(const char *line, char words[][WORD_BYTES], size_t count)
{
	for (size_t i = 0; i < count; i++) {
		size_t length = strcspn(line, " ");
		if (length == 0 || length >= WORD_BYTES) {
			return false;
		}
		memcpy(words[i], line, length);
		words[i][length] = '\0';
		line += length;
		if (i + 1 < count) {
			if (*line != ' ') {
				return false;
			}
			line++;
		}
	}
	return *line == '\0';
}

/* Decimal digits alone, at most @p max. */
static bool number_parse(const char *text, uint64_t max, uint64_t *ret_number)
{
	uint64_t number = 0;

	if (*text == '\0') {
		return false;
	}
	for (; *text != '\0'; text++) {
		if (*text < '0' || *text > '9' || number > max / 10) {
			return false;
		}
		number = number * 10 + (uint64_t)(*text - '0');
	}
	if (number > max) {
		return false;
	}
	*ret_number = number;
	return true;
}

/* ---- lines ---- */

int signed_endpoint_parse(const char *endpoint, struct pr_addr *ret_addr, uint16_t *ret_port)
{
	char host[PR_ADDR_TEXT_BYTES + 2];
	const char *at = endpoint + 6;
	const char *colon = strrchr(endpoint, ':');
	uint64_t port;
	struct pr_addr addr;

	if (strncmp(endpoint, "tcp://", 6) != 0 || colon == NULL || colon <= at ||
	    (size_t)(colon - at) >= sizeof(host) || !number_parse(colon + 1, UINT16_MAX, &port) ||
	    port == 0) {
		return PR_EMALF;
	}
	bool bracket = *at == '[';
	if (bracket && (colon[-1] != ']' || colon - at < 3)) {
		return PR_EMALF;
	}
	size_t length = (size_t)(colon - at) - (bracket ? 2 : 0);
	memcpy(host, at + (bracket ? 1 : 0), length);
	host[length] = '\0';
	if (pr_addr_parse(host, &addr) != PR_OK || bracket != (strchr(host, ':') != NULL)) {
		return PR_EMALF;
	}
	*ret_addr = addr;
	*ret_port = (uint16_t)port;
	return PR_OK;
}

int signed_service_parse(const char *line, struct speaker_service *ret_service)
{
	char words[3][WORD_BYTES];
	struct speaker_service service = { 0 };
	struct pr_addr addr;
	uint16_t port;

	if (!words_split(line, words, 3) || strlen(words[0]) >= sizeof(service.endpoint) ||
	    signed_endpoint_parse(words[0], &addr, &port) != PR_OK ||
	    bus_key_parse(words[1], service.key) != PR_OK ||
	    pr_uuid_parse(words[2], &service.id) != PR_OK || pr_uuid_is_null(&service.id)) {
		return PR_EMALF;
	}
	memcpy(service.endpoint, words[0], strlen(words[0]) + 1);
	*ret_service = service;
	return PR_OK;
}

/* "22", "2200-2299", "any"; the whole range is any. */
static bool ports_parse(char *text, struct part_lifeline *lifeline)
{
	uint64_t first = 0, last = 0;
	char *dash = strchr(text, '-');

	if (strcmp(text, "any") == 0) {
		return true;
	}
	if (dash != NULL) {
		*dash = '\0';
	}
	if (!number_parse(text, UINT16_MAX, &first) ||
	    (dash != NULL && !number_parse(dash + 1, UINT16_MAX, &last)) ||
	    (dash != NULL && last < first)) {
		return false;
	}
	if (dash != NULL && first <= 1 && last == UINT16_MAX) {
		first = last = 0;
	} else if (dash != NULL && first == 0) {
		first = 1;
	}
	lifeline->port = (uint16_t)first;
	lifeline->port_last = last > first ? (uint16_t)last : 0;
	return dash == NULL || first > 0 || last == 0;
}

/* "tcp/22", "17/0", "any" */
static bool proto_port_parse(char *text, struct part_lifeline *lifeline)
{
	static const struct {
		const char *name;
		uint8_t number;
	} protos[] = {
		{ "tcp", IPPROTO_TCP },   { "udp", IPPROTO_UDP },       { "sctp", IPPROTO_SCTP },
		{ "icmp", IPPROTO_ICMP }, { "icmpv6", IPPROTO_ICMPV6 },
	};
	uint64_t number;
	char *slash = strchr(text, '/');

	if (strcmp(text, "any") == 0) {
		return true;
	}
	if (slash == NULL || !ports_parse(slash + 1, lifeline)) {
		return false;
	}
	*slash = '\0';
	for (size_t i = 0; i < PR_ARRAY_LEN(protos); i++) {
		if (strcmp(text, protos[i].name) == 0) {
			lifeline->proto = protos[i].number;
			return true;
		}
	}
	if (!number_parse(text, UINT8_MAX, &number) || (number == 0 && lifeline->port != 0)) {
		return false;
	}
	lifeline->proto = (uint8_t)number;
	return true;
}

int signed_lifeline_parse(const char *line, struct part_lifeline *ret_lifeline)
{
	char words[3][WORD_BYTES];
	struct part_lifeline lifeline = { 0 };

	if (!words_split(line, words, 3) || !proto_port_parse(words[2], &lifeline)) {
		return PR_EMALF;
	}
	if (strcmp(words[0], "IN") == 0) {
		lifeline.inbound = true;
	} else if (strcmp(words[0], "OUT") != 0) {
		return PR_EMALF;
	}
	/* Zero bits of the 16 byte form: anybody. */
	if (strcmp(words[1], "any") != 0 && pr_prefix_parse(words[1], &lifeline.peer) != PR_OK) {
		return PR_EMALF;
	}
	*ret_lifeline = lifeline;
	return PR_OK;
}

int signed_mode_parse(const char *line, struct speaker_mode *ret_mode)
{
	static const char *const lost[] = {
		[PART_LOST_LAST_KNOWN] = "last-known",
		[PART_LOST_DENY] = "deny",
		[PART_LOST_ALLOW] = "allow",
	};
	char words[WORDS_MAX][WORD_BYTES];
	struct speaker_mode mode = { 0 };
	unsigned value;
	uint64_t seconds;

	if (!words_split(line, words, WORDS_MAX) ||
	    pr_uuid_parse(words[0], &mode.endpoint) != PR_OK ||
	    codec_enum_parse(CODEC_SET_MODE, words[1], &value) != PR_OK ||
	    !number_parse(words[3], UINT32_MAX, &seconds)) {
		return PR_EMALF;
	}
	mode.mode = (uint8_t)value;
	mode.lost.endpoint = mode.endpoint;
	mode.lost.last_known_ns = seconds * PR_NS_PER_S;
	for (size_t i = 0; i < PR_ARRAY_LEN(lost); i++) {
		if (strcmp(words[2], lost[i]) == 0) {
			mode.lost.mode = (enum part_lost_mode)i;
			*ret_mode = mode;
			return PR_OK;
		}
	}
	return PR_EMALF;
}

/* ---- documents ---- */

/* The signed body, once its signature is good. */
static int body_open(const codec_doc_t *document, unsigned body_field, unsigned signature_field,
                     const uint8_t *authority_key, enum codec_type type, codec_doc_t **ret_body)
{
	size_t body_bytes, signature_bytes;
	const uint8_t *body = codec_doc_blob(document, body_field, &body_bytes);
	const uint8_t *signature = codec_doc_blob(document, signature_field, &signature_bytes);
	codec_doc_t *inside = NULL;

	int ret = bus_sign_verify(authority_key, body, body_bytes, signature, signature_bytes);
	if (ret != PR_OK) {
		return PR_ESIGN;
	}
	ret = codec_doc_decode(body, body_bytes, &inside);
	if (ret == PR_OK && codec_doc_type(inside) != type) {
		codec_doc_destroy(&inside);
		ret = PR_EMALF;
	}
	if (ret == PR_OK) {
		*ret_body = inside;
	}
	return ret;
}

static int number_check(uint64_t number, uint64_t held_number)
{
	if (number == 0) {
		return PR_EMALF;
	}
	if (number == held_number) {
		return PR_EEXIST;
	}
	return number > held_number ? PR_OK : PR_EOLD;
}

static int state_read(const codec_doc_t *body, struct speaker_state *state)
{
	size_t modes = codec_doc_count(body, CODEC_AGENT_STATE_MODES);
	size_t lifelines = codec_doc_count(body, CODEC_AGENT_STATE_LIFELINE);
	unsigned value;

	if (modes > SIGNED_MODES_MAX || lifelines > PART_LIFELINE_MAX ||
	    codec_enum_parse(CODEC_SET_MODE, codec_doc_text(body, CODEC_AGENT_STATE_DEFAULT_MODE),
	                     &value) != PR_OK) {
		return PR_EMALF;
	}
	state->default_mode = (uint8_t)value;
	state->number = codec_doc_u64(body, CODEC_AGENT_STATE_NUMBER);
	state->revision = codec_doc_u64(body, CODEC_AGENT_STATE_REVISION);
	state->modes = calloc(modes + 1, sizeof(*state->modes));
	if (state->modes == NULL) {
		return PR_ENOMEM;
	}
	for (size_t i = 0; i < modes; i++) {
		int ret = signed_mode_parse(codec_doc_item(body, CODEC_AGENT_STATE_MODES, i),
		                            &state->modes[state->mode_count++]);
		if (ret != PR_OK) {
			return ret;
		}
	}
	for (size_t i = 0; i < lifelines; i++) {
		int ret = signed_lifeline_parse(codec_doc_item(body, CODEC_AGENT_STATE_LIFELINE, i),
		                                &state->lifeline[state->lifeline_count++]);
		if (ret != PR_OK) {
			return ret;
		}
	}
	return PR_OK;
}

int signed_state_take(const codec_doc_t *document, const uint8_t *authority_key,
                      const struct pr_uuid *agent, uint64_t held_number,
                      struct speaker_state *ret_state)
{
	_cleanup_(codec_doc_destroy) codec_doc_t *body = NULL;
	_cleanup_(signed_state_done) struct speaker_state state = { 0 };

	int ret = body_open(document, CODEC_STATE_BODY, CODEC_STATE_SIGNATURE, authority_key,
	                    CODEC_AGENT_STATE, &body);
	if (ret != PR_OK) {
		return ret;
	}
	struct pr_uuid whom = codec_doc_uuid(body, CODEC_AGENT_STATE_AGENT);
	if (!pr_uuid_equal(&whom, agent)) {
		return PR_EPERM;
	}
	ret = number_check(codec_doc_u64(body, CODEC_AGENT_STATE_NUMBER), held_number);
	if (ret == PR_OK) {
		ret = state_read(body, &state);
	}
	if (ret == PR_OK) {
		*ret_state = state;
		state.modes = NULL;
	}
	return ret;
}

void signed_state_done(struct speaker_state *state)
{
	free(state->modes);
	state->modes = NULL;
	state->mode_count = 0;
}

static int services_read(const codec_doc_t *body, unsigned field, struct speaker_service *services,
                         size_t capacity, size_t *ret_count)
{
	size_t count = codec_doc_count(body, field);

	if (count > capacity) {
		return PR_EMALF;
	}
	for (size_t i = 0; i < count; i++) {
		int ret = signed_service_parse(codec_doc_item(body, field, i), &services[i]);
		if (ret != PR_OK) {
			return ret;
		}
		for (size_t j = 0; j < i; j++) {
			if (pr_uuid_equal(&services[i].id, &services[j].id)) {
				return PR_EMALF;
			}
		}
	}
	*ret_count = count;
	return PR_OK;
}

int signed_services_take(const codec_doc_t *document, const uint8_t *authority_key,
                         uint64_t held_number, struct services *ret_services)
{
	_cleanup_(codec_doc_destroy) codec_doc_t *body = NULL;
	_cleanup_(pr_free) struct services *services = calloc(1, sizeof(*services));

	if (services == NULL) {
		return PR_ENOMEM;
	}
	int ret = body_open(document, CODEC_DIRECTORY_BODY, CODEC_DIRECTORY_SIGNATURE,
	                    authority_key, CODEC_SERVICES, &body);
	if (ret != PR_OK) {
		return ret;
	}
	services->number = codec_doc_u64(body, CODEC_SERVICES_NUMBER);
	ret = number_check(services->number, held_number);
	if (ret == PR_OK) {
		ret = services_read(body, CODEC_SERVICES_CONTROLLERS, services->controllers,
		                    SPEAKER_CONTROLLERS_MAX, &services->controller_count);
	}
	if (ret == PR_OK) {
		ret = services_read(body, CODEC_SERVICES_WORKERS, services->workers,
		                    SPEAKER_WORKERS_MAX, &services->worker_count);
	}
	if (ret == PR_OK) {
		ret = services_read(body, CODEC_SERVICES_RECORDERS, services->recorders,
		                    SIGNED_RECORDERS_MAX, &services->recorder_count);
	}
	if (ret == PR_OK) {
		*ret_services = *services;
	}
	return ret;
}
