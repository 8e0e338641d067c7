/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "bus/bus.h"
#include "tests/tap.h"

static char folder[] = "/tmp/prt-sign-XXXXXX";

int main(void)
{
	struct bus_sign_key key, other, back;
	uint8_t signature[BUS_SIGNATURE_BYTES];
	char data[] = "directory 17", path[128];

	if (mkdtemp(folder) == NULL) {
		return 1;
	}
	(void)snprintf(path, sizeof(path), "%s/authority", folder);
	ok(bus_sign_key_new(&key) == PR_OK && bus_sign_key_new(&other) == PR_OK, "two keys");
	ok(bus_sign(&key, data, sizeof(data), signature) == PR_OK, "signed");
	ok(bus_sign_verify(key.public_key, data, sizeof(data), signature, sizeof(signature)) ==
	           PR_OK,
	   "verified");
	ok(bus_sign_verify(other.public_key, data, sizeof(data), signature, sizeof(signature)) ==
	           PR_ESIGN,
	   "not with another key");
	ok(bus_sign_verify(key.public_key, data, sizeof(data) - 1, signature, sizeof(signature)) ==
	           PR_ESIGN,
	   "not when cut");
	ok(bus_sign_verify(key.public_key, data, sizeof(data), signature, 63) == PR_ESIGN,
	   "not with a short signature");
	ok(bus_sign_verify(key.public_key, data, sizeof(data), NULL, 0) == PR_ESIGN,
	   "not without one");
	unsigned refused = 0;
	for (unsigned bit = 0; bit < 8 * sizeof(data); bit++) {
		data[bit / 8] = (char)(data[bit / 8] ^ 1 << bit % 8);
		refused += bus_sign_verify(key.public_key, data, sizeof(data), signature,
		                           sizeof(signature)) == PR_ESIGN;
		data[bit / 8] = (char)(data[bit / 8] ^ 1 << bit % 8);
	}
	ok(refused == 8 * sizeof(data), "every bit of the text counts");
	refused = 0;
	for (unsigned bit = 0; bit < 8 * sizeof(signature); bit++) {
		signature[bit / 8] ^= (uint8_t)(1 << bit % 8);
		refused += bus_sign_verify(key.public_key, data, sizeof(data), signature,
		                           sizeof(signature)) == PR_ESIGN;
		signature[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	ok(refused == 8 * sizeof(signature), "every bit of the signature counts");

	ok(bus_sign_key_save(path, &key) == PR_OK, "saved");
	ok(bus_sign_key_save(path, &key) == PR_EEXIST, "never over an existing file");
	ok(bus_sign_key_load(path, &back) == PR_OK && memcmp(&back, &key, sizeof(key)) == 0,
	   "loaded again");
	ok(chmod(path, 0644) == 0 && bus_sign_key_load(path, &back) == PR_EKEYFILE, "too open");
	(void)unlink(path);
	memcpy(key.public_key, other.public_key, sizeof(key.public_key));
	ok(bus_sign_key_save(path, &key) == PR_OK && bus_sign_key_load(path, &back) == PR_EKEYFILE,
	   "halves of two pairs are refused");
	struct pr_uuid id;
	struct bus_key curve;
	ok(bus_key_load(path, &id, &curve) == PR_EKEYFILE, "a signing key is no Curve key");
	(void)unlink(path);
	(void)rmdir(folder);
	return tap_done();
}
