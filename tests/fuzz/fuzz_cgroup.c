/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/cgroup.h"

#define ID "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes);

/* A text of /proc/PID/cgroup: a container's first process, and any process. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes)
{
	char own[512], small[64], shown[128], id[PR_CGROUP_ID_BYTES];
	char *text = malloc(size_bytes + 1);

	if (text == NULL) {
		return 0;
	}
	memcpy(text, data, size_bytes);
	text[size_bytes] = '\0';
	if (pr_cgroup_own(text, ID, own, sizeof(own))) {
		assert(own[0] != '\0' && strlen(own) < sizeof(own));
		/* Two hierarchies of one name are no text of the kernel's. */
		(void)pr_cgroup_compare(own, text);
		assert(pr_cgroup_compare(own, "") == PR_CGROUP_PARTLY);
		pr_cgroup_shown(own, shown, sizeof(shown));
		assert(shown[0] == '/');
	} else {
		assert(own[0] == '\0');
	}
	(void)pr_cgroup_own(text, "", small, sizeof(small));
	assert(strlen(small) < sizeof(small));
	(void)pr_cgroup_compare(text, text);
	for (const char *at = text; at != NULL; at = pr_cgroup_guess(at, id)) {
		assert(at >= text && at <= text + size_bytes);
	}
	free(text);
	return 0;
}
