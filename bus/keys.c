/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <sodium.h>
#include <string.h>
#include <zmq.h>

#include "base/err.h"
#include "bus/internal.h"

int bus_key_new(struct bus_key *ret_key)
{
	if (sodium_init() < 0) {
		return PR_EIO;
	}
	(void)crypto_box_keypair(ret_key->public_key, ret_key->secret_key);
	return PR_OK;
}

void bus_key_wipe(void *secret, size_t size_bytes)
{
	sodium_memzero(secret, size_bytes);
}

const char *bus_key_format(const uint8_t key[static BUS_KEY_BYTES],
                           char text[static BUS_KEY_TEXT_BYTES])
{
	(void)zmq_z85_encode(text, key, BUS_KEY_BYTES);
	return text;
}

int bus_key_parse(const char *text, uint8_t ret_key[static BUS_KEY_BYTES])
{
	uint8_t key[BUS_KEY_BYTES];

	if (strlen(text) != BUS_KEY_TEXT_BYTES - 1 || zmq_z85_decode(key, text) == NULL) {
		return PR_EINVAL;
	}
	memcpy(ret_key, key, sizeof(key));
	return PR_OK;
}

int bus_key_save(const char *path, const struct pr_uuid *id, const struct bus_key *key)
{
	struct pr_uuid id_copy = *id;
	struct bus_key copy = *key;
	const struct key_line lines[] = {
		{ "uuid", id_copy.bytes, PR_UUID_BYTES },
		{ "public", copy.public_key, BUS_KEY_BYTES },
		{ "secret", copy.secret_key, BUS_KEY_BYTES },
	};
	int ret = key_lines_save(path, lines, PR_ARRAY_LEN(lines));

	bus_key_wipe(&copy, sizeof(copy));
	return ret;
}

int bus_key_text_parse(const char *text, size_t size_bytes, struct pr_uuid *ret_id,
                       struct bus_key *ret_key)
{
	struct pr_uuid id;
	struct bus_key key;
	uint8_t public_key[BUS_KEY_BYTES];
	const struct key_line lines[] = {
		{ "uuid", id.bytes, PR_UUID_BYTES },
		{ "public", key.public_key, BUS_KEY_BYTES },
		{ "secret", key.secret_key, BUS_KEY_BYTES },
	};
	int ret = key_lines_parse(text, size_bytes, lines, PR_ARRAY_LEN(lines));

	/* A pair that does not belong together would fail later, far from its cause. */
	if (ret == PR_OK && (crypto_scalarmult_base(public_key, key.secret_key) != 0 ||
	                     sodium_memcmp(public_key, key.public_key, BUS_KEY_BYTES) != 0 ||
	                     pr_uuid_is_null(&id))) {
		ret = PR_EKEYFILE;
	}
	if (ret == PR_OK) {
		*ret_id = id;
		*ret_key = key;
	}
	bus_key_wipe(&key, sizeof(key));
	return ret;
}

int bus_key_load(const char *path, struct pr_uuid *ret_id, struct bus_key *ret_key)
{
	char text[KEY_FILE_MAX_BYTES];
	size_t size_bytes;

	if (sodium_init() < 0) {
		return PR_EIO;
	}
	int ret = key_file_read(path, text, &size_bytes);
	if (ret == PR_OK) {
		ret = bus_key_text_parse(text, size_bytes, ret_id, ret_key);
	}
	bus_key_wipe(text, sizeof(text));
	return ret;
}
