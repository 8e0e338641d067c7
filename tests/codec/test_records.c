/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Hot messages: our encoder against our decoder, each against msgpack-c, and what must not pass. */

#include <msgpack.h>
#include <stdlib.h>

#include "base/err.h"
#include "codec/codec.h"
#include "tests/codec/sample.h"
#include "tests/tap.h"

#define HEAD_BYTES 10

union record {
	struct codec_request request;
	struct codec_verdict verdict;
	struct codec_event event;
	struct codec_event_ack event_ack;
	struct codec_notice notice;
};

static uint8_t frame[CODEC_FRAME_MAX_BYTES + 1];
static union record spare[CODEC_BATCH_MAX];

/* Bytes before and in the value of a field on the wire. */
static size_t tag_bytes(enum codec_kind kind)
{
	return kind >= CODEC_KIND_UUID ? 2 : 1;
}

static size_t value_bytes(enum codec_kind kind)
{
	static const uint8_t sizes[] = {
		[CODEC_KIND_U8] = 1,      [CODEC_KIND_U16] = 2,      [CODEC_KIND_U32] = 4,
		[CODEC_KIND_U64] = 8,     [CODEC_KIND_UUID] = 16,    [CODEC_KIND_ADDR] = 16,
		[CODEC_KIND_TEXT32] = 32, [CODEC_KIND_TEXT128] = 128
	};
	return sizes[kind];
}

static int decode(const struct codec_message *message, const uint8_t *data, size_t size_bytes)
{
	/* Exactly the size, so that a sanitizer sees one byte too far. */
	uint8_t *copy = malloc(size_bytes > 0 ? size_bytes : 1);
	size_t count = 0;
	int ret;

	memcpy(copy, data, size_bytes);
	ret = codec_records_decode(message->type, copy, size_bytes, spare, &count);
	free(copy);
	return ret;
}

/* Into the global frame; 0 if that fails. */
static size_t encode_one(const struct codec_message *message, const union record *record)
{
	size_t size_bytes = 0;

	if (codec_records_encode(message->type, record, 1, frame, sizeof(frame), &size_bytes) < 0) {
		return 0;
	}
	return size_bytes;
}

static void test_round_trip(const struct codec_message *message)
{
	uint8_t *records = calloc(CODEC_BATCH_MAX, message->struct_bytes);
	uint8_t *back = calloc(CODEC_BATCH_MAX, message->struct_bytes);
	bool good = true;

	for (size_t count = 1; count <= CODEC_BATCH_MAX; count++) {
		size_t size_bytes = 0, found = 0;
		for (size_t i = 0; i < count; i++) {
			sample_record(message, records + i * message->struct_bytes);
		}
		good &= codec_records_encode(message->type, records, count, frame, sizeof(frame),
		                             &size_bytes) == PR_OK;
		good &= size_bytes == codec_frame_bytes(message->type, count);
		good &= codec_records_decode(message->type, frame, size_bytes, back, &found) ==
		        PR_OK;
		good &= found == count;
		for (size_t i = 0; i < count * message->field_count; i++) {
			const struct codec_field *field =
				&message->fields[i % message->field_count];
			size_t at = i / message->field_count * message->struct_bytes;
			at += field->offset;
			if (field->kind >= CODEC_KIND_TEXT32) {
				good &= strcmp((char *)records + at, (char *)back + at) == 0;
			} else {
				good &= memcmp(records + at, back + at, value_bytes(field->kind)) ==
				        0;
			}
		}
	}
	ok(good, "%s: 1 to 64 records come back as they went", message->name);
	free(records);
	free(back);
}

static uint64_t number_at(const uint8_t *at, enum codec_kind kind)
{
	uint16_t u16;
	uint32_t u32;
	uint64_t u64;

	memcpy(&u16, at, 2);
	memcpy(&u32, at, kind >= CODEC_KIND_U32 ? 4 : 2);
	memcpy(&u64, at, kind >= CODEC_KIND_U64 ? 8 : 2);
	return kind == CODEC_KIND_U8    ? *at
	       : kind == CODEC_KIND_U16 ? u16
	       : kind == CODEC_KIND_U32 ? u32
	                                : u64;
}

static bool foreign_equal(const struct codec_field *field, const uint8_t *at,
                          const msgpack_object *object)
{
	char padded[128] = { 0 };

	switch (field->kind) {
	case CODEC_KIND_UUID:
	case CODEC_KIND_ADDR:
		return object->type == MSGPACK_OBJECT_BIN && object->via.bin.size == 16 &&
		       memcmp(object->via.bin.ptr, at, 16) == 0;
	case CODEC_KIND_TEXT32:
	case CODEC_KIND_TEXT128:
		memcpy(padded, at, strlen((const char *)at));
		return object->type == MSGPACK_OBJECT_STR &&
		       object->via.str.size == value_bytes(field->kind) &&
		       memcmp(object->via.str.ptr, padded, object->via.str.size) == 0;
	default:
		return object->type == MSGPACK_OBJECT_POSITIVE_INTEGER &&
		       object->via.u64 == number_at(at, field->kind);
	}
}

static void test_foreign_reader(const struct codec_message *message)
{
	bool good = true;

	for (unsigned run = 0; run < 100; run++) {
		_cleanup_(msgpack_unpacked_destroy) msgpack_unpacked unpacked;
		size_t size_bytes = 0, at = 0;
		union record record;

		msgpack_unpacked_init(&unpacked);
		sample_record(message, &record);
		good &= codec_records_encode(message->type, &record, 1, frame, sizeof(frame),
		                             &size_bytes) == PR_OK;
		good &= msgpack_unpack_next(&unpacked, (char *)frame, size_bytes, &at) ==
		                MSGPACK_UNPACK_SUCCESS &&
		        at == size_bytes;
		const msgpack_object *top = unpacked.data.via.array.ptr;
		good &= top[0].via.u64 == (unsigned)message->type && top[1].via.u64 == 0x0100;
		good &= top[2].via.array.size == 1;
		const msgpack_object_array *fields = &top[2].via.array.ptr[0].via.array;
		good &= fields->size == message->field_count;
		for (size_t i = 0; good && i < message->field_count; i++) {
			good &= foreign_equal(&message->fields[i],
			                      (uint8_t *)&record + message->fields[i].offset,
			                      &fields->ptr[i]);
		}
	}
	ok(good, "%s: msgpack-c reads the same values", message->name);
}

static void foreign_pack(msgpack_packer *packer, const struct codec_field *field, const uint8_t *at)
{
	char padded[128] = { 0 };

	switch (field->kind) {
	case CODEC_KIND_U8:
		msgpack_pack_fix_uint8(packer, *at);
		return;
	case CODEC_KIND_U16:
		msgpack_pack_fix_uint16(packer, (uint16_t)number_at(at, field->kind));
		return;
	case CODEC_KIND_U32:
		msgpack_pack_fix_uint32(packer, (uint32_t)number_at(at, field->kind));
		return;
	case CODEC_KIND_U64:
		msgpack_pack_fix_uint64(packer, number_at(at, field->kind));
		return;
	case CODEC_KIND_UUID:
	case CODEC_KIND_ADDR:
		msgpack_pack_bin(packer, 16);
		msgpack_pack_bin_body(packer, at, 16);
		return;
	default:
		memcpy(padded, at, strlen((const char *)at));
		msgpack_pack_str(packer, value_bytes(field->kind));
		msgpack_pack_str_body(packer, padded, value_bytes(field->kind));
	}
}

/* msgpack-c has no call for an array 16 of fewer than 16 objects: its three bytes by hand. */
static void foreign_array16(msgpack_sbuffer *buffer, size_t count)
{
	char head[] = { (char)0xdc, 0, (char)count };
	(void)msgpack_sbuffer_write(buffer, head, sizeof(head));
}

static void test_foreign_writer(const struct codec_message *message)
{
	bool good = true;

	for (unsigned run = 0; run < 100; run++) {
		_cleanup_(msgpack_sbuffer_destroy) msgpack_sbuffer buffer;
		msgpack_packer packer;
		size_t size_bytes = 0;
		union record record;

		sample_record(message, &record);
		msgpack_sbuffer_init(&buffer);
		msgpack_packer_init(&packer, &buffer, msgpack_sbuffer_write);
		msgpack_pack_array(&packer, 3);
		msgpack_pack_fix_uint16(&packer, (uint16_t)message->type);
		msgpack_pack_fix_uint16(&packer, 0x0100);
		foreign_array16(&buffer, 1);
		foreign_array16(&buffer, message->field_count);
		for (size_t i = 0; i < message->field_count; i++) {
			foreign_pack(&packer, &message->fields[i],
			             (uint8_t *)&record + message->fields[i].offset);
		}
		good &= decode(message, (uint8_t *)buffer.data, buffer.size) == PR_OK;
		good &= codec_records_encode(message->type, &record, 1, frame, sizeof(frame),
		                             &size_bytes) == PR_OK;
		good &= size_bytes == buffer.size && memcmp(frame, buffer.data, size_bytes) == 0;
	}
	ok(good, "%s: what msgpack-c writes in this form decodes, byte for byte ours",
	   message->name);
}

static void test_damaged(const struct codec_message *message)
{
	size_t size_bytes = 0, at = HEAD_BYTES;
	bool good = true;
	union record records[2];

	sample_record(message, &records[0]);
	size_bytes = encode_one(message, &records[0]);
	for (size_t cut = 0; cut < size_bytes; cut++) {
		good &= decode(message, frame, cut) == PR_EMALF;
	}
	ok(good, "%s: cut at any byte is malformed", message->name);
	frame[size_bytes] = 0xc0;
	ok(decode(message, frame, size_bytes + 1) == PR_EMALF, "%s: a byte too many is malformed",
	   message->name);

	good = decode(message, frame, size_bytes) == PR_OK;
	for (size_t i = 0; i < 3 * 8; i++) {
		frame[at + i / 8] ^= (uint8_t)(1U << i % 8);
		good &= decode(message, frame, size_bytes) == PR_EMALF;
		frame[at + i / 8] ^= (uint8_t)(1U << i % 8);
	}
	at += 3;
	for (size_t i = 0; i < message->field_count; i++) {
		enum codec_kind kind = message->fields[i].kind;
		for (unsigned bit = 0; bit < 8 * tag_bytes(kind); bit++) {
			frame[at + bit / 8] ^= (uint8_t)(1U << bit % 8);
			good &= decode(message, frame, size_bytes) == PR_EMALF;
			frame[at + bit / 8] ^= (uint8_t)(1U << bit % 8);
		}
		at += tag_bytes(kind) + value_bytes(kind);
	}
	ok(good && at == size_bytes, "%s: any bit of any type byte flipped is malformed",
	   message->name);
}

static void test_head(const struct codec_message *message)
{
	static const uint8_t head_bits[] = { 0, 1, 3, 4, 7 };
	size_t size_bytes = 0;
	bool good = true;
	union record record;

	sample_record(message, &record);
	size_bytes = encode_one(message, &record);
	for (size_t i = 0; i < sizeof(head_bits) * 8; i++) {
		frame[head_bits[i / 8]] ^= (uint8_t)(1U << i % 8);
		good &= decode(message, frame, size_bytes) < 0;
		frame[head_bits[i / 8]] ^= (uint8_t)(1U << i % 8);
	}
	ok(good, "%s: any bit of the frame's type bytes flipped is refused", message->name);
	frame[5] = CODEC_VERSION_MAJOR + 1;
	ok(decode(message, frame, size_bytes) == PR_EVERS, "%s: a newer major version has its name",
	   message->name);
	frame[5] = CODEC_VERSION_MAJOR;
	frame[6] = CODEC_VERSION_MINOR + 1;
	ok(decode(message, frame, size_bytes) == PR_OK, "%s: a newer minor version is read",
	   message->name);
	frame[6] = CODEC_VERSION_MINOR;
	frame[9] = 0;
	ok(decode(message, frame, HEAD_BYTES) == PR_EMALF, "%s: no records is malformed",
	   message->name);
	frame[9] = 2;
	ok(decode(message, frame, size_bytes) == PR_EMALF, "%s: a count too high is malformed",
	   message->name);
	ok(codec_records_encode(message->type, &record, 0, frame, sizeof(frame), &size_bytes) ==
	                   PR_EINVAL &&
	           codec_records_encode(message->type, &record, 1, frame,
	                                codec_frame_bytes(message->type, 1) - 1,
	                                &size_bytes) == PR_ETOOBIG &&
	           codec_records_encode(message->type, spare, CODEC_BATCH_MAX + 1, frame,
	                                sizeof(frame), &size_bytes) == PR_ETOOBIG,
	   "%s: none, too many and too little room are refused", message->name);
}

static void test_enums(const struct codec_message *message)
{
	size_t size_bytes = 0, at = HEAD_BYTES + 3;
	unsigned tried = 0;
	bool good = true;

	for (size_t i = 0; i < message->field_count; i++) {
		const struct codec_field *field = &message->fields[i];
		unsigned limit = field->kind == CODEC_KIND_U8 ? sample_limit(field->unit) : 255;
		union record record;

		sample_record(message, &record);
		size_bytes = encode_one(message, &record);
		for (unsigned value = 0; value < 256 && limit < 255; value++, tried++) {
			frame[at + 1] = (uint8_t)value;
			good &= decode(message, frame, size_bytes) ==
			        (value <= limit ? PR_OK : PR_EMALF);
		}
		if (limit < 255) {
			*((uint8_t *)&record + field->offset) = (uint8_t)(limit + 1);
			good &= codec_records_encode(message->type, &record, 1, frame,
			                             sizeof(frame), &size_bytes) == PR_EINVAL;
		}
		at += tag_bytes(field->kind) + value_bytes(field->kind);
	}
	ok(good, "%s: only named values of enumerations pass, out and in (%u tried)", message->name,
	   tried);
}

/* Texts of both kinds, and what the encoder makes of them; NULL: the wire may not carry it. */
static const struct {
	const char *bytes;
	size_t size_bytes;
	const char *carried;
} odd_texts[] = {
	{ "a\nb", 3, "a\nb" },
	{ "\x1b[31m", 5, "\x1b[31m" },
	{ "del\x7f", 4, "del\x7f" },
	{ "12345678\x01", 9, "12345678\x01" },
	{ "c1 \xc2\x85", 5, "c1 \xc2\x85" },
	{ "\xe2\x80\xae"
	  "fdp",
	  6,
	  "\xe2\x80\xae"
	  "fdp" },
	{ ":%41", 4, ":%41" },
	{ "a\0b", 3, NULL },
	{ "\0x", 2, NULL },
	{ "1234\0"
	  "567",
	  8, NULL },
	{ "\xff", 1, ":%FF" },
	{ "cut \xe2\x82", 6, ":cut %E2%82" },
	{ "\xc0\xaf", 2, ":%C0%AF" },
	{ "\xed\xa0\x80", 3, ":%ED%A0%80" },
	{ "\xf4\x90\x80\x80", 4, ":%F4%90%80%80" },
	{ "12345678\xff", 9, ":12345678%FF" },
	/* Too long for the form in a name of 32 bytes: then it is nobody's. */
	{ "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 11, "" },
};

static void test_texts(const struct codec_message *message)
{
	size_t at = HEAD_BYTES + 3, size_bytes = 0;
	bool refused = true, exact = true;
	unsigned tried = 0;

	for (size_t i = 0; i < message->field_count; i++) {
		const struct codec_field *field = &message->fields[i];
		bool is_text = field->kind >= CODEC_KIND_TEXT32;
		size_t room = value_bytes(field->kind);

		for (size_t k = 0; is_text && k < PR_ARRAY_LEN(odd_texts); k++, tried++) {
			union record record;
			const char *carried = odd_texts[k].carried;
			bool same = carried != NULL && strcmp(carried, odd_texts[k].bytes) == 0;
			sample_record(message, &record);
			size_bytes = encode_one(message, &record);
			memset(frame + at + 2, 0, room);
			memcpy(frame + at + 2, odd_texts[k].bytes, odd_texts[k].size_bytes);
			refused &= decode(message, frame, size_bytes) == (same ? PR_OK : PR_EMALF);
			char *text = (char *)&record + field->offset;
			memcpy(text, odd_texts[k].bytes, odd_texts[k].size_bytes);
			text[odd_texts[k].size_bytes] = '\0';
			exact &= codec_records_encode(message->type, &record, 1, frame,
			                              sizeof(frame), &size_bytes) == PR_OK;
			exact &= decode(message, frame, size_bytes) == PR_OK;
			exact &= carried == NULL || (carried[0] == '\0' && room > 32) ||
			         strncmp((char *)frame + at + 2, carried, room) == 0;
		}
		if (is_text) { /* no terminator: full to the brim is good */
			memset(frame + at + 2, 'x', room);
			refused &= decode(message, frame, size_bytes) == PR_OK;
		}
		at += tag_bytes(field->kind) + room;
	}
	ok(refused, "%s: NUL and what is not UTF-8 are malformed (%u tried)", message->name, tried);
	ok(exact, "%s: texts are sent exactly, what is not UTF-8 in its form", message->name);
}

static void test_others(void)
{
	struct codec_event_ack ack = { .seq = 7 };
	size_t size_bytes = 0, count = 0;
	enum codec_type type = CODEC_REQUEST;

	ok(codec_records_encode(CODEC_OK, &ack, 1, frame, sizeof(frame), &size_bytes) == PR_EINVAL,
	   "a document is no hot message");
	ok(codec_records_encode(CODEC_EVENT_ACK, &ack, 1, frame, sizeof(frame), &size_bytes) ==
	                   PR_OK &&
	           codec_frame_type(frame, size_bytes, &type) == PR_OK && type == CODEC_EVENT_ACK,
	   "the type of a frame is read without the rest");
	ok(codec_records_decode(CODEC_EVENT, frame, size_bytes, spare, &count) == PR_EMALF,
	   "another type than asked for is malformed");
	frame[2] = 99;
	ok(codec_frame_type(frame, size_bytes, &type) == PR_EMALF, "an unknown type is malformed");
	ok(codec_frame_bytes(CODEC_REQUEST, CODEC_BATCH_MAX) <= CODEC_FRAME_MAX_BYTES &&
	           codec_frame_bytes(CODEC_EVENT, CODEC_BATCH_MAX) <= CODEC_FRAME_MAX_BYTES,
	   "a full batch fits a frame: request %zu bytes, event %zu bytes a record",
	   codec_record_bytes(CODEC_REQUEST), codec_record_bytes(CODEC_EVENT));
}

/* Frames of some records become one of all, as if they had been encoded together. */
static void test_join(void)
{
	static uint8_t joined[CODEC_FRAME_MAX_BYTES], whole[CODEC_FRAME_MAX_BYTES];
	static struct codec_event events[CODEC_BATCH_MAX];
	size_t joined_bytes = 0, part_bytes = 0, whole_bytes = 0, count = 0;
	bool good = true;

	for (size_t i = 0; i < CODEC_BATCH_MAX; i++) {
		events[i].seq = i + 1;
	}
	for (size_t i = 0; i < 30; i += 3) {
		good &= codec_records_encode(CODEC_EVENT, &events[i], 3, frame, sizeof(frame),
		                             &part_bytes) == PR_OK;
		good &= codec_records_join(CODEC_EVENT, joined, &joined_bytes, frame, part_bytes) ==
		        PR_OK;
	}
	good &= codec_records_encode(CODEC_EVENT, events, 30, whole, sizeof(whole), &whole_bytes) ==
	        PR_OK;
	ok(good && joined_bytes == whole_bytes && memcmp(joined, whole, whole_bytes) == 0,
	   "ten frames of three are the frame of thirty");
	good = codec_records_encode(CODEC_EVENT, events, CODEC_BATCH_MAX - 29, frame, sizeof(frame),
	                            &part_bytes) == PR_OK;
	ok(good &&
	           codec_records_join(CODEC_EVENT, joined, &joined_bytes, frame, part_bytes) ==
	                   PR_ETOOBIG &&
	           joined_bytes == whole_bytes,
	   "more than a frame holds: nothing is changed");
	ok(codec_records_decode(CODEC_EVENT, joined, joined_bytes, events, &count) == PR_OK &&
	           count == 30,
	   "it still decodes");
	ok(codec_records_join(CODEC_REQUEST, joined, &joined_bytes, frame, part_bytes) ==
	                   PR_EMALF &&
	           codec_records_join(CODEC_EVENT, joined, &joined_bytes, frame, part_bytes - 1) ==
	                   PR_EMALF,
	   "another type, or cut off: refused");
}

int main(void)
{
	size_t count = 0;
	const struct codec_message *messages = codec_messages(&count);

	for (size_t i = 0; i < count; i++) {
		if (messages[i].hot) {
			test_round_trip(&messages[i]);
			test_foreign_reader(&messages[i]);
			test_foreign_writer(&messages[i]);
			test_damaged(&messages[i]);
			test_head(&messages[i]);
			test_enums(&messages[i]);
			test_texts(&messages[i]);
		}
	}
	test_others();
	test_join();
	return tap_done();
}
