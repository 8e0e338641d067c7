/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdio.h>
#include <string.h>

#include "base/process.h"

#define START_FIELD 22

uint64_t pr_process_start_ticks(int32_t pid)
{
	char path[64], text[1024];
	unsigned long long ticks = 0;

	(void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	FILE *file = fopen(path, "re");
	if (file == NULL) {
		return 0;
	}
	size_t size_bytes = fread(text, 1, sizeof(text) - 1, file);
	(void)fclose(file);
	text[size_bytes] = '\0';
	/* Field 2, the name, may hold anything, parentheses and spaces too. */
	const char *at = strrchr(text, ')');
	for (int field = 2; at != NULL && field < START_FIELD; field++) {
		at = strchr(at + 1, ' ');
	}
	return at != NULL && sscanf(at, " %llu", &ticks) == 1 ? ticks : 0;
}
