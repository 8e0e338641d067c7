/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Documents: round trips, msgpack-c as a stranger on both sides, and what must not pass. */

#include <msgpack.h>
#include <stdlib.h>

#include "base/err.h"
#include "codec/codec.h"
#include "tests/codec/sample.h"
#include "tests/tap.h"

/* Decode a copy of exactly the size, so that a sanitizer sees one byte too far. */
static int decode(const void *data, size_t size_bytes, codec_doc_t **ret_doc)
{
	uint8_t *copy = malloc(size_bytes > 0 ? size_bytes : 1);
	codec_doc_t *doc = NULL;
	int ret;

	if (size_bytes > 0) {
		memcpy(copy, data, size_bytes);
	}
	ret = codec_doc_decode(copy, size_bytes, &doc);
	free(copy);
	if (ret_doc != NULL) {
		*ret_doc = doc;
	} else {
		codec_doc_destroy(&doc);
	}
	return ret;
}

static bool texts_equal(const codec_doc_t *a, const codec_doc_t *b, unsigned field)
{
	bool good = codec_doc_count(a, field) == codec_doc_count(b, field);

	for (size_t i = 0; good && i < codec_doc_count(a, field); i++) {
		good &= strcmp(codec_doc_item(a, field, i), codec_doc_item(b, field, i)) == 0;
	}
	return good;
}

static bool docs_equal(const struct codec_message *message, const codec_doc_t *a,
                       const codec_doc_t *b)
{
	bool good = codec_doc_type(a) == codec_doc_type(b);

	for (unsigned i = 0; good && i < message->field_count; i++) {
		struct pr_uuid id_a, id_b;
		size_t bytes_a, bytes_b;
		switch (message->fields[i].kind) {
		case CODEC_KIND_BOOL:
		case CODEC_KIND_U64:
			good &= codec_doc_u64(a, i) == codec_doc_u64(b, i);
			break;
		case CODEC_KIND_TEXT:
			good &= strcmp(codec_doc_text(a, i), codec_doc_text(b, i)) == 0;
			break;
		case CODEC_KIND_UUID:
			id_a = codec_doc_uuid(a, i);
			id_b = codec_doc_uuid(b, i);
			good &= pr_uuid_equal(&id_a, &id_b);
			break;
		case CODEC_KIND_BLOB: {
			const uint8_t *blob_a = codec_doc_blob(a, i, &bytes_a);
			const uint8_t *blob_b = codec_doc_blob(b, i, &bytes_b);
			good &= bytes_a == bytes_b && memcmp(blob_a, blob_b, bytes_a) == 0;
			break;
		}
		default:
			good &= texts_equal(a, b, i);
		}
	}
	return good;
}

/* What msgpack-c makes of our bytes, written again by msgpack-c, is read as the same. */
static bool through_foreign(const struct codec_message *message, const codec_doc_t *doc,
                            const uint8_t *data, size_t size_bytes)
{
	_cleanup_(msgpack_unpacked_destroy) msgpack_unpacked unpacked;
	_cleanup_(msgpack_sbuffer_destroy) msgpack_sbuffer buffer;
	_cleanup_(codec_doc_destroy) codec_doc_t *back = NULL;
	msgpack_packer packer;
	size_t at = 0;

	msgpack_unpacked_init(&unpacked);
	msgpack_sbuffer_init(&buffer);
	msgpack_packer_init(&packer, &buffer, msgpack_sbuffer_write);
	return msgpack_unpack_next(&unpacked, (const char *)data, size_bytes, &at) ==
	               MSGPACK_UNPACK_SUCCESS &&
	       at == size_bytes && msgpack_pack_object(&packer, unpacked.data) == 0 &&
	       decode(buffer.data, buffer.size, &back) == PR_OK && docs_equal(message, doc, back);
}

static void test_message(const struct codec_message *message)
{
	bool same = true, foreign = true, cut_refused = true, more_refused = true, empty = true;

	for (unsigned run = 0; run < 20; run++) {
		_cleanup_(codec_doc_destroy) codec_doc_t *doc = sample_doc(message);
		_cleanup_(codec_doc_destroy) codec_doc_t *back = NULL;
		_cleanup_(pr_free) uint8_t *data = NULL;
		size_t size_bytes = 0;

		same &= codec_doc_encode(doc, &data, &size_bytes) == PR_OK;
		same &= decode(data, size_bytes, &back) == PR_OK && docs_equal(message, doc, back);
		foreign &= through_foreign(message, doc, data, size_bytes);
		for (size_t cut = 0; run == 0 && cut < size_bytes; cut++) {
			cut_refused &= decode(data, cut, NULL) == PR_EMALF;
		}
		data = realloc(data, size_bytes + 1);
		data[size_bytes] = 0xc0;
		more_refused &= decode(data, size_bytes + 1, NULL) == PR_EMALF;
		data[4] = CODEC_VERSION_MAJOR + 1;
		more_refused &= decode(data, size_bytes, NULL) == PR_EVERS;
	}
	_cleanup_(codec_doc_destroy) codec_doc_t *doc = codec_doc_new(message->type);
	_cleanup_(codec_doc_destroy) codec_doc_t *back = NULL;
	_cleanup_(pr_free) uint8_t *data = NULL;
	size_t size_bytes = 0;
	empty &= codec_doc_encode(doc, &data, &size_bytes) == PR_OK && size_bytes == 8;
	empty &= decode(data, size_bytes, &back) == PR_OK && docs_equal(message, doc, back);

	ok(same && foreign && cut_refused && more_refused && empty,
	   "%s: comes back %d, through msgpack-c %d, cut %d, longer or newer %d, empty %d",
	   message->name, same, foreign, cut_refused, more_refused, empty);
}

/* A frame of a message with any body. Bytes in @p body. */
static int decode_body(enum codec_type type, const void *body, size_t body_bytes,
                       codec_doc_t **ret_doc)
{
	uint8_t frame[4096] = { 0x93, 0xcd, 0, (uint8_t)type, 0xcd, 1, 0 };

	memcpy(frame + 7, body, body_bytes);
	return decode(frame, 7 + body_bytes, ret_doc);
}

#define BODY(type, text) decode_body(type, text, sizeof(text) - 1, NULL)

static void test_forms(void)
{
	_cleanup_(codec_doc_destroy) codec_doc_t *doc = NULL;

	ok(BODY(CODEC_OK, "\x81\xa2id\x01") == PR_OK, "an OK by hand");
	ok(BODY(CODEC_OK, "\x82\xa2id\x01\xa2id\x01") == PR_EMALF, "a key twice");
	ok(BODY(CODEC_OK, "\x82\xa1z\x01\xa1z\x01") == PR_EMALF, "an unknown key twice");
	ok(BODY(CODEC_OK, "\x81\xa2id\xff") == PR_EMALF, "a negative number");
	ok(BODY(CODEC_OK, "\x81\xa2id\xca\x3f\x80\0\0") == PR_EMALF, "a float for a number");
	ok(BODY(CODEC_OK, "\x81\xa2id\xc0") == PR_EMALF, "nil for a number");
	ok(BODY(CODEC_OK, "\x81\xa4text\x01") == PR_EMALF, "a number for a text");
	ok(BODY(CODEC_OK, "\x81\xa4text\xa3"
	                  "a\0b") == PR_EMALF,
	   "NUL in a text");
	ok(BODY(CODEC_OK, "\x81\xa4text\xa1\xff") == PR_EMALF, "a text that is not UTF-8");
	ok(BODY(CODEC_OK, "\x81\x01\x01") == PR_EMALF, "a key that is no text");
	ok(BODY(CODEC_OK, "\x91\x01") == PR_EMALF, "a list for the map");
	ok(BODY(CODEC_END, "\x81\xa8"
	                   "complete\x01") == PR_EMALF,
	   "a number for a bool");
	ok(BODY(CODEC_HELLO, "\x81\xa4uuid\xc4\x0f"
	                     "0123456789abcde") == PR_EMALF,
	   "a UUID of 15 bytes");
	ok(BODY(CODEC_HELLO, "\x81\xa4uuid\xd9\x10"
	                     "0123456789abcdef") == PR_EMALF,
	   "a text for a UUID");
	ok(BODY(CODEC_ERROR, "\x81\xa7"
	                     "details\x91\x01") == PR_EMALF,
	   "a number in a list of texts");
	ok(BODY(CODEC_ERROR, "\x81\xa7"
	                     "details\xa1x") == PR_EMALF,
	   "a text for a list");
	ok(BODY(CODEC_REQUEST, "\x80") == PR_EMALF, "a hot message is no document");
	ok(decode("\x93\x20\xcd\x01\x00\x80", 6, NULL) == PR_OK,
	   "a stranger may write the type in its shortest form");
	ok(decode_body(CODEC_OK, "\x83\xa4more\x92\xc3\x81\x01\xc2\xa2id\x07\xa3new\xd6\x01wxyz",
	               25, &doc) == PR_OK &&
	           codec_doc_u64(doc, CODEC_OK_ID) == 7,
	   "unknown names of any type are skipped");
}

static long peak_kib(void)
{
	_cleanup_(pr_free) char *line = NULL;
	FILE *status = fopen("/proc/self/status", "re");
	size_t room = 0;
	long kib = -1;

	while (status != NULL && getline(&line, &room, status) > 0) {
		if (strncmp(line, "VmPeak:", 7) == 0) {
			kib = strtol(line + 7, NULL, 10);
		}
	}
	if (status != NULL) {
		fclose(status);
	}
	return kib;
}

static void test_bombs(void)
{
	long before_kib = peak_kib();
	uint8_t nested[] = { 0x81, 0xa1, 'z', 0x91, 0x91, 0x91, 0x91, 0xc0 };
	uint8_t *wide = malloc(400000);
	static const uint8_t head[] = {
		0x93, 0xcd, 0, CODEC_OK, 0xcd, 1, 0, 0x81, 0xa1, 'z', 0xdd
	};

	ok(decode("\x93\x20\xcd\x01\x00\xdf\xff\xff\xff\xff", 10, NULL) == PR_EMALF,
	   "a map of 4 billion in ten bytes");
	ok(decode("\xdd\xff\xff\xff\xff\xc0", 6, NULL) == PR_EMALF, "a list of 4 billion in six");
	ok(BODY(CODEC_OK, "\x81\xa1z\xdd\xff\xff\xff\xff") == PR_EMALF, "the same as a value");
	ok(BODY(CODEC_OK, "\x81\xa1z\xdb\xff\xff\xff\xff") == PR_EMALF, "a text of 4 GiB");
	ok(BODY(CODEC_OK, "\x81\xa1z\xc6\xff\xff\xff\xff") == PR_EMALF, "a blob of 4 GiB");
	ok(BODY(CODEC_OK, "\x81\xa1z\xc9\xff\xff\xff\xff\x01") == PR_EMALF,
	   "an extension of 4 GiB");
	ok(BODY(CODEC_OK, "\x81\xa1z\xc1") == PR_EMALF, "the byte that MessagePack never uses");
	ok(decode_body(CODEC_OK, nested, sizeof(nested), NULL) == PR_EMALF, "five levels deep");
	nested[6] = 0xc0;
	ok(decode_body(CODEC_OK, nested, sizeof(nested) - 1, NULL) == PR_EMALF,
	   "four levels below the map are still too many");
	nested[5] = 0xc0;
	ok(decode_body(CODEC_OK, nested, sizeof(nested) - 2, NULL) == PR_OK, "two are not");

	memcpy(wide, head, sizeof(head));
	memcpy(wide + sizeof(head), "\x00\x03\x0d\x40", 4); /* 200000 */
	memset(wide + sizeof(head) + 4, 0xc0, 200000);
	ok(decode(wide, sizeof(head) + 4 + 200000, NULL) == PR_EMALF, "200,000 objects");
	free(wide);
	ok(peak_kib() - before_kib < 64 * 1024, "all of them took less than 64 MiB: %ld KiB",
	   peak_kib() - before_kib);
}

static void test_setters(void)
{
	_cleanup_(codec_doc_destroy) codec_doc_t *doc = codec_doc_new(CODEC_ERROR);
	_cleanup_(codec_doc_destroy) codec_doc_t *back = NULL;
	_cleanup_(pr_free) uint8_t *data = NULL;
	size_t size_bytes = 0;

	codec_doc_set_text(doc, CODEC_ERROR_TEXT, "first");
	codec_doc_set_text(doc, CODEC_ERROR_TEXT, "caf\xe9 \xc3\xa9\n");
	codec_doc_addf(doc, CODEC_ERROR_DETAILS, "line %d", 7);
	codec_doc_add_text(doc, CODEC_ERROR_DETAILS, "");
	ok(codec_doc_encode(doc, &data, &size_bytes) == PR_OK &&
	           decode(data, size_bytes, &back) == PR_OK,
	   "a text that is not UTF-8 can be sent");
	ok(strcmp(codec_doc_text(back, CODEC_ERROR_TEXT), "caf? \xc3\xa9\n") == 0,
	   "a question mark stands for each bad byte, and the last setting holds");
	ok(codec_doc_count(back, CODEC_ERROR_DETAILS) == 2 &&
	           strcmp(codec_doc_item(back, CODEC_ERROR_DETAILS, 0), "line 7") == 0 &&
	           strcmp(codec_doc_item(back, CODEC_ERROR_DETAILS, 1), "") == 0 &&
	           strcmp(codec_doc_item(back, CODEC_ERROR_DETAILS, 2), "") == 0,
	   "items come back, and none behind the last");

	for (unsigned i = 0; i < 70000; i++) {
		codec_doc_add_text(doc, CODEC_ERROR_DETAILS, "x");
	}
	pr_free(&data);
	ok(codec_doc_encode(doc, &data, &size_bytes) == PR_ETOOBIG && data == NULL,
	   "too many items are an error when the document is encoded");
}

static void test_large(void)
{
	size_t text_bytes = CODEC_DOC_MAX_BYTES - 64;
	char *text = malloc(text_bytes + 100);
	_cleanup_(codec_doc_destroy) codec_doc_t *doc = codec_doc_new(CODEC_POLICY_IMPORT);
	_cleanup_(codec_doc_destroy) codec_doc_t *back = NULL;
	_cleanup_(pr_free) uint8_t *data = NULL;
	size_t size_bytes = 0;

	memset(text, '\n', text_bytes + 99);
	text[text_bytes] = '\0';
	codec_doc_set_text(doc, CODEC_POLICY_IMPORT_TEXT, text);
	ok(codec_doc_encode(doc, &data, &size_bytes) == PR_OK &&
	           codec_doc_decode(data, size_bytes, &back) == PR_OK &&
	           strlen(codec_doc_text(back, CODEC_POLICY_IMPORT_TEXT)) == text_bytes,
	   "a policy of nearly 32 MiB goes through");
	memset(text, 'x', text_bytes + 99);
	text[text_bytes + 99] = '\0';
	codec_doc_set_text(doc, CODEC_POLICY_IMPORT_TEXT, text);
	pr_free(&data);
	ok(codec_doc_encode(doc, &data, &size_bytes) == PR_ETOOBIG, "a larger one does not");
	free(text);
}

/* What is stored, sent on with a word behind it, is read as one document. */
static void test_behind(void)
{
	codec_doc_t *stored = codec_doc_new(CODEC_ENDPOINT), *more = codec_doc_new(CODEC_ENDPOINT);
	codec_doc_t *other = codec_doc_new(CODEC_ERROR), *read = NULL;
	uint8_t *before = NULL, *both = NULL;
	size_t before_bytes = 0, both_bytes = 0;

	for (unsigned field = CODEC_ENDPOINT_KIND; field <= CODEC_ENDPOINT_CONTAINER_ID; field++) {
		codec_doc_set_text(stored, field, "stored");
	}
	for (unsigned i = 0; i < 20; i++) {
		codec_doc_addf(stored, CODEC_ENDPOINT_LABELS, "key=%u", i);
	}
	codec_doc_set_u64(more, CODEC_ENDPOINT_ID, 7);
	codec_doc_set_text(more, CODEC_ENDPOINT_STATUS, "active");
	bool good =
		codec_doc_encode(stored, &before, &before_bytes) == PR_OK &&
		codec_doc_encode_behind(more, before, before_bytes, &both, &both_bytes) == PR_OK;
	ok(good && decode(both, both_bytes, &read) == PR_OK &&
	           codec_doc_u64(read, CODEC_ENDPOINT_ID) == 7 &&
	           strcmp(codec_doc_text(read, CODEC_ENDPOINT_NAME), "stored") == 0 &&
	           strcmp(codec_doc_text(read, CODEC_ENDPOINT_STATUS), "active") == 0 &&
	           strcmp(codec_doc_item(read, CODEC_ENDPOINT_LABELS, 19), "key=19") == 0,
	   "behind one that is not decoded");
	/* What was decoded and then set anew belongs to the document as before. */
	codec_doc_set_text(read, CODEC_ENDPOINT_NAME, "a name that is longer than it was");
	codec_doc_add_text(read, CODEC_ENDPOINT_LABELS, "one=more");
	ok(codec_doc_count(read, CODEC_ENDPOINT_LABELS) == 21 &&
	           strcmp(codec_doc_item(read, CODEC_ENDPOINT_LABELS, 20), "one=more") == 0 &&
	           strncmp(codec_doc_text(read, CODEC_ENDPOINT_NAME), "a name", 6) == 0,
	   "a decoded document can be changed");
	codec_doc_destroy(&read);
	free(both);
	codec_doc_set_text(more, CODEC_ENDPOINT_NAME, "twice");
	ok(codec_doc_encode_behind(more, before, before_bytes, &both, &both_bytes) == PR_OK &&
	           decode(both, both_bytes, NULL) == PR_EMALF,
	   "a field twice is refused by who reads it");
	free(both);
	ok(codec_doc_encode_behind(other, before, before_bytes, &both, &both_bytes) == PR_EMALF &&
	           codec_doc_encode_behind(more, before, 7, &both, &both_bytes) == PR_EMALF,
	   "another type, or less than a document: refused");
	free(before);
	codec_doc_destroy(&stored);
	codec_doc_destroy(&more);
	codec_doc_destroy(&other);
}

int main(void)
{
	size_t count = 0;
	const struct codec_message *messages = codec_messages(&count);

	for (size_t i = 0; i < count; i++) {
		if (!messages[i].hot) {
			test_message(&messages[i]);
		}
	}
	test_forms();
	test_bombs();
	test_setters();
	test_large();
	test_behind();
	return tap_done();
}
