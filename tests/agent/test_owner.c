/* SPDX-License-Identifier: GPL-2.0-or-later */

/**
 * @file
 * Attribution against real sockets and processes in a network namespace of its own. This program
 * copies itself under several names, so that executables differ, and plays clients when started
 * with an argument.
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
#define STORM_TOTAL   2000
#define STORM_LONG    4 /* processes that connect again and again */
#define STORM_AT_ONCE 12
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

static struct pr_addr address(const char *text)
{
	struct pr_addr addr = { 0 };
	(void)!pr_addr_parse(text, &addr);
	return addr;
}

static void pause_ms(long ms)
{
	struct timespec moment = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 };
	(void)nanosleep(&moment, NULL);
}

/* ------------------------------------------------------------------------------- the clients */

static struct pr_addr address_of(const struct sockaddr_storage *from, uint16_t *ret_port)
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
static int half_open(int space, int type, const char *ip, uint16_t port, struct part_flow *flow)
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
static _Noreturn void client_main(char **argv)
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

/* Start a copy of this program in the left namespace. fd 9 is its pipe, or @p keep any socket. */
static pid_t start(int program, int report_fd, int keep_fd, uid_t uid, const char *const *argv)
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

static pid_t sleeper_start(int program, int keep_fd)
{
	const char *argv[] = { programs[program], "sleep", NULL };
	pid_t pid = start(program, -1, keep_fd, 0, argv);
	pause_ms(30);
	return pid;
}

static void end_process(pid_t pid)
{
	(void)kill(pid, SIGKILL);
	(void)waitpid(pid, NULL, 0);
}

/* --------------------------------------------------------------------------------- the stage */

static bool file_copy(const char *from, const char *to)
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

static bool programs_make(void)
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

static void programs_remove(void)
{
	for (int i = 0; i < PROGRAM_COUNT; i++) {
		(void)unlink(programs[i]);
	}
	(void)rmdir(folder);
}

static uint64_t space_inode(int space)
{
	struct stat info = { 0 };
	(void)fstat(space, &info);
	return info.st_ino;
}

static int diag_open(void)
{
	int fd = world_socket(world.left, AF_NETLINK, SOCK_RAW, NETLINK_SOCK_DIAG);
	struct sockaddr_nl any = { .nl_family = AF_NETLINK };
	(void)bind(fd, (const struct sockaddr *)&any, sizeof(any));
	return fd;
}

static struct part_owner initiator(const struct part_flow *flow, uint32_t uid_hint)
{
	struct part_owner found;
	owner_initiator(owner, SLOT, flow, uid_hint, &found);
	return found;
}

static struct part_owner listener(const struct part_flow *flow)
{
	struct part_owner found;
	owner_listener(owner, SLOT, flow, &found);
	return found;
}

static bool is_me(const struct part_owner *found)
{
	char exe[PATH_MAX] = "";
	char expected[129];
	(void)!readlink("/proc/self/exe", exe, sizeof(exe) - 1);
	codec_path_set(expected, sizeof(expected), exe);
	return found->unknown == CODEC_UNKNOWN_NONE && found->pid == (uint32_t)getpid() &&
	       strcmp(found->exe, expected) == 0;
}

static bool is_program(const struct part_owner *found, pid_t pid, int program)
{
	char expected[129];
	codec_path_set(expected, sizeof(expected), programs[program]);
	return found->unknown == CODEC_UNKNOWN_NONE && found->pid == (uint32_t)pid &&
	       strcmp(found->exe, expected) == 0;
}

/* --------------------------------------------------------------------------------- the tests */

/* A process of ours stands outside the namespace: its sockets inside are found all the same? */
static void test_simple(void)
{
	const char *argv[] = { programs[0], "client", "0", "1", "7000", "900000", NULL };
	int pipes[2];
	struct report report;

	(void)!pipe(pipes);
	pid_t pid = start(0, pipes[1], -1, 0, argv);
	(void)close(pipes[1]);
	ok(read(pipes[0], &report, sizeof(report)) == sizeof(report) && report.pid == pid,
	   "a client is there");
	struct part_owner found = initiator(&report.flow, 0);
	ok(is_program(&found, pid, 0) && found.uid == 0 && strcmp(found.user, "root") == 0 &&
	           found.start_ticks != 0 && found.peer_port == 0,
	   "TCP, waiting for its answer: pid, program, user (unknown %u)", found.unknown);
	struct part_flow other = report.flow;
	other.src_port++;
	found = initiator(&other, CODEC_NO_UID);
	ok(found.unknown == CODEC_UNKNOWN_NO_SOCKET || found.unknown == CODEC_UNKNOWN_KERNEL,
	   "another port: nobody");
	other = report.flow;
	other.dst_port = 9;
	other.held = true;
	found = initiator(&other, 0);
	ok(found.unknown == CODEC_UNKNOWN_PROCESS_GONE,
	   "another connection from the same port is not taken for a translated one");
	end_process(pid);
	found = initiator(&report.flow, 0);
	ok(found.unknown == CODEC_UNKNOWN_PROCESS_GONE && found.pid == 0 && found.exe[0] == '\0',
	   "after its end: gone, not guessed");
	ok(found.uid == 0 && strcmp(found.user, "root") == 0,
	   "its user is known by number, and so by name: '%s'", found.user);
	found = initiator(&report.flow, 4294000000U);
	ok(found.uid == 4294000000U && found.user[0] == '\0', "a number without a name has none");
	(void)close(pipes[0]);
}

/* To a published port of this very host, from inside: the engine's rule changes the destination. */
static void test_translated(void)
{
	struct part_flow flow;
	int fd = half_open(world.left, SOCK_DGRAM, "10.99.0.1", 8053, &flow);
	pid_t pid = sleeper_start(1, fd);
	struct pr_addr wanted = flow.dst;

	(void)close(fd);
	flow.dst = address("172.18.0.2");
	flow.dst_port = 53;
	flow.held = true;
	struct part_owner found = initiator(&flow, 0);
	ok(is_program(&found, pid, 1) && found.peer_port == 8053 &&
	           pr_addr_equal(&found.peer, &wanted),
	   "translated on the way: the socket still knows its peer (unknown %u)", found.unknown);
	end_process(pid);
}

static void test_families(void)
{
	static const struct {
		const char *name, *ip;
		int type;
	} rows[] = {
		{ "TCP over IPv6", "fd99::7", SOCK_STREAM },
		{ "UDP over IPv4", "10.99.0.7", SOCK_DGRAM },
		{ "UDP over IPv6", "fd99::7", SOCK_DGRAM },
		{ "TCP over IPv4 from an IPv6 socket", "::ffff:10.99.0.7", SOCK_STREAM },
		{ "UDP over IPv4 from an IPv6 socket", "::ffff:10.99.0.7", SOCK_DGRAM },
	};
	for (size_t i = 0; i < PR_ARRAY_LEN(rows); i++) {
		struct part_flow flow;
		struct sockaddr_in6 to = { .sin6_family = AF_INET6, .sin6_port = htons(99) };
		int fd;
		if (strncmp(rows[i].ip, "::ffff", 6) == 0) {
			struct sockaddr_storage from;
			socklen_t bytes = sizeof(from);
			fd = world_socket(world.left, AF_INET6, rows[i].type | SOCK_NONBLOCK, 0);
			(void)inet_pton(AF_INET6, rows[i].ip, &to.sin6_addr);
			(void)connect(fd, (const struct sockaddr *)&to, sizeof(to));
			(void)getsockname(fd, (struct sockaddr *)&from, &bytes);
			flow = (struct part_flow){ .proto = rows[i].type == SOCK_STREAM
				                                    ? IPPROTO_TCP
				                                    : IPPROTO_UDP,
				                   .outbound = true,
				                   .dst = address("10.99.0.7"),
				                   .dst_port = 99 };
			flow.src = address_of(&from, &flow.src_port);
		} else {
			fd = half_open(world.left, rows[i].type, rows[i].ip, 99, &flow);
		}
		struct part_owner found = initiator(&flow, 0);
		/* This process lives in another namespace: found by the last resort. */
		ok(is_me(&found), "%s (unknown %u)", rows[i].name, found.unknown);
		(void)close(fd);
	}
}

static void test_unconnected(void)
{
	struct sockaddr_in here = { .sin_family = AF_INET, .sin_port = htons(5353) };
	int one = 1;
	int fd = world_socket(world.left, AF_INET, SOCK_DGRAM, 0);
	struct part_flow flow = { .proto = IPPROTO_UDP,
		                  .outbound = true,
		                  .src_port = 5353,
		                  .dst_port = 53,
		                  .src = address("10.99.0.1"),
		                  .dst = address("10.99.0.2") };

	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	(void)bind(fd, (const struct sockaddr *)&here, sizeof(here));
	pid_t holder = sleeper_start(1, fd);
	(void)close(fd);
	struct part_owner found = initiator(&flow, 0);
	ok(is_program(&found, holder, 1), "unconnected UDP (unknown %u)", found.unknown);

	fd = world_socket(world.left, AF_INET, SOCK_DGRAM, 0);
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	(void)bind(fd, (const struct sockaddr *)&here, sizeof(here));
	pid_t second = sleeper_start(2, fd);
	(void)close(fd);
	found = initiator(&flow, 0);
	ok(found.unknown == CODEC_UNKNOWN_AMBIGUOUS && found.exe[0] == '\0',
	   "two programs on one UDP port: ambiguous (unknown %u)", found.unknown);
	end_process(second);
	found = initiator(&flow, 0);
	ok(is_program(&found, holder, 1), "one of them gone: known again");
	end_process(holder);
}

static void test_listeners(void)
{
	struct part_flow flow = { .proto = IPPROTO_TCP,
		                  .src_port = 40000,
		                  .dst_port = 8080,
		                  .src = address("10.99.0.2"),
		                  .dst = address("10.99.0.1") };
	int fd = end_listen(world.left, SOCK_STREAM, "0.0.0.0", 8080);
	pid_t master = sleeper_start(1, fd);
	pause_ms(20);
	pid_t worker = sleeper_start(1, fd);
	(void)close(fd);
	struct part_owner found = listener(&flow);
	ok(is_program(&found, master, 1), "a wildcard listener; of equal programs the oldest");
	found = listener(&flow);
	ok(is_program(&found, master, 1), "again, by its hint");
	end_process(master);
	found = listener(&flow);
	ok(is_program(&found, worker, 1), "the master died: the worker");
	fd = end_listen(world.left, SOCK_STREAM, "10.99.0.1", 8082);
	pid_t outer = sleeper_start(1, fd);
	pid_t inner = sleeper_start(2, fd);
	flow.dst_port = 8082;
	(void)close(fd);
	found = listener(&flow);
	ok(found.unknown == CODEC_UNKNOWN_AMBIGUOUS, "two programs hold one listener: ambiguous");
	end_process(inner);
	end_process(outer);
	end_process(worker);
	flow.dst_port = 8083;
	found = listener(&flow);
	ok(found.unknown == CODEC_UNKNOWN_NO_LISTENER, "nobody listens");

	fd = end_listen(world.left, SOCK_STREAM, "::", 8084);
	master = sleeper_start(0, fd);
	(void)close(fd);
	flow.dst_port = 8084;
	found = listener(&flow);
	ok(is_program(&found, master, 0), "IPv4 to an IPv6 listener");
	flow.src = address("fd99::2");
	flow.dst = address("fd99::1");
	found = listener(&flow);
	ok(is_program(&found, master, 0), "IPv6 to it");
	end_process(master);

	fd = end_listen(world.left, SOCK_DGRAM, "0.0.0.0", 8085);
	master = sleeper_start(0, fd);
	(void)close(fd);
	flow = (struct part_flow){ .proto = IPPROTO_UDP,
		                   .src_port = 4,
		                   .dst_port = 8085,
		                   .src = address("10.99.0.2"),
		                   .dst = address("10.99.0.1") };
	found = listener(&flow);
	ok(is_program(&found, master, 0), "a UDP listener");
	end_process(master);
}

/* The flow of a connected socket, found in a table and not by a packet. */
static struct part_flow live_flow(int fd, bool outbound)
{
	struct part_flow flow = { .proto = IPPROTO_TCP, .outbound = outbound, .live = true };
	struct sockaddr_storage here;
	struct sockaddr_storage there;
	socklen_t here_bytes = sizeof(here);
	socklen_t there_bytes = sizeof(there);

	(void)getsockname(fd, (struct sockaddr *)&here, &here_bytes);
	(void)getpeername(fd, (struct sockaddr *)&there, &there_bytes);
	flow.src = address_of(outbound ? &here : &there, &flow.src_port);
	flow.dst = address_of(outbound ? &there : &here, &flow.dst_port);
	return flow;
}

/* No packet is at hand, so the kernel's silence about its user means nothing. */
static void test_live(void)
{
	int far = end_listen(world.right, SOCK_STREAM, "10.99.0.2", 9100);
	int client = end_connect(world.left, SOCK_STREAM, "10.99.0.2", 9100, 500);
	int server = end_accept(far, 500);
	struct part_flow flow = live_flow(client, true);
	pid_t holder = sleeper_start(0, client);
	(void)close(client);
	(void)initiator(&flow, 0); /* this kernel names users of packets, as the owner knows now */
	struct part_owner found = initiator(&flow, CODEC_NO_UID);
	ok(is_program(&found, holder, 0) && strcmp(found.user, "root") == 0,
	   "an idle connection out is its holder's (unknown %u)", found.unknown);
	flow.live = false;
	found = initiator(&flow, CODEC_NO_UID);
	ok(found.unknown == CODEC_UNKNOWN_KERNEL, "a packet that no program sent is the kernel's");
	flow.live = true;
	end_process(holder);
	found = initiator(&flow, CODEC_NO_UID);
	ok(found.unknown == CODEC_UNKNOWN_PROCESS_GONE, "closing: its process has gone (%u)",
	   found.unknown);
	(void)close(server);
	pause_ms(20);
	found = initiator(&flow, CODEC_NO_UID);
	ok(found.unknown == CODEC_UNKNOWN_PROCESS_GONE, "TIME_WAIT: its process has gone (%u)",
	   found.unknown);
	(void)close(far);

	int near = end_listen(world.left, SOCK_STREAM, "10.99.0.1", 9101);
	client = end_connect(world.right, SOCK_STREAM, "10.99.0.1", 9101, 500);
	pid_t waiting = sleeper_start(1, near);
	(void)close(near);
	struct part_flow inbound = live_flow(client, true);
	inbound.outbound = false;
	found = listener(&inbound);
	ok(is_program(&found, waiting, 1),
	   "a connection in that nobody took yet: the listener's (%u)", found.unknown);
	end_process(waiting);
	(void)close(client);

	near = end_listen(world.left, SOCK_STREAM, "10.99.0.1", 9102);
	client = end_connect(world.right, SOCK_STREAM, "10.99.0.1", 9102, 500);
	inbound = live_flow(client, true);
	inbound.outbound = false;
	server = end_accept(near, 500);
	(void)close(near);
	holder = sleeper_start(2, server);
	(void)close(server);
	found = listener(&inbound);
	ok(is_program(&found, holder, 2), "taken: its holder's, the listener has ended (%u)",
	   found.unknown);
	end_process(holder);
	found = listener(&inbound);
	ok(found.unknown == CODEC_UNKNOWN_PROCESS_GONE, "closing: its process has gone (%u)",
	   found.unknown);
	(void)close(client);
}

static void test_raw(void)
{
	struct part_flow flow = { .proto = IPPROTO_ICMP,
		                  .outbound = true,
		                  .src_port = 77,
		                  .dst_port = 8 * 256,
		                  .src = address("10.99.0.1"),
		                  .dst = address("10.99.0.2") };
	int fd = world_socket(world.left, AF_INET, SOCK_RAW, IPPROTO_ICMP);
	pid_t holder = sleeper_start(2, fd);
	(void)close(fd);
	struct part_owner found = initiator(&flow, 0);
	ok(is_program(&found, holder, 2), "a raw ICMP socket (unknown %u)", found.unknown);
	end_process(holder);

	fd = world_socket(world.left, AF_INET, SOCK_RAW, 253);
	holder = sleeper_start(1, fd);
	(void)close(fd);
	flow.proto = 253;
	flow.src_port = flow.dst_port = 0;
	found = initiator(&flow, 0);
	ok(is_program(&found, holder, 1), "a raw socket of protocol 253 (unknown %u)",
	   found.unknown);
	flow.proto = 252;
	found = initiator(&flow, 0);
	ok(found.unknown == CODEC_UNKNOWN_PROCESS_GONE, "of 252 there is none");
	end_process(holder);

	(void)RUN(world.left, "sysctl", "-qw", "net.ipv4.ping_group_range=0 0");
	fd = world_socket(world.left, AF_INET, SOCK_DGRAM, IPPROTO_ICMP);
	struct sockaddr_in id = { .sin_family = AF_INET, .sin_port = htons(4711) };
	ok(bind(fd, (const struct sockaddr *)&id, sizeof(id)) == 0, "a ping socket");
	holder = sleeper_start(0, fd);
	(void)close(fd);
	flow.proto = IPPROTO_ICMP;
	flow.src_port = 4711;
	flow.dst_port = 8 * 256;
	found = initiator(&flow, 0);
	ok(is_program(&found, holder, 0), "is found by its echo id (unknown %u)", found.unknown);
	end_process(holder);
	flow.outbound = true;
	found = initiator(&flow, CODEC_NO_UID);
	ok(found.unknown == CODEC_UNKNOWN_KERNEL && strcmp(found.exe, "kernel") == 0,
	   "a packet of no socket is the kernel's");
}

/* A process in another mount namespace, with a root and a password file of its own. */
static pid_t contained_start(const char *root, int keep_fd)
{
	fflush(stdout);
	pid_t pid = fork();
	if (pid != 0) {
		pause_ms(50);
		return pid;
	}
	(void)fcntl(keep_fd, F_SETFD, 0);
	if (setns(world.left, CLONE_NEWNET) != 0 || unshare(CLONE_NEWNS) != 0 ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
	    mount(root, root, NULL, MS_BIND, NULL) != 0 || chdir(root) != 0 || chroot(".") != 0) {
		_exit(1);
	}
	for (;;) {
		(void)pause();
	}
}

static void text_write(const char *path, const char *text)
{
	_cleanup_(pr_fd_close) int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	(void)!write(fd, text, strlen(text));
}

static void test_names(void)
{
	char root[PATH_MAX + 16];
	char path[PATH_MAX + 64];
	struct part_flow flow;

	(void)snprintf(root, sizeof(root), "%s/root", folder);
	(void)mkdir(root, 0755);
	(void)snprintf(path, sizeof(path), "%s/etc", root);
	(void)mkdir(path, 0755);
	(void)snprintf(path, sizeof(path), "%s/etc/passwd", root);
	text_write(path, "inside:x:0:0::/:/bin/sh\n");
	int fd = half_open(world.left, SOCK_STREAM, "10.99.0.7", 4000, &flow);
	pid_t pid = contained_start(root, fd);
	(void)close(fd);
	struct part_owner found = initiator(&flow, 0);
	ok(found.pid == (uint32_t)pid && strcmp(found.user, "inside") == 0,
	   "a container's user has the container's name for it: '%s'", found.user);
	owner_t *known = owner;
	struct owner_config own;
	owner_config_default(&own);
	int own_diag = diag_open();
	(void)!owner_new(&own, &owner);
	(void)!owner_namespace_add(owner, SLOT, space_inode(world.left), own_diag, pid);
	flow.src_port++;
	found = initiator(&flow, 0);
	ok(found.unknown == CODEC_UNKNOWN_PROCESS_GONE && strcmp(found.user, "inside") == 0,
	   "also when only the number is left: '%s'", found.user);
	end_process(pid);
	owner_destroy(&owner);
	(void)!owner_new(&own, &owner);
	(void)!owner_namespace_add(owner, SLOT, space_inode(world.left), own_diag, pid);
	found = initiator(&flow, 0);
	ok(found.unknown == CODEC_UNKNOWN_PROCESS_GONE && found.user[0] == '\0',
	   "without a process in it nobody else's file names it: '%s'", found.user);
	owner_destroy(&owner);
	(void)close(own_diag);
	owner = known;

	/* No name of this container is known any more: its file is read again. */
	owner_t *kept = owner;
	struct owner_config config;
	owner_config_default(&config);
	config.name_keep_ns = 0;
	int diag = diag_open();
	(void)!owner_new(&config, &owner);
	(void)!owner_namespace_add(owner, SLOT, space_inode(world.left), diag, 0);
	/* A link out of the root, or to something that hangs, is not followed. */
	(void)unlink(path);
	(void)!symlink("/etc/passwd", path);
	fd = half_open(world.left, SOCK_STREAM, "10.99.0.7", 4001, &flow);
	pid = contained_start(root, fd);
	(void)close(fd);
	found = initiator(&flow, 0);
	ok(found.pid == (uint32_t)pid && found.user[0] == '\0', "a link is no password file");
	end_process(pid);
	(void)unlink(path);
	(void)mkfifo(path, 0644);
	fd = half_open(world.left, SOCK_STREAM, "10.99.0.7", 4002, &flow);
	pid = contained_start(root, fd);
	(void)close(fd);
	found = initiator(&flow, 0);
	ok(found.pid == (uint32_t)pid && found.user[0] == '\0', "nor is a pipe, and nothing hangs");
	end_process(pid);
	owner_destroy(&owner);
	owner = kept;
	(void)close(diag);
	(void)unlink(path);
	(void)snprintf(path, sizeof(path), "%s/etc", root);
	(void)rmdir(path);
	(void)rmdir(root);
}

/* ---------------------------------------------------------------------------------- the storm */

static uint64_t cpu_ns(void)
{
	struct timespec now;
	(void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return (uint64_t)now.tv_sec * PR_NS_PER_S + (uint64_t)now.tv_nsec;
}

struct tally {
	unsigned int asked, right, unknown, wrong;
	uint64_t hit_ns, search_ns;
	unsigned int hits, searches;
};

static void judge(const struct report *report, struct tally *tally)
{
	struct owner_counters before;
	struct owner_counters after;

	owner_counters(owner, &before);
	uint64_t start_ns = cpu_ns();
	struct part_owner found = initiator(&report->flow, report->uid);
	uint64_t took_ns = cpu_ns() - start_ns;
	owner_counters(owner, &after);
	tally->asked++;
	if (found.unknown != CODEC_UNKNOWN_NONE) {
		tally->unknown++;
		tally->wrong += found.exe[0] != '\0' || found.pid != 0;
		return;
	}
	if (!is_program(&found, report->pid, (int)report->program) || found.uid != report->uid) {
		tally->wrong++;
		printf("# wrong: pid %u for %d, '%s', user %u for %u\n", found.pid, report->pid,
		       found.exe, found.uid, report->uid);
	} else {
		tally->right++;
	}
	if (after.owner_by_hint > before.owner_by_hint) {
		tally->hits++;
		tally->hit_ns += took_ns;
	} else {
		tally->searches++;
		tally->search_ns += took_ns;
	}
}

static pid_t storm_start(int report_fd, int number, int count, long life_us)
{
	char program[4];
	char amount[8];
	char first[8];
	char life[16];
	const char *argv[] = {
		programs[number % PROGRAM_COUNT], "client", program, amount, first, life, NULL
	};

	(void)snprintf(program, sizeof(program), "%d", number % PROGRAM_COUNT);
	(void)snprintf(amount, sizeof(amount), "%d", count);
	(void)snprintf(first, sizeof(first), "%d", number);
	(void)snprintf(life, sizeof(life), "%ld", life_us);
	return start(number % PROGRAM_COUNT, report_fd, -1, (uid_t)(number % 5 * 1000), argv);
}

/* Half of the connections come from processes that live for one, between 0 and 80 ms. */
static void test_storm(void)
{
	struct tally tally = { 0 };
	int pipes[2];
	int running = 0;
	int started = STORM_TOTAL / 2;
	struct report report;

	(void)!pipe2(pipes, O_NONBLOCK);
	(void)fcntl(pipes[1], F_SETFL, 0);
	for (int i = 0; i < STORM_LONG; i++) {
		(void)storm_start(pipes[1], i * (STORM_TOTAL / 2 / STORM_LONG),
		                  STORM_TOTAL / 2 / STORM_LONG, 2000);
		running++;
	}
	uint64_t end_ns = pr_clock_monotonic_ns() + 60 * PR_NS_PER_S;
	while ((running > 0 || started < STORM_TOTAL) && pr_clock_monotonic_ns() < end_ns) {
		struct pollfd wait = { .fd = pipes[0], .events = POLLIN };
		while (running < STORM_AT_ONCE + STORM_LONG && started < STORM_TOTAL) {
			(void)storm_start(pipes[1], started, 1, started % 9 * 10000L);
			started++;
			running++;
		}
		(void)poll(&wait, 1, 10);
		while (read(pipes[0], &report, sizeof(report)) == sizeof(report)) {
			judge(&report, &tally);
		}
		while (waitpid(-1, NULL, WNOHANG) > 0) {
			running--;
		}
	}
	while (read(pipes[0], &report, sizeof(report)) == sizeof(report)) {
		judge(&report, &tally);
	}
	ok(tally.asked == STORM_TOTAL, "%u of %d connections asked about", tally.asked,
	   STORM_TOTAL);
	ok(tally.wrong == 0, "%u right, %u unknown (ended before), %u wrong", tally.right,
	   tally.unknown, tally.wrong);
	ok(tally.right > tally.asked / 10,
	   "many are known while they live, however busy the machine is");
	printf("# by hint: %u, %llu us each; by search: %u, %llu us each\n", tally.hits,
	       (unsigned long long)(tally.hits ? tally.hit_ns / tally.hits / 1000 : 0),
	       tally.searches,
	       (unsigned long long)(tally.searches ? tally.search_ns / tally.searches / 1000 : 0));
	(void)close(pipes[0]);
	(void)close(pipes[1]);
}

static void measure(const char *what, bool listening, const struct part_flow *flow)
{
	enum { TIMES = 1000 };
	uint64_t start_ns = cpu_ns();
	unsigned int known = 0;

	for (int i = 0; i < TIMES; i++) {
		struct part_owner found = listening ? listener(flow) : initiator(flow, 0);
		known += found.unknown == CODEC_UNKNOWN_NONE;
	}
	printf("# %s: %.1f us of CPU a look-up, %u of %d known\n", what,
	       (double)(cpu_ns() - start_ns) / TIMES / 1000.0, known, TIMES);
}

static void test_cost(void)
{
	struct part_flow flow;
	int fd = end_listen(world.left, SOCK_STREAM, "0.0.0.0", 8090);
	pid_t holder = sleeper_start(0, fd);
	(void)close(fd);
	flow = (struct part_flow){ .proto = IPPROTO_TCP,
		                   .src_port = 40000,
		                   .dst_port = 8090,
		                   .src = address("10.99.0.2"),
		                   .dst = address("10.99.0.1") };
	measure("listener, hit", true, &flow);
	end_process(holder);
	fd = half_open(world.left, SOCK_STREAM, "10.99.0.7", 4100, &flow);
	holder = sleeper_start(1, fd);
	(void)close(fd);
	measure("TCP client, hit", false, &flow);
	end_process(holder);
	measure("TCP client that ended (the longest search)", false, &flow);
	fd = half_open(world.left, SOCK_DGRAM, "10.99.0.7", 4100, &flow);
	holder = sleeper_start(1, fd);
	(void)close(fd);
	measure("connected UDP, hit", false, &flow);
	end_process(holder);
	struct sockaddr_in here = { .sin_family = AF_INET, .sin_port = htons(5353) };
	fd = world_socket(world.left, AF_INET, SOCK_DGRAM, 0);
	(void)bind(fd, (const struct sockaddr *)&here, sizeof(here));
	holder = sleeper_start(1, fd);
	(void)close(fd);
	flow.src_port = 5353;
	measure("unconnected UDP, hit", false, &flow);
	end_process(holder);
}

static void test_budget(void)
{
	struct owner_config config;
	struct part_flow flow;
	owner_t *poor = NULL;
	struct part_owner found;
	int diag = diag_open();

	owner_config_default(&config);
	config.second_budget_ns = 0;
	int fd = half_open(world.left, SOCK_STREAM, "10.99.0.7", 4200, &flow);
	(void)!owner_new(&config, &poor);
	(void)!owner_namespace_add(poor, SLOT, space_inode(world.left), diag, 0);
	owner_initiator(poor, SLOT, &flow, 0, &found);
	ok(found.unknown == CODEC_UNKNOWN_NOT_TRIED && found.uid == 0,
	   "no time left in this second: not tried, the kernel's word for the user stays");
	owner_destroy(&poor);
	owner_config_default(&config);
	config.reads_max = 40;
	(void)!owner_new(&config, &poor);
	(void)!owner_namespace_add(poor, SLOT, space_inode(world.left), diag, 0);
	owner_initiator(poor, SLOT, &flow, 0, &found);
	ok(found.unknown == CODEC_UNKNOWN_NOT_TRIED, "too much to read: not tried");
	struct owner_counters counters;
	owner_counters(poor, &counters);
	ok(counters.owner_reads <= 41 && counters.owner_not_tried == 1, "%u reads",
	   (unsigned int)counters.owner_reads);
	owner_initiator(poor, 9, &flow, 0, &found);
	ok(found.unknown == CODEC_UNKNOWN_NOT_TRIED, "a namespace that nobody added");
	owner_destroy(&poor);
	(void)close(fd);
	(void)close(diag);
}

int main(int argc, char **argv)
{
	struct owner_config config;

	if (argc > 5 && strcmp(argv[1], "client") == 0) {
		client_main(argv);
	}
	if (argc > 1 && strcmp(argv[1], "sleep") == 0) {
		for (;;) {
			(void)pause();
		}
	}
	if (world_missing() != NULL) {
		skip("%s", world_missing());
		return tap_done();
	}
	owner_config_default(&config);
	config.second_budget_ns = PR_NS_PER_S;
	ok(programs_make(), "programs to tell apart");
	if (!ok(world_open(&world) == 0, "two namespaces") ||
	    !ok(owner_new(&config, &owner) == 0, "attribution")) {
		return tap_done();
	}
	pid_t resident = sleeper_start(0, -1);
	int diag = diag_open();
	ok(owner_namespace_add(owner, SLOT, space_inode(world.left), diag, resident) == 0,
	   "a namespace is known");
	test_simple();
	test_translated();
	test_families();
	test_unconnected();
	test_listeners();
	test_live();
	test_raw();
	test_names();
	test_budget();
	test_storm();
	test_cost();
	end_process(resident);
	owner_destroy(&owner);
	(void)close(diag);
	world_close(&world);
	programs_remove();
	return tap_done();
}
