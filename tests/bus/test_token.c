/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <string.h>

#include "base/err.h"
#include "bus/bus.h"
#include "tests/tap.h"

static struct bus_token token_make(void)
{
	struct bus_token token = { .role = BUS_ROLE_AGENT, .expires_wall_ns = 0x1234567890abcdef };
	struct bus_key server;

	(void)snprintf(token.endpoint, sizeof(token.endpoint), "tcp://192.0.2.1:7400");
	ok(bus_key_new(&server) == PR_OK && bus_key_new(&token.key) == PR_OK, "keys");
	memcpy(token.server_key, server.public_key, BUS_KEY_BYTES);
	return token;
}

static void test_round(void)
{
	struct bus_token token = token_make(), back;
	char text[BUS_TOKEN_TEXT_BYTES];

	ok(bus_token_format(&token, text) == PR_OK, "made: %.20s...", text);
	ok(strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") ==
	           strlen(text),
	   "one word that needs no quotes");
	memset(&back, 0xff, sizeof(back));
	ok(bus_token_parse(text, &back) == PR_OK, "parsed");
	ok(strcmp(back.endpoint, token.endpoint) == 0 && back.role == token.role &&
	           back.expires_wall_ns == token.expires_wall_ns &&
	           memcmp(back.server_key, token.server_key, BUS_KEY_BYTES) == 0 &&
	           memcmp(&back.key, &token.key, sizeof(token.key)) == 0,
	   "the same token");

	memset(token.endpoint, 'a', sizeof(token.endpoint));
	memcpy(token.endpoint, "tcp://", 6);
	memcpy(token.endpoint + sizeof(token.endpoint) - 6, ":7400", 6);
	ok(bus_token_format(&token, text) == PR_OK && bus_token_parse(text, &back) == PR_OK &&
	           strlen(back.endpoint) == 127,
	   "the longest endpoint fits");
}

static void test_bad_fields(void)
{
	static const char *const endpoints[] = { "",
		                                 "tcp://",
		                                 "tcp://a",
		                                 "tcp://:1",
		                                 "tcp://a:",
		                                 "inproc://a:1",
		                                 "tcp://a b:1",
		                                 "tcp://a\n:1",
		                                 "tcp://a:1;tcp://b:2" };
	static const enum bus_role roles[] = { BUS_ROLE_NONE, BUS_ROLE_WORKER, BUS_ROLE_ENROLLING,
		                               BUS_ROLE_CONTROLLER };
	struct bus_token token = token_make();
	char text[BUS_TOKEN_TEXT_BYTES];

	for (size_t i = 0; i < PR_ARRAY_LEN(roles); i++) {
		token.role = roles[i];
		ok(bus_token_format(&token, text) == PR_EINVAL, "no token for role %s",
		   bus_role_name(roles[i]));
	}
	token.role = BUS_ROLE_VIEWER;
	for (size_t i = 0; i < PR_ARRAY_LEN(endpoints); i++) {
		(void)snprintf(token.endpoint, sizeof(token.endpoint), "%s", endpoints[i]);
		ok(bus_token_format(&token, text) == PR_EINVAL, "no token for a bad endpoint %zu",
		   i);
	}
	memset(token.endpoint, 'a', sizeof(token.endpoint));
	ok(bus_token_format(&token, text) == PR_EINVAL, "an endpoint without its end");
}

/* Every damage of one place, and every length. */
static void test_damaged(void)
{
	struct bus_token token = token_make(), back;
	char text[BUS_TOKEN_TEXT_BYTES], copy[BUS_TOKEN_TEXT_BYTES];
	unsigned accepted = 0;

	ok(bus_token_format(&token, text) == PR_OK, "a token");
	size_t length = strlen(text);
	for (size_t at = 0; at < length; at++) {
		for (unsigned value = 1; value < 256; value++) {
			memcpy(copy, text, sizeof(copy));
			if ((char)value == copy[at]) {
				continue;
			}
			copy[at] = (char)value;
			accepted += bus_token_parse(copy, &back) == PR_OK;
		}
	}
	ok(accepted == 0, "no token with one wrong character of %zu is accepted", length);
	accepted = 0;
	for (size_t cut = 0; cut < length; cut++) {
		memcpy(copy, text, sizeof(copy));
		copy[cut] = '\0';
		accepted += bus_token_parse(copy, &back) == PR_OK;
	}
	ok(accepted == 0, "no cut token is accepted");
	(void)snprintf(copy, sizeof(copy), "%sA", text);
	ok(bus_token_parse(copy, &back) == PR_EINVAL, "nor one with a character too many");
	(void)snprintf(copy, sizeof(copy), " %s", text);
	ok(bus_token_parse(copy, &back) == PR_EINVAL, "nor with a blank before");
	(void)snprintf(copy, sizeof(copy), "%s\n", text);
	ok(bus_token_parse(copy, &back) == PR_EINVAL, "nor with a newline behind");
	memcpy(copy, text, sizeof(copy));
	copy[10] = '2';
	ok(bus_token_parse(copy, &back) == PR_EINVAL, "nor of a newer form");
	memset(copy, 'A', sizeof(copy) - 1);
	copy[sizeof(copy) - 1] = '\0';
	memcpy(copy, "portreeve-1-", 12);
	ok(bus_token_parse(copy, &back) == PR_EINVAL, "nor a very long one");
}

int main(void)
{
	test_round();
	test_bad_fields();
	for (int i = 0; i < 5; i++) {
		/* Other keys, other characters. */
		test_damaged();
	}
	return tap_done();
}
