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
	pause_ms(30);
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

int main(int argc, char **argv)
{
	owner_stage_play(argc, argv);
	if (!owner_stage_open(NULL)) {
		return tap_done();
	}
	test_group(SOCK_STREAM, IPPROTO_TCP, 8090);
	test_group(SOCK_DGRAM, IPPROTO_UDP, 8090);
	test_activation();
	test_user();
	test_children();
	test_udp();
	owner_stage_close();
	return tap_done();
}
