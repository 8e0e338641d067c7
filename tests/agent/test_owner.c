/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Attribution against real sockets and processes in a network namespace of its own. */
#include "tests/agent/owner_stage.h"

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
	owner_stage_close();
	return tap_done();
}
