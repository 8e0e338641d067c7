/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Text of key files, both kinds; what parses is a pair that belongs together. */

#include <stdlib.h>

#include "base/err.h"
#include "bus/internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes)
{
	struct pr_uuid id;
	struct bus_key key;
	struct bus_sign_key sign_key;

	if (bus_key_text_parse((const char *)data, size_bytes, &id, &key) == PR_OK &&
	    pr_uuid_is_null(&id)) {
		abort();
	}
	(void)!bus_sign_key_text_parse((const char *)data, size_bytes, &sign_key);
	return 0;
}
