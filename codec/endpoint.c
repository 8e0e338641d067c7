/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "codec/codec.h"

bool codec_endpoint_is_of(const codec_doc_t *endpoint, const struct pr_uuid *host)
{
	struct pr_uuid id = codec_doc_uuid(endpoint, CODEC_ENDPOINT_UUID);
	struct pr_uuid on = codec_doc_uuid(endpoint, CODEC_ENDPOINT_HOST);
	const char *container_id = codec_doc_text(endpoint, CODEC_ENDPOINT_CONTAINER_ID);

	if (pr_uuid_equal(&id, host)) {
		return true;
	}
	if (!pr_uuid_equal(&on, host)) {
		return false;
	}
	struct pr_uuid expected =
		container_id[0] != '\0'
			? pr_uuid_of_container(container_id)
			: pr_uuid_of_namespace(host, codec_doc_text(endpoint, CODEC_ENDPOINT_NAME));
	return pr_uuid_equal(&id, &expected);
}
