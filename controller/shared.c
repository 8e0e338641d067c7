/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/defs.h"
#include "controller/shared.h"

uint64_t shared_rss_bytes(void)
{
	_cleanup_(pr_fd_close) int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
	char text[128];

	if (fd < 0) {
		return 0;
	}
	ssize_t got = read(fd, text, sizeof(text) - 1);
	if (got <= 0) {
		return 0;
	}
	text[got] = '\0';
	char *at = text;
	(void)strtoull(at, &at, 10); /* total */
	return strtoull(at, NULL, 10) * (uint64_t)sysconf(_SC_PAGESIZE);
}
