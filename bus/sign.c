/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <sodium.h>

#include "base/err.h"
#include "bus/internal.h"

int bus_sign_key_new(struct bus_sign_key *ret_key)
{
	if (sodium_init() < 0) {
		return PR_EIO;
	}
	(void)crypto_sign_keypair(ret_key->public_key, ret_key->secret_key);
	return PR_OK;
}

int bus_sign_key_save(const char *path, const struct bus_sign_key *key)
{
	struct bus_sign_key copy = *key;
	const struct key_line lines[] = {
		{ "sign-public", copy.public_key, BUS_KEY_BYTES },
		{ "sign-secret", copy.secret_key, BUS_SIGN_SECRET_BYTES },
	};
	int ret = key_lines_save(path, lines, PR_ARRAY_LEN(lines));

	bus_key_wipe(&copy, sizeof(copy));
	return ret;
}

/* libsodium's secret form is seed and public key: check that both came from the seed. */
static bool pair_belongs(const struct bus_sign_key *key)
{
	struct bus_sign_key again;
	uint8_t seed[crypto_sign_SEEDBYTES];

	bool good = crypto_sign_ed25519_sk_to_seed(seed, key->secret_key) == 0 &&
	            crypto_sign_seed_keypair(again.public_key, again.secret_key, seed) == 0 &&
	            sodium_memcmp(&again, key, sizeof(again)) == 0;
	bus_key_wipe(&again, sizeof(again));
	bus_key_wipe(seed, sizeof(seed));
	return good;
}

int bus_sign_key_text_parse(const char *text, size_t size_bytes, struct bus_sign_key *ret_key)
{
	struct bus_sign_key key;
	const struct key_line lines[] = {
		{ "sign-public", key.public_key, BUS_KEY_BYTES },
		{ "sign-secret", key.secret_key, BUS_SIGN_SECRET_BYTES },
	};
	int ret = key_lines_parse(text, size_bytes, lines, PR_ARRAY_LEN(lines));

	if (ret == PR_OK && !pair_belongs(&key)) {
		ret = PR_EKEYFILE;
	}
	if (ret == PR_OK) {
		*ret_key = key;
	}
	bus_key_wipe(&key, sizeof(key));
	return ret;
}

int bus_sign_key_load(const char *path, struct bus_sign_key *ret_key)
{
	char text[KEY_FILE_MAX_BYTES];
	size_t size_bytes;

	if (sodium_init() < 0) {
		return PR_EIO;
	}
	int ret = key_file_read(path, text, &size_bytes);
	if (ret == PR_OK) {
		ret = bus_sign_key_text_parse(text, size_bytes, ret_key);
	}
	bus_key_wipe(text, sizeof(text));
	return ret;
}

int bus_sign(const struct bus_sign_key *key, const void *data, size_t size_bytes,
             uint8_t ret_signature[static BUS_SIGNATURE_BYTES])
{
	if (sodium_init() < 0) {
		return PR_EIO;
	}
	return crypto_sign_detached(ret_signature, NULL, data, size_bytes, key->secret_key) == 0
	               ? PR_OK
	               : PR_ESIGN;
}

int bus_sign_verify(const uint8_t public_key[static BUS_KEY_BYTES], const void *data,
                    size_t size_bytes, const uint8_t *signature, size_t signature_bytes)
{
	if (sodium_init() < 0) {
		return PR_EIO;
	}
	if (signature == NULL || signature_bytes != BUS_SIGNATURE_BYTES ||
	    crypto_sign_verify_detached(signature, data, size_bytes, public_key) != 0) {
		return PR_ESIGN;
	}
	return PR_OK;
}
