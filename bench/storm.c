/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <arpa/inet.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/defs.h"
#include "bench/storm.h"

static const char *const kind_names[STORM_KINDS] = {
	[STORM_STAYS] = "stays",
	[STORM_ENDS] = "ends",
	[STORM_ENDS_AT_ONCE] = "ends without waiting",
	[STORM_BECOMES_ANOTHER] = "executes another program",
	[STORM_BECOMES_ANOTHER_AT_ONCE] = "executes another program without waiting",
	[STORM_PASSES_IT_ON] = "passes its socket on",
};

const char *storm_kind_name(unsigned kind)
{
	return kind < STORM_KINDS ? kind_names[kind] : "?";
}

void storm_program(const char *folder, unsigned program, char path[static STORM_PATH_BYTES])
{
	(void)snprintf(path, STORM_PATH_BYTES, STORM_PROGRAM, folder, program);
}

/* ------------------------------------------------------------------------------------- a storm */

static struct storm_line *log_map(const char *folder, uint32_t count, int flags)
{
	char path[STORM_PATH_BYTES];
	size_t bytes = count * sizeof(struct storm_line);
	int protection = (flags & O_ACCMODE) == O_RDONLY ? PROT_READ : PROT_READ | PROT_WRITE;

	(void)snprintf(path, sizeof(path), "%.256s/" STORM_LOG, folder);
	_cleanup_(pr_fd_close) int fd = open(path, flags | O_CLOEXEC, 0600);
	if (fd < 0 || ((flags & O_CREAT) != 0 && ftruncate(fd, (off_t)bytes) != 0)) {
		return NULL;
	}
	void *map = mmap(NULL, bytes, protection, MAP_SHARED, fd, 0);
	return map != MAP_FAILED ? map : NULL;
}

const struct storm_line *storm_log_open(const char *folder, uint32_t count)
{
	return log_map(folder, count, O_RDONLY);
}

static bool program_copy(const char *from, const char *to)
{
	struct stat info;
	_cleanup_(pr_fd_close) int in = open(from, O_RDONLY | O_CLOEXEC);
	_cleanup_(pr_fd_close) int out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0755);

	if (in < 0 || out < 0 || fstat(in, &info) != 0) {
		return false;
	}
	for (off_t left = info.st_size; left > 0;) {
		ssize_t copied = copy_file_range(in, NULL, out, NULL, (size_t)left, 0);
		if (copied <= 0) {
			return false;
		}
		left -= copied;
	}
	return true;
}

static bool programs_make(const struct storm_plan *plan)
{
	char path[STORM_PATH_BYTES];

	for (unsigned i = 0; i < STORM_PROGRAMS; i++) {
		storm_program(plan->folder, i, path);
		if (!program_copy(plan->client, path)) {
			(void)fprintf(stderr, "portreeve-bench: %s cannot be copied to %s\n",
			              plan->client, path);
			return false;
		}
	}
	return true;
}

static pid_t worker_start(const struct storm_plan *plan, unsigned program)
{
	char path[STORM_PATH_BYTES], source[16], count[16], number[16], port[16];
	const char *argv[] = { path,  STORM_WORD, plan->folder, plan->server, source,
		               count, number,     port,         NULL };
	pid_t pid = fork();

	if (pid != 0) {
		return pid;
	}
	storm_program(plan->folder, program, path);
	(void)inet_ntop(AF_INET, plan->source, source, sizeof(source));
	(void)snprintf(count, sizeof(count), "%u", plan->count);
	(void)snprintf(number, sizeof(number), "%u", program);
	(void)snprintf(port, sizeof(port), "%u", plan->port);
	(void)execv(path, (char *const *)argv);
	_exit(1);
}

/* The first process of the namespace: all others end with it. */
static _Noreturn void namespace_main(const struct storm_plan *plan)
{
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (unsigned i = 0; i < STORM_PROGRAMS; i++) {
		(void)worker_start(plan, i);
	}
	while (wait(NULL) > 0) {
	}
	_exit(0);
}

void storm_run(const void *plan_, int fd)
{
	const struct storm_plan *plan = plan_;
	struct storm_result result = { 0 };
	const struct storm_line *log =
		log_map(plan->folder, plan->count, O_RDWR | O_CREAT | O_TRUNC);
	uint64_t start_ns = pr_clock_monotonic_ns();

	if (log == NULL || !programs_make(plan) || unshare(CLONE_NEWPID) != 0) {
		return;
	}
	pid_t pid = fork();
	if (pid == 0) {
		namespace_main(plan);
	}
	(void)waitpid(pid, NULL, 0);
	for (uint32_t i = 0; i < plan->count; i++) {
		result.made += log[i].made;
	}
	result.elapsed_ns = pr_clock_monotonic_ns() - start_ns;
	(void)!write(fd, &result, sizeof(result));
}
