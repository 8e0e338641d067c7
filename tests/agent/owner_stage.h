/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/**
 * @file
 * The stage of attribution's tests: a network namespace, copies of the test program under several
 * names, so that executables differ, which play clients when started with an argument.
 */

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/ip_icmp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/netlink.h>
#include <linux/sock_diag.h>

#include "agent/keeper/owner.h"
#include "base/clock.h"
#include "codec/codec.h"
#include "tests/agent/world.h"
#include "tests/tap.h"

#define SLOT          3
#define PROGRAM_COUNT 3

/* What a client says of itself before anybody asks. */
struct report {
	pid_t pid;
	uint32_t uid;
	uint32_t program;
	struct part_flow flow;
};

static struct world world;
static owner_t *owner;
static char folder[PATH_MAX];
static char programs[PROGRAM_COUNT][PATH_MAX + 16];

_unused_ static struct pr_addr address(const char *text)
{
	struct pr_addr addr = { 0 };
	(void)!pr_addr_parse(text, &addr);
	return addr;
}

_unused_ static void pause_ms(long ms)
{
	struct timespec moment = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 };
	(void)nanosleep(&moment, NULL);
}

/* ------------------------------------------------------------------------------- the clients */

_unused_ static struct pr_addr address_of(const struct sockaddr_storage *from, uint16_t *ret_port)
{
	struct pr_addr addr;
	if (from->ss_family == AF_INET) {
		const struct sockaddr_in *v4 = (const struct sockaddr_in *)from;
		*ret_port = ntohs(v4->sin_port);
		return pr_addr_from_v4(v4->sin_addr.s_addr);
	}
	const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)from;
	*ret_port = ntohs(v6->sin6_port);
	memcpy(addr.bytes, v6->sin6_addr.s6_addr, sizeof(addr.bytes));
	return addr;
}

/* A connection that stays half open: nobody has the address. Its socket, and its flow. */
_unused_ static int half_open(int space, int type, const char *ip, uint16_t port,
                              struct part_flow *flow)
{
	struct sockaddr_storage to;
	struct sockaddr_storage from;
	socklen_t bytes = end_address(ip, port, &to);
	socklen_t from_bytes = sizeof(from);
	int fd = space >= 0 ? world_socket(space, to.ss_family, type | SOCK_NONBLOCK, 0)
	                    : socket(to.ss_family, type | SOCK_NONBLOCK, 0);

	if (fd < 0 ||
	    (connect(fd, (const struct sockaddr *)&to, bytes) != 0 && errno != EINPROGRESS)) {
		perror("# connect");
		return fd;
	}
	(void)getsockname(fd, (struct sockaddr *)&from, &from_bytes);
	*flow = (struct part_flow){ .proto = type == SOCK_STREAM ? IPPROTO_TCP : IPPROTO_UDP,
		                    .outbound = true,
		                    .dst_port = port };
	flow->dst = address_of(&to, &port);
	flow->src = address_of(&from, &flow->src_port);
	return fd;
}

/* client PROGRAM COUNT FIRST LIFE_US: COUNT connections to ports from FIRST on, reports to fd 9. */
_unused_ static _Noreturn void client_main(char **argv)
{
	struct report report = { .pid = getpid(),
		                 .uid = getuid(),
		                 .program = (uint32_t)strtoul(argv[2], NULL, 10) };
	long count = strtol(argv[3], NULL, 10);
	long first = strtol(argv[4], NULL, 10);
	long life_us = strtol(argv[5], NULL, 10);

	for (long i = 0; i < count; i++) {
		char ip[32];
		long number = first + i;
		(void)snprintf(ip, sizeof(ip), "10.99.0.%ld", 10 + number % 200);
		int fd = half_open(-1, SOCK_STREAM, ip, (uint16_t)(1024 + number), &report.flow);
		(void)!write(9, &report, sizeof(report));
		struct timespec life = { .tv_nsec = life_us * 1000 };
		(void)nanosleep(&life, NULL);
		if (i % 3 != 0) { /* some stay open: descriptor numbers move */
			(void)close(fd);
		}
	}
	_exit(0); /* a sanitizer would fork here, and its child would hold the sockets too */
}

/* crowd PROGRAM COUNT FIRST: as many sockets, all open at once, until it is killed. */
_unused_ static _Noreturn void crowd_main(char **argv)
{
	struct report report = { .pid = getpid(),
		                 .uid = getuid(),
		                 .program = (uint32_t)strtoul(argv[2], NULL, 10) };
	long count = strtol(argv[3], NULL, 10);
	long first = strtol(argv[4], NULL, 10);

	for (long i = 0; i < count; i++) {
		(void)half_open(-1, SOCK_STREAM, "10.99.0.7", (uint16_t)(first + i), &report.flow);
		(void)!write(9, &report, sizeof(report));
	}
	for (;;) {
		(void)pause();
	}
}

/* become PATH: sleeps, and executes another program when SIGUSR1 comes. */
_unused_ static _Noreturn void become_main(char **argv)
{
	sigset_t set;
	int got;

	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGUSR1);
	(void)sigwait(&set, &got);
	(void)execl(argv[2], argv[2], "sleep", (char *)NULL);
	_exit(103);
}

/* Start a copy of this program in the left namespace. fd 9 is its pipe, or @p keep any socket. */
_unused_ static pid_t start(int program, int report_fd, int keep_fd, uid_t uid,
                            const char *const *argv)
{
	fflush(stdout);
	pid_t pid = fork();
	if (pid != 0) {
		return pid;
	}
	if (setns(world.left, CLONE_NEWNET) != 0 || (report_fd >= 0 && dup2(report_fd, 9) != 9)) {
		_exit(100);
	}
	for (int fd = 3; fd < 256; fd++) {
		if (fd != 9 && fd != keep_fd) {
			(void)close(fd);
		}
	}
	if (keep_fd >= 0) {
		(void)fcntl(keep_fd, F_SETFD, 0);
	}
	if (uid != 0 && setresuid(uid, uid, uid) != 0) {
		_exit(101);
	}
	(void)execv(programs[program], (char *const *)argv);
	_exit(102);
}

/* Until the process runs this program, on a machine however busy. */
_unused_ static void program_wait(pid_t pid, int program)
{
	char link[32], exe[PATH_MAX];

	(void)snprintf(link, sizeof(link), "/proc/%d/exe", pid);
	for (int tries = 0; tries < 500; tries++) {
		ssize_t got = readlink(link, exe, sizeof(exe) - 1);
		exe[got > 0 ? got : 0] = '\0';
		if (strcmp(exe, programs[program]) == 0) {
			return;
		}
		pause_ms(10);
	}
}

_unused_ static pid_t sleeper_start(int program, int keep_fd)
{
	const char *argv[] = { programs[program], "sleep", NULL };
	pid_t pid = start(program, -1, keep_fd, 0, argv);
	program_wait(pid, program);
	return pid;
}

_unused_ static void end_process(pid_t pid)
{
	(void)kill(pid, SIGKILL);
	(void)waitpid(pid, NULL, 0);
}

/* --------------------------------------------------------------------------------- the stage */

_unused_ static bool file_copy(const char *from, const char *to)
{
	char buffer[65536];
	ssize_t got;
	_cleanup_(pr_fd_close) int in = open(from, O_RDONLY | O_CLOEXEC);
	_cleanup_(pr_fd_close) int out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0755);

	if (in < 0 || out < 0) {
		return false;
	}
	while ((got = read(in, buffer, sizeof(buffer))) > 0) {
		if (write(out, buffer, (size_t)got) != got) {
			return false;
		}
	}
	return got == 0;
}

_unused_ static bool programs_make(void)
{
	(void)snprintf(folder, sizeof(folder), "/tmp/prt-gate-owner-XXXXXX");
	if (mkdtemp(folder) == NULL || chmod(folder, 0755) != 0) {
		return false;
	}
	for (int i = 0; i < PROGRAM_COUNT; i++) {
		(void)snprintf(programs[i], sizeof(programs[i]), "%s/program-%d", folder, i);
		if (!file_copy("/proc/self/exe", programs[i])) {
			return false;
		}
	}
	return true;
}

_unused_ static void programs_remove(void)
{
	for (int i = 0; i < PROGRAM_COUNT; i++) {
		(void)unlink(programs[i]);
	}
	(void)rmdir(folder);
}

_unused_ static uint64_t space_inode(int space)
{
	struct stat info = { 0 };
	(void)fstat(space, &info);
	return info.st_ino;
}

_unused_ static int diag_open(void)
{
	int fd = world_socket(world.left, AF_NETLINK, SOCK_RAW, NETLINK_SOCK_DIAG);
	struct sockaddr_nl any = { .nl_family = AF_NETLINK };
	(void)bind(fd, (const struct sockaddr *)&any, sizeof(any));
	return fd;
}

_unused_ static struct part_owner initiator(const struct part_flow *flow, uint32_t uid_hint)
{
	struct part_owner found;
	owner_initiator(owner, SLOT, flow, uid_hint, &found);
	return found;
}

_unused_ static struct part_owner listener(const struct part_flow *flow)
{
	struct part_owner found;
	owner_listener(owner, SLOT, flow, &found);
	return found;
}

_unused_ static bool is_me(const struct part_owner *found)
{
	char exe[PATH_MAX] = "";
	char expected[129];
	(void)!readlink("/proc/self/exe", exe, sizeof(exe) - 1);
	codec_path_set(expected, sizeof(expected), exe);
	return found->unknown == CODEC_UNKNOWN_NONE && found->pid == (uint32_t)getpid() &&
	       strcmp(found->exe, expected) == 0;
}

_unused_ static bool is_program(const struct part_owner *found, pid_t pid, int program)
{
	char expected[129];
	codec_path_set(expected, sizeof(expected), programs[program]);
	return found->unknown == CODEC_UNKNOWN_NONE && found->pid == (uint32_t)pid &&
	       strcmp(found->exe, expected) == 0;
}

/* --------------------------------------------------------------------------- begin and end */

static pid_t resident;
static int resident_diag;

/* What this program is when it was started as a client. Returns when it is the test itself. */
_unused_ static void owner_stage_play(int argc, char **argv)
{
	if (argc > 5 && strcmp(argv[1], "client") == 0) {
		client_main(argv);
	}
	if (argc > 4 && strcmp(argv[1], "crowd") == 0) {
		crowd_main(argv);
	}
	if (argc > 2 && strcmp(argv[1], "become") == 0) {
		become_main(argv);
	}
	if (argc > 1 && strcmp(argv[1], "sleep") == 0) {
		for (;;) {
			(void)pause();
		}
	}
}

/** Also results of the test. False: it cannot run. @p origin NULL: eBPF is off. */
_unused_ static bool owner_stage_open(origin_t *origin)
{
	struct owner_config config;

	if (world_missing() != NULL) {
		skip("%s", world_missing());
		return false;
	}
	owner_config_default(&config);
	config.origin = origin;
	config.second_budget_ns = PR_NS_PER_S;
	ok(programs_make(), "programs to tell apart");
	if (!ok(world_open(&world) == 0, "two namespaces") ||
	    !ok(owner_new(&config, &owner) == 0, "attribution")) {
		return false;
	}
	resident = sleeper_start(0, -1);
	resident_diag = diag_open();
	return ok(owner_namespace_add(owner, SLOT, space_inode(world.left), resident_diag,
	                              resident) == 0,
	          "a namespace is known");
}

_unused_ static void owner_stage_close(void)
{
	end_process(resident);
	owner_destroy(&owner);
	(void)close(resident_diag);
	world_close(&world);
	programs_remove();
}
