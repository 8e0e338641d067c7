/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "bus/internal.h"
#include "tests/tap.h"

#define F(text)                                           \
	{                                                 \
		(const uint8_t *)(text), sizeof(text) - 1 \
	}

static const char key_text[] = "0123456789abcdef0123456789abcdef";

static enum zap_result ask(bus_keyring_t *keyring, const struct zap_frame *frames, size_t count)
{
	struct zap_answer answer;

	zap_reply(frames, count, keyring, &answer);
	bool consistent = (answer.result == ZAP_ADMITTED) == (strcmp(answer.status, "200") == 0) &&
	                  (answer.result == ZAP_ADMITTED) == (answer.user_id[0] != '\0');
	ok(consistent, "status %s says what the result says", answer.status);
	return answer.result;
}

static void test_requests(bus_keyring_t *keyring)
{
	struct zap_frame good[] = { F("1.0"),
		                    F("1"),
		                    F("portreeve/3"),
		                    F("192.0.2.1"),
		                    F(""),
		                    F("CURVE"),
		                    F("0123456789abcdef0123456789abcdef") };
	const struct {
		const char *what;
		unsigned position;
		struct zap_frame frame;
		enum zap_result result;
	} cases[] = {
		{ "known key", 1, F("1"), ZAP_ADMITTED },
		{ "version 1.1", 0, F("1.1"), ZAP_MALFORMED },
		{ "no version", 0, F(""), ZAP_MALFORMED },
		{ "domain without the role", 2, F("portreeve/2"), ZAP_REFUSED_ROLE },
		{ "no domain", 2, F(""), ZAP_REFUSED_ROLE },
		{ "domain of nobody", 2, F("portreeve/"), ZAP_REFUSED_ROLE },
		{ "foreign domain", 2, F("global/1"), ZAP_REFUSED_ROLE },
		{ "domain that is no number", 2, F("portreeve/g"), ZAP_REFUSED_ROLE },
		{ "domain that overflows", 2, F("portreeve/fffffffff"), ZAP_REFUSED_ROLE },
		{ "NULL", 5, F("NULL"), ZAP_REFUSED_MECHANISM },
		{ "PLAIN", 5, F("PLAIN"), ZAP_REFUSED_MECHANISM },
		{ "curve in small letters", 5, F("curve"), ZAP_REFUSED_MECHANISM },
		{ "unknown key", 6, F("0123456789abcdef0123456789abcdeX"), ZAP_REFUSED_KEY },
		{ "short key", 6, F("0123456789abcdef0123456789abcde"), ZAP_MALFORMED },
		{ "long key", 6, F("0123456789abcdef0123456789abcdef0"), ZAP_MALFORMED },
		{ "no key", 6, F(""), ZAP_MALFORMED },
	};
	for (size_t i = 0; i < PR_ARRAY_LEN(cases); i++) {
		struct zap_frame frames[PR_ARRAY_LEN(good)];
		memcpy(frames, good, sizeof(good));
		frames[cases[i].position] = cases[i].frame;
		ok(ask(keyring, frames, PR_ARRAY_LEN(good)) == cases[i].result, "%s",
		   cases[i].what);
	}
	for (size_t count = 0; count < PR_ARRAY_LEN(good); count++) {
		enum zap_result result = ask(keyring, good, count);
		ok(result == ZAP_MALFORMED, "%zu frames only", count);
	}
	ok(ask(NULL, good, PR_ARRAY_LEN(good)) == ZAP_REFUSED_KEY, "no keyring: nobody");

	static char long_id[300];
	memset(long_id, 'i', sizeof(long_id));
	good[1] = (struct zap_frame){ (const uint8_t *)long_id, sizeof(long_id) };
	ok(ask(keyring, good, PR_ARRAY_LEN(good)) == ZAP_MALFORMED, "a request id of 300 bytes");
}

static void test_answer(bus_keyring_t *keyring)
{
	const struct zap_frame good[] = { F("1.0"),
		                          F("id7"),
		                          F("portreeve/1"),
		                          F("192.0.2.1"),
		                          F(""),
		                          F("CURVE"),
		                          F("0123456789abcdef0123456789abcdef") };
	struct zap_answer answer;
	uint8_t key[BUS_KEY_BYTES];

	zap_reply(good, PR_ARRAY_LEN(good), keyring, &answer);
	ok(answer.request_id_bytes == 3 && memcmp(answer.request_id, "id7", 3) == 0,
	   "the request id comes back");
	ok(zap_user_id_parse(answer.user_id, key) == PR_OK && memcmp(key, key_text, 32) == 0,
	   "the User-Id is the key: %s", answer.user_id);
	ok(zap_user_id_parse(NULL, key) == PR_EMALF && zap_user_id_parse("", key) == PR_EMALF &&
	           zap_user_id_parse("00", key) == PR_EMALF,
	   "no other User-Id is taken");
	answer.user_id[63] = 'G';
	ok(zap_user_id_parse(answer.user_id, key) == PR_EMALF, "nor one that is not hex");

	struct bus_peer peer = { .role = BUS_ROLE_AGENT,
		                 .expires_wall_ns = pr_clock_wall_ns() - 1 };
	memcpy(peer.public_key, key_text, BUS_KEY_BYTES);
	ok(bus_keyring_put(keyring, &peer) == PR_OK, "the key expires");
	ok(ask(keyring, good, PR_ARRAY_LEN(good)) == ZAP_REFUSED_KEY, "expired: refused");
}

int main(void)
{
	_cleanup_(bus_keyring_destroy) bus_keyring_t *keyring = bus_keyring_new();
	struct bus_peer peer = { .role = BUS_ROLE_AGENT };
	char domain[ZAP_DOMAIN_BYTES];

	memcpy(peer.public_key, key_text, BUS_KEY_BYTES);
	ok(bus_keyring_put(keyring, &peer) == PR_OK, "one key");
	zap_domain_format(BUS_ROLE_AGENT | BUS_ROLE_WORKER, domain);
	ok(strcmp(domain, "portreeve/3") == 0, "the domain names roles: %s", domain);
	test_requests(keyring);
	test_answer(keyring);
	return tap_done();
}
