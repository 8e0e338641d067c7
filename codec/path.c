/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <assert.h>

#include "codec/internal.h"

void codec_path_set(char *text, size_t size_bytes, const char *path)
{
	size_t path_bytes = strlen(path);
	struct pr_uuid id;

	assert(size_bytes >= CODEC_PATH_ID_BYTES);
	if (path_bytes < size_bytes &&
	    codec_text_valid(path, path_bytes, CODEC_TEXT_PATH) == path_bytes) {
		memcpy(text, path, path_bytes + 1);
		return;
	}
	id = pr_uuid_of_bytes("exe", path, path_bytes);
	text[0] = '#';
	(void)pr_uuid_format(&id, text + 1);
}
