/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "codec/codec.h"
#include "tests/tap.h"

static const uint8_t key[32] = { 1, 2, 3, [31] = 9 };

static void test_ask(void)
{
	_cleanup_(codec_doc_destroy) codec_doc_t *doc = NULL;
	_cleanup_(pr_free) uint8_t *data = NULL;
	struct pr_uuid id = pr_uuid_new();
	size_t size_bytes = 0, key_bytes = 0;

	ok(codec_join_encode(&id, key, "dockersrv", &data, &size_bytes) == PR_OK &&
	           codec_doc_decode(data, size_bytes, &doc) == PR_OK &&
	           codec_doc_type(doc) == CODEC_ENROLL,
	   "a newcomer's document is an ENROLL");
	struct pr_uuid got = codec_doc_uuid(doc, CODEC_ENROLL_UUID);
	const uint8_t *got_key = codec_doc_blob(doc, CODEC_ENROLL_PUBLIC_KEY, &key_bytes);
	ok(pr_uuid_equal(&got, &id) && key_bytes == 32 && memcmp(got_key, key, 32) == 0 &&
	           strcmp(codec_doc_text(doc, CODEC_ENROLL_NAME), "dockersrv") == 0,
	   "with its id, key and name");
}

static int answer(enum codec_type type, size_t key_bytes, struct codec_joined *ret_joined)
{
	_cleanup_(codec_doc_destroy) codec_doc_t *doc = codec_doc_new(type);
	_cleanup_(pr_free) uint8_t *data = NULL;
	size_t size_bytes = 0;

	if (type == CODEC_ENROLLED) {
		codec_doc_set_text(doc, CODEC_ENROLLED_ROLE, "recorder");
		codec_doc_set_blob(doc, CODEC_ENROLLED_AUTHORITY_KEY, key, key_bytes);
		codec_doc_set_u64(doc, CODEC_ENROLLED_PENDING, 1);
	}
	if (type == CODEC_ERROR) {
		codec_doc_set_text(doc, CODEC_ERROR_TEXT, "token was used");
	}
	int err = codec_doc_encode(doc, &data, &size_bytes);
	return err == PR_OK ? codec_join_decode(data, size_bytes, ret_joined) : err;
}

static void test_answer(void)
{
	struct codec_joined joined = { 0 };

	ok(answer(CODEC_ENROLLED, 32, &joined) == PR_OK && strcmp(joined.role, "recorder") == 0 &&
	           joined.pending && memcmp(joined.authority_key, key, 32) == 0,
	   "a welcome gives role, key and whether to wait");
	ok(answer(CODEC_ENROLLED, 31, &joined) == PR_EMALF, "a short key is malformed");
	ok(answer(CODEC_END, 0, &joined) == PR_EMALF, "another answer, too");
	ok(answer(CODEC_ERROR, 0, &joined) == PR_EACCES &&
	           strcmp(joined.refusal, "token was used") == 0,
	   "a refusal says why");
	ok(codec_join_decode((const uint8_t *)"nonsense", 8, &joined) < 0, "nonsense is an error");
}

int main(void)
{
	test_ask();
	test_answer();
	return tap_done();
}
