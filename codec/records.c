/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/err.h"
#include "codec/internal.h"

/*
 * The wire form of each hot message as a struct of byte arrays, so that the compiler knows every
 * offset and there is no padding. Lists over msg.def are written so that a message's line closes
 * the one before and opens its own; documents take part only because they close.
 */
struct wire_u8 {
	uint8_t tag[1], value[1];
};
struct wire_u16 {
	uint8_t tag[1], value[2];
};
struct wire_u32 {
	uint8_t tag[1], value[4];
};
struct wire_u64 {
	uint8_t tag[1], value[8];
};
struct wire_id {
	uint8_t tag[2], value[16];
};
struct wire_text32 {
	uint8_t tag[2], value[32];
};
struct wire_text128 {
	uint8_t tag[2], value[128];
};
struct wire_frame {
	uint8_t array[1];
	struct wire_u16 type, version;
	uint8_t body[1], count[2];
};

/* clang-format off */
#define WIRE_U8      struct wire_u8
#define WIRE_U16     struct wire_u16
#define WIRE_U32     struct wire_u32
#define WIRE_U64     struct wire_u64
#define WIRE_UUID    struct wire_id
#define WIRE_ADDR    struct wire_id
#define WIRE_TEXT32  struct wire_text32
#define WIRE_TEXT128 struct wire_text128

/* uint 8, 16, 32, 64; bin 8 of 16 bytes; str 8 of 32 or 128 bytes */
#define TAG_U8      { .tag = { 0xcc } }
#define TAG_U16     { .tag = { 0xcd } }
#define TAG_U32     { .tag = { 0xce } }
#define TAG_U64     { .tag = { 0xcf } }
#define TAG_UUID    { .tag = { 0xc4, 16 } }
#define TAG_ADDR    { .tag = { 0xc4, 16 } }
#define TAG_TEXT32  { .tag = { 0xd9, 32 } }
#define TAG_TEXT128 { .tag = { 0xd9, 128 } }

/* One byte a field: its size is their number. */
struct count_none { uint8_t none;
#define HOT(NAME, number, name, direction, doc)           }; struct count_##NAME {
#define DOC(NAME, number, name, direction, doc)           }; struct count_##NAME {
#define HOT_FIELD(M, NAME, name, kind, unit, doc)         uint8_t name;
#include "codec/msg.def"
};

struct wire_none { uint8_t none;
#define HOT(NAME, number, name, direction, doc)           }; struct wire_##NAME { uint8_t head[3];
#define DOC(NAME, number, name, direction, doc)           }; struct wire_##NAME {
#define HOT_FIELD(M, NAME, name, kind, unit, doc)         WIRE_##kind name;
#include "codec/msg.def"
};

static const struct wire_none template_none _unused_ = { 0
#define HOT(NAME, number, name, direction, doc) \
	}; static const struct wire_##NAME template_##NAME = { \
	.head = { 0xdc, 0, sizeof(struct count_##NAME) },
#define DOC(NAME, number, name, direction, doc) \
	}; static const struct wire_##NAME template_##NAME _unused_ = {
#define HOT_FIELD(M, NAME, name, kind, unit, doc)         .name = TAG_##kind,
#include "codec/msg.def"
};
/* clang-format on */

/* Greatest value of a field, by its unit; folded by the compiler. */
static inline uint8_t limit_of(const char *unit)
{
	static const struct {
		const char *unit;
		uint8_t limit;
	} limits[] = {
		{ "bool", 1 },
		{ "enum end", CODEC_END_BOTH },
		{ "enum known", CODEC_KNOWN_KNOWN },
		{ "enum action", CODEC_ACTION_REJECT },
		{ "enum mode", CODEC_MODE_ENFORCE },
		{ "enum reporter", CODEC_REPORTER_BOUNDARY },
		{ "enum event_verdict", CODEC_EVENT_VERDICT_WOULD_DENY },
		{ "enum decided_by", CODEC_DECIDED_BY_BOUNDARY },
		{ "enum unknown", CODEC_UNKNOWN_ENDPOINT },
	};
#pragma GCC unroll 16
	for (size_t i = 0; i < PR_ARRAY_LEN(limits); i++) {
		if (strcmp(limits[i].unit, unit) == 0) {
			return limits[i].limit;
		}
	}
	return UINT8_MAX;
}

/* ---- store: false only for an enumeration out of range ---- */

static inline bool store_u8(uint8_t *to, uint8_t value, const char *unit)
{
	to[0] = value;
	return value <= limit_of(unit);
}

/* What a peer would refuse never leaves, and is never told as somebody else's name. */
static void store_unclean(uint8_t *to, const char *text, size_t size_bytes, size_t limit_bytes)
{
	char shown[129];

	memset(to, 0, size_bytes);
	if (codec_bytes_format(text, size_bytes, shown, limit_bytes + 1)) {
		memcpy(to, shown, strlen(shown));
	}
}

/* The template's zeros are the padding. */
static inline void store_text(uint8_t *to, const char *text, size_t limit_bytes)
{
	size_t size_bytes = strnlen(text, limit_bytes);

	memcpy(to, text, size_bytes);
	if (codec_text_valid(text, size_bytes) < size_bytes) {
		store_unclean(to, text, size_bytes, limit_bytes);
	}
}

#define STORE_U8(w, from, unit)      good &= store_u8(w, from, unit)
#define STORE_U16(w, from, unit)     codec_store_be16(w, from)
#define STORE_U32(w, from, unit)     codec_store_be32(w, from)
#define STORE_U64(w, from, unit)     codec_store_be64(w, from)
#define STORE_UUID(w, from, unit)    memcpy(w, from.bytes, 16)
#define STORE_ADDR(w, from, unit)    memcpy(w, from.bytes, 16)
#define STORE_TEXT32(w, from, unit)  store_text(w, from, 32)
#define STORE_TEXT128(w, from, unit) store_text(w, from, 128)

/* ---- load: what is wrong is ORed together, so that there is one branch a record ---- */

static inline unsigned load_u8(const uint8_t *from, uint8_t *to, const char *unit)
{
	*to = from[0];
	return from[0] > limit_of(unit);
}

/* Anything but zero in the padding; @p limit_bytes is a multiple of 8. */
static inline unsigned padding_differs(const uint8_t *from, size_t size_bytes, size_t limit_bytes)
{
	uint64_t bad = 0, word;
	size_t at = size_bytes;

	for (; at % sizeof(word) != 0; at++) {
		bad |= from[at];
	}
	for (; at < limit_bytes; at += sizeof(word)) {
		memcpy(&word, from + at, sizeof(word));
		bad |= word;
	}
	return bad != 0;
}

static inline unsigned load_text(const uint8_t *from, char *to, size_t limit_bytes)
{
	size_t size_bytes = strnlen((const char *)from, limit_bytes);

	memcpy(to, from, limit_bytes);
	to[limit_bytes] = '\0';
	return padding_differs(from, size_bytes, limit_bytes) |
	       (codec_text_valid(to, size_bytes) != size_bytes);
}

static inline unsigned tag_differs(const uint8_t *tag, const uint8_t *wanted, size_t size_bytes)
{
	unsigned bad = 0;

	for (size_t i = 0; i < size_bytes; i++) {
		bad |= tag[i] ^ wanted[i];
	}
	return bad;
}

#define LOAD_U8(w, to, unit)      bad |= load_u8(w, &to, unit)
#define LOAD_U16(w, to, unit)     to = codec_load_be16(w)
#define LOAD_U32(w, to, unit)     to = codec_load_be32(w)
#define LOAD_U64(w, to, unit)     to = codec_load_be64(w)
#define LOAD_UUID(w, to, unit)    memcpy(to.bytes, w, 16)
#define LOAD_ADDR(w, to, unit)    memcpy(to.bytes, w, 16)
#define LOAD_TEXT32(w, to, unit)  bad |= load_text(w, to, 32)
#define LOAD_TEXT128(w, to, unit) bad |= load_text(w, to, 128)

/* clang-format off */
_unused_ static bool encode_none(void) { bool good = true;
#define HOT(NAME, number, name, direction, doc)                                               \
	return good; }                                                                        \
	static bool encode_##NAME(uint8_t *data, const struct codec_##name *record)           \
	{                                                                                     \
		struct wire_##NAME *wire = (struct wire_##NAME *)data;                        \
		bool good = true;                                                             \
		*wire = template_##NAME;
#define DOC(NAME, number, name, direction, doc)                                               \
	return good; } _unused_ static bool encode_##NAME(void) { bool good = true;
#define HOT_FIELD(M, NAME, name, kind, unit, doc) STORE_##kind(wire->name.value, record->name, unit);
#include "codec/msg.def"
return good; }

_unused_ static bool decode_none(void) { unsigned bad = 0;
#define HOT(NAME, number, name, direction, doc)                                               \
	return bad == 0; }                                                                    \
	static bool decode_##NAME(const uint8_t *data, struct codec_##name *record)           \
	{                                                                                     \
		const struct wire_##NAME *wire = (const struct wire_##NAME *)data;            \
		const struct wire_##NAME *wanted = &template_##NAME;                          \
		unsigned bad = tag_differs(wire->head, wanted->head, sizeof(wire->head));
#define DOC(NAME, number, name, direction, doc)                                               \
	return bad == 0; } _unused_ static bool decode_##NAME(void) { unsigned bad = 0;
#define HOT_FIELD(M, NAME, name, kind, unit, doc)                                             \
		bad |= tag_differs(wire->name.tag, wanted->name.tag, sizeof(wire->name.tag)); \
		LOAD_##kind(wire->name.value, record->name, unit);
#include "codec/msg.def"
return bad == 0; }
/* clang-format on */

size_t codec_record_bytes(enum codec_type type)
{
	switch ((unsigned)type) {
#define HOT(NAME, number, name, direction, doc) \
	case CODEC_##NAME:                      \
		return sizeof(struct wire_##NAME);
#include "codec/msg.def"
	default:
		return 0;
	}
}

size_t codec_frame_bytes(enum codec_type type, size_t count)
{
	return sizeof(struct wire_frame) + count * codec_record_bytes(type);
}

static void frame_start(uint8_t *data, enum codec_type type, size_t count)
{
	struct wire_frame *frame = (struct wire_frame *)data;

	*frame = (struct wire_frame){
		.array = { 0x93 }, .type = TAG_U16, .version = TAG_U16, .body = { 0xdc }
	};
	codec_store_be16(frame->type.value, (uint16_t)type);
	codec_store_be16(frame->version.value, CODEC_VERSION);
	codec_store_be16(frame->count, (uint16_t)count);
}

int codec_records_encode(enum codec_type type, const void *records, size_t count, uint8_t *data,
                         size_t size_bytes, size_t *ret_bytes)
{
	size_t record_bytes = codec_record_bytes(type);
	size_t frame_bytes = codec_frame_bytes(type, count);
	uint8_t *at = data + sizeof(struct wire_frame);
	bool good = true;

	if (record_bytes == 0 || count == 0) {
		return PR_EINVAL;
	}
	if (count > CODEC_BATCH_MAX || frame_bytes > CODEC_FRAME_MAX_BYTES ||
	    frame_bytes > size_bytes) {
		return PR_ETOOBIG;
	}
	frame_start(data, type, count);
	switch ((unsigned)type) {
#define HOT(NAME, number, name, direction, doc)                                              \
	case CODEC_##NAME:                                                                   \
		for (size_t i = 0; i < count; i++, at += sizeof(struct wire_##NAME)) {       \
			good &= encode_##NAME(at, (const struct codec_##name *)records + i); \
		}                                                                            \
		break;
#include "codec/msg.def"
	}
	if (!good) {
		return PR_EINVAL;
	}
	*ret_bytes = frame_bytes;
	return PR_OK;
}

/* The frame's head in its constant-width form; codec_frame_type() has read it already. */
static bool frame_head_good(const uint8_t *data, size_t size_bytes, enum codec_type type,
                            size_t *ret_count)
{
	const struct wire_frame *frame = (const struct wire_frame *)data;
	size_t count;

	if (size_bytes < sizeof(*frame) || frame->type.tag[0] != 0xcd ||
	    frame->version.tag[0] != 0xcd || frame->body[0] != 0xdc) {
		return false;
	}
	count = codec_load_be16(frame->count);
	if (count < 1 || count > CODEC_BATCH_MAX || size_bytes != codec_frame_bytes(type, count)) {
		return false;
	}
	*ret_count = count;
	return true;
}

int codec_records_join(enum codec_type type, uint8_t frame[static CODEC_FRAME_MAX_BYTES],
                       size_t *frame_bytes, const uint8_t *more, size_t more_bytes)
{
	enum codec_type found;
	size_t count = 0, more_count;
	int ret = codec_frame_type(more, more_bytes, &found);

	if (ret < 0) {
		return ret;
	}
	if (found != type || codec_record_bytes(type) == 0 ||
	    !frame_head_good(more, more_bytes, type, &more_count) ||
	    (*frame_bytes > 0 && !frame_head_good(frame, *frame_bytes, type, &count))) {
		return PR_EMALF;
	}
	size_t joined_bytes = codec_frame_bytes(type, count + more_count);
	if (count + more_count > CODEC_BATCH_MAX || joined_bytes > CODEC_FRAME_MAX_BYTES) {
		return PR_ETOOBIG;
	}
	frame_start(frame, type, count + more_count);
	memcpy(frame + codec_frame_bytes(type, count), more + sizeof(struct wire_frame),
	       more_bytes - sizeof(struct wire_frame));
	*frame_bytes = joined_bytes;
	return PR_OK;
}

int codec_records_decode(enum codec_type type, const uint8_t *data, size_t size_bytes,
                         void *records, size_t *ret_count)
{
	const uint8_t *at = data + sizeof(struct wire_frame);
	enum codec_type found;
	bool good = true;
	size_t count;
	int ret = codec_frame_type(data, size_bytes, &found);

	if (ret < 0) {
		return ret;
	}
	if (found != type || codec_record_bytes(type) == 0 ||
	    !frame_head_good(data, size_bytes, type, &count)) {
		return PR_EMALF;
	}
	switch ((unsigned)type) {
#define HOT(NAME, number, name, direction, doc)                                        \
	case CODEC_##NAME:                                                             \
		for (size_t i = 0; i < count; i++, at += sizeof(struct wire_##NAME)) { \
			good &= decode_##NAME(at, (struct codec_##name *)records + i); \
		}                                                                      \
		break;
#include "codec/msg.def"
	}
	if (!good) {
		return PR_EMALF;
	}
	*ret_count = count;
	return PR_OK;
}
