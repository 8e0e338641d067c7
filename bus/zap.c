/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "bus/internal.h"

#define DOMAIN_PREFIX "portreeve/"

/* Positions in a request, RFC 27 section "The ZAP request". */
enum zap_position {
	ZAP_VERSION,
	ZAP_REQUEST_ID,
	ZAP_DOMAIN,
	ZAP_ADDRESS,
	ZAP_IDENTITY,
	ZAP_MECHANISM,
	ZAP_CREDENTIAL,
};

void zap_domain_format(unsigned roles, char text[static ZAP_DOMAIN_BYTES])
{
	(void)snprintf(text, ZAP_DOMAIN_BYTES, DOMAIN_PREFIX "%x", roles);
}

static int hex_value(uint8_t character)
{
	if (character >= '0' && character <= '9') {
		return character - '0';
	}
	if (character >= 'a' && character <= 'f') {
		return character - 'a' + 10;
	}
	return -1;
}

/* Roles of a domain; 0, which admits nobody, for anything that is not one of ours. */
static unsigned domain_roles(const struct zap_frame *frame)
{
	size_t prefix = sizeof(DOMAIN_PREFIX) - 1;
	unsigned roles = 0;

	if (frame->size_bytes <= prefix || frame->size_bytes > prefix + 6 ||
	    memcmp(frame->data, DOMAIN_PREFIX, prefix) != 0) {
		return 0;
	}
	for (size_t i = prefix; i < frame->size_bytes; i++) {
		int digit = hex_value(frame->data[i]);
		if (digit < 0) {
			return 0;
		}
		roles = roles << 4 | (unsigned)digit;
	}
	return roles;
}

int zap_user_id_parse(const char *text, uint8_t ret_key[static BUS_KEY_BYTES])
{
	uint8_t key[BUS_KEY_BYTES];

	if (text == NULL || strlen(text) != ZAP_USER_ID_BYTES - 1) {
		return PR_EMALF;
	}
	for (size_t i = 0; i < BUS_KEY_BYTES; i++) {
		int high = hex_value((uint8_t)text[2 * i]);
		int low = hex_value((uint8_t)text[2 * i + 1]);
		if (high < 0 || low < 0) {
			return PR_EMALF;
		}
		key[i] = (uint8_t)(high << 4 | low);
	}
	memcpy(ret_key, key, sizeof(key));
	return PR_OK;
}

static bool frame_is(const struct zap_frame *frame, const char *text)
{
	return frame->size_bytes == strlen(text) &&
	       memcmp(frame->data, text, frame->size_bytes) == 0;
}

static void refuse(struct zap_answer *answer, enum zap_result result)
{
	answer->result = result;
	answer->status = result == ZAP_MALFORMED ? "500" : "400";
	/* The peer learns no more than this. */
	answer->text = result == ZAP_MALFORMED ? "malformed" : "refused";
}

static enum zap_result decide(const struct zap_frame *frames, size_t count, bus_keyring_t *keyring)
{
	struct bus_peer peer;

	if (count < ZAP_MECHANISM + 1 || !frame_is(&frames[ZAP_VERSION], "1.0") ||
	    frames[ZAP_REQUEST_ID].size_bytes > ZAP_ID_MAX_BYTES) {
		return ZAP_MALFORMED;
	}
	if (!frame_is(&frames[ZAP_MECHANISM], "CURVE")) {
		return ZAP_REFUSED_MECHANISM;
	}
	if (count != ZAP_FRAMES || frames[ZAP_CREDENTIAL].size_bytes != BUS_KEY_BYTES) {
		return ZAP_MALFORMED;
	}
	if (keyring == NULL ||
	    bus_keyring_find(keyring, frames[ZAP_CREDENTIAL].data, &peer) != PR_OK) {
		return ZAP_REFUSED_KEY;
	}
	if ((domain_roles(&frames[ZAP_DOMAIN]) & (unsigned)peer.role) == 0) {
		return ZAP_REFUSED_ROLE;
	}
	return ZAP_ADMITTED;
}

void zap_reply(const struct zap_frame *frames, size_t count, bus_keyring_t *keyring,
               struct zap_answer *ret_answer)
{
	static const char digits[] = "0123456789abcdef";
	struct zap_answer *answer = ret_answer;

	*answer = (struct zap_answer){ 0 };
	if (count > ZAP_REQUEST_ID && frames[ZAP_REQUEST_ID].size_bytes > 0 &&
	    frames[ZAP_REQUEST_ID].size_bytes <= ZAP_ID_MAX_BYTES) {
		answer->request_id_bytes = frames[ZAP_REQUEST_ID].size_bytes;
		memcpy(answer->request_id, frames[ZAP_REQUEST_ID].data, answer->request_id_bytes);
	}
	enum zap_result result = decide(frames, count, keyring);
	if (result != ZAP_ADMITTED) {
		refuse(answer, result);
		return;
	}
	answer->result = ZAP_ADMITTED;
	answer->status = "200";
	answer->text = "";
	for (size_t i = 0; i < BUS_KEY_BYTES; i++) {
		uint8_t byte = frames[ZAP_CREDENTIAL].data[i];
		answer->user_id[2 * i] = digits[byte >> 4];
		answer->user_id[2 * i + 1] = digits[byte & 15];
	}
}
