/* SPDX-License-Identifier: GPL-2.0-or-later */

/* A segment file of any content: it opens, is read in order of numbers, and can be written to. */

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/speaker/spool.h"
#include "base/err.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes);

static char folder[] = "/tmp/prt-fuzz-spool-XXXXXX";

static void folder_clear(bool remove)
{
	DIR *dir = opendir(folder);
	struct dirent *entry;

	while (dir != NULL && (entry = readdir(dir)) != NULL) {
		(void)unlinkat(dirfd(dir), entry->d_name, 0);
	}
	if (dir != NULL) {
		(void)closedir(dir);
	}
	if (remove) {
		(void)rmdir(folder);
	}
}

static void at_end(void)
{
	folder_clear(true);
}

static uint64_t drain(spool_t *spool, uint64_t next)
{
	struct spool_frame frame;

	for (unsigned i = 0; i < 100000 && spool_peek(spool, &frame) == PR_OK; i++) {
		/* Never back, never nothing. */
		if (frame.count == 0 || frame.first_seq + frame.count <= next) {
			abort();
		}
		next = frame.first_seq + frame.count;
		spool_advance(spool);
	}
	return next;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes)
{
	static bool made;
	char path[128];
	const struct spool_options options = { .folder = folder, .max_bytes = 1 << 24 };
	spool_t *spool = NULL;

	if (!made) {
		made = mkdtemp(folder) != NULL && atexit(at_end) == 0;
		if (!made) {
			abort();
		}
	}
	(void)snprintf(path, sizeof(path), "%s/%020d.events", folder, 7);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	if (fd < 0 || write(fd, data, size_bytes) != (ssize_t)size_bytes || close(fd) != 0 ||
	    spool_open(&options, &spool) != PR_OK) {
		abort();
	}
	uint64_t next = drain(spool, 0);
	uint64_t own = spool_next_seq(spool);
	if (own < next || spool_append(spool, 1, "x", 1) != PR_OK ||
	    drain(spool, next) != own + 1) {
		abort();
	}
	spool_destroy(&spool);
	folder_clear(false);
	return 0;
}
