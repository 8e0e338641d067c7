/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "agent/keeper/owner_parse.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes);

/* Texts of /proc and password files, and sock_diag answers. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes)
{
	struct owner_raw_socket raw;
	struct owner_socket socket;
	char name[33];
	uint64_t number;
	size_t offset = 0;
	int messages = 0;

	if (owner_passwd_find((const char *)data, size_bytes, 1000, name)) {
		assert(memchr(name, 0, sizeof(name)) != NULL && name[0] != '\0');
	}
	while (owner_diag_read(data, size_bytes, &offset, 9, &socket) != OWNER_DIAG_END) {
		assert(offset <= size_bytes && ++messages <= (int)size_bytes);
	}
	char *text = malloc(size_bytes + 1);
	if (text == NULL) {
		return 0;
	}
	memcpy(text, data, size_bytes);
	text[size_bytes] = '\0';
	(void)owner_stat_parse(text, &number);
	(void)owner_link_parse(text, "socket", &number);
	(void)owner_raw_parse(text, &raw);
	(void)owner_uid_map(text, 100033);
	(void)owner_mounts_risky(text);
	free(text);
	return 0;
}
