/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Attribution against real sockets and processes in a network namespace of its own. */
#include <linux/sock_diag.h>
#include <sys/prctl.h>

#include "agent/keeper/owner_internal.h"
#include "base/err.h"
#include "tests/agent/owner_stage.h"

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
struct begun_seen {
	struct part_flow flows[8];
	size_t count;
};

static void begun_see(const struct part_flow *flow, void *arg)
{
	struct begun_seen *seen = arg;

	if (seen->count < PR_ARRAY_LEN(seen->flows)) {
		seen->flows[seen->count++] = *flow;
	}
}

/* What is on its way out when a namespace comes to be watched, and nothing else. */
static void test_begun(void)
{
	struct begun_seen seen = { 0 };
	struct part_flow v4, v6, datagram;
	int far = end_listen(world.right, SOCK_STREAM, "10.99.0.2", 9200);
	int near = end_listen(world.left, SOCK_STREAM, "10.99.0.1", 9201);
	int whole = end_connect(world.left, SOCK_STREAM, "10.99.0.2", 9200, 500);
	int one = half_open(world.left, SOCK_STREAM, "10.99.0.77", 8077, &v4);
	int two = half_open(world.left, SOCK_STREAM, "fd99::77", 8078, &v6);
	int three = half_open(world.left, SOCK_DGRAM, "10.99.0.77", 8079, &datagram);

	owner_begun(owner, SLOT, begun_see, &seen);
	ok(seen.count == 2 && seen.flows[0].outbound && seen.flows[0].proto == IPPROTO_TCP &&
	           pr_addr_equal(&seen.flows[0].dst, &v4.dst) &&
	           seen.flows[0].src_port == v4.src_port && seen.flows[0].dst_port == 8077,
	   "a connection that nobody answers is begun; %zu are", seen.count);
	ok(seen.count == 2 && pr_addr_equal(&seen.flows[1].src, &v6.src) &&
	           seen.flows[1].src_port == v6.src_port && seen.flows[1].dst_port == 8078,
	   "over IPv6, too");
	owner_begun(owner, SLOT + 1, begun_see, &seen);
	owner_begun(owner, PART_NAMESPACE_MAX, begun_see, &seen);
	ok(seen.count == 2, "of a namespace that nobody watches nothing is known");
	const int fds[] = { far, near, whole, one, two, three };
	for (size_t i = 0; i < PR_ARRAY_LEN(fds); i++) {
		(void)close(fds[i]);
	}
}

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
	(void)!owner_namespace_add(owner, SLOT, space_inode(world.left), diag, getpid());
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

/*
 * User 33 makes a user namespace in which it is root, with mounts and a password file of its own
 * that says so, and connects. Its pid; @p flow is what it sent.
 */
static pid_t pretender_start(const char *root, struct part_flow *flow)
{
	int ends[2];

	if (pipe(ends) != 0) {
		return -1;
	}
	fflush(stdout);
	pid_t pid = fork();
	if (pid == 0) {
		bool good = setns(world.left, CLONE_NEWNET) == 0 && setresgid(33, 33, 33) == 0 &&
		            setresuid(33, 33, 33) == 0 && prctl(PR_SET_DUMPABLE, 1) == 0 &&
		            unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0;
		if (good) {
			text_write("/proc/self/uid_map", "0 33 1\n");
			good = getuid() == 0 && chroot(root) == 0 && chdir("/") == 0;
		}
		int fd = good ? half_open(-1, SOCK_STREAM, "10.99.0.8", 4003, flow) : -1;
		(void)!write(ends[1], flow, fd >= 0 ? sizeof(*flow) : 1);
		for (;;) {
			(void)pause();
		}
	}
	(void)close(ends[1]);
	ssize_t got = read(ends[0], flow, sizeof(*flow));
	(void)close(ends[0]);
	ok(got == (ssize_t)sizeof(*flow), "user 33, root in a user namespace of its own, connects");
	return pid;
}

static owner_t *owner_with(int diag, int32_t pid)
{
	struct owner_config config;
	owner_t *made = NULL;

	owner_config_default(&config);
	(void)!owner_new(&config, &made);
	(void)!owner_namespace_add(made, SLOT, space_inode(world.left), diag, pid);
	return made;
}

/* Users are the host's number; names are the host's or the container's, never the process's own. */
static void test_user_namespace(void)
{
	static const char id[] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
	char fake[PATH_MAX + 16], real[PATH_MAX + 16], path[PATH_MAX + 64];
	const char *const roots[] = { fake, real };
	struct part_flow flow = { 0 };
	owner_t *kept = owner;
	int diag = diag_open();

	(void)snprintf(fake, sizeof(fake), "%s/fake", folder);
	(void)snprintf(real, sizeof(real), "%s/real", folder);
	for (size_t i = 0; i < 2; i++) {
		(void)mkdir(roots[i], 0755);
		(void)snprintf(path, sizeof(path), "%s/etc", roots[i]);
		(void)mkdir(path, 0755);
		(void)snprintf(path, sizeof(path), "%s/etc/passwd", roots[i]);
		text_write(path, i == 0 ? "root:x:0:0::/:\n" : "root:x:0:0::/:\nweb:x:33:33::/:\n");
	}
	(void)chmod(folder, 0755);
	pid_t first = contained_start(real, diag);
	pid_t pid = pretender_start(fake, &flow);

	owner = owner_with(diag, 0);
	struct part_owner found = initiator(&flow, 33);
	ok(found.pid == (uint32_t)pid && found.uid == 33 && strcmp(found.user, "www-data") == 0 &&
	           found.place == PART_PLACE_MAIN,
	   "on the host: the host's number and name for it: %u '%s'", found.uid, found.user);
	owner_destroy(&owner);

	owner = owner_with(diag, first);
	struct owner_member_options member = {
		.slot = SLOT, .endpoint = pr_uuid_of_container(id), .container_id = id, .pid = first
	};
	ok(owner_member_add(owner, &member) == PR_OK, "a container with its own users");
	struct part_owner inside = { .place = PART_PLACE_CONTAINER,
		                     .container = member.endpoint,
		                     .uid = 33 };
	ok(owner_name_place(owner, SLOT, &inside) && strcmp(inside.user, "web") == 0,
	   "in a container: the container's name, not what the process made of it: '%s'",
	   inside.user);
	end_process(first);
	struct part_owner cached = inside;
	owner->now_ns += 10 * PR_NS_PER_S;
	ok(owner_name_place(owner, SLOT, &cached) && cached.user[0] == '\0',
	   "when its first process has gone: no name");
	owner_destroy(&owner);
	owner = kept;
	end_process(pid);
	(void)close(diag);
	for (size_t i = 0; i < 2; i++) {
		(void)snprintf(path, sizeof(path), "%s/etc/passwd", roots[i]);
		(void)unlink(path);
		(void)snprintf(path, sizeof(path), "%s/etc", roots[i]);
		(void)rmdir(path);
		(void)rmdir(roots[i]);
	}
}

int main(int argc, char **argv)
{
	owner_stage_play(argc, argv);
	if (!owner_stage_open(NULL)) {
		return tap_done();
	}
	test_simple();
	test_translated();
	test_families();
	test_unconnected();
	test_listeners();
	test_live();
	test_begun();
	test_raw();
	test_names();
	test_user_namespace();
	owner_stage_close();
	return tap_done();
}
