/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * A token's bytes, before base64:
 *   1 form (1), 1 role's bit number, 8 expiry (big endian), 32 server key, 32 secret key,
 *   1 endpoint's length, the endpoint, 8 BLAKE2b of all before.
 * The check finds typing and copying errors; who knows the secret may make any token he likes, and
 * the controller believes only its own table.
 */

#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "bus/internal.h"

#define TOKEN_PREFIX      "portreeve-1-"
#define TOKEN_FORM        1
#define TOKEN_CHECK_BYTES 8
#define TOKEN_HEAD_BYTES  (2 + 8 + 2 * BUS_KEY_BYTES + 1)
#define TOKEN_MAX_BYTES   (TOKEN_HEAD_BYTES + 127 + TOKEN_CHECK_BYTES)
#define BASE64            sodium_base64_VARIANT_URLSAFE_NO_PADDING

/* BLAKE2b's shortest is 16 bytes: take the first 8. */
static void check_make(const uint8_t *data, size_t size_bytes, uint8_t ret_check[static 8])
{
	uint8_t hash[crypto_generichash_BYTES_MIN];

	(void)crypto_generichash(hash, sizeof(hash), data, size_bytes, NULL, 0);
	memcpy(ret_check, hash, TOKEN_CHECK_BYTES);
}

static bool role_grantable(enum bus_role role)
{
	switch (role) {
	case BUS_ROLE_AGENT:
	case BUS_ROLE_RECORDER:
	case BUS_ROLE_ADMIN:
	case BUS_ROLE_VIEWER:
	case BUS_ROLE_SUBSCRIBER:
		return true;
	default:
		return false;
	}
}

static bool endpoint_printable(const char *text)
{
	for (; *text != '\0'; text++) {
		if (*text <= ' ' || *text > '~') {
			return false;
		}
	}
	return true;
}

int bus_token_format(const struct bus_token *token, char text[static BUS_TOKEN_TEXT_BYTES])
{
	uint8_t data[TOKEN_MAX_BYTES];
	size_t endpoint_bytes = strnlen(token->endpoint, sizeof(token->endpoint));
	size_t used = TOKEN_HEAD_BYTES;

	if (sodium_init() < 0) {
		return PR_EIO;
	}
	if (endpoint_bytes >= sizeof(token->endpoint) || !bus_endpoint_valid(token->endpoint) ||
	    !endpoint_printable(token->endpoint) || !role_grantable(token->role)) {
		return PR_EINVAL;
	}
	data[0] = TOKEN_FORM;
	data[1] = (uint8_t)__builtin_ctz((unsigned)token->role);
	for (size_t i = 0; i < 8; i++) {
		data[2 + i] = (uint8_t)(token->expires_wall_ns >> (8 * (7 - i)));
	}
	memcpy(data + 10, token->server_key, BUS_KEY_BYTES);
	memcpy(data + 10 + BUS_KEY_BYTES, token->key.secret_key, BUS_KEY_BYTES);
	data[TOKEN_HEAD_BYTES - 1] = (uint8_t)endpoint_bytes;
	memcpy(data + used, token->endpoint, endpoint_bytes);
	used += endpoint_bytes;
	check_make(data, used, data + used);
	used += TOKEN_CHECK_BYTES;

	size_t prefix = sizeof(TOKEN_PREFIX) - 1;
	memcpy(text, TOKEN_PREFIX, prefix);
	(void)sodium_bin2base64(text + prefix, BUS_TOKEN_TEXT_BYTES - prefix, data, used, BASE64);
	bus_key_wipe(data, sizeof(data));
	return PR_OK;
}

/* Fields of bytes whose check is good. */
static int fields_parse(const uint8_t *data, size_t size_bytes, struct bus_token *token)
{
	size_t endpoint_bytes = size_bytes - TOKEN_HEAD_BYTES;

	*token = (struct bus_token){ 0 };
	if (data[0] != TOKEN_FORM || data[1] > 15 || data[TOKEN_HEAD_BYTES - 1] != endpoint_bytes ||
	    endpoint_bytes >= sizeof(token->endpoint)) {
		return PR_EINVAL;
	}
	token->role = (enum bus_role)(1U << data[1]);
	for (size_t i = 0; i < 8; i++) {
		token->expires_wall_ns = token->expires_wall_ns << 8 | data[2 + i];
	}
	memcpy(token->server_key, data + 10, BUS_KEY_BYTES);
	memcpy(token->key.secret_key, data + 10 + BUS_KEY_BYTES, BUS_KEY_BYTES);
	memcpy(token->endpoint, data + TOKEN_HEAD_BYTES, endpoint_bytes);
	if (strlen(token->endpoint) != endpoint_bytes || !bus_endpoint_valid(token->endpoint) ||
	    !endpoint_printable(token->endpoint) || !role_grantable(token->role) ||
	    crypto_scalarmult_base(token->key.public_key, token->key.secret_key) != 0) {
		return PR_EINVAL;
	}
	return PR_OK;
}

/* libsodium 1.0.18 takes any byte above 127 for the last letter: only the one true text is good. */
static bool text_canonical(const char *text, const uint8_t *data, size_t size_bytes)
{
	char again[BUS_TOKEN_TEXT_BYTES];

	(void)sodium_bin2base64(again, sizeof(again), data, size_bytes, BASE64);
	bool same = strcmp(again, text) == 0;
	bus_key_wipe(again, sizeof(again));
	return same;
}

int bus_token_parse(const char *text, struct bus_token *ret_token)
{
	uint8_t data[TOKEN_MAX_BYTES], check[TOKEN_CHECK_BYTES];
	size_t prefix = sizeof(TOKEN_PREFIX) - 1, size_bytes;
	struct bus_token token;
	int ret = PR_EINVAL;

	if (sodium_init() < 0) {
		return PR_EIO;
	}
	if (strncmp(text, TOKEN_PREFIX, prefix) != 0 ||
	    strnlen(text, BUS_TOKEN_TEXT_BYTES) >= BUS_TOKEN_TEXT_BYTES ||
	    sodium_base642bin(data, sizeof(data), text + prefix, strlen(text + prefix), NULL,
	                      &size_bytes, NULL, BASE64) != 0 ||
	    size_bytes <= TOKEN_HEAD_BYTES + TOKEN_CHECK_BYTES ||
	    !text_canonical(text + prefix, data, size_bytes)) {
		return PR_EINVAL;
	}
	size_bytes -= TOKEN_CHECK_BYTES;
	check_make(data, size_bytes, check);
	if (sodium_memcmp(check, data + size_bytes, sizeof(check)) == 0) {
		ret = fields_parse(data, size_bytes, &token);
		if (ret == PR_OK) {
			*ret_token = token;
		}
		bus_key_wipe(&token, sizeof(token));
	}
	bus_key_wipe(data, sizeof(data));
	return ret;
}
