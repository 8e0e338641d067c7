/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/process.h"
#include "bench/stage.h"
#include "bench/stage_internal.h"

#define STOP_MS 5000

static volatile sig_atomic_t interrupted;

static void on_signal(int signal)
{
	(void)signal;
	interrupted = 1;
}

bool stage_interrupted(void)
{
	return interrupted != 0;
}

const char *stage_programs(void)
{
	static char folder[STAGE_PATH_BYTES];

	if (folder[0] == '\0') {
		ssize_t got = readlink("/proc/self/exe", folder, sizeof(folder) - 1);
		folder[got > 0 ? got : 0] = '\0';
		char *slash = strrchr(folder, '/');
		if (slash != NULL) {
			*slash = '\0';
		}
	}
	return folder;
}

void stage_keep(stage_t *stage)
{
	stage->keep = !stage_interrupted();
}

const char *stage_folder(const stage_t *stage)
{
	return stage->folder;
}

/* ---- what a killed run left ---- */

static void sweep_process(const char *line)
{
	int pid;
	unsigned long long since;

	if (sscanf(line, "%d %llu", &pid, &since) == 2 && since != 0 &&
	    pr_process_start_ticks(pid) == since) {
		(void)kill(pid, SIGKILL);
	}
}

static void sweep(struct stage *stage)
{
	char line[STAGE_PATH_BYTES + 16];
	FILE *file = fopen(STAGE_PIDS, "re");

	while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
		line[strcspn(line, "\n")] = '\0';
		if (strncmp(line, "folder " STAGE_FOLDERS, strlen("folder " STAGE_FOLDERS)) == 0) {
			stage_try(stage, NULL, "rm -rf '%s'", line + 7);
		} else {
			sweep_process(line);
		}
	}
	if (file != NULL) {
		(void)fclose(file);
	}
	stage_try(stage, NULL,
	          "for n in $(ls /run/netns 2>/dev/null | grep '^" STAGE_PREFIX
	          "'); do ip netns del $n; done");
}

static int lock_take(struct stage *stage)
{
	(void)mkdir(STAGE_RUN, 0700);
	stage->lock_fd = open(STAGE_LOCK, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (stage->lock_fd < 0) {
		return -errno;
	}
	return flock(stage->lock_fd, LOCK_EX | LOCK_NB) == 0 ? PR_OK : PR_EBUSY;
}

static void note_append(const char *format, ...) _printf_(1, 2);

static void note_append(const char *format, ...)
{
	va_list args;
	FILE *file = fopen(STAGE_PIDS, "ae");

	if (file == NULL) {
		return;
	}
	va_start(args, format);
	(void)vfprintf(file, format, args);
	va_end(args);
	(void)fclose(file);
}

int stage_new(stage_t **ret_stage)
{
	_cleanup_(stage_destroy) stage_t *stage = calloc(1, sizeof(*stage));
	struct sigaction action = { .sa_handler = on_signal };

	if (stage == NULL) {
		return PR_ENOMEM;
	}
	stage->lock_fd = -1;
	if (geteuid() != 0) {
		return PR_EPERM;
	}
	int ret = lock_take(stage);
	if (ret != PR_OK) {
		return ret;
	}
	stage->owner = true;
	sweep(stage);
	(void)unlink(STAGE_PIDS);
	(void)snprintf(stage->folder, sizeof(stage->folder), STAGE_FOLDERS "XXXXXX");
	if (mkdtemp(stage->folder) == NULL) {
		stage->folder[0] = '\0';
		return -errno;
	}
	note_append("folder %s\n", stage->folder);
	(void)sigaction(SIGINT, &action, NULL);
	(void)sigaction(SIGTERM, &action, NULL);
	(void)sigaction(SIGHUP, &action, NULL);
	(void)signal(SIGPIPE, SIG_IGN);
	*ret_stage = take_ptr(stage);
	return PR_OK;
}

void stage_destroy(stage_t **stage_p)
{
	struct stage *stage = *stage_p;
	if (stage == NULL) {
		return;
	}
	while (stage->process_count > 0) {
		stage_stop(stage, stage->processes[stage->process_count - 1]);
	}
	for (size_t i = 0; i < stage->space_count; i++) {
		stage_try(stage, NULL, "ip netns del " STAGE_PREFIX "%s", stage->spaces[i]);
	}
	if (stage->folder[0] != '\0' && !stage->keep) {
		stage_try(stage, NULL, "rm -rf '%s'", stage->folder);
	}
	if (stage->owner) {
		(void)unlink(STAGE_PIDS);
	}
	if (stage->owner && stage->keep) {
		note_append("folder %s\n", stage->folder); /* for the next run to remove */
	}
	pr_fd_close(&stage->lock_fd);
	free(stage);
	*stage_p = NULL;
}

/* ---- namespaces ---- */

int stage_space_add(stage_t *stage, const char *name)
{
	if (stage->space_count == STAGE_SPACES_MAX) {
		return PR_ENOSPC;
	}
	int ret = stage_shell(stage, NULL, NULL, "ip netns add " STAGE_PREFIX "%s", name);
	if (ret != PR_OK) {
		return ret;
	}
	(void)snprintf(stage->spaces[stage->space_count], STAGE_LABEL_BYTES, "%s", name);
	stage->space_count++;
	/* What a bench does in a second would fill the table that remembers ended flows. */
	return stage_shell(stage, name, NULL,
	                   "ip link set lo up; sysctl -q -w net.ipv4.tcp_syncookies=0 "
	                   "net.ipv4.tcp_max_syn_backlog=16384 net.core.somaxconn=16384");
}

int stage_link(stage_t *stage, const struct stage_end *a, const struct stage_end *b)
{
	const struct stage_end *ends[] = { a, b };
	int ret = stage_shell(stage, NULL, NULL,
	                      "ip link add %s netns " STAGE_PREFIX
	                      "%s type veth peer name %s netns " STAGE_PREFIX "%s",
	                      a->device, a->space, b->device, b->space);

	for (size_t i = 0; i < PR_ARRAY_LEN(ends) && ret == PR_OK; i++) {
		const struct stage_end *end = ends[i];
		ret = stage_shell(stage, end->space, NULL, "ip %s %s dev %s && ip link set %s up",
		                  end->bridge != NULL ? "link set master" : "addr add",
		                  end->bridge != NULL ? end->bridge : end->address, end->device,
		                  end->device);
	}
	return ret;
}

/* ---- processes ---- */

int stage_process_room(const struct stage *stage)
{
	return stage->process_count < STAGE_PROCESSES_MAX ? PR_OK : PR_ENOSPC;
}

void stage_process_note(struct stage *stage, pid_t pid)
{
	stage->processes[stage->process_count++] = pid;
	note_append("%d %llu\n", (int)pid, (unsigned long long)pr_process_start_ticks(pid));
}

static bool process_forget(struct stage *stage, pid_t pid)
{
	for (size_t i = 0; i < stage->process_count; i++) {
		if (stage->processes[i] == pid) {
			stage->processes[i] = stage->processes[--stage->process_count];
			return true;
		}
	}
	return false;
}

/* Their process group, for a shell has children. */
void stage_stop(stage_t *stage, pid_t pid)
{
	struct timespec wait = { .tv_nsec = 10 * PR_NS_PER_MS };

	if (pid <= 0 || !process_forget(stage, pid)) {
		return;
	}
	(void)kill(-pid, SIGCONT);
	(void)kill(-pid, SIGTERM);
	for (int i = 0; i < STOP_MS / 10; i++) {
		if (waitpid(pid, NULL, WNOHANG) != 0) {
			return;
		}
		(void)nanosleep(&wait, NULL);
	}
	(void)kill(-pid, SIGKILL);
	(void)waitpid(pid, NULL, 0);
}
