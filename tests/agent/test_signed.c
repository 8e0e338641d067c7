/* SPDX-License-Identifier: GPL-2.0-or-later */

/* State and directory: only what the authority signed, for us, newer, and whole. */

#include <string.h>

#include "agent/speaker/signed.h"
#include "base/err.h"
#include "tests/tap.h"

static struct bus_sign_key authority, stranger;
static struct pr_uuid agent;

static const char *const good_modes[] = {
	"5b9f2c06-4f0e-4c8c-9d9a-0f1b2c3d4e5f enforce last-known 600",
	"6b9f2c06-4f0e-4c8c-9d9a-0f1b2c3d4e5f observe deny 0",
	NULL,
};
static const char *const good_lifelines[] = { "IN 192.0.2.0/24 tcp/22", "OUT 2001:db8::1 tcp/7400",
	                                      "IN any any", NULL };

static codec_doc_t *wrap(codec_doc_t *body, enum codec_type type, const struct bus_sign_key *key)
{
	uint8_t *data = NULL, signature[BUS_SIGNATURE_BYTES];
	size_t size_bytes = 0;
	codec_doc_t *document = codec_doc_new(type);
	bool state = type == CODEC_STATE;

	if (codec_doc_encode(body, &data, &size_bytes) != PR_OK ||
	    bus_sign(key, data, size_bytes, signature) != PR_OK) {
		return NULL;
	}
	codec_doc_set_blob(document, state ? CODEC_STATE_BODY : CODEC_DIRECTORY_BODY, data,
	                   size_bytes);
	codec_doc_set_blob(document, state ? CODEC_STATE_SIGNATURE : CODEC_DIRECTORY_SIGNATURE,
	                   signature, sizeof(signature));
	pr_free(&data);
	return document;
}

static codec_doc_t *state_make(uint64_t number, const char *default_mode, const char *const *modes,
                               const char *const *lifelines, const struct bus_sign_key *key)
{
	_cleanup_(codec_doc_destroy) codec_doc_t *body = codec_doc_new(CODEC_AGENT_STATE);

	codec_doc_set_u64(body, CODEC_AGENT_STATE_NUMBER, number);
	codec_doc_set_u64(body, CODEC_AGENT_STATE_REVISION, 17);
	codec_doc_set_uuid(body, CODEC_AGENT_STATE_AGENT, &agent);
	codec_doc_set_text(body, CODEC_AGENT_STATE_DEFAULT_MODE, default_mode);
	for (; *modes != NULL; modes++) {
		codec_doc_add_text(body, CODEC_AGENT_STATE_MODES, *modes);
	}
	for (; *lifelines != NULL; lifelines++) {
		codec_doc_add_text(body, CODEC_AGENT_STATE_LIFELINE, *lifelines);
	}
	return wrap(body, CODEC_STATE, key);
}

static int state_take(codec_doc_t *document, uint64_t held, struct speaker_state *state)
{
	int ret = signed_state_take(document, authority.public_key, &agent, held, state);
	codec_doc_destroy(&document);
	return ret;
}

static void test_state(void)
{
	struct speaker_state state = { 0 };
	struct pr_uuid other = pr_uuid_new();

	ok(state_take(state_make(5, "enforce", good_modes, good_lifelines, &authority), 4,
	              &state) == PR_OK,
	   "signed, for us, newer: taken");
	ok(state.number == 5 && state.revision == 17 && state.default_mode == CODEC_MODE_ENFORCE &&
	           state.mode_count == 2 && state.lifeline_count == 3,
	   "with all it says");
	ok(state.modes[0].mode == CODEC_MODE_ENFORCE &&
	           state.modes[0].lost.mode == PART_LOST_LAST_KNOWN &&
	           state.modes[0].lost.last_known_ns == 600000000000ULL &&
	           state.modes[1].mode == CODEC_MODE_OBSERVE &&
	           state.modes[1].lost.mode == PART_LOST_DENY,
	   "modes");
	ok(state.lifeline[0].inbound && state.lifeline[0].proto == 6 &&
	           state.lifeline[0].port == 22 && state.lifeline[0].peer.bits == 120 &&
	           !state.lifeline[1].inbound && state.lifeline[1].peer.bits == 128 &&
	           state.lifeline[2].proto == 0 && state.lifeline[2].peer.bits == 0,
	   "lifelines");
	signed_state_done(&state);
	struct speaker_state untouched = { .number = 99 };
	ok(state_take(state_make(5, "enforce", good_modes, good_lifelines, &authority), 5,
	              &untouched) == PR_EEXIST,
	   "the same again");
	ok(state_take(state_make(4, "enforce", good_modes, good_lifelines, &authority), 5,
	              &untouched) == PR_EOLD,
	   "older: refused");
	ok(state_take(state_make(0, "enforce", good_modes, good_lifelines, &authority), 0,
	              &untouched) == PR_EMALF,
	   "without number: refused");
	ok(state_take(state_make(6, "enforce", good_modes, good_lifelines, &stranger), 5,
	              &untouched) == PR_ESIGN,
	   "signed by another: refused");
	ok(state_take(codec_doc_new(CODEC_STATE), 5, &untouched) == PR_ESIGN,
	   "not signed: refused");
	struct pr_uuid ours = agent;
	agent = other;
	codec_doc_t *foreign = state_make(6, "enforce", good_modes, good_lifelines, &authority);
	agent = ours;
	ok(state_take(foreign, 5, &untouched) == PR_EPERM, "for another agent: refused");
	ok(state_take(state_make(6, "off", good_modes, good_lifelines, &authority), 5,
	              &untouched) == PR_EMALF,
	   "an unknown mode: refused");
	ok(untouched.number == 99, "the result is untouched by all that");
}

static void test_lines(void)
{
	static const char *const bad_modes[] = {
		"",
		"x enforce deny 0",
		"5b9f2c06-4f0e-4c8c-9d9a-0f1b2c3d4e5f enforce deny",
		"5b9f2c06-4f0e-4c8c-9d9a-0f1b2c3d4e5f enforce deny 0 0",
		"5b9f2c06-4f0e-4c8c-9d9a-0f1b2c3d4e5f enforce  deny 0",
		"5b9f2c06-4f0e-4c8c-9d9a-0f1b2c3d4e5f enforce never 0",
		"5b9f2c06-4f0e-4c8c-9d9a-0f1b2c3d4e5f enforce deny -1",
		"5b9f2c06-4f0e-4c8c-9d9a-0f1b2c3d4e5f enforce deny 4294967296",
		"5b9f2c06-4f0e-4c8c-9d9a-0f1b2c3d4e5f enforce deny 99999999999999999999999",
	};
	static const char *const bad_lifelines[] = {
		"",
		"IN",
		"UP any any",
		"IN 192.0.2.1/33 tcp/22",
		"IN 192.0.2.1/24 tcp/22",
		"IN any tcp",
		"IN any tcp/",
		"IN any tcp/65536",
		"IN any tcp/22x",
		"IN any 256/0",
		"IN any nonsense/1",
		"in any any",
		"IN any tcp/22 x",
		"IN  any tcp/22",
		"IN any 0/22",
	};
	static const char *const good_services[] = {
		"tcp://192.0.2.1:7400 ",
		"tcp://[2001:db8::1]:7400 ",
		"tcp://127.0.0.1:65535 ",
	};
	static const char *const bad_services[] = {
		"tcp://192.0.2.1 ",
		"tcp://host:7400 ",
		"tcp://192.0.2.1:0 ",
		"tcp://192.0.2.1:65536 ",
		"tcp://2001:db8::1:7400 ",
		"tcp://[192.0.2.1]:7400 ",
		"tcp://[]:7400 ",
		"tcp://:7400 ",
		"ipc://192.0.2.1:7400 ",
		"tcp://192.0.2.1:7400x ",
		"inproc://x ",
		"tcp://[::1:7400 ",
		"tcp://192.0.2.1;1.2.3.4:7 ",
	};
	static const char rest[] = "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7 "
				   "5b9f2c06-4f0e-4c8c-9d9a-0f1b2c3d4e5f";
	struct speaker_mode mode;
	struct part_lifeline lifeline;
	struct speaker_service service;
	char line[256];

	for (size_t i = 0; i < PR_ARRAY_LEN(bad_modes); i++) {
		ok(signed_mode_parse(bad_modes[i], &mode) == PR_EMALF, "mode '%s'", bad_modes[i]);
	}
	for (size_t i = 0; i < PR_ARRAY_LEN(bad_lifelines); i++) {
		ok(signed_lifeline_parse(bad_lifelines[i], &lifeline) == PR_EMALF, "lifeline '%s'",
		   bad_lifelines[i]);
	}
	static const struct {
		const char *text;
		uint16_t first, last;
	} ranges[] = {
		{ "IN 0.0.0.0/0 tcp/22", 22, 0 },
		{ "IN ::/0 tcp/0-65535", 0, 0 },
		{ "OUT 10.0.0.1/32 udp/2200-2299", 2200, 2299 },
		{ "IN any tcp/0-100", 1, 100 },
		{ "IN any tcp/7-7", 7, 0 },
		{ "IN any 6/any", 0, 0 },
	};
	for (size_t i = 0; i < PR_ARRAY_LEN(ranges); i++) {
		ok(signed_lifeline_parse(ranges[i].text, &lifeline) == PR_OK &&
		           lifeline.port == ranges[i].first && lifeline.port_last == ranges[i].last,
		   "lifeline '%s'", ranges[i].text);
	}
	for (size_t i = 0; i < PR_ARRAY_LEN(good_services); i++) {
		(void)snprintf(line, sizeof(line), "%s%s", good_services[i], rest);
		ok(signed_service_parse(line, &service) == PR_OK, "good: %s", good_services[i]);
	}
	for (size_t i = 0; i < PR_ARRAY_LEN(bad_services); i++) {
		(void)snprintf(line, sizeof(line), "%s%s", bad_services[i], rest);
		ok(signed_service_parse(line, &service) == PR_EMALF, "bad: %s", bad_services[i]);
	}
	(void)snprintf(line, sizeof(line), "tcp://192.0.2.1:7400 %s x", rest);
	ok(signed_service_parse(line, &service) == PR_EMALF, "a word too many");
	(void)snprintf(line, sizeof(line), "tcp://192.0.2.1:7400 %.40s", rest);
	ok(signed_service_parse(line, &service) == PR_EMALF, "no UUID");
}

static codec_doc_t *directory_make(uint64_t number, unsigned workers,
                                   const struct bus_sign_key *key)
{
	_cleanup_(codec_doc_destroy) codec_doc_t *body = codec_doc_new(CODEC_SERVICES);
	char text[BUS_KEY_TEXT_BYTES], id_text[PR_UUID_TEXT_BYTES];

	codec_doc_set_u64(body, CODEC_SERVICES_NUMBER, number);
	for (unsigned i = 0; i < workers; i++) {
		struct pr_uuid id = pr_uuid_of_bytes("worker", &i, sizeof(i));
		codec_doc_addf(body, CODEC_SERVICES_WORKERS, "tcp://192.0.2.1:%u %s %s", 7410 + i,
		               bus_key_format(key->public_key, text), pr_uuid_format(&id, id_text));
	}
	return wrap(body, CODEC_DIRECTORY, key);
}

static int directory_take(codec_doc_t *document, uint64_t held, struct services *services)
{
	int ret = signed_services_take(document, authority.public_key, held, services);
	codec_doc_destroy(&document);
	return ret;
}

static void test_directory(void)
{
	static struct services services;

	ok(directory_take(directory_make(3, 2, &authority), 2, &services) == PR_OK &&
	           services.number == 3 && services.worker_count == 2 &&
	           strcmp(services.workers[1].endpoint, "tcp://192.0.2.1:7411") == 0,
	   "a directory is taken");
	ok(directory_take(directory_make(3, 2, &authority), 3, &services) == PR_EEXIST, "the same");
	ok(directory_take(directory_make(2, 2, &authority), 3, &services) == PR_EOLD, "older");
	ok(directory_take(directory_make(4, 2, &stranger), 3, &services) == PR_ESIGN,
	   "signed by another");
	ok(directory_take(directory_make(4, SPEAKER_WORKERS_MAX, &authority), 3, &services) ==
	           PR_OK,
	   "%d workers", SPEAKER_WORKERS_MAX);
	ok(directory_take(directory_make(5, SPEAKER_WORKERS_MAX + 1, &authority), 4, &services) ==
	           PR_EMALF,
	   "one too many");
	/* A signed state is no directory. */
	_cleanup_(codec_doc_destroy) codec_doc_t *state =
		state_make(9, "enforce", good_modes, good_lifelines, &authority);
	size_t body_bytes, signature_bytes;
	const uint8_t *body = codec_doc_blob(state, CODEC_STATE_BODY, &body_bytes);
	const uint8_t *signature = codec_doc_blob(state, CODEC_STATE_SIGNATURE, &signature_bytes);
	codec_doc_t *mixed = codec_doc_new(CODEC_DIRECTORY);
	codec_doc_set_blob(mixed, CODEC_DIRECTORY_BODY, body, body_bytes);
	codec_doc_set_blob(mixed, CODEC_DIRECTORY_SIGNATURE, signature, signature_bytes);
	ok(directory_take(mixed, 4, &services) == PR_EMALF, "a signed state is no directory");
}

int main(void)
{
	agent = pr_uuid_new();
	ok(bus_sign_key_new(&authority) == PR_OK && bus_sign_key_new(&stranger) == PR_OK, "keys");
	test_state();
	test_lines();
	test_directory();
	return tap_done();
}
