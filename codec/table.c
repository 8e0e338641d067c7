/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/err.h"
#include "codec/internal.h"

/* ---- enumerations ---- */

#define VALUES_MAX 32

static const char *const enum_texts[][VALUES_MAX] = {
#define E(SET, NAME, value, text) [CODEC_SET_##SET][value] = text,
	CODEC_ENUM_LIST(E)
#undef E
};

const char *codec_enum_text(enum codec_enum_set set, unsigned value)
{
	if ((size_t)set >= PR_ARRAY_LEN(enum_texts) || value >= VALUES_MAX ||
	    enum_texts[set][value] == NULL) {
		return "?";
	}
	return enum_texts[set][value];
}

int codec_enum_parse(enum codec_enum_set set, const char *text, unsigned *ret_value)
{
	if ((size_t)set >= PR_ARRAY_LEN(enum_texts)) {
		return PR_ENOENT;
	}
	for (unsigned value = 0; value < VALUES_MAX; value++) {
		if (enum_texts[set][value] != NULL && strcmp(enum_texts[set][value], text) == 0) {
			*ret_value = value;
			return PR_OK;
		}
	}
	return PR_ENOENT;
}

/* ---- messages: in each list below a message's line closes the one before and opens its own ----
 */
/* clang-format off */

#define HOT(NAME, number, name, direction, doc) typedef struct codec_##name hot_##NAME;
#include "codec/msg.def"

static const struct codec_field fields_none[] _unused_ = { { 0 }
#define HOT(NAME, number, name, direction, doc) }; static const struct codec_field fields_##NAME[] = {
#define DOC(NAME, number, name, direction, doc) }; static const struct codec_field fields_##NAME[] = {
#define HOT_FIELD(M, NAME, name, kind, unit, doc) \
	{ #name, CODEC_KIND_##kind, offsetof(hot_##M, name), unit, doc },
#define DOC_FIELD(M, NAME, name, kind, unit, doc) { #name, CODEC_KIND_##kind, 0, unit, doc },
#include "codec/msg.def"
};

static const struct codec_message messages[] = {
#define HOT(NAME, number, name, direction, doc)                                      \
	{ CODEC_##NAME, true, #name, direction, doc, fields_##NAME,                  \
	  PR_ARRAY_LEN(fields_##NAME), sizeof(hot_##NAME) },
#define DOC(NAME, number, name, direction, doc)                                      \
	{ CODEC_##NAME, false, #name, direction, doc, fields_##NAME,                 \
	  PR_ARRAY_LEN(fields_##NAME), 0 },
#include "codec/msg.def"
};
/* clang-format on */

const struct codec_message *codec_messages(size_t *ret_count)
{
	*ret_count = PR_ARRAY_LEN(messages);
	return messages;
}

const struct codec_message *codec_message_find(enum codec_type type)
{
	for (size_t i = 0; i < PR_ARRAY_LEN(messages); i++) {
		if (messages[i].type == type) {
			return &messages[i];
		}
	}
	return NULL;
}

/* ---- the head of a frame ---- */

/* Any form of unsigned integer; @p at_p moves behind it. */
static bool number_read(const uint8_t *data, size_t size_bytes, size_t *at_p, uint64_t *ret_value)
{
	size_t left = size_bytes - *at_p;
	const uint8_t *at = data + *at_p;
	size_t taken = 1;

	if (left == 0) {
		return false;
	}
	if (at[0] < 0x80) {
		*ret_value = at[0];
	} else if (at[0] == 0xcc && left >= 2) {
		*ret_value = at[1];
		taken = 2;
	} else if (at[0] == 0xcd && left >= 3) {
		*ret_value = codec_load_be16(at + 1);
		taken = 3;
	} else if (at[0] == 0xce && left >= 5) {
		*ret_value = codec_load_be32(at + 1);
		taken = 5;
	} else if (at[0] == 0xcf && left >= 9) {
		*ret_value = codec_load_be64(at + 1);
		taken = 9;
	} else {
		return false;
	}
	*at_p += taken;
	return true;
}

int codec_frame_type(const uint8_t *data, size_t size_bytes, enum codec_type *ret_type)
{
	const struct codec_message *message;
	uint64_t number, version;
	size_t at = 1;

	if (size_bytes < 1 || data[0] != 0x93 || !number_read(data, size_bytes, &at, &number) ||
	    !number_read(data, size_bytes, &at, &version) || version > UINT16_MAX ||
	    number > UINT16_MAX) {
		return PR_EMALF;
	}
	if (version >> 8 != CODEC_VERSION_MAJOR) {
		return PR_EVERS;
	}
	message = codec_message_find((enum codec_type)number);
	if (message == NULL) {
		return PR_EMALF;
	}
	*ret_type = message->type;
	return PR_OK;
}
