/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "agent/speaker/numbers.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"

#define FORMAT "portreeve-numbers-1 %" PRIu64 " %" PRIu64 " %u %s\n"

size_t numbers_format(const struct numbers *numbers, char text[static NUMBERS_TEXT_BYTES])
{
	char boot[PR_UUID_TEXT_BYTES];
	int wrote = snprintf(text, NUMBERS_TEXT_BYTES, FORMAT, numbers->reserved, numbers->next,
	                     numbers->clean ? 1U : 0U, pr_uuid_format(&numbers->boot, boot));

	return wrote > 0 ? (size_t)wrote : 0;
}

int numbers_parse(const char *text, size_t size_bytes, struct numbers *ret_numbers)
{
	struct numbers numbers = { 0 };
	char copy[NUMBERS_TEXT_BYTES], again[NUMBERS_TEXT_BYTES], boot[PR_UUID_TEXT_BYTES] = "";
	unsigned clean;

	if (size_bytes >= sizeof(copy)) {
		return PR_EMALF;
	}
	memcpy(copy, text, size_bytes);
	copy[size_bytes] = '\0';
	if (sscanf(copy, "portreeve-numbers-1 %" SCNu64 " %" SCNu64 " %u %36s", &numbers.reserved,
	           &numbers.next, &clean, boot) != 4 ||
	    pr_uuid_parse(boot, &numbers.boot) != PR_OK) {
		return PR_EMALF;
	}
	numbers.clean = clean == 1;
	/* Only what we would have written: nothing that sscanf() is lenient about. */
	if (numbers_format(&numbers, again) != size_bytes || strcmp(copy, again) != 0 ||
	    numbers.reserved >= UINT64_MAX / 2 || numbers.next > numbers.reserved + 1) {
		return PR_EMALF;
	}
	*ret_numbers = numbers;
	return PR_OK;
}

void numbers_resume(const struct numbers *numbers, const struct pr_uuid *boot,
                    uint64_t *ret_first_seq, uint64_t *ret_empty_seq)
{
	bool same_run = pr_uuid_equal(&numbers->boot, boot) && !pr_uuid_is_null(boot);

	if (numbers->clean) {
		*ret_first_seq = *ret_empty_seq = numbers->next;
	} else {
		*ret_first_seq = same_run ? 1 : numbers->reserved + 1;
		*ret_empty_seq = numbers->reserved + 1;
	}
}

struct pr_uuid numbers_boot(void)
{
	char text[PR_UUID_TEXT_BYTES] = "";
	struct pr_uuid boot = { 0 };
	_cleanup_(pr_fd_close) int fd =
		open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);

	if (fd < 0 || read(fd, text, sizeof(text) - 1) != sizeof(text) - 1 ||
	    pr_uuid_parse(text, &boot) != PR_OK) {
		return (struct pr_uuid){ 0 };
	}
	return boot;
}
