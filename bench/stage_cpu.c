/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a group of processes has used, to the ns: ticks of 10 ms would be too coarse for a round. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/defs.h"
#include "bench/stage.h"

/* Source: Documentation/scheduler/sched-stats.rst, /proc/PID/task/TID/schedstat: ns on a CPU. */
static double threads_us(pid_t pid)
{
	char path[64 + 256];
	double sum_ns = 0;

	(void)snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
	DIR *folder = opendir(path);
	const struct dirent *entry;
	while (folder != NULL && (entry = readdir(folder)) != NULL) {
		unsigned long long ns = 0;
		if (entry->d_name[0] == '.') {
			continue;
		}
		(void)snprintf(path, sizeof(path), "/proc/%d/task/%s/schedstat", (int)pid,
		               entry->d_name);
		FILE *file = fopen(path, "re");
		if (file != NULL) {
			sum_ns += fscanf(file, "%llu", &ns) == 1 ? (double)ns : 0;
			(void)fclose(file);
		}
	}
	if (folder != NULL) {
		(void)closedir(folder);
	}
	return sum_ns / 1e3;
}

double stage_cpu_us(pid_t pid)
{
	DIR *folder = opendir("/proc");
	const struct dirent *entry;
	double sum_us = 0;

	while (folder != NULL && (entry = readdir(folder)) != NULL) {
		pid_t other = (pid_t)strtol(entry->d_name, NULL, 10);
		if (other > 0 && getpgid(other) == pid) {
			sum_us += threads_us(other);
		}
	}
	if (folder != NULL) {
		(void)closedir(folder);
	}
	return sum_us;
}
