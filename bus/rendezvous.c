/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <sodium.h>
#include <string.h>

#include "bus/bus.h"

/* SipHash-2-4 with a constant key: agents and workers must come to the same order. */
static uint64_t weigh(uint64_t key, const struct pr_uuid *id)
{
	static const uint8_t hash_key[crypto_shorthash_KEYBYTES] = "portreeve order";
	uint8_t text[sizeof(key) + PR_UUID_BYTES];
	uint8_t hash[crypto_shorthash_BYTES];
	uint64_t weight = 0;

	for (size_t i = 0; i < sizeof(key); i++) {
		text[i] = (uint8_t)(key >> (8 * (7 - i)));
	}
	memcpy(text + sizeof(key), id->bytes, PR_UUID_BYTES);
	(void)crypto_shorthash(hash, text, sizeof(text), hash_key);
	for (size_t i = 0; i < sizeof(hash); i++) {
		weight = weight << 8 | hash[i];
	}
	return weight;
}

/* Insertion sort: a handful of workers. The id breaks a tie, so input order never matters. */
void bus_rendezvous_order(uint64_t key, const struct pr_uuid *worker_ids, size_t count,
                          unsigned *ret_order)
{
	for (size_t i = 0; i < count; i++) {
		uint64_t weight = weigh(key, &worker_ids[i]);
		size_t at = i;
		for (; at > 0; at--) {
			const struct pr_uuid *before = &worker_ids[ret_order[at - 1]];
			uint64_t other = weigh(key, before);
			if (other > weight ||
			    (other == weight &&
			     memcmp(before->bytes, worker_ids[i].bytes, PR_UUID_BYTES) <= 0)) {
				break;
			}
			ret_order[at] = ret_order[at - 1];
		}
		ret_order[at] = (unsigned)i;
	}
}
