/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "codec/codec.h"

int codec_join_encode(const struct pr_uuid *id, const uint8_t public_key[static 32],
                      const char *name, uint8_t **ret_data, size_t *ret_bytes)
{
	_cleanup_(codec_doc_destroy) codec_doc_t *doc = codec_doc_new(CODEC_ENROLL);
	if (doc == NULL) {
		return PR_ENOMEM;
	}
	codec_doc_set_u64(doc, CODEC_ENROLL_ID, 1);
	codec_doc_set_uuid(doc, CODEC_ENROLL_UUID, id);
	codec_doc_set_blob(doc, CODEC_ENROLL_PUBLIC_KEY, public_key, 32);
	codec_doc_set_text(doc, CODEC_ENROLL_NAME, name);
	return codec_doc_encode(doc, ret_data, ret_bytes);
}

int codec_join_decode(const uint8_t *data, size_t size_bytes, struct codec_joined *ret_joined)
{
	_cleanup_(codec_doc_destroy) codec_doc_t *doc = NULL;
	struct codec_joined joined = { 0 };
	size_t key_bytes;

	int err = codec_doc_decode(data, size_bytes, &doc);
	if (err != PR_OK) {
		return err;
	}
	if (codec_doc_type(doc) == CODEC_ERROR) {
		(void)snprintf(joined.refusal, sizeof(joined.refusal), "%s",
		               codec_doc_text(doc, CODEC_ERROR_TEXT));
		*ret_joined = joined;
		return PR_EACCES;
	}
	const uint8_t *key = codec_doc_type(doc) == CODEC_ENROLLED
	                             ? codec_doc_blob(doc, CODEC_ENROLLED_AUTHORITY_KEY, &key_bytes)
	                             : NULL;
	if (key == NULL || key_bytes != sizeof(joined.authority_key)) {
		return PR_EMALF;
	}
	memcpy(joined.authority_key, key, key_bytes);
	(void)snprintf(joined.role, sizeof(joined.role), "%s",
	               codec_doc_text(doc, CODEC_ENROLLED_ROLE));
	joined.pending = codec_doc_u64(doc, CODEC_ENROLLED_PENDING) != 0;
	*ret_joined = joined;
	return PR_OK;
}
