/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A row of the history as it lies on disk: key (32 bytes), then the value without its frame. */
#include <string.h>

#include "base/err.h"
#include "store/row.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes);

static void row_try(const uint8_t *key, const uint8_t *value, size_t value_bytes)
{
	struct store_cursor cursor = {
		.key = { .mv_size = 32, .mv_data = (void *)(uintptr_t)key },
		.value = { .mv_size = value_bytes, .mv_data = (void *)(uintptr_t)value },
	};
	struct store_row row;
	_cleanup_(store_writer_done) struct store_writer again = { 0 };

	if (store_row_read(&cursor, &row) != PR_OK) {
		return;
	}
	/* Every text ends; and the row can be written again. */
	store_writer_start(&again);
	store_row_write(&again, &row);
	if (strlen(row.src.name) + strlen(row.dst.host) + strlen(row.rule_comment) > value_bytes ||
	    again.err != PR_OK) {
		__builtin_trap();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes)
{
	_cleanup_(store_writer_done) struct store_writer sealed = { 0 };

	if (size_bytes < 32) {
		return 0;
	}
	row_try(data, data + 32, size_bytes - 32);
	store_writer_start(&sealed);
	store_write_bytes(&sealed, data + 32, size_bytes - 32);
	store_writer_seal(&sealed);
	if (sealed.err == PR_OK) {
		row_try(data, sealed.data, sealed.size_bytes);
	}
	return 0;
}
