/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * ZAP requests. Each frame is a length byte and so many bytes. Only the one enrolled key, over
 * CURVE and into a domain of its role, is admitted.
 */

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "bus/internal.h"

#define FRAMES_MAX 16

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes);

static const char key_text[] = "0123456789abcdef0123456789abcdef";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes)
{
	static bus_keyring_t *keyring;
	struct zap_frame frames[FRAMES_MAX];
	struct zap_answer answer;
	uint8_t user[BUS_KEY_BYTES];
	size_t count = 0;

	if (keyring == NULL) {
		struct bus_peer peer = { .role = BUS_ROLE_AGENT };
		memcpy(peer.public_key, key_text, BUS_KEY_BYTES);
		keyring = bus_keyring_new();
		if (keyring == NULL || bus_keyring_put(keyring, &peer) != PR_OK) {
			abort();
		}
	}
	while (size_bytes > 0 && count < FRAMES_MAX) {
		size_t frame_bytes = data[0] < size_bytes ? data[0] : size_bytes - 1;
		frames[count++] = (struct zap_frame){ data + 1, frame_bytes };
		data += 1 + frame_bytes;
		size_bytes -= 1 + frame_bytes;
	}
	zap_reply(frames, count, keyring, &answer);
	if (answer.result == ZAP_ADMITTED &&
	    (count != ZAP_FRAMES || memcmp(frames[6].data, key_text, BUS_KEY_BYTES) != 0 ||
	     memcmp(frames[5].data, "CURVE", 5) != 0 ||
	     zap_user_id_parse(answer.user_id, user) != PR_OK ||
	     memcmp(user, key_text, BUS_KEY_BYTES) != 0)) {
		abort();
	}
	return 0;
}
