/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Processes of a stage: shell lines and functions, in its namespaces. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "bench/stage.h"
#include "bench/stage_internal.h"

#define LINE_BYTES 4096

/* In the child: into the namespace, and never longer than the one who started us. */
static void child_enter(const char *space)
{
	char path[STAGE_PATH_BYTES];

	(void)setpgid(0, 0);
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (space == NULL) {
		return;
	}
	(void)snprintf(path, sizeof(path), "/run/netns/" STAGE_PREFIX "%s", space);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || setns(fd, CLONE_NEWNET) != 0) {
		(void)fprintf(stderr, "portreeve-bench: %s: %s\n", path, strerror(errno));
		_exit(126);
	}
	(void)close(fd);
}

static void child_signals(void)
{
	(void)signal(SIGINT, SIG_DFL);
	(void)signal(SIGTERM, SIG_DFL);
	(void)signal(SIGHUP, SIG_DFL);
	(void)signal(SIGPIPE, SIG_DFL);
}

static void child_shell(const char *space, const char *line, int out_fd)
{
	child_enter(space);
	child_signals();
	int in_fd = open("/dev/null", O_RDONLY);
	if (in_fd < 0 || dup2(in_fd, 0) < 0 || dup2(out_fd, 1) < 0 || dup2(out_fd, 2) < 0) {
		_exit(126);
	}
	(void)execl("/bin/sh", "sh", "-c", line, (char *)NULL);
	_exit(127);
}

static int log_open(const struct stage *stage, const char *label)
{
	char path[2 * STAGE_PATH_BYTES];

	if (stage->folder[0] == '\0') {
		return open("/dev/null", O_WRONLY | O_CLOEXEC);
	}
	(void)snprintf(path, sizeof(path), "%s/%s.log", stage->folder, label);
	return open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

/* All that it says, as long as there is room; the rest is read and dropped. */
static void output_read(int fd, char *output)
{
	size_t used = 0;
	char rest[4096];
	ssize_t got;

	do {
		size_t room = STAGE_OUTPUT_BYTES - 1 - used;
		got = room > 0 ? read(fd, output + used, room) : read(fd, rest, sizeof(rest));
		if (got > 0 && room > 0) {
			used += (size_t)got;
		}
	} while (got > 0 || (got < 0 && errno == EINTR));
	output[used] = '\0';
}

static int line_run(struct stage *stage, const char *space, const char *line, char *output)
{
	int pipe_fds[2] = { -1, -1 };
	int status = 0;

	if (output == NULL) {
		pipe_fds[1] = log_open(stage, "stage");
	} else if (pipe2(pipe_fds, O_CLOEXEC) != 0) {
		return -errno;
	}
	pid_t pid = fork();
	if (pid == 0) {
		child_shell(space, line, pipe_fds[1]);
	}
	pr_fd_close(&pipe_fds[1]);
	if (output != NULL) {
		output_read(pipe_fds[0], output);
		pr_fd_close(&pipe_fds[0]);
	}
	if (pid < 0) {
		return -errno;
	}
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
	}
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? PR_OK : PR_EIO;
}

int stage_shell(stage_t *stage, const char *space, char *output, const char *format, ...)
{
	char line[LINE_BYTES];
	va_list args;

	va_start(args, format);
	int length = vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	return length < 0 || length >= LINE_BYTES ? PR_ETOOBIG
	                                          : line_run(stage, space, line, output);
}

void stage_try(stage_t *stage, const char *space, const char *format, ...)
{
	char line[LINE_BYTES];
	va_list args;

	va_start(args, format);
	int length = vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	if (length > 0 && length < LINE_BYTES) {
		(void)!line_run(stage, space, line, NULL);
	}
}

pid_t stage_spawn(stage_t *stage, const char *space, const char *label, const char *format, ...)
{
	char line[LINE_BYTES];
	va_list args;

	va_start(args, format);
	int length = vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	int ret = length < 0 || length >= LINE_BYTES ? PR_ETOOBIG : stage_process_room(stage);
	if (ret != PR_OK) {
		return ret;
	}
	_cleanup_(pr_fd_close) int log_fd = log_open(stage, label);
	pid_t pid = fork();
	if (pid == 0) {
		child_shell(space, line, log_fd);
	}
	if (pid > 0) {
		stage_process_note(stage, pid);
	}
	return pid > 0 ? pid : -errno;
}

pid_t stage_fork(stage_t *stage, const char *space, stage_fn fn, const void *plan, int *ret_fd)
{
	int pipe_fds[2];
	int ret = stage_process_room(stage);

	if (ret == PR_OK && pipe2(pipe_fds, O_CLOEXEC) != 0) {
		ret = -errno;
	}
	if (ret != PR_OK) {
		return ret;
	}
	(void)fflush(NULL);
	pid_t pid = fork();
	if (pid == 0) {
		(void)close(pipe_fds[0]);
		child_enter(space);
		child_signals();
		fn(plan, pipe_fds[1]);
		_exit(0);
	}
	(void)close(pipe_fds[1]);
	if (pid < 0) {
		(void)close(pipe_fds[0]);
		return -errno;
	}
	stage_process_note(stage, pid);
	*ret_fd = pipe_fds[0];
	return pid;
}

static bool read_whole(int fd, void *data, size_t size_bytes)
{
	size_t used = 0;

	while (used < size_bytes && !stage_interrupted()) {
		ssize_t got = read(fd, (char *)data + used, size_bytes - used);
		if (got == 0 || (got < 0 && errno != EINTR)) {
			return false;
		}
		used += got > 0 ? (size_t)got : 0;
	}
	return used == size_bytes;
}

int stage_call(stage_t *stage, const char *space, stage_fn fn, const void *plan, void *ret_result,
               size_t result_bytes)
{
	_cleanup_(pr_fd_close) int fd = -1;
	pid_t pid = stage_fork(stage, space, fn, plan, &fd);

	if (pid < 0) {
		return (int)pid;
	}
	bool good = read_whole(fd, ret_result, result_bytes);
	stage_stop(stage, pid);
	return good ? PR_OK : PR_EIO;
}

pid_t stage_serve(stage_t *stage, const char *space, stage_fn fn, const void *plan)
{
	_cleanup_(pr_fd_close) int fd = -1;
	char ready;
	pid_t pid = stage_fork(stage, space, fn, plan, &fd);

	if (pid > 0 && !read_whole(fd, &ready, 1)) {
		stage_stop(stage, pid);
		return PR_EIO;
	}
	return pid;
}
