/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uuid/uuid.h>

#include "base/id.h"
#include "base/err.h"

/* Ours for ever: another value would give every container another identity. */
static const uuid_t our_namespace = { 0x6b, 0x1d, 0x0c, 0x5e, 0x93, 0x42, 0x4e, 0x7f,
	                              0x8a, 0x26, 0xd0, 0x51, 0x7c, 0x3b, 0xe8, 0x94 };

struct pr_uuid pr_uuid_new(void)
{
	struct pr_uuid id;
	uuid_generate_random(id.bytes);
	return id;
}

struct pr_uuid pr_uuid_of_container(const char *container_id)
{
	struct pr_uuid id;
	uuid_generate_sha1(id.bytes, our_namespace, container_id, strlen(container_id));
	return id;
}

struct pr_uuid pr_uuid_of_bytes(const char *kind, const void *data, size_t size_bytes)
{
	uuid_t kind_namespace;
	struct pr_uuid id;

	uuid_generate_sha1(kind_namespace, our_namespace, kind, strlen(kind));
	uuid_generate_sha1(id.bytes, kind_namespace, data, size_bytes);
	return id;
}

struct pr_uuid pr_uuid_of_namespace(const struct pr_uuid *host, const char *name)
{
	struct pr_uuid of_host = pr_uuid_of_bytes("namespace", host->bytes, sizeof(host->bytes));
	struct pr_uuid id;

	uuid_generate_sha1(id.bytes, of_host.bytes, name, strlen(name));
	return id;
}

const char *pr_uuid_format(const struct pr_uuid *id, char text[static PR_UUID_TEXT_BYTES])
{
	uuid_unparse_lower(id->bytes, text);
	return text;
}

int pr_uuid_parse(const char *text, struct pr_uuid *ret_id)
{
	uuid_t id;

	if (strnlen(text, PR_UUID_TEXT_BYTES) != PR_UUID_TEXT_BYTES - 1 ||
	    uuid_parse(text, id) != 0) {
		return PR_EINVAL;
	}
	memcpy(ret_id->bytes, id, sizeof(ret_id->bytes));
	return PR_OK;
}

bool pr_uuid_is_null(const struct pr_uuid *id)
{
	return uuid_is_null(id->bytes) != 0;
}

bool pr_uuid_equal(const struct pr_uuid *a, const struct pr_uuid *b)
{
	return memcmp(a->bytes, b->bytes, sizeof(a->bytes)) == 0;
}
