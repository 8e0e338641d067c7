/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bus/bus.h"

#define IO_NAME "ZMQbg/IO/"

static bool is_io(const char *id)
{
	char path[64], name[32] = "";

	(void)snprintf(path, sizeof(path), "/proc/self/task/%.16s/comm", id);
	FILE *file = fopen(path, "re");
	if (file == NULL) {
		return false;
	}
	bool is = fgets(name, sizeof(name), file) != NULL &&
	          strncmp(name, IO_NAME, strlen(IO_NAME)) == 0;
	(void)fclose(file);
	return is;
}

size_t bus_io_threads(pid_t *threads, size_t capacity)
{
	struct dirent *entry;
	size_t count = 0;
	DIR *folder = opendir("/proc/self/task");

	if (folder == NULL) {
		return 0;
	}
	while (count < capacity && (entry = readdir(folder)) != NULL) {
		if (is_io(entry->d_name)) {
			threads[count++] = (pid_t)strtol(entry->d_name, NULL, 10);
		}
	}
	(void)closedir(folder);
	return count;
}
