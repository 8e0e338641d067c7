/* SPDX-License-Identifier: GPL-2.0-or-later */

/** @file A configuration file of any bytes: loads or is refused with a reason; what loads, dumps
 * and loads again. */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/conf.h"
#include "base/err.h"
#include "base/id.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes);

struct sample {
	bool enabled;
	uint64_t queue;
	uint64_t deadline_ns;
	uint64_t spool_bytes;
	char *name;
	int mode;
	struct pr_uuid host;
	struct pr_conf_list controllers;
};

static const char *const modes[] = { "observe", "enforce", NULL };

/* clang-format off */
#define AT(field) offsetof(struct sample, field)
static const struct pr_conf_row rows[] = {
	{ "enabled", PR_CONF_BOOL, AT(enabled), 0, 0, "yes", NULL, NULL, "Whether." },
	{ "queue", PR_CONF_UINT, AT(queue), 1, 65535, "7000", NULL, NULL, "Queue." },
	{ "deadline", PR_CONF_DURATION, AT(deadline_ns), 1000000, 60000000000, "5s", NULL, NULL, "Time." },
	{ "spool", PR_CONF_SIZE, AT(spool_bytes), 4096, 0, "64M", NULL, NULL, "Bound." },
	{ "name", PR_CONF_STRING, AT(name), 0, 0, "", NULL, NULL, "Name." },
	{ "mode", PR_CONF_ENUM, AT(mode), 0, 0, "observe", modes, NULL, "Mode." },
	{ "host", PR_CONF_UUID, AT(host), 0, 0, "", NULL, NULL, "UUID." },
	{ "controller", PR_CONF_LIST, AT(controllers), 0, 8, "", NULL, NULL, "Where." },
};
/* clang-format on */
#define COUNT PR_ARRAY_LEN(rows)

static int load(const void *data, size_t size_bytes, struct sample *conf)
{
	_cleanup_(pr_fd_close) int fd = memfd_create("conf", MFD_CLOEXEC);
	struct pr_conf_error error = { "" };
	char path[64];

	if (fd < 0 || write(fd, data, size_bytes) != (ssize_t)size_bytes) {
		abort();
	}
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	int ret = pr_conf_load(rows, COUNT, path, conf, &error);
	if (ret != PR_OK && strncmp(error.text, path, strlen(path)) != 0) {
		abort(); /* refused without saying where */
	}
	return ret;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes)
{
	struct sample conf = { 0 };
	struct sample again = { 0 };

	if (load(data, size_bytes, &conf) == PR_OK) {
		char *text = NULL;
		size_t text_bytes = 0;
		FILE *out = open_memstream(&text, &text_bytes);
		if (out == NULL) {
			abort();
		}
		pr_conf_dump(rows, COUNT, &conf, out);
		(void)fclose(out);
		if (load(text, text_bytes, &again) != PR_OK || again.queue != conf.queue ||
		    again.controllers.count != conf.controllers.count ||
		    (conf.name != NULL && strcmp(conf.name, again.name) != 0)) {
			abort();
		}
		free(text);
	}
	pr_conf_done(rows, COUNT, &conf);
	pr_conf_done(rows, COUNT, &again);
	return 0;
}
