/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Bringing the program into the kernel, and taking it out again. */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "agent/keeper/origin_internal.h"
#include "base/err.h"

#include "agent/keeper/origin.skel.h"

#define SETTLE_TRIES        16
#define FIRST_PID_NAMESPACE 0xEFFFFFFCU /* PROC_PID_INIT_INO */

/* libbpf tells at length; what people need is in ret_why. */
static int say_nothing(enum libbpf_print_level level, const char *format, va_list arguments)
{
	(void)level;
	(void)format;
	(void)arguments;
	return 0;
}

__attribute__((format(printf, 2, 3))) static int refuse(char why[static ORIGIN_WHY_BYTES],
                                                        const char *format, ...)
{
	va_list arguments;
	int error = errno;

	va_start(arguments, format);
	int used = vsnprintf(why, ORIGIN_WHY_BYTES, format, arguments);
	va_end(arguments);
	if (used > 0 && used < ORIGIN_WHY_BYTES && error != 0) {
		(void)snprintf(why + used, ORIGIN_WHY_BYTES - (size_t)used, ": %s",
		               strerror(error));
	}
	return PR_ENOTSUP;
}

/* The top of the unified hierarchy, wherever it is mounted or not. -1: there is none. */
static int groups_open(void)
{
	int top = -1;
	int context = (int)syscall(SYS_fsopen, "cgroup2", FSOPEN_CLOEXEC);
	if (context < 0) {
		return -1;
	}
	if (syscall(SYS_fsconfig, context, FSCONFIG_CMD_CREATE, NULL, NULL, 0) == 0) {
		_cleanup_(pr_fd_close) int mount =
			(int)syscall(SYS_fsmount, context, FSMOUNT_CLOEXEC, 0);
		if (mount >= 0) {
			top = openat(mount, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		}
	}
	int error = errno;
	(void)close(context);
	errno = error;
	return top;
}

/* Numbers of processes in the kernel are those of the first namespace. */
static bool in_first_pid_namespace(void)
{
	struct stat info;
	return stat("/proc/self/ns/pid", &info) == 0 && info.st_ino == FIRST_PID_NAMESPACE;
}

static int attach(origin_t *origin, char why[static ORIGIN_WHY_BYTES])
{
	struct bpf_program *program;
	_cleanup_(pr_fd_close) int top = groups_open();
	if (top < 0) {
		return refuse(why, "the unified control group hierarchy cannot be opened");
	}
	bpf_object__for_each_program(program, origin->program->obj)
	{
		if (bpf_program__type(program) == BPF_PROG_TYPE_SYSCALL) {
			continue; /* run when it is asked */
		}
		struct bpf_link *link = origin->link_count < ORIGIN_LINKS_MAX
		                                ? bpf_program__attach_cgroup(program, top)
		                                : NULL;
		if (link == NULL) {
			return refuse(why,
			              "eBPF program %s cannot be attached to the top control group",
			              bpf_program__name(program));
		}
		origin->links[origin->link_count++] = link;
	}
	return PR_OK;
}

/* What looks into tables that another kernel keeps otherwise may be missing: then sock_diag is
 * asked. */
static int load(origin_t *origin)
{
	for (int listeners = 1; listeners >= 0; listeners--) {
		origin->program = origin_bpf__open();
		if (origin->program == NULL) {
			return PR_ENOTSUP;
		}
		(void)bpf_program__set_autoload(origin->program->progs.origin_listener_ask,
		                                listeners != 0);
		if (origin_bpf__load(origin->program) == 0) {
			origin->listener_fd =
				listeners != 0 ? bpf_program__fd(
							 origin->program->progs.origin_listener_ask)
					       : -1;
			return PR_OK;
		}
		origin_bpf__destroy(origin->program);
		origin->program = NULL;
	}
	return PR_ENOTSUP;
}

int origin_new(origin_t **ret_origin, char ret_why[static ORIGIN_WHY_BYTES])
{
	ret_why[0] = '\0';
	errno = 0;
	if (!in_first_pid_namespace()) {
		return refuse(ret_why, "the agent is in a process namespace of its own");
	}
	_cleanup_(origin_destroy) origin_t *origin = calloc(1, sizeof(*origin));
	if (origin == NULL) {
		return PR_ENOMEM;
	}
	libbpf_set_print(say_nothing);
	if (load(origin) != PR_OK) {
		return refuse(ret_why, "the kernel does not take the eBPF programs");
	}
	origin->memory = (struct origin_memory){
		.entries = origin->program->bss->entries,
		.sockets = origin->program->bss->sockets,
		.buckets = origin->program->bss->buckets,
		.socket_buckets = origin->program->bss->socket_buckets,
		.programs = origin->program->bss->programs,
		.counts = &origin->program->bss->counts,
		.watched = origin->program->bss->watched,
	};
	origin->settle_fd = bpf_program__fd(origin->program->progs.origin_settle_all);
	int ret = attach(origin, ret_why);
	if (ret == PR_OK) {
		*ret_origin = take_ptr(origin);
	}
	return ret;
}

void origin_destroy(origin_t **origin_p)
{
	origin_t *origin = *origin_p;
	if (origin == NULL) {
		return;
	}
	for (size_t i = 0; i < origin->link_count; i++) {
		(void)bpf_link__destroy(origin->links[i]);
	}
	origin_bpf__destroy(origin->program);
	free(origin);
	*origin_p = NULL;
}

/* The programs run in others' processes at the same time: count first, then look. */
void origin_settle(origin_t *origin)
{
	uint64_t begun = __atomic_load_n(&origin->memory.counts->begun, __ATOMIC_ACQUIRE);
	LIBBPF_OPTS(bpf_test_run_opts, run);

	if (origin->program == NULL ||
	    (begun == origin->settled_begun && origin->settle_left == 0)) {
		return;
	}
	for (int tries = 0; tries < SETTLE_TRIES; tries++) {
		if (bpf_prog_test_run_opts(origin->settle_fd, &run) != 0) {
			return;
		}
		origin->settled_begun = begun;
		origin->settle_left = run.retval;
		if (run.retval < ORIGIN_BUSY) {
			return;
		}
	}
}

bool origin_listener(origin_t *origin, const struct origin_question *question,
                     struct origin_answer *ret_answer)
{
	LIBBPF_OPTS(bpf_test_run_opts, run);

	if (origin->listener_fd < 0) {
		return false;
	}
	origin->program->bss->question = *question;
	if (bpf_prog_test_run_opts(origin->listener_fd, &run) != 0 || run.retval != 1) {
		return false;
	}
	*ret_answer = origin->program->bss->answer;
	return ret_answer->socket_cookie != 0;
}

int origin_watch(origin_t *origin, int socket, uint64_t *ret_cookie)
{
	socklen_t size_bytes = sizeof(*ret_cookie);

	if (getsockopt(socket, SOL_SOCKET, SO_NETNS_COOKIE, ret_cookie, &size_bytes) != 0) {
		return -errno;
	}
	return origin_watch_cookie(origin, *ret_cookie);
}
