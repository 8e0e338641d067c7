/* SPDX-License-Identifier: GPL-2.0-or-later */

/** @file Who takes a connection, where it is not plain: groups of sockets on one port, a listener
 * that another process was given, a server that hands its connections to children. */

#include "tests/agent/owner_stage.h"

#define TRIES 24

static struct part_flow flow_to(uint8_t proto, uint16_t src_port, uint16_t dst_port)
{
	return (struct part_flow){ .proto = proto,
		                   .src_port = src_port,
		                   .dst_port = dst_port,
		                   .src = address("10.99.0.2"),
		                   .dst = address("10.99.0.1") };
}

/* One socket of a group that shares a port. */
static int group_socket(int type, uint16_t port)
{
	struct sockaddr_storage here;
	socklen_t bytes = end_address("10.99.0.1", port, &here);
	int one = 1;
	int fd = world_socket(world.left, AF_INET, type, 0);

	if (setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one)) != 0 ||
	    bind(fd, (const struct sockaddr *)&here, bytes) != 0 ||
	    (type == SOCK_STREAM && listen(fd, TRIES) != 0)) {
		perror("# group");
	}
	return fd;
}

static int client_from(int type, uint16_t port, uint16_t to)
{
	struct sockaddr_storage here, there;
	socklen_t here_bytes = end_address("10.99.0.2", port, &here);
	socklen_t there_bytes = end_address("10.99.0.1", to, &there);
	int fd = world_socket(world.right, AF_INET, type | SOCK_NONBLOCK, 0);

	if (bind(fd, (const struct sockaddr *)&here, here_bytes) != 0 ||
	    (connect(fd, (const struct sockaddr *)&there, there_bytes) != 0 &&
	     errno != EINPROGRESS) ||
	    (type == SOCK_DGRAM && send(fd, "x", 1, 0) != 1)) {
		perror("# client");
	}
	return fd;
}

/* Which of two sockets has something to take; it is taken. */
static int taker_of(const int fds[static 2], int type)
{
	struct pollfd polled[2] = { { .fd = fds[0], .events = POLLIN },
		                    { .fd = fds[1], .events = POLLIN } };
	char byte;

	if (poll(polled, 2, 1000) != 1) {
		return -1;
	}
	int which = polled[0].revents != 0 ? 0 : 1;
	if (type == SOCK_STREAM) {
		(void)close(accept(fds[which], NULL, NULL));
	} else {
		(void)!recv(fds[which], &byte, 1, 0);
	}
	return which;
}

/* Two programs on one port: the one that the kernel will choose for this very flow. */
static void test_group(int type, uint8_t proto, uint16_t port)
{
	int fds[2] = { group_socket(type, port), group_socket(type, port) };
	pid_t pids[2] = { sleeper_start(1, fds[0]), sleeper_start(2, fds[1]) };
	unsigned right = 0, taken[2] = { 0 };

	for (uint16_t i = 0; i < TRIES; i++) {
		struct part_flow flow = flow_to(proto, (uint16_t)(40000 + i), port);
		struct part_owner found = listener(&flow);
		int client = client_from(type, flow.src_port, port);
		int which = taker_of(fds, type);
		if (which >= 0) {
			taken[which]++;
			right += is_program(&found, pids[which], which + 1);
		}
		(void)close(client);
	}
	ok(right == TRIES && taken[0] > 0 && taken[1] > 0,
	   "SO_REUSEPORT, %s: of %u flows the program that takes it (%u and %u of them): %u",
	   type == SOCK_STREAM ? "TCP" : "UDP", TRIES, taken[0], taken[1], right);
	for (int i = 0; i < 2; i++) {
		end_process(pids[i]);
		(void)close(fds[i]);
	}
}

/* A manager makes the socket and gives it to a service, as inetd's and systemd's do. */
static void test_activation(void)
{
	struct part_flow flow = flow_to(IPPROTO_TCP, 40100, 8091);
	int fd = end_listen(world.left, SOCK_STREAM, "10.99.0.1", 8091);
	pid_t manager = sleeper_start(1, fd);
	struct part_owner found = listener(&flow);

	ok(is_program(&found, manager, 1), "before the service is started: the manager");
	pid_t service = sleeper_start(2, fd);
	(void)close(fd);
	pause_ms(120); /* the table of processes is read every 100 ms */
	found = listener(&flow);
	ok(found.unknown == CODEC_UNKNOWN_AMBIGUOUS && found.exe[0] == '\0',
	   "while both hold the socket: ambiguous, no process");
	end_process(manager);
	found = listener(&flow);
	ok(is_program(&found, service, 2), "when the manager has let go: the service");
	end_process(service);
}

/* The user is the socket's: who made it, not what its process has become. */
static void test_user(void)
{
	static const char *const argv[] = { "service", "sleep", NULL };
	struct part_flow flow = flow_to(IPPROTO_TCP, 40200, 8092);
	int fd = end_listen(world.left, SOCK_STREAM, "10.99.0.1", 8092);
	pid_t service = start(1, -1, fd, 33, argv);

	(void)close(fd);
	program_wait(service, 1);
	struct part_owner found = listener(&flow);
	ok(is_program(&found, service, 1) && found.uid == 0 && strcmp(found.user, "root") == 0,
	   "a server that gave up its user: who made the socket (%u, %s)", found.uid, found.user);
	end_process(service);
}

/* A server that waits, and children that hold what it has accepted. */
static void test_children(void)
{
	struct part_flow flow = flow_to(IPPROTO_TCP, 40300, 8093);
	int fd = end_listen(world.left, SOCK_STREAM, "10.99.0.1", 8093);
	pid_t server = sleeper_start(1, fd);
	int client = client_from(SOCK_STREAM, 40301, 8093);
	int accepted = end_accept(fd, 1000);
	pid_t child = sleeper_start(2, accepted);

	(void)close(fd);
	(void)close(accepted);
	struct part_owner found = listener(&flow);
	ok(is_program(&found, server, 1), "the next connection is the server's, not a child's");
	flow.src_port = 40301;
	flow.live = true;
	found = listener(&flow);
	ok(is_program(&found, child, 2), "one that a child holds is the child's (unknown %u)",
	   found.unknown);
	(void)close(client);
	end_process(child);
	end_process(server);
}

/* One socket for all peers, and one more for a peer of its own. */
static void test_udp(void)
{
	struct part_flow flow = flow_to(IPPROTO_UDP, 40400, 8094);
	struct sockaddr_storage peer;
	socklen_t bytes = end_address("10.99.0.2", 40401, &peer);
	int fd = group_socket(SOCK_DGRAM, 8094);
	int own = group_socket(SOCK_DGRAM, 8094);

	(void)connect(own, (const struct sockaddr *)&peer, bytes);
	pid_t server = sleeper_start(1, fd);
	pid_t child = sleeper_start(2, own);
	(void)close(fd);
	(void)close(own);
	struct part_owner found = listener(&flow);
	ok(is_program(&found, server, 1), "UDP from anybody: the server's");
	flow.src_port = 40401;
	found = listener(&flow);
	ok(is_program(&found, child, 2), "from the peer that a socket is connected to: that one's");
	end_process(child);
	end_process(server);
}

/* ------------------------------------------------------------------- a listener seen before */

static bool by_ebpf;

static uint64_t by_table(void)
{
	struct owner_counters counters;
	owner_counters(owner, &counters);
	return counters.owner_by_table;
}

/* Asked so often that it is known; then once more: that one without a look into /proc. */
static struct part_owner known_listener(const struct part_flow *flow, bool *ret_at_once)
{
	struct owner_counters before, after;

	for (int i = 0; i < 3; i++) {
		(void)listener(flow);
	}
	owner_counters(owner, &before);
	struct part_owner found = listener(flow);
	owner_counters(owner, &after);
	*ret_at_once = after.owner_by_table == before.owner_by_table + 1 &&
	               after.owner_reads == before.owner_reads;
	return found;
}

static void test_known(int type, uint8_t proto, const char *ip, uint16_t port)
{
	struct part_flow flow = flow_to(proto, 40500, port);
	bool at_once;
	int fd = end_listen(world.left, type, ip, port);
	pid_t server = sleeper_start(1, fd);

	(void)close(fd);
	if (strcmp(ip, "0.0.0.0") != 0 && strcmp(ip, "::") != 0) {
		flow.dst = address(ip);
		flow.src = pr_addr_is_v4(&flow.dst) ? flow.src : address("fd99::2");
	}
	struct part_owner found = known_listener(&flow, &at_once);
	ok(is_program(&found, server, 1) && at_once == by_ebpf, "asked again, %s at %s: the same%s",
	   type == SOCK_STREAM ? "TCP" : "UDP", ip, by_ebpf ? ", with no look into /proc" : "");
	end_process(server);
	found = listener(&flow);
	ok(found.unknown == CODEC_UNKNOWN_NO_LISTENER && found.pid == 0,
	   "and when it has ended: nobody (unknown %u)", found.unknown);
}

/* Who listens there next has another socket. */
static void test_successor(void)
{
	struct part_flow flow = flow_to(IPPROTO_TCP, 40501, 8101);
	bool at_once;
	int fd = end_listen(world.left, SOCK_STREAM, "10.99.0.1", 8101);
	pid_t first = sleeper_start(1, fd);

	(void)close(fd);
	(void)known_listener(&flow, &at_once);
	end_process(first);
	fd = end_listen(world.left, SOCK_STREAM, "10.99.0.1", 8101);
	pid_t second = sleeper_start(2, fd);
	(void)close(fd);
	struct part_owner found = listener(&flow);
	ok(is_program(&found, second, 2), "another program on the same port: that one");
	found = known_listener(&flow, &at_once);
	ok(is_program(&found, second, 2) && at_once == by_ebpf, "and again");
	end_process(second);
}

/* At all addresses, then at one, too: the kernel prefers the latter. */
static void test_preferred(void)
{
	struct part_flow flow = flow_to(IPPROTO_TCP, 40502, 8104);
	struct sockaddr_storage wide_address, here;
	socklen_t wide_bytes = end_address("0.0.0.0", 8104, &wide_address);
	socklen_t bytes = end_address("10.99.0.1", 8104, &here);
	int one = 1;
	bool at_once;
	int fds[2];
	const struct sockaddr *const addresses[2] = { (const struct sockaddr *)&wide_address,
		                                      (const struct sockaddr *)&here };

	for (int i = 0; i < 2; i++) {
		fds[i] = world_socket(world.left, AF_INET, SOCK_STREAM, 0);
		(void)setsockopt(fds[i], SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one));
		(void)bind(fds[i], addresses[i], i == 0 ? wide_bytes : bytes);
	}
	(void)listen(fds[0], 4);
	pid_t wide = sleeper_start(1, fds[0]);
	pid_t narrow = sleeper_start(2, fds[1]);
	struct part_owner found = known_listener(&flow, &at_once);
	ok(is_program(&found, wide, 1), "at all addresses: the only one that listens");
	(void)listen(fds[1], 4);
	found = listener(&flow);
	ok(is_program(&found, narrow, 2), "the one at the address itself, as soon as it listens");
	end_process(narrow);
	(void)close(fds[1]);
	found = listener(&flow);
	(void)close(fds[0]);
	struct part_owner alone = listener(&flow);
	ok(found.unknown != CODEC_UNKNOWN_NONE || found.pid == (uint32_t)wide ||
	           found.pid == (uint32_t)getpid(),
	   "and when that has gone, not it any more");
	ok(is_program(&alone, wide, 1), "but the first again (unknown %u)", alone.unknown);
	end_process(wide);
}

/* It executes another program and keeps its socket. */
static void test_becomes(void)
{
	struct part_flow flow = flow_to(IPPROTO_TCP, 40503, 8105);
	const char *argv[] = { programs[1], "become", programs[2], NULL };
	bool at_once;
	int fd = end_listen(world.left, SOCK_STREAM, "10.99.0.1", 8105);
	sigset_t set, old;

	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGUSR1);
	(void)sigprocmask(SIG_BLOCK, &set, &old);
	pid_t server = start(1, -1, fd, 0, argv);
	(void)sigprocmask(SIG_SETMASK, &old, NULL);
	(void)close(fd);
	program_wait(server, 1);
	struct part_owner found = known_listener(&flow, &at_once);
	ok(is_program(&found, server, 1) && at_once == by_ebpf,
	   "a server before it becomes another");
	(void)kill(server, SIGUSR1);
	program_wait(server, 2);
	found = listener(&flow);
	ok(is_program(&found, server, 2), "and after: what it is now (%s)", found.exe);
	end_process(server);
}

/* A master, and children that hold the same socket; the last of them is another program. */
static void test_family(void)
{
	struct part_flow flow = flow_to(IPPROTO_TCP, 40504, 8106);
	bool at_once;
	int fd = end_listen(world.left, SOCK_STREAM, "10.99.0.1", 8106);
	pid_t master = sleeper_start(1, fd);
	pid_t children[2] = { sleeper_start(1, fd), sleeper_start(1, fd) };

	(void)close(fd);
	pause_ms(120);
	struct part_owner found = known_listener(&flow, &at_once);
	ok(is_program(&found, master, 1) && at_once == by_ebpf,
	   "a master and two children: the master");
	end_process(children[0]);
	found = listener(&flow);
	ok(is_program(&found, master, 1), "a child ends: the master");
	found = known_listener(&flow, &at_once);
	ok(is_program(&found, master, 1) && at_once == by_ebpf, "and again");
	end_process(master);
	found = listener(&flow);
	ok(is_program(&found, children[1], 1), "the master ends: the child that is left");
	end_process(children[1]);
}

/* Somebody takes a copy of the descriptor, and gives it to another program. */
static void test_given(void)
{
	struct part_flow flow = flow_to(IPPROTO_TCP, 40505, 8107);
	bool at_once;
	int fd = end_listen(world.left, SOCK_STREAM, "10.99.0.1", 8107);
	pid_t server = sleeper_start(1, fd);

	int nothing = open("/dev/null", O_RDONLY | O_CLOEXEC);
	(void)dup2(nothing, fd); /* its number is kept for the second program */
	(void)close(nothing);
	struct part_owner found = known_listener(&flow, &at_once);
	ok(is_program(&found, server, 1) && at_once == by_ebpf, "one holder");
	int pidfd = (int)syscall(SYS_pidfd_open, server, 0);
	int taken = pidfd >= 0 ? (int)syscall(SYS_pidfd_getfd, pidfd, fd, 0) : -1;
	pid_t thief = dup2(taken, fd) == fd ? sleeper_start(2, fd) : -1;
	(void)close(taken);
	(void)close(fd);
	(void)close(pidfd);
	if (!by_ebpf) {
		pause_ms(120); /* the table of processes is read every 100 ms */
	}
	found = listener(&flow);
	ok(thief > 0 && found.unknown == CODEC_UNKNOWN_AMBIGUOUS,
	   "a second program has it now%s: ambiguous (unknown %u)", by_ebpf ? ", at once" : "",
	   found.unknown);
	end_process(server);
	pause_ms(120);
	found = listener(&flow);
	ok(is_program(&found, thief, 2), "and it is left with it (unknown %u)", found.unknown);
	end_process(thief);
}

static void play(void)
{
	test_group(SOCK_STREAM, IPPROTO_TCP, 8090);
	test_group(SOCK_DGRAM, IPPROTO_UDP, 8090);
	test_activation();
	test_user();
	test_children();
	test_udp();
	test_known(SOCK_STREAM, IPPROTO_TCP, "10.99.0.1", 8100);
	test_known(SOCK_STREAM, IPPROTO_TCP, "0.0.0.0", 8110);
	test_known(SOCK_STREAM, IPPROTO_TCP, "fd99::1", 8111);
	test_known(SOCK_STREAM, IPPROTO_TCP, "::", 8112);
	test_known(SOCK_DGRAM, IPPROTO_UDP, "10.99.0.1", 8100);
	test_known(SOCK_DGRAM, IPPROTO_UDP, "fd99::1", 8101);
	test_successor();
	test_preferred();
	test_becomes();
	test_family();
	test_given();
}

int main(int argc, char **argv)
{
	char why[ORIGIN_WHY_BYTES] = "";
	origin_t *origin = NULL;

	owner_stage_play(argc, argv);
	if (!owner_stage_open(NULL)) {
		return tap_done();
	}
	play();
	owner_stage_close();
	by_ebpf = origin_new(&origin, why) == 0;
	if (!by_ebpf) {
		skip("with eBPF: %s", why);
		return tap_done();
	}
	if (owner_stage_open(origin)) {
		play();
		ok(by_table() > 50, "the kernel's tables told %llu times",
		   (unsigned long long)by_table());
	}
	owner_stage_close();
	origin_destroy(&origin);
	return tap_done();
}
